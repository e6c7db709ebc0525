// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of test_deferred in debugfs.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "shim.h"

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

/* The header is position 0, item N position N + 1. */
static void *results_start(struct seq_file *file, loff_t *position)
{
	struct test_deferred_record record;

	if (*position == 0)
		return SEQ_START_TOKEN;
	if (!test_deferred_read_record(file->private, *position - 1, &record))
		return NULL;
	return position;
}

static void *results_next(struct seq_file *file, void *data, loff_t *position)
{
	++*position;
	return results_start(file, position);
}

static void results_stop(struct seq_file *file, void *data)
{
}

static void show_time(struct seq_file *file, u64 time)
{
	if (time)
		seq_printf(file, "\t%llu", time);
	else
		seq_puts(file, "\t-");
}

static int results_show(struct seq_file *file, void *data)
{
	struct test_deferred_record record;
	loff_t *position = data;

	if (data == SEQ_START_TOKEN) {
		seq_puts(file, "id\tname\tmode\tarmed_ns\texpires_jiffies\tqueued_ns\tstarted_ns\tended_ns\tcancelled_ns\tcpu\tpid\tattempts\terrno\n");
		return 0;
	}
	if (!test_deferred_read_record(file->private, *position - 1, &record))
		return -EINVAL;
	seq_printf(file, "%llu\t%.*s\t%.*s", *position - 1,
		   (int)record.name_length, record.name,
		   (int)record.mode_length, record.mode);
	show_time(file, record.armed_ns);
	show_time(file, record.expires_jiffies);
	show_time(file, record.queued_ns);
	show_time(file, record.started_ns);
	show_time(file, record.ended_ns);
	show_time(file, record.cancelled_ns);
	if (record.attempts)
		seq_printf(file, "\t%d\t%d", record.cpu, record.pid);
	else
		seq_puts(file, "\t-\t-");
	seq_printf(file, "\t%u", record.attempts);
	if (record.ended_ns)
		seq_printf(file, "\t%d\n", record.error);
	else
		seq_puts(file, "\t-\n");
	return 0;
}

static const struct seq_operations results_sops = {
	.start = results_start,
	.next = results_next,
	.stop = results_stop,
	.show = results_show,
};
DEFINE_SEQ_ATTRIBUTE(results);

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
	debugfs_create_file("results", 0400, folder, workload, &results_fops);
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
