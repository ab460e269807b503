/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: KUnit tests of the legacy headers: the behaviour of the releases, and fixes of
 * their bugs. Included by hmm_mirror_test_legacy_5_*.c, each after the header of its release,
 * with LEGACY_SUITE and LEGACY_NAME defined.
 */
#ifndef HMM_MIRROR_TEST_LEGACY_H
#define HMM_MIRROR_TEST_LEGACY_H

#include <linux/mman.h>
#include <linux/sched/signal.h>

/* More pages than are read at once. */
#define LEGACY_PAGES	(2 * HMM_LEGACY_CHUNK + 5)

#define DEV_V		BIT_ULL(5)
#define DEV_W		BIT_ULL(9)
#define DEV_D		BIT_ULL(3)
#define DEV_SHIFT	10
#define DEV_ERROR	1
#define DEV_NONE	2
#define DEV_SPECIAL	4

static const u64 dev_flags[HMM_PFN_FLAG_MAX] = { DEV_V, DEV_W, DEV_D };
static const u64 dev_values[HMM_PFN_VALUE_MAX] = { DEV_ERROR, DEV_NONE, DEV_SPECIAL };

struct legacy {
	struct hmm_mirror mirror;
	struct hmm_mirror_ops ops;
	struct hmm_range range;
	u64 pfns[LEGACY_PAGES];
	unsigned long addr;
	unsigned int calls, releases;
	unsigned long start, end;
	bool blockable;
	int ret;		/* result of the callback */
	struct completion *zap, *zapped;	/* the callback waits in between */
};

/* ------------------------------------------------------------------- releases */

#if HMM_LEGACY_RELEASE < 504

static int legacy_register_shift(struct legacy *l, unsigned long start, unsigned long end,
				 unsigned int shift)
{
#if HMM_LEGACY_RELEASE < 503
	return hmm_range_register(&l->range, l->mirror.hmm->mm, start, end, shift);
#else
	return hmm_range_register(&l->range, &l->mirror, start, end, shift);
#endif
}

static int legacy_register(struct legacy *l, unsigned long start, unsigned long end)
{
	return legacy_register_shift(l, start, end, PAGE_SHIFT);
}

static long legacy_fault(struct legacy *l)
{
	return hmm_range_fault(&l->range, false);
}

static long legacy_snapshot(struct legacy *l)
{
	return hmm_range_snapshot(&l->range);
}

#else

static int legacy_register(struct legacy *l, unsigned long start, unsigned long end)
{
	l->range.start = start;
	l->range.end = end;
	return hmm_range_register(&l->range, &l->mirror);
}

static long legacy_fault(struct legacy *l)
{
	return hmm_range_fault(&l->range, HMM_FAULT_ALLOW_RETRY);
}

static long legacy_snapshot(struct legacy *l)
{
	return hmm_range_fault(&l->range, HMM_FAULT_SNAPSHOT);
}

#endif

/* Result of fault and snapshot while the range is invalidated. */
#define STALE	(HMM_LEGACY_RELEASE == 502 ? -EAGAIN : -EBUSY)

/* -------------------------------------------------------------------- fixture */

static int legacy_sync(struct hmm_mirror *mirror, const HMM_LEGACY_UPDATE *update)
{
	struct legacy *l = container_of(mirror, struct legacy, mirror);

	l->calls++;
	l->start = update->start;
	l->end = update->end;
#if HMM_LEGACY_RELEASE < 504
	l->blockable = update->blockable;
#else
	l->blockable = mmu_notifier_range_blockable(update);
#endif
	if (l->zap) {
		complete(l->zap);
		l->zap = NULL;
		wait_for_completion(l->zapped);
	}
	return l->ret;
}

static void legacy_release(struct hmm_mirror *mirror)
{
	container_of(mirror, struct legacy, mirror)->releases++;
}

