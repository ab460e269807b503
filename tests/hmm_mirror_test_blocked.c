// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: waits for a page or for the mmap lock that can take for ever. Such a
 * wait ends by a timeout, a cancel, a fatal signal, or when the process exits. And pages whose
 * neighbours change all the time.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "hmm_mirror_test.h"

/* Populate range 0 with the timeout of the thread. */
static int populates(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_populate(&f->range[0], &f->fault, thread->timeout_ms,
					 hmmt_commit, &f->tm[0]);
}

static int snapshots(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_snapshot(&f->range[0], thread->seq, &f->fault,
					 thread->timeout_ms);
}

static int faults(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_fault(&f->range[0], thread->seq, &f->fault, thread->timeout_ms);
}

static struct test_thread *populate_in_thread(struct test_fixture *f, unsigned int timeout_ms)
{
	f->thread[0].timeout_ms = timeout_ms;
	return hmmt_thread(f, 0, populates, NULL);
}

/* Map memory as range 0 whose first fault sleeps. */
static unsigned long blocked_mapped(struct test_fixture *f)
{
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	hmmt_slow.block = true;
	return addr;
}

/* Let thread 0 wait for a page. A reader thread of the core sleeps in the fault. */
static struct test_thread *blocked_thread(struct test_fixture *f, unsigned int timeout_ms)
{
	struct test_thread *thread = populate_in_thread(f, timeout_ms);

	KUNIT_EXPECT_TRUE(f->test, wait_for_completion_timeout(&hmmt_slow.at, hmmt_patience()));
	return thread;
}

/* The same without a timeout, with new memory. Store the mm_users from before in @mm_users. */
static struct test_thread *blocked_for_ever(struct test_fixture *f, int *mm_users)
{
	blocked_mapped(f);
	*mm_users = atomic_read(&f->mm->mm_users);
	return blocked_thread(f, FOREVER);
}

static unsigned int readers(struct test_fixture *f)
{
	unsigned int nr;

	spin_lock(&f->hmm->lock);
	nr = f->hmm->nr_readers;
	spin_unlock(&f->hmm->lock);
	return nr;
}

/* Expect that no reader is left, that all were killable, and that none holds mm_users. */
static void nothing_is_left(struct test_fixture *f, int mm_users)
{
	KUNIT_EXPECT_FALSE(f->test, hmmt_slow.held);
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(!readers(f)));
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(atomic_read(&f->mm->mm_users) == mm_users));
}

/* Expect that the reader thread, and the structure that it shares with its caller, are freed. */
static void reader_is_gone(struct test_fixture *f)
{
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(hmmt_is_freed()));
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(refcount_read(&hmmt_slow.task->usage) == 1));
}

/* Expect that @thread goes on waiting. */
static void expect_waiting(struct test_thread *thread)
{
	KUNIT_EXPECT_FALSE(thread->f->test,
			   wait_for_completion_timeout(&thread->done, msecs_to_jiffies(150)));
}

/* The page comes in time. */
static void page_comes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = blocked_mapped(f);
	int mm_users = atomic_read(&f->mm->mm_users);
	struct test_thread *thread = blocked_thread(f, FOREVER);
	unsigned int i;

	/* Only the reader holds mm_users; the caller that waits does not. */
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), mm_users + 1);
	KUNIT_EXPECT_EQ(test, readers(f), 1U);
	/* The list entry is the first member of struct reader. */
	hmmt_watch(f->hmm->readers.next);
	f->pfns[TEST_MAPPED] = 4711;
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_EQ(test, hmmt_device_peek(&f->tm[0], addr + P(i)), (int)'s');
	KUNIT_EXPECT_EQ(test, f->pfns[TEST_MAPPED], 4711UL);
	nothing_is_left(f, mm_users);
	reader_is_gone(f);
	hmmt_slow_unmapped(f);
}

static void page_times_out(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int mm_users;
	unsigned long since;

	blocked_mapped(f);
	mm_users = atomic_read(&f->mm->mm_users);
	since = jiffies;
	KUNIT_EXPECT_EQ(test, hmmt_join(blocked_thread(f, 500)), -ETIME);
	KUNIT_EXPECT_TRUE(test, jiffies - since >= msecs_to_jiffies(500));
	nothing_is_left(f, mm_users);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(refcount_read(&hmmt_slow.task->usage) == 1));
	hmmt_slow_unmapped(f);
}

/* A timeout of 0 starts no thread. Pages that can be read without a wait are read. */
static void page_without_waiting(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	blocked_mapped(f);
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, 0)), -ETIME);
	KUNIT_EXPECT_FALSE(test, hmmt_slow.dropped);
	/* The core cannot know that a fault of a file does not block. */
	hmmt_slow.block = false;
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, 0)), -ETIME);
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[0], 0U);
	nothing_is_left(f, atomic_read(&f->mm->mm_users));
	hmmt_slow_unmapped(f);
}

