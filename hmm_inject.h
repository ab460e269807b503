/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: faults that are injected, for tests of drivers. A nop where nobody wants
 * them. Not for drivers.
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
bool __hmm_mirror_inject(enum hmm_mirror_inject what);
int __hmm_mirror_inject_start(const struct mmu_notifier_range *update);
void hmm_mirror_inject_init(struct dentry *parent);
#define hmm_mirror_injects()	static_branch_unlikely(&hmm_mirror_inject_key)
#else
static inline bool __hmm_mirror_inject(enum hmm_mirror_inject what)
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

/* Shall it happen now? */
static inline bool hmm_mirror_inject(enum hmm_mirror_inject what)
{
	return hmm_mirror_injects() && __hmm_mirror_inject(what);
}

/* Before a callback. What it returns, if not 0, is what the callback would return. */
static inline int hmm_mirror_inject_start(const struct mmu_notifier_range *update)
{
	return hmm_mirror_injects() ? __hmm_mirror_inject_start(update) : 0;
}

#endif /* HMM_MIRROR_INJECT_H */
