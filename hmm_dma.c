// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: DMA addresses of pages.
 *
 * Pages that follow one another in memory and allow the same access form a run, and a
 * run is mapped at once: a huge page costs one mapping, not 512. An IOMMU under which
 * the kernel lets us choose places (dma_iova_*) gets all runs of a call into one region:
 * for the device they follow one another then, and its TLB is synced once.
 *
 * Nothing is stored but the addresses. Where the runs are follows from the pfns, and
 * where the region is from any address in it.
 *
 * The pages are never the device's own: the process uses them at the same time. So a
 * device that needs a bounce buffer, or syncing of caches, cannot be served. What stands
 * in a bounce buffer must not even be written back when that is noticed too late, since
 * the process has written to its page meanwhile: DMA_ATTR_SKIP_CPU_SYNC. That is also
 * why a page can be mapped several times.
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

/* Can a device reach all pages, and see what the CPU writes? */
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

/* The pages of the run that begins with page @i, which is mappable. */
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
	/* Without an IOMMU nothing can fail but that the page itself is out of reach. */
	if (dma_mapping_error(dev, *addr))
		return use_dma_iommu(dev) ? -ENOMEM : -EOPNOTSUPP;
	/* The kernel says so for each IOMMU, though not whole pages are synced. */
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
	/* What lies between two holes at once, whatever runs it is made of. */
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
			/* No address tells unmap() of a region without a page. */
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
 * hmm_mirror_range_dma_map() - addresses by which a device finds pages
 * @range: a registered range
 * @seq: from hmm_mirror_range_begin()
 * @fault: pages, as hmm_mirror_range_fault() or hmm_mirror_range_snapshot() has
 *	returned them with @seq; a part of @range, or all of it
 * @dev: the device
 * @dma_addrs: one entry a page, set to its address; to DMA_MAPPING_ERROR where there is
 *	no page that could have one: no page at all, or one in device memory (device
 *	private, PCI peer to peer)
 *
 * The direction is DMA_BIDIRECTIONAL for pages that may be written, else DMA_TO_DEVICE.
 *
 * Mappings hold no reference to pages: they are a kind of device PTEs. Call this before
 * the driver's lock is taken. Then, under the lock, hmm_mirror_range_retry() decides: if
 * true, unmap and start again; else keep @fault, its pfns and @dma_addrs together with
 * the device PTEs. What was mapped at once is unmapped at once: an invalidation that
 * hits any page of it takes the device PTEs of all of it, and then all mappings. A driver
 * that wants to lose less maps smaller parts.
 *
 * Context: process context, may sleep.
 * Return: the number of runs, of pages that follow one another in physical memory and
 * allow the same access, each of which has cost one mapping; 0 if there was nothing to
 * map. Or -EBUSY if the range was invalidated since @seq; -EOPNOTSUPP if @dev would not
 * see the pages but copies (without an IOMMU a DMA mask that is too small, or bounce
 * buffers; caches that are not coherent), and again if it is tried again; -ENOMEM if the
 * IOMMU has no room; -ESRCH and -EINVAL as of hmm_mirror_range_snapshot(), -EINVAL also
 * if @dev or @dma_addrs is missing, or @dev has no DMA mask. After an error nothing is
 * mapped.
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
 * hmm_mirror_range_dma_unmap() - take a device the addresses of pages
 * @fault: as it was given to hmm_mirror_range_dma_map(), with the same pfns
 * @dev: the device, which does not use the addresses any more
 * @dma_addrs: as hmm_mirror_range_dma_map() has set them; all are DMA_MAPPING_ERROR
 *	after this, and to unmap them again does nothing
 * @dirty: the device may have written: mark the writable pages dirty. Only while the
 *	pages are certain to be the process's: in a callback, or with the driver's lock
 *	held and hmm_mirror_range_retry() false.
 *
 * Always for all pages of @fault. The range is not needed and can be gone.
 *
 * Context: any; does not sleep.
 */
void hmm_mirror_range_dma_unmap(const struct hmm_mirror_fault *fault,
				struct device *dev, dma_addr_t *dma_addrs, bool dirty)
{
	unsigned long i;

	if (!fault || !hmm_mirror_fault_has_pages(fault) || !dev || !dma_addrs) {
		WARN_ONCE(1, "hmm_mirror: %s() of what hmm_mirror_range_dma_map() has refused: call it only after that succeeded\n",
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
