/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: declarations shared by the files of the core. Not for drivers.
 */
#ifndef HMM_MIRROR_INTERNAL_H
#define HMM_MIRROR_INTERNAL_H

#include <linux/cache.h>
#include <linux/hash.h>
#include <linux/interval_tree.h>
#include <linux/log2.h>
#include <linux/lockdep.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "hmm_mirror.h"

/*
 * Slots of invalidations in flight. An invalidation claims the hashed slot to which its key
 * hashes, without a lock. If that slot is in use, the invalidation takes a locked slot, under
 * hmm->lock. If none is free, a worker makes more.
 */
#define HMM_MIRROR_HASH_BITS	3
#define HMM_MIRROR_HASHED	BIT(HMM_MIRROR_HASH_BITS)
/* Locked slots of a new mm, and buckets of the table in which their keys are found. */
#define HMM_MIRROR_LOCKED	12
#define HMM_MIRROR_KEY_BITS	6

/**
 * struct hmm_mirror_slot - an invalidation in flight
 * @key: identifies the invalidation: the mm passes the same pointer to start and end. Never
 *	dereferenced.
 * @start: first address
 * @last: last address; 0: intersects nothing
 * @waiters: threads that wait for the end
 * @calling: mirror whose callback runs; for comparison only, because it may be freed
 * @since: when the invalidation began, in jiffies; the lower 32 bits
 * @nr: number of the slot, for tracepoints
 * @endless: the mm will not call end
 */
struct hmm_mirror_slot {
	const struct mmu_notifier_range *key;
	unsigned long start;
	unsigned long last;
	wait_queue_head_t waiters;
	const struct hmm_mirror *calling;
	u32 since;
	u16 nr;
	bool endless;
} __aligned(64);		/* no two invalidations share a cache line */

/**
 * struct hmm_mirror_locked_slot - a slot that is taken under hmm->lock
 * @slot: the slot
 * @node: in hmm->in_flight, unless the invalidation is empty
 * @key: in hmm->keys while the slot is in use
 * @free: on hmm->free while it is not
 */
struct hmm_mirror_locked_slot {
	struct hmm_mirror_slot slot;
	struct interval_tree_node node;
	union {
		struct hlist_node key;
		struct list_head free;
	};
};

/* Locked slots that were made later than the mm's first ones. */
struct hmm_mirror_slots {
	struct hmm_mirror_slots *next;
	struct hmm_mirror_locked_slot slot[];
};

/* Increment of the sequence in hmm_mirror_range.state. */
#define HMM_MIRROR_SEQ_STEP	BIT(2)

/* Sub-cells per filter cell, and the value of one range in the count of a cell. */
#define HMM_MIRROR_CELL_PARTS	8

/**
 * struct hmm_mirror_filter - rejects most invalidations that hit no range
 * @nr: number of cells
 * @room: capacity in ranges
 * @stale: number of ranges that have left a saturated cell, which still counts them
 * @cell: bits 7:3 count the ranges with an endpoint in this cell (31 = saturated); bits 2:0
 *	XOR their sub-cell indexes, which gives the index if the cell counts a single range
 */
struct hmm_mirror_filter {
	u64 nr;
	u32 room;
	u32 stale;
	u8 cell[];
};

/* Ranges that a walk visits under one hold of hmm->lock. For tests, fewer. */
#ifndef HMM_MIRROR_WALK_RANGES
#define HMM_MIRROR_WALK_RANGES	64
#endif

/**
 * struct hmm_mirror_walk - a walk over the ranges that intersect [@start, @end), in pieces
 * @list: on hmm->walks while the walk does not hold hmm->lock
 * @next: range with which it goes on; NULL at the end of a tree
 * @start: first address
 * @end: first address behind it
 * @left: number of ranges that it may visit before it drops the lock
 * @may_sleep: let the scheduler run other threads when the lock is dropped
 */