static void anonymous_without_waiting(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, 0)), 0);
	for (i = 0; i < TEST_MAPPED; i++)
		KUNIT_EXPECT_TRUE(test, f->tm[0].pte[i] & HMM_PFN_WRITE);
	/* If the range is clean, begin() reads only its state. */
	f->hmm->dead = true;
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, 0)), 0);
	f->hmm->dead = false;
	hmmt_unmapped(f);
}

/* A reader thread that ends wakes its caller, which otherwise checks only every 100 ms. */
static void wait_ends_at_once(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE), shortest = HZ;
	unsigned int i;

	vm_munmap(addr, PAGE_SIZE);
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	for (i = 0; i < 10; i++) {
		unsigned long seq = hmmt_begin(f, range), since = jiffies;

		KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, &f->fault, FOREVER),
				-EFAULT);
		shortest = min(shortest, jiffies - since);
	}
	/* The shortest time counts, because the machine may be busy. */
	KUNIT_EXPECT_LT(test, shortest, (unsigned long)max(HZ / 20, 2));
	hmmt_unmapped(f);
}

/* hmm_mirror_cancel() and hmm_mirror_unregister() wake the caller, too. */
static void cancel_ends_at_once(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = blocked_mapped(f), shortest[2] = { HZ, HZ };
	int mm_users = atomic_read(&f->mm->mm_users);
	struct hmm_mirror *mirror = &f->tm[0].mirror;
	unsigned int i, by;

	/* This mirror keeps the structure of the mm for the test. */
	hmmt_mirror(f, 1);
	for (i = 0; i < 10; i++) {
		struct test_thread *thread = blocked_thread(f, FOREVER);
		unsigned long since = jiffies;

		by = i % 2;
		if (by)
			hmm_mirror_unregister(mirror);
		else
			hmm_mirror_cancel(mirror);
		KUNIT_EXPECT_EQ(test, hmmt_join(thread), by ? -ESRCH : -ECANCELED);
		shortest[by] = min(shortest[by], jiffies - since);
		if (!by)
			hmm_mirror_unregister(mirror);
		hmm_mirror_range_unregister(&f->range[0]);
		nothing_is_left(f, mm_users);
		reinit_completion(&hmmt_slow.at);
		hmmt_mirror(f, 0);
		hmmt_range(f, 0, 0, addr, addr + P(TEST_MAPPED));
	}
	for (by = 0; by < 2; by++)
		KUNIT_EXPECT_LT(test, shortest[by], (unsigned long)max(HZ / 20, 2));
	hmmt_slow_unmapped(f);
}

/*
 *	caller				reader
 *
 *	starts the reader
 *	cancelled already: SIGKILL
 *					allows SIGKILL, too late
 *					sees that the caller has given up
 */
static void given_up_before_it_began(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int mm_users;
	unsigned int i;

	blocked_mapped(f);
	mm_users = atomic_read(&f->mm->mm_users);
	hmm_mirror_cancel(&f->tm[0].mirror);
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, FOREVER)), -ECANCELED);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/* A read that gives up returns the reason, even if the range was invalidated meanwhile. */
static void given_up_and_collided(struct kunit *test)
{
	static const int ends[] = { -ETIME, -EINTR, -ECANCELED, -ESRCH };
	struct test_fixture *f = test->priv;
	unsigned long addr = blocked_mapped(f);
	int mm_users = atomic_read(&f->mm->mm_users);
	struct test_thread *thread = &f->thread[0];
	unsigned int i;

	hmmt_mirror(f, 1);
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		thread->seq = hmmt_begin(f, &f->range[0]);
		/* With a longer timeout, the collision would end the wait. */
		thread->timeout_ms = ends[i] == -ETIME ? 50 : FOREVER;
		hmmt_thread(f, 0, faults, NULL);
		KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&hmmt_slow.at,
								    hmmt_patience()));
		hmmt_start_end(f, addr, addr + P(1));
		if (ends[i] == -EINTR)
			send_sig(SIGKILL, thread->task, 1);
		else if (ends[i] == -ECANCELED)
			hmm_mirror_cancel(&f->tm[0].mirror);
		else if (ends[i] == -ESRCH)
			hmm_mirror_unregister(&f->tm[0].mirror);
		KUNIT_EXPECT_EQ(test, hmmt_join(thread), ends[i]);
		nothing_is_left(f, mm_users);
		reinit_completion(&hmmt_slow.at);
		if (ends[i] == -ECANCELED) {
			hmm_mirror_range_unregister(&f->range[0]);
			hmm_mirror_unregister(&f->tm[0].mirror);
			hmmt_mirror(f, 0);
			hmmt_range(f, 0, 0, addr, addr + P(TEST_MAPPED));
		}
	}
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 0ULL);
	hmmt_slow_unmapped(f);
}

