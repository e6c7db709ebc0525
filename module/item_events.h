/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of each work item of test_deferred, as trace events.
 *
 * All times are trace_clock_local() in nanoseconds, the clock that ftrace
 * stamps its records with by default, read just before the event is written.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM test_deferred

#if !defined(_TEST_DEFERRED_ITEM_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TEST_DEFERRED_ITEM_EVENTS_H

#include <linux/tracepoint.h>

/* The item is about to be given to the kernel, or run directly. */
TRACE_EVENT(deferred_item_armed,
	TP_PROTO(u32 id, u64 time_ns, u64 delay_ns, u64 delay_jiffies),
	TP_ARGS(id, time_ns, delay_ns, delay_jiffies),
	TP_STRUCT__entry(
		__field(u64, time_ns)
		__field(u64, delay_ns)
		__field(u64, delay_jiffies)
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->time_ns = time_ns;
		__entry->delay_ns = delay_ns;
		__entry->delay_jiffies = delay_jiffies;
		__entry->id = id;
	),
	TP_printk("id=%u time_ns=%llu delay_ns=%llu delay_jiffies=%llu",
		  __entry->id, __entry->time_ns, __entry->delay_ns,
		  __entry->delay_jiffies)
);

/*
 * The kernel put the item on its queue; a delayed item's timer has expired.
 * expires is the timer's, in jiffies, or 0 where there was no timer.
 */
TRACE_EVENT(deferred_item_queued,
	TP_PROTO(u32 id, u64 time_ns, u64 expires),
	TP_ARGS(id, time_ns, expires),
	TP_STRUCT__entry(
		__field(u64, time_ns)
		__field(u64, expires)
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->time_ns = time_ns;
		__entry->expires = expires;
		__entry->id = id;
	),
	TP_printk("id=%u time_ns=%llu expires=%llu",
		  __entry->id, __entry->time_ns, __entry->expires)
);

DECLARE_EVENT_CLASS(deferred_item,
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

/* The item's function is called. */
DEFINE_EVENT(deferred_item, deferred_item_started,
	TP_PROTO(u32 id, u64 time_ns),
	TP_ARGS(id, time_ns)
);

/* The item was taken back while it was pending, and does not run any more. */
DEFINE_EVENT(deferred_item, deferred_item_cancelled,
	TP_PROTO(u32 id, u64 time_ns),
	TP_ARGS(id, time_ns)
);

/*
 * The item's function returned and will be called again: a probe that was
 * deferred (-EPROBE_DEFER), or a work or timer that queued itself (-EAGAIN).
 */
TRACE_EVENT(deferred_item_retried,
	TP_PROTO(u32 id, u64 time_ns, u32 attempt, int error),
	TP_ARGS(id, time_ns, attempt, error),
	TP_STRUCT__entry(
		__field(u64, time_ns)
		__field(u32, id)
		__field(u32, attempt)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->time_ns = time_ns;
		__entry->id = id;
		__entry->attempt = attempt;
		__entry->error = error;
	),
	TP_printk("id=%u time_ns=%llu attempt=%u error=%d",
		  __entry->id, __entry->time_ns, __entry->attempt,
		  __entry->error)
);

/* The item's function is done; error is 0 or a negative errno. */
TRACE_EVENT(deferred_item_ended,
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

#endif /* _TEST_DEFERRED_ITEM_EVENTS_H */

/* This part must be outside protection. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE item_events
#include <trace/define_trace.h>
