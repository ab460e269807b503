// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: the interval tree of all ranges of an mm.
 *
 * Owns hmm->ranges, and the members rb and subtree_last of each range in the tree. They
 * change under hmm->lock.
 */
#include "hmm_tree.h"

/*
 * Raise all ranges that intersect [start, end). The first of them is in the subtree of @rb.
 * Return the mirror of that one.
 */
const struct hmm_mirror *
hmm_mirror_tree_raise_below(struct rb_node *rb, unsigned long start, unsigned long end,
			    unsigned long seq)
{
	struct hmm_mirror_range *range = tree_subtree_search(range_of(rb), start + 1, end - 1);
	const struct hmm_mirror *hit = range->mirror;

	do {
		hmm_mirror_range_raise(range, seq);
		range = tree_next(range, start, end);
	} while (range);
	return hit;
}

/* Count the ranges that intersect [start, end), for a tracepoint. */
unsigned long hmm_mirror_tree_count(struct hmm_mirror_mm *hmm, unsigned long start,
				    unsigned long end)
{
	struct hmm_mirror_range *range;
	unsigned long nr = 0;

	for (range = tree_first(hmm, start, end); range; range = tree_next(range, start, end))
		nr++;
	return nr;
}