struct hmm_mirror_walk {
	struct hlist_node list;
	struct hmm_mirror_range *next;
	unsigned long start;
	unsigned long end;
	unsigned int left;
	bool may_sleep;
};

/**
 * struct hmm_mirror_growth - a filter that is being filled
 * @filter: counts the ranges of mirrors with mirror->counted, and those of @mirror before
 *	the place where @walk goes on; will replace hmm->filter
 * @walk: over the ranges of @mirror
 * @mirror: mirror whose ranges @walk visits
 */
struct hmm_mirror_growth {
	struct hmm_mirror_filter *filter;
	struct hmm_mirror_walk walk;
	const struct hmm_mirror *mirror;
};

/**
 * struct hmm_mirror_waiter - a thread that waits for a range
 * @list: on hmm->waiters
 * @range: the range; NULL once it was unregistered
 * @task: the thread
 * @slot: slot of the invalidation that the thread waits for; NULL before the wait begins
 * @since: when the wait began, in ns
 *
 * On the stack of the waiter.
 */
struct hmm_mirror_waiter {
	struct list_head list;
	const struct hmm_mirror_range *range;
	struct task_struct *task;
	struct hmm_mirror_slot *slot;
	u64 since;
};

/**
 * struct hmm_mirror_reader - a thread that reads the CPU page table
 * @list: on hmm->readers until the thread ends
 * @mirror: mirror of the caller's range; for comparison only, because it may be freed
 * @start: first address that the thread reads
 * @end: first address behind it
 * @write: the caller asks for pages that can be written
 * @since: when the thread began, in ns
 *
 * Part of a structure of hmm_read.c.
 */
struct hmm_mirror_reader {
	struct list_head list;
	const struct hmm_mirror *mirror;
	unsigned long start;
	unsigned long end;
	bool write;
	u64 since;
};

/**
 * struct hmm_mirror_part - some pages of a range, with a sequence of their own
 * @range: in hmm->parts; drivers never see it
 * @of: the range that it is a part of
 *
 * It is on the stack of the thread that faults, see hmm_part.c.
 */
struct hmm_mirror_part {
	struct hmm_mirror_range range;
	const struct hmm_mirror_range *of;
};

struct hmm_mirror_stats {
	u64 hits;	/* invalidations that hit a range */
	u64 collisions;
	u64 waits;
	u64 longest_wait_ns;
};

/**
 * struct hmm_mirror_mm - per-mm state of the core
 * @lock: protects the members down to @first, except hashed slots and slot->calling, and
 *	all of a registered range; innermost
 * @users: number of references, see hmm_mm.c
 * @nr_ranges: number of ranges of all mirrors, and of parts
 * @dead: the mm has died
 * @seq: the newest sequence of a range
 * @parts: interval tree of ranges inside of ranges, see hmm_part.c
 * @walks: paused walks over ranges
 * @waiters: threads that wait for a range, the oldest first
 * @nr_waiters: number of them
 * @readers: threads that read the CPU page table, see hmm_read.c
 * @nr_readers: number of them, each of which holds mm_users
 * @nr_given_up: number of those whose callers wait no longer
 * @in_flight: invalidations in locked slots, by address
 * @keys: invalidations in locked slots, by key, empty ones included
 * @free: locked slots that are not in use
 * @nr_locked: number of locked slots
 * @nr_busy: number of invalidations in flight that are in no hashed slot
 * @nr_shared: number of invalidations that share @shared
 * @nr_shared_endless: number of those whose end the mm will not call
 * @more: locked slots that were made later than @first
 * @make: work item that makes locked slots
 * @making: @make is queued or runs
 * @make_after: in jiffies; after a failure, @make is not queued before
 * @worked: threads that wait for @make or @grow
 * @level_ranges: item i: number of ranges in chunks of 2^i bytes, minus 1
 * @growth: the filter that @grow is filling, or NULL
 * @grow: work item that replaces @filter
 * @endless: work item that ends invalidations whose end the mm does not call
 * @stats: counters for debugfs
 * @filter: the filter; read without the lock, in the SRCU section of the mmu notifiers
 * @levels: bit i: ranges have chunks of 2^i bytes; read without the lock
 * @rebounds: number of times that a range has moved to other cells; read without the lock
 * @nr_always: number of mirrors without HMM_MIRROR_TRACKED_ONLY; read without the lock
 * @mirrors: RCU list of mirrors; readers are in the SRCU section of the mmu notifiers
 * @slot: hashed slots
 * @shared: stands for all invalidations that have no slot, and intersects every range
 * @first: the first locked slots
 * @free_work: work item that frees this structure
 * @start: subscription with start(), without end()
 * @end: subscription with end() only
 * @mm: the mm; this structure holds mm_count until it is freed
 * @mms: entry in the list of hmm_mm.c, under the lock of that list
 */
