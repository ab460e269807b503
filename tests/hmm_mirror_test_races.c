// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: races between a device fault and the mm, each forced to happen. In
 * the diagrams, the driver is on the left, and the mm on the right.
 */
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "hmm_mirror_test.h"

/*
 *	begin
 *	reads pages
 *				start
 *				page table changes
 *				end
 *	commit: must fail
 */
static void race_01_aba(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	unsigned long seq = hmmt_begin(f, range);

	hmmt_start_end(f, P(19), P(20));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, seq), -EBUSY);
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(tm, P(0), P(TEST_PAGES)));

	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, seq), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_has_ptes(tm, P(10), P(11)));
}

/*
 *				non-blockable start: takes a slot
 *	callback: -EAGAIN
 *	begin: sleeps
 *				end, of all subscriptions
 *	begin returns
 *
 * The failed invalidation is in flight until that end, and ends once.
 */
static void race_02_eagain(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	unsigned long seq = hmmt_begin(f, range);
	struct test_thread *waiter;

	tm->hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, hmmt_start_only(f, &update), -EAGAIN);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));

	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_GT(test, waiter->seq, seq);
}

/* Fill all slots but the shared one with invalidations of other addresses. */
#define NR_EXACT	HMMT_SLOTS

static struct mmu_notifier_range *fill_slots(struct test_fixture *f)
{
	struct hmm_mirror_mm *hmm = f->hmm;
	struct mmu_notifier_range *updates, *update;
	unsigned int nr = 0;

	hmmt_make_no_slots(f);
	/* An update can take only its own hashed slot, or any locked slot. */
	updates = kunit_kzalloc(f->test, array_size(1000, sizeof(*updates)), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(f->test, updates);
	for (update = updates; nr < NR_EXACT && update < updates + 1000; update++) {
		if (hmm_mirror_slot_hashed(hmm, update)->key &&
		    hmm->nr_busy == HMM_MIRROR_LOCKED)
			continue;
		*update = hmmt_update(f, P(100 + nr), P(101 + nr));
		hmmt_start(f, update);
		nr++;
	}
	KUNIT_ASSERT_EQ(f->test, nr, NR_EXACT);
	KUNIT_ASSERT_EQ(f->test, hmm->nr_shared, 0U);
	return updates;
}

static void empty_slots(struct test_fixture *f, struct mmu_notifier_range *updates)
{
	struct mmu_notifier_range *update;

	for (update = updates; update < updates + 1000; update++)
		if (update->end)
			hmmt_end(f, update);
}

/*
 * The same with more invalidations in flight than slots, where a second end would end another
 * invalidation:
 *
 *				other addresses: all slots in use
 *				start 1
 *				non-blockable start 2
 *	callback of 2: -EAGAIN
 *				end 2
 *	begin: not valid
 *				end 1
 *	begin: valid
 */
static void race_02_eagain_no_slot(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range one = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range two = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	struct mmu_notifier_range *others = fill_slots(f);

	tm->hook = hmmt_hook_eagain;
	hmmt_start(f, &one);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &two), -EAGAIN);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), NR_EXACT + 1);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	hmmt_end(f, &one);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	empty_slots(f, others);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
}

/*
 *	device PTEs of mirrors 1 and 2
 *				non-blockable start
 *	1: removes its PTEs
 *	2: -EAGAIN
 *				end; the page table has not changed
 *	1: faults, and installs PTEs again
 */
static void race_03_torn_down_for_nothing(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(15), P(30));
	unsigned long seq[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		hmmt_mirror(f, i);
		hmmt_range(f, i, i, P(10), P(20));
		seq[i] = hmmt_begin(f, &f->range[i]);
		KUNIT_EXPECT_EQ(test, hmmt_commit_fake(&f->tm[i], &f->range[i], seq[i]), 0);
	}
	f->tm[1].hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(&f->tm[0], P(15), P(20)));
	KUNIT_EXPECT_TRUE(test, hmmt_has_ptes(&f->tm[1], P(15), P(20)));

	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, hmmt_commit_fake(&f->tm[i], &f->range[i], seq[i]),
				-EBUSY);
		seq[i] = hmmt_begin(f, &f->range[i]);
		KUNIT_EXPECT_EQ(test, hmmt_commit_fake(&f->tm[i], &f->range[i], seq[i]), 0);
	}
	KUNIT_EXPECT_TRUE(test, hmmt_has_ptes(&f->tm[0], P(15), P(16)));
}

#ifndef MODULE