/* Mirror the mm of the fixture, and register a range of @pages from l->addr on. */
static void legacy_init(struct kunit *test, struct legacy *l, unsigned int pages)
{
	struct test_fixture *f = test->priv;

	l->ops.sync_cpu_device_pagetables = legacy_sync;
	l->ops.release = legacy_release;
	l->mirror.ops = &l->ops;
	down_write(&f->mm->mmap_sem);
	KUNIT_EXPECT_EQ(test, hmm_mirror_register(&l->mirror, f->mm), 0);
	up_write(&f->mm->mmap_sem);
	f->hmm = l->mirror.native.hmm;

	/* The range of a driver may be on its stack, uninitialized. */
	memset(&l->range, 0x5a, sizeof(l->range));
	l->range.pfns = l->pfns;
	l->range.flags = dev_flags;
	l->range.values = dev_values;
	l->range.default_flags = DEV_V;
	l->range.pfn_flags_mask = 0;
	l->range.pfn_shift = DEV_SHIFT;
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr, l->addr + P(pages)), 0);
}

/* Map LEGACY_PAGES pages, and register a mirror and a range of the first @pages. */
static struct legacy *legacy_begin(struct kunit *test, unsigned int pages,
				   unsigned long prot)
{
	struct legacy *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	struct test_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, l);
	hmmt_mm_attach(f);
	l->addr = hmmt_map(0, LEGACY_PAGES, prot);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(l->addr));
	legacy_init(test, l, pages);
	return l;
}

/*
 * Replace the range by one of the first 4 of 8 aligned pages, whose page table exists. Without
 * a page table, the kernel applies a request for one page to all pages.
 */
static unsigned long legacy_aligned(struct kunit *test, struct legacy *l)
{
	unsigned long start = ALIGN(l->addr, P(8));

	hmm_range_unregister(&l->range);
	hmmt_poke(test->priv, start + P(7), 1);
	KUNIT_EXPECT_EQ(test, legacy_register(l, start, start + P(4)), 0);
	return start;
}

static void legacy_end(struct kunit *test, struct legacy *l)
{
	struct test_fixture *f = test->priv;

	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
	vm_munmap(l->addr, P(LEGACY_PAGES));
	hmm_mirror_unregister(&l->mirror);
	hmmt_mm_detach(f);
}

/* Call @read with the mmap lock held, as drivers do. Check whether it was dropped. */
static long legacy_locked(struct kunit *test, struct legacy *l,
			  long (*read)(struct legacy *l))
{
	struct test_fixture *f = test->priv;
	bool dropped;
	long ret;

	down_read(&f->mm->mmap_sem);
	ret = read(l);
	/* No other thread takes the lock. */
	dropped = down_write_trylock(&f->mm->mmap_sem);
	if (dropped)
		up_write(&f->mm->mmap_sem);
	else
		up_read(&f->mm->mmap_sem);
	KUNIT_EXPECT_TRUE(test, dropped == (ret == -EAGAIN && read == legacy_fault));
	return ret;
}

static long fault(struct kunit *test, struct legacy *l)
{
	return legacy_locked(test, l, legacy_fault);
}

static long snapshot(struct kunit *test, struct legacy *l)
{
	return legacy_locked(test, l, legacy_snapshot);
}

/* ------------------------------------------------------------------- entries */

