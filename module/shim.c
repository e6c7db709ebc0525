// SPDX-License-Identifier: GPL-2.0-only
/*
 * What test_deferred needs of the kernel where Rust has no way to it; shim.h
 * says why for each part.
 */

#include <linux/async.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/wait.h>

#include "shim.h"

/**
 * test_deferred_can_sleep - whether this is no interrupt
 *
 * Context: any.
 * Return: whether the caller may sleep, as far as interrupts are concerned.
 */
bool test_deferred_can_sleep(void)
{
	return !in_interrupt() && !irqs_disabled();
}

/**
 * test_deferred_cpu_is_online - whether work can be queued on a CPU
 * @cpu: its number, any
 *
 * Context: any.
 * Return: whether there is such a CPU, and it is online now.
 */
bool test_deferred_cpu_is_online(u32 cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

static DECLARE_WAIT_QUEUE_HEAD(changed);

/**
 * test_deferred_wait - wait until a condition holds
 * @condition: looked at again after each test_deferred_wake()
 * @argument: handed to @condition
 * @is_interruptible: whether a signal ends the wait
 *
 * Context: process context; sleeps.
 * Return: 0, or -ERESTARTSYS if a signal came first.
 */
int test_deferred_wait(bool (*condition)(const void *argument),
		       const void *argument, bool is_interruptible)
{
	if (is_interruptible)
		return wait_event_interruptible(changed, condition(argument));
	wait_event(changed, condition(argument));
	return 0;
}

/**
 * test_deferred_wake - let all who wait look at their condition
 *
 * Context: any.
 */
void test_deferred_wake(void)
{
	if (wq_has_sleeper(&changed))
		wake_up_all(&changed);
}

#define AFFINITY_FILE "/sys/devices/virtual/workqueue/%s/affinity_scope"

static int set_affinity(const char *queue, const char *affinity)
{
	struct file *file;
	loff_t position = 0;
	ssize_t written;
	char *path;

	path = kasprintf(GFP_KERNEL, AFFINITY_FILE, queue);
	if (!path)
		return -ENOMEM;
	file = filp_open(path, O_WRONLY, 0);
	kfree(path);
	if (IS_ERR(file))
		return PTR_ERR(file);
	written = kernel_write(file, affinity, strlen(affinity), &position);
	filp_close(file, NULL);
	return written < 0 ? written : 0;
}

/**
 * test_deferred_alloc_queue - allocate a queue for the items of this module
 * @name: what the kernel shall call it
 * @flags: of enum wq_flags
 * @ordered: whether it is an ordered one
 * @max_active: how many items may run at once, 0 for the kernel's default
 * @affinity: an affinity scope as sysfs takes it, or NULL for the default
 *
 * The affinity scope is written to sysfs, which must be mounted.
 *
 * Context: process context; may sleep.
 * Return: the queue, to be freed by destroy_workqueue(), or an ERR_PTR.
 */
struct workqueue_struct *test_deferred_alloc_queue(const char *name, u32 flags,
						   bool ordered, int max_active,
						   const char *affinity)
{
	struct workqueue_struct *queue;
	int error;

	if (ordered)
		queue = alloc_ordered_workqueue("%s", flags, name);
	else
		queue = alloc_workqueue("%s",
					affinity ? flags | WQ_SYSFS : flags,
					max_active, name);
	if (!queue)
		return ERR_PTR(-ENOMEM);
	if (affinity) {
		error = set_affinity(name, affinity);
		if (error) {
			destroy_workqueue(queue);
			return ERR_PTR(error);
		}
	}
	return queue;
}

/* Exclusive: async_synchronize_full(), as at the end of a load, does not wait. */
static ASYNC_DOMAIN_EXCLUSIVE(domain);

static void run_async(void *item, async_cookie_t cookie)
{
	test_deferred_run_async(item);
}

/**
 * test_deferred_schedule_async - give an item to async_schedule_domain()
 * @item: must live until test_deferred_wait_for_async() has returned
 *
 * Context: any.
 */
void test_deferred_schedule_async(void *item)
{
	async_schedule_domain(run_async, item, &domain);
}

/**
 * test_deferred_wait_for_async - wait for all items that were scheduled
 *
 * Context: process context; sleeps.
 */
void test_deferred_wait_for_async(void)
{
	async_synchronize_full_domain(&domain);
}

/**
 * test_deferred_create_thread - make the thread of an item
 * @item: what it runs; must live until test_deferred_stop_thread()
 * @name: the item's
 * @cpu: the one CPU it may run on, or -1
 *
 * Context: process context; may sleep.
 * Return: the thread, which does not run yet, or an ERR_PTR.
 */
struct task_struct *test_deferred_create_thread(void *item, const char *name,
						int cpu)
{
	struct task_struct *task;

	task = kthread_create(test_deferred_run_thread, item, "deferred/%s",
			      name);
	if (IS_ERR(task))
		return task;
	/* It may have ended long before it is stopped. */
	get_task_struct(task);
	if (cpu >= 0)
		kthread_bind(task, cpu);
	return task;
}

/**
 * test_deferred_start_thread - let the thread of an item run
 * @task: from test_deferred_create_thread()
 *
 * Context: any.
 */
void test_deferred_start_thread(struct task_struct *task)
{
	wake_up_process(task);
}

/**
 * test_deferred_stop_thread - wait for the end of a thread, and free it
 * @task: from test_deferred_create_thread(); one that was not started never
 *        runs its item
 *
 * Context: process context; sleeps.
 */
void test_deferred_stop_thread(struct task_struct *task)
{
	kthread_stop_put(task);
}
