// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: state and counters in debugfs.
 *
 *	hmm_mirror/mms		one line per mm, followed by one line for each of its mirrors, each
 *				thread that waits for a range, and each page fault that blocks
 *	hmm_mirror/inject/	see hmm_inject.c
 *
 * A line of mms consists of pairs of a name and a value. hits, collisions and waits count
 * events since the first mirror of the mm was registered.
 */
#include <linux/debugfs.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/seq_file.h>
#include <linux/time64.h>

#include "internal.h"

static DEFINE_SPINLOCK(mms_lock);	/* protects mms; hmm->lock nests inside */
static LIST_HEAD(mms);
static struct dentry *dir;

void hmm_mirror_debug_add(struct hmm_mirror_mm *hmm)
{
	spin_lock(&mms_lock);
	list_add_tail(&hmm->debug, &mms);
	spin_unlock(&mms_lock);
}

void hmm_mirror_debug_del(struct hmm_mirror_mm *hmm)
{
	spin_lock(&mms_lock);
	list_del(&hmm->debug);
	spin_unlock(&mms_lock);
}

static u64 us_since(u64 since)
{
	return div_u64(ktime_get_ns() - since, NSEC_PER_USEC);
}

/* The shared slot, whose last address is ULONG_MAX, stands for any address. */
static void show_wait(struct seq_file *file, const struct hmm_mirror_waiter *w)
{
	unsigned long start, last;

	if (!w->slot || !w->range)
		return;
	hmm_mirror_slot_bounds(w->slot, w->range, &start, &last);
	seq_printf(file, "  wait range %p start 0x%lx end 0x%lx invalidation_start 0x%lx invalidation_end 0x%lx us %llu\n",
		   w->range, w->range->start, w->range->end, start, last + 1,
		   us_since(w->since));
}

static void show_fault(struct seq_file *file, const struct hmm_mirror_reader *r)
{
	seq_printf(file, "  fault mirror %p start 0x%lx end 0x%lx access %s us %llu\n",
		   r->mirror, r->start, r->end, r->write ? "write" : "read", us_since(r->since));
}

static void show_mm(struct seq_file *file, struct hmm_mirror_mm *hmm)
{
	unsigned long mirrors = 0, ranges = 0, waiting = 0;
	char comm[TASK_COMM_LEN];
	struct hmm_mirror_waiter *w;
	struct hmm_mirror_reader *r;
	struct hmm_mirror *mirror;
	pid_t pid;

	pid = hmm_mirror_owner(hmm->mm, comm);

	spin_lock(&hmm->lock);
	hlist_for_each_entry(w, &hmm->waiters, list)
		waiting++;
	list_for_each_entry(mirror, &hmm->mirrors, list) {
		mirrors++;
		ranges += mirror->nr_ranges;
	}
	seq_printf(file, "mm %p pid %d dead %d mirrors %lu ranges %lu in_flight %u waiting %lu blocked %u hits %llu collisions %llu waits %llu longest_wait_us %llu comm %s\n",
		   hmm->mm, pid, hmm->dead, mirrors, ranges,
		   hmm_mirror_slots_in_flight(hmm), waiting, hmm->nr_readers, hmm->stats.hits,
		   hmm->stats.collisions, hmm->stats.waits,
		   div_u64(hmm->stats.longest_wait_ns, NSEC_PER_USEC), comm);
	list_for_each_entry(mirror, &hmm->mirrors, list)
		seq_printf(file, "  mirror %p ops %ps ranges %lu tracked_only %d cancelled %d\n",
			   mirror, mirror->ops, mirror->nr_ranges,
			   !!(mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY), mirror->cancelled);
	hlist_for_each_entry(w, &hmm->waiters, list)
		show_wait(file, w);
	list_for_each_entry(r, &hmm->readers, list)
		show_fault(file, r);
	spin_unlock(&hmm->lock);
}

static int mms_show(struct seq_file *file, void *unused)
{
	struct hmm_mirror_mm *hmm;

	spin_lock(&mms_lock);
	list_for_each_entry(hmm, &mms, debug)
		show_mm(file, hmm);
	spin_unlock(&mms_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mms);

struct dentry *hmm_mirror_debug_init(void)
{
	dir = debugfs_create_dir("hmm_mirror", NULL);
	debugfs_create_file("mms", 0400, dir, NULL, &mms_fops);
	return dir;
}

void hmm_mirror_debug_exit(void)
{
	debugfs_remove_recursive(dir);
}