struct hmm_mirror_mm {
	spinlock_t lock;	/* see the list of members above */
	unsigned int users;
	unsigned int nr_ranges;
	bool dead;
	unsigned long seq;
	struct rb_root_cached parts;
	struct hlist_head walks;
	struct list_head waiters;
	unsigned int nr_waiters;
	struct list_head readers;
	unsigned int nr_readers;
	unsigned int nr_given_up;
	struct rb_root_cached in_flight;
	struct list_head free;
	unsigned int nr_locked;
	unsigned int nr_busy;
	unsigned int nr_shared;
	unsigned int nr_shared_endless;
	struct hmm_mirror_slots *more;
	struct work_struct make;
	bool making;
	unsigned long make_after;
	wait_queue_head_t worked;
	struct hlist_head keys[1 << HMM_MIRROR_KEY_BITS];
	int level_ranges[64];
	struct hmm_mirror_growth *growth;
	struct work_struct grow;
	struct work_struct endless;
	struct hmm_mirror_stats stats;

	struct hmm_mirror_filter *filter ____cacheline_aligned_in_smp;
	u64 levels;
	unsigned int rebounds;
	unsigned int nr_always;
	struct list_head mirrors;

	struct hmm_mirror_slot slot[HMM_MIRROR_HASHED];
	struct hmm_mirror_slot shared;
	struct hmm_mirror_locked_slot first[HMM_MIRROR_LOCKED];

	struct work_struct free_work;
	struct mmu_notifier start;
	struct mmu_notifier end;
	struct mm_struct *mm;
	struct list_head mms;
};

/*
 * The files of the core, from the lowest layer to the highest. A file calls only files that come
 * before it in this header. hmm_inject.c (see hmm_inject.h) calls none, and all may call it.
 */

/* hmm_trace.c: the process of an mm, for tracepoints and debugfs */
pid_t hmm_mirror_owner(const struct mm_struct *mm, char comm[TASK_COMM_LEN]);

/* hmm_mm.c: references to struct hmm_mirror_mm, the workqueue and the lockdep maps of all files */
extern struct workqueue_struct *hmm_mirror_wq;

void hmm_mirror_mm_add(struct hmm_mirror_mm *hmm);
struct hmm_mirror_mm *hmm_mirror_mm_next(struct hmm_mirror_mm *hmm);
void hmm_mirror_mm_put(struct hmm_mirror_mm *hmm);
void hmm_mirror_mm_put_unlock(struct hmm_mirror_mm *hmm) __releases(&hmm->lock);

/* Take a reference; with hmm->lock held, by a thread for which another reference exists. */
static inline void hmm_mirror_mm_get_locked(struct hmm_mirror_mm *hmm)
{
	lockdep_assert_held(&hmm->lock);
	hmm->users++;
}

/*
 * Lockdep map that is held while callbacks run. Each function that waits for callbacks or
 * invalidations acquires and releases it. So lockdep reports a wait with a lock held that a
 * callback takes, even if the two never run at the same time. If a callback invalidates
 * another mm, the callbacks of that mm run under the nested map, as do those of all deeper
 * levels.
 */