/* A subscription of another driver, which fails; called before or after those of the core. */
static int other_start(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	return mmu_notifier_range_blockable(update) ? 0 : -EAGAIN;
}

static const struct mmu_notifier_ops other_ops = {
	.invalidate_range_start	= other_start,
};

/* Start an invalidation by a function of the mm, which a module cannot call. */
static int start_by_mm(struct mmu_notifier_range *update)
{
	return mmu_notifier_invalidate_range_start_nonblock(update);
}

static void other_subscribes(struct test_fixture *f, struct mmu_notifier *other)
{
	other->ops = &other_ops;
	KUNIT_ASSERT_EQ(f->test, mmu_notifier_register(other, f->mm), 0);
}

/*
 *				non-blockable start
 *	callback: removes device PTEs
 *				another subscription returns -EAGAIN
 *				end
 */
static void race_04_other_subscriber(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct mmu_notifier other;
		struct hmm_mirror_range *range;
		unsigned long seq;

		if (i)
			other_subscribes(f, &other);
		hmmt_mirror(f, 0);
		if (!i)
			other_subscribes(f, &other);
		range = hmmt_range(f, 0, 0, P(10), P(20));
		seq = hmmt_begin(f, range);

		KUNIT_EXPECT_EQ(test, start_by_mm(&update), -EAGAIN);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));

		hmm_mirror_range_unregister(range);
		hmm_mirror_unregister(&f->tm[0].mirror);
		mmu_notifier_unregister(&other, f->mm);
	}
}

/* Races 2 and 3, with a start by the mm itself. */
static void race_02_eagain_by_mm(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	bool tainted = hmmt_tainted();
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	f->tm[1].hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, start_by_mm(&update), -EAGAIN);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_EQ(test, hmmt_tainted(), tainted);
}

#else

/* The part that the core sees: its start returns 0, and the end follows. */
static void race_04_other_subscriber(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

static void race_02_eagain_by_mm(struct kunit *test)
{
	hmmt_skip(test, "a module cannot call this function of the mm");
}

#endif

/*
 *				start
 *	last mirror unregisters
 *				(end: no subscription)
 *	a mirror registers
 *				(or end: a new subscription)
 */
static void race_05_unregister_in_flight(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		hmmt_mirror(f, 0);
		range = hmmt_range(f, 0, 0, P(10), P(20));
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
		hmmt_end(f, &update);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);

		hmmt_start(f, &update);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
		hmm_mirror_range_unregister(range);
		hmm_mirror_unregister(&f->tm[0].mirror);
	}
}

/*
 *				start
 *	begin: sleeps
 *				the mm dies; no end comes
 *	begin: -ESRCH
 */
static void race_06_exit(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	struct test_thread *waiter;

	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_release(f);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ESRCH);
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->releases), 1);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

/* The same with a thread that waits for the shared slot. */
static void race_06_exit_no_slot(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	struct test_thread *waiter;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	fill_slots(f);
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_release(f);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ESRCH);
}

/*
 *	begin
 *				start 1	       |--|
 *				  start 2   |--------|
 *				  end 2
 *	commit: must fail, for ranges that 1 hits and for ranges that only 2 hits
 *				end 1
 */
static void race_07_nested_is_wider(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range outer = hmmt_update(f, P(15), P(16));
	struct hmm_mirror_range *inside = hmmt_range(f, 0, 0, P(14), P(17));
	struct hmm_mirror_range *beside = hmmt_range(f, 1, 0, P(17), P(18));
	unsigned long seq[] = { hmmt_begin(f, inside), hmmt_begin(f, beside) };

	hmmt_start(f, &outer);
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, inside, seq[0]), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, beside, seq[1]), -EBUSY);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(inside));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(beside));
	hmmt_end(f, &outer);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(inside));
}

/*
 *				start
 *	register
 *	begin: not valid
 *	commit: must fail
 *				end: no count becomes negative
 *	begin, commit
 */
static void race_08_late_registration(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	struct test_thread *waiter;

	hmmt_start(f, &update);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, 0), -EBUSY);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);

	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, waiter->seq), 0);

	/* The next invalidation is counted from 0. */
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

/*
 *				start, of [10, 20)
 *	begin of [10, 20): sleeps
 *				start 1, of other addresses
 *				  start 2
 *				end 1
 *				  start 3
 *				  ...		one is always in flight
 *				end, of [10, 20)
 *	begin returns
 *				end n
 */
