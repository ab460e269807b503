// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: mirrors, and two subscriptions per mm.
 *
 * Owns hmm->mirrors, hmm->nr_always and mirror->cancelled, which change under hmm->lock.
 * Invalidations read the first two without the lock, in the SRCU section of the mmu notifiers.
 *
 * The mm calls start() of every subscription, changes CPU page table entries, then calls
 * end() of every subscription. If the invalidation is non-blockable, start() may fail. The
 * mm then calls end() of all subscriptions, including the failed one, which cannot know
 * that it failed; so the mm warns if a subscription with an end() fails
 * (mn_hlist_invalidate_range_start()). The core needs end() to know which invalidations are
 * in flight, and must return a driver's -EAGAIN from start(). So there are two subscriptions:
 *
 *	start	has no end(); its start() publishes the invalidation, raises sequences, then
 *		runs the callbacks of the mirrors, and may fail
 *	end	has end() only
 *
 * If start() of any subscription fails, the mm still calls end() of "end".
 *
 * The core registers "end" before "start", under one hold of the mmap write lock. The mm takes
 * subscriptions in one by one:
 *
 *	register				invalidation
 *
 *	"end" is on the list
 *						start of none of the two
 *	"start" is on the list
 *						end: no slot has the key, ignored
 *
 *	[an invalidation that is published, but whose end is never seen: never]
 *
 * A second mirror of an mm finds the structure in the mm's list of subscriptions
 * (mmu_notifier_get_locked()). Each mirror holds a reference on "start". When the last one
 * is dropped, the mmu notifiers free "start", and start_free() drops "end".
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/error-injection.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "compat/memcg.h"
#include "hmm_invalidate.h"

#ifndef CONFIG_64BIT
#error "hmm_mirror needs a 64-bit kernel: a sequence must never wrap"
#endif

/* Subscriptions that the mmu notifiers may still use; the module must outlive them. */
static atomic_long_t nr_subscriptions = ATOMIC_LONG_INIT(0);

/* --------------------------------------------------------- subscription "start" */

static int call(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update,
		struct hmm_mirror_slot *slot, const struct hmm_mirror *hit)
{
	/* Pairs with WRITE_ONCE() in hmm_mirror_register(): publish.litmus. */
	return hit || READ_ONCE(hmm->nr_always) ? hmm_mirror_call(hmm, update, slot, hit) : 0;
}

/* Without noinline here and in start_locked(), a miss takes 279 instead of 258 instructions. */
static noinline int start_hit(struct hmm_mirror_mm *hmm, const struct mmu_notifier_range *update,
			      struct hmm_mirror_slot *slot)
{
	return call(hmm, update, slot, invalidate_raise(hmm, update));
}

static noinline int start_locked(struct hmm_mirror_mm *hmm,
				 const struct mmu_notifier_range *update)
{
	struct hmm_mirror_slot *slot = hmm_mirror_start_locked(hmm, update);
	const struct hmm_mirror *hit = NULL;

	/* An empty update hits nothing, but a tree cannot be searched for it. */
	if (update->start < update->end)
		hit = hmm_mirror_raise(hmm, update);
	else
		trace_hmm_mirror_invalidate_start(hmm->mm, update, slot->nr, 0);
	return call(hmm, update, slot, hit);
}

static int start_start(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	struct hmm_mirror_mm *hmm = container_of(mn, struct hmm_mirror_mm, start);
	struct hmm_mirror_slot *slot = hmm_mirror_slot_hashed(hmm, update);

	switch (invalidate_start(hmm, update)) {
	case INVALIDATE_MISSES:
		return call(hmm, update, slot, NULL);
	case INVALIDATE_MAY_HIT:
		return start_hit(hmm, update, slot);
	default:
		return start_locked(hmm, update);
	}
}

/* Called once per subscription, after the SRCU grace period that follows its removal. */
static void subscription_freed(struct hmm_mirror_mm *hmm)
{
	hmm_mirror_mm_put(hmm);
	/* Fully ordered, as wake_up_var() requires: unload.litmus. */
	if (atomic_long_dec_and_test(&nr_subscriptions))
		wake_up_var(&nr_subscriptions);
}

/*
 * Raise all ranges before any ->release runs: then a fault either commits before ->release
 * removes its device PTEs, or collides.
 */
static void start_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hmm_mirror_mm *hmm = container_of(mn, struct hmm_mirror_mm, start);
	struct hmm_mirror *mirror;
	struct lockdep_map *map;

	hmm_mirror_ranges_die(hmm);
	map = hmm_mirror_callbacks_begin();
	list_for_each_entry_srcu(mirror, &hmm->mirrors, list, true)
		mirror->ops->release(mirror);
	hmm_mirror_callbacks_end(map);
}

