// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: slots of invalidations in flight, and the threads that wait for them.
 *
 * Owns the members of struct hmm_mirror_mm from @in_flight to @keys, and the slots. hmm_wait.c puts
 * waiters on hmm->waiters and takes them off; this file wakes them. An invalidation claims a hashed
 * slot without a lock, by writing its key, and owns the slot until its end. All else changes under
 * hmm->lock.
 *
 * Invariant: from its start to its end, a non-empty invalidation has one slot, whose bounds
 * contain it. If a thread finds that no slot intersects a range, it also sees each change
 * that earlier invalidations of the range made to the page table.
 *
 * No memory is allocated in an invalidation. When half of the locked slots are in use, a worker
 * makes as many again; they stay until the structure of the mm is freed. A burst can be faster
 * than the worker. So if no slot is free, an invalidation that may sleep waits for the worker,
 * at most MAKE_MS. If it must not sleep, if it is part of reclaim, for which the worker may be
 * waiting, if its thread has a fatal signal, or if the worker has got no memory for less than
 * MAKE_MS, it shares a slot that intersects every range, until its end. An invalidation that
 * must not sleep is short.
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
#include <linux/interval_tree.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat/memcg.h"
#include "hmm_inject.h"
#include "hmm_slot.h"

/* How long an invalidation waits for a slot, and the worker after a failure, in ms. */
#define MAKE_MS		100

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
	struct interval_tree_node *node;
	struct hmm_mirror_slot *slot;

	if (slots_are_free(hmm))
		return NULL;

	for (slot = hmm->slot; slot < hmm->slot + HMM_MIRROR_HASHED; slot++)
		if (slot_intersects(slot, range))
			return slot;

	node = interval_tree_iter_first(&hmm->in_flight, range->start, range->end - 1);
	if (node)
		return &container_of(node, struct hmm_mirror_locked_slot, node)->slot;
	return hmm->nr_shared ? &hmm->shared : NULL;
}

/* ---------------------------------------------------------------------- waiters */

/*
 * Wake the threads that wait for @range, or for any range if @range is NULL. They check their
 * ranges again; with hmm->lock held.
 */
void hmm_mirror_waiters_wake(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range)
{
	struct hmm_mirror_waiter *w;

	list_for_each_entry(w, &hmm->waiters, list)
		if (!range || w->range == range)
			wake_up_process(w->task);
}

/*
 * @range is unregistered; with hmm->lock held. If threads wait for @range, wake them, make
 * sure that they do not use @range again, and return true.
 */
bool hmm_mirror_waiters_forget(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range)
{
	struct hmm_mirror_waiter *w;
	bool found = false;

	list_for_each_entry(w, &hmm->waiters, list) {
		if (w->range == range) {
			w->range = NULL;
			wake_up_process(w->task);
			found = true;
		}
	}
	return found;
}

/* ----------------------------------------------------------------- locked slots */

static struct hmm_mirror_locked_slot *locked_slot(struct hmm_mirror_slot *slot)
{
	return container_of(slot, struct hmm_mirror_locked_slot, slot);
}

static void locked_init(struct hmm_mirror_locked_slot *slot, unsigned int nr,
			struct list_head *free)
{
	slot->slot.nr = min_t(unsigned int, nr, U16_MAX);
	init_waitqueue_head(&slot->slot.waiters);
	list_add_tail(&slot->free, free);
}

/* Make as many locked slots as there are. */
static void slots_make(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, make);
	struct mem_cgroup *old = hmm_mirror_compat_charge_begin(hmm->mm);
	/* No other thread changes this. */
	unsigned int i, nr = hmm->nr_locked;
	struct hmm_mirror_slots *more;
	LIST_HEAD(free);

	more = kvzalloc(struct_size(more, slot, nr),
			GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN);
	hmm_mirror_compat_charge_end(old);
	for (i = 0; more && i < nr; i++) {
		locked_init(&more->slot[i], HMM_MIRROR_HASHED + 1 + nr + i, &free);
		cond_resched();
	}

	spin_lock(&hmm->lock);
	if (more) {
		more->next = hmm->more;
		hmm->more = more;
		hmm->nr_locked += nr;
		list_splice_tail(&free, &hmm->free);
	} else {
		hmm->make_after = jiffies + msecs_to_jiffies(MAKE_MS);
	}
	hmm->making = false;
	spin_unlock(&hmm->lock);
	wake_up_all(&hmm->worked);
	hmm_mirror_mm_put(hmm);
}

/* Return a free slot, or NULL. Let the worker make more before the last one is taken. */
static struct hmm_mirror_locked_slot *locked_get(struct hmm_mirror_mm *hmm)
{
	struct hmm_mirror_locked_slot *slot =
		list_first_entry_or_null(&hmm->free, struct hmm_mirror_locked_slot, free);

