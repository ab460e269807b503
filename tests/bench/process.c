// SPDX-License-Identifier: GPL-2.0
/*
 * Costs for a process and a driver: system calls that change mappings, a whole device fault,
 * and memory.
 */
#include <linux/hmm.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/platform_device.h>
#include <linux/dma-mapping.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bench.h"
#include "hmm_mirror.h"

/* --------------------------------------------------------------- system calls */

#ifdef CONFIG_ARCH_HAS_SYSCALL_WRAPPER
#define SYS(name)	"__x64_sys_" #name
typedef long system_call(const struct pt_regs *regs);

static long call(system_call *function, unsigned long addr, unsigned long size,
		 unsigned long how)
{
	static struct pt_regs regs;

	regs.di = addr;
	regs.si = size;
	regs.dx = how;
	return function(&regs);
}
#else
#define SYS(name)	"sys_" #name
typedef long system_call(unsigned long addr, unsigned long size, unsigned long how);

static long call(system_call *function, unsigned long addr, unsigned long size,
		 unsigned long how)
{
	return function(addr, size, how);
}
#endif

static system_call *sys_madvise, *sys_mprotect;

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
#define SMALL_PAGES	MADV_NOHUGEPAGE
#else
#define SMALL_PAGES	MADV_NORMAL
#endif

/* Map memory, and fault its pages in. */
static int map(unsigned long addr, unsigned long size, int advice)
{
	unsigned long at;
	long ret;

	if (!sys_madvise)
		sys_madvise = bench_lookup(SYS(madvise));
	if (!sys_mprotect)
		sys_mprotect = bench_lookup(SYS(mprotect));
	if (!sys_madvise || !sys_mprotect)
		return -ENOENT;

	at = vm_mmap(NULL, addr, size, PROT_READ | PROT_WRITE,
		     MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0);
	if (at != addr)
		return -ENOMEM;
	ret = call(sys_madvise, addr, size, advice);
	for (; !ret && addr < at + size; addr += PAGE_SIZE)
		ret = put_user(1UL, (unsigned long __user *)addr);
	return ret;
}

/* Eight pages for madvise(), and one for mprotect(). */
#define NR_PAGES	8UL
#define ONE_PAGE	(12 * PAGE_SIZE)

int bench_system_calls_prepare(struct bench_space *space, unsigned long addr)
{
	int ret;

	kthread_use_mm(space->mm);
	ret = map(addr, NR_PAGES * PAGE_SIZE, SMALL_PAGES);
	if (!ret)
		ret = map(addr + ONE_PAGE, PAGE_SIZE, SMALL_PAGES);
	kthread_unuse_mm(space->mm);
	return ret;
}

/* Free a page, and write to it. */
static void madvise_batch(struct bench_space *space, const struct bench_work *work,
			  unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		unsigned long addr = work->addr + i % NR_PAGES * PAGE_SIZE;

		call(sys_madvise, addr, PAGE_SIZE, MADV_DONTNEED);
		put_user(1UL, (unsigned long __user *)addr);
	}
}

/* Make a page read-only, and writable again. */
static void mprotect_batch(struct bench_space *space, const struct bench_work *work,
			   unsigned int first, unsigned int nr)
{
	unsigned long addr = work->addr + ONE_PAGE;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		call(sys_mprotect, addr, PAGE_SIZE, PROT_READ);
		call(sys_mprotect, addr, PAGE_SIZE, PROT_READ | PROT_WRITE);
	}
}

static void call_empty(struct bench_space *space, const struct bench_work *work,
		       unsigned int first, unsigned int nr)
{
}

int bench_system_calls(unsigned int nr, unsigned long addr)
{
	struct bench_work madvise = {
		.row = "madvise", .nr = nr, .addr = addr, .user = true,
		.batch = madvise_batch, .empty = call_empty,
	};
	struct bench_work mprotect = {
		.row = "mprotect", .nr = nr, .addr = addr, .user = true,
		.batch = mprotect_batch, .empty = call_empty,
	};
	int ret = bench_measure(&madvise);

	return ret ?: bench_measure(&mprotect);
}

/* ----------------------------------------------------------------- device fault */

#define NR_PFNS		512U
#define SMALL		SZ_2M
#define HUGE		SZ_4M

struct populate {
	struct bench_space *space;
	void *range;
	struct hmm_mirror_fault fault;
	struct device *dev;
	dma_addr_t *dma_addrs;
};