/* ----------------------------------------------------------- subscription "end" */

static void end_end(struct mmu_notifier *mn, const struct mmu_notifier_range *update)
{
	invalidate_end(container_of(mn, struct hmm_mirror_mm, end), update);
}

static void end_free(struct mmu_notifier *mn)
{
	subscription_freed(container_of(mn, struct hmm_mirror_mm, end));
}

static const struct mmu_notifier_ops end_ops = {
	.invalidate_range_end	= end_end,
	.free_notifier		= end_free,
};

/* Called by mmu_notifier_get_locked(), which then registers "start". */
static struct mmu_notifier *start_alloc(struct mm_struct *mm)
{
	struct hmm_mirror_mm *hmm;
	int ret;

	hmm = kzalloc(sizeof(*hmm), GFP_KERNEL_ACCOUNT);
	if (!hmm)
		return ERR_PTR(-ENOMEM);

	INIT_LIST_HEAD(&hmm->mirrors);
	INIT_LIST_HEAD(&hmm->readers);
	hmm->mm = mm;
	hmm->users = 2;
	spin_lock_init(&hmm->lock);
	hmm_mirror_slots_init(hmm);
	hmm_mirror_growth_init(hmm);
	hmm_mirror_ranges_init(hmm);
	ret = -ENOMEM;
	hmm->filter = hmm_mirror_filter_alloc(mm, 0);
	if (!hmm->filter)
		goto err_free;

	hmm->end.ops = &end_ops;
	ret = __mmu_notifier_register(&hmm->end, mm);
	if (ret)
		goto err_filter;

	mmgrab(mm);
	hmm_mirror_mm_add(hmm);
	atomic_long_add(2, &nr_subscriptions);
	return &hmm->start;

err_filter:
	kvfree(hmm->filter);
err_free:
	kfree(hmm);
	return ERR_PTR(ret);
}

static void start_free(struct mmu_notifier *mn)
{
	struct hmm_mirror_mm *hmm = container_of(mn, struct hmm_mirror_mm, start);

	mmu_notifier_put(&hmm->end);
	subscription_freed(hmm);
}

static const struct mmu_notifier_ops start_ops = {
	.invalidate_range_start	= start_start,
	.release		= start_release,
	.alloc_notifier		= start_alloc,
	.free_notifier		= start_free,
};

/*
 * mm_take_all_locks() fails with -EINTR if any signal is pending, and under a fast timer fails
 * each time. A worker has no pending signals, so if the signal is not fatal, let a worker
 * subscribe, while the caller holds the mmap lock and waits.
 */
struct subscribe {
	struct work_struct work;
	struct mm_struct *mm;
	struct mmu_notifier *mn;
};

static void subscribe_work(struct work_struct *work)
{
	struct subscribe *s = container_of(work, struct subscribe, work);
	struct mem_cgroup *old = hmm_mirror_compat_charge_begin(s->mm);

	/* For lockdep, which looks for the lock in the thread that relies on it. */
	rwsem_acquire(&s->mm->mmap_lock.dep_map, 0, 1, _THIS_IP_);
	s->mn = mmu_notifier_get_locked(&start_ops, s->mm);
	rwsem_release(&s->mm->mmap_lock.dep_map, _THIS_IP_);

	hmm_mirror_compat_charge_end(old);
}

/* Find or make the subscriptions of an mm, with its mmap write lock held. */
static struct mmu_notifier *subscribe(struct mm_struct *mm)
{
	struct mmu_notifier *mn = mmu_notifier_get_locked(&start_ops, mm);
	struct subscribe s = { .mm = mm };

	if (mn != ERR_PTR(-EINTR) || fatal_signal_pending(current))
		return mn;

	INIT_WORK_ONSTACK(&s.work, subscribe_work);
	queue_work(hmm_mirror_wq, &s.work);
	flush_work(&s.work);
	destroy_work_on_stack(&s.work);
	return s.mn;
}

/* --------------------------------------------------------------------- mirrors */

/*
 * Return true if this thread holds the mmap lock for writing. Without lockdep, also return
 * true if another thread holds the lock for writing, or waits for that.
 */
static bool mmap_is_write_locked(struct mm_struct *mm)
{
	if (mmap_read_trylock(mm)) {
		mmap_read_unlock(mm);
		return false;
	}
	return !IS_ENABLED(CONFIG_LOCKDEP) || lockdep_is_held_type(&mm->mmap_lock, 0);
}

static bool ops_are_valid(const struct hmm_mirror_ops *ops)
{
	return ops && ops->release &&
	       !(ops->flags & ~HMM_MIRROR_TRACKED_ONLY) &&
	       !ops->sync_start != !ops->sync_cpu_device_pagetables &&
	       !ops->sync_start == !ops->sync_finish;
}

