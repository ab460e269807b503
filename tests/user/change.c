// SPDX-License-Identifier: GPL-2.0
/* Cases of hmm_gpu_suite: changes of mappings, and migration of their pages. */
#include "suite.h"

#include <linux/userfaultfd.h>
#include <poll.h>

#define LEN	(16 * page_size)
#define HALF	(LEN / 2)

/* -------------------------------------------------------------------- mappings */

CASE(errors, "no memory or no permission: the command fails, without a signal")
{
	char *p = map(4 * page_size);
	struct hmm_gpu_cmd cmd;
	u64 tag = new_tag();
	int err;

	cpu_write(p, 4 * page_size, tag);
	gpu_map(p, 4 * page_size, true);
	must(!mprotect(p + page_size, page_size, PROT_NONE));
	must(!mprotect(p + 2 * page_size, page_size, PROT_READ));
	must(!munmap(p + 3 * page_size, page_size));
	gpu_cannot_read(p + page_size, EFAULT);
	gpu_cannot_write(p + page_size, EFAULT);
	gpu_cannot_write(p + 2 * page_size, EPERM);
	gpu_cannot_read(p + 3 * page_size, EFAULT);
	gpu_cannot_write(p + 3 * page_size, EFAULT);
	both_check(p, page_size, tag);
	both_check(p + 2 * page_size, page_size, tag_at(tag, 2 * page_size));

	/* A command stops at the first such page, and has done the words before. */
	err = gpu_run(gpu, HMM_GPU_FILL, p, 4 * page_size, NULL, 7, &cmd);
	check(err == EFAULT && cmd.done == page_size &&
	      cmd.fault_addr == (uintptr_t)p + page_size, "FILL: %s, %llu done", strerror(err),
	      cmd.done);
	check(gpu_word(p + page_size - 8) == 7, "the words before the error");
	check(gpu_run(gpu, HMM_GPU_FILL, (void *)0x7ffffffff000, 8, NULL, 0, NULL) == EFAULT,
	      "memory of the kernel");
}

/* ------------------------------------------------------------------- bad input */

static u64 commands(void)
{
	struct hmm_gpu_stats stats = {};

	must(!ioctl(gpu, HMM_GPU_STATS, &stats));
	return stats.counter[HMM_GPU_COMMANDS];
}

/* Return true if @err is right for a command on addresses without memory. */
static bool expected(const struct hmm_gpu_cmd *cmd, int err)
{
	bool two = cmd->op == HMM_GPU_COPY || cmd->op == HMM_GPU_COMPARE;
	u64 end = cmd->addr + cmd->len, src_end = cmd->src + cmd->len;

	if (!cmd->len || (cmd->src && !two) || (cmd->addr | cmd->src | cmd->len) % 8 ||
	    end < cmd->addr || src_end < cmd->src ||
	    (cmd->op == HMM_GPU_COPY && cmd->addr < src_end && cmd->src < end))
		return err == EINVAL;
	if (cmd->op == HMM_GPU_MIGRATE_TO_VRAM)
		return err == EOPNOTSUPP;
	if (cmd->op != HMM_GPU_VERIFY)
		return err == EFAULT;
	/* Above, the result depends on the size of the processor's address space. */
	if (end <= (1UL << 47) - 4096)
		return !err;
	return err == EFAULT || (!err && end <= 1UL << 56);
}

static u64 an_edge(void)
{
	static const unsigned char bits[] = { 3, 12, 21, 30, 39, 46, 47, 48, 56, 57, 62, 63 };
	static const u64 near[] = { 0, 1, 8, 4096, 8192, 2UL << 20 };
	u64 at = rnd(3) ? 1UL << bits[rnd(ARRAY_SIZE(bits))] : 0;
	u64 by = near[rnd(ARRAY_SIZE(near))];

	return rnd(2) ? at + by : at - by;
}

static bool has_memory(u64 addr)
{
	return !msync((void *)(addr & ~(page_size - 1)), page_size, MS_ASYNC) || errno != ENOMEM;
}

