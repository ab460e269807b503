// SPDX-License-Identifier: GPL-2.0
/* Cases of hmm_gpu_suite: several processes, and the end of processes. */
#include "suite.h"

#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#define LEN	(16 * page_size)
#define HALF	(LEN / 2)

/* ------------------------------------------------------------------------ fork */

static pid_t fork_and_keep(char *p, u64 tag, u64 *word)
{
	pid_t pid = fork();

	must(pid >= 0);
	if (!pid) {
		await(word, 1);
		cpu_check(p, LEN, tag);
		_exit(0);
	}
	return pid;
}

CASE(fork_parent, "fork(): the GPU of the parent writes, the child keeps the old data")
{
	u64 *word = shared_words(), tag;
	char *p = map(LEN);
	pid_t pid;

	tag = both_ways(p, LEN);
	unmaps_from_gpu(p, LEN, true, pid = fork_and_keep(p, tag, word));
	gpu_write(p, LEN, tag + 2);
	cpu_check(p, LEN, tag + 2);
	set(word, 1);
	reap(pid);
	both_check(p, LEN, tag + 2);
}

CASE(fork_child, "fork(): CPU and GPU of the child write, the parent keeps the old data")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);
	pid_t pid;

	gpu_map(p, LEN, true);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		gpu = gpu_open(device);
		both_check(p, LEN, tag);
		cpu_write(p, HALF, tag + 2);
		gpu_write(p + HALF, HALF, tag + 2);
		both_check(p, HALF, tag + 2);
		both_check(p + HALF, HALF, tag + 2);
		_exit(0);
	}
	both_check(p, LEN, tag);
	reap(pid);
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

CASE(fork_exited, "fork(): after the child has exited, only the parent has the page")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN), pfn = pfn_of(p);
	pid_t pid = fork();

	must(pid >= 0);
	if (!pid)
		_exit(0);
	reap(pid);
	gpu_map(p, LEN, false);
	gpu_write(p, LEN, tag + 2);
	both_check(p, LEN, tag + 2);
	note("the page %s", pfn_of(p) == pfn ? "was reused" : "was copied");
	both_ways(p, LEN);
}

CASE(fork_inherited, "a file of the GPU that a child inherits acts on the memory of the parent")
{
	char *p = map(LEN);
	u64 tag = both_ways(p, LEN);
	pid_t pid = fork();

	must(pid >= 0);
	if (!pid) {
		struct hmm_gpu_cmd cmd;
		char *mine = map(LEN);

		cpu_write(p, LEN, 3);
		must(!gpu_run(gpu, HMM_GPU_ATOMIC_ADD, p, LEN, NULL, 5, NULL));
		must(!gpu_run(gpu, HMM_GPU_CHECKSUM, p, 8, NULL, 0, &cmd));
		check(cmd.result == tag + 5, "the GPU does not see the memory of the parent");
		cpu_check(p, LEN, 3);
		/* Only the child has this memory. */
		cpu_write(mine, LEN, tag);
		check(gpu_run(gpu, HMM_GPU_CHECKSUM, mine, 8, NULL, 0, NULL) == EFAULT,
		      "the GPU acts on memory of the child");
		_exit(0);
	}
	reap(pid);
	both_check(p, LEN, tag + 5);
}

static u64 added;

