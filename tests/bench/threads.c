// SPDX-License-Identifier: GPL-2.0
/*
 * Costs of concurrency: how long a device fault waits for invalidations of other addresses, and
 * whether invalidations that miss every range delay one another.
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/wait.h>

#include "bench.h"

static const struct bench_scheme *const schemes[] = {
	&bench_interval, &bench_2019, &bench_mirror,
};

/* Ranges of 64K, each followed by a gap: the range of the faults, and those of the storm. */
#define BASE		SZ_1G
#define SIZE		SZ_64K
#define PLACE(i)	(BASE + (i) * 2UL * SIZE)
#define NR_STORM	1024U
#define FIRST_STORM	8U
#define FIRST_IDLE	(FIRST_STORM + NR_STORM)

#define FLUSH_US	200U
#define FLUSH_US_PER_THREAD	20U
#define LIMIT_NS	(500 * NSEC_PER_MSEC)

/* ------------------------------------------------------------------------ storm */

struct storm {
	struct bench_space *space;
	unsigned int nr;		/* threads; 0: one, with one always in flight */
	struct task_struct *task[NR_STORM];
	u64 until;			/* time of the next pause */
	atomic_t blowing;		/* threads that make invalidations */
	atomic_t in_flight;		/* invalidations of these threads */
};

static struct storm storm;
static DECLARE_WAIT_QUEUE_HEAD(storm_wakes);

static void storm_blow_until(u64 until)
{
	WRITE_ONCE(storm.until, until);
	wake_up_all(&storm_wakes);
}

static void storm_update(struct mmu_notifier_range *update, unsigned int i)
{
	mmu_notifier_range_init(update, MMU_NOTIFY_CLEAR, 0, storm.space->mm,
				PLACE(FIRST_STORM + i), PLACE(FIRST_STORM + i) + PAGE_SIZE);
}

static bool storm_blows(void)
{
	return ktime_get_ns() < READ_ONCE(storm.until);
}

static bool storm_goes_on(void)
{
	return storm_blows() && !kthread_should_stop();
}

/* Make invalidations one after the other, without a pause. */
static void storm_serial(unsigned int i)
{
	struct mmu_notifier_range update;

	storm_update(&update, i);
	atomic_inc(&storm.blowing);
	while (storm_goes_on()) {
		atomic_inc(&storm.in_flight);
		mmu_notifier_invalidate_range_start(&update);
		mmu_notifier_invalidate_range_end(&update);
		atomic_dec(&storm.in_flight);
	}
	atomic_dec(&storm.blowing);
}

/* Begin each invalidation before the previous one has ended. */
static void storm_overlapping(void)
{
	struct mmu_notifier_range update[2];
	unsigned int i = 0;

	storm_update(&update[0], 0);
	mmu_notifier_invalidate_range_start(&update[0]);
	atomic_inc(&storm.blowing);
	while (storm_goes_on()) {
		storm_update(&update[!i], !i);
		mmu_notifier_invalidate_range_start(&update[!i]);
		mmu_notifier_invalidate_range_end(&update[i]);
		i = !i;
	}
	atomic_dec(&storm.blowing);
	mmu_notifier_invalidate_range_end(&update[i]);
}

static int storm_thread(void *arg)
{
	while (!kthread_should_stop()) {
		wait_event(storm_wakes, storm_blows() || kthread_should_stop());
		if (storm.nr)
			storm_serial((unsigned long)arg);
		else
			storm_overlapping();
	}
	return 0;
}

static int storm_begin(struct bench_space *space, unsigned int nr)
{
	unsigned int i;

	storm.space = space;
	storm.nr = nr;
	WRITE_ONCE(storm.until, 0);
	for (i = 0; i < max(nr, 1U); i++) {
		storm.task[i] = kthread_run(storm_thread, (void *)(unsigned long)i,
					    "storm/%u", i);
		if (IS_ERR(storm.task[i]))
			return PTR_ERR(storm.task[i]);
	}
	return 0;
}

static void storm_end(void)
{
	unsigned int i;

	for (i = 0; i < max(storm.nr, 1U); i++)
		kthread_stop(storm.task[i]);
}

