/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hmm_gpu: a GPU made of software. What programs see of it.
 *
 * A file of /dev/hmm_gpu acts on the memory of the process that opened it, at the
 * addresses of that process; also when a child inherits the file. So does a file of
 * /dev/hmm_gpu_edu, where hardware moves the data: the edu device of QEMU.
 */
#ifndef HMM_GPU_H
#define HMM_GPU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The GPU works on 64-bit words: addresses and lengths are multiples of 8. A word is
 * never torn. Words are taken in ascending order.
 *
 * MIGRATE_TO_VRAM moves whole pages of private anonymous memory, as far as that is possible
 * at the moment and there is room, and runs beside other commands. What the CPU or another
 * GPU accesses goes back. Pages in the memory of another GPU stay there.
 */
enum hmm_gpu_op {
	HMM_GPU_FILL,		/* each word = value */
	HMM_GPU_COPY,		/* from src, which must not overlap */
	HMM_GPU_COMPARE,	/* with src; result = bytes up to the first difference */
	HMM_GPU_ATOMIC_ADD,	/* each word += value, atomic towards the CPU as well */
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
 * @addr: what to work on: [addr, addr + len)
 * @len: bytes
 * @src: second operand of COPY and COMPARE, else 0
 * @value: of FILL and ATOMIC_ADD, else 0
 * @result: out; in with HMM_GPU_RESUMES
 * @done: out: bytes that were executed; less than @len after an error, or if COMPARE
 *	found a difference. Nothing behind them was written. In with HMM_GPU_RESUMES.
 * @fault_addr: out: the address that could not be accessed, after an error
 *
 * A signal interrupts a command: within 100 ms, or when the page that is being executed is
 * done. The driver then writes @done, @result and HMM_GPU_RESUMES to the structure. If the
 * signal has no handler, or a handler with SA_RESTART, the kernel restarts the system call,
 * which resumes the command. Otherwise the system call fails with EINTR; the program can call
 * it again with the same structure, or clear @flags and start anew. A command that resumes
 * executes each word once.
 *
 * Errors of the command itself, by which nothing happens:
 *	EINVAL	unknown op, flags, an operand that the op has not, no length, not
 *		aligned, wraps around, overlaps; HMM_GPU_RESUMES with a @done that is not
 *		aligned or more than @len
 *	EFAULT	not in the address space of any process; or this structure cannot be
 *		read and written
 *	ENODEV	the device has been removed; also if that happens during the command
 *	EOPNOTSUPP	not an op of this GPU: one that is hardware fills and copies;
 *		MIGRATE_TO_VRAM wants one that has memory (parameter vram_mb)
 *
 * Errors of a page:
 *	EFAULT	there is no memory, or it is PROT_NONE
 *	EPERM	the GPU would have to write and the memory is read-only
 *	ESRCH	the process is gone
 *	ETIME	the memory did not stop changing (parameter fault_timeout_ms)
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

/* Of one open file, since it was opened or reset. */
enum hmm_gpu_counter {
	HMM_GPU_COMMANDS,		/* executed, with or without success */
	HMM_GPU_FAULTS,			/* device page faults */
	HMM_GPU_PTES_INSTALLED,		/* pages mapped on the device */
	HMM_GPU_COLLISIONS,		/* caught under the driver's lock */
	HMM_GPU_RETRIES,		/* those, and what was noticed earlier */
	HMM_GPU_WAITS,			/* faults that waited for an invalidation */
	HMM_GPU_WAIT_NS,		/* all of that time */
	HMM_GPU_MAX_WAIT_NS,		/* the longest */
	HMM_GPU_TIMEOUTS,		/* faults given up with ETIME */
	HMM_GPU_INVALIDATIONS,		/* callbacks */
	HMM_GPU_PTES_REMOVED,		/* pages unmapped by them */
	HMM_GPU_NONBLOCK_FAILURES,	/* invalidations refused with EAGAIN */
	HMM_GPU_OWN_SKIPPED,		/* invalidations that are its own doing */
	HMM_GPU_DMA_MAPPINGS,		/* made for the pages mapped; a huge page is one */
	HMM_GPU_NR_COUNTERS
};

#define HMM_GPU_STATS_RESET	1U	/* to 0, after they were read */

struct hmm_gpu_stats {
	__u32 flags;
	__u32 reserved;		/* 0 */
	__u64 counter[HMM_GPU_NR_COUNTERS];	/* out */
};

#define HMM_GPU_RUN	_IOWR('H', 0xb0, struct hmm_gpu_cmd)
#define HMM_GPU_STATS	_IOWR('H', 0xb1, struct hmm_gpu_stats)

#endif /* HMM_GPU_H */
