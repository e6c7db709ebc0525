/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The events of test_deferred_twin: as those of item_events.h, under other
 * names, so that nobody takes its items for those of test_deferred.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM test_deferred_twin

#if !defined(_TEST_DEFERRED_TWIN_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TEST_DEFERRED_TWIN_EVENTS_H

#include <linux/tracepoint.h>

/* The item's function is called. */
TRACE_EVENT(twin_item_started,
	TP_PROTO(u32 id, u64 time_ns),
	TP_ARGS(id, time_ns),
	TP_STRUCT__entry(
		__field(u64, time_ns)
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->time_ns = time_ns;
		__entry->id = id;
	),
	TP_printk("id=%u time_ns=%llu", __entry->id, __entry->time_ns)
);

/* The item's function is done; error is 0 or a negative errno. */
TRACE_EVENT(twin_item_ended,
	TP_PROTO(u32 id, u64 time_ns, int error),
	TP_ARGS(id, time_ns, error),
	TP_STRUCT__entry(
		__field(u64, time_ns)
		__field(u32, id)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->time_ns = time_ns;
		__entry->id = id;
		__entry->error = error;
	),
	TP_printk("id=%u time_ns=%llu error=%d",
		  __entry->id, __entry->time_ns, __entry->error)
);

#endif /* _TEST_DEFERRED_TWIN_EVENTS_H */

/* This part must be outside protection. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE twin_events
#include <trace/define_trace.h>
