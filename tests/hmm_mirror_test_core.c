// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: geometry and invariants. The tests call the core as the mm does.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched/mm.h>
#include <linux/string.h>

#include "hmm_mirror_test.h"

/* All orders of three steps. */
static const unsigned int order[][3] = {
	{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
};

/* ------------------------------------------------------------------ geometry */

struct geometry {
	unsigned long range_start, range_end;
	unsigned long start, end;
	bool hit;
};

static const struct geometry geometry[] = {
	/*
	 *                        10        20
	 * range                  |---------|
	 */
	/* touching    |---------|*/
	{ P(10), P(20),	0, P(10),			false },
	/* touching                         |---------| */
	{ P(10), P(20),	P(20), P(30),			false },
	{ P(10), P(20),	P(20), ULONG_MAX,		false },
	/* by a byte   |----------|, and             |--------| */
	{ P(10), P(20),	0, P(10) + 1,			true },
	{ P(10), P(20),	P(5), P(10) + 1,		true },
	{ P(10), P(20),	P(20) - 1, P(30),		true },
	/* by a page   |-----------|, and           |---------| */
	{ P(10), P(20),	0, P(11),			true },
	{ P(10), P(20),	P(19), P(30),			true },
	/* equal                  |---------| */
	{ P(10), P(20),	P(10), P(20),			true },
	/* nested                   |----| */
	{ P(10), P(20),	P(12), P(15),			true },
	{ P(10), P(20),	P(10), P(11),			true },
	{ P(10), P(20),	P(19), P(20),			true },
	/* unaligned                  || */
	{ P(10), P(20),	P(14) + 5, P(14) + 6,		true },
	{ P(10), P(20),	P(9) + 5, P(9) + 6,		false },
	/* around            |-------------------| */
	{ P(10), P(20),	P(5), P(30),			true },
	{ P(10), P(20),	0, TO_THE_END,			true },
	{ P(10), P(20),	0, ULONG_MAX,			true },
	/* empty                       |             , and end before start */
	{ P(10), P(20),	P(15), P(15),			false },
	{ P(10), P(20),	P(10), P(10),			false },
	{ P(10), P(20),	P(15), P(12),			false },
	{ P(10), P(20),	0, 0,				false },

	/*
	 *                        10 11
	 * one page               |--|
	 */
	{ P(10), P(11),	P(9), P(10),			false },
	{ P(10), P(11),	P(11), P(12),			false },
	{ P(10), P(11),	P(10), P(11),			true },
	{ P(10), P(11),	P(9), P(12),			true },

	/*
	 *           0                               the last page
	 * all       |---------------------------------|--|
	 */
	{ 0, ULONG_MAX,	0, P(1),			true },
	{ 0, ULONG_MAX,	P(5), P(6),			true },
	{ 0, ULONG_MAX,	TO_THE_END - P(1), TO_THE_END,	true },
	{ 0, ULONG_MAX,	TO_THE_END, ULONG_MAX,		true },
	{ 0, ULONG_MAX,	0, ULONG_MAX,			true },
	{ 0, ULONG_MAX,	0, 0,				false },

	/*
	 *           0         10                    the last page
	 * to the end          |-----------------------|--|
	 */
	{ P(10), TO_THE_END,	0, P(10),			false },
	{ P(10), TO_THE_END,	P(10), P(11),			true },
	{ P(10), TO_THE_END,	TO_THE_END - P(1), TO_THE_END,	true },
	{ P(10), TO_THE_END,	TO_THE_END, ULONG_MAX,		true },
	{ P(10), ULONG_MAX,	TO_THE_END, ULONG_MAX,		true },
	{ P(10), ULONG_MAX,	0, P(10),			false },

	/* the last page, and the last but one */
	{ TO_THE_END, ULONG_MAX,		TO_THE_END, ULONG_MAX,		true },
	{ TO_THE_END, ULONG_MAX,		0, TO_THE_END,			false },
	{ TO_THE_END - P(2), TO_THE_END - P(1),	TO_THE_END - P(1), ULONG_MAX,	false },
	{ TO_THE_END - P(2), TO_THE_END - P(1),	0, TO_THE_END - P(2),		false },
	{ TO_THE_END - P(2), TO_THE_END - P(1),	0, TO_THE_END - P(1),		true },

	/* the first page */
	{ 0, P(1),	0, P(1),			true },
	{ 0, P(1),	P(1), P(2),			false },
	{ 0, P(1),	0, 1,				true },
	{ 0, P(1),	0, 0,				false },
};

static void expect_hit(struct test_fixture *f, const struct geometry *g, const char *what,
		       bool is)
{
	KUNIT_EXPECT_EQ_MSG(f->test, is, g->hit, "%s: range %lx-%lx, update %lx-%lx", what,
			    g->range_start, g->range_end, g->start, g->end);
}

static void geometry_retry(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	const struct geometry *g;

	hmmt_mirror(f, 0);
	for (g = geometry; g < geometry + ARRAY_SIZE(geometry); g++) {
		struct hmm_mirror_range *range =
			hmmt_range(f, 0, 0, g->range_start, g->range_end);
		struct mmu_notifier_range update = hmmt_update(f, g->start, g->end);
		unsigned long seq = hmmt_begin(f, range);

		hmmt_start(f, &update);
		expect_hit(f, g, "retry", hmm_mirror_range_retry(range, seq));
		expect_hit(f, g, "invalid", !hmmt_is_valid(range));
		hmmt_end(f, &update);
		expect_hit(f, g, "retry after the end",
			   hmm_mirror_range_retry(range, seq));
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
		hmm_mirror_range_unregister(range);
	}
}

/* Expect that an update raises those of the first @nr ranges that it intersects, and no other. */
static void expect_hits(struct test_fixture *f, unsigned int nr, unsigned long start,
			unsigned long end)
{
	unsigned long seq[3];
	unsigned int i;

	for (i = 0; i < nr; i++)
		seq[i] = hmmt_begin(f, &f->range[i]);
	hmmt_start_end(f, start, end);
	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_range *range = &f->range[i];
		const struct geometry g = {
			range->start, range->end, start, end,
			start < range->end && end > range->start,
		};

		expect_hit(f, &g, "retry", hmm_mirror_range_retry(range, seq[i]));
	}
}

/*
 * Hits do not depend on the shape of the tree:
 *
 *	  10       15       20           30          40
 *	0 |-----------------|
 *	1          |-------------------------------|
 *	2                   |------------|
 */
