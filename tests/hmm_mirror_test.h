/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: KUnit tests: declarations for all suites.
 *
 * A test of the logic has an unused address space of its own, and calls the mmu notifier
 * operations of the core itself, so it controls their order. A test of the mm maps memory
 * there, and the kernel calls the operations.
 *
 * Global names begin with hmmt_, because the tests can be built into a kernel.
 */
#ifndef HMM_MIRROR_TEST_H
#define HMM_MIRROR_TEST_H

#include <kunit/test.h>
#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/prandom.h>
#include <linux/sched.h>

#include "internal.h"

#define P(n)		((unsigned long)(n) << PAGE_SHIFT)
#define TO_THE_END	(ULONG_MAX & PAGE_MASK)
#define FOREVER		HMM_MIRROR_WAIT_FOREVER

/* More mirrors than can overlap their passes in an invalidation. */
#define TEST_MIRRORS	12
#define TEST_RANGES	32
#define TEST_THREADS	6
/* Number of pages for which a mirror can have device PTEs. */
#define TEST_PAGES	64
#define TEST_TRACE	64

struct test_fixture;

/**
 * struct test_mirror - a driver
 * @mirror: registered by the test
 * @ops: its operations; changed by the test before registration
 * @f: fixture of the test
 * @lock: the driver lock
 * @base: address of the first device PTE
 * @pte: device page table; 0 is no PTE
 * @hook: called at the beginning of a callback, without the lock; if it does not return
 *	0, the callback returns that value
 * @release_hook: called at the beginning of release(), without the lock
 * @calls: number of calls of sync_cpu_device_pagetables() or sync_start()
 * @finishes: number of calls of sync_finish()
 * @releases: number of calls of release()
 * @start: bounds of the last update
 * @end: bounds of the last update
 * @caller: thread of the last call
 */
struct test_mirror {
	struct hmm_mirror mirror;
	struct hmm_mirror_ops ops;
	struct test_fixture *f;
	struct mutex lock;	/* driver lock */
	unsigned long base;
	unsigned long pte[TEST_PAGES];
	int (*hook)(struct test_mirror *tm, const struct mmu_notifier_range *update);
	void (*release_hook)(struct test_mirror *tm);
	atomic_t calls;
	atomic_t finishes;
	atomic_t releases;
	unsigned long start, end;
	struct task_struct *caller;
};

/* An additional thread. */
struct test_thread {
	struct test_fixture *f;
	struct task_struct *task;
	struct completion done;
	int (*fn)(struct test_thread *thread);
	int ret;
	/* arguments and results of fn */
	struct hmm_mirror_range *range;
	unsigned int timeout_ms;
	unsigned long seq;
	unsigned long nvcsw;		/* context switches before the wait */
	void *arg;
};

struct test_fixture {
	struct kunit *test;
	struct mm_struct *mm;		/* mm_users is held */
	bool attached;
	bool crowded;			/* invalidations get locked slots */
	struct hmm_mirror_mm *hmm;	/* that of the mirror registered last */
	struct test_mirror tm[TEST_MIRRORS];
	struct hmm_mirror_range range[TEST_RANGES];
	struct test_thread thread[TEST_THREADS];
	struct completion at, go;	/* a hook has been called; it may return */
	struct hmm_mirror_fault fault;
	unsigned long pfns[TEST_PAGES];
	void *guarded;			/* allocated by hmmt_before_hole() */
	char trace[TEST_TRACE];
	unsigned int traced;
};

/* Return true if the kernel has warned, or has detected a sleep in atomic context. */
static inline bool hmmt_tainted(void)
{
	return test_taint(TAINT_WARN);
}

/*
 * Call these before and after code that makes the kernel warn on purpose. If the test is built
 * in, hmmt_expect_begin() re-enables warnings that are printed once.
 */
void hmmt_expect_begin(void);
void hmmt_expect_end(void);
void hmmt_expect_warned(struct kunit *test, const char *text);

/* Observe which objects the core frees. Needs a built-in test and tracepoints. */
bool hmmt_sees_frees(void);
void hmmt_watch(const void *object);
bool hmmt_is_freed(void);
void hmmt_count_frees(size_t size);
unsigned int hmmt_counted_frees(void);

