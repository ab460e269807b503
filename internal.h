/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: what the files of the core share. Not for drivers.
 */
#ifndef HMM_MIRROR_INTERNAL_H
#define HMM_MIRROR_INTERNAL_H

#include <linux/lockdep.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "hmm_mirror.h"

/*
 * Invalidations in flight. Each has a slot of its own, as long as there are some;
 * the others share the last one, which takes itself to hit everything.
 */
#define HMM_MIRROR_SLOTS	64
#define HMM_MIRROR_SLOT_SHARED	(HMM_MIRROR_SLOTS - 1)

struct hmm_mirror_slot {
	/*
	 * Names the invalidation: the mm passes the same pointer to start and to
	 * end. Not to be followed.
	 */
	const struct mmu_notifier_range *key;
	unsigned long start, last;
	bool endless;		/* the mm will not call its end */
	wait_queue_head_t waiters;
};

/**
 * struct hmm_mirror_mm - all that is known of one mm
 * @count: subscription with start and end: counts, and never fails
 * @call: subscription with start only: runs the mirrors' callbacks, may fail
 * @mm: mm_count is held until this structure is freed
 * @mirrors: RCU list; readers are inside the SRCU section of the mmu notifiers
 * @lock: protects everything below, the links of @mirrors, and all of a registered
 *	range; a leaf
 * @users: @count, @call, and every range and waiter keep this structure
 * @dead: the mm has died
 * @seq: the last sequence that was given to a range; in steps of 2
 * @ranges: interval tree of all ranges of all mirrors
 * @waiters: everybody who is inside a wait
 * @used: bit i: slot[i] is in flight
 * @shared: how many share the last slot
 * @slot: invalidations in flight
 * @stats: for people
 * @debug: of hmm_debug.c, which has a lock for it
 */
struct hmm_mirror_mm {
	struct mmu_notifier count;
	struct mmu_notifier call;
	struct mm_struct *mm;
	struct list_head mirrors;

	spinlock_t lock;	/* see above */
	unsigned int users;
	bool dead;
	unsigned long seq;
	struct rb_root_cached ranges;
	struct list_head waiters;
	u64 used;
	unsigned int shared;
	struct hmm_mirror_slot slot[HMM_MIRROR_SLOTS];
	struct {
		u64 hits;	/* invalidations that hit a range */
		u64 collisions;
		u64 waits;
		u64 longest_wait_ns;
	} stats;

	struct list_head debug;
};

/* hmm_mirror.c */
void hmm_mirror_mm_free(struct hmm_mirror_mm *hmm);

/* With the lock held. If true, drop the lock and call hmm_mirror_mm_free(). */
static inline bool hmm_mirror_mm_put(struct hmm_mirror_mm *hmm)
{
	lockdep_assert_held(&hmm->lock);
	return !--hmm->users;
}

/* hmm_range.c */
void hmm_mirror_track_init(struct hmm_mirror_mm *hmm);
void hmm_mirror_track_start(struct hmm_mirror_mm *hmm,
			    const struct mmu_notifier_range *update);
void hmm_mirror_track_end(struct hmm_mirror_mm *hmm,
			  const struct mmu_notifier_range *update);
void hmm_mirror_track_release(struct hmm_mirror_mm *hmm);
void hmm_mirror_track_detach(struct hmm_mirror *mirror);
bool hmm_mirror_track_hits(const struct hmm_mirror *mirror,
			   const struct mmu_notifier_range *update);
int hmm_mirror_fault_check(const struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault);

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
 * Held (shared, and it may nest: a callback may invalidate another mm) around the
 * callbacks, and passed through by whoever waits for them. So lockdep sees a wait
 * under a lock that a callback takes, without the two having to meet.
 */
#ifdef CONFIG_LOCKDEP
extern struct lockdep_map hmm_mirror_invalidate_map;
#endif

static inline void hmm_mirror_might_wait(void)
{
	might_sleep();
	lock_map_acquire(&hmm_mirror_invalidate_map);
	lock_map_release(&hmm_mirror_invalidate_map);
}

#endif /* HMM_MIRROR_INTERNAL_H */
