// SPDX-License-Identifier: GPL-2.0
/*
 * The HMM part of a driver for Linux 5.4, as a test of legacy/to_native.cocci. It must build
 * before and after the script has converted it to the native API. Nothing runs it.
 *
 * It uses HMM as the drivers of that time did: device page faults in a buffer, with a range on
 * the stack that is passed to helper functions; user memory of buffer objects, with an
 * allocated range; and windows, with ranges in structures.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

/* Some drivers have this in a header that they include first. */
struct hmm_range;

#include "legacy/hmm_5_4.h"

#define DEV_PAGES	16
#define DEV_FAULTS	64

/**
 * struct dev_space - an address space of the device
 * @mirror: mirror of the process
 * @lock: the driver lock; protects @page and @write
 * @base: first address that the device can use
 * @page: device page table
 * @write: for each page, whether the device may write to it
 */
struct dev_space {
	struct hmm_mirror mirror;
	struct mutex lock;	/* driver lock */
	unsigned long base;
	struct page *page[DEV_PAGES];
	bool write[DEV_PAGES];
};

/* An entry of the fault buffer of the device. */
struct dev_fault {
	struct dev_space *space;
	unsigned long addr;
	bool write;
	bool served;
};

struct dev_fault_buffer {
	struct dev_fault *fault[DEV_FAULTS];
	unsigned int nr;
};

/* User memory that the device uses until it is invalidated. */
struct dev_bo {
	struct dev_space *space;
	unsigned long start;
	unsigned long nr;
	bool readonly;
	struct page **pages;
	struct hmm_range *range;
};

struct dev_window {
	struct dev_space *space;
	struct hmm_range range;
	u64 entries[DEV_PAGES];
};

static const u64 dev_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = BIT(0),
	[HMM_PFN_WRITE] = BIT(1),
};

static const u64 dev_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = BIT(2),
	[HMM_PFN_SPECIAL] = BIT(3),
};

/* -------------------------------------------------------------------- mirror */

static int dev_sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct dev_space *space = container_of(mirror, struct dev_space, mirror);

	if (mmu_notifier_range_blockable(update))
		mutex_lock(&space->lock);
	else if (!mutex_trylock(&space->lock))
		return -EAGAIN;
	memset(space->page, 0, sizeof(space->page));
	mutex_unlock(&space->lock);
	return 0;
}

static void dev_release(struct hmm_mirror *mirror)
{
	struct dev_space *space = container_of(mirror, struct dev_space, mirror);

	mutex_lock(&space->lock);
	memset(space->page, 0, sizeof(space->page));
	mutex_unlock(&space->lock);
}

static const struct hmm_mirror_ops dev_mirror_ops = {
	.sync_cpu_device_pagetables = dev_sync,
	.release = dev_release,
};

static int dev_bind(struct dev_space *space, struct mm_struct *mm)
{
	int ret;

	space->mirror.ops = &dev_mirror_ops;
	down_write(&mm->mmap_sem);
	ret = hmm_mirror_register(&space->mirror, mm);
	up_write(&mm->mmap_sem);
	return ret;
}

/* Register the mirror, and check the mm under the same hold of the mmap lock. */
static int dev_bind_at(struct dev_space *space, struct mm_struct *mm, unsigned long base)
{
	int ret;

	space->mirror.ops = &dev_mirror_ops;
	down_write(&mm->mmap_sem);
	if (!find_vma(mm, base)) {
		ret = -EFAULT;
		goto out;
	}
	space->base = base;
	ret = hmm_mirror_register(&space->mirror, mm);
out:
	up_write(&mm->mmap_sem);
	return ret;
}

static void dev_unbind(struct dev_space *space)
{
	hmm_mirror_unregister(&space->mirror);
}

/* ------------------------------------------------------------------- helpers */

static void dev_range_init(struct hmm_range *range)
{
	range->flags = dev_flags;
	range->values = dev_values;
	range->pfn_shift = PAGE_SHIFT;
	INIT_LIST_HEAD(&range->list);
}

/* Fault a range; with the mmap lock held for reading, which is dropped if this fails. */
static int dev_range_fault(struct dev_space *space, struct hmm_range *range)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	long got;

	got = hmm_range_register(range, &space->mirror);
	if (got)
		goto out_unlock;
	got = -EBUSY;
	if (!hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT))
		goto out_unregister;
	got = hmm_range_fault(range, 0);
	if (got > 0)
		return 0;
	if (!got)
		got = -EBUSY;
out_unregister:
	hmm_range_unregister(range);
out_unlock:
	up_read(&mm->mmap_sem);
	return got;
}

static bool dev_range_done(struct hmm_range *range)
{
	bool valid = hmm_range_valid(range);

	hmm_range_unregister(range);
	return valid;
}

