/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: the filter: the paths that every invalidation or registration takes. See
 * hmm_filter.c for the design.
 */
#ifndef HMM_MIRROR_FILTER_H
#define HMM_MIRROR_FILTER_H

#include <linux/bitops.h>
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/minmax.h>

#include "internal.h"

/* The value of one range in the count of a cell, and the count of a saturated cell. */
#define CELL_RANGE	HMM_MIRROR_CELL_PARTS
#define CELL_MANY	(U8_MAX & -CELL_RANGE)

static inline unsigned long filter_level(unsigned long start, unsigned long last)
{
	return min(round_up(__fls(last - start) + 1, 2), 63UL);
}

/* Return the index of a cell in the upper 32 bits, the position in the cell in the lower. */
static inline u64 filter_place(const struct hmm_mirror_filter *filter, unsigned long chunk)
{
	return (u64)((u32)chunk * GOLDEN_RATIO_32) * filter->nr;
}

static inline u8 *filter_cell(struct hmm_mirror_filter *filter, u64 place)
{
	return &filter->cell[place >> 32];
}

static inline u32 cell_part(u64 place)
{
	return (u32)place >> (32 - ilog2(HMM_MIRROR_CELL_PARTS));
}

/* Return true if @cell counts a single range, in another sub-cell than that of @place. */
static inline bool cell_is_elsewhere(u32 cell, u64 place)
{
	cell ^= cell_part(place);
	return cell > CELL_RANGE && cell < 2 * CELL_RANGE;
}

static inline bool filter_is_full(const struct hmm_mirror_mm *hmm)
{
	return max(hmm->nr_ranges, hmm->filter->stale) >= hmm->filter->room;
}

/* Count a range; with hmm->lock held. Return true if the filter should be replaced. */
static inline bool filter_add(struct hmm_mirror_mm *hmm, unsigned long start,
			      unsigned long end)
{
	unsigned long last = end - 1, level = filter_level(start, last);
	u64 place = filter_place(hmm->filter, start >> level);
	u8 *cell = filter_cell(hmm->filter, place);

	/*
	 * This store and those to the cells pair with READ_ONCE() in filter_may_hit():
	 * publish.litmus.
	 */
	if (unlikely(!++hmm->level_ranges[level]))
		WRITE_ONCE(hmm->levels, hmm->levels | BIT_ULL(level));
	if (likely(start >> level == last >> level && !*cell)) {
		WRITE_ONCE(*cell, CELL_RANGE + cell_part(place));
		return false;
	}
	hmm_mirror_filter_count(hmm->filter, level, start, last, 1);
	return filter_is_full(hmm);
}

/* Uncount a range; with hmm->lock held. */
static inline void filter_remove(struct hmm_mirror_mm *hmm, unsigned long start,
				 unsigned long end)
{
	unsigned long last = end - 1, level = filter_level(start, last);
	u8 *cell = filter_cell(hmm->filter, filter_place(hmm->filter, start >> level));

	if (unlikely(--hmm->level_ranges[level] < 0))
		WRITE_ONCE(hmm->levels, hmm->levels & ~BIT_ULL(level));
	if (likely(start >> level == last >> level && *cell < 2 * CELL_RANGE))
		WRITE_ONCE(*cell, 0);
	else
		hmm_mirror_filter_count(hmm->filter, level, start, last, -1);
}

/*
 * Called after the new cells of a range count it, and before other cells uncount its old bounds,
 * or another range with the same addresses. An invalidation that reads the former cells too early,
 * and the latter too late, sees hmm->rebounds change and takes the lock.
 */
static inline void filter_moved(struct hmm_mirror_mm *hmm)
{
	/* Pairs with smp_load_acquire() in filter_may_hit(): rebound.litmus. */
	smp_store_release(&hmm->rebounds, hmm->rebounds + 1);
	/* Pairs with smp_rmb() in filter_may_hit(): rebound.litmus. */
	smp_wmb();
}

/*
 * Return false if [@start, @last] hits no range. Called without hmm->lock, after the full
 * barrier in slot_claim(): publish.litmus. If an invalidation lies in one chunk of the
 * smallest level in use, it lies in one chunk of each larger level.
 */
static inline bool filter_may_hit(struct hmm_mirror_mm *hmm, unsigned long start,
				  unsigned long last)
{
	/* Pairs with smp_store_release() in filter_moved(): rebound.litmus. */
	unsigned int rebounds = smp_load_acquire(&hmm->rebounds);
	u64 levels = READ_ONCE(hmm->levels);
	struct hmm_mirror_filter *filter;
	u8 level;

	if (!levels)
		return false;
	level = __ffs64(levels);
	if ((start ^ last) >> level)
		return true;

	/*
	 * Pairs with smp_store_release() in hmm_mirror_filter_replace(): grown.litmus. If
	 * this reads the old filter, a thread that registers a range in the new one sees
	 * this invalidation in flight: grow.litmus.
	 */
	filter = READ_ONCE(hmm->filter);
	while (true) {
		u64 place = filter_place(filter, start >> level);
		u32 cell = READ_ONCE(*filter_cell(filter, place));

		if (unlikely(cell) && !cell_is_elsewhere(cell, place))
			return true;
		levels &= levels - 1;
		if (likely(!levels))
			break;
		level = __ffs64(levels);
	}

	/*
	 * If a range moves, each of its cells may have been read while the other one
	 * counted the range. Pairs with smp_wmb() in filter_moved(): rebound.litmus.
	 */
	smp_rmb();
	return READ_ONCE(hmm->rebounds) != rebounds;
}

#endif /* HMM_MIRROR_FILTER_H */
