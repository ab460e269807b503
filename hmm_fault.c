// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: read CPU page table entries of a range, fault pages in, and run the
 * collision-retry loop.
 *
 * Owns hmm->stats.collisions, which changes under hmm->lock. The caller owns the pfns, and
 * may use them only after retry() under the driver lock has returned false.
 */
#include <linux/bitmap.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "internal.h"
#include "hmm_inject.h"
#include "hmm_trace.h"

/*
 * Pages that are read under one hold of the mmap lock. A writer of the mmap lock waits for
 * one chunk at most, and a collision is detected after each chunk.
 */
#define CHUNK_PAGES	512
#define CHUNK_SIZE	(CHUNK_PAGES * PAGE_SIZE)

static bool fault_is_valid(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
			   const struct hmm_mirror_fault *fault)
{
	bool inside;

	/* hmm_mirror_range_resize() may change the bounds. */
	spin_lock(&hmm->lock);
	inside = fault->start >= range->start && fault->end <= range->end;
	spin_unlock(&hmm->lock);

	return inside && hmm_mirror_fault_has_pages(fault);
}

/*
 * Return 0 if @fault lies in @range. If not, the bounds of @range may have changed since
 * @seq was taken: then return -EBUSY.
 */
int hmm_mirror_fault_check(const struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm;

	if (!fault || !fault->pfns)
		return -EINVAL;
	hmm = hmm_mirror_range_registered(range);
	if (!hmm)
		return -ESRCH;
	if (!fault_is_valid(hmm, range, fault))
		return hmm_mirror_range_retry(range, seq) ? -EBUSY : -EINVAL;
	return 0;
}

/*
 * Requests by page of one chunk. hmm_range_fault() overwrites them with its results, up to
 * the page at which it fails, so they must be restored before a second read.
 */
struct requests {
	DECLARE_BITMAP(fault, CHUNK_PAGES);
	DECLARE_BITMAP(write, CHUNK_PAGES);
};

static unsigned long nr_pages(const struct hmm_range *args)
{
	return (args->end - args->start) >> PAGE_SHIFT;
}

static noinline void requests_save(struct requests *requests, const struct hmm_range *args)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		unsigned long req = args->hmm_pfns[i] & args->pfn_flags_mask;

		__assign_bit(i, requests->fault, req & HMM_PFN_REQ_FAULT);
		__assign_bit(i, requests->write, req & HMM_PFN_REQ_WRITE);
	}
}

/* Keep the other bits of the pfns: hmm_range_fault() carries some from input to output. */
static noinline void requests_restore(const struct requests *requests,
				      const struct hmm_range *args)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		args->hmm_pfns[i] &= ~(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
		if (test_bit(i, requests->fault))
			args->hmm_pfns[i] |= HMM_PFN_REQ_FAULT;
		if (test_bit(i, requests->write))
			args->hmm_pfns[i] |= HMM_PFN_REQ_WRITE;
	}
}

/*
 * hmm_range_fault() never drops the mmap lock. If a fault handler needs that, as userfaultfd
 * does, hmm_range_fault() returns -EFAULT, as for an invalid access. fixup_user_fault() may
 * drop the lock. The caller then reads again, so that hmm_range_fault() tells the two apart.
 */
static int fault_unlocked(struct mm_struct *mm, const struct hmm_range *args)
{
	unsigned long i;
	bool unlocked;
	int ret = 0;

	for (i = 0; !ret && i < nr_pages(args); i++) {
		unsigned long req = args->default_flags |
				    (args->hmm_pfns[i] & args->pfn_flags_mask);

		if (req & HMM_PFN_REQ_FAULT)
			ret = fixup_user_fault(mm, args->start + (i << PAGE_SHIFT),
					       req & HMM_PFN_REQ_WRITE ? FAULT_FLAG_WRITE : 0,
					       &unlocked);
	}
	return ret;
}

static int read_stable(struct mm_struct *mm, struct hmm_range *args)
{
	/*
	 * If the OOM reaper has unmapped pages of the mm, a fault would find zeroes where
	 * the process had data. Pages that the reaper unmaps after this check are
	 * invalidated, so this fault collides.
	 */
	if (check_stable_address_space(mm))
		return -ESRCH;
	return hmm_range_fault(args);
}

/*
 * If there are no requests by page, only hmm_range_fault() writes to the pfns, under the
 * mmap lock, because other threads may be reading them.
 */
