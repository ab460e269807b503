// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: threads change a page table made of numbers, as the mm does, and
 * other threads copy it, as drivers do. No copy may be stale, and no thread may hang.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "hmm_mirror_test.h"

/* Timeout for threads with much work. */
#define LONG		(12 * hmmt_patience())

#define NR_CHANGES	250
#define NR_CHANGERS	2
#define NR_FAULTERS	2
#define FIRST_FAULTER	NR_CHANGERS
#define CHURNER		(FIRST_FAULTER + NR_FAULTERS)

/* Mirror 0 is called for all invalidations, mirror 1 only for those that hit its ranges. */
#define NR_MIRRORS	2

struct storm {
	struct test_fixture *f;
	atomic_long_t cpu_pte[TEST_PAGES];
	bool over;
	atomic_t commits[NR_MIRRORS];
	atomic_t collisions;
	/* lets changes and copies alternate */
	atomic_t changes;
	atomic_t copies[NR_MIRRORS];
	atomic_t wanted[NR_MIRRORS];
	wait_queue_head_t wq;
};

static void random_pages(struct rnd_state *rnd, unsigned int *first, unsigned int *nr)
{
	*first = prandom_u32_state(rnd) % TEST_PAGES;
	*nr = 1 + prandom_u32_state(rnd) % 8;
	*nr = min(*nr, TEST_PAGES - *first);
}

static void expect_no_copies(struct storm *storm, unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < NR_MIRRORS; i++) {
		struct test_mirror *tm = &storm->f->tm[i];
		bool stale;

		mutex_lock(&tm->lock);
		stale = hmmt_has_ptes(tm, P(first), P(first + nr));
		mutex_unlock(&tm->lock);
		KUNIT_EXPECT_FALSE(storm->f->test, stale);
	}
}

/* Change some entries. A quarter is non-blockable, and fails if a driver lock is held. */
static void change(struct storm *storm, struct rnd_state *rnd, unsigned int depth)
{
	struct mmu_notifier_range update;
	unsigned int first, nr, i;

	random_pages(rnd, &first, &nr);
	if (prandom_u32_state(rnd) % 4)
		update = hmmt_update(storm->f, P(first), P(first + nr));
	else
		update = hmmt_update_nonblock(storm->f, P(first), P(first + nr));
	if (hmmt_start(storm->f, &update))
		return;

	expect_no_copies(storm, first, nr);
	for (i = first; i < first + nr; i++)
		atomic_long_inc(&storm->cpu_pte[i]);
	if (depth && !(prandom_u32_state(rnd) % 4))
		change(storm, rnd, depth - 1);
	expect_no_copies(storm, first, nr);
	hmmt_end(storm->f, &update);
}

static void seed_by_thread(struct test_thread *thread, struct rnd_state *rnd)
{
	prandom_seed_state(rnd, 4711 + (thread - thread->f->thread));
}

/* Wait until @mirror has copied: between two changes there is a copy. */
static bool until_copied(struct storm *storm, unsigned int mirror)
{
	int before = atomic_read(&storm->copies[mirror]);

	atomic_inc(&storm->changes);
	atomic_set(&storm->wanted[mirror], true);
	wake_up_all(&storm->wq);
	return wait_event_timeout(storm->wq,
				  atomic_read(&storm->copies[mirror]) != before,
				  hmmt_patience());
}

/* Wait until there was a change, or a change waits for a copy of @mirror. */
static void until_changed(struct storm *storm, unsigned int mirror, int before)
{
	atomic_inc(&storm->copies[mirror]);
	atomic_set(&storm->wanted[mirror], false);
	wake_up_all(&storm->wq);
	wait_event(storm->wq, atomic_read(&storm->changes) != before ||
		   atomic_read(&storm->wanted[mirror]) || READ_ONCE(storm->over));
}

static int changes(struct test_thread *thread)
{
	struct storm *storm = thread->arg;
	struct rnd_state rnd;
	unsigned int i;

	seed_by_thread(thread, &rnd);
	for (i = 0; i < NR_CHANGES; i++) {
		change(storm, &rnd, 2);
		if (!until_copied(storm, i % NR_MIRRORS))
			return -ETIME;
	}
	return 0;
}

