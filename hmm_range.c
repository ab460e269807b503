// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: ranges. Tracking of invalidations, validity, sequence, wait and
 * population.
 *
 * All that is known about a range's validity is one word:
 *
 *	state = sequence | DIRTY
 *
 *  - The start of an invalidation publishes it in a slot, where it can be seen, and then
 *    gives each range that it intersects a new sequence, dirty.
 *  - The end frees the slot, and wakes those who wait for that slot. It touches no
 *    range: that nothing intersects a range any more is found by whoever asks.
 *  - begin() of a clean range is one load. Of a dirty one: if no slot in flight
 *    intersects it, it is clean again, and its sequence is good; else begin() sleeps
 *    until one that does has ended, and looks again.
 *  - A range is registered with a new sequence, dirty if a slot in flight intersects it.
 *  - retry() asks whether the word is another one than begin() returned.
 *
 * Most invalidations hit nothing, so those take no lock, and write to no memory that
 * others write to: each has a slot that it hashes to, and a filter says that no range is
 * near. What the filter does not know for sure is looked up in the tree, under the lock.
 * Where the slot is in use by another one, so is everything else.
 *
 * A sequence is given out once for each mm and never comes back, so a start and an
 * end between two looks cannot hide. The death of the mm, or of the mirror, makes a
 * range dirty for ever.
 *
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
 * And where begin() comes after (A):
 *
 *	fault side				mm side
 *
 *						start:
 *						  slot in flight
 *						  state = seq', dirty
 *						change CPU page table
 *						end: slot free			(release)
 *	begin(): state is dirty: lock
 *	  no slot intersects			(acquire)
 *	  state = seq', clean			(release)
 *	  unlock
 *	reads CPU page table
 *						another thread's begin():
 *						  state is clean		(acquire)
 *						  reads CPU page table
 *
 *	[begin() returns seq' and an old CPU page table entry is read: never]
 *
 * That start takes no lock to find that it hits nothing. So, against a registration:
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
 * Both may. Then the range is registered dirty, and gets one more sequence. It is the
 * same for a begin() that cleans a range: that is in the filter since it was registered.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/hash.h>
#include <linux/interval_tree_generic.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/prefetch.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat/memcg.h"
#include "internal.h"
#include "hmm_inject.h"
#include "hmm_trace.h"

#define DIRTY		HMM_MIRROR_RANGE_DIRTY
/* hmm_mirror_range_wait_until_valid() has returned for that sequence */
#define WAITED		HMM_MIRROR_RANGE_WAITED
#define SEQ_STEP	BIT(2)

/*
 * Pages read under one hold of the mmap lock. Writers of the mmap lock wait that long
 * at most, and a collision is noticed between two of them.
 */
#define CHUNK_PAGES	512
#define CHUNK_SIZE	(CHUNK_PAGES * PAGE_SIZE)

/* The last page of the address space, of which the end would be 0. */
#define LAST_PAGE	(ULONG_MAX & PAGE_MASK)

/* Those that are taken under the lock, without the shared one. */
#define LOCKED_SLOTS	GENMASK_ULL(HMM_MIRROR_SLOT_SHARED - 1, HMM_MIRROR_HASHED)

/* For how many ranges the filter is at first, and how many cells it has for each of them. */
#define FILTER_RANGES	64U
#define FILTER_LOAD	4

/* In a cell of the filter: one range, in the first part of it; more than can be counted. */
#define CELL_RANGE	HMM_MIRROR_CELL_PARTS
#define CELL_MANY	(U8_MAX & -CELL_RANGE)

/* Somebody who is inside a wait. On his stack, and on hmm->waiters. */
struct range_waiter {
	struct hlist_node list;
	const struct hmm_mirror_range *range;	/* NULL: it was unregistered */
};

/* ------------------------------------------------------------- interval tree */

/*
 * The tree is one of closed intervals. Ranges are in it with the first address behind
 * them, and are looked for from the second address on.
 */
#define RANGE_START(range)	((range)->start)
#define RANGE_END(range)	((range)->end)

INTERVAL_TREE_DEFINE(struct hmm_mirror_range, rb, unsigned long, subtree_last,
		     RANGE_START, RANGE_END, static __always_inline, tree)

static __always_inline struct hmm_mirror_range *range_of(struct rb_node *rb)
{
	return rb_entry(rb, struct hmm_mirror_range, rb);
}

/*
 * Those that intersect [start, end), which is not empty, of whatever mirror, in ascending
 * order of start.
 */
static struct hmm_mirror_range *
tree_first(struct hmm_mirror_mm *hmm, unsigned long start, unsigned long end)
{
	return tree_iter_first(&hmm->ranges, start + 1, end - 1);
}

static __always_inline struct hmm_mirror_range *
tree_next(struct hmm_mirror_range *range, unsigned long start, unsigned long end)
{
	return tree_iter_next(range, start + 1, end - 1);
}

/* From @range on. */
static struct hmm_mirror_range *mirrors_own(struct hmm_mirror_range *range,
					    const struct hmm_mirror *mirror,
					    unsigned long start, unsigned long end)
{
	while (range && range->mirror != mirror)
		range = tree_next(range, start, end);
	return range;
}

/* -------------------------------------------------------------------- filter */

/*
 * Addresses are cut into chunks, and each range is counted in the cells to which the
 * chunks of its first and its last address hash. Chunks are as large as the range at
 * least, so it is in no other. An invalidation that lies in one chunk whose cell is 0 hits
 * no range with chunks of that size. The same if only one range is counted in the cell, and
 * that in another part of it, which is as if cells were smaller.
 *
 * Sizes of chunks are powers of 4, so there are few of them. The largest are halves of the
 * address space: a range of any length has no address outside its first and its last half.
 */
static __always_inline unsigned long level_of(unsigned long start, unsigned long last)
{
	return min(round_up(__fls(last - start) + 1, 2), 63UL);
}

/* Which cell in the upper half, and where in the cell in the lower one. */
static __always_inline u64 filter_place(const struct hmm_mirror_filter *filter,
					unsigned long chunk)
{
	return (u64)((u32)chunk * GOLDEN_RATIO_32) * filter->nr;
}

static __always_inline u8 *filter_cell(struct hmm_mirror_filter *filter, u64 place)
{
	return &filter->cell[place >> 32];
}

static __always_inline u32 cell_part(u64 place)
{
	return (u32)place >> (32 - ilog2(HMM_MIRROR_CELL_PARTS));
}

/* One range, in another part. */
static __always_inline bool cell_is_elsewhere(u32 cell, u64 place)
{
	cell ^= cell_part(place);
	return cell > CELL_RANGE && cell < 2 * CELL_RANGE;
}

/* What is too much to count stays so until the filter is made anew. */
static void cell_count(struct hmm_mirror_filter *filter, unsigned long chunk, int delta)
{
	u64 place = filter_place(filter, chunk);
	u8 *cell = filter_cell(filter, place);

	/* Pairs with READ_ONCE() in filter_may_hit(): publish.litmus. */
	if (likely(*cell < CELL_MANY))
		WRITE_ONCE(*cell, (*cell + delta * CELL_RANGE) ^ cell_part(place));
	else if (delta < 0)
		filter->stale++;
}

static noinline void filter_count(struct hmm_mirror_filter *filter, unsigned long level,
				  unsigned long start, unsigned long last, int delta)
{
	cell_count(filter, start >> level, delta);
	if (start >> level != last >> level)
		cell_count(filter, last >> level, delta);
}

static bool filter_is_full(const struct hmm_mirror_mm *hmm)
{
	return max(hmm->nr_ranges, hmm->filter->stale) >= hmm->filter->room;
}

static noinline void filter_add_crowded(struct hmm_mirror_mm *hmm, unsigned long level,
					unsigned long start, unsigned long last)
{
	filter_count(hmm->filter, level, start, last, 1);
	if (filter_is_full(hmm) && queue_work(hmm_mirror_wq, &hmm->grow))
		hmm->users++;
}

static __always_inline void filter_add(struct hmm_mirror_mm *hmm, unsigned long start,
				       unsigned long end)
{
	unsigned long last = end - 1, level = level_of(start, last);
	u64 place = filter_place(hmm->filter, start >> level);
	u8 *cell = filter_cell(hmm->filter, place);

	/* Pairs with READ_ONCE() in filter_may_hit(), as the cell does: publish.litmus. */
	if (unlikely(!++hmm->level_ranges[level]))
		WRITE_ONCE(hmm->levels, hmm->levels | BIT_ULL(level));
	if (likely(start >> level == last >> level && !*cell))
		WRITE_ONCE(*cell, CELL_RANGE + cell_part(place));
	else
		filter_add_crowded(hmm, level, start, last);
}

static __always_inline void filter_remove(struct hmm_mirror_mm *hmm, unsigned long start,
					  unsigned long end)
{
	unsigned long last = end - 1, level = level_of(start, last);
	u8 *cell = filter_cell(hmm->filter, filter_place(hmm->filter, start >> level));

	if (unlikely(--hmm->level_ranges[level] < 0))
		WRITE_ONCE(hmm->levels, hmm->levels & ~BIT_ULL(level));
	if (likely(start >> level == last >> level && *cell < 2 * CELL_RANGE))
		WRITE_ONCE(*cell, 0);
	else
		filter_count(hmm->filter, level, start, last, -1);
}

/*
 * Called without the lock, behind the barrier in hmm_mirror_track_start(): publish.litmus.
 * What is in one chunk is in one of every larger size.
 */
static __always_inline bool filter_may_hit(struct hmm_mirror_mm *hmm, unsigned long start,
					   unsigned long last)
{
	/* Pairs with smp_store_release() in range_rebound(): rebound.litmus. */
	unsigned int rebounds = smp_load_acquire(&hmm->rebounds);
	u64 levels = READ_ONCE(hmm->levels);
	struct hmm_mirror_filter *filter;
	u8 level;

	if (!levels)
		return false;
	level = __ffs64(levels);
	if ((start ^ last) >> level)
		return true;

	/*
	 * Pairs with smp_store_release() in filter_grow() (grown.litmus). It may be the old
	 * one: grow.litmus.
	 */
	filter = READ_ONCE(hmm->filter);
	while (true) {
		u64 place = filter_place(filter, start >> level);
		u32 cell = READ_ONCE(*filter_cell(filter, place));

		if (unlikely(cell) && !cell_is_elsewhere(cell, place))
			return true;
		levels &= levels - 1;
		if (likely(!levels))
			break;
		level = __ffs64(levels);
	}

	/*
	 * A range may have been in a cell all the time, but not in the same one. Pairs
	 * with smp_wmb() in range_rebound(): rebound.litmus.
	 */
	smp_rmb();
	return READ_ONCE(hmm->rebounds) != rebounds;
}

/* For less than so many ranges, or up to twice as many. */
static struct hmm_mirror_filter *filter_alloc(unsigned int ranges)
{
	/* a power of 2, with what is in front of the cells */
	size_t size = roundup_pow_of_two((size_t)ranges * FILTER_LOAD);
	struct hmm_mirror_filter *filter = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	if (filter) {
		filter->nr = size - sizeof(*filter);
		filter->room = size / FILTER_LOAD;
	}
	return filter;
}

/* The control group of the process pays, though a worker allocates. */
static struct hmm_mirror_filter *filter_alloc_for(struct mm_struct *mm, unsigned int ranges)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	struct mem_cgroup *old = hmm_mirror_compat_set_active_memcg(memcg);
	struct hmm_mirror_filter *filter = filter_alloc(ranges);

	hmm_mirror_compat_set_active_memcg(old);
	mem_cgroup_put(memcg);
	return filter;
}