static void *adder(void *arg)
{
	u64 **words = arg;

	while (!get(&words[1][0])) {
		gpu_add(gpu, words[0], LEN, 1);
		__atomic_add_fetch(&added, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

CASE(fork_race, "many forks while the GPU adds: no child's memory changes, no add is lost")
{
	u64 *words[2] = { map(LEN), shared_words() };
	unsigned int i, j, tears = 0;
	pthread_t thread;
	pid_t pid[25];

	gpu_slow_faults();
	thread_start(&thread, adder, words);
	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		u64 before = get(&added);

		pid[i] = fork();
		must(pid[i] >= 0);
		if (!pid[i]) {
			u64 *then = malloc(LEN);

			memcpy(then, words[0], LEN);
			usleep(5000);
			check(!memcmp(then, words[0], LEN), "the memory of a child was changed");
			_exit(0);
		}
		check(eventually(get(&added) > before + 1), "the GPU makes no progress");
	}
	for (i = 0; i < ARRAY_SIZE(pid); i++)
		reap(pid[i]);
	set(&words[1][0], 1);
	thread_join(thread);
	for (j = 0; j < LEN / 8; j++)
		tears += words[0][j] != added;
	check(!tears, "%u words are not %llu", tears, (unsigned long long)added);
	note("%llu adds", (unsigned long long)added);
}

CASE(vfork, "vfork(): the child has the same memory, and its GPU too")
{
	static char *p;
	static u64 tag;
	pid_t pid;

	p = map(LEN);
	tag = both_ways(p, LEN);
	pid = vfork();
	must(pid >= 0);
	if (!pid) {
		int own = open(device, O_RDWR);

		/* Use the file of the parent, and a file of the child. */
		if (own < 0 || gpu_run(gpu, HMM_GPU_ATOMIC_ADD, p, HALF, NULL, 2, NULL) ||
		    gpu_run(own, HMM_GPU_ATOMIC_ADD, p, LEN, NULL, 2, NULL))
			_exit(1);
		_exit(0);
	}
	reap(pid);
	both_check(p, HALF, tag + 4);
	both_check(p + HALF, HALF, tag_at(tag, HALF) + 2);
	both_ways(p, LEN);
}

/* -------------------------------------------------------------------- signals */

static u64 alarms;

static void on_alarm(int sig)
{
	(void)sig;
	__atomic_add_fetch(&alarms, 1, __ATOMIC_RELAXED);
}

/* Adjacent pages differ in their protection, so each page is a mapping of its own. */
static void map_many(unsigned int nr)
{
	char *p = map(nr * page_size);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		p[i * page_size] = 1;
		if (i % 2)
			must(!mprotect(p + i * page_size, page_size, PROT_READ));
	}
}

struct opens {
	unsigned int mappings, nr, interval_us;
	int flags;
};

/* Open in a process that has no file of the device: the first file takes longest to open. */
static void open_under_alarms(void *arg)
{
	const struct opens *opens = arg;
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = opens->flags };
	struct itimerval timer = { { 0, opens->interval_us }, { 0, opens->interval_us } };
	struct itimerval none = { };
	unsigned int i, failed = 0;
	int fd, err = 0;

	map_many(opens->mappings);
	must(!sigaction(SIGALRM, &action, NULL));
	must(!setitimer(ITIMER_REAL, &timer, NULL));
	for (i = 0; i < opens->nr || get(&alarms) < 3; i++) {
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			failed++;
			err = errno;
		} else {
			must(!close(fd));
		}
	}
	must(!setitimer(ITIMER_REAL, &none, NULL));
	note("%u mappings, every %u us: %u of %u opens failed, %llu alarms", opens->mappings,
	     opens->interval_us, failed, i, (unsigned long long)get(&alarms));
	check(!failed, "%u of %u opens failed (%s)", failed, i, strerror(err));

	gpu = gpu_open(device);
	both_ways(map(LEN), LEN);
}

CASE(open_signals, "signals while the device is opened: open() succeeds")
{
	static struct opens opens[] = {
		/* faster than one open() takes */
		{ 10000, 5, 500, SA_RESTART },
		{ 2000, 50, 10000, SA_RESTART },
		{ 2000, 50, 10000, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(opens); i++)
		reap(spawn(open_under_alarms, &opens[i]));
}

static void open_for_ever(void *arg)
{
	u64 *word = arg;

	map_many(2000);
	for (;;) {
		int fd = open(device, O_RDWR | O_CLOEXEC);

		must(fd >= 0 && !close(fd));
		__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
	}
}

CASE(open_killed, "a process is killed while it opens the device")
{
	u64 *word = shared_words();
	unsigned int i;

	for (i = 0; i < 5; i++) {
		pid_t pid = spawn(open_for_ever, word);

		set(word, 0);
		check(eventually(get(word) > 1), "open() makes no progress");
		must(!kill(pid, SIGKILL));
		reap_killed(pid, SIGKILL);
	}
}

/* ------------------------------------------------------------------------ exec */

int after_exec(int fd)
{
	static u64 words[512];
	int err = gpu_run(fd, HMM_GPU_FILL, words, 8, NULL, 1, NULL);

	if (words[0])
		return 99;
	return err;
}

static int status_of_exec(int fd)
{
	char number[16];
	int status;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", fd);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		char *p = map(LEN);

		gpu = gpu_open(device);
		both_ways(p, LEN);
		gpu_map(p, LEN, true);
		/* The file belongs to the mm of the child before exec. */
		must(dup3(gpu, fd, fd == 100 ? O_CLOEXEC : 0) == fd);
		execl("/proc/self/exe", "hmm_gpu_suite", "--after-exec", number, NULL);
		_exit(98);
	}
	must(waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status), "ended with status %#x", status);
	return WEXITSTATUS(status);
}