/* Copy a range. If retry() is false, the copy must equal the page table. */
static int copy(struct storm *storm, struct test_mirror *tm,
		struct hmm_mirror_range *range)
{
	unsigned int first = range->start >> PAGE_SHIFT, i;
	unsigned int nr = (range->end - range->start) >> PAGE_SHIFT;
	unsigned int mirror = tm - storm->f->tm;
	unsigned long seq, read[TEST_PAGES];
	int before = atomic_read(&storm->changes);
	bool stale = false;
	int ret;

	ret = hmm_mirror_range_begin(range, &seq, HMM_MIRROR_WAIT_FOREVER);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++)
		read[i] = atomic_long_read(&storm->cpu_pte[first + i]);
	until_changed(storm, mirror, before);

	mutex_lock(&tm->lock);
	if (hmm_mirror_range_retry(range, seq)) {
		mutex_unlock(&tm->lock);
		atomic_inc(&storm->collisions);
		return 0;
	}
	for (i = 0; i < nr; i++) {
		stale |= read[i] != atomic_long_read(&storm->cpu_pte[first + i]);
		tm->pte[first + i] = read[i];
	}
	mutex_unlock(&tm->lock);
	KUNIT_EXPECT_FALSE(storm->f->test, stale);
	atomic_inc(&storm->commits[mirror]);
	return 0;
}

/* Several threads copy the same ranges. */
static int faults(struct test_thread *thread)
{
	struct storm *storm = thread->arg;
	struct test_fixture *f = storm->f;
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && !READ_ONCE(storm->over); i++) {
		ret = copy(storm, &f->tm[0], &f->range[i % 4]);
		cond_resched();
	}
	return ret;
}

/* Register and unregister ranges, with their device PTEs. */
static int churns(struct test_thread *thread)
{
	struct storm *storm = thread->arg;
	struct test_mirror *tm = &storm->f->tm[1];
	struct hmm_mirror_range range;
	struct rnd_state rnd;
	unsigned int first, nr, i;
	int ret = 0;

	seed_by_thread(thread, &rnd);
	while (!ret && !READ_ONCE(storm->over)) {
		random_pages(&rnd, &first, &nr);
		range.start = P(first);
		range.end = P(first + nr);
		ret = hmm_mirror_range_register(&range, &tm->mirror);
		if (ret)
			break;
		for (i = 0; !ret && i < 3; i++)
			ret = copy(storm, tm, &range);

		mutex_lock(&tm->lock);
		for (i = first; i < first + nr; i++)
			tm->pte[i] = 0;
		hmm_mirror_range_unregister(&range);
		mutex_unlock(&tm->lock);
		cond_resched();
	}
	return ret;
}

static void storm(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct storm *storm = kunit_kzalloc(test, sizeof(*storm), GFP_KERNEL);
	struct test_thread *thread[CHURNER + 1];
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, storm);
	storm->f = f;
	init_waitqueue_head(&storm->wq);
	for (i = 0; i < TEST_PAGES; i++)
		atomic_long_set(&storm->cpu_pte[i], 1);
	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	for (i = 0; i < NR_MIRRORS; i++)
		hmmt_mirror(f, i);
	/*
	 * 0		|--------|
	 * 1		     |--------|
	 * 2			      |--|
	 * 3	|--------------------------------------|
	 */
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 0, P(15), P(25));
	hmmt_range(f, 2, 0, P(25), P(28));
	hmmt_range(f, 3, 0, P(0), P(TEST_PAGES));

	for (i = 0; i < NR_CHANGERS; i++)
		thread[i] = hmmt_thread(f, i, changes, storm);
	for (i = 0; i < NR_FAULTERS; i++)
		thread[FIRST_FAULTER + i] = hmmt_thread(f, FIRST_FAULTER + i, faults, storm);
	thread[CHURNER] = hmmt_thread(f, CHURNER, churns, storm);

	for (i = 0; i < NR_CHANGERS; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join_after(thread[i], LONG), 0);
	WRITE_ONCE(storm->over, true);
	wake_up_all(&storm->wq);
	for (; i <= CHURNER; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(thread[i]), 0);

	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 4U);
	for (i = 0; i < NR_MIRRORS; i++)
		KUNIT_EXPECT_GT(test, atomic_read(&storm->commits[i]), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&storm->collisions), 0);
	kunit_info(test, "%d and %d commits, %d collisions\n",
		   atomic_read(&storm->commits[0]), atomic_read(&storm->commits[1]),
		   atomic_read(&storm->collisions));
}