/* All pages are read, in the encoding of the device. A page that is not present is NONE. */
static void entries(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, LEGACY_PAGES, PROT_READ | PROT_WRITE);
	struct page *page;
	unsigned int i;

	for (i = 0; i < LEGACY_PAGES; i += 2)
		hmmt_poke(test->priv, l->addr + P(i), i);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), (long)LEGACY_PAGES);
	KUNIT_EXPECT_EQ(test, l->pfns[1], (u64)DEV_NONE);
	KUNIT_EXPECT_PTR_EQ(test, hmm_device_entry_to_page(&l->range, l->pfns[1]),
			    (struct page *)NULL);
	for (i = 0; i < LEGACY_PAGES; i++) {
		if (i % 2) {
			KUNIT_EXPECT_EQ(test, l->pfns[i], (u64)DEV_NONE);
			continue;
		}
		KUNIT_EXPECT_EQ(test, l->pfns[i] & (BIT_ULL(DEV_SHIFT) - 1), DEV_V | DEV_W);
		KUNIT_EXPECT_EQ(test, (unsigned long)(l->pfns[i] >> DEV_SHIFT),
				hmm_device_entry_to_pfn(&l->range, l->pfns[i]));
		page = hmm_device_entry_to_page(&l->range, l->pfns[i]);
		KUNIT_EXPECT_TRUE(test, page);
		if (page)
			KUNIT_EXPECT_EQ(test, *(u8 *)page_address(page), (u8)i);
	}

	l->range.default_flags = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)LEGACY_PAGES);
	for (i = 0; i < LEGACY_PAGES; i++)
		KUNIT_EXPECT_EQ(test, l->pfns[i] & (DEV_V | DEV_W), DEV_V | DEV_W);
	legacy_end(test, l);
}

static void entry_helpers(struct kunit *test)
{
	struct hmm_range range = {
		.flags = dev_flags, .values = dev_values, .pfn_shift = DEV_SHIFT,
	};
	struct page *page = virt_to_page(test);
	u64 entry = hmm_device_entry_from_page(&range, page);

	KUNIT_EXPECT_EQ(test, entry, ((u64)page_to_pfn(page) << DEV_SHIFT) | DEV_V);
	KUNIT_EXPECT_EQ(test, entry, hmm_device_entry_from_pfn(&range, page_to_pfn(page)));
	KUNIT_EXPECT_PTR_EQ(test, hmm_device_entry_to_page(&range, entry), page);
	KUNIT_EXPECT_EQ(test, hmm_device_entry_to_pfn(&range, entry), page_to_pfn(page));
	/* Invalid entries have no pfn. */
	entry &= ~DEV_V;
	KUNIT_EXPECT_EQ(test, hmm_device_entry_to_pfn(&range, entry), -1UL);
	KUNIT_EXPECT_EQ(test, hmm_device_entry_to_pfn(&range, DEV_ERROR), -1UL);
	KUNIT_EXPECT_EQ(test, hmm_device_entry_to_pfn(&range, DEV_SPECIAL), -1UL);
}

/* Requests by page. */
static void requests(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);

	legacy_aligned(test, l);
	l->range.default_flags = 0;
	l->range.pfn_flags_mask = -1UL;
	l->pfns[0] = DEV_NONE;
	l->pfns[1] = DEV_W;	/* no request without DEV_V */
	l->pfns[2] = DEV_V;
	l->pfns[3] = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_EQ(test, l->pfns[0], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[1], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[2] & (DEV_V | DEV_W), DEV_V);
	KUNIT_EXPECT_EQ(test, l->pfns[3] & (DEV_V | DEV_W), DEV_V | DEV_W);

	/* Requests outside of the mask are ignored. */
	l->range.pfn_flags_mask = DEV_V;
	l->pfns[0] = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_EQ(test, l->pfns[0] & (DEV_V | DEV_W), DEV_V);
	legacy_end(test, l);
}

struct zap {
	struct completion begun, end;
};

static int zaps(struct test_thread *thread)
{
	struct zap *zap = thread->arg;

	wait_for_completion(&zap->begun);
	hmmt_slow_zap(0);
	complete(&zap->end);
	return 0;
}

/*
 * Requests by page are still those of the driver when the range is read again, because breaking COW
 * of page 1 has invalidated it. Meanwhile page 0, which is not requested, is taken away.
 */
