/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A header of a legacy driver that names structures of <linux/hmm.h> and does not include it.
 * Some drivers of 2019 have such headers, and include them first.
 */
#ifndef HMM_LEGACY_GPU_RANGE_H
#define HMM_LEGACY_GPU_RANGE_H

struct gpu_space;
struct hmm_mirror;
struct hmm_range;

void gpu_init_range(struct hmm_range *range);
struct gpu_space *gpu_space_of(struct hmm_mirror *mirror);

#endif