#ifdef CONFIG_LOCKDEP
extern struct lockdep_map hmm_mirror_invalidate_map, hmm_mirror_nested_map;

/* Return the map for hmm_mirror_callbacks_end(). */
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
	/* Without this option might_sleep() could schedule; begin() shall be one load. */
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		might_sleep();
	lock_map_acquire(&hmm_mirror_invalidate_map);
	lock_map_release(&hmm_mirror_invalidate_map);
}

/* hmm_filter.c: the filter; see also hmm_filter.h */
struct hmm_mirror_filter *hmm_mirror_filter_alloc(struct mm_struct *mm, unsigned int ranges);
unsigned int hmm_mirror_filter_wants(const struct hmm_mirror_mm *hmm);
void hmm_mirror_filter_fill(struct hmm_mirror_filter *filter, unsigned long start,
			    unsigned long end, int delta);
struct hmm_mirror_filter *hmm_mirror_filter_replace(struct hmm_mirror_mm *hmm,
						    struct hmm_mirror_filter *filter);
void hmm_mirror_filter_count(struct hmm_mirror_filter *filter, unsigned long level,
			     unsigned long start, unsigned long last, int delta);

/* hmm_slot.c: invalidations in flight, and their waiters; see also hmm_slot.h */
void hmm_mirror_slots_init(struct hmm_mirror_mm *hmm);
struct hmm_mirror_slot *hmm_mirror_slot_take(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update);
struct hmm_mirror_slot *hmm_mirror_slot_find(struct hmm_mirror_mm *hmm,
					     const struct mmu_notifier_range *update);
void hmm_mirror_slot_free(struct hmm_mirror_mm *hmm, struct hmm_mirror_slot *slot,
			  const struct mmu_notifier_range *update);
struct hmm_mirror_slot *hmm_mirror_slot_intersecting(struct hmm_mirror_mm *hmm,
						     const struct hmm_mirror_range *range);
bool hmm_mirror_slot_bounds(const struct hmm_mirror_slot *slot,
			    const struct hmm_mirror_range *range, unsigned long *start,
			    unsigned long *last);
void hmm_mirror_slot_ensure_end(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot);
void hmm_mirror_waiters_wake(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range);
bool hmm_mirror_waiters_forget(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range);
unsigned int hmm_mirror_slots_in_flight(const struct hmm_mirror_mm *hmm);

/* Return the slot that @update may claim without the lock. */
static inline struct hmm_mirror_slot *
hmm_mirror_slot_hashed(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update)
{
	/* Keys are pointers into kernel stacks, which differ in the lower 32 bits. */
	return &hmm->slot[hash_32((unsigned long)update, HMM_MIRROR_HASH_BITS)];
}

/* hmm_debug.c: debugfs */
struct dentry;
#ifdef CONFIG_DEBUG_FS
struct dentry *hmm_mirror_debug_init(void);
void hmm_mirror_debug_exit(void);
#else
static inline struct dentry *hmm_mirror_debug_init(void) { return NULL; }
static inline void hmm_mirror_debug_exit(void) { }
#endif

/* hmm_tree.c: interval trees of ranges, and walks over many; see also hmm_tree.h */
void hmm_mirror_tree_skip(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range);
void hmm_mirror_walk_pause(struct hmm_mirror_mm *hmm, struct hmm_mirror_walk *walk);
void hmm_mirror_tree_raise_below(struct hmm_mirror_mm *hmm, struct rb_node *rb,
				 unsigned long start, unsigned long end,
				 const struct mmu_notifier_range *update, unsigned int *left);
void hmm_mirror_parts_raise(struct hmm_mirror_mm *hmm, unsigned long start, unsigned long end,
			    const struct mmu_notifier_range *update, unsigned int *left);
unsigned long hmm_mirror_tree_count(struct hmm_mirror_mm *hmm,
				    const struct mmu_notifier_range *update);
bool hmm_mirror_tree_is_before(const struct hmm_mirror_range *a,
			       const struct hmm_mirror_range *b);