static void race_09_other_addresses(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range other[2] = {
		hmmt_update(f, P(0), P(10)), hmmt_update(f, P(20), P(30)),
	};
	struct hmm_mirror_range *range;
	struct test_thread *waiter;
	unsigned int i;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);

	hmmt_start(f, &other[0]);
	for (i = 1; i < 100; i++) {
		hmmt_start(f, &other[i & 1]);
		hmmt_end(f, &other[~i & 1]);
		KUNIT_EXPECT_TRUE(test, hmmt_sleeps(waiter));
	}
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 2U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	hmmt_end(f, &other[1]);
}

/*
 *	1: begin
 *				start
 *				end
 *		2: begin
 *	1: commit: must fail, although 2 has found the range valid
 *		2: commit
 */
static void race_10_two_faulters(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	unsigned long one, two;

	one = hmmt_begin(f, range);
	hmmt_start_end(f, P(10), P(20));
	two = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, one), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, two), 0);
	KUNIT_EXPECT_EQ(test, hmmt_commit_fake(tm, range, one), -EBUSY);
}

/*
 *	begin
 *	fault
 *				munmap
 *				mmap at the same address; new content
 *	commit: must fail
 *	populate: the new content
 */
static void race_11_map_again(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct test_mirror *tm = &f->tm[0];
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;

	hmmt_poke(f, addr, '1');
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), 0);

	KUNIT_EXPECT_EQ(test, vm_munmap(addr, P(TEST_MAPPED)), 0);
	KUNIT_EXPECT_EQ(test, hmmt_map(addr, TEST_MAPPED, PROT_READ | PROT_WRITE), addr);
	hmmt_poke(f, addr, '2');
	KUNIT_EXPECT_EQ(test, hmmt_commit(range, seq, &f->fault, tm), -EBUSY);

	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_EQ(test, hmmt_peek(addr), (int)'2');
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr), (int)'2');
	hmmt_unmapped(f);
}

/*
 *	fault for writing
 *				finds the zero page: start
 *	  callback, in this thread
 *				end
 *	returns -EBUSY
 *	populate: retries, and gets the new page
 */
static void race_12_fault_breaks_cow(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct test_mirror *tm = &f->tm[0];
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;

	KUNIT_EXPECT_EQ(test, hmmt_peek(addr), 0);
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->calls), 0);

	f->fault.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_GT(test, atomic_read(&tm->calls), 0);
	KUNIT_EXPECT_PTR_EQ(test, tm->caller, current);

	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_TRUE(test, tm->pte[0] & HMM_PFN_WRITE);
	hmmt_poke(f, addr, 'x');
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr), (int)'x');
	hmmt_unmapped(f);
}

static int holds_driver_lock(struct test_thread *thread)
{
	struct test_mirror *tm = thread->arg;

	mutex_lock(&tm->lock);
	hmmt_hook_pause(tm, NULL);
	mutex_unlock(&tm->lock);
	return 0;
}

/*
 *	lock(driver)
 *				non-blockable start
 *	callback: -EAGAIN, does not sleep
 *				end
 *	unlock(driver)
 */
static void race_13_driver_lock_is_held(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	bool tainted = hmmt_tainted();
	struct test_thread *thread;
	unsigned long nvcsw;
	int ret;

	thread = hmmt_thread(f, 0, holds_driver_lock, tm);
	hmmt_arrives(f);
	nvcsw = current->nvcsw;
	ret = hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, nvcsw, current->nvcsw);
	KUNIT_EXPECT_EQ(test, ret, -EAGAIN);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	complete(&f->go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), 0);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_tainted(), tainted);
}

/*
 *	0	10	20	30			the end
 *	|---------------------------------------------------|	range 0
 *		|-------|					range 1
 *			|-------|				range 2
 */
static void race_14_all_and_neighbours(struct kunit *test)
{
	static const struct {
		unsigned long start, end;
		bool stale[3];
	} updates[] = {
		{ P(0), P(10),			{ true, false, false } },
		{ P(10), P(20),			{ true, true, false } },
		{ P(19), P(20),			{ true, true, false } },
		{ P(20), P(21),			{ true, false, true } },
		{ P(30), P(31),			{ true, false, false } },
		{ TO_THE_END, ULONG_MAX,	{ true, false, false } },
		{ P(0), ULONG_MAX,		{ true, true, true } },
	};
	struct test_fixture *f = test->priv;
	unsigned int i, j;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, 0, ULONG_MAX);
	hmmt_range(f, 1, 0, P(10), P(20));
	hmmt_range(f, 2, 0, P(20), P(30));
	for (i = 0; i < ARRAY_SIZE(updates); i++) {
		struct mmu_notifier_range update =
			hmmt_update(f, updates[i].start, updates[i].end);
		unsigned long seq[3];

		for (j = 0; j < 3; j++)
			seq[j] = hmmt_begin(f, &f->range[j]);
		hmmt_start(f, &update);
		for (j = 0; j < 3; j++) {
			bool stale = hmm_mirror_range_retry(&f->range[j], seq[j]);
			bool valid = hmmt_is_valid(&f->range[j]);

			KUNIT_EXPECT_EQ_MSG(test, updates[i].stale[j], stale,
					    "update %u, range %u", i, j);
			KUNIT_EXPECT_NE_MSG(test, updates[i].stale[j], valid,
					    "update %u, range %u", i, j);
		}
		hmmt_end(f, &update);
	}
}

