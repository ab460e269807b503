// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: the files in debugfs: state and fault injection.
 *
 * debugfs is not mounted, so the tests mount it. They use f->mm only while they read or write a
 * file, because another thread ends the test.
 */
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "hmm_mirror_test.h"

#define TEXT_SIZE	(8 * PAGE_SIZE)

static struct {
	struct vfsmount *mnt;
	unsigned long addr;	/* user address of a buffer */
	char text[TEXT_SIZE];
} files;

static int debugfs_test_init(struct kunit *test)
{
	struct file_system_type *type = get_fs_type("debugfs");
	struct test_fixture *f;
	int ret;

	ret = hmmt_init(test);
	if (ret)
		return ret;
	f = test->priv;
	files.mnt = type ? kern_mount(type) : NULL;
	hmmt_mm_attach(f);
	files.addr = hmmt_map(0, TEXT_SIZE / PAGE_SIZE, PROT_READ | PROT_WRITE);
	hmmt_mm_detach(f);
	return 0;
}

static void debugfs_test_exit(struct kunit *test)
{
	if (!IS_ERR_OR_NULL(files.mnt))
		kern_unmount(files.mnt);
	files.mnt = NULL;
	hmmt_exit(test);
}

/* Open a file, or return NULL if it is missing; @name has at most two directories. */
static struct file *file_open(const char *name, int flags)
{
	struct path path = { .mnt = files.mnt };
	struct dentry *parent = NULL;
	struct file *file;
	const char *slash;
	char part[32];

	if (IS_ERR_OR_NULL(files.mnt))
		return NULL;
	while ((slash = strchr(name, '/'))) {
		strscpy(part, name, min_t(size_t, sizeof(part), slash - name + 1));
		path.dentry = debugfs_lookup(part, parent);
		dput(parent);
		parent = path.dentry;
		if (!parent)
			return NULL;
		name = slash + 1;
	}
	path.dentry = debugfs_lookup(name, parent);
	dput(parent);
	if (!path.dentry)
		return NULL;
	file = dentry_open(&path, flags, current_cred());
	dput(path.dentry);
	return IS_ERR(file) ? NULL : file;
}

/* Return the content of a file as a string. */
static const char *text_of(struct kunit *test, const char *name)
{
	struct file *file = file_open(name, O_RDONLY);
	unsigned long left;
	loff_t pos = 0;
	ssize_t ret;

	KUNIT_ASSERT_TRUE(test, file);
	hmmt_mm_attach(test->priv);
	do {
		ret = file->f_op->read(file, (char __user *)files.addr + pos,
				       TEXT_SIZE - 1 - pos, &pos);
	} while (ret > 0);
	memset(files.text, 0, TEXT_SIZE);
	left = copy_from_user(files.text, (char __user *)files.addr, pos);
	hmmt_mm_detach(test->priv);
	fput(file);
	KUNIT_ASSERT_EQ(test, ret, (ssize_t)0);
	KUNIT_ASSERT_EQ(test, left, 0UL);
	return files.text;
}

static ssize_t file_write(struct kunit *test, const char *name, const char *value)
{
	struct file *file = file_open(name, O_WRONLY);
	ssize_t ret = -EFAULT;
	loff_t pos = 0;

	KUNIT_ASSERT_TRUE(test, file);
	hmmt_mm_attach(test->priv);
	if (!copy_to_user((char __user *)files.addr, value, strlen(value)))
		ret = file->f_op->write(file, (char __user *)files.addr, strlen(value), &pos);
	hmmt_mm_detach(test->priv);
	fput(file);
	return ret == strlen(value) ? 0 : ret;
}

/* ---------------------------------------------------------------------- mms */

/*
 * Return true if there is a line of the mm of the test that continues with @what. There can be
 * two: an earlier test had the same mm, and its structure may not be freed yet.
 */
static bool mm_is_shown(struct kunit *test, const char *what)
{
	struct test_fixture *f = test->priv;
	char name[40];
	const char *at;

	snprintf(name, sizeof(name), "mm %p pid ", f->mm);
	for (at = text_of(test, "hmm_mirror/mms"); at; ) {
		at = strstr(at, name);
		if (at)
			at = strchr(at + strlen(name), ' ');
		if (at && strstarts(at + 1, what))
			return true;
	}
	return false;
}

struct counts {
	int dead, mirrors, ranges, in_flight, waiting, blocked, hits, collisions, waits, longest_us;
	int shared;
};

static void expect_counts(struct kunit *test, struct counts c)
{
	char what[300];
	int nr;

	nr = scnprintf(what, sizeof(what),
		       "dead %d mirrors %d ranges %d in_flight %d shared %d waiting %d blocked %d ",
		       c.dead, c.mirrors, c.ranges, c.in_flight, c.shared, c.waiting, c.blocked);
	scnprintf(what + nr, sizeof(what) - nr,
		  "hits %d collisions %d waits %d longest_wait_us %d comm ",
		  c.hits, c.collisions, c.waits, c.longest_us);
	KUNIT_EXPECT_TRUE_MSG(test, mm_is_shown(test, what), "%s is not in %s", what, files.text);
}

#define expect_mm(...)	expect_counts(test, (struct counts) { __VA_ARGS__ })

static void expect_mirror(struct kunit *test, unsigned int i, const char *what)
{
	struct test_fixture *f = test->priv;
	char line[400];

	snprintf(line, sizeof(line), "\n  mirror %p ops %ps %s\n", &f->tm[i].mirror,
		 &f->tm[i].ops, what);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text_of(test, "hmm_mirror/mms"), line),
			      "%s is not in %s", line, files.text);
}

