// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: real memory, which the kernel invalidates.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_mirror_test.h"

static int populate(struct test_fixture *f, unsigned int first, unsigned int nr,
		    unsigned long flags)
{
	hmmt_read(f, first, nr, flags);
	return hmmt_populate(f);
}

/* --------------------------------------------------------------- invalidation */

/* The invalidation of munmap() is in flight when it calls the callback. */
static int hook_in_flight(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	KUNIT_EXPECT_EQ(tm->f->test, hmmt_in_flight(tm->f), 1U);
	KUNIT_EXPECT_PTR_EQ(tm->f->test, update->mm, tm->f->mm);
	KUNIT_EXPECT_FALSE(tm->f->test, hmm_mirror_range_valid(&tm->f->range[0]));
	return 0;
}

static void munmap_invalidates(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct test_mirror *tm = &f->tm[0];
	unsigned int i;

	for (i = 0; i < TEST_MAPPED; i++)
		hmmt_poke(f, addr + P(i), i);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), 0);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(&f->range[0], FOREVER));
	atomic_set(&tm->calls, 0);
	tm->hook = hook_in_flight;
	KUNIT_EXPECT_EQ(test, vm_munmap(addr + P(2), P(3)), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->calls), 1);
	KUNIT_EXPECT_LE(test, tm->start, addr + P(2));
	KUNIT_EXPECT_GE(test, tm->end, addr + P(5));
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(tm, addr + P(2), addr + P(5)));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[0]));
	tm->hook = NULL;
	hmmt_unmapped(f);
}

static int unmaps(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;
	int ret;

	kthread_use_mm(f->mm);
	ret = vm_munmap(f->range[0].start, PAGE_SIZE);
	kthread_unuse_mm(f->mm);
	return ret;
}

/*
 *	munmap				register: the filter is full
 *
 *	start: reads the filter
 *	  callback runs
 *					replace the filter
 *	  callback returns
 *					free the old filter, not earlier
 */
static void filter_outlives_callbacks(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = &f->tm[0];
	struct hmm_mirror_filter *filter;
	struct test_thread *thread;
	unsigned int i;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	tm->hook = hmmt_hook_pause;
	thread = hmmt_thread(f, 0, unmaps, NULL);
	hmmt_arrives(f);
	filter = f->hmm->filter;
	hmmt_watch(filter);
	filter->room = 2;
	for (i = 1; i < 4; i++)
		hmmt_range(f, i, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, hmmt_poll(READ_ONCE(f->hmm->filter) != filter));
	msleep(50);
	KUNIT_EXPECT_TRUE(test, !hmmt_is_freed() || !hmmt_sees_frees());
	complete_all(&f->go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_is_freed()));
	hmmt_unmapped(f);
}

/* madvise() frees pages of a mapping: the device PTEs are removed, and a fault gets new pages. */
static void madvise_invalidates(struct kunit *test)
{
#if !defined(MODULE) && defined(CONFIG_ADVISE_SYSCALLS)
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct test_mirror *tm = &f->tm[0];

	hmmt_poke(f, addr + P(1), '1');
	hmmt_poke(f, addr + P(2), '2');
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_EQ(test, do_madvise(f->mm, addr + P(1), P(1), MADV_DONTNEED), 0);
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(tm, addr + P(1), addr + P(2)));
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr + P(2)), (int)'2');
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr + P(1)), 0);
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr + P(2)), (int)'2');
	hmmt_unmapped(f);
#else
	hmmt_skip(test, "needs a built-in test, and a kernel with madvise()");
#endif
}

/* ----------------------------------------------------------------- population */

static void fault_finds_data(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	unsigned int i;

	for (i = 0; i < TEST_MAPPED; i++)
		hmmt_poke(f, addr + P(i) + i, 'a' + i);
	KUNIT_ASSERT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), 0);
	for (i = 0; i < TEST_MAPPED; i++) {
		u8 *byte = hmmt_device(&f->tm[0], addr + P(i) + i);

		KUNIT_ASSERT_TRUE(test, byte);
		KUNIT_EXPECT_EQ(test, (int)*byte, 'a' + (int)i);
	}
	hmmt_unmapped(f);
}

