// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_fail_nth: inject a failure into each allocation, or each call of a function of the core.
 * Needs CONFIG_FAILSLAB and CONFIG_FAIL_FUNCTION; the calling script sets them up.
 *
 *	hmm_fail_nth open		open the GPU and use it; the 1st allocation in open()
 *					fails, then the 2nd, until open() has no more
 *	hmm_fail_nth insmod FILE	the same with loading a module
 *	hmm_fail_nth jobs		use the GPU while its allocations fail at random
 *	hmm_fail_nth call		use the GPU; the 1st call of the function fails, then the
 *					2nd, until there are no more
 *
 * Each attempt must either fail with ENOMEM or work.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../samples/hmm_gpu.h"

#define DEVICE		"/dev/hmm_gpu"
#define FUNCTION	"/sys/kernel/debug/fail_function/"
#define NTH_MAX		5000
#define JOBS		200
#define ROUNDS		10
#define PAGES		64

/* How an attempt ended; the exit status of a child. */
enum { NONE_FAILED, FAILED, SURVIVED, WRONG };

static int nth_fd;

/* Let the n-th allocation of this thread from now on fail; 0: none. */
static void set_nth(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	if (pwrite(nth_fd, text, strlen(text), 0) < 0) {
		perror("fail-nth");
		exit(WRONG);
	}
}

/* Return true if the n-th allocation has failed. */
static bool has_failed(void)
{
	char text[16] = "";

	if (pread(nth_fd, text, sizeof(text) - 1, 0) < 0) {
		perror("fail-nth");
		exit(WRONG);
	}
	return atoi(text) == 0;
}

/* Return the status of an attempt that returned ret and set errno to error. */
static int judge(const char *what, int n, long ret, int error, bool failed)
{
	if (ret < 0 && !(failed && error == ENOMEM)) {
		printf("%s: failure %d was %s: %s\n", what, n,
		       failed ? "injected" : "not injected", strerror(error));
		return WRONG;
	}
	if (!failed)
		return NONE_FAILED;
	return ret < 0 ? FAILED : SURVIVED;
}

static int fill(int fd, unsigned long *words, unsigned long pages, unsigned long value)
{
	unsigned long len = pages * sysconf(_SC_PAGESIZE), i;
	struct hmm_gpu_cmd cmd = {
		.op = HMM_GPU_FILL, .addr = (unsigned long)words, .len = len, .value = value,
	};

	if (ioctl(fd, HMM_GPU_RUN, &cmd))
		return -1;
	for (i = 0; i < len / sizeof(*words); i++) {
		if (words[i] != value) {
			printf("word %lu is %lx, expected %lx\n", i, words[i], value);
			exit(WRONG);
		}
	}
	return 0;
}

static void *map(void)
{
	void *p = mmap(NULL, PAGES * sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(WRONG);
	}
	return p;
}

static int open_nth(int n, const char *unused)
{
	int fd, error, status;

	(void)unused;
	set_nth(n);
	fd = open(DEVICE, O_RDWR);
	error = errno;
	status = judge("open", n, fd, error, has_failed());
	set_nth(0);
	if (fd >= 0 && fill(fd, map(), 1, n)) {
		printf("open: allocation %d failed, then a command failed: %s\n", n,
		       strerror(errno));
		status = WRONG;
	}
	return status;
}

static int insmod_nth(int n, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), error, status;
	char name[64], *c;
	long ret;

	set_nth(n);
	ret = syscall(SYS_finit_module, fd, "", 0);
	error = errno;
	/* module_add_driver() of new kernels returns this if it gets no memory for a directory. */
	if (error == EINVAL && strstr(file, "hmm-gpu"))
		error = ENOMEM;
	status = judge("insmod", n, ret, error, has_failed());
	set_nth(0);
	if (ret)
		return status;

	snprintf(name, sizeof(name), "%s", strrchr(file, '/') + 1);
	*strstr(name, ".ko") = 0;
	for (c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	if (syscall(SYS_delete_module, name, 0)) {
		printf("insmod: allocation %d failed, then rmmod failed: %s\n", n, strerror(errno));
		status = WRONG;
	}
	return status;
}