/**
 * hmm_mirror_register() - start mirroring an address space
 * @mirror: the mirror, with ops set
 * @mm: the address space
 *
 * The first mirror of an mm subscribes to the mmu notifiers; later mirrors share the
 * subscriptions. Callbacks can run before this returns. Unless the caller holds the mmap lock
 * already, it calls hmm_mirror_attach() instead. Ranges need no mmap lock.
 *
 * Context: process context, may sleep. The caller holds the mmap write lock of @mm, and
 * mm_users (@mm is current->mm, or comes from mmget() or get_task_mm()), as
 * __mmu_notifier_register() requires.
 * Return: 0; -EINVAL if a pointer is NULL, if the ops have no release, both or neither of
 * sync_cpu_device_pagetables and sync_start, only one of sync_start and sync_finish, or an
 * unknown flag, or if the caller does not hold the mmap write lock (without lockdep, this
 * is not detected while another thread holds it); -ESRCH if @mm is dead; -EEXIST if @mirror
 * is registered with @mm already; -ENOMEM; -EINTR on a fatal signal. Other signals do not make
 * this fail, however often they arrive.
 */
noinline int hmm_mirror_register(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	struct hmm_mirror *other;
	struct hmm_mirror_mm *hmm;
	struct mmu_notifier *mn;
	bool twice = false;

	if (!mirror || !mm || !ops_are_valid(mirror->ops))
		return -EINVAL;

	/* mm_take_all_locks() would BUG(). */
	if (!mmap_is_write_locked(mm)) {
		WARN_ONCE(1, "hmm_mirror: %s() without the mmap write lock: take it, or call hmm_mirror_attach()\n",
			  __func__);
		return -EINVAL;
	}
	/* __mmu_notifier_register() would BUG(). */
	if (atomic_read(&mm->mm_users) <= 0)
		return -ESRCH;

	mn = subscribe(mm);
	if (IS_ERR(mn))
		return PTR_ERR(mn);

	hmm = container_of(mn, struct hmm_mirror_mm, start);
	spin_lock(&hmm->lock);
	list_for_each_entry(other, &hmm->mirrors, list)
		twice |= other == mirror;
	if (!twice) {
		mirror->mm = mm;
		mirror->hmm = hmm;
		mirror->ranges = RB_ROOT_CACHED;
		mirror->nr_ranges = 0;
		mirror->cancelled = false;
		mirror->counted = true;
		/*
		 * Pairs with READ_ONCE() in call(). If a start misses this, the
		 * registration of a range of @mirror, which comes later, sees that
		 * invalidation in flight: publish.litmus.
		 */
		if (!(mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY))
			WRITE_ONCE(hmm->nr_always, hmm->nr_always + 1);
		/* Pairs with the walk in hmm_mirror_call(): mirror_publish.litmus. */
		list_add_tail_rcu(&mirror->list, &hmm->mirrors);
	}
	spin_unlock(&hmm->lock);
	if (!twice)
		return 0;

	mmu_notifier_put(mn);
	WARN_ONCE(1, "hmm_mirror: %s() of a mirror that is registered already: unregister it first\n",
		  __func__);
	return -EEXIST;
}
EXPORT_SYMBOL_GPL(hmm_mirror_register);
/* noinline, so that an injected error reaches hmm_mirror_attach(), too. */
ALLOW_ERROR_INJECTION(hmm_mirror_register, ERRNO);

/**
 * hmm_mirror_attach() - take the mmap write lock and call hmm_mirror_register()
 * @mirror: the mirror, with ops set
 * @mm: the address space
 *
 * Context: process context, may sleep. The caller holds mm_users, but not the mmap lock.
 * Return: as hmm_mirror_register(); also -EINTR on a fatal signal while waiting for the
 * lock.
 */
