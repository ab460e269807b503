/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences in device private memory between the kernels that hmm_mirror builds against.
 * Only the sample needs this, not the core.
 *
 * Before 6.1 drivers counted the references of a device page in another way, and the CPU
 * page fault held no reference. On these kernels, and without CONFIG_DEVICE_PRIVATE,
 * Kbuild.include leaves HMM_MIRROR_COMPAT_DEVMEM undefined, and the sample has no such memory.
 */
#ifndef HMM_MIRROR_COMPAT_DEVMEM_H
#define HMM_MIRROR_COMPAT_DEVMEM_H

#include <linux/memremap.h>
#include <linux/mm.h>

#ifdef HMM_MIRROR_COMPAT_DEVMEM

/* Before 6.15. */
#ifndef HMM_MIRROR_COMPAT_PAGE_PGMAP
static inline struct dev_pagemap *page_pgmap(const struct page *page)
{
	return page->pgmap;
}
#endif

/*
 * Before 6.19 a device page was never part of a larger folio, and the callback that frees it
 * took a page instead of a folio.
 */
#ifdef HMM_MIRROR_COMPAT_FOLIO_FREE

#define hmm_mirror_compat_free		folio_free
#define hmm_mirror_compat_freed		folio

static inline struct page *hmm_mirror_compat_freed_page(struct folio *folio)
{
	return folio_page(folio, 0);
}

static inline void hmm_mirror_compat_page_init(struct page *page, struct dev_pagemap *pgmap)
{
	zone_device_page_init(page, pgmap, 0);
}

#else

#define hmm_mirror_compat_free		page_free
#define hmm_mirror_compat_freed		page

static inline struct page *hmm_mirror_compat_freed_page(struct page *page)
{
	return page;
}

static inline void hmm_mirror_compat_page_init(struct page *page, struct dev_pagemap *pgmap)
{
	zone_device_page_init(page);
}

#endif

#endif /* HMM_MIRROR_COMPAT_DEVMEM */

#endif /* HMM_MIRROR_COMPAT_DEVMEM_H */
