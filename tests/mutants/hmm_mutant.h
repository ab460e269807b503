/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: mutants. What mutate.py writes into the sources of the core; number N is on
 * if the kernel's command line says hmm_mutant=N.
 */
#ifndef HMM_MUTANT_H
#define HMM_MUTANT_H

#include <linux/compiler.h>
#include <linux/types.h>

#define HMM_MUTANTS	NR_MUTANTS

extern int hmm_mutant_nr;
extern u8 hmm_mutant_reached[HMM_MUTANTS];

/* Is it on? It has been reached, at any rate. */
static __always_inline bool hmm_mutant(int nr)
{
	if (!hmm_mutant_reached[nr])
		hmm_mutant_reached[nr] = 1;
	return unlikely(hmm_mutant_nr == nr);
}

/* The condition is evaluated in each case. */
#define hmm_mutant_not(nr, condition)	(!!(condition) ^ hmm_mutant(nr))
#define hmm_mutant_or(nr, condition)	(!!(condition) | hmm_mutant(nr))
#define hmm_mutant_and(nr, condition)	(!!(condition) & !hmm_mutant(nr))

#define hmm_mutant_compare(nr, old, new, a, b)	\
	(hmm_mutant(nr) ? (a) new (b) : (a) old (b))
/* And the next one. */
#define hmm_mutant_bound(nr, old, new, x, y, a, b)	\
	(hmm_mutant(nr) ? (a) new (b) :			\
	 hmm_mutant((nr) + 1) ? (a) + (x) old (b) + (y) : (a) old (b))
#define hmm_mutant_one(nr)		(hmm_mutant(nr) ? 0 : 1)
#define hmm_mutant_step(nr, op, x)	(hmm_mutant(nr) ? (x) : op(x))

#define hmm_mutant_smp_load_acquire(nr, p)	\
	(hmm_mutant(nr) ? READ_ONCE(*(p)) : smp_load_acquire(p))
#define hmm_mutant_smp_store_release(nr, p, value)	\
do {							\
	if (hmm_mutant(nr))				\
		WRITE_ONCE(*(p), value);		\
	else						\
		smp_store_release(p, value);		\
} while (0)
#define hmm_mutant_xchg(nr, p, new)		\
	(hmm_mutant(nr) ? xchg_relaxed(p, new) : xchg(p, new))
#define hmm_mutant_cmpxchg(nr, p, old, new)	\
	(hmm_mutant(nr) ? cmpxchg_relaxed(p, old, new) : cmpxchg(p, old, new))
#define hmm_mutant_try_cmpxchg(nr, p, old, new)	\
	(hmm_mutant(nr) ? try_cmpxchg_relaxed(p, old, new) : try_cmpxchg(p, old, new))
#define hmm_mutant_atomic_long_dec_and_test(nr, v)	\
	(hmm_mutant(nr) ? !atomic_long_sub_return_relaxed(1, v) : atomic_long_dec_and_test(v))
#define hmm_mutant_list_add_tail_rcu(nr, new, head)	\
	(hmm_mutant(nr) ? list_add_tail(new, head) : list_add_tail_rcu(new, head))

#endif /* HMM_MUTANT_H */
