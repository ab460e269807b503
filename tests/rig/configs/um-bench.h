/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What User Mode Linux leaves to the generic headers, as x86-64 has it. Included before
 * everything else.
 *
 * Without preemption a thread stays on its CPU, and a signal comes before or after one
 * instruction.
 */
#ifndef HMM_MIRROR_UM_BENCH_H
#define HMM_MIRROR_UM_BENCH_H

#define __smp_mb()	asm volatile("lock; addl $0, -4(%%rsp)" ::: "memory", "cc")
#define __smp_rmb()	barrier()
#define __smp_wmb()	barrier()

#define __smp_store_release(p, v)					\
do {									\
	barrier();							\
	WRITE_ONCE(*(p), v);						\
} while (0)

#define __smp_load_acquire(p)						\
({									\
	typeof(*(p)) value__ = READ_ONCE(*(p));				\
									\
	barrier();							\
	value__;							\
})

/* Atomic operations that return something are barriers, those that do not are none. */
#define __smp_mb__before_atomic()	barrier()
#define __smp_mb__after_atomic()	barrier()

#define this_cpu_add_4(pcp, val)					\
	asm volatile("addl %1, %0" : "+m" (*raw_cpu_ptr(&(pcp))) : "ri" ((int)(val)))
#define this_cpu_add_8(pcp, val)					\
	asm volatile("addq %1, %0" : "+m" (*raw_cpu_ptr(&(pcp))) : "re" ((long)(val)))

#endif
