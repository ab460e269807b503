// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_torture: the processes whose memory the module hmm_mirror_torture mirrors.
 *
 * Each process maps, unmaps, protects, forks and so on, in two threads. It exits, calls
 * exec(), is killed, is killed and reaped, or is killed by the OOM killer. The parent starts
 * the processes and prints the statistics of the module. It succeeds if the module has
 * reported no failure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hmm_torture.h"

#define DEVICE		"/dev/" TORTURE_DEVICE
#define PROCS_MAX	16
#define THREADS		2
/* Maximum time, in seconds, until a killed process has exited. */
#define PATIENCE	120

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#define MADV_COLLAPSE_	25

static unsigned long page;
static char *base;
static int memfd, zero;
static pthread_rwlock_t quiet = PTHREAD_RWLOCK_INITIALIZER;
static unsigned long random_state;

static unsigned long xorshift(unsigned long *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		errno = 0;
	close(fd);
}

/* -------------------------------------------------------------------- processes */

/* Access memory by system calls: they return an error where nothing is mapped. */
static void touch(char *addr, unsigned long len, bool write_it)
{
	unsigned long i;
	ssize_t done = 0;

	for (i = 0; i < len; i += page) {
		if (write_it)
			done += read(zero, addr + i, 1);
		else
			done += pwrite(memfd, addr + i, 1, (TORTURE_PAGES + 1) * page);
	}
	if (done < 0)
		errno = 0;
}

static void map(char *addr, unsigned long len, unsigned long random)
{
	int prot = random & 1 ? PROT_READ | PROT_WRITE : PROT_READ;

	if (random & 2)
		mmap(addr, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		mmap(addr, len, prot, (random & 4 ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED,
		     memfd, addr - base);
}

static void fork_and_touch(char *addr, unsigned long len, unsigned long random)
{
	pid_t pid = fork();

	if (!pid) {
		touch(addr, len, random & 1);
		if (random & 2)
			munmap(base, TORTURE_PAGES * page);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void move_and_back(char *addr, unsigned long len)
{
	char *away = mremap(addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			    base + 4 * TORTURE_PAGES * page);

	if (away != MAP_FAILED)
		mremap(away, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr);
}

static void one_op(unsigned long *state)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_FREE, MADV_COLD, MADV_PAGEOUT,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_COLLAPSE_,
	};
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	};
	unsigned long random = xorshift(state);
	unsigned long first = random % TORTURE_PAGES, len;
	char *addr = base + first * page;

	random /= TORTURE_PAGES;
	len = random % 8 + 1;
	random /= 8;
	if (random % 16 == 0) {
		first = 0;
		len = TORTURE_PAGES;
		addr = base;
	}
	random /= 16;
	if (len > TORTURE_PAGES - first)
		len = TORTURE_PAGES - first;
	len *= page;

	switch (random % 16) {
	case 0:
	case 1:
	case 2:
		map(addr, len, random >> 4);
		break;
	case 3:
		munmap(addr, len);
		break;
	case 4:
	case 5:
		mprotect(addr, len, prots[(random >> 4) % 4]);
		break;
	case 6:
	case 7:
		madvise(addr, len, advice[(random >> 4) % (sizeof(advice) / sizeof(int))]);
		break;
	case 8:
		move_and_back(addr, len);
		break;
	case 9:
		if ((random >> 4) % 8 == 0)
			fork_and_touch(addr, len, random >> 7);
		break;
	case 10:
		fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, addr - base, len);
		break;
	default:
		touch(addr, len, random & 16);
	}
}

static void *second_thread(void *arg)
{
	unsigned long state = *(unsigned long *)arg;

	for (;;) {
		pthread_rwlock_rdlock(&quiet);
		one_op(&state);
		pthread_rwlock_unlock(&quiet);
		if (xorshift(&state) % 4 == 0)
			usleep(xorshift(&state) % 1000);
	}
	return NULL;
}

/* Run one process, for some seconds or until it is killed; the first one lives longest. */
static void process(const char *self, bool first)
{
	unsigned long state = xorshift(&random_state), other = xorshift(&random_state);
	double end = now() + (double)(state % 1000) / 300;
	unsigned int way = first ? 7 : state / 1000 % 8, n = 0;
	pthread_t thread;
	int fd;

	put("/proc/self/oom_score_adj", "1000");
	memfd = memfd_create("hmm_torture", 0);
	zero = open("/dev/zero", O_RDONLY);
	base = (char *)TORTURE_BASE(page);
	if (memfd < 0 || zero < 0 || ftruncate(memfd, (TORTURE_PAGES + 2) * page))
		_exit(1);
	map(base, TORTURE_PAGES * page, 3);
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		_exit(2);
	if (pthread_create(&thread, NULL, second_thread, &other))
		_exit(1);

	while (way >= 4 || now() < end) {
		pthread_rwlock_rdlock(&quiet);
		one_op(&state);
		pthread_rwlock_unlock(&quiet);
		if (++n % 64 == 0) {
			pthread_rwlock_wrlock(&quiet);
			ioctl(fd, TORTURE_REST, THREADS);
			pthread_rwlock_unlock(&quiet);
		}
	}
	/* Unregister the mirrors before the mm dies. */
	if (way == 0)
		close(fd);
	if (way == 1)
		execl(self, self, "--nothing", (char *)NULL);
	_exit(0);
}

/* ---------------------------------------------------------------------- children */

