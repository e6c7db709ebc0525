// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delays at the entry of named functions, by kprobes.
 *
 * The CPU that calls such a function is kept busy there; what else goes on,
 * goes on: other CPUs, and interrupts unless the caller has them off.  So a
 * window between two steps of the kernel or of an item becomes as long as one
 * likes, without a change of either.
 *
 * A function that is called on a CPU while that is kept busy, by an interrupt,
 * is neither delayed nor counted: kprobes do not nest.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/time64.h>

#include "shim.h"

struct delay {
	struct list_head link;
	struct kprobe probe;
	/* Which call is delayed, from 1 on; 0 for each. */
	u32 call;
	u64 ns;
	atomic_t calls;
};

static LIST_HEAD(delays);

static int keep_busy(struct kprobe *probe, struct pt_regs *regs)
{
	struct delay *delay = container_of(probe, struct delay, probe);
	u32 call = atomic_inc_return(&delay->calls);
	u64 us;
	u32 ns;

	if (delay->call && delay->call != call)
		return 0;
	us = div_u64_rem(delay->ns, NSEC_PER_USEC, &ns);
	for (; us > USEC_PER_MSEC; us -= USEC_PER_MSEC)
		udelay(USEC_PER_MSEC);
	udelay(us);
	ndelay(ns);
	return 0;
}

/**
 * test_deferred_add_delay - delay calls of a function from now on
 * @function: its name, of the kernel or of a module that is loaded
 * @length: how many bytes @function has; it need not be terminated
 * @call: which of the calls from now on, from 1 on; 0 for each
 * @ns: for how long
 *
 * Context: process context; may sleep.  One caller at a time.
 * Return: 0 or a negative errno: -ENOENT if there is no such function, another
 *         one if the kernel allows no kprobe there.
 */
int test_deferred_add_delay(const char *function, size_t length, u32 call,
			    u64 ns)
{
	struct delay *delay;
	int error = -ENOMEM;

	delay = kzalloc_obj(*delay);
	if (!delay)
		return error;
	delay->call = call;
	delay->ns = ns;
	delay->probe.pre_handler = keep_busy;
	delay->probe.symbol_name = kmemdup_nul(function, length, GFP_KERNEL);
	if (!delay->probe.symbol_name)
		goto free;
	error = register_kprobe(&delay->probe);
	if (error)
		goto free;
	list_add(&delay->link, &delays);
	return 0;
free:
	kfree(delay->probe.symbol_name);
	kfree(delay);
	return error;
}

/**
 * test_deferred_remove_delays - undo every test_deferred_add_delay()
 *
 * Once this returns, no CPU is kept busy any more.
 *
 * Context: process context; sleeps.  One caller at a time.
 */
void test_deferred_remove_delays(void)
{
	struct delay *delay, *next;

	list_for_each_entry_safe(delay, next, &delays, link) {
		unregister_kprobe(&delay->probe);
		kfree(delay->probe.symbol_name);
		kfree(delay);
	}
	INIT_LIST_HEAD(&delays);
}
