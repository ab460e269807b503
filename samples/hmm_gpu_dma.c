// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: what is mapped for DMA.
 *
 * What the GPU wants is faulted in; then all pages of the range are mapped that the
 * process has at that time. So a huge page costs one mapping. After some collisions it is only
 * what the GPU wants. All of it goes with the first page that goes, and the next device page
 * fault maps what is left: that is simple, and what is unmapped is what was mapped, as
 * hmm_mirror_range_dma_unmap() wants it.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "hmm_gpu_dma.h"

/* Nothing is mapped yet. */
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

/* Nothing is mapped; from now on only these pages will be. */
void gpu_block_narrow(struct gpu_block *block, const struct hmm_mirror_fault *wanted)
{
	block->fault.pfns += (wanted->start - block->fault.start) >> PAGE_SHIFT;
	block->fault.start = wanted->start;
	block->fault.end = wanted->end;
}

/* Of the first page that is mapped. */
dma_addr_t *gpu_block_addrs(const struct gpu_block *block)
{
	return block->addrs + (block->fault.pfns - block->pfns);
}

/*
 * The device does not use it any more. It does not sleep: callbacks do this. A driver
 * that does not know which pages its device has written says that they are dirty;
 * gpu_translate() has already marked them.
 */
void gpu_block_free(struct gpu_block *block)
{
	hmm_mirror_range_dma_unmap(&block->fault, block->dev, gpu_block_addrs(block), false);
	kfree(block->addrs);
	kfree(block);
}

/* A device of which no bus knows, and which reaches all memory. */
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
