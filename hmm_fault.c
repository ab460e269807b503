// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: read CPU page table entries of a range, fault pages in, and the whole
 * collision-retry loop.
 *
 * Owns no data but hmm->stats.collisions. What is read belongs to the caller. Nothing here
 * decides that a result may be used: retry() under the driver's lock does.
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
 * Pages that are read under one hold of the mmap lock. A writer of the mmap lock waits no
 * longer than that, and a collision is noticed between two chunks.
 */
#define CHUNK_PAGES	512
#define CHUNK_SIZE	(CHUNK_PAGES * PAGE_SIZE)

static bool fault_is_valid(struct hmm_mirror_mm *hmm, const struct hmm_mirror_range *range,
			   const struct hmm_mirror_fault *fault)
{
	bool inside;

	/* the bounds may be about to change */
	spin_lock(&hmm->lock);
	inside = fault->start >= range->start && fault->end <= range->end;
	spin_unlock(&hmm->lock);

	return inside && hmm_mirror_fault_has_pages(fault);
}

/* 0 if @fault is about pages of @range. */
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
 * Requests by page of one chunk. hmm_range_fault() replaces them by what it has read, up to
 * the page at which it fails, so a second read needs them again.
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

/* As hmm_range_fault() wants them, which carries some other bits from input to output. */
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
 * hmm_range_fault() never drops the mmap lock, which is all that some faults would need:
 * userfaultfd, for one. Whether it was that, or an error, is seen by doing the fault in
 * the way that may drop it, and reading again.
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
	 * The OOM reaper has emptied it: what would be faulted in is not what was
	 * there. What it does after this check are invalidations, and collide.
	 */
	if (check_stable_address_space(mm))
		return -ESRCH;
	return hmm_range_fault(args);
}

/*
 * Nothing but hmm_range_fault() writes to the pfns, and only under the mmap lock, where
 * there are no requests by page: the caller may be using what stands there.
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

/* What was read is worth nothing. Nobody unregisters the range meanwhile. */
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
 * hmm_range_fault() wants an mmu_interval_notifier, of which it reads only the mm and
 * the sequence. It gets one that no list knows and whose sequence stands still; the
 * range's own is checked here, chunk by chunk. A sequence that moved would end a fault at
 * the first page of which it breaks COW, since the invalidation of that page is in the
 * range, too: as many faults as there are pages, instead of two.
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
		/* not a sum that could wrap */
		next = addr + min(fault->end - addr, CHUNK_SIZE - addr % CHUNK_SIZE);
		args.start = addr;
		args.end = next;
		args.hmm_pfns = fault->pfns + ((addr - fault->start) >> PAGE_SHIFT);
		ret = read_chunk(mm, &args);
		/*
		 * An error that was found while the page table changed is no more
		 * true than a page. No lock: "true" stays true (retry_early.litmus).
		 */
		if (ret != -EINTR && ret != -ESRCH && hmm_mirror_range_retry(range, seq))
			ret = range_collided(range, fault);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
	}

	trace_hmm_mirror_fault_end(mm, range, ret);

	/* not mmput(): the last one would run exit and ->release right here */
	mmput_async(mm);
	return ret;
}

/**
 * hmm_mirror_range_snapshot() - read CPU page table entries as they are
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: what to read; default_flags, pfn_flags_mask and the input in pfns are
 *	ignored
 *
 * Faults nothing in. What is absent, read-only or an error may stop being so without
 * an invalidation: nobody is told about none->present or read-only->writable.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. Neither that
 * nor the driver's lock may be held.
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
 * hmm_mirror_range_fault() - read CPU page table entries, faulting in what is asked for
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: what to read and to fault in
 *
 * Large ranges are read in pieces, the mmap lock is dropped in between. 0 says that
 * no invalidation began so far; it is hmm_mirror_range_retry() under the driver's lock
 * that decides.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. Neither that
 * nor the driver's lock may be held. The driver's own callback can run inside.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again, with the
 * requests in pfns set anew; -EFAULT if there is no page and can be none; -EPERM if
 * the mapping does not allow the access; -ENOMEM; -EHWPOISON; -EINTR, -ESRCH and
 * -EINVAL as of hmm_mirror_range_snapshot().
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

/* Those of one compound page are dirty or not all at once, so most are only looked at. */
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
 * hmm_mirror_range_commit() - settle a fault under the driver's lock
 * @range: a registered range
 * @seq: the sequence with which @fault was read
 * @fault: the pages, as hmm_mirror_range_fault() has returned them
 *
 * Ask hmm_mirror_range_retry(), and if the answer is no, mark each page that has
 * HMM_PFN_WRITE in @fault dirty: the device may write to it from now on, and only a dirty
 * page is written back or to swap. If the driver installs a page read-only, it clears
 * HMM_PFN_WRITE in the pfns before. The mm cannot clean a page again without an
 * invalidation, so no page needs to be marked when its device PTE goes. A driver whose
 * device PTEs have a dirty bit may call hmm_mirror_range_retry() instead, and
 * set_page_dirty() in its callback, before the callback returns.
 *
 * Context: process context, does not sleep. The driver's lock is held, and stays held
 * until the device PTEs are installed.
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

/* What is left of a time-out that began at a time. */
static long timeout_left(long timeout, unsigned long since)
{
	if (timeout == MAX_SCHEDULE_TIMEOUT)
		return timeout;
	return max(timeout - (long)(jiffies - since), 0L);
}

/**
 * hmm_mirror_range_populate() - begin, fault and commit until it worked
 * @range: a registered range
 * @fault: what to read and to fault in, by default_flags; requests by page would not
 *	outlive the first collision, so pfn_flags_mask must be 0
 * @timeout_ms: for all of it, in milliseconds: 0 tries once without waiting,
 *	%HMM_MIRROR_WAIT_FOREVER has no end
 * @commit: installs device PTEs, see &typedef hmm_mirror_commit_fn
 * @arg: for @commit
 *
 * A page fault that is under way is not interrupted when the time is over.
 *
 * Context: as of hmm_mirror_range_begin() and hmm_mirror_range_fault().
 * Return: what @commit returned, if that is not -EBUSY; -ETIME when the time is over;
 * other errors as of hmm_mirror_range_begin() and hmm_mirror_range_fault(), -EBUSY not
 * among them; -EINVAL also if @commit is missing.
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
