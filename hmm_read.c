// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: read the CPU page table entries of one chunk.
 *
 * Owns hmm->readers, hmm->nr_readers and hmm->nr_given_up, which change under hmm->lock.
 *
 * A page fault sleeps until a user program provides the page, such as the monitor of a
 * userfaultfd or the server of a network or FUSE file system, and only a fatal signal ends
 * that sleep. A kernel worker gets no signal. Therefore the caller first tries to read the chunk
 * without sleeping. If that fails, a thread that accepts SIGKILL reads the chunk into its own
 * memory, while the caller waits for it with a timeout. When the caller gives up, it kills the
 * thread.
 *
 *	caller					reader thread
 *
 *	trylock the mmap lock
 *	read; fault in without waiting
 *	unlock; all pages are there: return
 *	create the thread, hand mm_users over
 *	wait for the end of the thread		take the mmap lock
 *						fault in, sleep, read
 *	time-out, cancel, fatal signal, or
 *	only reader threads use the mm: SIGKILL
 *						drop mm_users, end
 *	it has ended: copy its pfns
 *
 *	[a thread that was given up writes to the caller's pfns: never]
 *
 * Only the thread holds mm_users while it sleeps. If nothing but such threads uses the mm,
 * its process is gone, and the callers give up: a killed process keeps its memory no longer
 * than if one of its own threads had taken the fault.
 */
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/overflow.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "compat/memcg.h"
#include "compat/read.h"
#include "internal.h"

/*
 * Interval at which a waiting caller checks whether the mm has other users, and whether the range
 * has been invalidated.
 */
#define CHECK_JIFFIES	max(HZ / 10, 1)

/*
 * Threads per mm that their callers have given up, but that SIGKILL has not ended: a file system
 * may wait unkillably. While there are so many, no new one is started.
 */
#define MAX_GIVEN_UP	16

/*
 * Requests by page of one chunk: hmm_range_fault() overwrites those in the pfns with its results.
 */
struct requests {
	DECLARE_BITMAP(fault, HMM_MIRROR_CHUNK_PAGES);
	DECLARE_BITMAP(write, HMM_MIRROR_CHUNK_PAGES);
};

/**
 * struct reader - state shared by a reader thread and its caller
 * @shown: list entry, and the state that debugfs copies
 * @refs: the caller and the thread hold one each
 * @hmm: the thread holds a reference, and mm_users of its mm
 * @event: completed when the thread ends, and when the caller must check its mirror
 * @given_up: the caller no longer waits
 * @done: the thread has ended
 * @ret: result of the thread
 * @notifier: stub for @args
 * @args: arguments of the caller, but with @pfns
 * @requests: requests by page, if @args has a pfn_flags_mask
 * @pfns: result of the thread
 */
struct reader {
	struct hmm_mirror_reader shown;
	refcount_t refs;
	struct hmm_mirror_mm *hmm;
	struct completion event;
	bool given_up;
	bool done;
	int ret;
	struct mmu_interval_notifier notifier;
	struct hmm_range args;
	struct requests requests;
	unsigned long pfns[];
};

static unsigned long nr_pages(const struct hmm_range *args)
{
	return (args->end - args->start) >> PAGE_SHIFT;
}

static void requests_save(struct requests *requests, const struct hmm_range *args)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		unsigned long req = args->hmm_pfns[i] & args->pfn_flags_mask;

		__assign_bit(i, requests->fault, req & HMM_PFN_REQ_FAULT);
		__assign_bit(i, requests->write, req & HMM_PFN_REQ_WRITE);
	}
}

/* Return the request for page @i. */
static unsigned long request_of(const struct hmm_range *args, const struct requests *requests,
				unsigned long i)
{
	unsigned long req = args->default_flags;

	if (args->pfn_flags_mask) {
		if (test_bit(i, requests->fault))
			req |= HMM_PFN_REQ_FAULT;
		if (test_bit(i, requests->write))
			req |= HMM_PFN_REQ_WRITE;
	}
	return req;
}

/*
 * Return true if @pfn satisfies the request @req. hmm_range_fault() never faults a device
 * private page of the caller, even if the process may not write to it.
 */
