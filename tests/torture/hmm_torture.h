/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: torture. What the module and the program share.
 */
#ifndef HMM_TORTURE_H
#define HMM_TORTURE_H

#include <linux/ioctl.h>

#define TORTURE_DEVICE	"hmm_torture"

/*
 * Memory that the program maps and changes and the module mirrors. It lies on both
 * sides of an address where page tables, and the pieces of a large fault, begin.
 */
#define TORTURE_PAGES	64
#define TORTURE_BASE(page_size)	((1UL << 36) - TORTURE_PAGES / 2 * (page_size))

/*
 * The calling process does nothing to its memory now, with the given number of threads:
 * everything that the core counts must be zero.
 */
#define TORTURE_REST	_IO('t', 1)

#endif /* HMM_TORTURE_H */
