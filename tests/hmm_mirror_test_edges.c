// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: random addresses and lengths.
 *
 * The reference is a list of half-open intervals, which is searched from its first entry to
 * its last. Bounds are drawn from all 64 bits, each magnitude equally likely, and from the
 * numbers at which arithmetic wraps. Canaries surround the arrays that a caller passes.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "hmm_mirror_test.h"

#define NR_RANGES	24
#define NR_UPDATES	12
#define NR_MIRRORS	2	/* the second one is HMM_MIRROR_TRACKED_ONLY */
#define NR_PFNS		16
#define CANARY		0xc0ffee00c0ffee00UL

struct edge_range {
	unsigned long start, end;
	unsigned int mirror;
	bool registered;
	unsigned long seq;		/* result of begin() */
	bool has_seq, stale;
};

struct edges {
	struct test_fixture *f;
	struct rnd_state rnd;
	unsigned long step;
	bool failed;
	struct edge_range range[NR_RANGES];
	struct mmu_notifier_range update[NR_UPDATES];
	bool in_flight[NR_UPDATES];
	int calls[NR_MIRRORS];
	unsigned long nr_hits, nr_refused, nr_huge;
	unsigned long pfns[3 * NR_PFNS];
};

static u32 below(struct edges *e, u32 n)
{
	return prandom_u32_state(&e->rnd) % n;
}

static void expect(struct edges *e, long core, long reference, const char *what,
		   unsigned long start, unsigned long end)
{
	KUNIT_EXPECT_EQ_MSG(e->f->test, core, reference, "step %lu, %s [%lx, %lx)", e->step,
			    what, start, end);
	e->failed |= core != reference;
}

/* ----------------------------------------------------------------- addresses */

static unsigned long random_address(struct edges *e)
{
	return hmmt_random_address(&e->rnd);
}

/* Return random bounds. Half of them are in order, with any length. */
static void random_bounds(struct edges *e, unsigned long *start, unsigned long *end)
{
	*start = random_address(e);
	*end = random_address(e);
	switch (below(e, 4)) {
	case 0:
		if (*end < *start)
			swap(*start, *end);
		break;
	case 1:
		*end = max(*start, *start + *end);
		break;
	}
	if (!below(e, 8))
		*end = ULONG_MAX;
}

/* Return bounds near those of a registered range, if there is one. */
static void near_bounds(struct edges *e, unsigned long *start, unsigned long *end)
{
	struct edge_range *r = &e->range[below(e, NR_RANGES)];

	random_bounds(e, start, end);
	if (!r->registered || below(e, 2))
		return;
	if (below(e, 2))
		*start = r->start + below(e, 3) * PAGE_SIZE - PAGE_SIZE;
	else
		*end = r->start + below(e, 2) * PAGE_SIZE;
	if (below(e, 2))
		*end = r->end + below(e, 3) * PAGE_SIZE - PAGE_SIZE;
	else if (!below(e, 4))
		*start = r->end - below(e, 2) * PAGE_SIZE;
}

/* ----------------------------------------------------------------- reference */

static bool is_to_the_end(unsigned long end)
{
	return end >= TO_THE_END;
}

static bool is_aligned(unsigned long addr)
{
	return !(addr % PAGE_SIZE);
}

static bool is_range(unsigned long start, unsigned long end)
{
	return is_aligned(start) && (is_aligned(end) || end == ULONG_MAX) && start < end;
}

static bool intersects(const struct edge_range *r, unsigned long start, unsigned long end)
{
	return r->registered && start < end && end > r->start &&
	       (is_to_the_end(r->end) || start < r->end);
}

static bool is_hit(struct edges *e, const struct edge_range *r)
{
	unsigned int i;

	for (i = 0; i < NR_UPDATES; i++) {
		if (e->in_flight[i] && intersects(r, e->update[i].start, e->update[i].end))
			return true;
	}
	return false;
}

/* Return the number of ranges of @mirror that intersect. */
static unsigned int nr_intersecting(struct edges *e, unsigned int mirror,
				    unsigned long start, unsigned long end)
{
	unsigned int i, nr = 0;

	for (i = 0; i < NR_RANGES; i++)
		nr += e->range[i].mirror == mirror && intersects(&e->range[i], start, end);
	return nr;
}

static void set(struct edge_range *r, unsigned long start, unsigned long end)
{
	r->start = start;
	r->end = end;
	r->has_seq = false;
}

/* ---------------------------------------------------------------- comparison */

