// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: read CPU page table entries of a range, fault pages in, and run the
 * collision-retry loop.
 *
 * Owns hmm->stats.collisions, which changes under hmm->lock. The caller owns the pfns, and
 * may use them only after retry() under the driver lock has returned false: the ladder is in
 * hmm_range.c.
 *
 * Invariant: fault() and snapshot() return 0, or an error that an invalidation can outdate, only
 * if the sequence was current after the last page had been read.
 */
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "internal.h"
#include "hmm_inject.h"
#include "hmm_trace.h"

#define CHUNK_SIZE	(HMM_MIRROR_CHUNK_PAGES * PAGE_SIZE)

/* Number of first rounds with the sequence of the whole range; later, every other one has it. */
#define WHOLE_ROUNDS	4

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

/* Count a collision. The driver must not unregister @range during a fault. */
static int range_collided(struct hmm_mirror_range *range,
			  const struct hmm_mirror_fault *fault)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	bool cancelled;

	spin_lock(&hmm->lock);
	hmm->stats.collisions++;
	cancelled = range->mirror && range->mirror->cancelled;
	spin_unlock(&hmm->lock);
	trace_hmm_mirror_collision(hmm->mm, range, fault->start, fault->end);
	return cancelled ? -ECANCELED : -EBUSY;
}

/* Return true if @ret stays correct after a collision. */
static bool gave_up(int ret)
{
	return ret == -EINTR || ret == -ESRCH || ret == -ECANCELED || ret == -ETIME;
}

/*
 * hmm_range_fault() needs an mmu_interval_notifier, of which it reads only the mm and the
 * sequence. Pass a stub that is on no list and whose sequence never changes, and check the
 * sequence of @range after each chunk instead. If a read ended at its first collision, a write
 * fault that breaks COW would end it at each page, because breaking COW invalidates that page:
 * the driver would need as many faults as there are pages, instead of two.
 */
static int range_read(struct hmm_mirror_range *range, unsigned long seq,
		      struct hmm_mirror_fault *fault, bool snapshot, long timeout)
{
	struct mmu_interval_notifier stub = {};
	struct hmm_range args = { .notifier = &stub };
	unsigned long addr, next, since = jiffies;
	struct mm_struct *mm;
	int ret = 0;

	might_sleep();
	ret = hmm_mirror_fault_check(range, seq, fault);
	if (ret)
		return ret;

