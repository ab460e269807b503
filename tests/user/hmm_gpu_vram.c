// SPDX-License-Identifier: GPL-2.0
/*
 * Move memory of a process to the memory of the GPU of samples/hmm_gpu.c, use it there, let
 * the CPU move it back, and remove it in all ways that the mm offers.
 *
 *	insmod hmm-gpu.ko gpus=2 vram_mb=16; hmm_gpu_vram [NUMBER-OF-A-TEST...]
 *
 * Prints TAP. Exit code 0, 1 if a test failed, or 4 if the GPU has no memory. No other program
 * should use the GPU meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "samples/hmm_gpu.h"

#ifndef __printf
#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define HUGE		(2UL << 20)
#define RW		(PROT_READ | PROT_WRITE)
#define PARAMETERS	"/sys/module/hmm_gpu/parameters/"
#define EXIT_ALL_SKIPPED	4

/* Not defined by old C libraries. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif

static const char gpu0[] = "/dev/hmm_gpu", gpu1[] = "/dev/hmm_gpu1";
static size_t page;		/* size of a page, in bytes */
static size_t vram;		/* memory of a GPU, in bytes */
static bool stop;		/* ends the threads of a test */
static unsigned int failures;	/* of the running test */
static const char *skipped;	/* reason if the test was skipped */

/* -------------------------------------------------------------------- helpers */

static void __printf(1, 2) bad(const char *fmt, ...)
{
	va_list ap;

	if (__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) >= 10)
		return;
	va_start(ap, fmt);
	printf("# wrong: ");
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	va_end(ap);
}

/* Report a failure that is not due to the GPU, and exit. */
static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static bool running(void)
{
	return !__atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long n = -1;

	if (file) {
		if (fscanf(file, "%ld", &n) != 1)
			n = -1;
		fclose(file);
	}
	return n;
}

static bool set_param(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, value, strlen(value)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* Align to huge pages and to ranges of the driver, so that tests do not share any. */
static uint64_t *map(size_t len)
{
	size_t all = ((len + HUGE - 1) & ~(HUGE - 1)) + HUGE;
	char *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *start = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));

	if (p == MAP_FAILED || mprotect(start, len, RW))
		die("mmap");
	if (start > p)
		munmap(p, start - p);
	munmap(start + len, p + all - (start + len));
	madvise(start, len, MADV_NOHUGEPAGE);
	return (uint64_t *)start;
}

static void fill(uint64_t *mem, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len / 8; i++)
		mem[i] = seed + i * 0x9e3779b97f4a7c15;
}

static uint64_t sum(size_t len, uint64_t seed)
{
	uint64_t s = 0;
	size_t i;

	for (i = 0; i < len / 8; i++)
		s += seed + i * 0x9e3779b97f4a7c15;
	return s;
}

/* Check the data by reads of the CPU, which move the pages back to RAM. */
static void check_cpu(const char *when, const uint64_t *mem, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len / 8; i++) {
		if (mem[i] != seed + i * 0x9e3779b97f4a7c15) {
			bad("%s: the CPU reads word %zu as %llx instead of %llx", when, i,
			    (unsigned long long)mem[i],
			    (unsigned long long)(seed + i * 0x9e3779b97f4a7c15));
			return;
		}
	}
}

/* Return the number of pages in device memory, if there is no swap space. */
static size_t pages_away(const uint64_t *mem, size_t len)
{
	static int fd = -1;
	static pid_t pid;
	uint64_t entry;
	size_t i, n = 0;

	if (pid != getpid()) {
		if (fd >= 0)
			close(fd);
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		pid = getpid();
	}
	for (i = 0; i < len / page; i++) {
		if (pread(fd, &entry, 8, ((uintptr_t)mem / page + i) * 8) != 8)
			die("/proc/self/pagemap");
		n += (entry >> 62) == 1;	/* "swapped", not present */
	}
	return n;
}

static int gpu_open(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(name);
	return fd;
}

/* Run a command. Return 0 or the errno. */
static int gpu(int fd, unsigned int op, const void *mem, size_t len, const void *src,
	       uint64_t value, uint64_t *result)
{
	struct hmm_gpu_cmd cmd = {
		.op = op, .addr = (uintptr_t)mem, .len = len,
		.src = (uintptr_t)src, .value = value,
	};
	int err = ioctl(fd, HMM_GPU_RUN, &cmd) ? errno : 0;

	if (result)
		*result = cmd.result;
	return err;
}

static uint64_t counter(int fd, enum hmm_gpu_counter i)
{
	struct hmm_gpu_stats stats = { 0 };

	if (ioctl(fd, HMM_GPU_STATS, &stats))
		die("HMM_GPU_STATS");
	return stats.counter[i];
}

static void check_gpu(const char *when, int fd, const uint64_t *mem, size_t len, uint64_t seed)
{
	uint64_t got;
	int err = gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &got);

	if (err)
		bad("%s: the GPU cannot read: %s", when, strerror(err));
	else if (got != sum(len, seed))
		bad("%s: the GPU reads something else", when);
}

static void verify(const char *when, int fd, const uint64_t *mem, size_t len)
{
	int err = gpu(fd, HMM_GPU_VERIFY, mem, len, NULL, 0, NULL);

	if (err)
		bad("%s: device PTEs: %s", when, strerror(err));
}

/* Retry, because a page can be busy for a moment. Return the number of bytes moved. */
static uint64_t try_to_vram(int fd, const uint64_t *mem, size_t len)
{
	size_t room = len < vram ? len : vram;
	uint64_t moved = 0, n;
	int err, i;

	for (i = 0; i < 50 && pages_away(mem, len) < room / page; i++) {
		if (i)
			usleep(10000);
		err = gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, len, NULL, 0, &n);
		if (err) {
			bad("pages do not move: %s", strerror(err));
			break;
		}
		moved += n;
	}
	return moved;
}

static void to_vram(const char *when, int fd, const uint64_t *mem, size_t len)
{
	uint64_t moved = try_to_vram(fd, mem, len);

	if (moved != len)
		bad("%s: %zu of %zu bytes moved", when, (size_t)moved, len);
}

static void check_away(const char *when, const uint64_t *mem, size_t len, bool away)
{
	size_t n = pages_away(mem, len), want = away ? len / page : 0;

	if (n != want)
		bad("%s: %zu pages are in the memory of the GPU instead of %zu", when, n, want);
}

