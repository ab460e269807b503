// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: input and output of a fault in the array of pfns, and dirty pages.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hmm_mirror_test.h"

#define FAULT	HMM_PFN_REQ_FAULT
#define FAULT_RW	(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)

static int faults(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_fault(&f->range[0], thread->seq, &f->fault, FOREVER);
}

/*
 *	fault				driver, with an array that it keeps
 *
 *	waits for the mmap lock
 *					uses the entries of the array
 *	reads, writes to the array
 */
static void untouched_before_read(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread = &f->thread[0];
	unsigned int i;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	for (i = 0; i < TEST_MAPPED; i++)
		f->pfns[i] = HMM_PFN_VALID | HMM_PFN_WRITE | (4711 + i);
	thread->seq = hmmt_begin(f, &f->range[0]);
	mmap_write_lock(f->mm);
	hmmt_thread(f, 0, faults, NULL);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(task_state_to_char(thread->task) == 'D'));
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, f->pfns[i], HMM_PFN_VALID | HMM_PFN_WRITE | (4711 + i));
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_NE(test, f->pfns[i], HMM_PFN_VALID | HMM_PFN_WRITE | (4711 + i));
	hmmt_unmapped(f);
}

/* Bits that hmm_range_fault() keeps belong to the driver. */
static void sticky_bits(struct kunit *test)
{
#ifdef HMM_MIRROR_TEST_HAVE_STICKY_PFNS
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned int i;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	for (i = 0; i < TEST_MAPPED; i++)
		f->pfns[i] = i % 2 ? HMM_PFN_DMA_MAPPED : HMM_PFN_P2PDMA_BUS;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
						     &f->fault, FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++) {
		KUNIT_EXPECT_TRUE(test, f->pfns[i] & HMM_PFN_VALID);
		KUNIT_EXPECT_EQ(test, !!(f->pfns[i] & HMM_PFN_DMA_MAPPED), i % 2);
		KUNIT_EXPECT_EQ(test, !(f->pfns[i] & HMM_PFN_P2PDMA_BUS), i % 2);
	}
	hmmt_unmapped(f);
#else
	hmmt_skip(test, "hmm_range_fault() keeps no bits");
#endif
}

/*
 * A second read uses the requests of the caller, not the output of the first read: it does not
 * request a page that the first one has found.
 */
static void requests_outlive_a_read(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct hmm_mirror_range *range = &f->range[0];
	unsigned int i;

	/* Page 0 is present, writable and clean. */
	KUNIT_EXPECT_EQ(test, hmmt_peek(addr), (int)'s');
	hmmt_read(f, 0, TEST_MAPPED, 0)->pfn_flags_mask = FAULT_RW;
	memset(f->pfns, 0, sizeof(f->pfns));
	f->pfns[2] = FAULT;
	f->pfns[4] = FAULT_RW;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault,
						     FOREVER), 0);
	for (i = 0; i < TEST_MAPPED; i++) {
		bool is_there = i == 0 || i == 2 || i == 4;

		KUNIT_EXPECT_EQ(test, !!(f->pfns[i] & HMM_PFN_VALID), (int)is_there);
		KUNIT_EXPECT_EQ(test, hmmt_slow.faults[i], (unsigned int)is_there);
	}
	KUNIT_EXPECT_TRUE(test, f->pfns[4] & HMM_PFN_WRITE);

	/* munmap() moves the dirty bits of the CPU PTEs to the pages. */
	vm_munmap(addr, P(TEST_MAPPED));
	KUNIT_EXPECT_FALSE(test, PageDirty(hmmt_slow.page[0]));
	KUNIT_EXPECT_FALSE(test, PageDirty(hmmt_slow.page[2]));
	KUNIT_EXPECT_TRUE(test, PageDirty(hmmt_slow.page[4]));
	hmmt_slow_unmapped(f);
}