/* ---------------------------------------------------------------------- latency */

enum fault { AFTER_HIT, NEW_RANGE, REMOVAL };

static const char *const fault_names[] = { "hit", "new", "remove" };

/* Do a device fault, up to the point where device PTEs could be installed. */
static void fault(struct bench_space *space, void *range)
{
	const struct bench_scheme *scheme = space->scheme;
	bool again;

	do {
		unsigned long seq = scheme->begin(space, range);

		mutex_lock(&space->lock);
		again = scheme->retry(space, range, seq);
		mutex_unlock(&space->lock);
		/* Give up when the storm pauses. */
	} while (again && storm_blows());
}

static u64 trial(struct bench_space *space, enum fault kind, unsigned int i)
{
	const struct bench_scheme *scheme = space->scheme;
	void *range = bench_range(space, kind == AFTER_HIT ? 0 : FIRST_IDLE + i);
	unsigned long addr = PLACE(kind == AFTER_HIT ? 0 : FIRST_IDLE + i);
	u64 from;

	switch (kind) {
	case AFTER_HIT:
		bench_invalidate(space, &addr, 1, PAGE_SIZE);
		from = ktime_get_ns();
		fault(space, range);
		return ktime_get_ns() - from;
	case NEW_RANGE:
		from = ktime_get_ns();
		scheme->add(space, range, addr, addr + SIZE);
		fault(space, range);
		from = ktime_get_ns() - from;
		/* This is not measured, and may wait. */
		WRITE_ONCE(storm.until, 0);
		scheme->del(space, range);
		return from;
	default:
		from = ktime_get_ns();
		scheme->del(space, range);
		return ktime_get_ns() - from;
	}
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Printed quantiles of the distribution, in thousandths. */
static const unsigned int quantiles[] = {
	0, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 980, 990, 995, 998, 1000,
};

/* @in_flight: average number of invalidations in flight */
static void print_latency(const char *kind, const char *scheme, unsigned int threads,
			  unsigned int in_flight, u64 *ns, unsigned int nr)
{
	unsigned int i, late = 0;
	char text[320];
	int len = 0;

	sort(ns, nr, sizeof(*ns), compare, NULL);
	for (i = 0; i < nr; i++)
		late += ns[i] >= LIMIT_NS;
	for (i = 0; i < ARRAY_SIZE(quantiles); i++)
		len += scnprintf(text + len, sizeof(text) - len, " %llu",
				 ns[min(nr * quantiles[i] / 1000, nr - 1)]);
	pr_info("bench: latency %s %s %u %u %u %u%s\n", kind, scheme, threads, in_flight, nr, late,
		text);
}

static int add_place(struct bench_space *space, unsigned int i)
{
	int ret = space->scheme->add(space, bench_range(space, i), PLACE(i), PLACE(i) + SIZE);

	if (!ret)
		space->scheme->begin(space, bench_range(space, i));
	return ret;
}

static int latency(struct bench_space *space, unsigned int threads, enum fault kind,
		   unsigned int trials, u64 *ns)
{
	struct rnd_state rnd;
	/* Without a sleep in the callback, many threads would need more than the CPUs. */
	unsigned int flush_us = max(FLUSH_US, threads * FLUSH_US_PER_THREAD);
	/* A storm of "0 threads" alternates between two places. */
	unsigned int places = max(threads, 2U);
	unsigned int i, nr = 0, added = 0;
	u64 limit, in_flight = 0;
	bool late = false;
	int ret = add_place(space, 0);

	for (i = 0; !ret && i < places; i++)
		ret = add_place(space, FIRST_STORM + i);
	for (; !ret && kind == REMOVAL && added < trials; added++)
		ret = add_place(space, FIRST_IDLE + added);
	if (ret)
		return ret;

	space->flush_us = flush_us;
	space->loud = PLACE(FIRST_STORM);
	ret = storm_begin(space, threads);
	if (ret)
		return ret;
	prandom_seed_state(&rnd, 2019);
	limit = ktime_get_ns() + (u64)(bench_quick ? 3 : 10) * NSEC_PER_SEC;
	/* Make all trials, unless that takes too long. */
	while (nr < trials && (nr < 10 || !late || ktime_get_ns() < limit)) {
		unsigned int us = flush_us + prandom_u32_state(&rnd) % flush_us;

		storm_blow_until(U64_MAX);
		while (atomic_read(&storm.blowing) < max(threads, 1U))
			usleep_range(20, 50);
		usleep_range(us, us + 10);
		in_flight += atomic_read(&storm.in_flight);
		WRITE_ONCE(storm.until, ktime_get_ns() + LIMIT_NS);
		ns[nr] = trial(space, kind, nr);
		late |= ns[nr] >= LIMIT_NS / 100;
		nr++;
	}
	WRITE_ONCE(storm.until, 0);
	storm_end();
	space->flush_us = 0;

	for (i = nr; i < added; i++)
		space->scheme->del(space, bench_range(space, FIRST_IDLE + i));
	for (i = 0; i < places; i++)
		space->scheme->del(space, bench_range(space, FIRST_STORM + i));
	space->scheme->del(space, bench_range(space, 0));
	print_latency(fault_names[kind], space->scheme->name, threads, div_u64(in_flight, nr), ns,
		      nr);
	return 0;
}

static int latencies(void)
{
	static const unsigned int storms[] = { 0, 1, 2, 4, 64, 256, 1024 };
	const unsigned int trials = bench_quick ? 200 : 1000;
	unsigned int s, i, kind;
	u64 *ns = kvcalloc(trials, sizeof(*ns), GFP_KERNEL);
	int ret = ns ? 0 : -ENOMEM;

	for (i = 0; !ret && i < ARRAY_SIZE(storms); i++) {
		for (kind = 0; !ret && kind < ARRAY_SIZE(fault_names); kind++) {
			for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++) {
				struct bench_space *space;

				space = bench_space_new(schemes[s], FIRST_IDLE + trials);
				if (!space) {
					ret = -ENOMEM;
					break;
				}
				ret = latency(space, storms[i], kind, trials, ns);
				bench_space_free(space);
			}
		}
	}
	kvfree(ns);
	return ret;
}

