// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: driver of a software GPU, as an example for drivers.
 *
 *	struct gpu		a device: /dev/hmm_gpu
 *	struct gpu_space	an open file: the address space of the process that
 *				opened it, as the device sees it, and an engine that
 *				executes one command of it after another
 *	struct gpu_job		a command, while an ioctl() waits for its end
 *
 * hmm_gpu_dma.c is for GPUs that do DMA; hmm_gpu_edu.c drives such a device.
 *
 * From top to bottom: device page table, invalidation (the mm side), page fault (the
 * device side), engine, files, module.
 *
 * A device PTE holds no reference to its page: the process owns the page until an
 * invalidation removes the device PTE. gpu_space.lock makes that safe. Under this lock
 *
 *  - gpu_sync_start() removes device PTEs, before the mm frees the pages;
 *  - gpu_fault_pages() installs them, if no invalidation has intersected the range;
 *  - the engine uses them. Hardware takes no lock, but has a TLB, which the driver flushes
 *    after it has removed PTEs; here a flush takes tlb_flush_us.
 *
 * Lock order:
 *
 *	mmap lock, and other locks that the mm holds while it invalidates
 *	  waits of hmm_mirror: range_begin(), unregister()
 *	    gpu_space.lock
 *	      xa_lock
 *
 * Outside of these are gpu_list_lock, gpu_space.stopping, gpu_space.running and
 * gpu_space.moving (hmm_gpu_mem.c), in this order. gpu_edu.lock (hmm_gpu_edu.c) is outside of
 * gpu_space.lock; no callback takes it.
 *
 * A user program can make an engine wait for a page for ever. Therefore each address space has
 * its own engine, and an engine waits for at most SLICE_MS before it checks whether its job is
 * cancelled.
 *
 * A device can be removed while its files are open. An ioctl() uses the device only between
 * gpu_enter() and gpu_leave(). There it accesses no user memory, since a user program can make
 * such an access last for ever. Removal calls gpu_space_stop() for each address space, which
 * ends its waits, waits for its ioctls, and unmaps everything. close() frees the structure.
 *
 * Callbacks run inside reclaim, and take gpu_space.lock. So a thread that holds it must not
 * allocate with GFP_KERNEL, access user memory, or wait for the mm.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "compat/memcg.h"
#include "hmm_mirror.h"
#include "hmm_gpu.h"
#include "hmm_gpu_priv.h"
#include "hmm_gpu_dma.h"

#define GPU_MAX		8
#define VRAM_MAX_MB	1024

/* Large ranges are fewer; small ranges collide less often. */
#define RANGE_SIZE	(2UL << 20)
/* Number of collisions after which the driver registers a range for one page. */
#define RANGE_TRIES	3
/* Limit of the memory for device page tables. */
#define RANGES_MAX	1024

/* Maximum number of pages per device page fault. */
#define FAULT_PAGES	16

/* Longest wait, in milliseconds, between two checks whether a job is cancelled. */
#define SLICE_MS	100U

/* A device TLB flush this short is worth spinning for. */
#define FLUSH_SPIN_NS	(50 * NSEC_PER_USEC)

static unsigned int nr_gpus = 1;
module_param_named(gpus, nr_gpus, uint, 0444);
MODULE_PARM_DESC(gpus, "Number of GPUs, 1 to 8 (default 1)");

static unsigned int vram_mb;
module_param(vram_mb, uint, 0444);
MODULE_PARM_DESC(vram_mb, "Memory of each GPU in MiB, 0 to 1024 (default 0); needs CONFIG_DEVICE_PRIVATE and Linux 6.1");

static int set_up_to_a_second(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, USEC_PER_SEC);
}

static const struct kernel_param_ops up_to_a_second = {
	.set = set_up_to_a_second,
	.get = param_get_uint,
};

static unsigned int tlb_flush_us;
module_param_cb(tlb_flush_us, &up_to_a_second, &tlb_flush_us, 0644);
MODULE_PARM_DESC(tlb_flush_us, "Duration of a TLB flush in microseconds, 0 to 1000000 (default 0)");

static unsigned int dma_map_us;
module_param_cb(dma_map_us, &up_to_a_second, &dma_map_us, 0644);
MODULE_PARM_DESC(dma_map_us, "Duration of mapping pages for DMA in microseconds, 0 to 1000000 (default 0)");

static bool two_pass = true;
module_param(two_pass, bool, 0644);
MODULE_PARM_DESC(two_pass, "Let the TLB flushes of several GPUs overlap; for files opened from now on (default Y)");

static unsigned int fault_timeout_ms = 10000;
module_param(fault_timeout_ms, uint, 0644);
MODULE_PARM_DESC(fault_timeout_ms, "Give up a device page fault after this many milliseconds (default 10000)");

static bool dma;
module_param(dma, bool, 0444);
MODULE_PARM_DESC(dma, "Map pages for DMA, although a software GPU does none (default N)");

/* Protects gpu.spaces. Global, because a file can outlive its struct gpu. */
static DEFINE_MUTEX(gpu_list_lock);

#define PTE_READ	0UL
#define PTE_WRITE	1UL

/**
 * struct gpu_job - a command, while an ioctl() waits for its end
 * @work: queued on the engine
 * @done: the engine has finished
 * @cancelled: the ioctl() has a signal: the engine stops, and keeps the progress
 * @space: the address space
 * @cmd: in and out
 * @ret: 0 or an error
 */
struct gpu_job {
	struct work_struct work;
	struct completion done;
	bool cancelled;
	struct gpu_space *space;
	struct hmm_gpu_cmd *cmd;
	int ret;
};

/* --------------------------------------------------------- device page table */

/*
 * Reserve entries of the device page table, because a store under the lock must not allocate.
 * Call this after range_begin(): an invalidation that removes an old PTE also frees its entry,
 * but then range_retry() returns true.
 */
