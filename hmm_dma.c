// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: DMA addresses of pages.
 *
 * Owns no data, and takes no lock. The caller owns the arrays of pfns and of addresses.
 *
 * A run is a number of pages that are physically contiguous and allow the same access. Each
 * run is mapped by one call of the DMA API, so a huge page costs one mapping instead of 512. If
 * the DMA API lets the core allocate IOVAs (dma_iova_*), all runs of a call are linked into one
 * IOVA region at the offsets of their pages, and the IOTLB is synced once.
 *
 * Only the addresses are stored. The runs can be computed from the pfns, and the region from
 * any address in it.
 *
 * The process uses the pages at the same time as the device. So a device that needs bounce
 * buffers or cache syncs is refused. A bounce buffer may be detected only after mapping. Its
 * content must not be written back then, because the process may have written to the page:
 * DMA_ATTR_SKIP_CPU_SYNC. Without syncs, a page can also be mapped several times.
 */
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "compat/dma.h"
#include "internal.h"

#define ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_REQUIRE_COHERENT | DMA_ATTR_NO_WARN)

static unsigned long nr_pages(const struct hmm_mirror_fault *fault)
{
	return (fault->end - fault->start) >> PAGE_SHIFT;
}

/* Return true if @dev can address all pages, and DMA is coherent with CPU caches. */
static bool shares_memory(struct device *dev)
{
	return dev_is_dma_coherent(dev) &&
	       (use_dma_iommu(dev) || !dma_addressing_limited(dev));
}

/* ---------------------------------------------------------------------- runs */

static bool is_mappable(unsigned long pfn)
{
	const struct page *page = hmm_pfn_to_page(pfn);

	return (pfn & HMM_PFN_VALID) && !is_device_private_page(page) &&
	       !is_pci_p2pdma_page(page);
}

/* Return the number of pages of the run that begins with page @i, which is mappable. */
static unsigned long run_length(const struct hmm_mirror_fault *fault, unsigned long i,
				struct device *dev)
{
	size_t limit = max_t(size_t, dma_max_mapping_size(dev) >> PAGE_SHIFT, 1);
	unsigned long max = min_t(size_t, nr_pages(fault) - i, limit);
	unsigned long first = page_to_pfn(hmm_pfn_to_page(fault->pfns[i]));
	unsigned long n;

	for (n = 1; n < max; n++) {
		unsigned long pfn = fault->pfns[i + n];

		if (!is_mappable(pfn) || page_to_pfn(hmm_pfn_to_page(pfn)) != first + n ||
		    (pfn ^ fault->pfns[i]) & HMM_PFN_WRITE)
			break;
	}
	return n;
}

static phys_addr_t phys_of(unsigned long pfn)
{
	return page_to_phys(hmm_pfn_to_page(pfn));
}

