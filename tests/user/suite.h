/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions and macros for the cases of hmm_gpu_suite.
 *
 * A case runs in a process of its own and ends at the first failure. Data has a tag: word i
 * of memory with tag t is word_of(t, i), and tag 0 means zeros. So each write differs from all
 * others, and no two pages have the same data.
 *
 * A case maps memory on the GPU, changes the mapping, asserts that the change has happened,
 * and then checks the data on both sides. After each case the driver searches the address
 * space for stale device PTEs.
 */
#ifndef HMM_GPU_SUITE_H
#define HMM_GPU_SUITE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples/hmm_gpu.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __noreturn	__attribute__((noreturn))
#define __printf(f, a)	__attribute__((format(printf, f, a)))

typedef uint64_t u64;

#define RW		(PROT_READ | PROT_WRITE)
#define ANON		(MAP_PRIVATE | MAP_ANONYMOUS)
#define HUGE		(2UL << 20)
#define MIB		(1UL << 20)

/* Not defined by old C libraries. */
#ifndef MADV_COLD
#define MADV_COLD		20
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB		4U
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd		438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise	440
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif

/* --------------------------------------------------------------------- case */

struct test_case {
	const char *name;
	const char *about;
	void (*run)(void);
};

/* CASE(name, "description") { ... } */
#define CASE(id, text)							\
	static void case_##id(void);					\
	static const struct test_case entry_##id = {			\
		.name = #id, .about = text, .run = case_##id,		\
	};								\
	static const struct test_case *const pointer_##id		\
		__attribute__((used, no_reorder, section("suite_cases"))) = &entry_##id; \
	static void case_##id(void)

/* End the case. Threads and children of the case may call this. */
void fail_at(const char *where, const char *fmt, ...) __noreturn __printf(2, 3);
void skip(const char *fmt, ...) __noreturn __printf(1, 2);

#define TEXT_(x)	#x
#define TEXT(x)		TEXT_(x)
#define HERE		__FILE__ ":" TEXT(__LINE__)
#define fail(...)	fail_at(HERE, __VA_ARGS__)
#define check(cond, ...)	((cond) ? (void)0 : fail(__VA_ARGS__))
/* Check @cond, and print it with errno if it is false. */
#define must(cond)	check(cond, "%s (%s)", #cond, strerror(errno))

void note(const char *fmt, ...) __printf(1, 2);

extern const char *device;	/* option -d */
extern const char *directory;	/* option -f */
extern unsigned int patience;	/* option -t: timeout of a case, in seconds */

/* ---------------------------------------------------------------------- data */

u64 new_tag(void);
unsigned int rnd(unsigned int below);

static inline u64 word_of(u64 tag, size_t i)
{
	return tag ? tag + i * 0x9e3779b97f4a7c15 : 0;
}

/* Return the tag of memory that begins @bytes later in memory with @tag. */
static inline u64 tag_at(u64 tag, size_t bytes)
{
	return word_of(tag, bytes / 8);
}

void cpu_write(void *p, size_t len, u64 tag);
void cpu_check_at(const char *where, const void *p, size_t len, u64 tag);
void gpu_write_at(const char *where, void *p, size_t len, u64 tag);
void gpu_check_at(const char *where, const void *p, size_t len, u64 tag);
void both_check_at(const char *where, const void *p, size_t len, u64 tag);
u64 both_ways_at(const char *where, void *p, size_t len);

#define cpu_check(p, len, tag)	cpu_check_at(HERE, p, len, tag)
#define gpu_write(p, len, tag)	gpu_write_at(HERE, p, len, tag)
#define gpu_check(p, len, tag)	gpu_check_at(HERE, p, len, tag)
#define both_check(p, len, tag)	both_check_at(HERE, p, len, tag)
/* The CPU writes and the GPU reads; then vice versa. Return the tag. */
#define both_ways(p, len)	both_ways_at(HERE, p, len)

/* Return true if access of the CPU to the first word at @p raises a signal. */
bool cpu_faults(void *p, bool write);

/* ----------------------------------------------------------------------- GPU */

/*
 * The open device of a case, which the functions below use. Threads inherit it, and may set
 * another one; a child opens its own.
 */
extern __thread int gpu;

int gpu_open(const char *name);
/* Open a second GPU. If there is none, skip the case. */
int gpu_open_second(void);

/* Run a command. Return 0 or the errno. */
int gpu_run(int fd, unsigned int op, const void *addr, size_t len, const void *src,
	    u64 value, struct hmm_gpu_cmd *out);

