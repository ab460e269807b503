// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: torture.
 *
 * A process that opens /dev/hmm_torture gets NR_MIRRORS devices without hardware, each with
 * a mirror and ranges, and several kernel threads that call the core at random. The
 * process, the program hmm_torture, changes its memory at random, and exits or is killed.
 * Two kinds of memory are mirrored:
 *
 *	real	memory that the process maps: the kernel invalidates, and pages are faulted in
 *	fake	unmapped addresses. Their "page table" is an array of numbers. The threads
 *		change the numbers, and call the mmu notifier operations of the core as the mm
 *		would: thousands of times in the time of one munmap().
 *
 * enum check lists the invariants. Many checks read the state of the core, under its own
 * lock. So the watchdog reports a thread that sleeps without a reason at once, not only
 * after a timeout.
 *
 * Locks, from the outermost to the innermost:
 *
 *	tspace.rest		read: operations; write: no other operation runs
 *	  tspace.life		read: no mirror is registered or unregistered
 *	    mmap lock, waits of hmm_mirror
 *	      tmirror.lock	the driver's lock
 *	        tspace.table_lock, tworker.lock
 *	          hmm_mirror_mm.lock
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kref.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/oom.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "hmm_torture.h"

#define FOREVER		HMM_MIRROR_WAIT_FOREVER
#define TO_THE_END	(ULONG_MAX & PAGE_MASK)

#define REAL_PAGES	TORTURE_PAGES
#define REAL_BASE	TORTURE_BASE(PAGE_SIZE)
#define REAL_END	(REAL_BASE + REAL_PAGES * PAGE_SIZE)
#define FAKE_PAGES	32
#define FAKE_BASE	BIT(37)
#define FAKE_END	(FAKE_BASE + FAKE_PAGES * PAGE_SIZE)
/* No process has addresses of so many bits or more: only probes are there. */
#define PROBE_BITS	57

#define NR_MIRRORS	4
#define NR_RANGES	12
#define NR_PROBES	5
/* Many more than a new mm has slots. */
#define NR_UPDATES	260
/* Maximum number of pages per fault. */
#define NR_PFNS		16

static unsigned int seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Seed of the random numbers; 0 chooses one (default 0)");

static unsigned int workers = 5;
module_param(workers, uint, 0444);
MODULE_PARM_DESC(workers, "Number of threads for each address space (default 5)");

static unsigned int patience = 20;
module_param(patience, uint, 0444);
MODULE_PARM_DESC(patience, "Timeout of the checks, in seconds (default 20)");

static bool injected;
module_param(injected, bool, 0444);
MODULE_PARM_DESC(injected, "The core injects faults: skip the checks that would fail (default N)");

static unsigned long patience_jiffies(void)
{
	return patience * HZ;
}

/* ------------------------------------------------------------------- invariants */

enum check {
	STALE_PTE, PTE_IN_FLIGHT, COMMIT_OLD, VALID_IN_FLIGHT, VALID_LATE, NOT_IN_FLIGHT,
	STILL_IN_FLIGHT, INVALID_AT_REST, HIT_OTHERS, HIT_NOT, ORDER, SEQ_BACK, RESULT,
	PASSES, CALLED_WRONG, CALLED_LATE, WALK, LOOKUP, BOUNDS, SLEEPS, HANGS, KILL,
	EINTR_UNKILLED, TIMEOUT, DEAD_VALID, RELEASE_TWICE, ORPHAN_VALID, NOT_AT_REST,
	USERS, MM_USERS, REAPED, NO_PAGE, ERRNO,
	NR_CHECKS
};

static const char * const check_text[NR_CHECKS] = {
	[STALE_PTE]	= "a device PTE differs from the CPU page table",
	[PTE_IN_FLIGHT]	= "a device PTE outlives, or was installed during, an invalidation",
	[COMMIT_OLD]	= "retry() is false although the page table has changed since begin()",
	[VALID_IN_FLIGHT] = "a range is valid although an invalidation in flight intersects it",
	[VALID_LATE]	= "valid() is true for a range that was just registered",
	[NOT_IN_FLIGHT]	= "an invalidation in flight has no slot",
	[STILL_IN_FLIGHT] = "an invalidation that has ended still has a slot",
	[INVALID_AT_REST] = "a range is invalid although nothing is in flight",
	[HIT_OTHERS]	= "an invalidation of other addresses affected a range",
	[HIT_NOT]	= "an invalidation did not affect a range that it intersects",
	[ORDER]		= "a callback ran before the sequence was raised",
	[SEQ_BACK]	= "a sequence decreased, or did not increase",
	[RESULT]	= "start returned another result than the callbacks",
	[PASSES]	= "calls of sync_start() and sync_finish() do not match",
	[CALLED_WRONG]	= "a callback was called needlessly, not at all, or after a failure",
	[CALLED_LATE]	= "a callback of an unregistered mirror was called",
	[WALK]		= "for_each_range() visited a wrong range",
	[LOOKUP]	= "lookup() returned a wrong range",
	[BOUNDS]	= "wrong bounds after resize or split",
	[SLEEPS]	= "a waiter sleeps although no invalidation in flight intersects its range",
	[HANGS]		= "a thread hangs",
	[KILL]		= "a killed thread still waits",
	[EINTR_UNKILLED] = "-EINTR without a fatal signal",
	[TIMEOUT]	= "a thread still waits after its timeout",
	[DEAD_VALID]	= "a range became valid, or was registered, after the mm died",
	[RELEASE_TWICE]	= "release() was called twice",
	[ORPHAN_VALID]	= "a range is valid although its mirror is unregistered",
	[NOT_AT_REST]	= "the core is busy although all threads rest",
	[USERS]		= "wrong number of references to the structure of the mm",
	[MM_USERS]	= "a reference to mm_users leaked",
	[REAPED]	= "a fault returned pages of a reaped mm",
	[NO_PAGE]	= "a fault succeeded without a page",
	[ERRNO]		= "unexpected error code",
};

static unsigned long failed[BITS_TO_LONGS(NR_CHECKS)];
static atomic_long_t nr_failures;
static unsigned long started;

/* Count a failure, and log the first one of each kind. */
static void fail_at(enum check check, int line, long detail)
{
	atomic_long_inc(&nr_failures);
	if (!test_and_set_bit(check, failed))
		pr_err("FAILED after %u ms: %s (line %d: %ld)\n",
		       jiffies_to_msecs(jiffies - started), check_text[check], line,
		       detail);
}

#define expect(condition, check, detail) do {				\
	if (unlikely(!(condition)))					\
		fail_at(check, __LINE__, (long)(detail));		\
} while (0)

/* -------------------------------------------------------------------- statistics */

enum count {
	SPACES, RELEASES, REAL_STARTS, REAL_NONBLOCK, FAKE_STARTS, OVERFLOWS, EAGAINS,
	FAULTS, COMMITS, COLLISIONS, FAULT_ERRORS, POPULATES, VERIFIED, WAITS, TIMEOUTS,
	KILLS, RANGES, LOOKUPS, MIRRORS, PROBES, RESTS,
	NR_COUNTS
};

static const char * const count_text[NR_COUNTS] = {
	[SPACES] = "mms", [RELEASES] = "releases", [REAL_STARTS] = "invalidations",
	[REAL_NONBLOCK] = "nonblock", [FAKE_STARTS] = "fake", [OVERFLOWS] = "overflows",
	[EAGAINS] = "eagains", [FAULTS] = "faults", [COMMITS] = "commits",
	[COLLISIONS] = "collisions", [FAULT_ERRORS] = "fault-errors",
	[POPULATES] = "populates", [VERIFIED] = "verified", [WAITS] = "waits",
	[TIMEOUTS] = "timeouts", [KILLS] = "kills", [RANGES] = "ranges",
	[LOOKUPS] = "lookups", [MIRRORS] = "mirrors", [PROBES] = "probes",
	[RESTS] = "rests",
};

static atomic_long_t counts[NR_COUNTS];

static void count(enum count i)
{
	atomic_long_inc(&counts[i]);
}

/* ------------------------------------------------------------------------ types */

struct tspace;

/**
 * struct tmirror - a device
 * @mirror: the mirror under test
 * @s: the space
 * @bit: bit of this mirror in the masks of struct tupdate
 * @lock: the driver lock
 * @registered: protected by tspace.life
 * @live: callbacks may be called
 * @released: release() has run
 * @open: device PTEs may be installed; protected by @lock
 * @passes: number of sync_start() calls without their sync_finish() yet
 * @rnd: protected by @lock
 * @real: device PTEs of real memory: a pfn of hmm_range_fault(), or 0; protected by @lock
 * @fake: device PTEs of fake memory: the number read, or 0; protected by @lock
 */
struct tmirror {
	struct hmm_mirror mirror;
	struct tspace *s;
	unsigned int bit;
	struct mutex lock;	/* driver lock */
	bool registered;
	bool live;
	bool released;
	bool open;
	atomic_t passes;
	struct rnd_state rnd;
	unsigned long real[REAL_PAGES];
	s64 fake[FAKE_PAGES];
};

/* @seq: the highest sequence that begin() has returned. */
struct trange {
	struct hmm_mirror_range range;
	struct kref ref;
	struct tmirror *m;
	atomic64_t seq;
};

/* An invalidation of this module, and the mirrors whose callbacks it called, by bit. */
struct tupdate {
	struct mmu_notifier_range range;
	unsigned int called, failed, started, finished;
	bool in_flight;
};