/* Populate with mmu_interval_notifier @mn. If @only, only read the page table. */
static int populate_interval(struct populate *p, struct mmu_interval_notifier *mn, bool only)
{
	struct mm_struct *mm = p->space->mm;
	struct hmm_range range = {
		.notifier = mn, .start = p->fault.start, .end = p->fault.end,
		.hmm_pfns = p->fault.pfns, .default_flags = p->fault.default_flags,
	};
	int ret;

	if (only)
		range.notifier_seq = mn->invalidate_seq;
	else
		range.notifier_seq = mmu_interval_read_begin(mn);
	mmap_read_lock(mm);
	ret = hmm_range_fault(&range);
	mmap_read_unlock(mm);
	if (ret || only)
		return ret;
	mutex_lock(&p->space->lock);
	ret = mmu_interval_read_retry(mn, range.notifier_seq) ? -EBUSY : 0;
	mutex_unlock(&p->space->lock);
	return ret;
}

static int populate_commit(struct hmm_mirror_range *range, unsigned long seq,
			   const struct hmm_mirror_fault *fault, void *arg)
{
	struct populate *p = arg;
	int ret;

	mutex_lock(&p->space->lock);
	ret = hmm_mirror_range_retry(range, seq) ? -EBUSY : 0;
	mutex_unlock(&p->space->lock);
	return ret;
}

static int populate_mirror(struct populate *p)
{
	return hmm_mirror_range_populate(p->range, &p->fault, HMM_MIRROR_DEFAULT_TIMEOUT,
					 populate_commit, p);
}

#ifdef HMM_MIRROR_BENCH_HAVE_DMA
static int populate_dma(struct populate *p)
{
	unsigned long seq;
	long ret;

	ret = hmm_mirror_range_begin(p->range, &seq, HMM_MIRROR_DEFAULT_TIMEOUT);
	if (!ret)
		ret = hmm_mirror_range_fault(p->range, seq, &p->fault, HMM_MIRROR_WAIT_FOREVER);
	if (!ret)
		ret = hmm_mirror_range_dma_map(p->range, seq, &p->fault, p->dev, p->dma_addrs);
	if (ret <= 0)
		return ret ?: -EFAULT;
	ret = populate_commit(p->range, seq, &p->fault, p);
	hmm_mirror_range_dma_unmap(&p->fault, p->dev, p->dma_addrs, true);
	return ret;
}
#else
static int populate_dma(struct populate *p)
{
	return -EOPNOTSUPP;
}
#endif

enum populate_how { READ_ONLY, INTERVAL, MIRROR, MIRROR_DMA };

static const char *const populate_names[] = {
	"hmm_range_fault", "interval", "hmm_mirror", "hmm_mirror_dma",
};

static int populate_once(struct populate *p, enum populate_how how)
{
	switch (how) {
	case READ_ONLY:
	case INTERVAL:
		return populate_interval(p, p->range, how == READ_ONLY);
	case MIRROR:
		return populate_mirror(p);
	default:
		return populate_dma(p);
	}
}

