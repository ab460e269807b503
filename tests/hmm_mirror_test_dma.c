// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: DMA addresses.
 *
 * A string describes the pages of a fault: a letter is a page, adjacent letters are adjacent
 * pages, a capital letter is writable, a dot is no page.
 *
 * There are three kinds of devices. The fake device records its mappings, and can be told to
 * fail. The direct device uses physical addresses. The edu device of QEMU, if the machine has
 * one, is behind an IOMMU.
 */
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "compat/devmem.h"
#include "hmm_mirror_test.h"

#define FIRST		1000	/* first page of the range */
#define ORDER		4	/* order of the allocation for the letters */
#define HUGE_ORDER	9
#define UNTOUCHED	((dma_addr_t)4711)

struct mapping {
	phys_addr_t phys;
	size_t size;
	enum dma_data_direction dir;
};

static struct dma_test {
	struct test_fixture *f;
	struct platform_device *pdev;
	struct page *pages;
	unsigned int order;
	unsigned long pfns[1 << HUGE_ORDER];
	dma_addr_t addrs[1 << HUGE_ORDER];
	struct hmm_mirror_fault fault;
	/* the fake device */
	struct mapping mapping[TEST_PAGES];
	unsigned int mapped;		/* number of mappings made in this test */
	unsigned int live;
	bool wrong;			/* an unmap did not match its map */
	unsigned int fail_at;
	unsigned int collide_at;
	size_t max_size;
} d;

/* ------------------------------------------------------------- fake device */

#define FAKE_OFFSET	BIT_ULL(40)

static dma_addr_t fake_map(struct device *dev, phys_addr_t phys, size_t size,
			   enum dma_data_direction dir, unsigned long attrs)
{
	d.wrong |= !(attrs & DMA_ATTR_SKIP_CPU_SYNC);
	if (++d.mapped == d.fail_at || d.mapped > TEST_PAGES)
		return DMA_MAPPING_ERROR;
	if (d.mapped == d.collide_at)
		hmmt_start_end(d.f, P(FIRST), P(FIRST + 1));
	d.mapping[d.mapped - 1] = (struct mapping) { phys, size, dir };
	d.live++;
	return phys + FAKE_OFFSET;
}

static void fake_unmap(struct device *dev, dma_addr_t addr, size_t size,
		       enum dma_data_direction dir, unsigned long attrs)
{
	bool found = false;
	unsigned int i;

	for (i = 0; i < d.mapped && i < TEST_PAGES && !found; i++)
		found = d.mapping[i].phys + FAKE_OFFSET == addr &&
			d.mapping[i].size == size && d.mapping[i].dir == dir;
	d.wrong |= !found || !(attrs & DMA_ATTR_SKIP_CPU_SYNC);
	d.live--;
}

#ifdef HMM_MIRROR_TEST_HAVE_MAP_PHYS
#define FAKE_MAP	.map_phys = fake_map, .unmap_phys = fake_unmap
#else
#define FAKE_MAP	.map_page = fake_map_page, .unmap_page = fake_unmap

static dma_addr_t fake_map_page(struct device *dev, struct page *page,
				unsigned long offset, size_t size,
				enum dma_data_direction dir, unsigned long attrs)
{
	return fake_map(dev, page_to_phys(page) + offset, size, dir, attrs);
}
#endif

static void fake_sync(struct device *dev, dma_addr_t addr, size_t size,
		      enum dma_data_direction dir)
{
}

static const struct dma_map_ops fake_ops = {
	FAKE_MAP,
};

static size_t fake_max_mapping_size(struct device *dev)
{
	return d.max_size;
}

/* A device whose mappings have at most d.max_size bytes. */
static const struct dma_map_ops fake_short_ops = {
	FAKE_MAP,
	.max_mapping_size = fake_max_mapping_size,
};

/* A device that gets bounce buffers. */
static const struct dma_map_ops fake_bouncing_ops = {
	FAKE_MAP,
	.sync_single_for_cpu = fake_sync,
	.sync_single_for_device = fake_sync,
};

/* ------------------------------------------------------------------- devices */

