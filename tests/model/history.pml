/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What was in the place of the slots in 2019: a count of invalidations for the whole
 * mm. Ranges become valid, all at once, when it falls to zero. That a range is valid
 * is a clean word; with BUG_BOOLEAN that is all there is in the word.
 */
byte notifiers;

inline hmm_mirror_slot_intersecting(r) {
	x_slot = (r_state[r] & DIRTY -> 0 : SLOTS)
}

inline hmm_mirror_slot_take(k) {
	notifiers++
}

inline hmm_mirror_slot_free(k) {
	if
	:: notifiers == 0 -> printf("invalidation %d\tend: count -1\n", k)
	:: else
	fi;
	assert(notifiers > 0);
	notifiers--;
	if
	:: notifiers == 0 ->
		for (x_range : 0 .. RANGES - 1) {
			r_state[x_range] = r_state[x_range] & ~DIRTY
		};
		hmm_mirror_waiters_wake(RANGES)
	:: else
	fi;
	skip
}