static void requests_outlive_a_read(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct legacy *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	struct test_thread *thread;
	struct zap zap;

	KUNIT_ASSERT_TRUE(test, l);
	l->addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, hmmt_peek(l->addr), (int)'s');
	KUNIT_EXPECT_EQ(test, hmmt_peek(l->addr + P(1)), (int)'s');
	legacy_init(test, l, 2);
	init_completion(&zap.begun);
	init_completion(&zap.end);
	thread = hmmt_thread(f, 0, zaps, &zap);
	l->zap = &zap.begun;
	l->zapped = &zap.end;
	l->range.default_flags = 0;
	l->range.pfn_flags_mask = -1UL;
	l->pfns[0] = DEV_NONE;
	l->pfns[1] = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), 2L);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[0], 1U);
	KUNIT_EXPECT_EQ(test, l->pfns[0], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[1] & (DEV_V | DEV_W), DEV_V | DEV_W);
	hmm_range_unregister(&l->range);
	hmm_mirror_unregister(&l->mirror);
	hmmt_slow_unmapped(f);
}

/* -------------------------------------------------------------------- errors */

static void read_only(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ);

	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_EQ(test, l->pfns[3] & (DEV_V | DEV_W), DEV_V);
	l->range.default_flags = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EPERM);
	KUNIT_EXPECT_EQ(test, l->pfns[3], (u64)DEV_NONE);
	legacy_end(test, l);
}

static void no_access(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_NONE);

	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EPERM);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), (long)-EPERM);
	KUNIT_EXPECT_EQ(test, l->pfns[0], (u64)DEV_NONE);
	legacy_end(test, l);
}

/* [0, 1) memory, [1, 3) hole, [3, 5) memory; in the releases a fault crashed the kernel. */
static void hole(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 5, PROT_READ | PROT_WRITE);

	hmmt_poke(test->priv, l->addr, 1);
	hmmt_poke(test->priv, l->addr + P(4), 1);
	vm_munmap(l->addr + P(1), P(2));
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EFAULT);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), 5L);
	KUNIT_EXPECT_NE(test, l->pfns[0], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[1], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[2], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[3], (u64)DEV_NONE);
	KUNIT_EXPECT_NE(test, l->pfns[4], (u64)DEV_NONE);
	legacy_end(test, l);
}

static void bad_range(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ);

	hmm_range_unregister(&l->range);
	/* Uninitialized again. */
	l->range.hmm = &l->range.space;
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr + 1, l->addr + P(1)), -EINVAL);
	KUNIT_EXPECT_PTR_EQ(test, l->range.hmm, (struct hmm *)NULL);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr, l->addr + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr, l->addr), -EINVAL);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr + P(1), l->addr), -EINVAL);
	/* The range is not registered, so this does nothing. */
	hmm_range_unregister(&l->range);
	legacy_end(test, l);
}

/* ------------------------------------------------------------------ validity */

/* A read during an invalidation fails, and keeps the requests in the pfns. */
static void in_flight(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, l->addr + P(3), l->addr + P(9));

	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_FALSE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_FALSE(test, hmm_range_wait_until_valid(&l->range, 2));
	l->pfns[0] = DEV_V | DEV_W;
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)STALE);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), (long)STALE);
	KUNIT_EXPECT_EQ(test, l->pfns[0], DEV_V | DEV_W);

	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	legacy_end(test, l);
}

/* A new range is valid without a wait if nothing is in flight: some drivers rely on that. */
static void born_valid(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, l->addr, l->addr + P(4));

	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr, l->addr + P(4)), 0);
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	hmmt_end(f, &update);
	/* No pages have been read yet, so a wait makes the range valid. */
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	legacy_end(test, l);
}

/* fault; start, end: not valid, as in 2019 it was. A wait does not validate the old pages. */
static void came_and_went(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);

	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	hmmt_start_end(test->priv, l->addr + P(3), l->addr + P(4));
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	/* A second read does, also without a wait. */
	KUNIT_EXPECT_EQ(test, snapshot(test, l), 4L);
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	legacy_end(test, l);
}

/* Range 4-8, invalidations 0-4 and 8-9 do not hit it; in 2019 both did. */
static void neighbour(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 8, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;

	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr + P(4), l->addr + P(8)), 0);
	hmmt_start_end(f, l->addr, l->addr + P(4));
	hmmt_start_end(f, l->addr + P(8), l->addr + P(9));
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	hmmt_start_end(f, l->addr + P(7), l->addr + P(9));
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	legacy_end(test, l);
}

