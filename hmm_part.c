// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: parts of ranges.
 *
 * Owns struct hmm_mirror_part, and decides which of them are in the tree hmm->parts (hmm_tree.c).
 * That changes under hmm->lock.
 *
 * A range has one sequence, so a fault of some of its pages collides with invalidations of
 * all the others. If that happens again and again, hmm_mirror_range_populate() registers the
 * pages as a range of its own, a part, for one round. hmm_mirror_range_commit() finds the part
 * by its sequence and the pages.
 *
 * Invariant: a part in hmm->parts lies inside its range, so the core calls the driver for all
 * device PTEs that @commit installs. When range_rebound() changes the bounds of a range, it raises
 * the parts that stay inside, and makes orphans of the others:
 *
 *	fault side				resize, under the driver's lock
 *
 *	part: register, begin, read
 *						change bounds; the part: raise,
 *						or take out of hmm->parts
 *	lock(driver)
 *	commit: no part has the sequence
 *	unlock(driver)
 *
 *	[a device PTE outside of the range: never]
 */
#include "hmm_tree.h"

/*
 * Register @part, which has its bounds set, as a part of @range. Return 0; -ESRCH; -EINVAL if
 * @part is no longer inside @range.
 */
int hmm_mirror_part_register(struct hmm_mirror_part *part, struct hmm_mirror_range *range)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	int ret = 0;

	spin_lock(&hmm->lock);
	if (hmm->dead || !range->mirror) {
		ret = -ESRCH;
	} else if (part->range.start < range->start || part->range.end > range->end) {
		ret = -EINVAL;
	} else {
		part->of = range;
		hmm_mirror_range_attach(hmm, &part->range, range->mirror, &hmm->parts);
	}
	spin_unlock(&hmm->lock);
	return ret;
}

void hmm_mirror_part_unregister(struct hmm_mirror_part *part)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(&part->range);

	spin_lock(&hmm->lock);
	hmm_mirror_range_release(hmm, &hmm->parts, &part->range);
}

/*
 * Return true if @seq is the sequence of a part of @range that contains the pages of @fault, and is
 * still valid. One invalidation gives the same sequence to all that it hits, so the sequence alone
 * does not tell which pages were read: there may be a part of other pages with that sequence.
 */
bool hmm_mirror_part_is_valid(const struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	struct hmm_mirror_range *part;
	bool valid = false;

	/* The driver has unregistered the range. */
	if (!hmm)
		return false;
	spin_lock(&hmm->lock);
	for (part = tree_first(&hmm->parts, fault->start, fault->end); part && !valid;
	     part = tree_next(part, fault->start, fault->end))
		valid = container_of(part, struct hmm_mirror_part, range)->of == range &&
			part->start <= fault->start && fault->end <= part->end &&
			!hmm_mirror_range_retry(part, seq);
	spin_unlock(&hmm->lock);
	return valid;
}
