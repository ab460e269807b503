// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: references to struct hmm_mirror_mm, and a list of all of them for debugfs. Also the
 * workqueue and the lockdep maps that all files use.
 *
 * Owns hmm->users, which changes under hmm->lock. Each of the two subscriptions, each queued
 * work item, each waiter, each thread that reads the CPU page table (hmm_read.c), each orphan
 * range (one that has outlived its mirror) and a reader of debugfs holds a reference. A mirror
 * holds a reference on the subscription "start" instead.
 *
 * Invariant: when users becomes 0, both subscriptions have been freed, so no invalidation and no
 * register() can find the structure; only a reader of debugfs can, under mms_lock, and mm_get()
 * refuses it.
 */
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"

/* Allocated by hmm_mirror.c. Runs work items, and subscribes for threads with a signal. */
struct workqueue_struct *hmm_mirror_wq;

#ifdef CONFIG_LOCKDEP
static struct lock_class_key hmm_mirror_invalidate_key, hmm_mirror_nested_key;
struct lockdep_map hmm_mirror_invalidate_map =
	STATIC_LOCKDEP_MAP_INIT("hmm_mirror_invalidate", &hmm_mirror_invalidate_key);
struct lockdep_map hmm_mirror_nested_map =
	STATIC_LOCKDEP_MAP_INIT("hmm_mirror_invalidate/nested", &hmm_mirror_nested_key);
#endif

static DEFINE_SPINLOCK(mms_lock);	/* protects mms; hmm->lock nests inside */
static LIST_HEAD(mms);

/* Enter a new @hmm in the list. */
void hmm_mirror_mm_add(struct hmm_mirror_mm *hmm)
{
	spin_lock(&mms_lock);
	list_add_tail(&hmm->mms, &mms);
	spin_unlock(&mms_lock);
}

/* Return false if the last reference has been dropped. */
static bool mm_get(struct hmm_mirror_mm *hmm)
{
	bool alive;

	spin_lock(&hmm->lock);
	alive = hmm->users;
	hmm->users += alive;
	spin_unlock(&hmm->lock);
	return alive;
}

/*
 * Drop the reference to @hmm, and return the next one in the list, or NULL, with a reference.
 * If @hmm is NULL, return the first one.
 */
struct hmm_mirror_mm *hmm_mirror_mm_next(struct hmm_mirror_mm *hmm)
{
	struct hmm_mirror_mm *next;

	spin_lock(&mms_lock);
	next = list_prepare_entry(hmm, &mms, mms);
	list_for_each_entry_continue(next, &mms, mms)
		if (mm_get(next))
			break;
	if (list_entry_is_head(next, &mms, mms))
		next = NULL;
	spin_unlock(&mms_lock);

	if (hmm)
		hmm_mirror_mm_put(hmm);
	return next;
}

static void mm_free(struct work_struct *work)
{
	struct hmm_mirror_mm *hmm = container_of(work, struct hmm_mirror_mm, free_work);
	struct hmm_mirror_slots *slots, *next;

	for (slots = hmm->more; slots; slots = next) {
		next = slots->next;
		kvfree(slots);
	}
	kvfree(hmm->filter);
	mmdrop(hmm->mm);
	kfree(hmm);
}

/*
 * Drop a reference and unlock hmm->lock. If it was the last reference, let a worker free @hmm:
 * kvfree() may sleep, and the caller may hold a spinlock.
 */
void hmm_mirror_mm_put_unlock(struct hmm_mirror_mm *hmm)
	__releases(&hmm->lock)
{
	bool last;

	lockdep_assert_held(&hmm->lock);
	last = !--hmm->users;
	spin_unlock(&hmm->lock);
	if (!last)
		return;
	spin_lock(&mms_lock);
	list_del(&hmm->mms);
	spin_unlock(&mms_lock);
	INIT_WORK(&hmm->free_work, mm_free);
	queue_work(hmm_mirror_wq, &hmm->free_work);
}

/* Drop a reference. If it was the last one, a worker frees @hmm. */
void hmm_mirror_mm_put(struct hmm_mirror_mm *hmm)
{
	spin_lock(&hmm->lock);
	hmm_mirror_mm_put_unlock(hmm);
}
