/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The processes, and the scenes in which they meet.
 */

/* what the inlines use of a process */
#define INVALIDATES	byte i, ret, found, pass, g_open, may, look; bool owns, sees, hit
#define FAULTS		byte i, seq, pfn, ret, g, slept; bool timed_out
#define MOVES		byte ret, old_start, old_last

byte g_done;			/* drivers' threads that have left */

/* -------------------------------------------------------------------------- the mm */

/* munmap, reclaim, the OOM reaper ... */
proctype invalidation(byte k)
{
	INVALIDATES;

	invalidate_range_start(k, ret);
	if
	:: ret == OK ->
		change_cpu_page_table(k);
		invalidate_range_end(k)
	:: else
	fi
}

#ifdef NESTS
/* The inner one can be wider. */
proctype nested(byte outer, inner)
{
	INVALIDATES;

	invalidate_range_start(outer, ret);
	invalidate_range_start(inner, ret);
	change_cpu_page_table(inner);
	invalidate_range_end(inner);
	change_cpu_page_table(outer);
	invalidate_range_end(outer)
}
#endif

inline is_over(k) {
	d_step { each_page(k, g_armed[x_page]--); g_over[k] = true }
}

#ifdef EXITS
/* exit_mmap(): __mmu_notifier_release(), then the pages are freed. */
proctype exit_mmap()
{
	byte i;

	mm_users--;
	mm_users == 0;
	srcu_read_lock();
	if
	:: linked_start -> start_release()
	:: else
	fi;
	atomic { linked_start = false; linked_end = false };
	srcu_read_unlock();
	synchronize_srcu(1);
	d_step {
		for (x_page : 0 .. PAGES - 1) {
			assert(!device_on[0] || !PTE(0, x_page));
			cpu[x_page]++
		}
	}
}
#endif

/* ------------------------------------------------------------------------- drivers */

#define LATE	1		/* registers its range when it begins */
#define LEAVES	2		/* unregisters it when it is done */

inline gives_up(r, m, p) {
	lock_driver(m);
	PTE(m, p) = 0;
	hmm_mirror_range_unregister(r);
	unlock_driver(m)
}

/*
 * Thread w has a device fault at page p of range r. The loop is that of
 * hmm_mirror_range_populate().
 */
proctype faulter(byte w, r, m, p, how)
{
	FAULTS;

	if
	:: how & LATE -> mirror_listed[m]; hmm_mirror_range_register(r, m, ret)
	:: else
	fi;
	do
	:: ret == OK ->
		range_begin(w, r, seq, ret);
		if
		:: ret == OK -> range_read(w, r, p, pfn, ret)
		:: else
		fi;
		if
		:: ret == OK ->
			commit(w, r, m, p, pfn, seq, ret);
			if
			:: ret == OK -> break
			:: else -> d_step { ret = OK; seq = 0; pfn = 0; g = 0 }
			fi
		:: else
		fi
	:: else -> break
	od;
	if
	:: (how & LEAVES) && r_hmm[r] -> gives_up(r, m, p)
	:: else
	fi;
	d_step { ret = 0; seq = 0; pfn = 0; g = 0; g_done++ }
}

#ifdef ARRIVES
proctype arrives(byte m)
{
	device_on[m] = true;
	hmm_mirror_register(m)
}
#endif

#ifdef LEAVES_MODULE
/* Stops the device, then leaves. */
proctype leaves(byte m)
{
	byte i;

	device_on[m] = false;
	hmm_mirror_unregister(m)
}

/* The work that call_srcu() does for mmu_notifier_put(). */
proctype srcu_callbacks()
{
	start_users == 0;
	synchronize_srcu(2);
	start_free();
	synchronize_srcu(2);
	end_free()
}

/* The module goes when no driver needs it any more. */
proctype unloads(byte mirrors, threads)
{
	byte m;

	do
	:: m < mirrors -> g_unregistered[m]; m++
	:: else -> break
	od;
	g_done == threads;
	hmm_mirror_exit()
}
#endif

/* -------------------------------------------------------------------------- scenes */

inline range(r, start, last) {
	r_start[r] = start;
	r_last[r] = last
}

inline tracked(r, m, start, last) {
	range(r, start, last);
	range_attach(r, m);
	range_born(r)
}

inline key(k, start, last) {
	key_start[k] = start;
	key_last[k] = last;
	key_pointer[k] = k
}

#if defined(SCENE_ABA)

/* one of each */
inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
#ifdef NONBLOCK
	key_nonblock[0] = true
#endif
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run invalidation(0)
}

#elif defined(SCENE_FORM_2019)

