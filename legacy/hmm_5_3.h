/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/hmm.h> of Linux 5.3, on hmm_mirror: a driver that was written against it builds
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
#ifndef HMM_MIRROR_LEGACY_HMM_5_3_H
#define HMM_MIRROR_LEGACY_HMM_5_3_H

#define HMM_LEGACY_RELEASE	503

#include "common.h"

/* The mmap lock is held for writing. */
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