static int gpu_reserve(struct gpu_space *space, const struct hmm_mirror_fault *fault)
{
	unsigned long addr;
	int ret = 0;

	for (addr = fault->start; !ret && addr < fault->end; addr += PAGE_SIZE)
		ret = xa_reserve(&space->ptes, addr >> PAGE_SHIFT, GFP_KERNEL);
	return ret;
}

static int gpu_install_page(struct gpu_space *space, unsigned long addr, unsigned long pfn)
{
	struct page *page = hmm_pfn_to_page(pfn);
	unsigned long word;
	int ret;

	lockdep_assert_held(&space->lock);

	/*
	 * A software GPU needs the kernel mapping of the page, which memfd_secret() memory
	 * does not have. Hardware has no such limit.
	 */
	if (!is_device_private_page(page) &&
	    copy_from_kernel_nofault(&word, page_address(page), sizeof(word)))
		return -EFAULT;

	ret = xa_err(xa_store(&space->ptes, addr >> PAGE_SHIFT,
			      xa_tag_pointer(page, pfn & HMM_PFN_WRITE ? PTE_WRITE : PTE_READ),
			      GFP_NOWAIT));
	if (!ret)
		gpu_count(space, HMM_GPU_PTES_INSTALLED, 1);
	return ret;
}

static int gpu_install(struct gpu_space *space, const struct hmm_mirror_fault *fault)
{
	unsigned long addr, i = 0;
	int ret = 0;

	for (addr = fault->start; !ret && addr < fault->end; addr += PAGE_SIZE)
		ret = gpu_install_page(space, addr, fault->pfns[i++]);
	return ret;
}

/* Remove the device PTEs of [start, end). Return their number. */
static unsigned long gpu_zap_ptes(struct gpu_space *space, unsigned long start,
				  unsigned long end)
{
	unsigned long index, nr = 0;
	void *pte;

	if (start >= end)
		return 0;
	xa_for_each_range(&space->ptes, index, pte, start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT) {
		xa_erase(&space->ptes, index);
		nr++;
	}
	return nr;
}

/* Remove all blocks that intersect [start, end). Return the number of their device PTEs. */
static unsigned long gpu_zap_blocks(struct gpu_space *space, unsigned long start,
				    unsigned long end)
{
	struct gpu_block *block;
	unsigned long index, nr = 0;

	xa_for_each_range(&space->blocks, index, block,
			  ALIGN_DOWN(start, RANGE_SIZE) >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT) {
		if (block->fault.end <= start)
			continue;
		nr += gpu_zap_ptes(space, block->fault.start, block->fault.end);
		xa_erase(&space->blocks, index);
		/* A driver of real hardware flushes the TLB before this. */
		gpu_block_free(block);
	}
	return nr;
}

/* Remove the device PTEs of [start, end), and with DMA the rest of their blocks. */
static void gpu_zap(struct gpu_space *space, unsigned long start, unsigned long end)
{
	lockdep_assert_held(&space->lock);

	gpu_count(space, HMM_GPU_PTES_REMOVED,
		  space->gpu->dma_dev ? gpu_zap_blocks(space, start, end) :
					gpu_zap_ptes(space, start, end));
}

/*
 * Remove the device PTEs of [start, end), and flush the TLB. A thread for which
 * gpu_sync_start() has skipped an invalidation calls this afterwards.
 */
void gpu_unmap(struct gpu_space *space, unsigned long start, unsigned long end)
{
	mutex_lock(&space->lock);
	gpu_zap(space, start, end);
	mutex_unlock(&space->lock);
	fsleep(READ_ONCE(tlb_flush_us));
}

/*
 * Return the kernel address of the words at @addr, or NULL: a device page fault.
 *
 * A page that the device writes is marked dirty, without the page lock. That is safe under
 * space->lock: the mm invalidates before it truncates or cleans a page, and the callback
 * waits for the lock.
 *
 * A page in the memory of the device is marked, too. Its dirty flag moves to RAM with it. If
 * the CPU only reads the page, its CPU PTE is clean, and after MADV_FREE reclaim would drop
 * the data that the device wrote.
 */
static u64 *gpu_translate(struct gpu_space *space, unsigned long addr, bool write)
{
	void *pte = xa_load(&space->ptes, addr >> PAGE_SHIFT);
	struct page *page = xa_untag_pointer(pte);

	lockdep_assert_held(&space->lock);

	if (!pte || (write && xa_pointer_tag(pte) != PTE_WRITE))
		return NULL;
	if (write)
		set_page_dirty(page);
	if (is_device_private_page(page))
		return gpu_mem_address(page) + offset_in_page(addr);
	/* hmm_mirror is for 64-bit kernels, which have no highmem. */
	return page_address(page) + offset_in_page(addr);
}

/* -------------------------------------------------------- invalidation (mm side) */

/*
 * First pass: remove PTEs and start the TLB flush. Flush even if there was no PTE: another
 * thread may have removed it and not finished its flush.
 */
static int gpu_sync_start(struct hmm_mirror *mirror,
			  const struct mmu_notifier_range *update,
			  struct hmm_mirror_pass *pass)
{
	struct gpu_space *space = container_of(mirror, struct gpu_space, mirror);
	u64 flush_ns = (u64)READ_ONCE(tlb_flush_us) * NSEC_PER_USEC;

	/* This thread calls gpu_unmap() next: see top of hmm_gpu_mem.c. */
	if (hmm_mirror_update_is_own(update, space->gpu) &&
	    READ_ONCE(space->mover) == current) {
		gpu_count(space, HMM_GPU_OWN_SKIPPED, 1);
		pass->priv[0] = 0;
		return 0;
	}

	if (mmu_notifier_range_blockable(update)) {
		mutex_lock(&space->lock);
	} else if (flush_ns > FLUSH_SPIN_NS || !mutex_trylock(&space->lock)) {
		/* All or nothing: no PTE has been removed yet. */
		gpu_count(space, HMM_GPU_NONBLOCK_FAILURES, 1);
		return -EAGAIN;
	}
	gpu_count(space, HMM_GPU_INVALIDATIONS, 1);
	gpu_zap(space, update->start, update->end);
	pass->priv[0] = ktime_get_ns() + flush_ns;
	mutex_unlock(&space->lock);
	return 0;
}