struct tworker {
	struct tspace *s;
	struct task_struct *task;
	struct rnd_state rnd;
	struct hmm_mirror_mm *hmm;	/* protected by tspace.life */
	struct trange *got;		/* result of the last lookup */
	const char *op;
	unsigned long since;
	spinlock_t lock;		/* protects the next three members */
	struct trange *waiting;
	unsigned long waits;
	unsigned int timeout;
	struct tupdate update[NR_UPDATES];
	struct trange probe[NR_PROBES];
	unsigned long pfns[NR_PFNS];
	unsigned long ptes[NR_PFNS];
};

struct tspace {
	struct list_head list;
	struct mm_struct *mm;		/* mm_count is held */
	struct mmu_notifier witness;
	struct rw_semaphore rest, life;
	spinlock_t table_lock;		/* protects the table */
	struct trange *table[NR_RANGES];
	atomic64_t gen[FAKE_PAGES];	/* the fake page table; never 0 */
	struct tmirror mirror[NR_MIRRORS];
	struct tworker worker[];
};

static u32 rnd(struct tworker *w, u32 below)
{
	return prandom_u32_state(&w->rnd) % below;
}

/* Return a random page address: each magnitude from bit @low up is equally likely. */
static unsigned long any_page(struct tworker *w, unsigned int low)
{
	unsigned long addr = BIT(low + rnd(w, 64 - low));

	switch (rnd(w, 4)) {
	case 0:
		return addr & PAGE_MASK;
	case 1:
		return (addr - PAGE_SIZE) & PAGE_MASK;
	}
	addr |= ((unsigned long)prandom_u32_state(&w->rnd) << 32 | prandom_u32_state(&w->rnd)) &
		(addr - 1);
	return addr & PAGE_MASK;
}

/* Choose random bounds from bit @low up, or from a page below. */
static void any_bounds(struct tworker *w, unsigned int low, unsigned long *start,
		       unsigned long *end)
{
	*start = any_page(w, low);
	*end = *start + any_page(w, PAGE_SHIFT + 1);
	if (*end <= *start)
		*end = rnd(w, 2) ? ULONG_MAX : TO_THE_END;
	if (*end <= *start)
		*end = ULONG_MAX;
}

static void pause_a_bit(u32 random, bool may_sleep)
{
	switch (random % 64) {
	case 0:
		if (may_sleep)
			usleep_range(20, 400);
		break;
	case 1 ... 10:
		udelay(random / 64 % 30);
		break;
	case 11 ... 20:
		if (may_sleep)
			cond_resched();
		break;
	}
}

/* Widen the race window between a check and the use of its result. */
static void window(struct tworker *w)
{
	if (!rnd(w, 8))
		usleep_range(20, 300);
	else
		pause_a_bit(prandom_u32_state(&w->rnd), true);
}

static bool intersects(const struct hmm_mirror_range *range, unsigned long start,
		       unsigned long end)
{
	unsigned long last = range->end >= TO_THE_END ? ULONG_MAX : range->end - 1;

	return start < end && range->start <= end - 1 && last >= start;
}

/* ------------------------------------------------------------ device page tables */

/* Return the first and the end index of [start, end) in an array of @nr pages at @base. */
static unsigned int first_page(unsigned long start, unsigned long base, unsigned int nr)
{
	return start <= base ? 0 : min_t(unsigned long, (start - base) >> PAGE_SHIFT, nr);
}

static unsigned int end_page(unsigned long end, unsigned long base, unsigned int nr)
{
	if (end <= base)
		return 0;
	return min_t(unsigned long, ((end - 1 - base) >> PAGE_SHIFT) + 1, nr);
}

#define for_each_real(i, start, end)						\
	for ((i) = first_page((start), REAL_BASE, REAL_PAGES);			\
	     (start) < (end) && (i) < end_page((end), REAL_BASE, REAL_PAGES); (i)++)

#define for_each_fake(i, start, end)						\
	for ((i) = first_page((start), FAKE_BASE, FAKE_PAGES);			\
	     (start) < (end) && (i) < end_page((end), FAKE_BASE, FAKE_PAGES); (i)++)

static void zap(struct tmirror *m, unsigned long start, unsigned long end)
{
	unsigned int i;

	lockdep_assert_held(&m->lock);
	for_each_real(i, start, end)
		m->real[i] = 0;
	for_each_fake(i, start, end)
		m->fake[i] = 0;
}

/* The callbacks of an invalidation of [start, end) have run, and it has not ended. */
static void expect_no_ptes(struct tspace *s, unsigned long start, unsigned long end)
{
	unsigned int i, k;

	for (k = 0; k < NR_MIRRORS; k++) {
		struct tmirror *m = &s->mirror[k];

		mutex_lock(&m->lock);
		for_each_real(i, start, end)
			expect(!m->real[i], PTE_IN_FLIGHT, i);
		for_each_fake(i, start, end)
			expect(!m->fake[i], PTE_IN_FLIGHT, i);
		mutex_unlock(&m->lock);
	}
}

/* -------------------------------------------------------------------- callbacks */

/* Return the invalidation if this module makes it, or NULL if the mm does. */
static struct tupdate *own_update(struct tspace *s, const struct mmu_notifier_range *update)
{
	if ((void *)update < (void *)s->worker ||
	    (void *)update >= (void *)(s->worker + workers))
		return NULL;
	return container_of(update, struct tupdate, range);
}

static void expect_live(struct tmirror *m)
{
	expect(READ_ONCE(m->live), CALLED_LATE, m->bit);
}

static int sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct tmirror *m = container_of(mirror, struct tmirror, mirror);
	struct tupdate *u = own_update(m->s, update);
	bool blockable = mmu_notifier_range_blockable(update);
	struct hmm_mirror_range *range;
	unsigned long start = 0;
	u32 random;

	expect_live(m);
	if (u) {
		expect(!u->failed && !(u->called & m->bit), CALLED_WRONG, m->bit);
		u->called |= m->bit;
	}
	if (blockable) {
		mutex_lock(&m->lock);
	} else if (!mutex_trylock(&m->lock)) {
		count(EAGAINS);
		if (u)
			u->failed |= m->bit;
		return -EAGAIN;
	}
	random = prandom_u32_state(&m->rnd);
	if (!blockable && random % 8 == 0) {
		mutex_unlock(&m->lock);
		count(EAGAINS);
		if (u)
			u->failed |= m->bit;
		return -EAGAIN;
	}

	hmm_mirror_for_each_range(range, mirror, update->start, update->end) {
		struct trange *tr = container_of(range, struct trange, range);

		/* Bounds change only under m->lock. */
		expect(tr->m == m && range->start >= start, WALK, m->bit);
		if (tr->m != m)
			break;
		expect(intersects(range, update->start, update->end), WALK, range->end);
		expect(READ_ONCE(range->state) & 1, ORDER, m->bit);
		start = range->start;
	}
	zap(m, update->start, update->end);
	mutex_unlock(&m->lock);

	pause_a_bit(random >> 8, blockable);
	expect_live(m);
	return 0;
}

static int sync_start(struct hmm_mirror *mirror, const struct mmu_notifier_range *update,
		      struct hmm_mirror_pass *pass)
{
	struct tmirror *m = container_of(mirror, struct tmirror, mirror);
	struct tupdate *u = own_update(m->s, update);
	int ret = sync(mirror, update);

	if (ret)
		return ret;
	atomic_inc(&m->passes);
	if (u) {
		/* The core starts up to 7 mirrors before it finishes the first. */
		expect(!u->finished && !(u->started & m->bit), PASSES, m->bit);
		u->started |= m->bit;
	}
	pass->priv[0] = (unsigned long)m;
	pass->priv[1] = (unsigned long)current;
	return 0;
}

static void sync_finish(struct hmm_mirror *mirror, struct hmm_mirror_pass *pass)
{
	struct tmirror *m = container_of(mirror, struct tmirror, mirror);
	struct tupdate *u = own_update(m->s, pass->update);

	expect_live(m);
	expect(pass->priv[0] == (unsigned long)m &&
	       pass->priv[1] == (unsigned long)current, PASSES, m->bit);
	if (u) {
		expect(u->started & ~u->finished & m->bit, PASSES, m->bit);
		u->finished |= m->bit;
	}
	expect(atomic_dec_return(&m->passes) >= 0, PASSES, m->bit);
	pause_a_bit(get_random_u32(), mmu_notifier_range_blockable(pass->update));
	expect_live(m);
}

static void release(struct hmm_mirror *mirror)
{
	struct tmirror *m = container_of(mirror, struct tmirror, mirror);
	struct hmm_mirror_range *range;
	unsigned long seq;

	expect_live(m);
	expect(!READ_ONCE(m->released), RELEASE_TWICE, m->bit);
	count(RELEASES);

	mutex_lock(&m->lock);
	hmm_mirror_for_each_range(range, mirror, 0, ULONG_MAX)
		expect(hmm_mirror_range_begin(range, &seq, 0) == -ESRCH, DEAD_VALID, m->bit);
	m->open = false;
	zap(m, 0, ULONG_MAX);
	mutex_unlock(&m->lock);

	pause_a_bit(get_random_u32(), true);
	WRITE_ONCE(m->released, true);
	expect_live(m);
}

