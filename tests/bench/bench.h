/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A benchmark of hmm_mirror and other schemes to mirror an address space.
 *
 * Each scheme has address spaces of its own, which exist at the same time. Each measurement
 * alternates between the schemes for several rounds, so that noise affects all of them.
 */
#ifndef HMM_MIRROR_BENCH_H
#define HMM_MIRROR_BENCH_H

#include <linux/cache.h>
#include <linux/delay.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sizes.h>

struct bench_scheme;

/* When an invalidation calls the driver. */
enum bench_calls {
	BENCH_NEVER,
	BENCH_FOR_EACH_HIT,
	BENCH_IF_HIT,
	BENCH_ALWAYS,
};

/**
 * struct bench_space - an address space that a scheme mirrors
 * @scheme: the scheme
 * @mm: the mm
 * @lock: the driver lock
 * @calls: number of callbacks and collisions; protected by @lock. Most measurements must have
 *	no collisions.
 * @flush_us: the callback sleeps so long, if the update is at @loud or above
 * @loud: an address
 * @priv: private data of the scheme
 * @ranges: memory for ranges, which a driver would have in structures of its own
 * @nr: number of registered @ranges
 */
struct bench_space {
	const struct bench_scheme *scheme;
	struct mm_struct *mm;
	struct mutex lock;	/* driver lock */
	unsigned long calls;
	unsigned int flush_us;
	unsigned long loud;
	void *priv;
	void *ranges;
	unsigned int nr;
};

/*
 * Size of a range with the driver's object that contains it, such as a buffer object. Not a
 * power of 2, because then all ranges would compete for a few sets of the caches.
 */
#define BENCH_STRIDE	(17 * 64)

/**
 * struct bench_scheme - a way to mirror an address space
 * @name: name in the results
 * @calls: when an invalidation calls the driver
 * @tracks: the scheme has ranges
 * @linear: costs are linear in the number of ranges, so measure fewer calls
 * @waits_for_all: its begin waits until no invalidation of the mm is in flight
 * @range_bytes: size of a range
 * @attach: begin to mirror space->mm
 * @detach: stop that; all ranges are unregistered
 * @add: register a range
 * @del: unregister a range
 * @begin: wait until a range is valid, and take its sequence
 * @retry: return true if the sequence is stale; with space->lock held
 * @begin_batch: begin and retry of @nr ranges, whose numbers are in @order
 * @cycle_batch: register, begin, retry, unregister, @nr times, at @addr
 */
struct bench_scheme {
	const char *name;
	enum bench_calls calls;
	bool tracks;
	bool linear;
	bool waits_for_all;
	size_t range_bytes;
	int (*attach)(struct bench_space *space);
	void (*detach)(struct bench_space *space);
	int (*add)(struct bench_space *space, void *range, unsigned long start,
		   unsigned long end);
	void (*del)(struct bench_space *space, void *range);
	unsigned long (*begin)(struct bench_space *space, void *range);
	bool (*retry)(struct bench_space *space, void *range, unsigned long seq);
	void (*begin_batch)(struct bench_space *space, const unsigned int *order,
			    unsigned int nr);
	void (*cycle_batch)(struct bench_space *space, const unsigned long *addr,
			    unsigned int nr);
};

extern const struct bench_scheme bench_none, bench_floor, bench_floor2, bench_interval,
	bench_2019, bench_mirror, bench_mirror_all;

static inline void *bench_range(const struct bench_space *space, unsigned int i)
{
	return space->ranges + i * BENCH_STRIDE;
}

/* Return the address of range @i if distances are random: a random page of 4M number @i. */
static inline unsigned long bench_scattered(unsigned int i)
{
	const u32 pages = (SZ_4M - 2 * SZ_64K) / PAGE_SIZE;

	return SZ_1G + i * (unsigned long)SZ_4M + jhash_1word(i, 0) % pages * PAGE_SIZE;
}

/* The driver's callback of all schemes: it only takes the lock. */
static inline void bench_flush(struct bench_space *space,
			       const struct mmu_notifier_range *update)
{
	if (READ_ONCE(space->flush_us) && update->start >= space->loud)
		usleep_range(space->flush_us, space->flush_us + 10);
}

/*
 * These loops are instantiated for each scheme, so that the measured functions are called
 * directly, as by a driver, and not through pointers.
 */
static __always_inline void
bench_begin_loop(struct bench_space *space, const unsigned int *order, unsigned int nr,
		 unsigned long (*begin)(struct bench_space *, void *),
		 bool (*retry)(struct bench_space *, void *, unsigned long))
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		void *range = bench_range(space, order[i]);
		unsigned long seq = begin(space, range);

		mutex_lock(&space->lock);
		if (unlikely(retry(space, range, seq)))
			space->calls++;
		mutex_unlock(&space->lock);
	}
}

/* Size of a range that is registered and unregistered. */
#define BENCH_CYCLE_SIZE	(16 * PAGE_SIZE)

static __always_inline void
bench_cycle_loop(struct bench_space *space, const unsigned long *addr, unsigned int nr,
		 int (*add)(struct bench_space *, void *, unsigned long, unsigned long),
		 void (*del)(struct bench_space *, void *),
		 unsigned long (*begin)(struct bench_space *, void *),
		 bool (*retry)(struct bench_space *, void *, unsigned long))
{
	void *range = bench_range(space, space->nr);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		unsigned long seq;

		if (add(space, range, addr[i], addr[i] + BENCH_CYCLE_SIZE))
			return;
		seq = begin(space, range);
		mutex_lock(&space->lock);
		if (unlikely(retry(space, range, seq)))
			space->calls++;
		mutex_unlock(&space->lock);
		del(space, range);
	}
}

/**
 * struct bench_work - a row of the results
 * @row: name of the row
 * @nr: number of registered ranges
 * @size: size of an invalidation
 * @hits: number of ranges that an invalidation hits
 * @addr: address of the mapped pages
 * @batch: do the work @nr times
 * @empty: the part of @batch that must not count
 * @user: the work needs the address space of a process
 * @alone: skip schemes whose begin waits for all invalidations
 */
struct bench_work {
	const char *row;
	unsigned int nr;
	unsigned long size;
	unsigned int hits;
	unsigned long addr;
	void (*batch)(struct bench_space *space, const struct bench_work *work,
		      unsigned int first, unsigned int nr);
	void (*empty)(struct bench_space *space, const struct bench_work *work,
		      unsigned int first, unsigned int nr);
	bool user;
	bool alone;
};

/* main.c */
extern bool bench_quick, bench_time;
u64 bench_now(void);
void bench_print(const char *row, const char *scheme, unsigned int nr, s64 best,
		 s64 median);
struct bench_space *bench_space_new(const struct bench_scheme *scheme,
				    unsigned int ranges);
void bench_space_free(struct bench_space *space);

/* calls.c */
#define BENCH_MAX_ROUNDS	15
void bench_print_costs(const char *row, const char *scheme, unsigned int nr, s64 *cost,
		       unsigned int rounds);
int bench_measure(const struct bench_work *work);
void bench_invalidate(struct bench_space *space, const unsigned long *addr,
		      unsigned int nr, unsigned long size);
int bench_calls(void);

/* process.c */
int bench_system_calls_prepare(struct bench_space *space, unsigned long addr);
int bench_system_calls(unsigned int nr, unsigned long addr);
int bench_populate(void);
int bench_memory(void);

/* threads.c */
int bench_threads(void);

/* holds.c */
int bench_holds(void);

/* unexported.c */
int bench_unexported(void);
void *bench_lookup(const char *symbol);

#endif /* HMM_MIRROR_BENCH_H */