/* Second pass: wait for the flush. */
static void gpu_sync_finish(struct hmm_mirror *mirror, struct hmm_mirror_pass *pass)
{
	s64 left = pass->priv[0] - ktime_get_ns();

	if (left <= 0)
		return;
	if (mmu_notifier_range_blockable(pass->update))
		fsleep(DIV_ROUND_UP(left, NSEC_PER_USEC));
	else
		udelay(DIV_ROUND_UP(left, NSEC_PER_USEC));
}

/* Do both passes in one call, for a device without two_pass. */
static int gpu_sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct hmm_mirror_pass pass = { .update = update };
	int ret;

	ret = gpu_sync_start(mirror, update, &pass);
	if (!ret)
		gpu_sync_finish(mirror, &pass);
	return ret;
}

/*
 * The mm dies. From now on range_begin() fails and range_retry() returns true: no PTE is
 * installed any more, and jobs end with -ESRCH.
 */
static void gpu_release(struct hmm_mirror *mirror)
{
	struct gpu_space *space = container_of(mirror, struct gpu_space, mirror);

	mutex_lock(&space->lock);
	gpu_zap(space, 0, ULONG_MAX);
	mutex_unlock(&space->lock);
}

static const struct hmm_mirror_ops gpu_one_pass_ops = {
	.sync_cpu_device_pagetables = gpu_sync,
	.release = gpu_release,
	.flags = HMM_MIRROR_TRACKED_ONLY,
};

static const struct hmm_mirror_ops gpu_two_pass_ops = {
	.sync_start = gpu_sync_start,
	.sync_finish = gpu_sync_finish,
	.release = gpu_release,
	.flags = HMM_MIRROR_TRACKED_ONLY,
};

/* --------------------------------------------------- page fault (device side) */

static void gpu_drop_ranges(struct gpu_space *space)
{
	struct hmm_mirror_range *range;
	struct gpu_block *block;
	unsigned long index;

	/*
	 * Remove the PTEs before the ranges, and under one hold of the lock, because the core
	 * reports no changes outside of ranges. With hardware, flush the TLB in between.
	 */
	mutex_lock(&space->lock);
	xa_destroy(&space->ptes);
	xa_for_each(&space->blocks, index, block)
		gpu_block_free(block);
	xa_destroy(&space->blocks);
	xa_for_each(&space->ranges, index, range) {
		hmm_mirror_range_unregister(range);
		kfree(range);
	}
	mutex_unlock(&space->lock);

	xa_destroy(&space->ranges);
	space->nr_ranges = 0;
}

static struct hmm_mirror_range *gpu_range(struct gpu_space *space, unsigned long addr)
{
	unsigned long index = addr / RANGE_SIZE;
	struct hmm_mirror_range *range;
	int ret;

	range = xa_load(&space->ranges, index);
	if (range)
		return range;

	if (space->nr_ranges == RANGES_MAX)
		gpu_drop_ranges(space);

	range = kmalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);
	if (!range)
		return ERR_PTR(-ENOMEM);

	range->start = index * RANGE_SIZE;
	range->end = range->start + RANGE_SIZE;
	ret = hmm_mirror_range_register(range, &space->mirror);
	if (ret)
		goto err_free;

	ret = xa_insert(&space->ranges, index, range, GFP_KERNEL);
	if (ret)
		goto err_unregister;

	space->nr_ranges++;
	return range;

err_unregister:
	hmm_mirror_range_unregister(range);
err_free:
	kfree(range);
	return ERR_PTR(ret);
}

static unsigned long gpu_deadline(void)
{
	return jiffies + msecs_to_jiffies(READ_ONCE(fault_timeout_ms));
}

static unsigned int gpu_ms_left(unsigned long deadline)
{
	long left = deadline - jiffies;

	return left > 0 ? jiffies_to_msecs(left) : 0;
}

static unsigned int gpu_slice_ms(unsigned long deadline)
{
	return min(gpu_ms_left(deadline), SLICE_MS);
}

/* Return 0, or the error with which the job must end. */
static int gpu_stopped(const struct gpu_job *job)
{
	if (READ_ONCE(job->space->gone))
		return -ENODEV;
	return READ_ONCE(job->cancelled) ? -ERESTARTSYS : 0;
}

/* Call hmm_mirror_range_begin(), as a driver would, and measure the wait. */
static int gpu_begin(struct gpu_job *job, struct hmm_mirror_range *range,
		     unsigned long *seq, unsigned long deadline)
{
	struct gpu_space *space = job->space;
	u64 ns;
	int ret;

	if (!gpu_ms_left(deadline))
		return -ETIME;

	ret = hmm_mirror_range_begin(range, seq, 0);
	if (ret != -ETIME)
		return ret;

	ns = ktime_get_ns();
	do {
		ret = hmm_mirror_range_begin(range, seq, gpu_slice_ms(deadline));
	} while (ret == -ETIME && gpu_ms_left(deadline) && !gpu_stopped(job));
	ns = ktime_get_ns() - ns;
	gpu_count(space, HMM_GPU_WAITS, 1);
	gpu_count(space, HMM_GPU_WAIT_NS, ns);
	if (ns > atomic64_read(&space->counter[HMM_GPU_MAX_WAIT_NS]))
		atomic64_set(&space->counter[HMM_GPU_MAX_WAIT_NS], ns);
	return ret;
}

/* A try has failed with @ret. Return 0 if the caller tries again, or the error of the fault. */
static int gpu_try_again(struct gpu_job *job, int ret, unsigned long deadline,
			 unsigned int *tries)
{
	if (ret == -EBUSY) {
		gpu_count(job->space, HMM_GPU_RETRIES, 1);
		if (!--*tries)
			return ret;
	} else if (ret != -ETIME || !gpu_ms_left(deadline)) {
		return ret;
	}
	cond_resched();
	return gpu_stopped(job);
}

