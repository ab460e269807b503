// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: arguments that the core refuses, and bugs of a driver.
 */
#include <linux/debug_locks.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#include "hmm_mirror_test.h"

static int sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	return 0;
}

static int sync_start(struct hmm_mirror *mirror, const struct mmu_notifier_range *update,
		      struct hmm_mirror_pass *pass)
{
	return 0;
}

static void sync_finish(struct hmm_mirror *mirror, struct hmm_mirror_pass *pass)
{
}

static void release(struct hmm_mirror *mirror)
{
}

static void mirror_arguments(struct kunit *test)
{
	static const struct hmm_mirror_ops bad[] = {
		{},
		{ .release = release },
		{ .sync_cpu_device_pagetables = sync },
		{ .sync_start = sync_start, .sync_finish = sync_finish },
		{ .release = release, .sync_start = sync_start },
		{ .release = release, .sync_finish = sync_finish },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .sync_finish = sync_finish },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .sync_start = sync_start },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .sync_start = sync_start, .sync_finish = sync_finish },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .flags = HMM_MIRROR_TRACKED_ONLY << 1 },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .flags = HMM_MIRROR_TRACKED_ONLY | BIT(31) },
	};
	static const struct hmm_mirror_ops good[] = {
		{ .release = release, .sync_cpu_device_pagetables = sync },
		{ .release = release, .sync_cpu_device_pagetables = sync,
		  .flags = HMM_MIRROR_TRACKED_ONLY },
		{ .release = release, .sync_start = sync_start,
		  .sync_finish = sync_finish },
		{ .release = release, .sync_start = sync_start,
		  .sync_finish = sync_finish, .flags = HMM_MIRROR_TRACKED_ONLY },
	};
	struct test_fixture *f = test->priv;
	struct hmm_mirror mirror;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		mirror.ops = &bad[i];
		KUNIT_EXPECT_EQ_MSG(test, hmm_mirror_attach(&mirror, f->mm), -EINVAL,
				    "operations %u", i);
	}
	mirror.ops = NULL;
	KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&mirror, f->mm), -EINVAL);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		mirror.ops = &good[i];
		KUNIT_EXPECT_EQ(test, hmm_mirror_attach(NULL, f->mm), -EINVAL);
		KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&mirror, NULL), -EINVAL);
		KUNIT_EXPECT_EQ(test, hmm_mirror_register(NULL, f->mm), -EINVAL);
		KUNIT_EXPECT_EQ(test, hmm_mirror_register(&mirror, NULL), -EINVAL);
		KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&mirror, f->mm), 0);
		hmm_mirror_unregister(&mirror);
	}
	mmap_write_lock(f->mm);
	KUNIT_EXPECT_EQ(test, hmm_mirror_register(&mirror, f->mm), 0);
	mmap_write_unlock(f->mm);
	hmm_mirror_unregister(&mirror);
}

static void mirror_without_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror mirror;

	f->tm[0].ops = (struct hmm_mirror_ops) {
		.release = release,
		.sync_cpu_device_pagetables = sync,
	};
	mirror.ops = &f->tm[0].ops;
	hmmt_expect_begin();
	KUNIT_EXPECT_EQ(test, hmm_mirror_register(&mirror, f->mm), -EINVAL);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, hmm_mirror_register(&mirror, f->mm), -EINVAL);
	mmap_read_unlock(f->mm);
	hmmt_expect_end();
	hmmt_expect_warned(test, "hmm_mirror_register() without the mmap write lock");
}

static int attaches_when_killed(struct test_thread *thread)
{
	struct hmm_mirror *mirror = thread->arg;
	int ret;

	send_sig(SIGKILL, current, 1);
	hmmt_count_frees(256);
	ret = hmm_mirror_attach(mirror, thread->f->mm);
	if (!ret)
		hmm_mirror_unregister(mirror);
	mirror->hmm = NULL;
	return ret;
}

/* A killed thread does not wait for the lock, and leaves no subscription. */
static void attach_is_killable(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror *mirror = &f->tm[1].mirror;

	/* A signal is checked for each mapping, so there must be one. */
	hmmt_mm_attach(f);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(hmmt_map(0, 1, PROT_READ)));
	hmmt_mm_detach(f);
	/* The kernel keeps the memory that it allocates for the first subscription of an mm. */
	hmmt_mirror(f, 0);
	hmmt_watch(f->hmm);
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_is_freed()));

	mirror->ops = &f->tm[0].ops;
	mmap_write_lock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, attaches_when_killed, mirror)), -EINTR);
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, attaches_when_killed, mirror)), -EINTR);
	/* The core frees the structure of the mm and the filter. */
	if (hmmt_sees_frees())
		KUNIT_EXPECT_EQ(test, hmmt_counted_frees(), 2U);
}

