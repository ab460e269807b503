// SPDX-License-Identifier: GPL-2.0
/*
 * Share memory with the GPU of hmm_gpu.c, unmap, change and fork that memory meanwhile, and
 * check all results of the GPU.
 *
 *	make samples/hmm_gpu_demo, or cc -O2 -pthread
 *
 * Prints a line for each part, then the counters of the driver, then PASS or FAIL.
 * Exit code 0 only if all checks passed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hmm_gpu.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd		438
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

#ifndef __printf
#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#endif
#ifndef __noreturn
#define __noreturn		__attribute__((noreturn))
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define RANGE_SIZE	(2UL << 20)	/* size of the ranges that the driver tracks */
#define ANON		(MAP_PRIVATE | MAP_ANONYMOUS)
#define RW		(PROT_READ | PROT_WRITE)

static const char *device = "/dev/hmm_gpu";
static char device2[64];	/* a second GPU, or the first one again */
static bool have_gpu2;
static size_t page_size;
static bool stop;		/* ends the threads of a part */
static unsigned long failures;

/* -------------------------------------------------------------------- helpers */

/* Report a failure. */
static void __printf(1, 2) bad(const char *fmt, ...)
{
	unsigned long n = __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
	char text[256];
	va_list ap;

	if (n > 10)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("     wrong: %s\n", text);
}

static void __noreturn __printf(1, 2) die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\nFAIL\n", strerror(err));
	exit(1);
}