static bool is_satisfied(unsigned long req, unsigned long pfn)
{
	if (!(req & HMM_PFN_REQ_FAULT))
		return true;
	if (!(pfn & HMM_PFN_VALID))
		return false;
	return !(req & HMM_PFN_REQ_WRITE) || pfn & HMM_PFN_WRITE ||
	       is_device_private_page(hmm_pfn_to_page(pfn));
}

static bool requests_are_satisfied(const struct hmm_range *args, const struct requests *requests)
{
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++)
		if (!is_satisfied(request_of(args, requests, i), args->hmm_pfns[i]))
			return false;
	return true;
}

static bool all_satisfied(const struct hmm_range *args, const struct requests *requests)
{
	unsigned long need = HMM_PFN_VALID, all = ~0UL, nr = nr_pages(args), i, order;

	if (args->pfn_flags_mask)
		return requests_are_satisfied(args, requests);
	if (!(args->default_flags & HMM_PFN_REQ_FAULT))
		return true;
	if (args->default_flags & HMM_PFN_REQ_WRITE)
		need |= HMM_PFN_WRITE;

	/* If one large CPU page table entry maps all pages, they are alike. */
	order = hmm_pfn_to_map_order(args->hmm_pfns[0]);
	if (ALIGN_DOWN(args->start, PAGE_SIZE << order) ==
	    ALIGN_DOWN(args->end - 1, PAGE_SIZE << order))
		nr = 1;
	for (i = 0; i < nr; i++)
		all &= args->hmm_pfns[i];
	/* Device private pages satisfy a request although they are read-only. */
	return likely((all & need) == need) || requests_are_satisfied(args, requests);
}

/*
 * Read without faulting pages in: hmm_range_fault() would do that under the mmap lock, where no
 * signal ends it.
 *
 * If the OOM reaper has unmapped pages of the mm, a fault would find zeroes where the process
 * had data. Pages that the reaper unmaps after this check are invalidated, so the fault
 * collides.
 */
static int read_as_is(const struct hmm_range *args)
{
	struct hmm_range as_is = *args;

	if (check_stable_address_space(args->notifier->mm))
		return -ESRCH;
	as_is.default_flags = 0;
	as_is.pfn_flags_mask = 0;
	return hmm_range_fault(&as_is);
}

/* --------------------------------------------------------- in the caller's thread */

/*
 * Fault in the pages that do not satisfy their requests. The mmap lock is held, and stays held.
 * FAULT_FLAG_RETRY_NOWAIT keeps only faults of anonymous memory from blocking: with
 * MADV_RANDOM filemap_fault() reads while it holds the mmap lock, and shmem_fault() swaps in.
 */
static int fault_nowait(const struct hmm_range *args, const struct requests *requests)
{
	struct vm_area_struct *vma = NULL;
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++) {
		unsigned int flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY |
				     FAULT_FLAG_RETRY_NOWAIT;
		unsigned long addr = args->start + (i << PAGE_SHIFT), need = VM_READ;
		unsigned long req = request_of(args, requests, i);

		if (is_satisfied(req, args->hmm_pfns[i]))
			continue;
		if (req & HMM_PFN_REQ_WRITE) {
			flags |= FAULT_FLAG_WRITE;
			need |= VM_WRITE;
		}
		if (!vma || addr >= vma->vm_end)
			vma = find_vma(args->notifier->mm, addr);
		if (!vma || addr < vma->vm_start || (vma->vm_flags & need) != need ||
		    !vma_is_anonymous(vma))
			return -EAGAIN;
		if (handle_mm_fault(vma, addr, flags, NULL) & (VM_FAULT_ERROR | VM_FAULT_RETRY))
			return -EAGAIN;
		cond_resched();
	}
	return 0;
}

