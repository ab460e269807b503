/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_gpu: GPUs that do DMA.
 */
#ifndef HMM_GPU_DMA_H
#define HMM_GPU_DMA_H

#include <linux/device.h>
#include <linux/types.h>

#include "hmm_mirror.h"
#include "hmm_gpu.h"

struct gpu;
struct gpu_edu;

/**
 * struct gpu_block - pages of a range that are mapped for DMA together, and unmapped together
 * @fault: the pages; all of the range
 * @dev: the device for which they are mapped
 * @addrs: DMA addresses of the pages
 * @pfns: pfns of the pages
 */
struct gpu_block {
	struct hmm_mirror_fault fault;
	struct device *dev;
	dma_addr_t *addrs;
	unsigned long pfns[];
};

/* hmm_gpu_dma.c */
struct gpu_block *gpu_block_alloc(const struct hmm_mirror_range *range, struct device *dev);
void gpu_block_free(struct gpu_block *block);
struct device *gpu_dma_device_add(unsigned int i);
void gpu_dma_device_remove(struct device *dev);

/* hmm_gpu.c */
struct gpu *gpu_add_edu(struct device *dev, struct gpu_edu *edu, unsigned int i);
void gpu_remove_edu(struct gpu *gpu);

/* hmm_gpu_edu.c */
#ifdef CONFIG_PCI

int gpu_edu_register(void);
void gpu_edu_unregister(void);
void gpu_edu_lock(struct gpu_edu *edu);
void gpu_edu_unlock(struct gpu_edu *edu);
bool gpu_edu_knows(enum hmm_gpu_op op);
int gpu_edu_execute(struct gpu_edu *edu, const struct hmm_gpu_cmd *cmd,
		    dma_addr_t dst, dma_addr_t src, size_t len);

#else

static inline int gpu_edu_register(void)
{
	return 0;
}

static inline void gpu_edu_unregister(void)
{
}

static inline void gpu_edu_lock(struct gpu_edu *edu)
{
}

static inline void gpu_edu_unlock(struct gpu_edu *edu)
{
}

static inline bool gpu_edu_knows(enum hmm_gpu_op op)
{
	return false;
}

static inline int gpu_edu_execute(struct gpu_edu *edu, const struct hmm_gpu_cmd *cmd,
				  dma_addr_t dst, dma_addr_t src, size_t len)
{
	return -EOPNOTSUPP;
}

#endif

#endif /* HMM_GPU_DMA_H */
