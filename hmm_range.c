// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: ranges and their sequences.
 *
 * Owns hmm->nr_ranges, mirror->nr_ranges, hmm->dead, and the members of a registered range,
 * except those of the tree. They change under hmm->lock. One word holds the validity of a range:
 *
 *	state = sequence | DIRTY
 *
 *  - The start of an invalidation publishes the invalidation in a slot, then gives a new
 *    sequence, dirty, to each range that intersects (hmm_invalidate.c).
 *  - The end frees the slot and touches no range.
 *  - If the range is clean, begin() is one load. If the range is dirty and no slot intersects
 *    it, begin() cleans it and returns its sequence (hmm_wait.c).
 *  - Registration gives the range a new sequence, dirty if a slot intersects the range.
 *  - retry() compares the word with the one that begin() returned.
 *
 * Invariants: hmm->seq only grows, and a range never gets the same sequence twice, so retry()
 * notices an invalidation even if that has ended. If the mm dies or the mirror is
 * unregistered, the range becomes dirty for good.
 *
 * The race between a fault and an invalidation. Either side may come first:
 *
 *	fault side				mm side
 *
 *	begin(): seq = state
 *						start: state = seq', dirty	(A)
 *	reads CPU page table
 *						callback:
 *						  lock(driver)			(B)
 *						  remove device PTEs
 *						  unlock(driver)
 *	lock(driver)						(C)
 *	state == seq? install device PTEs
 *	unlock(driver)
 *						change CPU page table		(D)
 *						end
 *
 *	[stale device PTEs after D: never]
 *
 * One thread does (A), then (B). If (C) comes before (B), the callback removes the device
 * PTEs that the fault side has installed. If (B) comes before (C), the driver lock orders (A)
 * before (C), so the fault side sees the new state. The fault side may see the new state even
 * if (C) comes before (B); then it retries, which is harmless.
 *
 * See hmm_wait.c for a begin() that comes after (A).
 *
 * A start that the filter rejects takes no lock. Its race with a registration:
 *
 *	fault side				mm side
 *
 *	register: lock				start:
 *	  filter: count the range		  slot in flight
 *	  full barrier				  full barrier
 *	  a slot intersects?			  filter: is a range counted?
 *	  no: state is clean			  yes: lock; state = seq', dirty
 *	  unlock
 *
 *	[neither sees the other: never (publish.litmus)]
 *
 * If each side sees the other, the range is registered dirty, and the start raises it once
 * more. The same ladder covers a begin() that cleans a range: the filter has counted the
 * range since its registration.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/rbtree.h>

#include "hmm_filter.h"
#include "hmm_slot.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

#define DIRTY		HMM_MIRROR_RANGE_DIRTY
#define SEQ_STEP	HMM_MIRROR_SEQ_STEP

/* The last page of the address space. The address after it would be 0. */
#define LAST_PAGE	(ULONG_MAX & PAGE_MASK)

/* --------------------------------------------------------------------- sequences */

static void range_clean(struct hmm_mirror_range *range, unsigned long seq)
{
	/* Pairs with smp_load_acquire() in range_try(): clean.litmus. */
	smp_store_release(&range->state, seq);
}

/* Clean @range, which no slot intersects, and return its sequence; with hmm->lock held. */
unsigned long hmm_mirror_range_clean(struct hmm_mirror_range *range)
{
	unsigned long seq = range->state & ~DIRTY;

	range_clean(range, seq);
	return seq;
}

/* Inject a collision: raise @range as an invalidation would. */
void hmm_mirror_range_collide(struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	hmm->seq += SEQ_STEP;
	hmm_mirror_range_raise(range, hmm->seq);
	spin_unlock(&hmm->lock);
}

/*
 * Make all ranges invalid for good, because the mm is dying. No range is registered any more,
 * and none gets other bounds. The caller is in the SRCU section of the mmu notifiers.
 */
void hmm_mirror_ranges_die(struct hmm_mirror_mm *hmm)
{
	spin_lock(&hmm->lock);
	hmm->dead = true;
	/* Before trees_raise(), which may drop hmm->lock: no thread waits for a dead mm. */
	hmm_mirror_waiters_wake(hmm, NULL);
	trees_raise(hmm, 0, ULONG_MAX, NULL);
	spin_unlock(&hmm->lock);
}

/* @range leaves @root while walks are under way. */
static void range_leaves(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			 struct hmm_mirror_range *range)
{
	if (hmm->growth)
		hmm_mirror_growth_count(hmm, root, range, -1);
	hmm_mirror_tree_skip(hmm, range);
}

