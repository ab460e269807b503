// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: invariant I6: a waiter is woken by the right end, and no other.
 */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "hmm_mirror_test.h"

/* Register the range [10, 20), and start an invalidation of it. */
static struct hmm_mirror_range *invalid_range(struct test_fixture *f,
					      struct mmu_notifier_range *update)
{
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	*update = hmmt_update(f, P(10), P(20));
	hmmt_start(f, update);
	return range;
}

/* Wait until the thread sleeps. Return its count of context switches, which is then final. */
static unsigned long nvcsw_asleep(struct test_thread *thread)
{
	hmmt_until_it_sleeps(thread);
	KUNIT_EXPECT_TRUE(thread->f->test,
			  hmmt_poll(READ_ONCE(thread->task->nvcsw) > thread->nvcsw));
	return READ_ONCE(thread->task->nvcsw);
}

static bool was_not_woken(struct test_thread *thread, unsigned long nvcsw)
{
	return hmmt_sleeps(thread) && READ_ONCE(thread->task->nvcsw) == nvcsw;
}

static void woken_by_own(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);

	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 2U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, waiter->seq));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

static void all_are_woken(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct hmm_mirror_range *other = hmmt_range(f, 1, 0, P(19), P(21));
	struct test_thread *waiter[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		waiter[i] = hmmt_waiter(f, i, i < 2 ? range : other, FOREVER);
	for (i = 0; i < 3; i++)
		hmmt_until_it_sleeps(waiter[i]);
	hmmt_end(f, &update);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(waiter[i]), 0);
	KUNIT_EXPECT_EQ(test, waiter[0]->seq, waiter[1]->seq);
}

/*
 *	waiter, more urgent		mm, on the same CPU
 *
 *	begin: sleeps
 *					end: wakes
 *	checks the range
 *					goes on
 *
 * If the kernel is preemptible, the waiter checks the range as early as possible. It must not
 * find the invalidation in flight any more.
 */
static void woken_after_the_end(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	const struct cpumask *here = cpumask_of(raw_smp_processor_id());
	struct test_thread *waiter;

	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, here), 0);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	KUNIT_EXPECT_EQ(test, set_cpus_allowed_ptr(waiter->task, here), 0);
	sched_set_fifo(waiter->task);
	hmmt_until_it_sleeps(waiter);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
}

static int waits_when_told(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	wait_for_completion(&f->at);
	return hmm_mirror_range_begin(&f->range[0], &thread->seq, FOREVER);
}

static int ends_when_told(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	wait_for_completion(&f->go);
	hmmt_end(f, thread->arg);
	return 0;
}

/*
 *	waiter			mm, on the same CPU,	the test
 *				more urgent
 *
 *							lock
 *	spins on the lock
 *							tells the mm to end
 *							unlock
 *	lock
 *	checks, queues up
 *	unlock
 *				end: wakes
 *	sleeps
 *
 * If the kernel is preemptible, the end runs as soon as the waiter unlocks. It must find the
 * waiter in the queue.
 */
static void queued_under_the_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int here, there, round, i;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range;

	if (num_online_cpus() < 2) {
		hmmt_skip(test, "needs two CPUs");
		return;
	}
	here = cpumask_first(cpu_online_mask);
	there = cpumask_next(here, cpu_online_mask);
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	range = invalid_range(f, &update);
	for (round = 0; round < 20; round++) {
		struct test_thread *waiter, *mm;

		waiter = hmmt_thread(f, 0, waits_when_told, NULL);
		mm = hmmt_thread(f, 1, ends_when_told, &update);
		set_cpus_allowed_ptr(waiter->task, cpumask_of(there));
		set_cpus_allowed_ptr(mm->task, cpumask_of(there));
		sched_set_fifo(mm->task);

		spin_lock(&f->hmm->lock);
		complete(&f->at);
		for (i = 0; i < 10000 && !spin_is_contended(&f->hmm->lock); i++)
			udelay(1);
		complete(&f->go);
		for (i = 0; i < 100; i++)
			udelay(1);
		spin_unlock(&f->hmm->lock);

		KUNIT_EXPECT_EQ(test, hmmt_join(mm), 0);
		KUNIT_ASSERT_EQ(test, hmmt_join(waiter), 0);
		KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, waiter->seq));
		hmmt_start(f, &update);
	}
	hmmt_end(f, &update);
}

