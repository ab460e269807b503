/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences in memory cgroups between the kernels that hmm_mirror builds against.
 */
#ifndef HMM_MIRROR_COMPAT_MEMCG_H
#define HMM_MIRROR_COMPAT_MEMCG_H

#include <linux/memcontrol.h>
#include <linux/sched.h>

/*
 * set_active_memcg() in process context. Before 5.14 that inline function of the kernel uses
 * a variable that is not exported to modules.
 */
static inline struct mem_cgroup *
hmm_mirror_compat_set_active_memcg(struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *old = current->active_memcg;

	current->active_memcg = memcg;
	return old;
#else
	return NULL;
#endif
}

/*
 * Until hmm_mirror_compat_charge_end(), charge what this thread allocates with __GFP_ACCOUNT to
 * the control group of the process of @mm. Return the argument for charge_end().
 */
static inline struct mem_cgroup *hmm_mirror_compat_charge_begin(struct mm_struct *mm)
{
	return hmm_mirror_compat_set_active_memcg(get_mem_cgroup_from_mm(mm));
}

static inline void hmm_mirror_compat_charge_end(struct mem_cgroup *old)
{
#ifdef CONFIG_MEMCG
	mem_cgroup_put(hmm_mirror_compat_set_active_memcg(old));
#endif
}

#endif /* HMM_MIRROR_COMPAT_MEMCG_H */