/* Return true if the kernel maps bounce buffers for @dev, as with swiotlb=force. */
static bool bounces(struct kunit *test, struct device *dev)
{
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t addr;

	KUNIT_ASSERT_TRUE(test, page);
	addr = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_EXPECT_FALSE(test, dma_mapping_error(dev, addr));
	dma_unmap_page(dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
	__free_page(page);
	return addr != page_to_phys(page);
}

/*
 * Return a cache-coherent device, also where devices are not coherent by default, as on arm64.
 * If the kernel cannot have one, skip the test and return NULL.
 */
static struct device *any_device(struct kunit *test, u64 mask)
{
	if (!IS_ENABLED(CONFIG_HAS_DMA)) {
		hmmt_skip(test, "this kernel has no DMA");
		return NULL;
	}
#ifdef HMM_MIRROR_TEST_HAVE_DMA_COHERENT
	dev_set_dma_coherent(&d.pdev->dev);
#endif
	if (!dev_is_dma_coherent(&d.pdev->dev)) {
		hmmt_skip(test, "the test cannot make a device coherent on this kernel");
		return NULL;
	}
	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(&d.pdev->dev, mask), 0);
	return &d.pdev->dev;
}

static struct device *direct_device(struct kunit *test, u64 mask)
{
	struct device *dev = any_device(test, mask);

	if (!dev || !bounces(test, dev))
		return dev;
	hmmt_skip(test, "this kernel gives devices bounce buffers");
	return NULL;
}

static struct device *bouncing_device(struct kunit *test)
{
	struct device *dev = any_device(test, DMA_BIT_MASK(64));

	if (!dev || bounces(test, dev))
		return dev;
	hmmt_skip(test, "this kernel was not booted with swiotlb=force");
	return NULL;
}

static struct device *fake_device(struct kunit *test, const struct dma_map_ops *ops)
{
	set_dma_ops(&d.pdev->dev, ops);
	if (get_dma_ops(&d.pdev->dev) != ops) {
		hmmt_skip(test, "this kernel has no dma_map_ops");
		return NULL;
	}
	return any_device(test, DMA_BIT_MASK(64));
}

static struct pci_dev *iommu_device(struct kunit *test)
{
	struct pci_dev *pdev = pci_get_device(0x1234, 0x11e8, NULL);
	struct iommu_domain *domain = pdev ? iommu_get_domain_for_dev(&pdev->dev) : NULL;

	if (domain && (domain->type & __IOMMU_DOMAIN_DMA_API))
		return pdev;
	pci_dev_put(pdev);
	hmmt_skip(test, "this machine has no edu device behind an IOMMU");
	return NULL;
}

/* --------------------------------------------------------------------- pages */

static int dma_init(struct kunit *test)
{
	int ret;

	memset(&d, 0, sizeof(d));
	ret = hmmt_init(test);
	if (ret)
		return ret;
	d.pdev = platform_device_register_simple("hmm_mirror_test", -1, NULL, 0);
	if (IS_ERR(d.pdev)) {
		ret = PTR_ERR(d.pdev);
		d.pdev = NULL;
		hmmt_exit(test);
		return ret;
	}
	d.f = test->priv;
	hmmt_mirror(d.f, 0);
	hmmt_range(d.f, 0, 0, P(FIRST), P(FIRST + (1 << HUGE_ORDER)));
	return 0;
}

static void dma_exit(struct kunit *test)
{
	unsigned int i;

	for (i = 0; d.pages && i < 1 << d.order; i++)
		ClearPageDirty(d.pages + i);
	if (d.pages)
		__free_pages(d.pages, d.order);
	platform_device_unregister(d.pdev);
	hmmt_exit(test);
}

static void alloc_pages_of(struct kunit *test, unsigned int order, gfp_t gfp)
{
	d.order = order;
	d.pages = alloc_pages(GFP_KERNEL | __GFP_NOWARN | gfp, order);
	KUNIT_ASSERT_TRUE(test, d.pages);
}

static bool is_page(char c)
{
	return c != '.';
}

static bool is_writable(char c)
{
	return c >= 'A' && c <= 'Z';
}

static struct page *page_of(char c)
{
	return d.pages + (is_writable(c) ? c - 'A' : c - 'a');
}

/* Let d.fault describe @pages, at page @first of the range. */
static struct hmm_mirror_fault *fault_of(struct kunit *test, const char *pages,
					 unsigned int first)
{
	unsigned int i, nr = strlen(pages);

	if (!d.pages)
		alloc_pages_of(test, ORDER, 0);
	for (i = 0; i < nr; i++) {
		d.addrs[i] = UNTOUCHED;
		d.pfns[i] = is_page(pages[i]) ? page_to_pfn(page_of(pages[i])) | HMM_PFN_VALID |
			(is_writable(pages[i]) ? HMM_PFN_WRITE : 0) : 0;
	}
	d.fault = (struct hmm_mirror_fault) {
		.start = P(FIRST + first), .end = P(FIRST + first + nr), .pfns = d.pfns,
	};
	return &d.fault;
}

