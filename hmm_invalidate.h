/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: start and end of an invalidation, as far as each one passes through them. See
 * hmm_invalidate.c for how they work.
 */
#ifndef HMM_MIRROR_INVALIDATE_H
#define HMM_MIRROR_INVALIDATE_H

#include "hmm_filter.h"
#include "hmm_inject.h"
#include "hmm_slot.h"
#include "hmm_trace.h"

const struct hmm_mirror *
hmm_mirror_start_hit(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update);
const struct hmm_mirror *
hmm_mirror_start_locked(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update);
void hmm_mirror_end_locked(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update);

/* Return a mirror that has a range which @update hits, or NULL. */
static __always_inline const struct hmm_mirror *
invalidate_start(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	unsigned long start = update->start, end = update->end;

	/* an update that is empty, or begins at address 0, has no place in a hashed slot */
	if (unlikely(!start || start >= end) || hmm_mirror_injects() ||
	    unlikely(!slot_claim(hmm, update)))
		return hmm_mirror_start_locked(hmm, update);
	if (unlikely(filter_may_hit(hmm, start, end - 1)))
		return hmm_mirror_start_hit(hmm, update);
	trace_hmm_mirror_invalidate_start(hmm->mm, update,
					  hmm_mirror_slot_hashed(hmm, update) - hmm->slot, 0);
	return NULL;
}

static __always_inline void invalidate_end(struct hmm_mirror_mm *hmm,
					   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/* no other thread writes this key to the slot */
	if (unlikely(READ_ONCE(slot->key) != update)) {
		hmm_mirror_end_locked(hmm, update);
		return;
	}
	trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
	slot_unpublish(slot);
}

#endif /* HMM_MIRROR_INVALIDATE_H */
