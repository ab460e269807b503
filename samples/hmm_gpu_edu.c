// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu: a GPU whose engine is the edu device of QEMU, which moves data by DMA. Behind an
 * IOMMU, an access to an unmapped page is an IOMMU fault. For that, start QEMU with
 *
 *	-machine q35 -device intel-iommu -device edu
 *
 * and Linux with intel_iommu=on. Without an IOMMU the device can address only 256 MiB, and
 * commands fail with EOPNOTSUPP.
 *
 * The device can fill and copy. A transfer between memory and its buffer takes 100 ms. The
 * buffer has one page; some versions of QEMU refuse transfers up to its end.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/idr.h>
#include <linux/iopoll.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#include "hmm_gpu_dma.h"

#define EDU_BUFFER	0x40000		/* address of the buffer in the device */
#define EDU_CHUNK	2048U		/* maximum size of a transfer */

#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_RUN	BIT_ULL(0)
#define EDU_DMA_READ	0ULL		/* memory to buffer */
#define EDU_DMA_WRITE	BIT_ULL(1)	/* buffer to memory */

/**
 * struct gpu_edu - an edu device
 * @gpu: the GPU that uses the device as its engine
 * @id: number of the GPU
 * @regs: registers
 * @lock: protects the registers and the buffer, which all address spaces share
 * @pattern: EDU_CHUNK bytes with which memory is filled
 * @pattern_addr: DMA address of @pattern
 */
struct gpu_edu {
	struct gpu *gpu;
	int id;
	void __iomem *regs;
	struct mutex lock;	/* see above */
	u64 *pattern;
	dma_addr_t pattern_addr;
};

static DEFINE_IDA(edu_ids);

static int edu_transfer(struct gpu_edu *edu, u64 from, u64 to, size_t len, u64 direction)
{
	u64 cmd;

	writeq(from, edu->regs + EDU_DMA_FROM);
	writeq(to, edu->regs + EDU_DMA_TO);
	writeq(len, edu->regs + EDU_DMA_COUNT);
	writeq(EDU_DMA_RUN | direction, edu->regs + EDU_DMA_CMD);
	return readq_poll_timeout(edu->regs + EDU_DMA_CMD, cmd, !(cmd & EDU_DMA_RUN),
				  USEC_PER_MSEC, 10 * USEC_PER_SEC);
}

void gpu_edu_lock(struct gpu_edu *edu)
{
	mutex_lock(&edu->lock);
}

void gpu_edu_unlock(struct gpu_edu *edu)
{
	mutex_unlock(&edu->lock);
}

bool gpu_edu_knows(enum hmm_gpu_op op)
{
	return op == HMM_GPU_FILL || op == HMM_GPU_COPY;
}

int gpu_edu_execute(struct gpu_edu *edu, const struct hmm_gpu_cmd *cmd,
		    dma_addr_t dst, dma_addr_t src, size_t len)
{
	size_t done, n;
	int ret;

	lockdep_assert_held(&edu->lock);

	if (cmd->op == HMM_GPU_FILL)
		memset64(edu->pattern, cmd->value, EDU_CHUNK / sizeof(u64));
	for (done = 0; done < len; done += n) {
		n = min_t(size_t, len - done, EDU_CHUNK);
		ret = edu_transfer(edu, cmd->op == HMM_GPU_FILL ? edu->pattern_addr : src + done,
				   EDU_BUFFER, n, EDU_DMA_READ);
		if (!ret)
			ret = edu_transfer(edu, EDU_BUFFER, dst + done, n, EDU_DMA_WRITE);
		if (ret)
			return ret;
	}
	return 0;
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct gpu_edu *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	mutex_init(&edu->lock);
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu->regs = devm_ioremap_resource(&pdev->dev, &pdev->resource[0]);
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(28));
	if (ret)
		return ret;
	edu->pattern = dmam_alloc_coherent(&pdev->dev, EDU_CHUNK, &edu->pattern_addr, GFP_KERNEL);
	if (!edu->pattern)
		return -ENOMEM;
	pci_set_master(pdev);

	edu->id = ida_alloc(&edu_ids, GFP_KERNEL);
	if (edu->id < 0)
		return edu->id;
	edu->gpu = gpu_add_edu(&pdev->dev, edu, edu->id);
	if (IS_ERR(edu->gpu)) {
		ida_free(&edu_ids, edu->id);
		return PTR_ERR(edu->gpu);
	}
	pci_set_drvdata(pdev, edu);
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	struct gpu_edu *edu = pci_get_drvdata(pdev);

	gpu_remove_edu(edu->gpu);
	ida_free(&edu_ids, edu->id);
}

static const struct pci_device_id edu_pci_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_pci_ids);

static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_pci_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};

int gpu_edu_register(void)
{
	return pci_register_driver(&edu_driver);
}

void gpu_edu_unregister(void)
{
	pci_unregister_driver(&edu_driver);
}
