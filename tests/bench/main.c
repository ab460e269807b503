// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark runs when the module is loaded, and prints its results:
 *
 *	bench: ROW SCHEME RANGES BEST MEDIAN
 *
 * Costs are in hundredths of a nanosecond, or of an instruction if an emulator counts
 * instructions.
 */
#define pr_fmt(fmt) "bench: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include "bench.h"

bool bench_quick;
module_param_named(quick, bench_quick, bool, 0444);
MODULE_PARM_DESC(quick, "Measure fewer rounds (default N)");

bool bench_time;
module_param_named(time, bench_time, bool, 0444);
MODULE_PARM_DESC(time, "Measure time, on two CPUs, instead of instructions (default N)");

/* QEMU's -icount makes the time stamp counter count instructions. */
u64 bench_now(void)
{
	return bench_time ? ktime_get_ns() : get_cycles();
}

void bench_print(const char *row, const char *scheme, unsigned int nr, s64 best, s64 median)
{
	pr_info("%s %s %u %lld %lld\n", row, scheme, nr, best, median);
}

struct bench_space *bench_space_new(const struct bench_scheme *scheme, unsigned int ranges)
{
	struct bench_space *space = kzalloc(sizeof(*space), GFP_KERNEL);

	if (!space)
		return NULL;
	space->scheme = scheme;
	mutex_init(&space->lock);
	/* Zeroed memory is present, so no page fault is measured. */
	if (scheme->tracks)
		space->ranges = kvcalloc(ranges, BENCH_STRIDE, GFP_KERNEL);
	space->mm = mm_alloc();
	if (space->mm)
		space->mm->task_size = TASK_SIZE;
	if (space->mm && !space->ranges == !scheme->tracks && !scheme->attach(space))
		return space;

	pr_err("cannot attach %s\n", scheme->name);
	if (space->mm)
		mmput(space->mm);
	kvfree(space->ranges);
	kfree(space);
	return NULL;
}

/* Free @space, whose ranges are all unregistered. */
void bench_space_free(struct bench_space *space)
{
	space->scheme->detach(space);
	mmput(space->mm);
	kvfree(space->ranges);
	kfree(space);
}

static DECLARE_COMPLETION(finished);

static int bench_thread(void *unused)
{
	int ret;

	/* Wait until the boot is over. If an emulator counts instructions, this takes no time. */
	if (!bench_time)
		msleep(10 * MSEC_PER_SEC);
	pr_info("begin\n");
	ret = bench_calls();
	if (!ret && !bench_time)
		ret = bench_populate();
	if (!ret && !bench_time)
		ret = bench_memory();
	if (!ret && bench_time)
		ret = bench_threads();
	if (!ret && bench_time)
		ret = bench_holds();
	if (ret)
		pr_info("failed: %d\n", ret);
	else
		pr_info("done\n");
	complete(&finished);
	return 0;
}

static int __init bench_init(void)
{
	struct task_struct *task;
	int ret = bench_unexported();

	if (ret)
		return ret;
	task = kthread_create(bench_thread, NULL, "bench");
	if (IS_ERR(task))
		return PTR_ERR(task);
	kthread_bind(task, 0);
	wake_up_process(task);
	wait_for_completion(&finished);
	return 0;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
}
module_exit(bench_exit);

MODULE_DESCRIPTION("Benchmark of hmm_mirror");
MODULE_LICENSE("GPL");