CASE(exec, "exec(): the file is closed, or returns an error")
{
	int err;

	err = status_of_exec(100);
	check(err == EBADF, "closed on exec: %s", strerror(err));
	err = status_of_exec(101);
	check(err == ESRCH, "kept: %s", strerror(err));
}

/* ------------------------------------------------------------------ exit and kill */

#define BIG	(512 * page_size)

static char *common;		/* shared memory that outlives a process that dies */
static u64 *word;

static void *endless_adds(void *arg)
{
	u64 *counter = arg;

	for (;;) {
		gpu_add(gpu, common, BIG, 1);
		__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void busy_process(void *how)
{
	pthread_t thread[3];
	unsigned int i;
	char *p = map(BIG);

	gpu = gpu_open(device);
	both_ways(p, BIG);
	set(&word[3], gpu);
	set(&word[4], (uintptr_t)p);
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		thread_start(&thread[i], endless_adds, &word[0]);
	if (how) {
		while (get(&word[0]) < 2)
			usleep(100);
		_exit(0);
	}
	pause();
}

/* Check that the GPU no longer writes for a process that has exited. */
static void nothing_moves(void)
{
	u64 *copy = malloc(BIG);
	u64 tag;

	memcpy(copy, common, BIG);
	usleep(30000);
	check(!memcmp(copy, common, BIG), "the GPU still works for a process that has exited");
	tag = both_ways(common, BIG);
	usleep(10000);
	both_check(common, BIG, tag);
	free(copy);
}

static void prepare_end(void)
{
	common = map_as(BIG, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	word = shared_words();
	both_ways(common, BIG);
}

CASE(exit_busy, "a process exits with work in flight")
{
	int i;

	prepare_end();
	for (i = 0; i < 3; i++) {
		set(&word[0], 0);
		reap(spawn(busy_process, word));
		check(get(&word[0]) >= 2, "there was no work");
		nothing_moves();
	}
}

CASE(kill_busy, "a process is killed with work in flight")
{
	pid_t pid;
	int i;

	prepare_end();
	for (i = 0; i < 3; i++) {
		set(&word[0], 0);
		pid = spawn(busy_process, NULL);
		check(eventually(get(&word[0]) >= 3), "there is no work");
		usleep(rnd(3000));
		kill(pid, SIGKILL);
		reap_killed(pid, SIGKILL);
		nothing_moves();
	}
}

/* The file outlives the mm, because a grandchild has inherited it. */
static void heir(void *arg)
{
	char *p = arg;
	u64 tag;

	gpu = gpu_open(device);
	tag = both_ways(p, LEN);
	both_ways(common, BIG);
	gpu_map(p, LEN, true);
	gpu_map(common, BIG, true);
	cpu_write(common, BIG, 9);
	if (fork())
		_exit(0);

	/* Wait until the case has reaped the parent of this process. */
	await(&word[1], 1);
	cpu_write(p, LEN, 11);
	check(gpu_run(gpu, HMM_GPU_FILL, p, 8, NULL, tag, NULL) == ESRCH, "private memory");
	check(gpu_run(gpu, HMM_GPU_FILL, common, 8, NULL, tag, NULL) == ESRCH, "shared memory");
	check(gpu_run(gpu, HMM_GPU_CHECKSUM, common, 8, NULL, 0, NULL) == ESRCH, "reading");
	check(gpu_run(gpu, HMM_GPU_VERIFY, common, 8, NULL, 0, NULL) == ESRCH, "VERIFY");
	cpu_check(p, LEN, 11);
	set(&word[2], 1);
	_exit(0);
}

CASE(dead_mm, "a file whose process has exited: an error")
{
	prepare_end();
	reap(spawn(heir, map(LEN)));
	set(&word[1], 1);
	await(&word[2], 1);
	cpu_check(common, BIG, 9);
	nothing_moves();
}

/* The invalidation is non-blockable, so the driver may refuse. Then try again. */
static bool mrelease(int pidfd)
{
	while (syscall(SYS_process_mrelease, pidfd, 0)) {
		if (errno != EAGAIN)
			return false;
		/* Each attempt adds a line to the kernel log. */
		usleep(10000);
	}
	return true;
}

/* Stop a killed process before it frees its memory. */
static void hold_at_exit(pid_t pid)
{
	must(!ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT));
}

static void await_exit(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, __WALL) == pid);
	check(WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT, "status %#x", status);
}