/* In 2019 a range was valid only if no invalidation of the whole mm was in flight. */
static void others_in_flight(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range other = hmmt_update(f, l->addr + P(6), l->addr + P(9));

	KUNIT_EXPECT_EQ(test, hmmt_start(f, &other), 0);
	hmmt_start_end(f, l->addr, l->addr + P(1));
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	hmmt_end(f, &other);
	legacy_end(test, l);
}

/* A callback refuses a non-blockable invalidation. In 5.2 such an invalidation never ended. */
static void refused(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, l->addr, l->addr + P(2));
	struct mmu_notifier_range other = hmmt_update(f, l->addr, l->addr + P(1));

	l->ret = -EAGAIN;
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, l->blockable);
	l->ret = 0;
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &other), 0);
	KUNIT_EXPECT_TRUE(test, l->blockable);
	KUNIT_EXPECT_EQ(test, l->end - l->start, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, hmm_range_wait_until_valid(&l->range, 0));
	hmmt_end(f, &other);
	KUNIT_EXPECT_TRUE(test, hmm_range_wait_until_valid(&l->range, 0));
	legacy_end(test, l);
}

static int wait_long(struct test_thread *thread)
{
	return hmm_range_wait_until_valid(thread->arg, 60 * MSEC_PER_SEC);
}

static void wait_ends(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, l->addr, l->addr + P(2));
	struct test_thread *killed, *woken;

	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	killed = hmmt_thread(f, 0, wait_long, &l->range);
	woken = hmmt_thread(f, 1, wait_long, &l->range);
	hmmt_until_it_sleeps(killed);
	hmmt_until_it_sleeps(woken);
	send_sig(SIGKILL, killed->task, 1);
	KUNIT_EXPECT_FALSE(test, hmmt_join(killed));
	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmmt_join(woken));
	legacy_end(test, l);
}

/*
 * A write fault replaces the zero page that a read fault mapped. So the thread that faults runs
 * the callback itself. The fault must not return -EBUSY.
 */
static void own_invalidation(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, LEGACY_PAGES, PROT_READ | PROT_WRITE);

	KUNIT_EXPECT_EQ(test, fault(test, l), (long)LEGACY_PAGES);
	l->range.default_flags = DEV_V | DEV_W;
	l->calls = 0;
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)LEGACY_PAGES);
	KUNIT_EXPECT_GE(test, l->calls, (unsigned int)LEGACY_PAGES);
	KUNIT_EXPECT_TRUE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_EQ(test, l->pfns[LEGACY_PAGES - 1] & (DEV_V | DEV_W), DEV_V | DEV_W);
	legacy_end(test, l);
}

/* ---------------------------------------------------------------------- life */

static void mm_users(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	int with = atomic_read(&f->mm->mm_users);

	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), with);
	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users),
			with - (HMM_LEGACY_RELEASE >= 503));
	legacy_end(test, l);
}

/* The mm dies. release() was optional in the releases. */
static void dead_mm(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);

	l->ops.release = NULL;
	hmmt_release(test->priv);
	l->ops.release = legacy_release;
	hmmt_release(test->priv);
	KUNIT_EXPECT_EQ(test, l->releases, 1U);
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_FALSE(test, hmm_range_wait_until_valid(&l->range, 1000));
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EFAULT);
	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, legacy_register(l, l->addr, l->addr + P(4)), -EFAULT);
	legacy_end(test, l);
}

/* The OOM reaper has run: the pages that a read would find are not those of the process. */
static void reaped(struct kunit *test)
{
	struct legacy *l;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	hmmt_mark_reaped(((struct test_fixture *)test->priv)->mm);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), (long)-EFAULT);
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EFAULT);
	KUNIT_EXPECT_EQ(test, l->pfns[0], (u64)DEV_NONE);
	legacy_end(test, l);
}