/* Indexed by two bits: bit 0 is two passes, bit 1 is HMM_MIRROR_TRACKED_ONLY. */
static const struct hmm_mirror_ops ops[4] = {
	{
		.sync_cpu_device_pagetables = sync,
		.release = release,
	}, {
		.sync_start = sync_start,
		.sync_finish = sync_finish,
		.release = release,
	}, {
		.sync_cpu_device_pagetables = sync,
		.release = release,
		.flags = HMM_MIRROR_TRACKED_ONLY,
	}, {
		.sync_start = sync_start,
		.sync_finish = sync_finish,
		.release = release,
		.flags = HMM_MIRROR_TRACKED_ONLY,
	},
};

/* ---------------------------------------------------------------- the witness */

/*
 * A subscription of this module. It is older than those of the core, so the mm calls it after
 * them: the callbacks have run, and the mm has changed nothing yet.
 */
static int witness_start(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	struct tspace *s = container_of(mn, struct tspace, witness);
	struct hmm_mirror_mm *hmm;
	unsigned int i;

	if (mmu_notifier_range_blockable(update)) {
		count(REAL_STARTS);
		expect_no_ptes(s, update->start, update->end);
	} else {
		count(REAL_NONBLOCK);
	}

	spin_lock(&s->table_lock);
	for (i = 0; i < NR_RANGES; i++) {
		struct trange *tr = s->table[i];

		if (!tr)
			continue;
		hmm = hmm_mirror_range_mm(&tr->range);
		spin_lock(&hmm->lock);
		expect(!tr->range.mirror || (tr->range.state & 1) ||
		       !intersects(&tr->range, update->start, update->end),
		       VALID_IN_FLIGHT, i);
		spin_unlock(&hmm->lock);
	}
	spin_unlock(&s->table_lock);
	return 0;
}

static const struct mmu_notifier_ops witness_ops = {
	.invalidate_range_start = witness_start,
};

/* ------------------------------------------------------------------------ ranges */

static void range_free(struct kref *ref)
{
	struct trange *tr = container_of(ref, struct trange, ref);
	struct tmirror *m = tr->m;

	mutex_lock(&m->lock);
	zap(m, tr->range.start, tr->range.end);
	hmm_mirror_range_unregister(&tr->range);
	mutex_unlock(&m->lock);
	kfree(tr);
}

static void range_put(struct trange *tr)
{
	if (tr)
		kref_put(&tr->ref, range_free);
}

/* Replace entry @i of the table, and drop the reference to the old range. */
static void table_set(struct tspace *s, unsigned int i, struct trange *tr)
{
	struct trange *old;

	spin_lock(&s->table_lock);
	old = s->table[i];
	s->table[i] = tr;
	spin_unlock(&s->table_lock);
	range_put(old);
}

static bool range_get(struct hmm_mirror_range *range)
{
	struct trange *tr = container_of(range, struct trange, range);
	unsigned int i;

	if (!kref_get_unless_zero(&tr->ref))
		return false;
	for (i = 0; i < workers; i++) {
		if (tr->m->s->worker[i].task == current)
			tr->m->s->worker[i].got = tr;
	}
	return true;
}

static struct trange *table_get(struct tworker *w)
{
	struct tspace *s = w->s;
	struct trange *tr;

	spin_lock(&s->table_lock);
	tr = s->table[rnd(w, NR_RANGES)];
	if (tr)
		kref_get(&tr->ref);
	spin_unlock(&s->table_lock);
	return tr;
}

/* Return a random registered mirror, or NULL; with tspace.life held. */
static struct tmirror *any_mirror(struct tworker *w)
{
	unsigned int i, first = rnd(w, NR_MIRRORS);

	for (i = 0; i < NR_MIRRORS; i++) {
		struct tmirror *m = &w->s->mirror[(first + i) % NR_MIRRORS];

		if (m->registered) {
			w->hmm = m->mirror.hmm;
			return m;
		}
	}
	return NULL;
}

static struct trange *lookup(struct tworker *w, unsigned long addr)
{
	struct hmm_mirror_range *range = NULL;
	struct tmirror *m;

	down_read(&w->s->life);
	m = any_mirror(w);
	w->got = NULL;
	if (m) {
		range = hmm_mirror_range_lookup(&m->mirror, addr, range_get);
		expect(range == (w->got ? &w->got->range : NULL), LOOKUP, addr);
		expect(!w->got || w->got->m == m, LOOKUP, addr);
	}
	up_read(&w->s->life);
	count(LOOKUPS);
	return w->got;
}

static void random_bounds(struct tworker *w, unsigned long *start, unsigned long *end)
{
	unsigned long base = FAKE_BASE, pages = FAKE_PAGES, first, nr;

	if (rnd(w, 5) < 2) {
		base = REAL_BASE;
		pages = REAL_PAGES;
	}
	switch (rnd(w, 32)) {
	case 0:
		*start = 0;
		*end = rnd(w, 2) ? ULONG_MAX : TO_THE_END;
		return;
	case 1:
		*start = REAL_BASE;
		*end = FAKE_END;
		return;
	case 2:
		*start = base;
		*end = base + pages * PAGE_SIZE;
		return;
	case 3:
		*start = 0;
		*end = base + (1 + rnd(w, pages)) * PAGE_SIZE;
		return;
	case 4:
	case 5:
		any_bounds(w, PAGE_SHIFT, start, end);
		return;
	}
	first = rnd(w, pages);
	nr = 1 + rnd(w, min_t(unsigned long, pages - first, 12));
	*start = base + first * PAGE_SIZE;
	*end = *start + nr * PAGE_SIZE;
}

/* With tspace.life held. */
static int range_register(struct tworker *w, struct trange *tr, struct tmirror *m)
{
	bool dead = READ_ONCE(m->released);
	int ret;

	tr->m = m;
	atomic64_set(&tr->seq, 0);
	ret = hmm_mirror_range_register(&tr->range, &m->mirror);
	expect(!ret || ret == -ESRCH, ERRNO, ret);
	expect(!dead || ret, DEAD_VALID, m->bit);
	expect(ret || !hmm_mirror_range_valid(&tr->range), VALID_LATE, m->bit);
	count(RANGES);
	return ret;
}

/* Unregister a probe, which has no reference count. */
static void range_unregister(struct trange *tr)
{
	mutex_lock(&tr->m->lock);
	zap(tr->m, tr->range.start, tr->range.end);
	hmm_mirror_range_unregister(&tr->range);
	mutex_unlock(&tr->m->lock);
}

static void op_range(struct tworker *w)
{
	struct trange *tr = kmalloc(sizeof(*tr), GFP_KERNEL);
	struct tmirror *m;
	int ret = -ESRCH;

	if (!tr)
		return;
	kref_init(&tr->ref);
	random_bounds(w, &tr->range.start, &tr->range.end);

	down_read(&w->s->life);
	m = any_mirror(w);
	if (m)
		ret = range_register(w, tr, m);
	up_read(&w->s->life);

	if (ret) {
		kfree(tr);
		tr = NULL;
	}
	table_set(w->s, rnd(w, NR_RANGES), tr);
}

static void op_resize(struct tworker *w)
{
	struct trange *tr = table_get(w);
	unsigned long start, end, seq;
	bool begun;
	int ret;

	if (!tr)
		return;
	random_bounds(w, &start, &end);

	mutex_lock(&tr->m->lock);
	begun = !hmm_mirror_range_begin(&tr->range, &seq, 0);
	zap(tr->m, tr->range.start, tr->range.end);
	ret = hmm_mirror_range_resize(&tr->range, start, end);
	if (!ret) {
		if (end == TO_THE_END)
			end = ULONG_MAX;
		expect(tr->range.start == start && tr->range.end == end, BOUNDS, 0);
		expect(!begun || hmm_mirror_range_retry(&tr->range, seq), SEQ_BACK, seq);
	}
	expect(!ret || ret == -ESRCH, ERRNO, ret);
	mutex_unlock(&tr->m->lock);
	range_put(tr);
}

static void op_split(struct tworker *w)
{
	struct trange *tr = table_get(w), *tail;
	unsigned long at, end, seq;
	int ret = -EINVAL;
	bool begun;

	if (!tr)
		return;
	tail = kmalloc(sizeof(*tail), GFP_KERNEL);
	if (!tail)
		goto out;
	kref_init(&tail->ref);
	atomic64_set(&tail->seq, 0);
	tail->m = tr->m;

	mutex_lock(&tr->m->lock);
	end = tr->range.end;
	at = tr->range.start + PAGE_SIZE * (1 + rnd(w, 4));
	if (at > tr->range.start && at < end && at < TO_THE_END) {
		begun = !hmm_mirror_range_begin(&tr->range, &seq, 0);
		ret = hmm_mirror_range_split(&tr->range, at, &tail->range);
		expect(!ret || ret == -ESRCH, ERRNO, ret);
		expect(ret || (tr->range.end == at && tail->range.start == at &&
			       tail->range.end == end), BOUNDS, at);
		expect(ret || !begun || hmm_mirror_range_retry(&tr->range, seq),
		       SEQ_BACK, seq);
	}
	mutex_unlock(&tr->m->lock);

	if (!ret) {
		table_set(w->s, rnd(w, NR_RANGES), tail);
		tail = NULL;
	}
	kfree(tail);
out:
	range_put(tr);
}

static void op_lookup(struct tworker *w)
{
	unsigned long start, end;

	random_bounds(w, &start, &end);
	range_put(lookup(w, start));
}

/* ------------------------------------------------------------------------ faults */

