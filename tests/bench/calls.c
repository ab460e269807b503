// SPDX-License-Identifier: GPL-2.0
/*
 * Costs of single calls, on one CPU: an invalidation, begin and retry, registration.
 */
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "bench.h"

/* First address of the ranges. Nothing is mapped there. */
#define BASE		SZ_1G
#define SIZE		SZ_64K

/*
 * Addresses of the ranges. In all layouts each range, or group of ranges, is followed by a gap
 * of at least the size of a range, for invalidations that miss.
 */
enum layout {
	PLAIN,		/* 64K, gap, 64K, gap ... */
	GROUPS,		/* groups of 16 ranges of 64K, a page apart: one page is in all of them */
	SPARSE,		/* 64K, gap of 4G ... */
	CLASSES,	/* 16K, gap, 256K, gap, 4M, gap, 64M, gap, 1G, gap, 16K ... */
	SCATTERED,	/* 64K at a random page of each 4M */
};

#define GROUP		16
#define MAX_RANGES	65536

static unsigned long stride(enum layout layout)
{
	switch (layout) {
	case PLAIN:	return 2 * SIZE;
	case GROUPS:	return 4 * SIZE / GROUP;
	case SCATTERED:	return SZ_4M;
	default:	return 4UL * SZ_1G;
	}
}

static void bounds(enum layout layout, unsigned int i, unsigned long *start,
		   unsigned long *end)
{
	if (layout == GROUPS)
		*start = BASE + i / GROUP * GROUP * stride(layout) + i % GROUP * PAGE_SIZE;
	else if (layout == SCATTERED)
		*start = bench_scattered(i);
	else
		*start = BASE + i * stride(layout);
	*end = *start + (layout == CLASSES ? SZ_16K << (i % 5 * 4) : SIZE);
}

/* Return the address of @size bytes behind range @i, in no range. */
static unsigned long beside(enum layout layout, unsigned int i, unsigned long size,
			    struct rnd_state *rnd)
{
	unsigned long start, end, from, room;

	if (layout == GROUPS)
		i |= GROUP - 1;
	bounds(layout, i, &start, &end);
	from = end;
	if (layout == GROUPS)
		room = SIZE;
	else
		room = BASE + (i + 1) * stride(layout) - end;
	return from + prandom_u32_state(rnd) % ((room - size) / PAGE_SIZE + 1) * PAGE_SIZE;
}

/* Return a page of range @i; in a group, the page that all ranges contain. */
static unsigned long inside(enum layout layout, unsigned int i, struct rnd_state *rnd)
{
	unsigned long start, end;

	if (layout == GROUPS)
		i |= GROUP - 1;
	bounds(layout, i, &start, &end);
	if (layout == GROUPS)
		return start;
	return start + prandom_u32_state(rnd) % ((end - start) / PAGE_SIZE) * PAGE_SIZE;
}

/* ------------------------------------------------------------------- measurement */

/* The number of instructions does not vary. Time does, and needs new addresses in each round. */
#define ROUNDS		(!bench_time ? 3U : bench_quick ? 5U : BENCH_MAX_ROUNDS)
#define BATCH		(bench_time ? 16384U : 512U)
#define ADDRESSES	(ROUNDS * BATCH)

static const struct bench_scheme *const schemes[] = {
	&bench_none, &bench_floor, &bench_floor2, &bench_interval, &bench_2019,
	&bench_mirror, &bench_mirror_all,
};

static struct bench_space *spaces[ARRAY_SIZE(schemes)];
static unsigned long *addresses;
static unsigned int *order;
/* Order of registration of ranges or groups: random, as with drivers. */
static unsigned int *places;

/*
 * Return a batch size that is so large that the caches that other schemes have left do not
 * matter. If there are many ranges, each round uses all addresses.
 */
static unsigned int batch_size(const struct bench_space *space, const struct bench_work *work)
{
	if (space->scheme->linear)
		return clamp(500000 / (work->nr + 1), 8U, BATCH);
	return bench_time && !work->user && work->nr > BATCH ? ADDRESSES : BATCH;
}

static int compare(const void *a, const void *b)
{
	s64 x = *(const s64 *)a, y = *(const s64 *)b;

	return x < y ? -1 : x > y;
}

