// SPDX-License-Identifier: GPL-2.0
/* Cases of hmm_gpu_suite: every kind of memory. */
#include "suite.h"

#include <alloca.h>
#include <sys/auxv.h>

#define LEN	(16 * page_size)

CASE(anonymous, "private anonymous memory, unmapped and mapped anew at the same address")
{
	char *p = map(LEN);

	both_ways(p, LEN);
	unmaps_from_gpu(p, LEN, true, must(!munmap(p, LEN)));
	check(!gpu_ptes(p, LEN), "device PTEs of unmapped memory");
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p + LEN - page_size, EFAULT);

	must(mmap(p, LEN, RW, ANON | MAP_FIXED, -1, 0) == p);
	gpu_check(p, LEN, 0);
	both_ways(p, LEN);
}

CASE(syscalls, "the kernel reads and writes memory that the GPU has mapped")
{
	char *p = map(LEN), *q = map(LEN);
	u64 tag = new_tag();
	int fd[2];

	must(!pipe(fd));
	gpu_map(q, LEN, true);
	gpu_write(p, LEN, tag);
	must(write(fd[1], p, LEN) == (ssize_t)LEN);
	must(read(fd[0], q, LEN) == (ssize_t)LEN);
	both_check(q, LEN, tag);
}

CASE(zero_page, "the GPU reads the zero page, and then CPU and GPU write")
{
	char *p = map(LEN);
	u64 zero, tag = new_tag();

	gpu_check(p, LEN, 0);
	zero = pfn_of(p);
	check(pfn_of(p + page_size) == zero, "no zero page");
	check(gpu_ptes(p, LEN) == LEN / page_size, "the GPU has not mapped it");

	cpu_write(p, page_size, tag);
	gpu_check(p, page_size, tag);
	gpu_write(p + page_size, page_size, tag + 1);
	cpu_check(p + page_size, page_size, tag + 1);
	check(pfn_of(p) != zero && pfn_of(p + page_size) != zero, "still the zero page");
	both_check(p + 2 * page_size, LEN - 2 * page_size, 0);
	check(pfn_of(p + 2 * page_size) == zero, "no zero page any more");
}

/* ----------------------------------------------------------------------- stack */

static void __attribute__((noinline)) on_stack(int depth)
{
	size_t len = 64 << 10;
	u64 *words = alloca(len), tag;

	/* Include pages that the CPU has not touched. */
	tag = new_tag();
	gpu_write(words, len, tag);
	cpu_check(words, len, tag);
	tag = both_ways(words, len);
	if (depth)
		on_stack(depth - 1);
	both_check(words, len, tag);
}

static void *stack_of_thread(void *arg)
{
	on_stack(2);
	return arg;
}

CASE(stack, "stacks of the process and of a thread, while they grow")
{
	pthread_t thread;

	on_stack(8);
	thread_start(&thread, stack_of_thread, NULL);
	thread_join(thread);
}

CASE(mlocked, "mlocked memory cannot be paged out, and its pages stay")
{
	char *p = map(LEN);
	u64 tag, pfn;

	if (mlock(p, LEN))
		skip("mlock: %s", strerror(errno));
	check(number_after("/proc/self/status", "VmLck:") * 1024 >= (long)LEN, "it is not locked");
	tag = both_ways(p, LEN);
	pfn = pfn_of(p);
	madvise(p, LEN, MADV_PAGEOUT);
	check(pages_with(p, LEN, PM_PRESENT) == LEN / page_size && pfn_of(p) == pfn,
	      "locked pages were paged out");
	both_check(p, LEN, tag);

	/* MADV_DONTNEED is refused before munlock(). */
	check(madvise(p, LEN, MADV_DONTNEED) && errno == EINVAL, "MADV_DONTNEED was not refused");
	both_check(p, LEN, tag);
	must(!munlock(p, LEN));
	unmaps_from_gpu(p, LEN, true, must(!madvise(p, LEN, MADV_DONTNEED)));
	both_check(p, LEN, 0);
}

/* ----------------------------------------------------------------------- files */