static long map(struct kunit *test, struct device *dev, const char *pages)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];

	return hmm_mirror_range_dma_map(range, hmmt_begin(f, range),
					fault_of(test, pages, 3), dev, d.addrs);
}

static bool nothing_has_an_address(void)
{
	unsigned long i;

	for (i = 0; i < (d.fault.end - d.fault.start) >> PAGE_SHIFT; i++) {
		if (d.addrs[i] != DMA_MAPPING_ERROR)
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------- runs */

static const struct {
	const char *pages;
	const char *runs;	/* first page of each run */
} layouts[] = {
	{ "A",		"A" },
	{ "ABCDEFGH",	"A" },
	{ "abcdefgh",	"a" },
	{ "ABDE",	"AD" },		/* not adjacent */
	{ "DCBA",	"DCBA" },
	{ "AABB",	"AAB" },	/* a page more than once, as the zero page */
	{ "ABcdEF",	"AcE" },	/* access changes */
	{ "AB.DE",	"AD" },		/* a hole in the middle */
	{ "..CD..",	"C" },
	{ "A.B.c.D",	"ABcD" },
	{ "...",	"" },
};

static void runs_are_mapped_at_once(struct kunit *test)
{
	struct device *dev = fake_device(test, &fake_ops);
	unsigned int i, j, nr;

	if (!dev)
		return;
	for (i = 0; i < ARRAY_SIZE(layouts); i++) {
		const char *pages = layouts[i].pages, *runs = layouts[i].runs;

		d.mapped = 0;
		KUNIT_EXPECT_EQ(test, map(test, dev, pages), (long)strlen(runs));
		KUNIT_EXPECT_EQ(test, d.live, (unsigned int)strlen(runs));
		nr = 0;
		for (j = 0; pages[j]; j++) {
			struct mapping *m = &d.mapping[nr];

			if (!is_page(pages[j])) {
				KUNIT_EXPECT_EQ(test, d.addrs[j], DMA_MAPPING_ERROR);
				continue;
			}
			KUNIT_EXPECT_EQ(test, d.addrs[j], (dma_addr_t)
					page_to_phys(page_of(pages[j])) + FAKE_OFFSET);
			KUNIT_EXPECT_EQ(test, m->phys, page_to_phys(page_of(runs[nr])));
			KUNIT_EXPECT_EQ(test, (int)m->dir, is_writable(pages[j]) ?
					(int)DMA_BIDIRECTIONAL : (int)DMA_TO_DEVICE);
			if (m->phys + m->size == page_to_phys(page_of(pages[j])) + PAGE_SIZE)
				nr++;
		}
		KUNIT_EXPECT_EQ(test, nr, (unsigned int)strlen(runs));

		hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
		KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
		KUNIT_EXPECT_EQ(test, d.live, 0U);
		/* A second unmap does nothing. */
		hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
		KUNIT_EXPECT_EQ(test, d.live, 0U);
		KUNIT_EXPECT_FALSE(test, d.wrong);
	}
}

/* A run is split if the device limits the size of a mapping. */
static void runs_are_not_too_long(struct kunit *test)
{
	static const struct {
		size_t max_size;
		long runs;
	} limits[] = {
		{ 1, 5 }, { PAGE_SIZE, 5 }, { 2 * PAGE_SIZE - 1, 5 }, { 2 * PAGE_SIZE, 3 },
		{ 4 * PAGE_SIZE, 2 }, { 5 * PAGE_SIZE, 1 }, { SIZE_MAX, 1 },
	};
	struct device *dev = fake_device(test, &fake_short_ops);
	unsigned int i, j;

	for (i = 0; dev && i < ARRAY_SIZE(limits); i++) {
		d.mapped = 0;
		d.max_size = limits[i].max_size;
		KUNIT_EXPECT_EQ(test, map(test, dev, "ABCDE"), limits[i].runs);
		for (j = 0; j < d.mapped; j++)
			KUNIT_EXPECT_LE(test, d.mapping[j].size,
					max_t(size_t, d.max_size, PAGE_SIZE));
		for (j = 0; j < 5; j++)
			KUNIT_EXPECT_EQ(test, d.addrs[j], (dma_addr_t)
					page_to_phys(d.pages + j) + FAKE_OFFSET);
		hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
		KUNIT_EXPECT_EQ(test, d.live, 0U);
		KUNIT_EXPECT_FALSE(test, d.wrong);
	}
}

static void addresses_are_those_of_memory(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	unsigned int i, j;

	for (i = 0; dev && i < ARRAY_SIZE(layouts); i++) {
		const char *pages = layouts[i].pages;

		KUNIT_EXPECT_EQ(test, map(test, dev, pages), (long)strlen(layouts[i].runs));
		for (j = 0; pages[j]; j++)
			KUNIT_EXPECT_EQ(test, d.addrs[j], is_page(pages[j]) ? (dma_addr_t)
					page_to_phys(page_of(pages[j])) : DMA_MAPPING_ERROR);
		hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
		KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
	}
}

static bool is_translated(struct iommu_domain *domain, dma_addr_t addr, struct page *page)
{
	return iommu_iova_to_phys(domain, addr) == page_to_phys(page);
}

static void iommu_translates(struct kunit *test)
{
	struct pci_dev *pdev = iommu_device(test);
	dma_addr_t was[16];
	struct iommu_domain *domain;
	unsigned int i, j;

	if (!pdev)
		return;
	domain = iommu_get_domain_for_dev(&pdev->dev);
	for (i = 0; i < ARRAY_SIZE(layouts); i++) {
		const char *pages = layouts[i].pages;

		KUNIT_EXPECT_EQ(test, map(test, &pdev->dev, pages),
				(long)strlen(layouts[i].runs));
		memcpy(was, d.addrs, sizeof(was));
		for (j = 0; pages[j]; j++) {
			if (!is_page(pages[j]))
				KUNIT_EXPECT_EQ(test, was[j], DMA_MAPPING_ERROR);
			else
				KUNIT_EXPECT_TRUE(test, is_translated(domain, was[j],
								      page_of(pages[j])));
		}
		hmm_mirror_range_dma_unmap(&d.fault, &pdev->dev, d.addrs, false);
		KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
		for (j = 0; pages[j]; j++)
			KUNIT_EXPECT_FALSE(test, is_page(pages[j]) &&
					   iommu_iova_to_phys(domain, was[j]));
	}
	pci_dev_put(pdev);
}

static long map_huge(struct kunit *test, struct device *dev)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned int i;

	if (!d.pages)
		alloc_pages_of(test, HUGE_ORDER, __GFP_COMP);
	for (i = 0; i < 1 << HUGE_ORDER; i++)
		d.pfns[i] = page_to_pfn(d.pages + i) | HMM_PFN_VALID | HMM_PFN_WRITE;
	d.fault = (struct hmm_mirror_fault) {
		.start = range->start, .end = range->end, .pfns = d.pfns,
	};
	return hmm_mirror_range_dma_map(range, hmmt_begin(f, range), &d.fault, dev, d.addrs);
}

static void huge_page_is_one_mapping(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));

	if (!dev)
		return;
	KUNIT_EXPECT_EQ(test, map_huge(test, dev), 1L);
	KUNIT_EXPECT_EQ(test, d.addrs[(1 << HUGE_ORDER) - 1] - d.addrs[0],
			(dma_addr_t)P((1 << HUGE_ORDER) - 1));
	hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