/* An orphan range is not valid, and a wait for it returns at once. */
static void unregistered_mirror(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;

	hmm_mirror_unregister(&l->mirror);
	KUNIT_EXPECT_PTR_EQ(test, l->mirror.hmm, (struct hmm *)NULL);
	KUNIT_EXPECT_FALSE(test, hmm_range_valid(&l->range));
	KUNIT_EXPECT_FALSE(test, hmm_range_wait_until_valid(&l->range, 1000));
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EFAULT);
	hmm_range_unregister(&l->range);
	hmm_mirror_unregister(&l->mirror);
	vm_munmap(l->addr, P(LEGACY_PAGES));
	hmmt_mm_detach(f);
}

/* ----------------------------------------------------------------------- DMA */

/* Mapping fails in a kernel without DMA. The drivers of tests/legacy test the rest. */
static void dma(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	dma_addr_t daddrs[4] = { 1, 1, 1, 1 };

	KUNIT_EXPECT_EQ(test, hmm_legacy_dma_unmap_range(&l->range, NULL, NULL, false),
			(long)-EINVAL);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), 4L);
	/* No page is present. */
	KUNIT_EXPECT_EQ(test, hmm_legacy_dma_map(&l->range, NULL, daddrs), 0L);
	KUNIT_EXPECT_EQ(test, daddrs[3], (dma_addr_t)0);
	KUNIT_EXPECT_EQ(test, hmm_legacy_dma_unmap_range(&l->range, NULL, daddrs, true), 0L);
	if (!IS_ENABLED(CONFIG_HAS_DMA)) {
		KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
		KUNIT_EXPECT_EQ(test, hmm_legacy_dma_map(&l->range, NULL, daddrs),
				(long)-EFAULT);
		KUNIT_EXPECT_EQ(test, daddrs[0], (dma_addr_t)0);
		/* The pfns are kept. */
		KUNIT_EXPECT_NE(test, l->pfns[0], (u64)DEV_NONE);
	}
	KUNIT_EXPECT_EQ(test, fault(test, l), 4L);
	hmmt_start_end(test->priv, l->addr, l->addr + P(1));
	KUNIT_EXPECT_EQ(test, hmm_legacy_dma_map(&l->range, NULL, daddrs), (long)-EBUSY);
	legacy_end(test, l);
}

/* ----------------------------------------------------------------- until 5.3 */

#if HMM_LEGACY_RELEASE < 504

/* A larger page size is only allowed in a VMA of huge pages. */
static void huge_pages(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	unsigned long start = ALIGN(l->addr, P(2));

	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, legacy_register_shift(l, start + P(1), start + P(3),
						    PAGE_SHIFT + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, legacy_register_shift(l, start, start + P(2),
						    PAGE_SHIFT + 1), 0);
	KUNIT_EXPECT_EQ(test, hmm_range_page_shift(&l->range), PAGE_SHIFT + 1U);
	KUNIT_EXPECT_EQ(test, hmm_range_page_size(&l->range), P(2));
	KUNIT_EXPECT_EQ(test, fault(test, l), (long)-EINVAL);
	KUNIT_EXPECT_EQ(test, snapshot(test, l), (long)-EINVAL);
	legacy_end(test, l);
}

#endif

/* ----------------------------------------------------------------- until 5.2 */

#if HMM_LEGACY_RELEASE < 503