	mm = hmm_mirror_range_mm(range)->mm;
	stub.mm = mm;
	args.dev_private_owner = fault->dev_private_owner;
	if (!snapshot) {
		args.default_flags = fault->default_flags;
		args.pfn_flags_mask = fault->pfn_flags_mask &
				      (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	}

	trace_hmm_mirror_fault_begin(mm, range, fault, 0);
	for (addr = fault->start; !ret && addr < fault->end; addr = next) {
		/* addr + CHUNK_SIZE could wrap. */
		next = addr + min(fault->end - addr, CHUNK_SIZE - addr % CHUNK_SIZE);
		args.start = addr;
		args.end = next;
		args.hmm_pfns = fault->pfns + ((addr - fault->start) >> PAGE_SHIFT);
		ret = hmm_mirror_read_chunk(range, seq, &args,
					    hmm_mirror_timeout_left(timeout, since));
		/*
		 * If the range was invalidated, an error may be as stale as a page, so
		 * return -EBUSY instead. No lock is needed: once retry() has returned
		 * true, the result stays true (retry_early.litmus).
		 */
		if (!gave_up(ret) && hmm_mirror_range_retry(range, seq))
			ret = range_collided(range, fault);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (!ret && next < fault->end)
			cond_resched();
	}

	trace_hmm_mirror_fault_end(mm, range, fault, ret);
	return ret;
}

/**
 * hmm_mirror_range_snapshot() - read CPU page table entries as they are
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages to read; default_flags, pfn_flags_mask and the requests in pfns are
 *	ignored
 * @timeout_ms: how long to wait for the mmap lock, as of hmm_mirror_range_begin()
 *
 * Does not fault pages in. The mm does not invalidate when an entry becomes present or
 * writable, so an entry that was read as absent, read-only or an error may be outdated
 * although hmm_mirror_range_retry() returns false.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. The caller holds
 * neither the mmap lock nor the driver lock.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again; -ETIME if the
 * timeout expired; -ECANCELED if this had to wait and hmm_mirror_cancel() was called; -EINTR on
 * a fatal signal; -ESRCH if the mm is dead, dying, or was emptied by the OOM reaper, or if the
 * mirror is unregistered; -ENOMEM; -EINVAL if @fault is unaligned, empty, not inside @range,
 * or has no pfns; other errors as of hmm_range_fault().
 */
int hmm_mirror_range_snapshot(struct hmm_mirror_range *range, unsigned long seq,
			      struct hmm_mirror_fault *fault, unsigned int timeout_ms)
{
	return range_read(range, seq, fault, true, hmm_mirror_timeout(timeout_ms));
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_snapshot);

/**
 * hmm_mirror_range_fault() - read CPU page table entries and fault in requested pages
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages to read, and which of them to fault in
 * @timeout_ms: how long to wait for the mmap lock and for pages, as of
 *	hmm_mirror_range_begin()
 *
 * Reads up to 512 pages at once, and drops the mmap lock in between. If this returns 0, the
 * range was valid when the last page had been read; only hmm_mirror_range_commit() or
 * hmm_mirror_range_retry() under the driver lock tells whether the pages may be used.
 *
 * The mapping decides which accesses are allowed:
 *
 * - A read needs PROT_READ, and a write needs PROT_READ and PROT_WRITE.
 * - If a mapping has PROT_WRITE or PROT_EXEC without PROT_READ, both fail with -EPERM, also on
 *   x86, where a CPU can read such memory.
 * - PROT_NONE is -EFAULT, as a hole is. So is memory without struct page (VM_PFNMAP, VM_IO), such
 *   as registers and memory of a device that the process has mapped, and a page with a memory error
 *   (hmm_vma_fault() does not tell -EHWPOISON).
 * - Protection keys are rights of a thread, and a device has none: keys never deny an access.
 * - A shadow stack (x86, arm64) can be read and written, although a CPU refuses ordinary stores
 *   to it, because hmm_range_fault() does not know such memory.
 *
 * The caller's thread reads the pages that are present, and faults in anonymous memory if
 * that does not block. A kernel thread takes all other page faults, while the caller waits for
 * it. If a page does not come (userfaultfd, FUSE, a network file system), the wait ends, in any
 * context, on a timeout, after hmm_mirror_cancel(), on a fatal signal, and when only such waits
 * use the mm any more. The core then drops mm_users, so a fault does not keep a process from
 * exiting. A driver that holds mm_users itself meanwhile defeats that.
 *
 * With a @timeout_ms of 0, each page that would need a kernel thread gives -ETIME, also one that
 * does not exist.
 *
 * Context: process context, sleeps, takes mm_users and the mmap lock. The caller holds
 * neither the mmap lock nor the driver lock, and should not hold mm_users. The driver's callback
 * can run inside.
 * Return: 0; -EBUSY if the range was invalidated since @seq: begin again, and set the
 * requests in pfns again; -ETIME if the timeout expired; -EFAULT if there is no page and can be
 * none; -EPERM if the mapping does not allow the access; -ENOMEM; -ECANCELED,
 * -EINTR, -ESRCH and -EINVAL as of hmm_mirror_range_snapshot().
 */
noinline int hmm_mirror_range_fault(struct hmm_mirror_range *range, unsigned long seq,
				    struct hmm_mirror_fault *fault, unsigned int timeout_ms)
{
	int ret = range_read(range, seq, fault, false, hmm_mirror_timeout(timeout_ms));