/* The process that has the mm, as far as the kernel knows. */
static pid_t mm_pid(const struct mm_struct *mm)
{
	pid_t pid = 0;

#ifdef CONFIG_MEMCG
	rcu_read_lock();
	if (rcu_dereference(mm->owner))
		pid = task_tgid_nr(rcu_dereference(mm->owner));
	rcu_read_unlock();
#endif
	return pid;
}

/* Expect a line that begins with @what. Return the number after it. */
static long shown(struct kunit *test, const char *what)
{
	const char *at = strstr(text_of(test, "hmm_mirror/mms"), what);
	long nr = -1;

	KUNIT_EXPECT_TRUE_MSG(test, at, "%s is not in %s", what, files.text);
	if (at)
		KUNIT_EXPECT_EQ(test, sscanf(at + strlen(what), "%ld", &nr), 1);
	return nr;
}

static void mms(struct kunit *test)
{
	char line[300];
	int nr;

	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update[] = {
		hmmt_update(f, P(10), P(20)), hmmt_update(f, P(10), P(20)),
	};
	struct test_thread *waiter;
	u64 since = ktime_get_ns();

	f->tm[1].ops.flags = HMM_MIRROR_TRACKED_ONLY;
	hmmt_mirror(f, 0);
	expect_mm(0, 1, 0, 0, 0, 0, 0, 0, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 1, P(15), P(20));
	hmmt_range(f, 2, 1, P(30), P(40));
	hmmt_start(f, &update[0]);
	hmmt_start(f, &update[1]);
	waiter = hmmt_waiter(f, 0, &f->range[0], HMM_MIRROR_WAIT_FOREVER);
	hmmt_until_it_sleeps(waiter);
	expect_mm(0, 2, 3, 2, 1, 0, 2, 0, 0, 0);
	expect_mirror(test, 0, "ranges 1 tracked_only 0 cancelled 0");
	expect_mirror(test, 1, "ranges 2 tracked_only 1 cancelled 0");
	nr = scnprintf(line, sizeof(line), "\n  wait range %p start 0x%lx end 0x%lx ",
		       &f->range[0], P(10), P(20));
	scnprintf(line + nr, sizeof(line) - nr,
		  "invalidation_start 0x%lx invalidation_end 0x%lx us ", P(10), P(20));
	msleep(20);
	KUNIT_EXPECT_GE(test, shown(test, line), 10000L);
	KUNIT_EXPECT_LE(test, shown(test, line), (long)((ktime_get_ns() - since) / NSEC_PER_USEC));
	hmm_mirror_cancel(&f->tm[1].mirror);
	expect_mirror(test, 1, "ranges 2 tracked_only 1 cancelled 1");
	hmmt_end(f, &update[0]);
	hmmt_end(f, &update[1]);
	KUNIT_EXPECT_EQ(test, hmmt_join(waiter), 0);
	hmm_mirror_range_unregister(&f->range[2]);
	expect_mirror(test, 1, "ranges 1 tracked_only 1 cancelled 1");
	hmmt_range(f, 2, 1, P(30), P(40));
	f->hmm->stats.longest_wait_ns = 4711 * NSEC_PER_USEC;
	f->hmm->stats.collisions = 42;
	expect_mm(0, 2, 3, 0, 0, 0, 2, 42, 1, 4711);
	hmmt_release(f);
	expect_mm(1, 2, 3, 0, 0, 0, 2, 42, 1, 4711);
	hmm_mirror_unregister(&f->tm[0].mirror);
	expect_mm(1, 1, 2, 0, 0, 0, 2, 42, 1, 4711);
}

static int populates(struct test_thread *thread)
{
	struct test_fixture *f = thread->f;

	f->fault.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	return hmm_mirror_range_populate(&f->range[0], &f->fault, HMM_MIRROR_WAIT_FOREVER,
					 hmmt_commit, &f->tm[0]);
}

/* A fault that waits for a page is shown. */
static void mms_blocked(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned long addr = hmmt_slow_mapped(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct test_thread *thread;
	u64 since = ktime_get_ns();
	char line[200];

	/* text_of() attaches the mm each time. */
	hmmt_mm_detach(f);
	hmmt_slow.block = true;
	thread = hmmt_thread(f, 0, populates, NULL);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&hmmt_slow.at, hmmt_patience()));
	snprintf(line, sizeof(line), "\n  fault mirror %p start 0x%lx end 0x%lx access write us ",
		 &f->tm[0].mirror, addr, addr + P(TEST_MAPPED));
	msleep(20);
	KUNIT_EXPECT_GE(test, shown(test, line), 10000L);
	KUNIT_EXPECT_LE(test, shown(test, line), (long)((ktime_get_ns() - since) / NSEC_PER_USEC));
	expect_mm(0, 1, 1, 0, 0, 1);
	complete_all(&hmmt_slow.go);
	KUNIT_EXPECT_EQ(test, hmmt_join(thread), 0);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(!f->hmm->nr_readers));
	expect_mm(0, 1, 1, 0, 0, 0);
	hmmt_mm_attach(f);
	hmmt_slow_unmapped(f);
}

static int starts(struct test_thread *thread)
{
	return hmmt_start(thread->f, thread->arg);
}

