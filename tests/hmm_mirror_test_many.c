// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: many invalidations in flight, and many ranges.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hmm_filter.h"
#include "hmm_mirror_test.h"
#include "hmm_trace.h"
#include "hmm_tree.h"

/* ------------------------------------------------- many invalidations in flight */

#define NR_MANY		4096U
/* First page of the burst, whose invalidations are one page apart. */
#define MANY		100UL

/* Longest time in ms that a burst may share the slot that intersects all ranges. */
#define COARSE_MS	100LL

static struct mmu_notifier_range *many_updates(struct test_fixture *f, bool blockable)
{
	struct mmu_notifier_range *update;
	unsigned int i;

	update = kvcalloc(NR_MANY, sizeof(*update), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(f->test, update);
	for (i = 0; i < NR_MANY; i++) {
		update[i] = hmmt_update(f, P(MANY + 2 * i), P(MANY + 2 * i + 1));
		if (!blockable)
			update[i].flags = 0;
	}
	return update;
}

/* Return true if a range that is registered now is valid. */
static bool new_range_is_valid(struct test_fixture *f, unsigned long start, unsigned long end)
{
	bool valid = hmmt_is_valid(hmmt_range(f, 1, 0, start, end));

	hmm_mirror_range_unregister(&f->range[1]);
	return valid;
}

/* NR_MANY invalidations begin at once, and end in another order. Each is exact all the time. */
static void burst(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update = many_updates(f, true);
	struct mmu_notifier_range own = hmmt_update(f, P(10), P(20));
	unsigned int i, at;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	for (i = 0; i < NR_MANY; i++) {
		hmmt_start(f, &update[i]);
		KUNIT_ASSERT_EQ(test, f->hmm->nr_shared, 0U);
		if (!(i % 100)) {
			hmmt_start_end(f, P(10), P(20));
			KUNIT_ASSERT_TRUE(test, hmmt_is_valid(&f->range[0]));
			KUNIT_ASSERT_TRUE(test, new_range_is_valid(f, P(30), P(40)));
			KUNIT_ASSERT_FALSE(test, new_range_is_valid(f, update[i].start,
								    update[i].end));
		}
	}
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), NR_MANY);
	for (i = 0; i < NR_MANY; i++)
		if (new_range_is_valid(f, update[i].start, update[i].end))
			KUNIT_FAIL(test, "%u is lost", i);
	hmmt_start(f, &own);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&f->range[0]));
	/* 2053 is coprime to NR_MANY. */
	for (i = 0, at = 0; i < NR_MANY; i++, at = (at + 2053) % NR_MANY) {
		hmmt_end(f, &update[at]);
		if (!(i % 100))
			KUNIT_ASSERT_TRUE(test, new_range_is_valid(f, update[at].start,
								   update[at].end));
	}
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&f->range[0]));
	hmmt_end(f, &own);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[0]));
	/* The slots made for the burst stay after its end. */
	KUNIT_EXPECT_GE(test, f->hmm->nr_locked, NR_MANY - (unsigned int)HMM_MIRROR_HASHED);
	KUNIT_EXPECT_LE(test, f->hmm->nr_locked, 4U * NR_MANY);
	kvfree(update);
}

HMMT_LOCKED(burst)

static bool no_longer_coarse(struct test_fixture *f)
{
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(MANY - 10), P(MANY - 9));
	unsigned int shared;

	hmmt_start(f, &update);
	shared = f->hmm->nr_shared;
	hmmt_end(f, &update);
	return !shared;
}

/*
 * Invalidations that must not sleep do not wait for the worker. If more of them begin than
 * there are slots, each still counts until its end, and those that begin later have slots.
 */
static void burst_nonblock(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update = many_updates(f, false);
	unsigned long since;
	unsigned int i;

	hmmt_mirror(f, 0);
	preempt_disable();
	for (i = 0; i < NR_MANY; i++)
		hmmt_start(f, &update[i]);
	preempt_enable();
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), NR_MANY);
	for (i = 0; i < NR_MANY; i += 13)
		if (new_range_is_valid(f, update[i].start, update[i].end))
			KUNIT_FAIL(test, "%u is lost", i);
	for (i = 0; i < NR_MANY; i++)
		hmmt_end(f, &update[i]);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	since = jiffies;
	KUNIT_EXPECT_TRUE(test, hmmt_poll(no_longer_coarse(f)));
	KUNIT_EXPECT_LE(test, (long long)jiffies_to_msecs(jiffies - since), 10 * COARSE_MS);
	kvfree(update);
}

/* Let all slots be in use, and the worker make no more. */
static struct mmu_notifier_range *no_slots(struct test_fixture *f)
{
	struct mmu_notifier_range *update = many_updates(f, false);
	unsigned int i;

	f->crowded = true;
	hmmt_mirror(f, 0);
	hmmt_make_no_slots(f);
	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		hmmt_start(f, &update[i]);
	KUNIT_EXPECT_TRUE(f->test, list_empty(&f->hmm->free));
	KUNIT_EXPECT_EQ(f->test, f->hmm->nr_shared, 0U);
	return update;
}

static void end_no_slots(struct test_fixture *f, struct mmu_notifier_range *update)
{
	unsigned int i;

	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		hmmt_end(f, &update[i]);
	KUNIT_EXPECT_EQ(f->test, hmmt_in_flight(f), 0U);
	kvfree(update);
}

