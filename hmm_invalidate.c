// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: start and end of an invalidation.
 *
 * Owns no data. start() publishes the invalidation in a slot, looks for ranges that it
 * intersects, and gives each of them a new sequence, dirty. end() frees the slot, and touches
 * no range: begin() computes the validity of a range from the slots (hmm_wait.c).
 *
 * Most invalidations hit nothing. While few are in flight, such an invalidation takes no
 * lock, and writes to no cache line that another one writes to: it claims the slot to which
 * its key hashes, and the filter rejects it.
 */
#include <linux/spinlock.h>

#include "hmm_invalidate.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

/* With hmm->lock held, since the ranges are counted. */
static noinline void trace_start(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot,
				 const struct mmu_notifier_range *update,
				 const struct hmm_mirror *hit)
{
	trace_hmm_mirror_invalidate_start(hmm->mm, update, slot - hmm->slot, hit ?
					  hmm_mirror_tree_count(hmm, update->start,
								update->end) : 0);
}

/*
 * The update is in a hashed slot, and the filter does not reject it, or it is traced. Return
 * a mirror that has a range which @update hits, or NULL.
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

/* The same where the update has no place in a hashed slot, or the slot is in use. */
const struct hmm_mirror *
hmm_mirror_start_locked(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	const struct hmm_mirror *hit = NULL;
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = hmm_mirror_slot_take(hmm, update);
	/* the tree does not know that an empty update intersects nothing */
	if (update->start < update->end)
		hit = tree_raise(hmm, update->start, update->end);
	if (trace_hmm_mirror_invalidate_start_enabled())
		trace_start(hmm, slot, update, hit);
	spin_unlock(&hmm->lock);
	return hit;
}

/* The update is in a hashed slot. */
void hmm_mirror_end_traced(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/* before the slot is free, so that the next start comes later in a trace */
	trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
	slot_unpublish(slot);
}

/* No hashed slot has the key of the update. */
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
