/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol of hmm_mirror as a model for Spin. Inlines have the names of the
 * functions of the core that they stand for; functions.txt says of
 * each function of those files where it is, and a test keeps the two together.
 *
 * What is exact and what is not:
 *
 *  - A walk over the ranges holds hmm->lock all the time. With -DPIECES it holds it for one
 *    range at a time, as the code does for some of them.
 *  - A critical section of hmm->lock is one step (spin_lock() opens an atomic block).
 *    Everything that a section touches is touched under that lock only, but for the
 *    word of a range, which is also read without. A section writes the word of each
 *    range at most once, so a reader of one word sees what it would have seen before or
 *    after the section. A thread that reads the words of two ranges can see the
 *    difference. With -DFINE the lock is a lock, and each such write a step of its own.
 *  - What a start and an end do without the lock is done in as many steps as the code
 *    has accesses that others can see, but for the two bounds of a slot, which are read
 *    and written as one (bounds.litmus). One slot is taken without the lock, and all
 *    invalidations hash to it.
 *  - The filter is as large as it may ever be, and has two cells. Chunks are of 1 or
 *    2 pages.
 *  - The driver's lock is a lock. Between taking it and dropping it are steps.
 *  - Memory is sequentially consistent here. What that leaves out is what tests/litmus
 *    is for.
 *  - A page table entry is a number that grows with each change: the page that is
 *    mapped. The device's is 0 where it has none. Faults read the CPU page table at any
 *    moment, as if there were no mmap lock and no page table lock.
 *  - The last step of hmm_mirror_mm_put() and hmm_mirror_mm_free() are one, so what is
 *    freed is freed a little earlier than in the code.
 *  - Time does not pass. Where waits may time out (TIMEOUTS) they may do so at once.
 *
 * What begins with g_ is not in the code: ghosts, with which the invariants I1 to I8 of
 * docs/protocol.md are written down. What begins with x_ lives for one step only.
 *
 * A scene is chosen by -DSCENE_..., a mistake by -DBUG_...; both are listed in
 * tests/rig/prove.sh.
 */
#include "scenes.h"

/* ------------------------------------------- what is asserted, and what is said */

/*
 * assert() is about what the world sees: a device that uses a page that the mm has
 * replaced, a count below zero, a call into what is gone. holds() is about what keeps
 * that from happening. To let a mistake run into its consequences, -DCONSEQUENCES
 * takes the latter away.
 */
#ifdef CONSEQUENCES
#define holds(e)	skip
#else
#define holds(e)	assert(e)
#endif

/* For ladder.awk: who, and what he does. */
#ifdef BUG_BOOLEAN
#define SAY_BEGUN(w, seq)	printf("faulter %d\twait_until_valid(): true\n", w)
#define SAY_RETRY(w, ret)	printf("faulter %d\trange_valid(): %d\n", w, !ret)
#define SAY_START(k)		printf("invalidation %d\tstart: count %d, valid = 0\n", k, notifiers)
#define SAY_END(k)		printf("invalidation %d\tend: count %d, valid = %d\n", k, notifiers, !notifiers)
#elif defined(HISTORY)
#define SAY_BEGUN(w, seq)	printf("faulter %d\tbegin(): sequence %d\n", w, seq)
#define SAY_RETRY(w, ret)	printf("faulter %d\tretry(): %d\n", w, ret)
#define SAY_START(k)		printf("invalidation %d\tstart: count %d\n", k, notifiers)
#define SAY_END(k)		printf("invalidation %d\tend: count %d\n", k, notifiers)
#else
#define SAY_BEGUN(w, seq)	printf("faulter %d\tbegin(): sequence %d\n", w, seq)
#define SAY_RETRY(w, ret)	printf("faulter %d\tretry(): %d\n", w, ret)
#define SAY_START(k)		printf("invalidation %d\tstart: sequence %d\n", k, hmm_seq)
#define SAY_END(k)		printf("invalidation %d\tend\n", k)
#endif

/* ----------------------------------------------------------------------- results */

#define OK		0
#define EAGAIN		1
#define ETIME		2
#define ESRCH		3
#define EINVAL		4
#define EBUSY		5
/* not results: where range_wait() stands */
#define ENTERS		8
#define ASLEEP		9
#define ENDLESS		10
#define AGAIN		11

#define NONE		255

/* ----------------------------------------------------------------------- mm side */

byte cpu[PAGES];		/* CPU page table */
byte mm_users = 1;
bool mmap_lock;			/* for writing */

/* the subscribers of the mm, in the order in which they are called */
bool linked_start, linked_end;
byte start_users;
byte srcu_readers;		/* bit: process is inside a walk over them */
byte grace_period[3];		/* those who were, when it began */
byte mm_in_flight;		/* from before start to after end */

/* invalidations, and the pointer that the mm passes for each */
byte key_start[KEYS], key_last[KEYS];
byte key_pointer[KEYS];
bool key_nonblock[KEYS];
bool key_endless[KEYS];		/* PROTECTION_VMA at address 0 */

bool g_in_flight[KEYS];		/* its start was delivered, its end was not */
bool g_published[KEYS];		/* its slot can be seen */
bool g_raised[KEYS];		/* and what it hits is not valid */
bool g_over[KEYS];		/* the mm has finished it */
byte g_armed[PAGES];		/* invalidations whose start has returned */

/* ------------------------------------------------------------------------ driver */

byte device[MIRRORS * PAGES];	/* device page table */
bool device_tlb[MIRRORS * PAGES];	/* removed, and not flushed yet */
bool driver_lock[MIRRORS];
bool device_on[MIRRORS];	/* it uses the address space */
bool g_unregistered[MIRRORS];
byte g_released[MIRRORS];

#define PTE(m, p)	device[(m) * PAGES + (p)]
#define TLB(m, p)	device_tlb[(m) * PAGES + (p)]

/* ------------------------------------------------------ struct hmm_mirror_range */