static void geometry_shapes(struct kunit *test)
{
	static const unsigned long bounds[][2] = {
		{ P(10), P(20) }, { P(15), P(40) }, { P(20), P(30) },
	};
	static const unsigned long at[] = {
		P(10) - 1, P(10), P(15) - 1, P(15), P(20) - 1, P(20), P(20) + 1,
		P(30) - 1, P(30), P(40) - 1, P(40), P(40) + 1,
	};
	struct test_fixture *f = test->priv;
	unsigned int o, nr, start, end;

	hmmt_mirror(f, 0);
	for (o = 0; o < ARRAY_SIZE(order); o++) {
		for (nr = 0; nr < 3; nr++) {
			const unsigned long *bound = bounds[order[o][nr]];

			hmmt_range(f, nr, 0, bound[0], bound[1]);
			for (start = 0; start < ARRAY_SIZE(at); start++)
				for (end = start + 1; end < ARRAY_SIZE(at); end++)
					expect_hits(f, nr + 1, at[start], at[end]);
		}
		while (nr--)
			hmm_mirror_range_unregister(&f->range[nr]);
	}
}

static void geometry_late(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	const struct geometry *g;

	hmmt_mirror(f, 0);
	for (g = geometry; g < geometry + ARRAY_SIZE(geometry); g++) {
		struct mmu_notifier_range update = hmmt_update(f, g->start, g->end);
		struct hmm_mirror_range *range;

		hmmt_start(f, &update);
		range = hmmt_range(f, 0, 0, g->range_start, g->range_end);
		expect_hit(f, g, "invalid", !hmmt_is_valid(range));
		hmmt_end(f, &update);
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
		hmm_mirror_range_unregister(range);
	}
}

static void geometry_tracked_only(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = &f->tm[0];
	const struct geometry *g;

	tm->ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	for (g = geometry; g < geometry + ARRAY_SIZE(geometry); g++) {
		struct hmm_mirror_range *range =
			hmmt_range(f, 0, 0, g->range_start, g->range_end);

		atomic_set(&tm->calls, 0);
		hmmt_start_end(f, g->start, g->end);
		expect_hit(f, g, "called", atomic_read(&tm->calls));
		hmm_mirror_range_unregister(range);
	}
}

static void geometry_walk(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	const struct geometry *g;

	for (g = geometry; g < geometry + ARRAY_SIZE(geometry); g++) {
		struct hmm_mirror_range *range =
			hmmt_range(f, 0, 0, g->range_start, g->range_end);
		struct hmm_mirror_range *found;
		unsigned int nr = 0;

		hmm_mirror_for_each_range(found, &tm->mirror, g->start, g->end) {
			KUNIT_EXPECT_PTR_EQ(test, found, range);
			nr++;
		}
		expect_hit(f, g, "found", nr);
		hmm_mirror_range_unregister(range);
	}
}

/* ----------------------------------------------------------------- I1: count */

/*
 * The ends can come in any order, also if the inner update of a nested pair is wider:
 *
 *	start 1			       |--|
 *	  start 2		|-------------|
 *	    start 3				     |--|
 *	  end 1
 *	  end 3
 *	end 2
 */
static void i1_balance(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update[] = {
		hmmt_update(f, P(10), P(12)),
		hmmt_update(f, P(5), P(20)),
		hmmt_update(f, P(30), P(31)),
	};
	unsigned int i, j;

	hmmt_mirror(f, 0);
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		for (j = 0; j < 3; j++) {
			hmmt_start(f, &update[j]);
			KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), j + 1);
		}
		for (j = 0; j < 3; j++) {
			hmmt_end(f, &update[order[i][j]]);
			KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 2 - j);
		}
	}
}

/* An end without a start, as before the subscription, and a second end have no effect. */
static void i1_end_without_start(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range other = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));

	hmmt_end(f, &other);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));

	hmmt_start(f, &update);
	hmmt_end(f, &other);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));

	hmmt_end(f, &update);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

/*
 * mprotect() at address 0 does not call the end. Its update was on a stack, so a later update
 * can be at the same address: its start ends the old invalidation.
 */
static void i1_start_without_end(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range, *next;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	next = hmmt_range(f, 1, 0, P(20), P(30));
	seq = hmmt_begin(f, range);
	hmmt_start(f, &update);

	update.start = P(20);
	update.end = P(30);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(next));

	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(next));
}

/*
 * The event tells at the start that the mm will not call the end. A thread that waits ends
 * the invalidation; a call of begin() without a timeout does not.
 */
static void i1_endless(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, 0, P(20));
	struct mmu_notifier_range second = hmmt_update(f, 0, P(15));
	struct mmu_notifier_range other = hmmt_update(f, P(30), P(40));
	struct hmm_mirror_range *range, *other_range;
	unsigned long seq = 0;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	other_range = hmmt_range(f, 1, 0, P(30), P(40));
	update.event = MMU_NOTIFY_PROTECTION_VMA;
	hmmt_start(f, &update);
	hmmt_start(f, &other);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ETIME);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 2U);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1000), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(other_range));

	/* One wait ends all endless invalidations, and no others. */
	second.event = MMU_NOTIFY_PROTECTION_VMA;
	hmmt_start(f, &update);
	hmmt_start(f, &second);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 3U);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1000), 0);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);

	/* The mm may call the end after all. */
	hmmt_start(f, &update);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), 0);
	/* Neither the event nor address 0 alone makes an invalidation endless. */
	update.start = P(1);
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1), -ETIME);
	hmmt_end(f, &update);
	update.start = 0;
	update.event = MMU_NOTIFY_UNMAP;
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1), -ETIME);
	hmmt_end(f, &update);
	hmmt_end(f, &other);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);

	/* The worker that ended them holds no reference any more. */
	hmmt_watch(f->hmm);
	hmm_mirror_range_unregister(range);
	hmm_mirror_range_unregister(other_range);
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_is_freed()));
}

/* -------------------------------------------------------------- I2: validity */

/* A range is valid once both updates that intersect have ended, in any order. */
static void i2_validity_is_exact(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range below = hmmt_update(f, P(5), P(11));
	struct mmu_notifier_range above = hmmt_update(f, P(19), P(25));
	struct mmu_notifier_range other = hmmt_update(f, P(20), P(30));
	struct hmm_mirror_range *range;
	unsigned int i;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &other);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	for (i = 0; i < 2; i++) {
		hmmt_start(f, &below);
		hmmt_start(f, &above);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
		hmmt_end(f, i ? &above : &below);
		KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
		hmmt_end(f, i ? &below : &above);
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	}
	hmmt_end(f, &other);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
}

/* The end of one invalidation does not make a range valid that another one intersects. */
static void i2_validity_is_per_range(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range u = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range v = hmmt_update(f, P(30), P(40));
	struct hmm_mirror_range *a, *b, *both;

	hmmt_mirror(f, 0);
	a = hmmt_range(f, 0, 0, P(10), P(20));
	b = hmmt_range(f, 1, 0, P(30), P(40));
	both = hmmt_range(f, 2, 0, P(0), P(50));

	hmmt_start(f, &u);
	hmmt_start(f, &v);
	hmmt_end(f, &u);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(a));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(b));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(both));
	hmmt_end(f, &v);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(b));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(both));
}

