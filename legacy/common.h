/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: common part of the legacy headers hmm_5_2.h, hmm_5_3.h and hmm_5_4.h. Drivers
 * must not include this directly.
 *
 * A driver of 2019 holds the mmap lock for reading around hmm_range_fault(), and has looked
 * up VMAs under it. The native functions of hmm_mirror would take, and drop, that lock
 * themselves. So this file reads pages with the kernel's hmm_range_fault(), and uses
 * hmm_mirror only for the validity of ranges.
 *
 * The validity is a sequence, taken when the pages are read. hmm_range_valid() compares it
 * with the current one, and so detects an invalidation even if that has ended.
 *
 * Below, "5.2", "5.3" and "5.4" mean mm/hmm.c and include/linux/hmm.h of that release, and
 * "2019" means all three.
 */
#ifndef HMM_MIRROR_LEGACY_COMMON_H
#define HMM_MIRROR_LEGACY_COMMON_H

#ifndef HMM_LEGACY_RELEASE
#error "include legacy/hmm_5_2.h, legacy/hmm_5_3.h or legacy/hmm_5_4.h"
#endif

#include <linux/dma-mapping.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>

/*
 * The structures of 2019 keep their names, so that a driver's header can mention them before
 * it includes this file. To allow that, this file renames the structures of the kernel and of
 * hmm_mirror. If <linux/hmm.h> or hmm_mirror.h was included before, the names of 2019 are
 * macros instead, and each header that mentions them must come after this file.
 */
#if !defined(LINUX_HMM_H) && !defined(HMM_MIRROR_H)
#define hmm_range		hmm_native_range
#define hmm_mirror		hmm_native_mirror
#define hmm_mirror_ops		hmm_native_mirror_ops
#include "hmm_mirror.h"
#undef hmm_range
#undef hmm_mirror
#undef hmm_mirror_ops
#define hmm_legacy_range	hmm_range
#define hmm_legacy_mirror	hmm_mirror
#define hmm_legacy_mirror_ops	hmm_mirror_ops
#else
#include "hmm_mirror.h"
#define hmm_native_range	hmm_range
#define hmm_native_mirror	hmm_mirror
#define hmm_native_mirror_ops	hmm_mirror_ops
#define HMM_LEGACY_MACROS
#endif

/* Number of pages that are read at once. Their entries are on the stack. */
#define HMM_LEGACY_CHUNK	64

/*
 * Drivers used struct hmm only to get the mm: from ->mm in 5.2 and 5.3, from
 * ->mmu_notifier.mm in 5.4.
 */
struct hmm {
	struct mm_struct *mm;
	struct {
		struct mm_struct *mm;
	} mmu_notifier;
};

/* ------------------------------------------------------------------- mirrors */

#if HMM_LEGACY_RELEASE < 504

enum hmm_update_event {
	HMM_UPDATE_INVALIDATE,
};

struct hmm_update {
	unsigned long start;
	unsigned long end;
	enum hmm_update_event event;
	bool blockable;
};

#define HMM_LEGACY_UPDATE	struct hmm_update

#else

#define HMM_LEGACY_UPDATE	struct mmu_notifier_range

#endif

struct hmm_legacy_mirror;

struct hmm_legacy_mirror_ops {
	void (*release)(struct hmm_legacy_mirror *mirror);	/* optional */
	int (*sync_cpu_device_pagetables)(struct hmm_legacy_mirror *mirror,
					  const HMM_LEGACY_UPDATE *update);
};

struct hmm_legacy_mirror {
	struct hmm *hmm;	/* NULL if not registered */
	const struct hmm_legacy_mirror_ops *ops;
	struct list_head list;
	/* private: */
	struct hmm space;
	struct hmm_native_mirror native;
};

static inline int hmm_legacy_sync(struct hmm_native_mirror *native,
				  const struct mmu_notifier_range *range)
{
	struct hmm_legacy_mirror *mirror;
#if HMM_LEGACY_RELEASE < 504
	const struct hmm_update of_2019 = {
		.start = range->start,
		.end = range->end,
		.event = HMM_UPDATE_INVALIDATE,
		.blockable = mmu_notifier_range_blockable(range),
	}, *update = &of_2019;
#else
	const struct mmu_notifier_range *update = range;
#endif

	mirror = container_of(native, struct hmm_legacy_mirror, native);
	return mirror->ops->sync_cpu_device_pagetables(mirror, update);
}

