// SPDX-License-Identifier: GPL-2.0-only
/*
 * What test_deferred needs from C; shim.h says why for each part.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/trace_clock.h>
#include <linux/workqueue.h>

#include "shim.h"

static char *items = "1";
module_param(items, charp, 0444);
MODULE_PARM_DESC(items, "how many items to run, 1 to 4096 [1]");

static char *mode = "delayed";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "how items run: direct (in module init) or delayed (delayed work) [delayed]");

static char *arrangement = "parallel";
module_param(arrangement, charp, 0444);
MODULE_PARM_DESC(arrangement, "parallel (all armed at once) or chain (each arms the next when it ends) [parallel]");

static char *delay_ns = "0";
module_param(delay_ns, charp, 0444);
MODULE_PARM_DESC(delay_ns, "delay of the first item in ns, rounded up to a jiffy [0]");

static char *step_ns = "0";
module_param(step_ns, charp, 0444);
MODULE_PARM_DESC(step_ns, "how much longer each further item is delayed than the one before, in ns [0]");

static char *body = "none";
module_param(body, charp, 0444);
MODULE_PARM_DESC(body, "what an item does for body_ns: none, spin or sleep [none]");

static char *body_ns = "0";
module_param(body_ns, charp, 0444);
MODULE_PARM_DESC(body_ns, "how long the body spins or sleeps, in ns [0]");

static char *queue = "system-percpu";
module_param(queue, charp, 0444);
MODULE_PARM_DESC(queue, "system-percpu, system-unbound, system-highpri, system-long, own-percpu or own-unbound [system-percpu]");

static char *max_active = "0";
module_param(max_active, charp, 0444);
MODULE_PARM_DESC(max_active, "how many items an own queue runs at once, 0 for the kernel's default [0]");

static char *start = "load";
module_param(start, charp, 0444);
MODULE_PARM_DESC(start, "load (items are armed by module init) or trigger (by a write to debugfs test_deferred/trigger) [load]");

/**
 * test_deferred_text - the value of a parameter
 * @which: the parameter
 *
 * Context: any; parameters do not change after the load.
 * Return: a string that lives as long as the module.
 */
const char *test_deferred_text(enum test_deferred_parameter which)
{
	switch (which) {
	case TEST_DEFERRED_ITEMS:
		return items;
	case TEST_DEFERRED_MODE:
		return mode;
	case TEST_DEFERRED_ARRANGEMENT:
		return arrangement;
	case TEST_DEFERRED_DELAY_NS:
		return delay_ns;
	case TEST_DEFERRED_STEP_NS:
		return step_ns;
	case TEST_DEFERRED_BODY:
		return body;
	case TEST_DEFERRED_BODY_NS:
		return body_ns;
	case TEST_DEFERRED_QUEUE:
		return queue;
	case TEST_DEFERRED_MAX_ACTIVE:
		return max_active;
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

static struct dentry *folder;

static int show(struct seq_file *file, bool wait)
{
	struct test_deferred_progress progress;

	test_deferred_read_progress(file->private, wait, &progress);
	seq_printf(file, "items %u armed %u started %u ended %u cancelled %u\n",
		   progress.items, progress.armed, progress.started,
		   progress.ended, progress.cancelled);
	return 0;
}

static int state_show(struct seq_file *file, void *data)
{
	return show(file, false);
}
DEFINE_SHOW_ATTRIBUTE(state);

static int done_show(struct seq_file *file, void *data)
{
	return show(file, true);
}
DEFINE_SHOW_ATTRIBUTE(done);

static ssize_t trigger_write(struct file *file, const char __user *bytes,
			     size_t count, loff_t *position)
{
	int error = test_deferred_trigger(file->private_data);

	return error ? error : count;
}

static const struct file_operations trigger_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = trigger_write,
};

/**
 * test_deferred_create_files - create the folder in debugfs
 * @workload: what the files show and trigger; must live until
 *            test_deferred_remove_files() has returned
 *
 * The kernel works without debugfs, and so do we: there is no error.
 *
 * Context: process context; may sleep.
 */
void test_deferred_create_files(void *workload)
{
	folder = debugfs_create_dir("test_deferred", NULL);
	debugfs_create_file("trigger", 0200, folder, workload, &trigger_fops);
	debugfs_create_file("state", 0400, folder, workload, &state_fops);
	debugfs_create_file("done", 0400, folder, workload, &done_fops);
}

/**
 * test_deferred_remove_files - undo test_deferred_create_files()
 *
 * Once this returns, no read or write is under way.
 *
 * Context: process context; may sleep.
 */
void test_deferred_remove_files(void)
{
	debugfs_remove(folder);
}