/* Pretend that the worker is making slots, for ever. */
static void set_making(struct test_fixture *f, bool making)
{
	spin_lock(&f->hmm->lock);
	f->hmm->making = making;
	spin_unlock(&f->hmm->lock);
}

/* Start @update. Return true if that has slept. */
static bool start_sleeps(struct test_fixture *f, struct mmu_notifier_range *update)
{
	unsigned long before = current->nvcsw;

	hmmt_start(f, update);
	return current->nvcsw != before;
}

/* An invalidation waits for the worker for a limited time, then gets the shared slot. */
static void room_in_time(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *others = no_slots(f);
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	ktime_t since;

	/* The worker is idle, so the invalidation gets the shared slot at once. */
	KUNIT_EXPECT_FALSE(test, start_sleeps(f, &update));
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	KUNIT_EXPECT_FALSE(test, new_range_is_valid(f, P(30), P(40)));
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	KUNIT_EXPECT_TRUE(test, new_range_is_valid(f, P(30), P(40)));

	set_making(f, true);
	since = ktime_get();
	KUNIT_EXPECT_TRUE(test, start_sleeps(f, &update));
	KUNIT_EXPECT_GE(test, ktime_ms_delta(ktime_get(), since), COARSE_MS / 2);
	KUNIT_EXPECT_LT(test, ktime_ms_delta(ktime_get(), since),
			(long long)hmmt_patience() / HZ * 1000);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	hmmt_end(f, &update);

	/* A non-blockable invalidation does not wait, and neither does reclaim. */
	update.flags = 0;
	KUNIT_EXPECT_FALSE(test, start_sleeps(f, &update));
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	hmmt_end(f, &update);
	update.flags = MMU_NOTIFIER_RANGE_BLOCKABLE;
	current->flags |= PF_MEMALLOC;
	KUNIT_EXPECT_FALSE(test, start_sleeps(f, &update));
	current->flags &= ~PF_MEMALLOC;
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	hmmt_end(f, &update);
	set_making(f, false);
	end_no_slots(f, others);
}

static int starts(struct test_thread *thread)
{
	hmmt_start(thread->f, thread->arg);
	hmmt_end(thread->f, thread->arg);
	return 0;
}

/* Return how long, in ms, an invalidation waits that is killed, or gets the slot of @frees. */
static long long waits_until(struct test_fixture *f, struct mmu_notifier_range *frees)
{
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	ktime_t since = ktime_get();
	struct test_thread *thread = hmmt_thread(f, 0, starts, &update);

	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(wq_has_sleeper(&f->hmm->worked)));
	if (frees)
		hmmt_end(f, frees);
	else
		send_sig(SIGKILL, thread->task, 1);
	KUNIT_EXPECT_EQ(f->test, hmmt_join(thread), 0);
	if (frees)
		hmmt_start(f, frees);
	return ktime_ms_delta(ktime_get(), since);
}

/*
 * A fatal signal ends the wait for the worker, and so does a slot that becomes free. The
 * shortest time counts, because the machine may be busy.
 */
static void room_early(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *others = no_slots(f);
	long long killed = COARSE_MS, freed = COARSE_MS;
	unsigned int i;

	set_making(f, true);
	for (i = 0; i < 10; i++) {
		killed = min(killed, waits_until(f, NULL));
		freed = min(freed, waits_until(f, &others[0]));
	}
	KUNIT_EXPECT_LT(test, killed, COARSE_MS);
	KUNIT_EXPECT_LT(test, freed, COARSE_MS);
	set_making(f, false);
	end_no_slots(f, others);
}

/*
 * The worker wakes the invalidation; if other threads took all new slots, it queues the worker
 * again.
 */
static void slots_made(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *others = no_slots(f);
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));

	spin_lock(&f->hmm->lock);
	f->hmm->make_after = jiffies;
	spin_unlock(&f->hmm->lock);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	KUNIT_EXPECT_GE(test, f->hmm->nr_locked, 2U * HMM_MIRROR_LOCKED);
	KUNIT_EXPECT_TRUE(test, new_range_is_valid(f, P(30), P(40)));
	KUNIT_EXPECT_FALSE(test, new_range_is_valid(f, P(10), P(40)));
	hmmt_end(f, &update);
	end_no_slots(f, others);
}

/* A waiter ends endless invalidations in the shared slot, and no others there. */
static void endless_shared(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *others = no_slots(f);
	struct mmu_notifier_range endless[] = {
		hmmt_update_nonblock(f, 0, P(1)), hmmt_update_nonblock(f, 0, P(2)),
	};
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range;
	unsigned long seq;

	endless[0].event = MMU_NOTIFY_PROTECTION_VMA;
	endless[1].event = MMU_NOTIFY_PROTECTION_VMA;
	hmmt_start(f, &endless[0]);
	hmmt_start(f, &endless[1]);
	range = hmmt_range(f, 0, 0, P(30), P(40));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ETIME);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);

	hmmt_start(f, &endless[0]);
	hmmt_start(f, &update);
	hmm_mirror_range_unregister(range);
	range = hmmt_range(f, 0, 0, P(30), P(40));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 50), -ETIME);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), 0);

	/* The mm may call the end of an endless one after all. */
	hmmt_start(f, &endless[0]);
	hmmt_start(f, &update);
	hmmt_end(f, &endless[0]);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared_endless, 0U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	end_no_slots(f, others);
}