CASE(mrelease, "process_mrelease() frees the memory of a killed process")
{
	/* Drivers of 2019 return another error than for a dead process. */
	int gone = access("/sys/module/hmm_gpu", F_OK) ? EFAULT : ESRCH;
	int i, pidfd, fd, err;
	bool done;
	pid_t pid;

	prepare_end();
	for (i = 0; i < 3; i++) {
		set(&word[0], 0);
		pid = spawn(busy_process, NULL);
		pidfd = syscall(SYS_pidfd_open, pid, 0);
		must(pidfd >= 0);
		check(eventually(get(&word[0]) >= 3), "there is no work");
		fd = syscall(SYS_pidfd_getfd, pidfd, (int)get(&word[3]), 0);
		must(fd >= 0);
		hold_at_exit(pid);
		kill(pid, SIGKILL);
		await_exit(pid);
		done = mrelease(pidfd);
		if (!done && errno == ENOSYS) {
			ptrace(PTRACE_DETACH, pid, NULL, NULL);
			reap_killed(pid, SIGKILL);
			skip("no process_mrelease()");
		}
		check(done, "process_mrelease: %s", strerror(errno));
		/* The process still exists, but its private memory does not. */
		err = gpu_run(fd, HMM_GPU_FILL, (void *)get(&word[4]), 8, NULL, 1, NULL);
		check(err == gone, "its file still has memory: %s", strerror(err));
		must(!ptrace(PTRACE_DETACH, pid, NULL, NULL));
		reap_killed(pid, SIGKILL);
		nothing_moves();
		check(gpu_run(fd, HMM_GPU_FILL, common, 8, NULL, 1, NULL) == ESRCH,
		      "its file has memory again");
		close(fd);
		close(pidfd);
	}
}

/* ---------------------------------------------------------------- out of memory */

static char group[128];

static bool group_set(const char *name, const char *value)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return write_text(path, "%s", value);
}

/* Make a cgroup with a limit of 8 MiB, of version 2 or 1. */
static bool make_group(void)
{
	bool v2 = !access("/sys/fs/cgroup/cgroup.controllers", R_OK);

	if (v2)
		write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/%shmm_gpu_suite.%d", v2 ? "" : "memory/",
		 getpid());
	if (mkdir(group, 0700))
		skip("no control group: %s", strerror(errno));
	if (v2 ? !group_set("memory.max", "8388608") :
		 !group_set("memory.limit_in_bytes", "8388608")) {
		rmdir(group);
		skip("no control group for memory");
	}
	if (v2)
		group_set("memory.swap.max", "0");
	else
		group_set("memory.swappiness", "0");
	return v2;
}

static void enter_group(void)
{
	must(group_set("cgroup.procs", "0"));
}

static void gpu_takes_all(void *arg)
{
	char *p = map(32 * MIB);
	struct hmm_gpu_cmd cmd;

	(void)arg;
	enter_group();
	gpu = gpu_open(device);
	both_ways(common, BIG);
	for (;;)
		gpu_run(gpu, HMM_GPU_FILL, p, 32 * MIB, NULL, 1, &cmd);
}

static void cpu_takes_all(void *arg)
{
	char *p = map(32 * MIB);
	pthread_t thread;
	size_t i;

	(void)arg;
	enter_group();
	gpu = gpu_open(device);
	thread_start(&thread, endless_adds, &word[0]);
	while (get(&word[0]) < 1)
		usleep(100);
	for (i = 0; i < 32 * MIB; i += MIB) {
		cpu_write(p + i, MIB, 5);
		gpu_map(p + i, MIB, true);
	}
	fail("the group got 32 MiB, its limit is 8 MiB");
}

