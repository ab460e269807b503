// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: ranges and their sequences.
 *
 * Owns hmm->nr_ranges, hmm->seq, hmm->dead, and all of a registered range but its place in
 * the tree. All of it changes under hmm->lock. One word has all that is known of a range's
 * validity:
 *
 *	state = sequence | DIRTY
 *
 *  - The start of an invalidation publishes it in a slot, and then gives each range that it
 *    intersects a new sequence, dirty (hmm_invalidate.c).
 *  - The end frees the slot, and touches no range.
 *  - begin() of a clean range is one load. Of a dirty one: if no slot in flight intersects
 *    the range, begin() cleans it, and its sequence is good (hmm_wait.c).
 *  - A range is registered with a new sequence, dirty if a slot in flight intersects it.
 *  - retry() asks whether the word is another one than begin() returned.
 *
 * Invariants: a sequence is given out once for each mm and never comes back, so a start and
 * an end between two looks cannot hide. The death of the mm, or of the mirror, makes a range
 * dirty for ever.
 *
 * The race that all this is about, where either side may come first:
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
 * (A) is before (B) in one function.
 * If (C) comes before (B), the callback removes what was installed. If (B) comes
 * before (C), the driver's lock carries (A) over to (C), and the fault side sees
 * that the state has changed. It may also see that without (B), which is harmless.
 *
 * See hmm_wait.c for a begin() that comes after (A).
 *
 * A start that hits nothing takes no lock. So, against a registration:
 *
 *	fault side				mm side
 *
 *	register: lock				start:
 *	  filter: a range is there		  slot in flight
 *	  full barrier				  full barrier
 *	  a slot in flight intersects?		  filter: is a range there?
 *	  no: state is clean			  yes: lock; state = seq', dirty
 *	  unlock
 *
 *	[neither sees the other: never]
 *
 * Both may. Then the range is registered dirty, and gets one more sequence. The same holds
 * for a begin() that cleans a range, which is in the filter since it was registered.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/slab.h>

#include "hmm_filter.h"
#include "hmm_slot.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

#define DIRTY		HMM_MIRROR_RANGE_DIRTY
#define SEQ_STEP	HMM_MIRROR_SEQ_STEP

/* The last page of the address space, of which the end would be 0. */
#define LAST_PAGE	(ULONG_MAX & PAGE_MASK)

/* ------------------------------------------------------------------------ filter */

/*
 * Replace the filter by one that has room for all ranges. Until then a filter that is too
 * small, or stale, rejects fewer misses.
 */
static void filter_grow(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, grow);
	struct hmm_mirror_filter *filter = NULL, *old;
	unsigned int ranges;
	struct rb_node *rb;

	spin_lock(&hmm->lock);
	ranges = hmm_mirror_filter_wants(hmm);
	spin_unlock(&hmm->lock);

	if (ranges)
		filter = hmm_mirror_filter_alloc(hmm->mm, ranges);
	if (filter) {
		spin_lock(&hmm->lock);
		for (rb = rb_first_cached(&hmm->ranges); rb; rb = rb_next(rb))
			hmm_mirror_filter_fill(filter, range_of(rb)->start, range_of(rb)->end);
		old = hmm_mirror_filter_replace(hmm, filter);
		spin_unlock(&hmm->lock);

		/* Invalidations that still read it are inside that SRCU section. */
		mmu_notifier_synchronize();
		kvfree(old);
	}
	hmm_mirror_mm_put(hmm);
}

static noinline void queue_growth(struct hmm_mirror_mm *hmm)
{
	if (queue_work(hmm_mirror_wq, &hmm->grow))
		hmm->users++;
}

/* --------------------------------------------------------------------- sequences */

static void range_clean(struct hmm_mirror_range *range, unsigned long seq)
{
	/* Pairs with smp_load_acquire() in range_try(): clean.litmus. */
	smp_store_release(&range->state, seq);
}

