/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: mirror a process address space on a device.
 *
 * Drivers may include <linux/hmm.h> before or after this header, or not at all.
 */
#ifndef HMM_MIRROR_H
#define HMM_MIRROR_H

#include <linux/hmm.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/rbtree.h>
#include <linux/types.h>

/* dkms.conf and debian/changelog have the same version. */
#define HMM_MIRROR_VERSION	"0.1.0"

/**
 * DOC: Overview
 *
 * A device that shares a process address space keeps copies of CPU page table
 * entries ("device PTEs"). The mm brackets each change of CPU page table entries
 * with an invalidation: it calls its mmu notifiers before the change (start) and
 * after it (end). Once start has returned, the device must not use the old pages.
 *
 * A driver registers one &struct hmm_mirror for each address space of a device,
 * and a &struct hmm_mirror_range for each part of it that the device may use.
 * The driver's page-fault path holds no lock of the mm while it installs device
 * PTEs. It detects invalidations by collision-retry::
 *
 *	begin()		wait until no invalidation in flight intersects the range,
 *			and take its sequence
 *	fault()		read or fault in the CPU page table entries; sleeps
 *	lock(driver)
 *	commit()	if an invalidation has intersected the range since begin():
 *			unlock and start again; else install device PTEs
 *	unlock(driver)
 *
 * The driver's invalidation callback takes the same driver lock to remove device
 * PTEs. The core raises the sequence of a range before it runs any callback. So
 * either the callback removes the device PTEs, or commit() sees the new sequence.
 *
 * A sequence becomes stale if an invalidation that intersects the range begins, if
 * the driver resizes or splits the range or unregisters the mirror, or if the mm
 * dies. Nothing else makes it stale, except a call of
 * hmm_mirror_range_wait_until_valid() on the same range.
 *
 * The core notes each invalidation in flight in a slot. An invalidation of other addresses
 * delays begin() only if it shares a slot, because memory for a slot of its own came too
 * late or not at all.
 *
 * A page that is invalidated more often than a fault takes is never mapped. A fault of some
 * pages of a range also collides with invalidations of the others. After several
 * collisions, hmm_mirror_range_populate() gives the pages of the fault a sequence of their
 * own in every other round.
 */

/**
 * DOC: Dirty pages
 *
 * The mm writes a page back, or to swap, only if the page or a CPU PTE of it is dirty. A
 * device that writes through its own page table dirties neither. There are two ways to
 * mark the pages dirty:
 *
 * - hmm_mirror_range_commit() marks pages dirty when the driver installs device PTEs. The
 *   mm invalidates a page before it cleans it, so the driver need not mark the page again.
 *   Pages to which the device never writes are marked too, unless the driver clears
 *   HMM_PFN_WRITE in their pfns.
 * - A driver whose device PTEs have a dirty bit can call hmm_mirror_range_retry() instead.
 *   When its callback removes a dirty device PTE, it calls set_page_dirty() before it
 *   returns, or passes @dirty to hmm_mirror_range_dma_unmap().
 *
 * The driver may mark a page dirty only while the process owns it: under the driver's lock
 * after hmm_mirror_range_retry() returned false, or in a callback. Later, the page may
 * belong to another process.
 */

/**
 * DOC: Locking
 *
 * From the outermost to the innermost::
 *
 *	mmap_lock			(the mm; taken by fault, snapshot, populate, attach)
 *	  the mm's own locks		(reclaim, rmap, ...)
 *	    invalidation		(a lockdep map; waits and callbacks are inside)
 *	      driver lock		(taken by callbacks and around retry())
 *	        hmm_mirror's own	(a spinlock; leaf)
 *
 * With a lock held that a callback takes, a driver must not:
 *
 * - wait for a range (begin, wait_until_valid, populate), or unregister a mirror:
 *   both can wait for a callback;
 * - allocate with GFP_KERNEL, or fault on user memory: callbacks run inside reclaim.
 *
 * Interrupt handlers must not call hmm_mirror, except for retry() and valid(): its
 * spinlock is not irq-safe.
 *
 * lockdep reports a violation the first time that the code runs, even without a deadlock.
 * lockdep knows the locks of a callback once the callback has run.
 */

/**
 * DOC: Teardown
 *
 * In this order: stop the device; call hmm_mirror_cancel() and wait for the threads that
 * fault; remove the device PTEs and flush; unregister the ranges; unregister the mirror,
 * without the driver lock; free the memory. When hmm_mirror_unregister() has returned, no
 * callback of the mirror runs or starts, so the driver's module may be unloaded. Each step
 * may come before or after ->release.
 */

