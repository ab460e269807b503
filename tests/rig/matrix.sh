#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# matrix.sh: test the modules on many kernels. For each kernel, build them with W=1 and boot
# virtual machines: for the demo and the drivers of 2019, for the suite of tests/user, for
# DMA behind an IOMMU, for failing allocations if the kernel can inject them, and for the
# KUnit suites, which provoke warnings and end lockdep. The last lines are a table.
# Environment:
#
#   KERNELS="7.3 stock-6.12"	names for built.sh; stock- and a version for kernels.sh;
#				arm64 and arm64-64k
#   LINUX=DIR			kernel tree for built.sh

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/torture_lib.sh"

kernels=${KERNELS:-5.10 6.1 6.12 7.2 7.3 5.10-debug 7.3-debug 6.12-kcsan
	stock-5.10 stock-6.1 stock-6.12 stock-6.12-rt arm64 arm64-64k}

main()
{
	local name
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" coccinelle
	printf '%-13s %-8s %6s %6s %7s %7s\n' kernel suite passed failed skipped seconds >"$work/table"
	for name in $kernels; do
		say "kernel: $name"
		collect "$name" < <(results "$name")
	done
	comment <"$work/table"
	[[ ! -e $work/failed ]]
}

# results NAME: print the results of one kernel. "suite: SUITE" begins those of a suite.
results()
{
	local rc
	set +e
	case $1 in
	arm64*)	(set -e; arm64 "$1") ;;
	*)	(set -e; x86 "$1") ;;
	esac
	rc=$?
	((rc == 0)) || echo "ended with status $rc"
}

x86()
{
	local dir built driver canary=() rc=0

	echo "suite: build"
	case $1 in
	stock-*)	dir=$("$rig/kernels.sh" stock "${1#stock-}") ;;
	*)		dir=$("$rig/built.sh" "$1") ;;
	esac
	built=$("$rig/build.sh" "$dir")
	holds "build: W=1 builds without a warning" no_warning "$built"
	holds "build: to_native.cocci converts a driver" to_native "$work/native-$1"
	holds "build: the converted driver builds" build_native "$work/native-$1" "$dir" "$built"

	echo "suite: install"
	"$rig/install.sh" "$dir" || rc=$?

	echo "suite: user"
	if [[ $1 == *-debug ]]; then
		step "building the canary" build_canary
		canary=(canary.sh)
	fi
	boot "$1" user "" "${canary[@]}" tests.sh vram.sh legacy.sh || rc=$?
	instruments "$1"

	echo "suite: suite"
	boot "$1" suite secretmem.enable=1 suite.sh || rc=$?

	# Test these on an old and a new kernel.
	case $1 in
	stock-5.10 | stock-6.12)
		for driver in legacy_5_{2,3,4}; do
			echo "suite: $driver"
			boot "$1" suite "secretmem.enable=1 driver=$driver" suite.sh || rc=$?
		done ;;
	esac

	echo "suite: dma"
	boot "$1" dma intel_iommu=on dma.sh || rc=$?

	case $1 in
	*-debug)
		echo "suite: faults"
		build_program hmm_fail_nth
		boot "$1" faults "" fail_nth.sh || rc=$? ;;
	esac

	# Stock kernels have no KUnit.
	if [[ -e $built/tests/hmm_mirror_test.ko ]]; then
		echo "suite: kunit"
		boot "$1" kunit "intel_iommu=on panic_on_warn=0" kunit.sh >"$work/kunit" || rc=$?
		cat "$work/kunit"
		holds "kunit: all suites were run" all_suites "$work/kunit" "$built/tests/hmm_mirror_test.ko"
	fi
	return $rc
}

# no_warning DIR: check for warnings in the module's files, whose names make prints without a
# directory. Headers of the kernel may warn at W=1.
no_warning()
{
	! grep -E ' warning: |^WARNING: |objtool:' "$1/build.log" | grep -v '^[^ ]*/include/'
}

