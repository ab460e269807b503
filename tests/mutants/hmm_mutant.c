// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: mutants. Which one is on, and running the cases that may notice.
 *
 *	hmm_mutant=N		mutant N is on from the boot on
 *	hmm_mutant_file=PATH	of the host: a line for each mutant, with its number, and those
 *				of cases to run, "N 3 1 7"
 *
 * Without a file all cases are run without a mutant, and each says how long it takes and which
 * mutants it reaches; it has the number of its place there. KUnit's own filter can name one
 * case only, and in the order of the suites.
 *
 * A mutant is done with at the first case that fails. That one is run again without the mutant:
 * if it fails then, too, the mutant has spoilt the kernel, and all ends.
 */
#include <kunit/test.h>
#include <linux/bug.h>
#include <linux/debug_locks.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/reboot.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/mmu_notifier.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <asm/sections.h>
#include <os.h>

#include "hmm_mutant.h"
#include "internal.h"

/* Of all suites, by the linker. */
extern struct kunit_suite * const __kunit_suites_start[];
extern struct kunit_suite * const __kunit_suites_end[];

int hmm_mutant_nr;
u8 hmm_mutant_reached[HMM_MUTANTS];

static char *path;

static int __init set_nr(char *text)
{
	return !kstrtoint(text, 0, &hmm_mutant_nr);
}
__setup("hmm_mutant=", set_nr);

static int __init set_path(char *text)
{
	path = text;
	return 1;
}
__setup("hmm_mutant_file=", set_path);

static void print_reached(const char *what)
{
	char text[500];
	unsigned int i, at = 0;

	for (i = 0; i < HMM_MUTANTS; i++) {
		if (hmm_mutant_reached[i])
			at += scnprintf(text + at, sizeof(text) - at, " %u", i);
		hmm_mutant_reached[i] = 0;
		if (at > sizeof(text) - 20 || (at && i == HMM_MUTANTS - 1)) {
			pr_info("hmm_mutant: %s reaches%s\n", what, text);
			at = 0;
		}
	}
}

/* A suite of this case alone. */
static bool run(const struct kunit_suite *suite, const struct kunit_case *test_case)
{
	struct kunit_suite *one = kmemdup(suite, sizeof(*suite), GFP_KERNEL);
	struct kunit_case *two = kcalloc(2, sizeof(*two), GFP_KERNEL);

	if (!one || !two)
		return false;
	two[0] = *test_case;
	one->test_cases = two;
	kunit_run_tests(one);
	return two[0].status != KUNIT_FAILURE && one->status != KUNIT_FAILURE;
}

/* Run case @wanted, or all. */
static bool find_and_run(int wanted)
{
	struct kunit_suite * const *suite;
	struct kunit_case *test_case;
	char what[100];
	int nr = 0;

	for (suite = __kunit_suites_start; suite < __kunit_suites_end; suite++) {
		if (!strstarts((*suite)->name, "hmm_mirror"))
			continue;
		kunit_suite_for_each_test_case((*suite), test_case) {
			u64 since = ktime_get_ns();
			bool good;

			if (wanted >= 0 && nr++ != wanted)
				continue;
			good = run(*suite, test_case);
			snprintf(what, sizeof(what), "%s.%s", (*suite)->name, test_case->name);
			pr_info("hmm_mutant: case %s %s us %llu\n", what,
				good ? "passed" : "failed",
				(ktime_get_ns() - since) / NSEC_PER_USEC);
			if (wanted >= 0)
				return good;
			print_reached(what);
		}
	}
	return wanted < 0;
}

/* What a mutant has left behind it finds without it, and what warns once, warns again. */
static void settle(void)
{
	hmm_mutant_nr = 0;
	mmu_notifier_synchronize();
	if (hmm_mirror_wq)
		flush_workqueue(hmm_mirror_wq);
	generic_bug_clear_once();
	memset(__start_once, 0, __end_once - __start_once);
}

/* Whether the kernel is good for another one. */
static bool run_mutant(char *line)
{
	bool at_boot = hmm_mutant_nr;
	char *text = strsep(&line, " ");
	int nr, wanted = -1;
	bool good = true;

	if (kstrtoint(text, 10, &nr))
		return false;
	pr_info("hmm_mutant: begin %d\n", nr);
	hmm_mutant_nr = nr;
	while (good && (text = strsep(&line, " ")))
		good = !kstrtoint(text, 10, &wanted) && find_and_run(wanted);
	if (!at_boot)
		settle();
	pr_info("hmm_mutant: %s %d\n", good ? "survives" : "killed", nr);
	return !at_boot && debug_locks && (good || find_and_run(wanted));
}

#define FILE_SIZE	SZ_256K

static char *read_batch(void)
{
	char *text = kzalloc(FILE_SIZE, GFP_KERNEL);
	int fd = os_open_file(path, of_read(OPENFLAGS()), 0);
	int at = 0, got;

	if (!text || fd < 0)
		return NULL;
	while (at < FILE_SIZE - 1 && (got = os_read_file(fd, text + at, FILE_SIZE - 1 - at)) > 0)
		at += got;
	os_close_file(fd);
	return text;
}

static int __init hmm_mutant_run(void)
{
	bool good = true;
	char *text, *line;

	if (!path) {
		print_reached("boot");
		find_and_run(-1);
	} else {
		text = read_batch();
		while (good && (line = strsep(&text, "\n")) && *line)
			good = run_mutant(line);
	}
	pr_info("hmm_mutant: end\n");
	kernel_power_off();
	return 0;
}
late_initcall_sync(hmm_mutant_run);
