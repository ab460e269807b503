/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: mirror a process address space on a device.
 *
 * Include this after, before or without <linux/hmm.h>: nothing collides.
 */
#ifndef HMM_MIRROR_H
#define HMM_MIRROR_H

#include <linux/hmm.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/rbtree.h>
#include <linux/types.h>

/* The one place that holds the version. */
#define HMM_MIRROR_VERSION	"0.1.0"

/**
 * DOC: Overview
 *
 * A device that shares a process address space keeps copies of CPU page table
 * entries ("device PTEs"). Whenever the mm changes CPU page table entries it
 * tells its mmu notifiers before and after. Between the two, and for good
 * afterwards, the device must not use the old pages.
 *
 * A driver registers one &struct hmm_mirror for each address space of a device,
 * and a &struct hmm_mirror_range for each part of it that the device may use.
 * Its page-fault path then runs without any lock of the mm side, and is settled
 * by collision-retry::
 *
 *	begin()		wait until no invalidation in flight intersects the range,
 *			and take a sequence
 *	fault()		read or fault in the CPU page table entries; sleeps
 *	lock(driver)
 *	commit()	has an invalidation touched the range since begin()?
 *			yes: unlock and start again; no: install device PTEs
 *	unlock(driver)
 *
 * The driver's invalidation callback takes the same driver lock to remove device
 * PTEs. The sequence of a range is raised before any callback runs, so one of
 * the two always sees the other.
 *
 * A sequence is stale if and only if an invalidation that intersects the range
 * began after it was taken, or the mm died. Invalidations of other addresses
 * neither fail nor delay nor wake anybody.
 *
 * Memory that changes more often than begin() to retry() takes is not mapped before
 * it rests. Drivers that map more than the device has asked for do without that after
 * some collisions, as the sample does; smaller ranges collide less.
 */

/**
 * DOC: Dirty pages
 *
 * The mm writes a page back, or to swap, only if the page or a CPU PTE of it is dirty. A
 * device that writes through its own page table makes neither dirty. So the driver does:
 *
 * - hmm_mirror_range_commit() marks pages dirty at installation. That is enough, because
 *   the mm invalidates before it cleans a page. It also marks pages to which the device
 *   then does not write, unless the driver clears HMM_PFN_WRITE in their pfns.
 * - A driver whose device PTEs have a dirty bit can call hmm_mirror_range_retry() instead,
 *   and set_page_dirty() for the dirty ones when it removes them in its callback, before
 *   the callback returns. hmm_mirror_range_dma_unmap() has a parameter for that.
 *
 * Either way the page must still be the process's: under the driver's lock after retry()
 * was false, or in a callback. A page that is marked later may have another owner.
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
 * Hence, and lockdep reports it the first time that the code runs:
 *
 * - do not wait for validity (begin, wait_until_valid, populate), and do not
 *   unregister a mirror, with a lock held that a callback takes;
 * - do not allocate with GFP_KERNEL, and do not fault on user memory, with such a
 *   lock held: callbacks run inside reclaim;
 * - do not call hmm_mirror from an interrupt: its spinlock is not irq-safe.
 *
 * lockdep knows which locks a callback takes once the callback has run.
 */

struct device;
struct hmm_mirror;
struct hmm_mirror_mm;
struct hmm_mirror_range;

/* A time-out that never ends; a fatal signal still ends the wait. */
#define HMM_MIRROR_WAIT_FOREVER		UINT_MAX

/* A time-out for those who have no better idea, milliseconds. */
#define HMM_MIRROR_DEFAULT_TIMEOUT	1000U

/**
 * struct hmm_mirror_pass - what sync_start() leaves for sync_finish()
 * @update: the invalidation, as the mm gave it
 * @priv: two words for the driver; undefined before sync_start() wrote them
 *
 * One for each mirror and invalidation, in storage of the core.
 */
struct hmm_mirror_pass {
	const struct mmu_notifier_range *update;
	unsigned long priv[2];
	/* private: */
	struct hmm_mirror *mirror;
};

