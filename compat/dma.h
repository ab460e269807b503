/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences in the DMA API between the kernels that hmm_mirror builds against.
 * Kbuild.include has the probes. Each entry tells which kernels need it.
 */
#ifndef HMM_MIRROR_COMPAT_DMA_H
#define HMM_MIRROR_COMPAT_DMA_H

#include <linux/dma-mapping.h>
#include <linux/mm.h>

#ifdef HMM_MIRROR_COMPAT_USE_DMA_IOMMU
#include <linux/iommu-dma.h>
#else
#include <linux/iommu.h>

/* Before 6.12. */
static inline bool use_dma_iommu(struct device *dev)
{
	const struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && (domain->type & __IOMMU_DOMAIN_DMA_API);
}
#endif

/* 7.2 has this, 6.12 does not: without it, bounce buffers are detected after mapping. */
#ifndef DMA_ATTR_REQUIRE_COHERENT
#define DMA_ATTR_REQUIRE_COHERENT	0
#endif

/*
 * Since 6.10, if DMA_API_DEBUG is set and the device has dma_map_ops, dma_need_sync() is
 * always true. Otherwise it tests a flag, for which 7.2 has dev_dma_skip_sync(), and 6.12
 * has no function.
 */
static inline bool hmm_mirror_compat_need_sync(struct device *dev, dma_addr_t addr)
{
#ifdef HMM_MIRROR_COMPAT_SKIP_SYNC
	if (dev_dma_skip_sync(dev))
		return false;
#endif
	return dma_need_sync(dev, addr);
}

#ifndef HMM_MIRROR_COMPAT_DMA_MAP_PHYS

/* Before 6.18. */
static inline dma_addr_t dma_map_phys(struct device *dev, phys_addr_t phys, size_t size,
				      enum dma_data_direction dir, unsigned long attrs)
{
	return dma_map_page_attrs(dev, pfn_to_page(PHYS_PFN(phys)), offset_in_page(phys),
				  size, dir, attrs);
}

static inline void dma_unmap_phys(struct device *dev, dma_addr_t addr, size_t size,
				  enum dma_data_direction dir, unsigned long attrs)
{
	dma_unmap_page_attrs(dev, addr, size, dir, attrs);
}

#endif

#ifdef HMM_MIRROR_COMPAT_DMA_IOVA

/* Return the state as dma_iova_try_alloc() left it. There is no accessor for __size. */
static inline struct dma_iova_state
hmm_mirror_compat_iova_state(dma_addr_t addr, size_t size)
{
	return (struct dma_iova_state) { .addr = addr, .__size = size };
}

static inline bool hmm_mirror_compat_has_iova(struct device *dev)
{
	return use_dma_iommu(dev);
}

#else

/* Before 6.16. */
struct dma_iova_state {
	dma_addr_t addr;
};

static inline struct dma_iova_state
hmm_mirror_compat_iova_state(dma_addr_t addr, size_t size)
{
	return (struct dma_iova_state) { .addr = addr };
}

static inline bool hmm_mirror_compat_has_iova(struct device *dev)
{
	return false;
}

static inline bool dma_iova_try_alloc(struct device *dev, struct dma_iova_state *state,
				      phys_addr_t phys, size_t size)
{
	return false;
}

static inline int dma_iova_link(struct device *dev, struct dma_iova_state *state,
				phys_addr_t phys, size_t offset, size_t size,
				enum dma_data_direction dir, unsigned long attrs)
{
	return -EOPNOTSUPP;
}

static inline int dma_iova_sync(struct device *dev, struct dma_iova_state *state,
				size_t offset, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void dma_iova_unlink(struct device *dev, struct dma_iova_state *state,
				   size_t offset, size_t size,
				   enum dma_data_direction dir, unsigned long attrs)
{
}

static inline void dma_iova_free(struct device *dev, struct dma_iova_state *state)
{
}

#endif

#endif /* HMM_MIRROR_COMPAT_DMA_H */