static void page_is_cancelled(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int mm_users;
	struct test_thread *thread = blocked_for_ever(f, &mm_users);

	hmm_mirror_cancel(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -ECANCELED);
	nothing_is_left(f, mm_users);

	/* From now on calls that would have to wait return -ECANCELED, others do not. */
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, FOREVER)), -ECANCELED);
	hmmt_slow.block = false;
	KUNIT_EXPECT_EQ(test, hmmt_peek(f->tm[0].base), (int)'s');
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, FOREVER)), 0);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/* A cancel affects only its mirror, not others of the mm, and ends with the registration. */
static void cancel_of_one_mirror(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;

	blocked_mapped(f);
	hmmt_mirror(f, 1);
	hmm_mirror_cancel(&f->tm[1].mirror);
	thread = blocked_thread(f, FOREVER);
	hmm_mirror_cancel(&f->tm[1].mirror);
	expect_waiting(thread);
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);

	hmm_mirror_unregister(&f->tm[1].mirror);
	hmmt_mirror(f, 1);
	KUNIT_EXPECT_FALSE(test, f->tm[1].mirror.cancelled);
	hmmt_slow_unmapped(f);
}

static void wait_is_cancelled(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct test_thread *cancelled, *other;
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(10), P(20));
	hmmt_start(f, &update);
	cancelled = hmmt_waiter(f, 0, range, FOREVER);
	other = hmmt_waiter(f, 1, &f->range[1], FOREVER);
	hmmt_until_it_sleeps(cancelled);
	hmmt_until_it_sleeps(other);

	hmm_mirror_cancel(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(cancelled), -ECANCELED);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), -ECANCELED);
	/* The cancel may have woken this thread, to check its mirror. */
	hmmt_until_it_sleeps(other);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(other), 0);
	/* A call that need not wait still succeeds. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
}

HMMT_LOCKED(wait_is_cancelled)

/* Collide always. */
static int commit_collides(struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault, void *arg)
{
	complete(arg);
	return -EBUSY;
}

static int collides(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	return hmm_mirror_range_populate(&f->range[0], &f->fault, FOREVER, commit_collides,
					 &f->at);
}

static void rounds_are_cancelled(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;

	hmmt_mapped(f, PROT_READ | PROT_WRITE);
	thread = hmmt_thread(f, 0, collides, NULL);
	hmmt_arrives(f);
	hmm_mirror_cancel(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -ECANCELED);
	hmmt_unmapped(f);
}

static void page_is_killed(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int mm_users;
	struct test_thread *thread = blocked_for_ever(f, &mm_users);

	send_sig(SIGKILL, thread->task, 1);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -EINTR);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

static void page_when_mirror_goes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;
	int mm_users;

	blocked_mapped(f);
	/* This mirror keeps the structure of the mm for the test. */
	hmmt_mirror(f, 1);
	mm_users = atomic_read(&f->mm->mm_users);
	thread = blocked_thread(f, FOREVER);
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -ESRCH);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/*
 *	process				driver
 *
 *					waits for a page of the process
 *	exits: only the wait holds
 *	  mm_users
 *					-ESRCH
 *	the mm is torn down
 *
 *	[the mm stays until the page comes: never]
 */
static void page_when_process_goes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;

	if (!hmmt_mm_is_own()) {
		hmmt_skip(test, "the mm belongs to the process that loads the module");
		return;
	}
	blocked_mapped(f);
	thread = blocked_thread(f, FOREVER);
	hmmt_mm_detach(f);
	hmmt_mm_die(f);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -ESRCH);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&f->tm[0].releases) == 1));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(!readers(f)));
	hmmt_slow_freed();
}

/* An invalidation during the wait for a page is a collision. */
static void page_collides(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long addr = blocked_mapped(f);
	struct test_thread *thread = blocked_thread(f, FOREVER);

	hmmt_start_end(f, addr, addr + P(1));
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 1ULL);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	hmmt_slow_unmapped(f);
}

/* A collision ends the wait for a page soon: what was read already is outdated. */
static void collision_ends_wait(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = blocked_mapped(f);
	int mm_users = atomic_read(&f->mm->mm_users);
	struct test_thread *thread = blocked_thread(f, FOREVER);

	hmmt_start_end(f, addr, addr + P(1));
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&hmmt_slow.at, hmmt_patience()));
	KUNIT_EXPECT_EQ(test, f->hmm->stats.collisions, 1ULL);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(readers(f) == 1));
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/*
 * If a page goes while the reader waits for another one, the reader waits for it again as it waits
 * for others: so that the fault can drop the mmap lock, and be killed.
 */
