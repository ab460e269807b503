// SPDX-License-Identifier: GPL-2.0
/* Cases of hmm_gpu_suite: races. */
#include "suite.h"

#define LEN	(16 * page_size)

static u64 stop;

static void pause_or_stop(unsigned int ms)
{
	u64 end = now_ms() + ms;

	while (!get(&stop) && now_ms() < end)
		usleep(1000);
}

/* Each of many threads or processes uses its own memory, next to that of the others. */
static void own_memory(char *p, size_t len, int rounds)
{
	u64 tag;

	while (rounds--) {
		tag = both_ways(p, len);
		switch (rnd(5)) {
		case 0:
			must(!munmap(p, len));
			gpu_cannot_read(p, EFAULT);
			must(mmap(p, len, RW, ANON | MAP_FIXED, -1, 0) == p);
			madvise(p, len, MADV_NOHUGEPAGE);
			both_check(p, len, 0);
			break;
		case 1:
			must(!madvise(p, len, MADV_DONTNEED));
			both_check(p, len, 0);
			break;
		case 2:
			must(!mprotect(p, len, PROT_READ));
			gpu_cannot_write(p, EPERM);
			both_check(p, len, tag);
			must(!mprotect(p, len, RW));
			break;
		case 3:
			must(!mprotect(p, len, PROT_NONE));
			gpu_cannot_read(p, EFAULT);
			must(!mprotect(p, len, RW));
			both_check(p, len, tag);
			break;
		case 4:
			both_check(p, len, tag);
			break;
		}
	}
	gpu_ptes(p, len);
}

static void *one_of_many(void *arg)
{
	own_memory(arg, LEN, 12);
	return NULL;
}

CASE(threads, "eight threads on one address space, with one file or with their own")
{
	char *p = map(8 * LEN);
	pthread_t thread[8];
	int first = gpu, i;

	for (i = 0; i < 8; i++) {
		gpu = i & 1 ? gpu_open(device) : first;
		thread_start(&thread[i], one_of_many, p + i * LEN);
	}
	gpu = first;
	for (i = 0; i < 8; i++)
		thread_join(thread[i]);
}

static void process_of_many(void *arg)
{
	gpu = gpu_open(device);
	own_memory(map(LEN), LEN, 12);
	own_memory(arg, LEN, 5);
}

CASE(processes, "eight processes on one GPU")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);
	pid_t pid[8];
	int i;

	for (i = 0; i < 8; i++)
		pid[i] = spawn(process_of_many, p);
	for (i = 0; i < 8; i++)
		reap(pid[i]);
	both_check(p, LEN, tag);
}

CASE(gpus, "two GPUs on one address space: a change removes the PTEs of both")
{
	int second = gpu_open_second(), first = gpu, i;
	char *p = map(LEN);
	u64 tag, removed;

	for (i = 0; i < 4; i++) {
		tag = both_ways(p, LEN);
		gpu = i & 1 ? first : second;
		gpu_check(p, LEN, tag);
		tag = both_ways(p, LEN);
		gpu = i & 1 ? second : first;
		both_check(p, LEN, tag);

		gpu_map(p, LEN, true);
		gpu_map_at(HERE, first, p, LEN, true);
		gpu_map_at(HERE, second, p, LEN, true);
		removed = gpu_removed(first);
		unmaps_from_gpu(p, LEN, true, must(!mprotect(p, LEN, PROT_READ)));
		check(gpu_removed(first) - removed >= LEN / page_size, "the first GPU keeps PTEs");
		both_check(p, LEN, tag);
		must(!mprotect(p, LEN, RW));
		gpu_map_at(HERE, first, p, LEN, true);
		gpu_map_at(HERE, second, p, LEN, true);
		must(!madvise(p, LEN, MADV_DONTNEED));
		check(!gpu_ptes_at(HERE, first, p, LEN) && !gpu_ptes_at(HERE, second, p, LEN),
		      "device PTEs of unmapped memory");
		both_check(p, LEN, 0);
	}
	gpu_ptes_at(HERE, second, (void *)0, 0x7ffffffff000);
}

/* --------------------------------------------------------------------- atomics */

#define ADDS	60

static void *gpu_adds(void *arg)
{
	int i;

	for (i = 0; i < ADDS; i++)
		gpu_add(gpu, arg, LEN, 1);
	return NULL;
}

