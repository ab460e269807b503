// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: find the ranges of a mirror by address.
 *
 * Owns no data; reads the tree of a mirror under hmm->lock. The caller makes sure that a range
 * which it gets stays registered, see hmm_mirror_for_each_range() and hmm_mirror_range_lookup().
 */
#include <linux/export.h>
#include <linux/mm.h>

#include "hmm_tree.h"

/* Return the per-mm structure of @mirror. If @mirror is not registered, warn and return NULL. */
static struct hmm_mirror_mm *mirror_registered(const struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm = mirror ? mirror->hmm : NULL;

	WARN_ONCE(!hmm, "hmm_mirror: search for ranges of a mirror that is not registered: stop the threads that search before hmm_mirror_unregister()\n");
	return hmm;
}

/**
 * hmm_mirror_range_first() - find the first range of a mirror that intersects
 * @mirror: the mirror
 * @start: first address
 * @end: first address after the interval
 *
 * Context: see hmm_mirror_for_each_range().
 * Return: the range, or NULL.
 */
struct hmm_mirror_range *hmm_mirror_range_first(struct hmm_mirror *mirror,
						unsigned long start,
						unsigned long end)
{
	struct hmm_mirror_mm *hmm = mirror_registered(mirror);
	struct hmm_mirror_range *range;

	if (!hmm)
		return NULL;
	spin_lock(&hmm->lock);
	range = start < end ? tree_first(&mirror->ranges, start, end) : NULL;
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_first);

/**
 * hmm_mirror_range_next() - find the next range of the same mirror that intersects
 * @range: from hmm_mirror_range_first() or hmm_mirror_range_next()
 * @start: first address
 * @end: first address after the interval
 *
 * Context: see hmm_mirror_for_each_range().
 * Return: the range, or NULL.
 */
struct hmm_mirror_range *hmm_mirror_range_next(struct hmm_mirror_range *range,
					       unsigned long start,
					       unsigned long end)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_registered(range);

	if (!hmm)
		return NULL;
	spin_lock(&hmm->lock);
	/* If the mirror has been unregistered, the range is in no tree. */
	range = range->mirror && start < end ? tree_next(range, start, end) : NULL;
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_next);

/**
 * hmm_mirror_range_lookup() - find the range of a mirror at an address
 * @mirror: the mirror
 * @addr: any address
 * @get: takes a reference on the driver's structure that embeds the range, with
 *	kref_get_unless_zero() for example, and returns true on success; or NULL
 *
 * The core does not count references to ranges. While @get runs, the range cannot be
 * unregistered. So if the driver unregisters a range and frees it when its last reference is
 * dropped, the caller needs no lock. If @get is NULL, the caller holds the lock under which
 * the driver unregisters ranges.
 *
 * Context: process context or a callback, does not sleep. The caller may hold spinlocks that
 * no interrupt handler takes. @get runs under a spinlock and must not call hmm_mirror.
 * Return: the first range, in ascending order of start, that contains @addr and for which
 * @get, if any, returned true; else NULL. If @get fails for more than 64 ranges, this may miss
 * a range that gets other bounds meanwhile.
 */
struct hmm_mirror_range *
hmm_mirror_range_lookup(struct hmm_mirror *mirror, unsigned long addr,
			bool (*get)(struct hmm_mirror_range *range))
{
	/* Ranges consist of pages, so any address of the page will do; addr + 1 can wrap. */
	struct hmm_mirror_walk walk = {
		.start = addr & PAGE_MASK,
		.end = (addr & PAGE_MASK) + 1,
		.left = HMM_MIRROR_WALK_RANGES,
	};
	struct hmm_mirror_mm *hmm = mirror_registered(mirror);
	struct hmm_mirror_range *range;

	if (!hmm)
		return NULL;
	spin_lock(&hmm->lock);
	range = tree_first(&mirror->ranges, walk.start, walk.end);
	while (range && get && !get(range))
		range = walk_next(hmm, &walk, range);
	spin_unlock(&hmm->lock);
	return range;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_lookup);