static void page_goes_meanwhile(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	int mm_users = atomic_read(&f->mm->mm_users);
	struct test_thread *thread;

	KUNIT_EXPECT_EQ(test, hmmt_peek(addr + P(1)), (int)'s');
	hmmt_slow.block = true;
	thread = blocked_thread(f, FOREVER);
	hmmt_slow_zap(1);
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[1], 1U);
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_EQ(test, hmmt_slow.faults[1], 2U);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/*
 * SIGKILL does not end a thread whose file system waits unkillably. The core starts no more than 16
 * of them for an mm; further callers wait until one has ended.
 */
static void threads_that_stay(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int mm_users;
	unsigned int i;

	blocked_mapped(f);
	hmmt_slow.unkillable = true;
	mm_users = atomic_read(&f->mm->mm_users);
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(populate_in_thread(f, 20)), -ETIME);
	KUNIT_EXPECT_EQ(test, readers(f), 16U);

	expect_waiting(populate_in_thread(f, FOREVER));
	KUNIT_EXPECT_EQ(test, readers(f), 16U);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), mm_users + 16);
	hmm_mirror_cancel(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), -ECANCELED);
	hmm_mirror_range_unregister(&f->range[0]);
	hmm_mirror_unregister(&f->tm[0].mirror);
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, f->tm[0].base, f->tm[0].base + P(TEST_MAPPED));

	expect_waiting(populate_in_thread(f, FOREVER));
	send_sig(SIGKILL, f->thread[0].task, 1);
	KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), -EINTR);

	expect_waiting(populate_in_thread(f, FOREVER));
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_given_up, 0U);
	nothing_is_left(f, mm_users);
	hmmt_slow_unmapped(f);
}

/* A wait for one page does not block faults of others of the same process and mirror. */
static void page_delays_no_other(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread;
	unsigned long addr, seq, pfn = 0;
	struct hmm_mirror_fault fault = { .pfns = &pfn, .default_flags = HMM_PFN_REQ_FAULT };

	blocked_mapped(f);
	thread = blocked_thread(f, FOREVER);
	addr = hmmt_map(0, 1, PROT_READ | PROT_WRITE);
	hmmt_range(f, 1, 0, addr, addr + P(1));
	fault.start = addr;
	fault.end = addr + P(1);
	seq = hmmt_begin(f, &f->range[1]);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(&f->range[1], seq, &fault, 0), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(addr, P(1)), 0);
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	hmmt_slow_unmapped(f);
}

/* A wait for the mmap lock ends as a wait for a page does. */
static void mmap_lock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_thread *thread = &f->thread[0];
	int mm_users;

	hmmt_poke(f, hmmt_mapped(f, PROT_READ | PROT_WRITE), 'x');
	mm_users = atomic_read(&f->mm->mm_users);
	thread->seq = hmmt_begin(f, &f->range[0]);
	mmap_write_lock(f->mm);

	thread->timeout_ms = 0;
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, snapshots, NULL)), -ETIME);
	thread->timeout_ms = 20;
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_thread(f, 0, snapshots, NULL)), -ETIME);
	nothing_is_left(f, mm_users);

	thread->timeout_ms = FOREVER;
	hmmt_thread(f, 0, snapshots, NULL);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(readers(f)));
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_TRUE(test, f->pfns[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_EQ(test, f->pfns[1], 0UL);

	mmap_write_lock(f->mm);
	hmmt_thread(f, 0, snapshots, NULL);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(readers(f)));
	hmm_mirror_cancel(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), -ECANCELED);
	mmap_write_unlock(f->mm);
	nothing_is_left(f, mm_users);
	hmmt_unmapped(f);
}

/* ------------------------------------------------- neighbours that change all the time */

/**
 * struct neighbour - invalidates each time that a fault is about to commit
 * @f: fixture of the test
 * @start: bounds of the invalidation
 * @end: bounds of the invalidation
 * @retry: the commit calls hmm_mirror_range_retry()
 * @resize: at one commit the range gets these bounds
 * @resize_at: number of that commit, the 5th if 0
 * @other: if not NULL, the range that gets them instead
 * @rest: number of commits with an invalidation; no limit if 0
 * @gone: at the 4th commit the mirror is unregistered
 * @dead: at the 4th commit the mm dies
 * @commits: number of commits
 * @strange: the driver could see the part, which is a range of the core
 */