static void out_of_memory(void (*fn)(void *))
{
	char events[200];
	bool v2;
	int i;

	prepare_end();
	v2 = make_group();
	snprintf(events, sizeof(events), "%s/memory.%s", group, v2 ? "events" : "oom_control");
	for (i = 1; i <= 2; i++) {
		set(&word[0], 0);
		reap_killed(spawn(fn, NULL), SIGKILL);
		check(number_after(events, "oom_kill ") >= i, "it was not the OOM killer");
		nothing_moves();
	}
	if (!eventually(!rmdir(group)))
		fail("the group keeps its memory: %s", strerror(errno));
}

CASE(oom_gpu, "the GPU uses more memory than the limit of the control group: OOM kill")
{
	out_of_memory(gpu_takes_all);
}

CASE(oom_cpu, "the CPU uses more memory than that limit, with GPU work in flight: OOM kill")
{
	out_of_memory(cpu_takes_all);
}

/* Device page tables of 4 files, which grow in the engine. */
#define STEP		(2 * MIB)
#define STEPS		768

static void gpu_maps_much(void *arg)
{
	char *p = map_as(STEPS * STEP, PROT_READ, ANON | MAP_NORESERVE, -1);
	struct hmm_gpu_cmd cmd;
	unsigned int i;
	size_t at;

	(void)arg;
	enter_group();
	for (i = 0; i < 4; i++) {
		int fd = gpu_open(device);

		for (at = 0; at < STEPS * STEP; at += STEP)
			must(!gpu_run(fd, HMM_GPU_CHECKSUM, p + at, 8, NULL, 0, &cmd));
	}
	set(&word[0], 1);
	await(&word[1], 1);
}

CASE(memory_charged, "device page tables are charged to the control group of the process")
{
	char stat[200];
	long before, after;
	pid_t pid;

	prepare_end();
	if (!make_group()) {
		rmdir(group);
		skip("control groups of version 1");
	}
	snprintf(stat, sizeof(stat), "%s/memory.stat", group);
	before = number_after(stat, "\nslab ");
	set(&word[0], 0);
	set(&word[1], 0);
	pid = spawn(gpu_maps_much, NULL);
	await(&word[0], 1);
	after = number_after(stat, "\nslab ");
	note("%ld kB for %d ranges", (after - before) / 1024, 4 * STEPS);
	set(&word[1], 1);
	reap(pid);
	/*
	 * A range and its node of the page table need 640 bytes. Old kernels delay the accounting
	 * of up to 128 kB for each CPU and node.
	 */
	check(after - before > 4 * STEPS * 300L, "only %ld bytes were charged", after - before);
	if (!eventually(!rmdir(group)))
		fail("the group keeps its memory: %s", strerror(errno));
}

/* Less than the limit of the group. */
#define COLD		(4 * MIB)

static bool kernel_since(unsigned int major, unsigned int minor)
{
	struct utsname name;
	unsigned int a, b;

	must(!uname(&name) && sscanf(name.release, "%u.%u", &a, &b) == 2);
	return a > major || (a == major && b >= minor);
}

static int cold_file(void)
{
	int fd = make_file(COLD, new_tag());

	must(!fsync(fd) && !posix_fadvise(fd, 0, COLD, POSIX_FADV_DONTNEED));
	return fd;
}

static void reads_cold_file(void *arg)
{
	char *p = mmap(NULL, COLD, PROT_READ, MAP_SHARED, *(int *)arg, 0);
	size_t at;

	must(p != MAP_FAILED);
	enter_group();
	gpu = gpu_open(device);
	if (get(&word[1]))
		must(!gpu_run(gpu, HMM_GPU_CHECKSUM, p, COLD, NULL, 0, NULL));
	else
		for (at = 0; at < COLD; at += page_size)
			get((u64 *)(p + at));
}

/* Return the bytes of page cache that a process is charged for, which reads a file. */
static long file_charge(bool by_gpu)
{
	int fd = cold_file();
	char stat[200];
	long before;

	snprintf(stat, sizeof(stat), "%s/memory.stat", group);
	before = number_after(stat, "\nfile ");
	set(&word[1], by_gpu);
	reap(spawn(reads_cold_file, &fd));
	before = number_after(stat, "\nfile ") - before;
	close(fd);
	return before;
}