/* Ends of invalidations that do not intersect do not wake a waiter. */
static void not_woken_by_others(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);
	unsigned long nvcsw = nvcsw_asleep(waiter);
	unsigned int i;

	for (i = 0; i < 100; i++) {
		hmmt_start_end(f, P(20 + i), P(21 + i));
		hmmt_start_end(f, P(0), P(10));
		KUNIT_EXPECT_TRUE(test, was_not_woken(waiter, nvcsw));
	}
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
}

/* Neither do ranges, or mirrors without ranges, that are registered and unregistered. */
static void not_woken_by_registration(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);
	unsigned long nvcsw = nvcsw_asleep(waiter);
	struct hmm_mirror_range *other;

	other = hmmt_range(f, 1, 0, P(10), P(20));
	hmm_mirror_range_unregister(other);
	hmmt_mirror(f, 1);
	hmm_mirror_unregister(&f->tm[1].mirror);
	KUNIT_EXPECT_TRUE(test, was_not_woken(waiter, nvcsw));
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
}

/* If two invalidations intersect a range, a waiter returns after both have ended. */
static void woken_by_the_last(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct mmu_notifier_range second = hmmt_update(f, P(0), P(11));
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct test_thread *waiter;

		hmmt_start(f, &second);
		waiter = hmmt_waiter(f, 0, range, FOREVER);
		hmmt_until_it_sleeps(waiter);
		hmmt_end(f, i ? &second : &update);
		hmmt_until_it_sleeps(waiter);
		KUNIT_EXPECT_FALSE(test, completion_done(&waiter->done));
		hmmt_end(f, i ? &update : &second);
		KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
		if (!i)
			hmmt_start(f, &update);
	}
}

/*
 *	waiter		mm
 *
 *			start(u)	[10, 20)
 *	begin: sleeps
 *			end(u)
 *			start(u)	[30, 40), with the same key
 *	returns
 */
static void woken_though_key_is_used_again(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);

	hmmt_until_it_sleeps(waiter);
	hmmt_end(f, &update);
	update.start = P(30);
	update.end = P(40);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	hmmt_end(f, &update);
}

/*
 * As above, but the end is lost; see i1_start_without_end(). A waiter for the new bounds must
 * be woken, too.
 */
static void woken_though_end_is_lost(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct hmm_mirror_range *next = hmmt_range(f, 1, 0, P(30), P(40));
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);
	struct test_thread *second;

	hmmt_until_it_sleeps(waiter);
	update.start = P(30);
	update.end = P(40);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);

	second = hmmt_waiter(f, 1, next, FOREVER);
	hmmt_until_it_sleeps(second);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(second), 0);
}

/* A waiter checks its range when it is woken: it may be invalid again. */
static void woken_and_invalid_again(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct mmu_notifier_range second = hmmt_update(f, P(15), P(16));
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);
	unsigned int i;

	hmmt_until_it_sleeps(waiter);
	for (i = 0; i < 50; i++) {
		hmmt_start(f, i & 1 ? &update : &second);
		hmmt_end(f, i & 1 ? &second : &update);
		hmmt_until_it_sleeps(waiter);
	}
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, waiter->seq));
}

static void killed_asleep(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);
	int ret;

	hmmt_until_it_sleeps(waiter);
	send_sig(SIGKILL, waiter->task, 1);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(completion_done(&waiter->done)));
	hmmt_end(f, &update);
	ret = hmmt_join(waiter);
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