/* -------------------------------------------------------------- I3: sequence */

/* A sequence is stale if and only if an invalidation that intersects has begun since. */
static void i3_stale_iff_hit(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	hmmt_start_end(f, P(0), P(10));
	hmmt_start_end(f, P(20), P(30));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmmt_begin(f, range), seq);

	hmmt_start_end(f, P(19), P(20));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
}

/* A sequence never comes back, neither after a failed start nor in a new range. */
static void i3_sequence_only_grows(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));
	unsigned long seq = hmmt_begin(f, range), first = seq;
	unsigned int i;

	for (i = 0; i < 30; i++) {
		unsigned long last = seq;

		tm->hook = NULL;
		switch (i % 3) {
		case 0:
			tm->hook = hmmt_hook_eagain;
			KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
			break;
		case 1:
			hmmt_start_end(f, P(10), P(20));
			break;
		case 2:
			hmm_mirror_range_unregister(range);
			range = hmmt_range(f, 0, 0, P(10), P(20));
			break;
		}
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, last));
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, first));
		seq = hmmt_begin(f, range);
		KUNIT_EXPECT_GT(test, seq, last);
	}
}

/* The 2019 API, where the sequence is in the range. */
static void i3_valid_has_no_aba(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(15), P(16));
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_valid(range));

	hmmt_start(f, &update);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_wait_until_valid(range, 0));
	hmmt_end(f, &update);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));

	/* begin() of another fault does not make the pages of this one valid. */
	hmmt_begin(f, range);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));

	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_valid(range));
}

/* ----------------------------------------------------------------- I4: order */

/* When the first callback runs, the sequences of all ranges are raised. */
static int hook_all_have_moved(struct test_mirror *tm,
			       const struct mmu_notifier_range *update)
{
	struct test_fixture *f = tm->f;
	unsigned int i;

	KUNIT_EXPECT_EQ(f->test, hmmt_in_flight(f), 1U);
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_FALSE(f->test, hmm_mirror_range_valid(&f->range[i]));
		KUNIT_EXPECT_FALSE(f->test, hmmt_is_valid(&f->range[i]));
	}
	return 0;
}

static void i4_sequence_before_callback(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	hmmt_two_pass(f, 1);
	f->tm[2].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	for (i = 0; i < 4; i++) {
		hmmt_mirror(f, i);
		f->tm[i].hook = hook_all_have_moved;
		hmmt_range(f, i, i, P(10 * i), P(40));
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(&f->range[i], 0));
	}
	hmmt_start_end(f, P(39), P(50));
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[i].calls), 1);
}

/* The same in release(): a device PTE that is installed later would never be removed. */
static void hook_dead(struct test_mirror *tm)
{
	struct test_fixture *f = tm->f;
	unsigned long seq;

	KUNIT_EXPECT_FALSE(f->test, hmm_mirror_range_valid(&f->range[0]));
	KUNIT_EXPECT_EQ(f->test, hmm_mirror_range_begin(&f->range[0], &seq, 0), -ESRCH);
}

static void i4_invalid_before_release(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct hmm_mirror_range *range = hmmt_range(f, 0, 0, P(10), P(20));

	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	tm->release_hook = hook_dead;
	hmmt_release(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&tm->releases), 1);
}

/* ------------------------------------------------------ I5: late registration */

/*
 *	start 1
 *	register
 *	  start 2
 *	end 1
 *	  end 2: only now it is valid
 */
static void i5_late_registration(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range u = hmmt_update(f, P(5), P(11));
	struct mmu_notifier_range v = hmmt_update(f, P(19), P(25));
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	hmmt_start(f, &u);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	hmmt_start(f, &v);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	hmmt_end(f, &u);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	hmmt_end(f, &v);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
}

static bool is_clean(const struct hmm_mirror_range *range)
{
	return !(READ_ONCE(range->state) & HMM_MIRROR_RANGE_DIRTY);
}

/* If nothing in flight intersects a range when it is registered, begin() needs no lock. */
static void i5_born_clean(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(30), P(40));

	hmmt_mirror(f, 0);
	KUNIT_EXPECT_TRUE(test, is_clean(hmmt_range(f, 0, 0, P(30), P(40))));
	hmmt_start(f, &update);
	KUNIT_EXPECT_TRUE(test, is_clean(hmmt_range(f, 1, 0, P(10), P(30))));
	KUNIT_EXPECT_FALSE(test, is_clean(hmmt_range(f, 2, 0, P(30), P(40))));
	hmmt_end(f, &update);
}

/* A range is unregistered during an invalidation. The end must not access it. */
static void i5_unregister_in_flight(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_start(f, &update);
	hmm_mirror_range_unregister(range);
	memset(range, 0x5a, sizeof(*range));
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
	memset(range, 0, sizeof(*range));
}

HMMT_LOCKED(i5_born_clean)

/* ---------------------------------------------------------- I7: non-blockable */

/* Three kinds of mirrors and more invalidations than slots. */
static void three_mirrors(struct test_fixture *f)
{
	unsigned int i;

	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_two_pass(f, 2);
	for (i = 0; i < 3; i++) {
		hmmt_mirror(f, i);
		hmmt_range(f, i, i, P(10), P(20 + i));
	}
}

#define NR_MANY	(HMMT_SLOTS + 6)

static void many_updates(struct test_fixture *f, struct mmu_notifier_range *update)
{
	unsigned int i;

	for (i = 0; i < NR_MANY; i++)
		update[i] = hmmt_update_nonblock(f, P(i), P(i + 1));
}

/* start fails only if a callback does, and then nothing is in flight. */
static void i7_only_a_driver_fails(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	bool tainted = hmmt_tainted();
	struct mmu_notifier_range *update;
	unsigned int i;

	update = kunit_kzalloc(test, NR_MANY * sizeof(*update), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, update);
	many_updates(f, update);
	three_mirrors(f);
	for (i = 0; i < NR_MANY; i++)
		KUNIT_EXPECT_EQ(test, hmmt_start(f, &update[i]), 0);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), (unsigned int)NR_MANY);
	for (i = 0; i < NR_MANY; i++)
		hmmt_end(f, &update[i]);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);

	for (i = 0; i < 3; i++) {
		f->tm[i].hook = hmmt_hook_eagain;
		update[0] = hmmt_update_nonblock(f, P(10), P(20));
		KUNIT_EXPECT_EQ(test, hmmt_start(f, &update[0]), -EAGAIN);
		KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
		KUNIT_EXPECT_TRUE(test, hmmt_is_valid(&f->range[i]));
		/* A blockable invalidation does not fail. */
		hmmt_start_end(f, P(10), P(20));
		f->tm[i].hook = NULL;
	}
	KUNIT_EXPECT_EQ(test, hmmt_tainted(), tainted);
}