CASE(edges, "extreme addresses and lengths: an error, and no effect")
{
	u64 before = commands(), reached = 0;
	unsigned int i, err;

	for (i = 0; i < 5000; i++) {
		struct hmm_gpu_cmd cmd = {
			.op = rnd(HMM_GPU_NR_OPS), .addr = an_edge(), .len = an_edge(),
			.src = rnd(2) ? an_edge() : 0,
			.result = 5, .done = 6, .fault_addr = 7,
		}, was = cmd;

		/* A command could begin at either operand, so skip those with memory. */
		if (has_memory(cmd.addr) || has_memory(cmd.src))
			continue;
		err = ioctl(gpu, HMM_GPU_RUN, &cmd) ? errno : 0;
		check(expected(&was, err), "op %u of %llx, %llx bytes, and %llx: %s", was.op,
		      was.addr, was.len, was.src, strerror(err));
		if (cmd.done == 6) {
			check(!memcmp(&cmd, &was, sizeof(cmd)), "a refused command has results");
			continue;
		}
		reached++;
		check(cmd.done == (err ? 0 : was.len) && !cmd.result &&
		      cmd.fault_addr == (err ? was.addr : 0),
		      "op %u of %llx: %llu bytes done, an error at %llx", was.op, was.addr,
		      cmd.done, cmd.fault_addr);
	}
	note("%llu of %u were executed", (unsigned long long)reached, i);
	check(reached > 100, "too few were executed");
	check(commands() == before + reached, "a refused command was executed");
}

CASE(no_result, "no room for the result: an error, and no effect")
{
	struct hmm_gpu_cmd *cmd = map(2 * page_size);
	struct hmm_gpu_stats *stats = (void *)cmd;
	char *p = map(LEN), *end;
	u64 tag = new_tag(), before;

	cpu_write(p, LEN, tag);
	before = commands();
	*cmd = (struct hmm_gpu_cmd){
		.op = HMM_GPU_ATOMIC_ADD, .addr = (uintptr_t)p, .len = LEN, .value = 1,
	};
	must(!mprotect(cmd, page_size, PROT_READ));
	check(ioctl(gpu, HMM_GPU_RUN, cmd) && errno == EFAULT, "RUN, read-only memory");
	must(!mprotect(cmd, page_size, RW));

	/* Only the last word is not writable. */
	end = (char *)cmd + page_size + 8;
	memmove(end - sizeof(*cmd), cmd, sizeof(*cmd));
	cmd = (void *)(end - sizeof(*cmd));
	must(!mprotect((char *)stats + page_size, page_size, PROT_READ));
	check(ioctl(gpu, HMM_GPU_RUN, cmd) && errno == EFAULT, "RUN, half of it read-only");
	must(!munmap((char *)stats + page_size, page_size));
	check(ioctl(gpu, HMM_GPU_RUN, cmd) && errno == EFAULT, "RUN, half of it not there");
	cpu_check(p, LEN, tag);
	check(commands() == before, "they were executed");

	gpu_check(p, LEN, tag);
	before = commands();
	*stats = (struct hmm_gpu_stats){ .flags = HMM_GPU_STATS_RESET };
	must(!mprotect(stats, page_size, PROT_READ));
	check(ioctl(gpu, HMM_GPU_STATS, stats) && errno == EFAULT, "STATS, read-only memory");
	check(before && commands() == before, "the counters were reset");
	both_check(p, LEN, tag);
}

/* -------------------------------------------------------------------- mappings */

CASE(mprotect, "mprotect() to none, to reading, and back")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);

	unmaps_from_gpu(p, LEN, true, must(!mprotect(p, LEN, PROT_NONE)));
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p, EFAULT);
	must(!mprotect(p, LEN, PROT_READ));
	both_check(p, LEN, tag);
	gpu_cannot_write(p, EPERM);
	must(!mprotect(p, LEN, RW));
	both_check(p, LEN, tag);
	tag = both_ways(p, LEN);

	/* From writable to read-only directly, and only a part */
	unmaps_from_gpu(p + HALF, HALF, true, must(!mprotect(p + HALF, HALF, PROT_READ)));
	gpu_cannot_write(p + HALF, EPERM);
	both_check(p, LEN, tag);
	gpu_map(p, HALF, true);
	must(!mprotect(p + HALF, HALF, RW));
	both_ways(p, LEN);
}