static int holds_mmap_lock(struct test_thread *thread)
{
	mmap_write_lock(thread->f->mm);
	complete(&thread->f->at);
	wait_for_completion(&thread->f->go);
	mmap_write_unlock(thread->f->mm);
	return 0;
}

/* If another thread holds the mmap lock, lockdep sees that the caller does not. */
static void mirror_with_lock_of_another(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;
	struct hmm_mirror mirror;

	if (!IS_ENABLED(CONFIG_LOCKDEP) || !debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	f->tm[0].ops = (struct hmm_mirror_ops) {
		.release = release,
		.sync_cpu_device_pagetables = sync,
	};
	mirror.ops = &f->tm[0].ops;
	thread = hmmt_thread(f, 0, holds_mmap_lock, NULL);
	hmmt_arrives(f);
	hmmt_expect_begin();
	KUNIT_EXPECT_EQ(test, hmm_mirror_register(&mirror, f->mm), -EINVAL);
	hmmt_expect_end();
	hmmt_expect_warned(test, "hmm_mirror_register() without the mmap write lock");
	complete(&f->go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
}

static void mirror_of_dead_mm(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror mirror;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	f->tm[0].ops = (struct hmm_mirror_ops) {
		.release = release,
		.sync_cpu_device_pagetables = sync,
	};
	mirror.ops = &f->tm[0].ops;
	hmmt_mm_die(f);
	KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&mirror, f->mm), -ESRCH);
}

static void range_arguments(struct kunit *test)
{
	static const struct {
		unsigned long start, end;
		int ret;
	} bounds[] = {
		{ P(10), P(10),			-EINVAL },
		{ P(20), P(10),			-EINVAL },
		{ P(10) + 1, P(20),		-EINVAL },
		{ P(10), P(20) - 1,		-EINVAL },
		{ P(10), ULONG_MAX - 1,		-EINVAL },
		{ 0, 0,				-EINVAL },
		{ P(10), 0,			-EINVAL },
		{ TO_THE_END, TO_THE_END,	-EINVAL },
		{ ULONG_MAX, ULONG_MAX,		-EINVAL },
		{ 0, P(1),			0 },
		{ 0, TO_THE_END,		0 },
		{ 0, ULONG_MAX,			0 },
		{ TO_THE_END - P(1), TO_THE_END, 0 },
		{ TO_THE_END, ULONG_MAX,	0 },
	};
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		struct hmm_mirror_range range = {
			.start = bounds[i].start, .end = bounds[i].end,
		};

		KUNIT_EXPECT_EQ_MSG(test, hmm_mirror_range_register(&range, &tm->mirror),
				    bounds[i].ret, "bounds %u", i);
		if (!bounds[i].ret)
			hmm_mirror_range_unregister(&range);
		KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
	}
	f->range[0].start = P(10);
	f->range[0].end = P(20);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_register(NULL, &tm->mirror), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_register(&f->range[0], NULL), -EINVAL);
	hmm_mirror_unregister(&tm->mirror);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_register(&f->range[0], &tm->mirror), -ESRCH);
}

static int commit(struct hmm_mirror_range *range, unsigned long seq,
		  const struct hmm_mirror_fault *fault, void *arg)
{
	struct kunit *test = arg;

	KUNIT_FAIL(test, "called despite wrong bounds");
	return 0;
}