/* If the kernel has dma_iova_link(), scattered pages get contiguous DMA addresses. */
static void iommu_merges_pages(struct kunit *test)
{
#ifdef HMM_MIRROR_COMPAT_DMA_IOVA
	struct pci_dev *pdev = iommu_device(test);
	unsigned int i;

	if (!pdev)
		return;
	KUNIT_EXPECT_EQ(test, map(test, &pdev->dev, "FBaDE.C"), 5L);
	for (i = 0; i < 7; i++) {
		if (i != 5)
			KUNIT_EXPECT_EQ(test, d.addrs[i], d.addrs[0] + (dma_addr_t)P(i));
	}
	hmm_mirror_range_dma_unmap(&d.fault, &pdev->dev, d.addrs, false);
	pci_dev_put(pdev);
#else
	hmmt_skip(test, "this kernel has no dma_iova_link()");
#endif
}

/* ------------------------------------------------------------- device memory */

#ifdef HMM_MIRROR_COMPAT_DEVMEM

static void device_page_free(struct hmm_mirror_compat_freed *freed)
{
}

static vm_fault_t device_page_to_ram(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct dev_pagemap_ops device_pages = {
	.hmm_mirror_compat_free = device_page_free,
	.migrate_to_ram = device_page_to_ram,
};

/* Map RAM, a page of a device, and RAM: the page of the device has no address. */
static void expect_no_address(struct kunit *test, struct device *dev, enum memory_type type)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct dev_pagemap *pgmap = kunit_kzalloc(test, sizeof(*pgmap), GFP_KERNEL);
	struct hmm_mirror_fault *fault;
	struct resource *res;
	void *ret;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pgmap);
	res = request_free_mem_region(&iomem_resource, PAGE_SIZE, "hmm_mirror_test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(res));
	pgmap->type = type;
	pgmap->range.start = res->start;
	pgmap->range.end = res->end;
	pgmap->nr_range = 1;
	pgmap->ops = &device_pages;
	pgmap->owner = &d;
	ret = memremap_pages(pgmap, NUMA_NO_NODE);
	KUNIT_EXPECT_FALSE(test, IS_ERR(ret));
	if (IS_ERR(ret))
		goto out;

	fault = fault_of(test, "ABC", 3);
	d.pfns[1] = PHYS_PFN(res->start) | HMM_PFN_VALID | HMM_PFN_WRITE;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, hmmt_begin(f, range), fault,
						       dev, d.addrs), 2L);
	KUNIT_EXPECT_NE(test, d.addrs[0], DMA_MAPPING_ERROR);
	KUNIT_EXPECT_EQ(test, d.addrs[1], DMA_MAPPING_ERROR);
	KUNIT_EXPECT_NE(test, d.addrs[2], DMA_MAPPING_ERROR);
	hmm_mirror_range_dma_unmap(fault, dev, d.addrs, false);
	memunmap_pages(pgmap);