struct neighbour {
	struct test_fixture *f;
	unsigned long start, end;
	bool retry;
	unsigned long resize[2];
	unsigned int resize_at;
	struct hmm_mirror_range *other;
	unsigned int rest;
	bool gone, dead;
	unsigned int commits;
	bool strange;
};

/* The range that lookup() may pass to get_nothing(), which never takes a reference. */
static const struct hmm_mirror_range *offered;
static bool other_was_offered;

static bool get_nothing(struct hmm_mirror_range *range)
{
	other_was_offered |= range != offered;
	return false;
}

static int neighbour_commit(struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault, void *arg)
{
	struct neighbour *n = arg;
	struct test_mirror *tm = &n->f->tm[0];
	struct hmm_mirror_range *each;
	int ret;

	n->commits++;
	if (n->start < n->end && (!n->rest || n->commits <= n->rest))
		hmmt_start_end(n->f, n->start, n->end);
	if (n->commits == (n->resize_at ?: 5) && n->resize[1])
		KUNIT_EXPECT_EQ(n->f->test, hmm_mirror_range_resize(n->other ?: range,
								    n->resize[0],
								    n->resize[1]), 0);
	if (n->commits == 4 && (n->gone || n->dead)) {
		if (n->gone)
			hmm_mirror_unregister(&tm->mirror);
		else
			hmmt_release(n->f);
		return -EBUSY;
	}
	hmm_mirror_for_each_range(each, &tm->mirror, 0, ULONG_MAX)
		n->strange |= each != range;
	n->strange |= range != &n->f->range[0] ||
		      hmm_mirror_range_lookup(&tm->mirror, fault->start, NULL) != range;
	offered = range;
	other_was_offered = false;
	n->strange |= hmm_mirror_range_lookup(&tm->mirror, fault->start, get_nothing) ||
		      other_was_offered;

	mutex_lock(&tm->lock);
	ret = n->retry ? (hmm_mirror_range_retry(range, seq) ? -EBUSY : 0) :
			 hmm_mirror_range_commit(range, seq, fault);
	mutex_unlock(&tm->lock);
	return ret;
}

/* Populate 2 pages, the first of which is test_thread.seq. */
static int populates_beside(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	hmmt_read(f, thread->seq, 2, HMM_PFN_REQ_FAULT);
	return hmm_mirror_range_populate(&f->range[0], &f->fault, thread->timeout_ms,
					 neighbour_commit, thread->arg);
}

static int populate_from(struct test_fixture *f, unsigned int page, struct neighbour *n,
			 unsigned int timeout_ms)
{
	f->thread[0].timeout_ms = timeout_ms;
	f->thread[0].seq = page;
	n->commits = 0;
	return hmmt_join(hmmt_thread(f, 0, populates_beside, n));
}

/* Populate pages 2 and 3. */
static int populate_beside(struct test_fixture *f, struct neighbour *n, unsigned int timeout_ms)
{
	return populate_from(f, 2, n, timeout_ms);
}

static void neighbour_changes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct neighbour n = { .f = f };

	/* below, and above */
	n.start = addr;
	n.end = addr + P(2);
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);
	n.start = addr + P(4);
	n.end = addr + P(5);
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_FALSE(test, n.strange);

	/* the pages themselves */
	n.start = addr + P(1);
	n.end = addr + P(3);
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 50), -ETIME);
	KUNIT_EXPECT_GT(test, n.commits, 6U);
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&f->hmm->parts.rb_root));
	KUNIT_EXPECT_EQ(test, f->hmm->nr_ranges, 1U);
	hmmt_unmapped(f);
}

/* With hmm_mirror_range_retry(), the whole range must not have been invalidated. */
static void neighbour_and_retry(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct neighbour n = { .f = f, .start = addr, .end = addr + P(1), .retry = true };

	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 50), -ETIME);
	n.end = n.start;
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 1U);

	/* After the first rounds, every other round uses the sequence of the whole range. */
	n.end = addr + P(1);
	n.rest = 5;
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 6U);
	hmmt_unmapped(f);
}

/* A part may have a bound of its range, also one at the end of all addresses. */
static void part_at_a_bound(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct neighbour n = { .f = f, .start = addr + P(5), .end = addr + P(6) };

	KUNIT_EXPECT_EQ(test, populate_from(f, 0, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);
	KUNIT_EXPECT_EQ(test, populate_from(f, TEST_MAPPED - 2, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr, ULONG_MAX), 0);
	KUNIT_EXPECT_EQ(test, populate_from(f, 0, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);
	KUNIT_EXPECT_FALSE(test, n.strange);
	hmmt_unmapped(f);
}

/* An orphan range has no part, and neither has a range of a dead mm. */
static void part_comes_too_late(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct neighbour n = { .f = f, .start = addr, .end = addr + P(1), .gone = true };

	/* This mirror keeps the structure of the mm for the test. */
	hmmt_mirror(f, 1);
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), -ESRCH);
	KUNIT_EXPECT_EQ(test, n.commits, 4U);
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&f->hmm->parts.rb_root));

	hmm_mirror_range_unregister(&f->range[0]);
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, addr, addr + P(TEST_MAPPED));
	n.gone = false;
	n.dead = true;
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), -ESRCH);
	KUNIT_EXPECT_EQ(test, n.commits, 4U);
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&f->hmm->parts.rb_root));
	hmmt_unmapped(f);
}