CASE(file_private, "private mapping of a file: copied by the first write of CPU or GPU")
{
	u64 tag = new_tag(), other = new_tag();
	int fd = make_file(LEN, tag);
	char *p = map_as(LEN, RW, MAP_PRIVATE, fd);
	char *q = map_as(LEN, RW, MAP_PRIVATE, fd);
	size_t half = LEN / 2;

	gpu_check(p, LEN, tag);
	gpu_map(p, LEN, false);
	check(pagemap(p) & PM_SHARED, "it is not the page of the file");
	/* Writes to the file are visible until the mapping is written. */
	tag = new_tag();
	file_write(fd, 0, LEN, tag);
	both_check(p, LEN, tag);

	cpu_write(p, half, other);
	gpu_check(p, half, other);
	gpu_write(p + half, half, other);
	cpu_check(p + half, half, other);
	check(!pages_with(p, LEN, PM_SHARED), "still pages of the file");
	file_check(fd, 0, LEN, tag);
	both_check(q, LEN, tag);

	unmaps_from_gpu(p, LEN, true, must(!madvise(p, LEN, MADV_DONTNEED)));
	both_check(p, LEN, tag);
}

CASE(file_shared, "shared mapping of a file, and read() and write()")
{
	u64 tag = new_tag();
	int fd = make_file(LEN, tag);
	char *p = map_as(LEN, RW, MAP_SHARED, fd);
	char *q = map_as(LEN, RW, MAP_SHARED, fd);

	both_check(p, LEN, tag);
	tag = both_ways(p, LEN);
	file_check(fd, 0, LEN, tag);
	both_check(q, LEN, tag);
	check(pfn_of(p) == pfn_of(q), "two mappings of a file have two pages");

	gpu_map(p, LEN, true);
	tag = new_tag();
	file_write(fd, 0, LEN, tag);
	both_check(p, LEN, tag);
	tag = both_ways(q, LEN);
	both_check(p, LEN, tag);
}

CASE(file_read_only, "a file that is open for reading: the GPU cannot write")
{
	u64 tag = new_tag();
	int fd = make_file(LEN, tag), ro;
	char name[64], *p;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ro = open(name, O_RDONLY | O_CLOEXEC);
	must(ro >= 0);
	p = map_as(LEN, PROT_READ, MAP_SHARED, ro);
	both_check(p, LEN, tag);
	gpu_cannot_write(p, EPERM);
	file_check(fd, 0, LEN, tag);
}