/* The same without a reader thread. An earlier call has left its requests on the stack. */
static void by_page_without_waiting(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long *pfns = hmmt_before_hole(f, 4 * sizeof(*pfns));
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE), seq;
	unsigned int i, round;
	int ret[2];

	/* Pages 4 to 7 are read-only. */
	KUNIT_ASSERT_EQ(test, hmmt_map(addr + P(4), 4, PROT_READ), addr + P(4));
	for (round = 0; round < 2; round++) {
		/* Leave write requests for five pages on the stack. */
		vm_munmap(addr, P(4));
		hmmt_map(addr, 4, PROT_READ | PROT_WRITE);
		hmmt_read(f, 0, 4, 0)->pfn_flags_mask = FAULT_RW;
		for (i = 0; i < 4; i++)
			f->pfns[i] = FAULT_RW;
		seq = hmmt_begin(f, range);
		ret[0] = hmm_mirror_range_fault(range, seq, &f->fault, 0);
		f->fault.start += P(4);
		f->fault.end += P(4);
		f->fault.pfn_flags_mask = 0;
		f->fault.default_flags = FAULT;
		ret[1] = hmm_mirror_range_fault(range, seq, &f->fault, 0);
		KUNIT_EXPECT_EQ(test, ret[0], 0);
		KUNIT_EXPECT_EQ(test, ret[1], 0);
	}
	vm_munmap(addr, P(4));
	hmmt_map(addr, 4, PROT_READ | PROT_WRITE);
	hmmt_read(f, 0, TEST_MAPPED, 0)->pfn_flags_mask = FAULT_RW;
	for (i = 0; i < 5; i++)
		f->pfns[i] = i == 4 ? FAULT : FAULT_RW;
	f->fault.end = addr + P(5);
	seq = hmmt_begin(f, range);
	ret[0] = hmm_mirror_range_fault(range, seq, &f->fault, 0);
	KUNIT_EXPECT_EQ(test, ret[0], 0);
	vm_munmap(addr, P(4));
	hmmt_map(addr, 4, PROT_READ | PROT_WRITE);

	/* In the first round some pages are faulted in, in the second they are present. */
	f->fault.end = addr + P(4);
	f->fault.pfns = pfns;
	for (round = 0; round < 2; round++) {
		pfns[0] = FAULT;
		pfns[1] = 0;
		pfns[2] = FAULT_RW;
		pfns[3] = FAULT;
		seq = hmmt_begin(f, range);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, 0), 0);
		KUNIT_EXPECT_EQ(test, pfns[0] & (HMM_PFN_VALID | HMM_PFN_WRITE), HMM_PFN_VALID);
		KUNIT_EXPECT_EQ(test, pfns[1], 0UL);
		KUNIT_EXPECT_TRUE(test, pfns[2] & HMM_PFN_WRITE);
		KUNIT_EXPECT_EQ(test, pfns[3] & (HMM_PFN_VALID | HMM_PFN_WRITE), HMM_PFN_VALID);
	}
	hmmt_unmapped(f);
}

/* If a requested page cannot be read, that is an error, also for the last page. */
static void errors_by_page(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);

	/* Pages 0 to 3 are writable, 4 to 6 are read-only, 7 is a hole. */
	vm_munmap(addr + P(7), PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, hmmt_map(addr + P(4), 3, PROT_READ), addr + P(4));
	hmmt_read(f, 0, TEST_MAPPED, 0)->pfn_flags_mask = FAULT_RW;
	memset(f->pfns, 0, sizeof(f->pfns));
	f->pfns[7] = FAULT;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault,
						     FOREVER), -EFAULT);
	memset(f->pfns, 0, sizeof(f->pfns));
	f->pfns[5] = FAULT_RW;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault,
						     FOREVER), -EPERM);

	/* No read-only page was faulted in. */
	hmmt_read(f, 0, 7, FAULT_RW);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault,
						     FOREVER), -EPERM);
	memset(f->pfns, 0, sizeof(f->pfns));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, hmmt_begin(f, range), &f->fault, 0),
			0);
	KUNIT_EXPECT_EQ(test, f->pfns[4], 0UL);
	KUNIT_EXPECT_EQ(test, f->pfns[5], 0UL);

	memset(f->pfns, 0, sizeof(f->pfns));
	f->fault.pfn_flags_mask = FAULT_RW;
	f->fault.default_flags = 0;
	f->pfns[5] = FAULT;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault, 0),
			0);
	KUNIT_EXPECT_TRUE(test, f->pfns[5] & HMM_PFN_VALID);
	hmmt_unmapped(f);
}

/* Whichever pages are present, a fault without a wait maps the others. */
static void pages_present(struct kunit *test)
{
	static const unsigned int there[] = { 0x00, 0x01, 0x7f, 0x80, 0x10, 0xff };
	static const unsigned long flags[] = { FAULT, FAULT_RW };
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	unsigned long *pfns = hmmt_before_hole(f, TEST_MAPPED * sizeof(*pfns));
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(there); i++) {
		for (j = 0; j < ARRAY_SIZE(flags); j++) {
			int ret;

			vm_munmap(addr, P(TEST_MAPPED));
			hmmt_map(addr, TEST_MAPPED, PROT_READ | (j ? PROT_WRITE : 0));
			for (k = 0; k < TEST_MAPPED; k++) {
				if (there[i] & BIT(k))
					KUNIT_EXPECT_EQ(test, hmmt_peek(addr + P(k)), 0);
			}
			hmmt_read(f, 0, TEST_MAPPED, 0)->pfns = pfns;
			memset(pfns, 0, TEST_MAPPED * sizeof(*pfns));
			KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, hmmt_begin(f, range),
									&f->fault, 0), 0);
			for (k = 0; k < TEST_MAPPED; k++)
				KUNIT_EXPECT_EQ(test, !!(pfns[k] & HMM_PFN_VALID),
						(int)!!(there[i] & BIT(k)));
			/* To break COW of a present page is a collision, once. */
			f->fault.default_flags = flags[j];
			ret = hmm_mirror_range_fault(range, hmmt_begin(f, range), &f->fault, 0);
			if (ret == -EBUSY && j)
				ret = hmm_mirror_range_fault(range, hmmt_begin(f, range),
							     &f->fault, 0);
			KUNIT_EXPECT_EQ(test, ret, 0);
			for (k = 0; k < TEST_MAPPED; k++) {
				KUNIT_EXPECT_TRUE(test, pfns[k] & HMM_PFN_VALID);
				KUNIT_EXPECT_TRUE(test, !j || pfns[k] & HMM_PFN_WRITE);
			}
			KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, hmmt_begin(f, range),
								      &f->fault), 0);
		}
	}
	hmmt_unmapped(f);
}