static enum dma_data_direction direction(unsigned long pfn)
{
	return pfn & HMM_PFN_WRITE ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

static int map_run(const struct hmm_mirror_fault *fault, unsigned long i, size_t size,
		   struct device *dev, dma_addr_t *addr)
{
	*addr = dma_map_phys(dev, phys_of(fault->pfns[i]), size,
			     direction(fault->pfns[i]), ATTRS);
	/* Without an IOMMU, mapping fails only if @dev cannot address the page. */
	if (dma_mapping_error(dev, *addr))
		return use_dma_iommu(dev) ? -ENOMEM : -EOPNOTSUPP;
	/* With an IOMMU, dma_need_sync() can be true although whole pages need no sync. */
	if (!use_dma_iommu(dev) && hmm_mirror_compat_need_sync(dev, *addr)) {
		dma_unmap_phys(dev, *addr, size, direction(fault->pfns[i]), ATTRS);
		return -EOPNOTSUPP;
	}
	return 0;
}

static void unmap_runs(const struct hmm_mirror_fault *fault, struct device *dev,
		       const dma_addr_t *dma_addrs)
{
	unsigned long i, n;

	for (i = 0; i < nr_pages(fault); i += n) {
		n = 1;
		if (dma_addrs[i] == DMA_MAPPING_ERROR)
			continue;
		n = run_length(fault, i, dev);
		dma_unmap_phys(dev, dma_addrs[i], n << PAGE_SHIFT,
			       direction(fault->pfns[i]), ATTRS);
	}
}

/* -------------------------------------------------------------------- region */

static void unmap_region(const struct hmm_mirror_fault *fault, struct device *dev,
			 const dma_addr_t *dma_addrs, dma_addr_t start)
{
	struct dma_iova_state region;
	unsigned long i, n;

	region = hmm_mirror_compat_iova_state(start, fault->end - fault->start);
	/* Unlink all pages between two holes at once, even if they are several runs. */
	for (i = 0; i < nr_pages(fault); i += n) {
		n = 0;
		while (i + n < nr_pages(fault) && dma_addrs[i + n] != DMA_MAPPING_ERROR)
			n++;
		if (n)
			dma_iova_unlink(dev, &region, i << PAGE_SHIFT, n << PAGE_SHIFT,
					DMA_BIDIRECTIONAL, ATTRS);
		else
			n = 1;
	}
	dma_iova_free(dev, &region);
}

/* ------------------------------------------------------------------------ all */

static void unmap(const struct hmm_mirror_fault *fault, struct device *dev,
		  const dma_addr_t *dma_addrs)
{
	unsigned long i = 0;

	while (i < nr_pages(fault) && dma_addrs[i] == DMA_MAPPING_ERROR)
		i++;
	if (i == nr_pages(fault))
		return;
	if (hmm_mirror_compat_has_iova(dev))
		unmap_region(fault, dev, dma_addrs, dma_addrs[i] - (i << PAGE_SHIFT));
	else
		unmap_runs(fault, dev, dma_addrs);
}

static long map(const struct hmm_mirror_fault *fault, struct device *dev,
		dma_addr_t *dma_addrs)
{
	bool in_region = hmm_mirror_compat_has_iova(dev);
	struct dma_iova_state region;
	unsigned long i, j, n;
	dma_addr_t addr;
	long runs = 0;
	int ret = 0;

	for (i = 0; i < nr_pages(fault); i += n) {
		n = 1;
		if (!is_mappable(fault->pfns[i]))
			continue;
		n = run_length(fault, i, dev);
		if (!in_region) {
			ret = map_run(fault, i, n << PAGE_SHIFT, dev, &addr);
		} else if (!runs && !dma_iova_try_alloc(dev, &region, 0,
							fault->end - fault->start)) {
			ret = -ENOMEM;
		} else {
			addr = region.addr + (i << PAGE_SHIFT);
			ret = dma_iova_link(dev, &region, phys_of(fault->pfns[i]),
					    i << PAGE_SHIFT, n << PAGE_SHIFT,
					    direction(fault->pfns[i]), ATTRS);
			/* unmap() finds a region by an address in it, and there is none. */
			if (ret && !runs)
				dma_iova_free(dev, &region);
		}
		if (ret)
			return ret;

		for (j = 0; j < n; j++)
			dma_addrs[i + j] = addr + (j << PAGE_SHIFT);
		runs++;
		cond_resched();
	}
	if (in_region && runs)
		ret = dma_iova_sync(dev, &region, 0, fault->end - fault->start);
	return ret ? ret : runs;
}

static void forget(const struct hmm_mirror_fault *fault, dma_addr_t *dma_addrs)
{
	unsigned long i;

	for (i = 0; i < nr_pages(fault); i++)
		dma_addrs[i] = DMA_MAPPING_ERROR;
}

/**
 * hmm_mirror_range_dma_map() - map pages for DMA
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages, as hmm_mirror_range_fault() or hmm_mirror_range_snapshot() has
 *	returned them with @seq; all of @range or a part
 * @dev: the device
 * @dma_addrs: one entry per page, set to the DMA address of the page; set to
 *	DMA_MAPPING_ERROR if there is no page, or if the page is in device memory (device
 *	private, PCI peer to peer)
 *
 * The direction is DMA_BIDIRECTIONAL for writable pages, else DMA_TO_DEVICE.
 *
 * A mapping holds no reference to its page: treat mappings like device PTEs. Call this
 * before taking the driver lock. Then take the lock and call hmm_mirror_range_retry(). If
 * that returns true, unmap the pages and start again; else keep @fault, its pfns and
 * @dma_addrs together with the device PTEs. All pages of a call are unmapped together: if
 * an invalidation hits any of them, the driver removes the device PTEs of all of them, and
 * then unmaps all of them. A driver that wants to lose fewer pages maps smaller parts.
 *
 * Context: process context, may sleep.
 * Return: the number of runs (pages that are physically contiguous and allow the same
 * access), each of which cost one mapping; 0 if no page could be mapped; -EBUSY if the
 * range was invalidated since @seq, if the mm is dead, or if the mirror is unregistered;
 * -EOPNOTSUPP, on each further attempt too, if @dev would access copies of the pages (without
 * an IOMMU a DMA mask that is too small, or bounce buffers; caches that are not coherent);
 * -ENOMEM if the IOMMU has no room; -ESRCH if @range is not registered; -EINVAL as of
 * hmm_mirror_range_snapshot(), and if @dev or @dma_addrs is NULL, or if @dev has no DMA mask.
 * After an error no page is mapped.
 */
long hmm_mirror_range_dma_map(struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault,
			      struct device *dev, dma_addr_t *dma_addrs)
{
	long ret;