/* --------------------------------------------------------- I9: no allocation */

/* Nothing may sleep, as an allocation could: in a hit, a miss, and without a free slot. */
static void i9_atomic(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	bool tainted = hmmt_tainted();
	struct mmu_notifier_range *update;
	unsigned int i;

	update = kunit_kzalloc(test, NR_MANY * sizeof(*update), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, update);
	many_updates(f, update);
	three_mirrors(f);
	preempt_disable();
	for (i = 0; i < NR_MANY; i++)
		hmmt_start(f, &update[i]);
	for (i = 0; i < NR_MANY; i++)
		hmmt_end(f, &update[i]);
	preempt_enable();
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_EQ(test, hmmt_tainted(), tainted);
}

/* Reclaim calls the core. */
static void i9_inside_reclaim(struct kunit *test)
{
#ifdef CONFIG_LOCKDEP
	struct test_fixture *f = test->priv;
	int on = debug_locks;
	struct mmu_notifier_range update = hmmt_update(f, P(15), P(16));

	three_mirrors(f);
	fs_reclaim_acquire(GFP_KERNEL);
	hmmt_start(f, &update);
	hmmt_end(f, &update);
	hmmt_start_end(f, P(30), P(31));
	hmmt_release(f);
	fs_reclaim_release(GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, debug_locks, on);
#else
	hmmt_skip(test, "without lockdep");
#endif
}

/* Calls that are allowed under the driver lock, and with a timeout of 0 in atomic context. */
static void atomic_contexts(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	bool tainted = hmmt_tainted();
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range = &f->range[0];
	unsigned long seq;
	int ret, late;

	hmmt_start(f, &update);
	range->start = P(10);
	range->end = P(20);
	mutex_lock(&tm->lock);
	preempt_disable();
	ret = hmm_mirror_range_register(range, &tm->mirror);
	late = hmm_mirror_range_begin(range, &seq, 0);
	hmm_mirror_range_unregister(range);
	preempt_enable();
	mutex_unlock(&tm->lock);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, late, -ETIME);
	KUNIT_EXPECT_EQ(test, hmmt_tainted(), tainted);
}

/* ------------------------------------------------------------------ I8: life */

static void i8_no_call_after_unregister(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < 3; i++)
		hmmt_mirror(f, i);
	hmm_mirror_unregister(&f->tm[1].mirror);
	hmmt_start_end(f, P(10), P(20));
	hmmt_release(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].releases), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].releases), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].releases), 1);

	hmm_mirror_unregister(&f->tm[0].mirror);
	hmm_mirror_unregister(&f->tm[2].mirror);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[i].releases), i != 1);
}

/* Ranges of an unregistered mirror stay invalid; those of other mirrors are not affected. */
static void i8_unregister_with_ranges(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range, *other;
	unsigned long seq, other_seq;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	other = hmmt_range(f, 1, 1, P(10), P(20));
	seq = hmmt_begin(f, range);
	other_seq = hmmt_begin(f, other);

	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_TRUE(test, !range->mirror);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(other, other_seq));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 2U);

	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 1), -ESRCH);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(other));

	hmm_mirror_range_unregister(range);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

static void i8_dead(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_range *range;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	seq = hmmt_begin(f, range);

	hmmt_release(f);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test,
			hmm_mirror_range_begin(range, &seq, HMM_MIRROR_WAIT_FOREVER),
			-ESRCH);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_wait_until_valid(range, 1));

	/* An invalidation can begin and end after release(). */
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
	hmmt_end(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);

	f->range[1].start = P(30);
	f->range[1].end = P(40);
	KUNIT_EXPECT_EQ(test,
			hmm_mirror_range_register(&f->range[1], &f->tm[0].mirror),
			-ESRCH);
	/* hmmt_exit() must not unregister it. */
	f->range[1].mirror = NULL;
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

/* Range, mirror and mm go in any order. Another mirror keeps the structure of the mm. */
static void i8_any_order(struct kunit *test)
{
	static const char * const orders[] = {
		"rmd", "rdm", "mrd", "mdr", "drm", "dmr",
	};
	struct test_fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		struct test_mirror *tm = &f->tm[1];
		struct hmm_mirror_range *range;
		const char *step;
		bool dead = false, released = false;

		hmmt_mirror(f, 0);
		atomic_set(&tm->releases, 0);
		hmmt_mirror(f, 1);
		range = hmmt_range(f, 0, 1, P(10), P(20));
		for (step = orders[i]; *step; step++) {
			switch (*step) {
			case 'r':
				hmm_mirror_range_unregister(range);
				KUNIT_EXPECT_EQ(test, hmmt_users(f), 0U);
				break;
			case 'm':
				hmm_mirror_unregister(&tm->mirror);
				released = dead;
				break;
			case 'd':
				hmmt_release(f);
				dead = true;
				break;
			}
			KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
		}
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&tm->releases), (int)released,
				    "%s", orders[i]);
		hmm_mirror_unregister(&f->tm[0].mirror);
	}
}

/* A mirror and a range need no zeroing, and can be registered again. */
static void i8_again(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range = &f->range[0];
	struct test_mirror *tm = &f->tm[0];
	unsigned long seq = 0;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		memset(range, 0xa5, sizeof(*range));
		memset(&tm->mirror, 0xa5, sizeof(tm->mirror));
		hmmt_mirror(f, 0);
		KUNIT_EXPECT_PTR_EQ(test, tm->mirror.mm, f->mm);
		hmmt_range(f, 0, 0, P(10), P(20));
		KUNIT_EXPECT_PTR_EQ(test, range->mirror, &tm->mirror);
		KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
		seq = hmmt_begin(f, range);
		if (i & 1)
			hmm_mirror_range_unregister(range);
		hmm_mirror_unregister(&tm->mirror);
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
		if (!(i & 1))
			hmm_mirror_range_unregister(range);
	}
}

/* The core holds mm_count until the last mirror and range are unregistered, not longer. */
static void i8_mm_count(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	int before = atomic_read(&f->mm->mm_count);
	int users = atomic_read(&f->mm->mm_users);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		hmmt_mirror(f, 0);
		hmmt_mirror(f, 1);
		hmmt_range(f, i, 0, P(10), P(20));
		hmmt_begin(f, &f->range[i]);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), users);
		hmm_mirror_unregister(&f->tm[0].mirror);
		hmm_mirror_unregister(&f->tm[1].mirror);
	}
	/* Idle CPUs hold a few references, too. */
	KUNIT_EXPECT_GE(test, atomic_read(&f->mm->mm_count), before + 15);
	for (i = 0; i < 20; i++)
		hmm_mirror_range_unregister(&f->range[i]);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&f->mm->mm_count) < before + 5));
}

