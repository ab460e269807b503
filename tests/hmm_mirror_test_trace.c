// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: tracepoints. The traced functions must work as without tracing.
 */
#include <linux/kernel.h>
#include <linux/mman.h>
#include <linux/string.h>

#include "hmm_mirror_test.h"
#include "hmm_trace.h"

/* A built-in test can use the tracepoints. */
#if !defined(MODULE) && defined(CONFIG_TRACEPOINTS)

#define NR_EVENTS	32

struct event {
	const char *name;
	const void *of;		/* a range, an update, or a mirror */
	unsigned long start, end;
	long slot, hits, ret;
};

/* Events of the mm of the test. */
static struct {
	const struct mm_struct *mm;
	struct event event[NR_EVENTS];
	unsigned int nr;
} traced;

static void note(const struct mm_struct *mm, struct event event)
{
	if (mm == traced.mm && traced.nr < NR_EVENTS)
		traced.event[traced.nr++] = event;
}

static void on_start(void *data, const struct mm_struct *mm,
		     const struct mmu_notifier_range *update, unsigned int slot,
		     unsigned long hits)
{
	note(mm, (struct event) { "start", update, update->start, update->end, slot, hits });
}

static void on_end(void *data, const struct mm_struct *mm,
		   const struct mmu_notifier_range *update, unsigned int slot)
{
	note(mm, (struct event) { "end", update, update->start, update->end, slot });
}

static void on_failure(void *data, const struct hmm_mirror *mirror,
		       const struct mmu_notifier_range *update)
{
	note(mirror->mm, (struct event) { "failure", mirror, update->start, update->end });
}

#define ON_RANGE(what)							\
static void on_##what(void *data, const struct mm_struct *mm,		\
		      const struct hmm_mirror_range *range,		\
		      unsigned long start, unsigned long end)		\
{									\
	note(mm, (struct event) { #what, range, start, end });		\
}

ON_RANGE(register)
ON_RANGE(unregister)
ON_RANGE(wait_begin)
ON_RANGE(collision)

static void on_wait_end(void *data, const struct mm_struct *mm,
			const struct hmm_mirror_range *range, u64 waited_ns, int ret)
{
	note(mm, (struct event) { "wait_end", range, .hits = waited_ns, .ret = ret });
}

#define ON_FAULT(what)							\
static void on_##what(void *data, const struct mm_struct *mm,		\
		      const struct hmm_mirror_range *range,		\
		      const struct hmm_mirror_fault *fault, int ret)	\
{									\
	note(mm, (struct event) { #what, range, fault->start, fault->end, .ret = ret }); \
}

ON_FAULT(fault_begin)
ON_FAULT(fault_end)

#define for_each_probe(what)						\
do {									\
	what(hmm_mirror_invalidate_start)(on_start, NULL);		\
	what(hmm_mirror_invalidate_end)(on_end, NULL);			\
	what(hmm_mirror_nonblock_failure)(on_failure, NULL);		\
	what(hmm_mirror_range_register)(on_register, NULL);		\
	what(hmm_mirror_range_unregister)(on_unregister, NULL);		\
	what(hmm_mirror_wait_begin)(on_wait_begin, NULL);		\
	what(hmm_mirror_wait_end)(on_wait_end, NULL);			\
	what(hmm_mirror_fault_begin)(on_fault_begin, NULL);		\
	what(hmm_mirror_fault_end)(on_fault_end, NULL);			\
	what(hmm_mirror_collision)(on_collision, NULL);			\
} while (0)

#define REGISTER(event)		register_trace_##event
#define UNREGISTER(event)	unregister_trace_##event

static int trace_init(struct kunit *test)
{
	struct test_fixture *f;
	int ret = hmmt_init(test);

	if (ret)
		return ret;
	f = test->priv;
	memset(&traced, 0, sizeof(traced));
	traced.mm = f->mm;
	for_each_probe(REGISTER);
	return 0;
}

static void trace_exit(struct kunit *test)
{
	for_each_probe(UNREGISTER);
	tracepoint_synchronize_unregister();
	hmmt_exit(test);
}

/* Check and remove the oldest event. */
static void expect_event(struct kunit *test, struct event want)
{
	struct event *event = &traced.event[0];

	KUNIT_ASSERT_GT(test, traced.nr, 0U);
	KUNIT_EXPECT_STREQ(test, event->name, want.name);
	KUNIT_EXPECT_PTR_EQ(test, event->of, want.of);
	KUNIT_EXPECT_EQ(test, event->start, want.start);
	KUNIT_EXPECT_EQ(test, event->end, want.end);
	KUNIT_EXPECT_EQ(test, event->slot, want.slot);
	KUNIT_EXPECT_EQ(test, event->hits, want.hits);
	KUNIT_EXPECT_EQ(test, event->ret, want.ret);
	memmove(event, event + 1, --traced.nr * sizeof(*event));
}

#define expect(...)	expect_event(test, (struct event) { __VA_ARGS__ })
#define expect_no_more() KUNIT_EXPECT_EQ_MSG(test, traced.nr, 0U, "%s", traced.event[0].name)

/* Number of locked slot i. The shared slot comes before the locked ones. */
#define LOCKED(i)	(HMM_MIRROR_HASHED + 1 + (i))

/*
 *	  10       15       20           30          40
 *	0 |-----------------|
 *	1          |-------------------------------|
 */
static void invalidations(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range both = hmmt_update(f, P(15), P(16));
	struct mmu_notifier_range one = hmmt_update(f, P(39), P(50));
	struct mmu_notifier_range none = hmmt_update(f, P(1000000), P(1000001));
	struct mmu_notifier_range empty = hmmt_update(f, P(15), P(15));
	struct mmu_notifier_range *update[] = { &both, &one, &none, &empty };
	static const long hits[] = { 2, 1, 0, 0 };
	unsigned int i;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 0, P(15), P(40));
	traced.nr = 0;
	for (i = 0; i < ARRAY_SIZE(update); i++) {
		long slot = update[i] == &empty ? LOCKED(0) :
			    hmm_mirror_slot_hashed(f->hmm, update[i]) - f->hmm->slot;

		hmmt_start(f, update[i]);
		expect("start", update[i], update[i]->start, update[i]->end, slot, hits[i]);
		hmmt_end(f, update[i]);
		expect("end", update[i], update[i]->start, update[i]->end, slot);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
		/* The mirror is called with and without a hit. */
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), (int)i + 1);
	}
	hmmt_end(f, &both);
	expect_no_more();
}

