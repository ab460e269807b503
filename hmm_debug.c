// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: state and counters in debugfs.
 *
 *	hmm_mirror/mms		one line per mm, followed by one line for each of its mirrors, each
 *				invalidation in flight, each thread that waits for a range, and
 *				each page fault that blocks; at most LINES of a kind
 *	hmm_mirror/inject/	see hmm_inject.c
 *
 * Owns no state. A reader of mms copies the state of one mm at a time, and prints the copy. A line
 * of mms consists of pairs of a name and a value. hits, collisions and waits count events since the
 * first mirror of the mm was registered.
 */
#include <linux/debugfs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/time64.h>

#include "hmm_slot.h"

#define LINES	16

static struct dentry *dir;

/* Printing is slow, so copy the state first, under hmm->lock except for the slots. */
struct shown {
	bool dead;
	unsigned int mirrors, invalidations, waits, faults;
	unsigned long ranges;
	struct hmm_mirror_stats stats;
	struct {
		const struct hmm_mirror *mirror;
		const struct hmm_mirror_ops *ops;
		unsigned long ranges;
		bool tracked_only, cancelled;
	} mirror[LINES];
	struct {
		unsigned long start, end;
		u32 since;
		const struct hmm_mirror *calling;
	} invalidation[LINES + 1];
	struct {
		const struct hmm_mirror_range *range;
		unsigned long start, end, invalidation_start, invalidation_end;
		u64 since;
	} wait[LINES];
	struct hmm_mirror_reader fault[LINES];
};

static void copy_mirrors(struct shown *shown, const struct hmm_mirror_mm *hmm)
{
	const struct hmm_mirror *mirror;

	list_for_each_entry(mirror, &hmm->mirrors, list) {
		unsigned int i = shown->mirrors++;

		shown->ranges += mirror->nr_ranges;
		if (i >= LINES)
			continue;
		shown->mirror[i].mirror = mirror;
		shown->mirror[i].ops = mirror->ops;
		shown->mirror[i].ranges = mirror->nr_ranges;
		shown->mirror[i].tracked_only = mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY;
		shown->mirror[i].cancelled = mirror->cancelled;
	}
}

/* Return the address after @last. As in a range, ULONG_MAX is the end of the address space. */
static unsigned long end_of(unsigned long last)
{
	return last == ULONG_MAX ? last : last + 1;
}

/* If a thread waits for the shared slot, the bounds are 0 and ULONG_MAX: any address. */
static void copy_waits(struct shown *shown, const struct hmm_mirror_mm *hmm)
{
	const struct hmm_mirror_waiter *w;

	list_for_each_entry(w, &hmm->waiters, list) {
		unsigned int i = shown->waits;

		if (i == LINES)
			break;
		if (!w->slot || !w->range)
			continue;
		slot_bounds(w->slot, &shown->wait[i].invalidation_start,
			    &shown->wait[i].invalidation_end);
		shown->wait[i].invalidation_end = end_of(shown->wait[i].invalidation_end);
		shown->wait[i].range = w->range;
		shown->wait[i].start = w->range->start;
		shown->wait[i].end = w->range->end;
		shown->wait[i].since = w->since;
		shown->waits++;
	}
}

static void copy_faults(struct shown *shown, const struct hmm_mirror_mm *hmm)
{
	const struct hmm_mirror_reader *r;

	list_for_each_entry(r, &hmm->readers, list) {
		if (shown->faults == LINES)
			break;
		shown->fault[shown->faults++] = *r;
	}
}

/* Keep the oldest invalidations, in order. The last item of the array is used here only. */
static void copy_slot(struct shown *shown, const struct hmm_mirror_slot *slot)
{
	unsigned int i = shown->invalidations;
	unsigned long start, last;
	u32 since;

	/* slot_claim() sets the key first, slot_publish() the last address last. */
	slot_bounds(slot, &start, &last);
	if (!READ_ONCE(slot->key) || !last)
		return;
	since = READ_ONCE(slot->since);
	for (; i && (s32)(since - shown->invalidation[i - 1].since) < 0; i--)
		shown->invalidation[i] = shown->invalidation[i - 1];
	shown->invalidation[i].start = start;
	shown->invalidation[i].end = end_of(last);
	shown->invalidation[i].since = since;
	shown->invalidation[i].calling = READ_ONCE(slot->calling);
	if (shown->invalidations < LINES)
		shown->invalidations++;
}

/* Other threads change slots during the copy, but no slot is freed before @hmm. */
static void copy_slots(struct shown *shown, const struct hmm_mirror_mm *hmm,
		       const struct hmm_mirror_slots *slots, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		copy_slot(shown, &hmm->slot[i]);
	copy_slot(shown, &hmm->shared);
	for (i = 0; i < HMM_MIRROR_LOCKED; i++)
		copy_slot(shown, &hmm->first[i].slot);
	/* Each of them has half of the slots that there were when it was the newest. */
	for (; slots; slots = slots->next) {
		for (nr /= 2, i = 0; i < nr; i++) {
			copy_slot(shown, &slots->slot[i].slot);
			cond_resched();
		}
	}
}