bool r_hmm[RANGES];		/* range->hmm is not NULL */
byte r_start[RANGES], r_last[RANGES];
byte r_mirror[RANGES];		/* NONE: NULL, and not in the tree */
byte r_state[RANGES];
byte r_snapshot[RANGES];
byte g_began[RANGES];		/* how often something began that makes it stale */

#define in_tree(r)	(r_mirror[r] != NONE)

/* ----------------------------------------------- struct hmm_mirror, hmm_mirror_mm */

bool mirror_listed[MIRRORS];

byte users;
bool dead;
byte hmm_seq;
byte used;			/* bit i: slot i is in flight; not of the hashed one */
byte shared, shared_endless;
byte room = ROOM;		/* slots that need the lock, as many as were made */
byte levels, level_ranges[2], rebounds;
byte cell[2];			/* the filter */
byte slot_key[SLOTS], slot_start[SLOTS], slot_last[SLOTS];
bool slot_live[SLOTS];		/* last is not 0; of the hashed one */
bool slot_endless[SLOTS];
byte sleeps_on[WAITERS];	/* 1 + slot whose queue it is on; 0: awake */
byte waiter_range[WAITERS];	/* 1 + range it waits for; 0: NULL, or does not wait */
bool g_freed;

byte nr_subscriptions;
bool free_function_runs;
bool g_unloaded;

#define SLOT_SHARED	(SLOTS - 1)
#define DIRTY		1
#define WAITED		2
#define SEQ_STEP	4

#define bit(i)		(1 << (i))
#define is_used(s)	((used >> (s)) & 1)

/*
 * For loops inside of one step. A step (d_step) cannot end with a loop or a choice,
 * hence the "skip" at the end of what is used in them.
 */
hidden byte x_slot, x_range, x_key, x_waiter, x_page, x_nr, x_hit, x_near, x_gone, x_state;
hidden byte x_level;

/* -------------------------------------------------------------------- hmm->lock */

#ifdef FINE
bool hmm_lock;
#define spin_lock(lock)		d_step { !hmm_lock -> assert(!g_freed); hmm_lock = true }
#define spin_unlock(lock)	hmm_lock = false
#else
#define spin_lock(lock)		atomic { assert(!g_freed)
#define spin_unlock(lock)	skip }
#endif

/* --------------------------------------------------------------------- intervals */

#define hits_range(s, l, r)	((s) <= r_last[r] && (l) >= r_start[r])
#define hits(k, r)		hits_range(key_start[k], key_last[k], r)

/* Does an invalidation whose start is over intersect the range? x_near: one in its start */
inline g_find_hit(r) {
	x_hit = false;
	x_near = false;
	for (x_key : 0 .. KEYS - 1) {
		if
		:: g_raised[x_key] && hits(x_key, r) -> x_hit = true
		:: !g_raised[x_key] && g_published[x_key] && hits(x_key, r) -> x_near = true
		:: else
		fi
	};
	skip
}

#ifdef HISTORY
#define COUNTED_IN_FLIGHT	notifiers
#else
#define LOCKED_SLOTS		(bit(SLOT_SHARED) - 2)
#define weight(u)		(((u) & 1) + ((u) >> 1 & 1) + ((u) >> 2 & 1) + ((u) >> 3 & 1))
#define COUNTED_IN_FLIGHT	((slot_key[0] != 0) + weight(used & LOCKED_SLOTS) + shared)
#endif

/* Where a range is in the filter. */
#define filter_level(r)	(r_start[r] != r_last[r])
#define chunk(p, l)	(((p) + 2) >> (l))
/* The first and the third chunk are in the same cell, in different parts of it. */
#define CELL_RANGE	2
#define CELL(c)		cell[(c) & 1]
#define cell_part(c)	((c) >> 1)
#define cell_says(c)	(CELL(c) >= 2 * CELL_RANGE || CELL(c) == CELL_RANGE + cell_part(c))

inline g_level(r)	{ x_level = filter_level(r) }

/* At the end of each critical section. */
inline check_invariants() {
	/* I1: what we count is what was delivered */
	x_nr = 0;
	for (x_key : 0 .. KEYS - 1) {
		x_nr = x_nr + g_in_flight[x_key]
	};
	holds(x_nr == COUNTED_IN_FLIGHT && (shared != 0) == is_used(SLOT_SHARED));

	/* the filter has all ranges: it never says that there is none where one is */
	for (x_range : 0 .. RANGES - 1) {
		if
		:: in_tree(x_range) ->
			g_level(x_range);
			holds((levels & bit(x_level)) &&
			      cell_says(chunk(r_start[x_range], x_level)) &&
			      cell_says(chunk(r_last[x_range], x_level)))
		:: else
		fi
	};

	/* I2, I5: what is clean has nothing in flight, and the mm lives */
	for (x_range : 0 .. RANGES - 1) {
		if
		:: r_hmm[x_range] && !(r_state[x_range] & DIRTY) ->
			g_find_hit(x_range);
			holds(!x_hit);
			holds(!dead && in_tree(x_range))
		:: else
		fi
	};
	skip
}

/* ------------------------------------------------------------------------- slots */

inline slot_wake(s) {
	for (x_waiter : 0 .. WAITERS - 1) {
		if
		:: sleeps_on[x_waiter] == (s) + 1 -> sleeps_on[x_waiter] = 0
		:: else
		fi
	};
	skip
}

/* RANGES: of any range */
inline hmm_mirror_waiters_wake(r) {
	for (x_waiter : 0 .. WAITERS - 1) {
		if
		:: r == RANGES || waiter_range[x_waiter] == (r) + 1 -> sleeps_on[x_waiter] = 0
		:: else
		fi
	};
	skip
}

/* I6: who is woken by an end waits for that one. */
inline g_check_herd(s) {
	for (x_waiter : 0 .. WAITERS - 1) {
		if
		:: sleeps_on[x_waiter] == (s) + 1 && waiter_range[x_waiter] ->
			holds(hits_range(slot_start[s], slot_last[s],
					 waiter_range[x_waiter] - 1))
		:: else
		fi
	};
	skip
}

