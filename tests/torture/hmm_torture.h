/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: torture: interface between the module and the program.
 */
#ifndef HMM_TORTURE_H
#define HMM_TORTURE_H

#include <linux/ioctl.h>

#define TORTURE_DEVICE	"hmm_torture"

/*
 * Memory that the program maps and changes, and the module mirrors. In its middle is an
 * address where page tables, and the pieces of a large fault, begin.
 */
#define TORTURE_PAGES	64
#define TORTURE_BASE(page_size)	((1UL << 36) - TORTURE_PAGES / 2 * (page_size))

/*
 * Check that the core is idle. None of the threads of the calling process, whose number is the
 * argument, changes its memory meanwhile.
 */
#define TORTURE_REST	_IO('t', 1)

#endif /* HMM_TORTURE_H */
