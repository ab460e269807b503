/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the examples in docs/porting.md call and do not define. Each of them is compiled as a
 * file that begins with this: see docs.sh.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmm_mirror.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-const-variable"

struct my_space;

static inline void my_remove_device_ptes(struct my_space *s, unsigned long start,
					 unsigned long end)
{
}

static inline int my_install_device_ptes(struct my_space *s, unsigned long start,
					 unsigned long end, const unsigned long *pfns)
{
	return 0;
}

static inline int my_install_device_pte(struct my_space *s, unsigned long addr,
					struct page *page)
{
	return 0;
}