/* The structure of the mm and its filter are freed with the last mirror. */
static void i8_all_is_freed(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		hmmt_mirror(f, 0);
		hmmt_watch(i ? (void *)f->hmm : (void *)f->hmm->filter);
		hmm_mirror_unregister(&f->tm[0].mirror);
		KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_is_freed()));
	}
}

/* ---------------------------------------------------------------- two passes */

static void expect_trace(struct test_fixture *f, const char *expected)
{
	const char *trace = f->trace;

	KUNIT_EXPECT_STREQ(f->test, trace, expected);
}

static void two_pass_order(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	hmmt_two_pass(f, 0);
	hmmt_two_pass(f, 2);
	for (i = 0; i < 3; i++)
		hmmt_mirror(f, i);
	hmmt_start_end(f, P(10), P(20));
	expect_trace(f, "acAC");
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
}

/* Return the position in the trace, or its length if @c is not there. */
static unsigned int traced_at(struct test_fixture *f, char c)
{
	const char *at = strchr(f->trace, c);

	return at ? at - f->trace : TEST_TRACE;
}

/* Each mirror gets both passes, once, in order; as many as there is room for overlap. */
static void two_pass_more_than_room(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < TEST_MIRRORS; i++) {
		hmmt_two_pass(f, i);
		hmmt_mirror(f, i);
	}
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, f->traced, 2U * TEST_MIRRORS);
	for (i = 0; i < TEST_MIRRORS; i++) {
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[i].calls), 1);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[i].finishes), 1);
		KUNIT_EXPECT_LT(test, traced_at(f, 'a' + i), traced_at(f, 'A' + i));
	}
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_GT(test, traced_at(f, 'A' + i),
				traced_at(f, 'a' + TEST_MIRRORS - 1));
	/* Seven can overlap. Each of the others is finished at once. */
	KUNIT_EXPECT_STREQ(test, (const char *)f->trace, "abcdefghHiIjJkKlLABCDEFG");
}

/* c returns -EAGAIN: a and b are finished, c is not, d is not called. */
static void two_pass_eagain(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	unsigned int i;

	for (i = 0; i < 4; i++) {
		hmmt_two_pass(f, i);
		hmmt_mirror(f, i);
	}
	f->tm[2].hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
	expect_trace(f, "abcAB");
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 0U);
}

/* As above, with more mirrors than can overlap. */
static void two_pass_eagain_more_than_room(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));
	const unsigned int last = TEST_MIRRORS - 1;
	unsigned int i;

	for (i = 0; i < TEST_MIRRORS; i++) {
		hmmt_two_pass(f, i);
		hmmt_mirror(f, i);
	}
	f->tm[last].hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
	for (i = 0; i < TEST_MIRRORS; i++)
		KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[i].finishes), i != last);
}

/* As above, but a mirror with one pass fails. */
static void two_pass_other_fails(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update_nonblock(f, P(10), P(20));

	hmmt_two_pass(f, 0);
	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	f->tm[1].hook = hmmt_hook_eagain;
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &update), -EAGAIN);
	expect_trace(f, "aA");
}

/* ------------------------------------------------------------ updates and ranges */

/* Two mirrors are called for their ranges only, and one for every update. */
static void tracked_only(struct kunit *test)
{
	static const struct {
		unsigned long start, end;
		int calls[3];
	} updates[] = {
		/*	 10  20  30	*/
		/* 0	|---|		*/
		/* 1	    |---|	*/
		{ P(5), P(10),		{ 0, 0, 1 } },
		{ P(5), P(11),		{ 1, 0, 1 } },
		{ P(19), P(21),		{ 1, 1, 1 } },
		{ P(20), P(21),		{ 0, 1, 1 } },
		{ P(30), P(40),		{ 0, 0, 1 } },
		{ 0, ULONG_MAX,		{ 1, 1, 1 } },
	};
	struct test_fixture *f = test->priv;
	unsigned int i, j;

	for (i = 0; i < 3; i++) {
		if (i < 2)
			f->tm[i].ops.flags = HMM_MIRROR_TRACKED_ONLY;
		hmmt_mirror(f, i);
	}
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(20), P(30));
	for (i = 0; i < ARRAY_SIZE(updates); i++) {
		for (j = 0; j < 3; j++)
			atomic_set(&f->tm[j].calls, 0);
		hmmt_start_end(f, updates[i].start, updates[i].end);
		for (j = 0; j < 3; j++)
			KUNIT_EXPECT_EQ_MSG(test, atomic_read(&f->tm[j].calls),
					    updates[i].calls[j],
					    "update %u, mirror %u", i, j);
	}

	hmm_mirror_range_unregister(&f->range[0]);
	atomic_set(&f->tm[0].calls, 0);
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
}

/* The callback gets the bounds unchanged. */
static void update_bounds(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);

	hmmt_start_end(f, P(10) + 3, P(20) + 5);
	KUNIT_EXPECT_EQ(test, tm->start, P(10) + 3);
	KUNIT_EXPECT_EQ(test, tm->end, P(20) + 5);
	hmmt_start_end(f, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, tm->start, 0UL);
	KUNIT_EXPECT_EQ(test, tm->end, ULONG_MAX);
}

/*
 *		 10  20  30  40
 *	0	|-------|
 *	1	    |-------|
 *	2	|---------------|
 *	3	    |---|		of another mirror
 *	4		    |---|
 */
static void walk(struct kunit *test)
{
	static const struct {
		unsigned long start, end;
		unsigned long found;
	} walks[] = {
		{ P(0), P(10),		0 },
		{ P(0), P(11),		BIT(0) | BIT(2) },
		{ P(20), P(21),		BIT(0) | BIT(1) | BIT(2) },
		{ P(30), P(31),		BIT(1) | BIT(2) },
		{ P(40), P(50),		BIT(4) },
		{ 0, ULONG_MAX,		BIT(0) | BIT(1) | BIT(2) | BIT(4) },
		{ P(50), ULONG_MAX,	0 },
	};
	struct test_fixture *f = test->priv;
	unsigned int i;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 4, 0, P(40), P(50));
	hmmt_range(f, 3, 1, P(20), P(30));
	hmmt_range(f, 2, 0, P(10), P(40));
	hmmt_range(f, 1, 0, P(20), P(40));
	hmmt_range(f, 0, 0, P(10), P(30));
	for (i = 0; i < ARRAY_SIZE(walks); i++) {
		struct hmm_mirror_range *range;
		unsigned long found = 0, last = 0;

		hmm_mirror_for_each_range(range, &f->tm[0].mirror,
					  walks[i].start, walks[i].end) {
			KUNIT_EXPECT_LE(test, last, range->start);
			KUNIT_EXPECT_FALSE(test, found & BIT(range - f->range));
			found |= BIT(range - f->range);
			last = range->start;
		}
		KUNIT_EXPECT_EQ(test, found, walks[i].found);
	}
}