struct device;
struct hmm_mirror;
struct hmm_mirror_mm;
struct hmm_mirror_range;

/* No timeout. A fatal signal still ends the wait. */
#define HMM_MIRROR_WAIT_FOREVER		UINT_MAX

/* Default timeout in milliseconds. */
#define HMM_MIRROR_DEFAULT_TIMEOUT	1000U

/**
 * struct hmm_mirror_pass - state passed from sync_start() to sync_finish()
 * @update: the invalidation, as passed by the mm
 * @priv: two words for the driver; uninitialized when sync_start() is called
 *
 * One per mirror and invalidation; allocated by the core, and valid until
 * sync_finish() returns.
 */
struct hmm_mirror_pass {
	const struct mmu_notifier_range *update;
	unsigned long priv[2];
	/* private: */
	struct hmm_mirror *mirror;
};

/*
 * hmm_mirror_ops.flags: the driver has device PTEs only inside the ranges of the
 * mirror, so the core calls it only for invalidations that intersect one of them.
 */
#define HMM_MIRROR_TRACKED_ONLY		BIT(0)

/**
 * struct hmm_mirror_ops - callbacks of a driver
 * @sync_cpu_device_pagetables: called before the mm changes CPU page table entries.
 *	Remove all device PTEs of [update->start, update->end), and return only when
 *	the device cannot use them any more. The mm chooses the bounds: they can be
 *	unaligned, and the end can be ULONG_MAX. Return 0. If
 *	mmu_notifier_range_blockable(update) is false, the callback must not sleep,
 *	and returns -EAGAIN if it would have to. Any other error, and any error in a
 *	blockable invalidation, is a driver bug: the core warns once and ignores it.
 *	Callbacks run inside reclaim: no GFP_KERNEL, no mmap_lock. Several threads
 *	may run the callback at once. A thread inside hmm_mirror_range_fault() may
 *	run it too, if a write fault breaks COW.
 * @release: called when the mm dies, after all ranges have become invalid for good.
 *	Remove every device PTE and stop the device from using the address space: the
 *	mm frees the pages after this returns. Called at most once for each
 *	registration, and never by hmm_mirror_unregister(); also for a mirror without
 *	ranges. Runs in the task that drops the last reference to the mm, and may sleep.
 *	Other callbacks can run at the same time. Must not unregister the mirror.
 *	Mandatory.
 * @sync_start: optional first pass, with @sync_finish instead of
 *	@sync_cpu_device_pagetables. The core starts up to 7 mirrors of the mm before
 *	it finishes the first, so the TLB flushes of several devices overlap. Remove
 *	the device PTEs, start the flush, and return as above. If this returns 0, the
 *	same thread calls @sync_finish; else it does not.
 * @sync_finish: second pass: wait for the flush. In a non-blockable invalidation it
 *	must not sleep; if it would have to, @sync_start must return -EAGAIN.
 * @flags: 0 or %HMM_MIRROR_TRACKED_ONLY
 */
struct hmm_mirror_ops {
	int (*sync_cpu_device_pagetables)(struct hmm_mirror *mirror,
					  const struct mmu_notifier_range *update);
	void (*release)(struct hmm_mirror *mirror);
	int (*sync_start)(struct hmm_mirror *mirror,
			  const struct mmu_notifier_range *update,
			  struct hmm_mirror_pass *pass);
	void (*sync_finish)(struct hmm_mirror *mirror,
			    struct hmm_mirror_pass *pass);
	unsigned int flags;
};

/**
 * struct hmm_mirror - a device's view of one address space
 * @ops: callbacks; set by the driver before registration
 * @mm: the address space; set by registration. The core holds mm_count, but not
 *	mm_users, until hmm_mirror_unregister().
 *
 * Embed this in a structure of the driver. A mirror needs no zeroing before
 * registration, and can be registered again after it was unregistered.
 *
 * A child of fork() that uses the driver's file acts on @mm, not on its own mm. After the
 * process has called exec() or has died, hmm_mirror_range_register(), resize, split, begin,
 * fault, snapshot and populate return -ESRCH.
 */
struct hmm_mirror {
	const struct hmm_mirror_ops *ops;
	struct mm_struct *mm;
	/* private: */
	struct hmm_mirror_mm *hmm;
	struct list_head list;
	struct rb_root_cached ranges;
	unsigned long nr_ranges;
	bool cancelled;
	bool counted;
};