/* What a free slot holds says nothing; that it is always the same keeps states few. */
inline g_forget(s) {
	slot_key[s] = 0;
	if
	:: (s) != SLOT_SHARED -> slot_start[s] = 0; slot_last[s] = 0
	:: else
	fi;
	slot_endless[s] = false
}

/* ------------------------------------------------------------------------ filter */

#ifdef BUG_PART_STAYS
#define cell_count(c, delta)	\
	CELL(c) = (CELL(c) + (delta) * CELL_RANGE) ^ ((delta) > 0 -> cell_part(c) : 0)
#else
#define cell_count(c, delta)	\
	CELL(c) = (CELL(c) + (delta) * CELL_RANGE) ^ cell_part(c)
#endif

inline hmm_mirror_filter_count(r, delta) {
	cell_count(chunk(r_start[r], x_level), delta);
	if
	:: chunk(r_start[r], x_level) != chunk(r_last[r], x_level) ->
		cell_count(chunk(r_last[r], x_level), delta)
	:: else
	fi;
	skip
}

inline filter_add(r) {
	g_level(r);
	level_ranges[x_level]++;
#ifndef BUG_NO_LEVEL
	levels = levels | bit(x_level);
#endif
#ifndef BUG_NOT_IN_FILTER
	hmm_mirror_filter_count(r, 1)
#endif
}

inline filter_remove(r) {
	g_level(r);
	level_ranges[x_level]--;
	if
	:: !level_ranges[x_level] -> levels = levels & ~bit(x_level)
	:: else
	fi;
#ifdef BUG_REMOVED_TWICE
	hmm_mirror_filter_count(r, (CELL(chunk(r_start[r], x_level)) >= 2 * CELL_RANGE -> 0 - 2 : 0 - 1))
#else
	hmm_mirror_filter_count(r, -1)
#endif
}

/* Without the lock. may: the answer. Chunks of one page first. */
inline filter_may_hit(k) {
	look = rebounds;				/* smp_load_acquire() */
	may = levels;
	if
	:: may == 0
	:: else ->
		if
		:: (may & bit(0)) ->
			if
			:: key_start[k] != key_last[k] || cell_says(chunk(key_start[k], 0)) -> may = 4
			:: else -> may = may & bit(1)
			fi
		:: else
		fi;
		if
		:: may == bit(1) ->
			if
			:: chunk(key_start[k], 1) != chunk(key_last[k], 1) ||
			   cell_says(chunk(key_start[k], 1)) -> may = 4
			:: else -> may = 0
			fi
		:: else
		fi;
#ifndef BUG_REBOUND_UNSEEN
		d_step {
			if
			:: !may && rebounds != look -> may = 4
			:: else
			fi
		}
#endif
	fi;
	look = 0
}

#ifdef HISTORY
#include "history.pml"
#else

/* SLOT_SHARED: not found */
inline locked_find(k) {
	x_slot = 1;
	do
	:: x_slot < SLOT_SHARED && !(is_used(x_slot) && slot_key[x_slot] == key_pointer[k]) -> x_slot++
	:: else -> break
	od;
	skip
}

#define slot_intersects(s, r)	((is_used(s) || slot_live[s]) && \
				 hits_range(slot_start[s], slot_last[s], r))

/* SLOTS: there is none */
#define slots_are_free(r)	hmm_mirror_slot_intersecting(r)

inline hmm_mirror_slot_intersecting(r) {
	x_slot = 0;
	do
	:: x_slot < SLOTS && !slot_intersects(x_slot, r) -> x_slot++
	:: else -> break
	od;
	/* I2: exact, as long as each has a slot of its own; never valid wrongly */
	g_find_hit(r);
	holds((x_slot != SLOTS) == x_hit || (!x_hit && (shared || x_near)))
}

/* I1: who has the same pointer was over long ago. */
inline g_forget_lost(k) {
	for (x_key : 0 .. KEYS - 1) {
		if
		:: g_in_flight[x_key] && key_pointer[x_key] == key_pointer[k] ->
			assert(g_over[x_key]);
			g_in_flight[x_key] = false;
			g_published[x_key] = false;
			g_raised[x_key] = false
		:: else
		fi
	};
	skip
}

inline hmm_mirror_slot_take(k) {
	if
	:: slot_key[0] == key_pointer[k] + 1 ->		/* slot_unpublish() */
		slot_live[0] = false;
		g_forget_lost(k);
		slot_wake(0);
		g_forget(0)
	:: else
	fi;
	locked_find(k);
	if
	:: x_slot != SLOT_SHARED -> slot_wake(x_slot); g_forget_lost(k)
	:: else ->
		x_slot = 1;
		do
		:: x_slot <= room && is_used(x_slot) -> x_slot++
		:: else -> break
		od;
		x_slot = (x_slot > room -> SLOT_SHARED : x_slot);
		used = used | bit(x_slot);
		if
		:: x_slot == SLOT_SHARED -> shared++; shared_endless = shared_endless + key_endless[k]
		:: else -> slot_key[x_slot] = key_pointer[k]
		fi
	fi;
	if
#ifdef BUG_SHARED_BOUNDS
	:: x_slot == SLOT_SHARED && shared > 1
#else
	:: x_slot == SLOT_SHARED
#endif
	:: else ->
		slot_start[x_slot] = key_start[k];
		slot_last[x_slot] = key_last[k];
		slot_endless[x_slot] = key_endless[k]
	fi;
	skip
}

/* With hmm_mirror_slot_find(). */
inline hmm_mirror_slot_free(k) {
	locked_find(k);
	if
	:: x_slot == SLOT_SHARED && !shared		/* started before we subscribed */
	:: x_slot == SLOT_SHARED && shared ->
		shared--;
		if
		:: key_endless[k] && shared_endless -> shared_endless--
		:: else
		fi
	:: else
	fi;
	if
	:: x_slot == SLOT_SHARED && !is_used(x_slot)
	:: x_slot == SLOT_SHARED && shared ->
		if
		:: shared == shared_endless -> slot_wake(x_slot)
		:: else
		fi
	:: else ->
		used = used & ~bit(x_slot);
		g_check_herd(x_slot);
#ifndef BUG_NO_WAKE
		slot_wake(x_slot);
#endif
		g_forget(x_slot)
	fi;
	skip
}

