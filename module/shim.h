/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What test_deferred needs from C, and why Rust cannot have it.
 *
 * ffi.rs declares the same functions by hand: an out-of-tree module has no
 * generated bindings of its own.
 */

#ifndef _TEST_DEFERRED_SHIM_H
#define _TEST_DEFERRED_SHIM_H

#include <linux/types.h>
#include <linux/workqueue.h>

/* String parameters: module! knows integers and booleans only. */
enum test_deferred_text {
	TEST_DEFERRED_MODE,
	TEST_DEFERRED_ARRANGEMENT,
	TEST_DEFERRED_BODY,
	TEST_DEFERRED_QUEUE,
	TEST_DEFERRED_START,
};

const char *test_deferred_text(enum test_deferred_text which);

/* The trace clock: no Rust API. */
u64 test_deferred_now(void);

/*
 * Trace events: declare_trace! works for events of the kernel image only.
 * These are exported by test_deferred_events.ko; item_events.c says why.
 */
void test_deferred_trace_armed(u32 id, u64 time_ns, u64 delay_ns,
			       u64 delay_jiffies);
void test_deferred_trace_queued(u32 id, u64 time_ns, u64 expires);
void test_deferred_trace_started(u32 id, u64 time_ns);
void test_deferred_trace_ended(u32 id, u64 time_ns, int error);
void test_deferred_trace_cancelled(u32 id, u64 time_ns);

/* Tracepoint probes: the Rust API has none. */
int test_deferred_watch_queue(work_func_t function);
void test_deferred_unwatch_queue(void);

/* Own queues: alloc_workqueue() is variadic behind an allocation-tag macro. */
struct workqueue_struct *test_deferred_alloc_queue(bool unbound,
						   int max_active);

/* Implemented in Rust: the id of the item that @work is part of. */
u32 test_deferred_item_id(struct work_struct *work);

#endif /* _TEST_DEFERRED_SHIM_H */