/* Return -EAGAIN if this would block, and if a page cannot be faulted in at all. */
static int read_at_once(const struct hmm_range *args, const struct requests *requests)
{
	struct mm_struct *mm = args->notifier->mm;
	int ret;

	if (!mmap_read_trylock(mm))
		return -EAGAIN;
	ret = read_as_is(args);
	if (!ret && unlikely(!all_satisfied(args, requests))) {
		ret = fault_nowait(args, requests);
		if (!ret)
			ret = read_as_is(args);
		if (!ret && !all_satisfied(args, requests))
			ret = -EAGAIN;
	}
	mmap_read_unlock(mm);
	return ret;
}

/* ------------------------------------------------------------ in a reader thread */

/*
 * Return -EPERM if the mapping does not allow the access, and -EFAULT if it has no pages, or if
 * @pfn is memory that hmm_range_fault() does not know. hmm_range_fault() returns -EFAULT also for a
 * mapping that may be written or executed, but not read. Let fixup_user_fault() decide about an
 * address below a mapping, which may be a stack that can grow.
 */
static int check_access(struct mm_struct *mm, unsigned long addr, bool write, unsigned long pfn)
{
	const struct vm_area_struct *vma = find_vma(mm, addr);

	if (!vma || addr < vma->vm_start)
		return 0;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return -EFAULT;
	if (!(vma->vm_flags & VM_READ))
		return vma->vm_flags & (VM_WRITE | VM_EXEC) ? -EPERM : -EFAULT;
	if (write && !(vma->vm_flags & VM_WRITE))
		return -EPERM;
	return pfn & HMM_PFN_ERROR ? -EFAULT : 0;
}

/*
 * Fault in the pages that do not satisfy their requests. fixup_user_fault() lets a fault that
 * blocks drop the mmap lock, and ends on a fatal signal.
 */
static int fault_sleeping(const struct hmm_range *args, const struct requests *requests)
{
	struct mm_struct *mm = args->notifier->mm;
	unsigned long i;
	bool unlocked;
	int ret = 0;

	for (i = 0; !ret && i < nr_pages(args); i++) {
		unsigned long addr = args->start + (i << PAGE_SHIFT);
		unsigned long req = request_of(args, requests, i);
		bool write = req & HMM_PFN_REQ_WRITE;

		if (is_satisfied(req, args->hmm_pfns[i]))
			continue;
		ret = check_access(mm, addr, write, args->hmm_pfns[i]);
		if (!ret)
			ret = fixup_user_fault(mm, addr, write ? FAULT_FLAG_WRITE : 0, &unlocked);
		cond_resched();
	}
	return ret;
}

/* A page can go while another one is faulted in, so read until all are there. */
static int read_sleeping(const struct hmm_range *args, const struct requests *requests)
{
	struct mm_struct *mm = args->notifier->mm;
	bool satisfied = false;
	int ret = 0;

	while (!ret && !satisfied) {
		if (mmap_read_lock_killable(mm))
			return -EINTR;
		ret = read_as_is(args);
		satisfied = !ret && all_satisfied(args, requests);
		if (!ret && !satisfied)
			ret = fault_sleeping(args, requests);
		mmap_read_unlock(mm);
		if (!satisfied && fatal_signal_pending(current))
			return -EINTR;
	}
	return ret;
}

static void reader_put(struct reader *reader)
{
	if (refcount_dec_and_test(&reader->refs))
		kfree(reader);
}

static int reader_thread(void *data)
{
	struct reader *reader = data;
	struct hmm_mirror_mm *hmm = reader->hmm;
	struct mm_struct *mm = hmm->mm;
	struct mem_cgroup *old = hmm_mirror_compat_charge_begin(mm);

	allow_signal(SIGKILL);
	/* A SIGKILL that came before was ignored, but reader_give_up() had set this first. */
	reader->ret = READ_ONCE(reader->given_up) ? -EINTR :
		      read_sleeping(&reader->args, &reader->requests);
	hmm_mirror_compat_charge_end(old);

	spin_lock(&hmm->lock);
	list_del(&reader->shown.list);
	hmm->nr_readers--;
	hmm->nr_given_up -= reader->given_up;
	reader->done = true;
	complete(&reader->event);
	hmm_mirror_mm_put_unlock(hmm);

	/* The last mmput() would run exit_mmap() and ->release in this thread. */
	mmput_async(mm);
	reader_put(reader);
	hmm_mirror_compat_module_put_and_exit();
}