/* A filter that is too small, or stale, costs time, and that is all that it costs. */
static void filter_grow(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, grow);
	struct hmm_mirror_filter *filter = NULL, *old;
	unsigned int ranges;
	struct rb_node *rb;
	bool last;

	spin_lock(&hmm->lock);
	ranges = filter_is_full(hmm) ? max(hmm->nr_ranges + 1, FILTER_RANGES) : 0;
	spin_unlock(&hmm->lock);

	if (ranges)
		filter = filter_alloc_for(hmm->mm, ranges);
	if (filter) {
		spin_lock(&hmm->lock);
		for (rb = rb_first_cached(&hmm->ranges); rb; rb = rb_next(rb)) {
			unsigned long start = range_of(rb)->start, last = range_of(rb)->end - 1;

			filter_count(filter, level_of(start, last), start, last, 1);
		}
		old = hmm->filter;
		/* Pairs with READ_ONCE() in filter_may_hit(): grown.litmus. */
		smp_store_release(&hmm->filter, filter);
		spin_unlock(&hmm->lock);

		/* Invalidations that still read it are inside that SRCU section. */
		mmu_notifier_synchronize();
		kvfree(old);
	}

	spin_lock(&hmm->lock);
	last = hmm_mirror_mm_put(hmm);
	spin_unlock(&hmm->lock);
	if (last)
		hmm_mirror_mm_free(hmm);
}