/* If the range shrinks while a part is read, no device PTE outside of it is installed. */
static void part_of_shrunk_range(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	static const unsigned int smaller[][2] = { { 4, 8 }, { 3, 8 }, { 0, 3 }, { 0, 2 } };
	struct neighbour n = { .f = f, .start = addr, .end = addr + P(1),
			       .resize = { addr + P(4), addr + P(8) } };
	unsigned int i;

	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), -EINVAL);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);

	/* Resize just before the first part, which then has one or both bounds outside. */
	n.resize_at = 4;
	for (i = 0; i < ARRAY_SIZE(smaller); i++) {
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr, addr + P(8)), 0);
		n.resize[0] = addr + P(smaller[i][0]);
		n.resize[1] = addr + P(smaller[i][1]);
		KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), -EINVAL);
		KUNIT_EXPECT_EQ(test, n.commits, 4U);
	}
	n.resize_at = 5;
	n.resize[1] = addr + P(8);

	/* If the range still contains the part, the resize is one more collision. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr, addr + P(8)), 0);
	n.resize[0] = addr + P(1);
	n.strange = false;
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_GT(test, n.commits, 5U);
	KUNIT_EXPECT_FALSE(test, n.strange);

	/* A resize of another range does not matter. */
	hmmt_mirror(f, 1);
	n.other = hmmt_range(f, 1, 1, addr, addr + P(8));
	n.start = addr + P(1);
	n.end = addr + P(2);
	KUNIT_EXPECT_EQ(test, populate_beside(f, &n, 5000), 0);
	KUNIT_EXPECT_EQ(test, n.commits, 5U);
	hmmt_unmapped(f);
}

struct shrink {
	struct mmu_notifier_range *update;
	unsigned int commits;
};

/* Collide until there is a part, and start an invalidation of its pages before that. */
static int part_commit(struct hmm_mirror_range *range, unsigned long seq,
		       const struct hmm_mirror_fault *fault, void *arg)
{
	struct test_fixture *f = container_of(range, struct test_fixture, range[0]);
	struct shrink *s = arg;

	if (++s->commits == 4)
		KUNIT_EXPECT_EQ(f->test, hmmt_start(f, s->update), 0);
	return s->commits > 4 ? hmm_mirror_range_commit(range, seq, fault) : -EBUSY;
}

/* Populate 2 pages, the first of which is test_thread.seq. */
static int populates_part(struct test_thread *thread)
{
	unsigned long start = thread->f->range[0].start + P(thread->seq);
	unsigned long pfns[2] = {};
	struct hmm_mirror_fault fault = {
		.start = start, .end = start + P(2), .pfns = pfns,
		.default_flags = HMM_PFN_REQ_FAULT,
	};

	return hmm_mirror_range_populate(&thread->f->range[0], &fault, thread->timeout_ms,
					 part_commit, thread->arg);
}

/* Let thread @i wait for a part of 2 pages, from @page on. */
static struct test_thread *part_waiter(struct test_fixture *f, unsigned int i, struct shrink *s,
				       unsigned long page)
{
	struct test_thread *thread;

	f->thread[i].timeout_ms = FOREVER;
	f->thread[i].seq = page;
	thread = hmmt_thread(f, i, populates_part, s);
	hmmt_until_it_sleeps(thread);
	return thread;
}

/*
 * A thread waits for a part. If a resize of the range leaves the invalidation in flight outside,
 * the thread does not wait for its end.
 */
static void part_is_left_outside(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct mmu_notifier_range update = hmmt_update(f, addr + P(2), addr + P(3));
	static const unsigned int bounds[][2] = { { 4, 8 }, { 3, 8 }, { 0, 2 }, { 0, 3 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		struct shrink s = { .update = &update };
		struct test_thread *thread;

		KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr, addr + P(8)), 0);
		thread = part_waiter(f, 0, &s, 2);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr + P(bounds[i][0]),
							      addr + P(bounds[i][1])), 0);
		/* The last bounds still contain page 2, which is invalidated, but not page 3. */
		KUNIT_EXPECT_TRUE(test, i == 3 || hmmt_poll(completion_done(&thread->done)));
		hmmt_end(f, &update);
		KUNIT_EXPECT_EQ(test, hmmt_join(thread), -EINVAL);
		KUNIT_EXPECT_EQ(test, s.commits, 4U);
		KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&f->hmm->parts.rb_root));
	}
	hmmt_unmapped(f);
}

