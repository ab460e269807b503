// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests: fixture, mm side, fault side, threads.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/oom.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "hmm_mirror_test.h"

/* A built-in test can observe messages of the kernel, and objects that it frees. */
#if !defined(MODULE) && defined(CONFIG_TRACEPOINTS)
#define HAS_PROBES
#include <linux/bug.h>
#include <trace/events/kmem.h>
#include <trace/events/printk.h>
#include <asm/sections.h>
#endif

static unsigned int patience = 10;
module_param(patience, uint, 0444);
MODULE_PARM_DESC(patience, "Timeout for events that must happen, in seconds (default 10)");

static unsigned long seed;
module_param(seed, ulong, 0444);
MODULE_PARM_DESC(seed, "Seed of the random sequences (default: chosen at random)");

static unsigned int steps = 20000;
module_param(steps, uint, 0444);
MODULE_PARM_DESC(steps, "Number of steps of a random sequence (default 20000)");

unsigned long hmmt_steps(void)
{
	return steps;
}

/* Seed @rnd, and log the seed, with which the test can be repeated. */
void hmmt_seed(struct kunit *test, struct rnd_state *rnd)
{
	while (!seed)
		get_random_bytes(&seed, sizeof(seed));
	prandom_seed_state(rnd, seed);
	kunit_info(test, "seed=%lu steps=%u\n", seed, steps);
}

/*
 * Return an address: each magnitude is equally likely. Some are next to a power of two, or
 * where arithmetic wraps or changes its sign. Most are page-aligned.
 */
unsigned long hmmt_random_address(struct rnd_state *rnd)
{
	static const unsigned long special[] = {
		0, 1, PAGE_SIZE, LONG_MAX, LONG_MAX & PAGE_MASK, BIT(63), ULONG_MAX,
		ULONG_MAX & PAGE_MASK, ALIGN_DOWN(ULONG_MAX, 512 * PAGE_SIZE),
	};
	unsigned long addr = (unsigned long)prandom_u32_state(rnd) << 32;

	addr |= prandom_u32_state(rnd);
	addr >>= prandom_u32_state(rnd) % 64;
	switch (prandom_u32_state(rnd) % 8) {
	case 0:
		addr = special[prandom_u32_state(rnd) % ARRAY_SIZE(special)];
		break;
	case 1:
	case 2:
		addr = BIT(prandom_u32_state(rnd) % 64);
		addr += prandom_u32_state(rnd) % 3 * PAGE_SIZE - PAGE_SIZE;
		break;
	}
	return prandom_u32_state(rnd) % 8 ? addr & PAGE_MASK : addr;
}

unsigned long hmmt_patience(void)
{
	return patience * HZ;
}

/* ------------------------------------------------------------ messages and frees */

#ifdef HAS_PROBES

static struct {
	raw_spinlock_t lock;	/* protects length and text */
	bool on;
	size_t length;
	char text[2000];
} said = { .lock = __RAW_SPIN_LOCK_UNLOCKED(said.lock) };

static void on_console(void *data, const char *text, size_t length)
{
	unsigned long flags;

	if (!READ_ONCE(said.on) || !strnstr(text, "hmm_mirror: ", length))
		return;
	raw_spin_lock_irqsave(&said.lock, flags);
	if (length < sizeof(said.text) - said.length) {
		memcpy(said.text + said.length, text, length);
		said.length += length;
		said.text[said.length] = 0;
	}
	raw_spin_unlock_irqrestore(&said.lock, flags);
}

/* Return true if a message of the core since hmmt_expect_begin() contains @text. */
static bool is_said(const char *text)
{
	return strstr(said.text, text);
}

static void listen(void)
{
	static bool listens;

	if (!listens)
		listens = !register_trace_console(on_console, NULL);
	said.length = 0;
	said.text[0] = 0;
	WRITE_ONCE(said.on, true);
	/* Do the same as a write to clear_warn_once in debugfs. */
	generic_bug_clear_once();
	memset(__start_once, 0, __end_once - __start_once);
}

void hmmt_expect_begin(void)
{
	listen();
	pr_info("hmm_mirror_test: expect-begin\n");
}

void hmmt_expect_end(void)
{
	pr_info("hmm_mirror_test: expect-end\n");
	WRITE_ONCE(said.on, false);
}

