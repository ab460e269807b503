#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check.sh STAGE...: run the stages (static, series, prove, docs, install, kunit, kunit-6.12,
# mutants-sample, vm, suite, torture, matrix, package, mutants, coverage), number and count
# their results. TAP version 14; the last line has the totals. A stage that ends early or has no
# result is a failure, and so is a run without a test.

. "$(dirname "$0")/lib.sh"

passed=0 failed=0 skipped=0

main()
{
	local name

	echo "TAP version 14"
	for name; do
		say "stage: $name"
		count < <(stage "$name")
	done
	echo "1..$((passed + failed + skipped))"
	say "done"
	totals
	((failed == 0 && passed > 0))
}

stage()
{
	local script=$rig/$1.sh rc=0
	case $1 in
	static | series | prove | docs | install | kunit | suite | torture | matrix | package | mutants | coverage) ;;
	vm)		script=$rig/vm_tests.sh ;;
	kunit-6.12)	script=kunit_6_12 ;;
	mutants-sample)	script=mutants_sample ;;
	*)		die "unknown stage $1" ;;
	esac
	"$script" </dev/null | tee "$work/$1" || rc=$?
	if ((rc)) && ! grep -q '^not ok' "$work/$1"; then
		not_ok "$1: the stage ended with status $rc"
	elif [[ ! -s $work/$1 ]]; then
		not_ok "$1: the stage gave no results"
	fi
}

# The same suites on an older kernel, which has one CPU.
kunit_6_12()
{
	UML=6.12 "$rig/kunit.sh" | sed 's/- kunit: /- kunit 6.12: /'
}

# A part of "mutants" that takes two minutes.
mutants_sample()
{
	"$rig/mutants.sh" --sample 60
}

# Number the results on stdin. Other lines become comments.
count()
{
	local line
	while IFS= read -r line || [[ $line ]]; do
		case $line in
		"ok - "*" # SKIP"*)	: $((skipped++)) ;;
		"ok - "*)		: $((passed++)) ;;
		"not ok - "*)		: $((failed++)) ;;
		"#"*)			echo "$line"; continue ;;
		*)			echo "# $line"; continue ;;
		esac
		echo "${line/ok -/ok $((passed + failed + skipped)) -}"
	done
}

totals()
{
	local line="$passed passed, $failed failed"
	((skipped == 0)) || line+=", $skipped skipped"
	echo "$line"
}

main "$@"
