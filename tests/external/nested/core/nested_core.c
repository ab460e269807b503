// SPDX-License-Identifier: GPL-2.0
/*
 * What the modules of a driver share: built outside of the tree of hmm_mirror, in a
 * directory below that of the driver's Kbuild.
 */
#include <linux/module.h>
#include <linux/sched.h>

#include "nested.h"

static int nested_sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	atomic_inc(&container_of(mirror, struct nested, mirror)->invalidations);
	return 0;
}

static void nested_release(struct hmm_mirror *mirror)
{
}

static const struct hmm_mirror_ops nested_ops = {
	.sync_cpu_device_pagetables = nested_sync,
	.release = nested_release,
};

int nested_begin(struct nested *nested)
{
	nested->mirror.ops = &nested_ops;
	return hmm_mirror_attach(&nested->mirror, current->mm);
}
EXPORT_SYMBOL_GPL(nested_begin);

unsigned int nested_end(struct nested *nested)
{
	hmm_mirror_unregister(&nested->mirror);
	return atomic_read(&nested->invalidations);
}
EXPORT_SYMBOL_GPL(nested_end);

MODULE_DESCRIPTION("A driver of several modules on hmm_mirror: what they share");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