CASE(file_charged, "page cache that the GPU fills is charged to the control group of the process")
{
	long cpu, own;

	if (!kernel_since(5, 14))
		skip("a kernel thread cannot charge page cache");
	prepare_end();
	if (!make_group()) {
		rmdir(group);
		skip("control groups of version 1");
	}
	cpu = file_charge(false);
	own = file_charge(true);
	note("%ld kB read by the CPU, %ld kB by the GPU", cpu / 1024, own / 1024);
	must(!rmdir(group) || errno == EBUSY);
	if (cpu < (long)COLD * 3 / 4)
		skip("the file stays in memory");
	check(own > cpu * 3 / 4, "only %ld bytes were charged, %ld of the CPU", own, cpu);
}

/* ------------------------------------------------------- from another process */

/* A child that maps memory on its GPU, and checks the data there. */
struct subject {
	char *p;
	u64 tag;
	int prot;
};

static void subject(void *arg)
{
	struct subject *s = arg;

	gpu = gpu_open(device);
	gpu_map(s->p, LEN, s->prot & PROT_WRITE);
	set(&word[0], 1);
	await(&word[1], 1);
	both_check(s->p, LEN, s->tag + 2);
	if (s->prot & PROT_WRITE)
		gpu_write(s->p, LEN, s->tag + 4);
	set(&word[0], 2);
	await(&word[1], 2);
	gpu_ptes(s->p, LEN);
}

static void poke(pid_t pid, char *p, u64 tag)
{
	size_t i;

	must(!ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	must(waitpid(pid, NULL, __WALL) == pid);
	for (i = 0; i < LEN / 8; i++)
		must(!ptrace(PTRACE_POKEDATA, pid, p + i * 8, word_of(tag, i)));
	must(!ptrace(PTRACE_DETACH, pid, NULL, NULL));
}

CASE(ptrace, "a debugger writes to memory that the GPU has mapped, also to read-only memory")
{
	struct subject s = { .tag = new_tag(), .prot = RW };
	int fd = make_file(LEN, s.tag);
	pid_t pid;

	word = shared_words();
	s.p = map(LEN);
	cpu_write(s.p, LEN, s.tag);
	pid = spawn(subject, &s);
	await(&word[0], 1);
	poke(pid, s.p, s.tag + 2);
	set(&word[1], 1);
	await(&word[0], 2);
	set(&word[1], 2);
	reap(pid);
	both_check(s.p, LEN, s.tag);

	/* Break COW of a page of a file. */
	s.prot = PROT_READ;
	s.p = map_as(LEN, PROT_READ, MAP_PRIVATE, fd);
	set(&word[0], 0);
	set(&word[1], 0);
	pid = spawn(subject, &s);
	await(&word[0], 1);
	poke(pid, s.p, s.tag + 2);
	set(&word[1], 1);
	await(&word[0], 2);
	set(&word[1], 2);
	reap(pid);
	file_check(fd, 0, LEN, s.tag);
	both_check(s.p, LEN, s.tag);
}

CASE(process_vm, "process_vm_writev() and _readv() of memory that the GPU has mapped")
{
	struct subject s = { .tag = new_tag(), .prot = RW };
	u64 *mine = malloc(LEN);
	struct iovec local = { mine, LEN }, remote;
	pid_t pid;

	word = shared_words();
	s.p = map(LEN);
	remote = (struct iovec){ s.p, LEN };
	cpu_write(s.p, LEN, s.tag);
	pid = spawn(subject, &s);
	await(&word[0], 1);
	cpu_write(mine, LEN, s.tag + 2);
	if (process_vm_writev(pid, &local, 1, &remote, 1, 0) < 0 && errno == ENOSYS)
		skip("no process_vm_writev()");
	set(&word[1], 1);
	await(&word[0], 2);
	must(process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)LEN);
	cpu_check(mine, LEN, s.tag + 4);
	set(&word[1], 2);
	reap(pid);
	both_check(s.p, LEN, s.tag);
}