CASE(map_over, "MAP_FIXED over memory that the GPU has mapped")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN), other = new_tag();
	int fd = make_file(LEN, other);

	unmaps_from_gpu(p + HALF, HALF, true,
			must(mmap(p + HALF, HALF, RW, ANON | MAP_FIXED, -1, 0) == p + HALF));
	both_check(p, HALF, tag);
	both_check(p + HALF, HALF, 0);
	both_ways(p, LEN);
	unmaps_from_gpu(p, LEN, true,
			must(mmap(p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p));
	both_check(p, LEN, other);
	other = both_ways(p, LEN);
	file_check(fd, 0, LEN, other);
	unmaps_from_gpu(p, LEN, true, must(mmap(p, LEN, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p));
	gpu_cannot_read(p, EFAULT);
	file_check(fd, 0, LEN, other);
}

CASE(mremap, "mremap() moves, grows and shrinks")
{
	char *p = map(LEN), *q = map(2 * LEN), *old;
	u64 tag = both_ways(p, LEN);

	/* Move. */
	old = p;
	unmaps_from_gpu(p, LEN, true,
			must(mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q));
	check(!gpu_ptes(old, LEN), "the GPU still has the old place");
	gpu_cannot_read(old, EFAULT);
	gpu_cannot_write(old, EFAULT);
	both_check(q, LEN, tag);
	/* The rest of the mapping at q stays. */
	both_check(q + LEN, LEN, 0);

	/* Grow, without room to do that in place. */
	must(mmap(q + LEN, page_size, PROT_NONE, ANON | MAP_FIXED, -1, 0) == q + LEN);
	gpu_map(q, LEN, true);
	p = mremap(q, LEN, 4 * LEN, MREMAP_MAYMOVE);
	must(p != MAP_FAILED);
	check(p != q, "it did not move");
	gpu_cannot_read(q, EFAULT);
	both_check(p, LEN, tag);
	both_check(p + LEN, 3 * LEN, 0);
	tag = both_ways(p, 4 * LEN);

	/* Shrink in place. */
	unmaps_from_gpu(p + LEN, 3 * LEN, true, must(mremap(p, 4 * LEN, LEN, 0) == p));
	gpu_cannot_read(p + LEN, EFAULT);
	both_check(p, LEN, tag);

	/* Move there and back. */
	old = map(LEN);
	must(mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, old) == old);
	gpu_map(old, LEN, true);
	must(mremap(old, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
	both_check(p, LEN, tag);
	gpu_cannot_read(old, EFAULT);
}

CASE(mremap_huge, "mremap() of whole page tables")
{
	size_t len = 2 * HUGE;
	char *p = map(len), *q = map(len);
	u64 tag = both_ways(p, len);

	unmaps_from_gpu(p, len, true,
			must(mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q));
	gpu_cannot_read(p, EFAULT);
	both_check(q, len, tag);
}

CASE(mremap_dontunmap, "MREMAP_DONTUNMAP: the pages move, the old mapping is empty")
{
	char *p = map(LEN), *q = map(LEN);
	u64 tag = both_ways(p, LEN);

	gpu_map(p, LEN, true);
	if (mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, q) != q) {
		must(errno == EINVAL);
		skip("no MREMAP_DONTUNMAP");
	}
	check(!gpu_ptes(p, LEN), "the GPU still has the old pages");
	both_check(q, LEN, tag);
	both_check(p, LEN, 0);
	both_ways(p, LEN);
	both_check(q, LEN, tag);
}

/* --------------------------------------------------------------------- madvise */

CASE(dontneed, "MADV_DONTNEED: zeros, and no old page")
{
	char *p = map(LEN);
	u64 tag;
	int i;

	for (i = 0; i < 10; i++) {
		tag = both_ways(p, LEN);
		unmaps_from_gpu(p, LEN, i & 1, must(!madvise(p, LEN, MADV_DONTNEED)));
		check(!pages_with(p, LEN, PM_PRESENT), "the pages are still there");
		both_check(p, LEN, 0);
	}
	/* Only a part */
	tag = both_ways(p, LEN);
	unmaps_from_gpu(p, HALF, true, must(!madvise(p, HALF, MADV_DONTNEED)));
	both_check(p, HALF, 0);
	both_check(p + HALF, HALF, tag_at(tag, HALF));
}

CASE(lazyfree, "MADV_FREE: data that the GPU writes afterwards stays")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN), other = new_tag();

	unmaps_from_gpu(p, LEN, true, must(!madvise(p, LEN, MADV_FREE)));
	/* Repeat this until no CPU has the pages in a batch. */
	check(eventually((must(!madvise(p, LEN, MADV_FREE)),
			  smaps_kb(p, LEN, "LazyFree") * 1024 == LEN)), "they are not lazily free");
	gpu_check(p, LEN, tag);
	gpu_write(p, HALF, other);
	check(eventually((advise_out(p, LEN),
			  !pages_with(p + HALF, HALF, PM_PRESENT))), "they were not reclaimed");
	check(!gpu_ptes(p + HALF, HALF), "the GPU still has freed pages");
	both_check(p, HALF, other);
	both_check(p + HALF, HALF, 0);
	both_ways(p, LEN);
}

