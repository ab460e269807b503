// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: the filter, which rejects most invalidations that hit no range.
 *
 * Owns hmm->filter, hmm->levels, hmm->level_ranges and hmm->rebounds, which change under
 * hmm->lock. filter_may_hit() reads all but level_ranges without the lock.
 *
 * Addresses are cut into chunks, and each range is counted in the cells to which the chunks
 * of its first and of its last address hash. A chunk is at least as large as the range, so
 * the range lies in no other chunk. If an invalidation lies in one chunk and the count of its
 * cell is 0, it hits no range with chunks of that size. It hits none either if the cell
 * counts a single range, and that range is in another sub-cell.
 *
 * Sizes of chunks ("levels") are powers of 4, so there are few of them. The largest are
 * halves of the address space: a range of any length has no address outside its first and
 * its last half.
 *
 * Invariant: while a range is in the tree, its level is in hmm->levels and its cells count
 * it. A registration writes the cells, issues a full barrier and looks for invalidations in
 * flight; an invalidation publishes itself, issues a full barrier and reads the cells. So at
 * least one of the two sees the other (publish.litmus; the ladder is in hmm_range.c). A range
 * that moves is in the new cells before it leaves the old ones:
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
 *	[the invalidation finds neither, and rebounds as it was: never (rebound.litmus)]
 */
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "compat/memcg.h"
#include "hmm_filter.h"

/* Initial capacity in ranges, and cells per range. */
#define FILTER_RANGES	64U
#define FILTER_LOAD	4

/* A saturated cell stays so until the filter is replaced. */
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

/* Count or uncount a range of a level, in one cell or two. */
void hmm_mirror_filter_count(struct hmm_mirror_filter *filter, unsigned long level,
			     unsigned long start, unsigned long last, int delta)
{
	cell_count(filter, start >> level, delta);
	if (start >> level != last >> level)
		cell_count(filter, last >> level, delta);
}

/* Return the number of ranges for which a new filter is due, or 0. With hmm->lock held. */
unsigned int hmm_mirror_filter_wants(const struct hmm_mirror_mm *hmm)
{
	return filter_is_full(hmm) ? hmm->nr_ranges + 1 : 0;
}

/* Count a range in a filter that invalidations do not read yet. */
void hmm_mirror_filter_fill(struct hmm_mirror_filter *filter, unsigned long start,
			    unsigned long end)
{
	hmm_mirror_filter_count(filter, filter_level(start, end - 1), start, end - 1, 1);
}

/*
 * Replace the filter by @filter, which counts the same ranges, with hmm->lock held. Return
 * the old one, which invalidations inside the SRCU section of the mmu notifiers still read.
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
 * Allocate a filter for @ranges to 2 * @ranges ranges. The control group of the process
 * pays, also where a worker allocates.
 */
struct hmm_mirror_filter *hmm_mirror_filter_alloc(struct mm_struct *mm, unsigned int ranges)
{
	/* a power of 2, with what is in front of the cells */
	size_t size = roundup_pow_of_two((size_t)max(ranges, FILTER_RANGES) * FILTER_LOAD);
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	struct mem_cgroup *old = hmm_mirror_compat_set_active_memcg(memcg);
	struct hmm_mirror_filter *filter = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	hmm_mirror_compat_set_active_memcg(old);
	mem_cgroup_put(memcg);
	if (filter) {
		filter->nr = size - sizeof(*filter);
		filter->room = size / FILTER_LOAD;
	}
	return filter;
}