out:
	release_mem_region(res->start, resource_size(res));
}

static void device_private_memory(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));

	if (dev)
		expect_no_address(test, dev, MEMORY_DEVICE_PRIVATE);
}

static void pci_peer_to_peer_memory(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));

	if (!IS_ENABLED(CONFIG_PCI_P2PDMA))
		hmmt_skip(test, "this kernel has no CONFIG_PCI_P2PDMA");
	else if (dev)
		expect_no_address(test, dev, MEMORY_DEVICE_PCI_P2PDMA);
}

#else

static void device_private_memory(struct kunit *test)
{
	hmmt_skip(test, "this kernel has no device private memory");
}

static void pci_peer_to_peer_memory(struct kunit *test)
{
	hmmt_skip(test, "this kernel has no device private memory");
}

#endif

/* -------------------------------------------------------------------- errors */

/* If the third run cannot be mapped, the first two are unmapped. */
static void failure_in_the_middle(struct kunit *test)
{
	struct device *dev = fake_device(test, &fake_ops);

	if (!dev)
		return;
	d.fail_at = 3;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABde.HIjK"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, d.mapped, 3U);
	KUNIT_EXPECT_EQ(test, d.live, 0U);
	KUNIT_EXPECT_FALSE(test, d.wrong);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

/* Return a device behind an IOMMU whose address space has @pages pages. */
static struct pci_dev *crowded_device(struct kunit *test, unsigned int pages, u64 *mask)
{
	struct pci_dev *pdev = iommu_device(test);

	if (!pdev)
		return NULL;
	*mask = dma_get_mask(&pdev->dev);
	if (!dma_set_mask(&pdev->dev, P(pages) - 1))
		return pdev;
	/* Linux 5.10 checks the mask as if there were no IOMMU. */
	hmmt_skip(test, "the IOMMU of this kernel does not support so small a mask");
	pci_dev_put(pdev);
	return NULL;
}

/* The address space of an IOMMU can be full. */
static void no_room(struct kunit *test)
{
	u64 mask;
	struct pci_dev *pdev = crowded_device(test, 8, &mask);

	if (!pdev)
		return;
	KUNIT_EXPECT_EQ(test, map(test, &pdev->dev, "HGFEDCBAABCDEFGH"), (long)-ENOMEM);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
	/* After the IOMMU has flushed, the addresses are free again. */
	KUNIT_EXPECT_TRUE(test, hmmt_poll(map(test, &pdev->dev, "CAB") == 2));
	hmm_mirror_range_dma_unmap(&d.fault, &pdev->dev, d.addrs, false);
	KUNIT_EXPECT_EQ(test, dma_set_mask(&pdev->dev, mask), 0);
	pci_dev_put(pdev);
}

/*
 * Addresses that were unmapped are free again, after an unmap as well as after a collision.
 * Map many times the size of the address space.
 */
static void room_is_given_back(struct kunit *test)
{
	u64 mask;
	struct pci_dev *pdev = crowded_device(test, 64, &mask);
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;
	bool room = true;
	unsigned int i;

	if (!pdev)
		return;
	/* An unmapped address is free only after a flush. */
	for (i = 0; room && i < 128; i++) {
		room = hmmt_poll(map(test, &pdev->dev, "HGFE..DC.ABCDEFG") == 7);
		KUNIT_EXPECT_TRUE(test, room);
		hmm_mirror_range_dma_unmap(&d.fault, &pdev->dev, d.addrs, false);

		seq = hmmt_begin(f, range);
		hmmt_start_end(f, P(FIRST), P(FIRST + 1));
		room &= hmmt_poll(hmm_mirror_range_dma_map(range, seq, fault_of(test, "AB", 3),
							   &pdev->dev, d.addrs) == -EBUSY);
		KUNIT_EXPECT_TRUE(test, room);
	}
	KUNIT_EXPECT_EQ(test, dma_set_mask(&pdev->dev, mask), 0);
	pci_dev_put(pdev);
}

static void collision(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	unsigned long seq;

	if (!dev)
		return;
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, seq, fault_of(test, "...", 3),
						       dev, d.addrs), 0L);
	hmmt_start_end(f, P(FIRST), P(FIRST + 1));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, seq, fault_of(test, "ABcd", 3),
						       dev, d.addrs), (long)-EBUSY);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
	/* The same without a page to map. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, seq, fault_of(test, "...", 3),
						       dev, d.addrs), (long)-EBUSY);
}

/* If there is an error and a collision, the error is returned: a retry would not help. */
static void collision_and_failure(struct kunit *test)
{
	struct device *dev = fake_device(test, &fake_ops);

	if (!dev)
		return;
	d.collide_at = 2;
	d.fail_at = 3;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABde.HIjK"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, d.live, 0U);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

/* An entry without HMM_PFN_VALID ends a run, even if its other bits are those of a page. */
static void invalid_entry_ends_run(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct device *dev = fake_device(test, &fake_ops);
	struct hmm_mirror_fault *fault;

	if (!dev)
		return;
	fault = fault_of(test, "ABC", 3);
	d.pfns[1] &= ~HMM_PFN_VALID;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, hmmt_begin(f, range), fault, dev,
						       d.addrs), 2L);
	KUNIT_EXPECT_EQ(test, d.addrs[1], DMA_MAPPING_ERROR);
	KUNIT_EXPECT_EQ(test, d.mapping[0].size, (size_t)PAGE_SIZE);
	hmm_mirror_range_dma_unmap(fault, dev, d.addrs, false);
	KUNIT_EXPECT_EQ(test, d.live, 0U);
	KUNIT_EXPECT_FALSE(test, d.wrong);
}

