// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace events of test_deferred, in a module of their own, and the probe
 * that tells when the kernel queues an item.
 *
 * When a module that owns trace events is unloaded, the kernel empties every
 * trace buffer that has recorded one of them (trace_module_remove_events(),
 * Linux 7.3).  The unload of test_deferred is part of what is tested, so its
 * events live here, and this module stays loaded.
 */

#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/trace_clock.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>
#include <trace/events/workqueue.h>

#include "shim.h"

#define CREATE_TRACE_POINTS
#include "item_events.h"

/*
 * Each of these reads the clock and writes its event with interrupts off: the
 * time is that of the record, but for a few instructions.
 */

/**
 * test_deferred_trace_armed - report that an item is about to be armed
 * @id: the item
 * @delay_ns: the delay that was asked for
 * @delay_jiffies: the delay that the kernel is given
 *
 * Context: any.
 * Return: when, in nanoseconds.
 */
u64 test_deferred_trace_armed(u32 id, u64 delay_ns, u64 delay_jiffies)
{
	unsigned long flags;
	u64 time_ns;

	local_irq_save(flags);
	time_ns = trace_clock_local();
	trace_deferred_item_armed(id, time_ns, delay_ns, delay_jiffies);
	local_irq_restore(flags);
	return time_ns;
}
EXPORT_SYMBOL_GPL(test_deferred_trace_armed);

/**
 * test_deferred_trace_started - report that an item is called
 * @id: the item
 * @start: set to when, where and by whom
 *
 * Context: any.
 */
void test_deferred_trace_started(u32 id, struct test_deferred_start *start)
{
	unsigned long flags;

	local_irq_save(flags);
	start->time_ns = trace_clock_local();
	start->cpu = smp_processor_id();
	start->pid = current->pid;
	trace_deferred_item_started(id, start->time_ns);
	local_irq_restore(flags);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_started);

/**
 * test_deferred_trace_retried - report that an item returned and will be called
 *                               again
 * @id: the item
 * @attempt: which call of it this was, from 1
 * @error: why, as a negative errno
 *
 * Context: any.
 */
void test_deferred_trace_retried(u32 id, u32 attempt, int error)
{
	unsigned long flags;

	local_irq_save(flags);
	trace_deferred_item_retried(id, trace_clock_local(), attempt, error);
	local_irq_restore(flags);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_retried);

/**
 * test_deferred_trace_ended - report that an item is done
 * @id: the item
 * @error: 0 or a negative errno
 *
 * Context: any.
 * Return: when, in nanoseconds.
 */
u64 test_deferred_trace_ended(u32 id, int error)
{
	unsigned long flags;
	u64 time_ns;

	local_irq_save(flags);
	time_ns = trace_clock_local();
	trace_deferred_item_ended(id, time_ns, error);
	local_irq_restore(flags);
	return time_ns;
}
EXPORT_SYMBOL_GPL(test_deferred_trace_ended);

/**
 * test_deferred_trace_cancelled - report that an item was taken back
 * @id: the item
 *
 * Context: any.
 * Return: when, in nanoseconds.
 */
u64 test_deferred_trace_cancelled(u32 id)
{
	unsigned long flags;
	u64 time_ns;

	local_irq_save(flags);
	time_ns = trace_clock_local();
	trace_deferred_item_cancelled(id, time_ns);
	local_irq_restore(flags);
	return time_ns;
}
EXPORT_SYMBOL_GPL(test_deferred_trace_cancelled);

static struct tracepoint *queue_tracepoint;
static work_func_t watched_function;
static u32 (*item_queued)(struct work_struct *work, u64 time_ns, u64 expires);

static void on_queue_work(void *data, int req_cpu,
			  struct pool_workqueue *pwq, struct work_struct *work)
{
	u64 time_ns, expires;
	u32 id;

	if (work->func != READ_ONCE(watched_function))
		return;
	time_ns = trace_clock_local();
	expires = to_delayed_work(work)->timer.expires;
	id = item_queued(work, time_ns, expires);
	trace_deferred_item_queued(id, time_ns, expires);
}

/**
 * test_deferred_watch_queue - report when the kernel queues an item
 * @function: the work function that all items share, and nothing else
 * @queued: told of each such work, returns the id of its item
 *
 * The timer of a delayed work queues it without telling its owner; the kernel's
 * own tracepoint does.
 *
 * Context: any; not while another function is watched.
 */
void test_deferred_watch_queue(work_func_t function,
			       u32 (*queued)(struct work_struct *work,
					     u64 time_ns, u64 expires))
{
	item_queued = queued;
	/* Pairs with the dependency from the comparison in on_queue_work(). */
	smp_store_release(&watched_function, function);
}
EXPORT_SYMBOL_GPL(test_deferred_watch_queue);

/**
 * test_deferred_unwatch_queue - undo test_deferred_watch_queue()
 *
 * Once this returns, no report is under way, and @function and @queued of the
 * watch are not used any more.
 *
 * Context: process context; may sleep.
 */
void test_deferred_unwatch_queue(void)
{
	WRITE_ONCE(watched_function, NULL);
	tracepoint_synchronize_unregister();
}
EXPORT_SYMBOL_GPL(test_deferred_unwatch_queue);

static void find_queue_tracepoint(struct tracepoint *tp, void *priv)
{
	if (!strcmp(tp->name, "workqueue_queue_work"))
		queue_tracepoint = tp;
}

/*
 * The probe is registered here, and not when test_deferred is loaded, so that
 * its cost is no part of the module init that is measured.  The tracepoint is
 * found by name because it is not exported.
 */
static int __init test_deferred_events_init(void)
{
	check_trace_callback_type_workqueue_queue_work(on_queue_work);
	for_each_kernel_tracepoint(find_queue_tracepoint, NULL);
	if (!queue_tracepoint)
		return -ENOENT;
	return tracepoint_probe_register(queue_tracepoint, on_queue_work, NULL);
}
#ifdef MODULE
module_init(test_deferred_events_init);
#else
/* Before the first level that items can run at. */
pure_initcall(test_deferred_events_init);
#endif

static void __exit test_deferred_events_exit(void)
{
	tracepoint_probe_unregister(queue_tracepoint, on_queue_work, NULL);
	tracepoint_synchronize_unregister();
}
module_exit(test_deferred_events_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The deferinit developers");
MODULE_DESCRIPTION("Trace events of test_deferred");
