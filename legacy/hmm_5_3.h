/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.3, on top of hmm_mirror. A driver for 5.3 builds on today's
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
#ifndef HMM_MIRROR_LEGACY_HMM_5_3_H
#define HMM_MIRROR_LEGACY_HMM_5_3_H

#define HMM_LEGACY_RELEASE	503

#include "common.h"

/* The caller holds the mmap lock for writing. */
static inline int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	return hmm_legacy_attach(mirror, mm);
}

static inline void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	hmm_legacy_detach(mirror);
}

static inline int hmm_range_register(struct hmm_range *range, struct hmm_mirror *mirror,
				     unsigned long start, unsigned long end,
				     unsigned int page_shift)
{
	range->start = start;
	range->end = end;
	range->page_shift = page_shift;
	return hmm_legacy_track(range, mirror);
}

#endif /* HMM_MIRROR_LEGACY_HMM_5_3_H */