/* ------------------------------------------------- the caller, of the reader thread */

/* Start the thread, which takes over mm_users. Return a reference to it, or an error. */
static struct task_struct *reader_start(struct reader *reader)
{
	struct hmm_mirror_mm *hmm = reader->hmm;
	struct task_struct *task;

	task = kthread_create(reader_thread, reader, "hmm_mirror_read");
	if (IS_ERR(task))
		return task;

	/* The module must stay until the last instruction of the thread. */
	__module_get(THIS_MODULE);
	get_task_struct(task);
	refcount_inc(&reader->refs);
	spin_lock(&hmm->lock);
	hmm_mirror_mm_get_locked(hmm);
	hmm->nr_readers++;
	list_add_tail(&reader->shown.list, &hmm->readers);
	spin_unlock(&hmm->lock);
	wake_up_process(task);
	return task;
}

static void reader_give_up(struct reader *reader, struct task_struct *task)
{
	struct hmm_mirror_mm *hmm = reader->hmm;

	spin_lock(&hmm->lock);
	if (!reader->done) {
		WRITE_ONCE(reader->given_up, true);
		hmm->nr_given_up++;
	}
	spin_unlock(&hmm->lock);
	/* This takes the siglock, as allow_signal() does before the thread reads given_up. */
	send_sig(SIGKILL, task, 1);
}

/*
 * Return why a caller that has slept, with the result @woken, can wait no longer, or -EAGAIN; with
 * hmm->lock held. @left is the rest of its timeout.
 */
static int wait_failed(const struct hmm_mirror_range *range, long left, long woken)
{
	const struct hmm_mirror *mirror = range->mirror;

	if (woken < 0)
		return -EINTR;
	if (!mirror)
		return -ESRCH;
	if (mirror->cancelled)
		return -ECANCELED;
	if (atomic_read(&mirror->mm->mm_users) <= mirror->hmm->nr_readers)
		return -ESRCH;
	return left ? -EAGAIN : -ETIME;
}

/* Wait until a thread may be started. Return 0, or an error if the caller must give up. */
static int reader_may_start(const struct hmm_mirror_range *range, long timeout)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	unsigned long since = jiffies;
	long left, woken = 0;
	int ret;

	for (;;) {
		left = hmm_mirror_timeout_left(timeout, since);
		spin_lock(&hmm->lock);
		ret = hmm->nr_given_up < MAX_GIVEN_UP ? 0 : wait_failed(range, left, woken);
		spin_unlock(&hmm->lock);
		if (ret != -EAGAIN)
			return ret;
		schedule_timeout_killable(min_t(long, left, CHECK_JIFFIES));
		woken = fatal_signal_pending(current) ? -EINTR : 0;
	}
}

/*
 * Return 0 when the thread has ended, or an error if the caller must give up. If the range is
 * invalidated, what the thread reads is outdated, so check that now and then. The page faults of
 * the thread can invalidate the range, too, for example if they break COW; so let it read on for
 * CHECK_JIFFIES.
 */
static int reader_wait(struct reader *reader, const struct hmm_mirror_range *range,
		       unsigned long seq, long timeout)
{
	struct hmm_mirror_mm *hmm = reader->hmm;
	unsigned long since = jiffies;
	long left, woken = 1;
	int ret;

	for (;;) {
		left = hmm_mirror_timeout_left(timeout, since);
		spin_lock(&hmm->lock);
		ret = reader->done ? 0 : wait_failed(range, left, woken);
		spin_unlock(&hmm->lock);
		if (ret != -EAGAIN)
			return ret;
		if (!woken && hmm_mirror_range_retry(range, seq))
			return -EBUSY;
		woken = wait_for_completion_killable_timeout(&reader->event,
							     min_t(long, left, CHECK_JIFFIES));
	}
}