static inline void hmm_legacy_release(struct hmm_native_mirror *native)
{
	struct hmm_legacy_mirror *mirror;

	mirror = container_of(native, struct hmm_legacy_mirror, native);
	if (mirror->ops->release)
		mirror->ops->release(mirror);
}

/* Register @mirror. The caller holds the mmap lock for writing. */
static inline int hmm_legacy_attach(struct hmm_legacy_mirror *mirror,
				    struct mm_struct *mm)
{
	static const struct hmm_native_mirror_ops ops = {
		.sync_cpu_device_pagetables = hmm_legacy_sync,
		.release = hmm_legacy_release,
	};
	int ret;

	if (!mirror || !mm || !mirror->ops)
		return -EINVAL;

	mirror->space.mm = mm;
	mirror->space.mmu_notifier.mm = mm;
	mirror->hmm = &mirror->space;	/* for the first callback */
	mirror->native.ops = &ops;
	ret = hmm_mirror_register(&mirror->native, mm);
	if (ret)
		mirror->hmm = NULL;
	return ret;
}

/* Unregister @mirror. As in 5.2, a second call does nothing. */
static inline void hmm_legacy_detach(struct hmm_legacy_mirror *mirror)
{
	if (!mirror->hmm)
		return;
	hmm_mirror_unregister(&mirror->native);
	mirror->hmm = NULL;
}

/* -------------------------------------------------------------------- ranges */

/* Indices of flags[]. Today's flags of the same names are different. */
enum hmm_pfn_flag_e {
	HMM_LEGACY_PFN_VALID,
	HMM_LEGACY_PFN_WRITE,
	HMM_PFN_DEVICE_PRIVATE,
	HMM_PFN_FLAG_MAX
};

/* Indices of values[]. */
enum hmm_pfn_value_e {
	HMM_LEGACY_PFN_ERROR,
	HMM_PFN_NONE,
	HMM_PFN_SPECIAL,
	HMM_PFN_VALUE_MAX
};

#define HMM_RANGE_DEFAULT_TIMEOUT	1000	/* milliseconds */

/**
 * struct hmm_legacy_range - struct hmm_range of 2019
 * @hmm: NULL if the range is not registered
 * @vma: the VMA of the page that was read last; not in 5.4
 * @start: first address
 * @end: first address after the range
 * @pfns: one entry per page: (pfn << @pfn_shift) | flags, or one of @values. Input: the
 *	requests, as flags.
 * @flags: the driver's bits for enum hmm_pfn_flag_e
 * @values: the driver's entries for enum hmm_pfn_value_e
 * @default_flags: requests for every page
 * @pfn_flags_mask: bits of @pfns that are requests
 * @page_shift: log2 of the size of the pages in @pfns; not in 5.4
 * @pfn_shift: position of the pfn in an entry
 * @dev_private_owner: device private pages of this owner stay in device memory. New, because
 *	today's kernels need the owner. Registration clears this; set it afterwards.
 * @list: unused, but initialized by drivers
 *
 * The other members of 2019 were private. A driver that reads ->valid must call
 * hmm_range_valid() instead, which all three releases have.
 */
struct hmm_legacy_range {
	struct hmm *hmm;
	struct vm_area_struct *vma;
	unsigned long start;
	unsigned long end;
	u64 *pfns;
	const u64 *flags;
	const u64 *values;
	u64 default_flags;
	u64 pfn_flags_mask;
	u8 page_shift;
	u8 pfn_shift;
	void *dev_private_owner;
	struct list_head list;
	/* private: */
	struct hmm space;
	struct hmm_mirror_range native;
	unsigned long seq;	/* of @pfns, if @read */
	bool read;		/* pages have been read into @pfns */
};

/* Register @range. As in 2019, the caller may hold the mmap lock or not. */
static inline int hmm_legacy_track(struct hmm_legacy_range *range,
				   struct hmm_legacy_mirror *mirror)
{
	unsigned long mask = (1UL << range->page_shift) - 1;
	int ret;

	range->hmm = NULL;
	if ((range->start & mask) || (range->end & mask) || range->start >= range->end)
		return -EINVAL;