CASE(file_writeback, "after writeback a page of a file is clean until the GPU writes again")
{
	u64 tag = new_tag();
	int fd, i;
	char *p;

	if (!on_real_fs())
		skip("%s is not on ext2, ext3 or ext4", directory);
	fd = make_file(LEN, tag);
	p = map_as(LEN, RW, MAP_SHARED, fd);

	for (i = 0; i < 3; i++) {
		tag = new_tag();
		gpu_write(p, LEN, tag);
		unmaps_from_gpu(p, LEN, true, must(!fdatasync(fd)));
		gpu_map(p, LEN, false);
	}
	gpu_check(p, LEN, tag);
	/* The disk, read past the page cache, has the data that the GPU wrote. */
	tag = new_tag();
	gpu_write(p, LEN, tag);
	must(!fdatasync(fd));
	must(!munmap(p, LEN));
	must(!posix_fadvise(fd, 0, LEN, POSIX_FADV_DONTNEED));
	p = map_as(LEN, RW, MAP_SHARED, fd);
	for (i = 0; i < 16; i++) {
		unsigned char in = 1;

		must(!mincore(p + i * page_size, page_size, &in));
		check(!(in & 1), "page %d is still cached", i);
	}
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

CASE(file_reclaim, "pages of a file are reclaimed and read again")
{
	u64 tag = new_tag();
	int fd, i;
	char *p;

	if (!on_real_fs())
		skip("%s is not on ext2, ext3 or ext4", directory);
	fd = make_file(LEN, tag);
	p = map_as(LEN, RW, MAP_SHARED, fd);
	for (i = 0; i < 3; i++) {
		tag = new_tag();
		gpu_write(p, LEN, tag);
		must(!fdatasync(fd));
		gpu_map(p, LEN, false);
		check(eventually((advise_out(p, LEN),
				  !pages_with(p, LEN, PM_PRESENT))), "it was not reclaimed");
		check(!gpu_ptes(p, LEN), "the GPU still has pages that were reclaimed");
		gpu_check(p, LEN, tag);
		cpu_check(p, LEN, tag);
	}
}

CASE(direct_io, "O_DIRECT from and to memory that the GPU has mapped")
{
	u64 tag = new_tag();
	char *p = map(LEN), *q = map(LEN), name[64];
	int fd, dio;

	if (!on_real_fs())
		skip("%s is not on ext2, ext3 or ext4", directory);
	fd = make_file(LEN, new_tag());
	must(!fsync(fd));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	dio = open(name, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (dio < 0)
		skip("no O_DIRECT: %s", strerror(errno));
	gpu_write(p, LEN, tag);
	must(pwrite(dio, p, LEN, 0) == (ssize_t)LEN);
	gpu_map(q, LEN, true);
	must(pread(dio, q, LEN, 0) == (ssize_t)LEN);
	both_check(q, LEN, tag);
	file_check(fd, 0, LEN, tag);
}

CASE(truncate, "truncation under the mapping: an error and no old data")
{
	u64 tag = new_tag();
	int fd = make_file(LEN, tag);
	char *p = map_as(LEN, RW, MAP_SHARED, fd);
	size_t half = LEN / 2;

	both_check(p, LEN, tag);
	gpu_map(p, LEN, true);
	must(!ftruncate(fd, half + page_size / 2));
	gpu_cannot_read(p + half + page_size, EFAULT);
	gpu_cannot_write(p + LEN - page_size, EFAULT);
	check(cpu_faults(p + half + page_size, false), "the CPU still has it");
	both_check(p, half + page_size / 2, tag);
	both_check(p + half + page_size / 2, page_size / 2, 0);

	must(!ftruncate(fd, LEN));
	both_check(p + half + page_size / 2, LEN - half - page_size / 2, 0);
	both_ways(p, LEN);

	unmaps_from_gpu(p, LEN, true, must(!ftruncate(fd, 0)));
	gpu_cannot_read(p, EFAULT);
	must(!ftruncate(fd, LEN));
	both_check(p, LEN, 0);
}

CASE(truncate_private, "truncation also removes private copies")
{
	u64 tag = new_tag();
	int fd = make_file(LEN, tag);
	char *p = map_as(LEN, RW, MAP_PRIVATE, fd);

	gpu_write(p, LEN, new_tag());
	unmaps_from_gpu(p, LEN, true, must(!ftruncate(fd, 0)));
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p, EFAULT);
	must(!ftruncate(fd, LEN));
	both_check(p, LEN, 0);
}

#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE	1
#define FALLOC_FL_PUNCH_HOLE	2
#endif

static void punch_hole(int fd, size_t page)
{
	u64 tag = new_tag();
	char *p = map_as(8 * page, RW, MAP_SHARED, fd);

	gpu_write(p, 8 * page, tag);
	gpu_map(p, 8 * page, true);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * page, 4 * page)) {
		if (errno == EOPNOTSUPP)
			skip("no holes in files");
		fail("fallocate: %s", strerror(errno));
	}
	check(!gpu_ptes(p + 2 * page, 4 * page), "the GPU still has pages of the hole");
	both_check(p, 2 * page, tag);
	both_check(p + 2 * page, 4 * page, 0);
	both_check(p + 6 * page, 2 * page, tag_at(tag, 6 * page));
	file_check(fd, 2 * page, 4 * page, 0);
	both_ways(p, 8 * page);
}

CASE(punch_hole, "fallocate() punches a hole into a mapped file")
{
	punch_hole(make_file(8 * page_size, 0), page_size);
}

/* ----------------------------------------------------------------------- shmem */