/* --------------------------------------------------------------------- slots */

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

/* Both of the same invalidation; a last of 0 is of none. */
static void slot_bounds(const struct hmm_mirror_slot *slot, unsigned long *start,
			unsigned long *last)
{
	do {
		/* They may change: bounds.litmus. */
		*last = smp_load_acquire(&slot->last);
		/* Pairs with the xchg() in slot_unpublish() of who had it before. */
		*start = smp_load_acquire(&slot->start);
	} while (unlikely(READ_ONCE(slot->last) != *last));
}

static bool bounds_intersect(const struct hmm_mirror_range *range, unsigned long start,
			     unsigned long last)
{
	return last && last >= range->start && start < range->end;
}

static bool slot_intersects(const struct hmm_mirror_slot *slot,
			    const struct hmm_mirror_range *range)
{
	unsigned long start, last;

	slot_bounds(slot, &start, &last);
	return bounds_intersect(range, start, last);
}

/* Whether nothing is in flight, of what began before somebody looked for ranges. */
static __always_inline bool slots_are_free(struct hmm_mirror_mm *hmm)
{
	unsigned long any = 0;
	unsigned int i;

	/*
	 * Pairs with the one in hmm_mirror_track_start(): publish.litmus. What needs the
	 * lock is ordered by that: register_locked.litmus.
	 */
	smp_mb();
#pragma GCC unroll 8
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		/* Pairs with smp_store_release() in slot_unpublish(): clean.litmus. */
		any |= smp_load_acquire(&hmm->slot[i].last);
	return !(any | hmm->used);
}