/* Expect a line of @update, with @mirror as the one whose callback runs, or NULL for none. */
static void expect_invalidation(struct kunit *test, const struct mmu_notifier_range *update,
				const struct hmm_mirror *mirror)
{
	char line[100], callback[50];
	const char *at, *end;

	snprintf(line, sizeof(line), "\n  invalidation start 0x%lx end 0x%lx ms ",
		 update->start, update->end);
	snprintf(callback, sizeof(callback), " callback_of %p\n", mirror);
	KUNIT_EXPECT_GE(test, shown(test, line), 20L);
	KUNIT_EXPECT_LE(test, shown(test, line), 60 * (long)MSEC_PER_SEC);
	at = strstr(files.text, line);
	end = at ? strnstr(at + strlen(line), callback, 20 + strlen(callback)) : NULL;
	KUNIT_EXPECT_TRUE_MSG(test, end, "%s is not in %s", callback, files.text);
}

/*
 * The oldest invalidations in flight are shown, in hashed and locked slots, with their duration
 * and the mirror whose callback runs.
 */
static void mms_invalidations(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range hit = hmmt_update(f, P(10), P(20));
	const unsigned int nr = 40;
	struct mmu_notifier_range *more;
	unsigned int i, lines = 0;
	const char *at;

	more = kunit_kzalloc(test, nr * sizeof(*more), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, more);
	hmmt_mirror(f, 0);
	hmmt_mirror(f, 1);
	hmmt_range(f, 0, 1, P(10), P(20));
	f->tm[1].hook = hmmt_hook_pause;
	hmmt_thread(f, 0, starts, &hit);
	hmmt_arrives(f);
	msleep(40);
	expect_invalidation(test, &hit, &f->tm[1].mirror);
	complete(&f->go);
	KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), 0);
	f->tm[1].hook = NULL;
	expect_invalidation(test, &hit, NULL);

	for (i = 0; i < nr; i++) {
		more[i] = hmmt_update(f, P(100 + i), P(101 + i));
		hmmt_start(f, &more[i]);
	}
	msleep(40);
	expect_invalidation(test, &hit, NULL);
	for (at = text_of(test, "hmm_mirror/mms"); (at = strstr(at, "\n  invalidation ")); at++)
		lines++;
	KUNIT_EXPECT_EQ(test, lines, 16U);
	hmmt_end(f, &hit);
	for (i = 0; i < nr; i++)
		hmmt_end(f, &more[i]);
	KUNIT_EXPECT_FALSE(test, strstr(text_of(test, "hmm_mirror/mms"), "\n  invalidation "));
}

static unsigned int lines_of(const char *what)
{
	unsigned int nr = 0;
	const char *at;

	for (at = files.text; (at = strstr(at, what)); at++)
		nr++;
	return nr;
}

static struct test_fixture *pausing;

static void pausing_finish(struct hmm_mirror *mirror, struct hmm_mirror_pass *pass)
{
	atomic_inc(&container_of(mirror, struct test_mirror, mirror)->finishes);
	complete(&pausing->at);
	wait_for_completion(&pausing->go);
}

/* Of mirrors with two passes, the one whose callback runs is shown in either pass. */
static void mms_passes(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range hit = hmmt_update(f, P(10), P(20));
	unsigned int i;

	pausing = f;
	for (i = 0; i < 3; i++) {
		hmmt_two_pass(f, i);
		if (i)
			f->tm[i].ops.sync_finish = pausing_finish;
		hmmt_mirror(f, i);
	}
	hmmt_range(f, 0, 1, P(10), P(20));
	f->tm[1].hook = hmmt_hook_pause;
	hmmt_thread(f, 0, starts, &hit);
	hmmt_arrives(f);
	msleep(40);
	expect_invalidation(test, &hit, &f->tm[1].mirror);
	complete(&f->go);
	for (i = 1; i < 3; i++) {
		hmmt_arrives(f);
		expect_invalidation(test, &hit, &f->tm[i].mirror);
		complete(&f->go);
	}
	KUNIT_EXPECT_EQ(test, hmmt_join(&f->thread[0]), 0);
	expect_invalidation(test, &hit, NULL);
	hmmt_end(f, &hit);
}

/* The bounds of the first and second invalidation that are shown. */
static void first_shown(struct kunit *test, unsigned long *first, unsigned long *second)
{
	const char *what = "\n  invalidation start 0x";
	const char *at = strstr(text_of(test, "hmm_mirror/mms"), what);
	const char *next = at ? strstr(at + 1, what) : NULL;

	KUNIT_ASSERT_TRUE(test, next);
	if (sscanf(at + strlen(what), "%lx", first) != 1 ||
	    sscanf(next + strlen(what), "%lx", second) != 1)
		KUNIT_FAIL(test, "no address in %s", files.text);
}

/* Expect 16 invalidations, each of them another one, and none older than the one before. */
static void expect_sorted(struct kunit *test)
{
	unsigned long start, seen[16] = {};
	unsigned int ms, before = UINT_MAX, nr = 0, i;
	const char *at = text_of(test, "hmm_mirror/mms");

	while ((at = strstr(at, "\n  invalidation start ")) && nr < 16) {
		if (sscanf(at, "\n  invalidation start 0x%lx end 0x%*x ms %u", &start, &ms) != 2)
			KUNIT_FAIL(test, "no time in %s", files.text);
		KUNIT_EXPECT_LE(test, ms, before);
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_NE(test, seen[i], start);
		seen[nr++] = start;
		before = ms;
		at++;
	}
	KUNIT_EXPECT_EQ(test, nr, 16U);
}