/* Expect that the core has printed @text since hmmt_expect_begin(). */
void hmmt_expect_warned(struct kunit *test, const char *text)
{
	KUNIT_EXPECT_TRUE_MSG(test, is_said(text), "\"%s\" is not in \"%s\"", text, said.text);
}

static struct {
	bool on;
	const void *object;
	bool is_freed;
	const struct task_struct *task;
	size_t size;
	unsigned int nr;
} frees;

static void on_kfree(void *data, unsigned long call_site, const void *object)
{
	if (ZERO_OR_NULL_PTR(object))
		return;
	if (object == READ_ONCE(frees.object))
		WRITE_ONCE(frees.is_freed, true);
	if (in_task() && current == READ_ONCE(frees.task) && ksize(object) >= frees.size)
		frees.nr++;
}

static void watch_frees(void)
{
	if (!frees.on)
		frees.on = !register_trace_kfree(on_kfree, NULL);
}

static void unwatch_frees(void)
{
	if (!frees.on)
		return;
	unregister_trace_kfree(on_kfree, NULL);
	tracepoint_synchronize_unregister();
	memset(&frees, 0, sizeof(frees));
}

bool hmmt_sees_frees(void)
{
	return true;
}

/* Watch @object: hmmt_is_freed() returns true once it is freed. Only one at a time. */
void hmmt_watch(const void *object)
{
	watch_frees();
	WRITE_ONCE(frees.is_freed, false);
	WRITE_ONCE(frees.object, object);
}

bool hmmt_is_freed(void)
{
	return READ_ONCE(frees.is_freed);
}

/* Count the objects of at least @size bytes that this thread frees from now on. */
void hmmt_count_frees(size_t size)
{
	watch_frees();
	frees.size = size;
	frees.nr = 0;
	WRITE_ONCE(frees.task, current);
}

unsigned int hmmt_counted_frees(void)
{
	WRITE_ONCE(frees.task, NULL);
	return frees.nr;
}

#else

void hmmt_expect_begin(void)
{
	pr_info("hmm_mirror_test: expect-begin\n");
}

void hmmt_expect_end(void)
{
	pr_info("hmm_mirror_test: expect-end\n");
}

void hmmt_expect_warned(struct kunit *test, const char *text)
{
}

static void unwatch_frees(void)
{
}

bool hmmt_sees_frees(void)
{
	return false;
}

void hmmt_watch(const void *object)
{
}

bool hmmt_is_freed(void)
{
	return true;
}

void hmmt_count_frees(size_t size)
{
}

unsigned int hmmt_counted_frees(void)
{
	return 0;
}

#endif

/* --------------------------------------------------------------------------- mm */

#if defined(HMM_MIRROR_TEST_HAVE_KUNIT_VM_MMAP)

/* Since 6.12 KUnit creates an mm for a thread that maps memory. */
static struct mm_struct *mm_new(struct kunit *test)
{
	unsigned long addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS, 0);
	struct mm_struct *mm = current->mm;

	if (!mm)
		return NULL;
	if (addr && !IS_ERR_VALUE(addr))
		vm_munmap(addr, PAGE_SIZE);
	kthread_unuse_mm(mm);
	return mm;
}

bool hmmt_mm_is_own(void)
{
	return true;
}

#elif !defined(MODULE)

static struct mm_struct *mm_new(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	if (mm) {
		mm->task_size = TASK_SIZE;
		arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	}
	return mm;
}

bool hmmt_mm_is_own(void)
{
	return true;
}

#else

/*
 * A module cannot create an mm. It uses that of the process that loads it, which sleeps until
 * the tests are done. Tests cannot let this mm die.
 */
#define BORROWED_MM

static struct mm_struct *inserter_mm;

static struct mm_struct *mm_new(struct kunit *test)
{
	return inserter_mm && mmget_not_zero(inserter_mm) ? inserter_mm : NULL;
}

bool hmmt_mm_is_own(void)
{
	return false;
}

#endif

/* Let this thread use f->mm, as a thread of the process would. */
void hmmt_mm_attach(struct test_fixture *f)
{
	kthread_use_mm(f->mm);
	f->attached = true;
}

void hmmt_mm_detach(struct test_fixture *f)
{
	kthread_unuse_mm(f->mm);
	f->attached = false;
}

