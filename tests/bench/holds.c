// SPDX-License-Identifier: GPL-2.0
/*
 * How long an operation on very many ranges delays other threads: the longest time that a
 * thread on another CPU needs for a short operation that takes the same lock.
 */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "bench.h"
#include "hmm_mirror.h"

#define MIRRORS		16U
#define BASE		SZ_1G
#define PLACE(i)	(BASE + (i) * 2UL * PAGE_SIZE)
#define ROUNDS		7U

/* Ranges, which belong to MIRRORS mirrors in turn, and one range of the observer. */
static struct {
	struct mm_struct *mm;
	unsigned int nr;
	struct hmm_mirror mirror[MIRRORS + 1];
	struct hmm_mirror_range *range;
	struct hmm_mirror_range own;
	struct mmu_interval_notifier *interval;
	struct mmu_interval_notifier own_interval;
} many;

static int nothing(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	return 0;
}

static void died(struct hmm_mirror *mirror)
{
}

static const struct hmm_mirror_ops mirror_ops = {
	.sync_cpu_device_pagetables	= nothing,
	.release			= died,
	.flags				= HMM_MIRROR_TRACKED_ONLY,
};

static bool interval_nothing(struct mmu_interval_notifier *interval,
			     const struct mmu_notifier_range *update, unsigned long seq)
{
	mmu_interval_set_seq(interval, seq);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = { .invalidate = interval_nothing };

/* --------------------------------------------------------------------- observer */

static void short_mirror(void)
{
	many.own.start = PLACE(-2UL);
	many.own.end = many.own.start + PAGE_SIZE;
	if (!hmm_mirror_range_register(&many.own, &many.mirror[MIRRORS]))
		hmm_mirror_range_unregister(&many.own);
}

static void short_interval(void)
{
	mmu_interval_read_begin(&many.own_interval);
}

struct observer {
	void (*fn)(void);
	struct task_struct *task;
	bool begun;
	s64 longest;
};

static int observe(void *arg)
{
	struct observer *me = arg;

	while (!kthread_should_stop()) {
		u64 from = ktime_get_ns();

		me->fn();
		me->longest = max_t(s64, me->longest, ktime_get_ns() - from);
		WRITE_ONCE(me->begun, true);
		cond_resched();
	}
	return 0;
}

static int observer_begin(struct observer *me, void (*fn)(void))
{
	*me = (struct observer) { .fn = fn };
	me->task = kthread_create(observe, me, "observer");
	if (IS_ERR(me->task))
		return PTR_ERR(me->task);
	kthread_bind(me->task, 1);
	wake_up_process(me->task);
	while (!READ_ONCE(me->begun))
		usleep_range(20, 50);
	me->longest = 0;
	return 0;
}

static s64 observer_end(struct observer *me)
{
	kthread_stop(me->task);
	return me->longest * 100;
}

/* ------------------------------------------------------------------- operations */

static int mirrors_attach(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i <= MIRRORS; i++) {
		many.mirror[i].ops = &mirror_ops;
		ret = hmm_mirror_attach(&many.mirror[i], many.mm);
	}
	return ret;
}

static void ranges_register(void)
{
	unsigned int i;

	for (i = 0; i < many.nr; i++) {
		many.range[i].start = PLACE(i);
		many.range[i].end = PLACE(i) + PAGE_SIZE;
		if (hmm_mirror_range_register(&many.range[i], &many.mirror[i % MIRRORS]))
			panic("bench: no range");
		if (!(i % 4096))
			cond_resched();
	}
	/* Wait until the filter has grown. */
	msleep(50);
}

static void ranges_unregister(void)
{
	unsigned int i;

	for (i = 0; i < many.nr; i++) {
		hmm_mirror_range_unregister(&many.range[i]);
		if (!(i % 4096))
			cond_resched();
	}
}

static void invalidate_all(void)
{
	struct mmu_notifier_range update;

	mmu_notifier_range_init(&update, MMU_NOTIFY_CLEAR, 0, many.mm, PLACE(0),
				PLACE(many.nr));
	mmu_notifier_invalidate_range_start(&update);
	mmu_notifier_invalidate_range_end(&update);
}

static void unregister_one(void)
{
	hmm_mirror_unregister(&many.mirror[0]);
}

static void exits(void)
{
	mmput(many.mm);
}

static const struct {
	const char *row;
	void (*fn)(void);
} operations[] = {
	{ "hold_register", ranges_register },
	{ "hold_hit", invalidate_all },
	{ "hold_unregister", unregister_one },
	{ "hold_exit", exits },
};

static s64 cost[ARRAY_SIZE(operations)][ROUNDS];

/* Measure all operations, one after the other, on a new mm. */
static int mirror_round(unsigned int round)
{
	struct observer observer;
	unsigned int i;
	int ret;

	many.mm = mm_alloc();
	if (!many.mm)
		return -ENOMEM;
	ret = mirrors_attach();
	for (i = 0; !ret && i < ARRAY_SIZE(operations); i++) {
		ret = observer_begin(&observer, short_mirror);
		if (ret)
			break;
		operations[i].fn();
		cost[i][round] = observer_end(&observer);
	}
	ranges_unregister();
	for (i = 1; i <= MIRRORS; i++)
		hmm_mirror_unregister(&many.mirror[i]);
	return ret;
}

static int interval_add(struct mmu_interval_notifier *interval, unsigned long i)
{
	return mmu_interval_notifier_insert(interval, many.mm, PLACE(i), PAGE_SIZE,
					    &interval_ops);
}

/*
 * Measure mmu_interval_notifier. It inserts and removes single ranges, so only hits can take
 * long.
 */
static int interval_rounds(unsigned int rounds)
{
	struct observer observer;
	unsigned int i, round;
	int ret;

	many.mm = mm_alloc();
	if (!many.mm)
		return -ENOMEM;
	ret = interval_add(&many.own_interval, many.nr + 1);
	for (i = 0; !ret && i < many.nr; i++) {
		ret = interval_add(&many.interval[i], i);
		if (!(i % 4096))
			cond_resched();
	}
	for (round = 0; !ret && round < rounds; round++) {
		ret = observer_begin(&observer, short_interval);
		if (ret)
			break;
		invalidate_all();
		cost[0][round] = observer_end(&observer);
	}
	if (ret)
		return ret;
	for (i = 0; i < many.nr; i++) {
		mmu_interval_notifier_remove(&many.interval[i]);
		if (!(i % 4096))
			cond_resched();
	}
	mmu_interval_notifier_remove(&many.own_interval);
	mmput(many.mm);
	return 0;
}

static int holds(unsigned int nr)
{
	const unsigned int rounds = bench_quick ? 3 : ROUNDS;
	unsigned int i;
	int ret = -ENOMEM;

	many.nr = nr;
	many.range = kvcalloc(nr, sizeof(*many.range), GFP_KERNEL);
	if (many.range)
		ret = 0;
	for (i = 0; !ret && i < rounds; i++)
		ret = mirror_round(i);
	kvfree(many.range);
	for (i = 0; !ret && i < ARRAY_SIZE(operations); i++)
		bench_print_costs(operations[i].row, "hmm_mirror", nr, cost[i], rounds);
	if (ret)
		return ret;

	many.interval = kvcalloc(nr, sizeof(*many.interval), GFP_KERNEL);
	ret = many.interval ? interval_rounds(rounds) : -ENOMEM;
	kvfree(many.interval);
	if (!ret)
		bench_print_costs("hold_hit", "interval", nr, cost[0], rounds);
	return ret;
}

int bench_holds(void)
{
	int ret = holds(65536);

	return ret ?: holds(1048576);
}
