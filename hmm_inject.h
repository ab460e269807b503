/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: fault injection, for tests of drivers. A nop without CONFIG_HMM_MIRROR_INJECT.
 * Internal to the core.
 */
#ifndef HMM_MIRROR_INJECT_H
#define HMM_MIRROR_INJECT_H

#include <linux/jump_label.h>
#include <linux/mmu_notifier.h>
#include <linux/types.h>

struct dentry;

enum hmm_mirror_inject {
	HMM_MIRROR_INJECT_EAGAIN,
	HMM_MIRROR_INJECT_DELAY,
	HMM_MIRROR_INJECT_OVERFLOW,
	HMM_MIRROR_INJECT_COLLISION,
};

#ifdef CONFIG_HMM_MIRROR_INJECT
DECLARE_STATIC_KEY_FALSE(hmm_mirror_inject_key);
bool __hmm_mirror_inject(enum hmm_mirror_inject event);
int __hmm_mirror_inject_start(const struct mmu_notifier_range *update);
void hmm_mirror_inject_init(struct dentry *parent);
#define hmm_mirror_injects()	static_branch_unlikely(&hmm_mirror_inject_key)
#else
static inline bool __hmm_mirror_inject(enum hmm_mirror_inject event)
{
	return false;
}

static inline int __hmm_mirror_inject_start(const struct mmu_notifier_range *update)
{
	return 0;
}

static inline void hmm_mirror_inject_init(struct dentry *parent) {}
#define hmm_mirror_injects()	false
#endif

/* Return true if the caller must inject @event now. */
static inline bool hmm_mirror_inject(enum hmm_mirror_inject event)
{
	return hmm_mirror_injects() && __hmm_mirror_inject(event);
}

/*
 * Inject a delay or an error before a callback. If the result is not 0, the caller skips the
 * callback and uses the result instead.
 */
static inline int hmm_mirror_inject_start(const struct mmu_notifier_range *update)
{
	return hmm_mirror_injects() ? __hmm_mirror_inject_start(update) : 0;
}

#endif /* HMM_MIRROR_INJECT_H */