static int unmaps(struct test_thread *thread)
{
	unsigned long *addr = thread->arg;
	int ret;

	kthread_use_mm(thread->f->mm);
	ret = vm_munmap(*addr, P(TEST_MAPPED));
	kthread_unuse_mm(thread->f->mm);
	return ret;
}

static int unregisters(struct test_thread *thread)
{
	struct test_mirror *tm = thread->arg;

	hmm_mirror_unregister(&tm->mirror);
	return 0;
}

/* Return true if the thread sleeps, or has ended, which is a failure. */
static bool has_stopped(struct test_thread *thread)
{
	return completion_done(&thread->done) || task_state_to_char(thread->task) == 'D';
}

static bool is_unlinked(struct test_fixture *f)
{
	return list_empty(&f->hmm->mirrors);
}

/*
 *				munmap: start
 *	callback begins
 *	unregister: waits
 *	callback ends
 *	unregister returns
 */
static void race_15_unregister_in_callback(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = &f->tm[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ);
	struct test_thread *mm, *driver;

	hmm_mirror_range_unregister(&f->range[0]);
	KUNIT_EXPECT_EQ(test, hmmt_peek(addr), 0);
	hmmt_mm_detach(f);

	tm->hook = hmmt_hook_pause;
	mm = hmmt_thread(f, 0, unmaps, &addr);
	hmmt_arrives(f);
	driver = hmmt_thread(f, 1, unregisters, tm);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(is_unlinked(f) && has_stopped(driver)));
	KUNIT_EXPECT_FALSE(test, completion_done(&driver->done));

	complete(&f->go);
	KUNIT_EXPECT_EQ(test, hmmt_join(driver), 0);
	KUNIT_EXPECT_EQ(test, hmmt_join(mm), 0);
}

/* A thread that is inside hmm_mirror_range_mm(). */
struct user_of_range {
	bool inside, over;
};

static int uses_range(struct test_thread *thread)
{
	struct user_of_range *user = thread->arg;

	/* Preemption stays enabled, because other grace periods may need this CPU. */
	rcu_read_lock();
	WRITE_ONCE(user->inside, true);
	while (!READ_ONCE(user->over))
		cpu_relax();
	rcu_read_unlock();
	return 0;
}

/*
 *	begin: finds the mirror in the range
 *				unregister of the mirror: no range points to it; waits
 *	begin: reads the mirror
 *				unregister returns, and the driver frees the mirror
 */
static void unregister_while_a_range_is_used(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *begin, *driver;
	struct user_of_range user = {};

	if (num_online_cpus() == 1) {
		hmmt_skip(test, "needs two CPUs");
		return;
	}
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));

	begin = hmmt_thread(f, 0, uses_range, &user);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(READ_ONCE(user.inside)));
	driver = hmmt_thread(f, 1, unregisters, &f->tm[0]);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(is_unlinked(f)));
	msleep(200);
	KUNIT_EXPECT_FALSE(test, completion_done(&driver->done));

	WRITE_ONCE(user.over, true);
	KUNIT_EXPECT_EQ(test, hmmt_join(begin), 0);
	KUNIT_EXPECT_EQ(test, hmmt_join(driver), 0);
	hmm_mirror_range_unregister(&f->range[0]);
}

/*
 *	unregister
 *				the mm frees the subscriptions, later
 *	rmmod: waits for that
 *
 * This case checks that the references to the mm are dropped. Only unloading the module can
 * show that rmmod waits.
 */
static void race_16_last_unregister(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int before = atomic_read(&f->mm->mm_count);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		hmmt_mirror(f, 0);
		hmm_mirror_unregister(&f->tm[0].mirror);
	}
	KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&f->mm->mm_count) < before + 5));
}