	/* Since 5.3 a registered range holds mm_users. */
	if (HMM_LEGACY_RELEASE >= 503 && !mmget_not_zero(mirror->space.mm))
		return -EFAULT;
	range->native.start = range->start;
	range->native.end = range->end;
	ret = hmm_mirror_range_register(&range->native, &mirror->native);
	if (ret) {
		if (HMM_LEGACY_RELEASE >= 503)
			mmput_async(mirror->space.mm);
		return ret == -ESRCH ? -EFAULT : ret;
	}

	range->space = mirror->space;
	range->hmm = &range->space;
	range->dev_private_owner = NULL;
	range->read = false;
	/* Some drivers did not wait, so the range is valid if no invalidation is in flight. */
	if (hmm_mirror_range_begin(&range->native, &range->seq, 0))
		range->seq = 0;	/* never current */
	return 0;
}

/**
 * hmm_range_unregister() - stop tracking a range
 * @range: a registered range; as in 5.2, a second call does nothing
 *
 * Does not call mmput(), unlike 2019: drivers call this under a lock that their ->release
 * takes, and the last mmput() runs ->release.
 *
 * Context: process context or a callback, does not sleep. The caller may hold spinlocks that no
 * interrupt handler takes.
 */
static inline void hmm_range_unregister(struct hmm_legacy_range *range)
{
	if (!range->hmm)
		return;
	hmm_mirror_range_unregister(&range->native);
	range->hmm = NULL;
	if (HMM_LEGACY_RELEASE >= 503)
		mmput_async(range->space.mm);
}

/**
 * hmm_range_wait_until_valid() - wait until no invalidation of the range is in flight
 * @range: a registered range
 * @timeout: in milliseconds
 *
 * Unlike 2019, this does not make stale pages valid again: the driver must read them again.
 * It waits only for invalidations that intersect the range, and a fatal signal ends the wait.
 *
 * Context: process context, may sleep. The caller holds no lock that the callback takes; it
 * may hold the mmap lock for reading, as nouveau did.
 * Return: true if the range is valid.
 */
static inline bool hmm_range_wait_until_valid(struct hmm_legacy_range *range,
					      unsigned long timeout)
{
	unsigned long seq;

	if (!range->hmm || hmm_mirror_range_begin(&range->native, &seq,
						  min_t(unsigned long, timeout, UINT_MAX)))
		return false;
	if (!range->read)
		range->seq = seq;
	return true;
}

/**
 * hmm_range_valid() - check whether the pages that were read are still valid
 * @range: a registered range
 *
 * Context: any; the caller holds the lock that the callback takes.
 * Return: false if an invalidation of the range began since hmm_range_fault() or
 * hmm_range_snapshot() was called; before the first of these, since the last wait.
 */
static inline bool hmm_range_valid(struct hmm_legacy_range *range)
{
	return range->hmm && !hmm_mirror_range_retry(&range->native, range->seq);
}

/* Take a sequence for the pages that the caller is about to read, or return -EBUSY. */
static inline int hmm_legacy_begin(struct hmm_legacy_range *range)
{
	int ret;

	if (!range->hmm)
		return -EFAULT;
	range->read = true;
	if (hmm_range_valid(range))
		return 0;
	ret = hmm_mirror_range_begin(&range->native, &range->seq, 0);
	if (ret == -ESRCH)
		return -EFAULT;
	return ret ? -EBUSY : 0;
}

/* ------------------------------------------------------------------- entries */

static inline struct page *
hmm_device_entry_to_page(const struct hmm_legacy_range *range, u64 entry)
{
	if (entry == range->values[HMM_PFN_NONE] ||
	    entry == range->values[HMM_LEGACY_PFN_ERROR] ||
	    entry == range->values[HMM_PFN_SPECIAL] ||
	    !(entry & range->flags[HMM_LEGACY_PFN_VALID]))
		return NULL;
	return pfn_to_page(entry >> range->pfn_shift);
}

static inline unsigned long
hmm_device_entry_to_pfn(const struct hmm_legacy_range *range, u64 entry)
{
	struct page *page = hmm_device_entry_to_page(range, entry);

	return page ? page_to_pfn(page) : -1UL;
}

static inline u64 hmm_device_entry_from_pfn(const struct hmm_legacy_range *range,
					    unsigned long pfn)
{
	return ((u64)pfn << range->pfn_shift) | range->flags[HMM_LEGACY_PFN_VALID];
}