/*
 * A thread waits on the shared slot. If only an endless invalidation is left there, which came
 * later, the thread lets the worker end it.
 */
static void endless_joins(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *others = no_slots(f);
	struct mmu_notifier_range first = hmmt_update_nonblock(f, P(10), P(20));
	struct mmu_notifier_range endless = hmmt_update_nonblock(f, 0, P(1));
	struct test_thread *waiter;

	endless.event = MMU_NOTIFY_PROTECTION_VMA;
	hmmt_start(f, &first);
	waiter = hmmt_waiter(f, 0, hmmt_range(f, 0, 0, P(30), P(40)), FOREVER);
	hmmt_until_it_sleeps(waiter);
	hmmt_start(f, &endless);
	KUNIT_EXPECT_TRUE(test, hmmt_sleeps(waiter));
	hmmt_end(f, &first);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	end_no_slots(f, others);
}

/*
 * A new range replaces an old one while the start of an invalidation of their addresses reads
 * the filter. Without rebounds, the invalidation would miss both:
 *
 *	start: reads rebounds, and the cells
 *	  of the new range: none
 *					register the new range
 *					unregister the old one
 *	reads the cells of the old one: none
 *	reads rebounds: changed
 */
static void replaced(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	unsigned int before;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	before = f->hmm->rebounds;
	hmmt_range(f, 1, 0, P(1), P(1000));
	KUNIT_EXPECT_NE(test, f->hmm->rebounds, before);
	before = f->hmm->rebounds;
	hmmt_range(f, 2, 0, P(2000), P(3000));
	KUNIT_EXPECT_EQ(test, f->hmm->rebounds, before);
	hmmt_end(f, &update);

	/* A resize replaces a range, too, and cannot know what reads the filter. */
	before = f->hmm->rebounds;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(&f->range[2], P(2000), P(3001)), 0);
	KUNIT_EXPECT_NE(test, f->hmm->rebounds, before);
}

/* If the key of a locked slot is used again, the slot gets the new bounds. */
static void lost_end_moves(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));

	f->crowded = true;
	hmmt_mirror(f, 0);
	hmmt_start(f, &update);
	update.start = P(30);
	update.end = P(40);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_TRUE(test, new_range_is_valid(f, P(10), P(20)));
	KUNIT_EXPECT_FALSE(test, new_range_is_valid(f, P(30), P(31)));
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
}

/*
 * A change of protection has an end unless it begins at address 0. In the shared slot, too, it is
 * in flight until then, although a thread waits for it.
 */
static void protection_has_an_end(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *busy, update = hmmt_update(f, P(10), P(20));

	update.event = MMU_NOTIFY_PROTECTION_VMA;
	busy = no_slots(f);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_waiter(f, 0, &f->range[0], 100)), -ETIME);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&f->range[0]));
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	end_no_slots(f, busy);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[0]));
}

/* The worker that ends an invalidation without an end leaves one alone that also begins at 0. */
static void only_endless_ends(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range endless = hmmt_update(f, 0, P(30));
	struct mmu_notifier_range update = hmmt_update(f, 0, P(20));

	endless.event = MMU_NOTIFY_PROTECTION_VMA;
	f->crowded = true;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(15));
	hmmt_range(f, 1, 0, P(25), P(30));
	hmmt_start(f, &update);
	hmmt_start(f, &endless);
	KUNIT_EXPECT_EQ(test, hmmt_join(hmmt_waiter(f, 0, &f->range[1], FOREVER)), 0);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&f->range[0]));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[0]));
}

static void start_more(struct test_fixture *f, struct mmu_notifier_range *update, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		hmmt_start(f, &update[i]);
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(!READ_ONCE(f->hmm->making)));
}

static unsigned int free_slots(struct test_fixture *f)
{
	struct list_head *at;
	unsigned int nr = 0;

	spin_lock(&f->hmm->lock);
	list_for_each(at, &f->hmm->free)
		nr++;
	spin_unlock(&f->hmm->lock);
	return nr;
}

/*
 * The worker makes slots when the invalidation begins that finds half of them in use, not before.
 * All of the new slots are used, and have numbers of their own. They are freed with the structure.
 */