static void fault_arguments(struct kunit *test)
{
	static const struct {
		unsigned long start, end;
	} bounds[] = {
		{ P(9), P(12) },	/* outside */
		{ P(15), P(21) },
		{ P(5), P(30) },
		{ P(5), P(10) },
		{ P(20), P(21) },
		{ P(15), ULONG_MAX },
		{ P(15), TO_THE_END },
		{ P(15), P(15) },	/* empty */
		{ P(16), P(15) },
		{ P(15) + 1, P(16) },	/* not aligned */
		{ P(15), P(16) + 1 },
	};
	struct test_fixture *f = test->priv;
	struct hmm_mirror_fault *fault = &f->fault;
	struct hmm_mirror_range *range;
	unsigned long seq;
	unsigned int i;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	fault->pfns = f->pfns;
	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		fault->start = bounds[i].start;
		fault->end = bounds[i].end;
		KUNIT_EXPECT_EQ_MSG(test, hmm_mirror_range_fault(range, seq, fault, FOREVER),
				    -EINVAL, "bounds %u", i);
		KUNIT_EXPECT_EQ_MSG(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER),
				    -EINVAL, "bounds %u", i);
		KUNIT_EXPECT_EQ_MSG(test, hmm_mirror_range_populate(range, fault, 0,
								    commit, test),
				    -EINVAL, "bounds %u", i);
	}
	fault->start = P(10);
	fault->end = P(20);

	/* If the bounds became wrong after begin(), the fault has collided. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(15)), 0);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(20)), 0);
	seq = hmmt_begin(f, range);

	KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(range, fault, 0, NULL, test),
			-EINVAL);
	fault->pfn_flags_mask = HMM_PFN_REQ_FAULT;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(range, fault, 0, commit, test),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, NULL, FOREVER), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, NULL, FOREVER), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(range, NULL, 0, commit, test), -EINVAL);
	fault->pfn_flags_mask = 0;
	fault->pfns = NULL;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, fault, FOREVER), -EINVAL);
}

static void unregister_twice(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(10), P(20));
	hmm_mirror_range_unregister(&f->range[0]);
	hmm_mirror_unregister(&f->tm[0].mirror);
	hmmt_expect_begin();
	hmm_mirror_range_unregister(&f->range[0]);
	hmm_mirror_unregister(&f->tm[0].mirror);
	hmmt_expect_end();
	hmmt_expect_warned(test, "hmm_mirror_range_unregister() of a range that is not registered");
	hmmt_expect_warned(test, "hmm_mirror_unregister() of a mirror that is not registered");
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[1]));
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
}

static void cancel_unregistered(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_mirror(f, 0);
	hmm_mirror_unregister(&f->tm[0].mirror);
	hmmt_expect_begin();
	hmm_mirror_cancel(&f->tm[0].mirror);
	hmmt_expect_end();
	hmmt_expect_warned(test, "hmm_mirror_cancel() of a mirror that is not registered");
	KUNIT_EXPECT_FALSE(test, f->tm[0].mirror.cancelled);
}

/* The first registration is not affected, and is undone once. */
static void register_twice(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	unsigned long seq = hmmt_begin(f, range);
	unsigned int i;

	hmmt_expect_begin();
	for (i = 0; i < 10; i++)
		KUNIT_EXPECT_EQ(test, hmm_mirror_attach(&tm->mirror, f->mm), -EEXIST);
	hmmt_expect_end();
	hmmt_expect_warned(test, "hmm_mirror_register() of a mirror that is registered already");
	KUNIT_EXPECT_EQ(test, tm->mirror.nr_ranges, 1UL);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_always, 1U);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->calls), 1);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	hmm_mirror_range_unregister(range);
	hmmt_watch(f->hmm);
	hmm_mirror_unregister(&tm->mirror);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_is_freed()));
}

/* The waiter returns, and does not access the range again. */
static void unregister_with_waiter(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	struct test_thread *waiter, *other;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 0, P(10), P(20));
	hmmt_start(f, &update);
	waiter = hmmt_waiter(f, 0, range, FOREVER);
	other = hmmt_waiter(f, 1, &f->range[1], FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_until_it_sleeps(other);

	hmmt_expect_begin();
	hmm_mirror_range_unregister(range);
	hmmt_expect_end();
	hmmt_expect_warned(test, "while a thread waits for the range");
	memset(range, 0x5a, sizeof(*range));
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ESRCH);
	memset(range, 0, sizeof(*range));
	hmmt_until_it_sleeps(other);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(other), 0);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

static void use_after_unregister(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	hmm_mirror_range_unregister(range);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	f->fault.start = P(10);
	f->fault.end = P(20);
	f->fault.pfns = f->pfns;
	hmmt_expect_begin();
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), -ESRCH);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_wait_until_valid(range, 0));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, seq, &f->fault, FOREVER), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(range, seq, &f->fault), -EBUSY);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_next(range, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(range, &f->fault, 0, commit, test),
			-ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(15)), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15), &f->range[1]), -ESRCH);
	hmmt_expect_end();
	hmmt_expect_warned(test, "use of a range that is not registered");

	hmm_mirror_unregister(&f->tm[0].mirror);
	hmmt_expect_begin();
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_first(&f->tm[0].mirror, 0, ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(&f->tm[0].mirror, P(10), NULL));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_first(NULL, 0, ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(NULL, P(10), NULL));
	hmmt_expect_end();
	hmmt_expect_warned(test, "search for ranges of a mirror that is not registered");
}