/* Check that a command fails with @error at the first word and has no effect. */
void gpu_refuses_at(const char *where, unsigned int op, const void *p, int error);
#define gpu_cannot_read(p, error)	gpu_refuses_at(HERE, HMM_GPU_CHECKSUM, p, error)
#define gpu_cannot_write(p, error)	gpu_refuses_at(HERE, HMM_GPU_FILL, p, error)

u64 gpu_word(const void *p);
void gpu_add(int fd, void *p, size_t len, u64 value);

/*
 * For the rest of the case, delay device page faults between reading and mapping pages, so
 * that they collide more often.
 */
void gpu_slow_faults(void);

/* Return the number of device PTEs, and check that none is stale. */
size_t gpu_ptes_at(const char *where, int fd, const void *p, size_t len);
#define gpu_ptes(p, len)	gpu_ptes_at(HERE, gpu, p, len)

/* Map every page on the GPU, for reading or for writing, without changing the data. */
void gpu_map_at(const char *where, int fd, void *p, size_t len, bool write);
#define gpu_map(p, len, write)	gpu_map_at(HERE, gpu, p, len, write)

/* Return the number of device PTEs that invalidations have removed. */
u64 gpu_removed(int fd);

/*
 * Check that the GPU has device PTEs for all of the memory, and that an invalidation by the
 * statement removes them.
 */
#define unmaps_from_gpu(p, len, write, ...) do {				\
	u64 before_;								\
										\
	gpu_map(p, len, write);							\
	before_ = gpu_removed(gpu);						\
	__VA_ARGS__;								\
	check(gpu_removed(gpu) - before_ >= (len) / page_size,			\
	      "%s: %llu of %zu device PTEs removed", #__VA_ARGS__,		\
	      (unsigned long long)(gpu_removed(gpu) - before_),			\
	      (size_t)(len) / page_size);					\
} while (0)

/* -------------------------------------------------------------------- memory */

extern size_t page_size;

/* Map private anonymous memory in small pages, which shares no tracked range of the GPU. */
void *map(size_t len);
void *map_as(size_t len, int prot, int flags, int fd);
/* As map(), aligned to 2 MiB. */
void *map_aligned(size_t len);

/* Make a file without a name below @directory, with data. */
int make_file(size_t len, u64 tag);
bool on_real_fs(void);
void file_check_at(const char *where, int fd, off_t at, size_t len, u64 tag);
#define file_check(fd, at, len, tag)	file_check_at(HERE, fd, at, len, tag)
void file_write(int fd, off_t at, size_t len, u64 tag);

#define PM_PRESENT	(1ULL << 63)
#define PM_SWAPPED	(1ULL << 62)
#define PM_SHARED	(1ULL << 61)
#define PM_UFFD_WP	(1ULL << 57)
#define PM_SOFT_DIRTY	(1ULL << 55)

u64 pagemap(const void *p);
size_t pages_with(const void *p, size_t len, u64 bit);
/* Return the pfn of a page. If the kernel hides that, skip the case. */
u64 pfn_of(const void *p);
/* Return a field of smaps, in kB, for the mappings in [p, p + len). */
unsigned long smaps_kb(const void *p, size_t len, const char *field);

void need_swap(void);
/*
 * Drain the batches of all CPUs. A new page is in a batch of the CPU on which the GPU took the
 * fault, and cannot be migrated or reclaimed from there.
 */
void empty_batches(void);
/* Page out once. Some pages may stay; then try again. */
void advise_out(void *p, size_t len);
/* Page out all pages. */
void page_out(void *p, size_t len);

/* ------------------------------------------------------------------- system */

bool write_text(const char *path, const char *fmt, ...) __printf(2, 3);
bool read_text(const char *path, char *buf, size_t len);
long read_number(const char *path);	/* -1 if that fails */
long number_after(const char *path, const char *key);

/* Evaluate @cond until it is true, or half of the timeout of the case is over. */
#define eventually(cond) ({						\
	u64 end_ = now_ms() + patience * 500ULL;			\
	bool ok_;							\
									\
	while (!(ok_ = (cond)) && now_ms() < end_)			\
		usleep(2000);						\
	ok_;								\
})

u64 now_ms(void);

pid_t spawn(void (*fn)(void *arg), void *arg);
void reap(pid_t pid);			/* check that the child succeeded */
void reap_killed(pid_t pid, int sig);
void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);
void thread_join(pthread_t thread);

/* "--after-exec FD": use a file that was opened before exec. */
int after_exec(int fd);

/* Map 4 KiB of zeroed words that processes share. */
u64 *shared_words(void);
void set(u64 *word, u64 value);
u64 get(const u64 *word);
void await(const u64 *word, u64 value);

#endif /* HMM_GPU_SUITE_H */
