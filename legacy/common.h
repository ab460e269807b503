/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: what the legacy headers hmm_5_2.h, hmm_5_3.h and hmm_5_4.h share. Not to
 * be included by drivers.
 *
 * The caller of 2019 holds the mmap lock for reading around hmm_range_fault(), and has
 * looked up memory areas under it; the native functions take it themselves. So that no
 * lock is dropped behind the caller's back, pages are read here by the kernel's own
 * hmm_range_fault(). Only the validity of the range is hmm_mirror's.
 *
 * That validity is a sequence, taken when the pages are read. hmm_range_valid() asks
 * whether it still is the current one, and so sees an invalidation that came and went.
 *
 * "Until 5.4" and the like below: mm/hmm.c and include/linux/hmm.h of that release.
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
 * The structures of 2019 have their own names, so that a header of the driver can mention
 * them before this. For that the kernel's and hmm_mirror's get other names in this file. If
 * <linux/hmm.h> or hmm_mirror.h came before, the names of 2019 are macros instead, and every
 * header that mentions them has to come behind this one.
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

/* Pages that are read at once; their entries are on the stack. */
#define HMM_LEGACY_CHUNK	64

/*
 * What drivers looked up in it: the mm. It was at ->mm until 5.3, and then at
 * ->mmu_notifier.mm.
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
	void (*release)(struct hmm_legacy_mirror *mirror);	/* may be missing */
	int (*sync_cpu_device_pagetables)(struct hmm_legacy_mirror *mirror,
					  const HMM_LEGACY_UPDATE *update);
};

struct hmm_legacy_mirror {
	struct hmm *hmm;	/* NULL: not registered */
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

/* With the mmap lock held for writing. */
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

/* In 5.2 a second time did nothing. */
static inline void hmm_legacy_detach(struct hmm_legacy_mirror *mirror)
{
	if (!mirror->hmm)
		return;
	hmm_mirror_unregister(&mirror->native);
	mirror->hmm = NULL;
}

/* -------------------------------------------------------------------- ranges */

/* Indices of flags[]; they are not the flags of today, which have the same names. */
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
 * @hmm: NULL if it is not registered
 * @vma: of the page that was read last; gone in 5.4
 * @start: first address
 * @end: first address behind
 * @pfns: one entry a page, (pfn << @pfn_shift) | flags, or one of @values. In: what is
 *	asked for, as flags.
 * @flags: bits of the device for enum hmm_pfn_flag_e
 * @values: entries of the device for enum hmm_pfn_value_e
 * @default_flags: asked for every page
 * @pfn_flags_mask: which bits of @pfns count as input
 * @page_shift: of the pages that @pfns are of; gone in 5.4
 * @pfn_shift: where in an entry the pfn begins
 * @dev_private_owner: pages of this owner in device memory are left there. New, as
 *	kernels now want to know. Cleared by registration, to be set after it.
 * @list: not used; drivers initialise it
 *
 * What 2019 had more of was private. A driver that looks at ->valid has to call
 * hmm_range_valid(), which all three releases have.
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
	unsigned long seq;	/* of the pages, once there are some */
	bool read;		/* there are */
};

/* Whatever the state of the mmap lock, like all of 2019 that registers ranges. */
static inline int hmm_legacy_track(struct hmm_legacy_range *range,
				   struct hmm_legacy_mirror *mirror)
{
	unsigned long mask = (1UL << range->page_shift) - 1;
	int ret;

	range->hmm = NULL;
	if ((range->start & mask) || (range->end & mask) || range->start >= range->end)
		return -EINVAL;

	/* From 5.3 on a range kept the process from exiting. */
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
	/* Valid at once if nothing is in flight: some drivers did not wait. */
	if (hmm_mirror_range_begin(&range->native, &range->seq, 0))
		range->seq = 0;	/* of nobody */
	return 0;
}

/**
 * hmm_range_unregister() - the range is not used any more
 * @range: a registered range; in 5.2 a second time did nothing
 *
 * Not mmput() as in 2019: drivers call this with the lock held that their ->release
 * takes, which the last mmput() runs.
 *
 * Context: any; does not sleep.
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
 * @timeout: milliseconds
 *
 * What has been read before stays stale if it was: it must be read again. In 2019 it
 * became "valid" again. And now it waits for invalidations of this range only, and a
 * fatal signal ends it.
 *
 * Context: process context, may sleep; without a lock that the callback takes. The mmap
 * lock may be held for reading, as nouveau did.
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
 * hmm_range_valid() - are the pages of the range still those that were read?
 * @range: a registered range
 *
 * Context: any; under the lock that the callback takes.
 * Return: false if an invalidation of the range began since hmm_range_fault() or
 * hmm_range_snapshot() was called; before the first of these, since the last wait.
 */
static inline bool hmm_range_valid(struct hmm_legacy_range *range)
{
	return range->hmm && !hmm_mirror_range_retry(&range->native, range->seq);
}

/* What is read from here on is as of a new sequence; -EBUSY: it is being changed. */
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

/* From what the kernel's hmm_range_fault() says. */
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
	bool fault;		/* fault in what the range asks for */
	bool may_unlock;	/* a fault may drop the mmap lock: then -EAGAIN */
};