static unsigned int random_timeout(struct tworker *w)
{
	switch (rnd(w, 3)) {
	case 0:
		return 0;
	case 1:
		return 1 + rnd(w, 200);
	default:
		return FOREVER;
	}
}

static void waits(struct tworker *w, struct trange *tr, unsigned int timeout)
{
	spin_lock(&w->lock);
	w->waiting = tr;
	w->timeout = timeout;
	w->waits++;
	spin_unlock(&w->lock);
}

static void expect_seq(struct trange *tr, s64 before, unsigned long seq)
{
	s64 old = atomic64_read(&tr->seq);

	expect((s64)seq >= before && !(seq & 1), SEQ_BACK, seq);
	while (old < (s64)seq) {
		s64 seen = atomic64_cmpxchg(&tr->seq, old, seq);

		if (seen == old)
			break;
		old = seen;
	}
}

static int begin(struct tworker *w, struct trange *tr, unsigned long *seq)
{
	unsigned int timeout = random_timeout(w);
	s64 before = atomic64_read(&tr->seq);
	bool dead = READ_ONCE(tr->m->released);
	int ret;

	waits(w, tr, timeout);
	ret = hmm_mirror_range_begin(&tr->range, seq, timeout);
	waits(w, NULL, 0);

	switch (ret) {
	case 0:
		expect(!dead, DEAD_VALID, *seq);
		expect_seq(tr, before, *seq);
		break;
	case -ETIME:
		count(TIMEOUTS);
		expect(timeout != FOREVER, ERRNO, ret);
		break;
	case -EINTR:
		expect(fatal_signal_pending(current), EINTR_UNKILLED, ret);
		break;
	default:
		expect(ret == -ESRCH, ERRNO, ret);
	}
	count(WAITS);
	return ret;
}

/* Choose a part of the range inside [base, limit). Return false if there is none. */
static bool random_part(struct tworker *w, struct trange *tr, unsigned long base,
			unsigned long limit, unsigned long *start, unsigned long *end)
{
	unsigned long nr;

	mutex_lock(&tr->m->lock);
	*start = max(tr->range.start, base);
	*end = min(tr->range.end, limit);
	mutex_unlock(&tr->m->lock);
	if (*start >= *end)
		return false;

	nr = (*end - *start) >> PAGE_SHIFT;
	*start += rnd(w, nr) * PAGE_SIZE;
	nr = (*end - *start) >> PAGE_SHIFT;
	*end = *start + (1 + rnd(w, min_t(unsigned long, nr, NR_PFNS))) * PAGE_SIZE;
	return true;
}

static struct trange *any_range(struct tworker *w, unsigned long base, unsigned int pages)
{
	return rnd(w, 2) ? table_get(w) : lookup(w, base + rnd(w, pages) * PAGE_SIZE);
}

/* Install fake device PTEs. The fake page table must not have changed; with m->lock held. */
static void fake_commit(struct trange *tr, const unsigned long *gens, unsigned long start,
			unsigned long end)
{
	struct tmirror *m = tr->m;
	struct tspace *s = m->s;
	unsigned int i, k = 0;

	count(COMMITS);
	/* The bounds changed between random_part() and begin(). */
	if (start < tr->range.start || end > tr->range.end)
		return;
	for_each_fake(i, start, end) {
		s64 gen = atomic64_read(&s->gen[i]);

		expect((s64)gens[k] == gen, COMMIT_OLD, i);
		expect(!m->fake[i] || m->fake[i] == gen, STALE_PTE, i);
		if (m->open)
			m->fake[i] = gens[k];
		k++;
	}
}

static void op_fault_fake(struct tworker *w)
{
	struct trange *tr = any_range(w, FAKE_BASE, FAKE_PAGES);
	unsigned long start, end, seq;
	unsigned int i, k = 0;

	if (!tr)
		return;
	if (!random_part(w, tr, FAKE_BASE, FAKE_END, &start, &end))
		goto out;
	if (begin(w, tr, &seq))
		goto out;
	count(FAULTS);
	for_each_fake(i, start, end)
		w->pfns[k++] = atomic64_read(&w->s->gen[i]);
	window(w);

	mutex_lock(&tr->m->lock);
	if (hmm_mirror_range_retry(&tr->range, seq))
		count(COLLISIONS);
	else
		fake_commit(tr, w->pfns, start, end);
	mutex_unlock(&tr->m->lock);
out:
	range_put(tr);
}

/* Fault with the API of 2019: the range is used by one thread, for one fault. */
static void op_fault_2019(struct tworker *w)
{
	struct trange *tr = &w->probe[0];
	unsigned int timeout = random_timeout(w), i, k = 0;
	unsigned long start, end;
	struct tmirror *m;
	int ret = -ESRCH;
	bool valid;

	memset(&tr->ref, 0, sizeof(tr->ref));
	random_bounds(w, &tr->range.start, &tr->range.end);
	down_read(&w->s->life);
	m = any_mirror(w);
	if (m)
		ret = range_register(w, tr, m);
	up_read(&w->s->life);
	if (ret)
		return;

	waits(w, tr, timeout);
	valid = hmm_mirror_range_wait_until_valid(&tr->range, timeout);
	waits(w, NULL, 0);
	count(WAITS);
	if (valid && random_part(w, tr, FAKE_BASE, FAKE_END, &start, &end)) {
		count(FAULTS);
		for_each_fake(i, start, end)
			w->pfns[k++] = atomic64_read(&w->s->gen[i]);
		window(w);
		mutex_lock(&m->lock);
		if (hmm_mirror_range_valid(&tr->range))
			fake_commit(tr, w->pfns, start, end);
		else
			count(COLLISIONS);
		mutex_unlock(&m->lock);
	}
	range_unregister(tr);
}

/* Install real device PTEs; a hmm_mirror_commit_fn. */
static int real_commit(struct hmm_mirror_range *range, unsigned long seq,
		       const struct hmm_mirror_fault *fault, void *arg)
{
	struct trange *tr = container_of(range, struct trange, range);
	struct tmirror *m = tr->m;
	unsigned int i, k = 0;
	int ret = -EBUSY;

	mutex_lock(&m->lock);
	if (hmm_mirror_range_retry(range, seq)) {
		count(COLLISIONS);
	} else {
		count(COMMITS);
		for_each_real(i, fault->start, fault->end) {
			if (m->open)
				m->real[i] = fault->pfns[k];
			k++;
		}
		ret = 0;
	}
	mutex_unlock(&m->lock);
	return ret;
}

struct deadline {
	unsigned long jiffies;
	unsigned int late;	/* calls after the deadline; one is allowed */
};

/* Collide always. After the deadline, populate() may call this once, but not again. */
static int real_commit_busy(struct hmm_mirror_range *range, unsigned long seq,
			    const struct hmm_mirror_fault *fault, void *arg)
{
	struct deadline *deadline = arg;

	if (time_after(jiffies, deadline->jiffies))
		deadline->late++;
	expect(deadline->late <= 1, TIMEOUT, jiffies - deadline->jiffies);
	return deadline->late <= 1 ? -EBUSY : -EIO;
}

/* Kill the calling thread and collide: populate() must not call this again. */
static int real_commit_killed(struct hmm_mirror_range *range, unsigned long seq,
			      const struct hmm_mirror_fault *fault, void *arg)
{
	struct deadline *deadline = arg;

	expect(!deadline->late, KILL, seq);
	deadline->late++;
	send_sig(SIGKILL, current, 1);
	return deadline->late <= 1 ? -EBUSY : -EIO;
}

static void expect_pages(const struct hmm_mirror_fault *fault)
{
	unsigned long nr = (fault->end - fault->start) >> PAGE_SHIFT, i;

	for (i = 0; i < nr; i++)
		expect(fault->pfns[i] & HMM_PFN_VALID, NO_PAGE, i);
}

static void expect_fault_error(int ret)
{
	count(FAULT_ERRORS);
	/* -EINVAL: the bounds of the range have changed. */
	expect(ret == -EBUSY || ret == -EFAULT || ret == -EPERM || ret == -ENOMEM ||
	       ret == -EINTR || ret == -ESRCH || ret == -EINVAL || ret == -EHWPOISON ||
	       ret == -ETIME || ret == -EIO, ERRNO, ret);
	expect(ret != -EINTR || fatal_signal_pending(current), EINTR_UNKILLED, ret);
}

static void op_fault_real(struct tworker *w)
{
	struct trange *tr = any_range(w, REAL_BASE, REAL_PAGES);
	struct hmm_mirror_fault fault = {
		.pfns = w->pfns,
		.default_flags = HMM_PFN_REQ_FAULT | (rnd(w, 2) ? HMM_PFN_REQ_WRITE : 0),
	};
	bool reaped;
	unsigned long seq;
	int ret;

	if (!tr)
		return;
	if (!random_part(w, tr, REAL_BASE, REAL_END, &fault.start, &fault.end))
		goto out;
	if (begin(w, tr, &seq))
		goto out;
	count(FAULTS);
	memset(w->pfns, 0, sizeof(w->pfns));
	reaped = check_stable_address_space(w->s->mm);
	ret = hmm_mirror_range_fault(&tr->range, seq, &fault, HMM_MIRROR_WAIT_FOREVER);
	if (!ret) {
		expect(!reaped, REAPED, 0);
		expect_pages(&fault);
		window(w);
		real_commit(&tr->range, seq, &fault, NULL);
	} else {
		expect_fault_error(ret);
	}
out:
	range_put(tr);
}