/*
 * Return true if the CPU must resolve the fault, by moving a page back to RAM. For pages in
 * the memory of this GPU, hmm_range_fault() does not break COW: a write fault can return a
 * page to which the process may not write, for example after fork().
 */
static bool gpu_needs_cpu(const struct hmm_mirror_fault *fault)
{
	unsigned long i;

	if (!(fault->default_flags & HMM_PFN_REQ_WRITE))
		return false;
	for (i = 0; i < (fault->end - fault->start) >> PAGE_SHIFT; i++) {
		if (!(fault->pfns[i] & HMM_PFN_WRITE))
			return true;
	}
	return false;
}

/*
 * The collision-retry loop in full. hmm_mirror_range_populate() contains such a loop, see
 * gpu_verify(). Return -EBUSY after @tries collisions.
 */
static int gpu_fault_pages(struct gpu_job *job, struct hmm_mirror_range *range,
			   struct hmm_mirror_fault *fault, unsigned long deadline,
			   unsigned int tries)
{
	struct gpu_space *space = job->space;
	unsigned long seq;
	int ret;

	do {
		ret = gpu_begin(job, range, &seq, deadline);
		if (!ret)
			ret = gpu_reserve(space, fault);
		if (!ret)
			ret = hmm_mirror_range_fault(range, seq, fault, gpu_slice_ms(deadline));
		if (!ret && gpu_needs_cpu(fault)) {
			fault->dev_private_owner = NULL;
			ret = -EBUSY;
		}
		if (!ret) {
			/* Here a driver maps the pages for DMA, which can take long. */
			fsleep(READ_ONCE(dma_map_us));

			mutex_lock(&space->lock);
			if (!hmm_mirror_range_retry(range, seq)) {
				ret = gpu_install(space, fault);
				mutex_unlock(&space->lock);
				return ret;
			}
			mutex_unlock(&space->lock);
			gpu_count(space, HMM_GPU_COLLISIONS, 1);
			ret = -EBUSY;
		}
		ret = gpu_try_again(job, ret, deadline, &tries);
	} while (!ret);
	return ret;
}

/* Install the device PTEs of @block, which replaces all older blocks of its pages. */
static int gpu_install_block(struct gpu_space *space, struct gpu_block *block,
			     const struct hmm_mirror_fault *wanted)
{
	const unsigned long start = block->fault.start, end = block->fault.end;
	unsigned long addr, index, i = 0;
	struct gpu_block *old;
	int ret;

	lockdep_assert_held(&space->lock);

	/* The loop below overwrites their device PTEs, so that no store has to allocate. */
	xa_for_each_range(&space->blocks, index, old, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT) {
		if (old->fault.start != start)
			xa_erase(&space->blocks, index);
		gpu_block_free(old);
	}
	ret = xa_err(xa_store(&space->blocks, start >> PAGE_SHIFT, block, GFP_NOWAIT));
	if (ret) {
		gpu_zap_ptes(space, start, end);
		gpu_block_free(block);
		return ret;
	}
	for (addr = start; addr < end; addr += PAGE_SIZE, i++) {
		ret = -EFAULT;
		if (block->addrs[i] != DMA_MAPPING_ERROR)
			ret = gpu_install_page(space, addr, block->pfns[i]);
		if (ret && addr >= wanted->start && addr < wanted->end) {
			gpu_zap(space, start, end);
			return ret;
		}
		/* The fault does not need this page. */
		if (ret && xa_load(&space->ptes, addr >> PAGE_SHIFT))
			xa_erase(&space->ptes, addr >> PAGE_SHIFT);
	}
	return 0;
}

/*
 * Do gpu_fault_pages() for a device that does DMA: fault in the pages of @wanted, and map all
 * pages of the range that are present.
 */
static int gpu_fault_block(struct gpu_job *job, struct hmm_mirror_range *range,
			   struct hmm_mirror_fault *wanted, unsigned long deadline,
			   unsigned int tries)
{
	struct gpu_space *space = job->space;
	struct device *dev = space->gpu->dma_dev;
	struct gpu_block *block;
	unsigned long seq;
	long ret;

	block = gpu_block_alloc(range, dev);
	if (!block)
		return -ENOMEM;

	do {
		ret = gpu_begin(job, range, &seq, deadline);
		if (!ret)
			ret = gpu_reserve(space, &block->fault);
		if (!ret)
			ret = xa_reserve(&space->blocks, range->start >> PAGE_SHIFT, GFP_KERNEL);
		if (!ret)
			ret = hmm_mirror_range_fault(range, seq, wanted, gpu_slice_ms(deadline));
		if (!ret)
			ret = hmm_mirror_range_snapshot(range, seq, &block->fault,
							gpu_slice_ms(deadline));
		if (!ret)
			ret = hmm_mirror_range_dma_map(range, seq, &block->fault, dev,
						       block->addrs);
		if (ret >= 0) {
			fsleep(READ_ONCE(dma_map_us));

			mutex_lock(&space->lock);
			if (!hmm_mirror_range_retry(range, seq)) {
				gpu_count(space, HMM_GPU_DMA_MAPPINGS, ret);
				ret = gpu_install_block(space, block, wanted);
				mutex_unlock(&space->lock);
				return ret;
			}
			mutex_unlock(&space->lock);
			gpu_count(space, HMM_GPU_COLLISIONS, 1);
			hmm_mirror_range_dma_unmap(&block->fault, dev, block->addrs, false);
			ret = -EBUSY;
		}
		ret = gpu_try_again(job, ret, deadline, &tries);
	} while (!ret);
	gpu_block_free(block);
	return ret;
}

static int gpu_fault_range(struct gpu_job *job, struct hmm_mirror_range *range,
			   struct hmm_mirror_fault *fault, unsigned long deadline,
			   unsigned int tries)
{
	if (job->space->gpu->dma_dev)
		return gpu_fault_block(job, range, fault, deadline, tries);
	return gpu_fault_pages(job, range, fault, deadline, tries);
}

/*
 * A fault collides with invalidations of any page of its range. After RANGE_TRIES collisions
 * a second range, which exists only during the fault, covers just the first page. @range stays
 * registered, so the core calls the callback for all of it.
 */