/* Let @slot be one jiffy older than @oldest, and see it in the first line. */
static void expect_oldest(struct kunit *test, struct hmm_mirror_slot *slot, u32 oldest)
{
	u32 since = slot->since;
	unsigned long first, second;

	if (!slot->key)
		return;
	slot->since = oldest - 1;
	first_shown(test, &first, &second);
	KUNIT_EXPECT_EQ_MSG(test, first, slot->start, "slot %u", slot->nr);
	slot->since = since;
}

/* Wherever an invalidation has its slot, the oldest ones are shown, in order. */
static void mms_oldest(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update, empty = hmmt_update(f, P(10), P(10));
	const unsigned int nr = 60;
	struct hmm_mirror_slots *slots;
	const u32 oldest = (u32)jiffies - 100000;
	unsigned long first, second;
	unsigned int i, half, seen = 0;

	update = kunit_kzalloc(test, array_size(nr, sizeof(*update)), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, update);
	hmmt_mirror(f, 0);
	/* An empty one is in flight, and intersects nothing. */
	hmmt_start(f, &empty);
	KUNIT_EXPECT_EQ(test, hmmt_in_flight(f), 1U);
	text_of(test, "hmm_mirror/mms");
	KUNIT_EXPECT_EQ(test, lines_of("\n  invalidation "), 0U);
	hmmt_end(f, &empty);

	for (i = 0; i < nr; i++) {
		update[i] = hmmt_update(f, P(100 + i), P(101 + i));
		hmmt_start(f, &update[i]);
		KUNIT_EXPECT_TRUE(test, hmmt_poll(!READ_ONCE(f->hmm->making)));
	}
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	for (i = 0; i < HMM_MIRROR_HASHED; i++) {
		seen += !!f->hmm->slot[i].key;
		if (f->hmm->slot[i].key)
			f->hmm->slot[i].since = oldest;
		expect_oldest(test, &f->hmm->slot[i], oldest);
	}
	KUNIT_EXPECT_GE(test, seen, 3U);
	/* Of the same age, in the order of the slots. */
	first_shown(test, &first, &second);
	for (i = 0, seen = 0; i < HMM_MIRROR_HASHED && seen < 2; i++) {
		if (!f->hmm->slot[i].key)
			continue;
		KUNIT_EXPECT_EQ(test, seen++ ? second : first, f->hmm->slot[i].start);
	}
	expect_sorted(test);
	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		expect_oldest(test, &f->hmm->first[i].slot, oldest);
	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		f->hmm->first[i].slot.since = oldest - 100 * (i * 5 % HMM_MIRROR_LOCKED);
	expect_sorted(test);
	/* The oldest one is number 7, as 7 * 5 % 12 is 11, and the next one is number 2. */
	first_shown(test, &first, &second);
	KUNIT_EXPECT_EQ(test, first, f->hmm->first[7].slot.start);
	KUNIT_EXPECT_EQ(test, second, f->hmm->first[2].slot.start);
	/* Number 0 is as old as those in the hashed slots. */
	for (i = 1; i < HMM_MIRROR_LOCKED; i++) {
		char line[60];

		snprintf(line, sizeof(line), "\n  invalidation start 0x%lx end ",
			 f->hmm->first[i].slot.start);
		KUNIT_EXPECT_EQ(test, lines_of(line), 1U);
	}
	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		f->hmm->first[i].slot.since = oldest;
	half = f->hmm->nr_locked;
	for (slots = f->hmm->more; slots; slots = slots->next) {
		half /= 2;
		for (i = 0; i < half; i++)
			expect_oldest(test, &slots->slot[i].slot, oldest);
	}
	KUNIT_EXPECT_GE(test, f->hmm->nr_locked, 4U * HMM_MIRROR_LOCKED);
	for (i = 0; i < nr; i++)
		hmmt_end(f, &update[i]);
}

/* Return room for @nr invalidations, which get no slots but the first locked ones. */
static struct mmu_notifier_range *locked_updates(struct kunit *test, unsigned int nr)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update;

	update = kunit_kzalloc(test, array_size(nr, sizeof(*update)), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, update);
	f->crowded = true;
	hmmt_mirror(f, 0);
	hmmt_make_no_slots(f);
	return update;
}

/* The shared slot is one line, of all addresses, as old as the first invalidation in it. */
static void mms_shared(struct kunit *test)
{
	static const char line[] = "\n  invalidation start 0x0 end 0xffffffffffffffff ms ";
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update;
	const unsigned int nr = HMM_MIRROR_LOCKED + 2;
	unsigned long first, second;
	unsigned int i;

	update = locked_updates(test, nr);
	for (i = 0; i < nr; i++) {
		update[i] = hmmt_update(f, P(10), P(20));
		if (i == nr - 1)
			msleep(40);
		hmmt_start(f, &update[i]);
	}
	KUNIT_EXPECT_GE(test, shown(test, line), 20L);
	KUNIT_EXPECT_LE(test, shown(test, line), 60 * (long)MSEC_PER_SEC);
	f->hmm->shared.since = (u32)jiffies - 1000000;
	first_shown(test, &first, &second);
	KUNIT_EXPECT_EQ(test, first, 0UL);
	KUNIT_EXPECT_NE(test, second, 0UL);
	for (i = nr; i--;) {
		text_of(test, "hmm_mirror/mms");
		KUNIT_EXPECT_EQ(test, lines_of(line), i >= HMM_MIRROR_LOCKED ? 1U : 0U);
		hmmt_end(f, &update[i]);
	}
	/* It is used anew. */
	for (i = 0; i < nr; i++)
		hmmt_start(f, &update[i]);
	KUNIT_EXPECT_LE(test, shown(test, line), 60 * (long)MSEC_PER_SEC);
	for (i = 0; i < nr; i++)
		hmmt_end(f, &update[i]);
}