int hmm_mirror_attach(struct hmm_mirror *mirror, struct mm_struct *mm)
{
	int ret;

	if (!mm)
		return -EINVAL;
	if (mmap_write_lock_killable(mm))
		return -EINTR;
	ret = hmm_mirror_register(mirror, mm);
	mmap_write_unlock(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_mirror_attach);

/**
 * hmm_mirror_unregister() - stop mirroring an address space
 * @mirror: a registered mirror
 *
 * When this returns, no callback of @mirror is running, and none will start. This does not
 * call ->release: the driver must first stop the device from using the address space.
 * Ranges of @mirror that are still registered become invalid for good; the driver may
 * unregister them at any later time.
 *
 * Context: process context; sleeps until the running callbacks of all mms have returned.
 * The caller holds no lock that a callback takes, and is not a callback. The mm may be
 * alive or dead.
 */
void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;
	bool orphans;

	hmm_mirror_might_wait();
	if (!hmm) {
		WARN_ONCE(1, "hmm_mirror: %s() of a mirror that is not registered: call it once for each registration\n",
			  __func__);
		return;
	}

	spin_lock(&hmm->lock);
	/* Before list_del_rcu(): the core must call the mirror while one of its ranges is clean. */
	orphans = hmm_mirror_ranges_orphan(mirror);
	list_del_rcu(&mirror->list);
	if (!(mirror->ops->flags & HMM_MIRROR_TRACKED_ONLY))
		WRITE_ONCE(hmm->nr_always, hmm->nr_always - 1);
	hmm_mirror_readers_wake(hmm, mirror);
	spin_unlock(&hmm->lock);

	/* Callbacks and ->release run in this SRCU section: unregister.litmus. */
	mmu_notifier_synchronize();
	hmm_mirror_growth_wait(hmm);
	/* Pairs with rcu_read_lock_sched() in hmm_mirror_range_mm(): orphan.litmus. */
	if (orphans)
		synchronize_rcu();

	mirror->hmm = NULL;
	mmu_notifier_put(&hmm->start);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);

/**
 * hmm_mirror_cancel() - end all waits of a mirror
 * @mirror: a registered mirror
 *
 * If a thread waits in hmm_mirror_range_begin(), fault, snapshot or populate for a range of
 * @mirror, the call returns -ECANCELED at once. So does each later call that would have to
 * wait, until @mirror is unregistered; a call that need not wait still succeeds. A driver calls
 * this when a file is closed or the device is removed, before it waits for its own threads.
 *
 * Context: process context, does not sleep. The caller may hold spinlocks that no interrupt
 * handler takes.
 */
void hmm_mirror_cancel(struct hmm_mirror *mirror)
{
	struct hmm_mirror_mm *hmm = mirror->hmm;

	if (!hmm) {
		WARN_ONCE(1, "hmm_mirror: %s() of a mirror that is not registered: call it before hmm_mirror_unregister()\n",
			  __func__);
		return;
	}
	spin_lock(&hmm->lock);
	mirror->cancelled = true;
	hmm_mirror_waiters_wake(hmm, NULL);
	hmm_mirror_readers_wake(hmm, mirror);
	spin_unlock(&hmm->lock);
}
EXPORT_SYMBOL_GPL(hmm_mirror_cancel);

/**
 * hmm_mirror_update_is_own() - check whether the driver itself caused an update
 * @update: as passed to a callback
 * @owner: the owner that the driver passed to migrate_vma_setup() or
 *	make_device_exclusive()
 *
 * The mm initializes the owner of an update only for some events, so this checks the event
 * first. A driver that migrates pages may ignore its own updates in its callback. The
 * core has raised the sequences of the ranges nevertheless.
 *
 * Context: a callback.
 * Return: true if @owner caused @update.
 */
bool hmm_mirror_update_is_own(const struct mmu_notifier_range *update,
			      const void *owner)
{
	return owner && hmm_mirror_compat_has_owner(update) &&
	       hmm_mirror_compat_owner(update) == owner;
}
EXPORT_SYMBOL_GPL(hmm_mirror_update_is_own);

static int __init hmm_mirror_init(void)
{
	/*
	 * Teach lockdep that callbacks run inside reclaim. lockdep then reports an
	 * allocation under a lock that a callback takes when it happens first, even if
	 * that allocation does not reclaim.
	 */
	if (IS_ENABLED(CONFIG_LOCKDEP)) {
		fs_reclaim_acquire(GFP_KERNEL);
		hmm_mirror_callbacks_end(hmm_mirror_callbacks_begin());
		fs_reclaim_release(GFP_KERNEL);
	}
	hmm_mirror_wq = alloc_workqueue("hmm_mirror", WQ_UNBOUND, 0);
	if (!hmm_mirror_wq)
		return -ENOMEM;

	hmm_mirror_inject_init(hmm_mirror_debug_init());
	return 0;
}

static void __exit hmm_mirror_exit(void)
{
	hmm_mirror_debug_exit();

	/*
	 * mmu_notifier_put() frees a subscription in an SRCU callback, for which
	 * mmu_notifier_synchronize() does not wait. When the count is 0
	 * (unload.litmus), the last free function may not have returned yet. It runs
	 * with bottom halves disabled (srcu_invoke_callbacks()), so an RCU grace period
	 * waits for it (unload_code.litmus).
	 */
	wait_var_event(&nr_subscriptions, !atomic_long_read(&nr_subscriptions));
	synchronize_rcu();
	destroy_workqueue(hmm_mirror_wq);
}

module_init(hmm_mirror_init);
module_exit(hmm_mirror_exit);

MODULE_DESCRIPTION("Mirror a process address space on a device");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);
