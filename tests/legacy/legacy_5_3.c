// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for Linux 5.3: struct hmm_update in the callback, hmm_range_snapshot(), and a
 * fault that may drop mmap_sem. The driver tries a snapshot first, and registers the range
 * once for the snapshot and the fault.
 */
#include "gpu_range.h"
#include "legacy/hmm_5_3.h"
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

/* Return true if the snapshot has all requested pages. */
static bool gpu_has_all(const struct hmm_range *range, long pages)
{
	long i;

	if (pages << PAGE_SHIFT < range->end - range->start)
		return false;
	for (i = 0; i < pages; i++)
		if (range->default_flags & ~range->pfns[i])
			return false;
	return true;
}

static int gpu_access_pages(struct gpu_space *space, unsigned long start, unsigned long end,
			    enum gpu_access access)
{
	struct mm_struct *mm = space->mirror.hmm->mm;
	unsigned long deadline = jiffies + FAULT_TIMEOUT;
	u64 pfns[FAULT_PAGES];
	struct hmm_range range = {
		.pfns = pfns,
		.default_flags = GPU_PTE_V | (access == GPU_WRITE ? GPU_PTE_W : 0),
	};
	struct vm_area_struct *vma;
	long ret;

	gpu_init_range(&range);
	ret = hmm_range_register(&range, &space->mirror, start, end, PAGE_SHIFT);
	if (ret)
		return ret;

again:
	gpu_wait(space, &range);
	down_read(&mm->mmap_sem);
	vma = find_vma(mm, start);
	if (!vma || start < vma->vm_start || !(vma->vm_flags & VM_READ)) {
		/* munmap() removes the VMA before it invalidates. */
		ret = access == GPU_VERIFY ? 0 : -EFAULT;
		goto out_unlock;
	}
	ret = hmm_range_snapshot(&range);
	if (access != GPU_VERIFY && ret >= 0 && !gpu_has_all(&range, ret))
		ret = hmm_range_fault(&range, false);
	if (ret == -EAGAIN)
		goto retry;
	if (ret == -EBUSY)
		goto retry_unlock;
	if (ret < 0)
		goto out_unlock;
	ret = gpu_reserve(space, &range);
	if (ret)
		goto out_unlock;

	mutex_lock(&space->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&space->lock);
		gpu_count(space, HMM_GPU_COLLISIONS, 1);
		goto retry_unlock;
	}
	ret = gpu_commit(space, &range, access);
	/* Unregister the range under the driver lock, as nouveau did. */
	hmm_range_unregister(&range);
	mutex_unlock(&space->lock);
	up_read(&mm->mmap_sem);
	return ret;

retry_unlock:
	up_read(&mm->mmap_sem);
retry:
	ret = gpu_may_retry(space, deadline);
	if (!ret)
		goto again;
	goto out;
out_unlock:
	up_read(&mm->mmap_sem);
out:
	hmm_range_unregister(&range);
	return ret;
}

MODULE_DESCRIPTION("A driver for Linux 5.3, on hmm_mirror");