/* At most 16 lines of a kind, each once, and nothing is left behind. */
static void mms_full(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	const unsigned int nr = 20;
	struct hmm_mirror_ops ops;
	struct hmm_mirror_waiter *waiter;
	struct hmm_mirror_reader *reader;
	struct hmm_mirror *mirror;
	unsigned int i, users;
	char line[100];

	mirror = kunit_kzalloc(test, nr * sizeof(*mirror), GFP_KERNEL);
	waiter = kunit_kzalloc(test, nr * sizeof(*waiter), GFP_KERNEL);
	reader = kunit_kzalloc(test, nr * sizeof(*reader), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, mirror && waiter && reader);
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	text_of(test, "hmm_mirror/mms");
	KUNIT_EXPECT_EQ(test, lines_of("\n  mirror "), 1U);
	KUNIT_EXPECT_EQ(test, lines_of("\n  wait "), 0U);
	KUNIT_EXPECT_EQ(test, lines_of("\n  fault "), 0U);

	ops = f->tm[0].ops;
	spin_lock(&f->hmm->lock);
	for (i = 0; i < nr; i++) {
		/* The first two wait for nothing that could be shown. */
		waiter[i].range = i == 0 ? NULL : &f->range[0];
		waiter[i].slot = i == 1 ? NULL : &f->hmm->slot[0];
		waiter[i].since = ktime_get_ns();
		waiter[i].task = current;
		list_add_tail(&waiter[i].list, &f->hmm->waiters);
		reader[i].mirror = &f->tm[0].mirror;
		reader[i].start = P(i);
		reader[i].end = P(i + 1);
		reader[i].write = i % 2;
		reader[i].since = ktime_get_ns();
		list_add_tail(&reader[i].list, &f->hmm->readers);
		mirror[i].ops = &ops;
		mirror[i].hmm = f->hmm;
		list_add_tail(&mirror[i].list, &f->hmm->mirrors);
	}
	users = f->hmm->users;
	spin_unlock(&f->hmm->lock);

	text_of(test, "hmm_mirror/mms");
	KUNIT_EXPECT_EQ(test, lines_of("\n  mirror "), 16U);
	KUNIT_EXPECT_EQ(test, lines_of(" ops 0x0 "), 0U);
	KUNIT_EXPECT_EQ(test, lines_of("\n  wait "), 16U);
	KUNIT_EXPECT_EQ(test, lines_of("\n  fault "), 16U);
	KUNIT_EXPECT_EQ(test, lines_of("access read"), 8U);
	KUNIT_EXPECT_EQ(test, lines_of("access write"), 8U);
	snprintf(line, sizeof(line), "mm %p pid %d dead 0 mirrors %u ranges 1 ", f->mm,
		 mm_pid(f->mm), nr + 1);
	KUNIT_EXPECT_EQ_MSG(test, lines_of(line), 1U, "%s is not in %s", line, files.text);

	spin_lock(&f->hmm->lock);
	KUNIT_EXPECT_EQ(test, f->hmm->users, users);
	for (i = 0; i < nr; i++) {
		list_del(&waiter[i].list);
		list_del(&reader[i].list);
		list_del(&mirror[i].list);
	}
	spin_unlock(&f->hmm->lock);
}

/* Invalidations in locked slots and in the shared slot are in flight, too. */
static void mms_in_flight(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range *update;
	const unsigned int nr = 2 * HMMT_SLOTS;
	unsigned int i;

	update = locked_updates(test, nr);
	for (i = 0; i < nr; i++) {
		update[i] = hmmt_update(f, P(10), P(20));
		hmmt_start(f, &update[i]);
		expect_mm(0, 1, 0, HMM_MIRROR_HASHED + i + 1,
			  .shared = max_t(int, i + 1 - HMM_MIRROR_LOCKED, 0));
	}
	for (i = 0; i < nr; i++)
		hmmt_end(f, &update[i]);
	expect_mm(0, 1, 0, HMM_MIRROR_HASHED);
}

/* A structure that is freed is not shown any more. */
static void mms_unregistered(struct kunit *test)
{
	struct test_fixture *f = test->priv;

	KUNIT_EXPECT_TRUE(test, hmmt_poll(!mm_is_shown(test, "")));
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	KUNIT_EXPECT_TRUE(test, mm_is_shown(test, ""));
	hmm_mirror_unregister(&f->tm[0].mirror);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_TRUE(test, mm_is_shown(test, "dead 0 mirrors 0 ranges 0 "));
	hmm_mirror_range_unregister(&f->range[0]);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(!mm_is_shown(test, "")));
}

/* ------------------------------------------------------------------- injection */

static bool skips_injection(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_HMM_MIRROR_INJECT))
		return false;
	hmmt_skip(test, "hmm_mirror was built without fault injection");
	return true;
}

