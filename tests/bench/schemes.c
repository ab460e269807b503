// SPDX-License-Identifier: GPL-2.0
/*
 * The schemes that are compared: no subscription, subscriptions that do nothing (a lower bound
 * for all schemes), mmu_interval_notifier, and hmm_mirror.
 */
#include <linux/slab.h>

#include "bench.h"
#include "hmm_mirror.h"

static int no_add(struct bench_space *space, void *range, unsigned long start,
		  unsigned long end)
{
	return 0;
}

static void no_del(struct bench_space *space, void *range) { }

static unsigned long no_begin(struct bench_space *space, void *range)
{
	return 0;
}

static bool no_retry(struct bench_space *space, void *range, unsigned long seq)
{
	return false;
}

/* Schemes without ranges only take the driver lock. */
static void no_begin_batch(struct bench_space *space, const unsigned int *order,
			   unsigned int nr)
{
	bench_begin_loop(space, order, nr, no_begin, no_retry);
}

static void no_cycle_batch(struct bench_space *space, const unsigned long *addr,
			   unsigned int nr)
{
	bench_cycle_loop(space, addr, nr, no_add, no_del, no_begin, no_retry);
}

/* ------------------------------------------------------------- no subscription */

static int none_attach(struct bench_space *space)
{
	return 0;
}

static void none_detach(struct bench_space *space) { }

const struct bench_scheme bench_none = {
	.name		= "none",
	.attach		= none_attach,
	.detach		= none_detach,
	.add		= no_add,
	.del		= no_del,
	.begin		= no_begin,
	.retry		= no_retry,
	.begin_batch	= no_begin_batch,
	.cycle_batch	= no_cycle_batch,
};

/* ------------------------------------------------ subscriptions that do nothing */

struct floor {
	struct mmu_notifier call;	/* start only, as in hmm_mirror.c */
	struct mmu_notifier count;
	bool both;
};

static int floor_start(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	return 0;
}

static void floor_end(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
}

static const struct mmu_notifier_ops floor_call_ops = {
	.invalidate_range_start	= floor_start,
};

static const struct mmu_notifier_ops floor_count_ops = {
	.invalidate_range_start	= floor_start,
	.invalidate_range_end	= floor_end,
};

static int floor_subscribe(struct bench_space *space, bool both)
{
	struct floor *f = kzalloc(sizeof(*f), GFP_KERNEL);
	int ret = 0;

	if (!f)
		return -ENOMEM;
	space->priv = f;
	f->both = both;
	f->call.ops = &floor_call_ops;
	f->count.ops = &floor_count_ops;
	if (both)
		ret = mmu_notifier_register(&f->call, space->mm);
	if (!ret)
		ret = mmu_notifier_register(&f->count, space->mm);
	return ret;
}

static int floor_attach(struct bench_space *space)
{
	return floor_subscribe(space, false);
}

static int floor2_attach(struct bench_space *space)
{
	return floor_subscribe(space, true);
}

static void floor_detach(struct bench_space *space)
{
	struct floor *f = space->priv;

	mmu_notifier_unregister(&f->count, space->mm);
	if (f->both)
		mmu_notifier_unregister(&f->call, space->mm);
	kfree(f);
}

const struct bench_scheme bench_floor = {
	.name		= "floor",
	.attach		= floor_attach,
	.detach		= floor_detach,
	.add		= no_add,
	.del		= no_del,
	.begin		= no_begin,
	.retry		= no_retry,
	.begin_batch	= no_begin_batch,
	.cycle_batch	= no_cycle_batch,
};

const struct bench_scheme bench_floor2 = {
	.name		= "floor2",
	.attach		= floor2_attach,
	.detach		= floor_detach,
	.add		= no_add,
	.del		= no_del,
	.begin		= no_begin,
	.retry		= no_retry,
	.begin_batch	= no_begin_batch,
	.cycle_batch	= no_cycle_batch,
};

/* --------------------------------------------------------- mmu_interval_notifier */

struct interval {
	struct mmu_interval_notifier notifier;
	struct bench_space *space;
};