static void slots_are_made(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update = many_updates(f, true);
	const struct hmm_mirror_slots *slots;
	unsigned int i, nr;

	f->crowded = true;
	hmmt_mirror(f, 0);
	start_more(f, update, HMM_MIRROR_LOCKED / 2);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_locked, (unsigned int)HMM_MIRROR_LOCKED);
	start_more(f, update + HMM_MIRROR_LOCKED / 2, 1);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_locked, 2U * HMM_MIRROR_LOCKED);
	start_more(f, update + HMM_MIRROR_LOCKED / 2 + 1, HMM_MIRROR_LOCKED);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_locked, 4U * HMM_MIRROR_LOCKED);
	for (i = 0; i < HMM_MIRROR_LOCKED / 2 + 1 + HMM_MIRROR_LOCKED; i++)
		hmmt_end(f, &update[i]);
	KUNIT_EXPECT_EQ(test, free_slots(f), f->hmm->nr_locked);

	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		KUNIT_EXPECT_EQ(test, (unsigned int)f->hmm->first[i].slot.nr,
				(unsigned int)HMM_MIRROR_HASHED + 1 + i);
	nr = f->hmm->nr_locked;
	for (slots = f->hmm->more; slots; slots = slots->next) {
		nr /= 2;
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, (unsigned int)slots->slot[i].slot.nr,
					(unsigned int)HMM_MIRROR_HASHED + 1 + nr + i);
		/* the oldest ones */
		hmmt_watch(slots);
	}
	KUNIT_EXPECT_EQ(test, nr, (unsigned int)HMM_MIRROR_LOCKED);
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_TRUE(test, !hmmt_sees_frees() || hmmt_poll(hmmt_is_freed()));
	kvfree(update);
}

/* ------------------------------------------------------------------ many ranges */

#define NR_RANGES	(5U * HMM_MIRROR_WALK_RANGES)

/* Register NR_RANGES ranges, @each of them in @mirror and in each mirror after it. */
static struct hmm_mirror_range *many_ranges_each(struct test_fixture *f, unsigned int mirror,
						 unsigned int each, bool same_start)
{
	struct hmm_mirror_range *range = kvcalloc(NR_RANGES, sizeof(*range), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_TRUE(f->test, range);
	for (i = 0; i < NR_RANGES; i++) {
		struct hmm_mirror *of = &f->tm[mirror + i / each].mirror;

		range[i].start = P(same_start ? 1000 : 1000 + 2 * i);
		range[i].end = P(same_start ? 1001 + i : 1001 + 2 * i);
		KUNIT_ASSERT_EQ(f->test, hmm_mirror_range_register(&range[i], of), 0);
	}
	return range;
}

static struct hmm_mirror_range *many_ranges(struct test_fixture *f, unsigned int mirror,
					    bool same_start)
{
	return many_ranges_each(f, mirror, NR_RANGES, same_start);
}

static void unregister_many(struct hmm_mirror_range *range)
{
	unsigned int i;

	for (i = 0; i < NR_RANGES; i++)
		if (hmm_mirror_range_mm(&range[i]))
			hmm_mirror_range_unregister(&range[i]);
	kvfree(range);
}

/* When a callback runs, all ranges are invalid. */
static int hook_all_raised(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	struct test_fixture *f = tm->f;
	struct hmm_mirror_range *range = f->thread[0].arg;
	unsigned int i, valid = 0;

	for (i = 0; i < NR_RANGES; i++)
		valid += hmmt_is_valid(&range[i]);
	KUNIT_EXPECT_EQ(f->test, valid, 0U);
	return 0;
}

static void hit_many(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(1000), P(1000 + 2 * NR_RANGES));
	struct mmu_notifier_range one = hmmt_update(f, P(1000), P(1001));
	struct hmm_mirror_range *range;
	unsigned long *seq;
	unsigned int i, round;

	seq = kvcalloc(NR_RANGES, sizeof(*seq), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, seq);
	for (i = 0; i < 3; i++)
		f->tm[i].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_mirror(f, 2);
	range = many_ranges(f, 1, false);
	hmmt_range(f, 0, 2, P(10), P(20));
	f->thread[0].arg = range;
	f->tm[1].hook = hook_all_raised;
	for (round = 0; round < 2; round++) {
		if (round)
			update.flags = 0;
		for (i = 0; i < NR_RANGES; i++)
			seq[i] = hmmt_begin(f, &range[i]);
		hmmt_start(f, &update);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), (int)round + 1);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].calls), 0);
		KUNIT_EXPECT_TRUE(test, hlist_empty(&f->hmm->walks));
		for (i = 0; i < NR_RANGES; i++)
			if (!hmm_mirror_range_retry(&range[i], seq[i]))
				KUNIT_FAIL(test, "%u", i);
		hmmt_end(f, &update);
	}
	f->tm[1].hook = NULL;
	hmmt_start(f, &one);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&range[0]));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&range[1]));
	hmmt_end(f, &one);
	kvfree(seq);
	unregister_many(range);
}

static unsigned int nr_gets;

static bool get_the_last(struct hmm_mirror_range *range)
{
	return ++nr_gets == NR_RANGES;
}

static bool get_none(struct hmm_mirror_range *range)
{
	nr_gets++;
	return false;
}

static void lookup_many(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	range = many_ranges(f, 0, true);
	nr_gets = 0;
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(&f->tm[0].mirror, P(1000),
							  get_the_last),
			    &range[NR_RANGES - 1]);
	nr_gets = 0;
	KUNIT_EXPECT_TRUE(test, !hmm_mirror_range_lookup(&f->tm[0].mirror, P(1000), get_none));
	KUNIT_EXPECT_EQ(test, nr_gets, NR_RANGES);
	unregister_many(range);
}

/* ------------------------------------------------------- pauses of a walk */

/* A built-in test can use the tracepoints, and internal functions of the core. */
#if !defined(MODULE) && defined(CONFIG_TRACEPOINTS)

/*
 * Changes that a case makes each time that a walk has dropped the lock. The thread of the walk
 * makes them: the walk has noted where it goes on, so another thread would see the same.
 */