/* No slot intersects @range: clean it and return its sequence; with hmm->lock held. */
unsigned long hmm_mirror_range_clean(struct hmm_mirror_range *range)
{
	unsigned long seq = range->state & ~DIRTY;

	range_clean(range, seq);
	return seq;
}

/* Raise @range as if it had just been invalidated, for tests of drivers. */
void hmm_mirror_range_collide(struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	hmm->seq += SEQ_STEP;
	hmm_mirror_range_raise(range, hmm->seq);
	spin_unlock(&hmm->lock);
}

/* The mm has died: no range is valid any more, and none will be. */
void hmm_mirror_ranges_die(struct hmm_mirror_mm *hmm)
{
	struct rb_node *rb;

	spin_lock(&hmm->lock);
	hmm->dead = true;
	hmm->seq += SEQ_STEP;
	for (rb = rb_first_cached(&hmm->ranges); rb; rb = rb_next(rb))
		hmm_mirror_range_raise(range_of(rb), hmm->seq);
	hmm_mirror_slots_wake(hmm);
	spin_unlock(&hmm->lock);
}

static __always_inline void range_detach(struct hmm_mirror_mm *hmm,
					 struct hmm_mirror_range *range,
					 struct hmm_mirror_mm *orphan_of)
{
	tree_remove(range, &hmm->ranges);
	filter_remove(hmm, range->start, range->end);
	hmm->nr_ranges--;
	range->mirror->nr_ranges--;
	range->orphan_of = orphan_of;
	/* Pairs with smp_load_acquire() in hmm_mirror_range_mm(): orphan.litmus. */
	smp_store_release(&range->mirror, NULL);
}

/*
 * @mirror is unregistered, with hmm->lock held: its ranges become orphans, which hold a
 * reference each. Return true if readers may still hold @mirror, so that the caller must
 * wait for a grace period.
 */
bool hmm_mirror_ranges_orphan(struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct rb_node *rb, *next;

	lockdep_assert_held(&hmm->lock);
	if (likely(!mirror->nr_ranges))
		return false;

	hmm->seq += SEQ_STEP;
	for (rb = rb_first_cached(&hmm->ranges); rb; rb = next) {
		struct hmm_mirror_range *range = range_of(rb);

		next = rb_next(rb);
		if (range->mirror == mirror) {
			hmm_mirror_range_raise(range, hmm->seq);
			range_detach(hmm, range, hmm);
			hmm->users++;
		}
	}
	hmm_mirror_slots_wake(hmm);
	return true;
}

/* Does @update, which is not empty, intersect a range of @mirror? */
bool hmm_mirror_ranges_hit(const struct hmm_mirror *mirror,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_range *range;

	spin_lock(&hmm->lock);
	range = tree_own(tree_first(hmm, update->start, update->end), mirror,
			 update->start, update->end);
	spin_unlock(&hmm->lock);
	return range;
}

/* -------------------------------------------------------------------- ranges */

/* Return the structure of @range. If the driver uses an unregistered range, warn: NULL. */
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

/* Put @range into the tree and the filter, under a new sequence. */
static __always_inline void range_insert(struct hmm_mirror_mm *hmm,
					 struct hmm_mirror_range *range)
{
	/* so that no page is behind it */
	if (unlikely(range->end == LAST_PAGE))
		range->end = ULONG_MAX;
	hmm->seq += SEQ_STEP;
	tree_insert(range, &hmm->ranges);
	if (unlikely(filter_add(hmm, range->start, range->end)))
		queue_growth(hmm);
	if (likely(slots_are_free(hmm)) || !hmm_mirror_slot_intersecting(hmm, range))
		range_clean(range, hmm->seq);
	else
		hmm_mirror_range_raise(range, hmm->seq);
}