/*
 *				other addresses: all slots in use
 *				start 1, of [10, 20): shared slot
 *				  start 2, of other addresses: shared slot
 *	begin of [10, 20): sleeps
 *				  end 2
 *				end 1
 *	begin returns
 *				ends of the others
 */
static void race_17_no_slot(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range one = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range two = hmmt_update(f, P(30), P(40));
	struct hmm_mirror_range *range;
	struct mmu_notifier_range *others;
	struct test_thread *waiter;
	unsigned long seq;
	unsigned int i;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	for (i = 0; i < 2; i++) {
		seq = hmmt_begin(f, range);
		others = fill_slots(f);
		KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
		hmmt_start(f, &one);
		hmmt_start(f, &two);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), NR_EXACT + 2);
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
		waiter = hmmt_waiter(f, 0, range, FOREVER);
		hmmt_until_it_sleeps(waiter);

		hmmt_end(f, &two);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), NR_EXACT + 1);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
		KUNIT_EXPECT_TRUE(test, hmmt_sleeps(waiter));
		if (i)	/* invalidations that have a slot end first */
			empty_slots(f, others);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
		hmmt_end(f, &one);
		KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
		if (!i)
			empty_slots(f, others);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
		KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, waiter->seq));
	}
}

/* A range is registered after the start of an invalidation that has the shared slot. */
static void race_17_no_slot_late(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	struct mmu_notifier_range *others;

	hmmt_mirror(f, 0);
	others = fill_slots(f);
	hmmt_start(f, &update);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	empty_slots(f, others);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

#if !defined(MODULE) && defined(HMM_MIRROR_TEST_HAVE_CLONE_FN)

static int child(void *arg)
{
	do_exit(0);
}

/* Fork, as the process of the mm. */
static int forks(void)
{
	struct kernel_clone_args args = {
		.flags		= CLONE_UNTRACED,
		.exit_signal	= SIGCHLD,
		.fn		= child,
	};

	return kernel_clone(&args);
}

/*
 *	populate for writing
 *				fork: the page table becomes read-only
 *	callback: removes device PTEs
 *				the child exits; it is not mirrored
 *	populate: pages of the parent
 */
static void race_18_fork(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct test_mirror *tm = &f->tm[0];
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;
	int calls;

	f->fault.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	hmmt_poke(f, addr, '1');
	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	KUNIT_EXPECT_TRUE(test, tm->pte[0] & HMM_PFN_WRITE);
	seq = hmmt_begin(f, range);
	calls = atomic_read(&tm->calls);

	KUNIT_EXPECT_GT(test, forks(), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&tm->calls), calls);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_FALSE(test, hmmt_has_ptes(tm, addr, addr + P(TEST_MAPPED)));
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->releases), 0);

	KUNIT_EXPECT_EQ(test, hmmt_populate(f), 0);
	hmmt_poke(f, addr, '2');
	KUNIT_EXPECT_EQ(test, hmmt_device_peek(tm, addr), (int)'2');
	hmmt_unmapped(f);
}

#else

static void race_18_fork(struct kunit *test)
{
	hmmt_skip(test, "only a built-in test can fork");
}

#endif

static struct kunit_case hmm_mirror_races_cases[] = {
	KUNIT_CASE(race_01_aba),
	KUNIT_CASE(race_02_eagain),
	KUNIT_CASE(race_02_eagain_no_slot),
	KUNIT_CASE(race_02_eagain_by_mm),
	KUNIT_CASE(race_03_torn_down_for_nothing),
	KUNIT_CASE(race_04_other_subscriber),
	KUNIT_CASE(race_05_unregister_in_flight),
	KUNIT_CASE(race_06_exit),
	KUNIT_CASE(race_06_exit_no_slot),
	KUNIT_CASE(race_07_nested_is_wider),
	KUNIT_CASE(race_08_late_registration),
	KUNIT_CASE(race_09_other_addresses),
	KUNIT_CASE(race_10_two_faulters),
	KUNIT_CASE(race_11_map_again),
	KUNIT_CASE(race_12_fault_breaks_cow),
	KUNIT_CASE(race_13_driver_lock_is_held),
	KUNIT_CASE(race_14_all_and_neighbours),
	KUNIT_CASE(race_15_unregister_in_callback),
	KUNIT_CASE(unregister_while_a_range_is_used),
	KUNIT_CASE(race_16_last_unregister),
	KUNIT_CASE(race_17_no_slot),
	KUNIT_CASE(race_17_no_slot_late),
	KUNIT_CASE(race_18_fork),
	{}
};

struct kunit_suite hmm_mirror_races_suite = {
	.name = "hmm_mirror_races",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_races_cases,
};