struct between {
	void (*fn)(struct hmm_mirror_walk *walk, struct between *b);
	struct hmm_mirror_mm *hmm;
	struct hmm_mirror *mirror;
	struct hmm_mirror_range *range;		/* NR_RANGES ranges of the case */
	struct hmm_mirror_range spare[8];	/* registered by the functions below */
	unsigned int spares;
	unsigned int pauses;
	struct kunit *test;
};

static void on_pause(void *data, const struct mm_struct *mm, const struct hmm_mirror_walk *walk)
{
	struct between *b = data;

	if (mm != b->hmm->mm)
		return;
	b->pauses++;
	b->fn((struct hmm_mirror_walk *)walk, b);
}

static bool has_grown(struct hmm_mirror_mm *hmm)
{
	bool grown;

	spin_lock(&hmm->lock);
	grown = !hmm->growth && !work_pending(&hmm->grow) && !filter_is_full(hmm);
	spin_unlock(&hmm->lock);
	return grown;
}

static void between_begin(struct test_fixture *f, struct between *b)
{
	/* The growth of the filter is a walk, too: wait until it is done. */
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(has_grown(f->hmm)));
	b->hmm = f->hmm;
	b->mirror = &f->tm[0].mirror;
	KUNIT_ASSERT_EQ(f->test, register_trace_hmm_mirror_walk_pause(on_pause, b), 0);
}

static void between_end(struct test_fixture *f, struct between *b)
{
	unregister_trace_hmm_mirror_walk_pause(on_pause, b);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_GE(f->test, b->pauses, 3U);
	KUNIT_EXPECT_TRUE(f->test, hlist_empty(&b->hmm->walks));
}

static void add(struct between *b, unsigned long start, unsigned long end)
{
	struct hmm_mirror_range *range = &b->spare[b->spares];

	if (b->spares == ARRAY_SIZE(b->spare))
		return;
	range->start = start;
	range->end = end;
	if (!hmm_mirror_range_register(range, b->mirror))
		b->spares++;
}

/* Unregister the range with which the walk would go on, twice, and a later one. */
static void take_next(struct hmm_mirror_walk *walk, struct between *b)
{
	struct hmm_mirror_range *next;
	unsigned int i;

	if (b->pauses == 3)
		return;
	for (i = 0; i < 2; i++) {
		next = walk->next;
		if (!next)
			return;
		hmm_mirror_range_unregister(next);
		if (walk->next == next)		/* a use after free */
			walk->next = NULL;
	}
	next = &b->range[NR_RANGES - 1 - b->pauses];
	if (next->mirror)
		hmm_mirror_range_unregister(next);
}

/*
 * Do take_next(). Also unregister a range that the walk has visited, swap the bounds of a
 * visited range and one that is not, and register a range on each side.
 */
static void take_and_add(struct hmm_mirror_walk *walk, struct between *b)
{
	unsigned long start, end;

	take_next(walk, b);
	if (b->pauses > 4)
		return;
	hmm_mirror_range_unregister(&b->range[10 + b->pauses]);
	start = b->range[20].start;
	end = b->range[20].end;
	hmm_mirror_range_resize(&b->range[20], b->range[NR_RANGES - 20].start,
				b->range[NR_RANGES - 20].end);
	hmm_mirror_range_resize(&b->range[NR_RANGES - 20], start, end);
	add(b, b->range[0].start, b->range[0].end);
	add(b, b->range[NR_RANGES - 1].start, b->range[NR_RANGES - 1].end);
}

/* Unregister the spare ranges that take_next() has not. */
static void unregister_spares(struct between *b)
{
	unsigned int i;

	for (i = 0; i < b->spares; i++)
		if (hmm_mirror_range_mm(&b->spare[i]))
			hmm_mirror_range_unregister(&b->spare[i]);
}

static void hit_between(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(1000), P(1000 + 2 * NR_RANGES));
	struct between b = { .fn = take_and_add };
	unsigned int i;

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	b.range = many_ranges(f, 0, false);
	between_begin(f, &b);
	hmmt_start(f, &update);
	between_end(f, &b);
	for (i = 0; i < NR_RANGES; i++)
		if (hmm_mirror_range_mm(&b.range[i]) && hmmt_is_valid(&b.range[i]))
			KUNIT_FAIL(test, "%u", i);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	for (i = 0; i < b.spares; i++)
		if (hmm_mirror_range_mm(&b.spare[i]))
			KUNIT_EXPECT_FALSE(test, hmmt_is_valid(&b.spare[i]));
	unregister_spares(&b);
	hmmt_end(f, &update);
	for (i = 0; i < NR_RANGES; i++)
		if (hmm_mirror_range_mm(&b.range[i]) && !hmmt_is_valid(&b.range[i]))
			KUNIT_FAIL(test, "%u", i);
	unregister_many(b.range);
}