CASE(shmem, "shared anonymous memory, of two processes")
{
	char *p = map_as(LEN, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	u64 tag = both_ways(p, LEN);
	u64 *word = shared_words();
	pid_t pid;

	pid = fork();
	must(pid >= 0);
	if (!pid) {
		gpu = gpu_open(device);
		both_check(p, LEN, tag);
		gpu_write(p, LEN, tag + 2);
		set(&word[0], 1);
		await(&word[1], 1);
		both_check(p, LEN, tag + 4);
		gpu_ptes(p, LEN);
		_exit(0);
	}
	gpu_map(p, LEN, true);
	await(&word[0], 1);
	both_check(p, LEN, tag + 2);
	gpu_write(p, LEN, tag + 4);
	set(&word[1], 1);
	reap(pid);
	both_check(p, LEN, tag + 4);
}

CASE(shmem_swap, "shared memory is swapped out and back")
{
	char *p;
	int i;
	u64 tag;

	need_swap();
	p = map_as(LEN, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	for (i = 0; i < 3; i++) {
		tag = new_tag();
		gpu_write(p, LEN, tag);
		gpu_map(p, LEN, i & 1);
		check(eventually((advise_out(p, LEN),
				  !pages_with(p, LEN, PM_PRESENT) &&
				  smaps_kb(p, LEN, "Swap") * 1024 == LEN)), "not swapped out");
		check(!gpu_ptes(p, LEN), "the GPU still has it");
		both_check(p, LEN, tag);
	}
	both_ways(p, LEN);
}

CASE(shmem_clean, "shared memory that the CPU has only read: swapped out after a write of the GPU")
{
	char *p;
	u64 tag;
	int i;

	need_swap();
	for (i = 0; i < 3; i++) {
		/* The CPU faults the pages in by reading them, so they are clean. */
		p = map_as(LEN, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
		cpu_check(p, LEN, 0);
		/* The GPU maps them, for reading or for writing, before it writes. */
		if (i)
			gpu_map(p, LEN, i > 1);
		tag = new_tag();
		gpu_write(p, LEN, tag);
		check(eventually((advise_out(p, LEN),
				  !pages_with(p, LEN, PM_PRESENT))), "not swapped out");
		check(!gpu_ptes(p, LEN), "the GPU still has it");
		cpu_check(p, LEN, tag);
		gpu_check(p, LEN, tag);
		must(!munmap(p, LEN));
	}
}

CASE(memfd, "one memfd mapped twice, sealed and read-only")
{
	int fd = memfd_create("suite", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *p, *q, *r;
	u64 tag;

	must(fd >= 0);
	must(!ftruncate(fd, LEN));
	p = map_as(LEN, RW, MAP_SHARED, fd);
	q = map_as(LEN, RW, MAP_SHARED, fd);
	tag = both_ways(p, LEN);
	both_check(q, LEN, tag);
	tag = both_ways(q, LEN);
	both_check(p, LEN, tag);
	file_check(fd, 0, LEN, tag);

	check(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) && errno == EBUSY, "sealed although writable");
	unmaps_from_gpu(p, LEN, true, must(!munmap(p, LEN)));
	must(!munmap(q, LEN));
	must(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	r = map_as(LEN, PROT_READ, MAP_PRIVATE, fd);
	both_check(r, LEN, tag);
	gpu_cannot_write(r, EPERM);
	file_check(fd, 0, LEN, tag);
}

CASE(secretmem, "memory that the kernel has not mapped: an error")
{
	int fd = syscall(SYS_memfd_secret, O_CLOEXEC);
	char *p;

	if (fd < 0)
		skip("memfd_secret: %s", strerror(errno));
	must(!ftruncate(fd, page_size));
	p = mmap(NULL, page_size, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		skip("mmap of secret memory: %s", strerror(errno));
	cpu_write(p, page_size, 5);
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p, EFAULT);
	cpu_check(p, page_size, 5);
}

CASE(vdso, "kernel pages in each process: the GPU reads, and cannot write")
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR), *copy = map(page_size);
	struct hmm_gpu_cmd cmd;

	if (!vdso)
		skip("there is no vdso");
	memcpy(copy, vdso, page_size);
	must(!gpu_run(gpu, HMM_GPU_COMPARE, vdso, page_size, copy, 0, &cmd));
	check(cmd.result == page_size, "the GPU reads something else");
	gpu_cannot_write(vdso, EPERM);
	check(!memcmp(vdso, copy, page_size), "it was written");
}

/* Check that the GPU can neither read nor write, and that the data is kept. */
static void cannot_access(int prot, int error)
{
	char *p = map(LEN);
	size_t half = LEN / 2;
	u64 tag = both_ways(p, LEN);

	unmaps_from_gpu(p, half, true, must(!mprotect(p, half, prot)));
	gpu_cannot_read(p, error);
	gpu_cannot_write(p, error);
	gpu_cannot_write(p + half - page_size, error);
	both_check(p + half, half, tag_at(tag, half));
	must(!mprotect(p, half, RW));
	both_check(p, LEN, tag);
	/* The same for untouched memory. */
	must(mmap(p, half, prot, ANON | MAP_FIXED, -1, 0) == p);
	gpu_cannot_write(p, error);
	gpu_cannot_read(p, error);
	both_ways(p + half, half);
}

CASE(access, "memory that may be written or executed but not read: no access by the GPU")
{
	cannot_access(PROT_WRITE, EPERM);
	cannot_access(PROT_EXEC, EPERM);
	cannot_access(PROT_WRITE | PROT_EXEC, EPERM);
	cannot_access(PROT_NONE, EFAULT);
}

CASE(access_cpu, "memory that may be written but not read: some CPUs read it")
{
	char *p = map(LEN);
	u64 tag = new_tag();

	must(!mprotect(p, LEN, PROT_WRITE));
	cpu_write(p, LEN, tag);
#ifdef __x86_64__
	cpu_check(p, LEN, tag);
#endif
	gpu_cannot_read(p, EPERM);
	gpu_cannot_write(p, EPERM);
	must(!mprotect(p, LEN, RW));
	both_check(p, LEN, tag);
}

/* Return a mapping of this name without struct page, or NULL. */
static char *pfnmap_named(const char *name)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512], *start = NULL, *found = NULL;
	unsigned long first, last;

	if (!maps)
		return NULL;
	while (!found && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
			start = strstr(line, name) ? (char *)first : NULL;
		else if (start && !strncmp(line, "VmFlags:", 8) && strstr(line, " pf "))
			found = start;
	}
	fclose(maps);
	return found;
}