struct child {
	pid_t pid;
	double kill_at;
};

static struct child child[PROCS_MAX];
static bool oom;

static void start_child(struct child *c, const char *self)
{
	c->kill_at = now() + (double)(xorshift(&random_state) % 4000) / (c == child ? 50 : 1000);
	c->pid = fork();
	if (!c->pid)
		process(self, c == child);
}

static void kill_child(struct child *c)
{
	static double last_oom;
	int pidfd = syscall(SYS_pidfd_open, c->pid, 0), i;

	switch (xorshift(&random_state) % 4) {
	case 0:
		if (oom && now() > last_oom + 4) {
			last_oom = now();
			put("/proc/sysrq-trigger", "f");
			break;
		}
		__attribute__((__fallthrough__));
	case 1:
		kill(c->pid, SIGKILL);
		break;
	default:
		kill(c->pid, SIGKILL);
		for (i = 0; i < 100 && pidfd >= 0; i++)
			if (!syscall(SYS_process_mrelease, pidfd, 0) || errno == ESRCH)
				break;
	}
	if (pidfd >= 0)
		close(pidfd);
	c->kill_at = now() + 1;
}

/* -------------------------------------------------------------------- statistics */

static char stats[1024];

/* Read the statistics. Return the number of failures, or -1 if the module does not answer. */
static long read_stats(void)
{
	int fd = open(DEVICE, O_RDONLY);
	ssize_t len = -1;
	long failures;

	if (fd >= 0) {
		len = read(fd, stats, sizeof(stats) - 1);
		close(fd);
	}
	if (len <= 0)
		return -1;
	stats[len - 1] = 0;
	return sscanf(stats, "failures %ld", &failures) == 1 ? failures : -1;
}

/* Print the rate of each event, per second. */
static void print_rates(double seconds, double interval)
{
	static long before[64];
	char name[32];
	long value;
	int i = 0, at = 0, len;

	printf("# %3.0f s:", seconds);
	while (i < 64 && sscanf(stats + at, " %31s %ld%n", name, &value, &len) == 2) {
		if (i)
			printf(" %s %.0f/s", name, (value - before[i]) / interval);
		else
			printf(" %s %ld;", name, value);
		before[i++] = value;
		at += len;
	}
	printf("\n");
	fflush(stdout);
}

static bool all_gone(unsigned int procs)
{
	double until = now() + PATIENCE;
	unsigned int i, left;

	for (i = 0; i < procs; i++)
		kill(child[i].pid, SIGKILL);
	do {
		left = 0;
		for (i = 0; i < procs; i++) {
			if (child[i].pid && waitpid(child[i].pid, NULL, WNOHANG) == child[i].pid)
				child[i].pid = 0;
			left += child[i].pid != 0;
		}
		usleep(20000);
	} while (left && now() < until);
	return !left;
}

int main(int argc, char **argv)
{
	double seconds = 10, procs = 2, start, last, last_look, t;
	unsigned long refused = 0, ended = 0;
	long failures = 0;
	unsigned int i;
	int status;
	bool gone;

	page = sysconf(_SC_PAGESIZE);
	random_state = 88172645463325252UL;
	for (i = 1; i < (unsigned int)argc; i++) {
		if (!strcmp(argv[i], "--nothing"))
			return 0;
		if (!strcmp(argv[i], "--oom"))
			oom = true;
		else if (i + 1 < (unsigned int)argc && !strcmp(argv[i], "--time"))
			seconds = atof(argv[++i]);
		else if (i + 1 < (unsigned int)argc && !strcmp(argv[i], "--processes"))
			procs = atoi(argv[++i]);
		else if (i + 1 < (unsigned int)argc && !strcmp(argv[i], "--seed"))
			random_state ^= strtoul(argv[++i], NULL, 0) << 20;
		else
			break;
	}
	if (i < (unsigned int)argc || procs < 1 || procs > PROCS_MAX) {
		fprintf(stderr, "usage: %s [--time SECONDS] [--processes N] [--seed N] [--oom]\n",
			argv[0]);
		return 2;
	}

	put("/sys/kernel/mm/ksm/sleep_millisecs", "20");
	put("/sys/kernel/mm/ksm/run", "1");
	start = now();
	last = start;
	last_look = start;
	for (i = 0; i < procs; i++)
		start_child(&child[i], argv[0]);
	while (now() < start + seconds && failures == 0) {
		usleep(20000);
		for (i = 0; i < procs; i++) {
			if (waitpid(child[i].pid, &status, WNOHANG) == child[i].pid) {
				ended++;
				refused += WIFEXITED(status) && WEXITSTATUS(status);
				start_child(&child[i], argv[0]);
			} else if (now() > child[i].kill_at) {
				kill_child(&child[i]);
			}
		}
		t = now();
		if (t > last_look + 0.5) {
			last_look = t;
			failures = read_stats();
		}
		if (t > last + 5) {
			print_rates(t - start, t - last);
			last = t;
		}
	}
	gone = all_gone(procs);
	failures = read_stats();
	print_rates(now() - start, now() - last);
	put("/sys/kernel/mm/ksm/run", "2");

	printf("# %lu processes ended, %lu could not start\n", ended, refused);
	if (!gone)
		printf("# killed processes have not exited after %d s\n", PATIENCE);
	if (failures)
		printf("# %ld failures, see the kernel log\n", failures);
	return failures || !gone || (refused && refused > ended / 2);
}