static int gpu_fault_in(struct gpu_job *job, struct hmm_mirror_range *range,
			struct hmm_mirror_fault *fault, unsigned long deadline)
{
	struct hmm_mirror_range own;
	int ret;

	ret = gpu_fault_range(job, range, fault, deadline, RANGE_TRIES);
	if (ret != -EBUSY)
		return ret;

	fault->end = fault->start + PAGE_SIZE;
	own.start = fault->start;
	own.end = fault->end;
	/*
	 * Remove the old block. Otherwise an invalidation of another page could remove it, and
	 * the entries that gpu_reserve() found, without a collision.
	 */
	gpu_unmap(job->space, own.start, own.end);
	ret = hmm_mirror_range_register(&own, &job->space->mirror);
	if (ret)
		return ret;
	ret = gpu_fault_range(job, &own, fault, deadline, UINT_MAX);
	hmm_mirror_range_unregister(&own);
	return ret;
}

/* Resolve a device page fault: map the first pages of [addr, addr + len). */
static int gpu_fault(struct gpu_job *job, unsigned long addr, unsigned long len,
		     bool write, unsigned long deadline)
{
	struct gpu_space *space = job->space;
	unsigned long pfns[FAULT_PAGES];
	struct hmm_mirror_fault fault = {
		.start = addr & PAGE_MASK,
		.pfns = pfns,
		.default_flags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0),
		.dev_private_owner = space->gpu,
	};
	struct hmm_mirror_range *range;
	int ret;

	gpu_count(space, HMM_GPU_FAULTS, 1);

	range = gpu_range(space, addr);
	if (IS_ERR(range)) {
		ret = PTR_ERR(range);
		goto out;
	}
	fault.end = min3(PAGE_ALIGN(addr + len), range->end,
			 fault.start + FAULT_PAGES * PAGE_SIZE);

	ret = gpu_fault_in(job, range, &fault, deadline);
	if ((ret == -EFAULT || ret == -EPERM) && fault.end - fault.start > PAGE_SIZE) {
		/* Another page may be missing, which the command may never reach: map only one. */
		fault.end = fault.start + PAGE_SIZE;
		ret = gpu_fault_in(job, range, &fault, deadline);
	}
out:
	if (ret == -ETIME)
		gpu_count(space, HMM_GPU_TIMEOUTS, 1);
	if (ret && ret != -ERESTARTSYS)
		job->cmd->fault_addr = addr;
	return ret;
}

/*
 * Compare device PTEs with the CPU page table, for tests. Also an example of
 * hmm_mirror_range_populate(): without HMM_PFN_REQ_FAULT, it reads entries only.
 */
static int gpu_verify_commit(struct hmm_mirror_range *range, unsigned long seq,
			     const struct hmm_mirror_fault *fault, void *arg)
{
	struct gpu_job *job = arg;
	struct gpu_space *space = job->space;
	unsigned long addr, pfn, i = 0;
	u64 nr = 0;
	void *pte;
	int ret = 0;

	mutex_lock(&space->lock);
	if (hmm_mirror_range_retry(range, seq)) {
		mutex_unlock(&space->lock);
		return -EBUSY;
	}
	for (addr = fault->start; addr < fault->end; addr += PAGE_SIZE) {
		pfn = fault->pfns[i++];
		pte = xa_load(&space->ptes, addr >> PAGE_SHIFT);
		if (!pte)
			continue;
		nr++;
		/*
		 * munmap() removes the VMA before it invalidates. So a missing VMA does not
		 * make the PTE stale.
		 */
		if (pfn & HMM_PFN_ERROR)
			continue;
		if (!(pfn & HMM_PFN_VALID) ||
		    hmm_pfn_to_page(pfn) != xa_untag_pointer(pte) ||
		    (xa_pointer_tag(pte) == PTE_WRITE && !(pfn & HMM_PFN_WRITE))) {
			job->cmd->fault_addr = addr;
			ret = -EUCLEAN;
			break;
		}
	}
	mutex_unlock(&space->lock);
	job->cmd->result += nr;
	return ret;
}

static int gpu_verify_pages(struct gpu_job *job, struct hmm_mirror_range *range,
			    struct hmm_mirror_fault *fault)
{
	unsigned long deadline = gpu_deadline();
	int ret;

	do {
		mutex_lock(&job->space->moving);
		ret = hmm_mirror_range_populate(range, fault, gpu_slice_ms(deadline),
						gpu_verify_commit, job);
		mutex_unlock(&job->space->moving);
		if (ret != -ETIME || !gpu_ms_left(deadline))
			return ret;
		ret = gpu_stopped(job);
	} while (!ret);
	return ret;
}

static int gpu_verify(struct gpu_job *job)
{
	struct hmm_gpu_cmd *cmd = job->cmd;
	unsigned long first = (cmd->addr + cmd->done) & PAGE_MASK;
	unsigned long end = PAGE_ALIGN(cmd->addr + cmd->len);
	unsigned long pfns[FAULT_PAGES];
	struct gpu_space *space = job->space;
	struct hmm_mirror_fault fault = {
		.pfns = pfns,
		.dev_private_owner = space->gpu,
	};
	struct hmm_mirror_range *range;
	unsigned long index;
	int ret;

	xa_for_each_range(&space->ranges, index, range, first / RANGE_SIZE,
			  (end - 1) / RANGE_SIZE) {
		fault.end = max(first, range->start);
		do {
			fault.start = fault.end;
			fault.end = min3(end, range->end,
					 fault.start + FAULT_PAGES * PAGE_SIZE);
			ret = gpu_verify_pages(job, range, &fault);
			if (ret)
				return ret;
			cmd->done = min_t(u64, fault.end - cmd->addr, cmd->len);
			if (cmd->done < cmd->len)
				ret = gpu_stopped(job);
			if (ret)
				return ret;
		} while (fault.end < min(end, range->end));
	}
	cmd->done = cmd->len;
	return 0;
}

/* -------------------------------------------------------------------- engine */