CASE(pfnmap, "memory without struct page, such as device memory: an error, but not for neighbours")
{
	/* In new kernels [vvar] has pages. */
	char *vvar = pfnmap_named("[vvar]"), *p = map(3 * page_size);
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	u64 tag = both_ways(p, 3 * page_size);
	struct hmm_gpu_cmd cmd;

	if (vvar) {
		gpu_cannot_read(vvar, EFAULT);
		check(gpu_run(gpu, HMM_GPU_FILL, vvar, 8, NULL, 1, NULL) == EFAULT,
		      "the GPU writes to it");
	}
	/* The frame buffer of a PC can be mapped even with CONFIG_STRICT_DEVMEM. */
	if (fd < 0 || mmap(p + page_size, page_size, RW, MAP_SHARED | MAP_FIXED, fd, 0xa0000) !=
		      p + page_size) {
		skip("/dev/mem: %s", strerror(errno));
	}
	gpu_cannot_read(p + page_size, EFAULT);
	gpu_cannot_write(p + page_size, EFAULT);
	check(gpu_run(gpu, HMM_GPU_FILL, p, 3 * page_size, NULL, 7, &cmd) == EFAULT &&
	      cmd.done == page_size && cmd.fault_addr == (uintptr_t)p + page_size,
	      "FILL: %llu done", cmd.done);
	both_check(p + 2 * page_size, page_size, tag_at(tag, 2 * page_size));
	must(mmap(p + page_size, page_size, RW, ANON | MAP_FIXED, -1, 0) == p + page_size);
	both_ways(p, 3 * page_size);
}

/* --------------------------------------------------------------------- hugetlb */

static long free_hugepages(void)
{
	return read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
}

static void need_hugepages(long n)
{
	if (free_hugepages() < n)
		skip("fewer than %ld free huge pages of 2 MiB", n);
}

