// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: lockdep reports violations of the locking rules.
 *
 * After its first report lockdep turns itself off. A built-in test turns it on again; in a
 * module only the last test of the last suite provokes a report.
 */
#include <linux/debug_locks.h>
#include <linux/lockdep.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/stop_machine.h>
#include <linux/slab.h>

#include "hmm_mirror_test.h"

/* Define a case that is skipped, because it must be built in, with PROVE_LOCKING. */
#define NOT_HERE(name)							\
static void name(struct kunit *test)					\
{									\
	hmmt_skip(test, "lockdep cannot be turned on again here");	\
}

#ifdef CONFIG_LOCKDEP

/* A callback may invalidate, even its own mm. */
static int hook_invalidates(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	if (update->start != P(30))
		hmmt_start_end(tm->f, P(30), P(40));
	return 0;
}

/* Lockdep reports nothing that is allowed. */
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

	/* The driver lock is taken inside reclaim, hmm->lock inside the driver lock. */
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

#if defined(CONFIG_PROVE_LOCKING) && !defined(MODULE)

/* Rules about the driver lock that a test can break. */
enum rule { ALLOCATE, TOUCH_USER_MEMORY, READ_PAGES, WAIT, UNREGISTER, NR_RULES };
enum kind { MUTEX, SPINLOCK, RWSEM, NR_KINDS };

static const char *const rule_name[] = { "allocate", "user memory", "read", "wait",
					  "unregister" };
static const char *const kind_name[] = { "mutex", "spinlock", "rwsem" };

/* A driver lock. Each has its own lock class, because lockdep reports each mistake once. */
static struct driver_lock {
	enum rule rule;
	enum kind kind;
	struct mutex mutex;	/* used by kind */
	spinlock_t spinlock;	/* used by kind */
	struct rw_semaphore rwsem;
	bool breaks_rule;
} lock;

static void driver_lock(void)
{
	switch (lock.kind) {
	case MUTEX:
		mutex_lock(&lock.mutex);
		break;
	case SPINLOCK:
		spin_lock(&lock.spinlock);
		break;
	default:
		down_write(&lock.rwsem);
	}
}

static void driver_unlock(void)
{
	switch (lock.kind) {
	case MUTEX:
		mutex_unlock(&lock.mutex);
		break;
	case SPINLOCK:
		spin_unlock(&lock.spinlock);
		break;
	default:
		up_write(&lock.rwsem);
	}
}

/* lockdep sees a wait, but there is none. */
static struct hmm_mirror unregistered;

/* Break the rule. Do only the part that lockdep sees if the rest would sleep. */
static void break_rule(struct test_fixture *f)
{
	unsigned long seq;

	switch (lock.rule) {
	case ALLOCATE:
		might_alloc(GFP_KERNEL);		/* as kmalloc() does */
		break;
	case TOUCH_USER_MEMORY:
		might_lock_read(&f->mm->mmap_lock);	/* as get_user() does */
		break;
	case READ_PAGES:
		hmm_mirror_range_snapshot(&f->range[0], 0, &f->fault, 0);
		break;
	case WAIT:
		hmm_mirror_range_begin(&f->range[0], &seq, 1);
		break;
	default:
		hmm_mirror_unregister(&unregistered);	/* warns, too */
	}
}

static int hook_locks(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	driver_lock();
	if (lock.breaks_rule)
		break_rule(tm->f);
	driver_unlock();
	return 0;
}

struct provocation {
	struct test_fixture *f;
	void (*fn)(struct test_fixture *f);
	bool reported;
};

/*
 * While lockdep is off, it does not see which locks other threads take or drop. So no other
 * thread runs until it is on again.
 */
static int provoke_alone(void *arg)
{
	struct provocation *p = arg;

	preempt_disable();
	debug_locks_silent = 1;
	p->fn(p->f);
	debug_locks_silent = 0;
	p->reported = !debug_locks;
	lockdep_init_task(current);
	debug_locks = 1;
	preempt_enable();
	return 0;
}

/* Return true if lockdep reports @fn. The scheduler may warn about a sleep, too. */
static bool is_reported(struct test_fixture *f, void (*fn)(struct test_fixture *f))
{
	struct provocation p = { .f = f, .fn = fn };

	hmmt_expect_begin();
	stop_machine(provoke_alone, &p, NULL);
	hmmt_expect_end();
	return p.reported;
}

