// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: fault injection, for tests of drivers.
 *
 * Owns the knobs, which change under knobs_lock; callbacks read them without it. Makes rare events
 * frequent. Files in debugfs, in the directory hmm_mirror/inject, all 0 by default:
 *
 *	eagain		percentage of callbacks in non-blockable invalidations that the core
 *			skips: it returns -EAGAIN to the mm, which gives up
 *	delay_us	maximum delay before each callback, in microseconds; the delay is
 *			random
 *	overflow	percentage of invalidations that get the shared slot: until they end,
 *			no dirty range of the mm becomes clean
 *	collision	percentage of successful calls of hmm_mirror_range_fault() after which
 *			the sequence is stale: hmm_mirror_range_retry() returns true
 *
 * All of these events happen without injection, too. NAME_injected counts the injected ones.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/jump_label.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>

#include "hmm_inject.h"

struct knob {
	const char *name, *injected_name;
	u32 max;
	u32 value;
	atomic_t injected;
};

static struct knob knobs[] = {
	[HMM_MIRROR_INJECT_EAGAIN] = { "eagain", "eagain_injected", 100 },
	[HMM_MIRROR_INJECT_DELAY] = { "delay_us", "delay_us_injected", USEC_PER_SEC },
	[HMM_MIRROR_INJECT_OVERFLOW] = { "overflow", "overflow_injected", 100 },
	[HMM_MIRROR_INJECT_COLLISION] = { "collision", "collision_injected", 100 },
};

/* Incremented once for each knob that is not 0. */
DEFINE_STATIC_KEY_FALSE(hmm_mirror_inject_key);
static DEFINE_MUTEX(knobs_lock);	/* serializes changes of the key and the values */

bool __hmm_mirror_inject(enum hmm_mirror_inject event)
{
	struct knob *knob = &knobs[event];

	if (get_random_u32() % 100 >= READ_ONCE(knob->value))
		return false;
	atomic_inc(&knob->injected);
	return true;
}

int __hmm_mirror_inject_start(const struct mmu_notifier_range *update)
{
	struct knob *knob = &knobs[HMM_MIRROR_INJECT_DELAY];
	u32 us = READ_ONCE(knob->value);

	if (us) {
		us = 1 + get_random_u32() % us;
		atomic_inc(&knob->injected);
		if (mmu_notifier_range_blockable(update))
			usleep_range(us, us + us / 8);
		else	/* this is a busy wait: 1 ms at most */
			udelay(min(us, 1000U));
	}
	if (mmu_notifier_range_blockable(update))
		return 0;
	return __hmm_mirror_inject(HMM_MIRROR_INJECT_EAGAIN) ? -EAGAIN : 0;
}

static int knob_get(void *data, u64 *value)
{
	struct knob *knob = data;

	*value = READ_ONCE(knob->value);
	return 0;
}

static int knob_set(void *data, u64 value)
{
	struct knob *knob = data;

	if (value > knob->max)
		return -EINVAL;

	mutex_lock(&knobs_lock);
	if (value && !knob->value)
		static_branch_inc(&hmm_mirror_inject_key);
	if (!value && knob->value)
		static_branch_dec(&hmm_mirror_inject_key);
	WRITE_ONCE(knob->value, value);
	mutex_unlock(&knobs_lock);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(knob_fops, knob_get, knob_set, "%llu\n");

/*
 * If debugfs cannot create a file, the file is missing; nothing else depends on it. The files
 * are removed with @parent.
 */
void hmm_mirror_inject_init(struct dentry *parent)
{
	struct dentry *dir = debugfs_create_dir("inject", parent);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		debugfs_create_file_unsafe(knobs[i].name, 0600, dir, &knobs[i], &knob_fops);
		debugfs_create_atomic_t(knobs[i].injected_name, 0400, dir,
					&knobs[i].injected);
	}
}