# boot NAME SUITE APPEND SCRIPT...: the scripts are in vm/.
boot()
{
	local name=$1 suite=$2 append=$3 memory=1024 program add=()
	# A KUnit case can take minutes on an emulated KCSAN kernel.
	local patience=sysctl.kernel.hung_task_timeout_secs=900
	shift 3
	case $name in
	*-debug)	memory=2048 ;;
	# With the default, a fault takes so long that the memory always changes meanwhile.
	*-kcsan)	[[ $suite == kunit ]] || append+=" kcsan.skip_watch=8000" ;;
	esac
	for program in "$built"/samples/* "$built"/tests/user/*; do
		[[ ! -f $program || ! -x $program || ${program##*/} == *.* ]] || add+=(--add "$program")
	done
	[[ $suite != faults ]] || add+=(--add "$work/hmm_fail_nth")
	[[ " $* " != *" canary.sh "* ]] || add+=(--add "$work/canary/canary.ko")
	# See vm_tests.sh.
	if [[ $append == *intel_iommu=on* ]]; then
		add+=(--qemu "-machine q35 -device intel-iommu,intremap=off -device edu")
	fi
	[[ $name:$suite != stock-*:suite ]] ||
		add+=(--stock-modules "$("$rig/kernels.sh" modules "${name#stock-}")")
	"$rig/vm.sh" --kernel "$dir" --modules "$built" "${add[@]}" \
		--append "numa=fake=2 log_buf_len=16M $patience $append" --memory $memory --timeout 1800 \
		--log "$cache/matrix-$name-$suite.log" --run "${@/#/$rig/vm/}"
}

# instruments NAME: check that the debugging options of a kernel are on, by its boot messages.
instruments()
{
	local text log=$cache/matrix-$1-user.log
	case $1 in
	*-debug)	set -- KernelAddressSanitizer 'Lock dependency validator' \
				'Kernel memory leak detector' 'DMA-API: debugging enabled' \
				'UBSAN: shift-out-of-bounds' 'UBSAN: array-index-out-of-bounds' \
				'UBSAN: invalid-load' ;;
	*-kcsan)	set -- 'kcsan: enabled early' 'kcsan: strict mode' ;;
	*-rt)		set -- 'Linux version .* PREEMPT_RT' ;;
	*)		set -- ;;
	esac
	for text; do
		holds "instruments: $text" grep "$text" "$log"
	done
	[[ ${1-} != Kernel* ]] || holds "instruments: a report of UBSAN is a failure" ubsan_is_fatal "$log"
}

# ubsan_is_fatal LOG: check that klog.awk reports UBSAN without the markers of the canary.
ubsan_is_fatal()
{
	! awk -f "$rig/klog.awk" <(sed '/expect-begin UBSAN/,/expect-end/!d; /expect-/d' "$1")
}

# Build a module with bugs for UBSAN. The elements that are out of bounds are inside of the
# object, so KASAN does not report them.
build_canary()
{
	mkdir -p "$work/canary" &&
	echo 'obj-m := canary.o' >"$work/canary/Kbuild" &&
	cat >"$work/canary/canary.c" <<-'END' &&
		#include <linux/module.h>

		static struct { int array[2], beyond[2]; } object;
		static volatile unsigned int bits = 64, beyond = 2;
		static unsigned long word = 1;
		static bool yes;

		static int __init canary_init(void)
		{
			pr_info("hmm_mirror_test: expect-begin UBSAN\n");
			*(volatile u8 *)&yes = 2;
			word <<= bits;
			object.array[beyond] = READ_ONCE(yes);
			pr_info("hmm_mirror_test: expect-end\n");
			return 0;
		}

		static void __exit canary_exit(void)
		{
		}

		module_init(canary_init);
		module_exit(canary_exit);
		MODULE_LICENSE("GPL");
	END
	make -C "$dir/headers" M="$work/canary" modules
}

# all_suites RESULTS MODULE: check that all suites of the module ran. The machine checks that all
# their cases did.
all_suites()
{
	local run linked
	run=$(grep -c '^# suite ' "$1")
	linked=$(nm "$2" | grep -cE ' [dD] [a-z0-9_]+_suite$')
	echo "$run of $linked"
	((run == linked && run > 0))
}

arm64()
{
	local pages=4K
	[[ $1 != *-64k ]] || pages=64K
	echo "suite: kunit"
	# "make kunit" locks another tree.
	UML=7.2 PAGES=$pages KUNIT_TIMEOUT=1800 "$rig/kunit.sh"
}

# collect KERNEL: show the results on stdin, and write them to the table.
collect()
{
	local kernel=$1 suite=rig passed=0 failed=0 skipped=0 any=0 began=$SECONDS line
	while IFS= read -r line; do
		case $line in
		"suite: "*)
			row
			suite=${line#*: } passed=0 failed=0 skipped=0 began=$SECONDS
			continue
			;;
		"ended with status "*)
			# Another failure explains this one.
			((any == 0)) || continue
			line="not ok - $suite: $line"
			;;
		esac
		case $line in
		"ok - "*" # SKIP"*)	: $((skipped++)) ;;
		"ok - "*)		: $((passed++)) ;;
		"not ok - "*)		: $((failed++)) $((any++)) ;;
		*)			echo "$line"; continue ;;
		esac
		echo "${line%%ok - *}ok - $kernel: ${line#*ok - }"
	done
	row
	((any == 0)) || touch "$work/failed"
}

row()
{
	((passed + failed + skipped == 0)) ||
		printf '%-13s %-8s %6d %6d %7d %7d\n' "$kernel" "$suite" $passed $failed $skipped \
			$((SECONDS - began)) >>"$work/table"
}

main
