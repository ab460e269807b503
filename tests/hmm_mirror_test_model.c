// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: a model of the core, and long random sequences of steps. After each
 * step, the core must agree with the model.
 *
 * The model is simple: a list of invalidations in flight, and for each sequence that was
 * taken, whether an invalidation has hit its range since.
 */
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "hmm_mirror_test.h"

/* Mirrors of all kinds. The last one stays until the mm dies. */
#define NR_MIRRORS	4
#define PLAIN		0
#define TRACKED		1
#define TWO_PASS	2
#define KEEPER		3

/* More invalidations than there are slots. */
#define NR_UPDATES	(HMMT_SLOTS + 20)
#define NR_HELD		3

struct model_range {
	bool registered;
	unsigned int mirror;
	bool orphan;			/* its mirror is unregistered */
	/* sequences that begin() has returned */
	unsigned long seq[NR_HELD];
	bool stale[NR_HELD];
	unsigned int nr_held;
	bool waited;			/* hmm_mirror_range_valid() returns true */
};

struct model {
	struct test_fixture *f;
	struct rnd_state rnd;
	unsigned long step;
	bool failed;
	bool rising;			/* more starts than ends */

	bool dead;
	struct model_range range[TEST_RANGES];
	bool mirror[NR_MIRRORS];
	unsigned int order[NR_MIRRORS];	/* of registration, and of the calls */
	unsigned int nr_mirrors;
	int calls[NR_MIRRORS];
	struct mmu_notifier_range update[NR_UPDATES];
	bool in_flight[NR_UPDATES];
	bool has_slot[NR_UPDATES];
	unsigned int nr_in_flight;
	unsigned int nr_slots;
};

static u32 random_below(struct model *m, u32 n)
{
	return prandom_u32_state(&m->rnd) % n;
}

static bool one_in(struct model *m, u32 n)
{
	return !random_below(m, n);
}

static void expect(struct model *m, long core, long model, const char *what, unsigned int i)
{
	KUNIT_EXPECT_EQ_MSG(m->f->test, core, model, "step %lu, %s %u", m->step, what, i);
	m->failed |= core != model;
}

/* --------------------------------------------------------------------- model */

static bool intersect(const struct mmu_notifier_range *update,
		      const struct hmm_mirror_range *range)
{
	bool to_the_end = range->end >= TO_THE_END;

	return update->start < update->end && update->end > range->start &&
	       (to_the_end || update->start < range->end);
}

static bool is_hit(struct model *m, const struct hmm_mirror_range *range)
{
	unsigned int i;

	for (i = 0; i < NR_UPDATES; i++) {
		if (m->in_flight[i] && intersect(&m->update[i], range))
			return true;
	}
	return false;
}

static void all_stale(struct model_range *range)
{
	unsigned int i;

	for (i = 0; i < NR_HELD; i++)
		range->stale[i] = true;
	range->waited = false;
}

static void model_start(struct model *m, const struct mmu_notifier_range *update)
{
	unsigned int i;

	for (i = 0; i < TEST_RANGES; i++) {
		if (m->range[i].registered && intersect(update, &m->f->range[i]))
			all_stale(&m->range[i]);
	}
}