/* Private: flags in hmm_mirror_range.state; the sequence is in the bits above them. */
#define HMM_MIRROR_RANGE_DIRTY		BIT(0)
#define HMM_MIRROR_RANGE_WAITED		BIT(1)

/**
 * struct hmm_mirror_range - an address range of a mirror, with a sequence
 * @start: first address, page aligned
 * @end: first address after the range, page aligned. ULONG_MAX and
 *	ULONG_MAX & PAGE_MASK mean the end of the address space; registration turns
 *	the latter into ULONG_MAX.
 * @mirror: the mirror of the range; set by registration, NULL once that mirror is
 *	unregistered
 *
 * The driver sets @start and @end before registration. After that, only
 * hmm_mirror_range_resize() and hmm_mirror_range_split() change them. A range needs
 * no zeroing before registration, and can be registered again after it was
 * unregistered.
 *
 * The core checks only that the bounds are page aligned and in order. A range needs no
 * memory behind it, and outlives munmap() and mmap() at its addresses.
 */
struct hmm_mirror_range {
	unsigned long start;
	unsigned long end;
	struct hmm_mirror *mirror;
	/* private: see hmm_range.c and hmm_tree.c */
	union {
		struct rb_node rb;
		struct hmm_mirror_mm *orphan_of;	/* if @mirror is NULL */
	};
	unsigned long subtree_last;
	unsigned long state;
};

/**
 * struct hmm_mirror_fault - pages to read from the CPU page table
 * @start: first address, page aligned, inside the range
 * @end: first address after the pages, page aligned, inside the range
 * @pfns: one entry per page; the caller zeroes the array before its first use. Input:
 *	HMM_PFN_REQ_* for hmm_mirror_range_fault(), masked by @pfn_flags_mask. Output: as
 *	of hmm_range_fault(), see <linux/hmm.h>; since Linux 6.16 that keeps
 *	HMM_PFN_DMA_MAPPED and HMM_PFN_P2PDMA* of the input. Undefined after an error. If
 *	@pfn_flags_mask is 0, an entry changes only to a value that was read from the page
 *	table, so other threads may read the array during the call. Otherwise no other
 *	thread may use the array. The driver copies what it keeps under the driver lock.
 * @default_flags: HMM_PFN_REQ_FAULT and HMM_PFN_REQ_WRITE requested for every page
 * @pfn_flags_mask: request flags that are taken from @pfns
 * @dev_private_owner: device private pages of this owner are returned as they are;
 *	those of other owners are migrated back if they are requested; NULL if the driver
 *	has none
 *
 * The caller owns this structure. Several threads can fault on one range at once, each
 * with its own sequence and its own struct hmm_mirror_fault.
 */
struct hmm_mirror_fault {
	unsigned long start;
	unsigned long end;
	unsigned long *pfns;
	unsigned long default_flags;
	unsigned long pfn_flags_mask;
	void *dev_private_owner;
};

int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm);
int hmm_mirror_attach(struct hmm_mirror *mirror, struct mm_struct *mm);
void hmm_mirror_unregister(struct hmm_mirror *mirror);
void hmm_mirror_cancel(struct hmm_mirror *mirror);

int hmm_mirror_range_register(struct hmm_mirror_range *range,
			      struct hmm_mirror *mirror);
void hmm_mirror_range_unregister(struct hmm_mirror_range *range);
int hmm_mirror_range_resize(struct hmm_mirror_range *range, unsigned long start,
			    unsigned long end);
int hmm_mirror_range_split(struct hmm_mirror_range *range, unsigned long at,
			   struct hmm_mirror_range *tail);
struct hmm_mirror_range *
hmm_mirror_range_lookup(struct hmm_mirror *mirror, unsigned long addr,
			bool (*get)(struct hmm_mirror_range *range));

int hmm_mirror_range_begin(struct hmm_mirror_range *range, unsigned long *seq,
			   unsigned int timeout_ms);

/**
 * hmm_mirror_range_retry() - check whether a sequence is stale
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 *
 * One load and one comparison. To rely on a result of false, the caller must hold the
 * driver lock, under which the callback removes device PTEs; without that lock, the
 * range may be invalidated before the caller uses the result. A result of true is
 * final.
 *
 * Context: any, including interrupts; driver lock held.
 * Return: true if the caller must discard the pages that it has read since begin():
 * an invalidation that intersects the range has begun, the bounds of the range have
 * changed, the mm has died, or the mirror was unregistered.
 */