static void die_between(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = take_next };
	unsigned long *seq, new;
	unsigned int i;

	seq = kvcalloc(NR_RANGES, sizeof(*seq), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, seq);
	hmmt_mirror(f, 0);
	b.range = many_ranges(f, 0, false);
	for (i = 0; i < NR_RANGES; i++)
		seq[i] = hmmt_begin(f, &b.range[i]);
	between_begin(f, &b);
	hmmt_release(f);
	between_end(f, &b);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].releases), 1);
	for (i = 0; i < NR_RANGES; i++) {
		if (!hmm_mirror_range_mm(&b.range[i]))
			continue;
		if (!hmm_mirror_range_retry(&b.range[i], seq[i]) ||
		    hmm_mirror_range_begin(&b.range[i], &new, 0) != -ESRCH)
			KUNIT_FAIL(test, "%u", i);
	}
	kvfree(seq);
	unregister_many(b.range);
}

/* Unregister ranges during hmm_mirror_unregister(), which takes the first until none is left. */
static void take_first(struct hmm_mirror_walk *walk, struct between *b)
{
	struct rb_node *rb = rb_first_cached(&b->mirror->ranges);

	if (rb)
		hmm_mirror_range_unregister(range_of(rb));
	hmm_mirror_range_unregister(&b->range[b->pauses]);
}

static void unregister_between(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = take_first };
	struct hmm_mirror_range *other;
	unsigned int i, gone = 0;
	unsigned long seq;

	hmmt_mirror(f, 1);
	other = hmmt_range(f, 0, 1, P(1000), P(1010));
	seq = hmmt_begin(f, other);
	hmmt_mirror(f, 0);
	b.range = many_ranges(f, 0, false);
	between_begin(f, &b);
	hmm_mirror_unregister(&f->tm[0].mirror);
	between_end(f, &b);
	for (i = 0; i < NR_RANGES; i++) {
		gone += !hmm_mirror_range_mm(&b.range[i]);
		if (b.range[i].mirror)
			KUNIT_FAIL(test, "%u", i);
	}
	KUNIT_EXPECT_EQ(test, gone, 2 * b.pauses);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), NR_RANGES - gone + 1);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(other, seq));
	unregister_many(b.range);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

static void lookup_between(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = take_next };

	hmmt_mirror(f, 0);
	b.range = many_ranges(f, 0, true);
	nr_gets = 0;
	between_begin(f, &b);
	KUNIT_EXPECT_TRUE(test, !hmm_mirror_range_lookup(&f->tm[0].mirror, P(1000), get_none));
	between_end(f, &b);
	/* Ranges that were unregistered before the walk reached them were not visited. */
	KUNIT_EXPECT_LE(test, nr_gets, NR_RANGES - 4);
	KUNIT_EXPECT_GE(test, nr_gets, NR_RANGES - 3 * b.pauses);
	unregister_many(b.range);
}

/* Expect that the filter counts each range once, and nothing else. */
static void expect_exact_filter(struct test_fixture *f)
{
	struct hmm_mirror_mm *hmm = f->hmm;
	struct hmm_mirror_filter *filter;
	struct hmm_mirror *mirror;
	struct rb_node *rb;
	unsigned int i;

	filter = kvzalloc(sizeof(*filter) + hmm->filter->nr, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(f->test, filter);
	filter->nr = hmm->filter->nr;
	list_for_each_entry(mirror, &hmm->mirrors, list)
		for (rb = rb_first_cached(&mirror->ranges); rb; rb = rb_next(rb))
			hmm_mirror_filter_fill(filter, range_of(rb)->start, range_of(rb)->end, 1);
	for (i = 0; i < filter->nr; i++)
		if (hmm->filter->cell[i] != filter->cell[i])
			KUNIT_FAIL(f->test, "cell %u: %u instead of %u", i, hmm->filter->cell[i],
				   filter->cell[i]);
	kvfree(filter);
}

/* Expect that the filter counts each range. A cell that was saturated is not exact. */
static void expect_safe_filter(struct test_fixture *f)
{
	struct hmm_mirror *mirror;
	struct rb_node *rb;

	list_for_each_entry(mirror, &f->hmm->mirrors, list)
		for (rb = rb_first_cached(&mirror->ranges); rb; rb = rb_next(rb))
			if (!filter_may_hit(f->hmm, range_of(rb)->start,
					    range_of(rb)->start + PAGE_SIZE - 1))
				KUNIT_FAIL(f->test, "0x%lx", range_of(rb)->start);
}

/* Let the worker replace the filter, as if it were full. */
static void grow(struct test_fixture *f)
{
	spin_lock(&f->hmm->lock);
	f->hmm->filter->room = 1;
	hmm_mirror_growth_start(f->hmm);
	spin_unlock(&f->hmm->lock);
	KUNIT_EXPECT_TRUE(f->test, hmmt_poll(has_grown(f->hmm)));
}

static void grow_between_by(struct kunit *test, bool same_start)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = take_and_add };

	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 1, P(500), P(600));
	hmmt_mirror(f, 0);
	b.range = many_ranges(f, 0, same_start);
	between_begin(f, &b);
	hmmt_mirror(f, 2);
	grow(f);
	between_end(f, &b);
	KUNIT_EXPECT_EQ(test, b.spares, 8U);
	expect_safe_filter(f);
	if (!same_start)
		expect_exact_filter(f);
	unregister_spares(&b);
	unregister_many(b.range);
	if (!same_start)
		expect_exact_filter(f);
}

static void grow_between(struct kunit *test)
{
	grow_between_by(test, false);
}

/* The same with ranges that start at one address: their order is that of the tree. */
static void grow_between_same(struct kunit *test)
{
	grow_between_by(test, true);
}