CASE(madv_remove, "MADV_REMOVE: zeros in all mappings")
{
	int fd = memfd_create("suite", MFD_CLOEXEC);
	char *p, *q;
	u64 tag;

	must(fd >= 0 && !ftruncate(fd, LEN));
	p = map_as(LEN, RW, MAP_SHARED, fd);
	q = map_as(LEN, RW, MAP_SHARED, fd);
	tag = both_ways(p, LEN);
	gpu_map(q, LEN, true);
	unmaps_from_gpu(p, HALF, true, must(!madvise(p, HALF, MADV_REMOVE)));
	check(!gpu_ptes(q, HALF), "the GPU still has it elsewhere");
	both_check(p, HALF, 0);
	both_check(q, HALF, 0);
	both_check(q + HALF, HALF, tag_at(tag, HALF));
	file_check(fd, 0, HALF, 0);
}

CASE(cold, "MADV_COLD: colder pages, the same data")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);

	gpu_map(p, LEN, true);
	check(smaps_kb(p, LEN, "Referenced") * 1024 == LEN, "not referenced before");
	if (madvise(p, LEN, MADV_COLD))
		skip("MADV_COLD: %s", strerror(errno));
	/* The kernel ignores the advice for a page to which it holds another reference. */
	check(eventually((must(!madvise(p, LEN, MADV_COLD)),
			  smaps_kb(p, LEN, "Referenced") == 0)), "still referenced");
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

CASE(populate, "MADV_POPULATE_READ and _WRITE: the zero page goes from the GPU")
{
	char *p = map(LEN);
	u64 zero;

	if (madvise(p, LEN, MADV_POPULATE_READ))
		skip("MADV_POPULATE_READ: %s", strerror(errno));
	check(pages_with(p, LEN, PM_PRESENT) == LEN / page_size, "they are not there");
	zero = pfn_of(p);
	gpu_check(p, LEN, 0);
	unmaps_from_gpu(p, LEN, false, must(!madvise(p, LEN, MADV_POPULATE_WRITE)));
	check(pfn_of(p) != zero && pfn_of(p) != pfn_of(p + page_size), "not populated");
	both_check(p, LEN, 0);
	both_ways(p, LEN);
}

CASE(swap, "anonymous memory is swapped out and back, by the GPU and by the CPU")
{
	size_t len = 4 * LEN;
	u64 tag, other;
	char *p;
	int i;

	need_swap();
	p = map(len);
	for (i = 0; i < 3; i++) {
		tag = new_tag();
		gpu_write(p, len, tag);
		gpu_map(p, len, i & 1);
		page_out(p, len);
		check(!gpu_ptes(p, len), "the GPU still has it");
		gpu_check(p, len, tag);
		check(!pages_with(p, len, PM_SWAPPED), "the GPU did not bring it back");
		cpu_check(p, len, tag);

		/* Page in by a GPU write, then by the CPU. */
		page_out(p, len);
		other = new_tag();
		gpu_write(p + LEN, page_size, other);
		cpu_check(p, LEN, tag);
		both_check(p + LEN, page_size, other);
		cpu_write(p, len, tag);
		page_out(p, len);
		cpu_check(p, len, tag);
		gpu_check(p, len, tag);
	}
}

CASE(swap_fork, "swapped memory of two processes: a write of the GPU is its process's own")
{
	u64 *word, tag, other = new_tag();
	char *p;
	pid_t pid;

	need_swap();
	word = shared_words();
	p = map(LEN);
	tag = both_ways(p, LEN);
	page_out(p, LEN);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		await(&word[0], 1);
		check(pages_with(p, LEN, PM_SWAPPED), "nothing is swapped in the child");
		gpu = gpu_open(device);
		both_check(p, LEN, tag);
		both_ways(p, LEN);
		_exit(0);
	}
	gpu_check(p, HALF, tag);
	gpu_write(p, HALF, other);
	set(&word[0], 1);
	reap(pid);
	both_check(p, HALF, other);
	both_check(p + HALF, HALF, tag_at(tag, HALF));
}