static ssize_t set(struct kunit *test, const char *knob, const char *value)
{
	char name[64];

	snprintf(name, sizeof(name), "hmm_mirror/inject/%s", knob);
	return file_write(test, name, value);
}

static unsigned long number_of(struct kunit *test, const char *knob)
{
	unsigned long value = 0;
	char name[64];

	snprintf(name, sizeof(name), "hmm_mirror/inject/%s", knob);
	KUNIT_EXPECT_EQ(test, kstrtoul(strim((char *)text_of(test, name)), 10, &value), 0);
	return value;
}

static void knobs(struct kunit *test)
{
	static const struct {
		const char *name, *max, *more;
	} knobs[] = {
		{ "eagain", "100", "101" },
		{ "delay_us", "1000000", "1000001" },
		{ "overflow", "100", "101" },
		{ "collision", "100", "101" },
	};
	unsigned long max;
	unsigned int i;

	if (skips_injection(test))
		return;
	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		KUNIT_EXPECT_EQ(test, number_of(test, knobs[i].name), 0UL);
		KUNIT_EXPECT_EQ(test, set(test, knobs[i].name, knobs[i].max), (ssize_t)0);
		KUNIT_EXPECT_EQ(test, kstrtoul(knobs[i].max, 10, &max), 0);
		KUNIT_EXPECT_EQ(test, number_of(test, knobs[i].name), max);
		KUNIT_EXPECT_EQ(test, set(test, knobs[i].name, knobs[i].more), (ssize_t)-EINVAL);
		KUNIT_EXPECT_EQ(test, number_of(test, knobs[i].name), max);
		KUNIT_EXPECT_EQ(test, set(test, knobs[i].name, "1"), (ssize_t)0);
		KUNIT_EXPECT_EQ(test, set(test, knobs[i].name, "0"), (ssize_t)0);
		KUNIT_EXPECT_EQ(test, number_of(test, knobs[i].name), 0UL);
	}
}

/* With injection on, an invalidation takes the lock; with injection off, it does not. */
static void knobs_are_off(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct hmm_mirror_slot *slot;
	unsigned int i;

	if (skips_injection(test))
		return;
	hmmt_mirror(f, 0);
	slot = hmm_mirror_slot_hashed(f->hmm, &update);
	hmmt_start(f, &update);
	KUNIT_EXPECT_PTR_EQ(test, slot->key, (const struct mmu_notifier_range *)&update);
	hmmt_end(f, &update);

	set(test, "eagain", "1");
	set(test, "collision", "1");
	set(test, "collision", "2");
	set(test, "collision", "0");
	hmmt_start(f, &update);
	KUNIT_EXPECT_TRUE(test, !slot->key);
	hmmt_end(f, &update);
	/* Switch off twice. */
	for (i = 0; i < 2; i++) {
		set(test, "eagain", "0");
		hmmt_start(f, &update);
		KUNIT_EXPECT_PTR_EQ(test, slot->key, (const struct mmu_notifier_range *)&update);
		hmmt_end(f, &update);
	}
}

static void inject_eagain(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range blockable = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range nonblock = hmmt_update_nonblock(f, P(10), P(20));
	unsigned long before, overflows;
	unsigned int i, failed;

	if (skips_injection(test))
		return;
	overflows = number_of(test, "overflow_injected");
	before = number_of(test, "eagain_injected");
	hmmt_mirror(f, 0);
	hmmt_two_pass(f, 1);
	hmmt_mirror(f, 1);
	set(test, "eagain", "100");
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &nonblock), -EAGAIN);
	KUNIT_EXPECT_EQ(test, number_of(test, "eagain_injected"), before + 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 0);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &blockable), 0);
	hmmt_end(f, &blockable);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[0].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
	KUNIT_EXPECT_EQ(test, number_of(test, "eagain_injected"), before + 1);

	/* Only the mirror with two passes is left. */
	hmm_mirror_unregister(&f->tm[0].mirror);
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &nonblock), -EAGAIN);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->tm[1].finishes), 1);

	/* At 100 percent each call fails, at 50 about half of them. */
	for (i = failed = 0; i < 1000; i++)
		failed += hmmt_start(f, &nonblock) == -EAGAIN;
	KUNIT_EXPECT_EQ(test, failed, 1000U);
	before = number_of(test, "eagain_injected");
	set(test, "eagain", "50");
	for (i = failed = 0; i < 1000; i++) {
		if (hmmt_start(f, &nonblock))
			failed++;
		else
			hmmt_end(f, &nonblock);
	}
	/* A knob at 0 injects nothing while another knob does. */
	KUNIT_EXPECT_EQ(test, number_of(test, "overflow_injected"), overflows);
	KUNIT_EXPECT_GT(test, failed, 300U);
	KUNIT_EXPECT_LT(test, failed, 700U);
	KUNIT_EXPECT_EQ(test, number_of(test, "eagain_injected"), before + failed);
	set(test, "eagain", "0");
	KUNIT_EXPECT_EQ(test, hmmt_start(f, &nonblock), 0);
	hmmt_end(f, &nonblock);
	KUNIT_EXPECT_EQ(test, number_of(test, "eagain_injected"), before + failed);
}

static u64 time_of(struct test_fixture *f, struct mmu_notifier_range *update, unsigned int nr,
		   u64 *shortest)
{
	u64 since = ktime_get_ns(), last = since, now = since;

	*shortest = U64_MAX;
	while (nr--) {
		KUNIT_EXPECT_EQ(f->test, hmmt_start(f, update), 0);
		hmmt_end(f, update);
		now = ktime_get_ns();
		*shortest = min(*shortest, now - last);
		last = now;
	}
	return now - since;
}