static void advised(void *arg)
{
	char *p = arg;
	u64 tag = new_tag();

	gpu = gpu_open(device);
	gpu_write(p, LEN, tag);
	gpu_map(p, LEN, true);
	set(&word[0], 1);
	while (get(&word[0]) < 2) {
		set(&word[2], pages_with(p, LEN, PM_SWAPPED));
		usleep(1000);
	}
	check(!gpu_ptes(p, LEN), "the GPU still has it");
	both_check(p, LEN, tag);
	both_ways(p, LEN);
}

CASE(process_madvise, "process_madvise() swaps out memory that another process's GPU has mapped")
{
	struct iovec remote;
	pid_t pid;
	int pidfd;

	need_swap();
	word = shared_words();
	remote = (struct iovec){ map(LEN), LEN };
	pid = spawn(advised, remote.iov_base);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	must(pidfd >= 0);
	await(&word[0], 1);
	check(eventually(({
		ssize_t n;

		empty_batches();
		n = syscall(SYS_process_madvise, pidfd, &remote, 1UL, MADV_PAGEOUT, 0U);

		if (n < 0 && (errno == ENOSYS || errno == EINVAL))
			skip("process_madvise: %s", strerror(errno));
		must(n == (ssize_t)LEN);
		get(&word[2]) == LEN / page_size;
	})), "it was not swapped out");
	set(&word[0], 2);
	reap(pid);
}

/* ----------------------------------------------------------------------- pipes */

static void read_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	for (; len; buf += n, len -= n) {
		n = read(fd, buf, len);
		must(n > 0);
	}
}

CASE(vmsplice, "vmsplice(), tee(): a pipe contains pages that the GPU writes")
{
	char *p = map(LEN), *q = map(LEN), *copy = malloc(LEN);
	struct iovec iov = { p, HALF }, to = { q, HALF };
	u64 tag = both_ways(p, LEN), pfn = pfn_of(p);
	int one[2], two[2];

	must(!pipe(one) && !pipe(two));
	gpu_map(p, LEN, true);
	must(vmsplice(one[1], &iov, 1, 0) == (ssize_t)HALF);
	must(tee(one[0], two[1], HALF, 0) == (ssize_t)HALF);
	gpu_write(p, HALF, tag + 2);
	check(pfn_of(p) == pfn, "the page in the pipe is another one");
	read_all(one[0], copy, HALF);
	cpu_check(copy, HALF, tag + 2);
	/* Later writes appear in the pipe, too, because the page is the same. */
	gpu_write(p, HALF, tag + 4);
	read_all(two[0], copy, HALF);
	cpu_check(copy, HALF, tag + 4);
	both_check(p, HALF, tag + 4);

	/* Read from a pipe to memory that the GPU has mapped. */
	gpu_map(q, HALF, true);
	must(vmsplice(one[1], &iov, 1, 0) == (ssize_t)HALF);
	must(vmsplice(one[0], &to, 1, 0) == (ssize_t)HALF);
	both_check(q, HALF, tag + 4);

	/* Pages in a pipe outlive the mapping. */
	must(vmsplice(one[1], &iov, 1, 0) == (ssize_t)HALF);
	unmaps_from_gpu(p, LEN, true, must(!munmap(p, LEN)));
	gpu_cannot_read(p, EFAULT);
	read_all(one[0], copy, HALF);
	cpu_check(copy, HALF, tag + 4);
}

CASE(splice, "splice(): pages of a file that the GPU has mapped, to a pipe and to a file")
{
	u64 tag = new_tag();
	int fd = make_file(LEN, tag), other = make_file(LEN, 0), pipefd[2];
	char *p = map_as(LEN, RW, MAP_SHARED, fd), *q = map_as(LEN, RW, MAP_SHARED, other);
	loff_t in = 0, out = 0;

	must(!pipe(pipefd));
	gpu_map(p, LEN, true);
	gpu_map(q, LEN, true);
	must(splice(fd, &in, pipefd[1], NULL, HALF, 0) == (ssize_t)HALF);
	gpu_write(p, HALF, tag + 2);
	while (out < (loff_t)HALF)
		must(splice(pipefd[0], NULL, other, &out, HALF - out, 0) > 0);
	both_check(q, HALF, tag + 2);
	both_check(q + HALF, HALF, 0);
	file_check(other, 0, HALF, tag + 2);
	both_check(p, HALF, tag + 2);
	both_check(p + HALF, HALF, tag_at(tag, HALF));
}
