/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Legacy drivers for tests: drivers of the GPU of samples/hmm_gpu.h with the API of 2019.
 * This header has the parts that do not depend on the release: device page table, commands,
 * files. legacy_5_*.c include it after the legacy header, and have the rest: the callback, and
 * the faults.
 *
 * The thread that calls ioctl() executes the command, one page at a time, under the lock.
 */
#ifndef HMM_LEGACY_GPU_H
#define HMM_LEGACY_GPU_H

#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "samples/hmm_gpu.h"

/* Maximum number of pages per device page fault. */
#define FAULT_PAGES	16
#define FAULT_TIMEOUT	(10 * HZ)

/* A device PTE is an entry that hmm_range_fault() has written. */
#define GPU_PTE_V	BIT(0)
#define GPU_PTE_W	BIT(1)
#define GPU_PTE_VRAM	BIT(2)
#define GPU_PTE_SHIFT	PAGE_SHIFT

static const u64 gpu_pte_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID]			= GPU_PTE_V,
	[HMM_PFN_WRITE]			= GPU_PTE_W,
	[HMM_PFN_DEVICE_PRIVATE]	= GPU_PTE_VRAM,
};

static const u64 gpu_pte_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR]		= 0x10,
	[HMM_PFN_NONE]		= 0,
	[HMM_PFN_SPECIAL]	= 0x20,
};

/**
 * struct gpu_space - an open file
 * @mirror: mirror of the process that opened the file
 * @mm: mm of that process
 * @lock: the driver lock; protects @ptes
 * @ptes: device PTEs by address / PAGE_SIZE
 * @counter: enum hmm_gpu_counter
 */
struct gpu_space {
	struct hmm_mirror mirror;
	struct mm_struct *mm;
	struct mutex lock;	/* driver lock */
	struct xarray ptes;
	atomic64_t counter[HMM_GPU_NR_COUNTERS];
};

enum gpu_access {
	GPU_READ,
	GPU_WRITE,
	GPU_VERIFY,	/* check the device PTEs */
};

/* legacy_5_*.c define these. */
static const struct hmm_mirror_ops gpu_mirror_ops;
static int gpu_access_pages(struct gpu_space *space, unsigned long start, unsigned long end,
			    enum gpu_access access);
static int gpu_probe(struct device *device);

struct gpu_space *gpu_space_of(struct hmm_mirror *mirror)
{
	return container_of(mirror, struct gpu_space, mirror);
}

void gpu_init_range(struct hmm_range *range)
{
	range->flags = gpu_pte_flags;
	range->values = gpu_pte_values;
	range->pfn_shift = GPU_PTE_SHIFT;
	INIT_LIST_HEAD(&range->list);
}

static void gpu_count(struct gpu_space *space, enum hmm_gpu_counter i, u64 n)
{
	atomic64_add(n, &space->counter[i]);
}

/* ---------------------------------------------------------- device page table */

/* Reserve entries after the pages were read, so that a store under the lock does not allocate. */
static int gpu_reserve(struct gpu_space *space, const struct hmm_range *range)
{
	unsigned long addr;
	int ret = 0;

	for (addr = range->start; !ret && addr < range->end; addr += PAGE_SIZE)
		ret = xa_reserve(&space->ptes, addr >> PAGE_SHIFT, GFP_KERNEL);
	return ret;
}

static int gpu_install(struct gpu_space *space, const struct hmm_range *range)
{
	unsigned long addr, word, i = 0;
	struct page *page;
	int ret = 0;

	lockdep_assert_held(&space->lock);

	for (addr = range->start; !ret && addr < range->end; addr += PAGE_SIZE, i++) {
		page = hmm_device_entry_to_page(range, range->pfns[i]);
		/* The kernel does not map memfd_secret() memory. */
		if (!page || copy_from_kernel_nofault(&word, page_address(page), sizeof(word)))
			return -EFAULT;
		ret = xa_err(xa_store(&space->ptes, addr >> PAGE_SHIFT,
				      xa_mk_value(range->pfns[i]), GFP_NOWAIT));
		if (!ret)
			gpu_count(space, HMM_GPU_PTES_INSTALLED, 1);
	}
	return ret;
}