static void op_populate(struct tworker *w)
{
	struct trange *tr = any_range(w, REAL_BASE, REAL_PAGES);
	struct hmm_mirror_fault fault = {
		.pfns = w->pfns,
		.default_flags = HMM_PFN_REQ_FAULT | (rnd(w, 2) ? HMM_PFN_REQ_WRITE : 0),
	};
	hmm_mirror_commit_fn commit = real_commit;
	unsigned int timeout = random_timeout(w);
	struct deadline deadline = {};
	int ret;

	if (!tr)
		return;
	if (!random_part(w, tr, REAL_BASE, REAL_END, &fault.start, &fault.end))
		goto out;
	if (rnd(w, 4) == 0)
		commit = timeout == FOREVER ? real_commit_killed : real_commit_busy;

	memset(w->pfns, 0, sizeof(w->pfns));
	waits(w, tr, timeout);
	deadline.jiffies = jiffies + msecs_to_jiffies(timeout);
	ret = hmm_mirror_range_populate(&tr->range, &fault, timeout, commit, &deadline);
	waits(w, NULL, 0);
	count(POPULATES);
	if (!ret)
		expect_pages(&fault);
	else
		expect_fault_error(ret);
	expect(ret != -EBUSY && (ret != -ETIME || timeout != FOREVER), ERRNO, ret);
out:
	range_put(tr);
}

/*
 * Compare device PTEs with the CPU page table. Read the device PTEs first: a page can become
 * present or writable without an invalidation, and another thread may then install its PTE.
 */
static void op_verify_real(struct tworker *w)
{
	struct trange *tr = any_range(w, REAL_BASE, REAL_PAGES);
	struct hmm_mirror_fault fault = { .pfns = w->pfns };
	unsigned int i, k = 0;
	unsigned long seq;
	int ret;

	if (!tr)
		return;
	if (!random_part(w, tr, REAL_BASE, REAL_END, &fault.start, &fault.end))
		goto out;
	if (begin(w, tr, &seq))
		goto out;
	mutex_lock(&tr->m->lock);
	for_each_real(i, fault.start, fault.end)
		w->ptes[k++] = tr->m->real[i];
	mutex_unlock(&tr->m->lock);
	window(w);
	ret = hmm_mirror_range_snapshot(&tr->range, seq, &fault, HMM_MIRROR_WAIT_FOREVER);
	if (ret) {
		expect_fault_error(ret);
		goto out;
	}
	mutex_lock(&tr->m->lock);
	if (!hmm_mirror_range_retry(&tr->range, seq)) {
		count(VERIFIED);
		k = 0;
		for_each_real(i, fault.start, fault.end) {
			unsigned long pte = w->ptes[k], pfn = fault.pfns[k];

			k++;
			/* munmap() removes the VMA before it invalidates. */
			if (!pte || (pfn & HMM_PFN_ERROR))
				continue;
			expect((pfn & HMM_PFN_VALID) &&
			       hmm_pfn_to_page(pfn) == hmm_pfn_to_page(pte), STALE_PTE, i);
			expect(!(pte & HMM_PFN_WRITE) || (pfn & HMM_PFN_WRITE), STALE_PTE, i);
		}
	}
	mutex_unlock(&tr->m->lock);
out:
	range_put(tr);
}

/* ------------------------------------------------------------ fake invalidations */

/* With tspace.life held. */
static int fake_start(struct tworker *w, struct tupdate *u, unsigned long start,
		      unsigned long end, bool blockable, enum mmu_notifier_event event)
{
	struct hmm_mirror_mm *hmm = w->hmm;
	int ret;

	*u = (struct tupdate) {
		.range = {
			.mm = w->s->mm,
			.start = start,
			.end = end,
			.flags = blockable ? MMU_NOTIFIER_RANGE_BLOCKABLE : 0,
			.event = event,
		},
		.in_flight = true,
	};
	count(FAKE_STARTS);
	if (!blockable)
		non_block_start();
	ret = hmm->start.ops->invalidate_range_start(&hmm->start, &u->range);
	if (!blockable)
		non_block_end();

	if (!injected || blockable || ret != -EAGAIN)
		expect(ret == (u->failed ? -EAGAIN : 0), RESULT, ret);
	expect(u->started == u->finished, PASSES, u->started ^ u->finished);
	if (!ret)
		expect_no_ptes(w->s, start, end);
	return ret;
}

static bool in_flight(struct hmm_mirror_mm *hmm, struct tupdate *u, bool *shared)
{
	bool found = READ_ONCE(hmm_mirror_slot_hashed(hmm, &u->range)->key) == &u->range;
	const struct hmm_mirror_locked_slot *slot;
	unsigned int i;

	spin_lock(&hmm->lock);
	for (i = 0; i < ARRAY_SIZE(hmm->keys); i++)
		hlist_for_each_entry(slot, &hmm->keys[i], key)
			found |= slot->slot.key == &u->range;
	*shared = hmm->nr_shared;
	spin_unlock(&hmm->lock);
	return found;
}

/* The invalidation has a slot, and a range that is registered now in it is not valid. */
static void expect_in_flight(struct tworker *w, struct tupdate *u)
{
	struct trange *tr = &w->probe[NR_PROBES - 1];
	struct tmirror *m = any_mirror(w);
	unsigned long seq;
	bool shared;
	int ret;

	expect(in_flight(w->hmm, u, &shared) || shared, NOT_IN_FLIGHT, u->range.event);
	if (shared)
		count(OVERFLOWS);
	if (u->range.start >= u->range.end)
		return;

	memset(&tr->ref, 0, sizeof(tr->ref));
	tr->range.start = u->range.start & PAGE_MASK;
	tr->range.end = tr->range.start < TO_THE_END ? tr->range.start + PAGE_SIZE : ULONG_MAX;
	if (range_register(w, tr, m))
		return;
	ret = hmm_mirror_range_begin(&tr->range, &seq, 0);
	expect(ret, VALID_IN_FLIGHT, u->range.start);
	range_unregister(tr);
}

/* Change the fake page table if start succeeded (@ret is 0), and end the invalidation. */
static void fake_end(struct tworker *w, struct tupdate *u, int ret)
{
	struct hmm_mirror_mm *hmm = w->hmm;
	bool shared;
	unsigned int i;

	/* Not always: this raises the sequence, which would hide a sequence that decreases. */
	if (rnd(w, 2))
		expect_in_flight(w, u);
	if (!ret) {
		for_each_fake(i, u->range.start, u->range.end)
			atomic64_inc(&w->s->gen[i]);
		window(w);
		expect_no_ptes(w->s, u->range.start, u->range.end);
	}
	hmm->end.ops->invalidate_range_end(&hmm->end, &u->range);
	u->in_flight = false;
	expect(!in_flight(hmm, u, &shared), STILL_IN_FLIGHT, u->range.event);
}

static void random_update(struct tworker *w, unsigned long *start, unsigned long *end)
{
	switch (rnd(w, 24)) {
	case 0:
		*start = 0;
		*end = ULONG_MAX;
		return;
	case 1:
		*start = FAKE_BASE + rnd(w, FAKE_PAGES) * PAGE_SIZE;
		*end = *start;
		return;
	case 2:
		*start = 0;
		*end = FAKE_BASE + rnd(w, FAKE_PAGES) * PAGE_SIZE;
		return;
	case 3:
		any_bounds(w, PAGE_SHIFT, start, end);
		return;
	}
	*start = FAKE_BASE + rnd(w, FAKE_PAGES) * PAGE_SIZE;
	*end = *start + (1 + rnd(w, 6)) * PAGE_SIZE;
}

static int random_start(struct tworker *w, struct tupdate *u)
{
	unsigned long start, end;

	random_update(w, &start, &end);
	return fake_start(w, u, start, end, rnd(w, 3), MMU_NOTIFY_CLEAR);
}

/* Make up to four invalidations, nested or overlapping. */
static void op_start(struct tworker *w)
{
	unsigned int nr = rnd(w, 4) ? 1 : 1 + rnd(w, 4), i;
	int ret[4];

	down_read(&w->s->life);
	if (any_mirror(w)) {
		for (i = 0; i < nr; i++) {
			ret[i] = random_start(w, &w->update[i]);
			window(w);
		}
		if (rnd(w, 2)) {
			for (i = 0; i < nr; i++)
				fake_end(w, &w->update[i], ret[i]);
		} else {
			while (nr--)
				fake_end(w, &w->update[nr], ret[nr]);
		}
	}
	up_read(&w->s->life);
}

/* Make more invalidations than there are slots, and end them in random order. */
static void op_burst(struct tworker *w)
{
	unsigned int nr = 1 + rnd(w, NR_UPDATES - 1), left = nr, i;
	int ret[NR_UPDATES];

	down_read(&w->s->life);
	if (any_mirror(w)) {
		for (i = 0; i < nr; i++)
			ret[i] = random_start(w, &w->update[i]);
		while (left) {
			i = rnd(w, nr);
			while (!w->update[i].in_flight)
				i = (i + 1) % nr;
			fake_end(w, &w->update[i], ret[i]);
			left--;
		}
	}
	up_read(&w->s->life);
}

