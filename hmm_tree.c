// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: interval trees of ranges.
 *
 * Owns the tree of each mirror (mirror->ranges), that of the parts (hmm->parts), the members rb and
 * subtree_last of each range in a tree, and hmm->walks. They change under hmm->lock. The walk of an
 * invalidation raises ranges: it takes a new sequence from hmm->seq, and writes it to the state of
 * each range that it visits (hmm_range.c).
 *
 * A walk over many ranges drops hmm->lock after each HMM_MIRROR_WALK_RANGES ranges, so that no
 * thread spins for longer than it takes to visit these. Before the walk drops the lock, it notes
 * the range with which it will go on. A thread that takes this range out of its tree moves the note
 * on to the next range. The walk may miss a range that is inserted meanwhile, so its caller must
 * not depend on that range.
 */
#include <linux/sched.h>

#include "hmm_trace.h"
#include "hmm_tree.h"

/*
 * @range leaves its tree. Each walk that would go on with @range goes on with the next one; with
 * hmm->lock held.
 */
void hmm_mirror_tree_skip(struct hmm_mirror_mm *hmm, struct hmm_mirror_range *range)
{
	struct hmm_mirror_walk *walk;

	hlist_for_each_entry(walk, &hmm->walks, list)
		if (walk->next == range)
			walk->next = tree_next(range, walk->start, walk->end);
}

/* Let other threads have hmm->lock. The caller has noted in walk->next where to go on. */
void hmm_mirror_walk_pause(struct hmm_mirror_mm *hmm, struct hmm_mirror_walk *walk)
	__must_hold(&hmm->lock)
{
	hlist_add_head(&walk->list, &hmm->walks);
	spin_unlock(&hmm->lock);
	trace_hmm_mirror_walk_pause(hmm->mm, walk);
	if (walk->may_sleep)
		cond_resched();
	else
		cpu_relax();
	spin_lock(&hmm->lock);
	hlist_del(&walk->list);
	walk->left = HMM_MIRROR_WALK_RANGES;
}

/* Raise up to @left ranges, @range first, and subtract them from @left. Return the next one. */
static struct hmm_mirror_range *raise_piece(struct hmm_mirror_range *range, unsigned long start,
					    unsigned long end, unsigned long seq,
					    unsigned int *left)
{
	unsigned int nr = *left;

	do {
		hmm_mirror_range_raise(range, seq);
		range = tree_next(range, start, end);
	} while (--nr && range);
	*left = nr;
	return range;
}

/*
 * Raise all ranges that intersect [start, end), the first of which is in the subtree of @rb.
 * @left more may be raised before hmm->lock must be dropped.
 *
 * If hmm->lock is dropped, a range that is registered or gets other bounds meanwhile is missed.
 * It is dirty anyway, because the caller has published the invalidation, or the mm has died.
 */
void hmm_mirror_tree_raise_below(struct hmm_mirror_mm *hmm, struct rb_node *rb,
				 unsigned long start, unsigned long end,
				 const struct mmu_notifier_range *update, unsigned int *left)
{
	struct hmm_mirror_walk walk = {
		.next = tree_subtree_search(range_of(rb), start + 1, end - 1),
		.start = start,
		.end = end,
		.may_sleep = !update || mmu_notifier_range_blockable(update),
	};

	while (walk.next) {
		hmm->seq += HMM_MIRROR_SEQ_STEP;
		walk.next = raise_piece(walk.next, start, end, hmm->seq, left);
		if (*left)
			continue;
		/* Also behind the last range, because other trees follow. */
		hmm_mirror_walk_pause(hmm, &walk);
		*left = HMM_MIRROR_WALK_RANGES;
	}
}

/* Raise all parts that intersect; for trees_raise(). */
void hmm_mirror_parts_raise(struct hmm_mirror_mm *hmm, unsigned long start, unsigned long end,
			    const struct mmu_notifier_range *update, unsigned int *left)
{
	tree_raise(hmm, &hmm->parts, start, end, update, left);
}

/*
 * Count the ranges of all mirrors that @update, which is not empty, intersects; with hmm->lock
 * held, which this drops after each HMM_MIRROR_WALK_RANGES ranges. The count is for a tracepoint:
 * it may miss ranges that are registered meanwhile.
 */
unsigned long hmm_mirror_tree_count(struct hmm_mirror_mm *hmm,
				    const struct mmu_notifier_range *update)
{
	struct hmm_mirror_walk walk = {
		.start = update->start,
		.end = update->end,
		.left = HMM_MIRROR_WALK_RANGES,
		.may_sleep = mmu_notifier_range_blockable(update),
	};
	struct hmm_mirror_range *range;
	struct hmm_mirror *mirror;
	unsigned long nr = 0;

	list_for_each_entry(mirror, &hmm->mirrors, list)
		for (range = tree_first(&mirror->ranges, walk.start, walk.end); range;
		     range = walk_next(hmm, &walk, range))
			nr++;
	return nr;
}

static unsigned int depth_of(const struct rb_node *rb)
{
	unsigned int depth = 0;

	while ((rb = rb_parent(rb)))
		depth++;
	return depth;
}

/* Return true if @a comes before @b, another range in the same tree; with hmm->lock held. */
bool hmm_mirror_tree_is_before(const struct hmm_mirror_range *a,
			       const struct hmm_mirror_range *b)
{
	const struct rb_node *x = &a->rb, *y = &b->rb, *from_x = NULL, *from_y = NULL;
	int deeper = depth_of(x) - depth_of(y);

	for (; deeper > 0; deeper--, x = rb_parent(x))
		from_x = x;
	for (; deeper < 0; deeper++, y = rb_parent(y))
		from_y = y;
	while (x != y) {
		from_x = x;
		x = rb_parent(x);
		y = rb_parent(y);
	}
	/* Below the node where both paths meet, @a is on the left, or @b is on the right. */
	return from_x ? from_x == x->rb_left : from_y == x->rb_right;
}
