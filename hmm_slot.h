/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: slots of invalidations in flight: the paths that every invalidation or
 * registration takes. See hmm_slot.c for the design.
 */
#ifndef HMM_MIRROR_SLOT_H
#define HMM_MIRROR_SLOT_H

#include <linux/jiffies.h>

#include "internal.h"

/*
 * Return true if no invalidation is in flight. An invalidation that this misses finds the
 * range that the caller has put into the filter; with hmm->lock held.
 */
static inline bool slots_are_free(struct hmm_mirror_mm *hmm)
{
	unsigned long any = 0;
	unsigned int i;

	/*
	 * Pairs with smp_mb() in slot_claim(): publish.litmus. hmm->lock orders the
	 * slots that are not hashed: register_locked.litmus.
	 */
	smp_mb();
	/* Without this, register to unregister takes 59 instructions more. */
#pragma GCC unroll 8
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		/* Pairs with smp_store_release() in slot_unpublish(): clean.litmus. */
		any |= smp_load_acquire(&hmm->slot[i].last);
	return !(any | hmm->nr_busy);
}

static inline void slot_wake(struct hmm_mirror_slot *slot)
{
	/*
	 * Either the caller holds hmm->lock, under which waiters queue up
	 * (sleep_locked.litmus), or it has just freed a hashed slot with xchg(), which
	 * pairs with prepare_to_wait() in range_wait() (sleep.litmus).
	 */
	if (unlikely(waitqueue_active(&slot->waiters)))
		wake_up_all(&slot->waiters);
}

/* Publish bounds in @slot. The caller owns the slot. */
static inline void slot_publish(struct hmm_mirror_slot *slot, unsigned long start,
				unsigned long last)
{
	WRITE_ONCE(slot->since, jiffies);
	WRITE_ONCE(slot->start, start);
	/* Pairs with smp_load_acquire() in slot_bounds(): bounds.litmus. */
	smp_store_release(&slot->last, last);
}

/*
 * Read the bounds of @slot without a lock. Both bounds are those of the same invalidation,
 * even if the slot changes its owner meanwhile.
 */
static inline void slot_bounds(const struct hmm_mirror_slot *slot, unsigned long *start,
			       unsigned long *last)
{
	do {
		/* Pairs with smp_store_release() in slot_publish(): bounds.litmus. */
		*last = smp_load_acquire(&slot->last);
		/* Pairs with xchg() in slot_unpublish() by the previous owner. */
		*start = smp_load_acquire(&slot->start);
	} while (unlikely(READ_ONCE(slot->last) != *last));
}

/*
 * Publish @update, which is not empty, in its hashed slot. Return false if the slot is in
 * use. try_cmpxchg() pairs with xchg() in slot_unpublish(): the stores of the previous owner
 * come before those of this one (reuse.litmus).
 */
static inline bool slot_claim(struct hmm_mirror_mm *hmm,
			      const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);
	const struct mmu_notifier_range *free = NULL;

	if (unlikely(!try_cmpxchg(&slot->key, &free, update)))
		return false;
	slot_publish(slot, update->start, update->end - 1);
	/*
	 * Pairs with smp_mb() in slots_are_free(): either this invalidation sees the
	 * range of a thread that registers one, or that thread sees the slot
	 * (publish.litmus).
	 */
	smp_mb();
	return true;
}

/* Free a hashed slot and wake its waiters. The caller must not use the slot again. */
static inline void slot_unpublish(struct hmm_mirror_slot *slot)
{
	/*
	 * Pairs with smp_load_acquire() in slots_are_free() and slot_bounds(): a thread
	 * that finds the slot free sees the changes of the page table (clean.litmus).
	 */
	smp_store_release(&slot->last, 0);
	/*
	 * Fully ordered: the next owner publishes after the store above (reuse.litmus),
	 * and either a waiter that queues up sees the slot free, or slot_wake() sees the
	 * waiter (sleep.litmus).
	 */
	xchg(&slot->key, NULL);
	slot_wake(slot);
}

#endif /* HMM_MIRROR_SLOT_H */