static int gpu_compare(struct gpu_space *space, const struct hmm_range *range)
{
	unsigned long addr, i = 0;
	u64 pte, entry;
	void *p;

	lockdep_assert_held(&space->lock);

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE, i++) {
		entry = range->pfns[i];
		p = xa_load(&space->ptes, addr >> PAGE_SHIFT);
		pte = p ? xa_to_value(p) : 0;
		if (p && (hmm_device_entry_to_pfn(range, entry) !=
			  hmm_device_entry_to_pfn(range, pte) ||
			  (pte & ~entry & GPU_PTE_W)))
			return -EUCLEAN;
	}
	return 0;
}

/* Install or check device PTEs; with the lock held, and the range valid. */
static int gpu_commit(struct gpu_space *space, const struct hmm_range *range,
		      enum gpu_access access)
{
	return access == GPU_VERIFY ? gpu_compare(space, range) : gpu_install(space, range);
}

/* Remove the device PTEs; for the callback. */
static int gpu_zap(struct gpu_space *space, unsigned long start, unsigned long end,
		   bool blockable)
{
	unsigned long index;
	void *p;

	if (blockable) {
		mutex_lock(&space->lock);
	} else if (!mutex_trylock(&space->lock)) {
		gpu_count(space, HMM_GPU_NONBLOCK_FAILURES, 1);
		return -EAGAIN;
	}
	gpu_count(space, HMM_GPU_INVALIDATIONS, 1);
	xa_for_each_range(&space->ptes, index, p, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT) {
		xa_erase(&space->ptes, index);
		gpu_count(space, HMM_GPU_PTES_REMOVED, 1);
	}
	mutex_unlock(&space->lock);
	return 0;
}

static u64 *gpu_translate(struct gpu_space *space, unsigned long addr, bool write)
{
	void *p = xa_load(&space->ptes, addr >> PAGE_SHIFT);
	struct page *page;
	u64 pte;

	if (!p)
		return NULL;
	pte = xa_to_value(p);
	if (write && !(pte & GPU_PTE_W))
		return NULL;
	page = pfn_to_page(pte >> GPU_PTE_SHIFT);
	if (write)
		set_page_dirty(page);
	return page_address(page) + offset_in_page(addr);
}

/* --------------------------------------------------------------- page faults */

/* Return 0 if the fault may try again, or the error with which it ends. */
static int gpu_may_retry(struct gpu_space *space, unsigned long deadline)
{
	gpu_count(space, HMM_GPU_RETRIES, 1);
	if (fatal_signal_pending(current))
		return -EINTR;
	if (time_after(jiffies, deadline))
		return -ETIME;
	cond_resched();
	return 0;
}

static void __maybe_unused gpu_wait(struct gpu_space *space, struct hmm_range *range)
{
	u64 ns;

	if (hmm_range_wait_until_valid(range, 0))
		return;
	ns = ktime_get_ns();
	hmm_range_wait_until_valid(range, HMM_RANGE_DEFAULT_TIMEOUT);
	ns = ktime_get_ns() - ns;
	gpu_count(space, HMM_GPU_WAITS, 1);
	gpu_count(space, HMM_GPU_WAIT_NS, ns);
	if (ns > atomic64_read(&space->counter[HMM_GPU_MAX_WAIT_NS]))
		atomic64_set(&space->counter[HMM_GPU_MAX_WAIT_NS], ns);
}