void bench_print_costs(const char *row, const char *scheme, unsigned int nr, s64 *cost,
		       unsigned int rounds)
{
	sort(cost, rounds, sizeof(*cost), compare, NULL);
	bench_print(row, scheme, nr, cost[0], cost[rounds / 2]);
}

/* Check that the measured invalidations called the driver as often as they should. */
static int check_calls(const struct bench_space *space, const struct bench_work *work,
		       unsigned int nr)
{
	unsigned long calls = 0;

	if (work->user || work->alone)
		return 0;
	if (work->size) {
		switch (space->scheme->calls) {
		case BENCH_NEVER:
			break;
		case BENCH_FOR_EACH_HIT:
			calls = (unsigned long)nr * work->hits;
			break;
		case BENCH_IF_HIT:
			calls = work->hits ? nr : 0;
			break;
		case BENCH_ALWAYS:
			calls = nr;
			break;
		}
	}
	if (space->calls == calls)
		return 0;
	pr_info("bench: %s called %s %lu times, expected %lu\n", work->row,
		space->scheme->name, space->calls, calls);
	return -EIO;
}

/*
 * Measure a section with interrupts off. mmu_interval_notifier has one for each invalidation
 * that hits (wake_up_all()). User Mode Linux needs two system calls for it.
 */
static s64 interrupts(void)
{
	const unsigned int nr = 512;
	unsigned long flags;
	u64 from = bench_now();
	unsigned int i;

	for (i = 0; i < nr; i++) {
		local_irq_save(flags);
		local_irq_restore(flags);
	}
	return (bench_now() - from) * 100 / nr;
}

int bench_measure(const struct bench_work *work)
{
	static s64 cost[ARRAY_SIZE(schemes)][BENCH_MAX_ROUNDS], off[BENCH_MAX_ROUNDS];
	s64 empty[ARRAY_SIZE(schemes)];
	unsigned int round, s;
	char off_row[16];
	int ret = 0;

	for (s = 0; s < ARRAY_SIZE(schemes); s++)
		empty[s] = S64_MAX;

	for (round = 0; round < ROUNDS; round++) {
		for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++) {
			struct bench_space *space = spaces[s];
			unsigned int nr = batch_size(space, work);
			unsigned int first = nr > BATCH ? 0 : round * BATCH;
			u64 t0, t1, t2;

			if (work->alone && space->scheme->waits_for_all)
				continue;
			if (work->user)
				kthread_use_mm(space->mm);
			/* Warm the instruction cache. */
			work->batch(space, work, first, 4);
			space->calls = 0;
			t0 = bench_now();
			work->batch(space, work, first, nr);
			t1 = bench_now();
			work->empty(space, work, first, nr);
			t2 = bench_now();
			if (work->user)
				kthread_unuse_mm(space->mm);
			cost[s][round] = t1 - t0;
			empty[s] = min_t(s64, empty[s], t2 - t1);
			ret = check_calls(space, work, nr);
			cond_resched();
		}
		if (work->hits)
			off[round] = interrupts();
	}
	/* Subtract the shortest empty loop: noise in one must not look like a gain. */
	for (s = 0; s < ARRAY_SIZE(schemes); s++)
		for (round = 0; round < ROUNDS; round++)
			cost[s][round] = (cost[s][round] - empty[s]) * 100 /
					 batch_size(spaces[s], work);

	if (!ret && work->hits) {
		snprintf(off_row, sizeof(off_row), "%s_off", work->row);
		bench_print_costs(off_row, "none", work->nr, off, ROUNDS);
	}
	for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++)
		if (!work->alone || !spaces[s]->scheme->waits_for_all)
			bench_print_costs(work->row, spaces[s]->scheme->name, work->nr,
					  cost[s], ROUNDS);
	return ret;
}

/* Make @nr invalidations, as changes of CPU page table entries would. */
void bench_invalidate(struct bench_space *space, const unsigned long *addr,
		      unsigned int nr, unsigned long size)
{
	struct mmu_notifier_range update;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		mmu_notifier_range_init(&update, MMU_NOTIFY_CLEAR, 0, space->mm, addr[i],
					addr[i] + size);
		mmu_notifier_invalidate_range_start(&update);
		mmu_notifier_invalidate_range_end(&update);
	}
}