static void check_unlocked(struct hmm_mirror_walk *walk, struct between *b)
{
	/* The walk has dropped the lock. */
	if (spin_trylock(&b->hmm->lock))
		spin_unlock(&b->hmm->lock);
	else
		KUNIT_FAIL(b->test, "the walk still holds the lock");
}

/* A walk also pauses between mirrors, if the last range of one is the last of a piece. */
static void grow_mirrors(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = check_unlocked, .test = test };
	struct hmm_mirror_range *range;
	unsigned int i;

	for (i = 0; i < TEST_MIRRORS; i++)
		hmmt_mirror(f, i);
	range = many_ranges_each(f, 0, HMM_MIRROR_WALK_RANGES, false);
	between_begin(f, &b);
	grow(f);
	between_end(f, &b);
	KUNIT_EXPECT_EQ(test, b.pauses, NR_RANGES / HMM_MIRROR_WALK_RANGES - 1);
	expect_exact_filter(f);
	unregister_many(range);
	expect_exact_filter(f);
}

/* Unregister a range, and register it again at other addresses. */
static void move_range(struct between *b, unsigned int i)
{
	struct hmm_mirror *mirror = b->range[i].mirror;

	if (!hmm_mirror_range_mm(&b->range[i]))
		return;
	hmm_mirror_range_unregister(&b->range[i]);
	b->range[i].start += P(2 * NR_RANGES);
	b->range[i].end += P(2 * NR_RANGES);
	if (hmm_mirror_range_register(&b->range[i], mirror))
		KUNIT_FAIL(b->test, "range %u", i);
}

static struct hmm_mirror_part between_part[2];

/* Add a mirror as hmm_mirror_register() does, which may sleep, and a range. */
static void mirror_comes(struct between *b)
{
	spin_lock(&b->hmm->lock);
	b->mirror->counted = true;
	list_add_tail_rcu(&b->mirror->list, &b->hmm->mirrors);
	spin_unlock(&b->hmm->lock);
	add(b, P(500), P(501));
}

/*
 * Let ranges of all mirrors move, and a part and a mirror come. Pause i is at the second range of
 * mirror i.
 */
static void move_all(struct hmm_mirror_walk *walk, struct between *b)
{
	struct hmm_mirror *mirror;
	unsigned int i;

	for (i = 0; i < NR_RANGES; i += HMM_MIRROR_WALK_RANGES)
		move_range(b, i + (b->pauses - 1) % 2);
	if (b->pauses == 1) {
		between_part[1].range.start = b->range[NR_RANGES - 1].start;
		between_part[1].range.end = b->range[NR_RANGES - 1].end;
		hmm_mirror_part_register(&between_part[1], &b->range[NR_RANGES - 1]);
	}
	/* At the end of a tree all of its ranges are before the walk. */
	if (b->pauses == 2) {
		mirror = walk->next->mirror;
		while (walk->next)
			hmm_mirror_range_unregister(walk->next);
		if (hmm_mirror_range_register(&b->range[3 * HMM_MIRROR_WALK_RANGES - 1], mirror))
			KUNIT_FAIL(b->test, "no range");
	}
	if (b->pauses == 3)
		mirror_comes(b);
}

static void grow_while_all_moves(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct between b = { .fn = move_all, .test = test };
	unsigned int i;

	for (i = 0; i < TEST_MIRRORS; i++)
		hmmt_mirror(f, i);
	b.range = many_ranges_each(f, 0, HMM_MIRROR_WALK_RANGES, false);
	between_part[0].range.start = b.range[0].start;
	between_part[0].range.end = b.range[0].end;
	KUNIT_ASSERT_EQ(test, hmm_mirror_part_register(&between_part[0], &b.range[0]), 0);
	between_begin(f, &b);
	b.mirror = &f->tm[TEST_MIRRORS - 1].mirror;
	spin_lock(&f->hmm->lock);
	list_del_rcu(&b.mirror->list);
	spin_unlock(&f->hmm->lock);
	grow(f);
	between_end(f, &b);
	KUNIT_EXPECT_EQ(test, b.spares, 1U);
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_TRUE(test, filter_may_hit(f->hmm, between_part[i].range.start,
						       between_part[i].range.end - 1));
	hmm_mirror_part_unregister(&between_part[0]);
	hmm_mirror_part_unregister(&between_part[1]);
	expect_exact_filter(f);
	unregister_spares(&b);
	unregister_many(b.range);
	expect_exact_filter(f);
}

static int unregisters(struct test_thread *thread)
{
	hmm_mirror_unregister(&thread->f->tm[1].mirror);
	return 0;
}

/* A mirror that is unregistered during a growth stays until that is over. */
static void unregister_while_it_grows(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_growth growth = {};
	struct test_thread *thread;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_mirror(f, 1);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(has_grown(f->hmm)));
	spin_lock(&f->hmm->lock);
	f->hmm->growth = &growth;
	spin_unlock(&f->hmm->lock);
	thread = hmmt_thread(f, 0, unregisters, NULL);
	/* No barrier is needed to poll. */
	KUNIT_EXPECT_TRUE(test, hmmt_poll(waitqueue_active(&f->hmm->worked)));
	KUNIT_EXPECT_FALSE(test, completion_done(&thread->done));
	/* The worker ends this growth, too. */
	spin_lock(&f->hmm->lock);
	f->hmm->filter->room = 1;
	hmm_mirror_growth_start(f->hmm);
	spin_unlock(&f->hmm->lock);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(has_grown(f->hmm)));
}

