#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# coverage.sh [PERCENT]: run the KUnit suites with gcov, and print how many lines of each file
# of the core they execute, and which lines they do not. Each file must reach PERCENT (95).
# Builds a kernel of its own.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local least=${1:-95} build file

	need "${packages_kunit[@]}" gdb
	COVERAGE=yes "$rig/kunit.sh" >"$work/kunit" || :
	! grep '^not ok' "$work/kunit" || exit 1
	build=$(sed -n 's/^# coverage: //p' "$work/kunit")

	find "$build" -name '*.gcda' -delete
	step "running KUnit again, for the counters" run
	for file in hmm_{mirror,invalidate,fault,read,wait,part,lookup,range,tree,slot,filter,mm}; do
		holds "coverage: $file.c is at $least% or above" covered "$file"
		comment <"$work/$file.percent"
		grep -hE '^ *#####:' "$work/$file.c.gcov" | comment || :
	done
}

# Since gcc 7 a destructor writes the counters, but the linker script of User Mode Linux
# discards it. So call it.
run()
{
	cat >"$work/gdb" <<-END
		set breakpoint pending on
		handle all nostop noprint pass
		handle SIGTRAP stop nopass
		break exit
		run
		call (void)__gcov_exit()
		kill
	END
	timeout 600 gdb -q -batch -x "$work/gdb" --args "$build/linux" mem=256M \
		ncpus=2 seccomp=on kunit.enable=1 kunit_shutdown=halt "uml_dir=$work/"
}

# covered FILE
covered()
{
	(cd "$work" && gcov -o "$build/mm/hmm_mirror/$1.gcda" "$1.c" >"$work/gcov" 2>&1)
	awk -v file="$1.c'" -v least="$least" '
		/^File / { ours = index($0, file) }
		ours && sub(/^Lines executed:/, "") {
			print
			enough = ($1 + 0 >= least)
			exit
		}
		END { exit !enough }
	' "$work/gcov" | tee "$work/$1.percent"
}

main "$@"