static void dev_install(struct dev_space *space, const struct hmm_range *range)
{
	unsigned long addr, i = 0, first = (range->start - space->base) >> PAGE_SHIFT;

	lockdep_assert_held(&space->lock);
	for (addr = range->start; addr < range->end; addr += PAGE_SIZE, i++) {
		if (range->pfns[i] == range->values[HMM_PFN_ERROR])
			continue;
		space->page[first + i] = hmm_device_entry_to_page(range, range->pfns[i]);
		space->write[first + i] = range->pfns[i] & range->flags[HMM_PFN_WRITE];
	}
}

/* --------------------------------------------------------- device page faults */

static bool dev_is_next_to(const struct dev_fault *fault, const struct dev_fault *last)
{
	return fault->space == last->space && fault->write == last->write &&
	       fault->addr <= last->addr + PAGE_SIZE;
}

/* Serve faults of adjacent pages together, from @first on. */
static int dev_serve(struct dev_fault_buffer *buffer, unsigned int first, unsigned int end)
{
	struct dev_fault *fault = buffer->fault[first];
	struct dev_space *space = fault->space;
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	struct hmm_range range;
	u64 pfns[DEV_PAGES];
	unsigned long i, seq = 0;
	int ret;

	dev_range_init(&range);
	range.start = fault->addr & PAGE_MASK;
	range.end = min(buffer->fault[end - 1]->addr + PAGE_SIZE,
			range.start + DEV_PAGES * PAGE_SIZE) & PAGE_MASK;
	range.pfns = pfns;
	range.default_flags = 0;
	range.pfn_flags_mask = -1UL;
again:
	for (i = 0; i < DEV_PAGES; i++) {
		pfns[i] = range.flags[HMM_PFN_VALID];
		if (fault->write)
			pfns[i] |= range.flags[HMM_PFN_WRITE];
	}
	down_read(&mm->mmap_sem);
	ret = dev_range_fault(space, &range);
	if (ret == -EBUSY && ++seq < 100)
		goto again;
	if (ret)
		return ret;

	mutex_lock(&space->lock);
	if (!dev_range_done(&range)) {
		mutex_unlock(&space->lock);
		up_read(&mm->mmap_sem);
		goto again;
	}
	dev_install(space, &range);
	mutex_unlock(&space->lock);
	up_read(&mm->mmap_sem);
	for (i = first; i < end; i++)
		buffer->fault[i]->served = true;
	return 0;
}

static int dev_serve_all(struct dev_fault_buffer *buffer)
{
	unsigned int first, end;
	int ret = 0;

	for (first = 0; first < buffer->nr && !ret; first = end) {
		for (end = first + 1; end < buffer->nr; end++) {
			if (!dev_is_next_to(buffer->fault[end], buffer->fault[end - 1]))
				break;
		}
		ret = dev_serve(buffer, first, end);
	}
	return ret;
}

/* The loop of Documentation/vm/hmm.rst. */
static int dev_fault(struct dev_space *space, unsigned long start, unsigned long end,
		     bool write)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	struct hmm_range range;
	u64 pfns[DEV_PAGES];
	unsigned long i;
	long ret;

	range.start = start;
	range.end = end;
	range.pfns = pfns;
	range.flags = dev_flags;
	range.values = dev_values;
	range.pfn_shift = PAGE_SHIFT;
	range.pfn_flags_mask = 0;
	range.default_flags = range.flags[HMM_PFN_VALID];
	if (write)
		range.default_flags |= range.flags[HMM_PFN_WRITE];
	ret = hmm_range_register(&range, &space->mirror);
	if (ret)
		return ret;

	hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT);
again:
	down_read(&mm->mmap_sem);
	ret = hmm_range_fault(&range, 0);
	if (ret <= 0) {
		up_read(&mm->mmap_sem);
		if (ret == -EBUSY) {
			hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT);
			goto again;
		}
		hmm_range_unregister(&range);
		return ret;
	}
	mutex_lock(&space->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&space->lock);
		up_read(&mm->mmap_sem);
		goto again;
	}
	for (i = 0; i < (end - start) >> PAGE_SHIFT; i++) {
		space->page[i] = hmm_device_entry_to_page(&range, pfns[i]);
		space->write[i] = pfns[i] & range.flags[HMM_PFN_WRITE];
	}
	hmm_range_unregister(&range);
	mutex_unlock(&space->lock);
	up_read(&mm->mmap_sem);
	return 0;
}