static void range_take(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
		       struct hmm_mirror_range *range)
{
	/* A filter that grows is a walk, too. */
	if (unlikely(!hlist_empty(&hmm->walks)))
		range_leaves(hmm, root, range);
	tree_remove(range, root);
}

/*
 * Without __always_inline here and in range_release(), register to unregister takes 375 instead
 * of 356 instructions if there is one range.
 */
static __always_inline void range_detach(struct hmm_mirror_mm *hmm,
					 struct rb_root_cached *root,
					 struct hmm_mirror_range *range,
					 struct hmm_mirror_mm *orphan_of)
{
	range_take(hmm, root, range);
	filter_remove(hmm, range->start, range->end);
	hmm->nr_ranges--;
	range->mirror->nr_ranges--;
	range->orphan_of = orphan_of;
	/* Pairs with smp_load_acquire() in hmm_mirror_range_mm(): orphan.litmus. */
	smp_store_release(&range->mirror, NULL);
}

/* Make @range an orphan, which holds a reference. */
static void range_orphan(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			 struct hmm_mirror_range *range)
{
	hmm->seq += SEQ_STEP;
	hmm_mirror_range_raise(range, hmm->seq);
	range_detach(hmm, root, range, hmm);
	hmm_mirror_mm_get_locked(hmm);
}

/*
 * Make the ranges of @mirror, which is being unregistered, orphans; with hmm->lock held, which
 * this drops after each HMM_MIRROR_WALK_RANGES ranges. Return true if readers may still hold
 * @mirror, so that the caller must wait for a grace period.
 */
bool hmm_mirror_ranges_orphan(struct hmm_mirror *mirror)
{
	struct hmm_mirror_walk walk = {
		.left = HMM_MIRROR_WALK_RANGES,
		.may_sleep = true,
	};
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_range *range, *next;
	struct rb_node *rb;

	lockdep_assert_held(&hmm->lock);
	if (likely(!mirror->nr_ranges))
		return false;

	while ((rb = rb_first_cached(&mirror->ranges))) {
		range_orphan(hmm, &mirror->ranges, range_of(rb));
		if (!--walk.left)
			hmm_mirror_walk_pause(hmm, &walk);
	}
	for (range = tree_first(&hmm->parts, 0, ULONG_MAX); range; range = next) {
		next = tree_next(range, 0, ULONG_MAX);
		if (range->mirror == mirror)
			range_orphan(hmm, &hmm->parts, range);
	}
	hmm_mirror_waiters_wake(hmm, NULL);
	return true;
}

/* Return true if @update, which is not empty, intersects a range of @mirror. */
bool hmm_mirror_ranges_hit(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct hmm_mirror_range *range;

	spin_lock(&mirror->hmm->lock);
	range = tree_first(&mirror->ranges, update->start, update->end);
	spin_unlock(&mirror->hmm->lock);
	return range;
}

/* -------------------------------------------------------------------- ranges */

/* Return the per-mm structure of @range. If @range is not registered, warn and return NULL. */
struct hmm_mirror_mm *hmm_mirror_range_registered(const struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	WARN_ONCE(!hmm, "hmm_mirror: use of a range that is not registered: stop the faulting threads before hmm_mirror_range_unregister()\n");
	return hmm;
}

static bool bounds_are_valid(unsigned long start, unsigned long end)
{
	return start < end && (likely(PAGE_ALIGNED(start | end)) ||
			       (PAGE_ALIGNED(start) && end == ULONG_MAX));
}

/*
 * Put @range into @root and the filter, under a new sequence. Without __always_inline here
 * and in range_attach(), register to unregister takes 357 instead of 343 instructions if there
 * is one range.
 */
static __always_inline void range_insert(struct hmm_mirror_mm *hmm,
					 struct rb_root_cached *root,
					 struct hmm_mirror_range *range)
{
	/* LAST_PAGE means the end of the address space. */
	if (unlikely(range->end == LAST_PAGE))
		range->end = ULONG_MAX;
	hmm->seq += SEQ_STEP;
	tree_insert(range, root);
	if (unlikely(hmm->growth))
		hmm_mirror_growth_count(hmm, root, range, 1);
	if (unlikely(filter_add(hmm, range->start, range->end)))
		hmm_mirror_growth_start(hmm);
	if (likely(slots_are_free(hmm)) || !hmm_mirror_slot_intersecting(hmm, range)) {
		range_clean(range, hmm->seq);
	} else {
		/*
		 * The invalidation may have read the cells before they counted @range. If
		 * the driver now unregisters another range that covers the same addresses,
		 * the invalidation must see one of the two.
		 */
		filter_moved(hmm);
		hmm_mirror_range_raise(range, hmm->seq);
	}
}