static int gpu_fault(struct gpu_space *space, struct hmm_gpu_cmd *cmd, unsigned long addr,
		     unsigned long len, bool write)
{
	unsigned long start = addr & PAGE_MASK;
	unsigned long end = min(PAGE_ALIGN(addr + len), start + FAULT_PAGES * PAGE_SIZE);
	enum gpu_access access = write ? GPU_WRITE : GPU_READ;
	int ret = -ESRCH;

	gpu_count(space, HMM_GPU_FAULTS, 1);
	if (mmget_not_zero(space->mm)) {
		ret = gpu_access_pages(space, start, end, access);
		/* Another page may be missing: map only the first. */
		if (ret == -EFAULT || ret == -EPERM)
			ret = gpu_access_pages(space, start, start + PAGE_SIZE, access);
		mmput(space->mm);
	}
	if (ret == -ETIME)
		gpu_count(space, HMM_GPU_TIMEOUTS, 1);
	if (ret)
		cmd->fault_addr = addr;
	return ret;
}

static int gpu_verify(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	unsigned long index, addr;
	int ret = 0;
	void *p;

	if (!mmget_not_zero(space->mm))
		return -ESRCH;
	xa_for_each_range(&space->ptes, index, p, cmd->addr >> PAGE_SHIFT,
			  (cmd->addr + cmd->len - 1) >> PAGE_SHIFT) {
		addr = index << PAGE_SHIFT;
		ret = gpu_access_pages(space, addr, addr + PAGE_SIZE, GPU_VERIFY);
		if (ret) {
			cmd->fault_addr = addr;
			break;
		}
		cmd->result++;
	}
	mmput(space->mm);
	return ret;
}

/* ------------------------------------------------------------------ commands */

static const struct {
	bool src, value, write;
} gpu_ops[HMM_GPU_NR_OPS] = {
	[HMM_GPU_FILL]		= { .value = true, .write = true },
	[HMM_GPU_COPY]		= { .src = true, .write = true },
	[HMM_GPU_COMPARE]	= { .src = true },
	[HMM_GPU_ATOMIC_ADD]	= { .value = true, .write = true },
	[HMM_GPU_CHECKSUM]	= { },
	[HMM_GPU_VERIFY]	= { },
};

/* Execute one word. Return false if the command ends here. */
static bool gpu_execute(struct hmm_gpu_cmd *cmd, u64 *dst, const u64 *src)
{
	switch (cmd->op) {
	case HMM_GPU_FILL:
		WRITE_ONCE(*dst, cmd->value);
		break;
	case HMM_GPU_COPY:
		WRITE_ONCE(*dst, READ_ONCE(*src));
		break;
	case HMM_GPU_COMPARE:
		return READ_ONCE(*dst) == READ_ONCE(*src);
	case HMM_GPU_ATOMIC_ADD:
		atomic64_add(cmd->value, (atomic64_t *)dst);
		break;
	case HMM_GPU_CHECKSUM:
		cmd->result += READ_ONCE(*dst);
		break;
	}
	return true;
}

/* Execute up to the end of a page. Return 1 if the command ends here. */
static int gpu_step(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	unsigned long addr = cmd->addr + cmd->done, src_addr = cmd->src + cmd->done;
	bool write = gpu_ops[cmd->op].write, has_src = gpu_ops[cmd->op].src, more = true;
	unsigned long left = cmd->len - cmd->done;
	unsigned long words = min(left, PAGE_SIZE - offset_in_page(addr)) / 8;
	u64 *dst, *src = NULL;

	if (has_src)
		words = min(words, (PAGE_SIZE - offset_in_page(src_addr)) / 8);

	mutex_lock(&space->lock);
	dst = gpu_translate(space, addr, write);
	if (dst && has_src)
		src = gpu_translate(space, src_addr, false);
	if (dst && (src || !has_src)) {
		while (words-- && more) {
			more = gpu_execute(cmd, dst++, src);
			if (src)
				src++;
			if (more)
				cmd->done += 8;
		}
		mutex_unlock(&space->lock);
		return !more;
	}
	mutex_unlock(&space->lock);

	if (!dst)
		return gpu_fault(space, cmd, addr, left, write);
	return gpu_fault(space, cmd, src_addr, left, false);
}

static int gpu_run(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	int ret = 0;

	if (cmd->op == HMM_GPU_VERIFY)
		return gpu_verify(space, cmd);
	while (!ret && cmd->done < cmd->len) {
		ret = fatal_signal_pending(current) ? -EINTR : gpu_step(space, cmd);
		cond_resched();
	}
	if (cmd->op == HMM_GPU_COMPARE)
		cmd->result = cmd->done;
	return min(ret, 0);
}