static void invalidate_batch(struct bench_space *space, const struct bench_work *work,
			     unsigned int first, unsigned int nr)
{
	bench_invalidate(space, addresses + first, nr, work->size);
}

static void invalidate_empty(struct bench_space *space, const struct bench_work *work,
			     unsigned int first, unsigned int nr)
{
	const unsigned long *addr = addresses + first;
	struct mmu_notifier_range update;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		mmu_notifier_range_init(&update, MMU_NOTIFY_CLEAR, 0, space->mm, addr[i],
					addr[i] + work->size);
		/* Keep the compiler from removing @update. */
		asm volatile("" : : "r" (&update) : "memory");
	}
}

static void begin_batch(struct bench_space *space, const struct bench_work *work,
			unsigned int first, unsigned int nr)
{
	space->scheme->begin_batch(space, order + first, nr);
}

static void begin_empty(struct bench_space *space, const struct bench_work *work,
			unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		asm volatile("" : : "r" (bench_range(space, order[first + i])) : "memory");
}

static void cycle_batch(struct bench_space *space, const struct bench_work *work,
			unsigned int first, unsigned int nr)
{
	space->scheme->cycle_batch(space, addresses + first, nr);
}

/* The same while an invalidation of other addresses is in flight. */
static void beside_batch(struct bench_space *space, const struct bench_work *work,
			 unsigned int first, unsigned int nr)
{
	struct mmu_notifier_range update;

	mmu_notifier_range_init(&update, MMU_NOTIFY_CLEAR, 0, space->mm, BASE / 2,
				BASE / 2 + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&update);
	space->scheme->cycle_batch(space, addresses + first, nr);
	mmu_notifier_invalidate_range_end(&update);
}

static void cycle_empty(struct bench_space *space, const struct bench_work *work,
			unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		asm volatile("" : : "r" (addresses[first + i]) : "memory");
}

/* ------------------------------------------------------------------------- rows */

static void shuffle(unsigned int nr)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, 5);
	for (i = 0; i < nr; i++) {
		unsigned int j = prandom_u32_state(&rnd) % (i + 1);

		places[i] = places[j];
		places[j] = i;
	}
}

static int add_ranges(enum layout layout, unsigned int nr)
{
	const unsigned int group = layout == GROUPS ? GROUP : 1;
	unsigned int s, i;
	unsigned long start, end;
	int ret = 0;

	shuffle(nr / group);
	for (s = 0; s < ARRAY_SIZE(schemes); s++) {
		struct bench_space *space = spaces[s];

		if (!space->scheme->tracks)
			continue;
		for (i = 0; !ret && i < nr; i++) {
			bounds(layout, places[i / group] * group + i % group, &start, &end);
			ret = space->scheme->add(space, bench_range(space, i), start, end);
			if (!ret)
				space->nr++;
		}
		/* Measure ranges that have been used, as most are. */
		for (i = 0; i < space->nr; i++)
			space->scheme->begin(space, bench_range(space, i));
		cond_resched();
	}
	/* Wait for work in the background, such as the growth of the filter. */
	msleep(50);
	return ret;
}

static void del_ranges(void)
{
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(schemes); s++) {
		struct bench_space *space = spaces[s];

		while (space->nr)
			space->scheme->del(space, bench_range(space, --space->nr));
		cond_resched();
	}
}

static void choose(enum layout layout, unsigned int nr, unsigned long size, bool hit)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, 2019);
	for (i = 0; i < ADDRESSES; i++) {
		order[i] = nr ? prandom_u32_state(&rnd) % nr : 0;
		if (hit)
			addresses[i] = inside(layout, order[i], &rnd);
		else
			addresses[i] = beside(layout, order[i], size, &rnd);
	}
}

static int invalidations(const char *row, enum layout layout, unsigned int nr,
			 unsigned long size, unsigned int hits)
{
	struct bench_work work = {
		.row = row, .nr = nr, .size = size, .hits = hits,
		.batch = invalidate_batch, .empty = invalidate_empty,
	};

	choose(layout, nr, size, hits);
	return bench_measure(&work);
}