/* Two threads wait for a part each. After @change both return @ret. */
static void two_parts(struct kunit *test, void (*change)(struct test_fixture *f), int ret)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	struct mmu_notifier_range update[] = {
		hmmt_update(f, addr + P(2), addr + P(3)), hmmt_update(f, addr + P(4), addr + P(5)),
	};
	struct shrink s[] = { { &update[0] }, { &update[1] } };
	unsigned int i;

	for (i = 0; i < 2; i++)
		part_waiter(f, i, &s[i], 2 + 2 * i);
	change(f);
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[i]), ret);
	for (i = 0; i < 2; i++)
		hmmt_end(f, &update[i]);
	hmmt_unmapped(f);
}

static void leave_outside(struct test_fixture *f)
{
	unsigned long addr = f->range[0].start;

	KUNIT_EXPECT_EQ(f->test, hmm_mirror_range_resize(&f->range[0], addr + P(6), addr + P(8)),
			0);
}

/* Each part that the resize leaves outside is taken out, not only the first one. */
static void parts_are_left_outside(struct kunit *test)
{
	two_parts(test, leave_outside, -EINVAL);
}

static void lose_mirror(struct test_fixture *f)
{
	hmm_mirror_unregister(&f->tm[0].mirror);
}

/* The threads that wait for parts return if their mirror is unregistered. */
static void parts_lose_their_mirror(struct kunit *test)
{
	/* This mirror keeps the structure of the mm, which has the slots of the invalidations. */
	hmmt_mirror(test->priv, 1);
	two_parts(test, lose_mirror, -ESRCH);
}

/*
 * A resize that leaves a part inside is one more collision, and the part still decides alone: an
 * invalidation of another page of the range is in flight. The part may have a bound of the range.
 */
static void part_stays_inside(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	static const unsigned int bounds[][3] = { { 2, 8, 5 }, { 0, 4, 0 }, { 1, 5, 1 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		struct mmu_notifier_range update = hmmt_update(f, addr + P(2), addr + P(3));
		struct mmu_notifier_range other = hmmt_update(f, addr + P(bounds[i][2]),
							      addr + P(bounds[i][2] + 1));
		struct shrink s = { .update = &update };

		KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr, addr + P(8)), 0);
		part_waiter(f, 0, &s, 2);
		hmmt_start(f, &other);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], addr + P(bounds[i][0]),
							      addr + P(bounds[i][1])), 0);
		hmmt_end(f, &update);
		KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), 0);
		KUNIT_EXPECT_EQ(test, s.commits, 5U);
		hmmt_end(f, &other);
	}
	hmmt_unmapped(f);
}

#ifndef MODULE
/* A sequence is that of a part of this range, whichever part of it comes first. */
static void sequence_of_part(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	const struct hmm_mirror_fault fault = { .start = P(12), .end = P(14) };
	struct hmm_mirror_part part[3] = {};
	unsigned long seq[3];
	unsigned int i;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(10), P(20));
	for (i = 0; i < 3; i++) {
		part[i].range.start = fault.start;
		part[i].range.end = fault.end;
		KUNIT_ASSERT_EQ(test, hmm_mirror_part_register(&part[i], &f->range[i == 2]), 0);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(&part[i].range, &seq[i], 0), 0);
	}
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, hmm_mirror_part_is_valid(&f->range[0], seq[i], &fault),
				i != 2);
		KUNIT_EXPECT_EQ(test, hmm_mirror_part_is_valid(&f->range[1], seq[i], &fault),
				i == 2);
	}
	/* Only the parts of its own ranges go with a mirror. */
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_part_is_valid(&f->range[0], seq[0], &fault));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_part_is_valid(&f->range[1], seq[2], &fault));
	for (i = 0; i < 3; i++)
		hmm_mirror_part_unregister(&part[i]);
}

/* Return the result of a commit of @nr pages from @first on, none of which is present. */
static int commit_pages(struct test_fixture *f, unsigned long seq, unsigned int first,
			unsigned int nr)
{
	unsigned long pfns[8] = {};
	const struct hmm_mirror_fault fault = {
		.start = P(first), .end = P(first + nr), .pfns = pfns,
	};

	return hmm_mirror_range_commit(&f->range[0], seq, &fault);
}

