// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: memory of the device, for pages of processes. The CPU cannot access these pages
 * ("device private"). A command moves pages there. A page fault of the CPU or of another GPU
 * moves them back.
 *
 * migrate_vma_setup() invalidates, so the thread that moves pages to the device runs the
 * driver's callback, too. The callback may return at once, because the same thread removes
 * the device PTEs later, before it copies:
 *
 *	fault, engine			thread that moves pages
 *
 *					migrate_vma_setup(): start
 *					  raise sequences of all ranges hit	(A)
 *					  the callback returns at once
 *					  CPU PTEs become migration entries
 *					end					(B)
 *	the engine uses the old pages
 *					lock; remove device PTEs; unlock	(C)
 *					copy
 *					migrate_vma_pages()
 *					migrate_vma_finalize():
 *					  restore CPU PTEs			(D)
 *
 *	[the device writes to an old page after it was copied: never]
 *
 * A fault that began before (A) collides. A fault that begins after (A) waits for (B), then
 * reads a migration entry and waits for (D). So no fault installs an old page after (C). Until
 * (C) the device may have a PTE for an old page that no CPU PTE maps. VERIFY would report
 * that as stale, so it takes gpu_space.moving.
 *
 * The callback must not skip all updates with the GPU as their owner. Other files of the same
 * device have their own page tables. migrate_vma_pages() invalidates for zero pages, which the
 * device may have mapped since (C). And a thread that moves a page back to RAM does not know
 * which files have mapped it. So the callback skips only updates by gpu_space.mover.
 */
#include <linux/bitmap.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pfn.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "compat/devmem.h"
#include "hmm_gpu_priv.h"

/* Maximum number of pages per migrate_vma_setup(). */
#define MOVE_PAGES	32

/**
 * struct gpu_mem - memory of a device
 * @pgmap: struct pages, at physical addresses without memory
 * @words: the memory
 * @nr_pages: size of @words
 * @lock: protects @used
 * @used: bitmap of pages in use
 */
struct gpu_mem {
	struct dev_pagemap pgmap;
	void *words;
	unsigned long nr_pages;
	spinlock_t lock;	/* see above */
	unsigned long *used;
};

static struct gpu_mem *gpu_mem_of(const struct page *page)
{
	return container_of(page_pgmap(page), struct gpu_mem, pgmap);
}

static unsigned long gpu_mem_index(const struct gpu_mem *mem, const struct page *page)
{
	return page_to_pfn(page) - PHYS_PFN(mem->pgmap.range.start);
}

/* Return the address of the data of a device private page, for the engine. */
void *gpu_mem_address(const struct page *page)
{
	struct gpu_mem *mem = gpu_mem_of(page);

	return mem->words + (gpu_mem_index(mem, page) << PAGE_SHIFT);
}

/* Allocate a page, locked and with one reference; NULL if the memory is full. */
static struct page *gpu_mem_alloc(struct gpu_mem *mem)
{
	unsigned long i;
	struct page *page;

	spin_lock(&mem->lock);
	i = find_first_zero_bit(mem->used, mem->nr_pages);
	if (i < mem->nr_pages)
		__set_bit(i, mem->used);
	spin_unlock(&mem->lock);
	if (i == mem->nr_pages)
		return NULL;

	/*
	 * The page needs gpu_mem_ops while a process has it, even if that is a child without
	 * an open file of the GPU.
	 */
	__module_get(THIS_MODULE);
	page = pfn_to_page(PHYS_PFN(mem->pgmap.range.start) + i);
	hmm_mirror_compat_page_init(page, &mem->pgmap);
	return page;
}

/* The last reference to the page is gone. memunmap_pages() waits until this has returned. */
static void gpu_mem_free(struct hmm_mirror_compat_freed *freed)
{
	struct page *page = hmm_mirror_compat_freed_page(freed);
	struct gpu_mem *mem = gpu_mem_of(page);

	spin_lock(&mem->lock);
	__clear_bit(gpu_mem_index(mem, page), mem->used);
	spin_unlock(&mem->lock);
	module_put(THIS_MODULE);
}