static bool interval_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *update,
				unsigned long seq)
{
	struct interval *range = container_of(notifier, struct interval, notifier);
	struct bench_space *space = range->space;

	mutex_lock(&space->lock);
	mmu_interval_set_seq(notifier, seq);
	space->calls++;
	mutex_unlock(&space->lock);
	bench_flush(space, update);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = {
	.invalidate	= interval_invalidate,
};

static int interval_add(struct bench_space *space, void *p, unsigned long start,
			unsigned long end)
{
	struct interval *range = p;

	range->space = space;
	return mmu_interval_notifier_insert(&range->notifier, space->mm, start,
					    end - start, &interval_ops);
}

static void interval_del(struct bench_space *space, void *p)
{
	struct interval *range = p;

	mmu_interval_notifier_remove(&range->notifier);
}

static unsigned long interval_begin(struct bench_space *space, void *p)
{
	struct interval *range = p;

	return mmu_interval_read_begin(&range->notifier);
}

static bool interval_retry(struct bench_space *space, void *p, unsigned long seq)
{
	struct interval *range = p;

	return mmu_interval_read_retry(&range->notifier, seq);
}

static void interval_begin_batch(struct bench_space *space, const unsigned int *order,
				 unsigned int nr)
{
	bench_begin_loop(space, order, nr, interval_begin, interval_retry);
}

static void interval_cycle_batch(struct bench_space *space, const unsigned long *addr,
				 unsigned int nr)
{
	bench_cycle_loop(space, addr, nr, interval_add, interval_del, interval_begin,
			 interval_retry);
}

/* The first range allocates the interval tree of the mm, which stays until the mm is freed. */
static int interval_attach(struct bench_space *space)
{
	struct interval *range = kzalloc(sizeof(*range), GFP_KERNEL);
	int ret;

	if (!range)
		return -ENOMEM;
	ret = interval_add(space, range, PAGE_SIZE, 2 * PAGE_SIZE);
	if (!ret)
		interval_del(space, range);
	kfree(range);
	return ret;
}

const struct bench_scheme bench_interval = {
	.name		= "interval",
	.calls		= BENCH_FOR_EACH_HIT,
	.tracks		= true,
	.waits_for_all	= true,
	.range_bytes	= sizeof(struct mmu_interval_notifier),
	.attach		= interval_attach,
	.detach		= none_detach,
	.add		= interval_add,
	.del		= interval_del,
	.begin		= interval_begin,
	.retry		= interval_retry,
	.begin_batch	= interval_begin_batch,
	.cycle_batch	= interval_cycle_batch,
};

/* -------------------------------------------------------------------- hmm_mirror */

/* A range and what the schemes keep with it must fit. */
static_assert(sizeof(struct interval) <= BENCH_STRIDE);
static_assert(sizeof(struct hmm_mirror_range) <= BENCH_STRIDE);

struct mirror {
	struct hmm_mirror mirror;
	struct bench_space *space;
};

static int mirror_sync(struct hmm_mirror *m, const struct mmu_notifier_range *update)
{
	struct bench_space *space = container_of(m, struct mirror, mirror)->space;

	mutex_lock(&space->lock);
	space->calls++;
	mutex_unlock(&space->lock);
	bench_flush(space, update);
	return 0;
}

static void mirror_release(struct hmm_mirror *m) { }

static const struct hmm_mirror_ops mirror_all_ops = {
	.sync_cpu_device_pagetables	= mirror_sync,
	.release			= mirror_release,
};

static const struct hmm_mirror_ops mirror_ops = {
	.sync_cpu_device_pagetables	= mirror_sync,
	.release			= mirror_release,
	.flags				= HMM_MIRROR_TRACKED_ONLY,
};

static int mirror_attach_ops(struct bench_space *space, const struct hmm_mirror_ops *ops)
{
	struct mirror *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	space->priv = m;
	m->space = space;
	m->mirror.ops = ops;
	return hmm_mirror_attach(&m->mirror, space->mm);
}

static int mirror_attach(struct bench_space *space)
{
	return mirror_attach_ops(space, &mirror_ops);
}

static int mirror_all_attach(struct bench_space *space)
{
	return mirror_attach_ops(space, &mirror_all_ops);
}

static void mirror_detach(struct bench_space *space)
{
	struct mirror *m = space->priv;

	hmm_mirror_unregister(&m->mirror);
	kfree(m);
}

static int mirror_add(struct bench_space *space, void *p, unsigned long start,
		      unsigned long end)
{
	struct mirror *m = space->priv;
	struct hmm_mirror_range *range = p;

	range->start = start;
	range->end = end;
	return hmm_mirror_range_register(range, &m->mirror);
}

static void mirror_del(struct bench_space *space, void *p)
{
	hmm_mirror_range_unregister(p);
}

static unsigned long mirror_begin(struct bench_space *space, void *p)
{
	unsigned long seq;

	if (hmm_mirror_range_begin(p, &seq, HMM_MIRROR_DEFAULT_TIMEOUT))
		seq = 0;
	return seq;
}

static bool mirror_retry(struct bench_space *space, void *p, unsigned long seq)
{
	return hmm_mirror_range_retry(p, seq);
}

static void mirror_begin_batch(struct bench_space *space, const unsigned int *order,
			       unsigned int nr)
{
	bench_begin_loop(space, order, nr, mirror_begin, mirror_retry);
}

static void mirror_cycle_batch(struct bench_space *space, const unsigned long *addr,
			       unsigned int nr)
{
	bench_cycle_loop(space, addr, nr, mirror_add, mirror_del, mirror_begin,
			 mirror_retry);
}

const struct bench_scheme bench_mirror = {
	.name		= "hmm_mirror",
	.calls		= BENCH_IF_HIT,
	.tracks		= true,
	.range_bytes	= sizeof(struct hmm_mirror_range),
	.attach		= mirror_attach,
	.detach		= mirror_detach,
	.add		= mirror_add,
	.del		= mirror_del,
	.begin		= mirror_begin,
	.retry		= mirror_retry,
	.begin_batch	= mirror_begin_batch,
	.cycle_batch	= mirror_cycle_batch,
};

/* The driver is called for every invalidation. */
const struct bench_scheme bench_mirror_all = {
	.name		= "hmm_mirror_all",
	.calls		= BENCH_ALWAYS,
	.tracks		= true,
	.range_bytes	= sizeof(struct hmm_mirror_range),
	.attach		= mirror_all_attach,
	.detach		= mirror_detach,
	.add		= mirror_add,
	.del		= mirror_del,
	.begin		= mirror_begin,
	.retry		= mirror_retry,
	.begin_batch	= mirror_begin_batch,
	.cycle_batch	= mirror_cycle_batch,
};
