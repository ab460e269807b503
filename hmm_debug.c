// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: state and counters in debugfs.
 *
 *	hmm_mirror/mms		one line per mm, followed by one line for each of its mirrors
 *	hmm_mirror/inject/	see hmm_inject.c
 *
 * A line of mms consists of pairs of a name and a value. hits, collisions and waits count
 * events since the first mirror of the mm was registered.
 */
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/sched/task.h>
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

/* Return the PID of the owner of @mm; 0 if there is none, or without CONFIG_MEMCG. */
static pid_t pid_of(const struct mm_struct *mm)
{
	pid_t pid = 0;

#ifdef CONFIG_MEMCG
	struct task_struct *owner;

	rcu_read_lock();
	owner = rcu_dereference(mm->owner);
	if (owner)
		pid = task_tgid_nr(owner);
	rcu_read_unlock();
#endif
	return pid;
}

static void show_mm(struct seq_file *file, struct hmm_mirror_mm *hmm)
{
	unsigned long mirrors = 0, ranges = 0, waiting = 0;
	struct hmm_mirror *mirror;
	struct hlist_node *pos;

	spin_lock(&hmm->lock);
	hlist_for_each(pos, &hmm->waiters)
		waiting++;
	list_for_each_entry(mirror, &hmm->mirrors, list) {
		mirrors++;
		ranges += mirror->nr_ranges;
	}
	seq_printf(file, "mm %p pid %d dead %d mirrors %lu ranges %lu in_flight %u waiting %lu hits %llu collisions %llu waits %llu longest_wait_us %llu\n",
		   hmm->mm, pid_of(hmm->mm), hmm->dead, mirrors, ranges,
		   hmm_mirror_slots_in_flight(hmm), waiting, hmm->stats.hits,
		   hmm->stats.collisions, hmm->stats.waits,
		   div_u64(hmm->stats.longest_wait_ns, NSEC_PER_USEC));
	list_for_each_entry(mirror, &hmm->mirrors, list)
		seq_printf(file, "  mirror %p ops %ps ranges %lu tracked_only %d\n",
			   mirror, mirror->ops, mirror->nr_ranges,
			   !!(mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY));
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