/* ------------------------------------------------------------------- throughput */

#define MAX_FAULTERS	2U

struct faulter {
	struct bench_space *space;
	struct task_struct *task;
	unsigned int place;
	unsigned long faults;
};

/* Fault, each time after an invalidation of the page. */
static int fault_thread(void *arg)
{
	struct faulter *me = arg;
	unsigned long addr = PLACE(me->place);

	while (!kthread_should_stop()) {
		if (!storm_blows()) {
			usleep_range(50, 100);
			continue;
		}
		bench_invalidate(me->space, &addr, 1, PAGE_SIZE);
		fault(me->space, bench_range(me->space, me->place));
		me->faults += storm_blows();
		cond_resched();
	}
	return 0;
}

/* Measure faults per second of @nr threads, each with its own range, in a storm of one thread. */
static int throughput(const struct bench_scheme *scheme, unsigned int nr)
{
	const unsigned int ms = bench_quick ? 500 : 2000;
	struct bench_space *space = bench_space_new(scheme, FIRST_IDLE);
	struct faulter faulters[MAX_FAULTERS] = {};
	unsigned long faults = 0;
	unsigned int i;
	int ret;

	if (!space)
		return -ENOMEM;
	ret = add_place(space, FIRST_STORM);
	for (i = 0; !ret && i < nr; i++)
		ret = add_place(space, i);
	if (ret)
		return ret;
	space->flush_us = FLUSH_US;
	space->loud = PLACE(FIRST_STORM);
	ret = storm_begin(space, 1);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		faulters[i].space = space;
		faulters[i].place = i;
		faulters[i].task = kthread_create(fault_thread, &faulters[i], "fault/%u", i);
		if (IS_ERR(faulters[i].task))
			return PTR_ERR(faulters[i].task);
		kthread_bind(faulters[i].task, i);
		wake_up_process(faulters[i].task);
	}
	storm_blow_until(ktime_get_ns() + ms * NSEC_PER_MSEC);
	while (storm_blows())
		msleep(20);
	for (i = 0; i < nr; i++) {
		kthread_stop(faulters[i].task);
		faults += faulters[i].faults;
	}
	storm_end();
	space->flush_us = 0;
	for (i = 0; i < nr; i++)
		scheme->del(space, bench_range(space, i));
	scheme->del(space, bench_range(space, FIRST_STORM));
	bench_space_free(space);
	bench_print("faults_per_s", scheme->name, nr, faults * 100000 / ms, faults * 100000 / ms);
	return 0;
}