/*
 * The CPU has faulted on the page: move it to RAM. migrate_vma_setup() removes all PTEs of the
 * page, those of devices by the usual callbacks, so only the copy is left to do here.
 */
static vm_fault_t gpu_mem_to_ram(struct vm_fault *vmf)
{
	unsigned long src = 0, dst = 0;
	struct migrate_vma args = {
		.vma		= vmf->vma,
		.start		= vmf->address,
		.end		= vmf->address + PAGE_SIZE,
		.src		= &src,
		.dst		= &dst,
		.pgmap_owner	= page_pgmap(vmf->page)->owner,
		.flags		= MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page	= vmf->page,
	};
	struct page *page, *from;

	/* Allocate first, because this can take long, and no page is isolated yet. */
	page = alloc_page_vma(GFP_HIGHUSER_MOVABLE, vmf->vma, vmf->address);
	if (!page)
		return VM_FAULT_OOM;

	if (migrate_vma_setup(&args)) {
		put_page(page);
		return VM_FAULT_SIGBUS;
	}
	/* This can be NULL although MIGRATE_PFN_MIGRATE is set: an address without a page. */
	from = migrate_pfn_to_page(src);
	if (from && (src & MIGRATE_PFN_MIGRATE)) {
		lock_page(page);
		memcpy_to_page(page, 0, gpu_mem_address(from), PAGE_SIZE);
		dst = migrate_pfn(page_to_pfn(page));
	} else {
		/* Another thread has moved or zapped the page: the CPU faults again. */
		put_page(page);
	}
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	return 0;
}

static const struct dev_pagemap_ops gpu_mem_ops = {
	.hmm_mirror_compat_free	= gpu_mem_free,
	.migrate_to_ram		= gpu_mem_to_ram,
};

/* Move all pages of [start, end) that can be moved; inside of @vma. Return 0 or an error. */
static int gpu_mem_move_pages(struct gpu_space *space, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end, u64 *moved)
{
	/*
	 * Twice as long as needed. If a page table is freed while the mm splits a large folio
	 * that it maps, kernels with large folios in device memory collect the pages before
	 * that folio again.
	 */
	unsigned long src[2 * MOVE_PAGES], dst[2 * MOVE_PAGES];
	unsigned long nr = (end - start) >> PAGE_SHIFT, i;
	struct migrate_vma args = {
		.vma		= vma,
		.start		= start,
		.end		= end,
		.src		= src,
		.dst		= dst,
		.pgmap_owner	= space->gpu,
		.flags		= MIGRATE_VMA_SELECT_SYSTEM,
	};
	struct page *from, *to;
	void *words;
	int ret;

	WRITE_ONCE(space->mover, current);
	ret = migrate_vma_setup(&args);
	WRITE_ONCE(space->mover, NULL);
	if (ret)
		return ret;

	/* The callback has left this to the caller; hardware must not copy before. */
	gpu_unmap(space, start, end);

	/* If pages were collected twice, move none: entries do not match addresses. */
	for (i = 0; args.npages <= nr && i < args.npages; i++) {
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		to = gpu_mem_alloc(space->gpu->mem);
		if (!to)
			break;
		words = gpu_mem_address(to);
		from = migrate_pfn_to_page(src[i]);
		if (from)
			memcpy_from_page(words, from, 0, PAGE_SIZE);
		else
			memset(words, 0, PAGE_SIZE);	/* not written yet */
		dst[i] = migrate_pfn(page_to_pfn(to));
	}
	migrate_vma_pages(&args);
	for (i = 0; i < args.npages; i++) {
		if (src[i] & MIGRATE_PFN_MIGRATE)
			*moved += PAGE_SIZE;
	}
	migrate_vma_finalize(&args);
	return 0;
}