/* Let the mm die. The test keeps its structure by mm_count. */
void hmmt_mm_die(struct test_fixture *f)
{
	mmgrab(f->mm);
	mmput(f->mm);
}

/* ------------------------------------------------------------------- fixture */

int hmmt_init(struct kunit *test)
{
	struct test_fixture *f = kzalloc(sizeof(*f), GFP_KERNEL);
	unsigned int i;

	if (!f)
		return -ENOMEM;
	f->test = test;
	f->mm = mm_new(test);
	if (!f->mm) {
		kfree(f);
		return -ENOMEM;
	}
	init_completion(&f->at);
	init_completion(&f->go);
	for (i = 0; i < TEST_MIRRORS; i++) {
		f->tm[i].f = f;
		mutex_init(&f->tm[i].lock);
	}
	test->priv = f;
	return 0;
}

static bool threads_are_gone(struct test_fixture *f)
{
	unsigned int i;

	for (i = 0; i < TEST_THREADS; i++) {
		if (f->thread[i].task)
			return false;
	}
	return true;
}

/*
 * Unregister all that the test has left registered, because a failed assertion ends it anywhere.
 * If a thread of the test hangs, leak everything: a crash in another test would be worse.
 */
void hmmt_exit(struct kunit *test)
{
	struct test_fixture *f = test->priv;
	unsigned int i;

	unwatch_frees();
	if (!f)
		return;
	if (f->attached || !threads_are_gone(f)) {
		pr_warn("hmm_mirror_test: a failed test leaks its resources\n");
		return;
	}
	for (i = 0; i < TEST_RANGES; i++) {
		if (hmm_mirror_range_mm(&f->range[i]))
			hmm_mirror_range_unregister(&f->range[i]);
	}
	for (i = 0; i < TEST_MIRRORS; i++) {
		if (f->tm[i].mirror.hmm)
			hmm_mirror_unregister(&f->tm[i].mirror);
	}
	if (atomic_read(&f->mm->mm_users))
		mmput(f->mm);
	else
		mmdrop(f->mm);
	vfree(f->guarded);
	kfree(f);
}

/* ------------------------------------------------------------------- mirrors */

/* Append a letter to the trace of callbacks. */
static void trace(struct test_fixture *f, char c)
{
	if (f->traced < TEST_TRACE - 1)
		f->trace[f->traced++] = c;
}

/* Remove the device PTEs of an update. Other addresses than those of tm->pte have none. */
static void remove_device_ptes(struct test_mirror *tm,
			       const struct mmu_notifier_range *update)
{
	unsigned int i;

	for (i = 0; i < TEST_PAGES; i++) {
		unsigned long addr = tm->base + P(i);

		if (addr < update->end && addr + PAGE_SIZE > update->start)
			tm->pte[i] = 0;
	}
}

static int sync(struct hmm_mirror *mirror, const struct mmu_notifier_range *update)
{
	struct test_mirror *tm = container_of(mirror, struct test_mirror, mirror);

	atomic_inc(&tm->calls);
	/* Callbacks can run concurrently; the last store wins. */
	WRITE_ONCE(tm->start, update->start);
	WRITE_ONCE(tm->end, update->end);
	WRITE_ONCE(tm->caller, current);
	if (tm->hook) {
		int ret = tm->hook(tm, update);

		if (ret)
			return ret;
	}
	if (mmu_notifier_range_blockable(update))
		mutex_lock(&tm->lock);
	else if (!mutex_trylock(&tm->lock))
		return -EAGAIN;
	remove_device_ptes(tm, update);
	mutex_unlock(&tm->lock);
	return 0;
}

static int sync_start(struct hmm_mirror *mirror,
		      const struct mmu_notifier_range *update,
		      struct hmm_mirror_pass *pass)
{
	struct test_mirror *tm = container_of(mirror, struct test_mirror, mirror);

	trace(tm->f, 'a' + (tm - tm->f->tm));
	pass->priv[0] = (unsigned long)tm;
	pass->priv[1] = ~(unsigned long)update;
	return sync(mirror, update);
}

static void sync_finish(struct hmm_mirror *mirror, struct hmm_mirror_pass *pass)
{
	struct test_mirror *tm = container_of(mirror, struct test_mirror, mirror);

	trace(tm->f, 'A' + (tm - tm->f->tm));
	atomic_inc(&tm->finishes);
	KUNIT_EXPECT_PTR_EQ(tm->f->test, (void *)pass->priv[0], (void *)tm);
	KUNIT_EXPECT_EQ(tm->f->test, pass->priv[1], ~(unsigned long)pass->update);
}

