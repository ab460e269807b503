// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for Linux 5.4: mmu_notifier_range in the callback, flags for
 * hmm_range_fault(), the loop of Documentation/vm/hmm.rst, and hmm_range_dma_map(), which
 * reads pages and maps them for DMA.
 */
#include "gpu_range.h"
#include "legacy/hmm_5_4.h"
#include "gpu.h"

static struct device *gpu_device;

static int gpu_probe(struct device *device)
{
	static u64 dma_mask = DMA_BIT_MASK(64);

	device->dma_mask = &dma_mask;
	device->coherent_dma_mask = dma_mask;
	gpu_device = device;
	return 0;
}

static int gpu_sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct gpu_space *space = gpu_space_of(mirror);

	return gpu_zap(space, update->start, update->end,
		       mmu_notifier_range_blockable(update));
}

static void gpu_release(struct hmm_mirror *mirror)
{
	gpu_zap(gpu_space_of(mirror), 0, ULONG_MAX, true);
}

static const struct hmm_mirror_ops gpu_mirror_ops = {
	.sync_cpu_device_pagetables = gpu_sync,
	.release = gpu_release,
};

static int gpu_access_pages(struct gpu_space *space, unsigned long start, unsigned long end,
			    enum gpu_access access)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	unsigned long deadline = jiffies + FAULT_TIMEOUT;
	dma_addr_t dma[FAULT_PAGES];
	u64 pfns[FAULT_PAGES];
	struct hmm_range range = {
		.start = start,
		.end = end,
		.pfns = pfns,
		.default_flags = GPU_PTE_V | (access == GPU_WRITE ? GPU_PTE_W : 0),
	};
	struct vm_area_struct *vma;
	long ret;

	gpu_init_range(&range);
	ret = hmm_range_register(&range, &space->mirror);
	if (ret)
		return ret;

	gpu_wait(space, &range);
again:
	down_read(&mm->mmap_sem);
	vma = find_vma(mm, start);
	if (!vma || start < vma->vm_start || !(vma->vm_flags & VM_READ)) {
		/* munmap() removes the VMA before it invalidates. */
		ret = access == GPU_VERIFY ? 0 : -EFAULT;
		goto out_unlock;
	}
	if (access == GPU_VERIFY)
		ret = hmm_range_fault(&range, HMM_FAULT_SNAPSHOT);
	else
		ret = hmm_range_dma_map(&range, gpu_device, dma, HMM_FAULT_ALLOW_RETRY);
	if (ret == -EAGAIN) {
		ret = gpu_may_retry(space, deadline);
		if (ret)
			goto out;
		goto again;
	}
	if (ret == -EBUSY) {
		up_read(&mm->mmap_sem);
		ret = gpu_may_retry(space, deadline);
		if (ret)
			goto out;
		gpu_wait(space, &range);
		goto again;
	}
	if (ret < 0)
		goto out_unlock;
	ret = gpu_reserve(space, &range);
	if (ret)
		goto out_unmap;

	mutex_lock(&space->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&space->lock);
		gpu_count(space, HMM_GPU_COLLISIONS, 1);
		if (access != GPU_VERIFY)
			hmm_range_dma_unmap(&range, gpu_device, dma, false);
		up_read(&mm->mmap_sem);
		ret = gpu_may_retry(space, deadline);
		if (ret)
			goto out;
		goto again;
	}
	ret = gpu_commit(space, &range, access);
	/* Mark the pages dirty while the process owns them. */
	if (access != GPU_VERIFY)
		hmm_range_dma_unmap(&range, gpu_device, dma, access == GPU_WRITE);
	mutex_unlock(&space->lock);
	goto out_unlock;
out_unmap:
	if (access != GPU_VERIFY)
		hmm_range_dma_unmap(&range, gpu_device, dma, false);
out_unlock:
	up_read(&mm->mmap_sem);
out:
	hmm_range_unregister(&range);
	return ret;
}

MODULE_DESCRIPTION("A driver for Linux 5.4, on hmm_mirror");