static void collision_in_the_middle(struct kunit *test)
{
	struct device *dev = fake_device(test, &fake_ops);

	if (!dev)
		return;
	d.collide_at = 2;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABde.HIjK"), (long)-EBUSY);
	KUNIT_EXPECT_GE(test, d.mapped, 2U);
	KUNIT_EXPECT_EQ(test, d.live, 0U);
	KUNIT_EXPECT_FALSE(test, d.wrong);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

/* A device that cannot address all memory would get bounce buffers. */
static void device_out_of_reach(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));

	if (!dev)
		return;
	*dev->dma_mask = P(16) - 1;
	KUNIT_EXPECT_EQ(test, map(test, dev, "AB"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, d.addrs[0], UNTOUCHED);
}

/* A device that is not cache-coherent would read stale data. */
static void device_not_coherent(struct kunit *test)
{
	struct device *dev = &d.pdev->dev;

	if (dev_is_dma_coherent(dev)) {
		hmmt_skip(test, "all devices of this machine are coherent");
		return;
	}
	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
	KUNIT_EXPECT_EQ(test, map(test, dev, "AB"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, d.addrs[0], UNTOUCHED);
}

static void device_that_gets_copies(struct kunit *test)
{
	struct device *dev = fake_device(test, &fake_bouncing_ops);

	if (!dev)
		return;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABde"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, d.mapped, 1U);
	KUNIT_EXPECT_EQ(test, d.live, 0U);
	KUNIT_EXPECT_FALSE(test, d.wrong);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

static void bounce_buffers(struct kunit *test)
{
	struct device *dev = bouncing_device(test);

	if (!dev)
		return;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABde"), (long)-EOPNOTSUPP);
	KUNIT_EXPECT_TRUE(test, nothing_has_an_address());
}

static void arguments(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	unsigned long seq = hmmt_begin(f, range);
	const struct hmm_mirror_fault good = *fault_of(test, "ABC", 3);
	struct hmm_mirror_fault *fault = &d.fault;

	if (!dev)
		return;
#define is_refused(dev, addrs) \
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, seq, fault, dev, addrs), \
			(long)-EINVAL)

	fault->start = range->start - PAGE_SIZE;
	is_refused(dev, d.addrs);
	*fault = good;
	fault->end = range->end + PAGE_SIZE;
	is_refused(dev, d.addrs);
	*fault = good;
	fault->end = fault->start;
	is_refused(dev, d.addrs);
	*fault = good;
	fault->start++;
	is_refused(dev, d.addrs);
	*fault = good;
	fault->end--;
	is_refused(dev, d.addrs);
	*fault = good;
	fault->pfns = NULL;
	is_refused(dev, d.addrs);
	*fault = good;
	is_refused(NULL, d.addrs);
	is_refused(dev, NULL);
	*dev->dma_mask = 0;
	is_refused(dev, d.addrs);
	dev->dma_mask = NULL;
	is_refused(dev, d.addrs);
#undef is_refused
	KUNIT_EXPECT_EQ(test, d.addrs[0], UNTOUCHED);
	KUNIT_EXPECT_EQ(test, d.addrs[2], UNTOUCHED);
}

