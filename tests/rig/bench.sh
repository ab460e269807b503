#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench.sh [instructions] [time]: measure hmm_mirror beside other schemes; both of them if
# none is named.
#
#   instructions	in an emulator that counts them: the same on every machine and in
#			every run
#   time		with two CPUs: nanoseconds, and how long device faults wait. Where
#			KVM does not work they are those of an emulator
#
# Both on a stock kernel, with the core as a module.
#
# In the environment:
#
#   SOURCES=DIR		measure the core in DIR instead of this repository's
#   QUICK=1		less of it
#   BENCH_OUT=FILE	where to leave the results as JSON, and a plot beside it
#   KERNEL=6.12		the stock kernel
#
# A target that is not reached is a result, and no failure.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

out=${BENCH_OUT:-$cache/bench/bench.json}
core=${SOURCES:-$repo}
quick=0

main()
{
	local part stock
	[[ ! ${QUICK-} ]] || quick=1
	(($#)) || set -- instructions time

	mkdir -p "$cache/bench"
	lock bench
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" "${packages_bench[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	modules
	for part; do
		case $part in
		instructions)	measure "$part" "counting instructions" 0 --count yes ;;
		time)		measure "$part" "measuring time" 1 ;;
		*)		die "bench.sh: what is $part?" ;;
		esac
	done
	report "$@"
}

modules()
{
	mkdir "$work/modules"
	sync_sources "$core" "$work/modules"
	# sources() knows nothing of it
	mkdir -p "$work/modules/tests"
	cp -r "$repo/tests/bench" "$work/modules/tests/"
	echo 'obj-m += tests/bench/' >>"$work/modules/Kbuild"
	step "building the modules for $(<"$stock/release")" build_modules
}

# The symbols that are missing are looked up at run time.
build_modules()
{
	make -C "$stock/headers" M="$work/modules" -j"$(nproc)" CONFIG_SAMPLE_HMM_GPU=n \
		CONFIG_HMM_MIRROR_KUNIT_TEST=n KBUILD_MODPOST_WARN=1 modules
}

# measure PART TEXT TIME OPTION...
measure()
{
	local part=$1 text=$2
	shift 2
	step "$text" run "$work/$part" "$@" || die "no results of $part"
}

# run RESULTS TIME OPTION...
run()
{
	local results=$1 time=$2 log=$1.log vm rc=0
	shift 2
	: >"$log"
	"$rig/vm.sh" --kernel "$stock" --modules "$work/modules" --log "$log" --timeout 1500 \
		--append "mitigations=off bench_quick=$quick bench_time=$time" "$@" \
		--run "$rig/vm/bench.sh" &
	vm=$!
	# what it prints is a sign of life
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
	local logs=() part plot=${out%.json} options=(--json "$out" --plot "$work/plot")
	for part; do logs+=("$part=$work/$part"); done
	[[ ! -e $work/time.log ]] || grep -q 'Hypervisor detected: KVM' "$work/time.log" ||
		options+=(--emulated)
	"$rig/bench_report.py" "${options[@]}" "${logs[@]}"
	step "drawing" gnuplot -e "output='$plot.svg'" "$work/plot"
	say "also in $out and $plot.svg"
}

main "$@"