/* From what the range asks for, as flags of the device. */
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
 * The kernel's hmm_range_fault(), of up to HMM_LEGACY_CHUNK pages. It reads nothing of
 * the notifier but the mm, and a sequence that stands still in ours.
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
 * The kernel's hmm_range_fault() never drops the mmap lock, which is all that some
 * faults want: userfaultfd, for one. Does them in the way that may.
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
	/* it has taken the lock again */
	mmap_read_unlock(mm);
	return -EAGAIN;
}

/* Returns how many entries were read; the one behind them is an error, if less than nr. */
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

/* What 2019 said of memory areas before it looked at their pages. */
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
 * Reads the range once, with the mmap lock held. After -EAGAIN it is not held any more.
 * Returns how many entries were read: less than there are if one is an error.
 *
 * After -EAGAIN and -EBUSY what was asked for in pfns is still there, as far as it was
 * not read. In 2019 it was gone, and the driver's next try asked for nothing.
 */
static inline long hmm_legacy_read_once(const struct hmm_legacy_read *read)
{
	struct hmm_legacy_range *range = read->range;
	unsigned long nr = (range->end - range->start) >> range->page_shift;
	unsigned long size = 1UL << range->page_shift, addr, i = 0, n;
	/* a huge page is read by its first */
	unsigned long chunk = size == PAGE_SIZE ? HMM_LEGACY_CHUNK : 1;
	struct mm_struct *mm = range->space.mm;
	struct vm_area_struct *vma;
	long ret = 0;

	/* In 5.2 a range did not keep the process from exiting. */
	if (!mmget_not_zero(mm))
		return -EFAULT;
	/* The OOM reaper has been there: what comes now is not what was there. */
	if (check_stable_address_space(mm))
		ret = -EFAULT;

	while (!ret && i < nr) {
		addr = range->start + i * size;
		vma = find_vma(mm, addr);
		ret = hmm_legacy_check_vma(range, vma);
		if (!ret && addr < vma->vm_start && read->fault)
			ret = -EFAULT;	/* 2019 went on with no vma at all */
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
		/* An error that was found while pages changed is no more true than they. */
		else if (ret != -EAGAIN && !hmm_range_valid(range))
			ret = -EBUSY;
	}
	/* not mmput(): the last one would run exit and ->release right here */
	mmput_async(mm);

	if (ret < 0 && ret != -EAGAIN && ret != -EBUSY)
		hmm_legacy_fill_none(range, i, nr);
	return ret < 0 ? ret : i;
}

/*
 * After hmm_legacy_begin(). A fault that breaks COW invalidates the range itself, which
 * drivers of 2019 hardly noticed, and some do not try again. There is nothing to break
 * when it is read once more.
 */
static inline long hmm_legacy_read_range(const struct hmm_legacy_read *read)
{
	int tries = 3;
	long ret;

	do {
		ret = hmm_legacy_read_once(read);
	} while (ret >= 0 && --tries && !hmm_range_valid(read->range) &&
		 !hmm_legacy_begin(read->range));
	return ret;
}

/*
 * As drivers see it: the number of pages of PAGE_SIZE, or an error. 5.2 and 5.3 gave no
 * error for a snapshot of a page that cannot be had, but the number of those before it.
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

/* Unmaps the first @nr entries, as far as they are mapped. Returns how many were. */
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

/* What follows hmm_range_fault() in hmm_range_dma_map(). */
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

/* From here on these are the names of 2019, not those of the kernel and hmm_mirror. */
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

/* Its name until 5.7. */
#define mmap_sem		mmap_lock

/* ---------------------------------------------------------- until 5.3: no flags */

#if HMM_LEGACY_RELEASE < 504

/* Names that were on their way out. */
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
 * hmm_range_snapshot() - read the pages of a range as they are
 * @range: a registered range
 *
 * Context: process context, sleeps. The mmap lock is held for reading.
 * Return: the number of pages before the first that cannot be had at all; while the
 * range is being invalidated -EAGAIN in 5.2 (the mmap lock still is held), -EBUSY from
 * 5.3 on; -EFAULT, -EPERM.
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
 * hmm_range_fault() - read the pages of a range, and fault them in
 * @range: a registered range
 * @block: do not drop the mmap lock
 *
 * Context: process context, sleeps. The mmap lock is held for reading.
 * Return: the number of pages, which is all of them. -EAGAIN: the mmap lock was dropped,
 * try again; if @block only in 5.2, where the range was being invalidated. -EBUSY: it is
 * being invalidated, and the lock still is held. -EFAULT if there is no memory, or none
 * that a device can use; -EPERM if it is not to be read or written; others as of
 * handle_mm_fault().
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

/* hmm_range_fault(), and map what it found. Returns how many pages were mapped. */
static inline long hmm_range_dma_map(struct hmm_range *range, struct device *device,
				     dma_addr_t *daddrs, bool block)
{
	long ret = hmm_range_fault(range, block);

	return ret < 0 ? ret : hmm_legacy_dma_map(range, device, daddrs);
}

/* Under the lock that the callback takes. Returns how many pages were unmapped. */
static inline long hmm_range_dma_unmap(struct hmm_range *range, struct vm_area_struct *vma,
				       struct device *device, dma_addr_t *daddrs,
				       bool dirty)
{
	return hmm_legacy_dma_unmap_range(range, device, daddrs, dirty);
}

#endif

#endif /* HMM_MIRROR_LEGACY_COMMON_H */
