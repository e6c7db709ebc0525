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

struct platform_device;
struct task_struct;

/*
 * Parameters: module! knows integers and booleans only, refuses a number that
 * it cannot parse without saying what is allowed, and has no text longer than
 * the 1024 bytes of charp.
 */
enum test_deferred_parameter {
	TEST_DEFERRED_ITEMS,
	TEST_DEFERRED_MODE,
	TEST_DEFERRED_ARRANGEMENT,
	TEST_DEFERRED_DELAY_NS,
	TEST_DEFERRED_STEP_NS,
	TEST_DEFERRED_BODY,
	TEST_DEFERRED_QUEUE,
	TEST_DEFERRED_CPU,
	TEST_DEFERRED_RUNS,
	TEST_DEFERRED_DEFER,
	TEST_DEFERRED_ASYNC_PROBE,
	TEST_DEFERRED_START,
	TEST_DEFERRED_QUEUES,
	TEST_DEFERRED_PLAN,
	TEST_DEFERRED_DELAYS,
	TEST_DEFERRED_FAULT,
	TEST_DEFERRED_PARAMETERS,
};

const char *test_deferred_text(enum test_deferred_parameter which);
bool test_deferred_is_given(enum test_deferred_parameter which);

/* In which context the code runs: no Rust API. */
bool test_deferred_can_sleep(void);

/* CPU masks of the kernel: no Rust API (cpumask.rs has owned masks only). */
bool test_deferred_cpu_is_online(u32 cpu);

/*
 * Waiting for a condition from any context's change: CondVar needs a lock, and
 * an item may end in an interrupt, where Rust's locks cannot be taken.
 */
int test_deferred_wait(bool (*condition)(const void *argument),
		       const void *argument, bool is_interruptible);
void test_deferred_wake(void);

/*
 * Own queues: alloc_workqueue() is variadic behind an allocation-tag macro, and
 * apply_workqueue_attrs(), which sets the affinity scope, is not exported.
 */
struct workqueue_struct *test_deferred_alloc_queue(const char *name, u32 flags,
						   bool ordered, int max_active,
						   const char *affinity);

/* Async calls: no Rust API. */
void test_deferred_schedule_async(void *item);
void test_deferred_wait_for_async(void);

/* Kernel threads: no Rust API. */
struct task_struct *test_deferred_create_thread(void *item, const char *name,
						int cpu);
void test_deferred_start_thread(struct task_struct *task);
void test_deferred_stop_thread(struct task_struct *task);

/*
 * Devices: platform::Driver has no probe type, and there is no API that makes
 * a platform device.
 */
int test_deferred_register_drivers(void);
void test_deferred_unregister_drivers(void);
struct platform_device *test_deferred_alloc_device(u32 id, void *item,
						   bool async_probe);
int test_deferred_add_device(struct platform_device *device);
void test_deferred_remove_device(struct platform_device *device, bool added);

/* Kprobes: no Rust API. */
int test_deferred_add_delay(const char *function, size_t length, u32 call,
			    u64 ns);
void test_deferred_remove_delays(void);

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

/* When, where and by whom an item is called. */
struct test_deferred_start {
	u64 time_ns;
	s32 cpu;
	s32 pid;
};

/* What happened to an item: 0 is a time at which it did not. */
struct test_deferred_record {
	const char *name;
	const char *mode;
	u64 armed_ns;
	u64 expires_jiffies;
	u64 queued_ns;
	u64 started_ns;
	u64 ended_ns;
	u64 cancelled_ns;
	u32 name_length;
	u32 mode_length;
	s32 cpu;
	s32 pid;
	u32 attempts;
	s32 error;
};

void test_deferred_create_files(void *workload);
void test_deferred_remove_files(void);

/* Implemented in Rust. */
int test_deferred_trigger(void *workload);
void test_deferred_read_progress(void *workload, bool wait,
				 struct test_deferred_progress *progress);
bool test_deferred_read_record(void *workload, u64 id,
			       struct test_deferred_record *record);
void test_deferred_run_async(void *item);
int test_deferred_run_thread(void *item);
int test_deferred_probe(void *item);

#ifndef MODULE
/* The items of an initcall level, in the order of enum initcall_level. */
void test_deferred_run_level(u32 level);
#endif

/*
 * Trace events and tracepoint probes: declare_trace! works for events of the
 * kernel image only, and there is no API for probes.  These are exported by
 * test_deferred_events.ko; item_events.c says why.
 */
u64 test_deferred_trace_armed(u32 id, u64 delay_ns, u64 delay_jiffies);
void test_deferred_trace_started(u32 id, struct test_deferred_start *start);
void test_deferred_trace_retried(u32 id, u32 attempt, int error);
u64 test_deferred_trace_ended(u32 id, int error);
u64 test_deferred_trace_cancelled(u32 id);
void test_deferred_watch_queue(work_func_t function,
			       u32 (*queued)(struct work_struct *work,
					     u64 time_ns, u64 expires));
void test_deferred_unwatch_queue(void);

#endif /* _TEST_DEFERRED_SHIM_H */