/* A fault that fails writes nothing to the array. */
static void untouched_by_error(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread = &f->thread[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	unsigned int i;

	vm_munmap(addr, PAGE_SIZE);
	for (i = 0; i < TEST_MAPPED; i++)
		f->pfns[i] = HMM_PFN_VALID | (4711 + i);
	thread->seq = hmmt_begin(f, &f->range[0]);
	mmap_write_lock(f->mm);
	hmmt_thread(f, 0, faults, NULL);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(task_state_to_char(thread->task) == 'D'));
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -EFAULT);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, f->pfns[i], HMM_PFN_VALID | (4711 + i));
	hmmt_unmapped(f);
}

/* If the OOM reaper runs while the mmap lock is dropped, a fault may find other pages. */
static void reaped_meanwhile(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	hmmt_slow_mapped(f, PROT_READ, MAP_SHARED);
	hmmt_slow.drop = true;
	hmmt_slow.reap = true;
	hmmt_read(f, 0, TEST_MAPPED, FAULT);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range),
						     &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_TRUE(test, hmmt_slow.dropped);
	KUNIT_EXPECT_NE(test, hmmt_slow.faults[0], 0U);
	hmmt_slow_unmapped(f);
}

/*
 * A write fault breaks COW of each page, and each time runs the callback of its own mirror. So
 * it collides. The second fault succeeds, because COW is broken for all pages.
 */
static void cow_takes_two_rounds(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	unsigned int i;

	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_peek(addr + P(i)), 0);
	hmmt_read(f, 0, TEST_MAPPED, FAULT_RW);
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), TEST_MAPPED);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 1ULL);
	hmmt_unmapped(f);
}

/* -------------------------------------------------------------------- dirty pages */

static unsigned int nr_dirty(struct test_fixture *f)
{
	unsigned int i, nr = 0;

	for (i = 0; i < TEST_MAPPED; i++)
		nr += f->pfns[i] & HMM_PFN_VALID && PageDirty(hmm_pfn_to_page(f->pfns[i]));
	return nr;
}

/* commit() marks writable pages dirty, because the device may write to them. */
static void commit_marks_dirty(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr, seq;

	addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	hmmt_read(f, 0, TEST_MAPPED, FAULT_RW);
	seq = hmmt_begin(f, range);
	KUNIT_ASSERT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, nr_dirty(f), 0U);

	/* The driver may clear HMM_PFN_WRITE of a page: the device does not write to it. */
	f->pfns[3] &= ~HMM_PFN_WRITE;
	/* Entries behind the end of the fault are ignored. */
	f->fault.end -= PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), 0);
	KUNIT_EXPECT_FALSE(test, PageDirty(hmm_pfn_to_page(f->pfns[TEST_MAPPED - 1])));
	f->fault.end += PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), 0);
	KUNIT_EXPECT_EQ(test, nr_dirty(f), TEST_MAPPED - 1U);
	KUNIT_EXPECT_FALSE(test, PageDirty(hmm_pfn_to_page(f->pfns[3])));

	/* A second commit() does no harm. A collision marks no page. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), 0);
	f->pfns[3] |= HMM_PFN_WRITE;
	hmmt_start_end(f, addr, addr + P(1));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), -EBUSY);
	KUNIT_EXPECT_FALSE(test, PageDirty(hmm_pfn_to_page(f->pfns[3])));
	hmmt_unmapped(f);
}

/* commit() marks neither read-only pages nor holes. */
static void commit_of_read_only(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr, seq;

	addr = hmmt_mapped(f, PROT_READ);
	vm_munmap(addr + P(2), PAGE_SIZE);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, &f->fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), 0);
	hmmt_read(f, 3, TEST_MAPPED - 3, FAULT);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), 0);
	KUNIT_EXPECT_FALSE(test, PageDirty(hmm_pfn_to_page(f->pfns[0])));
	hmmt_unmapped(f);
}

static struct kunit_case hmm_mirror_pfns_cases[] = {
	KUNIT_CASE(untouched_before_read),
	KUNIT_CASE(sticky_bits),
	KUNIT_CASE(requests_outlive_a_read),
	KUNIT_CASE(by_page_without_waiting),
	KUNIT_CASE(errors_by_page),
	KUNIT_CASE(pages_present),
	KUNIT_CASE(untouched_by_error),
	KUNIT_CASE(reaped_meanwhile),
	KUNIT_CASE(cow_takes_two_rounds),
	KUNIT_CASE(commit_marks_dirty),
	KUNIT_CASE(commit_of_read_only),
	{}
};

struct kunit_suite hmm_mirror_pfns_suite = {
	.name = "hmm_mirror_pfns",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_pfns_cases,
};
