// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parameters of test_deferred.  All are texts: plan.rs parses them, so that
 * each mistake gets a line that says what is allowed.
 */

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "shim.h"

/*
 * The arguments of a module are freed once they are parsed.  Those of the
 * kernel are parsed before there is an allocator, and stay.
 */
#ifdef MODULE
#define ARE_FREED true
#else
#define ARE_FREED false
#endif

struct text {
	const char *text;
	bool is_given;
	bool is_copied;
};

static int text_set(const char *value, const struct kernel_param *param)
{
	struct text *text = param->arg;
	const bool copy = ARE_FREED;

	if (copy) {
		size_t size = strlen(value) + 1;

		value = kvmemdup(value, size, GFP_KERNEL);
		if (!value)
			return -ENOMEM;
	}
	if (text->is_copied)
		kvfree(text->text);
	text->text = value;
	text->is_given = true;
	text->is_copied = copy;
	return 0;
}

static int text_get(char *buffer, const struct kernel_param *param)
{
	struct text *text = param->arg;

	return scnprintf(buffer, PAGE_SIZE, "%s\n", text->text);
}

static void text_free(void *arg)
{
	struct text *text = arg;

	if (text->is_copied)
		kvfree(text->text);
}

static const struct kernel_param_ops text_ops = {
	.set = text_set,
	.get = text_get,
	.free = text_free,
};

#define TEXT(_name, _default, _description)				\
	static struct text _name = { .text = _default };		\
	module_param_cb(_name, &text_ops, &_name, 0444);		\
	__MODULE_PARM_TYPE(_name, "string");				\
	MODULE_PARM_DESC(_name, _description " [" _default "]")

/* In the kernel image there is no load: nothing runs unless it is asked for. */
#ifdef MODULE
#define DEFAULT_ITEMS "1"
#else
#define DEFAULT_ITEMS "0"
#endif

TEXT(items, DEFAULT_ITEMS, "how many items to run, 1 to 4096");
TEXT(mode, "delayed", "how items run: direct, delayed, work, deferrable, async, kthread, probe or hrtimer");
TEXT(arrangement, "parallel", "parallel (all armed at once) or chain (each is armed when the one before has ended)");
TEXT(delay_ns, "0", "delay of the first item in ns; modes delayed, deferrable and hrtimer");
TEXT(step_ns, "0", "how much longer each further item is delayed than the one before, in ns");
TEXT(body, "none", "what an item does: none, or 1 to 8 of spin:NS, sleep:NS, alloc:BYTES, lock:NAME, wait, complete:ITEM, fail:ERRNO, print, cancel:ITEM, flush:ITEM, modify:ITEM:NS, destroy:QUEUE and hang, separated by /");
TEXT(queue, "system-percpu", "system-percpu, -unbound, -highpri, -long, -freezable, -bh, -bh-highpri, or one of queues");
TEXT(cpu, "any", "the CPU to queue items on, or that of their threads");
TEXT(runs, "1", "how often an item runs: it queues itself again until then");
TEXT(defer, "0", "how often a probe is deferred, or forever");
TEXT(async_probe, "0", "1 for drivers that probe asynchronously");
TEXT(start, "load", "load (items are armed by module init) or trigger (by a write to debugfs test_deferred/trigger)");
TEXT(queues, "", "own queues, separated by ;: NAME:ATTRIBUTE,.. of unbound, highpri, freezable, bh, mem_reclaim, cpu_intensive, power_efficient, ordered, max_active=N and affinity=SCOPE");
TEXT(plan, "", "items of their own, separated by ;: NAME:KEY=VALUE,.. of mode, delay_ns, body, queue, cpu, runs, defer, async_probe, after=A+B, supplier=A+B and level");
TEXT(delays, "", "how long calls of functions are delayed, separated by ;: FUNCTION:CALL:NS, with CALL 0 for each; not in the kernel's image");
TEXT(fault, "none", "none, or race: items share a device that is used before it is set up if two items meet");

static const struct text *const texts[TEST_DEFERRED_PARAMETERS] = {
	[TEST_DEFERRED_ITEMS] = &items,
	[TEST_DEFERRED_MODE] = &mode,
	[TEST_DEFERRED_ARRANGEMENT] = &arrangement,
	[TEST_DEFERRED_DELAY_NS] = &delay_ns,
	[TEST_DEFERRED_STEP_NS] = &step_ns,
	[TEST_DEFERRED_BODY] = &body,
	[TEST_DEFERRED_QUEUE] = &queue,
	[TEST_DEFERRED_CPU] = &cpu,
	[TEST_DEFERRED_RUNS] = &runs,
	[TEST_DEFERRED_DEFER] = &defer,
	[TEST_DEFERRED_ASYNC_PROBE] = &async_probe,
	[TEST_DEFERRED_START] = &start,
	[TEST_DEFERRED_QUEUES] = &queues,
	[TEST_DEFERRED_PLAN] = &plan,
	[TEST_DEFERRED_DELAYS] = &delays,
	[TEST_DEFERRED_FAULT] = &fault,
};

/**
 * test_deferred_text - the value of a parameter
 * @which: the parameter, below TEST_DEFERRED_PARAMETERS
 *
 * Context: any; parameters do not change after the load.
 * Return: a string that lives as long as the module.
 */
const char *test_deferred_text(enum test_deferred_parameter which)
{
	return texts[which]->text;
}

/**
 * test_deferred_is_given - whether a parameter does not have its default
 * @which: the parameter, below TEST_DEFERRED_PARAMETERS
 *
 * Context: any.
 * Return: whether the user has given it.
 */
bool test_deferred_is_given(enum test_deferred_parameter which)
{
	return texts[which]->is_given;
}
