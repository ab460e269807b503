// SPDX-License-Identifier: GPL-2.0
/*
 * readme_driver CASE: tests of the driver in README.md. Exit status 0 if the case passes.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MY_BUFFER	_IOW('M', 0, __u64[2])
#define MY_IS_MAPPED	_IO('M', 1)
#define PAGES		16
#define KPF_DIRTY	4

#define check(x)							\
	do {								\
		if (!(x))						\
			err(1, "line %d: wrong: %s", __LINE__, #x);	\
	} while (0)

static size_t page;

static void *map(void *addr, int prot, int flags)
{
	void *p = mmap(addr, PAGES * page, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0) | flags, -1, 0);

	check(p != MAP_FAILED);
	return p;
}

/* Open the device, with the pages at @p as its buffer. */
static int device(const void *p)
{
	__u64 bounds[2] = { (uintptr_t)p, (uintptr_t)p + PAGES * page };
	int fd = open("/dev/my_device", O_RDWR);

	check(fd >= 0 && !ioctl(fd, MY_BUFFER, bounds));
	return fd;
}

/* Let the device load the word at @p. Return 0 or an error. */
static int load(int fd, const void *p, uint64_t *word)
{
	ssize_t n = pread(fd, word, sizeof(*word), (uintptr_t)p);

	check(n == sizeof(*word) || n == -1);
	return n == -1 ? -errno : 0;
}

static int store(int fd, const void *p, uint64_t word)
{
	ssize_t n = pwrite(fd, &word, sizeof(word), (uintptr_t)p);

	check(n == sizeof(word) || n == -1);
	return n == -1 ? -errno : 0;
}

static bool is_mapped(int fd, const void *p)
{
	return ioctl(fd, MY_IS_MAPPED, p) == 1;
}

/* A range can be registered before memory is mapped, and survives munmap() and mmap(). */
static void test_maps(void)
{
	volatile uint64_t *p = map(NULL, PROT_READ | PROT_WRITE, 0);
	uint64_t word;
	int fd;

	check(!munmap((void *)p, PAGES * page));
	fd = device((void *)p);
	check(load(fd, (void *)p, &word) == -EFAULT);
	for (int i = 1; i < 10; i++) {
		map((void *)p, PROT_READ | PROT_WRITE, 0);
		*p = i;
		check(!load(fd, (void *)p, &word) && word == (uint64_t)i);
		check(is_mapped(fd, (void *)p));
		check(!munmap((void *)p, PAGES * page));
		check(!is_mapped(fd, (void *)p));
		check(load(fd, (void *)p, &word) == -EFAULT);
	}
}

static void test_access(void)
{
	char *p = map(NULL, PROT_READ, 0);
	uint64_t word;
	int fd = device(p);

	check(!load(fd, p, &word) && word == 0);
	check(store(fd, p, 1) == -EPERM);
	check(!mprotect(p, PAGES * page, PROT_READ | PROT_WRITE));
	check(!store(fd, p, 7) && *(uint64_t *)p == 7);
	check(!mprotect(p, PAGES * page, PROT_READ));
	check(store(fd, p, 1) == -EPERM && *(uint64_t *)p == 7);
	check(!mprotect(p, PAGES * page, PROT_NONE));
	check(load(fd, p, &word) == -EFAULT);
	/* HMM cannot read write-only memory. The page is kept. */
	check(!mprotect(p, PAGES * page, PROT_WRITE));
	check(load(fd, p, &word) == -EPERM);
	check(!mprotect(p, PAGES * page, PROT_READ | PROT_WRITE));
	check(!load(fd, p, &word) && word == 7);
	check(load(fd, p + PAGES * page, &word) == -EFAULT);
	check(load(fd, p - 8, &word) == -EFAULT);
	check(!munmap(p + page, page));
	check(!load(fd, p, &word) && load(fd, p + page, &word) == -EFAULT);
	check(!load(fd, p + 2 * page, &word));
}

/* The file, in a child that inherits it, acts on the memory of the parent. */
static void test_fork(void)
{
	volatile uint64_t *p = map(NULL, PROT_READ | PROT_WRITE, 0);
	int fd = device((void *)p), status;
	uint64_t word;

	*p = 1;
	check(!load(fd, (void *)p, &word) && word == 1);
	if (!fork()) {
		*p = 2;
		check(!load(fd, (void *)p, &word) && word == 1);
		check(!store(fd, (void *)p, 3) && *p == 2);
		_exit(0);
	}
	check(wait(&status) > 0 && status == 0);
	check(*p == 3);
	check(!load(fd, (void *)p, &word) && word == 3);
}

/* The process that opened the file is dead. */
static void test_dead(void)
{
	volatile uint64_t *p = map(NULL, PROT_READ | PROT_WRITE, 0);
	int died[2], said[2], fd;
	uint64_t word;
	char c;

	check(!pipe(died) && !pipe(said));
	if (!fork()) {
		fd = device((void *)p);
		*p = 1;
		check(!load(fd, (void *)p, &word) && word == 1);
		if (fork()) {
			/* fork() has removed the device PTE. */
			check(!load(fd, (void *)p, &word) && is_mapped(fd, (void *)p));
			_exit(0);
		}
		close(died[1]);
		check(read(died[0], &c, 1) == 1);
		check(!is_mapped(fd, (void *)p));
		check(load(fd, (void *)p, &word) == -ESRCH);
		check(write(said[1], "y", 1) == 1);
		_exit(0);
	}
	close(said[1]);
	check(wait(NULL) > 0);
	check(write(died[1], "x", 1) == 1);
	check(read(said[0], &c, 1) == 1);
}