/* Return the number of bytes handled, moved or not, or an error. */
static long gpu_mem_move_some(struct gpu_space *space, unsigned long start,
			      unsigned long end, u64 *moved)
{
	struct mm_struct *mm = space->mirror.mm;
	struct vm_area_struct *vma;
	long ret;

	/* Only for these pages: a long command must not keep the memory of a killed process. */
	if (!mmget_not_zero(mm))
		return -ESRCH;
	ret = -ERESTARTSYS;
	if (mmap_read_lock_killable(mm))
		goto out_put;

	ret = -EFAULT;
	vma = vma_lookup(mm, start);
	if (!vma || !(vma->vm_flags & VM_READ))
		goto out_unlock;

	end = min(end, vma->vm_end);
	/* migrate_vma_setup() moves only anonymous memory to a device. */
	if (vma_is_anonymous(vma)) {
		end = min(end, start + MOVE_PAGES * PAGE_SIZE);
		ret = gpu_mem_move_pages(space, vma, start, end, moved);
		if (ret)
			goto out_unlock;
	}
	ret = end - start;
out_unlock:
	mmap_read_unlock(mm);
out_put:
	/* The last mmput() would run exit_mmap() and ->release in this thread. */
	mmput_async(mm);
	return ret;
}

/*
 * Execute HMM_GPU_MIGRATE_TO_VRAM, in the calling thread, until a signal is pending. Real
 * devices have separate copy engines, so this runs concurrently with other commands, and their
 * faults collide with it.
 */
int gpu_mem_move(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	unsigned long addr = (cmd->addr + cmd->done) & PAGE_MASK;
	unsigned long end = PAGE_ALIGN(cmd->addr + cmd->len);
	long ret;

	while (addr < end) {
		if (READ_ONCE(space->gone))
			return -ENODEV;
		/* mutex_lock_interruptible() ignores a signal if the mutex is free. */
		if (signal_pending(current) || mutex_lock_interruptible(&space->moving))
			return -ERESTARTSYS;
		ret = gpu_mem_move_some(space, addr, end, &cmd->result);
		mutex_unlock(&space->moving);
		if (ret < 0) {
			cmd->fault_addr = max_t(u64, addr, cmd->addr);
			return ret;
		}
		addr += ret;
		cmd->done = min_t(u64, addr - cmd->addr, cmd->len);
		cond_resched();
	}
	return 0;
}

int gpu_mem_add(struct gpu *gpu, unsigned int mb)
{
	unsigned long size = (unsigned long)mb << 20;
	struct gpu_mem *mem;
	struct resource *res;
	void *ret;
	int err = -ENOMEM;

	if (!mb)
		return 0;

	mem = kzalloc(sizeof(*mem), GFP_KERNEL);
	if (!mem)
		return -ENOMEM;

	spin_lock_init(&mem->lock);
	mem->nr_pages = size >> PAGE_SHIFT;
	mem->words = vmalloc(size);
	if (!mem->words)
		goto err_mem;
	mem->used = bitmap_zalloc(mem->nr_pages, GFP_KERNEL);
	if (!mem->used)
		goto err_words;

	/* The region can be larger than requested. The rest is not used. */
	res = request_free_mem_region(&iomem_resource, size, gpu->name);
	if (IS_ERR(res)) {
		err = PTR_ERR(res);
		goto err_used;
	}
	mem->pgmap.type = MEMORY_DEVICE_PRIVATE;
	mem->pgmap.range.start = res->start;
	mem->pgmap.range.end = res->end;
	mem->pgmap.nr_range = 1;
	mem->pgmap.ops = &gpu_mem_ops;
	mem->pgmap.owner = gpu;
	ret = memremap_pages(&mem->pgmap, NUMA_NO_NODE);
	if (IS_ERR(ret)) {
		err = PTR_ERR(ret);
		goto err_region;
	}

	gpu->mem = mem;
	return 0;

err_region:
	release_mem_region(res->start, resource_size(res));
err_used:
	bitmap_free(mem->used);
err_words:
	vfree(mem->words);
err_mem:
	kfree(mem);
	return err;
}

/* No page is in use, because each one in use pins the module. */
void gpu_mem_remove(struct gpu *gpu)
{
	struct gpu_mem *mem = gpu->mem;

	if (!mem)
		return;
	memunmap_pages(&mem->pgmap);
	release_mem_region(mem->pgmap.range.start, range_len(&mem->pgmap.range));
	bitmap_free(mem->used);
	vfree(mem->words);
	kfree(mem);
	gpu->mem = NULL;
}