static void expect_err(const char *when, int err, int want)
{
	if (err != want)
		bad("%s: %s instead of %s", when, strerror(err), strerror(want));
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	errno = pthread_create(thread, NULL, fn, arg);
	if (errno)
		die("pthread_create");
}

/* A child reports failures by its exit status; nothing evaluates its output. */
static void join_child(const char *when, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		bad("%s: the child ended with status %x", when, status);
}

static pid_t fork_child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		failures = 0;
	return pid;
}

static void leave_child(void)
{
	fflush(stdout);
	_exit(failures ? 1 : 0);
}

static void signal_pipe(int fd[2])
{
	if (write(fd[1], "", 1) != 1)
		die("write");
}

static void wait_pipe(int fd[2])
{
	char c;

	if (read(fd[0], &c, 1) != 1)
		die("read");
}

/* ---------------------------------------------------------------------- tests */

/* Return a field of smaps, in kB, for the mapping that begins at @mem. */
static long smaps_kb(const void *mem, const char *field)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	size_t n = strlen(field);
	bool inside = false;
	unsigned long begin;
	char line[512], c;
	long kb = -1;

	if (!file)
		die("/proc/self/smaps");
	while (kb < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%*x %c", &begin, &c) == 2)
			inside = begin == (uintptr_t)mem;
		else if (inside && !strncmp(line, field, n) && line[n] == ':')
			kb = strtol(line + n + 1, NULL, 10);
	}
	fclose(file);
	return kb;
}

/* MADV_FREE ignores pages in a batch of a CPU. Moving a page drains the batches. */
static void free_lazily(const char *when, uint64_t *mem, size_t len)
{
	static char any[65536] __attribute__((aligned(65536)));
	uint64_t end = now_ms() + 10000;
	int node = 0, status;
	void *p = any;

	any[0] = 1;
	do {
		madvise(mem, len, MADV_FREE);
		syscall(SYS_move_pages, 0, 1, &p, &node, &status, 2 /* MPOL_MF_MOVE */);
	} while (smaps_kb(mem, "LazyFree") * 1024 != (long)len && now_ms() < end);
	if (smaps_kb(mem, "LazyFree") * 1024 != (long)len)
		bad("%s: the pages are not lazily free", when);
}

/*
 * After MADV_FREE, data that the GPU writes in device memory must stay, even if the CPU only
 * reads it. This test is the first, because the kernel does not free pages lazily if they were
 * normal pages in device memory before.
 */
static void test_lazy(void)
{
	size_t len = 16 * page;
	uint64_t *written = map(len), *other = map(len), end = now_ms() + 10000;
	int fd = gpu_open(gpu0);

	fill(written, len, 161);
	fill(other, len, 163);
	free_lazily("written", written, len);
	free_lazily("other", other, len);
	to_vram("written", fd, written, len);
	to_vram("other", fd, other, len);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, written, len, NULL, 1, NULL), 0);
	check_cpu("written", written, len, 162);
	check_cpu("other", other, len, 163);
	do {
		madvise(written, len, MADV_PAGEOUT);
		madvise(other, len, MADV_PAGEOUT);
	} while (smaps_kb(other, "Rss") && now_ms() < end);
	if (smaps_kb(other, "Rss"))
		skipped = "the kernel keeps pages that the GPU has not written";
	check_cpu("reclaimed", written, len, 162);
	check_gpu("reclaimed", fd, written, len, 162);
	close(fd);
	munmap(written, len);
	munmap(other, len);
}

static void test_there_and_back(void)
{
	size_t len = 64 * page;
	uint64_t *mem = map(2 * len), n;
	int fd = gpu_open(gpu0);

	fill(mem, len, 1);
	to_vram("first", fd, mem, len);
	check_away("moved", mem, len, true);
	check_gpu("there", fd, mem, len, 1);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 4, NULL), 0);
	check_gpu("there, changed", fd, mem, len, 5);
	check_away("used by the GPU", mem, len, true);
	verify("used by the GPU", fd, mem, len);

	/* Copy from device memory to RAM. */
	expect_err("copy", gpu(fd, HMM_GPU_COPY, mem + len / 8, len, mem, 0, NULL), 0);
	check_away("copied", mem, len, true);
	check_cpu("copy", mem + len / 8, len, 5);
	expect_err("compare", gpu(fd, HMM_GPU_COMPARE, mem, len, mem + len / 8, 0, &n), 0);
	if (n != len)
		bad("the GPU compares and finds a difference");

	check_cpu("back", mem, len, 5);
	check_away("back", mem, len, false);
	verify("back", fd, mem, len);
	fill(mem, len, 77);
	check_gpu("back, changed", fd, mem, len, 77);
	to_vram("again", fd, mem, len);
	check_gpu("there again", fd, mem, len, 77);
	mem[5]++;
	check_away("one page is back", mem + page / 8, len - page, true);
	expect_err("sum", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &n), 0);
	if (n != sum(len, 77) + 1)
		bad("the GPU does not see the data that the CPU wrote");
	verify("end", fd, mem, 2 * len);
	close(fd);
	munmap(mem, 2 * len);
}

/* Device memory must not show data of its previous user. */
static void test_untouched(void)
{
	size_t len = vram < 4 * HUGE ? vram : 4 * HUGE;
	uint64_t *mem = map(len), n = 1;
	int fd = gpu_open(gpu0);

	fill(mem, len, 3);
	to_vram("dirt", fd, mem, len);
	munmap(mem, len);

	mem = map(len);
	to_vram("nothing", fd, mem, len);
	check_away("nothing", mem, len, true);
	expect_err("sum", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &n), 0);
	if (n)
		bad("unwritten memory is not zero for the GPU");
	for (n = 0; n < len / 8 && !mem[n]; n++)
		;
	if (n < len / 8)
		bad("unwritten memory is not zero");
	verify("end", fd, mem, len);
	close(fd);
	munmap(mem, len);
}

static void test_huge_page(void)
{
	uint64_t *mem = map(HUGE);
	int fd = gpu_open(gpu0);

	madvise(mem, HUGE, MADV_HUGEPAGE);
	fill(mem, HUGE, 9);
	check_gpu("before", fd, mem, HUGE, 9);
	to_vram("all", fd, mem, HUGE);
	check_gpu("there", fd, mem, HUGE, 9);
	verify("there", fd, mem, HUGE);
	check_cpu("back", mem, HUGE, 9);
	verify("end", fd, mem, HUGE);
	close(fd);
	munmap(mem, HUGE);
}