/* The process reads the data that the device writes. */
static void fault_for_writing(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT |
					       HMM_PFN_REQ_WRITE), 0);
	for (i = 0; i < TEST_MAPPED; i++) {
		u8 *byte = hmmt_device(&f->tm[0], addr + P(i));

		KUNIT_EXPECT_TRUE(test, f->tm[0].pte[i] & HMM_PFN_WRITE);
		KUNIT_ASSERT_TRUE(test, byte);
		*byte = 'A' + i;
		KUNIT_EXPECT_EQ(test, hmmt_peek(addr + P(i)), 'A' + (int)i);
	}
	hmmt_unmapped(f);
}

/* A fault of a part of a range collides with invalidations of the whole range. */
static void fault_part(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault = hmmt_read(f, 2, 3, HMM_PFN_REQ_FAULT);
	unsigned long seq;

	hmmt_poke(f, addr + P(2), '2');
	hmmt_poke(f, addr + P(7), '7');
	seq = hmmt_begin(f, range);
	f->pfns[3] = 4711;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, f->pfns[3], 4711UL);
	KUNIT_EXPECT_EQ(test, hmmt_commit(range, seq, fault, &f->tm[0]), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_device(&f->tm[0], addr + P(2)) &&
			  *hmmt_device(&f->tm[0], addr + P(2)) == '2');
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(&f->tm[0], addr, addr + P(2)));

	KUNIT_EXPECT_EQ(test, vm_munmap(addr + P(7), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmmt_commit(range, seq, fault, &f->tm[0]), -EBUSY);
	hmmt_unmapped(f);
}

/* A snapshot faults nothing in. */
static void snapshot(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq = hmmt_begin(f, range);
	struct hmm_mirror_fault *fault;
	unsigned int i;

	/* Requests are ignored, by page or not, and so is older output. */
	fault = hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT);
	fault->pfn_flags_mask = HMM_PFN_REQ_FAULT;
	for (i = 0; i < TEST_MAPPED; i++)
		f->pfns[i] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE | HMM_PFN_ERROR | 4711;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, f->pfns[i], 0UL);

	hmmt_poke(f, addr + P(3), 'x');
	vm_munmap(addr + P(5), PAGE_SIZE);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++) {
		KUNIT_EXPECT_EQ(test, !!(f->pfns[i] & HMM_PFN_VALID), i == 3);
		KUNIT_EXPECT_EQ(test, !!(f->pfns[i] & HMM_PFN_ERROR), i == 5);
	}
	KUNIT_EXPECT_TRUE(test, f->pfns[3] & HMM_PFN_WRITE);
	vm_munmap(addr + P(6), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER), -EBUSY);
	hmmt_unmapped(f);
}

/*
 * Requests by page count only inside the mask. The kernel may fault in more pages than
 * requested, but none without a request.
 */
static void fault_by_page(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault;
	unsigned int i;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	fault = hmmt_read(f, 0, TEST_MAPPED, 0);
	for (i = 0; i < TEST_MAPPED; i++)
		f->pfns[i] = HMM_PFN_REQ_FAULT;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
						     fault, FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, f->pfns[i], 0UL);

	fault->pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	f->pfns[1] = HMM_PFN_REQ_FAULT;
	f->pfns[4] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
						     fault, FOREVER), 0);
	KUNIT_EXPECT_TRUE(test, f->pfns[1] & HMM_PFN_VALID);
	KUNIT_EXPECT_TRUE(test, f->pfns[4] & HMM_PFN_WRITE);
	hmmt_unmapped(f);
}

static void fault_hole(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);

	KUNIT_EXPECT_EQ(test, vm_munmap(addr + P(3), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), -EFAULT);
	KUNIT_EXPECT_EQ(test, populate(f, 0, 3, HMM_PFN_REQ_FAULT), 0);
	hmmt_unmapped(f);
}

