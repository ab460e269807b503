/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: start and end of an invalidation: the paths that every invalidation takes. See
 * hmm_invalidate.c for the design.
 */
#ifndef HMM_MIRROR_INVALIDATE_H
#define HMM_MIRROR_INVALIDATE_H

#include "hmm_filter.h"
#include "hmm_inject.h"
#include "hmm_slot.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

/* The function that the caller of invalidate_start() must call next. */
enum invalidate_state {
	INVALIDATE_MISSES,	/* none: the update hits no range */
	INVALIDATE_MAY_HIT,	/* hmm_mirror_raise() */
	INVALIDATE_NO_SLOT,	/* hmm_mirror_start_locked(), then hmm_mirror_raise() */
};

struct hmm_mirror_slot *hmm_mirror_start_locked(struct hmm_mirror_mm *hmm,
						const struct mmu_notifier_range *update);
const struct hmm_mirror *hmm_mirror_raise(struct hmm_mirror_mm *hmm,
					  const struct mmu_notifier_range *update);
void hmm_mirror_trace_start(struct hmm_mirror_mm *hmm,
			    const struct mmu_notifier_range *update);
void hmm_mirror_end_traced(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update);
void hmm_mirror_end_locked(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update);

/* Publish @update in its hashed slot and ask the filter; lockless. */
static inline enum invalidate_state
invalidate_start(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	unsigned long start = update->start, end = update->end;

	/* Updates that are empty or begin at address 0 need hmm_mirror_slot_take(). */
	if (unlikely(!start || start >= end) || hmm_mirror_injects() ||
	    unlikely(!slot_claim(hmm, update)))
		return INVALIDATE_NO_SLOT;
	if (unlikely(filter_may_hit(hmm, start, end - 1)) ||
	    trace_hmm_mirror_invalidate_start_enabled())
		return INVALIDATE_MAY_HIT;
	return INVALIDATE_MISSES;
}

/*
 * Raise the ranges that @update intersects, which is not empty and published in a slot. Return
 * a mirror of one of the ranges, or NULL. Inline, because else an invalidation that hits one of
 * 4096 ranges takes 552 instead of 534 instructions.
 */
static __always_inline const struct hmm_mirror *
invalidate_raise(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	const struct hmm_mirror *hit;

	spin_lock(&hmm->lock);
	hit = trees_raise(hmm, update->start, update->end, update);
	if (likely(hit))
		hmm->stats.hits++;
	if (trace_hmm_mirror_invalidate_start_enabled())
		hmm_mirror_trace_start(hmm, update);
	spin_unlock(&hmm->lock);
	return hit;
}

static inline void invalidate_end(struct hmm_mirror_mm *hmm,
				  const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/* Only this thread writes this key to the slot. */
	if (unlikely(READ_ONCE(slot->key) != update))
		hmm_mirror_end_locked(hmm, update);
	else if (trace_hmm_mirror_invalidate_end_enabled())
		hmm_mirror_end_traced(hmm, update);
	else
		slot_unpublish(slot);
}

#endif /* HMM_MIRROR_INVALIDATE_H */