static int read_chunk(struct mm_struct *mm, struct hmm_range *args)
{
	struct requests requests __uninitialized;
	int ret;

	if (args->pfn_flags_mask)
		requests_save(&requests, args);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = read_stable(mm, args);
	if (ret == -EFAULT) {
		if (args->pfn_flags_mask)
			requests_restore(&requests, args);
		ret = fault_unlocked(mm, args);
		if (ret != -EINTR)
			ret = read_stable(mm, args);
	}
	mmap_read_unlock(mm);
	return ret;
}

/* Count a collision. The driver must not unregister @range during a fault. */
static int range_collided(struct hmm_mirror_range *range,
			  const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);

	spin_lock(&hmm->lock);
	hmm->stats.collisions++;
	spin_unlock(&hmm->lock);
	trace_hmm_mirror_collision(hmm->mm, range, fault->start, fault->end);
	return -EBUSY;
}

/*
 * hmm_range_fault() needs an mmu_interval_notifier, of which it reads only the mm and the
 * sequence. Pass a stub that is on no list and whose sequence never changes, and check the
 * sequence of @range after each chunk instead. If hmm_range_fault() saw the sequence of
 * @range, a write fault that breaks COW would end it at each page, because breaking COW
 * invalidates that page: the driver would need as many faults as there are pages, instead
 * of two.
 */
static int range_read(struct hmm_mirror_range *range, unsigned long seq,
		      struct hmm_mirror_fault *fault, bool snapshot)
{
	struct mmu_interval_notifier stub = {};
	struct hmm_range args = { .notifier = &stub };
	unsigned long addr, next;
	struct mm_struct *mm;
	int ret = 0;

	might_sleep();
	ret = hmm_mirror_fault_check(range, seq, fault);
	if (ret)
		return ret;

	mm = hmm_mirror_range_mm(range)->mm;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	stub.mm = mm;
	args.dev_private_owner = fault->dev_private_owner;
	if (!snapshot) {
		args.default_flags = fault->default_flags;
		args.pfn_flags_mask = fault->pfn_flags_mask &
				      (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	}

	trace_hmm_mirror_fault_begin(mm, range, fault->start, fault->end);
	for (addr = fault->start; !ret && addr < fault->end; addr = next) {
		/* addr + CHUNK_SIZE could wrap. */
		next = addr + min(fault->end - addr, CHUNK_SIZE - addr % CHUNK_SIZE);
		args.start = addr;
		args.end = next;
		args.hmm_pfns = fault->pfns + ((addr - fault->start) >> PAGE_SHIFT);
		ret = read_chunk(mm, &args);
		/*
		 * If the range was invalidated, an error may be as stale as a page, so
		 * return -EBUSY instead. No lock is needed: once retry() has returned
		 * true, the result stays true (retry_early.litmus).
		 */
		if (ret != -EINTR && ret != -ESRCH && hmm_mirror_range_retry(range, seq))
			ret = range_collided(range, fault);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
	}

	trace_hmm_mirror_fault_end(mm, range, ret);

	/* The last mmput() would run exit_mmap() and ->release in this thread. */
	mmput_async(mm);
	return ret;
}

/**
 * hmm_mirror_range_snapshot() - read CPU page table entries as they are
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages to read; default_flags, pfn_flags_mask and the requests in pfns are
 *	ignored
 *
 * Does not fault pages in. The mm does not invalidate when an entry becomes present or
 * writable, so an entry that was read as absent, read-only or an error may be outdated
 * although hmm_mirror_range_retry() returns false.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. The caller holds
 * neither the mmap lock nor the driver lock.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again; -EINTR on a
 * fatal signal; -ESRCH if the mm is dead or was emptied by the OOM reaper; -EINVAL if
 * @fault is unaligned, empty, not inside @range, or has no pfns; other errors as of
 * hmm_range_fault().
 */
int hmm_mirror_range_snapshot(struct hmm_mirror_range *range, unsigned long seq,
			      struct hmm_mirror_fault *fault)
{
	return range_read(range, seq, fault, true);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_snapshot);

/**
 * hmm_mirror_range_fault() - read CPU page table entries and fault in requested pages
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages to read, and which of them to fault in
 *
 * Reads up to 512 pages at once, and drops the mmap lock in between. If this returns 0, the
 * range was valid when the last page had been read; only hmm_mirror_range_commit() or
 * hmm_mirror_range_retry() under the driver lock tells whether the pages may be used.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. The caller holds
 * neither the mmap lock nor the driver lock. The driver's callback can run inside.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again, and set the
 * requests in pfns again; -EFAULT if there is no page and can be none; -EPERM if the
 * mapping does not allow the access; -ENOMEM; -EHWPOISON; -EINTR, -ESRCH and -EINVAL as
 * of hmm_mirror_range_snapshot().
 */
noinline int hmm_mirror_range_fault(struct hmm_mirror_range *range, unsigned long seq,
				    struct hmm_mirror_fault *fault)
{
	int ret = range_read(range, seq, fault, false);