CASE(hugetlb, "private huge pages: shared over fork, copied by a write")
{
	long free;
	pid_t pid;
	char *p;
	u64 tag;

	need_hugepages(4);
	p = map_as(HUGE, RW, ANON | MAP_HUGETLB, -1);
	tag = both_ways(p, HUGE);
	check(smaps_kb(p, HUGE, "Private_Hugetlb") == 2048, "no huge page");

	/* Keep the child alive until the parent has its own copy. */
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		pause();
		_exit(1);
	}
	free = free_hugepages();
	gpu_check(p, HUGE, tag);
	gpu_write(p, LEN, tag + 2);
	both_check(p, LEN, tag + 2);
	both_check(p + LEN, HUGE - LEN, tag_at(tag, LEN));
	check(free_hugepages() < free, "it was not copied");
	kill(pid, SIGKILL);
	reap_killed(pid, SIGKILL);

	unmaps_from_gpu(p, HUGE, true, must(!mprotect(p, HUGE, PROT_READ)));
	gpu_cannot_write(p, EPERM);
	both_check(p, LEN, tag + 2);
	unmaps_from_gpu(p, HUGE, false, must(!munmap(p, HUGE)));
	gpu_cannot_read(p, EFAULT);
}

CASE(hugetlb_shared, "a file of huge pages: two mappings, a hole")
{
	char *p, *q;
	u64 tag;
	int fd;

	need_hugepages(4);
	fd = memfd_create("suite", MFD_CLOEXEC | MFD_HUGETLB);
	if (fd < 0)
		skip("memfd of huge pages: %s", strerror(errno));
	must(!ftruncate(fd, 2 * HUGE));
	p = map_as(2 * HUGE, RW, MAP_SHARED, fd);
	q = map_as(2 * HUGE, RW, MAP_SHARED, fd);
	tag = both_ways(p, 2 * HUGE);
	both_check(q, 2 * HUGE, tag);
	check(smaps_kb(p, 2 * HUGE, "Shared_Hugetlb") + smaps_kb(p, 2 * HUGE, "Private_Hugetlb") ==
	      4096, "no huge pages");

	gpu_map(q, 2 * HUGE, true);
	unmaps_from_gpu(p, HUGE, true,
			must(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE)));
	check(!gpu_ptes(q, HUGE), "the GPU still has pages of the hole");
	both_check(p, HUGE, 0);
	both_check(q, HUGE, 0);
	both_check(q + HUGE, HUGE, tag_at(tag, HUGE));
	both_ways(q, 2 * HUGE);
}

/* ------------------------------------------------------------------------- THP */

#define THP	"/sys/kernel/mm/transparent_hugepage/"

static void need_thp(void)
{
	char text[64];

	if (!read_text(THP "enabled", text, sizeof(text)))
		skip("no transparent huge pages");
	if (strstr(text, "[never]"))
		skip("transparent huge pages are switched off");
}

static unsigned long thp_kb(const void *p, size_t len)
{
	return smaps_kb(p, len, "AnonHugePages");
}

/* Map a huge page that the GPU touches first. */
static char *map_thp(u64 *tag)
{
	char *p;

	need_thp();
	p = map_aligned(HUGE);
	must(!madvise(p, HUGE, MADV_HUGEPAGE));
	*tag = new_tag();
	gpu_write(p, HUGE, *tag);
	if (thp_kb(p, HUGE) != 2048)
		skip("no huge page was allocated");
	cpu_check(p, HUGE, *tag);
	return p;
}

CASE(thp, "a transparent huge page, which the GPU allocates")
{
	u64 tag;
	char *p = map_thp(&tag);

	check(pfn_of(p + HUGE - page_size) - pfn_of(p) == HUGE / page_size - 1, "it is not one");
	both_ways(p, HUGE);
	check(thp_kb(p, HUGE) == 2048, "it was split");
	unmaps_from_gpu(p, HUGE, true, must(!madvise(p, HUGE, MADV_DONTNEED)));
	both_check(p, HUGE, 0);
}

CASE(thp_zero, "the huge zero page, and then a write of the GPU")
{
	u64 zero, tag = new_tag();
	char *p;

	need_thp();
	if (read_number(THP "use_zero_page") != 1)
		skip("no huge zero page");
	p = map_aligned(HUGE);
	must(!madvise(p, HUGE, MADV_HUGEPAGE));
	gpu_check(p, HUGE, 0);
	gpu_map(p, HUGE, false);
	zero = pfn_of(p);
	check(pfn_of(p + HUGE - page_size) - zero == HUGE / page_size - 1, "no huge zero page");
	gpu_write(p + LEN, LEN, tag);
	cpu_check(p + LEN, LEN, tag);
	check(pfn_of(p + LEN) - zero >= HUGE / page_size, "still the zero page");
	both_check(p, LEN, 0);
	both_check(p + 2 * LEN, HUGE - 2 * LEN, 0);
	both_ways(p, HUGE);
}