/*
 * One invalidation gives the same sequence to all parts that it hits:
 *
 *	populate of page 12		populate of pages 14, 15	mm side
 *
 *	part; begin			part; begin			(both parts are hit)
 *	reads				reads
 *									hits page 12
 *	commit: -EBUSY			commit: 0
 *
 * So the sequence of a valid part makes no other pages valid.
 */
static void parts_share_a_sequence(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_part part[2] = {
		{ .range.start = P(12), .range.end = P(13) },
		{ .range.start = P(14), .range.end = P(16) },
	};
	unsigned long seq[2], whole;
	unsigned int i;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_EQ(test, hmm_mirror_part_register(&part[i], &f->range[0]), 0);
	hmmt_start_end(f, P(11), P(19));
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(&part[i].range, &seq[i], 0), 0);
	KUNIT_EXPECT_EQ(test, seq[0], seq[1]);

	hmmt_start_end(f, P(12), P(13));
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[0], 12, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[1], 14, 2), 0);
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[1], 15, 1), 0);
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[1], 13, 2), -EBUSY);
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[1], 15, 2), -EBUSY);

	/* A resize gives the same sequence to the range and its parts. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[0], P(10), P(21)), 0);
	whole = hmmt_begin(f, &f->range[0]);
	hmmt_start_end(f, P(18), P(19));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(&part[1].range, &seq[1], 0), 0);
	KUNIT_EXPECT_EQ(test, seq[1], whole);
	KUNIT_EXPECT_EQ(test, commit_pages(f, whole, 17, 2), -EBUSY);
	KUNIT_EXPECT_EQ(test, commit_pages(f, seq[1], 14, 2), 0);
	for (i = 0; i < 2; i++)
		hmm_mirror_part_unregister(&part[i]);
}
#endif

/* populate() refuses bounds before it waits or registers a part. */
static void populate_of_no_pages(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	const unsigned long bounds[][2] = {
		{ addr, addr }, { addr + P(1), addr }, { addr, addr + 1 },
		{ addr + 1, addr + P(1) }, { addr, 0 }, { 0, 0 }, { addr, ULONG_MAX },
		{ ULONG_MAX, 0 },
	};
	struct mmu_notifier_range update = hmmt_update(f, addr, addr + P(1));
	struct neighbour n = { .f = f };
	unsigned int i;

	hmmt_start(f, &update);
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		f->fault.start = bounds[i][0];
		f->fault.end = bounds[i][1];
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_populate(&f->range[0], &f->fault, 0,
								neighbour_commit, &n), -EINVAL);
	}
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, n.commits, 0U);
	hmmt_unmapped(f);
}

static struct kunit_case hmm_mirror_blocked_cases[] = {
	KUNIT_CASE(page_comes),
	KUNIT_CASE(page_times_out),
	KUNIT_CASE(page_without_waiting),
	KUNIT_CASE(anonymous_without_waiting),
	KUNIT_CASE(wait_ends_at_once),
	KUNIT_CASE(cancel_ends_at_once),
	KUNIT_CASE(given_up_before_it_began),
	KUNIT_CASE(given_up_and_collided),
	KUNIT_CASE(page_is_cancelled),
	KUNIT_CASE(cancel_of_one_mirror),
	KUNIT_CASE(wait_is_cancelled),
	KUNIT_CASE(wait_is_cancelled_locked),
	KUNIT_CASE(rounds_are_cancelled),
	KUNIT_CASE(page_is_killed),
	KUNIT_CASE(page_when_mirror_goes),
	KUNIT_CASE(page_when_process_goes),
	KUNIT_CASE(page_collides),
	KUNIT_CASE(collision_ends_wait),
	KUNIT_CASE(page_goes_meanwhile),
	KUNIT_CASE(threads_that_stay),
	KUNIT_CASE(page_delays_no_other),
	KUNIT_CASE(mmap_lock),
	KUNIT_CASE(populate_of_no_pages),
	KUNIT_CASE(neighbour_changes),
	KUNIT_CASE(neighbour_and_retry),
	KUNIT_CASE(part_at_a_bound),
	KUNIT_CASE(part_comes_too_late),
	KUNIT_CASE(part_of_shrunk_range),
	KUNIT_CASE(part_is_left_outside),
	KUNIT_CASE(parts_are_left_outside),
	KUNIT_CASE(parts_lose_their_mirror),
	KUNIT_CASE(part_stays_inside),
#ifndef MODULE
	KUNIT_CASE(sequence_of_part),
	KUNIT_CASE(parts_share_a_sequence),
#endif
	{}
};

struct kunit_suite hmm_mirror_blocked_suite = {
	.name = "hmm_mirror_blocked",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_blocked_cases,
};