static void inject_delay(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range blockable = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range nonblock = hmmt_update_nonblock(f, P(10), P(20));
	unsigned long before, sleeps;
	u64 took, shortest;

	if (skips_injection(test))
		return;
	before = number_of(test, "delay_us_injected");
	hmmt_mirror(f, 0);
	set(test, "delay_us", "10000");
	/* Each delay is between 0 and 10 ms, 5 ms on average, and sleeps. */
	sleeps = current->nvcsw;
	took = time_of(f, &blockable, 40, &shortest);
	KUNIT_EXPECT_GE(test, current->nvcsw, sleeps + 40);
	KUNIT_EXPECT_GT(test, took, 80 * (u64)NSEC_PER_MSEC);
	KUNIT_EXPECT_LT(test, shortest, 10 * (u64)NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, number_of(test, "delay_us_injected"), before + 40);
	/*
	 * Each non-blockable delay is 1 ms at most. If the machine was busy when the kernel
	 * calibrated udelay(), a delay takes a fraction of its time.
	 */
	set(test, "delay_us", "1000000");
	took = time_of(f, &nonblock, 20, &shortest);
	KUNIT_EXPECT_GT(test, took, 2 * (u64)NSEC_PER_MSEC);
	KUNIT_EXPECT_LT(test, took, 2 * (u64)NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, number_of(test, "delay_us_injected"), before + 60);
	set(test, "delay_us", "0");
	time_of(f, &blockable, 10, &shortest);
	KUNIT_EXPECT_EQ(test, number_of(test, "delay_us_injected"), before + 60);
}

/* Until the end of an invalidation without a slot of its own, all ranges are invalid. */
static void inject_overflow(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct mmu_notifier_range update = hmmt_update(f, P(10), P(20));
	struct mmu_notifier_range at_0 = hmmt_update(f, 0, P(1));
	struct hmm_mirror_range *range;
	unsigned long before, seq;

	if (skips_injection(test))
		return;
	before = number_of(test, "overflow_injected");
	hmmt_mirror(f, 0);
	set(test, "overflow", "100");
	hmmt_start(f, &update);
	range = hmmt_range(f, 0, 0, P(30), P(40));
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	KUNIT_EXPECT_FALSE(test, hmmt_is_valid(range));
	KUNIT_EXPECT_EQ(test, number_of(test, "overflow_injected"), before + 1);
	hmmt_end(f, &update);
	KUNIT_EXPECT_TRUE(test, hmmt_is_valid(range));
	/* The mm does not call the end of this invalidation. */
	at_0.event = MMU_NOTIFY_PROTECTION_VMA;
	hmmt_start(f, &at_0);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 1U);
	KUNIT_EXPECT_EQ(test, number_of(test, "overflow_injected"), before + 2);
	range = hmmt_range(f, 1, 0, P(30), P(40));
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_begin(range, &seq, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	set(test, "overflow", "0");
	hmmt_start(f, &update);
	KUNIT_EXPECT_EQ(test, f->hmm->nr_shared, 0U);
	hmmt_end(f, &update);
}

static void inject_collision(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	struct hmm_mirror_range *range;
	struct hmm_mirror_fault *fault;
	unsigned long before, seq;

	if (skips_injection(test))
		return;
	before = number_of(test, "collision_injected");
	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, files.addr, files.addr + TEXT_SIZE);
	fault = hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	set(test, "collision", "100");
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	KUNIT_EXPECT_EQ(test, number_of(test, "collision_injected"), before + 1);
	/* The sequence stays stale after begin(). */
	hmmt_begin(f, range);
	KUNIT_EXPECT_TRUE(test, hmm_mirror_range_retry(range, seq));
	/* A fault that fails and a snapshot get no collision. */
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), -EBUSY);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_snapshot(range, hmmt_begin(f, range),
							fault, FOREVER), 0);
	KUNIT_EXPECT_EQ(test, number_of(test, "collision_injected"), before + 1);
	set(test, "collision", "0");
	seq = hmmt_begin(f, range);
	KUNIT_EXPECT_EQ(test, hmm_mirror_range_fault(range, seq, fault, FOREVER), 0);
	KUNIT_EXPECT_FALSE(test, hmm_mirror_range_retry(range, seq));
}

/* --------------------------------------------------------------------- no memory */

/* Each allocation fails once; earlier ones are freed. */
static void no_memory(struct kunit *test)
{
#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAULT_INJECTION_DEBUG_FS)
	struct test_fixture *f = test->priv;
	struct test_mirror *tm = &f->tm[0];
	int count = atomic_read(&f->mm->mm_count), nth, ret = -ENOMEM;

	/* The first registration has memory; it also sets the operations. */
	hmmt_mirror(f, 0);
	hmm_mirror_unregister(&tm->mirror);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&f->mm->mm_count) <= count));

	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/verbose", "0"), (ssize_t)0);
	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/ignore-gfp-wait", "N"), (ssize_t)0);
	for (nth = 1; ret && nth < 20; nth++) {
		unsigned int freed;

		hmmt_count_frees(sizeof(struct hmm_mirror_mm));
		/* A CPU that is idle may hold a reference, too. */
		count = atomic_read(&f->mm->mm_count);
		current->fail_nth = nth;
		ret = hmm_mirror_attach(&tm->mirror, f->mm);
		current->fail_nth = 0;
		freed = hmmt_counted_frees();
		if (!ret)
			break;
		KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
		if (hmmt_sees_frees())
			KUNIT_EXPECT_EQ(test, freed, (unsigned int)(nth > 1));
		KUNIT_EXPECT_TRUE(test, hmmt_poll(atomic_read(&f->mm->mm_count) <= count));
		KUNIT_EXPECT_FALSE(test, mm_is_shown(test, ""));
	}
	file_write(test, "failslab/ignore-gfp-wait", "Y");
	KUNIT_EXPECT_EQ(test, ret, 0);
	/* At least the structure of the mm and the filter are allocated. */
	KUNIT_EXPECT_GT(test, nth, 2);
	hmm_mirror_unregister(&tm->mirror);