static void release(struct hmm_mirror *mirror)
{
	struct test_mirror *tm = container_of(mirror, struct test_mirror, mirror);

	atomic_inc(&tm->releases);
	if (tm->release_hook)
		tm->release_hook(tm);
	mutex_lock(&tm->lock);
	memset(tm->pte, 0, sizeof(tm->pte));
	mutex_unlock(&tm->lock);
}

/* Key of an empty invalidation, which holds the hashed slots in a crowded test. */
static const struct mmu_notifier_range *const no_key = (void *)-1L;

static void hashed_slots_fill(struct hmm_mirror_mm *hmm)
{
	unsigned int i;

	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		WRITE_ONCE(hmm->slot[i].key, no_key);
}

/* Register mirror i. Operations that the test has set are kept. */
struct test_mirror *hmmt_mirror(struct test_fixture *f, unsigned int i)
{
	struct test_mirror *tm = &f->tm[i];

	if (!tm->ops.sync_start)
		tm->ops.sync_cpu_device_pagetables = sync;
	tm->ops.release = release;
	tm->mirror.ops = &tm->ops;
	KUNIT_ASSERT_EQ(f->test, hmm_mirror_attach(&tm->mirror, f->mm), 0);
	f->hmm = tm->mirror.hmm;
	if (f->crowded)
		hashed_slots_fill(f->hmm);
	return tm;
}

/* Let mirror i have two passes; called before it is registered. */
void hmmt_two_pass(struct test_fixture *f, unsigned int i)
{
	f->tm[i].ops.sync_start = sync_start;
	f->tm[i].ops.sync_finish = sync_finish;
}

struct hmm_mirror_range *hmmt_range(struct test_fixture *f, unsigned int i,
				    unsigned int mirror, unsigned long start,
				    unsigned long end)
{
	struct hmm_mirror_range *range = &f->range[i];

	range->start = start;
	range->end = end;
	KUNIT_ASSERT_EQ(f->test,
			hmm_mirror_range_register(range, &f->tm[mirror].mirror), 0);
	return range;
}

/* Complete f->at, and let the callback wait for f->go. */
int hmmt_hook_pause(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	complete(&tm->f->at);
	wait_for_completion(&tm->f->go);
	return 0;
}

/* Wait until a callback is in hmmt_hook_pause(). */
void hmmt_arrives(struct test_fixture *f)
{
	KUNIT_ASSERT_TRUE(f->test, wait_for_completion_timeout(&f->at, hmmt_patience()));
}

int hmmt_hook_eagain(struct test_mirror *tm, const struct mmu_notifier_range *update)
{
	return mmu_notifier_range_blockable(update) ? 0 : -EAGAIN;
}

/* ---------------------------------------------------------------------- mm side */

int hmmt_start_only(struct test_fixture *f, const struct mmu_notifier_range *update)
{
	struct mmu_notifier *mn = &f->hmm->start;
	bool blockable = mmu_notifier_range_blockable(update);
	int ret;

	if (!blockable)
		non_block_start();
	ret = mn->ops->invalidate_range_start(mn, update);
	if (!blockable)
		non_block_end();

	/* The mm warns if one of these does not hold. */
	if (ret) {
		KUNIT_EXPECT_EQ(f->test, ret, -EAGAIN);
		KUNIT_EXPECT_FALSE(f->test, blockable);
		KUNIT_EXPECT_FALSE(f->test, mn->ops->invalidate_range_end);
	}
	return ret;
}

/*
 * Do the work of mn_hlist_invalidate_range_start(): if start fails, call the end of the
 * subscriptions that have one.
 */
int hmmt_start(struct test_fixture *f, const struct mmu_notifier_range *update)
{
	int ret;

	ret = hmmt_start_only(f, update);
	if (ret)
		hmmt_end(f, update);
	return ret;
}

void hmmt_end(struct test_fixture *f, const struct mmu_notifier_range *update)
{
	f->hmm->end.ops->invalidate_range_end(&f->hmm->end, update);
}