/* An invalidation in flight that intersects the range, if there is one. */
static noinline struct hmm_mirror_slot *slot_intersecting(struct hmm_mirror_mm *hmm,
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

/* For slot_wake(), where its barriers are: sleep.litmus. */
static noinline void slot_wake_up(struct hmm_mirror_slot *slot)
{
	wake_up_all(&slot->waiters);
}

static __always_inline void slot_wake(struct hmm_mirror_slot *slot)
{
	/*
	 * Waiters queue up under the lock, which we hold (sleep_locked.litmus), or we have
	 * just freed a hashed slot, at which they look once more when they have queued up
	 * (sleep.litmus).
	 */
	if (unlikely(waitqueue_active(&slot->waiters)))
		slot_wake_up(slot);
}

static void slots_wake_all(struct hmm_mirror_mm *hmm)
{
	int i;

	for (i = 0; i < HMM_MIRROR_SLOTS; i++)
		slot_wake(&hmm->slot[i]);
}

/* By the owner of the key. */
static void slot_publish(struct hmm_mirror_slot *slot, unsigned long start,
			 unsigned long last)
{
	WRITE_ONCE(slot->start, start);
	/* Pairs with smp_load_acquire() in slot_bounds(): bounds.litmus. */
	smp_store_release(&slot->last, last);
}

/* Of the hashed ones: the last that its owner does with it. */
static __always_inline void slot_unpublish(struct hmm_mirror_slot *slot)
{
	/* What the mm has changed is seen by who finds the slot free: clean.litmus. */
	smp_store_release(&slot->last, 0);
	/*
	 * Fully ordered: the next owner publishes after us (reuse.litmus), and who queues
	 * up sees a free slot or is seen here (sleep.litmus).
	 */
	xchg(&slot->key, NULL);
	slot_wake(slot);
}

/* Not one that may be endless: nobody could end it. */
static bool inject_overflow(const struct mmu_notifier_range *update)
{
	return update->start && hmm_mirror_inject(HMM_MIRROR_INJECT_OVERFLOW);
}

static struct hmm_mirror_slot *slot_take(struct hmm_mirror_mm *hmm,
					 const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	/*
	 * In flight already: that one has lost its end. Whoever waits for it looks
	 * again.
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
	 * An empty one is in flight, and intersects nothing, not even everything. One of
	 * the very first byte is the same to ranges as one of two.
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

/* NULL if its start came before we subscribed. */
static struct hmm_mirror_slot *slot_free(struct hmm_mirror_mm *hmm,
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
	bool last;
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

	spin_lock(&hmm->lock);
	last = hmm_mirror_mm_put(hmm);
	spin_unlock(&hmm->lock);
	if (last)
		hmm_mirror_mm_free(hmm);
}

/* ------------------------------------------------------------------ tracking */

int hmm_mirror_track_init(struct hmm_mirror_mm *hmm)
{
	int i;

	hmm->filter = filter_alloc(FILTER_RANGES);
	if (!hmm->filter)
		return -ENOMEM;
	INIT_WORK(&hmm->grow, filter_grow);
	INIT_WORK(&hmm->endless, slots_free_endless);
	spin_lock_init(&hmm->lock);
	memset(hmm->level_ranges, -1, sizeof(hmm->level_ranges));
	hmm->ranges = RB_ROOT_CACHED;
	INIT_HLIST_HEAD(&hmm->waiters);
	for (i = 0; i < HMM_MIRROR_SLOTS; i++)
		init_waitqueue_head(&hmm->slot[i].waiters);
	hmm->slot[HMM_MIRROR_SLOT_SHARED].last = ULONG_MAX;
	return 0;
}

void hmm_mirror_track_exit(struct hmm_mirror_mm *hmm)
{
	kvfree(hmm->filter);
}

/* From here on, what was read under the old sequence is not committed any more. */
static void range_raise(struct hmm_mirror_range *range, unsigned long seq)
{
	/* Pairs with READ_ONCE() in hmm_mirror_range_retry(): retry.litmus. */
	WRITE_ONCE(range->state, seq | DIRTY);
}

static noinline void trace_start(struct hmm_mirror_mm *hmm,
				 const struct hmm_mirror_slot *slot,
				 const struct mmu_notifier_range *update,
				 const struct hmm_mirror *hit)
{
	unsigned long start = update->start, end = update->end, hits = 0;
	struct hmm_mirror_range *range = hit ? tree_first(hmm, start, end) : NULL;

	for (; range; range = tree_next(range, start, end))
		hits++;
	trace_hmm_mirror_invalidate_start(hmm->mm, update, slot - hmm->slot, hits);
}

/* From the first one on, which is below @rb. */
static noinline const struct hmm_mirror *
ranges_raise_below(struct rb_node *rb, unsigned long start, unsigned long end,
		   unsigned long seq)
{
	struct hmm_mirror_range *range = tree_subtree_search(range_of(rb), start + 1, end - 1);
	const struct hmm_mirror *hit = range->mirror;

	do {
		range_raise(range, seq);
		range = tree_next(range, start, end);
	} while (range);
	return hit;
}

/*
 * All ranges that intersect. Returns a mirror that has one.
 *
 * If it is one, or none, all is done on the way down to where the next one would be: what
 * begins before the end is either there or in a left subtree, which knows how far it reaches.
 */
static __always_inline const struct hmm_mirror *
ranges_raise(struct hmm_mirror_mm *hmm, unsigned long start, unsigned long end)
{
	struct rb_node *rb = hmm->ranges.rb_root.rb_node;
	unsigned long seq = hmm->seq + SEQ_STEP;
	const struct hmm_mirror *hit = NULL;

	while (rb) {
		struct hmm_mirror_range *range = range_of(rb);

		/* Nobody can guess which child is next; the left one is looked at in any case. */
		prefetch(rb->rb_right);
		if (range->start >= end) {
			rb = rb->rb_left;
			continue;
		}
		if (rb->rb_left && unlikely(range_of(rb->rb_left)->subtree_last > start)) {
			hit = ranges_raise_below(rb->rb_left, start, end, seq);
			break;
		}
		if (range->end > start) {
			range_raise(range, seq);
			hit = range->mirror;
		}
		rb = rb->rb_right;
	}
	if (likely(hit)) {
		hmm->seq = seq;
		hmm->stats.hits++;
	}
	return hit;
}

/*
 * For the calls that are rarely made: they get what hmm_mirror_track_start() and
 * hmm_mirror_track_end() got, so that those need not keep two pointers to the same thing.
 */
static __always_inline struct hmm_mirror_mm *mm_of_start(struct mmu_notifier *start)
{
	return container_of(start, struct hmm_mirror_mm, start);
}

static __always_inline struct hmm_mirror_mm *mm_of_end(struct mmu_notifier *end)
{
	return container_of(end, struct hmm_mirror_mm, end);
}

/* The filter says that there may be a range. */
static noinline int track_start_hit(struct mmu_notifier *mn,
				    const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mm_of_start(mn);
	const struct hmm_mirror *hit;

	/* or gcc keeps both pointers */
	OPTIMIZER_HIDE_VAR(hmm);
	spin_lock(&hmm->lock);
	hit = ranges_raise(hmm, update->start, update->end);
	if (trace_hmm_mirror_invalidate_start_enabled())
		trace_start(hmm, hmm_mirror_slot_hashed(hmm, update), update, hit);
	spin_unlock(&hmm->lock);
	return hit || READ_ONCE(hmm->nr_always) ? hmm_mirror_sync(hmm, hit, update) : 0;
}

static noinline int track_start_locked(struct mmu_notifier *mn,
				       const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mm_of_start(mn);
	const struct hmm_mirror *hit = NULL;
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = slot_take(hmm, update);
	/* an empty one intersects nothing; the tree does not know that */
	if (update->start < update->end)
		hit = ranges_raise(hmm, update->start, update->end);
	if (trace_hmm_mirror_invalidate_start_enabled())
		trace_start(hmm, slot, update, hit);
	spin_unlock(&hmm->lock);
	return hit || READ_ONCE(hmm->nr_always) ? hmm_mirror_sync(hmm, hit, update) : 0;
}

static noinline int track_start_traced(struct mmu_notifier *mn,
				       const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mm_of_start(mn);
	const struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	trace_hmm_mirror_invalidate_start(hmm->mm, update, slot - hmm->slot, 0);
	return READ_ONCE(hmm->nr_always) ? hmm_mirror_sync(hmm, NULL, update) : 0;
}

/* invalidate_range_start() of the subscription "start". */
int hmm_mirror_track_start(struct mmu_notifier *mn,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mm_of_start(mn);
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);
	const struct mmu_notifier_range *free = NULL;
	unsigned long start = update->start, last = update->end - 1;

	/*
	 * Not at address 0, not empty, and who has the slot has it alone: what the former
	 * owner did to it is over (reuse.litmus).
	 */
	if (unlikely(!start || start >= update->end) || hmm_mirror_injects() ||
	    unlikely(!try_cmpxchg(&slot->key, &free, update)))
		return track_start_locked(mn, update);

	slot_publish(slot, start, last);
	/*
	 * Pairs with the one in slots_are_free(): who registers a range either is
	 * seen by us or sees the slot (publish.litmus).
	 */
	smp_mb();
	if (unlikely(filter_may_hit(hmm, start, last)))
		return track_start_hit(mn, update);
	if (trace_hmm_mirror_invalidate_start_enabled())
		return track_start_traced(mn, update);
	return likely(!READ_ONCE(hmm->nr_always)) ? 0 : hmm_mirror_sync(hmm, NULL, update);
}

static noinline void track_end_locked(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mm_of_end(mn);
	struct hmm_mirror_slot *slot;

	spin_lock(&hmm->lock);
	slot = slot_free(hmm, update);
	spin_unlock(&hmm->lock);

	if (slot)
		trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
}

static noinline void track_end_traced(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *update,
				      struct hmm_mirror_slot *slot)
{
	struct hmm_mirror_mm *hmm = mm_of_end(mn);

	trace_hmm_mirror_invalidate_end(hmm->mm, update, slot - hmm->slot);
	slot_unpublish(slot);
}

/* invalidate_range_end() of the subscription "end". */
void hmm_mirror_track_end(struct mmu_notifier *mn,
			  const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(mm_of_end(mn), update);

	if (unlikely(READ_ONCE(slot->key) != update))
		track_end_locked(mn, update);
	else if (trace_hmm_mirror_invalidate_end_enabled())
		track_end_traced(mn, update, slot);
	else
		slot_unpublish(slot);
}

/* Of which the end is to come. */
unsigned int hmm_mirror_track_in_flight(const struct hmm_mirror_mm *hmm)
{
	unsigned int i, nr = hweight64(hmm->used & LOCKED_SLOTS) + hmm->shared;

	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		nr += !!READ_ONCE(hmm->slot[i].key);
	return nr;
}

/* The mm has died: nothing is valid any more, and nothing will be. */
void hmm_mirror_track_release(struct hmm_mirror_mm *hmm)
{
	struct rb_node *rb;

	spin_lock(&hmm->lock);
	hmm->dead = true;
	hmm->seq += SEQ_STEP;
	for (rb = rb_first_cached(&hmm->ranges); rb; rb = rb_next(rb))
		range_raise(range_of(rb), hmm->seq);
	slots_wake_all(hmm);
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
 * The mirror is unregistered; with hmm->lock held. Returns whether somebody may have found
 * it in a range, and not yet what it says.
 */
bool hmm_mirror_track_detach(struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct rb_node *rb, *next;

	lockdep_assert_held(&hmm->lock);
	if (likely(!mirror->nr_ranges))
		return false;

	hmm->seq += SEQ_STEP;
	for (rb = rb_first_cached(&hmm->ranges); rb; rb = next) {
		struct hmm_mirror_range *range;

		range = range_of(rb);
		next = rb_next(rb);
		if (range->mirror == mirror) {
			range_raise(range, hmm->seq);
			range_detach(hmm, range, hmm);
			hmm->users++;
		}
	}
	slots_wake_all(hmm);
	return true;
}

/* Does the update intersect a range of this mirror, or all that it may have? */
bool hmm_mirror_track_hits(const struct hmm_mirror *mirror,
			   const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_range *range;

	spin_lock(&hmm->lock);
	range = mirrors_own(tree_first(hmm, update->start, update->end), mirror,
			    update->start, update->end);
	spin_unlock(&hmm->lock);
	return range;
}

/* -------------------------------------------------------------------- ranges */

/* Else the driver has forgotten who still uses it; unregistering left it dirty. */
static bool is_registered(const struct hmm_mirror_mm *hmm)
{
	WARN_ONCE(!hmm, "hmm_mirror: use of a range that is not registered: stop the faulting threads before hmm_mirror_range_unregister()\n");
	return hmm;
}

static bool bounds_are_valid(unsigned long start, unsigned long end)
{
	return start < end && (likely(PAGE_ALIGNED(start | end)) ||
			       (PAGE_ALIGNED(start) && end == ULONG_MAX));
}

static void range_clean(struct hmm_mirror_range *range, unsigned long seq)
{
	/* Pairs with smp_load_acquire() in range_begin(): clean.litmus. */
	smp_store_release(&range->state, seq);
}

/* Under a new sequence. */
static __always_inline void range_insert(struct hmm_mirror_mm *hmm,
					 struct hmm_mirror_range *range)
{
	/* so that no page is behind it */
	if (unlikely(range->end == LAST_PAGE))
		range->end = ULONG_MAX;
	hmm->seq += SEQ_STEP;
	tree_insert(range, &hmm->ranges);
	filter_add(hmm, range->start, range->end);
	if (likely(slots_are_free(hmm)) || !slot_intersecting(hmm, range))
		range_clean(range, hmm->seq);
	else
		range_raise(range, hmm->seq);
}

/* A range of a mirror, not in the tree yet. */
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
 * them the driver's, but none that an interrupt handler takes; whatever the state of the
 * mmap lock. Not while the mirror is being unregistered.
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

/* Somebody waits for a range, of whatever mirror. */
static noinline void waiters_forget(struct hmm_mirror_mm *hmm,
				    const struct hmm_mirror_range *range)
{
	struct range_waiter *w;
	bool found = false;

	hlist_for_each_entry(w, &hmm->waiters, list) {
		if (w->range == range) {
			w->range = NULL;
			found = true;
		}
	}
	if (found)
		slots_wake_all(hmm);
	WARN_ONCE(found, "hmm_mirror: hmm_mirror_range_unregister() while somebody waits for the range: stop the faulting threads first\n");
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
	bool last;

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
	range_raise(range, 0);
	if (likely(range->mirror)) {
		range_detach(hmm, range, NULL);
		spin_unlock(&hmm->lock);
		return;
	}
	range->orphan_of = NULL;
	last = hmm_mirror_mm_put(hmm);
	spin_unlock(&hmm->lock);
	if (last)
		hmm_mirror_mm_free(hmm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_unregister);

/*
 * Bounds have changed: what was begun with the old ones collides, and who waits may be
 * waiting for the wrong invalidation.
 */
static void range_rebound(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range,
			  unsigned long start, unsigned long end)
{
	unsigned long old_start = range->start, old_end = range->end;

	tree_remove(range, &hmm->ranges);
	range->start = start;
	range->end = end;
	range_insert(hmm, range);
	/*
	 * What is inside all the time is in the filter all the time. Who has looked for the
	 * new bounds too early, and looks for the old ones too late, is told so. Pairs with
	 * filter_may_hit(): rebound.litmus.
	 */
	smp_store_release(&hmm->rebounds, hmm->rebounds + 1);
	/* Pairs with smp_rmb() there. */
	smp_wmb();
	filter_remove(hmm, old_start, old_end);
	if (!hlist_empty(&hmm->waiters))
		slots_wake_all(hmm);
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
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	int ret = 0;

	if (!bounds_are_valid(start, end))
		return -EINVAL;
	if (!is_registered(hmm))
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
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	int ret = 0;

	if (!tail || tail == range || at <= range->start || at >= range->end ||
	    !bounds_are_valid(range->start, at) || at == LAST_PAGE)
		return -EINVAL;
	if (!is_registered(hmm))
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
	range = mirrors_own(range, mirror, start, end);
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
		range = mirrors_own(tree_next(range, start, end), mirror, start, end);
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

/* --------------------------------------------------------------------- waits */

static long timeout_jiffies(unsigned int timeout_ms)
{
	if (timeout_ms == HMM_MIRROR_WAIT_FOREVER)
		return MAX_SCHEDULE_TIMEOUT;
	return msecs_to_jiffies(timeout_ms);
}

/* With the lock held; @since: when it began. */
static void wait_ended(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
		       u64 since, int ret)
{
	u64 waited = ktime_get_ns() - since;

	lockdep_assert_held(&hmm->lock);
	hmm->stats.waits++;
	hmm->stats.longest_wait_ns = max(hmm->stats.longest_wait_ns, waited);
	trace_hmm_mirror_wait_end(hmm->mm, range, waited, ret);
}

/* Leaves what is left of the time-out. */
static int range_wait(struct hmm_mirror_range *range, unsigned long *seq,
		      long *timeout)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	struct range_waiter w = { .range = range };
	unsigned long start, slot_last;
	struct hmm_mirror_slot *slot;
	DEFINE_WAIT(entry);
	u64 since = 0;
	int ret = 0;
	bool last;

	if (!is_registered(hmm))
		return -ESRCH;

	spin_lock(&hmm->lock);
	hmm->users++;
	hlist_add_head(&w.list, &hmm->waiters);
	for (;;) {
		if (!w.range || !range->mirror || hmm->dead) {
			ret = -ESRCH;
			break;
		}
		slot = slot_intersecting(hmm, range);
		if (!slot) {
			*seq = range->state & ~DIRTY;
			range_clean(range, *seq);
			break;
		}
		if (!*timeout) {
			ret = -ETIME;
			break;
		}
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (unlikely(slot->endless) && queue_work(hmm_mirror_wq, &hmm->endless))
			hmm->users++;
		/* Pairs with waitqueue_active() in slot_wake(): sleep.litmus. */
		prepare_to_wait(&slot->waiters, &entry, TASK_KILLABLE);
		/* a hashed one is freed without the lock */
		slot_bounds(slot, &start, &slot_last);
		if (unlikely(!bounds_intersect(range, start, slot_last))) {
			finish_wait(&slot->waiters, &entry);
			continue;
		}
		if (!since) {
			since = ktime_get_ns();
			trace_hmm_mirror_wait_begin(hmm->mm, range, start, slot_last + 1);
		}
		spin_unlock(&hmm->lock);
		*timeout = schedule_timeout(*timeout);
		finish_wait(&slot->waiters, &entry);
		spin_lock(&hmm->lock);
	}
	hlist_del(&w.list);
	if (since)
		wait_ended(hmm, range, since, ret);
	last = hmm_mirror_mm_put(hmm);
	spin_unlock(&hmm->lock);
	if (last)
		hmm_mirror_mm_free(hmm);
	return ret;
}

static __always_inline bool range_try(const struct hmm_mirror_range *range,
				      unsigned long *seq)
{
	/*
	 * Pairs with smp_store_release() in range_clean(): what the mm changed before
	 * the range became clean is seen by whoever reads the page table after this
	 * (clean.litmus).
	 */
	unsigned long state = smp_load_acquire(&range->state);

	if (unlikely(state & DIRTY))
		return false;
	*seq = state;
	return true;
}

static noinline int range_begin_dirty(struct hmm_mirror_range *range, unsigned long *seq,
				      unsigned int timeout_ms)
{
	long timeout = timeout_jiffies(timeout_ms);

	return range_wait(range, seq, &timeout);
}

/**
 * hmm_mirror_range_begin() - wait until a range is valid, and take its sequence
 * @range: a registered range
 * @seq: set to the sequence, for hmm_mirror_range_retry(), if 0 is returned
 * @timeout_ms: milliseconds; 0 does not wait, %HMM_MIRROR_WAIT_FOREVER has no end
 *
 * Several threads can do this on one range at once, each with its own sequence.
 * Waits for invalidations that intersect the range, and for nothing else; for a valid
 * range it is one load.
 *
 * Context: process context, may sleep. Neither the mmap lock nor a lock that a
 * callback takes may be held. With a @timeout_ms of 0 it does not sleep, and spinlocks may
 * be held that no interrupt handler takes.
 * Return: 0; -ETIME if the range did not become valid in time; -EINTR on a fatal
 * signal; -ESRCH if the mm is dead or the mirror unregistered.
 */
int hmm_mirror_range_begin(struct hmm_mirror_range *range, unsigned long *seq,
			   unsigned int timeout_ms)
{
	if (timeout_ms)
		hmm_mirror_might_wait();
	if (likely(range_try(range, seq)))
		return 0;
	return range_begin_dirty(range, seq, timeout_ms);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_begin);

/* It says that of the sequence, until there is a new one. */
static noinline void range_waited(struct hmm_mirror_range *range, unsigned long seq)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	/* Pairs with READ_ONCE() in hmm_mirror_range_valid(): retry.litmus. */
	if (range->state == seq)
		WRITE_ONCE(range->state, seq | WAITED);
	spin_unlock(&hmm->lock);
}

/**
 * hmm_mirror_range_wait_until_valid() - the 2019 form of hmm_mirror_range_begin()
 * @range: a registered range
 * @timeout_ms: as of hmm_mirror_range_begin()
 *
 * Remembers that in the range, for hmm_mirror_range_valid(), and is therefore for a
 * range that one thread uses. hmm_mirror_range_retry() of a sequence that was taken from
 * that range before may then be true without an invalidation.
 *
 * Context: as of hmm_mirror_range_begin().
 * Return: true if the range is valid; false after a time-out, on a fatal signal, or
 * if the mm is dead.
 */
bool hmm_mirror_range_wait_until_valid(struct hmm_mirror_range *range,
				       unsigned int timeout_ms)
{
	unsigned long seq;

	if (hmm_mirror_range_begin(range, &seq, timeout_ms))
		return false;
	if (!(seq & WAITED))
		range_waited(range, seq);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_wait_until_valid);

/* ---------------------------------------------------------------- population */

/* As if it had just been invalidated, for tests. */
static void range_collide(struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	hmm->seq += SEQ_STEP;
	range_raise(range, hmm->seq);
	spin_unlock(&hmm->lock);
}

static bool fault_is_valid(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
			   const struct hmm_mirror_fault *fault)
{
	bool inside;

	/* the bounds may be about to change */
	spin_lock(&hmm->lock);
	inside = fault->start >= range->start && fault->end <= range->end;
	spin_unlock(&hmm->lock);

	return inside && hmm_mirror_fault_has_pages(fault);
}

/* 0 if @fault is about pages of @range. */
int hmm_mirror_fault_check(const struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	if (!fault || !fault->pfns)
		return -EINVAL;
	if (!is_registered(hmm))
		return -ESRCH;
	if (!fault_is_valid(hmm, range, fault))
		return hmm_mirror_range_retry(range, seq) ? -EBUSY : -EINVAL;
	return 0;
}

/*
 * Requests by page of one chunk. hmm_range_fault() replaces them by what it has read, up to
 * the page at which it fails, so a second read needs them again.
 */
struct requests {
	DECLARE_BITMAP(fault, CHUNK_PAGES);
	DECLARE_BITMAP(write, CHUNK_PAGES);
};

static unsigned long nr_pages(const struct hmm_range *args)
{
	return (args->end - args->start) >> PAGE_SHIFT;
}

static noinline void requests_save(struct requests *requests, const struct hmm_range *args)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		unsigned long req = args->hmm_pfns[i] & args->pfn_flags_mask;

		__assign_bit(i, requests->fault, req & HMM_PFN_REQ_FAULT);
		__assign_bit(i, requests->write, req & HMM_PFN_REQ_WRITE);
	}
}