static inline bool hmm_mirror_range_retry(const struct hmm_mirror_range *range,
					  unsigned long seq)
{
	/*
	 * Pairs with WRITE_ONCE() in hmm_mirror_range_raise(); the driver lock orders
	 * the two: retry.litmus.
	 */
	return READ_ONCE(range->state) != seq;
}

bool hmm_mirror_range_wait_until_valid(struct hmm_mirror_range *range,
				       unsigned int timeout_ms);

/**
 * hmm_mirror_range_valid() - check whether a range is still valid (2019 API)
 * @range: a registered range
 *
 * Unlike the function of 2019, this also returns false if an invalidation both started
 * and ended since the wait. The core stores the fact of the wait in the range, so only
 * one thread may use the range.
 *
 * Context: any, including interrupts; driver lock held.
 * Return: true if no invalidation intersected the range since the last
 * hmm_mirror_range_wait_until_valid() that returned true.
 */
static inline bool hmm_mirror_range_valid(const struct hmm_mirror_range *range)
{
	/* Pairs as in hmm_mirror_range_retry(): retry.litmus. */
	unsigned long state = READ_ONCE(range->state);

	return (state & HMM_MIRROR_RANGE_WAITED) && !(state & HMM_MIRROR_RANGE_DIRTY);
}

int hmm_mirror_range_snapshot(struct hmm_mirror_range *range, unsigned long seq,
			      struct hmm_mirror_fault *fault, unsigned int timeout_ms);
int hmm_mirror_range_fault(struct hmm_mirror_range *range, unsigned long seq,
			   struct hmm_mirror_fault *fault, unsigned int timeout_ms);

int hmm_mirror_range_commit(const struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault);

/**
 * typedef hmm_mirror_commit_fn - install device PTEs
 * @range: the range
 * @seq: the sequence that was taken before the pages were read
 * @fault: the pages
 * @arg: argument of hmm_mirror_range_populate()
 *
 * Take the driver lock and call hmm_mirror_range_commit(). If that returns 0, install
 * device PTEs, unlock and return 0. If it returns -EBUSY, unlock and return -EBUSY:
 * hmm_mirror_range_populate() then starts again. hmm_mirror_range_populate() returns any
 * other value to its caller.
 *
 * Allocate memory for device page tables before hmm_mirror_range_populate(), or with
 * GFP_NOWAIT here. If the function returns 0, it may leave the driver lock held; the caller of
 * hmm_mirror_range_populate() then unlocks.
 */
typedef int (*hmm_mirror_commit_fn)(struct hmm_mirror_range *range,
				    unsigned long seq,
				    const struct hmm_mirror_fault *fault,
				    void *arg);

int hmm_mirror_range_populate(struct hmm_mirror_range *range,
			      struct hmm_mirror_fault *fault,
			      unsigned int timeout_ms,
			      hmm_mirror_commit_fn commit, void *arg);

long hmm_mirror_range_dma_map(struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault,
			      struct device *dev, dma_addr_t *dma_addrs);
void hmm_mirror_range_dma_unmap(const struct hmm_mirror_fault *fault,
				struct device *dev, dma_addr_t *dma_addrs, bool dirty);

struct hmm_mirror_range *hmm_mirror_range_first(struct hmm_mirror *mirror,
						unsigned long start,
						unsigned long end);
struct hmm_mirror_range *hmm_mirror_range_next(struct hmm_mirror_range *range,
					       unsigned long start,
					       unsigned long end);

/**
 * hmm_mirror_for_each_range() - iterate over the ranges of a mirror that intersect
 * @range: loop cursor, struct hmm_mirror_range *
 * @mirror: the mirror
 * @start: first address, need not be aligned
 * @end: first address after the interval, need not be aligned; ULONG_MAX is the end of the
 *	address space
 *
 * Visits the ranges in ascending order of start. A callback passes the bounds of the
 * update; ->release may use this too.
 *
 * Context: as hmm_mirror_range_lookup(). The caller holds the lock under which the driver
 * unregisters ranges of this mirror, so that no range goes away between two steps.
 */
#define hmm_mirror_for_each_range(range, mirror, start, end)			\
	for ((range) = hmm_mirror_range_first((mirror), (start), (end));	\
	     (range); (range) = hmm_mirror_range_next((range), (start), (end)))

bool hmm_mirror_update_is_own(const struct mmu_notifier_range *update,
			      const void *owner);

#endif /* HMM_MIRROR_H */