	if (unlikely(hmm->nr_busy >= hmm->nr_locked / 2) && !hmm->making &&
	    time_after_eq(jiffies, hmm->make_after)) {
		hmm->making = true;
		hmm_mirror_mm_get_locked(hmm);
		queue_work(hmm_mirror_wq, &hmm->make);
	}
	if (slot)
		list_del(&slot->free);
	return slot;
}

/* No slot is free. If this thread may wait for the worker, do so. May drop hmm->lock. */
static struct hmm_mirror_locked_slot *locked_wait(struct hmm_mirror_mm *hmm,
						  const struct mmu_notifier_range *update)
{
	struct hmm_mirror_locked_slot *slot = NULL;
	long left = msecs_to_jiffies(MAKE_MS);
	DEFINE_WAIT(entry);

	if (!mmu_notifier_range_blockable(update) || current->flags & PF_MEMALLOC)
		return NULL;
	while (!slot && hmm->making && left && !fatal_signal_pending(current)) {
		/* One slot is for one thread; each tries to get a slot before it gives up. */
		prepare_to_wait_exclusive(&hmm->worked, &entry, TASK_KILLABLE);
		spin_unlock(&hmm->lock);
		left = schedule_timeout(left);
		finish_wait(&hmm->worked, &entry);
		spin_lock(&hmm->lock);
		slot = locked_get(hmm);
	}
	return slot;
}

/* ------------------------------------------------------------- from start to end */

/*
 * mprotect() does not call the end of an invalidation that starts at address 0
 * (change_pmd_range(); in newer kernels change_pud_range()).
 */
static bool is_endless(const struct mmu_notifier_range *update)
{
	return update->event == MMU_NOTIFY_PROTECTION_VMA && !update->start;
}

static struct hlist_head *slots_of_key(struct hmm_mirror_mm *hmm,
				       const struct mmu_notifier_range *key)
{
	return &hmm->keys[hash_32((unsigned long)key, HMM_MIRROR_KEY_BITS)];
}

static struct hmm_mirror_slot *locked_find(struct hmm_mirror_mm *hmm,
					   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_locked_slot *slot;

	hlist_for_each_entry(slot, slots_of_key(hmm, update), key)
		if (slot->slot.key == update)
			return &slot->slot;
	return NULL;
}

/* Publish @update, which may be empty, in @slot. */
static void locked_publish(struct hmm_mirror_mm *hmm, struct hmm_mirror_locked_slot *slot,
			   const struct mmu_notifier_range *update)
{
	WRITE_ONCE(slot->slot.key, update);
	slot->slot.endless = is_endless(update);
	hlist_add_head(&slot->key, slots_of_key(hmm, update));
	hmm->nr_busy++;
	/*
	 * An empty update intersects no range, not even one that spans the address space.
	 * A last address of 0 means that, too, so publish an update of byte 0 as one of
	 * bytes 0 and 1. Ranges consist of pages, so none of them sees the difference.
	 */
	if (update->start < update->end) {
		slot_publish(&slot->slot, update->start, (update->end - 1) | 1);
		slot->node.start = slot->slot.start;
		slot->node.last = slot->slot.last;
		interval_tree_insert(&slot->node, &hmm->in_flight);
	} else {
		slot_publish(&slot->slot, 0, 0);
	}
}

static void locked_free(struct hmm_mirror_mm *hmm, struct hmm_mirror_locked_slot *slot)
{
	if (slot->slot.last)
		interval_tree_remove(&slot->node, &hmm->in_flight);
	WRITE_ONCE(slot->slot.last, 0);
	/*
	 * The same hold of hmm->lock may publish the next invalidation. Pairs with
	 * smp_load_acquire() in slot_bounds(), for debugfs: bounds.litmus.
	 */
	smp_wmb();
	hlist_del(&slot->key);
	WRITE_ONCE(slot->slot.key, NULL);
	/* LIFO: the next invalidation gets a slot that is still cached. */
	list_add(&slot->free, &hmm->free);
	hmm->nr_busy--;
	slot_wake(&slot->slot);
	/* With hmm->lock held, under which locked_wait() queues up. */
	if (unlikely(waitqueue_active(&hmm->worked)))
		wake_up(&hmm->worked);
}

/* @nr invalidations, @endless of which have no end, share the slot no longer. */
static void shared_free(struct hmm_mirror_mm *hmm, unsigned int nr, unsigned int endless)
{
	hmm->nr_busy -= nr;
	hmm->nr_shared -= nr;
	hmm->nr_shared_endless -= endless;
	if (!hmm->nr_shared)
		WRITE_ONCE(hmm->shared.key, NULL);
	/* If only endless ones are left, waiters have to let the worker end them. */
	if (hmm->nr_shared == hmm->nr_shared_endless)
		slot_wake(&hmm->shared);
}