/* Make @range, which is in no tree, a range of @mirror. */
static __always_inline void range_attach(struct hmm_mirror_mm *hmm,
					 struct hmm_mirror_range *range,
					 struct hmm_mirror *mirror)
{
	range->mirror = mirror;
	hmm->nr_ranges++;
	mirror->nr_ranges++;
	range_insert(hmm, range);
}

/**
 * hmm_mirror_range_register() - start to track an address range
 * @range: with start and end set
 * @mirror: a registered mirror
 *
 * Never waits for the mm: a range that is registered while an invalidation of its
 * addresses is in flight is simply not valid before that one has ended.
 * Ranges may overlap, those of one mirror too.
 *
 * Context: process context, not a callback; does not sleep. Spinlocks may be held, among
 * them the driver's, but none that an interrupt handler takes. The mmap lock may be held or
 * not. Not while the mirror is being unregistered.
 * Return: 0; -EINVAL if a pointer is missing, or if the bounds are not page aligned
 * or enclose nothing; -ESRCH if the mm is dead or the mirror not registered.
 */
int hmm_mirror_range_register(struct hmm_mirror_range *range,
			      struct hmm_mirror *mirror)
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
		range_attach(hmm, range, mirror);
	spin_unlock(&hmm->lock);
	if (!ret && trace_hmm_mirror_range_register_enabled())
		trace_hmm_mirror_range_register(hmm->mm, range, range->start, range->end);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_register);
ALLOW_ERROR_INJECTION(hmm_mirror_range_register, ERRNO);

static noinline void waiters_forget(struct hmm_mirror_mm *hmm,
				    const struct hmm_mirror_range *range)
{
	WARN_ONCE(hmm_mirror_slots_forget(hmm, range),
		  "hmm_mirror: hmm_mirror_range_unregister() while a thread waits for the range: stop the faulting threads first\n");
}

/**
 * hmm_mirror_range_unregister() - stop to track an address range
 * @range: a registered range
 *
 * The driver has removed the device PTEs of the range, as far as no other range
 * covers them, and nobody uses the range any more.
 *
 * Never waits for the mm. Before or after the death of the mm, and before, while or
 * after the mirror is unregistered.
 *
 * Context: as hmm_mirror_range_register(); also while the mirror is being unregistered.
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
	if (unlikely(hmm->waiters.first))
		waiters_forget(hmm, range);
	/* a sequence that nobody has */
	hmm_mirror_range_raise(range, 0);
	if (likely(range->mirror)) {
		range_detach(hmm, range, NULL);
		spin_unlock(&hmm->lock);
		return;
	}
	range->orphan_of = NULL;
	hmm_mirror_mm_put_unlock(hmm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_unregister);

/*
 * Change bounds. A fault that began with the old ones collides, and a waiter may be waiting
 * for the wrong invalidation.
 */
static void range_rebound(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range,
			  unsigned long start, unsigned long end)
{
	unsigned long old_start = range->start, old_end = range->end;

	tree_remove(range, &hmm->ranges);
	range->start = start;
	range->end = end;
	range_insert(hmm, range);
	/* Addresses that stay inside are in the filter all the time. */
	filter_moved(hmm);
	filter_remove(hmm, old_start, old_end);
	hmm_mirror_slots_wake(hmm);
}