/* The callback skips an invalidation only for the file that caused it. */
static void test_own(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len), n = 1;
	int fd = gpu_open(gpu0), other = gpu_open(gpu0);

	fill(mem, len, 11);
	check_gpu("before", fd, mem, len, 11);
	check_gpu("before", other, mem, len, 11);
	to_vram("all", fd, mem, len);
	if (!counter(fd, HMM_GPU_OWN_SKIPPED))
		bad("the driver recognized no invalidation as its own");
	if (counter(fd, HMM_GPU_INVALIDATIONS))
		bad("the driver's own invalidation was not skipped");
	if (counter(other, HMM_GPU_OWN_SKIPPED))
		bad("another file's invalidation was skipped");
	if (!counter(other, HMM_GPU_INVALIDATIONS))
		bad("the callback of another file was not called");
	expect_err("verify", gpu(fd, HMM_GPU_VERIFY, mem, len, NULL, 0, &n), 0);
	if (n)
		bad("%zu device PTEs of pages that have moved", (size_t)n);
	verify("another file", other, mem, len);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	check_gpu("another file", other, mem, len, 12);
	check_away("both", mem, len, true);
	check_cpu("back", mem, len, 12);
	verify("end", fd, mem, len);
	verify("end", other, mem, len);
	close(other);
	close(fd);
	munmap(mem, len);
}

struct work {
	int fd;
	uint64_t *mem;
	size_t len;
	uint64_t n;	/* out: rounds, or bytes moved */
	uint64_t sum;	/* out: of the first words of all pages, or bytes moved */
	uint64_t *beat;	/* rounds of another thread, which must make progress */
};

static uint64_t load(uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

/* Move memory for which the GPU has mapped the shared zero page. */
static void zero_page_mapped(void)
{
	size_t len = 16 * page;
	uint64_t *mem = map(len), n = 1;
	int fd = gpu_open(gpu0);

	expect_err("sum", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &n), 0);
	to_vram("zero pages", fd, mem, len);
	verify("moved", fd, mem, len);
	expect_err("fill", gpu(fd, HMM_GPU_FILL, mem, len, NULL, 6, NULL), 0);
	check_away("filled", mem, len, true);
	expect_err("sum", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &n), 0);
	if (n != 6 * len / 8 || mem[0] != 6 || mem[len / 8 - 1] != 6)
		bad("the data that the GPU wrote is lost");
	verify("end", fd, mem, len);
	close(fd);
	munmap(mem, len);
}

