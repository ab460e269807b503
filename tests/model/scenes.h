/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much there is of everything in each scene. As little as makes the races of the
 * scene possible: every one more multiplies the states.
 */
#if defined(SCENE_OVERFLOW)
#define SLOTS	2		/* one, and the one that is shared */
#define RANGES	1
#elif defined(SCENE_GROW)
#define ROOM	0
#define SLOTS	3
#define RANGES	1
#elif defined(SCENE_STORM)
#ifdef GROWS
#define ROOM	0
#endif
#define KEYS	4
#define PAGES	3
#define SLOTS	5
#define RANGES	1
#define TRACKED_ONLY
#elif defined(SCENE_NESTED) || defined(SCENE_REFUSED)
#define NESTS
#define RANGES	1
#elif defined(SCENE_TWO_RANGES)
#define NESTS
#define TRACKED_ONLY
#elif defined(SCENE_CROWD)
#define TRACKED_ONLY
#elif defined(SCENE_MIRRORS)
#define ARRIVES
#define MIRRORS	2
#define PASSES
#elif defined(SCENE_SUBSCRIBE)
#define SUBSCRIBES
#define ARRIVES
#define KEYS	2
#define PAGES	1
#define RANGES	1
#elif defined(SCENE_EXIT)
#define EXITS
#define KEYS	2
#define PAGES	1
#define RANGES	1
#elif defined(SCENE_EXIT_UNREGISTER)
#define EXITS
#define LEAVES_MODULE
#define KEYS	1
#define PAGES	1
#define RANGES	1
#define WAITERS	1
#elif defined(SCENE_UNREGISTER)
#define LEAVES_MODULE
#define KEYS	2
#define PAGES	1
#define RANGES	2
#define WALK
#define WAITERS	1
#elif defined(SCENE_RESIZE) || defined(SCENE_SPLIT)
#define KEYS	2
#define TRACKED_ONLY
#elif defined(SCENE_ENDLESS)
#define KEYS	2
#define RANGES	1
#elif defined(SCENE_LOST)
#define RANGES	1
#else
#define PAGES	1		/* SCENE_ABA, SCENE_FORM_2019 */
#define RANGES	1
#define KEYS	2
#endif

#ifdef NO_ROOM
#undef SLOTS
#define SLOTS	2
#endif

/* Slots that need the lock, but for the shared one, before the worker makes more. */
#ifndef ROOM
#define ROOM	(SLOTS - 2)
#endif

#ifndef KEYS
#define KEYS	3
#endif
#ifndef PAGES
#define PAGES	2
#endif
#ifndef SLOTS
#define SLOTS	4
#endif
#ifndef RANGES
#define RANGES	2
#endif
#ifndef MIRRORS
#define MIRRORS	1
#endif
#ifndef WAITERS
#define WAITERS	2
#endif

/* May another subscriber refuse a non-blockable invalidation? */
#ifndef OTHERS_FAIL
#define OTHERS_FAIL	true
#endif

/* the designs of 2019 that counted invalidations */
#if defined(BUG_BOOLEAN) || defined(BUG_COUNT_ZERO) || defined(BUG_SELF_DECREMENT) || \
    defined(BUG_COUNT_LEAKS)
#define HISTORY
#endif