/* As hmm_range_fault() wants them, which carries some other bits from input to output. */
static noinline void requests_restore(const struct requests *requests,
				      const struct hmm_range *args)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		args->hmm_pfns[i] &= ~(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
		if (test_bit(i, requests->fault))
			args->hmm_pfns[i] |= HMM_PFN_REQ_FAULT;
		if (test_bit(i, requests->write))
			args->hmm_pfns[i] |= HMM_PFN_REQ_WRITE;
	}
}

/*
 * hmm_range_fault() never drops the mmap lock, which is all that some faults would need:
 * userfaultfd, for one. Whether it was that, or an error, is seen by doing the fault in
 * the way that may drop it, and reading again.
 */
static int fault_unlocked(struct mm_struct *mm, const struct hmm_range *args)
{
	unsigned long i;
	bool unlocked;
	int ret = 0;

	for (i = 0; !ret && i < nr_pages(args); i++) {
		unsigned long req = args->default_flags |
				    (args->hmm_pfns[i] & args->pfn_flags_mask);

		if (req & HMM_PFN_REQ_FAULT)
			ret = fixup_user_fault(mm, args->start + (i << PAGE_SHIFT),
					       req & HMM_PFN_REQ_WRITE ? FAULT_FLAG_WRITE : 0,
					       &unlocked);
	}
	return ret;
}

