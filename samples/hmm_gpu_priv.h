/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_gpu: declarations for all files of the driver.
 */
#ifndef HMM_GPU_PRIV_H
#define HMM_GPU_PRIV_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "hmm_mirror.h"
#include "hmm_gpu.h"

struct gpu_edu;
struct gpu_mem;

/**
 * struct gpu - a device
 * @misc: its files
 * @name: name of @misc
 * @mem: its memory; NULL if it has none
 * @dma_dev: the device for which pages are mapped for DMA, or NULL
 * @edu: the hardware; NULL for a software GPU
 * @spaces: struct gpu_space of all open files; protected by gpu_list_lock
 *
 * The address of this structure is the owner of the GPU's device private pages.
 */
struct gpu {
	struct miscdevice misc;
	char name[24];
	struct gpu_mem *mem;
	struct device *dma_dev;
	struct gpu_edu *edu;
	struct list_head spaces;
};

/**
 * struct gpu_space - an open file
 * @gpu: the device; only an ioctl() between gpu_enter() and gpu_leave() follows it
 * @list: entry of gpu.spaces
 * @stopping: serializes gpu_space_stop()
 * @running: each ioctl() that uses the device holds it for reading
 * @gone: gpu_space_stop() has begun; set once, under @stopping
 * @engine: executes commands, one after another
 * @mirror: the mirror of the address space
 * @ranges: struct hmm_mirror_range by address / RANGE_SIZE; all device PTEs are inside
 *	one. Used by the engine only, so it needs no lock.
 * @nr_ranges: number of @ranges
 * @lock: the driver lock, see top of hmm_gpu.c
 * @ptes: the device page table: struct page by address / PAGE_SIZE, tagged with
 *	PTE_WRITE if the device may write. Changed under @lock.
 * @blocks: struct gpu_block by first address / PAGE_SIZE: the DMA addresses of the pages
 *	in @ptes, if the device does DMA. Blocks do not overlap. Changed under @lock.
 * @moving: held while pages are moved to the memory of the device
 * @mover: the thread that is in migrate_vma_setup() for these pages, or NULL
 * @counter: indexed by enum hmm_gpu_counter
 */
struct gpu_space {
	struct gpu *gpu;
	struct list_head list;
	struct mutex stopping;	/* see above */
	struct rw_semaphore running;
	bool gone;
	struct workqueue_struct *engine;
	struct hmm_mirror mirror;
	struct xarray ranges;
	unsigned int nr_ranges;
	struct mutex lock;	/* see above */
	struct xarray ptes;
	struct xarray blocks;
	struct mutex moving;	/* see above */
	struct task_struct *mover;
	atomic64_t counter[HMM_GPU_NR_COUNTERS];
};

static inline void gpu_count(struct gpu_space *space, enum hmm_gpu_counter i, u64 n)
{
	atomic64_add(n, &space->counter[i]);
}

/* hmm_gpu.c */

void gpu_unmap(struct gpu_space *space, unsigned long start, unsigned long end);

/* hmm_gpu_mem.c */

#ifdef HMM_MIRROR_COMPAT_DEVMEM

int gpu_mem_add(struct gpu *gpu, unsigned int mb);
void gpu_mem_remove(struct gpu *gpu);
void *gpu_mem_address(const struct page *page);
int gpu_mem_move(struct gpu_space *space, struct hmm_gpu_cmd *cmd);

#else

static inline int gpu_mem_add(struct gpu *gpu, unsigned int mb)
{
	return mb ? -EOPNOTSUPP : 0;
}

static inline void gpu_mem_remove(struct gpu *gpu)
{
}

static inline void *gpu_mem_address(const struct page *page)
{
	return NULL;
}

static inline int gpu_mem_move(struct gpu_space *space, struct hmm_gpu_cmd *cmd)
{
	return -EOPNOTSUPP;
}

#endif

#endif /* HMM_GPU_PRIV_H */
