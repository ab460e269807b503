// SPDX-License-Identifier: GPL-2.0
/*
 * The scheme of hmm_mirror until Linux 5.5: a list of ranges, each with a boolean. An
 * invalidation clears it, and the end of the last invalidation in flight of the mm sets it.
 * The scheme misses a start and an end between two checks. Only its costs are of interest.
 */
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "bench.h"

struct old_mm {
	struct mmu_notifier mn;
	struct bench_space *space;
	spinlock_t lock;	/* protects the members below, and valid of each range */
	struct list_head ranges;
	long in_flight;
	wait_queue_head_t idle;
};

struct old_range {
	struct list_head list;
	unsigned long start, end;
	bool valid;
};

static int old_start(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	struct old_mm *old = container_of(mn, struct old_mm, mn);
	struct bench_space *space = old->space;
	struct old_range *range;
	bool hit = false;

	spin_lock(&old->lock);
	old->in_flight++;
	list_for_each_entry(range, &old->ranges, list) {
		if (update->start < range->end && update->end > range->start) {
			range->valid = false;
			hit = true;
		}
	}
	spin_unlock(&old->lock);

	if (hit) {
		mutex_lock(&space->lock);
		space->calls++;
		mutex_unlock(&space->lock);
		bench_flush(space, update);
	}
	return 0;
}

static void old_end(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	struct old_mm *old = container_of(mn, struct old_mm, mn);
	struct old_range *range;

	spin_lock(&old->lock);
	if (!--old->in_flight) {
		list_for_each_entry(range, &old->ranges, list)
			range->valid = true;
		wake_up_all(&old->idle);
	}
	spin_unlock(&old->lock);
}

static const struct mmu_notifier_ops old_ops = {
	.invalidate_range_start	= old_start,
	.invalidate_range_end	= old_end,
};

static int old_attach(struct bench_space *space)
{
	struct old_mm *old = kzalloc(sizeof(*old), GFP_KERNEL);

	if (!old)
		return -ENOMEM;
	space->priv = old;
	old->space = space;
	old->mn.ops = &old_ops;
	spin_lock_init(&old->lock);
	INIT_LIST_HEAD(&old->ranges);
	init_waitqueue_head(&old->idle);
	return mmu_notifier_register(&old->mn, space->mm);
}

static void old_detach(struct bench_space *space)
{
	struct old_mm *old = space->priv;

	mmu_notifier_unregister(&old->mn, space->mm);
	kfree(old);
}

static int old_add(struct bench_space *space, void *p, unsigned long start,
		   unsigned long end)
{
	struct old_mm *old = space->priv;
	struct old_range *range = p;

	range->start = start;
	range->end = end;
	spin_lock(&old->lock);
	range->valid = !old->in_flight;
	list_add(&range->list, &old->ranges);
	spin_unlock(&old->lock);
	return 0;
}

static void old_del(struct bench_space *space, void *p)
{
	struct old_mm *old = space->priv;
	struct old_range *range = p;

	spin_lock(&old->lock);
	list_del(&range->list);
	spin_unlock(&old->lock);
}

static unsigned long old_begin(struct bench_space *space, void *p)
{
	struct old_mm *old = space->priv;
	struct old_range *range = p;

	wait_event_timeout(old->idle, READ_ONCE(range->valid), HZ);
	return 0;
}

static bool old_retry(struct bench_space *space, void *p, unsigned long seq)
{
	struct old_range *range = p;

	return !READ_ONCE(range->valid);
}

static void old_begin_batch(struct bench_space *space, const unsigned int *order,
			    unsigned int nr)
{
	bench_begin_loop(space, order, nr, old_begin, old_retry);
}

static void old_cycle_batch(struct bench_space *space, const unsigned long *addr,
			    unsigned int nr)
{
	bench_cycle_loop(space, addr, nr, old_add, old_del, old_begin, old_retry);
}

const struct bench_scheme bench_2019 = {
	.name		= "2019",
	.calls		= BENCH_IF_HIT,
	.tracks		= true,
	.linear		= true,
	.waits_for_all	= true,
	.range_bytes	= sizeof(struct old_range),
	.attach		= old_attach,
	.detach		= old_detach,
	.add		= old_add,
	.del		= old_del,
	.begin		= old_begin,
	.retry		= old_retry,
	.begin_batch	= old_begin_batch,
	.cycle_batch	= old_cycle_batch,
};