CASE(guard, "MADV_GUARD_INSTALL: an error until the guard is removed")
{
	char *p = map(LEN);
	u64 tag;

	if (madvise(p, page_size, MADV_GUARD_INSTALL))
		skip("MADV_GUARD_INSTALL: %s", strerror(errno));
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p, EFAULT);
	must(!madvise(p, page_size, MADV_GUARD_REMOVE));
	tag = both_ways(p, LEN);
	unmaps_from_gpu(p, HALF, true, must(!madvise(p, HALF, MADV_GUARD_INSTALL)));
	check(cpu_faults(p, false), "no guard for the CPU");
	gpu_cannot_read(p, EFAULT);
	gpu_cannot_write(p + HALF - page_size, EFAULT);
	both_check(p + HALF, HALF, tag_at(tag, HALF));
	must(!madvise(p, HALF, MADV_GUARD_REMOVE));
	both_check(p, HALF, 0);
	both_ways(p, LEN);
}

CASE(soft_dirty, "soft-dirty: cleared, and set by a write of the GPU")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);

	gpu_map(p, LEN, true);
	if (pages_with(p, LEN, PM_SOFT_DIRTY) != LEN / page_size)
		skip("no soft-dirty bits");
	unmaps_from_gpu(p, LEN, true, must(write_text("/proc/self/clear_refs", "4")));
	if (pages_with(p, LEN, PM_SOFT_DIRTY))
		skip("soft-dirty bits cannot be cleared");
	both_check(p, LEN, tag);
	check(!pages_with(p, LEN, PM_SOFT_DIRTY), "dirty by reading");
	gpu_write(p, HALF, new_tag());
	check(pages_with(p, HALF, PM_SOFT_DIRTY) == HALF / page_size, "a GPU write was missed");
	check(!pages_with(p + HALF, HALF, PM_SOFT_DIRTY), "an unwritten page is dirty");
	both_check(p + HALF, HALF, tag_at(tag, HALF));
}

/* ------------------------------------------------------------------- migration */

/* Return the node of the pages, or -1 if they are on several. */
static int node_of(void *p, size_t len)
{
	int status[512], node = -1;
	void *page[512];
	size_t i, n = len / page_size;

	must(n <= 512);
	for (i = 0; i < n; i++)
		page[i] = p + i * page_size;
	must(!syscall(SYS_move_pages, 0, n, page, NULL, status, 0));
	for (i = 0; i < n; i++) {
		check(status[i] >= 0, "a page has no node: %s", strerror(-status[i]));
		if (i && status[i] != node)
			return -1;
		node = status[i];
	}
	return node;
}

static void move_to(void *p, size_t len, size_t step, int node)
{
	int status[512], nodes[512];
	void *page[512];
	size_t i, n = len / step;

	for (i = 0; i < n; i++) {
		page[i] = p + i * step;
		nodes[i] = node;
	}
	must(!syscall(SYS_move_pages, 0, n, page, nodes, status, 2 /* MPOL_MF_MOVE */));
}

static void need_nodes(void)
{
	char text[64];

	if (!read_text("/sys/devices/system/node/has_memory", text, sizeof(text)) ||
	    strncmp(text, "0-1", 3))
		skip("no two NUMA nodes");
}

CASE(move_pages, "move_pages() to another node and back")
{
	u64 tag, pfn;
	char *p;
	int i, node;

	need_nodes();
	p = map(LEN);
	tag = both_ways(p, LEN);
	for (i = 0; i < 6; i++) {
		node = node_of(p, page_size);
		pfn = pfn_of(p);
		unmaps_from_gpu(p, LEN, i & 1,
				check(eventually((move_to(p, LEN, page_size, !node),
						  node_of(p, LEN) == !node)), "not moved"));
		check(pfn_of(p) != pfn, "not moved");
		both_check(p, LEN, tag);
		if (i % 3 == 2)
			tag = both_ways(p, LEN);
	}
}

CASE(mbind, "mbind() moves pages to a node")
{
	unsigned long mask;
	u64 tag;
	char *p;
	int node;

	need_nodes();
	p = map(LEN);
	tag = both_ways(p, LEN);
	node = !node_of(p, page_size);
	mask = 1UL << node;
	unmaps_from_gpu(p, LEN, true,
			check(eventually(!syscall(SYS_mbind, p, LEN, 2 /* MPOL_BIND */, &mask, 64,
						  3 /* MPOL_MF_STRICT | MPOL_MF_MOVE */)),
			      "mbind: %s", strerror(errno)));
	check(node_of(p, LEN) == node, "not moved");
	both_check(p, LEN, tag);
	/* Pages that a GPU fault allocates obey the policy, too. */
	must(!madvise(p, LEN, MADV_DONTNEED));
	both_ways(p, LEN);
	check(node_of(p, LEN) == node, "allocated elsewhere");
}

