// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: growth of the filter.
 *
 * Owns hmm->growth and mirror->counted, which change under hmm->lock; the ranges of a new mirror
 * are counted. If the filter has more ranges than room, or is stale, a worker fills a new filter
 * and replaces the old one.
 *
 * The worker counts the ranges in pieces, between which other threads register and unregister
 * ranges. The place where the worker goes on divides the ranges: those before it are counted in
 * the new filter, those after it are not. So a thread that puts a range into a tree or takes one
 * out counts or uncounts it in the new filter, too, if the range is before that place.
 *
 *	worker, hmm->lock held			unregister, hmm->lock held
 *
 *	count ranges, up to the place
 *	unlock
 *						old filter: uncount the range
 *						before the place? new filter: uncount it
 *	lock, count the others
 *	replace the filter
 *
 *	[the new filter counts a range that has gone, or lacks one: never]
 *
 * Invalidations read the old filter until it is replaced.
 */
#include <linux/mmu_notifier.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "hmm_filter.h"
#include "hmm_tree.h"

/*
 * A filter is being filled: count (@delta = 1) or uncount (-1) @range, which is in @root, there,
 * unless growth_fill() will visit @range.
 */
void hmm_mirror_growth_count(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			     const struct hmm_mirror_range *range, int delta)
{
	const struct hmm_mirror_growth *growth = hmm->growth;
	const struct hmm_mirror_range *next = growth->walk.next;

	if (root == &hmm->parts || range->mirror->counted ||
	    (range->mirror == growth->mirror && range != next &&
	     (!next || hmm_mirror_tree_is_before(range, next))))
		hmm_mirror_filter_fill(growth->filter, range->start, range->end, delta);
}

/*
 * Count all ranges in @growth->filter; with hmm->lock held, which this drops after each
 * HMM_MIRROR_WALK_RANGES ranges.
 */
static void growth_fill(struct hmm_mirror_mm *hmm, struct hmm_mirror_growth *growth)
{
	struct hmm_mirror_walk *walk = &growth->walk;
	struct hmm_mirror_range *range;
	struct hmm_mirror *mirror;

	list_for_each_entry(mirror, &hmm->mirrors, list)
		mirror->counted = false;
	for (range = tree_first(&hmm->parts, 0, ULONG_MAX); range;
	     range = tree_next(range, 0, ULONG_MAX))
		hmm_mirror_filter_fill(growth->filter, range->start, range->end, 1);
	hmm->growth = growth;

	/*
	 * A mirror that is taken off the list meanwhile stays in memory, and leads to the
	 * next one, because hmm_mirror_unregister() waits until this has returned.
	 */
	list_for_each_entry(mirror, &hmm->mirrors, list) {
		if (mirror->counted)
			continue;
		growth->mirror = mirror;
		for (range = tree_first(&mirror->ranges, 0, ULONG_MAX); range;
		     range = walk_next(hmm, walk, range))
			hmm_mirror_filter_fill(growth->filter, range->start, range->end, 1);
		mirror->counted = true;
	}
	hmm->growth = NULL;
}

/*
 * Replace the filter by one with room for all ranges. Until then, a filter that is too small
 * or stale rejects fewer misses.
 */
static void filter_grow(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, grow);
	struct hmm_mirror_growth growth = {
		.walk = {
			.end = ULONG_MAX,
			.left = HMM_MIRROR_WALK_RANGES,
			.may_sleep = true,
		},
	};
	struct hmm_mirror_filter *old;
	unsigned int ranges;

	spin_lock(&hmm->lock);
	ranges = hmm_mirror_filter_wants(hmm);
	spin_unlock(&hmm->lock);

	if (ranges)
		growth.filter = hmm_mirror_filter_alloc(hmm->mm, ranges);
	if (growth.filter) {
		spin_lock(&hmm->lock);
		growth_fill(hmm, &growth);
		old = hmm_mirror_filter_replace(hmm, growth.filter);
		spin_unlock(&hmm->lock);
		wake_up_all(&hmm->worked);

		/* Invalidations read the filter in this SRCU section. */
		mmu_notifier_synchronize();
		kvfree(old);
	}
	hmm_mirror_mm_put(hmm);
}

static bool is_growing(struct hmm_mirror_mm *hmm)
{
	bool growing;

	spin_lock(&hmm->lock);
	growing = hmm->growth;
	spin_unlock(&hmm->lock);
	return growing;
}

/*
 * Wait until the worker does not use a mirror that has been taken off the list. This does not
 * flush the work item, because the driver may call hmm_mirror_unregister() from a workqueue with
 * WQ_MEM_RECLAIM.
 */
void hmm_mirror_growth_wait(struct hmm_mirror_mm *hmm)
{
	wait_event(hmm->worked, !is_growing(hmm));
}

/* Let a worker replace the filter; with hmm->lock held. */
void hmm_mirror_growth_start(struct hmm_mirror_mm *hmm)
{
	if (queue_work(hmm_mirror_wq, &hmm->grow))
		hmm_mirror_mm_get_locked(hmm);
}

void hmm_mirror_growth_init(struct hmm_mirror_mm *hmm)
{
	INIT_WORK(&hmm->grow, filter_grow);
}
