#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kunit.sh [FILTER]: run the KUnit suites (those that match FILTER) on User Mode
# Linux, with lockdep and, if the kernel supports it, two CPUs. Environment:
#
#   UML=6.12		the kernel version (default: the newest available)
#   PAGES=64K		emulate arm64 instead, with pages of 4K or 64K
#   SOURCES=DIR		test the sources in DIR instead of this repository's
#   KUNIT_TIMEOUT=600	timeout of the whole run, in seconds
#   COVERAGE=yes		count the executed lines, see coverage.sh

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local source tree build config smp='' arch=um cross='' image=linux

	need "${packages_kunit[@]}"
	if [[ ${PAGES-} ]]; then
		need "${packages_arm64[@]}"
		arch=arm64 cross=aarch64-linux-gnu- image=Image.gz
	fi
	if [[ ${UML-} ]]; then
		source=$("$rig/kernels.sh" source "$UML")
	else
		source=$("$rig/kernels.sh" newest)
	fi
	# The copy has one graft at a time.
	lock "uml-${source##*/}"
	tree=$("$rig/graft.sh" --copy "$source" core kunit sample legacy)
	say "KUnit runs on Linux $(make -s -C "$tree" kernelversion)"

	config=("$rig/configs/um.config")
	if [[ $arch == arm64 ]]; then
		smp=yes
		config+=("$rig/configs/arm64.config" "$rig/configs/arm64-$PAGES.config")
	elif grep -q '^config SMP' "$tree/arch/um/Kconfig"; then
		smp=yes
		config+=("$rig/configs/um-smp.config")
	else
		config+=("$rig/configs/um-up.config")
	fi
	if [[ ${COVERAGE-} ]]; then
		sed '/DEBUG_INFO_NONE/d' "${config[0]}" >"$work/um.config"
		config[0]=$work/um.config
		config+=("$rig/configs/um-gcov.config")
	fi
	build=$cache/${arch/%um/uml}/${tree##*/}-$(cat "${config[@]}" <("${cross}gcc" --version; echo "$tree") | digest)
	mkdir -p "$build"
	build
	run "$@"
	report
}

kunit_py()
{
	local command=$1
	shift
	"$tree/tools/testing/kunit/kunit.py" "$command" --build_dir="$build" \
		--arch=$arch --cross_compile=$cross "$@"
}

# Do not let kunit.py build: it shows no progress for minutes, and its configuration of a real
# machine is large.
build()
{
	local cc="CC=ccache ${cross}gcc" args=() file
	local make=(make -C "$tree" "ARCH=$arch" "CROSS_COMPILE=$cross" "O=$build" "$cc")
	if [[ $arch == um ]]; then
		for file in "${config[@]}"; do
			args+=("--kunitconfig=$file")
		done
		step "configuring the KUnit kernel" \
			kunit_py config --make_options="$cc" "${args[@]}"
	else
		cat "${config[@]}" >"$work/fragment"
		step "configuring the KUnit kernel" \
			"${make[@]}" KCONFIG_ALLCONFIG="$work/fragment" allnoconfig
		configured "$tree" "$work/fragment" "$build/.config"
	fi
	step "building the KUnit kernel" "${make[@]}" -j"$(nproc)" $image
}

run()
{
	local args=("--kernel_args=uml_dir=$work/")
	[[ -z $smp ]] || args+=(--kernel_args=ncpus=2 --kernel_args=seccomp=on)
	# The last -cpu counts. Without pauth-impdef the emulation takes twice the time.
	[[ $arch == um ]] || args=("--qemu_args=-smp 2 -cpu max,pauth-impdef=on")
	! shm_is_small 512 || export TMPDIR=$work

	rm -f "$build/test.log" "$build/results.json" "$build/failed"
	step "running KUnit" run_kunit --json="$build/results.json" --timeout="${KUNIT_TIMEOUT:-600}" "${args[@]}" "$@"
}

# A failed test is a result, which report() prints.
run_kunit()
{
	kunit_py exec "$@" || touch "$build/failed"
}

report()
{
	local log=$build/test.log cases=

	if [[ -s $build/results.json ]]; then
		cases=$(python3 "$rig/kunit2tap.py" "$build/results.json" "$log")
		echo "$cases"
		grep -E -A 7 'EXPECTATION FAILED|ASSERTION FAILED' "$log" | head -n 100 | comment || :
	fi
	holds "kunit: tests were run" test -n "$cases"
	[[ ! -e $build/failed || $cases == *"not ok"* ]] || not_ok "kunit: kunit.py succeeds"
	holds "kunit: lockdep is on" grep -q 'Lock dependency validator' "$log"
	[[ -z $smp ]] || holds "kunit: two CPUs are on" grep -q 'smp: Brought up 1 node, 2 CPUs' "$log"
	holds "kunit: no warning in the kernel log" awk -f "$rig/klog.awk" "$log"
	holds "kunit: the kernel's source is unchanged" no_graft "$source"
	[[ ! ${COVERAGE-} ]] || echo "# coverage: $build"
	say "the kernel log is $log"
}

# no_graft TREE
no_graft()
{
	! find "$1"/{mm,include/linux,Documentation/[mv]m} -name 'hmm_mirror*' | grep . &&
		! grep hmm_mirror "$1"/mm/{Makefile,Kconfig} "$1"/Documentation/[mv]m/index.rst
}

main "$@"