static void *gpu_reads(void *arg)
{
	struct work *w = arg;
	uint64_t n;

	while (running()) {
		expect_err("read", gpu(w->fd, HMM_GPU_CHECKSUM, w->mem, w->len, NULL, 0, &n), 0);
		if (n)
			bad("untouched memory is not zero for the GPU");
		__atomic_fetch_add(&w->n, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* The GPU maps the zero page again during the move, so the mm invalidates once more. */
static void zero_page_wanted(void)
{
	struct work w = { .fd = gpu_open(gpu0), .len = 16 * page };
	pthread_t thread;
	int i;

	for (i = 0; i < 20 && !failures; i++) {
		w.mem = map(w.len);
		w.n = 0;
		stop = false;
		start(&thread, gpu_reads, &w);
		while (!load(&w.n))
			usleep(100);
		to_vram("wanted", w.fd, w.mem, w.len);
		verify("wanted", w.fd, w.mem, w.len);
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		check_away("wanted", w.mem, w.len, true);
		verify("wanted", w.fd, w.mem, w.len);
		munmap(w.mem, w.len);
	}
	close(w.fd);
}

static void test_zero_page(void)
{
	zero_page_mapped();
	/* A slow flush gives the GPU time between the two invalidations. */
	if (set_param(PARAMETERS "tlb_flush_us", "2000")) {
		zero_page_wanted();
		set_param(PARAMETERS "tlb_flush_us", "0");
	}
}

static void *gpu_adds(void *arg)
{
	struct work *w = arg;

	while (running()) {
		expect_err("add", gpu(w->fd, HMM_GPU_ATOMIC_ADD, w->mem, w->len, NULL, 1, NULL), 0);
		__atomic_fetch_add(&w->n, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *cpu_adds(void *arg)
{
	struct work *w = arg;
	size_t i;

	while (running()) {
		for (i = 0; i < w->len / 8; i += 64)
			__atomic_fetch_add(&w->mem[i], 1, __ATOMIC_SEQ_CST);
		w->n++;
		usleep(1000);
	}
	return NULL;
}

/* Move pages once per round of another thread, at a random time. */
static void *gpu_moves(void *arg)
{
	struct work *w = arg;
	uint64_t n, beat;

	while (running()) {
		beat = load(w->beat);
		expect_err("move",
			   gpu(w->fd, HMM_GPU_MIGRATE_TO_VRAM, w->mem, w->len, NULL, 0, &n), 0);
		__atomic_fetch_add(&w->n, n, __ATOMIC_RELAXED);
		while (running() && load(w->beat) == beat)
			usleep(200);
		usleep(random() % 4000);
	}
	return NULL;
}

/*
 * If pages move during a GPU fault, the fault must collide, although the driver itself causes
 * the invalidation and its callback returns at once.
 */
static void test_collides(void)
{
	size_t len = 16 * page;
	struct work w = { .fd = gpu_open(gpu0), .mem = map(len), .len = len };
	uint64_t end, n;
	pthread_t thread;

	if (!set_param(PARAMETERS "dma_map_us", "5000")) {
		skipped = "not root";
		goto out;
	}
	fill(w.mem, len, 0);
	to_vram("first", w.fd, w.mem, len);
	stop = false;
	start(&thread, gpu_adds, &w);
	for (end = now_ms() + 10000; now_ms() < end && counter(w.fd, HMM_GPU_COLLISIONS) < 5;) {
		expect_err("move", gpu(w.fd, HMM_GPU_MIGRATE_TO_VRAM, w.mem, len, NULL, 0, &n), 0);
		usleep(7000);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	set_param(PARAMETERS "dma_map_us", "0");

	if (!counter(w.fd, HMM_GPU_OWN_SKIPPED))
		bad("the driver recognized no invalidation as its own");
	if (counter(w.fd, HMM_GPU_INVALIDATIONS))
		bad("there were other invalidations");
	if (!counter(w.fd, HMM_GPU_COLLISIONS))
		bad("no collision");
	check_gpu("end", w.fd, w.mem, len, w.n);
	verify("end", w.fd, w.mem, len);
	check_cpu("end", w.mem, len, w.n);
out:
	close(w.fd);
	munmap(w.mem, len);
}

/* GPUs and CPU add atomically to words that move back and forth. */
static void ping_pong_pages(const char *second, size_t pages)
{
	size_t len = pages * page, i;
	uint64_t *mem = map(len), total, end = now_ms() + 20000;
	struct work adds[3], moves[2];
	pthread_t adder[3], mover[2];
	int fd[2] = { gpu_open(gpu0), gpu_open(second) };

	memset(mem, 0, len);
	stop = false;
	for (i = 0; i < 3; i++) {
		adds[i] = (struct work){ .fd = fd[i % 2], .mem = mem, .len = len };
		start(&adder[i], i < 2 ? gpu_adds : cpu_adds, &adds[i]);
	}
	for (i = 0; i < 2; i++) {
		moves[i] = (struct work){
			.fd = fd[i], .mem = mem, .len = len, .beat = &adds[i].n,
		};
		start(&mover[i], gpu_moves, &moves[i]);
	}
	while (now_ms() < end &&
	       (load(&adds[0].n) < 30 || load(&adds[1].n) < 30 ||
		load(&moves[0].n) + load(&moves[1].n) < 30 * len)) {
		for (i = 0; i < 2; i++)
			verify("meanwhile", fd[i], mem, len);
		usleep(1000);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_join(adder[i], NULL);
	for (i = 0; i < 2; i++)
		pthread_join(mover[i], NULL);

	for (i = 0; i < len / 8; i++) {
		total = adds[0].n + adds[1].n + (i % 64 ? 0 : adds[2].n);
		if (mem[i] != total) {
			bad("word %zu is %zu instead of %zu", i, (size_t)mem[i], (size_t)total);
			break;
		}
	}
	printf("# %zu and %zu GPU rounds, %zu CPU rounds; %zu and %zu pages moved\n",
	       (size_t)adds[0].n, (size_t)adds[1].n, (size_t)adds[2].n,
	       (size_t)(moves[0].n / page), (size_t)(moves[1].n / page));
	if (!adds[0].n || !adds[1].n || !adds[2].n || !(moves[0].n + moves[1].n))
		bad("nothing happened");
	for (i = 0; i < 2; i++) {
		verify("end", fd[i], mem, len);
		close(fd[i]);
	}
	munmap(mem, len);
}

/*
 * With a single page, the GPU mostly writes through a device PTE. With more pages, it mostly
 * faults.
 */
static void ping_pong(const char *second)
{
	ping_pong_pages(second, 1);
	ping_pong_pages(second, 24);
}

static void test_ping_pong(void)
{
	ping_pong(gpu0);
}

static void test_two_gpus(void)
{
	size_t len = 32 * page;
	uint64_t *mem;
	int fd, fd1;

	if (access(gpu1, R_OK | W_OK)) {
		skipped = "there is only one GPU";
		return;
	}
	mem = map(len);
	fd = gpu_open(gpu0);
	fd1 = gpu_open(gpu1);
	fill(mem, len, 21);
	to_vram("to the first", fd, mem, len);
	check_gpu("the first", fd, mem, len, 21);
	expect_err("add", gpu(fd1, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	check_away("used by the second", mem, len, false);
	check_gpu("the first", fd, mem, len, 22);
	to_vram("to the second", fd1, mem, len);
	check_gpu("the second", fd1, mem, len, 22);
	check_away("the second", mem, len, true);
	check_gpu("the first", fd, mem, len, 22);
	check_away("used by the first", mem, len, false);
	verify("end", fd, mem, len);
	verify("end", fd1, mem, len);
	check_cpu("end", mem, len, 22);
	close(fd1);
	close(fd);
	munmap(mem, len);

	ping_pong(gpu1);
}

/* The process that writes first gets a copy; the other one keeps the old data. */
static void fork_with(const char *when, bool parent_first, bool gpu_writes)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len);
	int fd = gpu_open(gpu0), down[2], up[2];
	pid_t pid;

	if (pipe(down) || pipe(up))
		die("pipe");
	fill(mem, len, 31);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	to_vram(when, fd, mem, len);
	check_gpu(when, fd, mem, len, 32);

	pid = fork_child();
	if (!pid) {
		if (parent_first)
			wait_pipe(down);
		check_cpu(when, mem, len, 32);
		fill(mem, len, 50);
		signal_pipe(up);
		wait_pipe(down);
		check_cpu(when, mem, len, 50);
		leave_child();
	}
	if (!parent_first)
		wait_pipe(up);
	check_gpu(when, fd, mem, len, 32);
	verify(when, fd, mem, len);
	if (gpu_writes)
		expect_err(when, gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	else
		fill(mem, len, 33);
	check_gpu(when, fd, mem, len, 33);
	if (parent_first) {
		signal_pipe(down);
		wait_pipe(up);
	}
	check_gpu(when, fd, mem, len, 33);
	check_cpu(when, mem, len, 33);
	verify(when, fd, mem, len);
	signal_pipe(down);
	join_child(when, pid);
	check_gpu(when, fd, mem, len, 33);
	verify(when, fd, mem, len);
	close(down[0]);
	close(down[1]);
	close(up[0]);
	close(up[1]);
	close(fd);
	munmap(mem, len);
}

static void test_fork(void)
{
	fork_with("fork, the child writes first, then the GPU", false, true);
	fork_with("fork, the GPU writes first", true, true);
	fork_with("fork, the child writes first, then the CPU", false, false);
	fork_with("fork, the CPU writes first", true, false);
}

/* The GPU uses, for the child, pages of the parent in device memory. */
static void test_fork_gpu(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len);
	int fd = gpu_open(gpu0);
	pid_t pid;

	fill(mem, len, 41);
	to_vram("parent", fd, mem, len);
	pid = fork_child();
	if (!pid) {
		fd = gpu_open(gpu0);
		check_gpu("child", fd, mem, len, 41);
		check_away("child", mem, len, true);
		expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
		to_vram("child", fd, mem, len);
		check_gpu("child", fd, mem, len, 42);
		verify("child", fd, mem, len);
		check_cpu("child", mem, len, 42);
		leave_child();
	}
	join_child("child", pid);
	check_gpu("parent", fd, mem, len, 41);
	verify("parent", fd, mem, len);
	check_cpu("parent", mem, len, 41);
	close(fd);
	munmap(mem, len);
}

static long references(void)
{
	return read_number("/sys/module/hmm_gpu/refcnt");
}

static bool unused(void)
{
	uint64_t end = now_ms() + 10000;

	while (references() && now_ms() < end)
		usleep(10000);
	return !references();
}

/* A child has pages in device memory, but no open file of the GPU. */
static void test_orphan(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len);
	int fd, down[2];
	pid_t pid;

	if (!unused())
		bad("the driver is in use before the test");
	if (pipe(down))
		die("pipe");
	fd = gpu_open(gpu0);
	fill(mem, len, 51);
	to_vram("parent", fd, mem, len);
	pid = fork_child();
	if (!pid) {
		close(fd);
		wait_pipe(down);
		check_away("orphan", mem, len, true);
		check_cpu("orphan", mem, len, 51);
		check_away("orphan", mem, len, false);
		leave_child();
	}
	close(fd);
	munmap(mem, len);
	usleep(100000);
	if (references() < (long)(len / page))
		bad("pages are in use, and the driver could be unloaded");
	signal_pipe(down);
	join_child("orphan", pid);
	if (!unused())
		bad("%ld references are left", references());
	close(down[0]);
	close(down[1]);
}

static void test_munmap(void)
{
	size_t len = vram / 2, i;
	uint64_t *mem;
	int fd = gpu_open(gpu0);

	/* Move more in total than fits, so that lost pages show. */
	for (i = 0; i < 5; i++) {
		mem = map(len);
		fill(mem, len, i);
		to_vram("round", fd, mem, len);
		check_gpu("round", fd, mem, len, i);
		munmap(mem, len);
		expect_err("unmapped", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, NULL), EFAULT);
		verify("unmapped", fd, mem, len);
	}

	/* Unmap a part. Its neighbour stays. */
	len = 32 * page;
	mem = map(len);
	fill(mem, len, 61);
	to_vram("hole", fd, mem, len);
	check_gpu("hole", fd, mem, len, 61);
	munmap(mem + len / 16, len / 2);
	check_gpu("neighbour", fd, mem, len / 2, 61);
	verify("hole", fd, mem, len);
	check_cpu("neighbour", mem, len / 2, 61);
	close(fd);
	munmap(mem, len / 2);
}

static void test_mprotect(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len);
	int fd = gpu_open(gpu0);

	fill(mem, len, 71);
	to_vram("first", fd, mem, len);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	mprotect(mem, len, PROT_READ);
	expect_err("read-only", gpu(fd, HMM_GPU_FILL, mem, len, NULL, 1, NULL), EPERM);
	check_gpu("read-only", fd, mem, len, 72);
	verify("read-only", fd, mem, len);
	mprotect(mem, len, PROT_NONE);
	expect_err("none", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, NULL), EFAULT);
	verify("none", fd, mem, len);
	check_away("none", mem, len, true);
	mprotect(mem, len, RW);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	check_gpu("writable again", fd, mem, len, 73);
	verify("writable again", fd, mem, len);
	check_cpu("writable again", mem, len, 73);

	/* Read-only memory can move, too. */
	mprotect(mem, len, PROT_READ);
	to_vram("read-only", fd, mem, len);
	expect_err("read-only", gpu(fd, HMM_GPU_FILL, mem, len, NULL, 1, NULL), EPERM);
	check_gpu("read-only there", fd, mem, len, 73);
	check_cpu("read-only there", mem, len, 73);
	verify("end", fd, mem, len);
	close(fd);
	munmap(mem, len);
}

static void test_mremap(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len), *to = map(len), *moved;
	int fd = gpu_open(gpu0);

	fill(mem, len, 81);
	to_vram("first", fd, mem, len);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	moved = mremap(mem, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (moved != to)
		die("mremap");
	check_away("elsewhere", to, len, true);
	verify("old place", fd, mem, len);
	expect_err("old place", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, NULL), EFAULT);
	check_gpu("elsewhere", fd, to, len, 82);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, to, len, NULL, 1, NULL), 0);
	check_away("elsewhere", to, len, true);
	check_cpu("elsewhere", to, len, 83);
	verify("end", fd, to, len);
	close(fd);
	munmap(to, len);
}

static void test_dontneed(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len), n = 1;
	int fd = gpu_open(gpu0);

	fill(mem, len, 91);
	to_vram("first", fd, mem, len);
	check_gpu("first", fd, mem, len, 91);
	madvise(mem, len, MADV_DONTNEED);
	verify("gone", fd, mem, len);
	expect_err("gone", gpu(fd, HMM_GPU_CHECKSUM, mem, len, NULL, 0, &n), 0);
	if (n || mem[0] || mem[len / 8 - 1])
		bad("freed memory is not zero");
	verify("end", fd, mem, len);
	close(fd);
	munmap(mem, len);
}