CASE(thp_split, "a huge page is split: its middle is unmapped, protected, copied")
{
	char *p, *middle;
	u64 tag;

	/* Unmap a part. */
	p = map_thp(&tag);
	middle = p + HUGE / 2;
	gpu_map(p, HUGE, true);
	unmaps_from_gpu(middle, LEN, true, must(!munmap(middle, LEN)));
	check(thp_kb(p, HUGE) == 0, "not split");
	gpu_cannot_read(middle, EFAULT);
	both_check(p, HUGE / 2, tag);
	both_check(middle + LEN, HUGE / 2 - LEN, tag_at(tag, HUGE / 2 + LEN));

	/* Protect a part. */
	p = map_thp(&tag);
	middle = p + HUGE / 2;
	gpu_map(p, HUGE, true);
	unmaps_from_gpu(middle, LEN, true, must(!mprotect(middle, LEN, PROT_READ)));
	check(thp_kb(p, HUGE) == 0, "not split");
	gpu_cannot_write(middle, EPERM);
	both_check(p, HUGE, tag);
	both_ways(p, HUGE / 2);

	/* Zap a part. */
	p = map_thp(&tag);
	middle = p + HUGE / 2;
	gpu_map(p, HUGE, true);
	unmaps_from_gpu(middle, LEN, true, must(!madvise(middle, LEN, MADV_DONTNEED)));
	check(thp_kb(p, HUGE) == 0, "not split");
	both_check(p, HUGE / 2, tag);
	both_check(middle, LEN, 0);
	both_check(middle + LEN, HUGE / 2 - LEN, tag_at(tag, HUGE / 2 + LEN));
}

CASE(thp_fork, "a huge page after fork(): the GPU writes a page of it, the child keeps all")
{
	u64 *word = shared_words(), tag;
	char *p = map_thp(&tag);
	pid_t pid;

	pid = fork();
	must(pid >= 0);
	if (!pid) {
		await(&word[0], 1);
		cpu_check(p, HUGE, tag);
		gpu = gpu_open(device);
		both_check(p, HUGE, tag);
		both_ways(p, HUGE);
		_exit(0);
	}
	gpu_write(p + LEN, LEN, tag + 2);
	both_check(p, LEN, tag);
	both_check(p + LEN, LEN, tag + 2);
	set(&word[0], 1);
	reap(pid);
	both_check(p, LEN, tag);
	both_check(p + LEN, LEN, tag + 2);
	both_check(p + 2 * LEN, HUGE - 2 * LEN, tag_at(tag, 2 * LEN));
}

CASE(thp_swap, "a huge page is swapped out and back")
{
	u64 tag;
	char *p;

	need_swap();
	p = map_thp(&tag);
	gpu_map(p, HUGE, true);
	page_out(p, HUGE);
	check(!gpu_ptes(p, HUGE), "the GPU still has it");
	both_check(p, HUGE, tag);
	both_ways(p, HUGE);
}

/* Map small pages that could be one huge page, also on the GPU. */
static char *map_collapsible(u64 *tag)
{
	char *p;

	need_thp();
	p = map_aligned(HUGE);
	must(!madvise(p, HUGE, MADV_NOHUGEPAGE));
	*tag = both_ways(p, HUGE);
	check(thp_kb(p, HUGE) == 0, "it is already a huge page");
	return p;
}

static bool collapse(char *p)
{
	if (!madvise(p, HUGE, MADV_COLLAPSE))
		return true;
	if (errno == EINVAL)
		skip("no MADV_COLLAPSE");
	return false;
}

CASE(thp_collapse, "MADV_COLLAPSE makes small pages a huge one")
{
	char *p;
	u64 tag;

	p = map_collapsible(&tag);
	/* After MADV_HUGEPAGE, khugepaged may collapse the pages first. */
	unmaps_from_gpu(p, HUGE, true, must(!madvise(p, HUGE, MADV_HUGEPAGE));
			check(eventually(collapse(p)), "MADV_COLLAPSE: %s", strerror(errno)));
	check(thp_kb(p, HUGE) == 2048, "no huge page");
	both_check(p, HUGE, tag);
	both_ways(p, HUGE);
}