/* The same with locked slots. */
static void invalidations_locked(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range both = hmmt_update(f, P(15), P(16));
	struct mmu_notifier_range none = hmmt_update(f, P(1000000), P(1000001));

	f->crowded = true;
	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 0, P(15), P(40));
	traced.nr = 0;
	hmmt_start(f, &both);
	expect("start", &both, P(15), P(16), LOCKED(0), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	hmmt_start(f, &none);
	expect("start", &none, none.start, none.end, LOCKED(1), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	hmmt_end(f, &both);
	expect("end", &both, P(15), P(16), LOCKED(0));
	hmmt_end(f, &none);
	expect("end", &none, none.start, none.end, LOCKED(1));
	expect_no_more();
}

/* A miss calls only mirrors without HMM_MIRROR_TRACKED_ONLY. */
static void filter_miss(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range none = hmmt_update(f, P(1000000), P(1000001));

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	hmmt_start(f, &none);
	hmmt_end(f, &none);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
	hmmt_mirror(f, 1);
	hmmt_start(f, &none);
	hmmt_end(f, &none);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
}

static void ranges(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range bad = { .start = P(20), .end = P(10) };

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	expect("register", &f->range[0], P(10), P(20));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_register(&bad, &f->tm[0].mirror), -EINVAL);
	hmm_mirror_range_unregister(&f->range[0]);
	expect("unregister", &f->range[0], P(10), P(20));
	hmmt_release(f);
	f->range[0].start = P(10);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_register(&f->range[0], &f->tm[0].mirror), -ESRCH);
	expect_no_more();
}

static void waits(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(19), P(30));
	struct hmm_mirror_range *range;
	struct test_thread *waiter;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	traced.nr = 0;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ETIME);
	expect_no_more();
	waiter = hmmt_waiter(f, 0, range, 20);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), -ETIME);
	expect("wait_begin", range, P(19), P(30));
	KUNIT_EXPECT_GE(test, traced.event[0].hits, 10 * NSEC_PER_MSEC);
	traced.event[0].hits = 0;
	expect("wait_end", range, .ret = -ETIME);
	waiter = hmmt_waiter(f, 0, range, HMM_MIRROR_WAIT_FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_ASSERT_EQ(test, traced.nr, 3U);
	KUNIT_EXPECT_STREQ(test, traced.event[0].name, "wait_begin");
	KUNIT_EXPECT_STREQ(test, traced.event[1].name, "end");
	KUNIT_EXPECT_STREQ(test, traced.event[2].name, "wait_end");
	KUNIT_EXPECT_EQ(test, traced.event[2].ret, 0L);
}