/* Check that all device memory can be used, so no page is lost. */
static void all_is_free(const char *when, int fd)
{
	uint64_t *mem = map(vram), end = now_ms() + 10000;
	size_t n;

	do {
		try_to_vram(fd, mem, vram);
		n = pages_away(mem, vram);
	} while (n < vram / page && now_ms() < end);
	if (n != vram / page)
		bad("%s: %zu of %zu pages are lost", when, vram / page - n, vram / page);
	munmap(mem, vram);
}

static void test_exit(void)
{
	size_t len = vram / 2;
	uint64_t *mem = map(len);
	pid_t pid;
	int fd;

	pid = fork_child();
	if (!pid) {
		fd = gpu_open(gpu0);
		fill(mem, len, 101);
		to_vram("child", fd, mem, len);
		check_gpu("child", fd, mem, len, 101);
		verify("child", fd, mem, len);
		leave_child();
	}
	join_child("exit", pid);
	fd = gpu_open(gpu0);
	all_is_free("after exit", fd);
	close(fd);
	munmap(mem, len);
}

static void test_kill(void)
{
	size_t len = vram / 4;
	struct work w = { .mem = map(len), .len = len }, moves;
	pthread_t thread[3];
	int fd, i, status;
	pid_t pid;

	for (i = 0; i < 5; i++) {
		pid = fork_child();
		if (!pid) {
			w.fd = gpu_open(gpu0);
			stop = false;
			start(&thread[0], gpu_adds, &w);
			moves = w;
			moves.beat = &w.n;
			start(&thread[1], gpu_moves, &moves);
			start(&thread[2], cpu_adds, &w);
			for (;;)
				pause();
		}
		usleep(200000 + 50000 * i);
		kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
			bad("the child ended with status %x before it was killed", status);
	}
	fd = gpu_open(gpu0);
	all_is_free("after kill -9", fd);
	close(fd);
	munmap(w.mem, len);
	if (!unused())
		bad("%ld references are left", references());
}