static const struct {
	bool src, value, write;
} gpu_ops[HMM_GPU_NR_OPS] = {
	[HMM_GPU_FILL]		= { .value = true, .write = true },
	[HMM_GPU_COPY]		= { .src = true, .write = true },
	[HMM_GPU_COMPARE]	= { .src = true },
	[HMM_GPU_ATOMIC_ADD]	= { .value = true, .write = true },
	[HMM_GPU_CHECKSUM]	= { },
	[HMM_GPU_VERIFY]	= { },
	[HMM_GPU_MIGRATE_TO_VRAM] = { },
};

/* Return the number of words executed. */
static size_t gpu_execute(struct hmm_gpu_cmd *cmd, u64 *dst, const u64 *src, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++) {
		switch (cmd->op) {
		case HMM_GPU_FILL:
			WRITE_ONCE(dst[i], cmd->value);
			break;
		case HMM_GPU_COPY:
			WRITE_ONCE(dst[i], READ_ONCE(src[i]));
			break;
		case HMM_GPU_COMPARE:
			if (READ_ONCE(dst[i]) != READ_ONCE(src[i]))
				return i;
			break;
		case HMM_GPU_ATOMIC_ADD:
			atomic64_add(cmd->value, (atomic64_t *)&dst[i]);
			break;
		case HMM_GPU_CHECKSUM:
			cmd->result += READ_ONCE(dst[i]);
			break;
		}
	}
	return words;
}

/* Return the DMA address of @addr, which has a device PTE. */
static dma_addr_t gpu_dma_addr(struct gpu_space *space, unsigned long addr)
{
	struct gpu_block *block;

	lockdep_assert_held(&space->lock);

	/* A range has one block of all pages, or blocks of single pages. */
	block = xa_load(&space->blocks, ALIGN_DOWN(addr, RANGE_SIZE) >> PAGE_SHIFT);
	if (!block || addr >= block->fault.end)
		block = xa_load(&space->blocks, addr >> PAGE_SHIFT);
	return block->addrs[(addr - block->fault.start) >> PAGE_SHIFT] + offset_in_page(addr);
}

static int gpu_execute_by_dma(struct gpu_space *space, struct hmm_gpu_cmd *cmd, size_t len)
{
	unsigned long addr = cmd->addr + cmd->done;
	dma_addr_t src = 0;
	int ret;

	if (gpu_ops[cmd->op].src)
		src = gpu_dma_addr(space, cmd->src + cmd->done);
	ret = gpu_edu_execute(space->gpu->edu, cmd, gpu_dma_addr(space, addr), src, len);
	if (!ret)
		cmd->done += len;
	return ret;
}

/* Execute one step: @len bytes, inside one page at the address, and one at @src. */
static int gpu_step(struct gpu_job *job, unsigned long len)
{
	unsigned long deadline = gpu_deadline();
	struct gpu_space *space = job->space;
	struct hmm_gpu_cmd *cmd = job->cmd;
	unsigned long addr = cmd->addr + cmd->done;
	unsigned long src_addr = cmd->src + cmd->done;
	unsigned long left = cmd->len - cmd->done;
	bool write = gpu_ops[cmd->op].write;
	u64 *dst, *src;
	int ret = 0;

	do {
		/*
		 * Take the device first: a callback, which waits for space->lock, must not
		 * wait for transfers of other processes.
		 */
		if (space->gpu->edu)
			gpu_edu_lock(space->gpu->edu);
		mutex_lock(&space->lock);
		dst = gpu_translate(space, addr, write);
		src = gpu_ops[cmd->op].src ? gpu_translate(space, src_addr, false) : dst;
		if (dst && src && space->gpu->edu)
			ret = gpu_execute_by_dma(space, cmd, len);
		else if (dst && src)
			cmd->done += 8 * gpu_execute(cmd, dst, src, len / 8);
		mutex_unlock(&space->lock);
		if (space->gpu->edu)
			gpu_edu_unlock(space->gpu->edu);

		if (dst && src)
			return ret;
		if (!dst)
			ret = gpu_fault(job, addr, left, write, deadline);
		else
			ret = gpu_fault(job, src_addr, left, false, deadline);
	} while (!ret);

	return ret;
}

static int gpu_run(struct gpu_job *job)
{
	struct hmm_gpu_cmd *cmd = job->cmd;
	unsigned long before, len;
	int ret = 0;

	if (cmd->op == HMM_GPU_VERIFY && cmd->done < cmd->len)
		return gpu_verify(job);

	/* Check after the step, so that a job makes progress even if signals are frequent. */
	while (!ret && cmd->done < cmd->len) {
		before = cmd->done;
		len = min_t(unsigned long, cmd->len - before,
			    PAGE_SIZE - offset_in_page(cmd->addr + before));
		if (gpu_ops[cmd->op].src)
			len = min(len, PAGE_SIZE - offset_in_page(cmd->src + before));

		ret = gpu_step(job, len);
		if (ret)
			return ret;
		if (cmd->done < before + len)
			break;
		cond_resched();
		if (cmd->done < cmd->len)
			ret = gpu_stopped(job);
	}
	if (!ret && cmd->op == HMM_GPU_COMPARE)
		cmd->result = cmd->done;
	return ret;
}

static void gpu_work(struct work_struct *work)
{
	struct gpu_job *job = container_of(work, struct gpu_job, work);
	struct mem_cgroup *old;

	/* Charge the memory of the process: the engine, a worker, is in no control group. */
	old = hmm_mirror_compat_charge_begin(job->space->mirror.mm);
	job->ret = gpu_run(job);
	hmm_mirror_compat_charge_end(old);
	if (job->ret == -ECANCELED)
		job->ret = -ENODEV;
	complete(&job->done);
}

/*
 * Have the engine execute a command. If a signal comes, or the freezer wakes this thread, stop
 * the engine and keep the progress. The engine never uses the job after this has returned.
 */