static void fault_read_only(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_mapped(f, PROT_READ);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT |
					       HMM_PFN_REQ_WRITE), -EPERM);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), 0);
	KUNIT_EXPECT_TRUE(test, f->tm[0].pte[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_FALSE(test, f->tm[0].pte[0] & HMM_PFN_WRITE);
	hmmt_unmapped(f);
}

/*
 * Memory that a CPU can access, but hmm_range_fault() does not read, because VM_READ is missing:
 *
 *	|-- hole --|-- to be written --|-- hole --|
 */
static void fault_without_read(struct kunit *test)
{
	static const unsigned long prot[] = { PROT_WRITE, PROT_EXEC, PROT_WRITE | PROT_EXEC };
	struct test_fixture *f = test->priv;
	const unsigned long write = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault;
	unsigned long addr;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(prot); i++) {
		addr = hmmt_mapped(f, prot[i]);
		KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), -EPERM);
		KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, write), -EPERM);

		/* Without a request there is no error. */
		fault = hmmt_read(f, 0, TEST_MAPPED, 0);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
							     fault, FOREVER), 0);
		KUNIT_EXPECT_EQ(test, f->pfns[0], (unsigned long)HMM_PFN_ERROR);

		/* The first page with an error determines the result. */
		KUNIT_EXPECT_EQ(test, vm_munmap(addr + P(3), PAGE_SIZE), 0);
		KUNIT_EXPECT_EQ(test, populate(f, 2, 4, write), -EPERM);
		KUNIT_EXPECT_EQ(test, populate(f, 3, 5, write), -EFAULT);

		/* Pages without a request do not count. */
		fault = hmmt_read(f, 2, 4, 0);
		fault->pfn_flags_mask = HMM_PFN_REQ_FAULT;
		memset(f->pfns, 0, sizeof(f->pfns));
		f->pfns[1] = HMM_PFN_REQ_FAULT;
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
							     fault, FOREVER), -EFAULT);
		hmmt_unmapped(f);
		hmm_mirror_range_unregister(range);
		hmm_mirror_unregister(&f->tm[0].mirror);
	}

	hmmt_mapped(f, PROT_NONE);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), -EFAULT);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, write), -EFAULT);
	hmmt_unmapped(f);
}

/* If the page table changed during a fault, its error is stale, too: it returns -EBUSY. */
static void fault_error_is_stale(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq = hmmt_begin(f, range);

	vm_munmap(addr, PAGE_SIZE);
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), -EBUSY);
	hmmt_unmapped(f);
}

/* More pages than are read under one hold of the mmap lock. */
#define MANY_PAGES	1200

static void fault_many(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault fault = {
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	unsigned long addr, seq;
	unsigned int i, wrong = 0;

	fault.pfns = kunit_kzalloc(test, MANY_PAGES * sizeof(*fault.pfns), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, fault.pfns);
	hmmt_mm_attach(f);
	addr = hmmt_map(0, MANY_PAGES, PROT_READ | PROT_WRITE);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	for (i = 0; i < MANY_PAGES; i++)
		wrong += put_user(i, (unsigned int __user *)(addr + P(i))) != 0;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, addr, addr + P(MANY_PAGES));
	fault.start = addr + P(1);
	fault.end = addr + P(MANY_PAGES);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &fault, FOREVER), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	for (i = 1; i < MANY_PAGES; i++) {
		unsigned long pfn = fault.pfns[i - 1];

		wrong += !(pfn & HMM_PFN_WRITE) ||
			 *(unsigned int *)page_address(hmm_pfn_to_page(pfn)) != i;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);

	/* A hole in the first piece is an error, although the last piece can be read. */
	vm_munmap(addr + P(2), PAGE_SIZE);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &fault, FOREVER), -EFAULT);
	hmm_mirror_range_unregister(range);
	vm_munmap(addr, P(MANY_PAGES));
	hmmt_mm_detach(f);
}

/* ----------------------------------------------------- faults that drop the lock */

static void fault_drops_the_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ, MAP_PRIVATE);
	unsigned int i;

	hmmt_slow.drop = true;
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_slow.dropped);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_slow.faults[i], 1U);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_device_peek(&f->tm[0], addr + P(i)), (int)'s');
	hmmt_slow_unmapped(f);
}

/* A write fault of a private mapping makes a copy. */
static void write_drops_the_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	hmmt_slow.drop = true;
	KUNIT_EXPECT_EQ(test, populate(f, 1, 2, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_slow.dropped);
	KUNIT_EXPECT_TRUE(test, f->tm[0].pte[1] & HMM_PFN_WRITE);
	KUNIT_EXPECT_TRUE(test, f->tm[0].pte[2] & HMM_PFN_WRITE);
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(&f->tm[0], addr + P(1)), (int)'s');
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[0], 0U);
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[3], 0U);
	hmmt_slow_unmapped(f);
}