static void compare(struct edges *e)
{
	unsigned int i;

	for (i = 0; i < NR_RANGES; i++) {
		struct edge_range *r = &e->range[i];
		struct hmm_mirror_range *range = &e->f->range[i];
		unsigned long seq = 0;
		int ret;

		if (!r->registered)
			continue;
		if (r->has_seq)
			expect(e, hmm_mirror_range_retry(range, r->seq), r->stale, "retry",
			       r->start, r->end);
		ret = hmm_mirror_range_begin(range, &seq, 0);
		expect(e, ret, is_hit(e, r) ? -ETIME : 0, "begin", r->start, r->end);
		if (!ret && (!r->has_seq || r->stale)) {
			r->seq = seq;
			r->has_seq = true;
			r->stale = false;
		}
	}
	for (i = 0; i < NR_MIRRORS; i++)
		expect(e, atomic_read(&e->f->tm[i].calls), e->calls[i], "calls", i, i);
}

/* --------------------------------------------------------------------- steps */

static void step_register(struct edges *e, unsigned int i)
{
	struct hmm_mirror_range *range = &e->f->range[i];
	struct edge_range *r = &e->range[i];
	unsigned int mirror = below(e, NR_MIRRORS);
	unsigned long start, end;
	int ret;

	random_bounds(e, &start, &end);
	range->start = start;
	range->end = end;
	ret = hmm_mirror_range_register(range, &e->f->tm[mirror].mirror);
	expect(e, ret, is_range(start, end) ? 0 : -EINVAL, "register", start, end);
	e->nr_refused += !!ret;
	e->nr_huge += !ret && end - start >= BIT(62);
	if (ret)
		return;
	set(r, start, end);
	r->registered = true;
	r->mirror = mirror;
}

static void step_unregister(struct edges *e, unsigned int i)
{
	hmm_mirror_range_unregister(&e->f->range[i]);
	e->range[i].registered = false;
}

static void step_resize(struct edges *e, unsigned int i)
{
	struct edge_range *r = &e->range[i];
	unsigned long start, end;
	int ret;

	near_bounds(e, &start, &end);
	ret = hmm_mirror_range_resize(&e->f->range[i], start, end);
	expect(e, ret, is_range(start, end) ? 0 : -EINVAL, "resize", start, end);
	if (!ret)
		set(r, start, end);
}

/* Split a range. The head cannot end at TO_THE_END, which would mean ULONG_MAX. */
static void step_split(struct edges *e, unsigned int i)
{
	unsigned int j = below(e, NR_RANGES);
	struct edge_range *r = &e->range[i], *tail = &e->range[j];
	unsigned long at, other, end = r->end;
	bool is_inside;
	int ret;

	if (i != j && tail->registered)
		return;
	near_bounds(e, &at, &other);
	if (below(e, 2))
		at = r->start / 2 + end / 2;
	is_inside = i != j && is_aligned(at) && at > r->start && at < end &&
		    !is_to_the_end(at);
	ret = hmm_mirror_range_split(&e->f->range[i], at, &e->f->range[j]);
	expect(e, ret, is_inside ? 0 : -EINVAL, "split", at, end);
	if (ret)
		return;
	set(tail, at, end);
	tail->registered = true;
	tail->mirror = r->mirror;
	set(r, r->start, at);
}

static void step_lookup(struct edges *e)
{
	unsigned int mirror = below(e, NR_MIRRORS), i;
	struct hmm_mirror_range *range;
	unsigned long addr, end, page;
	bool any = false;

	near_bounds(e, &addr, &end);
	if (!below(e, 8))
		addr = ULONG_MAX - below(e, 2);
	page = addr - addr % PAGE_SIZE;
	for (i = 0; i < NR_RANGES; i++)
		any |= e->range[i].mirror == mirror && intersects(&e->range[i], page, page + 1);
	range = hmm_mirror_range_lookup(&e->f->tm[mirror].mirror, addr, NULL);
	expect(e, !!range, any, "lookup", addr, addr);
	if (!range)
		return;
	i = range - e->f->range;
	expect(e, e->range[i].mirror, mirror, "mirror of lookup", addr, addr);
	expect(e, intersects(&e->range[i], page, page + 1), true, "range of lookup", addr, addr);
}

static void step_walk(struct edges *e)
{
	unsigned int mirror = below(e, NR_MIRRORS), i, nr = 0;
	struct hmm_mirror_range *range;
	unsigned long start, end, last = 0;

	near_bounds(e, &start, &end);
	hmm_mirror_for_each_range(range, &e->f->tm[mirror].mirror, start, end) {
		i = range - e->f->range;
		expect(e, e->range[i].mirror, mirror, "mirror of walk", start, end);
		expect(e, intersects(&e->range[i], start, end), true, "range of walk", start, end);
		expect(e, range->start >= last, true, "order of walk", start, end);
		last = range->start;
		if (++nr > NR_RANGES)
			break;
	}
	expect(e, nr, nr_intersecting(e, mirror, start, end), "walk", start, end);
}

