// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests. Lockdep knows our rules.
 *
 * After its first report lockdep turns itself off. So the test that provokes one is the
 * last, of the last suite.
 */
#include <linux/debug_locks.h>
#include <linux/lockdep.h>
#include <linux/sched/mm.h>

#include "hmm_mirror_test.h"

#ifdef CONFIG_LOCKDEP

/* A callback may invalidate, and not only another mm. */
static int hook_invalidates(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	if (update->start != P(30))
		hmmt_start_end(tm->f, P(30), P(40));
	return 0;
}

/* All that is allowed; no report. */
static void clean(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range;
	struct test_mirror *tm;
	struct test_thread *waiter;

	if (!debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	tm = hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	tm->hook = hook_invalidates;
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->calls), 2);

	/* the driver lock inside reclaim, our lock inside the driver lock */
	fs_reclaim_acquire(GFP_KERNEL);
	hmmt_start_end(f, P(10), P(20));
	fs_reclaim_release(GFP_KERNEL);
	mutex_lock(&tm->lock);
	hmm_mirror_range_unregister(range);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	mutex_unlock(&tm->lock);

	update = hmmt_update(f, P(10), P(20));
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, HMM_MIRROR_WAIT_FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	hmmt_release(f);
	hmm_mirror_unregister(&tm->mirror);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/*
 *	lock(driver)
 *	begin: waits for the end
 *				callback: waits for the lock
 *
 * Reported where the two never meet: nothing is in flight.
 */
static void wait_under_driver_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	struct test_mirror *tm;
	unsigned long seq;

	if (!debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	tm = hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start_end(f, P(10), P(20));
	hmmt_begin(f, range);
	KUNIT_EXPECT_TRUE(test, debug_locks);

	hmmt_expect_begin();
	mutex_lock(&tm->lock);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1), 0);
	mutex_unlock(&tm->lock);
	hmmt_expect_end();
	KUNIT_EXPECT_FALSE(test, debug_locks);
}

#else

static void clean(struct kunit *test)
{
	hmmt_skip(test, "the kernel has no lockdep");
}

static void wait_under_driver_lock(struct kunit *test)
{
	hmmt_skip(test, "the kernel has no lockdep");
}

#endif

static struct kunit_case hmm_mirror_lockdep_cases[] = {
	KUNIT_CASE(clean),
	KUNIT_CASE(wait_under_driver_lock),
	{}
};

struct kunit_suite hmm_mirror_lockdep_suite = {
	.name = "hmm_mirror_lockdep",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_lockdep_cases,
};