/* Give @range a new sequence, dirty: a fault with the old sequence cannot commit any more. */
static inline void hmm_mirror_range_raise(struct hmm_mirror_range *range, unsigned long seq)
{
	/* Pairs with READ_ONCE() in hmm_mirror_range_retry(): retry.litmus. */
	WRITE_ONCE(range->state, seq | HMM_MIRROR_RANGE_DIRTY);
}

/* hmm_grow.c: growth of the filter */
void hmm_mirror_growth_init(struct hmm_mirror_mm *hmm);
void hmm_mirror_growth_start(struct hmm_mirror_mm *hmm);
void hmm_mirror_growth_wait(struct hmm_mirror_mm *hmm);
void hmm_mirror_growth_count(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			     const struct hmm_mirror_range *range, int delta);

/* hmm_range.c: ranges and their sequences */
void hmm_mirror_ranges_init(struct hmm_mirror_mm *hmm);
void hmm_mirror_ranges_die(struct hmm_mirror_mm *hmm);
bool hmm_mirror_ranges_orphan(struct hmm_mirror *mirror);
bool hmm_mirror_ranges_hit(struct hmm_mirror *mirror, const struct mmu_notifier_range *update);
unsigned long hmm_mirror_range_clean(struct hmm_mirror_range *range);
void hmm_mirror_range_collide(struct hmm_mirror_range *range);
void hmm_mirror_range_attach(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range,
			     struct hmm_mirror *mirror, struct rb_root_cached *root);
void hmm_mirror_range_release(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			      struct hmm_mirror_range *range) __releases(&hmm->lock);
struct hmm_mirror_mm *hmm_mirror_range_registered(const struct hmm_mirror_range *range);

/*
 * Return the per-mm structure of @range, or NULL if @range is not registered. The driver may
 * unregister the mirror meanwhile; the structure stays, because either the mirror or the
 * orphan range holds a reference.
 */
static inline struct hmm_mirror_mm *
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

/* hmm_lookup.c: find ranges; see hmm_mirror.h */

/* hmm_part.c: parts of ranges */
int hmm_mirror_part_register(struct hmm_mirror_part *part, struct hmm_mirror_range *range);
void hmm_mirror_part_unregister(struct hmm_mirror_part *part);
bool hmm_mirror_part_is_valid(const struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault);

/* hmm_wait.c: begin */
long hmm_mirror_timeout(unsigned int timeout_ms);
long hmm_mirror_timeout_left(long timeout, unsigned long since);
int hmm_mirror_begin(struct hmm_mirror_range *range, unsigned long *seq, long timeout);

/* hmm_read.c: one chunk of the CPU page table */

/*
 * Pages that are read under one hold of the mmap lock. A writer of the mmap lock waits no
 * longer than that, and a collision is noticed between two chunks.
 */
#define HMM_MIRROR_CHUNK_PAGES	512

int hmm_mirror_read_chunk(const struct hmm_mirror_range *range, unsigned long seq,
			  struct hmm_range *args, long timeout);
void hmm_mirror_readers_wake(struct hmm_mirror_mm *hmm, const struct hmm_mirror *mirror);

/* hmm_fault.c: snapshot, fault, populate */
int hmm_mirror_fault_check(const struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault);

static inline bool hmm_mirror_fault_has_pages(const struct hmm_mirror_fault *fault)
{
	return fault->start < fault->end && PAGE_ALIGNED(fault->start | fault->end);
}

/* hmm_invalidate.c: start and end of invalidations; see hmm_invalidate.h */

/* hmm_callback.c: callbacks of the mirrors */
int hmm_mirror_call(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update,
		    struct hmm_mirror_slot *slot, const struct hmm_mirror *hit);

/* hmm_dma.c: DMA addresses of pages; see hmm_mirror.h */

/* hmm_mirror.c: mirrors, subscriptions, the module */

#endif /* HMM_MIRROR_INTERNAL_H */