/* For random sequences of steps. */
unsigned long hmmt_steps(void);
void hmmt_seed(struct kunit *test, struct rnd_state *rnd);
unsigned long hmmt_random_address(struct rnd_state *rnd);

/* Timeout for events that must happen, in jiffies. */
unsigned long hmmt_patience(void);

/*
 * Skip a test that this kernel cannot run. The caller must return: only kunit_skip(), which
 * exists since 5.14, does not return.
 */
#ifdef kunit_skip
#define hmmt_skip(test, why)	kunit_skip(test, "%s", why)
#else
#define hmmt_skip(test, why)	kunit_info(test, "skipped: %s", why)
#endif

int hmmt_init(struct kunit *test);
void hmmt_exit(struct kunit *test);

bool hmmt_mm_is_own(void);
void hmmt_mark_reaped(struct mm_struct *mm);
void hmmt_mm_attach(struct test_fixture *f);
void hmmt_mm_detach(struct test_fixture *f);
void hmmt_mm_die(struct test_fixture *f);

/* ------------------------------------------------------------------- mirrors */

struct test_mirror *hmmt_mirror(struct test_fixture *f, unsigned int i);
void hmmt_two_pass(struct test_fixture *f, unsigned int i);
struct hmm_mirror_range *hmmt_range(struct test_fixture *f, unsigned int i,
				    unsigned int mirror, unsigned long start,
				    unsigned long end);
int hmmt_hook_pause(struct test_mirror *tm, const struct mmu_notifier_range *update);
int hmmt_hook_eagain(struct test_mirror *tm, const struct mmu_notifier_range *update);
void hmmt_arrives(struct test_fixture *f);

/* ---------------------------------------------------------------------- mm side */

#define hmmt_update(f, s, e) ((struct mmu_notifier_range) {		\
	.mm = (f)->mm, .start = (s), .end = (e),			\
	.event = MMU_NOTIFY_UNMAP, .flags = MMU_NOTIFIER_RANGE_BLOCKABLE })

#define hmmt_update_nonblock(f, s, e) ((struct mmu_notifier_range) {	\
	.mm = (f)->mm, .start = (s), .end = (e), .event = MMU_NOTIFY_UNMAP })

int hmmt_start_only(struct test_fixture *f, const struct mmu_notifier_range *update);
int hmmt_start(struct test_fixture *f, const struct mmu_notifier_range *update);
void hmmt_end(struct test_fixture *f, const struct mmu_notifier_range *update);
void hmmt_start_end(struct test_fixture *f, unsigned long start, unsigned long end);
void hmmt_release(struct test_fixture *f);
/* Number of slots before the worker makes more. */
#define HMMT_SLOTS	((unsigned int)(HMM_MIRROR_HASHED + HMM_MIRROR_LOCKED))

unsigned int hmmt_in_flight(struct test_fixture *f);
void hmmt_make_no_slots(struct test_fixture *f);
unsigned int hmmt_users(struct test_fixture *f);

/* ------------------------------------------------------------------- fault side */

bool hmmt_is_valid(struct hmm_mirror_range *range);
unsigned long hmmt_begin(struct test_fixture *f, struct hmm_mirror_range *range);
int hmmt_commit_fake(struct test_mirror *tm, struct hmm_mirror_range *range,
		     unsigned long seq);
bool hmmt_has_ptes(struct test_mirror *tm, unsigned long start, unsigned long end);
int hmmt_commit(struct hmm_mirror_range *range, unsigned long seq,
		const struct hmm_mirror_fault *fault, void *arg);

/* -------------------------------------------------------------------- memory */

void *hmmt_before_hole(struct test_fixture *f, size_t size);

#define TEST_MAPPED	8

unsigned long hmmt_map(unsigned long addr, unsigned long pages, unsigned long prot);
unsigned long hmmt_mapped(struct test_fixture *f, unsigned long prot);
void hmmt_unmapped(struct test_fixture *f);
struct hmm_mirror_fault *hmmt_read(struct test_fixture *f, unsigned int first,
				   unsigned int nr, unsigned long flags);
