/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A benchmark of hmm_mirror beside other ways to follow an address space.
 *
 * Each scheme has address spaces of its own, which exist at the same time; whatever is
 * measured is measured for one scheme after the other, again and again, so that noise
 * hits all of them.
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

/* How often an invalidation calls the driver. */
enum bench_calls {
	BENCH_NEVER,
	BENCH_FOR_EACH_HIT,
	BENCH_IF_HIT,
	BENCH_ALWAYS,
};

/**
 * struct bench_space - an address space that a scheme follows
 * @scheme: how
 * @mm: what
 * @lock: the driver's: its callback takes it, and whoever installs device PTEs
 * @calls: callbacks, and collisions, of which there are to be none; protected by @lock
 * @flush_us: how long the driver's callback sleeps, for an update at @loud or above
 * @loud: an address
 * @priv: of the scheme
 * @ranges: room for them, as a driver would have it in structures of its own
 * @nr: how many of @ranges are registered
 */
struct bench_space {
	const struct bench_scheme *scheme;
	struct mm_struct *mm;
	struct mutex lock;	/* see above */
	unsigned long calls;
	unsigned int flush_us;
	unsigned long loud;
	void *priv;
	void *ranges;
	unsigned int nr;
};

/*
 * Of a range, and of the driver's object that it is a part of, such as a buffer object. Not a
 * power of 2, with which all ranges would compete for a few sets of the caches.
 */
#define BENCH_STRIDE	(17 * 64)

/**
 * struct bench_scheme - a way to follow an address space
 * @name: in the results
 * @calls: how often an invalidation calls the driver
 * @tracks: it has ranges
 * @linear: its costs grow with their number: do less of it
 * @waits_for_all: its begin waits until no invalidation of the mm is in flight
 * @range_bytes: size of a range
 * @attach: follow space->mm
 * @detach: no more; all ranges are gone
 * @add: register a range
 * @del: unregister it
 * @begin: wait until a range is valid, and take its sequence
 * @retry: whether that has become stale; with space->lock held
 * @begin_batch: begin and retry of @nr ranges, by their numbers in @order
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

/* Where range @i of 64K is if they lie at random distances: at a random page of its 4M. */
static inline unsigned long bench_scattered(unsigned int i)
{
	const u32 pages = (SZ_4M - 2 * SZ_64K) / PAGE_SIZE;

	return SZ_1G + i * (unsigned long)SZ_4M + jhash_1word(i, 0) % pages * PAGE_SIZE;
}

/* What is a driver's callback of every scheme: nothing but its lock. */
static inline void bench_flush(struct bench_space *space,
			       const struct mmu_notifier_range *update)
{
	if (READ_ONCE(space->flush_us) && update->start >= space->loud)
		usleep_range(space->flush_us, space->flush_us + 10);
}

/*
 * Loops that are made for each scheme, so that what is measured is called as a driver
 * would call it, and not through pointers.
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

/* The size of the ranges that come and go. */
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
 * @row: its name
 * @nr: ranges that are registered
 * @size: of an invalidation
 * @hits: ranges that it hits
 * @addr: where pages are mapped
 * @batch: the work, @nr times
 * @empty: whatever of it is not to count
 * @user: in the address space of the process
 * @alone: not for schemes whose begin waits for all invalidations
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