static int killed_and_waits(struct test_thread *thread)
{
	send_sig(SIGKILL, current, 1);
	return hmm_mirror_range_begin(&thread->f->range[0], &thread->seq, FOREVER);
}

static void killed_before(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct test_thread *thread;

	invalid_range(f, &update);
	thread = hmmt_thread(f, 0, killed_and_waits, NULL);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -EINTR);
	hmmt_end(f, &update);
}

static void time_out(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	unsigned long since = jiffies, seq = 4711;

	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 30), -ETIME);
	KUNIT_EXPECT_TRUE(test, jiffies - since >= msecs_to_jiffies(30));
	KUNIT_EXPECT_TRUE(test, jiffies - since < hmmt_patience());
	KUNIT_EXPECT_EQ(test, seq, 4711UL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ETIME);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_wait_until_valid(range, 1));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), 0);
}

/* A wake-up does not restart the timeout. */
static void time_out_is_for_all(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct mmu_notifier_range second = hmmt_update(f, P(15), P(16));
	struct test_thread *waiter = hmmt_waiter(f, 0, range, 100);
	unsigned long since = jiffies;
	unsigned int i = 0;

	while (!completion_done(&waiter->done) && jiffies - since < hmmt_patience()) {
		hmmt_start(f, i & 1 ? &update : &second);
		hmmt_end(f, i & 1 ? &second : &update);
		i++;
		usleep_range(100, 200);
	}
	KUNIT_EXPECT_TRUE(test, jiffies - since < hmmt_patience());
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ETIME);
	hmmt_end(f, i & 1 ? &second : &update);
}

/* If a range is valid, begin() does not wait. */
static void valid_does_not_wait(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update, other = hmmt_update(f, P(20), P(30));
	struct hmm_mirror_range *range = invalid_range(f, &update);
	unsigned long seq;

	hmmt_start(f, &other);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	/* begin() reads only the state of a clean range: hmm->dead has no effect. */
	f->hmm->dead = true;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	f->hmm->dead = false;
	hmmt_end(f, &other);
}

static void mirror_unregistered(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);

	hmmt_mirror(f, 1);
	hmmt_until_it_sleeps(waiter);
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ESRCH);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &update.start, 0), -ESRCH);
}

/* A waiter waits for the current bounds of its range. */
static void range_is_resized(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	struct mmu_notifier_range second = hmmt_update(f, P(20), P(30));
	struct test_thread *waiter = hmmt_waiter(f, 0, range, FOREVER);

	hmmt_start(f, &second);
	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(15), P(30)), 0);
	hmmt_end(f, &update);
	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(15), P(20)), 0);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, waiter->seq));
	hmmt_end(f, &second);
}

static void range_is_split(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(19), P(30));
	struct hmm_mirror_range *range;
	struct test_thread *waiter;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	hmmt_until_it_sleeps(waiter);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15), &f->range[1]), 0);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	hmmt_end(f, &update);
}

/*
 *	waiters				mm
 *
 *					lock(mmap, for writing)
 *					start of mprotect() at 0: no end will come
 *	begin: a worker waits for the lock
 *	timeouts and signals end begin
 *					unlock(mmap)
 *	the worker ends the invalidation; begin returns
 */
static void endless_while_under_way(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, 0, P(20));
	struct hmm_mirror_range *range;
	struct test_thread *waiter, *killed, *timed;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	update.event = MMU_NOTIFY_PROTECTION_VMA;
	mmap_write_lock(f->mm);
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	killed = hmmt_waiter(f, 1, range, FOREVER);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(task_state_to_char(waiter->task) == 'D' &&
					  task_state_to_char(killed->task) == 'D'));
	KUNIT_EXPECT_FALSE(test, completion_done(&waiter->done));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	send_sig(SIGKILL, killed->task, 1);
	KUNIT_EXPECT_EQ(test, hmmt_join(killed), -EINTR);
	timed = hmmt_waiter(f, 2, range, 20);
	KUNIT_EXPECT_EQ(test, hmmt_join(timed), -ETIME);
	KUNIT_EXPECT_FALSE(test, completion_done(&waiter->done));
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
}