/* After exec() the mm of the file is dead. */
static void test_exec(void)
{
	volatile uint64_t *p = map(NULL, PROT_READ | PROT_WRITE, 0);
	int fd = device((void *)p);
	char number[2][32];
	uint64_t word;

	*p = 1;
	check(!load(fd, (void *)p, &word) && word == 1);
	snprintf(number[0], sizeof(number[0]), "%d", fd);
	snprintf(number[1], sizeof(number[1]), "%lu", (unsigned long)p);
	execl("/proc/self/exe", "readme_driver", "exec", number[0], number[1], NULL);
	err(1, "execl");
}

static void after_exec(int fd, const void *p)
{
	uint64_t word;

	check(!is_mapped(fd, p));
	check(load(fd, p, &word) == -ESRCH);
}

static bool is_dirty(const void *p)
{
	int map = open("/proc/self/pagemap", O_RDONLY), flags = open("/proc/kpageflags", O_RDONLY);
	uint64_t entry = 0, bits = 0;

	check(map >= 0 && flags >= 0);
	check(pread(map, &entry, 8, (uintptr_t)p / page * 8) == 8 && entry >> 63);
	check(pread(flags, &bits, 8, (entry & ((1ULL << 55) - 1)) * 8) == 8);
	close(map);
	close(flags);
	return bits >> KPF_DIRTY & 1;
}

/* The CPU only reads a page, and the device writes to it: the driver must mark it dirty. */
static void test_dirty(void)
{
	int file = memfd_create("dirty", 0), fd;
	volatile uint64_t *p;

	check(file >= 0 && !ftruncate(file, PAGES * page));
	p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	check(p != MAP_FAILED && *p == 0 && !is_dirty((void *)p));
	fd = device((void *)p);
	check(!store(fd, (void *)p, 5) && *p == 5);
	check(is_dirty((void *)p));
}

struct storm {
	int fd;
	char *p;
	atomic_bool stop;
	atomic_ulong loads;
};

static void *storm_faults(void *arg)
{
	struct storm *s = arg;
	uint64_t word;
	int ret;

	for (unsigned int i = 0; !s->stop; i++) {
		ret = load(s->fd, s->p + i % 2 * page, &word);
		check(!ret || ret == -ETIME);
		s->loads++;
	}
	return NULL;
}

/* Two threads fault on pages that a third one frees and fills again. */
static void test_storm(void)
{
	struct storm s = { .p = map(NULL, PROT_READ | PROT_WRITE, 0) };
	time_t end = time(NULL) + 5;
	pthread_t thread[2];
	uint64_t i, word;

	s.fd = device(s.p);
	for (i = 0; i < 2; i++)
		check(!pthread_create(&thread[i], NULL, storm_faults, &s));
	for (i = 1; time(NULL) < end; i++) {
		char *p = s.p + i % 2 * page;

		check(!madvise(p, page, MADV_DONTNEED));
		*(volatile uint64_t *)p = i;
		check(!load(s.fd, p, &word));
		if (word != i)
			errx(1, "the device has %lu, the process %lu", (unsigned long)word,
			     (unsigned long)i);
	}
	s.stop = true;
	for (int t = 0; t < 2; t++)
		check(!pthread_join(thread[t], NULL));
	printf("%lu changes, %lu loads meanwhile\n", (unsigned long)i, (unsigned long)s.loads);
}

/* The process exits while two files have mapped memory. */
static void test_exit(void)
{
	volatile uint64_t *p = map(NULL, PROT_READ | PROT_WRITE, 0);
	uint64_t word;

	*p = 9;
	for (int i = 0; i < 2; i++)
		check(!load(device((void *)p), (void *)p, &word) && word == 9);
}

/* Fault until killed. */
static void test_hold(void)
{
	test_exit();
	puts("holding");
	fflush(stdout);
	pause();
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "maps", test_maps },
	{ "access", test_access },
	{ "fork", test_fork },
	{ "dead", test_dead },
	{ "exec", test_exec },
	{ "dirty", test_dirty },
	{ "storm", test_storm },
	{ "exit", test_exit },
	{ "hold", test_hold },
	{ }
};

int main(int argc, char **argv)
{
	page = sysconf(_SC_PAGESIZE);
	if (argc == 4 && !strcmp(argv[1], "exec")) {
		after_exec(atoi(argv[2]), (void *)strtoul(argv[3], NULL, 10));
		return 0;
	}
	for (int i = 0; argc == 2 && tests[i].name; i++) {
		if (!strcmp(argv[1], tests[i].name)) {
			tests[i].run();
			return 0;
		}
	}
	fprintf(stderr, "usage: readme_driver CASE\n");
	return 2;
}