static inline u64 hmm_device_entry_from_page(const struct hmm_legacy_range *range,
					     struct page *page)
{
	return hmm_device_entry_from_pfn(range, page_to_pfn(page));
}

/* Convert a result of the kernel's hmm_range_fault(). */
static inline u64 hmm_legacy_entry(const struct hmm_legacy_range *range,
				   unsigned long hmm_pfn)
{
	struct page *page;
	u64 entry;

	if (hmm_pfn & HMM_PFN_ERROR)
		return range->values[HMM_LEGACY_PFN_ERROR];
	if (!(hmm_pfn & HMM_PFN_VALID))
		return range->values[HMM_PFN_NONE];

	page = hmm_pfn_to_page(hmm_pfn);
	entry = hmm_device_entry_from_page(range, page);
	if (hmm_pfn & HMM_PFN_WRITE)
		entry |= range->flags[HMM_LEGACY_PFN_WRITE];
	if (is_device_private_page(page))
		entry |= range->flags[HMM_PFN_DEVICE_PRIVATE];
	return entry;
}

/* ---------------------------------------------------------------------- read */

struct hmm_legacy_read {
	struct hmm_legacy_range *range;
	bool fault;		/* fault in requested pages */
	bool may_unlock;	/* a fault may drop the mmap lock; then return -EAGAIN */
};

/* Convert the requests for a page from the driver's flags. */
static inline unsigned long hmm_legacy_request(const struct hmm_legacy_read *read,
					       u64 entry, bool *migrate)
{
	struct hmm_legacy_range *range = read->range;
	u64 ask = (entry & range->pfn_flags_mask) | range->default_flags;

	if (!read->fault || !(ask & range->flags[HMM_LEGACY_PFN_VALID]))
		return 0;
	if (ask & range->flags[HMM_PFN_DEVICE_PRIVATE])
		*migrate = true;
	return HMM_PFN_REQ_FAULT |
	       (ask & range->flags[HMM_LEGACY_PFN_WRITE] ? HMM_PFN_REQ_WRITE : 0);
}

/*
 * Call the kernel's hmm_range_fault() for up to HMM_LEGACY_CHUNK pages. That reads only the mm
 * and the sequence of the notifier, so pass a stub whose sequence never changes.
 */
static inline int hmm_legacy_read_pfns(const struct hmm_legacy_read *read,
				       unsigned long addr, const u64 *entries,
				       unsigned long *pfns, unsigned long nr)
{
	struct mmu_interval_notifier stub = { .mm = read->range->space.mm };
	struct hmm_native_range args = {
		.notifier = &stub,
		.start = addr,
		.end = addr + nr * PAGE_SIZE,
		.hmm_pfns = pfns,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.dev_private_owner = read->range->dev_private_owner,
	};
	bool migrate = false;
	unsigned long i;

	for (i = 0; i < nr; i++)
		pfns[i] = hmm_legacy_request(read, entries[i], &migrate);
	if (migrate)
		args.dev_private_owner = NULL;
	return hmm_range_fault(&args);
}

/*
 * The kernel's hmm_range_fault() never drops the mmap lock, so it fails if a fault handler
 * needs that, as userfaultfd does. Do these faults with fixup_user_fault(), which may drop the
 * lock.
 */
static inline int hmm_legacy_unlock(const struct hmm_legacy_read *read,
				    unsigned long addr, const u64 *entries,
				    unsigned long nr)
{
	struct mm_struct *mm = read->range->space.mm;
	unsigned long request, i;
	bool unlocked = false, migrate;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++) {
		request = hmm_legacy_request(read, entries[i], &migrate);
		if (request)
			ret = fixup_user_fault(mm, addr + i * PAGE_SIZE,
					       request & HMM_PFN_REQ_WRITE ?
					       FAULT_FLAG_WRITE : 0, &unlocked);
	}
	if (!unlocked)
		return ret;
	/* fixup_user_fault() has taken the lock again. */
	mmap_read_unlock(mm);
	return -EAGAIN;
}