/* commit() looks at no pfns of a fault with wrong bounds. */
static void commit_of_no_pages(struct kunit *test)
{
	static const unsigned long bounds[][2] = {
		{ P(10), P(10) }, { P(11), P(10) }, { P(10), P(10) + 1 }, { P(10) + 1, P(11) },
		{ P(10), 0 }, { P(10), ULONG_MAX },
	};
	struct test_fixture *f = test->priv;
	struct hmm_mirror_fault fault = { .start = P(10), .end = P(11) };
	unsigned long seq, pfn = ~0UL;
	unsigned int i;

	hmmt_mirror(f, 0);
	seq = hmmt_begin(f, hmmt_range(f, 0, 0, P(10), P(20)));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(&f->range[0], seq, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(&f->range[0], seq, &fault), -EINVAL);
	fault.pfns = &pfn;
	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		fault.start = bounds[i][0];
		fault.end = bounds[i][1];
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_commit(&f->range[0], seq, &fault), -EINVAL);
	}
}

static int hook_eio(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	return -EIO;
}

static int hook_one(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	return 1;
}

static int hook_always_eagain(struct test_mirror *tm,
			      const struct mmu_notifier_range *update)
{
	return -EAGAIN;
}

/* The core ignores the error, and calls the other mirrors: the mm cannot be stopped. */
static void wrong_errors(struct kunit *test)
{
	static const struct {
		int (*hook)(struct test_mirror *tm,
			    const struct mmu_notifier_range *update);
		bool blockable;
		const char *warning;
	} wrong[] = {
		{ hook_always_eagain, true, "returned -11 in a blockable invalidation" },
		{ hook_eio, true, "returned -5 in a blockable invalidation" },
		{ hook_eio, false, "returned -5 in a non-blockable invalidation" },
		{ hook_one, true, "returned 1 in a blockable invalidation" },
		{ hook_one, false, "returned 1 in a non-blockable invalidation" },
	};
	struct test_fixture *f = test->priv;
	unsigned int i, j;

	hmmt_two_pass(f, 1);
	for (i = 0; i < 3; i++)
		hmmt_mirror(f, i);
	hmmt_range(f, 0, 0, P(10), P(20));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
		int ret;

		if (!wrong[i].blockable)
			update = hmmt_update_nonblock(f, P(10), P(20));
		for (j = 0; j < 3; j++)
			atomic_set(&f->tm[j].calls, 0);
		for (j = 0; j < 2; j++)
			f->tm[j].hook = wrong[i].hook;
		hmmt_expect_begin();
		ret = hmmt_start(f, &update);
		hmmt_expect_end();
		hmmt_expect_warned(test, wrong[i].warning);
		KUNIT_EXPECT_EQ_MSG(test, ret, 0, "case %u", i);
		for (j = 0; j < 3; j++)
			KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[j].calls), 1);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&f->range[0]));
		hmmt_end(f, &update);
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[0]));
	}
	/* If sync_start() fails, sync_finish() is not called. */
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].finishes), 0);
}

static struct kunit_case hmm_mirror_misuse_cases[] = {
	KUNIT_CASE(mirror_arguments),
	KUNIT_CASE(mirror_of_dead_mm),
	KUNIT_CASE(range_arguments),
	KUNIT_CASE(fault_arguments),
	KUNIT_CASE(mirror_without_lock),
	KUNIT_CASE(mirror_with_lock_of_another),
	KUNIT_CASE(attach_is_killable),
	KUNIT_CASE(cancel_unregistered),
	KUNIT_CASE(register_twice),
	KUNIT_CASE(unregister_twice),
	KUNIT_CASE(unregister_with_waiter),
	KUNIT_CASE(use_after_unregister),
	KUNIT_CASE(commit_of_no_pages),
	KUNIT_CASE(wrong_errors),
	{}
};

struct kunit_suite hmm_mirror_misuse_suite = {
	.name = "hmm_mirror_misuse",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_misuse_cases,
};