void hmmt_start_end(struct test_fixture *f, unsigned long start, unsigned long end)
{
	struct mmu_notifier_range update = hmmt_update(f, start, end);

	KUNIT_EXPECT_EQ(f->test, hmmt_start(f, &update), 0);
	hmmt_end(f, &update);
}

/* Do the work of mn_hlist_release(), as if the mm died. */
void hmmt_release(struct test_fixture *f)
{
	f->hmm->start.ops->release(&f->hmm->start, f->mm);
}

/* Return the number of invalidations in flight. */
unsigned int hmmt_in_flight(struct test_fixture *f)
{
	struct hmm_mirror_mm *hmm = f->hmm;
	unsigned int nr, i;

	spin_lock(&hmm->lock);
	nr = hmm->nr_busy;
	for (i = 0; i < HMM_MIRROR_HASHED; i++)
		nr += hmm->slot[i].key && hmm->slot[i].key != no_key;
	spin_unlock(&hmm->lock);
	return nr;
}

/* Let the worker make no more slots. Called first, there are HMMT_SLOTS. */
void hmmt_make_no_slots(struct test_fixture *f)
{
	spin_lock(&f->hmm->lock);
	f->hmm->make_after = jiffies + LONG_MAX / 2;
	spin_unlock(&f->hmm->lock);
}

/* Return the number of references other than those of the two subscriptions. */
unsigned int hmmt_users(struct test_fixture *f)
{
	struct hmm_mirror_mm *hmm = f->hmm;
	unsigned int nr;

	spin_lock(&hmm->lock);
	nr = hmm->users + hmm->nr_ranges;
	spin_unlock(&hmm->lock);
	return nr - 2;
}

/* ------------------------------------------------------------------- fault side */

/* Return true if begin() succeeds without a wait. */
bool hmmt_is_valid(struct hmm_mirror_range *range)
{
	unsigned long seq;

	return !hmm_mirror_range_begin(range, &seq, 0);
}

/* Return the sequence of a range that must be valid. */
unsigned long hmmt_begin(struct test_fixture *f, struct hmm_mirror_range *range)
{
	unsigned long seq = 0;

	KUNIT_EXPECT_EQ(f->test, hmm_mirror_range_begin(range, &seq, 0), 0);
	KUNIT_EXPECT_FALSE(f->test, hmm_mirror_range_retry(range, seq));
	return seq;
}

/* Install the pfns as device PTEs; a hmm_mirror_commit_fn. */
int hmmt_commit(struct hmm_mirror_range *range, unsigned long seq,
		const struct hmm_mirror_fault *fault, void *arg)
{
	struct test_mirror *tm = arg;
	unsigned long addr;
	int ret = -EBUSY;

	mutex_lock(&tm->lock);
	if (!hmm_mirror_range_retry(range, seq)) {
		for (addr = fault->start; addr < fault->end; addr += PAGE_SIZE)
			tm->pte[(addr - tm->base) >> PAGE_SHIFT] =
				fault->pfns[(addr - fault->start) >> PAGE_SHIFT];
		ret = 0;
	}
	mutex_unlock(&tm->lock);
	return ret;
}

/* Install addresses as device PTEs, for tests without pages. */
int hmmt_commit_fake(struct test_mirror *tm, struct hmm_mirror_range *range,
		     unsigned long seq)
{
	struct test_fixture *f = tm->f;
	unsigned int i;

	f->fault.start = range->start;
	f->fault.end = range->end;
	f->fault.pfns = f->pfns;
	for (i = 0; i < TEST_PAGES; i++)
		f->pfns[i] = range->start + P(i);
	return hmmt_commit(range, seq, &f->fault, tm);
}

bool hmmt_has_ptes(struct test_mirror *tm, unsigned long start, unsigned long end)
{
	unsigned long addr;

	for (addr = start; addr < end; addr += PAGE_SIZE) {
		if (tm->pte[(addr - tm->base) >> PAGE_SHIFT])
			return true;
	}
	return false;
}

/* -------------------------------------------------------------------- memory */

/* Allocate memory that ends at a guard page; once per test. */
void *hmmt_before_hole(struct test_fixture *f, size_t size)
{
	KUNIT_ASSERT_FALSE(f->test, f->guarded);
	f->guarded = vzalloc(PAGE_ALIGN(size));
	KUNIT_ASSERT_TRUE(f->test, f->guarded);
	return f->guarded + PAGE_ALIGN(size) - size;
}

