// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_gpu_suite: share every kind of memory with the GPU of samples/hmm_gpu.c, change and move
 * that memory in all ways that the kernel offers, and check the data on both sides.
 *
 *	hmm_gpu_suite [-l] [-v] [-x] [-s SEED] [-t SECONDS] [-d DEVICE] [-f DIR] [CASE...]
 *
 * Prints TAP version 14. Exit code 0, 1 if a case failed, or 4 if all were skipped, as in
 * kselftest. This file has the harness and the functions for the cases.
 */
#include "suite.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <time.h>

#define EXIT_SKIP	4
#define EXT_MAGIC	0xef53

enum verdict { PASS, FAIL, SKIP };

/* The result of a case, from its process. */
static struct report {
	enum verdict verdict;
	char text[240];
	u64 said;	/* set by the first thread or child that reports */
} *report;

const char *device = "/dev/hmm_gpu";
const char *directory = "/tmp";
unsigned int patience = 60;
size_t page_size;
__thread int gpu = -1;

static bool verbose;
static u64 seed = 1;

/* ------------------------------------------------------------------- verdicts */

static void __printf(2, 0) say(enum verdict verdict, const char *fmt, va_list ap)
{
	char *c;

	if (__atomic_exchange_n(&report->said, 1, __ATOMIC_SEQ_CST))
		return;
	vsnprintf(report->text, sizeof(report->text), fmt, ap);
	for (c = report->text; *c; c++) {
		if (*c == '\n' || *c == '#')
			*c = ' ';
	}
	report->verdict = verdict;
}

void fail_at(const char *where, const char *fmt, ...)
{
	char text[200], line[240];
	va_list ap;

	snprintf(line, sizeof(line), "%s: %s", where, fmt);
	va_start(ap, fmt);
	say(FAIL, line, ap);
	va_end(ap);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A single write, because other threads may fail at the same time. */
	snprintf(line, sizeof(line), "# %s: %s\n", where, text);
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		_exit(2);
	_exit(1);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(SKIP, fmt, ap);
	va_end(ap);
	_exit(EXIT_SKIP);
}