CASE(migrate_pages, "migrate_pages() of the whole process")
{
	unsigned long from, to;
	u64 tag;
	char *p;
	int node;

	need_nodes();
	p = map(LEN);
	tag = both_ways(p, LEN);
	node = node_of(p, page_size);
	from = 1UL << node;
	to = 1UL << !node;
	unmaps_from_gpu(p, LEN, true,
			check(eventually((syscall(SYS_migrate_pages, 0, 64, &from, &to),
					  node_of(p, LEN) == !node)), "not moved"));
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

#define NODE	"/sys/devices/system/node/node"
#define FREE	"/hugepages/hugepages-2048kB/free_hugepages"

CASE(move_hugetlb, "a huge page of hugetlbfs moves to another node")
{
	u64 tag, pfn;
	char *p;
	int i, node;

	need_nodes();
	if (read_number(NODE "0" FREE) < 1 || read_number(NODE "1" FREE) < 1)
		skip("no free huge pages on both nodes");
	p = map_as(HUGE, RW, ANON | MAP_HUGETLB, -1);
	tag = both_ways(p, HUGE);
	for (i = 0; i < 2; i++) {
		node = node_of(p, page_size);
		pfn = pfn_of(p);
		unmaps_from_gpu(p, HUGE, true,
				check(eventually((move_to(p, HUGE, HUGE, !node),
						  node_of(p, page_size) == !node)), "not moved"));
		check(pfn_of(p) != pfn, "not moved");
		both_check(p, HUGE, tag);
	}
}

CASE(compaction, "compaction moves pages")
{
	enum { ALL = 4096, STEP = 16, TRIES = 8 };
	size_t i, moved = 0, try;
	static u64 pfn[ALL];
	u64 tag;
	char *p;

	/*
	 * The kernel chooses the physical pages, so try other memory if compaction moves none.
	 * Keep only a few pages, so that there is room to which they can move.
	 */
	for (try = 0; !moved && try < TRIES; try++) {
		p = map(ALL * page_size);
		tag = new_tag();
		cpu_write(p, ALL * page_size, tag);
		for (i = 0; i < ALL; i++) {
			if (i % STEP)
				must(!madvise(p + i * page_size, page_size, MADV_DONTNEED));
			else
				gpu_add(gpu, p + i * page_size, page_size, 0);
		}
		for (i = 0; i < ALL; i += STEP)
			pfn[i] = pfn_of(p + i * page_size);
		check(gpu_ptes(p, ALL * page_size) == ALL / STEP, "the GPU has not mapped them");
		if (!write_text("/proc/sys/vm/compact_memory", "1"))
			skip("no compaction");
		for (i = 0; i < ALL; i += STEP)
			moved += pfn_of(p + i * page_size) != pfn[i];
		note("%zu of %d pages moved", moved, ALL / STEP);
	}
	check(moved, "no page moved");
	check(gpu_ptes(p, ALL * page_size) <= ALL / STEP - moved, "the GPU still has moved pages");
	for (i = 0; i < ALL; i += STEP)
		both_check(p + i * page_size, page_size, tag_at(tag, i * page_size));
}

CASE(soft_offline, "MADV_SOFT_OFFLINE moves the data to another page")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN), pfn = pfn_of(p);
	int i, err = 0;

	gpu_map(p, LEN, true);
	for (i = 0; i < 50; i++) {
		err = madvise(p, page_size, 101 /* MADV_SOFT_OFFLINE */) ? errno : 0;
		if (err != EBUSY && err != EAGAIN)
			break;
		usleep(20000);
	}
	if (err)
		skip("MADV_SOFT_OFFLINE: %s", strerror(err));
	cpu_check(p, LEN, tag);
	check(pfn_of(p) != pfn, "the same page");
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

/* The kernel sends SIGBUS at once to a process that has the page mapped. */
static void bus_error(int sig)
{
	(void)sig;
}