/* Make an endless invalidation: the mm may not end a change of protection at address 0. */
static void op_endless(struct tworker *w)
{
	/* Use the last one: start with the same pointer would end the old invalidation. */
	struct tupdate *u = &w->update[NR_UPDATES - 1];
	unsigned int i;
	bool shared;

	down_read(&w->s->life);
	if (any_mirror(w)) {
		mmap_read_lock(w->s->mm);
		fake_start(w, u, 0, FAKE_BASE + rnd(w, FAKE_PAGES) * PAGE_SIZE, true,
			   MMU_NOTIFY_PROTECTION_VMA);
		if (!in_flight(w->hmm, u, &shared)) {
			/* Only an invalidation with a slot of its own can be endless. */
			fake_end(w, u, 0);
		} else {
			expect_in_flight(w, u);
			for_each_fake(i, u->range.start, u->range.end)
				atomic64_inc(&w->s->gen[i]);
			window(w);
			expect_no_ptes(w->s, u->range.start, u->range.end);
		}
		mmap_read_unlock(w->s->mm);
	}
	up_read(&w->s->life);
}

/*
 * Return true once @v has left its wait number @wait, or false after a timeout. If @bell is
 * not NULL, resize it again and again, which wakes all waiters: their time must not restart.
 */
static bool leaves(struct tworker *v, unsigned long wait, struct trange *bell)
{
	unsigned long until = jiffies + patience_jiffies();
	bool left;

	do {
		usleep_range(50, 200);
		if (bell) {
			mutex_lock(&bell->m->lock);
			hmm_mirror_range_resize(&bell->range, bell->range.start,
						bell->range.end);
			mutex_unlock(&bell->m->lock);
		}
		spin_lock(&v->lock);
		left = v->waits != wait;
		spin_unlock(&v->lock);
	} while (!left && time_before(jiffies, until));
	return left;
}

static bool anybody_waits(struct tspace *s)
{
	unsigned int i;
	bool waits = false;

	for (i = 0; i < workers; i++) {
		spin_lock(&s->worker[i].lock);
		waits |= s->worker[i].waiting && s->worker[i].timeout;
		spin_unlock(&s->worker[i].lock);
	}
	return waits;
}

/* Make an invalidation that ends only after each waiter was killed or has timed out. */
static void op_hold(struct tworker *w)
{
	struct tupdate *u = &w->update[0];
	struct trange *bell = &w->probe[1];
	unsigned int i;
	bool rings;
	int ret;

	down_read(&w->s->life);
	if (!any_mirror(w))
		goto out;

	memset(&bell->ref, 0, sizeof(bell->ref));
	bell->range.start = TO_THE_END - PAGE_SIZE;
	bell->range.end = TO_THE_END;
	rings = !range_register(w, bell, any_mirror(w));

	ret = fake_start(w, u, 0, ULONG_MAX, rnd(w, 3), MMU_NOTIFY_CLEAR);
	for (i = 0; i < 50 && !anybody_waits(w->s); i++)
		usleep_range(500, 2000);
	usleep_range(500, 2000);
	for (i = 0; i < workers; i++) {
		struct tworker *v = &w->s->worker[i];
		unsigned long wait;
		unsigned int timeout;
		bool waiting;

		spin_lock(&v->lock);
		waiting = v->waiting;
		timeout = v->timeout;
		wait = v->waits;
		spin_unlock(&v->lock);
		if (!waiting)
			continue;
		if (timeout == FOREVER || rnd(w, 2)) {
			count(KILLS);
			send_sig(SIGKILL, v->task, 1);
			expect(leaves(v, wait, NULL), KILL, i);
		} else {
			expect(leaves(v, wait, rings ? bell : NULL), TIMEOUT, i);
		}
	}
	fake_end(w, u, ret);
	if (rings)
		range_unregister(bell);
out:
	up_read(&w->s->life);
}

/* ---------------------------------------------------------------------- mirrors */

static int mirror_attach(struct tmirror *m, u32 random)
{
	int ret;

	m->mirror.ops = &ops[random % 4];
	WRITE_ONCE(m->released, false);
	mutex_lock(&m->lock);
	m->open = true;
	mutex_unlock(&m->lock);
	WRITE_ONCE(m->live, true);
	ret = hmm_mirror_attach(&m->mirror, m->s->mm);
	m->registered = !ret;
	if (ret)
		WRITE_ONCE(m->live, false);
	expect(!ret || ret == -ESRCH || ret == -EINTR || ret == -ENOMEM, ERRNO, ret);
	return ret;
}

/* Remove the device PTEs, and unregister the mirror. Ranges may stay registered. */
static void mirror_detach(struct tmirror *m)
{
	mutex_lock(&m->lock);
	m->open = false;
	zap(m, 0, ULONG_MAX);
	mutex_unlock(&m->lock);

	hmm_mirror_unregister(&m->mirror);
	WRITE_ONCE(m->live, false);
	m->registered = false;
	expect(!atomic_read(&m->passes), PASSES, m->bit);
}

static void op_mirror(struct tworker *w)
{
	struct tmirror *m = &w->s->mirror[rnd(w, NR_MIRRORS)];
	struct trange *tr = table_get(w);
	unsigned long seq;
	bool begun;
	unsigned int i;

	count(MIRRORS);
	down_write(&w->s->life);
	if (m->registered) {
		if (rnd(w, 2)) {
			for (i = 0; i < NR_RANGES; i++) {
				spin_lock(&w->s->table_lock);
				begun = w->s->table[i] && w->s->table[i]->m == m;
				spin_unlock(&w->s->table_lock);
				if (begun)
					table_set(w->s, i, NULL);
			}
		}
		begun = tr && tr->m == m && !hmm_mirror_range_begin(&tr->range, &seq, 0);
		mirror_detach(m);
		expect(!begun || hmm_mirror_range_retry(&tr->range, seq), ORPHAN_VALID, seq);
		expect(!tr || tr->m != m ||
		       hmm_mirror_range_begin(&tr->range, &seq, 0) == -ESRCH,
		       ORPHAN_VALID, m->bit);
	} else if (mmget_not_zero(w->s->mm)) {
		mirror_attach(m, prandom_u32_state(&w->rnd));
		mmput_async(w->s->mm);
	}
	up_write(&w->s->life);
	range_put(tr);
}

/* Hold mm_users for a while, so that the mm outlives a process that exits. */
static void op_pin(struct tworker *w)
{
	if (!mmget_not_zero(w->s->mm))
		return;
	msleep(1 + rnd(w, 30));
	mmput_async(w->s->mm);
}

/* ----------------------------------------------------------------- no operations */

/* Wait for a range of all addresses: that also ends the endless invalidations. */
static int wait_for_endless(struct tmirror *m)
{
	struct trange all = { .m = m };
	unsigned long seq;
	int ret;

	all.range.start = 0;
	all.range.end = TO_THE_END;
	ret = hmm_mirror_range_register(&all.range, &m->mirror);
	if (!ret) {
		ret = hmm_mirror_range_begin(&all.range, &seq, patience * MSEC_PER_SEC);
		expect(!ret || ret == -EINTR || ret == -ESRCH, NOT_AT_REST, ret);
		range_unregister(&all);
	}
	return ret;
}

/* Return the mask of mirrors that @u must call; with tspace.rest held for writing. */
static unsigned int expected_calls(struct tworker *w, unsigned int nr_probes,
				   const struct tupdate *u)
{
	unsigned int i, mask = 0;

	for (i = 0; i < NR_MIRRORS; i++) {
		struct tmirror *m = &w->s->mirror[i];

		if (m->registered && !(m->mirror.ops->flags & HMM_MIRROR_TRACKED_ONLY))
			mask |= m->bit;
	}
	for (i = 0; i < NR_RANGES + nr_probes; i++) {
		struct trange *tr;

		tr = i < NR_RANGES ? w->s->table[i] : &w->probe[i - NR_RANGES];
		if (tr && tr->range.mirror &&
		    intersects(&tr->range, u->range.start, u->range.end))
			mask |= tr->m->bit;
	}
	return mask;
}

/* Choose bounds near those of the probes, aligned or not. */
static void probe_update(struct tworker *w, unsigned long *start, unsigned long *end)
{
	static const int off[] = { 0, 0, 0, -1, 1, 2048 };

	*start = FAKE_BASE + rnd(w, 6) * PAGE_SIZE + off[rnd(w, 6)];
	*end = *start + rnd(w, 3) * PAGE_SIZE + off[rnd(w, 6)];
	switch (rnd(w, 8)) {
	case 0:
		*start = TO_THE_END - PAGE_SIZE * rnd(w, 3);
		*end = rnd(w, 2) ? ULONG_MAX : TO_THE_END;
		break;
	case 1:
		*start = 0;
		*end = rnd(w, 2) ? 0 : *end;
		break;
	case 2:
		any_bounds(w, PROBE_BITS, start, end);
		break;
	}
	if (*end < *start)
		*end = *start;
}

/* A range that is registered during an invalidation is invalid only if they intersect. */
static void probe_late(struct tworker *w, unsigned long start, unsigned long end)
{
	struct trange *tr = &w->probe[NR_PROBES - 1];
	unsigned long seq;
	int ret;

	memset(&tr->ref, 0, sizeof(tr->ref));
	tr->range.start = FAKE_BASE + rnd(w, 6) * PAGE_SIZE;
	tr->range.end = tr->range.start + (1 + rnd(w, 2)) * PAGE_SIZE;
	if (range_register(w, tr, any_mirror(w)))
		return;
	ret = hmm_mirror_range_begin(&tr->range, &seq, 0);
	if (intersects(&tr->range, start, end))
		expect(ret, VALID_IN_FLIGHT, start);
	else
		expect(ret != -ETIME, HIT_OTHERS, start);
	range_unregister(tr);
}