/* ------------------------------------------------------------ resize and split */

/* A resize raises the sequence. The new bounds count, also for invalidations in flight. */
static void range_resize(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(5), P(8));
	struct hmm_mirror_range *range, *other;
	unsigned long seq, other_seq;
	unsigned int rebounds;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	other = hmmt_range(f, 1, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_wait_until_valid(range, 0));
	other_seq = hmmt_begin(f, other);
	hmmt_start(f, &update);

	seq = hmmt_begin(f, range);
	rebounds = f->hmm->rebounds;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(7), P(15)), 0);
	/* An invalidation that has searched the tree without the lock sees this. */
	KUNIT_EXPECT_NE(test, f->hmm->rebounds, rebounds);
	KUNIT_EXPECT_EQ(test, range->start, P(7));
	KUNIT_EXPECT_EQ(test, range->end, P(15));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(range));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(8), P(15)), 0);
	seq = hmmt_begin(f, range);
	hmmt_end(f, &update);

	hmmt_start_end(f, P(15), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(other, other_seq));
	hmmt_start_end(f, P(8), P(9));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 2U);
}

static void range_split(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = hmmt_mirror(f, 0);
	struct mmu_notifier_range update = hmmt_update(f, P(12), P(14));
	struct hmm_mirror_range *head = hmmt_range(f, 0, 0, P(10), P(20));
	struct hmm_mirror_range *tail = &f->range[1];
	unsigned long seq = hmmt_begin(f, head), tail_seq;

	memset(tail, 0xa5, sizeof(*tail));
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(head, P(15), tail), 0);
	KUNIT_EXPECT_EQ(test, head->start, P(10));
	KUNIT_EXPECT_EQ(test, head->end, P(15));
	KUNIT_EXPECT_EQ(test, tail->start, P(15));
	KUNIT_EXPECT_EQ(test, tail->end, P(20));
	KUNIT_EXPECT_PTR_EQ(test, tail->mirror, &tm->mirror);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 2U);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(head, seq));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(tail, seq));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_valid(tail));
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(head));
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(tail));
	hmmt_end(f, &update);

	seq = hmmt_begin(f, head);
	tail_seq = hmmt_begin(f, tail);
	hmmt_start_end(f, P(19), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(head, seq));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(tail, tail_seq));
	hmmt_start_end(f, P(14), P(15));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(head, seq));
}

static void bounds_are_refused(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range, *tail = &f->range[1];
	unsigned long seq;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	range = hmmt_range(f, 0, 0, P(10), P(20));
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(10)), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(20), P(10)), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10) + 1, P(20)), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(20) + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(10), tail), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(20), tail), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15) + 1, tail), -EINVAL);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15), NULL), -EINVAL);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));

	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(15)), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15), tail), -ESRCH);
	hmm_mirror_range_unregister(range);

	range = hmmt_range(f, 0, 1, P(10), P(20));
	hmmt_release(f);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(10), P(15)), -ESRCH);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(range, P(15), tail), -ESRCH);
	KUNIT_EXPECT_EQ(test, range->end, P(20));
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
}

static bool get_if_even(struct hmm_mirror_range *range)
{
	return !((range->start >> PAGE_SHIFT) & 1);
}

/*
 *		 10  20  30  40
 *	0	 |---|
 *	1	     |---|		of another mirror
 *	2	         |---|
 *	3	  |------------|	starts at 11
 */
static void range_lookup(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror *mirror = &hmmt_mirror(f, 0)->mirror;
	struct hmm_mirror_range *r = f->range;

	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(20), P(30));
	hmmt_range(f, 2, 0, P(30), P(40));
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(10), NULL), &r[0]);
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(20) - 1, NULL), &r[0]);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, P(10) - 1, NULL));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, P(20), NULL));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, P(30) - 1, NULL));
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(30), NULL), &r[2]);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, P(40), NULL));

	hmmt_range(f, 3, 0, P(11), P(35));
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(15), get_if_even), &r[0]);
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(34), get_if_even), &r[2]);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, P(25), get_if_even));
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, P(25), NULL), &r[3]);
}

/* release(), and a callback that runs at the same time, find the ranges. */
static void walk_dead(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_first(&f->tm[0].mirror, 0, ULONG_MAX));
	hmmt_release(f);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_first(&f->tm[0].mirror, 0, ULONG_MAX));
}

/* An orphan range has no next range, because it is in no tree. */
static void walk_orphan(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	for (i = 0; i < 5; i++)
		hmmt_range(f, i, i == 4, P(10) + P(i), P(20));
	hmm_mirror_unregister(&f->tm[0].mirror);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE(test, hmm_mirror_range_next(&f->range[i], 0, ULONG_MAX));
}

/* This member had another name until 5.13. */
#ifdef HMM_MIRROR_COMPAT_PGMAP_OWNER
#define update_owner migrate_pgmap_owner
#else
#define update_owner owner
#endif

static void update_is_own(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));

	update.update_owner = f;
	KUNIT_EXPECT_FALSE(test, hmm_mirror_update_is_own(&update, f));
	update.event = MMU_NOTIFY_MIGRATE;
	KUNIT_EXPECT_TRUE(test, hmm_mirror_update_is_own(&update, f));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_update_is_own(&update, test));
	update.update_owner = NULL;
	KUNIT_EXPECT_FALSE(test, hmm_mirror_update_is_own(&update, NULL));
#ifdef HMM_MIRROR_COMPAT_EXCLUSIVE
	update.event = MMU_NOTIFY_EXCLUSIVE;
	update.update_owner = f;
	KUNIT_EXPECT_TRUE(test, hmm_mirror_update_is_own(&update, f));
#endif
}

/* -------------------------------------------------------------------- filter */

/* Return true if an update hits @range: the filter must not return a false negative. */
static bool is_hit(struct test_fixture *f, struct hmm_mirror_range *range,
		   unsigned long start, unsigned long end)
{
	unsigned long seq = hmmt_begin(f, range);

	hmmt_start_end(f, start, end);
	return hmm_mirror_range_retry(range, seq);
}

/*
 *		16		32		48		64
 * 0		|-| 16-18
 * 1		|-| 16-18
 * 2						  |-----| 52-62
 * 3			       |-| 31-33, in two chunks
 */