/* The 2019 form: the sequence is in the range. For a range that one thread uses. */
proctype faulter_2019(byte w, r, m, p)
{
	FAULTS;

	do
	:: hmm_mirror_range_wait_until_valid(w, r, seq, ret);
		range_read(w, r, p, pfn, ret);
		atomic {
			lock_driver(m);
			printf("faulter %d\tlock(driver)\n", w)
		};
		hmm_mirror_range_valid(r, ret);
		install(w, r, m, p, pfn, ret);
		if
		:: ret == OK -> break
		:: else -> d_step { seq = 0; pfn = 0; g = 0 }
		fi
	od
}

inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
	key(1, 0, 0)
}
inline processes() {
	run faulter_2019(0, 0, 0, 0);
#ifdef BUG_SEQUENCE_IN_RANGE
	run faulter_2019(1, 0, 0, 0);
#else
	run invalidation(1);
#endif
	run invalidation(0)
}

#elif defined(SCENE_REFUSED)

/* The first one is not blockable, and so may fail. */
inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
	key(1, 0, 1);
	key(2, 0, 0);
	key_nonblock[0] = true
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 0, 0);
	run invalidation(0);
	run nested(1, 2)
}

#elif defined(SCENE_NESTED)

/* outer |-|, inner |---|, another   |-| */
inline things() {
	tracked(0, 0, 0, 1);
	key(0, 0, 0);
	key(1, 0, 1);
	key(2, 1, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 1, 0);
	run nested(0, 1);
	run invalidation(2)
}

#elif defined(SCENE_TWO_RANGES)

/* One is registered while others are in flight, and leaves while they are. */
inline things() {
	tracked(0, 0, 0, 0);
	range(1, 1, 1);
	key(0, 0, 1);
	key(1, 1, 1);
	key(2, 0, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 1, 0, 1, LATE + LEAVES);
	run nested(1, 0);
	run invalidation(2)
}

#elif defined(SCENE_CROWD)

/* As many as time allows. */
inline things() {
	tracked(0, 0, 0, 0);
	range(1, 1, 1);
	key(0, 0, 1);
	key(1, 1, 1);
	key_nonblock[1] = true;
	key(2, 0, 0)
}
inline processes() {
	run faulter(0, 1, 0, 1, LATE);
	run invalidation(0);
	run invalidation(1);
	run invalidation(2)
}

#elif defined(SCENE_OVERFLOW)

/* more in flight than there are slots */
inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
	key(1, 1, 1);
	key(2, 0, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run invalidation(0);
	run invalidation(1);
	run invalidation(2)
}

#elif defined(SCENE_GROW)

/* The same, until a worker has made a slot. */
proctype grows()
{
	slots_make()
}

inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
	key(1, 1, 1);
	key(2, 0, 1)
}
inline processes() {
	run grows();
	run faulter(0, 0, 0, 0, 0);
	run invalidation(0);
	run invalidation(1);
	run invalidation(2)
}

#elif defined(SCENE_LOST)

/* The first one loses its end, if it needed no lock; the second has its pointer. */
proctype loses_end(byte k, again)
{
	INVALIDATES;

	invalidate_range_start(k, ret);
	change_cpu_page_table(k);
	if
#ifdef LOST_ANYWHERE
	:: true -> is_over(k)
#else
	:: slot_key[0] == key_pointer[k] + 1 -> is_over(k)
	:: else -> invalidate_range_end(k)
#endif
	fi;
	invalidate_range_start(again, ret);
	change_cpu_page_table(again);
	invalidate_range_end(again)
}

/* key 1 is key 0 again */
inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0);
	key(1, 1, 1);
	key_pointer[1] = 0;
	key(2, 0, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 0, 0);
	run loses_end(0, 1);
	run invalidation(2)
}

#elif defined(SCENE_ENDLESS)

/* mprotect() at address 0, which forgets to call end */
proctype mprotect_0(byte k)
{
	INVALIDATES;

	atomic { !mmap_lock -> mmap_lock = true };
	invalidate_range_start(k, ret);
	change_cpu_page_table(k);
	is_over(k);
	mmap_lock = false
}

inline things() {
	tracked(0, 0, 0, 1);
	key(0, 0, 0);
	key_endless[0] = true;
	key(1, 1, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 1, 0);
	run mprotect_0(0);
	run invalidation(1)
}

#elif defined(SCENE_MIRRORS)

/* The second one comes while invalidations are in flight. */
inline things() {
	tracked(0, 0, 0, 0);
	range(1, 0, 0);
	key(0, 0, 0);
	key_nonblock[0] = true;
	key(1, 0, 0)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run arrives(1);
	run faulter(1, 1, 1, 0, LATE);
	run invalidation(0);
	run invalidation(1)
}

