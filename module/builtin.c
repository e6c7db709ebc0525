// SPDX-License-Identifier: GPL-2.0-only
/*
 * The initcalls of test_deferred in the kernel image.  module! makes the one of
 * the device level.
 */

#include <linux/init.h>

#include "shim.h"

/* As enum Level in plan.rs. */
enum initcall_level {
	LEVEL_CORE,
	LEVEL_SUBSYS,
	LEVEL_DEVICE,
	LEVEL_LATE,
};

static int __init test_deferred_core(void)
{
	test_deferred_run_level(LEVEL_CORE);
	return 0;
}
core_initcall(test_deferred_core);

static int __init test_deferred_subsys(void)
{
	test_deferred_run_level(LEVEL_SUBSYS);
	return 0;
}
subsys_initcall(test_deferred_subsys);

static int __init test_deferred_late(void)
{
	test_deferred_run_level(LEVEL_LATE);
	return 0;
}
late_initcall(test_deferred_late);