/* Return the number of entries read. If that is less than @nr, the next one is an error. */
static inline long hmm_legacy_read_chunk(const struct hmm_legacy_read *read,
					 unsigned long addr, u64 *entries,
					 unsigned long nr)
{
	unsigned long pfns[HMM_LEGACY_CHUNK], i;
	int ret;

	ret = hmm_legacy_read_pfns(read, addr, entries, pfns, nr);
	if (ret == -EFAULT && read->may_unlock) {
		ret = hmm_legacy_unlock(read, addr, entries, nr);
		if (!ret)
			ret = hmm_legacy_read_pfns(read, addr, entries, pfns, nr);
	}
	if (ret)
		return ret;

	for (i = 0; i < nr; i++) {
		entries[i] = hmm_legacy_entry(read->range, pfns[i]);
		if (pfns[i] & HMM_PFN_ERROR)
			break;
	}
	return i;
}

/* Check a VMA before its pages are read, with the errors of 2019. */
static inline int hmm_legacy_check_vma(const struct hmm_legacy_range *range,
				       struct vm_area_struct *vma)
{
	unsigned int shift = PAGE_SHIFT;

	if (!vma || (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)))
		return -EFAULT;
	if (is_vm_hugetlb_page(vma))
		shift = huge_page_shift(hstate_vma(vma));
	if (range->page_shift != PAGE_SHIFT && range->page_shift != shift)
		return -EINVAL;
	return vma->vm_flags & VM_READ ? 0 : -EPERM;
}

static inline void hmm_legacy_fill_none(struct hmm_legacy_range *range,
					unsigned long first, unsigned long end)
{
	while (first < end)
		range->pfns[first++] = range->values[HMM_PFN_NONE];
}

/*
 * Read the range once, with the mmap lock held. If this returns -EAGAIN, the lock was dropped.
 * Return the number of entries read, which is less than that of the range if one is an error.
 *
 * After -EAGAIN and -EBUSY, entries that were not read still hold the requests. In 2019 they
 * did not, and the driver's next attempt requested no pages.
 */
static inline long hmm_legacy_read_once(const struct hmm_legacy_read *read)
{
	struct hmm_legacy_range *range = read->range;
	unsigned long nr = (range->end - range->start) >> range->page_shift;
	unsigned long size = 1UL << range->page_shift, addr, i = 0, n;
	/* For a huge page, only its first page is read. */
	unsigned long chunk = size == PAGE_SIZE ? HMM_LEGACY_CHUNK : 1;
	struct mm_struct *mm = range->space.mm;
	struct vm_area_struct *vma;
	long ret = 0;

	/* In 5.2 a range does not hold mm_users. */
	if (!mmget_not_zero(mm))
		return -EFAULT;
	/* If the OOM reaper has unmapped pages, faults would find zeroes. */
	if (check_stable_address_space(mm))
		ret = -EFAULT;

	while (!ret && i < nr) {
		addr = range->start + i * size;
		vma = find_vma(mm, addr);
		ret = hmm_legacy_check_vma(range, vma);
		if (!ret && addr < vma->vm_start && read->fault)
			ret = -EFAULT;	/* 2019 continued without a VMA */
		if (ret)
			break;

		if (addr < vma->vm_start) {
			n = min(range->end, vma->vm_start) - addr;
			n = min(DIV_ROUND_UP(n, size), nr - i);
			hmm_legacy_fill_none(range, i, i + n);
		} else {
			range->vma = vma;
			n = min3((min(range->end, vma->vm_end) - addr) / size, nr - i, chunk);
			ret = hmm_legacy_read_chunk(read, addr, range->pfns + i, n);
			if (ret >= 0 && ret < n) {
				i += ret;
				hmm_legacy_fill_none(range, i + 1, nr);
				break;
			}
			ret = min(ret, 0L);
		}
		if (!ret)
			i += n;
		/* If the range was invalidated, the error may be as stale as a page. */
		else if (ret != -EAGAIN && !hmm_range_valid(range))
			ret = -EBUSY;
	}
	/* The last mmput() would run exit_mmap() and ->release in this thread. */
	mmput_async(mm);

	if (ret < 0 && ret != -EAGAIN && ret != -EBUSY)
		hmm_legacy_fill_none(range, i, nr);
	return ret < 0 ? ret : i;
}

/*
 * Read the range after hmm_legacy_begin(). A fault that breaks COW invalidates the range. In
 * 2019 drivers rarely noticed, and some do not retry. So read the range again here: then there
 * is no COW to break.
 */
