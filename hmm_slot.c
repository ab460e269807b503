// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: slots of invalidations in flight, and the threads that wait for them.
 *
 * Owns hmm->slot, hmm->used, hmm->shared and hmm->waiters. A hashed slot belongs to the
 * invalidation that has claimed its key, without a lock. The other slots, and the list of
 * waiters, change under hmm->lock.
 *
 * Invariant: from its start to its end an invalidation that is not empty is in one slot,
 * whose bounds contain it. A thread that finds no slot whose bounds intersect a range
 * also sees what the invalidations before have changed in the page table.
 *
 * A waiter queues up on a slot under hmm->lock, and then looks at the slot once more: a
 * hashed slot is freed without the lock.
 *
 *	waiter, hmm->lock held			end of an invalidation
 *
 *	queue up
 *						slot: free
 *						full barrier
 *						nobody is queued?
 *	slot: in flight? unlock, sleep
 *
 *	[the waiter sleeps, and the end wakes nobody: never (sleep.litmus)]
 */
#include <linux/bitops.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/string.h>

#include "hmm_inject.h"
#include "hmm_slot.h"

/* The slots that are taken under the lock, without the shared one. */
#define LOCKED_SLOTS	GENMASK_ULL(HMM_MIRROR_SLOT_SHARED - 1, HMM_MIRROR_HASHED)

static struct hmm_mirror_slot *slot_find(struct hmm_mirror_mm *hmm,
					 const struct mmu_notifier_range *update)
{
	u64 used;

	for (used = hmm->used & LOCKED_SLOTS; used; used &= used - 1) {
		struct hmm_mirror_slot *slot = &hmm->slot[__ffs64(used)];

		if (slot->key == update)
			return slot;
	}
	return NULL;
}

/* Bounds of one invalidation, not the start of one and the last byte of another. */
static void slot_bounds(const struct hmm_mirror_slot *slot, unsigned long *start,
			unsigned long *last)
{
	do {
		/* They may change: bounds.litmus. */
		*last = smp_load_acquire(&slot->last);
		/* Pairs with the xchg() in slot_unpublish() of the owner before. */
		*start = smp_load_acquire(&slot->start);
	} while (unlikely(READ_ONCE(slot->last) != *last));
}

static bool bounds_intersect(const struct hmm_mirror_range *range, unsigned long start,
			     unsigned long last)
{
	return last && last >= range->start && start < range->end;
}

/*
 * Return whether the bounds of @slot intersect @range, and the bounds. A @last of 0 is that
 * of a slot that is free, or whose invalidation is empty.
 */
bool hmm_mirror_slot_bounds(const struct hmm_mirror_slot *slot,
			    const struct hmm_mirror_range *range, unsigned long *start,
			    unsigned long *last)
{
	slot_bounds(slot, start, last);
	return bounds_intersect(range, *start, *last);
}

static bool slot_intersects(const struct hmm_mirror_slot *slot,
			    const struct hmm_mirror_range *range)
{
	unsigned long start, last;

	return hmm_mirror_slot_bounds(slot, range, &start, &last);
}

/* Return a slot that intersects @range, or NULL; with hmm->lock held. */
struct hmm_mirror_slot *hmm_mirror_slot_intersecting(struct hmm_mirror_mm *hmm,
						     const struct hmm_mirror_range *range)
{
	struct hmm_mirror_slot *slot;
	u64 used;

	if (slots_are_free(hmm))
		return NULL;

	for (slot = hmm->slot; slot < hmm->slot + HMM_MIRROR_HASHED; slot++)
		if (slot_intersects(slot, range))
			return slot;

	for (used = hmm->used; used; used &= used - 1) {
		slot = &hmm->slot[__ffs64(used)];
		if (slot_intersects(slot, range))
			return slot;
	}
	return NULL;
}

/* ---------------------------------------------------------------------- waiters */

/* Have all waiters look again; with hmm->lock held. */
void hmm_mirror_slots_wake(struct hmm_mirror_mm *hmm)
{
	int i;

	if (hlist_empty(&hmm->waiters))
		return;
	for (i = 0; i < HMM_MIRROR_SLOTS; i++)
		slot_wake(&hmm->slot[i]);
}

/*
 * @range goes. Return whether a thread waits for it, which then does not look at the range
 * again; with hmm->lock held.
 */
bool hmm_mirror_slots_forget(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range)
{
	struct hmm_mirror_waiter *w;
	bool found = false;

	hlist_for_each_entry(w, &hmm->waiters, list) {
		if (w->range == range) {
			w->range = NULL;
			found = true;
		}
	}
	if (found)
		hmm_mirror_slots_wake(hmm);
	return found;
}

/* ------------------------------------------------------------- from start to end */

