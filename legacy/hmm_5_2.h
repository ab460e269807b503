/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.2, on top of hmm_mirror. A driver for 5.2 builds on today's
 * kernels if it includes this file instead.
 *
 * A driver gains more from the native API (hmm_mirror.h), to which legacy/to_native.cocci
 * converts most of its code: several threads can fault on one range, because each has its own
 * sequence and pages; ranges can stay registered, and be resized and split; the driver need
 * not take the mmap lock, and a fault of a large range does not hold it all the time; one call
 * does begin, fault and commit with one deadline; TLB flushes of several devices overlap.
 *
 * docs/legacy.md lists the differences from 2019.
 */
#ifndef HMM_MIRROR_LEGACY_HMM_5_2_H
#define HMM_MIRROR_LEGACY_HMM_5_2_H

#define HMM_LEGACY_RELEASE	502

#include "common.h"

/*
 * In 5.2 drivers register ranges with an mm, not with a mirror. So keep a list of the driver's
 * mirrors. There is one list, even if several files of the driver include this one.
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

/* The caller holds the mmap lock for writing. */
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

/* Not from ->release. Ranges of @mirror become invalid, and waits for them end at once. */
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

/* The two halves of a fault, as before 5.1. */
static inline bool hmm_vma_range_done(struct hmm_range *range)
{
	bool valid = hmm_range_valid(range);

	hmm_range_unregister(range);
	return valid;
}

/*
 * The caller has set start, end and vma. After -EAGAIN and -EBUSY the mmap lock is dropped.
 * After an error the range is not registered; in 5.2 it sometimes was.
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