/* Map anonymous memory: at @addr, replacing other mappings, or anywhere if @addr is 0. */
unsigned long hmmt_map(unsigned long addr, unsigned long pages, unsigned long prot)
{
	return vm_mmap(NULL, addr, P(pages), prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0), 0);
}

/* Register mirror 0 and range 0 for the memory at @addr, the result of vm_mmap(). */
static unsigned long mirrored(struct test_fixture *f, unsigned long addr)
{
	KUNIT_ASSERT_FALSE(f->test, IS_ERR_VALUE(addr));
	f->tm[0].base = addr;
	hmmt_mirror(f, 0);
	hmmt_range(f, 0, 0, addr, addr + P(TEST_MAPPED));
	hmmt_read(f, 0, TEST_MAPPED, HMM_PFN_REQ_FAULT);
	return addr;
}

/*
 * Map TEST_MAPPED pages, register them as range 0 of mirror 0, and let f->fault read all of
 * them. The thread uses f->mm until hmmt_unmapped().
 */
unsigned long hmmt_mapped(struct test_fixture *f, unsigned long prot)
{
	hmmt_mm_attach(f);
	return mirrored(f, hmmt_map(0, TEST_MAPPED, prot));
}

void hmmt_unmapped(struct test_fixture *f)
{
	unsigned long addr = f->tm[0].base;

	vm_munmap(addr, P(TEST_MAPPED));
	KUNIT_EXPECT_EQ(f->test, hmmt_in_flight(f), 0U);
	KUNIT_EXPECT_FALSE(f->test, hmmt_has_ptes(&f->tm[0], addr, addr + P(TEST_MAPPED)));
	hmmt_mm_detach(f);
}

struct test_slow hmmt_slow;

static vm_fault_t slow_fault(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;

	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		hmmt_slow.held = true;
		return VM_FAULT_SIGBUS;
	}
	if (hmmt_slow.block || (hmmt_slow.drop && !(vmf->flags & FAULT_FLAG_TRIED))) {
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;
		mmap_read_unlock(mm);
		hmmt_slow.dropped = true;
		if (hmmt_slow.reap)
			hmmt_mark_reaped(mm);
		if (hmmt_slow.block) {
			if (!hmmt_slow.task)
				hmmt_slow.task = get_task_struct(current);
			complete(&hmmt_slow.at);
			if (hmmt_slow.unkillable)
				wait_for_completion(&hmmt_slow.go);
			if (hmmt_slow.unkillable)
				wait_for_completion(&hmmt_slow.go);
			if (!wait_for_completion_killable(&hmmt_slow.go))
				hmmt_slow.block = false;
		}
		return VM_FAULT_RETRY;
	}
	hmmt_slow.faults[vmf->pgoff]++;
	vmf->page = hmmt_slow.page[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct slow_vm_ops = {
	.fault = slow_fault,
};

static int slow_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &slow_vm_ops;
	return 0;
}

static const struct file_operations slow_fops = {
	.owner = THIS_MODULE,
	.mmap = slow_mmap,
};

/* Do hmmt_mapped() for hmmt_slow; @flags is MAP_SHARED or MAP_PRIVATE. No CPU PTE exists yet. */
unsigned long hmmt_slow_mapped(struct test_fixture *f, unsigned long prot,
			       unsigned long flags)
{
	struct file *file;
	unsigned long addr;
	unsigned int i;

	memset(&hmmt_slow, 0, sizeof(hmmt_slow));
	init_completion(&hmmt_slow.at);
	init_completion(&hmmt_slow.go);
	for (i = 0; i < TEST_MAPPED; i++) {
		hmmt_slow.page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_TRUE(f->test, hmmt_slow.page[i]);
		*(u8 *)page_address(hmmt_slow.page[i]) = 's';
	}
	file = anon_inode_getfile("hmm_mirror_test", &slow_fops, NULL, O_RDWR);
	KUNIT_ASSERT_FALSE(f->test, IS_ERR(file));
	hmmt_mm_attach(f);
	addr = vm_mmap(file, 0, P(TEST_MAPPED), prot, flags, 0);
	hmmt_slow.mapping = file->f_mapping;
	fput(file);
	return mirrored(f, addr);
}

