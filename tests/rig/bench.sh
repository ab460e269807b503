#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench.sh [instructions] [time]: compare hmm_mirror with other schemes; both parts by default.
#
#   instructions	on a stock kernel, in an emulator that counts instructions: the same
#			result on every machine and in every run
#   time		on User Mode Linux with two CPUs: nanoseconds, and how long device
#			faults wait
#
# In both parts the core is a module. Environment:
#
#   SOURCES=DIR		measure the core in DIR instead of this repository's
#   QUICK=1		measure fewer rounds
#   BENCH_OUT=FILE	where to store the results as JSON, with a plot in the same directory
#   KERNEL=6.12		the stock kernel
#
# A target that is not reached is a result, not a failure.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

out=${BENCH_OUT:-$cache/bench/bench.json}
core=${SOURCES:-$repo}
quick=0

main()
{
	local part kernel
	[[ ! ${QUICK-} ]] || quick=1
	(($#)) || set -- instructions time

	mkdir -p "$cache/bench"
	lock bench
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" "${packages_bench[@]}"
	for part; do
		case $part in
		instructions)
			kernel=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
			measure "$part" x86 "counting instructions" 0 --count yes
			;;
		time)
			kernel=$("$rig/uml.sh")
			measure "$part" um "measuring time" 1
			;;
		*)	die "bench.sh: unknown part $part" ;;
		esac
	done
	report "$@"
}

# measure PART ARCH TEXT TIME OPTION...
measure()
{
	local part=$1 arch=$2 text=$3
	shift 3
	step "building the modules for $(<"$kernel/release")" modules "$work/modules-$part" "$arch"
	step "$text" run "$part" "$@" || die "no results of $part"
}

# modules DIR ARCH: build the modules, with the flags of the kernel, see uml.sh. Symbols that the
# kernel does not export are looked up at run time.
modules()
{
	local flags=
	[[ ! -e $kernel/first.h ]] || flags="-include $kernel/first.h"
	mkdir -p "$1/tests" &&
		sync_sources "$core" "$1" &&
		cp -r "$repo/tests/bench" "$1/tests/" &&
		echo 'obj-m += tests/bench/' >>"$1/Kbuild" &&
		make -C "$kernel/headers" ARCH="$2" M="$1" -j"$(nproc)" KCFLAGS="$flags" \
			CONFIG_HMM_MIRROR_CORE=m \
			CONFIG_SAMPLE_HMM_GPU=n CONFIG_HMM_MIRROR_KUNIT_TEST=n KBUILD_MODPOST_WARN=1 modules
}

# run PART TIME OPTION...
run()
{
	local results=$work/$1 time=$2 log=$work/$1.log vm rc=0
	set -- --modules "$work/modules-$1" "${@:3}"
	: >"$log"
	"$rig/vm.sh" --kernel "$kernel" --log "$log" --timeout 1500 \
		--append "mitigations=off bench_quick=$quick bench_time=$time" "$@" \
		--run "$rig/vm/bench.sh" &
	vm=$!
	# Print results as they come, to show progress.
	tail -n +1 -f --pid=$vm "$log" | results | tee "$results"
	wait $vm || rc=$?
	grep -qx 'done' "$results" && ((rc == 0))
}

results()
{
	tr -d '\r' | sed -un 's/^\(\[[^]]*\] \)\?bench: //p'
}

report()
{
	local logs=() part plot=${out%.json}.svg
	for part; do logs+=("$part=$work/$part"); done
	"$rig/bench_report.py" --json "$out" --plot "$plot" "${logs[@]}"
	say "also in $out and $plot"
}

main "$@"
