/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: slots of invalidations in flight, as far as each invalidation or registration
 * passes through them. See hmm_slot.c for how they work.
 */
#ifndef HMM_MIRROR_SLOT_H
#define HMM_MIRROR_SLOT_H

#include "internal.h"

/* Is no invalidation in flight that began before its caller looked for ranges? */
static __always_inline bool slots_are_free(struct hmm_mirror_mm *hmm)
{
	unsigned long any = 0;
	unsigned int i;

	/*
	 * Pairs with the one in slot_claim(): publish.litmus. What needs the
	 * lock is ordered by that: register_locked.litmus.
	 */
	smp_mb();
	/* a loop costs 59 of the 478 instructions from a registration to its end */
#pragma GCC unroll 8
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		/* Pairs with smp_store_release() in slot_unpublish(): clean.litmus. */
		any |= smp_load_acquire(&hmm->slot[i].last);
	return !(any | hmm->used);
}

static inline void slot_wake(struct hmm_mirror_slot *slot)
{
	/*
	 * The caller holds the lock, under which waiters queue up (sleep_locked.litmus), or
	 * has just freed a hashed slot, at which they look once more when they have queued
	 * up (sleep.litmus).
	 */
	if (unlikely(waitqueue_active(&slot->waiters)))
		wake_up_all(&slot->waiters);
}

/* Called by the owner of the key. */
static inline void slot_publish(struct hmm_mirror_slot *slot, unsigned long start,
				unsigned long last)
{
	WRITE_ONCE(slot->start, start);
	/* Pairs with smp_load_acquire() in slot_bounds(): bounds.litmus. */
	smp_store_release(&slot->last, last);
}

/*
 * Publish @update, which is not empty, in its hashed slot. Return false if the slot is in
 * use. What its owner before did to the slot is over (reuse.litmus).
 */
static __always_inline bool slot_claim(struct hmm_mirror_mm *hmm,
				       const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);
	const struct mmu_notifier_range *free = NULL;

	if (unlikely(!try_cmpxchg(&slot->key, &free, update)))
		return false;
	slot_publish(slot, update->start, update->end - 1);
	/*
	 * Pairs with the one in slots_are_free(): a thread that registers a range either
	 * is seen by this invalidation or sees the slot (publish.litmus).
	 */
	smp_mb();
	return true;
}

/* Free a hashed slot, which its owner does not use again, and wake the waiters. */
static __always_inline void slot_unpublish(struct hmm_mirror_slot *slot)
{
	/* A thread that finds the slot free sees what the mm has changed: clean.litmus. */
	smp_store_release(&slot->last, 0);
	/*
	 * Fully ordered: the next owner publishes after this one (reuse.litmus), and a
	 * waiter that queues up sees a free slot or is seen here (sleep.litmus).
	 */
	xchg(&slot->key, NULL);
	slot_wake(slot);
}

#endif /* HMM_MIRROR_SLOT_H */