static int read_stable(struct mm_struct *mm, struct hmm_range *args)
{
	/*
	 * The OOM reaper has emptied it: what would be faulted in is not what was
	 * there. What it does after this check are invalidations, and collide.
	 */
	if (check_stable_address_space(mm))
		return -ESRCH;
	return hmm_range_fault(args);
}

/*
 * Nothing but hmm_range_fault() writes to the pfns, and only under the mmap lock, where
 * there are no requests by page: the caller may be using what stands there.
 */
static int read_chunk(struct mm_struct *mm, struct hmm_range *args)
{
	struct requests requests __uninitialized;
	int ret;

	if (args->pfn_flags_mask)
		requests_save(&requests, args);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = read_stable(mm, args);
	if (ret == -EFAULT) {
		if (args->pfn_flags_mask)
			requests_restore(&requests, args);
		ret = fault_unlocked(mm, args);
		if (ret != -EINTR)
			ret = read_stable(mm, args);
	}
	mmap_read_unlock(mm);
	return ret;
}

/* What was read is worth nothing. Nobody unregisters the range meanwhile. */
static int range_collided(struct hmm_mirror_range *range,
			  const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	hmm->stats.collisions++;
	spin_unlock(&hmm->lock);
	trace_hmm_mirror_collision(hmm->mm, range, fault->start, fault->end);
	return -EBUSY;
}