CASE(thp_khugepaged, "khugepaged makes small pages a huge one")
{
	long sleep = read_number(THP "khugepaged/scan_sleep_millisecs");
	long pages = read_number(THP "khugepaged/pages_to_scan");
	bool collapsed;
	char *p;
	u64 tag;

	if (sleep < 0)
		skip("no khugepaged");
	p = map_collapsible(&tag);
	gpu_map(p, HUGE, true);
	must(!madvise(p, HUGE, MADV_HUGEPAGE));
	if (!write_text(THP "khugepaged/pages_to_scan", "100000") ||
	    !write_text(THP "khugepaged/scan_sleep_millisecs", "10"))
		skip("khugepaged cannot be configured");
	collapsed = eventually(thp_kb(p, HUGE) == 2048);
	write_text(THP "khugepaged/pages_to_scan", "%ld", pages);
	write_text(THP "khugepaged/scan_sleep_millisecs", "%ld", sleep);
	check(collapsed, "khugepaged did not do it");
	check(!gpu_ptes(p, HUGE), "the GPU still has small pages");
	both_check(p, HUGE, tag);
	both_ways(p, HUGE);
}

/* ------------------------------------------------------------------------- KSM */

#define KSM	"/sys/kernel/mm/ksm/"

static bool same_pages(const char *p, const char *q, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += page_size) {
		if (!(pagemap(p + i) & PM_PRESENT) || !(pagemap(q + i) & PM_PRESENT) ||
		    pfn_of(p + i) != pfn_of(q + i))
			return false;
	}
	return true;
}

CASE(ksm, "KSM merges pages that the GPU has mapped, writes of GPU and CPU unmerge them")
{
	long run = read_number(KSM "run"), sleep = read_number(KSM "sleep_millisecs");
	long pages = read_number(KSM "pages_to_scan"), sharing;
	char *p = map(LEN), *q = map(LEN);
	u64 tag = new_tag(), other = new_tag(), removed;
	size_t half = LEN / 2;
	bool merged;

	if (run < 0)
		skip("no KSM");
	gpu_write(p, LEN, tag);
	gpu_write(q, LEN, tag);
	gpu_map(p, LEN, true);
	gpu_map(q, LEN, true);
	removed = gpu_removed(gpu);

	must(!madvise(p, LEN, MADV_MERGEABLE) && !madvise(q, LEN, MADV_MERGEABLE));
	if (!write_text(KSM "sleep_millisecs", "5") || !write_text(KSM "pages_to_scan", "1000") ||
	    !write_text(KSM "run", "1"))
		skip("KSM cannot be configured");
	merged = eventually(same_pages(p, q, LEN));
	sharing = read_number(KSM "pages_sharing");
	/* Stop KSM, so that it does not interfere with the checks below. */
	write_text(KSM "run", "0");
	if (merged) {
		check(sharing >= (long)(LEN / page_size), "pages_sharing: only %ld", sharing);
		check(gpu_removed(gpu) - removed >= 2 * LEN / page_size,
		      "the GPU still has the unmerged pages");
		both_check(p, LEN, tag);
		both_check(q, LEN, tag);
		gpu_map(p, LEN, false);
		gpu_map(q, LEN, false);
		check(same_pages(p, q, LEN), "a read unmerged them");

		gpu_write(p, half, other);
		check(pfn_of(p) != pfn_of(q), "the GPU wrote a merged page");
		cpu_write(q + half, half, other);
		both_check(p, half, other);
		both_check(p + half, half, tag_at(tag, half));
		both_check(q, half, tag);
		both_check(q + half, half, other);
	}
	write_text(KSM "run", "%ld", run);
	write_text(KSM "sleep_millisecs", "%ld", sleep);
	write_text(KSM "pages_to_scan", "%ld", pages);
	check(merged, "KSM did not merge");

	must(!madvise(p, LEN, MADV_UNMERGEABLE) && !madvise(q, LEN, MADV_UNMERGEABLE));
	both_check(p, half, other);
	both_ways(q, LEN);
	both_check(p + half, half, tag_at(tag, half));
}
