/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hmm_gpu: interface of the GPUs to programs.
 *
 * Commands to a file of /dev/hmm_gpu act on the memory of the process that opened it, also
 * if a child that inherited the file calls them. Commands to /dev/hmm_gpu_edu do the same,
 * but hardware moves the data: the edu device of QEMU.
 */
#ifndef HMM_GPU_H
#define HMM_GPU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The GPU works on 64-bit words: addresses and lengths are multiples of 8. A word is
 * never torn. Words are processed in ascending order.
 *
 * MIGRATE_TO_VRAM moves whole pages of private anonymous memory. It skips pages that cannot
 * be moved now, or for which there is no room, and runs concurrently with other commands. A
 * page that the CPU or another GPU accesses moves back. Pages in the memory of another GPU
 * stay there.
 */
enum hmm_gpu_op {
	HMM_GPU_FILL,		/* each word = value */
	HMM_GPU_COPY,		/* from src, which must not overlap */
	HMM_GPU_COMPARE,	/* with src; result = bytes up to the first difference */
	HMM_GPU_ATOMIC_ADD,	/* each word += value; also atomic for the CPU */
	HMM_GPU_CHECKSUM,	/* result = sum of all words */
	HMM_GPU_VERIFY,		/* result = number of device PTEs; fails if one is stale */
	HMM_GPU_MIGRATE_TO_VRAM, /* move the pages to the memory of the GPU; result = bytes */
	HMM_GPU_NR_OPS
};

/*
 * hmm_gpu_cmd.flags: a signal has interrupted the command, which resumes at @done. The driver
 * sets this flag, and clears it when the command ends.
 */
#define HMM_GPU_RESUMES	1U

/**
 * struct hmm_gpu_cmd - a command, for HMM_GPU_RUN
 * @op: enum hmm_gpu_op
 * @flags: 0 for a new command, or HMM_GPU_RESUMES
 * @addr: first operand: [addr, addr + len)
 * @len: bytes
 * @src: second operand of COPY and COMPARE, else 0
 * @value: operand of FILL and ATOMIC_ADD, else 0
 * @result: out; in with HMM_GPU_RESUMES
 * @done: out: bytes executed; less than @len after an error, or if COMPARE found a
 *	difference. No byte after these was written. In with HMM_GPU_RESUMES.
 * @fault_addr: out: the address that could not be accessed, after an error
 *
 * A signal interrupts a command: within 100 ms, or when the page that is being executed is
 * done. The driver then writes @done, @result and HMM_GPU_RESUMES to the structure. If the
 * signal has no handler, or a handler with SA_RESTART, the kernel restarts the system call,
 * which resumes the command. Otherwise the system call fails with EINTR; the program can call
 * it again with the same structure, or clear @flags and start anew. A command that resumes
 * executes each word once.
 *
 * Errors of the command itself, which then has no effect:
 *	EINVAL	unknown op or flags; an operand that the op does not have; length 0; not
 *		aligned, wraps around, overlaps; HMM_GPU_RESUMES with a @done that is not
 *		aligned or more than @len
 *	EFAULT	not in the address space of any process; or this structure cannot be
 *		read and written
 *	ENODEV	the device has been removed; also if that happens during the command
 *	EOPNOTSUPP	not an op of this GPU: hmm_gpu_edu can only fill and copy;
 *		MIGRATE_TO_VRAM needs a GPU with memory (parameter vram_mb)
 *
 * Errors of a page:
 *	EFAULT	there is no memory, or it is PROT_NONE
 *	EPERM	the command writes, and the memory is read-only
 *	ESRCH	the process is gone
 *	ETIME	the device page fault timed out (parameter fault_timeout_ms)
 *	EUCLEAN	VERIFY: a stale device PTE. This is a bug of the driver.
 *	EOPNOTSUPP	the GPU cannot reach the memory by DMA
 *
 * ETIMEDOUT: the hardware hangs.
 */
struct hmm_gpu_cmd {
	__u32 op;
	__u32 flags;
	__u64 addr;
	__u64 len;
	__u64 src;
	__u64 value;
	__u64 result;
	__u64 done;
	__u64 fault_addr;
};

/* Counters of one open file, since it was opened or the counters were reset. */
enum hmm_gpu_counter {
	HMM_GPU_COMMANDS,		/* executed, with or without success */
	HMM_GPU_FAULTS,			/* device page faults */
	HMM_GPU_PTES_INSTALLED,		/* pages mapped on the device */
	HMM_GPU_COLLISIONS,		/* detected under the driver lock */
	HMM_GPU_RETRIES,		/* these, and collisions detected earlier */
	HMM_GPU_WAITS,			/* faults that waited for an invalidation */
	HMM_GPU_WAIT_NS,		/* sum of these waits */
	HMM_GPU_MAX_WAIT_NS,		/* the longest */
	HMM_GPU_TIMEOUTS,		/* faults given up with ETIME */
	HMM_GPU_INVALIDATIONS,		/* callbacks */
	HMM_GPU_PTES_REMOVED,		/* pages unmapped by callbacks */
	HMM_GPU_NONBLOCK_FAILURES,	/* invalidations refused with EAGAIN */
	HMM_GPU_OWN_SKIPPED,		/* invalidations by the file's own MIGRATE_TO_VRAM */
	HMM_GPU_DMA_MAPPINGS,		/* DMA mappings of pages; a huge page needs one */
	HMM_GPU_NR_COUNTERS
};

#define HMM_GPU_STATS_RESET	1U	/* set the counters to 0 after reading them */

struct hmm_gpu_stats {
	__u32 flags;
	__u32 reserved;		/* 0 */
	__u64 counter[HMM_GPU_NR_COUNTERS];	/* out */
};

#define HMM_GPU_RUN	_IOWR('H', 0xb0, struct hmm_gpu_cmd)
#define HMM_GPU_STATS	_IOWR('H', 0xb1, struct hmm_gpu_stats)

#endif /* HMM_GPU_H */