/* hmm_vma_fault() and hmm_vma_range_done(), with requests in the pfns. */
static void vma_fault(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;
	unsigned long start = legacy_aligned(test, l);
	struct mmu_notifier_range update = hmmt_update(f, start, start + P(1));

	hmm_range_unregister(&l->range);
	l->pfns[0] = DEV_NONE;
	l->pfns[1] = DEV_V | DEV_W;
	down_read(&f->mm->mmap_sem);
	l->range.vma = find_vma(f->mm, start);
	KUNIT_EXPECT_EQ(test, hmm_vma_fault(&l->range, true), 0);
	KUNIT_EXPECT_EQ(test, l->pfns[0], (u64)DEV_NONE);
	KUNIT_EXPECT_EQ(test, l->pfns[1] & (DEV_V | DEV_W), DEV_V | DEV_W);
	KUNIT_EXPECT_TRUE(test, hmm_vma_range_done(&l->range));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);

	l->pfns[0] = DEV_V;
	KUNIT_EXPECT_EQ(test, hmm_vma_fault(&l->range, true), 0);
	hmmt_start_end(f, start, start + P(1));
	KUNIT_EXPECT_FALSE(test, hmm_vma_range_done(&l->range));

	/* After a timeout, the lock is dropped and the range is unregistered. */
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	KUNIT_EXPECT_EQ(test, hmm_vma_fault(&l->range, true), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, down_write_trylock(&f->mm->mmap_sem));
	up_write(&f->mm->mmap_sem);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
	hmm_range_unregister(&l->range);
	hmmt_end(f, &update);

	/* After an error, the lock is held and the range is unregistered. */
	vm_munmap(start, P(1));
	down_read(&f->mm->mmap_sem);
	l->pfns[0] = DEV_V;
	KUNIT_EXPECT_EQ(test, hmm_vma_fault(&l->range, true), -EFAULT);
	up_read(&f->mm->mmap_sem);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
	legacy_end(test, l);
}

/* In 5.2 ranges were registered with an mm, which may have no mirror. */
static void no_mirror(struct kunit *test)
{
	struct legacy *l = legacy_begin(test, 4, PROT_READ | PROT_WRITE);
	struct test_fixture *f = test->priv;

	KUNIT_EXPECT_TRUE(test, hmm_mirror_mm_is_alive(&l->mirror));
	hmm_range_unregister(&l->range);
	KUNIT_EXPECT_EQ(test, hmm_range_register(&l->range, NULL, l->addr,
						 l->addr + P(1), PAGE_SHIFT), -EFAULT);
	hmm_range_unregister(&l->range);
	hmm_mirror_unregister(&l->mirror);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_mm_is_alive(&l->mirror));
	KUNIT_EXPECT_TRUE(test, list_empty(&hmm_legacy_mirrors.list));
	KUNIT_EXPECT_EQ(test, hmm_range_register(&l->range, f->mm, l->addr,
						 l->addr + P(1), PAGE_SHIFT), -EFAULT);
	vm_munmap(l->addr, P(LEGACY_PAGES));
	hmmt_mm_detach(f);
}

#endif

static struct kunit_case legacy_cases[] = {
	KUNIT_CASE(entries),
	KUNIT_CASE(entry_helpers),
	KUNIT_CASE(requests),
	KUNIT_CASE(requests_outlive_a_read),
	KUNIT_CASE(read_only),
	KUNIT_CASE(no_access),
	KUNIT_CASE(hole),
	KUNIT_CASE(bad_range),
	KUNIT_CASE(in_flight),
	KUNIT_CASE(born_valid),
	KUNIT_CASE(came_and_went),
	KUNIT_CASE(neighbour),
	KUNIT_CASE(others_in_flight),
	KUNIT_CASE(refused),
	KUNIT_CASE(wait_ends),
	KUNIT_CASE(own_invalidation),
	KUNIT_CASE(mm_users),
	KUNIT_CASE(dead_mm),
	KUNIT_CASE(reaped),
	KUNIT_CASE(unregistered_mirror),
	KUNIT_CASE(dma),
#if HMM_LEGACY_RELEASE < 504
	KUNIT_CASE(huge_pages),
#endif
#if HMM_LEGACY_RELEASE < 503
	KUNIT_CASE(vma_fault),
	KUNIT_CASE(no_mirror),
#endif
	{}
};

struct kunit_suite LEGACY_SUITE = {
	.name = LEGACY_NAME,
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = legacy_cases,
};

#endif /* HMM_MIRROR_TEST_LEGACY_H */