/* Keep the bits that hmm_range_fault() keeps: the driver may have changed them meanwhile. */
static void copy_pfns(const struct reader *reader, const struct hmm_range *args)
{
	const unsigned long kept = HMM_MIRROR_COMPAT_PFN_KEPT;
	unsigned long i;

	for (i = 0; i < nr_pages(args); i++)
		WRITE_ONCE(args->hmm_pfns[i],
			   (reader->pfns[i] & ~kept) | (READ_ONCE(args->hmm_pfns[i]) & kept));
}

/* Have a thread read. The caller does not hold mm_users. */
static noinline int read_by_thread(const struct hmm_mirror_range *range, unsigned long seq,
				   const struct hmm_range *args, const struct requests *requests,
				   long timeout)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_range_mm(range);
	unsigned long since = jiffies;
	struct task_struct *task;
	struct reader *reader;
	struct mem_cgroup *old;
	int ret;

	ret = reader_may_start(range, timeout);
	if (ret)
		return ret;
	if (!mmget_not_zero(hmm->mm))
		return -ESRCH;
	old = hmm_mirror_compat_charge_begin(hmm->mm);
	reader = kzalloc(struct_size(reader, pfns, nr_pages(args)), GFP_KERNEL_ACCOUNT);
	hmm_mirror_compat_charge_end(old);
	if (!reader) {
		ret = -ENOMEM;
		goto err_mm;
	}
	refcount_set(&reader->refs, 1);
	init_completion(&reader->event);
	reader->hmm = hmm;
	reader->shown.mirror = READ_ONCE(range->mirror);
	reader->shown.start = args->start;
	reader->shown.end = args->end;
	reader->shown.write = args->default_flags & HMM_PFN_REQ_WRITE;
	reader->shown.since = ktime_get_ns();
	reader->notifier.mm = hmm->mm;
	reader->args = *args;
	reader->args.notifier = &reader->notifier;
	reader->args.hmm_pfns = reader->pfns;
	if (args->pfn_flags_mask)
		reader->requests = *requests;

	task = reader_start(reader);
	if (IS_ERR(task)) {
		ret = PTR_ERR(task);
		goto err_reader;
	}
	ret = reader_wait(reader, range, seq, hmm_mirror_timeout_left(timeout, since));
	if (ret) {
		reader_give_up(reader, task);
	} else {
		ret = reader->ret;
		if (!ret)
			copy_pfns(reader, args);
	}
	put_task_struct(task);
	reader_put(reader);
	return ret;

err_reader:
	reader_put(reader);
err_mm:
	mmput_async(hmm->mm);
	return ret;
}

/*
 * Read one chunk, as hmm_range_fault() does, and wait at most @timeout jiffies. If there are no
 * requests by page, the caller's pfns only ever get final values, because other threads may be
 * reading them.
 *
 * Return 0; -ETIME, -ECANCELED or -EINTR if the wait ended early; -EBUSY if @range was
 * invalidated since @seq and the rest would have taken long; -ESRCH if the mm is dying or the
 * mirror is unregistered; -ENOMEM; other errors as of hmm_range_fault().
 */
int hmm_mirror_read_chunk(const struct hmm_mirror_range *range, unsigned long seq,
			  struct hmm_range *args, long timeout)
{
	struct mm_struct *mm = args->notifier->mm;
	struct requests requests __uninitialized;
	int ret;

	/* Tell lockdep, because a trylock does not. */
	might_lock_read(&mm->mmap_lock);
	if (args->pfn_flags_mask)
		requests_save(&requests, args);
	if (!mmget_not_zero(mm))
		return -ESRCH;
	ret = read_at_once(args, &requests);
	/* The last mmput() would run exit_mmap() and ->release in this thread. */
	mmput_async(mm);
	if (unlikely(ret == -EAGAIN))
		ret = timeout ? read_by_thread(range, seq, args, &requests, timeout) : -ETIME;
	return ret;
}

/* Make the callers that wait check the state of @mirror; with hmm->lock held. */
void hmm_mirror_readers_wake(struct hmm_mirror_mm *hmm, const struct hmm_mirror *mirror)
{
	struct reader *reader;

	list_for_each_entry(reader, &hmm->readers, shown.list)
		if (reader->shown.mirror == mirror)
			complete(&reader->event);
}