/*
 * Publish @update, which may be empty, in a slot that is not hashed; with hmm->lock held, which
 * this may drop for a while if @update may sleep.
 */
struct hmm_mirror_slot *hmm_mirror_slot_take(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *old = hmm_mirror_slot_hashed(hmm, update);
	struct hmm_mirror_locked_slot *slot = NULL;

	/*
	 * If this key is in flight already, the mm has not called the end of that
	 * invalidation, and never will. Free its slot.
	 */
	if (unlikely(READ_ONCE(old->key) == update))
		slot_unpublish(old);
	old = locked_find(hmm, update);
	if (unlikely(old))
		locked_free(hmm, locked_slot(old));

	if (likely(!hmm_mirror_inject(HMM_MIRROR_INJECT_OVERFLOW))) {
		slot = locked_get(hmm);
		if (unlikely(!slot))
			slot = locked_wait(hmm, update);
	}
	if (likely(slot)) {
		locked_publish(hmm, slot, update);
		return &slot->slot;
	}
	if (!hmm->nr_shared++)
		WRITE_ONCE(hmm->shared.since, jiffies);
	WRITE_ONCE(hmm->shared.key, update);
	hmm->nr_busy++;
	hmm->nr_shared_endless += is_endless(update);
	return &hmm->shared;
}

/*
 * Return the slot of @update, which is not a hashed one, or NULL if the subscription "start" was
 * registered after the start of @update; with hmm->lock held.
 */
struct hmm_mirror_slot *hmm_mirror_slot_find(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = locked_find(hmm, update);

	/*
	 * If @update has no slot of its own, it shares one, or its start came before the
	 * subscription "start" was registered. Nothing is in flight during that registration
	 * (mm_take_all_locks()), so an end without a start is only seen before it, while
	 * hmm->nr_shared is 0.
	 */
	if (unlikely(!slot) && hmm->nr_shared)
		slot = &hmm->shared;
	return slot;
}

/*
 * Free @slot, in which @update is; with hmm->lock held. A thread that finds it free, under
 * hmm->lock, sees the changes of the page table: clean_locked.litmus.
 */
void hmm_mirror_slot_free(struct hmm_mirror_mm *hmm, struct hmm_mirror_slot *slot,
			  const struct mmu_notifier_range *update)
{
	if (likely(slot != &hmm->shared))
		locked_free(hmm, locked_slot(slot));
	else
		shared_free(hmm, 1, is_endless(update) && hmm->nr_shared_endless);
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
	struct interval_tree_node *node, *next;

	mmap_write_lock(hmm->mm);
	spin_lock(&hmm->lock);
	for (node = interval_tree_iter_first(&hmm->in_flight, 0, 0); node; node = next) {
		struct hmm_mirror_locked_slot *slot =
			container_of(node, struct hmm_mirror_locked_slot, node);

		next = interval_tree_iter_next(node, 0, 0);
		if (slot->slot.endless)
			locked_free(hmm, slot);
	}
	shared_free(hmm, hmm->nr_shared_endless, hmm->nr_shared_endless);
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
	bool endless = slot->endless || (slot == &hmm->shared && hmm->nr_shared_endless);

	if (unlikely(endless) && queue_work(hmm_mirror_wq, &hmm->endless))
		hmm_mirror_mm_get_locked(hmm);
}

/* Return the number of invalidations in flight; with hmm->lock held. */
unsigned int hmm_mirror_slots_in_flight(const struct hmm_mirror_mm *hmm)
{
	unsigned int i, nr = hmm->nr_busy;

	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		nr += !!READ_ONCE(hmm->slot[i].key);
	return nr;
}

void hmm_mirror_slots_init(struct hmm_mirror_mm *hmm)
{
	unsigned int i;

	/* One object of kmalloc(), unless locks are being debugged. */
	BUILD_BUG_ON(sizeof(spinlock_t) == 4 && sizeof(*hmm) > 4096);
	INIT_WORK(&hmm->endless, slots_free_endless);
	INIT_WORK(&hmm->make, slots_make);
	INIT_LIST_HEAD(&hmm->waiters);
	INIT_LIST_HEAD(&hmm->free);
	init_waitqueue_head(&hmm->worked);
	hmm->in_flight = RB_ROOT_CACHED;
	hmm->make_after = jiffies;
	for (i = 0; i < HMM_MIRROR_HASHED; i++) {
		hmm->slot[i].nr = i;
		init_waitqueue_head(&hmm->slot[i].waiters);
	}
	hmm->shared.nr = i++;
	hmm->shared.last = ULONG_MAX;
	init_waitqueue_head(&hmm->shared.waiters);
	for (; hmm->nr_locked < HMM_MIRROR_LOCKED; hmm->nr_locked++)
		locked_init(&hmm->first[hmm->nr_locked], i++, &hmm->free);
}