/* Pages after a hole are not faulted in. */
static void hole_ends_a_read(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ, MAP_PRIVATE);
	unsigned int i;

	hmmt_slow.drop = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(addr + P(3), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), -EFAULT);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_slow.faults[i], (unsigned int)(i < 3));
	hmmt_slow_unmapped(f);
}

/* Only requested pages are faulted in. */
static void fault_by_page_drops_the_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault;
	unsigned int i;

	hmmt_slow_mapped(f, PROT_READ, MAP_PRIVATE);
	hmmt_slow.drop = true;
	fault = hmmt_read(f, 0, TEST_MAPPED, 0);
	/* A write request, which the mapping does not allow, is not made either. */
	fault->pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	memset(f->pfns, 0, sizeof(f->pfns));
	f->pfns[2] = HMM_PFN_REQ_FAULT;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
						     fault, FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_slow.faults[i], (unsigned int)(i == 2));
	KUNIT_EXPECT_FALSE(test, f->pfns[1] & HMM_PFN_VALID);
	KUNIT_EXPECT_TRUE(test, f->pfns[2] & HMM_PFN_VALID);
	KUNIT_EXPECT_PTR_EQ(test, hmm_pfn_to_page(f->pfns[2]), hmmt_slow.page[2]);
	KUNIT_EXPECT_FALSE(test, f->pfns[3] & HMM_PFN_VALID);
	hmmt_slow_unmapped(f);
}

/* ------------------------------------------------------------------- populate */

struct commits {
	struct test_fixture *f;
	unsigned int nr;
	unsigned int collide;	/* number of commits that map the first page anew */
	int ret;		/* if not 0, the result */
};

static int commit_counted(struct hmm_mirror_range *range, unsigned long seq,
			  const struct hmm_mirror_fault *fault, void *arg)
{
	struct commits *commits = arg;

	KUNIT_EXPECT_PTR_EQ(commits->f->test, range, &commits->f->range[0]);
	if (commits->nr++ < commits->collide) {
		vm_munmap(fault->start, PAGE_SIZE);
		hmmt_map(fault->start, 1, PROT_READ | PROT_WRITE);
	}
	return commits->ret ?: hmmt_commit(range, seq, fault, &commits->f->tm[0]);
}

/* populate() retries until there is no collision, and then commits the new pages. */
static void populate_retries(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror_range *range = &f->range[0];
	struct commits commits = { .f = f, .collide = 3 };

	hmmt_poke(f, addr, 'x');
	KUNIT_EXPECT_EQ(test,
			hmm_mirror_range_populate(range,
						  hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT),
						  FOREVER, commit_counted, &commits), 0);
	KUNIT_EXPECT_EQ(test, commits.nr, 4U);
	KUNIT_EXPECT_EQ(test, hmmt_peek(addr), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_device(&f->tm[0], addr) && !*hmmt_device(&f->tm[0], addr));
	hmmt_unmapped(f);
}

/* A collision is counted in fault(), in snapshot(), and in a commit. */
static void collisions_are_counted(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror_range *range = &f->range[0];
	struct commits commits = { .f = f, .collide = 3 };
	struct hmm_mirror_fault *fault = hmmt_read(f, 0, 2, HMM_PFN_REQ_FAULT);
	unsigned long seq = hmmt_begin(f, range);

	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 0ULL);
	vm_munmap(addr + P(7), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 1ULL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 2ULL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(range, fault, FOREVER, commit_counted,
							&commits), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 5ULL);
	hmmt_unmapped(f);
}

static int populates(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_populate(&f->range[0], &f->fault, thread->timeout_ms,
					 commit_counted, thread->arg);
}

/* Populate in a thread, which can be killed if it retries for ever. */
static int populate_in_thread(struct test_fixture *f, unsigned int timeout_ms,
			      struct commits *commits)
{
	struct test_thread *thread = &f->thread[0];
	int ret;

	commits->nr = 0;
	thread->timeout_ms = timeout_ms;
	hmmt_thread(f, 0, populates, commits);
	ret = hmmt_join(thread);
	if (ret == -ETIMEDOUT) {
		send_sig(SIGKILL, thread->task, 1);
		hmmt_join(thread);
	}
	return ret;
}