/* slots_make() makes one more. Those who wait for it have not started yet. */
inline slots_make() {
	spin_lock(hmm);
	d_step {
		room++;
		check_invariants()
	}
	spin_unlock(hmm)
}

#endif /* HISTORY */

/*
 * A protection change is over when the mmap lock can be had. A worker does this in the code,
 * for a waiter that sleeps meanwhile; here the waiter does it itself.
 */
inline slots_free_endless() {
	atomic { !mmap_lock -> mmap_lock = true };
	spin_lock(hmm);
	d_step {
		for (x_slot : 0 .. SLOT_SHARED - 1) {
			if
			:: is_used(x_slot) && slot_endless[x_slot] ->
				used = used & ~bit(x_slot);
				assert(g_over[slot_key[x_slot]]);
				g_in_flight[slot_key[x_slot]] = false;
				g_published[slot_key[x_slot]] = false;
				g_raised[slot_key[x_slot]] = false;
				slot_wake(x_slot);
				g_forget(x_slot)
			:: else
			fi
		};
#ifndef BUG_SHARED_FOR_EVER
		/* what is left of that kind shares a slot */
		for (x_key : 0 .. KEYS - 1) {
			if
			:: shared_endless && key_endless[x_key] && g_in_flight[x_key] ->
				assert(g_over[x_key]);
				g_in_flight[x_key] = false;
				g_published[x_key] = false;
				g_raised[x_key] = false
			:: else
			fi
		};
		shared = shared - shared_endless;
		shared_endless = 0;
		if
		:: is_used(SLOT_SHARED) && !shared ->
			used = used & ~bit(SLOT_SHARED);
			slot_wake(SLOT_SHARED)
		:: else
		fi;
#endif
		check_invariants()
	}
	spin_unlock(hmm);
	mmap_lock = false
}

/* ---------------------------------------------------------------------- tracking */

inline hmm_mirror_slots_init() {
	slot_last[SLOT_SHARED] = PAGES - 1
}

inline hmm_mirror_range_raise(r, seq) {
#ifdef BUG_BOOLEAN
	r_state[r] = r_state[r] | DIRTY;
#else
	holds((seq) > r_state[r]);		/* I3: it never goes back */
	r_state[r] = (seq) | DIRTY;
#endif
	g_began[r]++
}

/*
 * The lock is held for all ranges, or, with PIECES, for one at a time: between two of them
 * other threads have it.
 */
#ifdef PIECES
#define hold_all()	skip
#define drop_all()	skip
#define hold_one()	spin_lock(hmm)
#define drop_one()	spin_unlock(hmm)
#else
#define hold_all()	spin_lock(hmm)
#define drop_all()	spin_unlock(hmm)
#define hold_one()	skip
#define drop_one()	skip
#endif

inline tree_raise(k) {
	do
	:: i < RANGES ->
		hold_one();
		d_step {
			if
			:: in_tree(i) && hits(k, i) ->
				hit = true;
				hmm_seq = hmm_seq + SEQ_STEP;
#ifdef BUG_KEEP_SEQ
				r_state[i] = r_state[i] | DIRTY
#else
				hmm_mirror_range_raise(i, hmm_seq)
#endif
			:: else
			fi;
			i++
		}
		drop_one()
	:: else -> break
	od;
	hold_one();
	d_step { i = 0; g_raised[k] = true; check_invariants() }
	SAY_START(k);
	drop_one()
}

inline hmm_mirror_raise(k) {
	hold_all();
	tree_raise(k);
	drop_all()
}

inline hmm_mirror_start_locked(k) {
	spin_lock(hmm);
	d_step { hmm_mirror_slot_take(k); g_in_flight[k] = true; g_published[k] = true }
	spin_unlock(hmm)
}

inline slot_publish(k) {
	d_step {
		slot_start[0] = key_start[k];
		slot_last[0] = key_last[k];
		slot_live[0] = true;
		g_published[k] = true
	}
}

#ifdef HISTORY
inline invalidate_start(k) {
	spin_lock(hmm);
	d_step { hmm_mirror_slot_take(k); g_in_flight[k] = true; g_published[k] = true }
	tree_raise(k);
	spin_unlock(hmm)
}

inline invalidate_end(k) { hmm_mirror_end_locked(k) }
#else
inline invalidate_start(k) {
	d_step {					/* try_cmpxchg() */
		if
		:: !key_endless[k] && !slot_key[0] ->
			slot_key[0] = key_pointer[k] + 1;
			g_in_flight[k] = true;
			owns = true
		:: else -> owns = false
		fi
	}
	if
	:: owns ->
		owns = false;
#ifdef BUG_FILTER_FIRST
		filter_may_hit(k);
		slot_publish(k);
#else
		slot_publish(k);
		filter_may_hit(k);			/* smp_mb() */
#endif
		if
		:: may -> may = 0; hmm_mirror_raise(k)
		:: else -> d_step { g_raised[k] = true; SAY_START(k) }
		fi
	:: else -> hmm_mirror_start_locked(k); hmm_mirror_raise(k)
	fi
}

inline slot_unpublish(k) {
#ifdef BUG_KEY_FIRST
	slot_key[0] = 0;
	d_step { slot_live[0] = false; g_in_flight[k] = false; g_published[k] = false; g_raised[k] = false };
#else
	d_step { slot_live[0] = false; g_published[k] = false; g_raised[k] = false };
	d_step { g_forget(0); g_in_flight[k] = false };	/* xchg() */
#endif
#ifndef BUG_HASHED_WAKES_NOBODY
	d_step { slot_wake(0) };
#endif
	SAY_END(k)
}