/* A move that would take minutes ends when the process is killed. */
static void test_kill_move(void)
{
	const size_t len = 1UL << 43;
	uint64_t end;
	int status, fd;
	pid_t pid, got;
	void *mem;

	pid = fork_child();
	if (!pid) {
		fd = gpu_open(gpu0);
		mem = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (mem == MAP_FAILED)
			_exit(EXIT_ALL_SKIPPED);
		gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, len, NULL, 0, NULL);
		_exit(0);
	}
	usleep(500000);
	kill(pid, SIGKILL);
	for (end = now_ms() + 10000; !(got = waitpid(pid, &status, WNOHANG)) && now_ms() < end;)
		usleep(10000);
	if (!got)
		bad("the child cannot be killed");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ALL_SKIPPED)
		skipped = "no 8 TiB of address space";
	else if (!WIFSIGNALED(status))
		bad("the child ended with status %x before it was killed", status);
	fd = gpu_open(gpu0);
	all_is_free("after kill -9", fd);
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* A move that would take minutes is interrupted by signals, and resumes. */
static void test_signal_move(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval timer = {
		.it_interval = { .tv_usec = 50000 }, .it_value = { .tv_usec = 50000 },
	};
	struct hmm_gpu_cmd cmd = { .op = HMM_GPU_MIGRATE_TO_VRAM, .len = 1UL << 43 };
	int fd = gpu_open(gpu0), i;
	uint64_t last = 0;
	size_t n;
	void *mem;

	mem = mmap(NULL, cmd.len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		skipped = "no 8 TiB of address space";
		close(fd);
		return;
	}
	cmd.addr = (uintptr_t)mem;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (i = 0; i < 20; i++) {
		expect_err("move", ioctl(fd, HMM_GPU_RUN, &cmd) ? errno : 0, EINTR);
		if (cmd.flags != HMM_GPU_RESUMES || cmd.done < last || cmd.done % page)
			bad("flags %x, and %llu bytes after %llu", cmd.flags, cmd.done,
			    (unsigned long long)last);
		last = cmd.done;
	}
	timer = (struct itimerval){ };
	setitimer(ITIMER_REAL, &timer, NULL);
	n = pages_away(mem, last < 2 * vram ? last : 2 * vram);
	if (!last || cmd.result != n * page)
		bad("%zu pages moved, but the result is %llu bytes", n, cmd.result);
	munmap(mem, cmd.len);
	all_is_free("after signals", fd);
	close(fd);
}

/* ------------------------------------------- pages that change while they move */

