/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: what the files of the core share. Not for drivers.
 */
#ifndef HMM_MIRROR_INTERNAL_H
#define HMM_MIRROR_INTERNAL_H

#include <linux/cache.h>
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/lockdep.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "hmm_mirror.h"

/*
 * Invalidations in flight. The first slots are each for the invalidations whose key
 * hashes to it, and taken without a lock; where that one is in use, one of the others
 * is, under the lock. Those for which no slot is left share the last one, which takes
 * itself to hit everything.
 */
#define HMM_MIRROR_SLOTS	48
#define HMM_MIRROR_HASH_BITS	3
#define HMM_MIRROR_HASHED	BIT(HMM_MIRROR_HASH_BITS)
#define HMM_MIRROR_SLOT_SHARED	(HMM_MIRROR_SLOTS - 1)

struct hmm_mirror_slot {
	/*
	 * Names the invalidation: the mm passes the same pointer to start and to
	 * end. Not to be followed.
	 */
	const struct mmu_notifier_range *key;
	unsigned long start;
	unsigned long last;	/* 0: intersects nothing */
	wait_queue_head_t waiters;
	bool endless;		/* the mm will not call its end */
} __aligned(64);		/* SMP or not: see hmm_mirror_slot_hashed() */

/* In a cell of the filter a range counts as many; what is below says in which of them it is. */
#define HMM_MIRROR_CELL_PARTS	8

/**
 * struct hmm_mirror_filter - tells quickly that an invalidation hits no range
 * @nr: of cells
 * @room: for how many ranges it is
 * @stale: how often a range has left a cell, and is in it still
 * @cell: how many ranges begin or end in the chunks of addresses that hash to it, 31 being
 *	many; and in which parts of the cell, as an exclusive or of all of them: that of a
 *	range that is alone is known
 */
struct hmm_mirror_filter {
	u64 nr;
	u32 room;
	u32 stale;
	u8 cell[];
};

/**
 * struct hmm_mirror_mm - all that is known of one mm
 * @lock: protects all down to @slot, what is read without it included, and all of a
 *	registered range; a leaf
 * @users: @start, @end, @grow, @endless, and every waiter and range without a mirror keep this
 *	structure; mirrors keep @start, and so do their ranges
 * @nr_ranges: in @ranges
 * @dead: the mm has died
 * @seq: the last sequence that was given to a range
 * @ranges: interval tree of all ranges of all mirrors
 * @waiters: everybody who is inside a wait
 * @used: bit i: slot[i] is in flight; not of the hashed ones
 * @shared: how many share the last slot
 * @level_ranges: item i: how many ranges are in chunks of 2^i bytes, less one
 * @grow: makes @filter larger
 * @endless: ends the invalidations whose end the mm will not call
 * @stats: for people
 * @filter: read without the lock; replaced ones outlive the SRCU section of the mmu
 *	notifiers
 * @levels: bit i: there are ranges in chunks of 2^i bytes; read without the lock
 * @rebounds: how often a range has moved from cells to others; read without the lock
 * @nr_always: mirrors that are not HMM_MIRROR_TRACKED_ONLY; read without the lock
 * @mirrors: RCU list; readers are inside that SRCU section
 * @slot: invalidations in flight
 * @start: subscription with start: publishes, runs the mirrors' callbacks, may fail
 * @end: subscription with end
 * @mm: mm_count is held until this structure is freed
 * @debug: of hmm_debug.c, which has a lock for it
 */
struct hmm_mirror_mm {
	spinlock_t lock;	/* see above */
	unsigned int users;
	unsigned int nr_ranges;
	bool dead;
	unsigned long seq;
	struct rb_root_cached ranges;
	struct hlist_head waiters;
	u64 used;
	unsigned int shared;
	int level_ranges[64];
	struct work_struct grow;
	struct work_struct endless;
	struct {
		u64 hits;	/* invalidations that hit a range */
		u64 collisions;
		u64 waits;
		u64 longest_wait_ns;
	} stats;

	struct hmm_mirror_filter *filter ____cacheline_aligned_in_smp;
	u64 levels;
	unsigned int rebounds;
	unsigned int nr_always;
	struct list_head mirrors;

	struct hmm_mirror_slot slot[HMM_MIRROR_SLOTS];

	struct mmu_notifier start;
	struct mmu_notifier end;
	struct mm_struct *mm;
	struct list_head debug;
};

/* hmm_mirror.c */
void hmm_mirror_mm_free(struct hmm_mirror_mm *hmm);
int hmm_mirror_sync(struct hmm_mirror_mm *hmm, const struct hmm_mirror *hit,
		    const struct mmu_notifier_range *update);
extern struct workqueue_struct *hmm_mirror_wq;

/* With the lock held. If true, drop the lock and call hmm_mirror_mm_free(). */
static inline bool hmm_mirror_mm_put(struct hmm_mirror_mm *hmm)
{
	lockdep_assert_held(&hmm->lock);
	return !--hmm->users;
}

