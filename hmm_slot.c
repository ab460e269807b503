// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: slots of invalidations in flight, and the threads that wait for them.
 *
 * Owns hmm->slot, hmm->used, hmm->shared and hmm->waiters. An invalidation claims a hashed
 * slot without a lock, by writing its key, and owns the slot until its end. The other slots
 * and the list of waiters change under hmm->lock.
 *
 * Invariant: from its start to its end, a non-empty invalidation has one slot, whose bounds
 * contain it. If a thread finds that no slot intersects a range, it also sees each change
 * that earlier invalidations of the range made to the page table.
 *
 * A waiter queues up on a slot under hmm->lock, and then reads the slot once more, because
 * the end of an invalidation frees a hashed slot without the lock.
 *
 *	waiter, hmm->lock held			end of an invalidation
 *
 *	queue up
 *	full barrier
 *						slot: free
 *						full barrier
 *						is a waiter queued? wake it
 *	slot: in flight? unlock, sleep
 *
 *	[the waiter sleeps, and the end does not wake it: never (sleep.litmus)]
 */
#include <linux/bitops.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/string.h>

#include "hmm_inject.h"
#include "hmm_slot.h"

/* Slots that are taken under hmm->lock, except the shared one. */
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

/*
 * Read the bounds of @slot without a lock. Both bounds are those of the same invalidation,
 * even if the slot changes its owner meanwhile.
 */
static void slot_bounds(const struct hmm_mirror_slot *slot, unsigned long *start,
			unsigned long *last)
{
	do {
		/* Pairs with smp_store_release() in slot_publish(): bounds.litmus. */
		*last = smp_load_acquire(&slot->last);
		/* Pairs with xchg() in slot_unpublish() by the previous owner. */
		*start = smp_load_acquire(&slot->start);
	} while (unlikely(READ_ONCE(slot->last) != *last));
}

static bool bounds_intersect(const struct hmm_mirror_range *range, unsigned long start,
			     unsigned long last)
{
	return last && last >= range->start && start < range->end;
}

/*
 * Return true if the bounds of @slot intersect @range. Store the bounds in @start and @last.
 * @last is 0 if a hashed slot is free, or if the invalidation in @slot is empty.
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

/* Wake all waiters, which then check their ranges again; with hmm->lock held. */
void hmm_mirror_slots_wake(struct hmm_mirror_mm *hmm)
{
	int i;

	if (hlist_empty(&hmm->waiters))
		return;
	for (i = 0; i < HMM_MIRROR_SLOTS; i++)
		slot_wake(&hmm->slot[i]);
}

/*
 * @range is unregistered; with hmm->lock held. If threads wait for @range, wake them, make
 * sure that they do not use @range again, and return true.
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

/* slots_free_endless() cannot end an endless update, which begins at 0, in the shared slot. */
static bool inject_overflow(const struct mmu_notifier_range *update)
{
	return update->start && hmm_mirror_inject(HMM_MIRROR_INJECT_OVERFLOW);
}

/* Publish @update, which may be empty, in a slot that is not hashed; with hmm->lock held. */
struct hmm_mirror_slot *hmm_mirror_slot_take(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/*
	 * If this key is in flight already, the mm has not called the end of that
	 * invalidation, and never will. Free its slot, or reuse it below, and wake its
	 * waiters.
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
	 * An empty update intersects no range, not even one that spans the address space.
	 * A last address of 0 means that, too, so publish an update of byte 0 as one of
	 * bytes 0 and 1. Ranges consist of pages, so none of them sees the difference.
	 */
	if (update->start < update->end)
		slot_publish(slot, update->start, (update->end - 1) | 1);
	else
		slot_publish(slot, 0, 0);
	/*
	 * mprotect() does not call the end of an invalidation that starts at address 0
	 * (change_pmd_range(); in newer kernels change_pud_range()).
	 */
	slot->endless = update->event == MMU_NOTIFY_PROTECTION_VMA && !update->start;
	return slot;
}

/*
 * Free the slot of @update; with hmm->lock held. Return the slot, or NULL if the subscription
 * "start" was registered after the start of @update.
 */
struct hmm_mirror_slot *hmm_mirror_slot_free(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = slot_find(hmm, update);

	if (unlikely(!slot)) {
		/*
		 * @update shares the last slot, or its start came before the
		 * subscription "start" was registered. Nothing is in flight during
		 * that registration (mm_take_all_locks()), so an end without a start
		 * is only seen before it, while hmm->shared is 0.
		 */
		if (!hmm->shared)
			return NULL;
		slot = &hmm->slot[HMM_MIRROR_SLOT_SHARED];
		if (--hmm->shared)
			return slot;
	}
	/*
	 * A thread that finds the slot free, under hmm->lock, sees the changes of the
	 * page table: clean_locked.litmus.
	 */
	hmm->used &= ~BIT_ULL(slot - hmm->slot);
	slot_wake(slot);
	return slot;
}

/*
 * End the invalidations whose end the mm does not call. mprotect() holds the mmap lock
 * during an invalidation. So once this worker has the lock for writing, these invalidations
 * have made their changes, and a thread that finds its range clean sees them
 * (clean_endless.litmus).
 *
 * A waiter cannot do this itself: it has a timeout, and the mmap lock has none.
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
 * If the mm will not call the end of the invalidation in @slot, queue the worker that ends
 * the invalidation; with hmm->lock held. A waiter calls this before it sleeps on @slot.
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
