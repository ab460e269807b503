// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: start and end of an invalidation.
 *
 * Owns hmm->stats.hits, which changes under hmm->lock. start() publishes the invalidation in a
 * slot, searches for ranges that intersect, and gives each of them a new sequence, dirty. end()
 * frees the slot and touches no range: begin() computes the validity of a range from the slots
 * (hmm_wait.c).
 *
 * Most invalidations hit no range. If the slot to which its key hashes is free, such an
 * invalidation claims that slot, and the filter rejects it: it takes no lock, and dirties no
 * cache line but that of its slot.
 *
 * An invalidation that hits many ranges drops hmm->lock after each HMM_MIRROR_WALK_RANGES ranges
 * that it raises. It is published before it raises the first range, and its callbacks run after it
 * has raised the last one. So the ladder in hmm_range.c holds for each range, and a range that is
 * registered meanwhile finds the slot.
 */
#include <linux/spinlock.h>

#include "hmm_invalidate.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

/* Trace the start of @update, which is not empty; with hmm->lock held, which this may drop. */
void hmm_mirror_trace_start(struct hmm_mirror_mm *hmm,
			    const struct mmu_notifier_range *update)
{
	const struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	if (READ_ONCE(slot->key) != update)
		slot = hmm_mirror_slot_find(hmm, update);
	trace_hmm_mirror_invalidate_start(hmm->mm, update, slot->nr,
					  hmm_mirror_tree_count(hmm, update));
}

/* Do invalidate_raise() out of line, for updates without a hashed slot. */
const struct hmm_mirror *hmm_mirror_raise(struct hmm_mirror_mm *hmm,
					  const struct mmu_notifier_range *update)
{
	return invalidate_raise(hmm, update);
}

/* Publish @update, which has no hashed slot, in another one, and return that. */
struct hmm_mirror_slot *hmm_mirror_start_locked(struct hmm_mirror_mm *hmm,
						const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = hmm_mirror_slot_take(hmm, update);
	spin_unlock(&hmm->lock);
	return slot;
}

/* Trace the end of @update, which is in a hashed slot, and free the slot. */
void hmm_mirror_end_traced(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/* First, so that the next start in this slot comes later in the trace. */
	trace_hmm_mirror_invalidate_end(hmm->mm, update, slot->nr);
	slot_unpublish(slot);
}

/* Free the slot of @update, which is not a hashed one. */
void hmm_mirror_end_locked(struct hmm_mirror_mm *hmm,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = hmm_mirror_slot_find(hmm, update);
	if (slot) {
		/* First, as in hmm_mirror_end_traced(). */
		trace_hmm_mirror_invalidate_end(hmm->mm, update, slot->nr);
		hmm_mirror_slot_free(hmm, slot, update);
	}
	spin_unlock(&hmm->lock);
}