/* A waiter that is woken early waits again: there is one wait_begin and one wait_end. */
static void waits_again(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update[] = {
		hmmt_update(f, P(10), P(15)), hmmt_update(f, P(15), P(20)),
	};
	static const char *const names[] = { "wait_begin", "end", "end", "wait_end" };
	struct hmm_mirror_slot *slot;
	struct test_thread *waiter;
	unsigned int i, first;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update[0]);
	hmmt_start(f, &update[1]);
	traced.nr = 0;
	waiter = hmmt_waiter(f, 0, &f->range[0], HMM_MIRROR_WAIT_FOREVER);
	hmmt_until_it_sleeps(waiter);
	slot = hmm_mirror_slot_hashed(f->hmm, &update[0]);
	/* First end the invalidation on whose slot the thread sleeps. */
	first = !waitqueue_active(&slot->waiters);
	hmmt_end(f, &update[first]);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_sleeps(waiter)));
	hmmt_end(f, &update[!first]);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_ASSERT_EQ(test, traced.nr, (unsigned int)ARRAY_SIZE(names));
	for (i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_EXPECT_STREQ(test, traced.event[i].name, names[i]);
}

static void faults(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_mapped(f, PROT_READ | PROT_WRITE), seq;
	struct hmm_mirror_range *range = &f->range[0];
	struct hmm_mirror_fault *fault = hmmt_read(f, 1, 2, HMM_PFN_REQ_FAULT);

	seq = hmmt_begin(f, range);
	traced.nr = 0;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	expect("fault_begin", range, addr + P(1), addr + P(3));
	expect("fault_end", range, addr + P(1), addr + P(3), .ret = 0);
	expect_no_more();
	vm_munmap(addr + P(7), PAGE_SIZE);
	traced.nr = 0;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EBUSY);
	expect("fault_begin", range, addr + P(1), addr + P(3));
	expect("collision", range, addr + P(1), addr + P(3));
	expect("fault_end", range, addr + P(1), addr + P(3), .ret = -EBUSY);
	expect_no_more();
	hmmt_unmapped(f);
}

static void failures(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));

	hmmt_mirror(f, 0)->hook = hmmt_hook_eagain;
	traced.nr = 0;
	KUNIT_EXPECT_EQ(test, hmmt_start_only(f, &update), -EAGAIN);
	KUNIT_EXPECT_EQ(test, traced.nr, 2U);
	KUNIT_EXPECT_STREQ(test, traced.event[0].name, "start");
	memmove(&traced.event[0], &traced.event[1], sizeof(traced.event[0]));
	traced.nr = 1;
	expect("failure", &f->tm[0].mirror, P(10), P(20));
	hmmt_end(f, &update);
}

#else

#define NOT_SEEN(name)							\
static void name(struct kunit *test)					\
{									\
	hmmt_skip(test, "needs a built-in test, and a kernel with tracepoints"); \
}

NOT_SEEN(invalidations)
NOT_SEEN(invalidations_locked)
NOT_SEEN(filter_miss)
NOT_SEEN(ranges)
NOT_SEEN(waits)
NOT_SEEN(waits_again)
NOT_SEEN(faults)
NOT_SEEN(failures)

#define trace_init	hmmt_init
#define trace_exit	hmmt_exit

#endif

static struct kunit_case trace_cases[] = {
	KUNIT_CASE(invalidations),
	KUNIT_CASE(invalidations_locked),
	KUNIT_CASE(filter_miss),
	KUNIT_CASE(ranges),
	KUNIT_CASE(waits),
	KUNIT_CASE(waits_again),
	KUNIT_CASE(faults),
	KUNIT_CASE(failures),
	{}
};

struct kunit_suite hmm_mirror_trace_suite = {
	.name = "hmm_mirror_trace",
	.init = trace_init,
	.exit = trace_exit,
	.test_cases = trace_cases,
};