/**
 * hmm_mirror_range_resize() - change the bounds of a range
 * @range: a registered range
 * @start: first address
 * @end: first address behind, as in &struct hmm_mirror_range
 *
 * Addresses that stay inside are tracked all the time. The sequence moves: a fault that
 * is under way collides and is done again with the new bounds. The driver removes the
 * device PTEs that are not inside any more, and calls this, under one hold of the lock
 * under which it commits.
 *
 * Context: as hmm_mirror_range_register(). No other thread changes the range.
 * Return: 0; -EINVAL if the bounds are not page aligned or enclose nothing; -ESRCH if
 * the mm is dead or the mirror unregistered. After an error nothing has changed.
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
 * hmm_mirror_range_split() - cut a range in two
 * @range: a registered range; keeps what is below @at
 * @at: where, page aligned
 * @tail: not registered; gets what is above
 *
 * For a partial unmap, for example. Every address is tracked all the time, and both
 * sequences are new. Device PTEs can stay.
 *
 * Context: as hmm_mirror_range_register(). No other thread changes the range.
 * Return: 0; -EINVAL if @at is not page aligned or not strictly inside, if it is
 * ULONG_MAX & PAGE_MASK, which as the end of @range would mean to the end of the address
 * space, or if @tail is missing or @range itself; -ESRCH if the mm is dead or the mirror
 * unregistered. After an error nothing has changed.
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
		range_attach(hmm, tail, range->mirror);
		range_rebound(hmm, range, range->start, at);
	}
	spin_unlock(&hmm->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_split);
ALLOW_ERROR_INJECTION(hmm_mirror_range_split, ERRNO);

/**
 * hmm_mirror_range_first() - the first range of a mirror that intersects
 * @mirror: the mirror
 * @start: first address
 * @end: first address behind
 *
 * Context: see hmm_mirror_for_each_range().
 * Return: the range, or NULL.
 */
struct hmm_mirror_range *hmm_mirror_range_first(struct hmm_mirror *mirror,
						unsigned long start,
						unsigned long end)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_range *range;

	spin_lock(&hmm->lock);
	range = start < end ? tree_first(hmm, start, end) : NULL;
	range = tree_own(range, mirror, start, end);
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_first);

/**
 * hmm_mirror_range_next() - the range behind one, of the same mirror
 * @range: from hmm_mirror_range_first() or hmm_mirror_range_next()
 * @start: first address
 * @end: first address behind
 *
 * Context: see hmm_mirror_for_each_range().
 * Return: the range, or NULL.
 */
struct hmm_mirror_range *hmm_mirror_range_next(struct hmm_mirror_range *range,
					       unsigned long start,
					       unsigned long end)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	const struct hmm_mirror *mirror;

	spin_lock(&hmm->lock);
	/* NULL: the mirror was unregistered meanwhile, and the range is in no tree */
	mirror = range->mirror;
	if (mirror && start < end)
		range = tree_own(tree_next(range, start, end), mirror, start, end);
	else
		range = NULL;
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_next);

/**
 * hmm_mirror_range_lookup() - the range of a mirror at an address
 * @mirror: the mirror
 * @addr: any address
 * @get: takes a reference to the driver's structure around a range, such as
 *	kref_get_unless_zero(), and returns whether it got one; or NULL
 *
 * A range has no references of its own. @get runs where the range cannot be
 * unregistered, so a driver whose last reference unregisters and then frees needs no
 * lock of its own around this. Without @get the caller holds the lock under which it
 * unregisters ranges.
 *
 * Context: process context or a callback, does not sleep. Spinlocks may be held, but none
 * that an interrupt handler takes. @get runs under a spinlock and must not call hmm_mirror.
 * Return: a range that contains @addr; NULL if there is none, or if @get said no. If
 * ranges overlap, it is the first that has a reference to give.
 */
struct hmm_mirror_range *
hmm_mirror_range_lookup(struct hmm_mirror *mirror, unsigned long addr,
			bool (*get)(struct hmm_mirror_range *range))
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_range *range;

	/* Ranges consist of pages; the address behind the last one does not exist. */
	addr &= PAGE_MASK;
	spin_lock(&hmm->lock);
	for (range = tree_first(hmm, addr, addr + 1); range;
	     range = tree_next(range, addr, addr + 1))
		if (range->mirror == mirror && (!get || get(range)))
			break;
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_lookup);

void hmm_mirror_ranges_init(struct hmm_mirror_mm *hmm)
{
	INIT_WORK(&hmm->grow, filter_grow);
	hmm->ranges = RB_ROOT_CACHED;
	memset(hmm->level_ranges, -1, sizeof(hmm->level_ranges));
}