/* Make @range, which is in no tree, a range of @mirror, in @root. */
static __always_inline void range_attach(struct hmm_mirror_mm *hmm,
					 struct hmm_mirror_range *range,
					 struct hmm_mirror *mirror,
					 struct rb_root_cached *root)
{
	range->mirror = mirror;
	hmm->nr_ranges++;
	mirror->nr_ranges++;
	range_insert(hmm, root, range);
}

/* The same for hmm_part.c; with hmm->lock held. */
void hmm_mirror_range_attach(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range,
			     struct hmm_mirror *mirror, struct rb_root_cached *root)
{
	range_attach(hmm, range, mirror, root);
}

/**
 * hmm_mirror_range_register() - start tracking an address range
 * @range: the range, with start and end set
 * @mirror: a registered mirror
 *
 * Does not wait for the mm: if an invalidation of the range is in flight, the range becomes
 * valid when that has ended. Ranges may overlap, including ranges of the same mirror.
 *
 * Context: process context, but not a callback; does not sleep. The caller may hold the mmap
 * lock, and spinlocks that no interrupt handler takes, such as the driver lock. The driver
 * must not unregister the mirror during this call.
 * Return: 0; -EINVAL if a pointer is NULL, or if the bounds are not page aligned or the range
 * is empty; -ESRCH if the mm is dead or the mirror is not registered.
 */
int hmm_mirror_range_register(struct hmm_mirror_range *range, struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm;
	int ret = 0;

	if (!range || !mirror || !bounds_are_valid(range->start, range->end))
		return -EINVAL;

	hmm = mirror->hmm;
	if (!hmm)
		return -ESRCH;

	spin_lock(&hmm->lock);
	if (hmm->dead)
		ret = -ESRCH;
	else
		range_attach(hmm, range, mirror, &mirror->ranges);
	spin_unlock(&hmm->lock);
	if (!ret && trace_hmm_mirror_range_register_enabled())
		trace_hmm_mirror_range_register(hmm->mm, range, range->start, range->end);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_register);
ALLOW_ERROR_INJECTION(hmm_mirror_range_register, ERRNO);

static void waiters_forget(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range)
{
	WARN_ONCE(hmm_mirror_waiters_forget(hmm, range),
		  "hmm_mirror: hmm_mirror_range_unregister() while a thread waits for the range: stop the faulting threads first\n");
}

/*
 * Take @range out of @root, or, if its mirror is unregistered, drop its reference; with hmm->lock
 * held, which this drops.
 */
static __always_inline void range_release(struct hmm_mirror_mm *hmm,
					  struct rb_root_cached *root,
					  struct hmm_mirror_range *range)
	__releases(&hmm->lock)
{
	if (unlikely(hmm->nr_waiters))
		waiters_forget(hmm, range);
	/* No thread has sequence 0, so retry() of any sequence is true. */
	hmm_mirror_range_raise(range, 0);
	if (likely(range->mirror)) {
		range_detach(hmm, root, range, NULL);
		spin_unlock(&hmm->lock);
		return;
	}
	range->orphan_of = NULL;
	hmm_mirror_mm_put_unlock(hmm);
}

/* The same for hmm_part.c. */
void hmm_mirror_range_release(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			      struct hmm_mirror_range *range)
	__releases(&hmm->lock)
{
	range_release(hmm, root, range);
}

/**
 * hmm_mirror_range_unregister() - stop tracking an address range
 * @range: a registered range
 *
 * Before this call, the driver removes the device PTEs of the range, except those that
 * another range covers, and stops all threads that use the range.
 *
 * Does not wait for the mm. The mm may be alive or dead; the mirror may be registered, being
 * unregistered, or unregistered.
 *
 * Context: as hmm_mirror_range_register(), but also during hmm_mirror_unregister().
 */
void hmm_mirror_range_unregister(struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	if (!hmm) {
		WARN_ONCE(1, "hmm_mirror: %s() of a range that is not registered: call it once for each registration\n",
			  __func__);
		return;
	}
	if (trace_hmm_mirror_range_unregister_enabled())
		trace_hmm_mirror_range_unregister(hmm->mm, range, range->start, range->end);

	spin_lock(&hmm->lock);
	/* If @range is an orphan, it is in no tree, and this pointer is not used. */
	range_release(hmm, &range->mirror->ranges, range);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_unregister);

/*
 * The bounds of @range change; with hmm->lock held. Faults of its parts must collide. A part that
 * is no longer inside @range becomes an orphan, because no thread may wait for its pages. Waiters
 * for @range may be waiting for an invalidation that does not intersect the new bounds.
 */
