// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: the filter, which rejects most invalidations that hit no range.
 *
 * Owns hmm->filter, hmm->levels, hmm->level_ranges and hmm->rebounds, which change under
 * hmm->lock. filter_may_hit() reads all but level_ranges without the lock.
 *
 * For each range, the address space is divided into chunks that are at least as large as the
 * range. So the range lies in at most two chunks, those of its first and last address, and the
 * cells to which these hash count the range. If an invalidation lies in one chunk and its cell
 * counts no range, the invalidation hits no range with chunks of that size. If the cell counts
 * a single range, in another sub-cell, the invalidation does not hit that range either.
 *
 * A filter without sub-cells was measured with 65536 ranges at random distances: 23 instead of 11
 * of 100 misses reach the tree, and a miss takes 28 instructions more. It would need more than 4
 * times as many cells to be as good.
 *
 * Chunk sizes ("levels") are powers of 4, so that there are few. The largest chunks are the
 * halves of the address space, and no range lies in more than two of these.
 *
 * Invariant: while a range is in the tree, hmm->levels has its level and its cells count it.
 * A registration writes the cells, issues a full barrier and reads the slots; an invalidation
 * publishes itself in a slot, issues a full barrier and reads the cells. So at least one of
 * the two sees the other (publish.litmus; the ladder is in hmm_range.c). If a range moves, its
 * new cells count it before its old cells uncount it. Likewise, during an invalidation a driver
 * may register a range, and then unregister another one that covers the same addresses:
 *
 *	invalidation				resize, hmm->lock held
 *
 *	new cell: 0
 *						new cell: counts the range
 *						rebounds++
 *						old cell: 0
 *	old cell: 0
 *	rebounds has changed: may hit
 *
 *	[both cells are 0 and rebounds has not changed: never (rebound.litmus)]
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "compat/memcg.h"
#include "hmm_filter.h"

/* Initial capacity in ranges, and cells per range. */
#define FILTER_RANGES	64U
#define FILTER_LOAD	4

/*
 * Count (@delta = 1) or uncount (-1) a range of @chunk. A cell that has saturated keeps its
 * count until the filter is replaced.
 */
static void cell_count(struct hmm_mirror_filter *filter, unsigned long chunk, int delta)
{
	u64 place = filter_place(filter, chunk);
	u8 *cell = filter_cell(filter, place);

	/* Pairs with READ_ONCE() in filter_may_hit(): publish.litmus. */
	if (likely(*cell < CELL_MANY))
		WRITE_ONCE(*cell, (*cell + delta * CELL_RANGE) ^ cell_part(place));
	else if (delta < 0)
		filter->stale++;
}

/* Count (@delta = 1) or uncount (-1) a range of @level. */
void hmm_mirror_filter_count(struct hmm_mirror_filter *filter, unsigned long level,
			     unsigned long start, unsigned long last, int delta)
{
	cell_count(filter, start >> level, delta);
	if (start >> level != last >> level)
		cell_count(filter, last >> level, delta);
}

/*
 * Return the number of ranges that a new filter should have room for, or 0 if none is needed;
 * with hmm->lock held.
 */
unsigned int hmm_mirror_filter_wants(const struct hmm_mirror_mm *hmm)
{
	return filter_is_full(hmm) ? hmm->nr_ranges + 1 : 0;
}

/* Count (@delta = 1) or uncount (-1) a range in @filter, which invalidations do not read yet. */
void hmm_mirror_filter_fill(struct hmm_mirror_filter *filter, unsigned long start,
			    unsigned long end, int delta)
{
	hmm_mirror_filter_count(filter, filter_level(start, end - 1), start, end - 1, delta);
}

/*
 * Replace the filter by @filter, which counts the same ranges; with hmm->lock held. Return
 * the old filter, which invalidations may read in the SRCU section of the mmu notifiers.
 */
struct hmm_mirror_filter *hmm_mirror_filter_replace(struct hmm_mirror_mm *hmm,
						    struct hmm_mirror_filter *filter)
{
	struct hmm_mirror_filter *old = hmm->filter;

	/* Pairs with READ_ONCE() in filter_may_hit(): grown.litmus. */
	smp_store_release(&hmm->filter, filter);
	return old;
}

/*
 * Allocate a filter for at least @ranges ranges. Charge the memory cgroup of @mm, even if a
 * worker allocates.
 */
struct hmm_mirror_filter *hmm_mirror_filter_alloc(struct mm_struct *mm, unsigned int ranges)
{
	/* A power of 2, including the members before the cells. */
	size_t size = roundup_pow_of_two((size_t)max(ranges, FILTER_RANGES) * FILTER_LOAD);
	struct mem_cgroup *old = hmm_mirror_compat_charge_begin(mm);
	struct hmm_mirror_filter *filter = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	hmm_mirror_compat_charge_end(old);
	if (filter) {
		filter->nr = size - sizeof(*filter);
		filter->room = size / FILTER_LOAD;
	}
	return filter;
}