inline invalidate_end(k) {
	if
	:: slot_key[0] == key_pointer[k] + 1 -> slot_unpublish(k)
	:: else -> hmm_mirror_end_locked(k)
	fi
}
#endif

inline hmm_mirror_end_locked(k) {
	spin_lock(hmm);
	d_step {
		hmm_mirror_slot_free(k);
		g_in_flight[k] = false;
		g_published[k] = false;
		g_raised[k] = false;
		check_invariants()
	}
	SAY_END(k);
	spin_unlock(hmm)
}

inline hmm_mirror_ranges_die() {
	spin_lock(hmm);
	d_step {
		dead = true;
#ifndef BUG_RELEASE_WAKES_NOBODY
		hmm_mirror_waiters_wake(RANGES);
#endif
		skip
	}
#ifdef PIECES
	spin_unlock(hmm);
#endif
	do
	:: i < RANGES ->
		hold_one();
		d_step {
			if
#ifndef BUG_RELEASE_RAISES_NOTHING
			:: in_tree(i) ->
				hmm_seq = hmm_seq + SEQ_STEP;
				hmm_mirror_range_raise(i, hmm_seq)
#endif
			:: else
			fi;
			i++
		}
		drop_one()
	:: else -> break
	od;
	hold_one();
	d_step {
		i = 0;
		check_invariants()
	}
	drop_one()
#ifndef PIECES
	spin_unlock(hmm)
#endif
}

inline range_detach(r) {
	filter_remove(r);
	r_mirror[r] = NONE
}

/* without hmm->lock held */
inline hmm_mirror_ranges_orphan(m) {
	hold_all();
	do
	:: i < RANGES ->
		hold_one();
		d_step {
			if
			:: r_mirror[i] == m ->			/* range_orphan() */
				hmm_seq = hmm_seq + SEQ_STEP;
				hmm_mirror_range_raise(i, hmm_seq);
				range_detach(i);
				users++
			:: else
			fi;
			i++
		}
		drop_one()
	:: else -> break
	od;
	hold_one();
	d_step { i = 0; hmm_mirror_waiters_wake(RANGES) }
	drop_one();
	drop_all()
}

/* hmm_mirror_ranges_hit(), an expression */
#define hit_of(m, k, r)	((r) < RANGES && r_mirror[(r) % RANGES] == (m) && hits(k, (r) % RANGES))
#define hmm_mirror_ranges_hit(m, k)	(hit_of(m, k, 0) || hit_of(m, k, 1))

/* ------------------------------------------------------------------------ ranges */

/*
 * As range_insert(), in two parts, between which invalidations start and end: range_born()
 * looks who is in flight. A word that others read already changes in the second.
 */
inline range_insert(r) {
	hmm_seq = hmm_seq + SEQ_STEP;
	filter_add(r)
}

inline range_born(r) {
#ifdef HISTORY
	x_slot = (notifiers -> 0 : SLOTS);
#elif defined(BUG_BORN_CLEAN)
	x_slot = SLOTS;
#else
	slots_are_free(r);
#endif
	hmm_mirror_range_raise(r, hmm_seq);
	if
	:: x_slot == SLOTS -> r_state[r] = hmm_seq	/* range_clean() */
	:: else
	fi;
	skip
}

inline range_attach(r, m) {
	r_mirror[r] = m;
	r_hmm[r] = true;
	r_state[r] = DIRTY;
	range_insert(r)
}

inline hmm_mirror_range_register(r, m, ret) {
	spin_lock(hmm);
	if
	:: dead -> ret = ESRCH
	:: else ->
		ret = OK;
#ifdef BUG_SLOTS_FIRST
		d_step { hmm_seq = hmm_seq + SEQ_STEP; r_hmm[r] = true; range_born(r) };
		d_step { r_mirror[r] = m; filter_add(r) }
#else
		d_step { range_attach(r, m) };
		d_step { range_born(r) }
#endif
	fi;
	d_step { check_invariants() }
	spin_unlock(hmm)
}

/* With hmm_mirror_mm_free(), where it was the last. */
inline hmm_mirror_mm_put() {
	users--;
	if
	:: users == 0 -> g_freed = true
	:: else
	fi;
	skip
}

inline hmm_mirror_range_unregister(r) {
	spin_lock(hmm);
	d_step {
		x_hit = false;
		for (x_waiter : 0 .. WAITERS - 1) {
			if
			:: waiter_range[x_waiter] == (r) + 1 ->
				waiter_range[x_waiter] = 0;
				x_hit = true
			:: else
			fi
		};
		if
		:: x_hit -> hmm_mirror_waiters_wake(RANGES)
		:: else
		fi;
		r_state[r] = DIRTY;				/* hmm_mirror_range_raise(range, 0) */
		g_began[r]++;
		r_hmm[r] = false;
		if
		:: in_tree(r) -> range_detach(r)
		:: else -> hmm_mirror_mm_put()
		fi;
		check_invariants()
	}
	spin_unlock(hmm)
}

/* The bounds of before, to take them out of the filter. */
inline g_remove(r, start, last) {
	x_nr = r_start[r];
	x_key = r_last[r];
	r_start[r] = start;
	r_last[r] = last;
	filter_remove(r);
	r_start[r] = x_nr;
	r_last[r] = x_key
}

inline range_rebound(r, start, last) {
	d_step {
		old_start = r_start[r];
		old_last = r_last[r];
		r_start[r] = start;
		r_last[r] = last;
		range_insert(r)
	};
	d_step { range_born(r); rebounds++ };
	d_step {
		g_remove(r, old_start, old_last);
#ifndef BUG_REBOUND_WAKES_NOBODY
		hmm_mirror_waiters_wake(r);
#endif
		old_start = 0;
		old_last = 0
	}
}

inline hmm_mirror_range_resize(r, start, last, ret) {
	spin_lock(hmm);
	if
	:: dead || !in_tree(r) -> ret = ESRCH
	:: else -> ret = OK; range_rebound(r, start, last)
	fi;
	d_step { check_invariants() }
	spin_unlock(hmm)
}