/*
 *	0	   10	      20	 30	    40
 *	|----------|				endless
 *	|---------------------|			endless
 *				  |---------|	its end will come
 *
 * The worker ends all endless invalidations, and no other.
 */
static void endless_end_together(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range endless[] = {
		hmmt_update(f, 0, P(10)), hmmt_update(f, 0, P(20)),
	};
	struct mmu_notifier_range other = hmmt_update(f, P(30), P(40));
	struct hmm_mirror_range *range, *elsewhere;
	unsigned int i;
	unsigned long seq;

	f->crowded = true;
	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(5), P(6));
	elsewhere = hmmt_range(f, 1, 0, P(30), P(40));
	hmmt_start(f, &other);
	for (i = 0; i < ARRAY_SIZE(endless); i++) {
		endless[i].event = MMU_NOTIFY_PROTECTION_VMA;
		hmmt_start(f, &endless[i]);
	}
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 3U);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(elsewhere));
	hmmt_end(f, &other);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(elsewhere));
}

/* Waits that sleep are counted, and the longest is recorded. */
static void waits_are_counted(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update;
	struct hmm_mirror_range *range = invalid_range(f, &update);
	unsigned long seq;
	u64 longest;

	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ETIME);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.waits, 0ULL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 50), -ETIME);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.waits, 1ULL);
	longest = f->hmm->stats.longest_wait_ns;
	KUNIT_EXPECT_GE(test, longest, 40 * (u64)NSEC_PER_MSEC);
	KUNIT_EXPECT_LT(test, longest, hmmt_patience() / HZ * (u64)NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1), -ETIME);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.waits, 2ULL);
	KUNIT_EXPECT_GE(test, f->hmm->stats.longest_wait_ns, longest);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.waits, 2ULL);
}

/* The same with locked slots. */
HMMT_LOCKED(woken_by_own)
HMMT_LOCKED(woken_after_the_end)
HMMT_LOCKED(not_woken_by_others)
HMMT_LOCKED(woken_though_key_is_used_again)
HMMT_LOCKED(woken_though_end_is_lost)

static struct kunit_case hmm_mirror_wait_cases[] = {
	KUNIT_CASE(woken_by_own),
	KUNIT_CASE(all_are_woken),
	KUNIT_CASE(woken_after_the_end),
	KUNIT_CASE(queued_under_the_lock),
	KUNIT_CASE(not_woken_by_others),
	KUNIT_CASE(not_woken_by_registration),
	KUNIT_CASE(woken_by_the_last),
	KUNIT_CASE(woken_though_key_is_used_again),
	KUNIT_CASE(woken_though_end_is_lost),
	KUNIT_CASE(woken_and_invalid_again),
	KUNIT_CASE(killed_asleep),
	KUNIT_CASE(killed_before),
	KUNIT_CASE(time_out),
	KUNIT_CASE(time_out_is_for_all),
	KUNIT_CASE(valid_does_not_wait),
	KUNIT_CASE(mirror_unregistered),
	KUNIT_CASE(range_is_resized),
	KUNIT_CASE(range_is_split),
	KUNIT_CASE(endless_while_under_way),
	KUNIT_CASE(endless_end_together),
	KUNIT_CASE(waits_are_counted),
	KUNIT_CASE(woken_by_own_locked),
	KUNIT_CASE(woken_after_the_end_locked),
	KUNIT_CASE(not_woken_by_others_locked),
	KUNIT_CASE(woken_though_key_is_used_again_locked),
	KUNIT_CASE(woken_though_end_is_lost_locked),
	{}
};

struct kunit_suite hmm_mirror_wait_suite = {
	.name = "hmm_mirror_wait",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_wait_cases,
};