	if (!ret && hmm_mirror_inject(HMM_MIRROR_INJECT_COLLISION))
		hmm_mirror_range_collide(range);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault);
ALLOW_ERROR_INJECTION(hmm_mirror_range_fault, ERRNO);

/* The pages of a compound page share a dirty flag, so test it before setting it. */
static void pages_set_dirty(const struct hmm_mirror_fault *fault)
{
	unsigned long i, nr = (fault->end - fault->start) >> PAGE_SHIFT;
	const unsigned long flags = HMM_PFN_VALID | HMM_PFN_WRITE;

	for (i = 0; i < nr; i++) {
		struct page *page = hmm_pfn_to_page(fault->pfns[i]);

		if ((fault->pfns[i] & flags) == flags && !PageDirty(page))
			set_page_dirty(page);
	}
}

/**
 * hmm_mirror_range_commit() - check for a collision and mark pages dirty
 * @range: a registered range
 * @seq: the sequence with which @fault was read
 * @fault: the pages, as hmm_mirror_range_fault() has returned them
 *
 * If the range was not invalidated since @seq, mark each page with HMM_PFN_WRITE in
 * @fault dirty: the device may write to it from now on, and the mm writes only a dirty
 * page back or to swap. A driver that installs a page read-only clears HMM_PFN_WRITE in
 * the pfns first. The mm cannot clean a page without an invalidation, so the driver need
 * not mark the page again when it removes the device PTE. A driver whose device PTEs have
 * a dirty bit may call hmm_mirror_range_retry() instead, and set_page_dirty() in its
 * callback, before the callback returns.
 *
 * Context: process context, does not sleep. The caller holds the driver lock until it has
 * installed the device PTEs.
 * Return: 0: install device PTEs; -EBUSY if the range was invalidated since @seq.
 */
int hmm_mirror_range_commit(const struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault)
{
	if (hmm_mirror_range_retry(range, seq))
		return -EBUSY;
	pages_set_dirty(fault);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_commit);

/* Return the rest of a timeout that began at @since; all in jiffies. */
static long timeout_left(long timeout, unsigned long since)
{
	if (timeout == MAX_SCHEDULE_TIMEOUT)
		return timeout;
	return max(timeout - (long)(jiffies - since), 0L);
}

/**
 * hmm_mirror_range_populate() - begin, fault and commit; retry after collisions
 * @range: a registered range
 * @fault: pages to read and to fault in. Requests by page do not survive a collision, so
 *	pfn_flags_mask must be 0: use default_flags.
 * @timeout_ms: for the whole call, in milliseconds: 0 tries once without waiting,
 *	%HMM_MIRROR_WAIT_FOREVER never times out
 * @commit: installs device PTEs, see &typedef hmm_mirror_commit_fn
 * @arg: for @commit
 *
 * The timeout does not interrupt a page fault in progress.
 *
 * Context: as of hmm_mirror_range_begin() and hmm_mirror_range_fault().
 * Return: the result of @commit, unless that is -EBUSY; -ETIME on a timeout; errors of
 * hmm_mirror_range_begin() and hmm_mirror_range_fault(), except -EBUSY; -EINVAL also if
 * @commit is NULL or pfn_flags_mask is not 0.
 */
int hmm_mirror_range_populate(struct hmm_mirror_range *range,
			      struct hmm_mirror_fault *fault,
			      unsigned int timeout_ms,
			      hmm_mirror_commit_fn commit, void *arg)
{
	long timeout = hmm_mirror_timeout(timeout_ms);
	unsigned long since = jiffies;
	unsigned long seq;
	int ret;

	if (!commit || !fault || fault->pfn_flags_mask)
		return -EINVAL;

	do {
		ret = hmm_mirror_begin(range, &seq, timeout_left(timeout, since));
		if (ret)
			return ret;
		ret = hmm_mirror_range_fault(range, seq, fault);
		if (!ret) {
			ret = commit(range, seq, fault, arg);
			if (ret == -EBUSY)
				range_collided(range, fault);
		}
		if (ret != -EBUSY)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (timeout_left(timeout, since));

	return -ETIME;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_populate);
