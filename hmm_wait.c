// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: begin(): wait until a range is valid, and take its sequence.
 *
 * Owns hmm->waiters, hmm->nr_waiters, hmm->stats.waits and hmm->stats.longest_wait_ns, which change
 * under hmm->lock. If the range is clean, begin() is one load. If the range is dirty, begin() takes
 * hmm->lock and searches the slots. If no slot intersects the range, begin() cleans it: nothing in
 * flight can change its pages. Otherwise begin() sleeps until the invalidation in an intersecting
 * slot has ended, and searches again.
 *
 *	fault side				mm side
 *
 *						start:
 *						  slot in flight
 *						  state = seq', dirty
 *						change CPU page table
 *						end: slot free			(release)
 *	begin(): state is dirty: lock
 *	  no slot intersects			(acquire)
 *	  state = seq', clean			(release)
 *	  unlock
 *	reads CPU page table
 *						another thread's begin():
 *						  state is clean		(acquire)
 *						  reads CPU page table
 *
 *	[begin() returns seq' and the fault side reads an old entry: never (clean.litmus)]
 */
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "internal.h"
#include "hmm_trace.h"

#define DIRTY		HMM_MIRROR_RANGE_DIRTY
/* hmm_mirror_range_wait_until_valid() has returned true for this sequence. */
#define WAITED		HMM_MIRROR_RANGE_WAITED

/* Convert a timeout in milliseconds to jiffies. */
long hmm_mirror_timeout(unsigned int timeout_ms)
{
	if (timeout_ms == HMM_MIRROR_WAIT_FOREVER)
		return MAX_SCHEDULE_TIMEOUT;
	return msecs_to_jiffies(timeout_ms);
}

/* Return the rest of a timeout that began at @since; all in jiffies. */
long hmm_mirror_timeout_left(long timeout, unsigned long since)
{
	if (timeout == MAX_SCHEDULE_TIMEOUT)
		return timeout;
	return max(timeout - (long)(jiffies - since), 0L);
}

/* Account a wait that began at @since, in ns; with hmm->lock held. */
static void wait_ended(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
		       u64 since, int ret)
{
	u64 waited = ktime_get_ns() - since;

	lockdep_assert_held(&hmm->lock);
	hmm->stats.waits++;
	hmm->stats.longest_wait_ns = max(hmm->stats.longest_wait_ns, waited);
	trace_hmm_mirror_wait_end(hmm->mm, range, waited, ret);
}

static int range_wait(struct hmm_mirror_range *range, unsigned long *seq, long timeout)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_registered(range);
	struct hmm_mirror_waiter w = { .range = range, .task = current };
	unsigned long start, last;
	struct hmm_mirror_slot *slot;
	DEFINE_WAIT(entry);
	int ret = 0;

	if (!hmm)
		return -ESRCH;

	spin_lock(&hmm->lock);
	hmm_mirror_mm_get_locked(hmm);
	list_add_tail(&w.list, &hmm->waiters);
	hmm->nr_waiters++;
	for (;;) {
		if (!w.range || !range->mirror || hmm->dead) {
			ret = -ESRCH;
			break;
		}
		slot = hmm_mirror_slot_intersecting(hmm, range);
		if (!slot) {
			*seq = hmm_mirror_range_clean(range);
			break;
		}
		if (!timeout) {
			ret = -ETIME;
			break;
		}
		if (range->mirror->cancelled) {
			ret = -ECANCELED;
			break;
		}
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		hmm_mirror_slot_ensure_end(hmm, slot);
		/* Pairs with waitqueue_active() in slot_wake(): sleep.litmus. */
		prepare_to_wait(&slot->waiters, &entry, TASK_KILLABLE);
		/* The end of an invalidation frees a hashed slot without hmm->lock. */
		if (unlikely(!hmm_mirror_slot_bounds(slot, range, &start, &last))) {
			finish_wait(&slot->waiters, &entry);
			continue;
		}
		w.slot = slot;
		if (!w.since) {
			w.since = ktime_get_ns();
			trace_hmm_mirror_wait_begin(hmm->mm, range, start, last + 1);
		}
		spin_unlock(&hmm->lock);
		timeout = schedule_timeout(timeout);
		finish_wait(&slot->waiters, &entry);
		spin_lock(&hmm->lock);
	}
	list_del(&w.list);
	hmm->nr_waiters--;
	if (w.since)
		wait_ended(hmm, range, w.since, ret);
	hmm_mirror_mm_put_unlock(hmm);
	return ret;
}