static inline long hmm_legacy_read_range(const struct hmm_legacy_read *read)
{
	struct hmm_legacy_range *range = read->range;
	unsigned long nr = (range->end - range->start) >> range->page_shift;
	u64 *requests = NULL;
	int tries = 3;
	long ret;

	/* The entries that were read replace the requests by page. */
	if (read->fault && range->pfn_flags_mask) {
		requests = kvmalloc_array(nr, sizeof(*requests), GFP_KERNEL);
		if (!requests)
			return -ENOMEM;
		memcpy(requests, range->pfns, nr * sizeof(*requests));
	}
	for (;;) {
		ret = hmm_legacy_read_once(read);
		if (ret < 0 || !--tries || hmm_range_valid(range) || hmm_legacy_begin(range))
			break;
		if (requests)
			memcpy(range->pfns, requests, nr * sizeof(*requests));
	}
	kvfree(requests);
	return ret;
}

/*
 * Return the result for drivers: the number of pages of PAGE_SIZE, or an error. A snapshot in
 * 5.2 and 5.3 (@partial) returns the number of pages before the first that is an error.
 */
static inline long hmm_legacy_pages(struct hmm_legacy_range *range, long read,
				    bool partial)
{
	unsigned long nr = (range->end - range->start) >> range->page_shift;

	if (read >= 0 && read < nr && !partial)
		return -EFAULT;
	return read < 0 ? read : read << (range->page_shift - PAGE_SHIFT);
}

/* ----------------------------------------------------------------------- DMA */

static inline enum dma_data_direction
hmm_legacy_dma_direction(const struct hmm_legacy_range *range, u64 entry)
{
	return entry & range->flags[HMM_LEGACY_PFN_WRITE] ? DMA_BIDIRECTIONAL :
							     DMA_TO_DEVICE;
}

/* Unmap those of the first @nr entries that are mapped. Return their number. */
static inline long hmm_legacy_dma_unmap(struct hmm_legacy_range *range,
					struct device *device, dma_addr_t *daddrs,
					unsigned long nr, bool dirty, bool clear)
{
	enum dma_data_direction dir;
	struct page *page;
	unsigned long i;
	long count = 0;

	for (i = 0; i < nr; i++) {
		page = hmm_device_entry_to_page(range, range->pfns[i]);
		if (!page)
			continue;
		dir = hmm_legacy_dma_direction(range, range->pfns[i]);
		if (dirty && dir == DMA_BIDIRECTIONAL)
			set_page_dirty(page);
		dma_unmap_page(device, daddrs[i], 1UL << range->page_shift, dir);
		daddrs[i] = 0;
		if (clear)
			range->pfns[i] = range->values[HMM_PFN_NONE];
		count++;
	}
	return count;
}

/* Map the pages that hmm_range_fault() has read, for hmm_range_dma_map(). */
static inline long hmm_legacy_dma_map(struct hmm_legacy_range *range,
				      struct device *device, dma_addr_t *daddrs)
{
	unsigned long nr = (range->end - range->start) >> range->page_shift, i;
	struct page *page;
	long mapped = 0;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		daddrs[i] = 0;
		page = hmm_device_entry_to_page(range, range->pfns[i]);
		if (!page)
			continue;
		if (!hmm_range_valid(range)) {
			ret = -EBUSY;
			break;
		}
		daddrs[i] = dma_map_page(device, page, 0, 1UL << range->page_shift,
					 hmm_legacy_dma_direction(range, range->pfns[i]));
		if (dma_mapping_error(device, daddrs[i])) {
			daddrs[i] = 0;
			ret = -EFAULT;
			break;
		}
		mapped++;
	}
	if (!ret)
		return mapped;
	hmm_legacy_dma_unmap(range, device, daddrs, i, false, false);
	return ret;
}

static inline long hmm_legacy_dma_unmap_range(struct hmm_legacy_range *range,
					      struct device *device,
					      dma_addr_t *daddrs, bool dirty)
{
	if (range->end <= range->start || !daddrs || !range->pfns)
		return -EINVAL;
	return hmm_legacy_dma_unmap(range, device, daddrs,
				    (range->end - range->start) >> range->page_shift,
				    dirty, true);
}

