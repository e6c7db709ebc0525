// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an item of test_deferred costs, in C: the yardstick for the Rust one.
 *
 * A load arms ITEMS delayed works with an empty body.  Each does for its item
 * what test_deferred does: it changes the item's state, keeps its record, tells
 * it in trace events, looks at what comes after it, and counts it.  bench
 * compares the time from workqueue_execute_start to the body and from there to
 * workqueue_execute_end; see harness/xtask.
 */

#include <linux/atomic.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/trace_clock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define CREATE_TRACE_POINTS
#include "twin_events.h"

#define ITEMS 64

enum state {
	IDLE,
	ARMED,
	RUNNING,
	FINISHED,
};

struct item {
	u32 id;
	int runs;
	atomic_t state;
	atomic_t is_arming;
	atomic_t is_released;
	u64 started_ns;
	u64 ended_ns;
	int cpu;
	int pid;
	int attempts;
	int error;
	int followers;
	struct kref refs;
	struct delayed_work work;
};

/* Long enough for a harness to arm ftrace in between. */
static uint delay_ms = 5000;
module_param(delay_ms, uint, 0444);
MODULE_PARM_DESC(delay_ms, "delay of the items in ms [5000]");

static struct item *items[ITEMS];
static atomic_t started, ended;
static bool is_stopping;
static DECLARE_WAIT_QUEUE_HEAD(changed);

static noinline int twin_item_body(struct item *item)
{
	/* Not optimised away, and not known to return 0. */
	return READ_ONCE(item->error);
}

static void free_item(struct kref *refs)
{
	kfree(container_of(refs, struct item, refs));
}

static noinline void twin_run_item(struct item *item)
{
	unsigned long flags;
	int error;

	if (atomic_cmpxchg(&item->state, ARMED, RUNNING) != ARMED)
		return;
	item->attempts++;
	local_irq_save(flags);
	item->started_ns = trace_clock_local();
	item->cpu = smp_processor_id();
	item->pid = current->pid;
	trace_twin_item_started(item->id, item->started_ns);
	local_irq_restore(flags);
	if (item->attempts == 1)
		atomic_inc(&started);

	error = twin_item_body(item);
	if (!error && item->attempts < item->runs && !READ_ONCE(is_stopping))
		return;

	item->error = error;
	local_irq_save(flags);
	item->ended_ns = trace_clock_local();
	trace_twin_item_ended(item->id, item->ended_ns, error);
	local_irq_restore(flags);
	atomic_cmpxchg(&item->state, RUNNING, FINISHED);
	if (!atomic_read(&item->is_arming) &&
	    !atomic_xchg(&item->is_released, 1) && item->followers)
		wake_up_all(&changed);
	atomic_inc(&ended);
	if (wq_has_sleeper(&changed))
		wake_up_all(&changed);
}

static void twin_work(struct work_struct *work)
{
	struct item *item = container_of(to_delayed_work(work), struct item,
					 work);

	twin_run_item(item);
	kref_put(&item->refs, free_item);
}

static void stop(void)
{
	int id;

	WRITE_ONCE(is_stopping, true);
	for (id = 0; id < ITEMS; id++) {
		if (!items[id])
			continue;
		if (cancel_delayed_work_sync(&items[id]->work))
			kref_put(&items[id]->refs, free_item);
		kref_put(&items[id]->refs, free_item);
	}
}

static int __init twin_init(void)
{
	struct item *item;
	int id;

	for (id = 0; id < ITEMS; id++) {
		item = kzalloc_obj(*item);
		if (!item) {
			stop();
			return -ENOMEM;
		}
		item->id = id;
		item->runs = 1;
		atomic_set(&item->state, ARMED);
		kref_init(&item->refs);
		INIT_DELAYED_WORK(&item->work, twin_work);
		items[id] = item;
		kref_get(&item->refs);
		queue_delayed_work(system_percpu_wq, &item->work,
				   msecs_to_jiffies(delay_ms));
	}
	return 0;
}
module_init(twin_init);

static void __exit twin_exit(void)
{
	stop();
}
module_exit(twin_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The deferinit developers");
MODULE_DESCRIPTION("Items of test_deferred as C would have them");