/*
 * hmm_mirror_ops.flags: the mirror has device PTEs only inside its ranges, so it
 * is called only for invalidations that intersect one of them.
 */
#define HMM_MIRROR_TRACKED_ONLY		BIT(0)

/**
 * struct hmm_mirror_ops - callbacks of a driver
 * @sync_cpu_device_pagetables: the CPU page table is about to change. Remove all
 *	device PTEs of [update->start, update->end) and return only when the device
 *	cannot use them any more. The bounds are those of the mm: they can be
 *	unaligned, and the end can be ULONG_MAX. Returns 0. If
 *	mmu_notifier_range_blockable(update) is false it must not sleep, and returns
 *	-EAGAIN if it would have to; any other error is a driver bug, warned about
 *	once and otherwise ignored, as is any error in a blockable invalidation.
 *	It runs inside reclaim: no GFP_KERNEL, no mmap_lock. It may be called by
 *	several threads at once, and by the thread that is inside
 *	hmm_mirror_range_fault() (a write fault that breaks COW).
 * @release: the mm is dying. All ranges are invalid for ever. Remove every device
 *	PTE and stop the device from using the address space: the pages are freed
 *	after this returns. Called at most once, and never by
 *	hmm_mirror_unregister(). Mandatory. Other callbacks can run at the same
 *	time. Must not unregister the mirror.
 * @sync_start: optional, instead of @sync_cpu_device_pagetables: the first of two
 *	passes. All mirrors of the mm are started before the first is finished, so
 *	that the TLB flushes of several devices overlap. Remove the device PTEs,
 *	start the flush, return as above. After 0, and only then, @sync_finish
 *	follows, in the same thread.
 * @sync_finish: wait for the flush. In a non-blockable invalidation it must not
 *	sleep either: let @sync_start return -EAGAIN if that cannot be done.
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
 * @mm: the address space; set by registration. It stays readable until
 *	hmm_mirror_unregister() (mm_count is held, mm_users is not).
 *
 * Embed it in a structure of the driver. It needs no zeroing, and can be
 * registered again after it was unregistered.
 */
struct hmm_mirror {
	const struct hmm_mirror_ops *ops;
	struct mm_struct *mm;
	/* private: */
	struct hmm_mirror_mm *hmm;
	struct list_head list;
	unsigned long nr_ranges;
};

/* Bits of hmm_mirror_range.state, private; above them is the sequence. */
#define HMM_MIRROR_RANGE_DIRTY		BIT(0)
#define HMM_MIRROR_RANGE_WAITED		BIT(1)

/**
 * struct hmm_mirror_range - an address range of which a mirror tracks validity
 * @start: first address, page aligned
 * @end: first address behind it, page aligned; ULONG_MAX or
 *	ULONG_MAX & PAGE_MASK means to the end of the address space, and is
 *	ULONG_MAX after registration
 * @mirror: the mirror that it belongs to; set by registration, NULL once that
 *	mirror is unregistered
 *
 * @start and @end are set by the driver before registration; later only by
 * hmm_mirror_range_resize() and hmm_mirror_range_split(). It needs no zeroing, and
 * can be registered again after it was unregistered.
 */
struct hmm_mirror_range {
	unsigned long start;
	unsigned long end;
	struct hmm_mirror *mirror;
	/* private: see hmm_range.c and hmm_tree.c */
	union {
		struct rb_node rb;
		struct hmm_mirror_mm *orphan_of;	/* without a mirror */
	};
	unsigned long subtree_last;
	unsigned long state;
};