/* Remove a page from the CPU page table; the next access faults again. */
void hmmt_slow_zap(unsigned int page)
{
	unmap_mapping_range(hmmt_slow.mapping, P(page), PAGE_SIZE, 1);
}

void hmmt_slow_freed(void)
{
	unsigned int i;

	for (i = 0; i < TEST_MAPPED; i++)
		put_page(hmmt_slow.page[i]);
	if (hmmt_slow.task)
		put_task_struct(hmmt_slow.task);
}

void hmmt_slow_unmapped(struct test_fixture *f)
{
	hmmt_unmapped(f);
	hmmt_slow_freed();
}

/* Let f->fault describe @nr pages, from page @first of range 0. */
struct hmm_mirror_fault *hmmt_read(struct test_fixture *f, unsigned int first,
				   unsigned int nr, unsigned long flags)
{
	unsigned long addr = f->range[0].start;

	f->fault = (struct hmm_mirror_fault) {
		.start = addr + P(first),
		.end = addr + P(first + nr),
		.pfns = f->pfns,
		.default_flags = flags,
	};
	return &f->fault;
}

/* Install device PTEs of mirror 0 for the pages of f->fault. */
int hmmt_populate(struct test_fixture *f)
{
	return hmm_mirror_range_populate(&f->range[0], &f->fault, HMM_MIRROR_WAIT_FOREVER,
					 hmmt_commit, &f->tm[0]);
}

/* Access user memory as the CPU does. */
void hmmt_poke(struct test_fixture *f, unsigned long addr, u8 byte)
{
	int ret = put_user(byte, (u8 __user *)addr);

	KUNIT_EXPECT_EQ(f->test, ret, 0);
}

int hmmt_peek(unsigned long addr)
{
	u8 byte;

	return get_user(byte, (u8 __user *)addr) ? -EFAULT : byte;
}

/* Access a page as the device does: return its kernel address, or NULL without a device PTE. */
u8 *hmmt_device(struct test_mirror *tm, unsigned long addr)
{
	unsigned long pte = tm->pte[(addr - tm->base) >> PAGE_SHIFT];

	if (!(pte & HMM_PFN_VALID))
		return NULL;
	return (u8 *)page_address(hmm_pfn_to_page(pte)) + offset_in_page(addr);
}

int hmmt_device_peek(struct test_mirror *tm, unsigned long addr)
{
	u8 *byte = hmmt_device(tm, addr);

	return byte ? *byte : -EFAULT;
}

/* ------------------------------------------------------------------- threads */

static int run_thread(void *arg)
{
	struct test_thread *thread = arg;

	/* Kernel threads ignore all other signals. */
	allow_signal(SIGKILL);
	thread->ret = thread->fn(thread);
	complete(&thread->done);
	return 0;
}

static struct test_thread *thread_run(struct test_thread *thread)
{
	struct task_struct *task;

	init_completion(&thread->done);
	task = kthread_create(run_thread, thread, "hmm_mirror_test");
	KUNIT_ASSERT_FALSE(thread->f->test, IS_ERR(task));
	get_task_struct(task);
	thread->task = task;
	wake_up_process(task);
	return thread;
}

struct test_thread *hmmt_thread(struct test_fixture *f, unsigned int i,
				int (*fn)(struct test_thread *thread), void *arg)
{
	struct test_thread *thread = &f->thread[i];

	thread->f = f;
	thread->fn = fn;
	thread->arg = arg;
	return thread_run(thread);
}

static int wait_until_valid(struct test_thread *thread)
{
	thread->nvcsw = current->nvcsw;
	return hmm_mirror_range_begin(thread->range, &thread->seq,
				      thread->timeout_ms);
}

/* Let thread i wait for the range. hmmt_join() returns the result. */
struct test_thread *hmmt_waiter(struct test_fixture *f, unsigned int i,
				struct hmm_mirror_range *range,
				unsigned int timeout_ms)
{
	struct test_thread *thread = &f->thread[i];

	thread->f = f;
	thread->fn = wait_until_valid;
	thread->range = range;
	thread->timeout_ms = timeout_ms;
	return thread_run(thread);
}