static void in_commit(struct test_fixture *f)
{
	driver_lock();
	break_rule(f);
	driver_unlock();
}

static void in_callback(struct test_fixture *f)
{
	lock.breaks_rule = true;
	hmmt_start_end(f, P(5), P(10));		/* another address: the range stays valid */
	lock.breaks_rule = false;
}

/* Break each rule in @provoke, under each kind of lock that a callback has taken before. */
static void rules(struct kunit *test, void (*provoke)(struct test_fixture *f),
		  struct lock_class_key keys[NR_RULES][NR_KINDS])
{
	struct test_fixture *f = test->priv;

	if (!debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	hmmt_mirror(f, 0)->hook = hook_locks;
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_read(f, 0, 1, 0);
	for (lock.rule = 0; lock.rule < NR_RULES; lock.rule++) {
		for (lock.kind = 0; lock.kind < NR_KINDS; lock.kind++) {
			struct lock_class_key *key = &keys[lock.rule][lock.kind];

			mutex_init(&lock.mutex);
			lockdep_set_class(&lock.mutex, key);
			spin_lock_init(&lock.spinlock);
			lockdep_set_class(&lock.spinlock, key);
			init_rwsem(&lock.rwsem);
			lockdep_set_class(&lock.rwsem, key);

			hmmt_start_end(f, P(10), P(20));
			hmmt_begin(f, &f->range[0]);	/* the next begin() does not wait */
			KUNIT_ASSERT_TRUE(test, debug_locks);
			KUNIT_EXPECT_TRUE_MSG(test, is_reported(f, provoke), "%s under a %s",
					      rule_name[lock.rule], kind_name[lock.kind]);
		}
	}
}

static void rules_in_commit(struct kunit *test)
{
	static struct lock_class_key keys[NR_RULES][NR_KINDS];

	rules(test, in_commit, keys);
}

static void rules_in_callback(struct kunit *test)
{
	static struct lock_class_key keys[NR_RULES][NR_KINDS];

	rules(test, in_callback, keys);
}

/* Under a lock that no callback takes, all of that is allowed. */
static void rules_without_callback(struct kunit *test)
{
	static struct lock_class_key key;
	struct test_fixture *f = test->priv;
	unsigned long seq;

	if (!debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start_end(f, P(10), P(20));
	mutex_init(&lock.mutex);
	lockdep_set_class(&lock.mutex, &key);
	mutex_lock(&lock.mutex);
	kfree(kmalloc(PAGE_SIZE, GFP_KERNEL));
	might_lock_read(&f->mm->mmap_lock);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(&f->range[0], &seq, 1), 0);
	hmm_mirror_unregister(&f->tm[1].mirror);
	mutex_unlock(&lock.mutex);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Pretend to be in an interrupt. That cannot deadlock, because no thread holds the lock. */
static void provoke_in_interrupt(struct test_fixture *f)
{
	unsigned long seq;

	preempt_count_add(HARDIRQ_OFFSET);
	lockdep_hardirq_enter();
	hmm_mirror_range_begin(&f->range[0], &seq, 0);
	lockdep_hardirq_exit();
	preempt_count_sub(HARDIRQ_OFFSET);
}

/* hmm->lock is not irq-safe. This case is late, because its report disables the lock class. */
static void from_interrupt(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	if (!debug_locks) {
		hmmt_skip(test, "lockdep is off");
		return;
	}
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start_end(f, P(10), P(20));	/* begin() now needs the lock */
	KUNIT_EXPECT_TRUE(test, is_reported(f, provoke_in_interrupt));
}

#else

NOT_HERE(rules_in_commit)
NOT_HERE(rules_in_callback)
NOT_HERE(rules_without_callback)
NOT_HERE(from_interrupt)

#endif

/*
 *	lock(driver)
 *	begin: waits for the end
 *				callback: waits for the lock
 *
 * Lockdep reports this although nothing is in flight.
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

NOT_HERE(rules_in_commit)
NOT_HERE(rules_in_callback)
NOT_HERE(rules_without_callback)
NOT_HERE(from_interrupt)

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
	KUNIT_CASE(rules_in_commit),
	KUNIT_CASE(rules_in_callback),
	KUNIT_CASE(rules_without_callback),
	KUNIT_CASE(from_interrupt),
	KUNIT_CASE(wait_under_driver_lock),
	{}
};

struct kunit_suite hmm_mirror_lockdep_suite = {
	.name = "hmm_mirror_lockdep",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_lockdep_cases,
};