/* ---------------------------------------------------------------------- scaling */

#define NR_ADDRESSES	8192U

/* A thread that starts together with others. */
struct runner {
	struct bench_space *space;
	struct task_struct *task;
	struct completion *finished;
	atomic_t *missing;
	const unsigned long *addr;
	u64 ns;
};

static int miss_thread(void *arg)
{
	struct runner *me = arg;
	u64 from;

	/* Wait for the other threads. */
	atomic_dec(me->missing);
	while (atomic_read(me->missing))
		cpu_relax();
	from = ktime_get_ns();
	bench_invalidate(me->space, me->addr, NR_ADDRESSES, PAGE_SIZE);
	me->ns = ktime_get_ns() - from;
	complete(me->finished);
	return 0;
}

/* Return the cost of an invalidation that misses, in @nr threads, each on its own CPU. */
static s64 misses(struct bench_space *space, unsigned int nr, const unsigned long *addr)
{
	DECLARE_COMPLETION_ONSTACK(finished);
	atomic_t missing = ATOMIC_INIT(nr);
	struct runner runners[2] = {};
	unsigned int i;
	u64 ns = 0;

	for (i = 0; i < nr; i++) {
		struct runner *r = &runners[i];

		r->space = space;
		r->finished = &finished;
		r->missing = &missing;
		r->addr = addr + i * NR_ADDRESSES;
		r->task = kthread_create(miss_thread, r, "miss/%u", i);
		if (IS_ERR(r->task))
			panic("bench: no thread");
		kthread_bind(r->task, i);
	}
	for (i = 0; i < nr; i++)
		wake_up_process(runners[i].task);
	for (i = 0; i < nr; i++)
		wait_for_completion(&finished);
	for (i = 0; i < nr; i++)
		ns += runners[i].ns;
	return ns * 100 / nr / NR_ADDRESSES;
}

#define MAX_MMS		256U

static const struct bench_scheme *const scaling_schemes[] = {
	&bench_none, &bench_floor, &bench_floor2, &bench_interval, &bench_mirror,
};

static struct bench_space *scaling_spaces[ARRAY_SIZE(scaling_schemes)];

/* Alternate between the schemes, so that noise affects all of them. */
static void scaling_row(const char *row, unsigned int nr, unsigned int threads,
			const unsigned long *addr)
{
	static s64 cost[ARRAY_SIZE(scaling_schemes)][BENCH_MAX_ROUNDS];
	unsigned int round, s;

	for (round = 0; round < BENCH_MAX_ROUNDS; round++)
		for (s = 0; s < ARRAY_SIZE(scaling_schemes); s++)
			cost[s][round] = misses(scaling_spaces[s], threads, addr);
	for (s = 0; s < ARRAY_SIZE(scaling_schemes); s++)
		bench_print_costs(row, scaling_schemes[s]->name, nr, cost[s],
				  BENCH_MAX_ROUNDS);
}

/* Mirrors of other processes must not have costs for this one. */
static int scaling_mms(const unsigned long *addr)
{
	static struct bench_space *others[ARRAY_SIZE(scaling_schemes)][MAX_MMS];
	static const unsigned int counts[] = { 0, 16, MAX_MMS };
	unsigned int c, s, i, nr = 0;
	int ret = 0;

	for (c = 0; !ret && c < ARRAY_SIZE(counts); c++) {
		for (; !ret && nr < counts[c]; nr++) {
			for (s = 0; !ret && s < ARRAY_SIZE(scaling_schemes); s++) {
				others[s][nr] = bench_space_new(scaling_schemes[s], 1);
				ret = others[s][nr] ? add_place(others[s][nr], 0) : -ENOMEM;
			}
		}
		if (!ret)
			scaling_row("miss_mms", counts[c], 1, addr);
	}
	for (i = 0; !ret && i < nr; i++) {
		for (s = 0; s < ARRAY_SIZE(scaling_schemes); s++) {
			scaling_schemes[s]->del(others[s][i], bench_range(others[s][i], 0));
			bench_space_free(others[s][i]);
		}
		cond_resched();
	}
	return ret;
}

