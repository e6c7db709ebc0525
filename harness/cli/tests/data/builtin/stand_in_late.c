// SPDX-License-Identifier: GPL-2.0-only
/*
 * A late initcall, with a parameter on the kernel's command line, that calls
 * Rust.
 */

#include <linux/init.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

int deferred_stand_in_answer(void);

static int wanted = 1;
module_param(wanted, int, 0444);

#ifndef MODULE
static int __init deferred_stand_in_late(void)
{
	pr_info("stand_in: the late initcall wanted %d and got %d\n", wanted,
		deferred_stand_in_answer());
	return 0;
}
late_initcall(deferred_stand_in_late);
#endif
