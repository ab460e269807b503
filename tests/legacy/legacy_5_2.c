// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for Linux 5.2, like nouveau: requests are in the pfns, hmm_vma_fault() registers a
 * range, hmm_vma_range_done() checks whether it is valid and unregisters it, all with mmap_sem
 * held.
 */
#include "gpu_range.h"
#include "legacy/hmm_5_2.h"
#include "gpu.h"

static int gpu_probe(struct device *device)
{
	return 0;
}

static int gpu_sync(struct hmm_mirror *mirror, const struct hmm_update *update)
{
	struct gpu_space *space = gpu_space_of(mirror);

	return gpu_zap(space, update->start, update->end, update->blockable);
}

static void gpu_release(struct hmm_mirror *mirror)
{
	gpu_zap(gpu_space_of(mirror), 0, ULONG_MAX, true);
}

static const struct hmm_mirror_ops gpu_mirror_ops = {
	.sync_cpu_device_pagetables = gpu_sync,
	.release = gpu_release,
};

/* Take a snapshot; with mmap_sem held, which is dropped if this returns -EAGAIN. */
static int gpu_snapshot(struct gpu_space *space, struct hmm_range *range)
{
	long ret;

	ret = hmm_range_register(range, space->mm, range->start, range->end, PAGE_SHIFT);
	if (ret)
		return ret;
	gpu_wait(space, range);
	ret = hmm_range_snapshot(range);
	if (ret == -EAGAIN)
		up_read(&space->mm->mmap_sem);
	if (ret < 0)
		hmm_range_unregister(range);
	return min(ret, 0L);
}

static int gpu_access_pages(struct gpu_space *space, unsigned long start, unsigned long end,
			    enum gpu_access access)
{
	u64 ask = GPU_PTE_V | (access == GPU_WRITE ? GPU_PTE_W : 0);
	unsigned long deadline = jiffies + FAULT_TIMEOUT, i;
	struct mm_struct *mm = space->mm;
	u64 pfns[FAULT_PAGES];
	struct hmm_range range;
	int ret;

	if (!hmm_mirror_mm_is_alive(&space->mirror))
		return -ESRCH;

	range.start = start;
	range.pfns = pfns;
	gpu_init_range(&range);
again:
	down_read(&mm->mmap_sem);
again_locked:
	range.vma = find_vma(mm, start);
	if (!range.vma || start < range.vma->vm_start || !(range.vma->vm_flags & VM_READ)) {
		up_read(&mm->mmap_sem);
		/* munmap() removes the VMA before it invalidates. */
		return access == GPU_VERIFY ? 0 : -EFAULT;
	}
	range.end = min(end, range.vma->vm_end);
	for (i = 0; i < FAULT_PAGES; i++)
		pfns[i] = ask;

	if (access == GPU_VERIFY)
		ret = gpu_snapshot(space, &range);
	else
		ret = hmm_vma_fault(&range, true);
	if (ret == -EAGAIN || ret == -EBUSY) {
		ret = gpu_may_retry(space, deadline);
		if (ret)
			return ret;
		goto again;
	}
	if (ret)
		goto out_unlock;

	ret = gpu_reserve(space, &range);
	mutex_lock(&space->lock);
	if (!hmm_vma_range_done(&range)) {
		mutex_unlock(&space->lock);
		gpu_count(space, HMM_GPU_COLLISIONS, 1);
		ret = gpu_may_retry(space, deadline);
		if (ret)
			goto out_unlock;
		goto again_locked;
	}
	if (!ret)
		ret = gpu_commit(space, &range, access);
	mutex_unlock(&space->lock);
out_unlock:
	up_read(&mm->mmap_sem);
	return ret;
}

MODULE_DESCRIPTION("A driver for Linux 5.2, on hmm_mirror");