static void *cpu_reads(void *arg)
{
	struct work *w = arg;
	size_t i;

	for (i = 0; i < w->len / 8; i += page / 8)
		w->sum += load(&w->mem[i]);
	__atomic_store_n(&w->n, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *moves_once(void *arg)
{
	struct work *w = arg;
	int err = gpu(w->fd, HMM_GPU_MIGRATE_TO_VRAM, w->mem, w->len, NULL, 0, &w->sum);

	expect_err("move", err, 0);
	__atomic_store_n(&w->n, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool slow_flushes(void)
{
	if (set_param(PARAMETERS "tlb_flush_us", "1000000"))
		return true;
	skipped = "not root";
	return false;
}

static void fast_flushes(void)
{
	set_param(PARAMETERS "tlb_flush_us", "0");
}

/*
 * Start a thread in which @fn moves @w->mem and sleeps in a slow TLB flush, which counts
 * @what. Return when the thread sleeps.
 */
static bool start_slow(pthread_t *thread, void *(*fn)(void *), struct work *w,
		       enum hmm_gpu_counter what)
{
	uint64_t before = counter(w->fd, what);

	if (!slow_flushes())
		return false;
	w->n = 0;
	w->sum = 0;
	start(thread, fn, w);
	while (counter(w->fd, what) == before && !load(&w->n))
		usleep(1000);
	usleep(100000);
	fast_flushes();
	return true;
}

/* Check that the thread slept until now, so its move was in progress all the time. */
static void end_slow(const char *when, pthread_t thread, struct work *w)
{
	if (load(&w->n))
		bad("%s: it ended too early", when);
	pthread_join(thread, NULL);
}

static void test_zapped(void)
{
	struct work w = { .fd = gpu_open(gpu0), .len = page };
	pthread_t thread;
	int fd;

	/* Zap while the CPU moves the page back. */
	w.mem = map(w.len);
	fill(w.mem, w.len, 141);
	check_gpu("fetched", w.fd, w.mem, w.len, 141);
	to_vram("fetched", w.fd, w.mem, w.len);
	if (!start_slow(&thread, cpu_reads, &w, HMM_GPU_INVALIDATIONS))
		goto out;
	madvise(w.mem, w.len, MADV_DONTNEED);
	end_slow("fetched", thread, &w);
	if (w.sum || *w.mem)
		bad("freed memory is not zero");
	verify("fetched", w.fd, w.mem, w.len);

	/* Zap, and write a new page. */
	fill(w.mem, w.len, 142);
	to_vram("replaced", w.fd, w.mem, w.len);
	start_slow(&thread, cpu_reads, &w, HMM_GPU_INVALIDATIONS);
	madvise(w.mem, w.len, MADV_DONTNEED);
	fill(w.mem, w.len, 143);
	end_slow("replaced", thread, &w);
	if (w.sum != 143)
		bad("the CPU reads %zu instead of the data written last", (size_t)w.sum);
	check_cpu("replaced", w.mem, w.len, 143);
	check_gpu("replaced", w.fd, w.mem, w.len, 143);

	/* Zap, write a new page, and move that to device memory. */
	fill(w.mem, w.len, 144);
	to_vram("moved again", w.fd, w.mem, w.len);
	start_slow(&thread, cpu_reads, &w, HMM_GPU_INVALIDATIONS);
	madvise(w.mem, w.len, MADV_DONTNEED);
	fill(w.mem, w.len, 145);
	to_vram("moved again", w.fd, w.mem, w.len);
	end_slow("moved again", thread, &w);
	if (w.sum != 145)
		bad("the CPU reads %zu instead of the data written last", (size_t)w.sum);
	check_cpu("moved again", w.mem, w.len, 145);
	check_gpu("moved again", w.fd, w.mem, w.len, 145);

	/* Zap while the page moves to device memory. */
	fill(w.mem, w.len, 146);
	check_gpu("moved", w.fd, w.mem, w.len, 146);
	start_slow(&thread, moves_once, &w, HMM_GPU_PTES_REMOVED);
	madvise(w.mem, w.len, MADV_DONTNEED);
	end_slow("moved", thread, &w);
	if (*w.mem)
		bad("freed memory is not zero");
	verify("moved", w.fd, w.mem, w.len);

	/* Write a page while the zero page moves to device memory. */
	madvise(w.mem, w.len, MADV_DONTNEED);
	expect_err("read", gpu(w.fd, HMM_GPU_CHECKSUM, w.mem, w.len, NULL, 0, NULL), 0);
	start_slow(&thread, moves_once, &w, HMM_GPU_PTES_REMOVED);
	fill(w.mem, w.len, 147);
	end_slow("filled", thread, &w);
	if (w.sum)
		bad("a page moved that the CPU had replaced");
	check_away("filled", w.mem, w.len, false);
	check_gpu("filled", w.fd, w.mem, w.len, 147);
	check_cpu("filled", w.mem, w.len, 147);
	verify("filled", w.fd, w.mem, w.len);
out:
	close(w.fd);
	munmap(w.mem, w.len);
	fd = gpu_open(gpu0);
	all_is_free("after zapping", fd);
	close(fd);
}

/*
 * migrate_vma_setup() reads some pages, then meets a huge page, splits it, and waits for the
 * GPU meanwhile. MADV_DONTNEED frees the page table of the pages that were already read.
 */
static void test_split(void)
{
	struct work w = { .fd = gpu_open(gpu0), .mem = map(HUGE), .len = HUGE };
	size_t before = 31 * page;
	pthread_t thread;

	madvise(w.mem, HUGE, MADV_HUGEPAGE);
	fill(w.mem, HUGE, 171);
	if (smaps_kb(w.mem, "AnonHugePages") * 1024 != (long)HUGE) {
		skipped = "no huge page";
		goto out;
	}
	madvise(w.mem, HUGE, MADV_NOHUGEPAGE);
	madvise(w.mem, before, MADV_DONTNEED);
	expect_err("read", gpu(w.fd, HMM_GPU_CHECKSUM, w.mem, HUGE, NULL, 0, NULL), 0);
	/* Remove the zero pages that the read has mapped. */
	madvise(w.mem, before, MADV_DONTNEED);
	if (!start_slow(&thread, moves_once, &w, HMM_GPU_INVALIDATIONS))
		goto out;
	madvise(w.mem, HUGE, MADV_DONTNEED);
	end_slow("split", thread, &w);
	expect_err("sum", gpu(w.fd, HMM_GPU_CHECKSUM, w.mem, HUGE, NULL, 0, &w.sum), 0);
	if (w.sum)
		bad("freed memory is not zero");
	verify("split", w.fd, w.mem, HUGE);
	fill(w.mem, HUGE, 172);
	check_gpu("end", w.fd, w.mem, HUGE, 172);
out:
	munmap(w.mem, HUGE);
	all_is_free("after splitting", w.fd);
	close(w.fd);
}

/* Reap the memory of a killed process while one of its threads moves pages back. */
static void test_reaped(void)
{
	struct work w = { .len = 16 * page };
	int up[2], pidfd, status, i, fd;
	pthread_t thread;
	pid_t pid;

	if (!slow_flushes())
		return;
	fast_flushes();
	if (pipe(up))
		die("pipe");
	for (i = 0; i < 3 && !skipped; i++) {
		pid = fork_child();
		if (!pid) {
			w.fd = gpu_open(gpu0);
			w.mem = map(w.len);
			fill(w.mem, w.len, 151);
			check_gpu("child", w.fd, w.mem, w.len, 151);
			to_vram("child", w.fd, w.mem, w.len);
			start_slow(&thread, cpu_reads, &w, HMM_GPU_INVALIDATIONS);
			signal_pipe(up);
			for (;;)
				pause();
		}
		wait_pipe(up);
		pidfd = syscall(SYS_pidfd_open, pid, 0);
		kill(pid, SIGKILL);
		while (syscall(SYS_process_mrelease, pidfd, 0)) {
			if (errno == EAGAIN) {
				usleep(1000);
				continue;
			}
			if (errno == ENOSYS)
				skipped = "no process_mrelease()";
			else
				bad("process_mrelease: %s", strerror(errno));
			break;
		}
		if (waitpid(pid, &status, WNOHANG))
			bad("the child exited before its memory was reaped");
		else if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
			bad("the child ended with status %x before it was killed", status);
		close(pidfd);
	}
	close(up[0]);
	close(up[1]);
	fd = gpu_open(gpu0);
	all_is_free("after process_mrelease()", fd);
	close(fd);
	if (!unused())
		bad("%ld references are left", references());
}

static void *cpu_gives_back(void *arg)
{
	struct work *w = arg;
	size_t at;

	while (running()) {
		at = random() % (w->len / page) * page;
		madvise((char *)w->mem + at, page, MADV_DONTNEED);
		w->n++;
		usleep(random() % 300);
	}
	return NULL;
}

static void *cpu_fetches(void *arg)
{
	struct work *w = arg;

	while (running()) {
		load(&w->mem[random() % (w->len / page) * page / 8]);
		w->n++;
	}
	return NULL;
}

static void *gpu_moves_all(void *arg)
{
	struct work *w = arg;
	uint64_t n;

	while (running()) {
		expect_err("move",
			   gpu(w->fd, HMM_GPU_MIGRATE_TO_VRAM, w->mem, w->len, NULL, 0, &n), 0);
		w->n += n;
		usleep(random() % 300);
	}
	return NULL;
}

/* All of that at random times, with two GPUs. */
static void test_zapping(void)
{
	static void *(*const fns[])(void *) = {
		gpu_moves_all, gpu_moves_all, cpu_gives_back, cpu_fetches, cpu_fetches, gpu_adds,
	};
	struct work w[ARRAY_SIZE(fns)];
	pthread_t thread[ARRAY_SIZE(fns)];
	int fd = gpu_open(gpu0), fd1 = gpu_open(access(gpu1, R_OK | W_OK) ? gpu0 : gpu1);
	size_t len = 4 * page, i;
	uint64_t *mem = map(len);

	stop = false;
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		w[i] = (struct work){ .fd = i & 1 ? fd1 : fd, .mem = mem, .len = len };
		start(&thread[i], fns[i], &w[i]);
	}
	usleep(5000000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		pthread_join(thread[i], NULL);
		if (!w[i].n)
			bad("thread %zu did nothing", i);
	}
	printf("# %zu pages moved, %zu freed, %zu read by the CPU\n",
	       (size_t)((w[0].n + w[1].n) / page), (size_t)w[2].n, (size_t)(w[3].n + w[4].n));
	verify("end", fd, mem, len);
	verify("end", fd1, mem, len);
	close(fd1);
	munmap(mem, len);
	all_is_free("end", fd);
	close(fd);
}

static void test_full(void)
{
	size_t extra = 64 * page, len = vram + extra, n;
	uint64_t *mem = map(len), moved;
	int fd = gpu_open(gpu0);

	fill(mem, len, 111);
	moved = try_to_vram(fd, mem, len);
	n = pages_away(mem, len);
	if (moved != vram || n != vram / page)
		bad("%zu bytes moved, %zu pages are in the memory of the GPU, which has %zu bytes",
		    (size_t)moved, n, vram);
	check_gpu("full", fd, mem, len, 111);
	verify("full", fd, mem, len);
	expect_err("add", gpu(fd, HMM_GPU_ATOMIC_ADD, mem, len, NULL, 1, NULL), 0);
	check_gpu("full, changed", fd, mem, len, 112);
	check_cpu("back", mem, len, 112);
	verify("end", fd, mem, len);
	close(fd);
	munmap(mem, len);
}

static void test_errors(void)
{
	size_t len = 32 * page;
	uint64_t *mem = map(len), *file, n;
	int fd = gpu_open(gpu0), memfd;
	struct hmm_gpu_cmd cmd = {
		.op = HMM_GPU_MIGRATE_TO_VRAM, .addr = (uintptr_t)mem, .len = len,
	};

	expect_err("source", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, page, mem, 0, NULL), EINVAL);
	expect_err("value", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, page, NULL, 1, NULL), EINVAL);
	expect_err("length", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, 0, NULL, 0, NULL), EINVAL);
	expect_err("end", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, (void *)-page, page, NULL, 0, NULL),
		   EINVAL);
	expect_err("last words", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, (void *)-16UL, 8, NULL, 0, NULL),
		   EFAULT);
	expect_err("LONG_MAX", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, mem, LONG_MAX & ~7, NULL, 0, NULL),
		   EFAULT);

	fill(mem, len, 121);
	munmap(mem + len / 16, page);
	expect_err("hole", ioctl(fd, HMM_GPU_RUN, &cmd) ? errno : 0, EFAULT);
	if (cmd.fault_addr != (uintptr_t)mem + len / 2 || cmd.done != len / 2)
		bad("the hole is not where it was");
	check_gpu("before the hole", fd, mem, len / 2, 121);
	check_cpu("before the hole", mem, len / 2, 121);
	verify("hole", fd, mem, len);
	munmap(mem, len);

	/* Pages of a file cannot move. */
	memfd = memfd_create("hmm_gpu_vram", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, len))
		die("memfd_create");
	file = mmap(NULL, len, RW, MAP_SHARED, memfd, 0);
	if (file == MAP_FAILED)
		die("mmap of a file");
	fill(file, len, 131);
	check_gpu("file", fd, file, len, 131);
	expect_err("file", gpu(fd, HMM_GPU_MIGRATE_TO_VRAM, file, len, NULL, 0, &n), 0);
	if (n)
		bad("pages of a file moved");
	check_gpu("file", fd, file, len, 131);
	check_cpu("file", file, len, 131);
	verify("file", fd, file, len);
	munmap(file, len);
	close(memfd);
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "MADV_FREE, and the GPU writes", test_lazy },
	{ "pages move to the GPU, are used there, and move back", test_there_and_back },
	{ "untouched memory that has moved is zero", test_untouched },
	{ "the zero page is replaced", test_zero_page },
	{ "a huge page moves", test_huge_page },
	{ "the driver skips its own invalidation, and no other", test_own },
	{ "the driver's own invalidation collides with a fault", test_collides },
	{ "no addition of GPU or CPU is lost while pages move", test_ping_pong },
	{ "two GPUs use the same pages", test_two_gpus },
	{ "fork", test_fork },
	{ "fork, and the child uses the GPU", test_fork_gpu },
	{ "a child without a file keeps the driver", test_orphan },
	{ "munmap", test_munmap },
	{ "mprotect", test_mprotect },
	{ "mremap", test_mremap },
	{ "MADV_DONTNEED", test_dontneed },
	{ "exit", test_exit },
	{ "kill -9", test_kill },
	{ "kill -9 during a long move", test_kill_move },
	{ "signals during a long move", test_signal_move },
	{ "MADV_DONTNEED of a page that moves", test_zapped },
	{ "MADV_DONTNEED of a huge page that is being split", test_split },
	{ "process_mrelease() of a page that moves", test_reaped },
	{ "MADV_DONTNEED at any time", test_zapping },
	{ "the memory of the GPU is full", test_full },
	{ "errors", test_errors },
};

static bool is_asked_for(unsigned int nr, char **args)
{
	if (!*args)
		return true;
	while (*args) {
		if (strtoul(*args++, NULL, 10) == nr)
			return true;
	}
	return false;
}

int main(int argc __attribute__((unused)), char **argv)
{
	long mb = read_number(PARAMETERS "vram_mb");
	unsigned int i, nr_failed = 0;

	page = sysconf(_SC_PAGESIZE);
	printf("TAP version 13\n");
	if (mb <= 0) {
		printf("1..0 # SKIP the GPU has no memory: vram_mb\n");
		return EXIT_ALL_SKIPPED;
	}
	vram = (size_t)mb << 20;
	printf("1..%zu\n", ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		failures = 0;
		skipped = NULL;
		if (is_asked_for(i + 1, argv + 1))
			tests[i].run();
		else
			skipped = "not selected";
		printf("%sok %u %s", failures ? "not " : "", i + 1, tests[i].name);
		if (skipped && !failures)
			printf(" # SKIP %s", skipped);
		printf("\n");
		fflush(stdout);
		nr_failed += !!failures;
	}
	printf("# %u of %zu failed\n", nr_failed, ARRAY_SIZE(tests));
	return nr_failed ? 1 : 0;
}
