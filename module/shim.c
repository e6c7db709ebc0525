// SPDX-License-Identifier: GPL-2.0-only
/*
 * What test_deferred needs from C; shim.h says why for each part.
 */

#include <linux/module.h>
#include <linux/string.h>
#include <linux/trace_clock.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>
#include <trace/events/workqueue.h>

#include "shim.h"

static char *mode = "delayed";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "how items run: direct (in module init) or delayed (delayed work) [delayed]");

static char *arrangement = "parallel";
module_param(arrangement, charp, 0444);
MODULE_PARM_DESC(arrangement, "parallel (all armed at once) or chain (each arms the next when it ends) [parallel]");

static char *body = "none";
module_param(body, charp, 0444);
MODULE_PARM_DESC(body, "what an item does for body_ns: none, spin or sleep [none]");

static char *queue = "system-percpu";
module_param(queue, charp, 0444);
MODULE_PARM_DESC(queue, "system-percpu, system-unbound, system-highpri, system-long, own-percpu or own-unbound [system-percpu]");

static char *start = "load";
module_param(start, charp, 0444);
MODULE_PARM_DESC(start, "load (items are armed by module init) or trigger (by a write to debugfs test_deferred/trigger) [load]");

/**
 * test_deferred_text - the value of a string parameter
 * @which: the parameter
 *
 * Context: any; parameters do not change after the load.
 * Return: a string that lives as long as the module.
 */
const char *test_deferred_text(enum test_deferred_text which)
{
	switch (which) {
	case TEST_DEFERRED_MODE:
		return mode;
	case TEST_DEFERRED_ARRANGEMENT:
		return arrangement;
	case TEST_DEFERRED_BODY:
		return body;
	case TEST_DEFERRED_QUEUE:
		return queue;
	case TEST_DEFERRED_START:
		return start;
	}
	return "";
}

/**
 * test_deferred_now - the clock that ftrace stamps its records with
 *
 * Context: any.
 * Return: nanoseconds.
 */
u64 test_deferred_now(void)
{
	return trace_clock_local();
}

static struct tracepoint *queue_tracepoint;
static work_func_t watched_function;

static void on_queue_work(void *data, int req_cpu,
			  struct pool_workqueue *pwq, struct work_struct *work)
{
	struct delayed_work *dwork;

	if (work->func != watched_function)
		return;
	dwork = to_delayed_work(work);
	test_deferred_trace_queued(test_deferred_item_id(work),
				   trace_clock_local(), dwork->timer.expires);
}

static void find_queue_tracepoint(struct tracepoint *tp, void *priv)
{
	if (!strcmp(tp->name, "workqueue_queue_work"))
		queue_tracepoint = tp;
}

/**
 * test_deferred_watch_queue - report when the kernel queues one of our items
 * @function: the work function that all items share
 *
 * The timer of a delayed work queues it without telling its owner; the kernel's
 * own tracepoint does.  It is found by name because it is not exported.
 *
 * Context: process context.
 * Return: 0, -ENOENT if the kernel has no such tracepoint, or what registering
 * the probe returned.
 */
int test_deferred_watch_queue(work_func_t function)
{
	int error;

	check_trace_callback_type_workqueue_queue_work(on_queue_work);
	for_each_kernel_tracepoint(find_queue_tracepoint, NULL);
	if (!queue_tracepoint)
		return -ENOENT;
	watched_function = function;
	error = tracepoint_probe_register(queue_tracepoint, on_queue_work, NULL);
	if (error)
		queue_tracepoint = NULL;
	return error;
}

/**
 * test_deferred_unwatch_queue - undo test_deferred_watch_queue()
 *
 * Context: process context; may sleep until no probe runs any more.
 */
void test_deferred_unwatch_queue(void)
{
	if (!queue_tracepoint)
		return;
	tracepoint_probe_unregister(queue_tracepoint, on_queue_work, NULL);
	tracepoint_synchronize_unregister();
	queue_tracepoint = NULL;
}

/**
 * test_deferred_alloc_queue - allocate a queue for the items of this module
 * @unbound: whether its workers may run on any CPU
 * @max_active: how many items may run at once, 0 for the kernel's default
 *
 * Context: process context; may sleep.
 * Return: the queue, to be freed by destroy_workqueue(), or NULL.
 */
struct workqueue_struct *test_deferred_alloc_queue(bool unbound, int max_active)
{
	return alloc_workqueue("test_deferred", unbound ? WQ_UNBOUND : WQ_PERCPU,
			       max_active);
}