static int users(unsigned int nr)
{
	struct bench_work begin = {
		.row = "begin", .nr = nr, .batch = begin_batch, .empty = begin_empty,
	};
	struct bench_work cycle = {
		.row = "cycle", .nr = nr, .batch = cycle_batch, .empty = cycle_empty,
	};
	struct bench_work beside = {
		.row = "beside", .nr = nr, .batch = beside_batch, .empty = cycle_empty,
		.alone = true,
	};
	/* An address between two ranges. */
	unsigned long gap = BASE + nr / 2 * stride(PLAIN) + SIZE;
	unsigned int s;
	int ret;

	choose(PLAIN, nr, BENCH_CYCLE_SIZE, false);
	ret = bench_measure(&begin);
	if (!ret)
		ret = bench_measure(&cycle);
	if (!ret)
		ret = bench_measure(&beside);
	for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++)
		ret = bench_system_calls_prepare(spaces[s], gap);
	if (!ret)
		ret = bench_system_calls(nr, gap);
	return ret;
}

static int row(const char *name, enum layout layout, unsigned int nr, unsigned long size,
	       unsigned int hits)
{
	int ret = add_ranges(layout, nr);

	if (!ret)
		ret = invalidations(name, layout, nr, size, hits);
	del_ranges();
	return ret;
}

#define STREAM		(64UL * SZ_1M)

/* Read so much memory that no other data stays in the shared caches. */
static int stream_thread(void *buffer)
{
	while (!kthread_should_stop()) {
		unsigned long i;

		for (i = 0; i < STREAM; i += L1_CACHE_BYTES)
			READ_ONCE(*(u8 *)(buffer + i));
		cond_resched();
	}
	return 0;
}

/* Measure beside such a thread, as on a machine with other work. */
static int busy_row(unsigned int nr)
{
	void *buffer = vzalloc(STREAM);
	struct task_struct *task;
	int ret;

	if (!buffer)
		return -ENOMEM;
	task = kthread_create(stream_thread, buffer, "stream");
	if (IS_ERR(task)) {
		vfree(buffer);
		return PTR_ERR(task);
	}
	kthread_bind(task, 1);
	get_task_struct(task);
	wake_up_process(task);
	ret = row("busy", PLAIN, nr, PAGE_SIZE, 0);
	kthread_stop(task);
	put_task_struct(task);
	vfree(buffer);
	return ret;
}

static int rows(void)
{
	static const unsigned int counts[] = { 1, 16, 256, 4096, MAX_RANGES };
	unsigned int i;
	int ret = row("nothing", PLAIN, 0, PAGE_SIZE, 0);

	for (i = 0; !ret && i < ARRAY_SIZE(counts); i++) {
		const unsigned int nr = counts[i];

		ret = row("miss", PLAIN, nr, PAGE_SIZE, 0);
		if (!ret)
			ret = row("scattered", SCATTERED, nr, PAGE_SIZE, 0);
		if (!ret && bench_time)
			ret = busy_row(nr);
		if (!ret)
			ret = row("hit1", PLAIN, nr, PAGE_SIZE, 1);
		if (!ret && nr >= GROUP)
			ret = row("hit16", GROUPS, nr, PAGE_SIZE, GROUP);
		if (!ret)
			ret = add_ranges(PLAIN, nr);
		if (!ret)
			ret = users(nr);
		del_ranges();
	}
	for (i = 0; !ret && i < ARRAY_SIZE(counts) - 1; i++) {
		const unsigned int nr = counts[i];

		ret = row("miss2M", SPARSE, nr, SZ_2M, 0);
		if (!ret)
			ret = row("miss1G", SPARSE, nr, SZ_1G, 0);
		if (!ret)
			ret = row("classes", CLASSES, nr, PAGE_SIZE, 0);
	}
	return ret;
}

int bench_calls(void)
{
	unsigned int s;
	int ret = -ENOMEM;

	addresses = kvcalloc(ADDRESSES, sizeof(*addresses), GFP_KERNEL);
	order = kvcalloc(ADDRESSES, sizeof(*order), GFP_KERNEL);
	places = kvcalloc(MAX_RANGES, sizeof(*places), GFP_KERNEL);
	for (s = 0; s < ARRAY_SIZE(schemes); s++) {
		spaces[s] = bench_space_new(schemes[s], MAX_RANGES + 1);
		if (!spaces[s])
			goto out;
	}
	if (addresses && order && places)
		ret = rows();
out:
	while (s--)
		bench_space_free(spaces[s]);
	kvfree(places);
	kvfree(order);
	kvfree(addresses);
	return ret;
}
