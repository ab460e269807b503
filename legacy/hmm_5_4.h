/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.4, on top of hmm_mirror. A driver for 5.4 builds on today's
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
#ifndef HMM_MIRROR_LEGACY_HMM_5_4_H
#define HMM_MIRROR_LEGACY_HMM_5_4_H

#define HMM_LEGACY_RELEASE	504

#include "common.h"

/* Flags of hmm_range_fault() */
#define HMM_FAULT_ALLOW_RETRY	BIT(0)	/* may drop the mmap lock and return -EAGAIN */
#define HMM_FAULT_SNAPSHOT	BIT(1)	/* do not fault pages in */

/* The caller holds the mmap lock for writing. */
static inline int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	return hmm_legacy_attach(mirror, mm);
}

static inline void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	hmm_legacy_detach(mirror);
}

/* The caller has set start and end. */
static inline int hmm_range_register(struct hmm_range *range, struct hmm_mirror *mirror)
{
	range->page_shift = PAGE_SHIFT;
	return hmm_legacy_track(range, mirror);
}

/**
 * hmm_range_fault() - read the pages of a range and fault them in
 * @range: a registered range
 * @flags: HMM_FAULT_ALLOW_RETRY, HMM_FAULT_SNAPSHOT
 *
 * Context: process context, sleeps. The caller holds the mmap lock for reading.
 * Return: the number of pages, which is that of the range; -EBUSY if an invalidation of the
 * range is in flight: wait and try again; -EAGAIN, only with HMM_FAULT_ALLOW_RETRY, if the
 * mmap lock was dropped: try again; -EFAULT if there is no memory, or none that a device can
 * use; -EPERM if the access is not allowed; -ENOMEM and others as of handle_mm_fault().
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

/* Call hmm_range_fault() and map the pages. Return the number of pages mapped. */
static inline long hmm_range_dma_map(struct hmm_range *range, struct device *device,
				     dma_addr_t *daddrs, unsigned int flags)
{
	long ret = hmm_range_fault(range, flags);

	return ret < 0 ? ret : hmm_legacy_dma_map(range, device, daddrs);
}

/* The caller holds the lock that the callback takes. Return the number of pages unmapped. */
static inline long hmm_range_dma_unmap(struct hmm_range *range, struct device *device,
				       dma_addr_t *daddrs, bool dirty)
{
	return hmm_legacy_dma_unmap_range(range, device, daddrs, dirty);
}

#endif /* HMM_MIRROR_LEGACY_HMM_5_4_H */
