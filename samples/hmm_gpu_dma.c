// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: pages that are mapped for DMA.
 *
 * The driver faults in the pages that the GPU wants, then maps all pages of the range that
 * are present, so a huge page costs one mapping. After some collisions the range is a single
 * page. If any page is invalidated, the driver unmaps all of them, and the next device page
 * fault maps the rest again. That is simple, and hmm_mirror_range_dma_unmap() can unmap only
 * all pages of a call of hmm_mirror_range_dma_map().
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "hmm_gpu_dma.h"

/* Allocate a block for all pages of @range; none is mapped yet. */
struct gpu_block *gpu_block_alloc(const struct hmm_mirror_range *range, struct device *dev)
{
	unsigned long i, nr = (range->end - range->start) >> PAGE_SHIFT;
	struct gpu_block *block;

	block = kzalloc(struct_size(block, pfns, nr), GFP_KERNEL_ACCOUNT);
	if (!block)
		return NULL;
	block->addrs = kmalloc_array(nr, sizeof(*block->addrs), GFP_KERNEL_ACCOUNT);
	if (!block->addrs) {
		kfree(block);
		return NULL;
	}
	for (i = 0; i < nr; i++)
		block->addrs[i] = DMA_MAPPING_ERROR;
	block->fault.start = range->start;
	block->fault.end = range->end;
	block->fault.pfns = block->pfns;
	block->dev = dev;
	return block;
}

/*
 * Unmap and free @block, which the device does not use any more. Callbacks call this, so it
 * must not sleep. A driver that does not know which pages its device has written marks them
 * dirty here; gpu_translate() has already done that.
 */
void gpu_block_free(struct gpu_block *block)
{
	hmm_mirror_range_dma_unmap(&block->fault, block->dev, block->addrs, false);
	kfree(block->addrs);
	kfree(block);
}

/* Add a device without hardware, which can address all memory. */
struct device *gpu_dma_device_add(unsigned int i)
{
	struct platform_device *pdev;
	int ret;

	pdev = platform_device_register_simple(KBUILD_MODNAME, i, NULL, 0);
	if (IS_ERR(pdev))
		return ERR_CAST(pdev);
	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret) {
		platform_device_unregister(pdev);
		return ERR_PTR(ret);
	}
	return &pdev->dev;
}

void gpu_dma_device_remove(struct device *dev)
{
	if (dev)
		platform_device_unregister(to_platform_device(dev));
}