CASE(hwpoison, "MADV_HWPOISON: an access of the GPU to the page fails")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);
	int err, i;

	gpu_map(p, LEN, true);
	signal(SIGBUS, bus_error);
	for (i = 0; i < 50; i++) {
		err = madvise(p + HALF, page_size, 100 /* MADV_HWPOISON */) ? errno : 0;
		if (err != EBUSY && err != EAGAIN)
			break;
		usleep(20000);
	}
	if (err)
		skip("MADV_HWPOISON: %s", strerror(err));
	check(cpu_faults(p + HALF, false), "the CPU still has the page");
	check(!gpu_ptes(p + HALF, page_size), "the GPU still has the page");
	gpu_cannot_read(p + HALF, EFAULT);
	gpu_cannot_write(p + HALF, EFAULT);
	both_check(p, HALF, tag);
	both_check(p + HALF + page_size, HALF - page_size, tag_at(tag, HALF + page_size));
	/* New memory at the same address can be used. */
	must(mmap(p + HALF, page_size, RW, ANON | MAP_FIXED, -1, 0) == p + HALF);
	both_ways(p, LEN);
}

/* ----------------------------------------------------------------- userfaultfd */

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE	(1 << 16)
#endif
#ifndef UFFDIO_MOVE
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move;
};

#define UFFDIO_MOVE		_IOWR(UFFDIO, 5, struct uffdio_move)
#endif

struct monitor {
	int fd;
	pthread_t thread;
	char *start;
	u64 before, after;	/* tags of data before a write, and of provided pages */
	u64 missing, writes;	/* numbers of faults */
	bool stop;
};

static void monitor_open(struct monitor *m, u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	m->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (m->fd < 0)
		skip("userfaultfd: %s", strerror(errno));
	if (ioctl(m->fd, UFFDIO_API, &api)) {
		must(errno == EINVAL);
		skip("userfaultfd has no features %#llx", (unsigned long long)features);
	}
}

static void monitor_register(struct monitor *m, char *p, size_t len, u64 mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = len },
		.mode = mode,
	};

	m->start = p;
	must(!ioctl(m->fd, UFFDIO_REGISTER, &reg));
}

static int write_protect(struct monitor *m, char *p, size_t len, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)p, .len = len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(m->fd, UFFDIO_WRITEPROTECT, &wp);
}

static void provide(struct monitor *m, char *page)
{
	u64 *data = aligned_alloc(page_size, page_size);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page,
		.src = (uintptr_t)data,
		.len = page_size,
	};

	cpu_write(data, page_size, tag_at(m->after, page - m->start));
	if (ioctl(m->fd, UFFDIO_COPY, &copy) && errno != EEXIST)
		fail("UFFDIO_COPY: %s", strerror(errno));
	free(data);
}