/* Return the address of range @i of 64K, at regular or at random distances. */
static unsigned long scaling_place(unsigned int i, bool scattered)
{
	return scattered ? bench_scattered(i) : PLACE(i);
}

static int scaling_add(unsigned int nr, bool scattered)
{
	unsigned int s, i;
	int ret = 0;

	for (s = 0; s < ARRAY_SIZE(scaling_schemes); s++) {
		struct bench_space *space = scaling_spaces[s];

		for (i = 0; !ret && i < nr; i++) {
			unsigned long start = scaling_place(i, scattered);

			ret = space->scheme->add(space, bench_range(space, i), start,
						 start + SIZE);
			if (!ret)
				space->nr++;
		}
	}
	/* Wait for work in the background, such as the growth of the filter. */
	msleep(50);
	return ret;
}

static void scaling_del(void)
{
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(scaling_schemes) && scaling_spaces[s]; s++) {
		struct bench_space *space = scaling_spaces[s];

		while (space->nr)
			space->scheme->del(space, bench_range(space, --space->nr));
	}
}

/* Choose pages in the gaps between ranges. */
static void scaling_choose(unsigned long *addr, unsigned int nr, bool scattered)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, 2019);
	for (i = 0; i < 2 * NR_ADDRESSES; i++) {
		unsigned int place = prandom_u32_state(&rnd) % nr;
		unsigned long from = scaling_place(place, scattered) + SIZE;
		unsigned long room = scaling_place(place + 1, scattered) - from;

		addr[i] = from + prandom_u32_state(&rnd) % (room / PAGE_SIZE) * PAGE_SIZE;
	}
}

static int scaling(void)
{
	const unsigned int nr = 4096;
	unsigned long *addr = kvcalloc(2 * NR_ADDRESSES, sizeof(*addr), GFP_KERNEL);
	unsigned int s;
	int ret = addr ? 0 : -ENOMEM;

	for (s = 0; !ret && s < ARRAY_SIZE(scaling_schemes); s++) {
		scaling_spaces[s] = bench_space_new(scaling_schemes[s], nr);
		ret = scaling_spaces[s] ? 0 : -ENOMEM;
	}
	if (!ret) {
		scaling_choose(addr, nr, false);
		scaling_row("nothing_threads", 1, 1, addr);
		scaling_row("nothing_threads", 2, 2, addr);
		ret = scaling_add(nr, false);
	}
	if (!ret) {
		scaling_row("miss_threads", 1, 1, addr);
		scaling_row("miss_threads", 2, 2, addr);
		ret = scaling_mms(addr);
		scaling_del();
	}
	if (!ret)
		ret = scaling_add(nr, true);
	if (!ret) {
		scaling_choose(addr, nr, true);
		scaling_row("scattered_threads", 1, 1, addr);
		scaling_row("scattered_threads", 2, 2, addr);
	}
	scaling_del();
	for (s = 0; s < ARRAY_SIZE(scaling_schemes) && scaling_spaces[s]; s++)
		bench_space_free(scaling_spaces[s]);
	kvfree(addr);
	return ret;
}

int bench_threads(void)
{
	unsigned int s, nr;
	int ret;

	if (num_online_cpus() < MAX_FAULTERS) {
		pr_err("bench: needs two CPUs\n");
		return -EINVAL;
	}
	ret = scaling();
	if (!ret)
		ret = latencies();
	for (nr = 1; nr <= MAX_FAULTERS; nr++)
		for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++)
			ret = throughput(schemes[s], nr);
	return ret;
}