inline hmm_mirror_range_split(r, at, tail, ret) {
	spin_lock(hmm);
	if
	:: dead || !in_tree(r) -> ret = ESRCH
	:: else ->
		ret = OK;
		d_step {
			r_start[tail] = at;
			r_last[tail] = r_last[r];
			range_attach(tail, r_mirror[r])
		};
		d_step { range_born(tail) };
		range_rebound(r, r_start[r], at - 1)
	fi;
	d_step { check_invariants() }
	spin_unlock(hmm)
}

/* RANGES: there is none. The order is that of the index. */
inline hmm_mirror_range_first(m, k, r) {
	spin_lock(hmm);
	d_step {
		r = 0;
		do
		:: r < RANGES && !(r_mirror[r] == m && hits(k, r)) -> r++
		:: else -> break
		od
	}
	spin_unlock(hmm)
}

inline hmm_mirror_range_next(m, k, r) {
	spin_lock(hmm);
	d_step {
		if
#ifndef BUG_NEXT_OF_DETACHED
		:: !in_tree(r) -> r = RANGES
#endif
		:: else ->
			assert(in_tree(r));	/* else its links lead anywhere */
			r++;
			do
			:: r < RANGES && !(r_mirror[r] == m && hits(k, r)) -> r++
			:: else -> break
			od
		fi
	}
	spin_unlock(hmm)
}

/* ------------------------------------------------------------------------- waits */

/* schedule_timeout(), in TASK_KILLABLE */
inline schedule(w) {
	if
	:: sleeps_on[w] == 0
#ifdef TIMEOUTS
	:: timed_out = true
#endif
	fi
}

/*
 * A round of the loop in range_wait(), from where it has the lock to where it drops it.
 * On success seq and g, the number that belongs to it, are set.
 */
inline range_wait_round(w, r, seq, ret) {
	if
	:: ret == ENTERS -> users++; waiter_range[w] = r + 1
	:: else -> sleeps_on[w] = 0				/* finish_wait() */
	fi;
	if
	:: !waiter_range[w] || !in_tree(r) || dead -> ret = ESRCH
	:: else ->
		hmm_mirror_slot_intersecting(r);
		if
		:: x_slot == SLOTS ->
			seq = r_state[r] & ~DIRTY;
			r_state[r] = seq;			/* smp_store_release() */
			g = g_began[r];
			ret = OK;
			SAY_BEGUN(w, seq)
		:: x_slot != SLOTS && timed_out -> ret = ETIME
		:: else ->
			if
#ifdef BUG_SHARED_FOR_EVER
			:: slot_endless[x_slot] -> ret = ENDLESS
#else
			:: slot_endless[x_slot] || (x_slot == SLOT_SHARED && shared_endless) ->
				ret = ENDLESS
#endif
			:: else ->
				ret = ASLEEP;
				printf("faulter %d\tbegin(): not valid, sleeps\n", w);
				slept = x_slot + 1
			fi
		fi
	fi;
	if
	:: ret < ENTERS ->
		waiter_range[w] = 0;
		timed_out = false;
		check_invariants();
		hmm_mirror_mm_put()
	:: else
	fi;
	skip
}

inline range_wait(w, r, seq, ret) {
	ret = ENTERS;
	do
	:: ret >= ENTERS ->
		spin_lock(hmm);
		d_step { range_wait_round(w, r, seq, ret) };
#ifndef BUG_SLEEPS_UNLOCKED
		d_step {					/* prepare_to_wait() */
			if
			:: ret == ASLEEP -> sleeps_on[w] = slept
			:: else
			fi
		};
#endif
#ifndef HISTORY
		/* it may have ended before it saw who queued up */
		d_step {
			if
#ifndef BUG_SLOT_CHECKED_ONCE
			:: ret == ASLEEP && !slot_intersects(slept - 1, r) -> ret = AGAIN
#endif
			:: else
			fi
		};
#endif
		spin_unlock(hmm);
		if
		:: ret == ASLEEP ->
#ifdef BUG_SLEEPS_UNLOCKED
			sleeps_on[w] = slept;
#endif
			slept = 0;
			schedule(w)
		:: ret == ENDLESS -> slots_free_endless()
		:: else
		fi
	:: else -> break
	od
}

inline range_begin(w, r, seq, ret) {
	d_step {						/* range_try() */
		x_state = r_state[r];				/* smp_load_acquire() */
		if
		:: x_state & DIRTY -> ret = EAGAIN
		:: else ->
			ret = OK;
			seq = x_state;
			g = g_began[r];
			SAY_BEGUN(w, seq)
		fi
	}
	if
	:: ret != OK -> range_wait(w, r, seq, ret)
	:: else
	fi
}

/* under the driver's lock */
inline hmm_mirror_range_retry(r, seq, ret) {
	d_step {
		ret = (r_state[r] != seq);			/* READ_ONCE() */
		/* I3: if and only if something began meanwhile */
		holds(ret == (g != g_began[r]));
		SAY_RETRY(w, ret)
	}
}

#ifdef HISTORY
inline hmm_mirror_range_wait_until_valid(w, r, seq, ret) {
	range_begin(w, r, r_snapshot[r], ret)
}

inline hmm_mirror_range_valid(r, ret) {
	hmm_mirror_range_retry(r, r_snapshot[r], ret)
}
#else
inline range_waited(r, seq) {
	spin_lock(hmm);
	d_step {
		if
		:: r_state[r] == seq -> r_state[r] = seq | WAITED
		:: else
		fi
	}
	spin_unlock(hmm)
}

inline hmm_mirror_range_wait_until_valid(w, r, seq, ret) {
	range_begin(w, r, seq, ret);
	if
	:: ret == OK && !(seq & WAITED) -> range_waited(r, seq)
	:: else
	fi
}