void note(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

/* ----------------------------------------------------------------------- data */

static u64 random_state;

static u64 rnd64(void)
{
	u64 x = __atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

u64 new_tag(void)
{
	return rnd64() | 1;
}

unsigned int rnd(unsigned int below)
{
	return rnd64() % below;
}

void cpu_write(void *p, size_t len, u64 tag)
{
	u64 *word = p;
	size_t i;

	for (i = 0; i < len / 8; i++)
		__atomic_store_n(&word[i], word_of(tag, i), __ATOMIC_RELAXED);
}

void cpu_check_at(const char *where, const void *p, size_t len, u64 tag)
{
	const u64 *word = p;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		u64 got = __atomic_load_n(&word[i], __ATOMIC_RELAXED);

		if (got != word_of(tag, i))
			fail_at(where, "CPU reads %llx at %p + %#zx instead of %llx",
				(unsigned long long)got, p, i * 8,
				(unsigned long long)word_of(tag, i));
	}
}

/* Memory with which the GPU compares, and from which it copies. */
#define PATTERN_LEN	(256UL << 10)
static __thread void *pattern;

static void *pattern_of(u64 tag, size_t len)
{
	if (!pattern)
		pattern = map(PATTERN_LEN);
	cpu_write(pattern, len, tag);
	return pattern;
}

void gpu_write_at(const char *where, void *p, size_t len, u64 tag)
{
	struct hmm_gpu_cmd cmd;
	size_t n;
	int err;

	for (; len; p += n, len -= n, tag = tag_at(tag, n)) {
		n = len < PATTERN_LEN ? len : PATTERN_LEN;
		err = gpu_run(gpu, HMM_GPU_COPY, p, n, pattern_of(tag, n), 0, &cmd);
		if (err || cmd.done != n)
			fail_at(where, "GPU write of %zu at %p: %s, %llu done, at %llx", n, p,
				strerror(err), cmd.done, cmd.fault_addr);
	}
}

void gpu_check_at(const char *where, const void *p, size_t len, u64 tag)
{
	struct hmm_gpu_cmd cmd;
	size_t n;
	int err;

	for (; len; p += n, len -= n, tag = tag_at(tag, n)) {
		n = len < PATTERN_LEN ? len : PATTERN_LEN;
		err = gpu_run(gpu, HMM_GPU_COMPARE, p, n, pattern_of(tag, n), 0, &cmd);
		if (err)
			fail_at(where, "GPU read of %zu at %p: %s at %llx", n, p,
				strerror(err), cmd.fault_addr);
		if (cmd.result != n)
			fail_at(where, "GPU reads wrong data at %p + %#llx",
				p, cmd.result);
	}
}

void both_check_at(const char *where, const void *p, size_t len, u64 tag)
{
	gpu_check_at(where, p, len, tag);
	cpu_check_at(where, p, len, tag);
}

u64 both_ways_at(const char *where, void *p, size_t len)
{
	u64 tag = new_tag();

	cpu_write(p, len, tag);
	gpu_check_at(where, p, len, tag);
	tag = new_tag();
	gpu_write_at(where, p, len, tag);
	cpu_check_at(where, p, len, tag);
	return tag;
}

static __thread sigjmp_buf cpu_fault_jump;

static void cpu_fault_handler(int sig)
{
	siglongjmp(cpu_fault_jump, sig);
}

bool cpu_faults(void *p, bool write)
{
	struct sigaction sa = { .sa_handler = cpu_fault_handler }, bus, segv;
	volatile u64 *word = p;
	volatile bool faulted = true;

	sigaction(SIGBUS, &sa, &bus);
	sigaction(SIGSEGV, &sa, &segv);
	if (!sigsetjmp(cpu_fault_jump, 1)) {
		if (write)
			*word = *word;
		else
			(void)*word;
		faulted = false;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return faulted;
}

/* ------------------------------------------------------------------------ GPU */

int gpu_open(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);

	check(fd >= 0, "%s: %s", name, strerror(errno));
	return fd;
}

int gpu_open_second(void)
{
	char name[80];

	snprintf(name, sizeof(name), "%s1", device);
	if (access(name, R_OK | W_OK))
		skip("there is no %s", name);
	return gpu_open(name);
}

int gpu_run(int fd, unsigned int op, const void *addr, size_t len, const void *src,
	    u64 value, struct hmm_gpu_cmd *out)
{
	struct hmm_gpu_cmd cmd = {
		.op = op,
		.addr = (uintptr_t)addr,
		.len = len,
		.src = (uintptr_t)src,
		.value = value,
	};
	int err = ioctl(fd, HMM_GPU_RUN, &cmd) ? errno : 0;

	if (out)
		*out = cmd;
	return err;
}

void gpu_refuses_at(const char *where, unsigned int op, const void *p, int error)
{
	struct hmm_gpu_cmd cmd;
	int err = gpu_run(gpu, op, p, 8, NULL, 0, &cmd);

	if (err != error)
		fail_at(where, "the GPU gets \"%s\" instead of \"%s\" at %p",
			strerror(err), strerror(error), p);
	if (cmd.done || cmd.fault_addr != (uintptr_t)p)
		fail_at(where, "an error at %llx after %llu bytes instead of at %p",
			cmd.fault_addr, cmd.done, p);
}

u64 gpu_word(const void *p)
{
	struct hmm_gpu_cmd cmd;
	int err = gpu_run(gpu, HMM_GPU_CHECKSUM, p, 8, NULL, 0, &cmd);

	check(!err, "GPU read at %p: %s", p, strerror(err));
	return cmd.result;
}

void gpu_add(int fd, void *p, size_t len, u64 value)
{
	int err = gpu_run(fd, HMM_GPU_ATOMIC_ADD, p, len, NULL, value, NULL);

	check(!err, "GPU add at %p: %s", p, strerror(err));
}

#define DMA_MAP_US	"/sys/module/hmm_gpu/parameters/dma_map_us"

void gpu_slow_faults(void)
{
	if (!write_text(DMA_MAP_US, "300"))
		note("%s cannot be changed", DMA_MAP_US);
}

size_t gpu_ptes_at(const char *where, int fd, const void *p, size_t len)
{
	struct hmm_gpu_cmd cmd;
	int err = gpu_run(fd, HMM_GPU_VERIFY, p, len, NULL, 0, &cmd);

	if (err == EUCLEAN)
		fail_at(where, "a stale device PTE at %llx", cmd.fault_addr);
	if (err)
		fail_at(where, "HMM_GPU_VERIFY: %s", strerror(err));
	return cmd.result;
}

void gpu_map_at(const char *where, int fd, void *p, size_t len, bool write)
{
	int i, err;

	/* Reclaim, for example, may remove some device PTEs again in the background. */
	for (i = 0; i < 20; i++) {
		err = gpu_run(fd, write ? HMM_GPU_ATOMIC_ADD : HMM_GPU_CHECKSUM, p, len, NULL,
			      0, NULL);
		if (err)
			fail_at(where, "GPU %s at %p: %s", write ? "write" : "read", p,
				strerror(err));
		if (gpu_ptes_at(where, fd, p, len) == len / page_size)
			return;
	}
	fail_at(where, "the GPU does not keep its PTEs at %p", p);
}

u64 gpu_removed(int fd)
{
	struct hmm_gpu_stats stats = {};

	must(!ioctl(fd, HMM_GPU_STATS, &stats));
	return stats.counter[HMM_GPU_PTES_REMOVED];
}

/* --------------------------------------------------------------------- memory */

void *map_as(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	check(p != MAP_FAILED, "mmap of %zu bytes, flags %#x: %s", len, flags, strerror(errno));
	return p;
}

void *map_aligned(size_t len)
{
	uintptr_t p = (uintptr_t)map_as(len + HUGE, RW, ANON | MAP_NORESERVE, -1);
	uintptr_t start = (p + HUGE - 1) & ~(HUGE - 1);

	if (start > p)
		munmap((void *)p, start - p);
	munmap((void *)(start + len), p + HUGE - start);
	return (void *)start;
}

void *map(size_t len)
{
	void *p = map_aligned(len);

	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

int make_file(size_t len, u64 tag)
{
	char name[256];
	int fd;

	snprintf(name, sizeof(name), "%s/hmm_gpu_suite.XXXXXX", directory);
	fd = mkostemp(name, O_CLOEXEC);
	check(fd >= 0, "%s: %s", name, strerror(errno));
	unlink(name);
	must(!ftruncate(fd, len));
	if (tag)
		file_write(fd, 0, len, tag);
	return fd;
}

bool on_real_fs(void)
{
	struct statfs fs;

	return !statfs(directory, &fs) && fs.f_type == EXT_MAGIC;
}

void file_write(int fd, off_t at, size_t len, u64 tag)
{
	u64 *buf = malloc(len);

	cpu_write(buf, len, tag);
	must(pwrite(fd, buf, len, at) == (ssize_t)len);
	free(buf);
}

void file_check_at(const char *where, int fd, off_t at, size_t len, u64 tag)
{
	u64 *buf = malloc(len);

	if (pread(fd, buf, len, at) != (ssize_t)len)
		fail_at(where, "read(): %s", strerror(errno));
	cpu_check_at(where, buf, len, tag);
	free(buf);
}

u64 pagemap(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	u64 entry;

	if (fd < 0)
		skip("no /proc/self/pagemap");
	must(pread(fd, &entry, 8, (uintptr_t)p / page_size * 8) == 8);
	close(fd);
	return entry;
}

size_t pages_with(const void *p, size_t len, u64 bit)
{
	size_t i, n = 0;

	for (i = 0; i < len; i += page_size)
		n += !!(pagemap(p + i) & bit);
	return n;
}

u64 pfn_of(const void *p)
{
	u64 entry = pagemap(p);

	check(entry & PM_PRESENT, "no page at %p", p);
	if (!(entry & ((1ULL << 55) - 1)))
		skip("only root sees physical pages");
	return entry & ((1ULL << 55) - 1);
}

unsigned long smaps_kb(const void *p, size_t len, const char *field)
{
	unsigned long start, end, sum = 0, kb;
	size_t n = strlen(field);
	bool inside = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		skip("no /proc/self/smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start < (uintptr_t)p + len && end > (uintptr_t)p;
		else if (inside && !strncmp(line, field, n) && line[n] == ':' &&
			 sscanf(line + n + 1, "%lu", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	return sum;
}

void need_swap(void)
{
	if (number_after("/proc/meminfo", "SwapTotal:") <= 0)
		skip("no swap space");
}

void empty_batches(void)
{
	static char any[65536] __attribute__((aligned(65536)));
	void *page = any;
	int node = 0, status;

	/* This drains the batches of all CPUs. Without NUMA there is no such system call. */
	any[0] = 1;
	syscall(SYS_move_pages, 0, 1, &page, &node, &status, 2 /* MPOL_MF_MOVE */);
}

void advise_out(void *p, size_t len)
{
	empty_batches();
	must(!madvise(p, len, MADV_PAGEOUT));
}

void page_out(void *p, size_t len)
{
	need_swap();
	check(eventually((advise_out(p, len),
			  pages_with(p, len, PM_SWAPPED) == len / page_size)),
	      "only %zu of %zu pages were swapped out", pages_with(p, len, PM_SWAPPED),
	      len / page_size);
}

/* --------------------------------------------------------------------- system */

bool write_text(const char *path, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	ssize_t n;
	int fd;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

bool read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = 0;
	return true;
}

long read_number(const char *path)
{
	char text[32];

	return read_text(path, text, sizeof(text)) ? strtol(text, NULL, 10) : -1;
}

long number_after(const char *path, const char *key)
{
	char text[16384], *at;

	if (!read_text(path, text, sizeof(text)))
		return -1;
	at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

pid_t spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		random_state += getpid();
		fn(arg);
		_exit(0);
	}
	return pid;
}

static void reap_as(pid_t pid, int expected)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	check(status == expected, "a process ended with status %#x, not %#x", status, expected);
}

void reap(pid_t pid)
{
	reap_as(pid, 0);
}

void reap_killed(pid_t pid, int sig)
{
	reap_as(pid, sig);
}

struct thread {
	void *(*fn)(void *arg);
	void *arg;
	int gpu;
};

static void *run_thread(void *arg)
{
	struct thread thread = *(struct thread *)arg;

	free(arg);
	gpu = thread.gpu;
	return thread.fn(thread.arg);
}

void thread_start(pthread_t *id, void *(*fn)(void *), void *arg)
{
	struct thread *thread = malloc(sizeof(*thread));

	*thread = (struct thread){ .fn = fn, .arg = arg, .gpu = gpu };
	errno = pthread_create(id, NULL, run_thread, thread);
	must(!errno);
}

void thread_join(pthread_t thread)
{
	errno = pthread_join(thread, NULL);
	must(!errno);
}

u64 *shared_words(void)
{
	return map_as(page_size, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
}

void set(u64 *word, u64 value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

u64 get(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

void await(const u64 *word, u64 value)
{
	while (get(word) != value)
		usleep(1000);
}

/* -------------------------------------------------------------------- harness */

/* Names that the linker gives to the ends of a section. */
extern const struct test_case *const __start_suite_cases[], *const __stop_suite_cases[];
#define nr_all	((size_t)(__stop_suite_cases - __start_suite_cases))

static void __noreturn case_process(const struct test_case *c)
{
	setpgid(0, 0);
	random_state = seed * 1000003;
	gpu = gpu_open(device);
	c->run();
	/* Verify the address space; the driver checks only tracked ranges. */
	gpu_ptes((void *)0, 0x7ffffffff000);
	_exit(0);
}

/* Kill the children that a case has left. The harness is their subreaper. */
static void sweep(pid_t group)
{
	kill(-group, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

/* Return false on a timeout. */
static bool wait_for(pid_t pid, int *status)
{
	struct timespec left = { .tv_sec = 1 };
	u64 end = now_ms() + patience * 1000ULL;
	sigset_t chld;
	pid_t got;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (now_ms() < end) {
		while ((got = waitpid(-1, status, WNOHANG)) > 0) {
			if (got == pid)
				return true;
		}
		sigtimedwait(&chld, NULL, &left);
	}
	return false;
}

static enum verdict run_case(const struct test_case *c)
{
	long us = read_number(DMA_MAP_US);
	sigset_t chld, old;
	bool in_time;
	int status;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (!pid) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		case_process(c);
	}
	setpgid(pid, pid);
	in_time = wait_for(pid, &status);
	sweep(pid);
	if (read_number(DMA_MAP_US) != us)
		write_text(DMA_MAP_US, "%ld", us);

	if (report->said)
		return report->verdict;
	if (!in_time)
		snprintf(report->text, sizeof(report->text), "timeout after %u s", patience);
	else if (WIFSIGNALED(status))
		snprintf(report->text, sizeof(report->text), "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (status)
		snprintf(report->text, sizeof(report->text), "ended with status %#x", status);
	return report->text[0] ? FAIL : PASS;
}

static bool chosen(const struct test_case *c, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++) {
		if (!strcmp(*names, c->name))
			return true;
	}
	return false;
}

static void check_names(char **names)
{
	size_t i;

	for (; *names; names++) {
		for (i = 0; i < nr_all; i++) {
			if (!strcmp(*names, __start_suite_cases[i]->name))
				break;
		}
		if (i == nr_all) {
			fprintf(stderr, "hmm_gpu_suite: there is no case %s\n", *names);
			exit(2);
		}
	}
}

/* Cases excluded by option -n. */
static const char *left_out[8];

static bool is_left_out(const struct test_case *c)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(left_out) && left_out[i]; i++) {
		if (!strcmp(c->name, left_out[i]))
			return true;
	}
	return false;
}

static int run_cases(char **names, bool no_skip)
{
	unsigned int count[3] = {}, nr = 0, n = 0;
	enum verdict verdict;
	size_t i;
	u64 ms;

	for (i = 0; i < nr_all; i++)
		nr += chosen(__start_suite_cases[i], names);
	printf("TAP version 14\n1..%u\n# seed %llu\n", nr, (unsigned long long)seed);

	for (i = 0; i < nr_all; i++) {
		const struct test_case *c = __start_suite_cases[i];

		if (!chosen(c, names))
			continue;
		n++;
		ms = now_ms();
		if (is_left_out(c)) {
			snprintf(report->text, sizeof(report->text), "left out");
			verdict = SKIP;
		} else {
			verdict = run_case(c);
		}
		ms = now_ms() - ms;
		if (verdict == SKIP && no_skip)
			verdict = FAIL;
		count[verdict]++;
		if (verdict == FAIL)
			printf("# %s: %s\n", c->about, report->text);
		printf("%sok %u - %s%s%s\n", verdict == FAIL ? "not " : "", n, c->name,
		       verdict == SKIP ? " # SKIP " : "", verdict == SKIP ? report->text : "");
		if (verbose)
			printf("# %s: %llu ms\n", c->name, (unsigned long long)ms);
	}
	printf("# %u passed, %u failed, %u skipped\n", count[PASS], count[FAIL], count[SKIP]);
	if (count[FAIL])
		return 1;
	return count[PASS] ? 0 : EXIT_SKIP;
}

static void usage(FILE *to)
{
	fprintf(to,
		"hmm_gpu_suite [OPTION...] [CASE...]\n"
		"  -l          list the cases\n"
		"  -v          verbose\n"
		"  -x          a skip is a failure\n"
		"  -s SEED     seed of the random numbers, default 1\n"
		"  -n CASE     leave out a case that the driver does not support\n"
		"  -t SECONDS  timeout of each case, default 60\n"
		"  -d DEVICE   default /dev/hmm_gpu\n"
		"  -f DIR      directory for files, default /tmp\n");
}

int main(int argc, char **argv)
{
	size_t i, nr_left_out = 0;
	bool no_skip = false;
	int c;

	page_size = sysconf(_SC_PAGESIZE);
	if (argc == 3 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]));
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "lvxn:s:t:d:f:h")) != -1) {
		switch (c) {
		case 'l':
			for (i = 0; i < nr_all; i++)
				printf("%-20s %s\n", __start_suite_cases[i]->name,
				       __start_suite_cases[i]->about);
			return 0;
		case 'v':
			verbose = true;
			break;
		case 'x':
			no_skip = true;
			break;
		case 'n':
			if (nr_left_out == ARRAY_SIZE(left_out)) {
				fprintf(stderr, "too many -n\n");
				return 2;
			}
			left_out[nr_left_out++] = optarg;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			patience = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			device = optarg;
			break;
		case 'f':
			directory = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	check_names(argv + optind);

	report = mmap(NULL, sizeof(*report), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1)) {
		perror("hmm_gpu_suite");
		return 1;
	}
	if (access(device, R_OK | W_OK)) {
		printf("TAP version 14\n1..0 # SKIP there is no %s\n", device);
		return no_skip ? 1 : EXIT_SKIP;
	}
	return run_cases(argv + optind, no_skip);
}