static u64 us_since(u64 since)
{
	return div_u64(ktime_get_ns() - since, NSEC_PER_USEC);
}

static void show_lines(struct seq_file *file, const struct shown *shown)
{
	u32 now = jiffies;	/* so that the oldest line says so, too */
	unsigned int i;

	for (i = 0; i < min_t(unsigned int, shown->mirrors, LINES); i++)
		seq_printf(file, "  mirror %p ops %ps ranges %lu tracked_only %d cancelled %d\n",
			   shown->mirror[i].mirror, shown->mirror[i].ops, shown->mirror[i].ranges,
			   shown->mirror[i].tracked_only, shown->mirror[i].cancelled);
	for (i = 0; i < shown->invalidations; i++)
		seq_printf(file, "  invalidation start 0x%lx end 0x%lx ms %u callback_of %p\n",
			   shown->invalidation[i].start, shown->invalidation[i].end,
			   jiffies_to_msecs(now - shown->invalidation[i].since),
			   shown->invalidation[i].calling);
	for (i = 0; i < shown->waits; i++)
		seq_printf(file, "  wait range %p start 0x%lx end 0x%lx invalidation_start 0x%lx invalidation_end 0x%lx us %llu\n",
			   shown->wait[i].range, shown->wait[i].start, shown->wait[i].end,
			   shown->wait[i].invalidation_start, shown->wait[i].invalidation_end,
			   us_since(shown->wait[i].since));
	for (i = 0; i < shown->faults; i++)
		seq_printf(file, "  fault mirror %p start 0x%lx end 0x%lx access %s us %llu\n",
			   shown->fault[i].mirror, shown->fault[i].start, shown->fault[i].end,
			   shown->fault[i].write ? "write" : "read",
			   us_since(shown->fault[i].since));
}

static int mms_show(struct seq_file *file, void *v)
{
	struct hmm_mirror_mm *hmm = v;
	unsigned int in_flight, shared, nr, waiting, blocked;
	struct shown *shown = file->private;
	struct hmm_mirror_slots *slots;
	char comm[TASK_COMM_LEN];
	pid_t pid;

	pid = hmm_mirror_owner(hmm->mm, comm);

	memset(shown, 0, sizeof(*shown));
	spin_lock(&hmm->lock);
	in_flight = hmm_mirror_slots_in_flight(hmm);
	shared = hmm->nr_shared;
	waiting = hmm->nr_waiters;
	blocked = hmm->nr_readers;
	shown->dead = hmm->dead;
	shown->stats = hmm->stats;
	copy_mirrors(shown, hmm);
	copy_waits(shown, hmm);
	copy_faults(shown, hmm);
	slots = hmm->more;
	nr = hmm->nr_locked;
	spin_unlock(&hmm->lock);
	copy_slots(shown, hmm, slots, nr);

	seq_printf(file, "mm %p pid %d dead %d mirrors %u ranges %lu in_flight %u shared %u waiting %u blocked %u hits %llu collisions %llu waits %llu longest_wait_us %llu comm %s\n",
		   hmm->mm, pid, shown->dead, shown->mirrors, shown->ranges, in_flight, shared,
		   waiting, blocked, shown->stats.hits, shown->stats.collisions,
		   shown->stats.waits, div_u64(shown->stats.longest_wait_ns, NSEC_PER_USEC), comm);
	show_lines(file, shown);
	return 0;
}

static void *mms_start(struct seq_file *file, loff_t *pos)
{
	struct hmm_mirror_mm *hmm = hmm_mirror_mm_next(NULL);
	loff_t i;

	for (i = 0; i < *pos && hmm; i++)
		hmm = hmm_mirror_mm_next(hmm);
	return hmm;
}

static void *mms_next(struct seq_file *file, void *hmm, loff_t *pos)
{
	++*pos;
	return hmm_mirror_mm_next(hmm);
}

static void mms_stop(struct seq_file *file, void *hmm)
{
	if (hmm)
		hmm_mirror_mm_put(hmm);
}

static const struct seq_operations mms_ops = {
	.start	= mms_start,
	.next	= mms_next,
	.stop	= mms_stop,
	.show	= mms_show,
};

static int mms_open(struct inode *inode, struct file *file)
{
	return __seq_open_private(file, &mms_ops, sizeof(struct shown)) ? 0 : -ENOMEM;
}

static const struct file_operations mms_fops = {
	.owner		= THIS_MODULE,
	.open		= mms_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

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
