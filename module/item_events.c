// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace events of test_deferred, in a module of their own.
 *
 * When a module that owns trace events is unloaded, the kernel empties every
 * trace buffer that has recorded one of them (trace_module_remove_events(),
 * Linux 7.3).  The unload of test_deferred is part of what is tested, so its
 * events live here, and this module stays loaded.
 */

#include <linux/module.h>

#include "shim.h"

#define CREATE_TRACE_POINTS
#include "item_events.h"

/**
 * test_deferred_trace_armed - report that an item is about to be armed
 * @id: the item
 * @time_ns: when
 * @delay_ns: the delay that was asked for
 * @delay_jiffies: the delay that the kernel is given
 *
 * Context: any.
 */
void test_deferred_trace_armed(u32 id, u64 time_ns, u64 delay_ns,
			       u64 delay_jiffies)
{
	trace_deferred_item_armed(id, time_ns, delay_ns, delay_jiffies);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_armed);

/**
 * test_deferred_trace_queued - report that the kernel has queued an item
 * @id: the item
 * @time_ns: when
 * @expires: when its timer was to expire, in jiffies; 0 if it had none
 *
 * Context: any.
 */
void test_deferred_trace_queued(u32 id, u64 time_ns, u64 expires)
{
	trace_deferred_item_queued(id, time_ns, expires);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_queued);

/**
 * test_deferred_trace_started - report that an item runs
 * @id: the item
 * @time_ns: when
 *
 * Context: any.
 */
void test_deferred_trace_started(u32 id, u64 time_ns)
{
	trace_deferred_item_started(id, time_ns);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_started);

/**
 * test_deferred_trace_ended - report that an item is done
 * @id: the item
 * @time_ns: when
 * @error: 0 or a negative errno
 *
 * Context: any.
 */
void test_deferred_trace_ended(u32 id, u64 time_ns, int error)
{
	trace_deferred_item_ended(id, time_ns, error);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_ended);

/**
 * test_deferred_trace_cancelled - report that an item was cancelled
 * @id: the item
 * @time_ns: when
 *
 * Context: any.
 */
void test_deferred_trace_cancelled(u32 id, u64 time_ns)
{
	trace_deferred_item_cancelled(id, time_ns);
}
EXPORT_SYMBOL_GPL(test_deferred_trace_cancelled);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The deferinit developers");
MODULE_DESCRIPTION("Trace events of test_deferred");
