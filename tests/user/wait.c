// SPDX-License-Identifier: GPL-2.0
/*
 * Cases of hmm_gpu_suite: commands that wait, and commands that end early: faults that block,
 * neighbours that change, signals, and removal of the device.
 */
#include "suite.h"

#include <dirent.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/time.h>
#include <sys/uio.h>

#define LEN	(16 * page_size)

/* Skip drivers of 2019, which do not promise any of this. */
static void need_hmm_gpu(void)
{
	if (access("/sys/module/hmm_gpu", F_OK))
		skip("the driver is not hmm_gpu");
}

/* ------------------------------------------------- faults that block: userfaultfd */

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		skip("userfaultfd: %s", strerror(errno));
	must(!ioctl(fd, UFFDIO_API, &api));
	return fd;
}

static void uffd_register(int fd, void *p, size_t len)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	must(!ioctl(fd, UFFDIO_REGISTER, &reg));
}

static void *await_fault(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	do {
		must(poll(&pfd, 1, -1) == 1);
	} while (read(fd, &msg, sizeof(msg)) != sizeof(msg));
	must(msg.event == UFFD_EVENT_PAGEFAULT);
	return (void *)(uintptr_t)(msg.arg.pagefault.address & -page_size);
}

static void provide(int fd, void *page, const void *data)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page,
		.src = (uintptr_t)data,
		.len = page_size,
	};

	/* If the core gave up a fault and began again, userfaultfd reports it twice. */
	if (ioctl(fd, UFFDIO_COPY, &copy) && errno != EEXIST)
		fail("UFFDIO_COPY: %s", strerror(errno));
}

/* -------------------------------------------------------- faults that block: FUSE */

/* A server of one file, "file". */
#define FUSE_FILE	2
#define FUSE_LEN	(1UL << 20)

static void fuse_attr(struct fuse_attr *attr, u64 node)
{
	attr->ino = node;
	attr->mode = node == FUSE_FILE ? S_IFREG | 0644 : S_IFDIR | 0755;
	attr->size = node == FUSE_FILE ? FUSE_LEN : 0;
	attr->nlink = 1;
	attr->blksize = page_size;
}

static void fuse_reply(int fd, const struct fuse_in_header *in, int error, const void *data,
		       size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + (error ? 0 : len), .error = -error, .unique = in->unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { (void *)data, len } };

	/* ENOENT: the process of the request does not wait any more. */
	if (writev(fd, iov, 1 + !error) != (ssize_t)out.len && errno != ENOENT)
		fail("FUSE reply to %u: %s", in->opcode, strerror(errno));
}

/* Answers the reads of the kernel. */
typedef void (*fuse_read_fn)(int fd, const struct fuse_in_header *in);

static void fuse_read_never(int fd, const struct fuse_in_header *in)
{
	(void)fd;
	(void)in;
}

