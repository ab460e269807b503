// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: references to struct hmm_mirror_mm.
 *
 * Owns hmm->users, which changes under hmm->lock. Each of the two subscriptions, each queued
 * work item, each waiter and each orphan range (one that has outlived its mirror) holds a
 * reference. A mirror holds a reference on the subscription "start" instead.
 */
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"

static void mm_free(struct hmm_mirror_mm *hmm)
{
	hmm_mirror_debug_del(hmm);
	kvfree(hmm->filter);
	mmdrop(hmm->mm);
	kfree(hmm);
}

/* Drop a reference and unlock hmm->lock. If it was the last reference, free @hmm. */
void hmm_mirror_mm_put_unlock(struct hmm_mirror_mm *hmm)
	__releases(&hmm->lock)
{
	bool last;

	lockdep_assert_held(&hmm->lock);
	last = !--hmm->users;
	spin_unlock(&hmm->lock);
	if (last)
		mm_free(hmm);
}

/* Drop a reference. If it was the last one, free @hmm. */
void hmm_mirror_mm_put(struct hmm_mirror_mm *hmm)
{
	spin_lock(&hmm->lock);
	hmm_mirror_mm_put_unlock(hmm);
}