static int gpu_submit(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	struct gpu_job job = { .space = space, .cmd = cmd, .ret = -ERESTARTSYS };

	init_completion(&job.done);
	INIT_WORK_ONSTACK(&job.work, gpu_work);
	queue_work(space->engine, &job.work);
	if (wait_for_completion_interruptible(&job.done)) {
		WRITE_ONCE(job.cancelled, true);
		/* A job that is still queued is removed, and job.ret stays as it is. */
		cancel_work_sync(&job.work);
	}
	destroy_work_on_stack(&job.work);
	return job.ret;
}

/* --------------------------------------------------------------------- files */

/* Keep the device until gpu_leave(), or return -ENODEV. */
static int gpu_enter(struct gpu_space *space)
{
	down_read(&space->running);
	if (!READ_ONCE(space->gone))
		return 0;
	up_read(&space->running);
	return -ENODEV;
}

static void gpu_leave(struct gpu_space *space)
{
	up_read(&space->running);
}

/*
 * Remove the address space from the device. If removal and close() call this at the same time,
 * the second call waits for the first.
 */
static void gpu_space_stop(struct gpu_space *space)
{
	mutex_lock(&space->stopping);
	if (!space->gone) {
		/* Commands in flight end now: their waits return -ECANCELED. */
		WRITE_ONCE(space->gone, true);
		hmm_mirror_cancel(&space->mirror);
		down_write(&space->running);
		up_write(&space->running);

		destroy_workqueue(space->engine);
		/* First the mirror: no callback must run while the ranges go. */
		hmm_mirror_unregister(&space->mirror);
		gpu_drop_ranges(space);
	}
	mutex_unlock(&space->stopping);
}

static void gpu_space_free(struct gpu_space *space)
{
	mutex_destroy(&space->moving);
	mutex_destroy(&space->lock);
	mutex_destroy(&space->stopping);
	kfree(space);
}

static int gpu_open(struct inode *inode, struct file *file)
{
	struct gpu *gpu = container_of(file->private_data, struct gpu, misc);
	struct gpu_space *space;
	int ret;

	space = kzalloc(sizeof(*space), GFP_KERNEL_ACCOUNT);
	if (!space)
		return -ENOMEM;

	space->gpu = gpu;
	mutex_init(&space->stopping);
	init_rwsem(&space->running);
	xa_init_flags(&space->ranges, XA_FLAGS_ACCOUNT);
	mutex_init(&space->lock);
	xa_init_flags(&space->ptes, XA_FLAGS_ACCOUNT);
	mutex_init(&space->moving);
	xa_init_flags(&space->blocks, XA_FLAGS_ACCOUNT);
	space->mirror.ops = READ_ONCE(two_pass) ? &gpu_two_pass_ops : &gpu_one_pass_ops;

	/* No WQ_MEM_RECLAIM: reclaim never waits for the engine, which faults pages in. */
	ret = -ENOMEM;
	space->engine = alloc_ordered_workqueue("%s", 0, gpu->name);
	if (!space->engine)
		goto err_free;
	ret = hmm_mirror_attach(&space->mirror, current->mm);
	if (ret)
		goto err_engine;

	/* misc_deregister() waits for open(): after it the list never grows. */
	mutex_lock(&gpu_list_lock);
	list_add(&space->list, &gpu->spaces);
	mutex_unlock(&gpu_list_lock);
	file->private_data = space;
	return 0;

err_engine:
	destroy_workqueue(space->engine);
err_free:
	gpu_space_free(space);
	return ret;
}

/* No ioctl() of the file runs any more. Removal of the device may run, or be over. */
static int gpu_close(struct inode *inode, struct file *file)
{
	struct gpu_space *space = file->private_data;

	/* While the space is on the list, removal waits for this. */
	gpu_space_stop(space);
	mutex_lock(&gpu_list_lock);
	list_del(&space->list);
	mutex_unlock(&gpu_list_lock);
	gpu_space_free(space);
	return 0;
}

static int gpu_check_cmd(const struct gpu_space *space, const struct hmm_gpu_cmd *cmd)
{
	u64 task_size = space->mirror.mm->task_size;
	u64 end, src_end;

	if (cmd->op >= HMM_GPU_NR_OPS || cmd->flags & ~HMM_GPU_RESUMES || !cmd->len ||
	    (!gpu_ops[cmd->op].src && cmd->src) ||
	    (!gpu_ops[cmd->op].value && cmd->value))
		return -EINVAL;
	if ((cmd->addr | cmd->src | cmd->len) % 8)
		return -EINVAL;
	if (cmd->flags & HMM_GPU_RESUMES && (cmd->done % 8 || cmd->done > cmd->len))
		return -EINVAL;
	if (check_add_overflow(cmd->addr, cmd->len, &end) ||
	    check_add_overflow(cmd->src, cmd->len, &src_end))
		return -EINVAL;
	if (cmd->op == HMM_GPU_COPY && cmd->addr < src_end && cmd->src < end)
		return -EINVAL;
	if (space->gpu->edu && cmd->op != HMM_GPU_VERIFY && !gpu_edu_knows(cmd->op))
		return -EOPNOTSUPP;
	if (cmd->op == HMM_GPU_MIGRATE_TO_VRAM && !space->gpu->mem)
		return -EOPNOTSUPP;
	if (end > task_size || (gpu_ops[cmd->op].src && src_end > task_size))
		return -EFAULT;
	return 0;
}

static int gpu_execute_cmd(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	if (cmd->op == HMM_GPU_MIGRATE_TO_VRAM)
		return gpu_mem_move(space, cmd);
	return gpu_submit(space, cmd);
}