	if (!ret && hmm_mirror_inject(HMM_MIRROR_INJECT_COLLISION))
		hmm_mirror_range_collide(range);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault);
/* noinline, so that an injected error reaches hmm_mirror_range_populate(), too. */
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
 * Return: 0: install device PTEs; -EBUSY if the range was invalidated since @seq, or is not
 * registered any more; -EINVAL if @fault is unaligned, empty, or has no pfns.
 */
int hmm_mirror_range_commit(const struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault)
{
	if (!fault || !fault->pfns || !hmm_mirror_fault_has_pages(fault))
		return -EINVAL;
	if (hmm_mirror_range_retry(range, seq) && !hmm_mirror_part_is_valid(range, seq, fault))
		return -EBUSY;
	pages_set_dirty(fault);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_commit);

static unsigned int timeout_left_ms(long timeout, unsigned long since)
{
	/* msecs_to_jiffies() returns MAX_JIFFY_OFFSET for 2^31 ms and more. */
	if (timeout >= MAX_JIFFY_OFFSET)
		return HMM_MIRROR_WAIT_FOREVER;
	return jiffies_to_msecs(hmm_mirror_timeout_left(timeout, since));
}

/* Arguments of hmm_mirror_range_populate(), and the time of the call. */
struct populate {
	struct hmm_mirror_range *range;
	struct hmm_mirror_fault *fault;
	hmm_mirror_commit_fn commit;
	void *arg;
	long timeout;
	unsigned long since;
};

/*
 * Begin, fault and commit once, with the sequence of @judged. After a collision return -EBUSY, or
 * -ECANCELED if the mirror has been cancelled.
 */
static int populate_by(const struct populate *p, struct hmm_mirror_range *judged)
{
	unsigned long seq;
	int ret;

	ret = hmm_mirror_begin(judged, &seq, hmm_mirror_timeout_left(p->timeout, p->since));
	if (ret)
		return ret;
	ret = hmm_mirror_range_fault(judged, seq, p->fault, timeout_left_ms(p->timeout, p->since));
	if (ret)
		return ret;
	ret = p->commit(p->range, seq, p->fault, p->arg);
	return ret == -EBUSY ? range_collided(p->range, p->fault) : ret;
}

static int populate_by_part(const struct populate *p)
{
	struct hmm_mirror_part part = {
		.range.start = p->fault->start,
		.range.end = p->fault->end,
	};
	int ret;

	ret = hmm_mirror_part_register(&part, p->range);
	if (ret)
		return ret;
	ret = populate_by(p, &part.range);
	hmm_mirror_part_unregister(&part);
	/* The part has left the range, or mirror or mm is gone: the next round tells which. */
	return ret == -ESRCH ? -EBUSY : ret;
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
 * If several rounds have collided, every other round only collides with invalidations of the
 * pages of @fault, not with those of the rest of @range, so frequent invalidations of other
 * pages delay the fault but cannot starve it. In such a round hmm_mirror_range_commit() in
 * @commit gives the exact answer, and hmm_mirror_range_retry() always returns true.
 *
 * When this returns 0, the next invalidation may already have removed the device PTE: use the
 * PTE inside @commit, or take the driver lock and check the PTE again.
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
	const struct populate p = {
		.range = range,
		.fault = fault,
		.commit = commit,
		.arg = arg,
		.timeout = hmm_mirror_timeout(timeout_ms),
		.since = jiffies,
	};
	unsigned int round = 0;
	int ret;

	/* hmm_mirror_part_register() relies on sound bounds. */
	if (!commit || !fault || fault->pfn_flags_mask || !hmm_mirror_fault_has_pages(fault))
		return -EINVAL;

	do {
		/*
		 * Every other round uses the whole range, because a commit function may call
		 * hmm_mirror_range_retry(), which ignores parts.
		 */
		if (round < WHOLE_ROUNDS || round % 2)
			ret = populate_by(&p, range);
		else
			ret = populate_by_part(&p);
		if (ret != -EBUSY)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		round++;
	} while (hmm_mirror_timeout_left(p.timeout, p.since));

	return -ETIME;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_populate);