static int populate_row(const char *row, struct populate *p, enum populate_how how,
			unsigned long addr)
{
	const struct bench_scheme *scheme = p->space->scheme;
	s64 cost[3];
	unsigned int i;
	int ret = scheme->add(p->space, p->range, addr, addr + SZ_2M);

	p->fault.start = addr;
	p->fault.end = addr + NR_PFNS * PAGE_SIZE;
	p->fault.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	if (!ret)
		ret = populate_once(p, how);
	for (i = 0; !ret && i < ARRAY_SIZE(cost); i++) {
		u64 from = bench_now();

		ret = populate_once(p, how);
		cost[i] = (bench_now() - from) * 100;
	}
	if (!ret)
		bench_print_costs(row, populate_names[how], NR_PFNS, cost, ARRAY_SIZE(cost));
	else
		pr_info("bench: no %s of %s: %d\n", row, populate_names[how], ret);
	scheme->del(p->space, p->range);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

static int populate_rows(struct platform_device *pdev, enum populate_how how)
{
	struct populate p = { .dev = &pdev->dev };
	int ret = -ENOMEM;

	p.space = bench_space_new(how <= INTERVAL ? &bench_interval : &bench_mirror, 1);
	if (!p.space)
		return ret;
	p.range = bench_range(p.space, 0);
	p.fault.pfns = kvcalloc(NR_PFNS, sizeof(*p.fault.pfns), GFP_KERNEL);
	p.dma_addrs = kvcalloc(NR_PFNS, sizeof(*p.dma_addrs), GFP_KERNEL);
	if (!p.fault.pfns || !p.dma_addrs)
		goto out;

	kthread_use_mm(p.space->mm);
	ret = map(SMALL, SZ_2M, SMALL_PAGES);
	if (!ret)
		ret = map(HUGE, SZ_2M, MADV_HUGEPAGE);
	kthread_unuse_mm(p.space->mm);
	if (!ret)
		ret = populate_row("small", &p, how, SMALL);
	if (!ret)
		ret = populate_row("huge", &p, how, HUGE);
out:
	kvfree(p.dma_addrs);
	kvfree(p.fault.pfns);
	bench_space_free(p.space);
	return ret;
}

int bench_populate(void)
{
	struct platform_device *pdev;
	unsigned int how;
	int ret;

	pdev = platform_device_register_simple("hmm_mirror_bench", -1, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	for (how = READ_ONLY; !ret && how <= MIRROR_DMA; how++)
		ret = populate_rows(pdev, how);
	platform_device_unregister(pdev);
	return ret;
}

/* ----------------------------------------------------------------------- memory */

/* Return the memory in use, of the whole machine, which is otherwise idle. */
static s64 memory_used(void)
{
	static void (*drain)(struct zone *zone);
	struct sysinfo info;

	if (!drain)
		drain = bench_lookup("drain_all_pages");
	if (drain)
		drain(NULL);
	si_meminfo(&info);
	return -(s64)info.freeram * PAGE_SIZE;
}

#define NR_RANGES	65536U
#define NR_MMS		1024U

/* Print the memory of a range: its structure, and memory elsewhere. */
static int memory_rows(const struct bench_scheme *scheme)
{
	struct bench_space *space = bench_space_new(scheme, NR_RANGES);
	unsigned int i;
	s64 before;
	int ret = 0;

	if (!space)
		return -ENOMEM;
	before = memory_used();
	/* At random distances hmm_mirror needs most memory. */
	for (i = 0; !ret && i < NR_RANGES; i++) {
		unsigned long start = bench_scattered(i);

		ret = scheme->add(space, bench_range(space, i), start, start + SZ_64K);
		cond_resched();
	}
	/* Wait until the worker has made the filter larger. */
	msleep(MSEC_PER_SEC);
	if (!ret) {
		s64 elsewhere = (memory_used() - before) * 100 / NR_RANGES;

		bench_print("range_bytes", scheme->name, NR_RANGES,
			    scheme->range_bytes * 100, scheme->range_bytes * 100);
		bench_print("range_elsewhere", scheme->name, NR_RANGES, elsewhere, elsewhere);
	}
	while (i)
		scheme->del(space, bench_range(space, --i));
	bench_space_free(space);
	return ret;
}

static int memory_of_mms(const struct bench_scheme *scheme)
{
	struct bench_space **spaces = kvcalloc(NR_MMS, sizeof(*spaces), GFP_KERNEL);
	unsigned int i;
	int ret = spaces ? 0 : -ENOMEM;
	s64 used;

	for (i = 0; !ret && i < NR_MMS; i++) {
		spaces[i] = bench_space_new(&bench_none, 1);
		if (!spaces[i]) {
			ret = -ENOMEM;
			break;
		}
	}
	used = memory_used();
	while (i) {
		i--;
		spaces[i]->scheme = scheme;
		if (!ret)
			ret = scheme->attach(spaces[i]);
		if (ret)
			spaces[i]->scheme = &bench_none;
	}
	used = (memory_used() - used) * 100 / NR_MMS;
	if (!ret)
		bench_print("mm_bytes", scheme->name, NR_MMS, used, used);
	for (i = 0; spaces && i < NR_MMS && spaces[i]; i++)
		bench_space_free(spaces[i]);
	kvfree(spaces);
	return ret;
}

int bench_memory(void)
{
	static const struct bench_scheme *const schemes[] = {
		&bench_floor, &bench_floor2, &bench_interval, &bench_2019, &bench_mirror,
	};
	unsigned int s;
	int ret = 0;

	for (s = 0; !ret && s < ARRAY_SIZE(schemes); s++) {
		if (schemes[s]->tracks)
			ret = memory_rows(schemes[s]);
		if (!ret)
			ret = memory_of_mms(schemes[s]);
	}
	return ret;
}
