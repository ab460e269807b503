/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences in threads and in hmm_range_fault() between the kernels that hmm_mirror builds
 * against.
 */
#ifndef HMM_MIRROR_COMPAT_READ_H
#define HMM_MIRROR_COMPAT_READ_H

#include <linux/hmm.h>
#include <linux/kthread.h>
#include <linux/module.h>

/* End a thread that holds a reference to the module. Renamed in 5.17, and in stable kernels. */
#ifdef HMM_MIRROR_COMPAT_KTHREAD_EXIT
#define hmm_mirror_compat_module_put_and_exit()	module_put_and_kthread_exit(0)
#else
#define hmm_mirror_compat_module_put_and_exit()	module_put_and_exit(0)
#endif

/* Bits of a pfn that hmm_range_fault() carries from input to output; none before 6.16. */
#ifdef HMM_MIRROR_COMPAT_PFN_INOUT
#define HMM_MIRROR_COMPAT_PFN_KEPT	(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)
#else
#define HMM_MIRROR_COMPAT_PFN_KEPT	0
#endif

#endif /* HMM_MIRROR_COMPAT_READ_H */