/* Call next() with any bounds, also invalid ones. */
static void step_next(struct edges *e, unsigned int i)
{
	unsigned long start, end;
	struct hmm_mirror_range *range;

	near_bounds(e, &start, &end);
	range = hmm_mirror_range_next(&e->f->range[i], start, end);
	if (range)
		expect(e, intersects(&e->range[range - e->f->range], start, end), true,
		       "next", start, end);
}

static void step_start(struct edges *e)
{
	unsigned int i = below(e, NR_UPDATES), j;
	struct mmu_notifier_range *update = &e->update[i];
	unsigned long start, end;

	if (e->in_flight[i])
		return;
	near_bounds(e, &start, &end);
	*update = hmmt_update(e->f, start, end);
	e->in_flight[i] = true;
	for (j = 0; j < NR_RANGES; j++) {
		if (!intersects(&e->range[j], start, end))
			continue;
		e->range[j].stale = true;
		e->nr_hits++;
	}
	e->calls[0]++;
	e->calls[1] += !!nr_intersecting(e, 1, start, end);
	expect(e, hmmt_start(e->f, update), 0, "start", start, end);
}

static void step_end(struct edges *e)
{
	unsigned int i = below(e, NR_UPDATES);

	if (!e->in_flight[i])
		return;
	e->in_flight[i] = false;
	hmmt_end(e->f, &e->update[i]);
}

static bool canaries_live(struct edges *e, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < ARRAY_SIZE(e->pfns); i++) {
		if (e->pfns[i] != CANARY && (i < NR_PFNS || i >= NR_PFNS + nr))
			return false;
	}
	return true;
}

/* Read a few pages of the range, or pass other bounds, which the core refuses. */
static void step_fault(struct edges *e, unsigned int i)
{
	static const unsigned long flags[] = {
		0, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE, ULONG_MAX,
	};
	struct hmm_mirror_range *range = &e->f->range[i];
	struct edge_range *r = &e->range[i];
	struct hmm_mirror_fault fault = {
		.pfns = e->pfns + NR_PFNS,
		.default_flags = flags[below(e, ARRAY_SIZE(flags))],
	};
	unsigned long start, end, seq = r->has_seq && !r->stale ? r->seq : 0;
	bool good, snapshot = below(e, 2);
	unsigned long nr;
	int ret;

	near_bounds(e, &start, &end);
	if (below(e, 2))
		end = start + (1 + below(e, NR_PFNS)) * PAGE_SIZE;
	fault.start = start;
	fault.end = end;
	good = is_aligned(start) && is_aligned(end) && start < end && start >= r->start &&
	       end <= (is_to_the_end(r->end) ? TO_THE_END : r->end);
	nr = good ? (end - start) / PAGE_SIZE : 0;
	if (nr > NR_PFNS)
		return;

	memset64((u64 *)e->pfns, CANARY, ARRAY_SIZE(e->pfns));
	ret = snapshot ? hmm_mirror_range_snapshot(range, seq, &fault, FOREVER) :
			 hmm_mirror_range_fault(range, seq, &fault, FOREVER);
	expect(e, canaries_live(e, nr), true, "canaries of fault", start, end);
	if (!seq)
		expect(e, ret, -EBUSY, "fault", start, end);
	else if (!good)
		expect(e, ret, -EINVAL, "fault", start, end);
	else if (!hmmt_mm_is_own())
		expect(e, ret != -EINVAL, true, "fault", start, end);
	else	/* no memory is mapped */
		expect(e, ret, snapshot || !fault.default_flags ? 0 : -EFAULT, "fault", start, end);
}

static void step(struct edges *e)
{
	unsigned int i = below(e, NR_RANGES);
	bool registered = e->range[i].registered;

	switch (below(e, 16)) {
	case 0:
	case 1:
	case 2:
		step_start(e);
		return;
	case 3:
	case 4:
	case 5:
	case 6:
		step_end(e);
		return;
	case 7:
		step_lookup(e);
		return;
	case 8:
		step_walk(e);
		return;
	}
	if (!registered) {
		step_register(e, i);
		return;
	}
	switch (below(e, 8)) {
	case 0:
		step_unregister(e, i);
		break;
	case 1:
		step_resize(e, i);
		break;
	case 2:
		step_split(e, i);
		break;
	case 3:
		step_next(e, i);
		break;
	default:
		step_fault(e, i);
	}
}