int hmmt_populate(struct test_fixture *f);
void hmmt_poke(struct test_fixture *f, unsigned long addr, u8 byte);
int hmmt_peek(unsigned long addr);
u8 *hmmt_device(struct test_mirror *tm, unsigned long addr);
int hmmt_device_peek(struct test_mirror *tm, unsigned long addr);

/**
 * struct test_slow - memory whose page faults drop the mmap lock, as with userfaultfd
 * @page: its pages
 * @faults: number of times that a fault has returned each page
 * @drop: the first try of a fault drops the mmap lock
 * @reap: a fault that drops the lock marks the mm as reaped
 * @block: a fault sleeps until a fatal signal, or until @go
 * @unkillable: it sleeps until @go
 * @dropped: a fault has dropped the mmap lock
 * @held: a fault was not allowed to drop the mmap lock, so it could not have been killed
 * @mapping: of the file that is mapped
 * @task: the first thread that has slept; the test holds a reference
 * @at: a fault sleeps
 * @go: faults need not sleep any more
 */
struct test_slow {
	struct page *page[TEST_MAPPED];
	unsigned int faults[TEST_MAPPED];
	bool drop;
	bool reap;
	bool block;
	bool unkillable;
	bool dropped;
	bool held;
	struct address_space *mapping;
	struct task_struct *task;
	struct completion at, go;
};

extern struct test_slow hmmt_slow;

unsigned long hmmt_slow_mapped(struct test_fixture *f, unsigned long prot,
			       unsigned long flags);
void hmmt_slow_unmapped(struct test_fixture *f);
void hmmt_slow_freed(void);
void hmmt_slow_zap(unsigned int page);

/* ------------------------------------------------------------------- threads */

struct test_thread *hmmt_thread(struct test_fixture *f, unsigned int i,
				int (*fn)(struct test_thread *thread), void *arg);
struct test_thread *hmmt_waiter(struct test_fixture *f, unsigned int i,
				struct hmm_mirror_range *range,
				unsigned int timeout_ms);
int hmmt_join(struct test_thread *thread);
int hmmt_join_after(struct test_thread *thread, unsigned long timeout);
bool hmmt_sleeps(struct test_thread *thread);
void hmmt_until_it_sleeps(struct test_thread *thread);

/* Wait until @condition is true, or a timeout. Return whether it is true. */
#define hmmt_poll(condition) ({						\
	unsigned long until__ = jiffies + hmmt_patience();		\
	bool is_true__;							\
									\
	while (!(is_true__ = (condition)) && time_before(jiffies, until__)) \
		usleep_range(50, 100);					\
	is_true__;							\
})

/* Define a second case of @name, in which invalidations get locked slots. */
#define HMMT_LOCKED(name)						\
static void name##_locked(struct kunit *test)				\
{									\
	struct test_fixture *f = test->priv;				\
									\
	f->crowded = true;						\
	name(test);							\
}

extern struct kunit_suite hmm_mirror_suite;
extern struct kunit_suite hmm_mirror_wait_suite;
extern struct kunit_suite hmm_mirror_races_suite;
extern struct kunit_suite hmm_mirror_model_suite;
extern struct kunit_suite hmm_mirror_edges_suite;
extern struct kunit_suite hmm_mirror_many_suite;
extern struct kunit_suite hmm_mirror_threads_suite;
extern struct kunit_suite hmm_mirror_mm_suite;
extern struct kunit_suite hmm_mirror_pfns_suite;
extern struct kunit_suite hmm_mirror_blocked_suite;
extern struct kunit_suite hmm_mirror_dma_suite;
extern struct kunit_suite hmm_mirror_misuse_suite;
extern struct kunit_suite hmm_mirror_debugfs_suite;
extern struct kunit_suite hmm_mirror_trace_suite;
extern struct kunit_suite hmm_mirror_lockdep_suite;
extern struct kunit_suite hmm_mirror_legacy_5_2_suite;
extern struct kunit_suite hmm_mirror_legacy_5_3_suite;
extern struct kunit_suite hmm_mirror_legacy_5_4_suite;

#endif /* HMM_MIRROR_TEST_H */
