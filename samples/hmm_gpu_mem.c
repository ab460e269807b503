// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: memory of the device, where pages of a process can live that the CPU cannot
 * reach ("device private"). A command moves them there; the CPU's page fault, or that of
 * another GPU, fetches them back.
 *
 * Who moves pages to the device is told about it like anybody else: migrate_vma_setup()
 * invalidates. That callback need not do anything, since the same thread removes the device
 * PTEs a moment later, before it copies:
 *
 *	fault, engine			who moves pages
 *
 *					migrate_vma_setup(): start
 *					  all sequences move			(A)
 *					  our callback returns at once
 *					  CPU PTEs become migration entries
 *					end					(B)
 *	the engine uses the old pages
 *					lock; remove device PTEs; unlock	(C)
 *					copies
 *					migrate_vma_pages()
 *					migrate_vma_finalize():
 *					  CPU PTEs again			(D)
 *
 *	[the device writes to an old page after it was copied: never]
 *
 * A fault that began before (A) collides, as always. One that begins after (A) waits for
 * (B), and then, reading a migration entry, for (D). So none installs an old page after (C).
 * Until (C) the device has an old page alone, for which there is no CPU PTE; only VERIFY
 * would be surprised, and therefore takes gpu_space.moving.
 *
 * Not every update with our owner can be skipped: other files of the same device have page
 * tables of their own; migrate_vma_pages() invalidates for zero pages, which the device may
 * have mapped since (C); and a thread that fetches a page back does not know who has mapped
 * it. Hence gpu_space.mover.
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

/* Pages that are moved at once. */
#define MOVE_PAGES	32

/**
 * struct gpu_mem - memory of a device
 * @pgmap: gives it struct pages, at addresses where there is nothing
 * @words: what it is made of
 * @nr_pages: how much that is
 * @lock: protects @used
 * @used: pages that are some process's
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

/* Where the engine finds what is in a device private page of its own. */
void *gpu_mem_address(const struct page *page)
{
	struct gpu_mem *mem = gpu_mem_of(page);

	return mem->words + (gpu_mem_index(mem, page) << PAGE_SHIFT);
}

/* A page, locked and with one reference; NULL: the memory is full. */
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
	 * The process needs our callbacks for as long as it has the page, and so does its
	 * child that has never seen a file of ours.
	 */
	__module_get(THIS_MODULE);
	page = pfn_to_page(PHYS_PFN(mem->pgmap.range.start) + i);
	hmm_mirror_compat_page_init(page, &mem->pgmap);
	return page;
}

/* Nobody has the page any more. memunmap_pages() waits until this has returned. */
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
 * The CPU has no use for the page where it is. The mm removes the PTEs of whoever maps it,
 * that of the device by our ordinary callback, so that here it is but a copy.
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

	/* first, as nothing should wait for memory with the process's page in its hands */
	page = alloc_page_vma(GFP_HIGHUSER_MOVABLE, vmf->vma, vmf->address);
	if (!page)
		return VM_FAULT_OOM;

	if (migrate_vma_setup(&args)) {
		put_page(page);
		return VM_FAULT_SIGBUS;
	}
	/* NULL also where MIGRATE_PFN_MIGRATE is set, for an address without a page. */
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

/* Moves what can be moved of [start, end), inside of @vma. Returns 0 or an error. */
static int gpu_mem_move_pages(struct gpu_space *space, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end, u64 *moved)
{
	/*
	 * If a page table goes away while the mm splits a large folio that it maps, kernels
	 * that know such folios in device memory collect the pages before it once more.
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

	/* What the callback has left to us. Hardware: before this nothing may be copied. */
	gpu_unmap(space, start, end);

	/* Nothing moves in that case: the entries are not those of the addresses. */
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
			memset(words, 0, PAGE_SIZE);	/* nobody has written to it yet */
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

/* Returns how far it came, or an error. */
static long gpu_mem_move_some(struct gpu_space *space, unsigned long start,
			      unsigned long end, u64 *moved)
{
	struct mm_struct *mm = space->mirror.mm;
	struct vm_area_struct *vma;
	long ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	ret = -EFAULT;
	vma = vma_lookup(mm, start);
	if (!vma || !(vma->vm_flags & VM_READ))
		goto out;

	end = min(end, vma->vm_end);
	/* The mm moves no other memory to a device. */
	if (vma_is_anonymous(vma)) {
		end = min(end, start + MOVE_PAGES * PAGE_SIZE);
		ret = gpu_mem_move_pages(space, vma, start, end, moved);
		if (ret)
			goto out;
	}
	ret = end - start;
out:
	mmap_read_unlock(mm);
	return ret;
}

/*
 * HMM_GPU_MIGRATE_TO_VRAM, in the thread that asks for it: devices have engines of their own
 * for copies, so it is beside the commands, and collides with them.
 */
int gpu_mem_move(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	unsigned long addr = cmd->addr & PAGE_MASK;
	unsigned long end = PAGE_ALIGN(cmd->addr + cmd->len);
	struct mm_struct *mm = space->mirror.mm;
	long ret = 0;

	if (!mmget_not_zero(mm))
		return -ESRCH;

	while (addr < end) {
		/* mutex_lock_killable() ignores a signal if the mutex is free. */
		ret = fatal_signal_pending(current) ? -EINTR : mutex_lock_killable(&space->moving);
		if (ret)
			break;
		ret = gpu_mem_move_some(space, addr, end, &cmd->result);
		mutex_unlock(&space->moving);
		if (ret < 0) {
			cmd->fault_addr = max_t(u64, addr, cmd->addr);
			break;
		}
		addr += ret;
		cmd->done = min_t(u64, addr - cmd->addr, cmd->len);
		cond_resched();
	}

	/* not mmput(): exit and ->release would run right here */
	mmput_async(mm);
	return ret < 0 ? ret : 0;
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

	/* It can be more than was asked for, which then is not used. */
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

/* No page is in use: each keeps the module here. */
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