static void populate_returns(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct mmu_notifier_range update = hmmt_update(f, addr, addr + P(1));
	struct commits commits = { .f = f };
	unsigned long since = jiffies;

	/* populate() returns the result of commit ... */
	commits.ret = -ENODEV;
	KUNIT_EXPECT_EQ(test, populate_in_thread(f, FOREVER, &commits), -ENODEV);
	KUNIT_EXPECT_EQ(test, commits.nr, 1U);
	commits.ret = 7;
	KUNIT_EXPECT_EQ(test, populate_in_thread(f, 0, &commits), 7);
	KUNIT_EXPECT_EQ(test, commits.nr, 1U);

	/* ... except -EBUSY. There is one timeout for all rounds; at 0, one round. */
	commits.ret = -EBUSY;
	KUNIT_EXPECT_EQ(test, populate_in_thread(f, 30, &commits), -ETIME);
	KUNIT_EXPECT_TRUE(test, jiffies - since >= msecs_to_jiffies(30));
	KUNIT_EXPECT_GT(test, commits.nr, 1U);
	KUNIT_EXPECT_EQ(test, populate_in_thread(f, 0, &commits), -ETIME);
	KUNIT_EXPECT_EQ(test, commits.nr, 1U);

	/* If the range does not become valid in time, nothing is read. */
	hmmt_start(f, &update);
	f->hmm->stats.collisions = 0;
	KUNIT_EXPECT_EQ(test, populate_in_thread(f, 10, &commits), -ETIME);
	KUNIT_EXPECT_EQ(test, commits.nr, 0U);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 0ULL);
	hmmt_end(f, &update);
	hmmt_unmapped(f);
}

static int populates_when_killed(struct test_thread *thread)
{
	thread->timeout_ms = FOREVER;
	send_sig(SIGKILL, current, 1);
	return populates(thread);
}

static void populate_is_killable(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct commits commits = { .f = f, .ret = -EBUSY };
	struct test_thread *thread;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT);
	thread = hmmt_thread(f, 0, populates_when_killed, &commits);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -EINTR);
	hmmt_unmapped(f);
}

static int commit_is_killed(struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault, void *arg)
{
	send_sig(SIGKILL, current, 1);
	return -EBUSY;
}

static int populates_and_is_killed(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_populate(&f->range[0], &f->fault, 0, commit_is_killed, NULL);
}

static int faults_when_killed(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	send_sig(SIGKILL, current, 1);
	return hmm_mirror_range_fault(&f->range[0], thread->seq, &f->fault, 0);
}

/* A fatal signal ends a call that would go on without a wait. A result that is known is kept. */
static void killed_without_waiting(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread = &f->thread[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);

	hmmt_poke(f, addr, 'x');
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, populates_and_is_killed, NULL)), -EINTR);
	thread->seq = hmmt_begin(f, &f->range[0]);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, faults_when_killed, NULL)), -EINTR);
	hmmt_start_end(f, addr, addr + P(1));
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, faults_when_killed, NULL)), -EBUSY);
	hmmt_unmapped(f);
}

/* -------------------------------------------------------------------- signals */

static int attaches_when_signalled(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;
	const int *sig = thread->arg;

	allow_signal(SIGUSR1);
	send_sig(*sig, current, 1);
	return hmm_mirror_attach(&f->tm[0].mirror, f->mm);
}

/* mm_take_all_locks() fails for any signal, attach() only for a fatal one. */
static void attach_signalled(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct hmm_mirror *mirror = &f->tm[0].mirror;
	int sig = SIGKILL;

	hmm_mirror_range_unregister(&f->range[0]);
	hmm_mirror_unregister(mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, attaches_when_signalled, &sig)),
			-EINTR);
	KUNIT_EXPECT_TRUE(test, !mirror->hmm);
	sig = SIGUSR1;
	KUNIT_ASSERT_EQ(test, hmmt_join(hmmt_thread(f, 1, attaches_when_signalled, &sig)), 0);

	f->hmm = mirror->hmm;
	hmmt_range(f, 0, 0, addr, addr + P(TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT |
					       HMM_PFN_REQ_WRITE), 0);
	hmmt_unmapped(f);
}

/* ----------------------------------------------------------- life of the process */

/* The core holds mm_users only while it reads the page table: neither in commit nor in a wait. */
static int commit_reads_users(struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault, void *arg)
{
	*(int *)arg = atomic_read(&range->mirror->mm->mm_users);
	return 0;
}