/* ---------------------------------------------------------------- without pause */

/*
 * No thread waits for another, and the threads do little more than race. So a tool that samples
 * accesses, like KCSAN, often samples these.
 */
#define NR_FAST		20000

static int changes_fast(struct test_thread *thread)
{
	struct storm *storm = thread->arg;
	struct mmu_notifier_range update = hmmt_update(storm->f, P(1), P(2));
	unsigned long enough = jiffies + LONG / 4;
	unsigned int i;

	for (i = 0; i < NR_FAST && time_before(jiffies, enough); i++) {
		if (hmmt_start(storm->f, &update))
			return -EIO;
		atomic_long_inc(&storm->cpu_pte[1]);
		hmmt_end(storm->f, &update);
		cond_resched();
	}
	return 0;
}

static int copies_fast(struct test_thread *thread)
{
	struct storm *storm = thread->arg;
	struct test_mirror *tm = &storm->f->tm[0];
	struct hmm_mirror_range *range = &storm->f->range[0];
	bool stale = false;

	while (!READ_ONCE(storm->over)) {
		unsigned long seq, read;
		int ret = hmm_mirror_range_begin(range, &seq, 0);

		cond_resched();
		if (ret == -ETIME)
			continue;
		if (ret)
			return ret;
		read = atomic_long_read(&storm->cpu_pte[1]);
		mutex_lock(&tm->lock);
		if (!hmm_mirror_range_retry(range, seq)) {
			stale |= read != atomic_long_read(&storm->cpu_pte[1]);
			atomic_inc(&storm->commits[0]);
		}
		mutex_unlock(&tm->lock);
	}
	KUNIT_EXPECT_FALSE(storm->f->test, stale);
	return 0;
}

static void storm_without_pause(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct storm *storm = kunit_kzalloc(test, sizeof(*storm), GFP_KERNEL);
	struct test_thread *changer, *copier[NR_FAULTERS];
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, storm);
	storm->f = f;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(0), P(4));
	for (i = 0; i < NR_FAULTERS; i++)
		copier[i] = hmmt_thread(f, 1 + i, copies_fast, storm);
	changer = hmmt_thread(f, 0, changes_fast, storm);
	KUNIT_EXPECT_EQ(test, hmmt_join_after(changer, LONG), 0);
	/* After the last change, a commit succeeds. */
	KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&storm->commits[0]) > 0));
	WRITE_ONCE(storm->over, true);
	for (i = 0; i < NR_FAULTERS; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(copier[i]), 0);
	kunit_info(test, "%d commits\n", atomic_read(&storm->commits[0]));
}

/* ------------------------------------------------------------- with real memory */

#define NR_MAPS		300
#define PROCESS		0
#define MAPS_CHURNER	(FIRST_FAULTER + NR_FAULTERS)

struct maps {
	unsigned long addr;
	bool over;
	atomic_t busy;		/* threads in a callback of mirror 1 */
	atomic_t faults;
};

/* Unmap and map pages. An unmapped page must have no device PTE. */
static int maps_and_unmaps(struct test_thread *thread)
{
	struct maps *maps = thread->arg;
	struct test_fixture *f = thread->f;
	struct test_mirror *tm = &f->tm[0];
	unsigned int i;

	kthread_use_mm(f->mm);
	for (i = 0; i < NR_MAPS; i++) {
		unsigned int page = i % TEST_MAPPED;
		unsigned long addr = maps->addr + P(page);
		bool stale;

		vm_munmap(addr, PAGE_SIZE);
		mutex_lock(&tm->lock);
		stale = tm->pte[page];
		mutex_unlock(&tm->lock);
		KUNIT_EXPECT_FALSE(f->test, stale);
		KUNIT_EXPECT_EQ(f->test, hmmt_map(addr, 1, PROT_READ | PROT_WRITE), addr);
		hmmt_poke(f, addr, 'a' + page);
		cond_resched();
	}
	kthread_unuse_mm(f->mm);
	return 0;
}