/* --------------------------------------------------------------------- dirty */

/* Bounds of a fault can be any numbers. Only entries of pages inside the range are written. */
static void any_bounds(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	struct hmm_mirror_range *range = &d.f->range[0];
	unsigned long rounds, seq, i, nr, wrong = 0;
	struct hmm_mirror_fault fault = {};
	struct rnd_state rnd;

	if (!dev)
		return;
	hmmt_seed(test, &rnd);
	for (rounds = hmmt_steps() / 10; rounds; rounds--) {
		bool good;
		long ret;

		fault.start = hmmt_random_address(&rnd);
		if (prandom_u32_state(&rnd) % 2)
			fault.start = range->start + P(prandom_u32_state(&rnd) % 600) - P(20);
		fault.end = hmmt_random_address(&rnd);
		if (prandom_u32_state(&rnd) % 2)
			fault.end = fault.start + P(prandom_u32_state(&rnd) % 64);
		good = !(fault.start % PAGE_SIZE) && !(fault.end % PAGE_SIZE) &&
		       range->start <= fault.start && fault.start < fault.end &&
		       fault.end <= range->end;
		nr = good ? (fault.end - fault.start) / PAGE_SIZE : 0;
		for (i = 0; i < ARRAY_SIZE(d.addrs); i++)
			d.addrs[i] = UNTOUCHED;
		fault.pfns = d.pfns;
		seq = hmmt_begin(d.f, range);
		ret = hmm_mirror_range_dma_map(range, seq, &fault, dev, d.addrs);
		KUNIT_EXPECT_EQ_MSG(test, ret, good ? 0L : -EINVAL, "[%lx, %lx)", fault.start,
				    fault.end);
		for (i = 0; i < ARRAY_SIZE(d.addrs); i++)
			wrong += d.addrs[i] != (i < nr ? DMA_MAPPING_ERROR : UNTOUCHED);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0UL);

	/* A fault that map() has refused is not unmapped. */
	fault.start = range->start;
	fault.end = range->start - PAGE_SIZE;
	hmmt_expect_begin();
	hmm_mirror_range_dma_unmap(&fault, dev, d.addrs, true);
	hmmt_expect_end();
	hmmt_expect_warned(test, "of pages that hmm_mirror_range_dma_map() has refused");
}

/* unmap() refuses what map() refuses, and writes no entry. */
static void arguments_of_unmap(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	struct hmm_mirror_fault *fault = fault_of(test, "ABC", 3);
	struct hmm_mirror_fault empty = *fault;

	if (!dev)
		return;
	empty.end = empty.start;
	hmmt_expect_begin();
	hmm_mirror_range_dma_unmap(NULL, dev, d.addrs, true);
	hmm_mirror_range_dma_unmap(fault, NULL, d.addrs, true);
	hmm_mirror_range_dma_unmap(fault, dev, NULL, true);
	hmm_mirror_range_dma_unmap(&empty, dev, d.addrs, true);
	hmmt_expect_end();
	hmmt_expect_warned(test, "of pages that hmm_mirror_range_dma_map() has refused");
	KUNIT_EXPECT_EQ(test, d.addrs[0], UNTOUCHED);
	KUNIT_EXPECT_FALSE(test, PageDirty(page_of('A')));
}

/* Neither function accesses an entry behind that of the last page. */
static void addresses_before_a_hole(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	dma_addr_t *addrs = hmmt_before_hole(f, 3 * sizeof(*addrs));
	unsigned int i;

	if (!dev)
		return;
	for (i = 0; i < 2; i++) {
		struct hmm_mirror_fault *fault = fault_of(test, i ? "ABC" : "...", 3);

		KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, hmmt_begin(f, range), fault,
							       dev, addrs), (long)i);
		hmm_mirror_range_dma_unmap(fault, dev, addrs, true);
		hmm_mirror_range_dma_unmap(fault, dev, addrs, true);
	}
	KUNIT_EXPECT_EQ(test, addrs[2], DMA_MAPPING_ERROR);
}

