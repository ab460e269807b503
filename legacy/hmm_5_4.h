/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.4, on hmm_mirror: a driver that was written against it builds
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
#ifndef HMM_MIRROR_LEGACY_HMM_5_4_H
#define HMM_MIRROR_LEGACY_HMM_5_4_H

#define HMM_LEGACY_RELEASE	504

#include "common.h"

/* hmm_range_fault(): */
#define HMM_FAULT_ALLOW_RETRY	BIT(0)	/* may drop the mmap lock; -EAGAIN if it did */
#define HMM_FAULT_SNAPSHOT	BIT(1)	/* fault nothing in */

/* The mmap lock is held for writing. */
static inline int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	return hmm_legacy_attach(mirror, mm);
}

static inline void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	hmm_legacy_detach(mirror);
}

/* With start and end set. */
static inline int hmm_range_register(struct hmm_range *range, struct hmm_mirror *mirror)
{
	range->page_shift = PAGE_SHIFT;
	return hmm_legacy_track(range, mirror);
}

/**
 * hmm_range_fault() - read the pages of a range, and fault them in
 * @range: a registered range
 * @flags: HMM_FAULT_ALLOW_RETRY, HMM_FAULT_SNAPSHOT
 *
 * Context: process context, sleeps. The mmap lock is held for reading.
 * Return: the number of pages, which is all of them; -EBUSY while the range is being
 * invalidated: wait and try again; -EAGAIN, with the mmap lock dropped: try again, only
 * with HMM_FAULT_ALLOW_RETRY; -EFAULT if there is no memory, or none that a device can
 * use; -EPERM if it is not to be read or written; -ENOMEM and others as of handle_mm_fault().
 */
static inline long hmm_range_fault(struct hmm_range *range, unsigned int flags)
{
	struct hmm_legacy_read read = {
		.range = range,
		.fault = !(flags & HMM_FAULT_SNAPSHOT),
		.may_unlock = flags & HMM_FAULT_ALLOW_RETRY,
	};
	int ret = hmm_legacy_begin(range);

	return ret ?: hmm_legacy_pages(range, hmm_legacy_read_range(&read), false);
}

/* hmm_range_fault(), and map what it found. Returns how many pages were mapped. */
static inline long hmm_range_dma_map(struct hmm_range *range, struct device *device,
				     dma_addr_t *daddrs, unsigned int flags)
{
	long ret = hmm_range_fault(range, flags);

	return ret < 0 ? ret : hmm_legacy_dma_map(range, device, daddrs);
}

/* Under the lock that the callback takes. Returns how many pages were unmapped. */
static inline long hmm_range_dma_unmap(struct hmm_range *range, struct device *device,
				       dma_addr_t *daddrs, bool dirty)
{
	return hmm_legacy_dma_unmap_range(range, device, daddrs, dirty);
}

#endif /* HMM_MIRROR_LEGACY_HMM_5_4_H */
