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

/*
 * Parameters: module! knows integers and booleans only, and refuses a number
 * that it cannot parse without saying what is allowed.
 */
enum test_deferred_parameter {
	TEST_DEFERRED_ITEMS,
	TEST_DEFERRED_MODE,
	TEST_DEFERRED_ARRANGEMENT,
	TEST_DEFERRED_DELAY_NS,
	TEST_DEFERRED_STEP_NS,
	TEST_DEFERRED_BODY,
	TEST_DEFERRED_BODY_NS,
	TEST_DEFERRED_QUEUE,
	TEST_DEFERRED_MAX_ACTIVE,
	TEST_DEFERRED_START,
};

const char *test_deferred_text(enum test_deferred_parameter which);

/* The trace clock: no Rust API. */
u64 test_deferred_now(void);

/* Own queues: alloc_workqueue() is variadic behind an allocation-tag macro. */
struct workqueue_struct *test_deferred_alloc_queue(bool unbound,
						   int max_active);

/*
 * Files: those of the Rust API have no owner, so that an open one does not keep
 * the module loaded.
 */
struct test_deferred_progress {
	u32 items;
	u32 armed;
	u32 started;
	u32 ended;
	u32 cancelled;
};

void test_deferred_create_files(void *workload);
void test_deferred_remove_files(void);

/* Implemented in Rust, for the files. */
int test_deferred_trigger(void *workload);
void test_deferred_read_progress(void *workload, bool wait,
				 struct test_deferred_progress *progress);

/*
 * Trace events and tracepoint probes: declare_trace! works for events of the
 * kernel image only, and there is no API for probes.  These are exported by
 * test_deferred_events.ko; item_events.c says why.
 */
void test_deferred_trace_armed(u32 id, u64 time_ns, u64 delay_ns,
			       u64 delay_jiffies);
void test_deferred_trace_started(u32 id, u64 time_ns);
void test_deferred_trace_ended(u32 id, u64 time_ns, int error);
void test_deferred_trace_cancelled(u32 id, u64 time_ns);
void test_deferred_watch_queue(work_func_t function,
			       u32 (*id)(struct work_struct *work));
void test_deferred_unwatch_queue(void);

#endif /* _TEST_DEFERRED_SHIM_H */
