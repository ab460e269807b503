/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: interval trees of ranges: the paths of each registration, and of each invalidation
 * that hits. See hmm_tree.c for the design.
 */
#ifndef HMM_MIRROR_TREE_H
#define HMM_MIRROR_TREE_H

#include <linux/interval_tree_generic.h>
#include <linux/rbtree.h>

#include "internal.h"

static inline struct hmm_mirror_range *range_of(struct rb_node *rb)
{
	return rb_entry(rb, struct hmm_mirror_range, rb);
}

/*
 * The kernel's interval tree has closed intervals. A range is inserted as [start, end], one
 * byte too long, so a search for [start, end) uses [start + 1, end - 1].
 */
#define RANGE_START(range)	((range)->start)
#define RANGE_END(range)	((range)->end)

INTERVAL_TREE_DEFINE(struct hmm_mirror_range, rb, unsigned long, subtree_last,
		     RANGE_START, RANGE_END, static inline, tree)

/*
 * Return the first range in @root, in ascending order of start, that intersects [start, end),
 * which is not empty.
 */
static inline struct hmm_mirror_range *tree_first(struct rb_root_cached *root,
						  unsigned long start, unsigned long end)
{
	return tree_iter_first(root, start + 1, end - 1);
}

/* Return the next range after @range that intersects. */
static inline struct hmm_mirror_range *tree_next(struct hmm_mirror_range *range,
						 unsigned long start, unsigned long end)
{
	return tree_iter_next(range, start + 1, end - 1);
}

/* Return the next range of a walk after @range. If @walk has visited many, drop hmm->lock once. */
static inline struct hmm_mirror_range *walk_next(struct hmm_mirror_mm *hmm,
						 struct hmm_mirror_walk *walk,
						 struct hmm_mirror_range *range)
{
	range = tree_next(range, walk->start, walk->end);
	if (walk->left)
		walk->left--;
	if (likely(walk->left) || !range)
		return range;
	walk->next = range;
	hmm_mirror_walk_pause(hmm, walk);
	return walk->next;
}

/*
 * Raise all ranges in @root that intersect [start, end). Return true if there is one. With
 * hmm->lock held, which this drops after each HMM_MIRROR_WALK_RANGES ranges.
 *
 * If at most one range intersects, one descent finds it. A range that starts before @end is
 * on the path, or in a left subtree beside it. The root of that subtree knows the highest end
 * of its ranges.
 */
static inline bool tree_raise(struct hmm_mirror_mm *hmm, struct rb_root_cached *root,
			      unsigned long start, unsigned long end,
			      const struct mmu_notifier_range *update, unsigned int *left)
{
	unsigned long seq = hmm->seq + HMM_MIRROR_SEQ_STEP;
	struct rb_node *rb = root->rb_root.rb_node;
	bool hit = false;

	while (rb) {
		struct hmm_mirror_range *range = range_of(rb);

		if (range->start >= end) {
			rb = rb->rb_left;
			continue;
		}
		if (rb->rb_left && unlikely(range_of(rb->rb_left)->subtree_last > start)) {
			hmm_mirror_tree_raise_below(hmm, rb->rb_left, start, end, update, left);
			return true;
		}
		if (range->end > start) {
			hmm_mirror_range_raise(range, seq);
			hmm->seq = seq;
			hit = true;
		}
		rb = rb->rb_right;
	}
	return hit;
}

/*
 * Raise all ranges of all mirrors that intersect [start, end), which is not empty, and all such
 * parts; with hmm->lock held, which this drops after each HMM_MIRROR_WALK_RANGES ranges. Return
 * a mirror of one of the ranges, or NULL. @update is the cause, or NULL if the mm dies.
 *
 * A mirror that is taken off the list meanwhile stays in memory, and leads to the next one,
 * because the caller is in the SRCU section of the mmu notifiers.
 */
static inline const struct hmm_mirror *trees_raise(struct hmm_mirror_mm *hmm,
						   unsigned long start, unsigned long end,
						   const struct mmu_notifier_range *update)
{
	unsigned int left = HMM_MIRROR_WALK_RANGES;
	const struct hmm_mirror *hit = NULL;
	struct hmm_mirror *mirror;

	list_for_each_entry(mirror, &hmm->mirrors, list)
		if (tree_raise(hmm, &mirror->ranges, start, end, update, &left))
			hit = mirror;
	if (unlikely(hmm->parts.rb_root.rb_node))
		hmm_mirror_parts_raise(hmm, start, end, update, &left);
	return hit;
}

#endif /* HMM_MIRROR_TREE_H */