static void filter_counts(struct kunit *test)
{
	static const struct { unsigned long start, end; } at[] = {
		{ P(16), P(18) }, { P(16), P(18) }, { P(52), P(62) },
		{ P(31), P(33) },
	};
	struct test_fixture *f = test->priv;
	unsigned int i, j;

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	KUNIT_EXPECT_EQ(test, f->hmm->levels, 0ULL);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		hmmt_range(f, i, 0, at[i].start, at[i].end);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (j = i; j < ARRAY_SIZE(at); j++) {
			KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[j], at[j].start,
						       at[j].start + P(1)));
			KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[j], at[j].end - P(1),
						       at[j].end));
		}
		hmm_mirror_range_unregister(&f->range[i]);
	}
	KUNIT_EXPECT_EQ(test, f->hmm->levels, 0ULL);
	for (i = 0; i < f->hmm->filter->nr; i++)
		KUNIT_EXPECT_EQ(test, (int)f->hmm->filter->cell[i], 0);
}

/* A range that was resized is counted at its new bounds, and nowhere else. */
static void filter_follows(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	unsigned int i;

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(16), P(17));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_resize(range, P(64), P(80)), 0);
	KUNIT_EXPECT_TRUE(test, is_hit(f, range, P(79), P(80)));
	hmm_mirror_range_unregister(range);
	KUNIT_EXPECT_EQ(test, f->hmm->levels, 0ULL);
	for (i = 0; i < f->hmm->filter->nr; i++)
		KUNIT_EXPECT_EQ(test, (int)f->hmm->filter->cell[i], 0);
}

static struct hmm_mirror_range *many_ranges(struct kunit *test, unsigned int nr,
					    unsigned long stride)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	unsigned int i;

	range = kunit_kzalloc(test, array_size(nr, sizeof(*range)), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, range);
	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	for (i = 0; i < nr; i++) {
		range[i].start = P(1) + i * stride;
		range[i].end = range[i].start + P(1);
		KUNIT_ASSERT_EQ(test, hmm_mirror_range_register(&range[i], &f->tm[0].mirror), 0);
	}
	return range;
}

/* One cell has more ranges than it can count. */
static void filter_has_many(struct kunit *test)
{
	const unsigned int nr = 2 * U8_MAX + 3;
	struct hmm_mirror_range *range = many_ranges(test, nr, 0);
	struct test_fixture *f = test->priv;
	unsigned int i;

	/* No range has left a saturated cell. */
	flush_work(&f->hmm->grow);
	KUNIT_EXPECT_EQ(test, f->hmm->filter->stale, 0U);
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_TRUE(test, is_hit(f, &range[i], P(1), P(2)));
		hmm_mirror_range_unregister(&range[i]);
	}
}

static u8 *cell_in_use(struct test_fixture *f)
{
	struct hmm_mirror_filter *filter = f->hmm->filter;
	unsigned int i;

	for (i = 0; i < filter->nr; i++)
		if (filter->cell[i])
			return &filter->cell[i];
	return NULL;
}

/* Two ranges have the same cell, and different parts of it. */
static void filter_tells_apart(struct kunit *test)
{
	const unsigned int one = HMM_MIRROR_CELL_PARTS;
	struct test_fixture *f = test->priv;
	unsigned long there = P(16);
	u8 *cell, here, both;

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(16), P(17));
	cell = cell_in_use(f);
	KUNIT_ASSERT_TRUE(test, cell);
	here = *cell;
	KUNIT_EXPECT_EQ(test, here / one, 1U);
	while (true) {
		there += P(1);
		hmmt_range(f, 1, 0, there, there + P(1));
		both = *cell;
		if (both / one == 2 && both % one)
			break;
		hmm_mirror_range_unregister(&f->range[1]);
	}
	KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[0], P(16), P(17)));
	KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[1], there, there + P(1)));

	/* If the cell counted only one of them, an update of the other would be a miss. */
	*cell = here;
	KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[0], P(16), P(17)));
	KUNIT_EXPECT_FALSE(test, is_hit(f, &f->range[1], there, there + P(1)));
	*cell = both;

	hmm_mirror_range_unregister(&f->range[0]);
	KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[1], there, there + P(1)));
	hmmt_range(f, 0, 0, P(16), P(17));
	hmm_mirror_range_unregister(&f->range[1]);
	KUNIT_EXPECT_TRUE(test, is_hit(f, &f->range[0], P(16), P(17)));
	KUNIT_EXPECT_EQ(test, *cell, here);
	hmm_mirror_range_unregister(&f->range[0]);
	KUNIT_EXPECT_EQ(test, *cell, (u8)0);
}

/* Cells that were saturated do not stay in use for ever. */
static void filter_is_renewed(struct kunit *test)
{
	const unsigned int nr = U8_MAX / HMM_MIRROR_CELL_PARTS + 1;
	struct hmm_mirror_range *range = many_ranges(test, nr, 0);
	struct test_fixture *f = test->priv;
	unsigned int rounds = 2 * f->hmm->filter->room / nr;
	struct hmm_mirror_filter *filter;
	unsigned int round, i, used = 0;

	for (round = 0; round < rounds; round++) {
		/* A worker that replaces the filter now counts only the remaining ranges. */
		bool replaced = hmmt_users(f) != nr;

		for (i = 0; i < nr; i++)
			hmm_mirror_range_unregister(&range[i]);
		KUNIT_EXPECT_TRUE(test, replaced || cell_in_use(f));
		for (i = 0; i < nr; i++) {
			range[i].start += P(1);
			range[i].end += P(1);
			KUNIT_ASSERT_EQ(test, 0, hmm_mirror_range_register(&range[i],
									   &f->tm[0].mirror));
		}
	}
	/* The work is already queued. */
	flush_work(&f->hmm->grow);
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_TRUE(test, is_hit(f, &range[i], range[i].start, range[i].end));
		hmm_mirror_range_unregister(&range[i]);
	}
	filter = f->hmm->filter;
	for (i = 0; i < filter->nr; i++)
		used += !!filter->cell[i];
	KUNIT_EXPECT_LE(test, used, 2U);
	/* Only a registration queues the work, and none has followed the last ranges. */
	KUNIT_EXPECT_LT(test, filter->stale, filter->room + nr);
}

/* If there are more ranges than the filter has room for, a larger one replaces it. */
static void filter_grows(struct kunit *test)
{
	const unsigned int nr = 2000;
	struct hmm_mirror_range *range = many_ranges(test, nr, P(3));
	struct test_fixture *f = test->priv;
	unsigned int i;

	/* The work is already queued. */
	flush_work(&f->hmm->grow);
	KUNIT_EXPECT_GE(test, f->hmm->filter->nr, (u64)nr);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), nr);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_TRUE(test, is_hit(f, &range[i], range[i].start, range[i].end));
	for (i = 0; i < nr; i++)
		hmm_mirror_range_unregister(&range[i]);
	for (i = 0; i < f->hmm->filter->nr; i++)
		KUNIT_ASSERT_EQ(test, (int)f->hmm->filter->cell[i], 0);
}

