// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that the benchmark calls and the kernel does not export. The module defines
 * functions of the same names, which jump to those of the kernel: one or two instructions.
 */
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/static_call.h>

#include "bench.h"

static unsigned long lookup;
module_param(lookup, ulong, 0400);
MODULE_PARM_DESC(lookup, "Address of kallsyms_lookup_name()");

DEFINE_STATIC_CALL_NULL(range_start, __mmu_notifier_invalidate_range_start);
DEFINE_STATIC_CALL_NULL(range_end, __mmu_notifier_invalidate_range_end);
DEFINE_STATIC_CALL_NULL(alloc, mm_alloc);

notrace int __mmu_notifier_invalidate_range_start(struct mmu_notifier_range *update)
{
	return static_call(range_start)(update);
}

notrace void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *update)
{
	static_call(range_end)(update);
}

struct mm_struct *mm_alloc(void)
{
	return static_call(alloc)();
}

void *bench_lookup(const char *symbol)
{
	void *address = (void *)((unsigned long (*)(const char *))lookup)(symbol);

	if (!address)
		pr_err("bench: this kernel has no %s\n", symbol);
	return address;
}

int bench_unexported(void)
{
	void *start, *end, *new;

	if (!lookup) {
		pr_err("bench: lookup= is missing\n");
		return -EINVAL;
	}

	start = bench_lookup("__mmu_notifier_invalidate_range_start");
	end = bench_lookup("__mmu_notifier_invalidate_range_end");
	new = bench_lookup("mm_alloc");
	if (!start || !end || !new)
		return -ENOENT;
	static_call_update(range_start, start);
	static_call_update(range_end, end);
	static_call_update(alloc, new);
	return 0;
}