/* Store in @present whether a page is present. */
static int dev_look(struct dev_space *space, unsigned long addr, bool *present)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	u64 entry;
	struct hmm_range range = {
		.start = addr,
		.end = addr + PAGE_SIZE,
		.pfns = &entry,
		.flags = dev_flags,
		.values = dev_values,
		.pfn_shift = PAGE_SHIFT,
	};
	long ret;

	ret = hmm_range_register(&range, &space->mirror);
	if (ret)
		return ret;
	if (!hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT)) {
		hmm_range_unregister(&range);
		return -ETIME;
	}
	down_read(&mm->mmap_sem);
	ret = hmm_range_fault(&range, HMM_FAULT_SNAPSHOT);
	up_read(&mm->mmap_sem);
	if (ret > 0 && !hmm_range_valid(&range))
		ret = -EBUSY;
	*present = ret > 0 && (entry & range.flags[HMM_PFN_VALID]);
	hmm_range_unregister(&range);
	return ret < 0 ? ret : 0;
}

/* ------------------------------------------------------------ buffer objects */

static int dev_bo_get_pages(struct dev_bo *bo)
{
	struct dev_space *space = bo->space;
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	struct hmm_range *range;
	int ret = -ENOMEM, tries = 10;
	unsigned long i;
	u64 *pfns;

	range = kzalloc(sizeof(*range), GFP_KERNEL);
	pfns = kvmalloc_array(bo->nr, sizeof(*pfns), GFP_KERNEL);
	if (!range || !pfns)
		goto out_free;

	dev_range_init(range);
	range->default_flags = range->flags[HMM_PFN_VALID];
	range->default_flags |= bo->readonly ? 0 : range->flags[HMM_PFN_WRITE];
	range->pfn_flags_mask = 0;
	range->pfns = pfns;
	range->start = bo->start;
	range->end = bo->start + (bo->nr << PAGE_SHIFT);
	ret = hmm_range_register(range, &space->mirror);
	if (ret)
		goto out_free;

	do {
		hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT);
		down_read(&mm->mmap_sem);
		ret = hmm_range_fault(range, 0);
		up_read(&mm->mmap_sem);
	} while (ret == -EBUSY && --tries);
	if (unlikely(ret <= 0))
		goto out_unregister;

	for (i = 0; i < bo->nr; i++) {
		bo->pages[i] = hmm_device_entry_to_page(range, pfns[i]);
		if (!bo->pages[i]) {
			ret = -EFAULT;
			goto out_unregister;
		}
	}
	bo->range = range;
	return 0;

out_unregister:
	hmm_range_unregister(range);
out_free:
	kvfree(pfns);
	kfree(range);
	return ret;
}

/* Release the pages; with the driver lock held. Return true if they are still valid. */
static bool dev_bo_put_pages(struct dev_bo *bo)
{
	bool valid = false;

	if (bo->range) {
		valid = hmm_range_valid(bo->range);
		hmm_range_unregister(bo->range);
		kvfree(bo->range->pfns);
		kfree(bo->range);
		bo->range = NULL;
	}
	return valid;
}

/* ------------------------------------------------------------------- windows */

static int dev_window_open(struct dev_window *window, struct dev_space *space,
			   unsigned long start)
{
	window->space = space;
	dev_range_init(&window->range);
	window->range.start = start;
	window->range.end = start + DEV_PAGES * PAGE_SIZE;
	window->range.pfns = window->entries;
	return hmm_range_register(&window->range, &space->mirror);
}

/* Map all pages of the window that are present. */
static int dev_window_fill(struct dev_window *window)
{
	struct dev_space *space = window->space;
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	int ret;

	down_read(&mm->mmap_sem);
	ret = hmm_range_fault(&window->range, HMM_FAULT_SNAPSHOT);
	up_read(&mm->mmap_sem);
	if (ret < 0)
		return ret;

	mutex_lock(&space->lock);
	ret = hmm_range_valid(&window->range) ? 0 : -EAGAIN;
	if (!ret)
		dev_install(space, &window->range);
	mutex_unlock(&space->lock);
	return ret;
}

static void dev_window_close(struct dev_window *window)
{
	hmm_range_unregister(&window->range);
}

static const struct {
	typeof(dev_bind) *bind;
	typeof(dev_bind_at) *bind_at;
	typeof(dev_unbind) *unbind;
	typeof(dev_serve_all) *serve;
	typeof(dev_fault) *fault;
	typeof(dev_look) *look;
	typeof(dev_bo_get_pages) *get;
	typeof(dev_bo_put_pages) *put;
	typeof(dev_window_open) *open;
	typeof(dev_window_fill) *fill;
	typeof(dev_window_close) *close;
} dev_calls __used = {
	dev_bind, dev_bind_at, dev_unbind, dev_serve_all, dev_fault, dev_look,
	dev_bo_get_pages, dev_bo_put_pages, dev_window_open, dev_window_fill,
	dev_window_close,
};

MODULE_DESCRIPTION("A driver for Linux 5.4, to be converted to the native API");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);