/* Wait until the thread has ended, at most @timeout jiffies. Return its result. */
int hmmt_join_after(struct test_thread *thread, unsigned long timeout)
{
	if (!wait_for_completion_timeout(&thread->done, timeout)) {
		KUNIT_FAIL(thread->f->test, "a thread hangs");
		return -ETIMEDOUT;
	}
	kthread_stop(thread->task);
	put_task_struct(thread->task);
	thread->task = NULL;
	return thread->ret;
}

int hmmt_join(struct test_thread *thread)
{
	return hmmt_join_after(thread, hmmt_patience());
}

/* Set MMF_UNSTABLE, as the OOM reaper does. */
void hmmt_mark_reaped(struct mm_struct *mm)
{
#ifdef HMM_MIRROR_TEST_HAVE_MM_FLAGS_SET
	mm_flags_set(MMF_UNSTABLE, mm);
#else
	set_bit(MMF_UNSTABLE, &mm->flags);
#endif
}

static bool is_queued(struct hmm_mirror_slot *slot, const struct task_struct *task)
{
	struct wait_queue_entry *entry;
	bool found = false;

	spin_lock_irq(&slot->waiters.lock);
	list_for_each_entry(entry, &slot->waiters.head, entry)
		found |= entry->private == task;
	spin_unlock_irq(&slot->waiters.lock);
	return found;
}

/* Return true if the thread sleeps on a slot. */
bool hmmt_sleeps(struct test_thread *thread)
{
	struct hmm_mirror_mm *hmm = thread->f->hmm;
	struct hmm_mirror_waiter *w;
	bool queued = false;

	spin_lock(&hmm->lock);
	list_for_each_entry(w, &hmm->waiters, list)
		queued |= w->task == thread->task && w->slot && is_queued(w->slot, w->task);
	spin_unlock(&hmm->lock);
	return queued && task_state_to_char(thread->task) == 'D';
}

void hmmt_until_it_sleeps(struct test_thread *thread)
{
	KUNIT_EXPECT_TRUE(thread->f->test, hmmt_poll(hmmt_sleeps(thread)));
}

/* -------------------------------------------------------------------- suites */

#define with_these_and(what, last...)					\
	what(&hmm_mirror_suite, &hmm_mirror_wait_suite,			\
	     &hmm_mirror_races_suite, &hmm_mirror_model_suite,		\
	     &hmm_mirror_edges_suite, &hmm_mirror_many_suite,		\
	     &hmm_mirror_pfns_suite,					\
	     &hmm_mirror_blocked_suite,					\
	     &hmm_mirror_threads_suite, &hmm_mirror_mm_suite,		\
	     &hmm_mirror_dma_suite, &hmm_mirror_misuse_suite,		\
	     &hmm_mirror_debugfs_suite, &hmm_mirror_trace_suite, last)

/* The lockdep suite is last, because lockdep is off after it. */
#ifdef HMM_MIRROR_TEST_LEGACY
#define with_all_suites(what)						\
	with_these_and(what, &hmm_mirror_legacy_5_2_suite,		\
		       &hmm_mirror_legacy_5_3_suite,			\
		       &hmm_mirror_legacy_5_4_suite, &hmm_mirror_lockdep_suite)
#else
#define with_all_suites(what)	with_these_and(what, &hmm_mirror_lockdep_suite)
#endif

#ifndef BORROWED_MM

with_all_suites(kunit_test_suites);

#else

/*
 * kunit_test_suites() would run the suites before the init function of the module on 6.1, and
 * instead of it on 5.10.
 */
#define array_of_suites(suite...) \
	static struct kunit_suite *suites[] = { suite, NULL }

with_all_suites(array_of_suites);

#ifdef kunit_test_suites_for_module	/* until 5.17 */
#define with_suites(what)	what(suites)
#else
#define with_suites(what)	what(suites, ARRAY_SIZE(suites) - 1)
#endif

/* The suites run in here, while the process that loads the module sleeps. */
static int __init hmm_mirror_test_init(void)
{
	inserter_mm = current->mm;
	return with_suites(__kunit_test_suites_init);
}

static void __exit hmm_mirror_test_exit(void)
{
	with_suites(__kunit_test_suites_exit);
}

module_init(hmm_mirror_test_init);
module_exit(hmm_mirror_test_exit);

#endif /* BORROWED_MM */

MODULE_DESCRIPTION("KUnit tests for hmm_mirror");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(HMM_MIRROR_VERSION);