inline hmm_mirror_range_valid(r, ret) {
	d_step {
		ret = ((r_state[r] & (DIRTY | WAITED)) != WAITED);	/* READ_ONCE() */
		holds(ret == (g != g_began[r]));
		SAY_RETRY(r, ret)
	}
}
#endif

/* -------------------------------------------------------------------- population */

#define fault_is_valid(r, p)	(r_start[r] <= (p) && (p) <= r_last[r])

inline range_read(w, r, p, pfn, ret) {
	if
	:: !fault_is_valid(r, p) -> ret = EINVAL
	:: else
	fi;
#ifdef EXITS
	atomic {						/* mmget_not_zero() */
		if
		:: ret == OK && mm_users -> mm_users++
		:: ret == OK && !mm_users -> ret = ESRCH
		:: else
		fi
	};
	if
	:: ret == OK -> pfn = cpu[p]; mm_users--		/* mmput_async() */
	:: else
	fi
#else
	if
	:: ret == OK -> d_step {
			pfn = cpu[p];
			printf("faulter %d\treads the CPU page table: page %d\n", w, pfn)
		}
	:: else
	fi
#endif
}

/* ------------------------------------------------- what the driver does with it */

inline lock_driver(m)	{ atomic { !driver_lock[m] -> driver_lock[m] = true } }
inline unlock_driver(m)	{ driver_lock[m] = false }

/* Stale: the mm has changed the page, or has been told that it may. */
inline install(w, r, m, p, pfn, ret) {
	d_step {
		if
		:: !ret ->
			printf("faulter %d\tinstalls page %d, unlock(driver)\n", w, pfn);
			PTE(m, p) = pfn;
			if
			:: device_on[m] -> holds(!g_armed[p]); assert(pfn == cpu[p])
			:: else
			fi
		:: else -> printf("faulter %d\tunlock(driver)\n", w)
		fi;
		driver_lock[m] = false
	}
}

/* hmm_mirror_commit_fn, of a driver as it should be */
inline commit(w, r, m, p, pfn, seq, ret) {
	atomic {
		lock_driver(m);
		printf("faulter %d\tlock(driver)\n", w)
	};
	hmm_mirror_range_retry(r, seq, ret);
	install(w, r, m, p, pfn, ret)
}

/* ------------------------------------------------------- subscription "start" */

inline g_check_callback(m, k) {
	assert(!g_unregistered[m] && !g_unloaded);		/* I8 */
	/* I4: what it hits is dirty already */
	for (x_range : 0 .. RANGES - 1) {
		if
		:: r_mirror[x_range] == m && hits(k, x_range) -> holds(r_state[x_range] & DIRTY)
		:: else
		fi
	};
	skip
}

inline remove_device_ptes(m, k) {
	for (x_page : key_start[k] .. key_last[k]) {
#ifdef PASSES
		TLB(m, x_page) = TLB(m, x_page) || PTE(m, x_page);
#endif
		PTE(m, x_page) = 0
	};
	skip
}

/* I7: only trylock where it must not sleep */
inline sync_cpu_device_pagetables(m, k, ret) {
	if
	:: key_nonblock[k] -> atomic {
			if
			:: driver_lock[m] ->
				ret = EAGAIN;
				printf("invalidation %d\tcallback: trylock(driver) fails, -EAGAIN\n", k)
			:: else -> driver_lock[m] = true
			fi
		}
	:: else -> lock_driver(m)
	fi;
	if
	:: ret == OK ->
#ifdef WALK
		hmm_mirror_range_first(m, k, found);
		do
		:: found < RANGES -> hmm_mirror_range_next(m, k, found)
		:: else -> break
		od;
		found = 0;
#endif
		d_step {
			g_check_callback(m, k);
			remove_device_ptes(m, k);
			printf("invalidation %d\tcallback: lock(driver), remove device PTEs, unlock(driver)\n", k);
			driver_lock[m] = false
		}
	:: else
	fi
}

/* the second pass: from here on the device does not use what was removed */
inline sync_finish(m, k) {
	d_step {
		g_open--;
		assert(!g_unregistered[m] && !g_unloaded);
		for (x_page : key_start[k] .. key_last[k]) {
			TLB(m, x_page) = 0
		}
	}
}

#ifdef TRACKED_ONLY
#define mirror_is_hit(m, k)	(hit && hmm_mirror_ranges_hit(m, k))
#else
#define mirror_is_hit(m, k)	true
#endif

inline hmm_mirror_call(k, ret) {
	do
	:: i < MIRRORS && ret == OK ->
		if
		:: mirror_listed[i] && mirror_is_hit(i, k) ->
			sync_cpu_device_pagetables(i, k, ret);
#ifdef PASSES
			if
			:: ret == OK ->
				g_open++;
				if
				:: !pass -> pass = i + 1
				:: else -> sync_finish(i, k)	/* no room */
				fi
			:: else
			fi
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
#ifdef PASSES
	;
	if
#ifdef BUG_FAILURE_SKIPS_FINISH
	:: pass && ret == OK -> sync_finish(pass - 1, k)
#else
	:: pass -> sync_finish(pass - 1, k)
#endif
	:: else
	fi;
	assert(!g_open);			/* each start that succeeded has its finish */
	pass = 0
#endif
	;
	hit = false
}

inline call_releases() {
	do
	:: i < MIRRORS ->
		if
		:: mirror_listed[i] ->
			lock_driver(i);
			d_step {				/* ops->release */
				assert(!g_unregistered[i] && !g_unloaded);
				assert(dead);
				g_released[i]++;
				assert(g_released[i] == 1);
				for (x_page : 0 .. PAGES - 1) {
					PTE(i, x_page) = 0
				};
				driver_lock[i] = false
			}
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od
}

inline subscription_freed() {
	spin_lock(hmm);
	d_step { hmm_mirror_mm_put() }
	spin_unlock(hmm);
	d_step { assert(!g_unloaded); nr_subscriptions-- }	/* wake_up_var() */
}

inline start_release() {
	hmm_mirror_ranges_die();
	call_releases()
}