static void property(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct edges *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	unsigned long steps = hmmt_steps();

	KUNIT_ASSERT_TRUE(test, e);
	BUILD_BUG_ON(NR_RANGES > TEST_RANGES);
	e->f = f;
	hmmt_seed(test, &e->rnd);
	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	for (e->step = 0; e->step < steps && !e->failed; e->step++) {
		step(e);
		compare(e);
		cond_resched();
	}
	/* The sequence was long enough to hit each kind of step often. */
	if (steps >= 5000 && !e->failed) {
		KUNIT_EXPECT_GT(test, e->nr_hits, steps / 100);
		KUNIT_EXPECT_GT(test, e->nr_refused, steps / 100);
		KUNIT_EXPECT_GT(test, e->nr_huge, steps / 1000);
	}
}

HMMT_LOCKED(property)

/* ------------------------------------------------------------------ single cases */

/* Even the largest chunks, half of all addresses, are too small for these ranges. */
static void huge_ranges(struct kunit *test)
{
	static const struct {
		unsigned long start, end, hit;
	} huge[] = {
		{ 0, LONG_MAX & PAGE_MASK, P(5) },
		{ 0, BIT(63), P(5) },
		{ 0, BIT(62), P(5) },
		{ BIT(61), BIT(61) + BIT(62), BIT(62) },
		{ P(1), P(1) + BIT(63), BIT(62) },
		{ 0, ULONG_MAX, BIT(62) },
		{ 0, ULONG_MAX, BIT(63) },
		{ BIT(62) - P(1), BIT(63) + BIT(62), BIT(63) - P(1) },
	};
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = &f->tm[0];
	unsigned int i;

	tm->ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	for (i = 0; i < ARRAY_SIZE(huge); i++) {
		struct hmm_mirror_range *range = hmmt_range(f, 0, 0, huge[i].start, huge[i].end);
		unsigned long seq = hmmt_begin(f, range);
		int calls = atomic_read(&tm->calls);

		hmmt_start_end(f, huge[i].hit, huge[i].hit + PAGE_SIZE);
		KUNIT_EXPECT_TRUE_MSG(test, hmm_mirror_range_retry(range, seq), "range %u", i);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&tm->calls), calls + 1, "range %u", i);
		hmm_mirror_range_unregister(range);
		KUNIT_EXPECT_EQ(test, f->hmm->levels, 0ULL);
	}
}

/* A fault of one page in the last piece of the address space. */
static void fault_in_last_chunk(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct edges *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	struct hmm_mirror_fault fault = {
		.start = ALIGN_DOWN(ULONG_MAX, 512 * PAGE_SIZE),
		.default_flags = HMM_PFN_REQ_FAULT,
	};
	struct hmm_mirror_range *range;

	KUNIT_ASSERT_TRUE(test, e);
	memset64((u64 *)e->pfns, CANARY, ARRAY_SIZE(e->pfns));
	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, 0, ULONG_MAX);
	fault.end = fault.start + PAGE_SIZE;
	fault.pfns = e->pfns + NR_PFNS;
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, hmmt_begin(f, range), &fault, FOREVER),
			-EFAULT);
	KUNIT_EXPECT_TRUE(test, canaries_live(e, 1));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, hmmt_begin(f, range),
							&fault, FOREVER), 0);
	KUNIT_EXPECT_TRUE(test, canaries_live(e, 1));
}

static void lookup_at_the_end(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *last;
	struct hmm_mirror *mirror;

	mirror = &hmmt_mirror(f, 0)->mirror;
	hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, ULONG_MAX, NULL));
	last = hmmt_range(f, 1, 0, TO_THE_END, ULONG_MAX);
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, ULONG_MAX, NULL), last);
	KUNIT_EXPECT_PTR_EQ(test, hmm_mirror_range_lookup(mirror, TO_THE_END, NULL), last);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_lookup(mirror, TO_THE_END - 1, NULL));
}

/* The end of the address space is no place to split at: it would mean another end. */
static void split_at_last_page(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), ULONG_MAX);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(&f->range[0], TO_THE_END, &f->range[1]),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, f->range[0].end, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_split(&f->range[0], TO_THE_END - PAGE_SIZE,
						     &f->range[1]), 0);
	KUNIT_EXPECT_EQ(test, f->range[0].end, TO_THE_END - PAGE_SIZE);
}

static struct kunit_case hmm_mirror_edges_cases[] = {
	KUNIT_CASE(property),
	KUNIT_CASE(property_locked),
	KUNIT_CASE(huge_ranges),
	KUNIT_CASE(fault_in_last_chunk),
	KUNIT_CASE(lookup_at_the_end),
	KUNIT_CASE(split_at_last_page),
	{}
};

struct kunit_suite hmm_mirror_edges_suite = {
	.name = "hmm_mirror_edges",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_edges_cases,
};
