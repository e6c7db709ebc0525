// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - one fault of the kernel, a while after the load
 *
 * A file for each fault includes this one, with FAULT defined; FAULT_NOW is for one right away. What must spin with
 * interrupts off, or leaves no way to handle an exception, cannot be had from user space.
 */

#include <linux/delay.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/workqueue.h>
#include <asm/desc.h>

/* After the tracer is armed, within the measured window. */
#ifdef FAULT_NOW
#define DELAY	0
#else
#define DELAY	(3 * HZ)
#endif

static void fault_oops(void)
{
	WRITE_ONCE(*(volatile int *)8, 1);
}

static void fault_bug(void)
{
	BUG();
}

static void fault_warning(void)
{
	WARN_ON(1);
}

static void fault_panic(void)
{
	panic("asked to");
}

static void fault_hard_lockup(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void fault_soft_lockup(void)
{
	preempt_disable();
	mdelay(6000);
	preempt_enable();
}

static void fault_triple(void)
{
	const struct desc_ptr none = { };

	asm volatile("lidt %0; int3" : : "m" (none));
}

static void fault(struct work_struct *work)
{
	pr_info("fault: " __stringify(FAULT) "\n");
	FAULT();
}

static DECLARE_DELAYED_WORK(fault_work, fault);

static int __init fault_init(void)
{
	schedule_delayed_work(&fault_work, DELAY);
	return 0;
}
module_init(fault_init);

MODULE_DESCRIPTION("One fault of the kernel");
MODULE_LICENSE("GPL");