static int gpu_check_cmd(struct gpu_space *space, const struct hmm_gpu_cmd *cmd)
{
	u64 end, src_end, top = space->mm->task_size;

	if (cmd->op >= HMM_GPU_NR_OPS || cmd->flags || !cmd->len ||
	    (!gpu_ops[cmd->op].src && cmd->src) ||
	    (!gpu_ops[cmd->op].value && cmd->value) ||
	    (cmd->addr | cmd->src | cmd->len) % 8 ||
	    check_add_overflow(cmd->addr, cmd->len, &end) ||
	    check_add_overflow(cmd->src, cmd->len, &src_end))
		return -EINVAL;
	if (cmd->op == HMM_GPU_COPY && cmd->addr < src_end && cmd->src < end)
		return -EINVAL;
	return end > top || (gpu_ops[cmd->op].src && src_end > top) ? -EFAULT : 0;
}

/* --------------------------------------------------------------------- files */

static int gpu_open(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = current->mm;
	struct gpu_space *space;
	int ret;

	space = kzalloc(sizeof(*space), GFP_KERNEL);
	if (!space)
		return -ENOMEM;
	mutex_init(&space->lock);
	xa_init(&space->ptes);
	space->mm = mm;
	space->mirror.ops = &gpu_mirror_ops;

	down_write(&mm->mmap_sem);
	ret = hmm_mirror_register(&space->mirror, mm);
	up_write(&mm->mmap_sem);
	if (ret) {
		kfree(space);
		return ret;
	}
	file->private_data = space;
	return 0;
}

static int gpu_close(struct inode *inode, struct file *file)
{
	struct gpu_space *space = file->private_data;

	hmm_mirror_unregister(&space->mirror);
	xa_destroy(&space->ptes);
	mutex_destroy(&space->lock);
	kfree(space);
	return 0;
}

static long gpu_ioctl_run(struct gpu_space *space, void __user *arg)
{
	struct hmm_gpu_cmd cmd;
	long ret;

	if (copy_from_user(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	ret = gpu_check_cmd(space, &cmd);
	if (ret)
		return ret;
	cmd.result = 0;
	cmd.done = 0;
	cmd.fault_addr = 0;
	/* If the result cannot be stored, do nothing. */
	if (copy_to_user(arg, &cmd, sizeof(cmd)))
		return -EFAULT;
	ret = gpu_run(space, &cmd);
	gpu_count(space, HMM_GPU_COMMANDS, 1);
	return copy_to_user(arg, &cmd, sizeof(cmd)) ? -EFAULT : ret;
}

static long gpu_ioctl_stats(struct gpu_space *space, void __user *arg)
{
	struct hmm_gpu_stats stats;
	int i;

	if (copy_from_user(&stats, arg, sizeof(stats)))
		return -EFAULT;
	if ((stats.flags & ~HMM_GPU_STATS_RESET) || stats.reserved)
		return -EINVAL;
	if (copy_to_user(arg, &stats, sizeof(stats)))
		return -EFAULT;
	for (i = 0; i < HMM_GPU_NR_COUNTERS; i++) {
		stats.counter[i] = atomic64_read(&space->counter[i]);
		if (stats.flags & HMM_GPU_STATS_RESET)
			atomic64_sub(stats.counter[i], &space->counter[i]);
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
};

static struct miscdevice gpu_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_gpu",
	.fops = &gpu_fops,
	.mode = 0666,
};

static int __init gpu_init(void)
{
	int ret = misc_register(&gpu_misc);

	if (ret)
		return ret;
	ret = gpu_probe(gpu_misc.this_device);
	if (ret)
		misc_deregister(&gpu_misc);
	return ret;
}

static void __exit gpu_exit(void)
{
	misc_deregister(&gpu_misc);
}

module_init(gpu_init);
module_exit(gpu_exit);

MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);

#endif /* HMM_LEGACY_GPU_H */