/**
 * struct hmm_mirror_fault - what to read from the CPU page table
 * @start: first address, page aligned, inside the range
 * @end: first address behind it, page aligned, inside the range
 * @pfns: one entry per page, zeroed before its first use. In: HMM_PFN_REQ_* as far as
 *	@pfn_flags_mask lets them count, for hmm_mirror_range_fault() only. Out: as of
 *	hmm_range_fault(), see <linux/hmm.h>, which from Linux 6.16 on keeps
 *	HMM_PFN_DMA_MAPPED and HMM_PFN_P2PDMA*; undefined after an error. While a
 *	@pfn_flags_mask of 0 is used an entry is written once, with its new value, so the
 *	array may be one that the driver keeps and reads meanwhile. With requests by page
 *	it must be the caller's own.
 * @default_flags: HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE asked for every page
 * @pfn_flags_mask: which request flags of @pfns count
 * @dev_private_owner: pages of device private memory of this owner are returned
 *	as they are, others are migrated back; NULL if there are none
 *
 * It belongs to the caller: several threads can fault on one range at once, each
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
 * hmm_mirror_range_retry() - has the range been invalidated since begin?
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 *
 * One load and a compare. The answer counts only under the driver's lock, the one
 * that its callback takes to remove device PTEs; without that lock "false" may be
 * outdated when the caller sees it, while "true" never is.
 *
 * Context: any, interrupts too; the driver's lock held.
 * Return: true if what was read since begin must be thrown away: an invalidation
 * that intersects the range has begun, or the mm has died, or the mirror is gone.
 */
static inline bool hmm_mirror_range_retry(const struct hmm_mirror_range *range,
					  unsigned long seq)
{
	/*
	 * Pairs with WRITE_ONCE() in hmm_mirror_range_raise(), by the driver's lock:
	 * retry.litmus.
	 */
	return READ_ONCE(range->state) != seq;
}

bool hmm_mirror_range_wait_until_valid(struct hmm_mirror_range *range,
				       unsigned int timeout_ms);

/**
 * hmm_mirror_range_valid() - the 2019 form of hmm_mirror_range_retry()
 * @range: a registered range
 *
 * Exact, unlike in 2019: a start and an end that fell between the wait and this
 * look are seen. For a range that one thread uses, since what it asks for is kept in
 * the range.
 *
 * Context: any, interrupts too; the driver's lock held.
 * Return: true if no invalidation intersected the range since the last
 * hmm_mirror_range_wait_until_valid() that returned true.
 */
static inline bool hmm_mirror_range_valid(const struct hmm_mirror_range *range)
{
	/* As in hmm_mirror_range_retry(): retry.litmus. */
	unsigned long state = READ_ONCE(range->state);

	return (state & HMM_MIRROR_RANGE_WAITED) && !(state & HMM_MIRROR_RANGE_DIRTY);
}

int hmm_mirror_range_snapshot(struct hmm_mirror_range *range, unsigned long seq,
			      struct hmm_mirror_fault *fault);
int hmm_mirror_range_fault(struct hmm_mirror_range *range, unsigned long seq,
			   struct hmm_mirror_fault *fault);

int hmm_mirror_range_commit(const struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault);

/**
 * typedef hmm_mirror_commit_fn - install device PTEs
 * @range: the range
 * @seq: the sequence that was taken before the pages were read
 * @fault: the pages
 * @arg: the driver's
 *
 * Take the driver's lock and call hmm_mirror_range_commit(). If that returns -EBUSY, unlock
 * and return it: hmm_mirror_range_populate() goes round again. If it returns 0, install
 * device PTEs, unlock and return 0. Any other value ends hmm_mirror_range_populate(), which
 * returns it.
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
 * hmm_mirror_for_each_range() - walk the ranges of a mirror that intersect
 * @range: loop cursor, struct hmm_mirror_range *
 * @mirror: the mirror
 * @start: first address
 * @end: first address behind; need not be aligned, ULONG_MAX is the end
 *
 * For use in a callback, with the bounds of the update; in ->release, too. In
 * ascending order of start.
 *
 * Context: as hmm_mirror_range_lookup(). The caller holds the lock under which it unregisters
 * ranges of this mirror: a range must not go away between two steps.
 */
#define hmm_mirror_for_each_range(range, mirror, start, end)			\
	for ((range) = hmm_mirror_range_first((mirror), (start), (end));	\
	     (range); (range) = hmm_mirror_range_next((range), (start), (end)))

bool hmm_mirror_update_is_own(const struct mmu_notifier_range *update,
			      const void *owner);

#endif /* HMM_MIRROR_H */