static bool range_try(const struct hmm_mirror_range *range, unsigned long *seq)
{
	/*
	 * Pairs with smp_store_release() in range_clean(): if the range is clean, this
	 * thread then sees each change of the page table that the mm made before the
	 * range was cleaned (clean.litmus).
	 */
	unsigned long state = smp_load_acquire(&range->state);

	if (unlikely(state & DIRTY))
		return false;
	*seq = state;
	return true;
}

/* Do hmm_mirror_range_begin() with a timeout in jiffies. */
int hmm_mirror_begin(struct hmm_mirror_range *range, unsigned long *seq, long timeout)
{
	if (timeout)
		hmm_mirror_might_wait();
	return range_try(range, seq) ? 0 : range_wait(range, seq, timeout);
}

/**
 * hmm_mirror_range_begin() - wait until a range is valid, and take its sequence
 * @range: a registered range
 * @seq: set to the sequence, for hmm_mirror_range_retry(), if 0 is returned
 * @timeout_ms: in milliseconds; 0 does not wait, %HMM_MIRROR_WAIT_FOREVER never times out
 *
 * If the range is clean, this is one load. Otherwise this waits only for invalidations
 * that intersect the range, however many others are in flight. If an invalidation shares a
 * slot, because memory for a slot of its own came too late or not at all, this waits for it
 * too. Several threads can call this for one range at once, each with its own sequence.
 *
 * Context: process context, may sleep. The caller holds neither the mmap lock nor a lock
 * that a callback takes. With a @timeout_ms of 0 this does not sleep, and the caller may
 * hold spinlocks that no interrupt handler takes.
 * Return: 0; -ETIME if the range did not become valid in time; -ECANCELED if this had to wait
 * and hmm_mirror_cancel() was called; -EINTR on a fatal signal; -ESRCH if the mm is dead or
 * the mirror unregistered.
 */
int hmm_mirror_range_begin(struct hmm_mirror_range *range, unsigned long *seq,
			   unsigned int timeout_ms)
{
	if (timeout_ms)
		hmm_mirror_might_wait();
	if (likely(range_try(range, seq)))
		return 0;
	return range_wait(range, seq, hmm_mirror_timeout(timeout_ms));
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_begin);

/* Set WAITED in the state of @range, unless its sequence has changed since @seq. */
static void range_waited(struct hmm_mirror_range *range, unsigned long seq)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	/* Pairs with READ_ONCE() in hmm_mirror_range_valid(): retry.litmus. */
	if (range->state == seq)
		WRITE_ONCE(range->state, seq | WAITED);
	spin_unlock(&hmm->lock);
}

/**
 * hmm_mirror_range_wait_until_valid() - wait until a range is valid (2019 API)
 * @range: a registered range
 * @timeout_ms: as of hmm_mirror_range_begin()
 *
 * Records the wait in the range, for hmm_mirror_range_valid(), so only one thread may use
 * the range. hmm_mirror_range_retry() may then return true, without an invalidation, for a
 * sequence that was taken before.
 *
 * Context: as of hmm_mirror_range_begin().
 * Return: true if the range is valid; false on a timeout, on a fatal signal, after
 * hmm_mirror_cancel(), if the mm is dead, or if the mirror is unregistered.
 */
bool hmm_mirror_range_wait_until_valid(struct hmm_mirror_range *range,
				       unsigned int timeout_ms)
{
	unsigned long seq;

	if (hmm_mirror_range_begin(range, &seq, timeout_ms))
		return false;
	if (!(seq & WAITED))
		range_waited(range, seq);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_wait_until_valid);
