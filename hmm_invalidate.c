// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: start and end of an invalidation.
 *
 * Owns no data. start() publishes the invalidation in a slot, searches for ranges that
 * intersect, and gives each of them a new sequence, dirty. end() frees the slot and touches
 * no range: begin() computes the validity of a range from the slots (hmm_wait.c).
 *
 * Most invalidations hit no range. If the slot to which its key hashes is free, such an
 * invalidation claims that slot, and the filter rejects it: it takes no lock, and dirties no
 * cache line but that of its slot.
 */
#include <linux/spinlock.h>

#include "hmm_invalidate.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

/* Trace a start; with hmm->lock held, because the tree is searched. */
static void trace_start(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot,
			const struct mmu_notifier_range *update,
			const struct hmm_mirror *hit)
{
	trace_hmm_mirror_invalidate_start(hmm->mm, update, slot - hmm->slot, hit ?
					  hmm_mirror_tree_count(hmm, update->start,
								update->end) : 0);
}

/*
 * Raise the ranges that @update hits. @update is in a hashed slot, and was not rejected by
 * the filter, or is traced. Return a mirror of one of the ranges, or NULL.
 */
const struct hmm_mirror *
hmm_mirror_start_hit(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	const struct hmm_mirror *hit;

	spin_lock(&hmm->lock);
	hit = tree_raise(hmm, update->start, update->end);
	if (trace_hmm_mirror_invalidate_start_enabled())
		trace_start(hmm, hmm_mirror_slot_hashed(hmm, update), update, hit);
	spin_unlock(&hmm->lock);
	return hit;
}

/* As hmm_mirror_start_hit(), but take a slot first: @update has no hashed slot. */
const struct hmm_mirror *
hmm_mirror_start_locked(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	const struct hmm_mirror *hit = NULL;
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = hmm_mirror_slot_take(hmm, update);
	/* An empty update hits nothing, but the tree cannot be searched for it. */
	if (update->start < update->end)
		hit = tree_raise(hmm, update->start, update->end);
	if (trace_hmm_mirror_invalidate_start_enabled())
		trace_start(hmm, slot, update, hit);
	spin_unlock(&hmm->lock);
	return hit;
}

/* Trace the end of @update, which is in a hashed slot, and free the slot. */
void hmm_mirror_end_traced(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/* First, so that the next start in this slot comes later in the trace. */
	trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
	slot_unpublish(slot);
}

/* Free the slot of @update, which is not a hashed one. */
void hmm_mirror_end_locked(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = hmm_mirror_slot_free(hmm, update);
	spin_unlock(&hmm->lock);
	if (slot)
		trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
}