/* Print a line of a part: "ok" if there were no more than @before failures. */
static void __printf(2, 3) part_info(unsigned long before, const char *fmt, ...)
{
	va_list ap;

	printf("%-4s ", failures == before ? "ok" : "FAIL");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static __u64 now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static unsigned int rnd(unsigned int *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static bool running(void)
{
	return !__atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, RW, ANON | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes", len);
	return p;
}

/* Map memory that shares no tracked range with other memory. */
static char *map_ranges(unsigned int n)
{
	uintptr_t p = (uintptr_t)map((n + 1) * RANGE_SIZE);

	p = (p + RANGE_SIZE - 1) & ~(RANGE_SIZE - 1);
	/* No other thread may change this memory, and khugepaged would invalidate it. */
	madvise((void *)p, n * RANGE_SIZE, MADV_NOHUGEPAGE);
	return (char *)p;
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	int err = pthread_create(thread, NULL, fn, arg);

	if (err) {
		errno = err;
		die("pthread_create");
	}
}

static int gpu_open(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("%s", name);
	return fd;
}

/* Run a command. Return 0 or the errno. */
static int gpu_cmd(int fd, struct hmm_gpu_cmd *cmd)
{
	return ioctl(fd, HMM_GPU_RUN, cmd) ? errno : 0;
}

static int gpu_run(int fd, unsigned int op, const void *addr, size_t len,
		   const void *src, __u64 value, __u64 *res)
{
	struct hmm_gpu_cmd cmd = {
		.op = op,
		.addr = (uintptr_t)addr,
		.len = len,
		.src = (uintptr_t)src,
		.value = value,
	};
	int err = gpu_cmd(fd, &cmd);

	if (res)
		*res = cmd.result;
	return err;
}

static struct hmm_gpu_stats gpu_stats(int fd)
{
	struct hmm_gpu_stats stats = {};

	if (ioctl(fd, HMM_GPU_STATS, &stats))
		die("HMM_GPU_STATS");
	return stats;
}

/* Counters of all files of this program. */
static __u64 total[HMM_GPU_NR_COUNTERS];

static void gpu_close(int fd)
{
	struct hmm_gpu_stats stats = gpu_stats(fd);
	unsigned int i;

	for (i = 0; i < HMM_GPU_NR_COUNTERS; i++) {
		if (i != HMM_GPU_MAX_WAIT_NS)
			total[i] += stats.counter[i];
		else if (stats.counter[i] > total[i])
			total[i] = stats.counter[i];
	}
	close(fd);
}

/* Set a parameter of the driver. Only root can; without, there are fewer collisions. */
static bool set_param(const char *name, const char *value)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/hmm_gpu/parameters/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = write(fd, value, strlen(value));
	close(fd);
	return n > 0;
}

/* Pipes read and write memory that may be unmapped, without a signal, with a short count. */
static void make_pipe(int fd[2])
{
	if (pipe2(fd, O_NONBLOCK | O_CLOEXEC))
		die("pipe");
}

static void drain(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

static bool peek(int fd[2], const void *addr, void *buf, size_t len)
{
	bool whole = write(fd[1], addr, len) == (ssize_t)len;

	if (whole && read(fd[0], buf, len) == (ssize_t)len)
		return true;
	drain(fd[0]);
	return false;
}

static bool poke(int fd[2], void *addr, const void *buf, size_t len)
{
	bool whole = write(fd[1], buf, len) == (ssize_t)len &&
		     read(fd[0], addr, len) == (ssize_t)len;

	if (!whole)
		drain(fd[0]);
	return whole;
}

/* -------------------------------------------------------- 1: the same memory */

static __u64 in_bss[512], in_data[512] = { 1 };

static void check_shared(int fd, const char *what, __u64 *mem, size_t words)
{
	__u64 sum = 0, got;
	size_t i;
	int err;

	for (i = 0; i < words; i++) {
		mem[i] = i * 0x9e3779b97f4a7c15;
		sum += mem[i];
	}
	err = gpu_run(fd, HMM_GPU_CHECKSUM, mem, words * 8, NULL, 0, &got);
	if (err || got != sum)
		bad("%s: GPU sum %llx, CPU sum %llx, error %d", what,
		    got, sum, err);

	err = gpu_run(fd, HMM_GPU_ATOMIC_ADD, mem, words * 8, NULL, 42, NULL);
	if (err)
		bad("%s: GPU write: %s", what, strerror(err));
	for (i = 0; i < words; i++) {
		if (mem[i] != i * 0x9e3779b97f4a7c15 + 42) {
			bad("%s: word %zu: GPU write not seen", what, i);
			break;
		}
	}
}

static void part_sharing(void)
{
	unsigned long before = failures;
	size_t words = (4 << 20) / 8;
	__u64 *heap = malloc(words * 8), *file, word;
	__u64 on_stack[512];
	int fd = gpu_open(device), memfd;

	if (!heap)
		die("malloc");
	check_shared(fd, "malloc", heap, words);
	check_shared(fd, "stack", on_stack, ARRAY_SIZE(on_stack));
	check_shared(fd, "bss", in_bss, ARRAY_SIZE(in_bss));
	check_shared(fd, "data", in_data, ARRAY_SIZE(in_data));

	memfd = memfd_create("hmm_gpu_demo", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, page_size))
		die("memfd_create");
	file = mmap(NULL, page_size, RW, MAP_SHARED, memfd, 0);
	if (file == MAP_FAILED)
		die("mmap of a file");
	check_shared(fd, "file", file, page_size / 8);
	if (gpu_run(fd, HMM_GPU_FILL, file, page_size, NULL, 77, NULL) ||
	    pread(memfd, &word, 8, page_size - 8) != 8 || word != 77)
		bad("read() does not see the data that the GPU wrote to a file");
	munmap(file, page_size);
	close(memfd);

	/* CPU -> GPU -> GPU -> CPU, without a system call for any of the memory */
	if (gpu_run(fd, HMM_GPU_COPY, heap, words * 4, heap + words / 2, 0, NULL) ||
	    memcmp(heap, heap + words / 2, words * 4) ||
	    gpu_run(fd, HMM_GPU_COMPARE, heap, words * 4, heap + words / 2, 0, &word) ||
	    word != words * 4)
		bad("copy and compare");
	heap[words / 4]++;
	if (gpu_run(fd, HMM_GPU_COMPARE, heap, words * 4, heap + words / 2, 0, &word) ||
	    word != words / 4 * 8)
		bad("the GPU does not see the data that the CPU has just written");
	if (gpu_run(fd, HMM_GPU_VERIFY, heap, words * 8, NULL, 0, &word) || !word)
		bad("device PTEs of the heap");

	part_info(before, "sharing: CPU and GPU read and write one another's data in 4 MiB of malloc(), stack, bss, data, a file; nothing is copied");
	gpu_close(fd);
	free(heap);
}

/* ------------------------------------------------------------------ 2: storm */

/*
 * The memory is divided into slots. Two threads change slots (munmap, mmap, mprotect,
 * MADV_DONTNEED, mremap, a CPU write). One thread forks. One thread for each of two device
 * files runs GPU commands that read and write slots.
 *
 * The generation of a slot counts its states: it is even while a state lasts, and odd while
 * the slot changes to the next state, which is stored first. A thread that compares the
 * generation before and after a GPU command knows the states during the command, and so
 * which results and values are right. If the state did not change, only one result is right.
 * Each write, by CPU or GPU, has a unique value, so a stale page shows as an old value.
 */
#define SLOTS		16
#define SLOT_PAGES	4
#define SLOT_WORDS_MAX	(SLOT_PAGES * 65536 / 8)
#define STATES		1024	/* length of the history of a slot */

#define GPU_TAG(slot, seq)	(0x6b00000000000000ULL | (__u64)(slot) << 48 | (seq))
#define CPU_TAG(slot, n)	(0xc000000000000000ULL | (__u64)(slot) << 48 | (n))
#define CHILD_TAG		0xbadbadbadbadbadbULL
#define SEQ_MASK		0xffffffffffffULL

struct state {
	bool mapped;
	bool hole;		/* unmapped for a moment during the change to this state */
	int prot;
	__u64 base;		/* value of each word that the GPU has not written since */
	unsigned long base_n;	/* the state that began with @base */
	__u64 floor;		/* GPU writes up to this one have been overwritten */
};

static struct slot {
	char *addr;
	unsigned long gen;	/* 2 * number of the state, + 1 during a change */
	struct state state[STATES];
	pthread_mutex_t change;	/* held while the state changes */
	pthread_mutex_t job;	/* held by a GPU command; protects the following */
	__u64 issued, done;	/* GPU writes */
	__u64 exact;		/* the GPU write that wrote all words, */
	unsigned long exact_n;	/* in this state; 0 if not known */
} slots[SLOTS];

static size_t slot_len;
static unsigned int hot;	/* the slot whose change began last */
static unsigned long nr_stable, nr_moving, nr_unclear, nr_ok, nr_efault, nr_eperm;
static unsigned long nr_changes, nr_forks;
static unsigned int pause_us;

static void add(unsigned long *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static unsigned long slot_gen(struct slot *s)
{
	return __atomic_load_n(&s->gen, __ATOMIC_SEQ_CST);
}

static struct state *slot_state(struct slot *s, unsigned long n)
{
	return &s->state[n % STATES];
}

/* Return true if @word is right for a slot that was read in the states @n1 to @n2. */
static bool word_is_right(struct slot *s, __u64 word, unsigned long n1, unsigned long n2)
{
	unsigned long n;

	for (n = n1; n <= n2; n++) {
		if (word == slot_state(s, n)->base)
			return true;
	}
	return (word & ~SEQ_MASK) == GPU_TAG(s - slots, 0) &&
	       (word & SEQ_MASK) > slot_state(s, n1)->floor &&
	       (word & SEQ_MASK) <= __atomic_load_n(&s->issued, __ATOMIC_SEQ_CST);
}

/* Change the slot to a new state. The caller holds s->change. */
static void change_slot(struct slot *s, unsigned int *seed, char *scratch)
{
	enum { REMAP, REMAP_AT_ONCE, UNMAP, PROTECT, WRITE, MOVE, DONTNEED } op;
	unsigned long n = s->gen / 2;
	struct state *old = slot_state(s, n), *new = slot_state(s, n + 1);
	static const int prots[] = { PROT_NONE, PROT_READ, RW, RW };
	const __u64 *word = (__u64 *)s->addr;
	bool failed = false;
	size_t i;

	/* First check the values that the CPU reads. */
	for (i = 0; (old->prot & PROT_READ) && i < slot_len / 8; i += 64) {
		__u64 w = __atomic_load_n(&word[i], __ATOMIC_RELAXED);

		if (!word_is_right(s, w, n, n)) {
			bad("slot %td: CPU reads %llx, base %llx, floor %llx", s - slots,
			    w, old->base,
			    old->floor);
			break;
		}
	}

	do {
		op = old->mapped ? rnd(seed) % 10 : REMAP;
		if (op > DONTNEED)	/* more often, because it can run during a fault */
			op = DONTNEED;
	} while (op == WRITE && !(old->prot & PROT_WRITE));

	*new = *old;
	new->hole = op == REMAP || op == MOVE;
	if (op == PROTECT)
		new->prot = prots[rnd(seed) % ARRAY_SIZE(prots)];
	if (op == REMAP || op == REMAP_AT_ONCE) {
		new->mapped = true;
		new->prot = RW;
	}
	if (op == UNMAP) {
		new->mapped = false;
		new->prot = PROT_NONE;
	}
	if (op != PROTECT && op != MOVE) {
		new->base = op == WRITE ? CPU_TAG(s - slots, n + 1) : 0;
		new->base_n = n + 1;
		new->floor = __atomic_load_n(&s->done, __ATOMIC_SEQ_CST);
	}
	__atomic_add_fetch(&s->gen, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&hot, s - slots, __ATOMIC_RELAXED);

	switch (op) {
	case REMAP:
		failed = munmap(s->addr, slot_len) ||
			 mmap(s->addr, slot_len, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) != s->addr;
		break;
	case REMAP_AT_ONCE:
		failed = mmap(s->addr, slot_len, RW, ANON | MAP_FIXED, -1, 0) != s->addr;
		break;
	case UNMAP:
		failed = munmap(s->addr, slot_len);
		break;
	case PROTECT:
		failed = mprotect(s->addr, slot_len, new->prot);
		break;
	case DONTNEED:
		failed = madvise(s->addr, slot_len, MADV_DONTNEED);
		break;
	case WRITE:
		for (i = 0; i < slot_len / 8; i++)
			__atomic_store_n((__u64 *)s->addr + i, new->base, __ATOMIC_RELAXED);
		break;
	case MOVE:	/* there and back */
		failed = mremap(s->addr, slot_len, slot_len, MREMAP_MAYMOVE | MREMAP_FIXED,
				scratch) != scratch ||
			 mremap(scratch, slot_len, slot_len, MREMAP_MAYMOVE | MREMAP_FIXED,
				s->addr) != s->addr;
		break;
	}
	if (failed)
		die("slot %td: change %d", s - slots, op);

	__atomic_add_fetch(&s->gen, 1, __ATOMIC_SEQ_CST);
	add(&nr_changes);
}

/* @arg: an address to which slots can be moved */
static void *changer(void *arg)
{
	unsigned int seed = 1 + (uintptr_t)arg / slot_len;

	while (running()) {
		struct slot *s = &slots[rnd(&seed) % SLOTS];

		if (pthread_mutex_trylock(&s->change))
			continue;
		change_slot(s, &seed, arg);
		pthread_mutex_unlock(&s->change);
		if (pause_us)
			usleep(rnd(&seed) % pause_us);
	}
	return NULL;
}

/* Parent and GPU neither change the memory of a child, nor see its writes. */
static int child(void)
{
	static __u64 then[SLOTS][SLOT_WORDS_MAX], now[SLOT_WORDS_MAX];
	bool readable[SLOTS];
	int fd[2], i;
	size_t j;

	make_pipe(fd);
	for (i = 0; i < SLOTS; i++)
		readable[i] = peek(fd, slots[i].addr, then[i], slot_len);
	usleep(2000);
	for (i = 0; i < SLOTS; i++) {
		if (readable[i] && (!peek(fd, slots[i].addr, now, slot_len) ||
				    memcmp(now, then[i], slot_len)))
			return 1;
	}
	for (j = 0; j < slot_len / 8; j++)
		now[j] = CHILD_TAG;
	for (i = 0; i < SLOTS; i++)
		poke(fd, slots[i].addr, now, slot_len);
	return 0;
}

static void *forker(void *arg)
{
	(void)arg;
	while (running()) {
		int status;
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			_exit(child());
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		if (status)
			bad("the GPU of the parent changed the memory of a child");
		add(&nr_forks);
		usleep(5000);
	}
	return NULL;
}

struct job_thread {
	pthread_t thread;
	int fd;
	unsigned int seed;
	int pipe[2];
	__u64 *buf;		/* the slot as read by the GPU */
	__u64 *peeked;	/* the slot as read by the CPU */
};

/*
 * Check the result of a command that ran in the states @n1 to @n2. If they are the same, the
 * slot did not change.
 */
static void check_error(struct slot *s, const struct hmm_gpu_cmd *cmd, int err, bool writes,
			unsigned long n1, unsigned long n2)
{
	bool ok = false, efault = false, eperm = false;
	unsigned long n;

	for (n = n1; n <= n2; n++) {
		const struct state *state = slot_state(s, n);

		if (state->prot == PROT_NONE || (n > n1 && state->hole))
			efault = true;
		else if (writes && state->prot == PROT_READ)
			eperm = true;
		if (state->prot == RW || (state->prot == PROT_READ && !writes))
			ok = true;
	}
	if (!(err == 0 && ok) && !(err == EFAULT && efault) && !(err == EPERM && eperm))
		bad("slot %td: op %u: error %d in states %lu to %lu, prot %d to %d", s - slots,
		    cmd->op, err, n1, n2, slot_state(s, n1)->prot, slot_state(s, n2)->prot);
	if (err && n1 == n2 && (cmd->done || (cmd->fault_addr != (uintptr_t)s->addr &&
					      cmd->op != HMM_GPU_COMPARE)))
		bad("slot %td: op %u: fault at %llx after %llx bytes", s - slots, cmd->op,
		    cmd->fault_addr, cmd->done);
	add(err == 0 ? &nr_ok : err == EFAULT ? &nr_efault : &nr_eperm);
}

static void check_words(struct slot *s, const __u64 *buf, const char *whose,
			unsigned long n1, unsigned long n2)
{
	const struct state *first = slot_state(s, n1);
	bool exact = s->exact_n && s->exact_n >= first->base_n &&
		     slot_state(s, n2)->base_n == first->base_n;
	size_t i;

	for (i = 0; i < slot_len / 8; i++) {
		if (exact ? buf[i] != GPU_TAG(s - slots, s->exact) :
			    !word_is_right(s, buf[i], n1, n2)) {
			bad("slot %td: %s reads %llx in states %lu to %lu, base %llx, exact %llx",
			    s - slots, whose, buf[i], n1, n2, first->base, exact ? s->exact : 0);
			break;
		}
	}
}

#define COPY_OUT	HMM_GPU_NR_OPS	/* COPY copies into the slot */

/*
 * Run a command on one slot, and all checks. The caller holds s->job. Return true if the slot
 * did not change meanwhile.
 */
static bool job(struct job_thread *t, struct slot *s, unsigned int op)
{
	struct hmm_gpu_cmd cmd = { .op = op, .addr = (uintptr_t)s->addr, .len = slot_len };
	bool writes = cmd.op == HMM_GPU_FILL || cmd.op == HMM_GPU_COPY;
	unsigned long gen, gen2, n1, n2;
	bool stable, kept;
	size_t i;
	int err;

	if (writes) {
		__u64 seq = __atomic_add_fetch(&s->issued, 1, __ATOMIC_SEQ_CST);

		s->exact_n = 0;
		if (cmd.op == HMM_GPU_FILL)
			cmd.value = GPU_TAG(s - slots, seq);
		for (i = 0; cmd.op == HMM_GPU_COPY && i < slot_len / 8; i++)
			t->buf[i] = GPU_TAG(s - slots, seq);
	}
	if (cmd.op == HMM_GPU_COPY)
		cmd.src = (uintptr_t)t->buf;
	if (cmd.op == COPY_OUT) {
		cmd.op = HMM_GPU_COPY;
		cmd.src = cmd.addr;
		cmd.addr = (uintptr_t)t->buf;
	}

	gen = slot_gen(s);
	err = gpu_cmd(t->fd, &cmd);
	gen2 = slot_gen(s);

	if (writes)
		__atomic_store_n(&s->done, s->issued, __ATOMIC_SEQ_CST);
	n1 = gen / 2;
	n2 = (gen2 + 1) / 2;
	stable = n1 == n2;
	if (n2 - n1 > STATES / 2) {
		add(&nr_unclear);
		return false;
	}
	kept = slot_state(s, n1)->base_n == slot_state(s, n2)->base_n;

	if (cmd.op == HMM_GPU_VERIFY) {
		if (err)
			bad("slot %td: stale device PTE at %llx, error %d", s - slots,
			    cmd.fault_addr, err);
		if (stable && slot_state(s, n1)->prot == PROT_NONE && cmd.result)
			bad("slot %td: %llu device PTEs of unmapped memory",
			    s - slots, cmd.result);
	} else {
		check_error(s, &cmd, err, writes, n1, n2);
	}

	if (writes && !err && kept) {
		s->exact = s->issued;
		s->exact_n = n1;
	}
	if (!err && cmd.op == HMM_GPU_COPY && !writes)
		check_words(s, t->buf, "GPU", n1, n2);
	if (!err && cmd.op == HMM_GPU_CHECKSUM && stable && s->exact_n &&
	    s->exact_n >= slot_state(s, n1)->base_n &&
	    cmd.result != slot_len / 8 * GPU_TAG(s - slots, s->exact))
		bad("slot %td: wrong sum", s - slots);

	/* Data that the GPU wrote reaches the CPU. Data that the GPU read is unchanged. */
	if (!err && stable && writes && peek(t->pipe, s->addr, t->peeked, slot_len) &&
	    slot_gen(s) == gen)
		check_words(s, t->peeked, "CPU", n1, n1);
	if (!err && stable && !writes && cmd.op == HMM_GPU_COPY) {
		cmd.op = HMM_GPU_COMPARE;
		err = gpu_cmd(t->fd, &cmd);
		if (slot_gen(s) == gen && (err || cmd.result != slot_len))
			bad("slot %td: compare: error %d, %llx bytes are equal", s - slots,
			    err, cmd.result);
	}
	add(stable ? &nr_stable : &nr_moving);
	return stable;
}

static void *jobber(void *arg)
{
	static const unsigned char mix[] = {
		HMM_GPU_FILL, HMM_GPU_FILL, HMM_GPU_COPY, HMM_GPU_CHECKSUM, HMM_GPU_VERIFY,
		COPY_OUT, COPY_OUT, COPY_OUT,
	};
	struct job_thread *t = arg;
	int tries;

	while (running()) {
		unsigned int i = rnd(&t->seed) % (2 * SLOTS);
		struct slot *s = &slots[i < SLOTS ? i : __atomic_load_n(&hot, __ATOMIC_RELAXED)];

		if (pthread_mutex_trylock(&s->job))
			continue;
		if (!job(t, s, mix[rnd(&t->seed) % sizeof(mix)])) {
			/* Check the pages that the device has mapped meanwhile. */
			for (tries = 0; (slot_gen(s) & 1) && tries < 100; tries++)
				usleep(50);
			job(t, s, COPY_OUT);
			job(t, s, HMM_GPU_VERIFY);
		}
		pthread_mutex_unlock(&s->job);
	}
	return NULL;
}

/*
 * Phase 0: as fast as possible. 1: slow TLB flushes, so that faults wait for them. 2: slow
 * faults, so that changes occur during faults; and pauses between changes, so that some faults
 * are not disturbed.
 */
static bool storm_phase(int phase)
{
	pause_us = phase == 2 ? 3000 : 0;
	return set_param("tlb_flush_us", phase == 1 ? "300" : "0") &&
	       set_param("dma_map_us", phase == 2 ? "300" : "0");
}

/* Return true if some event has not occurred yet. Slow machines take longer. */
static bool storm_is_calm(const struct job_thread *jobs, bool slow)
{
	struct hmm_gpu_stats a = gpu_stats(jobs[0].fd), b = gpu_stats(jobs[1].fd);
	const __u64 *x = a.counter, *y = b.counter;

	return !nr_forks || !nr_ok || !nr_efault || !nr_stable || !nr_moving ||
	       !(x[HMM_GPU_RETRIES] + y[HMM_GPU_RETRIES]) ||
	       (slow && (!(x[HMM_GPU_WAITS] + y[HMM_GPU_WAITS]) ||
			 !(x[HMM_GPU_COLLISIONS] + y[HMM_GPU_COLLISIONS])));
}

/* If @seconds is negative, run until killed. */
static void part_storm(int seconds)
{
	unsigned long before = failures, retries = total[HMM_GPU_RETRIES];
	unsigned long waits = total[HMM_GPU_WAITS], collisions = total[HMM_GPU_COLLISIONS];
	pthread_t changers[2], fork_thread;
	struct job_thread jobs[2];
	__u64 end, t0 = now_us();
	bool slow = false, calm;
	unsigned int i;
	size_t len;
	char *mem;

	slot_len = SLOT_PAGES * page_size;
	len = (SLOTS + ARRAY_SIZE(changers)) * slot_len;
	mem = map_ranges((len + RANGE_SIZE - 1) / RANGE_SIZE);
	for (i = 0; i < SLOTS; i++) {
		slots[i] = (struct slot){
			.addr = mem + i * slot_len,
			.gen = 2,
			.change = PTHREAD_MUTEX_INITIALIZER,
			.job = PTHREAD_MUTEX_INITIALIZER,
		};
		slots[i].state[1] = (struct state){ .mapped = true, .prot = RW, .base_n = 1 };
	}

	/* One device uses one pass, the other two. Both get all invalidations. */
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		set_param("two_pass", i ? "N" : "Y");
		jobs[i].fd = gpu_open(i ? device2 : device);
		jobs[i].seed = 99 + i;
		jobs[i].buf = map(slot_len);
		jobs[i].peeked = map(slot_len);
		make_pipe(jobs[i].pipe);
	}
	set_param("two_pass", "Y");

	stop = false;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		start(&jobs[i].thread, jobber, &jobs[i]);
	for (i = 0; i < ARRAY_SIZE(changers); i++)
		start(&changers[i], changer, mem + (SLOTS + i) * slot_len);
	start(&fork_thread, forker, NULL);

	if (seconds < 0)
		printf("holding: GPU commands are in flight until this is killed\n");
	for (i = 0; i < 3 || seconds < 0 || (i < 30 && storm_is_calm(jobs, slow)); i++) {
		slow |= storm_phase(i % 3);
		end = now_us() + (seconds < 0 ? 1000000 : seconds * 1000000ULL / 3);
		while (now_us() < end && failures == before)
			usleep(20000);
		if (failures != before)
			break;
	}
	calm = storm_is_calm(jobs, slow);
	storm_phase(0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		pthread_join(jobs[i].thread, NULL);
	for (i = 0; i < ARRAY_SIZE(changers); i++)
		pthread_join(changers[i], NULL);
	pthread_join(fork_thread, NULL);

	/* Unmapped memory must have no device PTE. */
	munmap(mem, len);
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		__u64 n;

		if (gpu_run(jobs[i].fd, HMM_GPU_VERIFY, mem, len, NULL, 0, &n) || n)
			bad("device PTEs after munmap");
		munmap(jobs[i].buf, slot_len);
		munmap(jobs[i].peeked, slot_len);
		close(jobs[i].pipe[0]);
		close(jobs[i].pipe[1]);
		gpu_close(jobs[i].fd);
	}

	retries = total[HMM_GPU_RETRIES] - retries;
	waits = total[HMM_GPU_WAITS] - waits;
	collisions = total[HMM_GPU_COLLISIONS] - collisions;
	if (failures == before && (calm || nr_unclear > nr_stable))
		bad("too few collisions or waits, or too many unclear results");
	part_info(before, "storm: %.1f s, %lu changes of memory (munmap, mmap, mprotect, DONTNEED, mremap, write), %lu forks",
		  (now_us() - t0) / 1e6, nr_changes, nr_forks);
	part_info(before, "       %lu GPU commands with the right result (%lu while their memory changed; %lu EFAULT, %lu EPERM, as expected; %lu unclear)",
		  nr_stable + nr_moving, nr_moving, nr_efault, nr_eperm, nr_unclear);
	part_info(before, "       %lu device page faults retried because pages changed meanwhile (%lu detected under the driver lock); %lu waited for a change to end%s",
		  retries, collisions, waits, slow ? "" : " (not root: no slow device)");
}

/* ---------------------------------------------------------------- 3: atomics */

static __u64 *counters;
#define COUNTERS_LEN	(8 * page_size)

static void *cpu_adder(void *arg)
{
	unsigned long *rounds = arg;
	size_t i;

	for (*rounds = 0; running(); ++*rounds) {
		for (i = 0; i < COUNTERS_LEN / 8; i++)
			__atomic_add_fetch(&counters[i], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct gpu_adder {
	int fd;
	unsigned long rounds;
};

static void *gpu_adder(void *arg)
{
	struct gpu_adder *a = arg;
	int err;

	for (a->rounds = 0; running(); a->rounds++) {
		err = gpu_run(a->fd, HMM_GPU_ATOMIC_ADD, counters, COUNTERS_LEN, NULL, 1, NULL);
		if (err) {
			bad("atomics: %s", strerror(err));
			break;
		}
	}
	return NULL;
}

/* After each fork, CPU and GPUs must break COW on every page. */
static void *small_forker(void *arg)
{
	unsigned long *n = arg;

	while (running()) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid) {
			size_t i;

			usleep(1000);
			for (i = 0; i < COUNTERS_LEN / 8; i++)
				counters[i] = CHILD_TAG;
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		++*n;
		usleep(2000);
	}
	return NULL;
}

static void part_atomics(int seconds)
{
	unsigned long before = failures, cpu_rounds[2], forks = 0, sum, lost = 0;
	pthread_t cpu[2], gpu[2], fork_thread;
	struct gpu_adder adders[2];
	size_t i;

	counters = map(COUNTERS_LEN);
	stop = false;
	for (i = 0; i < 2; i++) {
		adders[i].fd = gpu_open(i ? device2 : device);
		start(&cpu[i], cpu_adder, &cpu_rounds[i]);
		start(&gpu[i], gpu_adder, &adders[i]);
	}
	start(&fork_thread, small_forker, &forks);
	sleep(seconds);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		pthread_join(cpu[i], NULL);
		pthread_join(gpu[i], NULL);
		gpu_close(adders[i].fd);
	}
	pthread_join(fork_thread, NULL);

	sum = cpu_rounds[0] + cpu_rounds[1] + adders[0].rounds + adders[1].rounds;
	for (i = 0; i < COUNTERS_LEN / 8; i++)
		lost += counters[i] != sum;
	if (lost)
		bad("atomics: %lu of %zu words lost an update", lost, COUNTERS_LEN / 8);
	if (!adders[0].rounds || !adders[1].rounds)
		bad("atomics: a GPU did nothing");
	part_info(before, "atomics: 2 CPU threads + %s add to the same words across %lu forks: %lu M adds (GPU: %lu M), none lost",
		  have_gpu2 ? "2 GPUs" : "2 files of one GPU", forks,
		  sum * (COUNTERS_LEN / 8) / 1000000,
		  (adders[0].rounds + adders[1].rounds) * (COUNTERS_LEN / 8) / 1000000);
	munmap(counters, COUNTERS_LEN);
}

/* ------------------------------------------------------------- 4: starvation */

#define NOISES		6
#define NOISE_FLUSH_US	"3000"

static char *noise_mem;
static unsigned long nr_noises;
static long in_flight, gaps;

/* Invalidate other addresses, which the device tracks too, without a pause. */
static void *noise(void *arg)
{
	char *mem = noise_mem + (uintptr_t)arg * RANGE_SIZE;

	while (running()) {
		__atomic_add_fetch(&in_flight, 1, __ATOMIC_SEQ_CST);
		if (madvise(mem, 4 * page_size, MADV_DONTNEED))
			die("madvise");
		if (!__atomic_sub_fetch(&in_flight, 1, __ATOMIC_SEQ_CST) && running())
			__atomic_add_fetch(&gaps, 1, __ATOMIC_SEQ_CST);
		add(&nr_noises);
	}
	return NULL;
}

static __u64 change_us;
static unsigned long nr_own_changes;

/* Invalidate the addresses of the GPU commands, and measure the time. */
static void *changing(void *arg)
{
	while (running()) {
		__u64 t = now_us();

		if (madvise(arg, page_size, MADV_DONTNEED))
			die("madvise");
		change_us += now_us() - t;
		nr_own_changes++;
		usleep(1000);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

static void part_starvation(int seconds)
{
	enum { MAX_ROUNDS = 20000 };
	static __u64 us[MAX_ROUNDS];
	unsigned long before = failures, n = 0, i;
	char *mem = map_ranges(NOISES + 1);
	size_t len = 4 * page_size;
	int fd = gpu_open(device), noise_fd = gpu_open(device);
	struct hmm_gpu_stats first, second;
	pthread_t threads[NOISES + 1];
	__u64 end, t, sum, waits;
	double wait_ms, change_ms;
	bool flush;
	int err;

	noise_mem = mem + RANGE_SIZE;
	for (i = 0; i < NOISES; i++)	/* make the device track this memory */
		gpu_run(noise_fd, HMM_GPU_CHECKSUM, noise_mem + i * RANGE_SIZE, 8, NULL, 0, NULL);
	flush = set_param("tlb_flush_us", NOISE_FLUSH_US);
	stop = false;
	for (i = 0; i < NOISES; i++)
		start(&threads[i], noise, (void *)(uintptr_t)i);

	/* First: a change has ended when the system call returns, so no fault must wait. */
	end = now_us() + seconds * 500000ULL;
	for (; (now_us() < end || n < 10) && n < MAX_ROUNDS; n++) {
		__u64 tag = GPU_TAG(0, n + 1);

		/* munmap() and mmap() wait for the other threads, DONTNEED does not. */
		if (n % 2 ? madvise(mem, len, MADV_DONTNEED) :
			    munmap(mem, len) ||
			    mmap(mem, len, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) != mem)
			die("remap");

		t = now_us();
		err = gpu_run(fd, HMM_GPU_FILL, mem, len, NULL, tag, NULL);
		us[n] = now_us() - t;

		sum = 0;
		for (i = 0; i < len / 8; i++)
			sum += ((__u64 *)mem)[i];
		if (err || sum != len / 8 * tag) {
			bad("round %lu: error %d%s", n, err, err ? "" : ", stale page");
			break;
		}
	}
	first = gpu_stats(fd);

	/* Then: changes of the same memory are in flight, so faults must wait for them. */
	start(&threads[NOISES], changing, mem);
	second = first;
	end = now_us() + seconds * 500000ULL;
	while (now_us() < end || (flush && now_us() < end + 10000000 &&
				  second.counter[HMM_GPU_WAITS] == first.counter[HMM_GPU_WAITS])) {
		err = gpu_run(fd, HMM_GPU_FILL, mem, len, NULL, 1, NULL);
		if (err) {
			bad("among changes of the same memory: error %d", err);
			break;
		}
		second = gpu_stats(fd);
	}

	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < NOISES + 1; i++)
		pthread_join(threads[i], NULL);
	set_param("tlb_flush_us", "0");

	/* A few waits may be for the kernel, which can migrate pages at any time. */
	if (first.counter[HMM_GPU_WAITS] > 2 + n / 20)
		bad("%llu of %lu faults waited for changes of other addresses",
		    first.counter[HMM_GPU_WAITS], n);
	qsort(us, n, sizeof(us[0]), by_size);
	if (n && us[n - 1] > 5000000)
		bad("%lu rounds, the longest took %.1f s", n, us[n - 1] / 1e6);
	if (second.counter[HMM_GPU_TIMEOUTS] || second.counter[HMM_GPU_MAX_WAIT_NS] > 2000000000)
		bad("%llu faults timed out, the longest waited %.1f s",
		    second.counter[HMM_GPU_TIMEOUTS], second.counter[HMM_GPU_MAX_WAIT_NS] / 1e9);
	waits = second.counter[HMM_GPU_WAITS] - first.counter[HMM_GPU_WAITS];
	wait_ms = (second.counter[HMM_GPU_WAIT_NS] - first.counter[HMM_GPU_WAIT_NS]) / 1e6 /
		  (waits ? waits : 1);
	change_ms = change_us / 1000.0 / nr_own_changes;
	if (flush && !waits)
		bad("no fault waited");
	/* A wait must end with the change of the same memory, not of all others. */
	if (wait_ms > 3 * change_ms + 20)
		bad("faults waited for %.1f ms, for changes of %.1f ms", wait_ms, change_ms);

	part_info(before, "no starvation: while %lu changes of other addresses are in flight without a pause (%ld gaps; %s):",
		  nr_noises, gaps, flush ? "6 threads, 3 ms each" : "not root: short ones");
	part_info(before, "       %lu munmaps or DONTNEEDs, then a GPU command: %llu faults waited; p50 %.1f ms, p99 %.1f ms, max %.1f ms",
		  n, first.counter[HMM_GPU_WAITS], n ? us[n / 2] / 1e3 : 0,
		  n ? us[n - 1 - n / 100] / 1000.0 : 0, n ? us[n - 1] / 1e3 : 0);
	part_info(before, "       GPU commands among DONTNEEDs of the same memory: %llu faults waited, mean %.1f ms (a DONTNEED: %.1f ms), max %.1f ms; %llu timed out",
		  waits, wait_ms, change_ms,
		  second.counter[HMM_GPU_MAX_WAIT_NS] / 1e6, second.counter[HMM_GPU_TIMEOUTS]);
	gpu_close(fd);
	gpu_close(noise_fd);
	munmap(mem, (NOISES + 1) * RANGE_SIZE);
}

/* ------------------------------------------------------------- 5: processes */

static int pidfd_getfd(pid_t pid, int *fd, int remote)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -1;
	*fd = syscall(SYS_pidfd_getfd, pidfd, remote, 0);
	if (*fd < 0) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

#define VICTIM_LEN	(1024 * page_size)

static void *dontneed(void *arg)
{
	for (;;)
		madvise(arg, VICTIM_LEN / 4, MADV_DONTNEED);
	return NULL;
}

/* Run GPU commands until killed. */
static void __noreturn victim(int out, char *mem)
{
	int fd = gpu_open(device);
	pthread_t thread;

	start(&thread, dontneed, mem);
	if (write(out, &fd, sizeof(fd)) != sizeof(fd))
		_exit(1);
	for (;;)
		gpu_run(fd, HMM_GPU_FILL, mem, VICTIM_LEN, NULL, 1, NULL);
}

static void part_processes(int kills)
{
	unsigned long before = failures, refused = 0;
	__u64 *mem = map(2 * page_size), got;
	int fd = gpu_open(device), fds[2], status, i;
	char *victims = map(VICTIM_LEN);
	bool mrelease = false;
	pid_t pid;

	/* A file that a child inherits acts on the memory of the parent. */
	mem[0] = 1;
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		mem[0] = 2;
		if (gpu_run(fd, HMM_GPU_ATOMIC_ADD, mem, page_size, NULL, 100, NULL) ||
		    mem[0] != 2 || mem[1] != 0 ||
		    gpu_run(fd, HMM_GPU_CHECKSUM, mem, 8, NULL, 0, &got) || got != 101)
			_exit(1);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		bad("fork: the child's view");
	if (mem[0] != 101 || mem[1] != 100)
		bad("fork: the GPU did not act on the memory of the parent");
	part_info(before, "fork: commands of a child act on the memory of the parent, which opened the device");
	gpu_close(fd);
	munmap(mem, 2 * page_size);

	/* kill -9 while commands are in flight; then only the file is left. */
	before = failures;
	for (i = 0; i < kills; i++) {
		struct hmm_gpu_stats stats;
		int remote, pidfd, err;
		size_t j;

		if (pipe2(fds, O_CLOEXEC))
			die("pipe");
		fflush(stdout);
		pid = fork();
		if (pid < 0)
			die("fork");
		if (!pid)
			victim(fds[1], victims);
		close(fds[1]);
		if (read(fds[0], &remote, sizeof(remote)) != sizeof(remote))
			die("victim");
		close(fds[0]);
		set_param("tlb_flush_us", i % 2 ? "300" : "0");
		pidfd = pidfd_getfd(pid, &fd, remote);
		usleep(5000 + 17000 * (i % 4));
		kill(pid, SIGKILL);
		/*
		 * Reap its memory as the OOM killer does. The driver must not sleep then, so
		 * with a slow TLB flush it must refuse.
		 */
		if (pidfd >= 0 && !syscall(SYS_process_mrelease, pidfd, 0))
			mrelease = true;
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
		    WTERMSIG(status) != SIGKILL)
			bad("kill: status %x", status);
		if (pidfd < 0)
			continue;

		/* Access the memory that the GPU mapped last. */
		for (j = 0; j < VICTIM_LEN; j += 16 * page_size) {
			err = gpu_run(fd, HMM_GPU_CHECKSUM, victims + j, 8, NULL, 0, NULL);
			if (err != ESRCH) {
				bad("kill: error %d instead of ESRCH", err);
				break;
			}
		}
		stats = gpu_stats(fd);
		refused += stats.counter[HMM_GPU_NONBLOCK_FAILURES];
		gpu_close(fd);
		close(pidfd);
	}
	set_param("tlb_flush_us", "0");
	munmap(victims, VICTIM_LEN);
	part_info(before, "kill: %d processes killed with commands in flight, their files then return ESRCH%s (%lu invalidations refused)",
		  kills, mrelease ? "; memory reaped by process_mrelease()" : "", refused);
}

/* ------------------------------------------------------------------- --abuse */

static unsigned long nr_tests;

static void __printf(2, 3) test(bool ok, const char *fmt, ...)
{
	va_list ap;

	if (!ok)
		failures++;
	printf("%sok %lu - ", ok ? "" : "not ", ++nr_tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void test_bad_commands(int fd, __u64 *mem)
{
	const __u64 a = (uintptr_t)mem, p = page_size, top = 1ULL << 63;
	const struct {
		const char *what;
		int err;
		struct hmm_gpu_cmd cmd;
	} tests[] = {
		{ "unknown op", EINVAL, { .op = HMM_GPU_NR_OPS, .addr = a, .len = p } },
		{ "op -1", EINVAL, { .op = -1U, .addr = a, .len = p } },
		{ "flags", EINVAL, { .flags = 2, .addr = a, .len = p } },
		{ "resumes behind its end", EINVAL,
		  { .flags = HMM_GPU_RESUMES, .addr = a, .len = p, .done = p + 8 } },
		{ "resumes unaligned", EINVAL,
		  { .flags = HMM_GPU_RESUMES, .addr = a, .len = p, .done = 4 } },
		{ "no length", EINVAL, { .addr = a } },
		{ "length 4", EINVAL, { .addr = a, .len = 4 } },
		{ "unaligned fill", EINVAL, { .addr = a + 1, .len = p } },
		{ "unaligned atomic", EINVAL,
		  { .op = HMM_GPU_ATOMIC_ADD, .addr = a + 4, .len = p, .value = 1 } },
		{ "unaligned src", EINVAL,
		  { .op = HMM_GPU_COPY, .addr = a, .len = p, .src = a + p + 4 } },
		{ "address wraps around", EINVAL, { .addr = -p, .len = 2 * p } },
		{ "length wraps around", EINVAL, { .addr = a, .len = -8ULL } },
		{ "src wraps around", EINVAL,
		  { .op = HMM_GPU_COPY, .addr = a, .len = 2 * p, .src = -p } },
		{ "src of a fill", EINVAL, { .addr = a, .len = p, .src = a + p } },
		{ "value of a checksum", EINVAL,
		  { .op = HMM_GPU_CHECKSUM, .addr = a, .len = p, .value = 1 } },
		{ "value of a verify", EINVAL,
		  { .op = HMM_GPU_VERIFY, .addr = a, .len = p, .value = 1 } },
		{ "copy onto itself", EINVAL,
		  { .op = HMM_GPU_COPY, .addr = a, .len = p, .src = a } },
		{ "overlapping copy", EINVAL,
		  { .op = HMM_GPU_COPY, .addr = a + 8, .len = p, .src = a } },
		{ "overlapping copy, downwards", EINVAL,
		  { .op = HMM_GPU_COPY, .addr = a, .len = p, .src = a + p - 8 } },
		{ "kernel address", EFAULT, { .addr = top, .len = p } },
		{ "the last page", EFAULT, { .addr = -2 * p, .len = p } },
		{ "from user space into the kernel", EFAULT, { .addr = a, .len = top - a } },
		{ "copy from the kernel", EFAULT,
		  { .op = HMM_GPU_COPY, .addr = a, .len = p, .src = top } },
		{ "address 0", EFAULT, { .addr = 0, .len = p } },
	};
	struct hmm_gpu_stats before = gpu_stats(fd), after;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		struct hmm_gpu_cmd cmd = tests[i].cmd;
		bool same = true;
		int err;

		for (j = 0; j < 2 * p / 8; j++)
			mem[j] = j;
		if (cmd.op == HMM_GPU_FILL)
			cmd.value = -1;
		err = gpu_cmd(fd, &cmd);
		for (j = 0; j < 2 * p / 8; j++)
			same &= mem[j] == j;
		test(err == tests[i].err && same, "%s: %s", tests[i].what, strerror(err));
	}
	after = gpu_stats(fd);
	/* Address 0 is in the address space, so only that command reached the engine. */
	test(after.counter[HMM_GPU_COMMANDS] == before.counter[HMM_GPU_COMMANDS] + 1 &&
	     after.counter[HMM_GPU_PTES_INSTALLED] == before.counter[HMM_GPU_PTES_INSTALLED],
	     "none of these commands reached the engine");
}

/* Check result, progress and fault address of a command on some kind of memory. */
static void test_access(int fd, const char *what, unsigned int op, const void *addr, size_t len,
			const void *src, int want, size_t want_done, const void *want_addr)
{
	struct hmm_gpu_cmd cmd = {
		.op = op, .addr = (uintptr_t)addr, .len = len, .src = (uintptr_t)src,
	};
	int err = gpu_cmd(fd, &cmd);

	test(err == want && cmd.done == want_done && cmd.fault_addr == (uintptr_t)want_addr,
	     "%s: %s, %llu bytes done, fault address %llx", what, strerror(err),
	     cmd.done, cmd.fault_addr);
}

static void test_memory(int fd)
{
	const size_t p = page_size;
	char *mem = map(16 * p), *ro, *priv, *other = map(16 * p);
	int memfd, secret, ro_fd;
	char name[64], word[8];

	munmap(mem + 3 * p, p);
	test_access(fd, "hole in the middle, read", HMM_GPU_CHECKSUM, mem, 8 * p, NULL,
		    EFAULT, 3 * p, mem + 3 * p);
	test_access(fd, "hole in the middle, write", HMM_GPU_FILL, mem + 8, 8 * p, NULL,
		    EFAULT, 3 * p - 8, mem + 3 * p);
	test_access(fd, "hole in the source", HMM_GPU_COPY, other, 8 * p, mem, EFAULT, 3 * p,
		    mem + 3 * p);
	test_access(fd, "around the hole", HMM_GPU_FILL, mem + 4 * p, 12 * p, NULL, 0, 12 * p,
		    NULL);
	mprotect(mem + 6 * p, p, PROT_READ);
	test_access(fd, "read-only, read", HMM_GPU_CHECKSUM, mem + 4 * p, 4 * p, NULL, 0, 4 * p,
		    NULL);
	test_access(fd, "read-only, write", HMM_GPU_FILL, mem + 4 * p, 4 * p, NULL, EPERM, 2 * p,
		    mem + 6 * p);
	mprotect(mem + 6 * p, p, PROT_NONE);
	test_access(fd, "PROT_NONE", HMM_GPU_CHECKSUM, mem + 4 * p, 4 * p, NULL, EFAULT, 2 * p,
		    mem + 6 * p);
	test_access(fd, "overlapping compare", HMM_GPU_COMPARE, other, 8 * p, other + 8, 0, 8 * p,
		    NULL);

	memfd = memfd_create("hmm_gpu_demo", MFD_CLOEXEC);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", memfd);
	ro_fd = open(name, O_RDONLY | O_CLOEXEC);
	if (memfd >= 0 && ro_fd >= 0 && !ftruncate(memfd, 2 * p)) {
		ro = mmap(NULL, 4 * p, PROT_READ, MAP_SHARED, ro_fd, 0);
		priv = mmap(NULL, p, RW, MAP_PRIVATE, memfd, 0);
		test_access(fd, "read-only file, write", HMM_GPU_FILL, ro, p, NULL, EPERM, 0, ro);
		test_access(fd, "behind the end of a file", HMM_GPU_CHECKSUM, ro, 4 * p, NULL,
			    EFAULT, 2 * p, ro + 2 * p);
		test(!gpu_run(fd, HMM_GPU_FILL, priv, p, NULL, -1, NULL) && priv[0] == -1 &&
		     pread(memfd, word, 8, 0) == 8 && !word[0],
		     "private mapping of a file: written, and the file is not");
		/* Truncation removes the pages. */
		test(!ftruncate(memfd, 0) &&
		     gpu_run(fd, HMM_GPU_CHECKSUM, ro, p, NULL, 0, NULL) == EFAULT,
		     "truncated file: the GPU cannot access the pages either");
		munmap(ro, 4 * p);
		munmap(priv, p);
	}
	close(ro_fd);
	close(memfd);

	/* This has no mapping in the kernel, which a software GPU would need. */
	secret = syscall(SYS_memfd_secret, O_CLOEXEC);
	if (secret >= 0 && !ftruncate(secret, p)) {
		char *s = mmap(NULL, p, RW, MAP_SHARED, secret, 0);

		if (s != MAP_FAILED) {
			s[0] = 1;
			test_access(fd, "memfd_secret()", HMM_GPU_CHECKSUM, s, p, NULL, EFAULT, 0,
				    s);
			munmap(s, p);
		}
	}
	if (secret >= 0)
		close(secret);

	test_access(fd, "code, write", HMM_GPU_FILL, (void *)((uintptr_t)test_memory & ~7UL), 8,
		    NULL, EPERM, 0, (void *)((uintptr_t)test_memory & ~7UL));
	munmap(mem, 16 * p);
	munmap(other, 16 * p);
}

static void test_ioctls(int fd)
{
	struct hmm_gpu_stats stats = { .flags = 2 };
	struct hmm_gpu_cmd *cmd = map(page_size);
	__u64 word = 5;
	char buf[8];

	test(ioctl(fd, HMM_GPU_STATS, &stats) < 0 && errno == EINVAL, "stats: unknown flag");
	stats = (struct hmm_gpu_stats){ .reserved = 1 };
	test(ioctl(fd, HMM_GPU_STATS, &stats) < 0 && errno == EINVAL, "stats: reserved");
	test(ioctl(fd, HMM_GPU_STATS, NULL) < 0 && errno == EFAULT, "stats: no memory");
	test(ioctl(fd, HMM_GPU_RUN, NULL) < 0 && errno == EFAULT, "run: no memory");
	test(ioctl(fd, _IO('H', 0xb0), cmd) < 0 && errno == ENOTTY, "unknown ioctl");
	test(read(fd, buf, 8) < 0 && errno == EINVAL, "read()");
	test(mmap(NULL, page_size, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV,
	     "mmap()");

	*cmd = (struct hmm_gpu_cmd){
		.op = HMM_GPU_ATOMIC_ADD, .addr = (uintptr_t)&word, .len = 8, .value = 1,
	};
	mprotect(cmd, page_size, PROT_READ);
	test(ioctl(fd, HMM_GPU_RUN, cmd) < 0 && errno == EFAULT && word == 5,
	     "run: no room for the result");
	munmap(cmd, page_size);

	stats = (struct hmm_gpu_stats){ .flags = HMM_GPU_STATS_RESET };
	test(!ioctl(fd, HMM_GPU_STATS, &stats) && stats.counter[HMM_GPU_COMMANDS] &&
	     !gpu_stats(fd).counter[HMM_GPU_COMMANDS], "stats: reset");

	if (set_param("tlb_flush_us", "0")) {
		test(!set_param("tlb_flush_us", "1000001"), "tlb_flush_us too large");
		test(!set_param("tlb_flush_us", "-1"), "tlb_flush_us negative");
		test(set_param("tlb_flush_us", "1000000") && set_param("tlb_flush_us", "0"),
		     "tlb_flush_us at its limits");
	}
}

/* Use more address space than the device has page tables for. */
static void test_many_ranges(int fd)
{
	enum { N = 1100 };
	char *mem = mmap(NULL, N * RANGE_SIZE, RW, ANON | MAP_NORESERVE, -1, 0);
	__u64 n, sum = 0, total = 0;
	int i, err = 0;

	if (mem == MAP_FAILED)
		die("mmap");
	madvise(mem, N * RANGE_SIZE, MADV_NOHUGEPAGE);
	for (i = 0; !err && i < N; i++)
		err = gpu_run(fd, HMM_GPU_FILL, mem + i * RANGE_SIZE, 8, NULL, i + 1, NULL);
	for (i = 0; !err && i < N; i++) {
		err = gpu_run(fd, HMM_GPU_CHECKSUM, mem + i * RANGE_SIZE, 8, NULL, 0, &n);
		sum += n;
		total += *(__u64 *)(mem + i * RANGE_SIZE);
	}
	test(!err && sum == N * (N + 1) / 2 && total == sum, "%d ranges", N);
	test(!gpu_run(fd, HMM_GPU_VERIFY, mem, N * RANGE_SIZE, NULL, 0, &n) && n,
	     "%llu device PTEs, none stale", n);
	munmap(mem, N * RANGE_SIZE);
	test(!gpu_run(fd, HMM_GPU_VERIFY, mem, N * RANGE_SIZE, NULL, 0, &n) && !n,
	     "no device PTE after munmap");
}

/* The file outlives the mm: the process that opened it calls exec or exits. */
static void test_dead_mm(void)
{
	__u64 got = 0;
	int fds[2], fd;
	pid_t pid;

	if (pipe(fds))
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		fd = gpu_open(device);
		gpu_run(fd, HMM_GPU_FILL, &got, 8, NULL, 1, NULL);
		if (fork())
			_exit(0);
		usleep(100000);
		got = gpu_run(fd, HMM_GPU_FILL, &got, 8, NULL, 1, NULL) == ESRCH &&
		      gpu_run(fd, HMM_GPU_VERIFY, &got, 8, NULL, 0, NULL) == ESRCH;
		_exit(write(fds[1], &got, 8) != 8);
	}
	close(fds[1]);
	waitpid(pid, NULL, 0);
	test(read(fds[0], &got, 8) == 8 && got == 1, "process gone: ESRCH");
	close(fds[0]);
}

static int abuse(void)
{
	int fd = gpu_open(device), i;
	__u64 *mem = map(2 * page_size);
	struct rlimit none = { 1, 1 };

	setrlimit(RLIMIT_CORE, &none);
	test_bad_commands(fd, mem);
	test_memory(fd);
	test_ioctls(fd);
	test_many_ranges(fd);
	test_dead_mm();
	for (i = 0; i < 200; i++)
		close(gpu_open(device));
	test(true, "opened and closed %d times", i);
	gpu_close(fd);
	printf("1..%lu\n%s\n", nr_tests, failures ? "FAIL" : "PASS");
	return failures ? 1 : 0;
}

/* ----------------------------------------------------------------------- dma */

/* Return the size of huge pages in the mapping that begins at @addr. */
static size_t huge_bytes(const void *addr)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long start, kib = 0;
	bool found = false;
	char line[256], c;

	if (!smaps)
		die("/proc/self/smaps");
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%*x %c", &start, &c) == 2)
			found = start == (uintptr_t)addr;
		else if (found && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			break;
	}
	fclose(smaps);
	return kib << 10;
}

/* Check how many DMA mappings one device page fault needs. */
static void test_mappings(int fd)
{
	struct hmm_gpu_stats before, after;
	__u64 pages, mappings;
	char *mem = map_ranges(1);
	unsigned int i;

	for (i = 0; i < 8; i++)
		mem[i * page_size] = 1;
	before = gpu_stats(fd);
	test(!gpu_run(fd, HMM_GPU_FILL, mem, 64, NULL, 1, NULL), "the GPU writes to memory by DMA");
	after = gpu_stats(fd);
	pages = after.counter[HMM_GPU_PTES_INSTALLED] - before.counter[HMM_GPU_PTES_INSTALLED];
	mappings = after.counter[HMM_GPU_DMA_MAPPINGS] - before.counter[HMM_GPU_DMA_MAPPINGS];
	test(pages == 8 && mappings >= 1 && mappings <= 8,
	     "%llu small pages cost %llu DMA mapping(s)", pages, mappings);

	munmap(mem, RANGE_SIZE);
	mem = mmap(mem, RANGE_SIZE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	madvise(mem, RANGE_SIZE, MADV_HUGEPAGE);
	mem[0] = 1;
	if (huge_bytes(mem) == RANGE_SIZE) {
		before = gpu_stats(fd);
		i = gpu_run(fd, HMM_GPU_FILL, mem + 100 * page_size, 64, NULL, 1, NULL);
		after = gpu_stats(fd);
		pages = after.counter[HMM_GPU_PTES_INSTALLED] -
			before.counter[HMM_GPU_PTES_INSTALLED];
		mappings = after.counter[HMM_GPU_DMA_MAPPINGS] -
			   before.counter[HMM_GPU_DMA_MAPPINGS];
		test(!i && pages == RANGE_SIZE / page_size && mappings == 1,
		     "a huge page, which is %llu pages, costs %llu DMA mapping(s)", pages,
		     mappings);
	} else {
		test(true, "a huge page # SKIP the kernel allocated none");
	}
	munmap(mem, RANGE_SIZE);
}

/* The GPU must read the data that the CPU wrote last, and vice versa. */
static void test_changes(int fd)
{
	static const char *const names[] = {
		"untouched", "after MADV_DONTNEED", "after mremap()", "after fork()",
	};
	__u64 *src = (__u64 *)map_ranges(1), *dst = (__u64 *)map_ranges(1), *to;
	unsigned int i, round;
	pid_t pid = 0;

	for (round = 0; round < 8; round++) {
		switch (round % 4) {
		case 1:
			madvise(src, page_size, MADV_DONTNEED);
			madvise(dst, page_size, MADV_DONTNEED);
			break;
		case 2:
			to = (__u64 *)map_ranges(1);
			dst[0] = 4711;
			dst = mremap(dst, page_size, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
			if (dst == MAP_FAILED)
				die("mremap");
			break;
		case 3:
			pid = fork();
			if (!pid) {
				pause();
				_exit(0);
			}
		}
		for (i = 0; i < 8; i++)
			src[i] = CPU_TAG(round, i);
		i = gpu_run(fd, HMM_GPU_COPY, dst, 64, src, 0, NULL);
		test(!i && !memcmp(dst, src, 64) && src[7] == CPU_TAG(round, 7),
		     "the GPU copies, memory %s", names[round % 4]);
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			pid = 0;
		}
	}
	munmap(src, RANGE_SIZE);
	munmap(dst, page_size);
}

static __u64 neighbour_us;

static void *neighbour_changes(void *arg)
{
	char *page = arg;
	__u64 t;

	while (running()) {
		madvise(page, page_size, MADV_DONTNEED);
		page[0]++;
		/* Busy-wait, because a sleep is not exact enough. */
		for (t = now_us(); now_us() - t < neighbour_us;)
			;
	}
	return NULL;
}

/* Invalidate a page faster than the device can map all pages of its range. */
static void test_busy_neighbour(int fd)
{
	__u64 *mem = (__u64 *)map_ranges(1), n = 0, t, map_us = ~0ULL;
	struct hmm_gpu_stats stats;
	unsigned int i, err = 0;
	pthread_t thread;

	memset(mem, 1, RANGE_SIZE);
	for (i = 0; i < 5 && !err; i++) {
		madvise(mem, page_size, MADV_DONTNEED);
		t = now_us();
		err = gpu_run(fd, HMM_GPU_FILL, mem, 64, NULL, i, NULL);
		t = now_us() - t;
		if (map_us > t)
			map_us = t;
	}
	neighbour_us = map_us / 8;

	start(&thread, neighbour_changes, (char *)mem + page_size);
	for (i = 1; i <= 5 && !err; i++) {
		err = gpu_run(fd, HMM_GPU_FILL, mem, 64, NULL, i, NULL);
		if (mem[0] != i || mem[7] != i)
			err = EIO;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	stats = gpu_stats(fd);
	/* A driver that always maps all pages would retry hundreds of times, or forever. */
	test(!err && stats.counter[HMM_GPU_INVALIDATIONS] && stats.counter[HMM_GPU_RETRIES] < 250,
	     "the GPU writes while an adjacent page changes every %llu us (%llu invalidations, %llu retries)",
	     neighbour_us, stats.counter[HMM_GPU_INVALIDATIONS],
	     stats.counter[HMM_GPU_RETRIES]);
	test(!gpu_run(fd, HMM_GPU_VERIFY, mem, RANGE_SIZE, NULL, 0, &n), "no device PTE is stale");
	munmap(mem, RANGE_SIZE);
	test(!gpu_run(fd, HMM_GPU_VERIFY, mem, RANGE_SIZE, NULL, 0, &n) && !n,
	     "no device PTE after munmap");
}

/* Hardware may be slow, so each command has a few words only. */
static int dma(void)
{
	int fd = gpu_open(device), fd2 = gpu_open(device);
	char *mem = map_ranges(1);

	test_mappings(fd);
	test_changes(fd);
	test_busy_neighbour(fd);
	test(!gpu_run(fd, HMM_GPU_COPY, mem, 64, mem + page_size, 0, NULL) && !mem[0],
	     "the GPU reads untouched memory");
	mprotect(mem, page_size, PROT_READ);
	test(gpu_run(fd, HMM_GPU_FILL, mem, 64, NULL, 1, NULL) == EPERM, "read-only: EPERM");
	munmap(mem, page_size);
	test(gpu_run(fd, HMM_GPU_FILL, mem, 64, NULL, 1, NULL) == EFAULT, "unmapped: EFAULT");
	test(!gpu_run(fd2, HMM_GPU_FILL, mem + page_size, 64, NULL, 7, NULL) &&
	     mem[page_size] == 7, "the same memory for two files");
	gpu_close(fd);
	gpu_close(fd2);
	printf("1..%lu\n%s\n", nr_tests, failures ? "FAIL" : "PASS");
	return failures ? 1 : 0;
}

/* ---------------------------------------------------------------------- main */

static void usage(FILE *to)
{
	fprintf(to,
		"hmm_gpu_demo [-d DEVICE] [-s SECONDS] [--quick | --hold | --abuse | --dma]\n"
		"  -d DEVICE    default /dev/hmm_gpu\n"
		"  -s SECONDS   length of the storm, default 8\n"
		"  --quick      all parts, in short\n"
		"  --hold       only the storm, until killed\n"
		"  --abuse      only bad input\n"
		"  --dma        only tests for a GPU that moves data by DMA, like hmm_gpu_edu\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "hold", no_argument, NULL, 'o' },
		{ "abuse", no_argument, NULL, 'a' },
		{ "dma", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int seconds = 8, mode = 0, c;
	bool quick = false;

	while ((c = getopt_long(argc, argv, "d:s:h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 's':
			seconds = atoi(optarg);
			if (seconds < 1) {
				usage(stderr);
				return 2;
			}
			break;
		case 'q':
			quick = true;
			seconds = 2;
			break;
		case 'o':
		case 'a':
		case 'm':
			mode = c;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	page_size = sysconf(_SC_PAGESIZE);
	snprintf(device2, sizeof(device2), "%s1", device);
	have_gpu2 = !access(device2, R_OK | W_OK);
	if (!have_gpu2)
		snprintf(device2, sizeof(device2), "%s", device);

	if (mode == 'a')
		return abuse();
	if (mode == 'm')
		return dma();
	if (mode == 'o')
		part_storm(-1);

	part_sharing();
	part_storm(seconds);
	part_atomics(quick ? 1 : 2);
	part_starvation(quick ? 1 : 3);
	part_processes(quick ? 4 : 12);

	printf("GPU page faults %llu, pages mapped %llu, collisions %llu, retries %llu\n",
	       total[HMM_GPU_FAULTS], total[HMM_GPU_PTES_INSTALLED],
	       total[HMM_GPU_COLLISIONS], total[HMM_GPU_RETRIES]);
	printf("waits %llu, longest %.1f ms, timeouts %llu\n", total[HMM_GPU_WAITS],
	       total[HMM_GPU_MAX_WAIT_NS] / 1e6, total[HMM_GPU_TIMEOUTS]);
	printf("invalidations %llu, pages unmapped %llu, refused (non-blockable) %llu\n",
	       total[HMM_GPU_INVALIDATIONS], total[HMM_GPU_PTES_REMOVED],
	       total[HMM_GPU_NONBLOCK_FAILURES]);
	if (!total[HMM_GPU_INVALIDATIONS] || !total[HMM_GPU_PTES_REMOVED])
		bad("nothing was invalidated");
	if (total[HMM_GPU_TIMEOUTS])
		bad("device page faults timed out");
	printf("%s\n", failures ? "FAIL" : "PASS");
	return failures ? 1 : 0;
}