/* With @dirty, unmap() marks the pages dirty that the device may have written. */
static void writable_pages_get_dirty(struct kunit *test)
{
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));

	if (!dev)
		return;
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABcd.F"), 3L);
	hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, false);
	KUNIT_EXPECT_FALSE(test, PageDirty(d.pages + 0));

	KUNIT_EXPECT_EQ(test, map(test, dev, "ABcd.F"), 3L);
	KUNIT_EXPECT_FALSE(test, PageDirty(d.pages + 0));
	hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, true);
	KUNIT_EXPECT_TRUE(test, PageDirty(d.pages + 0));
	KUNIT_EXPECT_TRUE(test, PageDirty(d.pages + 1));
	KUNIT_EXPECT_FALSE(test, PageDirty(d.pages + 2));
	KUNIT_EXPECT_FALSE(test, PageDirty(d.pages + 3));
	KUNIT_EXPECT_TRUE(test, PageDirty(d.pages + 5));

	/* Entries behind the last page are ignored. */
	KUNIT_EXPECT_EQ(test, map(test, dev, "ABcd.F"), 3L);
	d.pfns[6] = page_to_pfn(page_of('G')) | HMM_PFN_VALID | HMM_PFN_WRITE;
	d.addrs[6] = UNTOUCHED;
	hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, true);
	KUNIT_EXPECT_FALSE(test, PageDirty(page_of('G')));
	KUNIT_EXPECT_EQ(test, d.addrs[6], UNTOUCHED);

	/* Pages that are already unmapped are not marked. */
	ClearPageDirty(d.pages);
	hmm_mirror_range_dma_unmap(&d.fault, dev, d.addrs, true);
	KUNIT_EXPECT_FALSE(test, PageDirty(d.pages));
}

/* ----------------------------------------------------------------------- mm */

/* Map the memory of a process for DMA. After munmap() the fault has collided. */
static void memory_of_a_process(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct device *dev = direct_device(test, DMA_BIT_MASK(64));
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault;
	unsigned long addr, seq;
	unsigned int i;

	if (!dev)
		return;
	hmm_mirror_range_unregister(range);
	hmm_mirror_unregister(&f->tm[0].mirror);
	addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	for (i = 0; i < TEST_MAPPED; i++)
		hmmt_poke(f, addr + P(i), 'a' + i);
	fault = hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	KUNIT_ASSERT_GT(test, hmm_mirror_range_dma_map(range, seq, fault, dev, d.addrs), 0L);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, *(char *)phys_to_virt(d.addrs[i]), (char)('a' + i));
	hmm_mirror_range_dma_unmap(fault, dev, d.addrs, true);

	vm_munmap(addr + P(1), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_dma_map(range, seq, fault, dev, d.addrs),
			(long)-EBUSY);
	KUNIT_EXPECT_EQ(test, d.addrs[0], DMA_MAPPING_ERROR);
	hmmt_unmapped(f);
}

static struct kunit_case dma_cases[] = {
	KUNIT_CASE(runs_are_mapped_at_once),
	KUNIT_CASE(runs_are_not_too_long),
	KUNIT_CASE(addresses_are_those_of_memory),
	KUNIT_CASE(iommu_translates),
	KUNIT_CASE(huge_page_is_one_mapping),
	KUNIT_CASE(iommu_merges_pages),
	KUNIT_CASE(device_private_memory),
	KUNIT_CASE(pci_peer_to_peer_memory),
	KUNIT_CASE(failure_in_the_middle),
	KUNIT_CASE(no_room),
	KUNIT_CASE(room_is_given_back),
	KUNIT_CASE(collision),
	KUNIT_CASE(collision_and_failure),
	KUNIT_CASE(invalid_entry_ends_run),
	KUNIT_CASE(collision_in_the_middle),
	KUNIT_CASE(device_out_of_reach),
	KUNIT_CASE(device_not_coherent),
	KUNIT_CASE(device_that_gets_copies),
	KUNIT_CASE(bounce_buffers),
	KUNIT_CASE(arguments),
	KUNIT_CASE(any_bounds),
	KUNIT_CASE(arguments_of_unmap),
	KUNIT_CASE(addresses_before_a_hole),
	KUNIT_CASE(writable_pages_get_dirty),
	KUNIT_CASE(memory_of_a_process),
	{}
};

struct kunit_suite hmm_mirror_dma_suite = {
	.name = "hmm_mirror_dma",
	.init = dma_init,
	.exit = dma_exit,
	.test_cases = dma_cases,
};
