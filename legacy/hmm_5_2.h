/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.2, on hmm_mirror: a driver that was written against it builds
 * on today's kernels if it includes this instead.
 *
 * What it gains by moving to the native API (hmm_mirror.h; legacy/to_native.cocci does
 * most of it): several threads can fault on one range, as sequence and pages are the
 * caller's; ranges can stay registered, and be resized and split; the mmap lock is not
 * its concern any more, and is not held for as long as a large range takes; begin, fault
 * and commit with one deadline in one call; TLB flushes of several devices overlap.
 *
 * What is different from 2019 for the better is listed in docs/legacy.md.
 */
#ifndef HMM_MIRROR_LEGACY_HMM_5_2_H
#define HMM_MIRROR_LEGACY_HMM_5_2_H

#define HMM_LEGACY_RELEASE	502

#include "common.h"

/*
 * Ranges were registered with an mm, not with a mirror. So here is what mirrors the
 * driver has: one list, however many of its files include this.
 */
struct hmm_legacy_mirrors {
	spinlock_t lock;	/* protects list */
	struct list_head list;
};

extern struct hmm_legacy_mirrors hmm_legacy_mirrors;
struct hmm_legacy_mirrors __weak hmm_legacy_mirrors = {
	.lock = __SPIN_LOCK_UNLOCKED(hmm_legacy_mirrors.lock),
	.list = LIST_HEAD_INIT(hmm_legacy_mirrors.list),
};

/* The mmap lock is held for writing. */
static inline int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	int ret = hmm_legacy_attach(mirror, mm);

	if (ret)
		return ret;
	spin_lock(&hmm_legacy_mirrors.lock);
	list_add_tail(&mirror->list, &hmm_legacy_mirrors.list);
	spin_unlock(&hmm_legacy_mirrors.lock);
	return 0;
}

/* Not from ->release. Ranges of this mm become invalid, and wait for nothing. */
static inline void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	if (!mirror->hmm)
		return;
	spin_lock(&hmm_legacy_mirrors.lock);
	list_del(&mirror->list);
	spin_unlock(&hmm_legacy_mirrors.lock);
	hmm_legacy_detach(mirror);
}

static inline bool hmm_mirror_mm_is_alive(struct hmm_mirror *mirror)
{
	return mirror && mirror->hmm && atomic_read(&mirror->space.mm->mm_users);
}

static inline int hmm_range_register(struct hmm_range *range, struct mm_struct *mm,
				     unsigned long start, unsigned long end,
				     unsigned int page_shift)
{
	struct hmm_mirror *mirror;
	int ret = -EFAULT;

	range->start = start;
	range->end = end;
	range->page_shift = page_shift;
	range->hmm = NULL;
	spin_lock(&hmm_legacy_mirrors.lock);
	list_for_each_entry(mirror, &hmm_legacy_mirrors.list, list) {
		if (mirror->space.mm == mm) {
			ret = hmm_legacy_track(range, mirror);
			break;
		}
	}
	spin_unlock(&hmm_legacy_mirrors.lock);
	return ret;
}

/* The two halves of a fault, as they were before 5.1. */
static inline bool hmm_vma_range_done(struct hmm_range *range)
{
	bool valid = hmm_range_valid(range);

	hmm_range_unregister(range);
	return valid;
}

/*
 * With start, end and vma set. After -EAGAIN and -EBUSY the mmap lock was dropped; and
 * the range is not registered any more, of which 5.2 was not always sure.
 */
static inline int hmm_vma_fault(struct hmm_range *range, bool block)
{
	struct mm_struct *mm = range->vma->vm_mm;
	long ret;

	range->default_flags = 0;
	range->pfn_flags_mask = -1UL;
	ret = hmm_range_register(range, mm, range->start, range->end, PAGE_SHIFT);
	if (ret)
		return ret;

	if (!hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT)) {
		mmap_read_unlock(mm);
		hmm_range_unregister(range);
		return -EAGAIN;
	}
	ret = hmm_range_fault(range, block);
	if (ret > 0)
		return 0;
	if (!ret || ret == -EBUSY)
		mmap_read_unlock(mm);
	hmm_range_unregister(range);
	return !ret || ret == -EAGAIN ? -EBUSY : ret;
}

#endif /* HMM_MIRROR_LEGACY_HMM_5_2_H */