static void mm_users(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int users = atomic_read(&f->mm->mm_users), inside = 0;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct mmu_notifier_range update = hmmt_update(f, addr, addr + P(1));
	struct test_thread *waiter;

	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), users);
	KUNIT_EXPECT_EQ(test,
			hmm_mirror_range_populate(&f->range[0],
						  hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT),
						  FOREVER, commit_reads_users, &inside), 0);
	KUNIT_EXPECT_EQ(test, inside, users);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), users);

	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, &f->range[0], FOREVER);
	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), users);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	hmmt_unmapped(f);
}

/*
 * When release() is called, all ranges are invalid, and no page is freed: the device may use
 * them until release() has returned.
 */
static void hook_dying(struct test_mirror *tm)
{
	struct test_fixture *f = tm->f;
	u8 *byte = hmmt_device(tm, tm->base);

	KUNIT_EXPECT_FALSE(f->test, hmm_mirror_range_valid(&f->range[0]));
	KUNIT_EXPECT_TRUE(f->test, byte && *byte == 'x');
	KUNIT_EXPECT_GE(f->test,
			page_count(hmm_pfn_to_page(tm->pte[0])), 1);
}

static void exit_releases(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr, seq;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	hmmt_mirror(f, 1);
	hmmt_mirror(f, 2);
	hmm_mirror_unregister(&f->tm[2].mirror);
	hmmt_poke(f, addr, 'x');
	KUNIT_EXPECT_EQ(test, populate(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT), 0);
	seq = hmmt_begin(f, range);
	f->tm[0].release_hook = hook_dying;
	hmmt_mm_detach(f);
	hmmt_mm_die(f);

	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].releases), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].releases), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].releases), 0);
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(&f->tm[0], addr, addr + P(TEST_MAPPED)));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&f->tm[2].mirror, f->mm), -ESRCH);

	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].releases), 1);
}

/* Race 6 with a real exit: the end of the invalidation in flight never comes. */
static void exit_wakes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct test_thread *waiter;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, &f->range[0], FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_mm_die(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), 0);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ESRCH);
}

static void reaped(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	seq = hmmt_begin(f, range);
	hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT);
	hmmt_mark_reaped(f->mm);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), -ESRCH);
	hmmt_unmapped(f);
}

/* A mirror that is registered later is called, too. */
static void two_mirrors(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);

	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 1);
	hmmt_two_pass(f, 2);
	hmmt_mirror(f, 2);
	hmmt_poke(f, addr, 'x');
	KUNIT_EXPECT_EQ(test, vm_munmap(addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].finishes), 1);
	hmmt_unmapped(f);
}

static struct kunit_case hmm_mirror_mm_cases[] = {
	KUNIT_CASE(munmap_invalidates),
	KUNIT_CASE(filter_outlives_callbacks),
	KUNIT_CASE(madvise_invalidates),
	KUNIT_CASE(fault_finds_data),
	KUNIT_CASE(fault_for_writing),
	KUNIT_CASE(fault_part),
	KUNIT_CASE(snapshot),
	KUNIT_CASE(fault_by_page),
	KUNIT_CASE(fault_hole),
	KUNIT_CASE(fault_read_only),
	KUNIT_CASE(fault_without_read),
	KUNIT_CASE(fault_error_is_stale),
	KUNIT_CASE(fault_many),
	KUNIT_CASE(fault_drops_the_lock),
	KUNIT_CASE(write_drops_the_lock),
	KUNIT_CASE(hole_ends_a_read),
	KUNIT_CASE(fault_by_page_drops_the_lock),
	KUNIT_CASE(populate_retries),
	KUNIT_CASE(collisions_are_counted),
	KUNIT_CASE(populate_returns),
	KUNIT_CASE(populate_is_killable),
	KUNIT_CASE(killed_without_waiting),
	KUNIT_CASE(attach_signalled),
	KUNIT_CASE(mm_users),
	KUNIT_CASE(exit_releases),
	KUNIT_CASE(exit_wakes),
	KUNIT_CASE(reaped),
	KUNIT_CASE(two_mirrors),
	{}
};

struct kunit_suite hmm_mirror_mm_suite = {
	.name = "hmm_mirror_mm",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_mm_cases,
};