/* --------------------------------------------------------------------- names */

/* From here on, these names mean those of 2019, not those of the kernel and hmm_mirror. */
#ifdef HMM_LEGACY_MACROS
#define hmm_mirror		hmm_legacy_mirror
#define hmm_mirror_ops		hmm_legacy_mirror_ops
#define hmm_range		hmm_legacy_range
#endif
#define hmm_mirror_register	hmm_legacy_mirror_register
#define hmm_mirror_unregister	hmm_legacy_mirror_unregister
#define hmm_range_fault		hmm_legacy_range_fault
#define HMM_PFN_VALID		HMM_LEGACY_PFN_VALID
#define HMM_PFN_WRITE		HMM_LEGACY_PFN_WRITE
#define HMM_PFN_ERROR		HMM_LEGACY_PFN_ERROR

/* Its name before 5.8. */
#define mmap_sem		mmap_lock

/* ---------------------------------------------------------- until 5.3: no flags */

#if HMM_LEGACY_RELEASE < 504

/* Deprecated names. */
#define hmm_pfn_to_page		hmm_device_entry_to_page
#define hmm_pfn_to_pfn		hmm_device_entry_to_pfn
#define hmm_pfn_from_page	hmm_device_entry_from_page
#define hmm_pfn_from_pfn	hmm_device_entry_from_pfn

static inline unsigned int hmm_range_page_shift(const struct hmm_range *range)
{
	return range->page_shift;
}

static inline unsigned long hmm_range_page_size(const struct hmm_range *range)
{
	return 1UL << range->page_shift;
}

/**
 * hmm_range_snapshot() - read the pages of a range without faulting
 * @range: a registered range
 *
 * Context: process context, sleeps. The caller holds the mmap lock for reading.
 * Return: the number of pages before the first that is an error; if an invalidation of the
 * range is in flight, -EAGAIN in 5.2 (with the mmap lock still held) and -EBUSY since 5.3;
 * -EFAULT, -EPERM.
 */
static inline long hmm_range_snapshot(struct hmm_range *range)
{
	struct hmm_legacy_read read = { .range = range };
	long ret = hmm_legacy_begin(range);

	if (!ret)
		ret = hmm_legacy_pages(range, hmm_legacy_read_range(&read), true);
	return HMM_LEGACY_RELEASE == 502 && ret == -EBUSY ? -EAGAIN : ret;
}

/**
 * hmm_range_fault() - read the pages of a range and fault them in
 * @range: a registered range
 * @block: do not drop the mmap lock
 *
 * Context: process context, sleeps. The caller holds the mmap lock for reading.
 * Return: the number of pages, which is that of the range; -EAGAIN if the mmap lock was
 * dropped: try again (with @block only in 5.2, if an invalidation of the range is in flight);
 * -EBUSY, with the lock still held, if an invalidation of the range is in flight; -EFAULT if
 * there is no memory, or none that a device can use; -EPERM if the access is not allowed;
 * others as of handle_mm_fault().
 */
static inline long hmm_range_fault(struct hmm_range *range, bool block)
{
	struct hmm_legacy_read read = {
		.range = range,
		.fault = true,
		.may_unlock = !block,
	};
	int ret = hmm_legacy_begin(range);

	if (HMM_LEGACY_RELEASE == 502 && ret == -EBUSY) {
		mmap_read_unlock(range->space.mm);
		return -EAGAIN;
	}
	return ret ?: hmm_legacy_pages(range, hmm_legacy_read_range(&read), false);
}

/* Call hmm_range_fault() and map the pages. Return the number of pages mapped. */
static inline long hmm_range_dma_map(struct hmm_range *range, struct device *device,
				     dma_addr_t *daddrs, bool block)
{
	long ret = hmm_range_fault(range, block);

	return ret < 0 ? ret : hmm_legacy_dma_map(range, device, daddrs);
}

/* The caller holds the lock that the callback takes. Return the number of pages unmapped. */
static inline long hmm_range_dma_unmap(struct hmm_range *range, struct vm_area_struct *vma,
				       struct device *device, dma_addr_t *daddrs,
				       bool dirty)
{
	return hmm_legacy_dma_unmap_range(range, device, daddrs, dirty);
}

#endif

#endif /* HMM_MIRROR_LEGACY_COMMON_H */