/*
 * hmm_range_fault() wants an mmu_interval_notifier, of which it reads only the mm and
 * the sequence. It gets one that no list knows and whose sequence stands still; the
 * range's own is checked here, chunk by chunk. A sequence that moved would end a fault at
 * the first page of which it breaks COW, since the invalidation of that page is in the
 * range, too: as many faults as there are pages, instead of two.
 */
static int range_read(struct hmm_mirror_range *range, unsigned long seq,
		      struct hmm_mirror_fault *fault, bool snapshot)
{
	struct mmu_interval_notifier stub = {};
	struct hmm_range args = { .notifier = &stub };
	unsigned long addr, next;
	struct mm_struct *mm;
	int ret = 0;

	might_sleep();
	ret = hmm_mirror_fault_check(range, seq, fault);
	if (ret)
		return ret;

	mm = hmm_mirror_range_mm(range)->mm;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	stub.mm = mm;
	args.dev_private_owner = fault->dev_private_owner;
	if (!snapshot) {
		args.default_flags = fault->default_flags;
		args.pfn_flags_mask = fault->pfn_flags_mask &
				      (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	}

	trace_hmm_mirror_fault_begin(mm, range, fault->start, fault->end);
	for (addr = fault->start; !ret && addr < fault->end; addr = next) {
		/* not a sum that could wrap */
		next = addr + min(fault->end - addr, CHUNK_SIZE - addr % CHUNK_SIZE);
		args.start = addr;
		args.end = next;
		args.hmm_pfns = fault->pfns + ((addr - fault->start) >> PAGE_SHIFT);
		ret = read_chunk(mm, &args);
		/*
		 * An error that was found while the page table changed is no more
		 * true than a page. No lock: "true" stays true (retry_early.litmus).
		 */
		if (ret != -EINTR && ret != -ESRCH && hmm_mirror_range_retry(range, seq))
			ret = range_collided(range, fault);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
	}

	trace_hmm_mirror_fault_end(mm, range, ret);

	/* not mmput(): the last one would run exit and ->release right here */
	mmput_async(mm);
	return ret;
}

/**
 * hmm_mirror_range_snapshot() - read CPU page table entries as they are
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: what to read; default_flags, pfn_flags_mask and the input in pfns are
 *	ignored
 *
 * Faults nothing in. What is absent, read-only or an error may stop being so without
 * an invalidation: nobody is told about none->present or read-only->writable.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. Neither that
 * nor the driver's lock may be held.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again; -EINTR on a
 * fatal signal; -ESRCH if the mm is dead or was emptied by the OOM reaper; -EINVAL if
 * @fault is unaligned, empty, not inside @range, or has no pfns; other errors as of
 * hmm_range_fault().
 */
int hmm_mirror_range_snapshot(struct hmm_mirror_range *range, unsigned long seq,
			      struct hmm_mirror_fault *fault)
{
	return range_read(range, seq, fault, true);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_snapshot);

/**
 * hmm_mirror_range_fault() - read CPU page table entries, faulting in what is asked for
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: what to read and to fault in
 *
 * Large ranges are read in pieces, the mmap lock is dropped in between. 0 says that
 * no invalidation began so far; it is hmm_mirror_range_retry() under the driver's lock
 * that decides.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. Neither that
 * nor the driver's lock may be held. The driver's own callback can run inside.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again, with the
 * requests in pfns set anew; -EFAULT if there is no page and can be none; -EPERM if
 * the mapping does not allow the access; -ENOMEM; -EHWPOISON; -EINTR, -ESRCH and
 * -EINVAL as of hmm_mirror_range_snapshot().
 */
noinline int hmm_mirror_range_fault(struct hmm_mirror_range *range, unsigned long seq,
				    struct hmm_mirror_fault *fault)
{
	int ret = range_read(range, seq, fault, false);