/* Make an attempt in a child, because an mm keeps what an earlier attempt allocated for it. */
static int in_child(int (*fn)(int n, const char *arg), int n, const char *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
		status = fn(n, arg);
		fflush(stdout);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return WRONG;
	return WEXITSTATUS(status);
}

/* Make attempts until no allocation fails. Return 0 if all ended as they should. */
static int each(const char *what, int (*fn)(int n, const char *arg), const char *arg)
{
	int n, status, count[WRONG + 1] = { 0 };

	for (n = 1; n < NTH_MAX; n++) {
		status = in_child(fn, n, arg);
		count[status]++;
		if (status == NONE_FAILED || count[WRONG] == 5)
			break;
	}
	printf("%s: %d failures: %d errors, %d survived, %d wrong\n", what, n - 1,
	       count[FAILED], count[SURVIVED], count[WRONG]);
	return !count[NONE_FAILED] || !count[FAILED] || count[WRONG];
}

static int job(int n, const char *arg)
{
	int fd = open(DEVICE, O_RDWR);
	unsigned long *words = map();
	struct hmm_gpu_cmd cmd = { .op = HMM_GPU_VERIFY, .addr = (unsigned long)words };

	(void)arg;
	if (fd < 0)
		return errno == ENOMEM ? FAILED : WRONG;
	if (!fill(fd, words, PAGES, n))
		return NONE_FAILED;
	if (errno != ENOMEM && errno != EFAULT) {
		printf("fill: %s\n", strerror(errno));
		return WRONG;
	}
	cmd.len = PAGES * sysconf(_SC_PAGESIZE);
	if (ioctl(fd, HMM_GPU_RUN, &cmd) && errno != ENOMEM && errno != EFAULT) {
		printf("verify: %s\n", strerror(errno));
		return WRONG;
	}
	return FAILED;
}

static int jobs(void)
{
	int n, count[WRONG + 1] = { 0 };

	for (n = 1; n <= JOBS; n++)
		count[in_child(job, n, NULL)]++;
	printf("commands: %d done, %d errors, %d wrong\n", count[NONE_FAILED], count[FAILED],
	       count[WRONG]);
	return !count[NONE_FAILED] || !count[FAILED] || count[WRONG];
}

static void set_function(const char *name, int value)
{
	FILE *file = fopen(name, "w");

	if (!file || fprintf(file, "%d", value) < 0 || fclose(file)) {
		perror(name);
		exit(WRONG);
	}
}

static bool function_has_failed(void)
{
	FILE *file = fopen(FUNCTION "times", "r");
	int left;

	if (!file || fscanf(file, "%d", &left) != 1) {
		perror(FUNCTION "times");
		exit(WRONG);
	}
	fclose(file);
	return !left;
}

/* Let the n-th call fail. Without the failure, the same must then work. */
static int call_nth(int n, const char *unused)
{
	unsigned long *words = map();
	int fd, ret, error, status;

	(void)unused;
	set_function(FUNCTION "space", n);
	set_function(FUNCTION "times", 1);
	fd = open(DEVICE, O_RDWR);
	ret = fd < 0 ? -1 : fill(fd, words, PAGES, n);
	error = errno;
	status = judge("call", n, ret, error, function_has_failed());
	set_function(FUNCTION "times", 0);

	if (fd < 0)
		fd = open(DEVICE, O_RDWR);
	if (fd < 0 || fill(fd, words, PAGES, n + 1)) {
		printf("call: failure %d, then a command failed: %s\n", n, strerror(errno));
		status = WRONG;
	}
	return status;
}

/* Repeat: kmemleak misses a single leaked object if a stale word on a stack points to it. */
static int opens(void)
{
	int round, ret = 0;

	for (round = 0; round < ROUNDS; round++)
		ret |= each("open", open_nth, NULL);
	return ret;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "open"))
		return opens();
	if (argc == 3 && !strcmp(argv[1], "insmod"))
		return each("insmod", insmod_nth, argv[2]);
	if (argc == 2 && !strcmp(argv[1], "jobs"))
		return jobs();
	if (argc == 2 && !strcmp(argv[1], "call"))
		return each("call", call_nth, NULL);
	fprintf(stderr, "usage: %s open | insmod FILE | jobs | call\n", argv[0]);
	return 2;
}