#define NR_SATURATE	60U

static bool any_cell_is(const struct hmm_mirror_filter *filter, u8 cell)
{
	unsigned int i;

	for (i = 0; i < filter->nr; i++)
		if (filter->cell[i] == cell)
			return true;
	return false;
}

static void same_range(struct test_fixture *f, struct hmm_mirror_range *range, unsigned long page)
{
	range->start = P(page);
	range->end = P(page + 1);
	KUNIT_ASSERT_EQ(f->test, hmm_mirror_range_register(range, &f->tm[0].mirror), 0);
	KUNIT_EXPECT_TRUE(f->test, filter_may_hit(f->hmm, P(page), P(page) + 1));
}

/*
 * A saturated cell stays saturated until the filter is replaced. The count must not overflow, also
 * not in sub-cell 0, where the cell then has exactly the highest count.
 */
static void saturated_cell(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	unsigned long page = 1000;
	unsigned int i;

	range = kunit_kzalloc(test, NR_SATURATE * sizeof(*range), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, range);
	hmmt_mirror(f, 0);
	for (same_range(f, range, page); !any_cell_is(f->hmm->filter, CELL_RANGE);) {
		hmm_mirror_range_unregister(range);
		same_range(f, range, ++page);
	}
	for (i = 1; i < NR_SATURATE; i++)
		same_range(f, &range[i], page);
	for (i = 1; i < NR_SATURATE; i++) {
		hmm_mirror_range_unregister(&range[i]);
		KUNIT_EXPECT_TRUE(test, filter_may_hit(f->hmm, P(page), P(page) + 1));
	}
	hmm_mirror_range_unregister(range);
}

/* A walk also pauses if an invalidation hits less than a piece of each mirror. */
static void hit_mirrors(struct kunit *test)
{
	const unsigned int nr = HMM_MIRROR_WALK_RANGES / 2;
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(1000), P(1000 + 2 * NR_RANGES));
	struct between b = { .fn = check_unlocked, .test = test };
	struct hmm_mirror_range *range;
	unsigned int i, valid = 0;

	for (i = 0; i < NR_RANGES / nr; i++)
		hmmt_mirror(f, i);
	range = many_ranges_each(f, 0, nr, false);
	between_begin(f, &b);
	hmmt_start(f, &update);
	between_end(f, &b);
	KUNIT_EXPECT_EQ(test, b.pauses, NR_RANGES / HMM_MIRROR_WALK_RANGES);
	for (i = 0; i < NR_RANGES; i++)
		valid += hmmt_is_valid(&range[i]);
	KUNIT_EXPECT_EQ(test, valid, 0U);
	hmmt_end(f, &update);
	unregister_many(range);
}

/* hmm_mirror_tree_is_before() agrees with a walk. */
static void tree_order(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	struct rb_node *a, *b;
	unsigned int i = 0, j;

	hmmt_mirror(f, 0);
	range = many_ranges(f, 0, true);
	for (a = rb_first_cached(&f->tm[0].mirror.ranges); a && i < 100; a = rb_next(a), i++) {
		j = 0;
		for (b = rb_first_cached(&f->tm[0].mirror.ranges); b; b = rb_next(b), j++)
			if (a != b && i < j != hmm_mirror_tree_is_before(range_of(a),
									 range_of(b)))
				KUNIT_FAIL(test, "%u %u", i, j);
	}
	unregister_many(range);
}

#endif /* MODULE or no tracepoints */

static struct kunit_case hmm_mirror_many_cases[] = {
	KUNIT_CASE(burst),
	KUNIT_CASE(burst_locked),
	KUNIT_CASE(burst_nonblock),
	KUNIT_CASE(room_in_time),
	KUNIT_CASE(room_early),
	KUNIT_CASE(slots_made),
	KUNIT_CASE(endless_shared),
	KUNIT_CASE(endless_joins),
	KUNIT_CASE(replaced),
	KUNIT_CASE(lost_end_moves),
	KUNIT_CASE(protection_has_an_end),
	KUNIT_CASE(only_endless_ends),
	KUNIT_CASE(slots_are_made),
	KUNIT_CASE(hit_many),
	KUNIT_CASE(lookup_many),
#if !defined(MODULE) && defined(CONFIG_TRACEPOINTS)
	KUNIT_CASE(hit_between),
	KUNIT_CASE(die_between),
	KUNIT_CASE(unregister_between),
	KUNIT_CASE(lookup_between),
	KUNIT_CASE(grow_between),
	KUNIT_CASE(grow_between_same),
	KUNIT_CASE(grow_mirrors),
	KUNIT_CASE(grow_while_all_moves),
	KUNIT_CASE(unregister_while_it_grows),
	KUNIT_CASE(saturated_cell),
	KUNIT_CASE(hit_mirrors),
	KUNIT_CASE(tree_order),
#endif
	{}
};

struct kunit_suite hmm_mirror_many_suite = {
	.name = "hmm_mirror_many",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_many_cases,
};