/*
 * Make one invalidation, and check its effect on each probe. No other one is in flight where
 * the probes are, so the effect is known. The mm may die meanwhile, so -ESRCH is always right.
 */
static void probe_once(struct tworker *w, unsigned int nr)
{
	struct tupdate *u = &w->update[0];
	unsigned long start, end, seq, before[NR_PROBES];
	unsigned int i, calls;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = hmm_mirror_range_begin(&w->probe[i].range, &before[i], FOREVER);
		if (ret == -ESRCH || ret == -EINTR)
			return;
		expect(!ret, INVALID_AT_REST, ret);
	}
	probe_update(w, &start, &end);
	ret = fake_start(w, u, start, end, rnd(w, 3), MMU_NOTIFY_CLEAR);
	calls = expected_calls(w, nr, u);
	if (ret)
		expect(!(u->called & ~calls), CALLED_WRONG, u->called ^ calls);
	else
		expect(u->called == calls, CALLED_WRONG, u->called ^ calls);

	for (i = 0; i < nr; i++) {
		struct hmm_mirror_range *range = &w->probe[i].range;
		int now = hmm_mirror_range_begin(range, &seq, 0);

		if (now == -ESRCH)
			continue;
		if (intersects(range, start, end)) {
			expect(now == -ETIME, HIT_NOT, now);
			expect(hmm_mirror_range_retry(range, before[i]), HIT_NOT, i);
		} else {
			expect(now != -ETIME, HIT_OTHERS, i);
			expect(now || seq == before[i], HIT_OTHERS, i);
		}
	}
	if (rnd(w, 2))
		probe_late(w, start, end);
	fake_end(w, u, ret);
	for (i = 0; i < nr; i++) {
		struct hmm_mirror_range *range = &w->probe[i].range;
		int now = hmm_mirror_range_begin(range, &seq, 0);

		expect(now != -ETIME, INVALID_AT_REST, i);
		if (intersects(range, start, end))
			expect(now || seq > before[i], SEQ_BACK, seq);
		else
			expect(now || seq == before[i], HIT_OTHERS, i);
	}
	count(PROBES);
}

static void op_probe(struct tworker *w)
{
	unsigned int nr, i;
	struct tmirror *m;

	down_read(&w->s->life);
	/* expect_in_flight() and probe_late() use the last one. */
	for (nr = 0; nr < NR_PROBES - 1; nr++) {
		struct trange *tr = &w->probe[nr];

		m = any_mirror(w);
		if (!m)
			break;
		memset(&tr->ref, 0, sizeof(tr->ref));
		tr->range.start = FAKE_BASE + rnd(w, 6) * PAGE_SIZE;
		tr->range.end = tr->range.start + (1 + rnd(w, 2)) * PAGE_SIZE;
		if (!rnd(w, 4)) {
			tr->range.start = TO_THE_END - PAGE_SIZE * (1 + rnd(w, 2));
			tr->range.end = rnd(w, 2) ? ULONG_MAX : TO_THE_END;
		} else if (!rnd(w, 3)) {
			any_bounds(w, PROBE_BITS, &tr->range.start, &tr->range.end);
		}
		if (range_register(w, tr, m))
			break;
	}
	/* An injected overflow makes all dirty ranges invalid, and the effect unknown. */
	if (nr == NR_PROBES - 1 && !injected && !wait_for_endless(m)) {
		for (i = 0; i < 8; i++)
			probe_once(w, nr);
	}
	while (nr)
		range_unregister(&w->probe[--nr]);
	up_read(&w->s->life);
}

/* Return true if no slot is in use and nothing waits; with tspace.rest held for writing. */
static bool at_rest(struct hmm_mirror_mm *hmm)
{
	struct hmm_mirror_locked_slot *slot;
	unsigned int free = 0;
	bool rests;
	int i;

	spin_lock(&hmm->lock);
	rests = !hmm->nr_busy && !hmm->nr_shared && !hmm->nr_shared_endless &&
		!hmm->nr_waiters && list_empty(&hmm->waiters) && hlist_empty(&hmm->walks) &&
		RB_EMPTY_ROOT(&hmm->in_flight.rb_root);
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		rests &= !READ_ONCE(hmm->slot[i].key) && !READ_ONCE(hmm->slot[i].last);
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		/* Waiters queue up under hmm->lock. */
		rests &= !waitqueue_active(&hmm->slot[i].waiters);
	list_for_each_entry(slot, &hmm->free, free) {
		/* As above. */
		rests &= !waitqueue_active(&slot->slot.waiters);
		free++;
	}
	rests &= free == hmm->nr_locked;
	spin_unlock(&hmm->lock);
	return rests;
}

/*
 * Return true if only the two subscriptions and the ranges hold references; also those of
 * unregistered mirrors. A queued work holds one too, until it is done.
 */
static bool users_are_right(struct tspace *s, struct hmm_mirror_mm *hmm)
{
	unsigned int i, users = 2;

	for (i = 0; i < NR_RANGES; i++)
		users += s->table[i] && hmm_mirror_range_mm(&s->table[i]->range) == hmm;
	spin_lock(&hmm->lock);
	users -= hmm->users + hmm->nr_ranges;
	spin_unlock(&hmm->lock);
	return !users;
}

/* Wait until @condition is true: reclaim, for example, may still invalidate for a while. */
#define soon(condition) ({						\
	unsigned long until__ = jiffies + patience_jiffies();		\
	bool is_true__;							\
									\
	while (!(is_true__ = (condition)) && time_before(jiffies, until__)) \
		usleep_range(100, 1000);				\
	is_true__;							\
})

static void expect_rest(struct tspace *s, struct tmirror *m, unsigned int nr_threads)
{
	struct hmm_mirror_mm *hmm = m->mirror.hmm;
	unsigned int i;
	int ret;

	ret = wait_for_endless(m);
	/* The mm is that of the caller, so it is not dead. */
	expect(ret != -ESRCH, NOT_AT_REST, ret);
	if (ret)
		return;

	expect(soon(at_rest(hmm)), NOT_AT_REST, 0);
	expect(soon(users_are_right(s, hmm)), USERS, 0);
	/* mmput_async() drops its reference later. */
	expect(soon(atomic_read(&s->mm->mm_users) <= nr_threads), MM_USERS,
	       atomic_read(&s->mm->mm_users));
	for (i = 0; i < NR_MIRRORS; i++)
		expect(soon(!atomic_read(&s->mirror[i].passes)), PASSES, i);
}

static long torture_rest(struct tspace *s, unsigned int nr_threads)
{
	unsigned int i;

	if (current->mm != s->mm)
		return -EINVAL;
	if (down_write_killable(&s->rest))
		return -EINTR;
	down_read(&s->life);
	for (i = 0; i < NR_MIRRORS; i++) {
		if (s->mirror[i].registered) {
			expect_rest(s, &s->mirror[i], nr_threads);
			count(RESTS);
			break;
		}
	}
	up_read(&s->life);
	up_write(&s->rest);
	return 0;
}

/* ---------------------------------------------------------------------- threads */

static const struct {
	void (*fn)(struct tworker *w);
	const char *name;
	unsigned int weight;
	enum { REST_READ, REST_WRITE, REST_NONE } rest;	/* how to hold tspace.rest */
} all_ops[] = {
	{ op_fault_fake,	"fault_fake",	160 },
	{ op_start,		"start",	140 },
	{ op_fault_2019,	"fault_2019",	40 },
	{ op_fault_real,	"fault_real",	50 },
	{ op_populate,		"populate",	20 },
	{ op_verify_real,	"verify_real",	40 },
	{ op_range,		"range",	40 },
	{ op_resize,		"resize",	30 },
	{ op_split,		"split",	15 },
	{ op_lookup,		"lookup",	10 },
	{ op_endless,		"endless",	5 },
	{ op_hold,		"hold",		4 },
	{ op_burst,		"burst",	2 },
	{ op_pin,		"pin",		2, REST_NONE },
	{ op_mirror,		"mirror",	3 },
	{ op_probe,		"probe",	4, REST_WRITE },
};

static void one_op(struct tworker *w, unsigned int i)
{
	if (all_ops[i].rest == REST_WRITE)
		down_write(&w->s->rest);
	else if (all_ops[i].rest == REST_READ)
		down_read(&w->s->rest);
	WRITE_ONCE(w->since, jiffies);
	WRITE_ONCE(w->op, all_ops[i].name);
	all_ops[i].fn(w);
	WRITE_ONCE(w->op, NULL);
	if (all_ops[i].rest == REST_WRITE)
		up_write(&w->s->rest);
	else if (all_ops[i].rest == REST_READ)
		up_read(&w->s->rest);
}

static int work(void *arg)
{
	struct tworker *w = arg;
	unsigned int i, total = 0;

	for (i = 0; i < ARRAY_SIZE(all_ops); i++)
		total += all_ops[i].weight;

	/* Kernel threads ignore all other signals. */
	allow_signal(SIGKILL);
	while (!kthread_should_stop()) {
		u32 n = rnd(w, total);

		for (i = 0; n >= all_ops[i].weight; i++)
			n -= all_ops[i].weight;
		one_op(w, i);
		if (signal_pending(current))
			flush_signals(current);
		if (!rnd(w, 16))
			usleep_range(10, 200);
		cond_resched();
	}
	return 0;
}

/* ---------------------------------------------------------------------- watchdog */

static LIST_HEAD(spaces);
static DEFINE_MUTEX(spaces_lock);
static struct task_struct *watchdog;