	if (!ret && hmm_mirror_inject(HMM_MIRROR_INJECT_COLLISION))
		range_collide(range);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault);
ALLOW_ERROR_INJECTION(hmm_mirror_range_fault, ERRNO);

/* Those of one compound page are dirty or not all at once, so most are only looked at. */
static void pages_set_dirty(const struct hmm_mirror_fault *fault)
{
	unsigned long i, nr = (fault->end - fault->start) >> PAGE_SHIFT;
	const unsigned long flags = HMM_PFN_VALID | HMM_PFN_WRITE;

	for (i = 0; i < nr; i++) {
		struct page *page = hmm_pfn_to_page(fault->pfns[i]);

		if ((fault->pfns[i] & flags) == flags && !PageDirty(page))
			set_page_dirty(page);
	}
}

/**
 * hmm_mirror_range_commit() - settle a fault under the driver's lock
 * @range: a registered range
 * @seq: the sequence with which @fault was read
 * @fault: the pages, as hmm_mirror_range_fault() has returned them
 *
 * Ask hmm_mirror_range_retry(), and if the answer is no, mark each page that has
 * HMM_PFN_WRITE in @fault dirty: the device may write to it from now on, and only a dirty
 * page is written back or to swap. If the driver installs a page read-only, it clears
 * HMM_PFN_WRITE in the pfns before. The mm cannot clean a page again without an
 * invalidation, so no page needs to be marked when its device PTE goes. A driver whose
 * device PTEs have a dirty bit may call hmm_mirror_range_retry() instead, and
 * set_page_dirty() in its callback, before the callback returns.
 *
 * Context: process context, does not sleep. The driver's lock is held, and stays held
 * until the device PTEs are installed.
 * Return: 0: install device PTEs; -EBUSY if the range was invalidated since @seq.
 */
int hmm_mirror_range_commit(const struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault)
{
	if (hmm_mirror_range_retry(range, seq))
		return -EBUSY;
	pages_set_dirty(fault);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_commit);

/* What is left of a time-out that began at a time. */
static long timeout_left(long timeout, unsigned long since)
{
	if (timeout == MAX_SCHEDULE_TIMEOUT)
		return timeout;
	return max(timeout - (long)(jiffies - since), 0L);
}

/**
 * hmm_mirror_range_populate() - begin, fault and commit until it worked
 * @range: a registered range
 * @fault: what to read and to fault in, by default_flags; requests by page would not
 *	outlive the first collision, so pfn_flags_mask must be 0
 * @timeout_ms: for all of it, in milliseconds: 0 tries once without waiting,
 *	%HMM_MIRROR_WAIT_FOREVER has no end
 * @commit: installs device PTEs, see &typedef hmm_mirror_commit_fn
 * @arg: for @commit
 *
 * A page fault that is under way is not interrupted when the time is over.
 *
 * Context: as of hmm_mirror_range_begin() and hmm_mirror_range_fault().
 * Return: what @commit returned, if that is not -EBUSY; -ETIME when the time is over;
 * other errors as of hmm_mirror_range_begin() and hmm_mirror_range_fault(), -EBUSY not
 * among them; -EINVAL also if @commit is missing.
 */
int hmm_mirror_range_populate(struct hmm_mirror_range *range,
			      struct hmm_mirror_fault *fault,
			      unsigned int timeout_ms,
			      hmm_mirror_commit_fn commit, void *arg)
{
	long timeout = timeout_jiffies(timeout_ms);
	unsigned long since = jiffies;
	unsigned long seq;
	long left;
	int ret;

	if (!commit || !fault || fault->pfn_flags_mask)
		return -EINVAL;

	do {
		left = timeout_left(timeout, since);
		if (left)
			hmm_mirror_might_wait();
		ret = range_try(range, &seq) ? 0 : range_wait(range, &seq, &left);
		if (ret)
			return ret;
		ret = hmm_mirror_range_fault(range, seq, fault);
		if (!ret) {
			ret = commit(range, seq, fault, arg);
			if (ret == -EBUSY)
				range_collided(range, fault);
		}
		if (ret != -EBUSY)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (timeout_left(timeout, since));

	return -ETIME;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_populate);
