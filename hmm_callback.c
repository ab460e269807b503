// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: callbacks of the mirrors, in two passes.
 *
 * Owns the member @calling of each slot, for debugfs; only the thread whose invalidation is in the
 * slot writes it, without a lock. Called after all ranges have been raised, in the SRCU section of
 * the mmu notifiers, which protects the walk over hmm->mirrors.
 *
 * Invariant: after each sync_start() that has returned 0, the same thread calls sync_finish() once
 * before the start of the invalidation returns.
 */
#include <linux/rculist.h>

#include "hmm_inject.h"
#include "hmm_trace.h"
#include "internal.h"

/*
 * One more than the number of mirrors whose two passes can overlap; the other mirrors share
 * the last entry in turn. On the stack, because an invalidation must not allocate.
 */
#define NR_PASSES	8

/*
 * If a callback must not sleep, it may return -EAGAIN, which the mm gets. Any other error
 * is a driver bug. Warn and ignore it, because the mm would not stop for it.
 */
static int sync_failed(const struct hmm_mirror *mirror, const struct mmu_notifier_range *update,
		       int ret)
{
	bool blockable = mmu_notifier_range_blockable(update);

	if (ret == -EAGAIN && !blockable) {
		trace_hmm_mirror_nonblock_failure(mirror, update);
		return ret;
	}
	WARN_ONCE(1, "hmm_mirror: a callback of %ps returned %d in a %sblockable invalidation: it must remove the device PTEs and return 0, or -EAGAIN if it would have to sleep and must not\n",
		  mirror->ops, ret, blockable ? "" : "non-");
	return 0;
}

static int sync_one(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	int ret = hmm_mirror_inject_start(update);

	if (likely(!ret))
		ret = mirror->ops->sync_cpu_device_pagetables(mirror, update);
	return likely(!ret) ? 0 : sync_failed(mirror, update, ret);
}

static bool mirror_is_hit(struct hmm_mirror *mirror, const struct hmm_mirror *hit,
			  const struct mmu_notifier_range *update)
{
	if (mirror == hit || !(mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY))
		return true;
	return hit && hmm_mirror_ranges_hit(mirror, update);
}

/*
 * Run the callbacks of @mirror and of the mirrors after it in two passes. Single-pass mirrors
 * are called during the first pass.
 */
static int sync_passes(struct hmm_mirror *mirror, struct hmm_mirror_slot *slot,
		       const struct hmm_mirror *hit, const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	struct hmm_mirror_pass pass[NR_PASSES] __uninitialized;
	unsigned int i, nr = 0;
	int ret = 0;

	list_for_each_entry_from_rcu(mirror, &hmm->mirrors, list) {
		struct hmm_mirror_pass *p = &pass[nr];

		if (!mirror_is_hit(mirror, hit, update))
			continue;

		WRITE_ONCE(slot->calling, mirror);
		if (!mirror->ops->sync_start) {
			ret = sync_one(mirror, update);
		} else {
			p->mirror = mirror;
			p->update = update;
			ret = hmm_mirror_inject_start(update);
			if (!ret)
				ret = mirror->ops->sync_start(mirror, update, p);
			if (!ret && nr < NR_PASSES - 1)
				nr++;
			else if (!ret)	/* no entry is left: finish, and reuse this one */
				mirror->ops->sync_finish(mirror, p);
			else
				ret = sync_failed(mirror, update, ret);
		}
		if (ret)
			break;
	}

	for (i = 0; i < nr; i++) {
		WRITE_ONCE(slot->calling, pass[i].mirror);
		pass[i].mirror->ops->sync_finish(pass[i].mirror, &pass[i]);
	}
	return ret;
}

/*
 * Run the callbacks for @update, which is in @slot, until one fails. @hit is a mirror that is
 * hit, or NULL.
 */
int hmm_mirror_call(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update,
		    struct hmm_mirror_slot *slot, const struct hmm_mirror *hit)
{
	struct lockdep_map *map = hmm_mirror_callbacks_begin();
	struct hmm_mirror *mirror;
	int ret = 0;

	/*
	 * The SRCU that protects this walk is private to mm/mmu_notifier.c, so lockdep
	 * cannot check it. Pairs with list_add_tail_rcu() in hmm_mirror_register():
	 * mirror_publish.litmus.
	 */
	list_for_each_entry_srcu(mirror, &hmm->mirrors, list, true) {
		if (!mirror_is_hit(mirror, hit, update))
			continue;
		WRITE_ONCE(slot->calling, mirror);
		if (unlikely(mirror->ops->sync_start)) {
			ret = sync_passes(mirror, slot, hit, update);
			break;
		}
		ret = sync_one(mirror, update);
		if (unlikely(ret))
			break;
	}
	WRITE_ONCE(slot->calling, NULL);
	hmm_mirror_callbacks_end(map);
	return ret;
}