static long gpu_ioctl_run(struct gpu_space *space, struct hmm_gpu_cmd __user *arg)
{
	struct hmm_gpu_cmd cmd;
	long ret;

	if (copy_from_user(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	ret = gpu_enter(space);
	if (ret)
		return ret;
	ret = gpu_check_cmd(space, &cmd);
	gpu_leave(space);
	if (ret)
		return ret;

	if (!(cmd.flags & HMM_GPU_RESUMES)) {
		cmd.result = 0;
		cmd.done = 0;
	}
	cmd.fault_addr = 0;
	/* If the result cannot be stored, do nothing. */
	if (copy_to_user(arg, &cmd, sizeof(cmd)))
		return -EFAULT;

	ret = gpu_enter(space);
	if (!ret) {
		ret = gpu_execute_cmd(space, &cmd);
		gpu_leave(space);
	}
	/* The kernel restarts the system call, or the program does after EINTR. */
	cmd.flags = ret == -ERESTARTSYS ? HMM_GPU_RESUMES : 0;
	if (!cmd.flags)
		gpu_count(space, HMM_GPU_COMMANDS, 1);
	return copy_to_user(arg, &cmd, sizeof(cmd)) ? -EFAULT : ret;
}

static long gpu_ioctl_stats(struct gpu_space *space, struct hmm_gpu_stats __user *arg)
{
	struct hmm_gpu_stats stats;
	int i;

	if (copy_from_user(&stats, arg, sizeof(stats)))
		return -EFAULT;
	if ((stats.flags & ~HMM_GPU_STATS_RESET) || stats.reserved)
		return -EINVAL;
	/* If the counters cannot be stored, do not reset them. */
	if (copy_to_user(arg, &stats, sizeof(stats)))
		return -EFAULT;

	for (i = 0; i < HMM_GPU_NR_COUNTERS; i++) {
		if (stats.flags & HMM_GPU_STATS_RESET)
			stats.counter[i] = atomic64_xchg(&space->counter[i], 0);
		else
			stats.counter[i] = atomic64_read(&space->counter[i]);
	}
	return copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static long gpu_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	switch (nr) {
	case HMM_GPU_RUN:
		return gpu_ioctl_run(file->private_data, (void __user *)arg);
	case HMM_GPU_STATS:
		return gpu_ioctl_stats(file->private_data, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations gpu_fops = {
	.owner = THIS_MODULE,
	.open = gpu_open,
	.release = gpu_close,
	.unlocked_ioctl = gpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* -------------------------------------------------------------------- module */

static struct gpu gpus[GPU_MAX];

static int gpu_add(struct gpu *gpu, unsigned int i)
{
	const char *name = gpu->edu ? "hmm_gpu_edu" : "hmm_gpu";
	int ret;

	if (i)
		snprintf(gpu->name, sizeof(gpu->name), "%s%u", name, i);
	else
		strscpy(gpu->name, name, sizeof(gpu->name));
	INIT_LIST_HEAD(&gpu->spaces);

	/* Pages in the memory of a GPU have no DMA address. */
	ret = gpu_mem_add(gpu, gpu->dma_dev ? 0 : vram_mb);
	if (ret == -EOPNOTSUPP)
		pr_err("vram_mb=%u: not supported by this kernel\n", vram_mb);
	if (ret)
		return ret;

	gpu->misc.minor = MISC_DYNAMIC_MINOR;
	gpu->misc.name = gpu->name;
	gpu->misc.fops = &gpu_fops;
	gpu->misc.mode = 0666;
	ret = misc_register(&gpu->misc);
	if (ret)
		gpu_mem_remove(gpu);
	return ret;
}

/* Remove a device. Its open files stay, and get -ENODEV. */
static void gpu_remove(struct gpu *gpu)
{
	struct gpu_space *space, *next;

	misc_deregister(&gpu->misc);
	mutex_lock(&gpu_list_lock);
	list_for_each_entry_safe(space, next, &gpu->spaces, list) {
		gpu_space_stop(space);
		list_del_init(&space->list);
	}
	mutex_unlock(&gpu_list_lock);
	gpu_mem_remove(gpu);
}

struct gpu *gpu_add_edu(struct device *dev, struct gpu_edu *edu, unsigned int i)
{
	struct gpu *gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	int ret;

	if (!gpu)
		return ERR_PTR(-ENOMEM);
	gpu->dma_dev = dev;
	gpu->edu = edu;
	ret = gpu_add(gpu, i);
	if (ret) {
		kfree(gpu);
		return ERR_PTR(ret);
	}
	return gpu;
}

void gpu_remove_edu(struct gpu *gpu)
{
	gpu_remove(gpu);
	kfree(gpu);
}

static int gpu_add_software(struct gpu *gpu, unsigned int i)
{
	int ret;

	if (dma) {
		gpu->dma_dev = gpu_dma_device_add(i);
		if (IS_ERR(gpu->dma_dev))
			return PTR_ERR(gpu->dma_dev);
	}
	ret = gpu_add(gpu, i);
	if (ret)
		gpu_dma_device_remove(gpu->dma_dev);
	return ret;
}

static void gpu_remove_software(struct gpu *gpu)
{
	gpu_remove(gpu);
	gpu_dma_device_remove(gpu->dma_dev);
}

static int __init gpu_init(void)
{
	unsigned int i;
	int ret;

	if (nr_gpus < 1 || nr_gpus > GPU_MAX) {
		pr_err("gpus=%u: must be 1 to %u\n", nr_gpus, GPU_MAX);
		return -EINVAL;
	}
	if (vram_mb > VRAM_MAX_MB) {
		pr_err("vram_mb=%u: must be 0 to %u\n", vram_mb, VRAM_MAX_MB);
		return -EINVAL;
	}
	if (vram_mb && dma) {
		pr_err("vram_mb=%u: must be 0 with dma\n", vram_mb);
		return -EINVAL;
	}
	for (i = 0; i < nr_gpus; i++) {
		ret = gpu_add_software(&gpus[i], i);
		if (ret)
			goto err_remove;
	}
	ret = gpu_edu_register();
	if (ret)
		goto err_remove;
	return 0;

err_remove:
	while (i--)
		gpu_remove_software(&gpus[i]);
	return ret;
}

static void __exit gpu_exit(void)
{
	unsigned int i = nr_gpus;

	gpu_edu_unregister();
	while (i--)
		gpu_remove_software(&gpus[i]);
}

module_init(gpu_init);
module_exit(gpu_exit);

MODULE_DESCRIPTION("A software GPU that uses hmm_mirror");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);