/* @readahead: how many bytes of the file the kernel may read at once */
static void fuse_serve(int fd, u64 *reads, fuse_read_fn fuse_read, unsigned int readahead)
{
	static union {
		struct fuse_in_header in;
		char bytes[1 << 20];
	} request;
	struct fuse_in_header *in = &request.in;

	while (read(fd, &request, sizeof(request)) > 0) {
		struct fuse_init_out init = {
			.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 1 << 16,
			/* A page fault then waits for the page, and not for the reply: killable. */
			.max_readahead = readahead, .flags = FUSE_ASYNC_READ,
		};
		struct fuse_entry_out entry = { .nodeid = FUSE_FILE, .entry_valid = 3600,
						.attr_valid = 3600 };
		struct fuse_attr_out attr = { .attr_valid = 3600 };
		struct fuse_open_out opened = { .open_flags = FOPEN_KEEP_CACHE };

		switch (in->opcode) {
		case FUSE_INIT:
			fuse_reply(fd, in, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			fuse_attr(&entry.attr, FUSE_FILE);
			fuse_reply(fd, in, strcmp((char *)(in + 1), "file") ? ENOENT : 0, &entry,
				   sizeof(entry));
			break;
		case FUSE_GETATTR:
			fuse_attr(&attr.attr, in->nodeid);
			fuse_reply(fd, in, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			fuse_reply(fd, in, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			fuse_read(fd, in);
			__atomic_add_fetch(reads, 1, __ATOMIC_SEQ_CST);
			break;
		case FUSE_RELEASE:
			fuse_reply(fd, in, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			fuse_reply(fd, in, ENOSYS, NULL, 0);
		}
	}
	_exit(0);
}

/* Return a descriptor of the file. @reads counts the reads. */
static int fuse_file(u64 *reads, fuse_read_fn fuse_read, unsigned int readahead)
{
	char dir[200], name[220], options[100];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), file;

	if (fd < 0)
		skip("/dev/fuse: %s", strerror(errno));
	/* The mount ends with the last process of the case. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip("no mount namespace: %s", strerror(errno));
	snprintf(dir, sizeof(dir), "%s/fuse.XXXXXX", directory);
	must(mkdtemp(dir));
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("fuse", dir, "fuse", 0, options)) {
		rmdir(dir);
		skip("mount: %s", strerror(errno));
	}
	if (!fork()) {
		close(gpu);
		fuse_serve(fd, reads, fuse_read, readahead);
	}
	close(fd);
	snprintf(name, sizeof(name), "%s/file", dir);
	file = open(name, O_RDONLY | O_CLOEXEC);
	check(file >= 0, "%s: %s", name, strerror(errno));
	must(!umount2(dir, MNT_DETACH) && !rmdir(dir));
	return file;
}

/* --------------------------------------------------- a process that waits is killed */

#define HELD	(96 * MIB)

/* Shared by the processes of a case. */
static u64 *word;
enum { BEGIN, READY, KILLED, RESULT, READS };

enum reader { CPU, GPU_OF_PROCESS, GPU_OF_CHILD };

static struct {
	enum reader reader;
	int file;	/* or userfaultfd, if it is -1 */
	off_t at;
	unsigned int pages;
	u64 reads;	/* the last of so many reads of the file is not answered */
} stuck = { .file = -1, .pages = 1, .reads = 1 };

static void *read_stuck(void *page)
{
	unsigned int i;
	u64 sum = 0;

	if (stuck.reader == CPU) {
		for (i = 0; i <= stuck.pages; i++)
			sum += get(page + i % stuck.pages * page_size);
		return (void *)(uintptr_t)sum;
	}
	set(&word[RESULT], 1 + gpu_run(gpu, HMM_GPU_CHECKSUM, page,
				       (stuck.pages - 1) * page_size + 8, NULL, 0, NULL));
	return NULL;
}

/* The child keeps the userfaultfd, and the file of the GPU, which acts on the parent's memory. */
static void child_of_stuck(void *page)
{
	await(&word[BEGIN], 1);
	if (stuck.reader == GPU_OF_CHILD)
		read_stuck(page);
	await(&word[KILLED], 1);
	if (stuck.reader == GPU_OF_PROCESS)
		read_stuck(page);
	pause();
}

static void stuck_process(void *arg)
{
	pthread_t thread;
	int uffd = -1;
	char *page;
	pid_t pid;

	(void)arg;
	gpu = gpu_open(device);
	if (stuck.file < 0) {
		page = map(page_size);
		uffd = uffd_open();
		uffd_register(uffd, page, page_size);
	} else {
		page = mmap(NULL, stuck.pages * page_size, PROT_READ, MAP_SHARED, stuck.file,
			    stuck.at);
		must(page != MAP_FAILED);
	}
	pid = fork();
	must(pid >= 0);
	if (!pid)
		child_of_stuck(page);
	/* Do this first, because a device page fault times out after 10 s. */
	map_as(HELD, RW, ANON | MAP_POPULATE, -1);
	set(&word[BEGIN], 1);
	if (stuck.reader != GPU_OF_CHILD)
		thread_start(&thread, read_stuck, page);
	if (stuck.file < 0)
		await_fault(uffd);
	else
		check(eventually(get(&word[READS]) >= stuck.reads), "the page is not read");
	set(&word[READY], 1);
	pause();
}

/* Not MemFree: CPUs keep free pages in lists of their own, which it does not count. */
static long used_kb(void)
{
	return number_after("/proc/meminfo", "AnonPages:");
}

/* Duration of a command of this process that faults in a page. */
static u64 command_ms(char *p)
{
	u64 ms = now_ms();

	gpu_word(p);
	ms = now_ms() - ms;
	must(!madvise(p, page_size, MADV_DONTNEED));
	return ms;
}

/* Longest duration of five commands. */
static u64 commands_ms(char *p)
{
	u64 ms, most = 0;
	int i;

	for (i = 0; i < 5; i++) {
		ms = command_ms(p);
		most = ms > most ? ms : most;
	}
	return most;
}

/* Return the milliseconds until the memory of the killed process is free. */
static u64 kill_stuck(enum reader reader)
{
	char *p = map(page_size);
	u64 ms, usual = commands_ms(p);
	long before;
	pid_t pid;

	stuck.reader = reader;
	memset(word, 0, page_size);
	pid = spawn(stuck_process, NULL);
	check(eventually(get(&word[READY])), "the process does not wait for the page");
	ms = commands_ms(p);
	check(ms <= usual + 3000, "a command of another process takes %llu ms instead of %llu",
	      (unsigned long long)ms, (unsigned long long)usual);
	note("a command of another process: %llu ms, usually %llu", (unsigned long long)ms,
	     (unsigned long long)usual);

	before = used_kb();
	ms = now_ms();
	kill(pid, SIGKILL);
	reap_killed(pid, SIGKILL);
	while (before - used_kb() < (long)(HELD >> 10) * 9 / 10 && now_ms() - ms < 10000)
		usleep(10000);
	ms = now_ms() - ms;
	check(ms <= 5000, "after 5 s %ld kB are free of %lu kB of the killed process",
	      before - used_kb(), HELD >> 10);
	check(commands_ms(p) <= usual + 3000, "a command of another process takes long");

	if (reader != CPU) {
		set(&word[KILLED], 1);
		check(eventually(get(&word[RESULT])), "a command of the child does not end");
		check(get(&word[RESULT]) == 1 + ESRCH, "the file of the killed process: %s",
		      strerror(get(&word[RESULT]) - 1));
	}
	munmap(p, page_size);
	return ms;
}

static void all_kill_stuck(void)
{
	u64 cpu, own, other;

	cpu = kill_stuck(CPU);
	stuck.at += 256 << 10;
	own = kill_stuck(GPU_OF_PROCESS);
	stuck.at += 256 << 10;
	other = kill_stuck(GPU_OF_CHILD);
	note("memory is free after %llu ms (CPU), %llu ms (GPU), %llu ms (GPU, by a child)",
	     (unsigned long long)cpu, (unsigned long long)own, (unsigned long long)other);
}

CASE(uffd_killed, "a process that waits for a userfaultfd delays no other, and can be killed")
{
	need_hmm_gpu();
	word = shared_words();
	all_kill_stuck();
}

CASE(fuse_killed, "a process that waits for a FUSE file delays no other, and can be killed")
{
	need_hmm_gpu();
	word = shared_words();
	stuck.file = fuse_file(&word[READS], fuse_read_never, 1 << 17);
	all_kill_stuck();
}

/*
 * Answer the read of the first page once. During the read of the second page, remove the first one
 * from the page cache and from the CPU page table.
 */
static void fuse_read_once(int fd, const struct fuse_in_header *in)
{
	static const char zeroes[1 << 16];
	static unsigned int reads[2];
	struct fuse_notify_inval_inode_out inval = { .ino = FUSE_FILE, .len = page_size };
	struct fuse_out_header out = {
		.len = sizeof(out) + sizeof(inval), .error = FUSE_NOTIFY_INVAL_INODE,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { &inval, sizeof(inval) } };
	const struct fuse_read_in *arg = (const void *)(in + 1);
	unsigned int page = arg->offset / page_size;

	if (page > 1 || reads[page]++)
		return;
	if (page == 1 && writev(fd, iov, 2) != (ssize_t)out.len)
		fail("FUSE_NOTIFY_INVAL_INODE: %s", strerror(errno));
	fuse_reply(fd, in, 0, zeroes, arg->size);
}

CASE(fuse_goes, "a page of a FUSE file goes while a process waits for another one, and never comes")
{
	u64 ms;

	need_hmm_gpu();
	word = shared_words();
	stuck.pages = 2;
	stuck.reads = 3;
	stuck.file = fuse_file(&word[READS], fuse_read_once, page_size);
	ms = kill_stuck(GPU_OF_PROCESS);
	note("memory is free after %llu ms", (unsigned long long)ms);
}

/* ------------------------------------------------------- the monitor uses the GPU */

struct monitored {
	int uffd;
	char *page;
	u64 tag;
};

static void *monitor_with_gpu(void *arg)
{
	struct monitored *m = arg;
	char *mine = map(page_size);
	void *page;

	gpu = gpu_open(device);
	page = await_fault(m->uffd);
	gpu_write(mine, page_size, m->tag);
	provide(m->uffd, page, mine);
	return NULL;
}

static void monitor_process(void *arg)
{
	monitor_with_gpu(arg);
}

CASE(uffd_monitor, "the monitor of a userfaultfd gets the page from the GPU")
{
	struct monitored m = { .tag = new_tag() };
	pthread_t thread;
	pid_t pid;

	need_hmm_gpu();
	m.page = map(2 * page_size);
	m.uffd = uffd_open();
	uffd_register(m.uffd, m.page, 2 * page_size);

	pid = spawn(monitor_process, &m);
	gpu_check(m.page, page_size, m.tag);
	reap(pid);
	thread_start(&thread, monitor_with_gpu, &m);
	gpu_check(m.page + page_size, page_size, m.tag);
	thread_join(thread);
	cpu_check(m.page, page_size, m.tag);
}

static u64 fuse_tag;

/* Let the GPU write the page, in memory of the server. */
static void fuse_read_by_gpu(int fd, const struct fuse_in_header *in)
{
	const struct fuse_read_in *arg = (const void *)(in + 1);
	static char *mine;

	if (!mine) {
		gpu = gpu_open(device);
		mine = map(FUSE_LEN);
	}
	gpu_write(mine, arg->size, tag_at(fuse_tag, arg->offset));
	fuse_reply(fd, in, 0, mine, arg->size);
}

CASE(fuse_monitor, "the server of a FUSE file gets the pages from the GPU")
{
	char *p;

	need_hmm_gpu();
	word = shared_words();
	fuse_tag = new_tag();
	stuck.file = fuse_file(&word[READS], fuse_read_by_gpu, 1 << 17);
	p = mmap(NULL, FUSE_LEN, PROT_READ, MAP_SHARED, stuck.file, 0);
	must(p != MAP_FAILED);
	gpu_check(p, FUSE_LEN, fuse_tag);
	cpu_check(p, FUSE_LEN, fuse_tag);
	check(get(&word[READS]), "the server was not asked");
}

/* -------------------------------------------------------------------- signals */

static volatile unsigned int nr_signals;

static void count_signal(int sig)
{
	(void)sig;
	nr_signals++;
}

static void alarms(unsigned int ms, int flags)
{
	struct sigaction sa = { .sa_handler = count_signal, .sa_flags = flags };
	struct itimerval timer = {
		.it_interval = { .tv_usec = ms * 1000 },
		.it_value = { .tv_usec = ms * 1000 },
	};

	nr_signals = 0;
	must(!sigaction(SIGALRM, &sa, NULL) && !setitimer(ITIMER_REAL, &timer, NULL));
}

static void no_alarms(void)
{
	struct itimerval timer = {};

	must(!setitimer(ITIMER_REAL, &timer, NULL));
}

#define SIGNALS_LEN	(8 * MIB)

static void all_words(const u64 *p, size_t len, u64 value)
{
	size_t i;

	for (i = 0; i < len / 8; i++)
		check(p[i] == value, "word %zu is %llu instead of %llu", i,
		      (unsigned long long)p[i], (unsigned long long)value);
}

CASE(signal_restart, "signals interrupt a command, which is restarted: each word once")
{
	u64 *p = map(SIGNALS_LEN), *q = map(SIGNALS_LEN), n = 0, during = 0;
	struct hmm_gpu_cmd cmd;
	unsigned int before;
	int err;

	need_hmm_gpu();
	alarms(20, SA_RESTART);
	while (during < 20 && n < 50) {
		before = nr_signals;
		gpu_add(gpu, p, SIGNALS_LEN, 1);
		during += nr_signals - before;
		n++;
		must(!madvise(q, SIGNALS_LEN, MADV_DONTNEED));
		err = gpu_run(gpu, HMM_GPU_COPY, q, SIGNALS_LEN, p, 0, &cmd);
		check(!err && cmd.done == SIGNALS_LEN && !cmd.flags, "COPY: %s, flags %u",
		      strerror(err), cmd.flags);
		err = gpu_run(gpu, HMM_GPU_CHECKSUM, q, SIGNALS_LEN, NULL, 0, &cmd);
		check(!err && cmd.result == n * SIGNALS_LEN / 8 && !cmd.flags,
		      "CHECKSUM: %s, %llu", strerror(err), cmd.result);
		err = gpu_run(gpu, HMM_GPU_COMPARE, q, SIGNALS_LEN, p, 0, &cmd);
		check(!err && cmd.result == SIGNALS_LEN && !cmd.flags, "COMPARE: %s, %llu",
		      strerror(err), cmd.result);
		gpu_ptes(p, SIGNALS_LEN);
		must(!madvise(p, SIGNALS_LEN, MADV_PAGEOUT) || errno == EINVAL);
	}
	no_alarms();
	note("%llu signals during %llu adds", (unsigned long long)during, (unsigned long long)n);
	check(during > 2 * n, "%llu signals during %llu adds", (unsigned long long)during,
	      (unsigned long long)n);
	all_words(p, SIGNALS_LEN, n);
	all_words(q, SIGNALS_LEN, n);
}

CASE(signal_eintr, "signals interrupt a command, and the program goes on: each word once")
{
	u64 *p = map(SIGNALS_LEN), last = 0;
	unsigned int interrupted = 0, zero = 0;
	struct hmm_gpu_cmd cmd = {
		.op = HMM_GPU_ATOMIC_ADD, .addr = (uintptr_t)p, .len = SIGNALS_LEN, .value = 1,
		/* The driver ignores these without HMM_GPU_RESUMES. */
		.done = 4096, .result = 7,
	}, bad;

	need_hmm_gpu();
	alarms(20, 0);
	while (ioctl(gpu, HMM_GPU_RUN, &cmd)) {
		must(errno == EINTR);
		check(cmd.flags == HMM_GPU_RESUMES && !cmd.fault_addr, "flags %#x", cmd.flags);
		check(cmd.done >= last && cmd.done <= SIGNALS_LEN && !(cmd.done % 8),
		      "%llu done after %llu", cmd.done, (unsigned long long)last);
		zero += cmd.done == last;
		last = cmd.done;
		interrupted++;
		bad = cmd;
		bad.done = SIGNALS_LEN + 8;
		must(ioctl(gpu, HMM_GPU_RUN, &bad) && errno == EINVAL);
		bad.done = 4;
		must(ioctl(gpu, HMM_GPU_RUN, &bad) && errno == EINVAL);
		bad.flags |= 2;
		must(ioctl(gpu, HMM_GPU_RUN, &bad) && errno == EINVAL);
	}
	no_alarms();
	check(!cmd.flags && cmd.done == SIGNALS_LEN, "flags %#x, %llu done", cmd.flags, cmd.done);
	note("interrupted %u times, %u of them without progress", interrupted, zero);
	check(interrupted >= 2, "interrupted %u times", interrupted);
	all_words(p, SIGNALS_LEN, 1);
}

CASE(signal_stuck, "a signal interrupts a command that waits for a page")
{
	struct hmm_gpu_cmd cmd = { .op = HMM_GPU_ATOMIC_ADD, .len = 2 * page_size, .value = 1 };
	u64 ms, *p = map(2 * page_size), *data = map(page_size);
	struct itimerval timer = { .it_value = { .tv_usec = 50000 } };
	int uffd;

	need_hmm_gpu();
	uffd = uffd_open();
	*p = 0;
	uffd_register(uffd, (char *)p + page_size, page_size);
	cmd.addr = (uintptr_t)p;
	alarms(0, 0);
	ms = now_ms();
	must(!setitimer(ITIMER_REAL, &timer, NULL));
	must(ioctl(gpu, HMM_GPU_RUN, &cmd) && errno == EINTR);
	ms = now_ms() - ms;
	note("the signal takes %llu ms", (unsigned long long)ms);
	check(ms < 1000, "the signal takes %llu ms", (unsigned long long)ms);
	check(cmd.flags == HMM_GPU_RESUMES, "flags %#x", cmd.flags);
	provide(uffd, (char *)p + page_size, data);
	must(!ioctl(gpu, HMM_GPU_RUN, &cmd));
	check(!cmd.flags && cmd.done == cmd.len, "flags %#x, %llu done", cmd.flags, cmd.done);
	all_words(p, 2 * page_size, 1);
}

/* Answer the reads of a page from the second one on. */
static void fuse_read_later(int fd, const struct fuse_in_header *in)
{
	static const char zeroes[1 << 16];
	const struct fuse_read_in *arg = (const void *)(in + 1);
	static unsigned int reads;

	if (reads++)
		fuse_reply(fd, in, 0, zeroes, arg->size);
}

CASE(fuse_signal, "a signal interrupts a command that waits for a page of a FUSE file")
{
	struct hmm_gpu_cmd cmd = { .op = HMM_GPU_CHECKSUM, .len = page_size };
	struct itimerval timer = { .it_value = { .tv_usec = 50000 } };
	char *p;
	u64 ms;
	int err;

	need_hmm_gpu();
	word = shared_words();
	stuck.file = fuse_file(&word[READS], fuse_read_later, page_size);
	p = mmap(NULL, page_size, PROT_READ, MAP_SHARED, stuck.file, 0);
	must(p != MAP_FAILED);
	cmd.addr = (uintptr_t)p;
	alarms(0, 0);
	ms = now_ms();
	must(!setitimer(ITIMER_REAL, &timer, NULL));
	err = ioctl(gpu, HMM_GPU_RUN, &cmd) ? errno : 0;
	ms = now_ms() - ms;
	check(err == EINTR, "the command: %s", strerror(err));
	check(ms < 1000, "the signal takes %llu ms", (unsigned long long)ms);
}

/* --------------------------------------------------------------------- suspend */

static void *endless(void *arg)
{
	struct hmm_gpu_cmd cmd;
	int err = gpu_run(gpu, HMM_GPU_CHECKSUM, arg, 64UL << 30, NULL, 0, &cmd);

	fail("CHECKSUM of 64 GiB ended: %s", strerror(err));
}

/* Return 0 or an errno. */
static int suspend(void)
{
	int fd = open("/sys/power/state", O_WRONLY | O_CLOEXEC), err;

	must(fd >= 0);
	err = write(fd, "freeze", 6) == 6 ? 0 : errno;
	close(fd);
	return err;
}

CASE(freezer, "the system is suspended while a command of 64 GiB is executed")
{
	char *p = mmap(NULL, 64UL << 30, RW, ANON | MAP_NORESERVE, -1, 0);
	pthread_t thread;
	int i, err;

	need_hmm_gpu();
	must(p != MAP_FAILED);
	if (!write_text("/sys/power/pm_test", "freezer"))
		skip("no /sys/power/pm_test: %s", strerror(errno));
	write_text("/sys/module/suspend/parameters/pm_test_delay", "1");
	thread_start(&thread, endless, p);
	for (i = 0; i < 3; i++) {
		u64 ms = now_ms();

		usleep(100000);
		err = suspend();
		note("suspended for %llu ms", (unsigned long long)(now_ms() - ms));
		if (err)
			write_text("/sys/power/pm_test", "none");
		check(!err, "suspend: %s after %llu ms", strerror(err),
		      (unsigned long long)(now_ms() - ms));
	}
	write_text("/sys/power/pm_test", "none");
	_exit(0);
}

/* ------------------------------------------------------------ a busy neighbour */

static u64 calm;

static void *changes_always(void *arg)
{
	while (!get(&calm)) {
		*(volatile char *)arg = 1;
		must(!madvise(arg, page_size, MADV_DONTNEED));
	}
	return NULL;
}

/* Let the GPU copy a word from one page of 2 MiB to another. Return the milliseconds. */
static u64 copy_word(char *p, unsigned int i)
{
	u64 tag = 1 + i, *from = (u64 *)(p + (i + 1) * 4 * page_size), ms;
	struct hmm_gpu_cmd cmd;
	int err;

	*from = tag;
	must(!madvise(p, page_size, MADV_DONTNEED));
	ms = now_ms();
	err = gpu_run(gpu, HMM_GPU_COPY, p, 8, from, 0, &cmd);
	ms = now_ms() - ms;
	check(!err, "COPY: %s after %llu ms", strerror(err), (unsigned long long)ms);
	check(*(u64 *)p == tag, "COPY has copied wrong data");
	return ms;
}

CASE(busy_neighbours, "the GPU uses pages while others of the same 2 MiB change all the time")
{
	u64 ms, bound = 1000, most = 0;
	char *p = map(HUGE);
	pthread_t thread[2];
	int i;

	need_hmm_gpu();
	cpu_write(p, HUGE, 0);
	/* At least 1 s, and more on a slow machine. */
	for (i = 0; i < 5; i++)
		bound += 10 * copy_word(p, i);
	/* Far longer than a change takes, also on a slow machine. */
	must(write_text("/sys/module/hmm_gpu/parameters/dma_map_us", "3000"));
	thread_start(&thread[0], changes_always, p + 100 * page_size);
	thread_start(&thread[1], changes_always, p + 300 * page_size);
	for (i = 0; i < 20; i++) {
		ms = copy_word(p, i);
		most = ms > most ? ms : most;
	}
	set(&calm, 1);
	thread_join(thread[0]);
	thread_join(thread[1]);
	note("a word is copied in at most %llu ms, of %llu", (unsigned long long)most,
	     (unsigned long long)bound);
	check(most <= bound, "a word is copied in %llu ms", (unsigned long long)most);
	/* No stale device PTE is left. */
	gpu_ptes(p, HUGE);
	both_ways(p, HUGE);
}

/* ------------------------------------------------------------- device removal */

#define EDU		"/dev/hmm_gpu_edu"
#define EDU_DRIVER	"/sys/bus/pci/drivers/hmm_gpu"

/* Name of the device on the PCI bus. */
static const char *edu_name(void)
{
	static char name[256];
	DIR *dir = opendir(EDU_DRIVER);
	struct dirent *entry;

	if (!dir)
		skip("there is no %s", EDU_DRIVER);
	while ((entry = readdir(dir))) {
		if (strchr(entry->d_name, ':'))
			snprintf(name, sizeof(name), "%s", entry->d_name);
	}
	closedir(dir);
	if (!*name || access(EDU, R_OK | W_OK))
		skip("there is no " EDU);
	return name;
}

static bool edu_goes(const char *name, bool remove)
{
	char path[320];

	if (!remove)
		return write_text(EDU_DRIVER "/unbind", "%s", name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", name);
	return write_text(path, "1");
}

static bool edu_comes(const char *name, bool remove)
{
	return remove ? write_text("/sys/bus/pci/rescan", "1") :
			write_text(EDU_DRIVER "/bind", "%s", name);
}

static int edu_fill(int fd, void *p, size_t len, struct hmm_gpu_cmd *cmd)
{
	return gpu_run(fd, HMM_GPU_FILL, p, len, NULL, 0x5eed, cmd);
}

struct edu_job {
	int fd, err;
	char *p;
	struct hmm_gpu_cmd cmd;
	u64 ended;
};

/* A page takes 400 ms. */
static void *edu_thread(void *arg)
{
	struct edu_job *job = arg;

	job->err = edu_fill(job->fd, job->p, LEN, &job->cmd);
	set(&job->ended, now_ms());
	return NULL;
}

static void sleeps(void *arg)
{
	(void)arg;
	pause();
}

static void remove_edu(bool remove)
{
	struct edu_job job = { .p = map(LEN) };
	const char *name = edu_name();
	struct hmm_gpu_stats stats = {};
	struct hmm_gpu_cmd cmd;
	pthread_t thread;
	pid_t pid;
	u64 ms;
	int fd;

	need_hmm_gpu();
	job.fd = gpu_open(EDU);
	fd = gpu_open(EDU);
	check(!edu_fill(fd, job.p, 8, &cmd) && *(u64 *)job.p == 0x5eed, "the file does not work");
	pid = spawn(sleeps, NULL);	/* the child inherits all files */
	thread_start(&thread, edu_thread, &job);
	usleep(300000);
	check(!get(&job.ended), "FILL: %s", strerror(job.err));

	ms = now_ms();
	must(edu_goes(name, remove));
	ms = now_ms() - ms;
	note("removal takes %llu ms", (unsigned long long)ms);
	/* Also on a slow machine: removal must not wait for the command, which ends below. */
	check(ms < 20000, "removal takes %llu ms", (unsigned long long)ms);
	thread_join(thread);
	check(job.err == ENODEV && job.cmd.done < LEN, "the command: %s, %llu done",
	      strerror(job.err), job.cmd.done);
	check(edu_fill(fd, job.p, 8, &cmd) == ENODEV, "a new command: %s", strerror(errno));
	check(gpu_run(fd, HMM_GPU_VERIFY, job.p, 8, NULL, 0, &cmd) == ENODEV, "VERIFY: %s",
	      strerror(errno));
	must(!ioctl(fd, HMM_GPU_STATS, &stats));
	check(eventually(access(EDU, F_OK)), "the device file still exists");
	must(!munmap(job.p, LEN));

	/* An open file keeps the module, also a file of a removed device. */
	close(gpu);
	must(syscall(SYS_delete_module, "hmm_gpu", O_NONBLOCK) && errno == EAGAIN);
	gpu = gpu_open(device);

	must(edu_comes(name, remove));
	check(eventually(!access(EDU, F_OK)), "the device file does not exist again");
	check(edu_fill(fd, &ms, 8, &cmd) == ENODEV, "the old file works with the new device");
	close(fd);
	fd = gpu_open(EDU);
	job.p = map(LEN);
	check(!edu_fill(fd, job.p, 8, &cmd) && *(u64 *)job.p == 0x5eed, "the new file fails");
	close(job.fd);
	kill(pid, SIGKILL);
	reap_killed(pid, SIGKILL);
	check(!edu_fill(fd, job.p, 8, &cmd), "the new file does not work any more");
	close(fd);
}

CASE(device_removed, "the device is removed, with open files and a command in flight")
{
	remove_edu(true);
}

CASE(device_unbound, "the driver is unbound, with open files and a command in flight")
{
	remove_edu(false);
}

CASE(device_removed_stuck, "the device is removed while a command waits for a page")
{
	struct edu_job job = { .p = map(LEN) };
	const char *name = edu_name();
	int uffd = uffd_open();
	pthread_t thread;
	u64 ms;

	need_hmm_gpu();
	uffd_register(uffd, job.p, LEN);
	job.fd = gpu_open(EDU);
	thread_start(&thread, edu_thread, &job);
	check(await_fault(uffd) == job.p, "another page is read");
	ms = now_ms();
	must(edu_goes(name, true));
	thread_join(thread);
	ms = now_ms() - ms;
	note("removal takes %llu ms", (unsigned long long)ms);
	check(ms < 5000, "removal takes %llu ms", (unsigned long long)ms);
	check(job.err == ENODEV && !job.cmd.done, "the command: %s, %llu done", strerror(job.err),
	      job.cmd.done);
	close(job.fd);
	must(edu_comes(name, true));
	check(eventually(!access(EDU, F_OK)), "the device file does not exist again");
}

static void opens_and_fills(void *arg)
{
	u64 *words = arg;
	char *p = map(LEN);

	while (!get(&words[0])) {
		int fd = open(EDU, O_RDWR | O_CLOEXEC), err;
		struct hmm_gpu_cmd cmd;

		if (fd < 0) {
			check(errno == ENOENT || errno == ENODEV || errno == ENXIO, "open(): %s",
			      strerror(errno));
			usleep(1000);
			continue;
		}
		err = rnd(3) ? edu_fill(fd, p, rnd(2) ? 4 * page_size : 8, &cmd) : 0;
		check(!err || err == ENODEV, "FILL: %s", strerror(err));
		__atomic_add_fetch(&words[err ? 2 : 1], 1, __ATOMIC_SEQ_CST);
		close(fd);
	}
}

CASE(device_races, "the device is removed and added while processes open it, use it and close it")
{
	const char *name = edu_name();
	u64 *words = shared_words();
	pid_t pid[3];
	size_t i;

	need_hmm_gpu();
	for (i = 0; i < ARRAY_SIZE(pid); i++)
		pid[i] = spawn(opens_and_fills, words);
	for (i = 0; i < 8; i++) {
		usleep(rnd(300000));
		must(edu_goes(name, false));
		usleep(rnd(20000));
		must(edu_comes(name, false));
	}
	set(&words[0], 1);
	for (i = 0; i < ARRAY_SIZE(pid); i++)
		reap(pid[i]);
	note("%llu files, and %llu of a removed device", (unsigned long long)words[1],
	     (unsigned long long)words[2]);
	check(words[2], "no file was of a removed device");
	check(eventually(!access(EDU, R_OK | W_OK)), "the device file does not exist again");
}