static void parts_of_range_rebound(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
				   unsigned long old_start, unsigned long old_end)
{
	struct hmm_mirror_range *part, *next;
	bool orphans = false;

	for (part = tree_first(&hmm->parts, old_start, old_end); part; part = next) {
		next = tree_next(part, old_start, old_end);
		if (container_of(part, struct hmm_mirror_part, range)->of != range)
			continue;
		if (part->start >= range->start && part->end <= range->end) {
			hmm_mirror_range_raise(part, hmm->seq);
			continue;
		}
		range_orphan(hmm, &hmm->parts, part);
		orphans = true;
	}
	hmm_mirror_waiters_wake(hmm, orphans ? NULL : range);
}

/* Change the bounds of @range. A fault that began with the old bounds collides. */
static void range_rebound(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range,
			  unsigned long start, unsigned long end)
{
	struct rb_root_cached *root = &range->mirror->ranges;
	unsigned long old_start = range->start, old_end = range->end;

	range_take(hmm, root, range);
	range->start = start;
	range->end = end;
	range_insert(hmm, root, range);
	/* The new cells count @range already, so no address that stays inside is missed. */
	filter_moved(hmm);
	filter_remove(hmm, old_start, old_end);
	parts_of_range_rebound(hmm, range, old_start, old_end);
}

/**
 * hmm_mirror_range_resize() - change the bounds of a range
 * @range: a registered range
 * @start: new first address
 * @end: new first address after the range, as in &struct hmm_mirror_range
 *
 * Addresses that stay inside the range are tracked all the time. The range gets a new
 * sequence: a fault in progress collides, and starts again with the new bounds. The driver
 * removes the device PTEs outside of the new bounds and calls this under one hold of the
 * driver lock.
 *
 * Context: as hmm_mirror_range_register(). No other thread changes the bounds of the range.
 * Return: 0; -EINVAL if the bounds are not page aligned or the range would be empty; -ESRCH
 * if the mm is dead or the mirror is unregistered. After an error the range is unchanged.
 */
int hmm_mirror_range_resize(struct hmm_mirror_range *range, unsigned long start,
			    unsigned long end)
{
	struct hmm_mirror_mm *hmm;
	int ret = 0;

	if (!bounds_are_valid(start, end))
		return -EINVAL;
	hmm = hmm_mirror_range_registered(range);
	if (!hmm)
		return -ESRCH;

	spin_lock(&hmm->lock);
	if (hmm->dead || !range->mirror)
		ret = -ESRCH;
	else
		range_rebound(hmm, range, start, end);
	spin_unlock(&hmm->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_resize);
ALLOW_ERROR_INJECTION(hmm_mirror_range_resize, ERRNO);

/**
 * hmm_mirror_range_split() - split a range in two
 * @range: a registered range; keeps the addresses below @at
 * @at: first address of @tail, page aligned
 * @tail: a range that is not registered; gets the addresses from @at on
 *
 * A driver may need this for a partial unmap, for example. Each address is tracked all the
 * time. Both ranges get new sequences. The driver may keep the device PTEs.
 *
 * Context: as hmm_mirror_range_register(). No other thread changes the bounds of the range.
 * Return: 0; -EINVAL if @at is not page aligned or not strictly inside @range, if @at is
 * ULONG_MAX & PAGE_MASK (as the end of @range that would mean the end of the address space),
 * or if @tail is NULL or @range itself; -ESRCH if the mm is dead or the mirror is
 * unregistered. After an error both ranges are unchanged.
 */
int hmm_mirror_range_split(struct hmm_mirror_range *range, unsigned long at,
			   struct hmm_mirror_range *tail)
{
	struct hmm_mirror_mm *hmm;
	int ret = 0;

	if (!tail || tail == range || at <= range->start || at >= range->end ||
	    !bounds_are_valid(range->start, at) || at == LAST_PAGE)
		return -EINVAL;
	hmm = hmm_mirror_range_registered(range);
	if (!hmm)
		return -ESRCH;

	spin_lock(&hmm->lock);
	if (hmm->dead || !range->mirror) {
		ret = -ESRCH;
	} else {
		tail->start = at;
		tail->end = range->end;
		range_attach(hmm, tail, range->mirror, &range->mirror->ranges);
		range_rebound(hmm, range, range->start, at);
	}
	spin_unlock(&hmm->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_split);
ALLOW_ERROR_INJECTION(hmm_mirror_range_split, ERRNO);

void hmm_mirror_ranges_init(struct hmm_mirror_mm *hmm)
{
	hmm->parts = RB_ROOT_CACHED;
	memset(hmm->level_ranges, -1, sizeof(hmm->level_ranges));
}