/* The one that it may take without the lock. Pointers to stacks differ in the lower half. */
static __always_inline struct hmm_mirror_slot *
hmm_mirror_slot_hashed(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	const size_t size = sizeof(struct hmm_mirror_slot);
	u32 key = (unsigned long)update, offset;

	/* lockdep makes it of any size */
	if (!is_power_of_2(size))
		return &hmm->slot[hash_32(key, HMM_MIRROR_HASH_BITS)];

	offset = hash_32(key, HMM_MIRROR_HASH_BITS + ilog2(size));
	/* or gcc computes an address for each member */
	OPTIMIZER_HIDE_VAR(offset);
	return (void *)hmm->slot + (offset & -size);
}

/*
 * Of a registered range, else NULL. The mirror may go meanwhile, but not this structure,
 * which one of the two keeps.
 */
static __always_inline struct hmm_mirror_mm *
hmm_mirror_range_mm(const struct hmm_mirror_range *range)
{
	const struct hmm_mirror *mirror;
	struct hmm_mirror_mm *hmm;

	/* Pairs with synchronize_rcu() in hmm_mirror_unregister(): orphan.litmus. */
	rcu_read_lock_sched();
	/* Pairs with smp_store_release() in range_detach(): orphan.litmus. */
	mirror = smp_load_acquire(&range->mirror);
	hmm = likely(mirror) ? mirror->hmm : range->orphan_of;
	rcu_read_unlock_sched();
	return hmm;
}

/* hmm_range.c */
int hmm_mirror_track_init(struct hmm_mirror_mm *hmm);
void hmm_mirror_track_exit(struct hmm_mirror_mm *hmm);
int hmm_mirror_track_start(struct mmu_notifier *start,
			   const struct mmu_notifier_range *update);
void hmm_mirror_track_end(struct mmu_notifier *end,
			  const struct mmu_notifier_range *update);
void hmm_mirror_track_release(struct hmm_mirror_mm *hmm);
bool hmm_mirror_track_detach(struct hmm_mirror *mirror);
bool hmm_mirror_track_hits(const struct hmm_mirror *mirror,
			   const struct mmu_notifier_range *update);
int hmm_mirror_fault_check(const struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault);

static inline bool hmm_mirror_fault_has_pages(const struct hmm_mirror_fault *fault)
{
	return fault->start < fault->end && PAGE_ALIGNED(fault->start | fault->end);
}

unsigned int hmm_mirror_track_in_flight(const struct hmm_mirror_mm *hmm);

/* hmm_debug.c */
struct dentry;
#ifdef CONFIG_DEBUG_FS
void hmm_mirror_debug_add(struct hmm_mirror_mm *hmm);
void hmm_mirror_debug_del(struct hmm_mirror_mm *hmm);
struct dentry *hmm_mirror_debug_init(void);
void hmm_mirror_debug_exit(void);
#else
static inline void hmm_mirror_debug_add(struct hmm_mirror_mm *hmm) { }
static inline void hmm_mirror_debug_del(struct hmm_mirror_mm *hmm) { }
static inline struct dentry *hmm_mirror_debug_init(void) { return NULL; }
static inline void hmm_mirror_debug_exit(void) { }
#endif

/*
 * A lock that is held around the callbacks, and passed through by each function that waits
 * for callbacks or for invalidations. So lockdep sees a wait under a lock that a callback
 * takes, without the two having to meet. A callback may invalidate another mm, whose
 * callbacks then run under a lock of their own; what they nest again is not told apart.
 */
#ifdef CONFIG_LOCKDEP
extern struct lockdep_map hmm_mirror_invalidate_map, hmm_mirror_nested_map;

/* Returns the map for hmm_mirror_callbacks_end(). */
static inline struct lockdep_map *hmm_mirror_callbacks_begin(void)
{
	if (!lock_is_held(&hmm_mirror_invalidate_map)) {
		lock_map_acquire(&hmm_mirror_invalidate_map);
		return &hmm_mirror_invalidate_map;
	}
	lock_map_acquire_read(&hmm_mirror_nested_map);
	return &hmm_mirror_nested_map;
}

static inline void hmm_mirror_callbacks_end(struct lockdep_map *map)
{
	lock_map_release(map);
}
#else
static inline struct lockdep_map *hmm_mirror_callbacks_begin(void) { return NULL; }
static inline void hmm_mirror_callbacks_end(struct lockdep_map *map) { }
#endif

static inline void hmm_mirror_might_wait(void)
{
	/* nothing else: a valid range is begun with a load */
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		might_sleep();
	lock_map_acquire(&hmm_mirror_invalidate_map);
	lock_map_release(&hmm_mirror_invalidate_map);
}

#endif /* HMM_MIRROR_INTERNAL_H */