static bool sleeps_on(struct hmm_mirror_slot *slot, struct task_struct *task)
{
	struct wait_queue_entry *entry;
	bool found = false;

	spin_lock_irq(&slot->waiters.lock);
	list_for_each_entry(entry, &slot->waiters.head, entry)
		found |= entry->private == task;
	spin_unlock_irq(&slot->waiters.lock);
	return found && task_state_to_char(task) == 'D';
}

static bool is_hashed(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot)
{
	return slot >= hmm->slot && slot < hmm->slot + HMM_MIRROR_HASHED;
}

static bool slot_hits(struct hmm_mirror_mm *hmm, const struct hmm_mirror_slot *slot,
		      const struct hmm_mirror_range *range)
{
	if (slot == &hmm->shared)
		return hmm->nr_shared;
	if (!READ_ONCE(slot->key))
		return false;
	return READ_ONCE(slot->start) < range->end && READ_ONCE(slot->last) >= range->start;
}

/*
 * Return true if the thread of @w sleeps though it need not, and may be woken soon: a hashed slot
 * is freed without hmm->lock, and hmm_mirror_unregister() drops hmm->lock between a range that
 * it takes from its mirror and the wake-up. A thread that sleeps on any other slot must have a
 * reason as long as this holds hmm->lock.
 */
static bool sleeps_in_vain(struct tworker *w)
{
	struct hmm_mirror_range *range;
	struct hmm_mirror_mm *hmm;
	struct hmm_mirror_waiter *waiter;
	bool in_vain = false;

	spin_lock(&w->lock);
	if (!w->waiting) {
		spin_unlock(&w->lock);
		return false;
	}
	range = &w->waiting->range;
	hmm = hmm_mirror_range_mm(range);
	spin_lock(&hmm->lock);
	list_for_each_entry(waiter, &hmm->waiters, list) {
		struct hmm_mirror_slot *slot = waiter->slot;

		if (waiter->task != w->task || !slot || !sleeps_on(slot, w->task))
			continue;
		expect(!hmm->dead, SLEEPS, slot->nr);
		if (range->mirror && slot_hits(hmm, slot, range))
			continue;
		if (!range->mirror || is_hashed(hmm, slot))
			in_vain = true;
		else
			expect(false, SLEEPS, slot->nr);
	}
	spin_unlock(&hmm->lock);
	spin_unlock(&w->lock);
	return in_vain;
}

static void watch_sleeper(struct tworker *w)
{
	unsigned long until = jiffies + patience_jiffies() / 10;

	while (sleeps_in_vain(w)) {
		if (time_after(jiffies, until)) {
			expect(false, SLEEPS, 0);
			break;
		}
		usleep_range(500, 1000);
	}
}

static void watch_op(struct tworker *w, unsigned int i)
{
	const char *op = READ_ONCE(w->op);
	unsigned long since = READ_ONCE(w->since);

	if (!op || !time_after(jiffies, since + 3 * patience_jiffies()))
		return;
	if (!test_bit(HANGS, failed))
		pr_err("%s hangs for %u ms\n", op, jiffies_to_msecs(jiffies - since));
	expect(false, HANGS, i);
}

static int watch(void *arg)
{
	struct tspace *s;
	unsigned int i;

	while (!kthread_should_stop()) {
		mutex_lock(&spaces_lock);
		list_for_each_entry(s, &spaces, list) {
			for (i = 0; i < workers; i++) {
				watch_sleeper(&s->worker[i]);
				watch_op(&s->worker[i], i);
			}
		}
		mutex_unlock(&spaces_lock);
		usleep_range(5000, 10000);
	}
	return 0;
}

/* ------------------------------------------------------------------------- files */

static void space_free(struct tspace *s)
{
	unsigned int i;

	for (i = 0; i < workers; i++) {
		if (s->worker[i].task) {
			kthread_stop(s->worker[i].task);
			put_task_struct(s->worker[i].task);
		}
	}
	mutex_lock(&spaces_lock);
	list_del(&s->list);
	mutex_unlock(&spaces_lock);

	for (i = 0; i < NR_RANGES; i++) {
		/* Unregister half of the ranges before their mirrors, and half after. */
		if (i % 2)
			table_set(s, i, NULL);
	}
	for (i = 0; i < NR_MIRRORS; i++) {
		if (s->mirror[i].registered)
			mirror_detach(&s->mirror[i]);
	}
	for (i = 0; i < NR_RANGES; i++)
		table_set(s, i, NULL);
	if (s->witness.ops)
		mmu_notifier_unregister(&s->witness, s->mm);
	mmdrop(s->mm);
	kvfree(s);
}

static void space_init(struct tspace *s)
{
	unsigned long number = atomic_long_inc_return(&counts[SPACES]);
	unsigned int i;

	init_rwsem(&s->rest);
	init_rwsem(&s->life);
	spin_lock_init(&s->table_lock);
	for (i = 0; i < FAKE_PAGES; i++)
		atomic64_set(&s->gen[i], 1);
	for (i = 0; i < NR_MIRRORS; i++) {
		struct tmirror *m = &s->mirror[i];

		m->s = s;
		m->bit = BIT(i);
		mutex_init(&m->lock);
		prandom_seed_state(&m->rnd, seed + number * 64 + i);
	}
	for (i = 0; i < workers; i++) {
		s->worker[i].s = s;
		spin_lock_init(&s->worker[i].lock);
		prandom_seed_state(&s->worker[i].rnd, seed + number * 64 + 32 + i);
	}
}

static int space_start(struct tspace *s)
{
	struct task_struct *task;
	unsigned int i;
	int ret;

	/* The witness subscribes before the core, see witness_start(). */
	s->witness.ops = &witness_ops;
	ret = mmu_notifier_register(&s->witness, s->mm);
	if (ret) {
		s->witness.ops = NULL;
		return ret;
	}
	for (i = 0; i < NR_MIRRORS; i++) {
		ret = mirror_attach(&s->mirror[i], prandom_u32_state(&s->worker[0].rnd));
		if (ret)
			return ret;
	}
	for (i = 0; i < workers; i++) {
		task = kthread_create(work, &s->worker[i], "hmm_torture/%u", i);
		if (IS_ERR(task))
			return PTR_ERR(task);
		get_task_struct(task);
		s->worker[i].task = task;
	}
	for (i = 0; i < workers; i++)
		wake_up_process(s->worker[i].task);
	return 0;
}

static int torture_open(struct inode *inode, struct file *file)
{
	struct tspace *s;
	int ret;

	/* A reader only wants the statistics. */
	file->private_data = NULL;
	if ((file->f_flags & O_ACCMODE) == O_RDONLY)
		return 0;

	s = kvzalloc(struct_size(s, worker, workers), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	mmgrab(current->mm);
	s->mm = current->mm;
	space_init(s);
	mutex_lock(&spaces_lock);
	list_add(&s->list, &spaces);
	mutex_unlock(&spaces_lock);

	ret = space_start(s);
	if (ret) {
		space_free(s);
		return ret;
	}
	file->private_data = s;
	return 0;
}

static int torture_close(struct inode *inode, struct file *file)
{
	if (file->private_data)
		space_free(file->private_data);
	return 0;
}

static long torture_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	if (nr != TORTURE_REST || !file->private_data)
		return -ENOTTY;
	return torture_rest(file->private_data, arg);
}

static DEFINE_RATELIMIT_STATE(torture_log, 30 * HZ, 1);

/* Read the statistics, as one line. Log it at most every 30 s. */
static ssize_t torture_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	unsigned int i, n = 0;
	ssize_t ret = -ENOMEM;
	char *text;

	text = kzalloc(1024, GFP_KERNEL);
	if (!text)
		return ret;
	n += scnprintf(text + n, 1024 - n, "failures %ld", atomic_long_read(&nr_failures));
	for (i = 0; i < NR_COUNTS; i++)
		n += scnprintf(text + n, 1024 - n, " %s %ld", count_text[i],
			       atomic_long_read(&counts[i]));
	if (__ratelimit(&torture_log))
		pr_info("%u s: %s\n", jiffies_to_msecs(jiffies - started) / 1000, text);
	n += scnprintf(text + n, 1024 - n, "\n");

	ret = min_t(size_t, n, size);
	if (copy_to_user(to, text, ret))
		ret = -EFAULT;
	kfree(text);
	return ret;
}

static const struct file_operations torture_fops = {
	.owner = THIS_MODULE,
	.open = torture_open,
	.release = torture_close,
	.read = torture_read,
	.unlocked_ioctl = torture_ioctl,
};

static struct miscdevice torture_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = TORTURE_DEVICE,
	.fops = &torture_fops,
};

static int __init torture_init(void)
{
	int ret;

	if (!seed)
		seed = get_random_u32();
	started = jiffies;
	pr_info("seed %u\n", seed);

	watchdog = kthread_run(watch, NULL, "hmm_torture/watch");
	if (IS_ERR(watchdog))
		return PTR_ERR(watchdog);
	ratelimit_set_flags(&torture_log, RATELIMIT_MSG_ON_RELEASE);
	ret = misc_register(&torture_misc);
	if (ret)
		kthread_stop(watchdog);
	return ret;
}

static void __exit torture_exit(void)
{
	misc_deregister(&torture_misc);
	kthread_stop(watchdog);
}

module_init(torture_init);
module_exit(torture_exit);

MODULE_DESCRIPTION("Torture of hmm_mirror");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