#else
	hmmt_skip(test, "the kernel has no CONFIG_FAILSLAB");
#endif
}

/* A filter that cannot be replaced stays. */
static void no_memory_for_filter(struct kunit *test)
{
#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAULT_INJECTION_DEBUG_FS)
	struct test_fixture *f = test->priv;
	struct hmm_mirror_filter *filter;
	struct hmm_mirror_mm *hmm;

	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, P(10), P(20));
	hmmt_range(f, 1, 0, P(30), P(40));
	hmm = f->hmm;
	filter = hmm->filter;
	filter->room = 1;

	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/verbose", "0"), (ssize_t)0);
	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/ignore-gfp-wait", "N"), (ssize_t)0);
	spin_lock(&hmm->lock);
	hmm->users++;		/* as queue_growth() does */
	spin_unlock(&hmm->lock);
	current->fail_nth = 1;
	hmm->grow.func(&hmm->grow);
	current->fail_nth = 0;
	file_write(test, "failslab/ignore-gfp-wait", "Y");
	KUNIT_EXPECT_PTR_EQ(test, hmm->filter, filter);
	KUNIT_EXPECT_EQ(test, hmmt_users(f), 2U);
#else
	hmmt_skip(test, "the kernel has no CONFIG_FAILSLAB");
#endif
}

/* The read needs a reader thread, and each allocation for it fails once. */
static void no_memory_to_read(struct kunit *test)
{
#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAULT_INJECTION_DEBUG_FS)
	struct test_fixture *f = test->priv;
	int mm_users = atomic_read(&f->mm->mm_users), nth, ret;
	struct hmm_mirror_range *range;
	unsigned int freed;
	unsigned long seq;

	hmmt_mirror(f, 0);
	range = hmmt_range(f, 0, 0, P(10), P(20));	/* a hole */
	hmmt_read(f, 0, 1, HMM_PFN_REQ_FAULT);
	seq = hmmt_begin(f, range);

	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/verbose", "0"), (ssize_t)0);
	KUNIT_ASSERT_EQ(test, file_write(test, "failslab/ignore-gfp-wait", "N"), (ssize_t)0);
	/* A call that must not wait allocates nothing. */
	current->fail_nth = 1;
	ret = hmm_mirror_range_fault(range, seq, &f->fault, 0);
	current->fail_nth = 0;
	KUNIT_EXPECT_EQ(test, ret, -ETIME);
	for (nth = 1; nth < 20; nth++) {
		hmmt_count_frees(256);
		current->fail_nth = nth;
		ret = hmm_mirror_range_fault(range, seq, &f->fault, FOREVER);
		current->fail_nth = 0;
		freed = hmmt_counted_frees();
		if (ret != -ENOMEM)
			break;
		if (hmmt_sees_frees())
			KUNIT_EXPECT_EQ(test, freed, (unsigned int)(nth > 1));
		KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), mm_users);
		KUNIT_EXPECT_EQ(test, hmmt_users(f), 1U);
		KUNIT_EXPECT_EQ(test, f->hmm->nr_readers, 0U);
	}
	file_write(test, "failslab/ignore-gfp-wait", "Y");
	KUNIT_EXPECT_EQ(test, ret, -EFAULT);
	/* At least the structure shared with the thread, and the thread, are allocated. */
	KUNIT_EXPECT_GT(test, nth, 2);
	KUNIT_EXPECT_TRUE(test, hmmt_poll(hmmt_users(f) == 1));
#else
	hmmt_skip(test, "the kernel has no CONFIG_FAILSLAB");
#endif
}

static struct kunit_case files_cases[] = {
	KUNIT_CASE(mms),
	KUNIT_CASE(mms_blocked),
	KUNIT_CASE(mms_invalidations),
	KUNIT_CASE(mms_passes),
	KUNIT_CASE(mms_oldest),
	KUNIT_CASE(mms_shared),
	KUNIT_CASE(mms_full),
	KUNIT_CASE(mms_in_flight),
	KUNIT_CASE(mms_unregistered),
	KUNIT_CASE(knobs),
	KUNIT_CASE(knobs_are_off),
	KUNIT_CASE(inject_eagain),
	KUNIT_CASE(inject_delay),
	KUNIT_CASE(inject_overflow),
	KUNIT_CASE(inject_collision),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(no_memory_for_filter),
	KUNIT_CASE(no_memory_to_read),
	{}
};

struct kunit_suite hmm_mirror_debugfs_suite = {
	.name = "hmm_mirror_debugfs",
	.init = debugfs_test_init,
	.exit = debugfs_test_exit,
	.test_cases = files_cases,
};