inline start_free() {
	free_function_runs = true;
	linked_end = false;			/* mmu_notifier_put(&hmm->end) */
	subscription_freed();
	d_step { assert(!g_unloaded); free_function_runs = false }
}

/* --------------------------------------------------------- subscription "end" */

inline end_free() {
	free_function_runs = true;
	subscription_freed();
	d_step { assert(!g_unloaded); free_function_runs = false }
}

/* --------------------------------------------- the mmu notifiers of the kernel */

/* I am inside of a walk over the subscribers; no memory of theirs is freed. */
inline srcu_read_lock()		{ srcu_readers = srcu_readers | bit(_pid) }

inline srcu_read_unlock() {
	d_step {
		srcu_readers = srcu_readers & ~bit(_pid);
		grace_period[0] = grace_period[0] & ~bit(_pid);
		grace_period[1] = grace_period[1] & ~bit(_pid);
		grace_period[2] = grace_period[2] & ~bit(_pid)
	}
}

/* waits for those who are inside at this moment */
inline synchronize_srcu(gp) {
	grace_period[gp] = srcu_readers;
	grace_period[gp] == 0
}

#define each_page(k, what)	\
	x_page = key_start[k];	\
	do			\
	:: x_page <= key_last[k] -> what; x_page++ \
	:: else -> break	\
	od

/* What it is all about: no device uses a page of it any more. */
inline g_check_gone(k) {
	x_gone = true;
	for (x_page : key_start[k] .. key_last[k]) {
		for (x_nr : 0 .. MIRRORS - 1) {
			x_gone = x_gone && (!device_on[x_nr] ||
					    (!PTE(x_nr, x_page) && !TLB(x_nr, x_page)))
		}
	};
	skip
}

#ifdef SUBSCRIBES
#define MM_BEGINS	mm_in_flight++
#define MM_ENDS		mm_in_flight--
#else
#define MM_BEGINS	skip
#define MM_ENDS		skip
#endif

/*
 * mn_hlist_invalidate_range_start(). A walk can still find a subscriber who is unlinked
 * in the meantime. A subscriber of somebody else may fail, too.
 */
inline invalidate_range_start(k, ret) {
	atomic {
		MM_BEGINS;
		srcu_read_lock();
		sees = linked_start
	};
	ret = OK;
	if
	:: sees ->
#ifdef BUG_CALLBACK_FIRST
		hmm_mirror_call(k, ret);
		invalidate_start(k)
#else
		invalidate_start(k);
		hmm_mirror_call(k, ret)
#endif
	:: else
	fi;
	sees = 0;
#ifdef BUG_SELF_DECREMENT
	if
	:: ret != OK ->
		printf("invalidation %d\tcounts down again, as start has failed\n", k);
		invalidate_end(k)
	:: else
	fi;
#endif
	if
	:: key_nonblock[k] && ret == OK && OTHERS_FAIL -> ret = EAGAIN
	:: true
	fi;
	if
	:: ret == OK -> d_step {
			g_check_gone(k);
			holds(x_gone);
			each_page(k, g_armed[x_page]++)
		}
	:: else ->
#ifndef OLD_MM
		if
		:: linked_end -> invalidate_end(k)
		:: else
		fi;
#endif
		MM_ENDS
	fi;
	srcu_read_unlock()
}

/*
 * Nothing happens in it but for the end of "end", or it is lost. A walk can still find a
 * subscriber who is unlinked in the meantime.
 */
inline invalidate_range_end(k) {
	atomic {
		d_step { each_page(k, g_armed[x_page]--); g_over[k] = true };
		srcu_read_lock();
		sees = linked_end
	};
	if
	:: sees -> invalidate_end(k)
	:: else
	fi;
	sees = 0;
	atomic { srcu_read_unlock(); MM_ENDS }
}

inline change_cpu_page_table(k) {
	d_step {
		each_page(k, cpu[x_page]++);
		printf("invalidation %d\tCPU page table: page %d\n", k, cpu[key_start[k]]);
		g_check_gone(k);
		assert(x_gone)
	}
}

/* The last reference unlinks it, and frees it after a grace period. */
inline mmu_notifier_put_start() {
	start_users--;
	if
	:: start_users == 0 -> linked_start = false
	:: else
	fi;
	skip
}

/* ----------------------------------------------------------------------- mirrors */

/*
 * The driver has stopped the device before, as it must: nothing of what is installed
 * in the device page table matters after that.
 */
inline hmm_mirror_unregister(m) {
	hmm_mirror_ranges_orphan(m);
	spin_lock(hmm);
	mirror_listed[m] = false;
	spin_unlock(hmm);
#ifndef BUG_UNREGISTER_WAITS_FOR_NOBODY
	synchronize_srcu(0);					/* mmu_notifier_synchronize() */
#endif
	d_step { g_unregistered[m] = true; mmu_notifier_put_start() }
}

/*
 * start_alloc() and __mmu_notifier_register() for both subscriptions. They take all
 * locks under which the mm invalidates (mm_take_all_locks()), so nothing is in flight.
 */
inline subscribe() {
	atomic {
#ifndef BUG_SUBSCRIBES_IN_FLIGHT
		mm_in_flight == 0 ->
#endif
		linked_end = true
	};
	atomic {
#ifndef BUG_SUBSCRIBES_IN_FLIGHT
		mm_in_flight == 0 ->
#endif
		linked_start = true
	}
}

inline hmm_mirror_register(m) {
	if
	:: linked_start						/* mmu_notifier_get_locked() */
#ifdef SUBSCRIBES
	:: else -> subscribe()
#endif
	fi;
	start_users++;
	spin_lock(hmm);
	mirror_listed[m] = true;
	spin_unlock(hmm)
}

inline hmm_mirror_exit() {
	nr_subscriptions == 0;					/* wait_var_event() */
#ifndef BUG_EXIT_WAITS_FOR_NOBODY
	!free_function_runs;					/* synchronize_rcu() */
#endif
	g_unloaded = true
}

#include "scenes.pml"
