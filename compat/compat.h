/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between the kernels that hmm_mirror builds against. Kbuild.include has the
 * probes. Each entry tells which kernels need it.
 */
#ifndef HMM_MIRROR_COMPAT_H
#define HMM_MIRROR_COMPAT_H

#include <linux/mmu_notifier.h>

/*
 * Return the owner of an update. Before 5.14 the field had another name, and there were no
 * events of exclusive access.
 */
static inline const void *
hmm_mirror_compat_owner(const struct mmu_notifier_range *update)
{
#ifdef HMM_MIRROR_COMPAT_PGMAP_OWNER
	return update->migrate_pgmap_owner;
#else
	return update->owner;
#endif
}

static inline bool
hmm_mirror_compat_has_owner(const struct mmu_notifier_range *update)
{
#ifdef HMM_MIRROR_COMPAT_EXCLUSIVE
	if (update->event == MMU_NOTIFY_EXCLUSIVE)
		return true;
#endif
	return update->event == MMU_NOTIFY_MIGRATE;
}

/* For hmm_trace.h: events that old kernels do not have. */
#ifdef HMM_MIRROR_COMPAT_EXCLUSIVE
#define HMM_MIRROR_COMPAT_EVENTS	EM(MMU_NOTIFY_EXCLUSIVE, "exclusive")
#else
#define HMM_MIRROR_COMPAT_EVENTS
#endif

#endif /* HMM_MIRROR_COMPAT_H */