static void *cpu_adds(void *arg)
{
	u64 *word = arg;
	size_t i, n;

	for (n = 0; n < ADDS; n++) {
		for (i = 0; i < LEN / 8; i++)
			__atomic_add_fetch(&word[i], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Migrate pages; the data stays the same. */
static void *mover(void *arg)
{
	bool swap = number_after("/proc/meminfo", "SwapTotal:") > 0;
	int page = 0, node = 0, status;

	while (!get(&stop)) {
		char *p = arg + page * page_size;
		void *q = p;

		if (swap && rnd(2))
			madvise(p, page_size, MADV_PAGEOUT);
		else
			syscall(SYS_move_pages, 0, 1, &q, &node, &status, 2 /* MPOL_MF_MOVE */);
		page = (page + 1) % 16;
		node = rnd(2);
		pause_or_stop(1);
	}
	return NULL;
}

CASE(atomics, "GPUs and CPUs add to the same words, while the pages move: no add is lost")
{
	int first = gpu, i, nr = 0;
	u64 *p = map(LEN);
	pthread_t thread[6], moving;
	char second[80];

	snprintf(second, sizeof(second), "%s1", device);
	gpu_slow_faults();
	thread_start(&moving, mover, p);
	thread_start(&thread[nr++], gpu_adds, p);
	thread_start(&thread[nr++], cpu_adds, p);
	thread_start(&thread[nr++], cpu_adds, p);
	gpu = gpu_open(access(second, F_OK) ? device : second);
	thread_start(&thread[nr++], gpu_adds, p);
	for (i = 0; i < nr; i++)
		thread_join(thread[i]);
	set(&stop, 1);
	thread_join(moving);
	gpu_ptes(p, LEN);
	gpu = first;
	for (i = 0; i < (int)(LEN / 8); i++)
		check(p[i] == (u64)nr * ADDS, "word %d: %llu of %d adds", i,
		      (unsigned long long)p[i], nr * ADDS);
}

/* ---------------------------------------------------- the GPU works all the time */

static u64 done, refused;

static void *filler(void *arg)
{
	while (!get(&stop)) {
		struct hmm_gpu_cmd cmd;
		int err = gpu_run(gpu, HMM_GPU_FILL, arg, LEN, NULL, 0xf111, &cmd);

		check(!err || err == EFAULT || err == EPERM, "FILL: %s", strerror(err));
		check(err || cmd.done == LEN, "FILL: %llu done", cmd.done);
		__atomic_add_fetch(err ? &refused : &done, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Pause, so that the GPU meets both states. Pauses grow, for slow machines. */
#define a_while()	pause_or_stop(rnd(3) + n_ / 50)

#define while_gpu_works(p, ...) do {						\
	pthread_t thread_;							\
	u64 end_ = now_ms() + patience * 500ULL;				\
	int n_;									\
										\
	gpu_slow_faults();							\
	thread_start(&thread_, filler, p);					\
	for (n_ = 0; n_ < 100 || ((get(&done) < 20 || get(&refused) < 3) &&	\
				  now_ms() < end_); n_++)			\
		__VA_ARGS__							\
	set(&stop, 1);								\
	thread_join(thread_);							\
	note("%llu done, %llu refused, %d changes", (unsigned long long)done,	\
	     (unsigned long long)refused, n_);					\
	check(done >= 20 && refused >= 3, "%llu done, %llu refused",		\
	      (unsigned long long)done, (unsigned long long)refused);		\
} while (0)

CASE(munmap_race, "munmap() while the GPU writes: the next user of the pages is not affected")
{
	char *p = map(LEN), *q = map(LEN);

	while_gpu_works(p, {
		u64 tag = new_tag();

		must(!munmap(p, LEN));
		must(mmap(q, LEN, RW, ANON | MAP_FIXED | MAP_POPULATE, -1, 0) == q);
		cpu_write(q, LEN, tag);
		a_while();
		cpu_check(q, LEN, tag);
		must(mmap(q, LEN, PROT_NONE, ANON | MAP_FIXED, -1, 0) == q);
		must(mmap(p, LEN, RW, ANON | MAP_FIXED, -1, 0) == p);
		a_while();
	});
	must(!madvise(p, LEN, MADV_DONTNEED));
	both_check(p, LEN, 0);
	both_ways(p, LEN);
}

CASE(mprotect_race, "mprotect() while the GPU writes: read-only memory does not change")
{
	char *p = map(LEN), *copy = malloc(LEN);

	while_gpu_works(p, {
		must(!mprotect(p, LEN, RW));
		cpu_write(p, LEN, 3);
		a_while();
		must(!mprotect(p, LEN, PROT_READ));
		memcpy(copy, p, LEN);
		a_while();
		check(!memcmp(copy, p, LEN), "read-only memory was written");
	});
	must(!mprotect(p, LEN, RW));
	both_ways(p, LEN);
}

CASE(truncate_race, "truncation while the GPU writes: after the new end, the file has zeros")
{
	int fd = make_file(LEN, 0);
	char *p = map_as(LEN, RW, MAP_SHARED, fd);

	while_gpu_works(p, {
		must(!ftruncate(fd, 0));
		a_while();
		must(!ftruncate(fd, LEN));
		a_while();
	});
	must(!ftruncate(fd, 0));
	gpu_cannot_read(p, EFAULT);
	must(!ftruncate(fd, LEN));
	both_check(p, LEN, 0);
	file_check(fd, 0, LEN, 0);
}

CASE(dontneed_race, "MADV_DONTNEED while the GPU writes: each word is old or new, never foreign")
{
	u64 *p = map(LEN), word;
	size_t i;

	/* Read-only memory for a moment causes errors, too. */
	while_gpu_works(p, {
		must(!madvise(p, LEN, MADV_DONTNEED));
		for (i = 0; i < LEN / 8; i += 64) {
			word = get(&p[i]);
			check(!word || word == 0xf111, "%llx", (unsigned long long)word);
		}
		must(!mprotect(p, LEN, PROT_READ));
		a_while();
		must(!mprotect(p, LEN, RW));
		a_while();
	});
	must(!madvise(p, LEN, MADV_DONTNEED));
	both_check(p, LEN, 0);
	both_ways(p, LEN);
}