/* Return true if a mirror must be called. */
static bool is_called(struct model *m, unsigned int mirror,
		      const struct mmu_notifier_range *update)
{
	unsigned int i;

	if (!m->mirror[mirror])
		return false;
	if (mirror != TRACKED)
		return true;
	for (i = 0; i < TEST_RANGES; i++) {
		if (m->range[i].registered && m->range[i].mirror == mirror &&
		    intersect(update, &m->f->range[i]))
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------- comparison */

static void compare_range(struct model *m, unsigned int i)
{
	struct model_range *model = &m->range[i];
	struct hmm_mirror_range *range = &m->f->range[i];
	unsigned int j;

	for (j = 0; j < model->nr_held; j++)
		expect(m, hmm_mirror_range_retry(range, model->seq[j]),
		       model->stale[j], "retry of range", i);
	expect(m, hmm_mirror_range_valid(range), model->waited,
	       "2019 validity of range", i);
}

/* Called for some ranges after some steps only, because begin() cleans a range. */
static void compare_begin(struct model *m, unsigned int i)
{
	struct model_range *model = &m->range[i];
	struct hmm_mirror_range *range = &m->f->range[i];
	unsigned long seq = 0;
	int ret = hmm_mirror_range_begin(range, &seq, 0);
	unsigned int j;

	if (m->dead || model->orphan) {
		expect(m, ret, -ESRCH, "begin of range", i);
		return;
	}
	if (is_hit(m, range))
		expect(m, ret, -ETIME, "begin of range", i);
	else if (m->nr_slots == m->nr_in_flight)
		expect(m, ret, 0, "begin of range", i);
	/* Otherwise an invalidation has the shared slot, so any range may be invalid. */
	if (ret)
		return;

	expect(m, hmm_mirror_range_retry(range, seq), false, "retry of range", i);
	for (j = 0; j < model->nr_held; j++) {
		if (!model->stale[j])
			expect(m, model->seq[j], seq, "sequence of range", i);
		else
			expect(m, model->seq[j] < seq, true, "sequence of range", i);
	}
	j = model->nr_held < NR_HELD ? model->nr_held++ : random_below(m, NR_HELD);
	model->seq[j] = seq;
	model->stale[j] = false;
}

static void compare(struct model *m, bool all)
{
	unsigned int i, users = 0;

	for (i = 0; i < TEST_RANGES; i++) {
		if (!m->range[i].registered)
			continue;
		users++;
		compare_range(m, i);
		if (all || one_in(m, 8))
			compare_begin(m, i);
	}
	expect(m, hmmt_in_flight(m->f), m->nr_in_flight, "in flight", 0);
	expect(m, hmmt_users(m->f), users, "users", 0);
	for (i = 0; i < NR_MIRRORS; i++)
		expect(m, atomic_read(&m->f->tm[i].calls), m->calls[i],
		       "calls of mirror", i);
}

/* --------------------------------------------------------------------- steps */

static void random_bounds(struct model *m, unsigned long *start, unsigned long *end)
{
	*start = P(random_below(m, TEST_PAGES));
	*end = *start + P(1 + random_below(m, one_in(m, 4) ? TEST_PAGES : 4));
	if (one_in(m, 30))
		*start = 0;
	if (one_in(m, 20))
		*end = one_in(m, 2) ? ULONG_MAX : TO_THE_END;
	if (one_in(m, 40)) {
		*start = TO_THE_END - P(random_below(m, 3));
		*end = ULONG_MAX;
	}
}

static void random_update(struct model *m, struct mmu_notifier_range *update,
			  bool blockable)
{
	unsigned long start, end;

	random_bounds(m, &start, &end);
	if (one_in(m, 8) && end < TO_THE_END) {
		start += random_below(m, PAGE_SIZE);
		end += random_below(m, PAGE_SIZE);
	}
	if (one_in(m, 20) && start)
		end = start;
	if (blockable)
		*update = hmmt_update(m->f, start, end);
	else
		*update = hmmt_update_nonblock(m->f, start, end);
}

/* Return a random update that is in flight or not, or NR_UPDATES if there is none. */
static unsigned int random_slot(struct model *m, bool in_flight)
{
	unsigned int i, at = random_below(m, NR_UPDATES);

	for (i = 0; i < NR_UPDATES; i++, at = (at + 1) % NR_UPDATES) {
		if (m->in_flight[at] == in_flight)
			return at;
	}
	return NR_UPDATES;
}

/* Return true if a locked slot is free. */
static bool locked_slot_is_free(struct model *m)
{
	return !list_empty(&m->f->hmm->free);
}

static bool slot_is_free(struct model *m, const struct mmu_notifier_range *update)
{
	return locked_slot_is_free(m) ||
	       (update->start && update->start < update->end &&
		!hmm_mirror_slot_hashed(m->f->hmm, update)->key);
}

static void step_start(struct model *m)
{
	unsigned int i = random_slot(m, false), j;
	struct mmu_notifier_range *update;
	unsigned int refuses = NR_MIRRORS;
	bool blockable = !one_in(m, 4);
	bool has_slot;
	int expected = 0;

	if (i == NR_UPDATES)
		return;
	update = &m->update[i];
	random_update(m, update, blockable);
	if (one_in(m, 3)) {
		refuses = random_below(m, NR_MIRRORS);
		m->f->tm[refuses].hook = hmmt_hook_eagain;
	}

	has_slot = slot_is_free(m, update);
	model_start(m, update);
	for (j = 0; j < m->nr_mirrors && !expected; j++) {
		unsigned int mirror = m->order[j];

		if (!is_called(m, mirror, update))
			continue;
		m->calls[mirror]++;
		if (mirror == refuses && !blockable)
			expected = -EAGAIN;
	}
	if (!expected) {
		m->in_flight[i] = true;
		m->has_slot[i] = has_slot;
		m->nr_slots += has_slot;
		m->nr_in_flight++;
	}
	expect(m, hmmt_start(m->f, update), expected, "start", i);
	if (refuses < NR_MIRRORS)
		m->f->tm[refuses].hook = NULL;
}

static void step_end(struct model *m)
{
	unsigned int i = random_slot(m, true);

	if (i == NR_UPDATES)
		return;
	m->in_flight[i] = false;
	m->nr_slots -= m->has_slot[i];
	m->nr_in_flight--;
	hmmt_end(m->f, &m->update[i]);
}

/*
 * Call an end without a start. If an invalidation has the shared slot, the core would take this
 * for its end.
 */
static void step_unknown_end(struct model *m)
{
	unsigned int i = random_slot(m, false);

	if (i != NR_UPDATES && m->nr_slots == m->nr_in_flight)
		hmmt_end(m->f, &m->update[i]);
}

/*
 * Start an invalidation with the key of one in flight, whose end is lost. The core finds the old
 * one in a locked slot only if the new one takes the lock, too.
 */
static void step_lost_end(struct model *m)
{
	unsigned int i = random_slot(m, true), j;
	const struct mmu_notifier_range *key;

	if (i == NR_UPDATES || !m->has_slot[i])
		return;
	key = hmm_mirror_slot_hashed(m->f->hmm, &m->update[i])->key;
	if (!key)
		return;
	if (key == &m->update[i] && !locked_slot_is_free(m)) {
		m->has_slot[i] = false;
		m->nr_slots--;
	}
	random_update(m, &m->update[i], true);
	model_start(m, &m->update[i]);
	for (j = 0; j < NR_MIRRORS; j++)
		m->calls[j] += is_called(m, j, &m->update[i]);
	expect(m, hmmt_start(m->f, &m->update[i]), 0, "start again", i);
}

static void step_register(struct model *m)
{
	unsigned int i = random_below(m, TEST_RANGES);
	unsigned int mirror = random_below(m, NR_MIRRORS);
	struct model_range *model = &m->range[i];
	struct hmm_mirror_range *range = &m->f->range[i];

	if (model->registered || !m->mirror[mirror])
		return;
	random_bounds(m, &range->start, &range->end);
	expect(m, hmm_mirror_range_register(range, &m->f->tm[mirror].mirror), 0,
	       "register", i);
	memset(model, 0, sizeof(*model));
	model->registered = true;
	model->mirror = mirror;
}

static void step_unregister(struct model *m)
{
	unsigned int i = random_below(m, TEST_RANGES);
	struct model_range *model = &m->range[i];

	if (!model->registered)
		return;
	hmm_mirror_range_unregister(&m->f->range[i]);
	all_stale(model);
	compare_range(m, i);
	model->registered = false;
}

static void step_resize(struct model *m)
{
	unsigned int i = random_below(m, TEST_RANGES);
	struct model_range *model = &m->range[i];
	unsigned long start, end;

	if (!model->registered)
		return;
	random_bounds(m, &start, &end);
	expect(m, hmm_mirror_range_resize(&m->f->range[i], start, end),
	       m->dead || model->orphan ? -ESRCH : 0, "resize", i);
	if (!m->dead && !model->orphan)
		all_stale(model);
}

static void step_split(struct model *m)
{
	unsigned int i = random_below(m, TEST_RANGES), j = random_below(m, TEST_RANGES);
	struct hmm_mirror_range *range = &m->f->range[i], *tail = &m->f->range[j];
	struct model_range *model = &m->range[i];
	unsigned long at;

	if (!model->registered || m->range[j].registered || model->orphan)
		return;
	at = range->start + P(1);
	if (at < range->start || at >= range->end || at >= TO_THE_END)
		return;
	expect(m, hmm_mirror_range_split(range, at, tail), 0, "split", i);
	all_stale(model);
	memset(&m->range[j], 0, sizeof(m->range[j]));
	m->range[j].registered = true;
	m->range[j].mirror = model->mirror;
}

static void step_2019(struct model *m)
{
	unsigned int i = random_below(m, TEST_RANGES);
	struct model_range *model = &m->range[i];
	struct hmm_mirror_range *range = &m->f->range[i];
	bool valid;

	if (!model->registered)
		return;
	valid = hmm_mirror_range_wait_until_valid(range, 0);
	if (m->dead || model->orphan || is_hit(m, range))
		expect(m, valid, false, "2019 wait of range", i);
	else if (m->nr_slots == m->nr_in_flight)
		expect(m, valid, true, "2019 wait of range", i);
	if (!valid)
		return;
	/* The first wait sets a bit in the state, so older sequences are stale. */
	if (!model->waited)
		all_stale(model);
	model->waited = true;
}

static void new_mirror(struct model *m, unsigned int i)
{
	atomic_set(&m->f->tm[i].calls, 0);
	m->calls[i] = 0;
	m->mirror[i] = true;
	m->order[m->nr_mirrors++] = i;
	hmmt_mirror(m->f, i);
}

static void remove_mirror(struct model *m, unsigned int i)
{
	unsigned int j, n = 0;

	hmm_mirror_unregister(&m->f->tm[i].mirror);
	m->mirror[i] = false;
	for (j = 0; j < m->nr_mirrors; j++) {
		if (m->order[j] != i)
			m->order[n++] = m->order[j];
	}
	m->nr_mirrors = n;
	for (j = 0; j < TEST_RANGES; j++) {
		if (m->range[j].registered && m->range[j].mirror == i) {
			all_stale(&m->range[j]);
			m->range[j].orphan = true;
			m->range[j].mirror = NR_MIRRORS;
		}
	}
}

static void step_mirror(struct model *m)
{
	unsigned int i = random_below(m, KEEPER);

	if (m->mirror[i])
		remove_mirror(m, i);
	else
		new_mirror(m, i);
}

static void new_mm(struct model *m)
{
	unsigned int i;

	m->dead = false;
	m->nr_in_flight = 0;
	m->nr_slots = 0;
	memset(m->in_flight, 0, sizeof(m->in_flight));
	for (i = 0; i < NR_MIRRORS; i++)
		new_mirror(m, i);
	hmmt_make_no_slots(m->f);
}

/* Let the mm die while invalidations are in flight. Then unregister all, and use a new mm. */
static void step_exit(struct model *m)
{
	unsigned int i;

	hmmt_release(m->f);
	m->dead = true;
	for (i = 0; i < TEST_RANGES; i++)
		all_stale(&m->range[i]);
	compare(m, true);
	for (i = 0; i < 10 && !m->failed; i++) {
		step_end(m);
		step_resize(m);
		step_2019(m);
		step_unregister(m);
		compare(m, true);
	}

	for (i = 0; i < NR_MIRRORS; i++) {
		if (m->mirror[i])
			remove_mirror(m, i);
	}
	for (i = 0; i < TEST_RANGES; i++) {
		if (m->range[i].registered)
			hmm_mirror_range_unregister(&m->f->range[i]);
		m->range[i].registered = false;
	}
	new_mm(m);
}

static void step(struct model *m)
{
	u32 dice = random_below(m, 1000);

	if (one_in(m, 300))
		m->rising = !m->rising;

	if (dice < (m->rising ? 400 : 200))
		step_start(m);
	else if (dice < 600)
		step_end(m);
	else if (dice < 720)
		step_register(m);
	else if (dice < 820)
		step_unregister(m);
	else if (dice < 900)
		step_2019(m);
	else if (dice < 920)
		step_unknown_end(m);
	else if (dice < 940)
		step_lost_end(m);
	else if (dice < 944)
		step_mirror(m);
	else if (dice < 945)
		step_exit(m);
	else if (dice < 960)
		step_resize(m);
	else if (dice < 970)
		step_split(m);
	/* Otherwise only compare. */
}

static void model(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned long steps = hmmt_steps();
	unsigned int most = 0;

	KUNIT_ASSERT_TRUE(test, m);
	m->f = f;
	hmmt_seed(test, &m->rnd);

	f->tm[TRACKED].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_two_pass(f, TWO_PASS);
	new_mm(m);
	for (m->step = 0; m->step < steps && !m->failed; m->step++) {
		step(m);
		compare(m, !(m->step % 100));
		most = max(most, m->nr_in_flight);
		cond_resched();
	}
	/* Invalidations have shared a slot. */
	if (steps >= 5000)
		KUNIT_EXPECT_GT(test, most, HMMT_SLOTS);
}

static struct kunit_case hmm_mirror_model_cases[] = {
	KUNIT_CASE(model),
	{}
};

struct kunit_suite hmm_mirror_model_suite = {
	.name = "hmm_mirror_model",
	.init = hmmt_init,
	.exit = hmmt_exit,
	.test_cases = hmm_mirror_model_cases,
};