/* Not for an update that may be endless: in the shared slot nothing could end it. */
static bool inject_overflow(const struct mmu_notifier_range *update)
{
	return update->start && hmm_mirror_inject(HMM_MIRROR_INJECT_OVERFLOW);
}

/* Publish any @update in a slot that is taken under hmm->lock, which is held. */
struct hmm_mirror_slot *hmm_mirror_slot_take(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/*
	 * This key is in flight already: that invalidation has lost its end. Its waiters
	 * look again.
	 */
	if (unlikely(READ_ONCE(slot->key) == update))
		slot_unpublish(slot);
	slot = slot_find(hmm, update);
	if (unlikely(slot)) {
		slot_wake(slot);
	} else if (likely(~hmm->used & LOCKED_SLOTS) && !inject_overflow(update)) {
		unsigned int i = __ffs64(~hmm->used & LOCKED_SLOTS);

		hmm->used |= BIT_ULL(i);
		slot = &hmm->slot[i];
		slot->key = update;
	} else {
		hmm->used |= BIT_ULL(HMM_MIRROR_SLOT_SHARED);
		hmm->shared++;
		return &hmm->slot[HMM_MIRROR_SLOT_SHARED];
	}
	/*
	 * An empty update is in flight and intersects nothing, not even everything. An
	 * update of the first byte is to ranges the same as one of the first two.
	 */
	if (update->start < update->end)
		slot_publish(slot, update->start, (update->end - 1) | 1);
	else
		slot_publish(slot, 0, 0);
	/*
	 * A change of protection that begins at address 0 forgets to call end
	 * (change_pmd_range(), in newer kernels change_pud_range()).
	 */
	slot->endless = update->event == MMU_NOTIFY_PROTECTION_VMA && !update->start;
	return slot;
}

/*
 * Free the slot of @update, under hmm->lock. Return NULL if its start came before the
 * subscription.
 */
struct hmm_mirror_slot *hmm_mirror_slot_free(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = slot_find(hmm, update);

	if (unlikely(!slot)) {
		/*
		 * One of those that share the last slot, or one that started before
		 * we subscribed. The two cannot be told apart, and need not: nothing
		 * is in flight while we subscribe (mm_take_all_locks()), so the
		 * latter is only seen while nothing shares a slot.
		 */
		if (!hmm->shared)
			return NULL;
		slot = &hmm->slot[HMM_MIRROR_SLOT_SHARED];
		if (--hmm->shared)
			return slot;
	}
	/* What the mm has changed is seen under the lock: clean_locked.litmus. */
	hmm->used &= ~BIT_ULL(slot - hmm->slot);
	slot_wake(slot);
	return slot;
}

/*
 * End the invalidations whose end the mm will not call. mprotect() holds the mmap lock
 * around an invalidation, so while this worker holds it for writing, all of them are over.
 * A waiter that finds its range clean sees what they have changed (clean_endless.litmus).
 *
 * A worker and not the waiter takes the mmap lock, because a waiter has a time-out.
 */
static void slots_free_endless(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, endless);
	u64 used;

	mmap_write_lock(hmm->mm);
	spin_lock(&hmm->lock);
	for (used = hmm->used & LOCKED_SLOTS; used; used &= used - 1) {
		struct hmm_mirror_slot *slot = &hmm->slot[__ffs64(used)];

		if (slot->endless) {
			hmm->used &= ~BIT_ULL(slot - hmm->slot);
			slot_wake(slot);
		}
	}
	spin_unlock(&hmm->lock);
	mmap_write_unlock(hmm->mm);

	hmm_mirror_mm_put(hmm);
}

/*
 * A waiter is about to sleep on @slot, with hmm->lock held. If the mm will not call the end
 * of its invalidation, have a worker end it.
 */
void hmm_mirror_slot_ensure_end(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot)
{
	if (unlikely(slot->endless) && queue_work(hmm_mirror_wq, &hmm->endless))
		hmm->users++;
}

/* Return the number of invalidations in flight; with hmm->lock held. */
unsigned int hmm_mirror_slots_in_flight(const struct hmm_mirror_mm *hmm)
{
	unsigned int i, nr = hweight64(hmm->used & LOCKED_SLOTS) + hmm->shared;

	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		nr += !!READ_ONCE(hmm->slot[i].key);
	return nr;
}

void hmm_mirror_slots_init(struct hmm_mirror_mm *hmm)
{
	int i;

	INIT_WORK(&hmm->endless, slots_free_endless);
	INIT_HLIST_HEAD(&hmm->waiters);
	for (i = 0; i < HMM_MIRROR_SLOTS; i++)
		init_waitqueue_head(&hmm->slot[i].waiters);
	hmm->slot[HMM_MIRROR_SLOT_SHARED].last = ULONG_MAX;
}