/* The filter is replaced once it has no room for another range. The old one is freed. */
static void filter_grows_in_time(struct kunit *test)
{
	const unsigned int nr = 62;
	struct hmm_mirror_range *range = many_ranges(test, nr, 0);
	struct test_fixture *f = test->priv;
	struct hmm_mirror_filter *filter = f->hmm->filter;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, filter->room, nr + 2);
	hmmt_watch(filter);
	hmmt_range(f, 0, 0, P(1), P(2));
	flush_work(&f->hmm->grow);
	KUNIT_EXPECT_PTR_EQ(test, f->hmm->filter, filter);
	hmmt_range(f, 1, 0, P(1), P(2));
	flush_work(&f->hmm->grow);
	KUNIT_EXPECT_GT(test, f->hmm->filter->room, nr + 2);
	KUNIT_EXPECT_TRUE(test, hmmt_is_freed());
	for (i = 0; i < nr; i++)
		hmm_mirror_range_unregister(&range[i]);
}

/* A mirror is called for its own ranges only, also after a mirror with two passes. */
static void tracked_only_behind_two_passes(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_two_pass(f, 0);
	hmmt_mirror(f, 0);
	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(30), P(40));
	hmmt_start_end(f, P(10), P(20));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 0);
	hmmt_start_end(f, P(30), P(40));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].finishes), 2);
}

/* Neither a mirror nor a range needs zeroing. */
static void needs_no_zeroing(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror *mirror = &f->tm[0].mirror;
	struct hmm_mirror_range *range = &f->range[0];
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	unsigned int byte, i;
	unsigned long seq;

	for (i = 0; i < 2; i++) {
		byte = i ? 0xff : 0x5a;
		memset(mirror, byte, sizeof(*mirror));
		memset(range, byte, sizeof(*range));
		hmmt_mirror(f, 0);
		KUNIT_EXPECT_PTR_EQ(test, mirror->mm, f->mm);
		KUNIT_EXPECT_EQ(test, mirror->nr_ranges, 0UL);
		hmmt_range(f, 0, 0, P(10), P(20));
		KUNIT_EXPECT_EQ(test, mirror->nr_ranges, 1UL);
		KUNIT_EXPECT_PTR_EQ(test, range->mirror, mirror);
		seq = hmmt_begin(f, range);
		hmmt_start(f, &update);
		KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
		hmmt_end(f, &update);
		hmm_mirror_unregister(mirror);
		KUNIT_EXPECT_TRUE(test, !range->mirror);
		KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, 0), -ESRCH);
		hmm_mirror_range_unregister(range);
	}
}

/* Mirrors without HMM_MIRROR_TRACKED_ONLY are called where no range is, and can come and go. */
static void always_called(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	f->tm[0].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	for (i = 0; i < 3; i++)
		hmmt_mirror(f, i);
	hmmt_start_end(f, P(10), P(11));
	hmm_mirror_unregister(&f->tm[1].mirror);
	hmmt_start_end(f, P(10), P(11));
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[2].calls), 2);
	hmm_mirror_unregister(&f->tm[2].mirror);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_always, 0U);
	hmmt_mirror(f, 1);
	hmmt_mirror(f, 2);
}

/* The same with locked slots. */
HMMT_LOCKED(geometry_retry)
HMMT_LOCKED(geometry_late)
HMMT_LOCKED(i1_balance)
HMMT_LOCKED(i1_endless)
HMMT_LOCKED(i2_validity_is_exact)
HMMT_LOCKED(i2_validity_is_per_range)
HMMT_LOCKED(i5_late_registration)

static struct kunit_case hmm_mirror_cases[] = {
	KUNIT_CASE(geometry_retry),
	KUNIT_CASE(geometry_shapes),
	KUNIT_CASE(geometry_late),
	KUNIT_CASE(geometry_tracked_only),
	KUNIT_CASE(geometry_walk),
	KUNIT_CASE(i1_balance),
	KUNIT_CASE(i1_end_without_start),
	KUNIT_CASE(i1_start_without_end),
	KUNIT_CASE(i1_endless),
	KUNIT_CASE(i2_validity_is_exact),
	KUNIT_CASE(i2_validity_is_per_range),
	KUNIT_CASE(i3_stale_iff_hit),
	KUNIT_CASE(i3_sequence_only_grows),
	KUNIT_CASE(i3_valid_has_no_aba),
	KUNIT_CASE(i4_sequence_before_callback),
	KUNIT_CASE(i4_invalid_before_release),
	KUNIT_CASE(i5_late_registration),
	KUNIT_CASE(i5_born_clean),
	KUNIT_CASE(i5_born_clean_locked),
	KUNIT_CASE(i5_unregister_in_flight),
	KUNIT_CASE(i7_only_a_driver_fails),
	KUNIT_CASE(i8_no_call_after_unregister),
	KUNIT_CASE(i8_unregister_with_ranges),
	KUNIT_CASE(i8_dead),
	KUNIT_CASE(i8_any_order),
	KUNIT_CASE(i8_again),
	KUNIT_CASE(i8_mm_count),
	KUNIT_CASE(i8_all_is_freed),
	KUNIT_CASE(i9_atomic),
	KUNIT_CASE(i9_inside_reclaim),
	KUNIT_CASE(atomic_contexts),
	KUNIT_CASE(two_pass_order),
	KUNIT_CASE(two_pass_more_than_room),
	KUNIT_CASE(two_pass_eagain),
	KUNIT_CASE(two_pass_eagain_more_than_room),
	KUNIT_CASE(two_pass_other_fails),
	KUNIT_CASE(tracked_only),
	KUNIT_CASE(update_bounds),
	KUNIT_CASE(walk),
	KUNIT_CASE(walk_dead),
	KUNIT_CASE(walk_orphan),
	KUNIT_CASE(range_lookup),
	KUNIT_CASE(range_resize),
	KUNIT_CASE(range_split),
	KUNIT_CASE(bounds_are_refused),
	KUNIT_CASE(update_is_own),
	KUNIT_CASE(filter_counts),
	KUNIT_CASE(filter_follows),
	KUNIT_CASE(filter_has_many),
	KUNIT_CASE(filter_is_renewed),
	KUNIT_CASE(filter_tells_apart),
	KUNIT_CASE(filter_grows),
	KUNIT_CASE(filter_grows_in_time),
	KUNIT_CASE(always_called),
	KUNIT_CASE(tracked_only_behind_two_passes),
	KUNIT_CASE(needs_no_zeroing),
	KUNIT_CASE(geometry_retry_locked),
	KUNIT_CASE(geometry_late_locked),
	KUNIT_CASE(i1_balance_locked),
	KUNIT_CASE(i1_endless_locked),
	KUNIT_CASE(i2_validity_is_exact_locked),
	KUNIT_CASE(i2_validity_is_per_range_locked),
	KUNIT_CASE(i5_late_registration_locked),
	{}
};

struct kunit_suite hmm_mirror_suite = {
	.name = "hmm_mirror",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_cases,
};
