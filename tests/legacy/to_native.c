// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror, range and fault of a driver for Linux 5.4, for legacy/to_native.cocci: it
 * builds as it is and, as a test of that script, when the script has moved it to the
 * native API. Nothing runs it.
 */
#include <linux/module.h>
#include <linux/mutex.h>

#include "legacy/hmm_5_4.h"

#define DEV_PAGES	16

struct dev_space {
	struct hmm_mirror mirror;
	struct mutex lock;	/* of the device page table */
	struct page *page[DEV_PAGES];
	bool write[DEV_PAGES];
};

static const u64 dev_flags[HMM_PFN_FLAG_MAX] = {
	[HMM_PFN_VALID] = BIT(0),
	[HMM_PFN_WRITE] = BIT(1),
};

static const u64 dev_values[HMM_PFN_VALUE_MAX] = {
	[HMM_PFN_ERROR] = BIT(2),
	[HMM_PFN_SPECIAL] = BIT(3),
};

static int dev_sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct dev_space *space = container_of(mirror, struct dev_space, mirror);

	if (mmu_notifier_range_blockable(update))
		mutex_lock(&space->lock);
	else if (!mutex_trylock(&space->lock))
		return -EAGAIN;
	memset(space->page, 0, sizeof(space->page));
	mutex_unlock(&space->lock);
	return 0;
}

static void dev_release(struct hmm_mirror *mirror)
{
	struct dev_space *space = container_of(mirror, struct dev_space, mirror);

	mutex_lock(&space->lock);
	memset(space->page, 0, sizeof(space->page));
	mutex_unlock(&space->lock);
}

static const struct hmm_mirror_ops dev_mirror_ops = {
	.sync_cpu_device_pagetables = dev_sync,
	.release = dev_release,
};

static int dev_bind(struct dev_space *space, struct mm_struct *mm)
{
	int ret;

	space->mirror.ops = &dev_mirror_ops;
	down_write(&mm->mmap_sem);
	ret = hmm_mirror_register(&space->mirror, mm);
	up_write(&mm->mmap_sem);
	return ret;
}

static void dev_unbind(struct dev_space *space)
{
	hmm_mirror_unregister(&space->mirror);
}

/* The loop of Documentation/vm/hmm.rst. */
static int dev_fault(struct dev_space *space, unsigned long start, unsigned long end,
		     bool write)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	struct hmm_range range;
	u64 pfns[DEV_PAGES];
	unsigned long i;
	long ret;

	range.start = start;
	range.end = end;
	range.pfns = pfns;
	range.flags = dev_flags;
	range.values = dev_values;
	range.pfn_shift = PAGE_SHIFT;
	range.pfn_flags_mask = 0;
	range.default_flags = range.flags[HMM_PFN_VALID];
	if (write)
		range.default_flags |= range.flags[HMM_PFN_WRITE];
	ret = hmm_range_register(&range, &space->mirror);
	if (ret)
		return ret;

	hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT);
again:
	down_read(&mm->mmap_sem);
	ret = hmm_range_fault(&range, 0);
	if (ret <= 0) {
		up_read(&mm->mmap_sem);
		if (ret == -EBUSY) {
			hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT);
			goto again;
		}
		hmm_range_unregister(&range);
		return ret;
	}
	mutex_lock(&space->lock);
	if (!hmm_range_valid(&range)) {
		mutex_unlock(&space->lock);
		up_read(&mm->mmap_sem);
		goto again;
	}
	for (i = 0; i < (end - start) >> PAGE_SHIFT; i++) {
		space->page[i] = hmm_device_entry_to_page(&range, pfns[i]);
		space->write[i] = pfns[i] & range.flags[HMM_PFN_WRITE];
	}
	hmm_range_unregister(&range);
	mutex_unlock(&space->lock);
	up_read(&mm->mmap_sem);
	return 0;
}

/* Is there a page? */
static int dev_look(struct dev_space *space, unsigned long addr, bool *present)
{
	struct mm_struct *mm = space->mirror.hmm->mmu_notifier.mm;
	u64 entry;
	struct hmm_range range = {
		.start = addr,
		.end = addr + PAGE_SIZE,
		.pfns = &entry,
		.flags = dev_flags,
		.values = dev_values,
		.pfn_shift = PAGE_SHIFT,
	};
	long ret;

	ret = hmm_range_register(&range, &space->mirror);
	if (ret)
		return ret;
	if (!hmm_range_wait_until_valid(&range, HMM_RANGE_DEFAULT_TIMEOUT)) {
		hmm_range_unregister(&range);
		return -ETIME;
	}
	down_read(&mm->mmap_sem);
	ret = hmm_range_fault(&range, HMM_FAULT_SNAPSHOT);
	up_read(&mm->mmap_sem);
	if (ret > 0 && !hmm_range_valid(&range))
		ret = -EBUSY;
	*present = ret > 0 && (entry & range.flags[HMM_PFN_VALID]);
	hmm_range_unregister(&range);
	return ret < 0 ? ret : 0;
}

static const struct {
	typeof(dev_bind) *bind;
	typeof(dev_unbind) *unbind;
	typeof(dev_fault) *fault;
	typeof(dev_look) *look;
} dev_calls __used = { dev_bind, dev_unbind, dev_fault, dev_look };

MODULE_DESCRIPTION("A driver for Linux 5.4, to be moved to the native API");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);