	might_sleep();
	ret = hmm_mirror_fault_check(range, seq, fault);
	if (ret)
		return ret;
	if (!dev || !dev->dma_mask || !*dev->dma_mask || !dma_addrs)
		return -EINVAL;
	if (!shares_memory(dev))
		return -EOPNOTSUPP;

	forget(fault, dma_addrs);
	ret = map(fault, dev, dma_addrs);
	if (ret >= 0 && hmm_mirror_range_retry(range, seq))
		ret = -EBUSY;
	if (ret < 0)
		hmm_mirror_range_dma_unmap(fault, dev, dma_addrs, false);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_dma_map);
ALLOW_ERROR_INJECTION(hmm_mirror_range_dma_map, ERRNO);

/**
 * hmm_mirror_range_dma_unmap() - unmap pages from a device
 * @fault: as passed to hmm_mirror_range_dma_map(), with the same pfns
 * @dev: the device, which does not use the addresses any more
 * @dma_addrs: as set by hmm_mirror_range_dma_map(); this sets all entries to
 *	DMA_MAPPING_ERROR, after which another call does nothing
 * @dirty: mark the writable pages dirty, because the device may have written to them. Only
 *	while the process is certain to own the pages: in a callback, or under the driver
 *	lock after hmm_mirror_range_retry() returned false.
 *
 * Unmaps all pages of @fault. The range may have been unregistered.
 *
 * Context: process context or a callback, does not sleep. The caller may hold spinlocks that no
 * interrupt handler takes.
 */
void hmm_mirror_range_dma_unmap(const struct hmm_mirror_fault *fault,
				struct device *dev, dma_addr_t *dma_addrs, bool dirty)
{
	unsigned long i;

	if (!fault || !fault->pfns || !hmm_mirror_fault_has_pages(fault) || !dev || !dma_addrs) {
		WARN_ONCE(1, "hmm_mirror: %s() of pages that hmm_mirror_range_dma_map() has refused: call it only after that succeeded\n",
			  __func__);
		return;
	}
	unmap(fault, dev, dma_addrs);
	for (i = 0; dirty && i < nr_pages(fault); i++) {
		if (dma_addrs[i] != DMA_MAPPING_ERROR && (fault->pfns[i] & HMM_PFN_WRITE))
			set_page_dirty(hmm_pfn_to_page(fault->pfns[i]));
	}
	forget(fault, dma_addrs);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_dma_unmap);