#elif defined(SCENE_SUBSCRIBE)

/* The first mirror comes while the mm is busy. */
inline things() {
	range(0, 0, 0);
	key(0, 0, 0);
	key(1, 0, 0);
	key_nonblock[1] = true
}
inline processes() {
	run arrives(0);
	run faulter(0, 0, 0, 0, LATE);
	run invalidation(0);
	run invalidation(1)
}

#elif defined(SCENE_EXIT)

/* process_mrelease() of a process that exits */
inline things() {
	range(0, 0, 0);
	key(0, 0, 0);
	key_nonblock[0] = true;
	key(1, 0, 0)
}
inline processes() {
	run faulter(0, 0, 0, 0, LATE);
	run invalidation(0);
	run invalidation(1);
	run exit_mmap()
}

#elif defined(SCENE_UNREGISTER)

/* Has a range, and gives it up some time. */
proctype forgets(byte r, m)
{
	gives_up(r, m, 0);
	g_done++
}

inline things() {
	tracked(0, 0, 0, 0);
	tracked(1, 0, 0, 0);
	key(0, 0, 0);
	key(1, 0, 0)
}
inline processes() {
	run faulter(0, 0, 0, 0, LEAVES);
	run forgets(1, 0);
	run invalidation(0);
	run leaves(0);
	run srcu_callbacks();
	run unloads(1, 2)
}

#elif defined(SCENE_EXIT_UNREGISTER)

inline things() {
	tracked(0, 0, 0, 0);
	key(0, 0, 0)
}
inline processes() {
	run faulter(0, 0, 0, 0, LEAVES);
	run invalidation(0);
	run exit_mmap();
	run leaves(0);
	run srcu_callbacks();
	run unloads(1, 1)
}

#elif defined(SCENE_RESIZE)

/*
 * Gives up all but the first page. The lock under which it faults must not be dropped
 * in between: a fault could install again what was removed.
 */
proctype shrinks(byte r, m)
{
	MOVES;

	lock_driver(m);
	PTE(m, 1) = 0;
#ifdef BUG_RESIZE_UNLOCKED
	unlock_driver(m);
	hmm_mirror_range_resize(r, 0, 0, ret)
#else
	hmm_mirror_range_resize(r, 0, 0, ret);
	unlock_driver(m)
#endif
}

inline things() {
	tracked(0, 0, 0, 1);
	key(0, 0, 0);
	key(1, 1, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 1, 0);
	run shrinks(0, 0);
	run invalidation(0);
	run invalidation(1)
}

#elif defined(SCENE_SPLIT)

proctype splits(byte r, tail)
{
	MOVES;

	hmm_mirror_range_split(r, 1, tail, ret)
}

inline things() {
	tracked(0, 0, 0, 1);
	key(0, 0, 0);
	key(1, 1, 1)
}
inline processes() {
	run faulter(0, 0, 0, 0, 0);
	run faulter(1, 0, 0, 1, 0);
	run splits(0, 1);
	run invalidation(0);
	run invalidation(1)
}

#elif defined(SCENE_STORM)

/* Never stops. It hits no range, so no callback is called (TRACKED_ONLY). */
proctype storm(byte k)
{
	INVALIDATES;

	do
	:: invalidate_start(k);
	   invalidate_end(k)
	od
}

#ifdef GROWS
proctype grows()
{
	do
	:: room < SLOT_SHARED - 1 -> slots_make()
	od
}
#endif

/* Two that never stop, of other addresses; what hits the range stops. */
inline things() {
	tracked(0, 0, 0, 1);
	key(0, 0, 0);
	key(1, 1, 1);
	key(2, 2, 2);
	key(3, 2, 2)
}
inline processes() {
#ifdef GROWS
	run grows();
#endif
	run storm(2);
	run storm(3);
#ifndef FEW
	run invalidation(1);
#endif
	run invalidation(0);
	run faulter(0, 0, 0, 0, 0)
}
ltl gets_through { [] (waiter_range[0] -> <> !waiter_range[0]) }

#endif

init {
	atomic {
		d_step {
			for (x_page : 0 .. PAGES - 1) {
				cpu[x_page] = 1
			};
			for (x_range : 0 .. RANGES - 1) {
				r_mirror[x_range] = NONE
			};
			hmm_mirror_slots_init();
			users = 2;
			nr_subscriptions = 2;
#ifndef SUBSCRIBES
			linked_start = true;
			linked_end = true;
			start_users = 1;
			mirror_listed[0] = true;
			device_on[0] = true;
#endif
			things()
		};
		processes()
	}
}
