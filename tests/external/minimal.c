// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest driver on hmm_mirror, built outside of its tree against what is
 * installed. While it is loaded, its "device" maps one page of the program that
 * loaded it: the one with the program's arguments.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>

#include "hmm_mirror.h"

/* The driver's lock; the device page table, which has one entry, is under it. */
static DEFINE_MUTEX(pte_lock);
static unsigned long device_pte;

static struct hmm_mirror_range range;

static int minimal_sync(struct hmm_mirror *mirror,
			const struct mmu_notifier_range *update)
{
	if (mmu_notifier_range_blockable(update))
		mutex_lock(&pte_lock);
	else if (!mutex_trylock(&pte_lock))
		return -EAGAIN;
	if (update->start < range.end && update->end > range.start)
		device_pte = 0;
	mutex_unlock(&pte_lock);
	return 0;
}

static void minimal_release(struct hmm_mirror *mirror)
{
	mutex_lock(&pte_lock);
	device_pte = 0;
	mutex_unlock(&pte_lock);
}

static const struct hmm_mirror_ops minimal_ops = {
	.sync_cpu_device_pagetables = minimal_sync,
	.release = minimal_release,
};

static struct hmm_mirror mirror = { .ops = &minimal_ops };

static int minimal_commit(struct hmm_mirror_range *range, unsigned long seq,
			  const struct hmm_mirror_fault *fault, void *arg)
{
	int ret;

	mutex_lock(&pte_lock);
	ret = hmm_mirror_range_commit(range, seq, fault);
	if (!ret)
		device_pte = fault->pfns[0];
	mutex_unlock(&pte_lock);
	return ret;
}

static int __init minimal_init(void)
{
	unsigned long pfn = 0;
	struct hmm_mirror_fault fault = {
		.pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT,
	};
	int ret;

	ret = hmm_mirror_attach(&mirror, current->mm);
	if (ret)
		return ret;

	range.start = current->mm->arg_start & PAGE_MASK;
	range.end = range.start + PAGE_SIZE;
	ret = hmm_mirror_range_register(&range, &mirror);
	if (ret)
		goto err_mirror;

	fault.start = range.start;
	fault.end = range.end;
	ret = hmm_mirror_range_populate(&range, &fault, HMM_MIRROR_DEFAULT_TIMEOUT,
					minimal_commit, NULL);
	if (ret)
		goto err_range;

	pr_info("the device maps a page\n");
	return 0;

err_range:
	hmm_mirror_range_unregister(&range);
err_mirror:
	hmm_mirror_unregister(&mirror);
	return ret;
}

static void __exit minimal_exit(void)
{
	/* The program has ended long ago, and hmm_mirror has told us. */
	pr_info("the device maps %s\n", device_pte ? "a page of a dead process" : "nothing");
	hmm_mirror_unregister(&mirror);
	hmm_mirror_range_unregister(&range);
}

module_init(minimal_init);
module_exit(minimal_exit);

MODULE_DESCRIPTION("The smallest driver on hmm_mirror");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