/* Provide missing pages, and check the old data before a write, as a snapshot would. */
static void *monitor_thread(void *arg)
{
	struct monitor *m = arg;
	struct pollfd pfd = { .fd = m->fd, .events = POLLIN };
	struct uffd_msg msg;
	char *page;

	while (!__atomic_load_n(&m->stop, __ATOMIC_SEQ_CST)) {
		if (poll(&pfd, 1, 20) <= 0 || read(m->fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		must(msg.event == UFFD_EVENT_PAGEFAULT);
		page = (char *)(uintptr_t)(msg.arg.pagefault.address & -page_size);
		if (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			cpu_check(page, page_size, tag_at(m->before, page - m->start));
			__atomic_add_fetch(&m->writes, 1, __ATOMIC_SEQ_CST);
			must(!write_protect(m, page, page_size, false));
		} else {
			__atomic_add_fetch(&m->missing, 1, __ATOMIC_SEQ_CST);
			provide(m, page);
		}
	}
	return NULL;
}

static void monitor_stop(struct monitor *m)
{
	__atomic_store_n(&m->stop, true, __ATOMIC_SEQ_CST);
	thread_join(m->thread);
}

CASE(uffd_missing, "userfaultfd provides the pages that the GPU faults on")
{
	struct monitor m = { .after = new_tag() };
	char *p = map(LEN);

	monitor_open(&m, 0);
	monitor_register(&m, p, LEN, UFFDIO_REGISTER_MODE_MISSING);
	thread_start(&m.thread, monitor_thread, &m);
	gpu_check(p, LEN, m.after);
	check(m.missing >= LEN / page_size, "%llu faults", (unsigned long long)m.missing);
	cpu_check(p, LEN, m.after);

	/* Zap the pages. The monitor provides them again for a write. */
	unmaps_from_gpu(p, LEN, true, must(!madvise(p, LEN, MADV_DONTNEED)));
	set(&m.missing, 0);
	gpu_add(gpu, p, LEN, 0);
	check(m.missing >= LEN / page_size, "%llu faults", (unsigned long long)m.missing);
	both_check(p, LEN, m.after);
	both_ways(p, LEN);
	monitor_stop(&m);
}

CASE(uffd_wp, "userfaultfd sees the old data before the GPU writes")
{
	struct monitor m = { };
	char *p = map(LEN);
	u64 tag;
	int i;

	monitor_open(&m, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	m.before = both_ways(p, LEN);
	monitor_register(&m, p, LEN, UFFDIO_REGISTER_MODE_WP);
	thread_start(&m.thread, monitor_thread, &m);
	for (i = 0; i < 3; i++) {
		set(&m.writes, 0);
		unmaps_from_gpu(p, LEN, true, must(!write_protect(&m, p, LEN, true)));
		both_check(p, LEN, m.before);
		check(!get(&m.writes), "a fault by reading");
		tag = new_tag();
		gpu_write(p, LEN, tag);
		check(get(&m.writes) >= LEN / page_size, "only %llu faults",
		      (unsigned long long)get(&m.writes));
		both_check(p, LEN, tag);
		m.before = tag;
	}
	monitor_stop(&m);
}

CASE(uffd_wp_async, "userfaultfd with asynchronous write protection: GPU writes are recorded")
{
	struct monitor m = { };
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN), other = new_tag();

	monitor_open(&m, UFFD_FEATURE_WP_ASYNC);
	monitor_register(&m, p, LEN, UFFDIO_REGISTER_MODE_WP);
	unmaps_from_gpu(p, LEN, true, must(!write_protect(&m, p, LEN, true)));
	check(pages_with(p, LEN, PM_UFFD_WP) == LEN / page_size, "not protected");
	both_check(p, LEN, tag);
	gpu_write(p, HALF, other);
	check(!pages_with(p, HALF, PM_UFFD_WP), "a GPU write was not recorded");
	check(pages_with(p + HALF, HALF, PM_UFFD_WP) == HALF / page_size, "more was recorded");
	both_check(p, HALF, other);
	both_check(p + HALF, HALF, tag_at(tag, HALF));
}

CASE(uffd_move, "UFFDIO_MOVE moves pages that the GPU has mapped")
{
	struct monitor m = { };
	char *p = map(LEN), *q = map(LEN);
	u64 tag = both_ways(p, LEN), pfn = pfn_of(p);
	struct uffdio_move move = {
		.dst = (uintptr_t)q,
		.src = (uintptr_t)p,
		.len = LEN,
	};

	monitor_open(&m, UFFD_FEATURE_MOVE);
	monitor_register(&m, q, LEN, UFFDIO_REGISTER_MODE_MISSING);
	unmaps_from_gpu(p, LEN, true,
			check(eventually(!ioctl(m.fd, UFFDIO_MOVE, &move) || errno != EAGAIN),
			      "EAGAIN"));
	check(move.move == (__s64)LEN, "UFFDIO_MOVE: %lld", move.move);
	check(pfn_of(q) == pfn, "another page");
	both_check(q, LEN, tag);
	both_check(p, LEN, 0);
	both_ways(q, LEN);
}

/* ------------------------------------------------------------- protection keys */

CASE(pkeys, "protection keys restrict CPU threads, not the GPU")
{
	int key = syscall(SYS_pkey_alloc, 0, 0);
	char *p = map(LEN);
	unsigned int none;
	u64 tag;

	if (key < 0)
		skip("no protection keys: %s", strerror(errno));
	tag = both_ways(p, LEN);
	unmaps_from_gpu(p, LEN, true,
			must(!syscall(SYS_pkey_mprotect, p, LEN, PROT_READ, key)));
	gpu_cannot_write(p, EPERM);
	both_check(p, LEN, tag);
	must(!syscall(SYS_pkey_mprotect, p, LEN, RW, key));
	tag = both_ways(p, LEN);

#ifdef __x86_64__
	none = 1u << (2 * key);
	asm volatile(".byte 0x0f, 0x01, 0xef" : : "a" (none), "c" (0), "d" (0) : "memory");
	check(cpu_faults(p, false), "the CPU can read it");
	gpu_check(p, LEN, tag);
	gpu_write(p, LEN, tag + 2);
	asm volatile(".byte 0x0f, 0x01, 0xef" : : "a" (0), "c" (0), "d" (0) : "memory");
	both_check(p, LEN, tag + 2);
#endif
	must(!syscall(SYS_pkey_mprotect, p, LEN, PROT_NONE, key));
	gpu_cannot_read(p, EFAULT);
}