/* Fault pages. A device PTE must map the right page, which may not be written yet. */
static int faults_maps(struct test_thread *thread)
{
	struct maps *maps = thread->arg;
	struct test_fixture *f = thread->f;
	struct test_mirror *tm = &f->tm[0];
	unsigned int page = 0;
	int ret = 0;

	while (!READ_ONCE(maps->over)) {
		unsigned long pfn, addr = maps->addr + P(page);
		struct hmm_mirror_fault fault = {
			.start = addr,
			.end = addr + PAGE_SIZE,
			.pfns = &pfn,
			.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		};
		u8 *byte;

		ret = hmm_mirror_range_populate(&f->range[0], &fault,
						HMM_MIRROR_WAIT_FOREVER, hmmt_commit, tm);
		if (ret && ret != -EFAULT)
			return ret;

		mutex_lock(&tm->lock);
		byte = hmmt_device(tm, addr);
		if (byte && *byte && *byte != 'a' + page)
			ret = -EIO;
		mutex_unlock(&tm->lock);
		if (ret == -EIO)
			return ret;
		atomic_inc(&maps->faults);
		page = (page + 1) % TEST_MAPPED;
		cond_resched();
	}
	return 0;
}

static int hook_busy(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	struct maps *maps = tm->f->thread[MAPS_CHURNER].arg;

	atomic_inc(&maps->busy);
	cond_resched();
	atomic_dec(&maps->busy);
	return 0;
}

/* Register and unregister a mirror. No callback may run while it is unregistered. */
static int churns_mirrors(struct test_thread *thread)
{
	struct maps *maps = thread->arg;
	struct test_fixture *f = thread->f;
	struct test_mirror *tm = &f->tm[1];

	while (!READ_ONCE(maps->over)) {
		int ret, calls;

		ret = hmm_mirror_attach(&tm->mirror, f->mm);
		if (ret)
			return ret;
		cond_resched();
		hmm_mirror_unregister(&tm->mirror);
		KUNIT_EXPECT_EQ(f->test, atomic_read(&maps->busy), 0);
		calls = atomic_read(&tm->calls);
		cond_resched();
		KUNIT_EXPECT_EQ(f->test, atomic_read(&tm->calls), calls);
	}
	return 0;
}

static void storm_of_maps(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct maps *maps = kunit_kzalloc(test, sizeof(*maps), GFP_KERNEL);
	struct test_thread *thread[MAPS_CHURNER + 1];
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, maps);
	maps->addr = hmmt_mapped(f, PROT_READ | PROT_WRITE);
	hmmt_mm_detach(f);
	hmmt_mirror(f, 1);
	hmm_mirror_unregister(&f->tm[1].mirror);
	f->tm[1].hook = hook_busy;

	for (i = 0; i < NR_FAULTERS; i++)
		thread[FIRST_FAULTER + i] = hmmt_thread(f, FIRST_FAULTER + i, faults_maps,
							maps);
	thread[MAPS_CHURNER] = hmmt_thread(f, MAPS_CHURNER, churns_mirrors, maps);
	thread[PROCESS] = hmmt_thread(f, PROCESS, maps_and_unmaps, maps);
	KUNIT_EXPECT_EQ(test, hmmt_join_after(thread[PROCESS], LONG), 0);
	WRITE_ONCE(maps->over, true);
	for (i = FIRST_FAULTER; i <= MAPS_CHURNER; i++)
		KUNIT_EXPECT_EQ(test, hmmt_join(thread[i]), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&maps->faults), 0);
	kunit_info(test, "%d faults\n", atomic_read(&maps->faults));
	hmmt_mm_attach(f);
	hmmt_unmapped(f);
}

static struct kunit_case hmm_mirror_threads_cases[] = {
	KUNIT_CASE(storm),
	KUNIT_CASE(storm_without_pause),
	KUNIT_CASE(storm_of_maps),
	{}
};

struct kunit_suite hmm_mirror_threads_suite = {
	.name = "hmm_mirror_threads",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_threads_cases,
};
