#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# uml.sh: build the newest kernel for User Mode Linux with two CPUs, for measurements of time.
# Prints its directory in the cache, with the layout of "kernels.sh stock", but with linux, which
# vm.sh runs, instead of vmlinuz. Modules are built with ARCH=um.
#
# By default User Mode Linux has slower barriers than a kernel of the processor needs, and per-CPU
# operations that block signals. Both would cost as much as the measured functions. So each file
# includes configs/um-bench.h first.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local tree build config=$rig/configs/um-bench
	need "${packages_kunit[@]}"
	tree=$("$rig/kernels.sh" newest)
	grep -q '^config SMP' "$tree/arch/um/Kconfig" ||
		die "User Mode Linux has several CPUs from 7.3 on, and there is no source of it"

	# The copy has one graft at a time.
	lock "uml-${tree##*/}"
	tree=$("$rig/graft.sh" --copy "$tree" core)
	build=$cache/uml/${tree##*/}-bench-$(cat "$config".* <(gcc --version; echo "$tree") | digest)
	[[ -e $build/release ]] || step "building Linux for measurements" build "$tree" "$build" "$config"
	echo "$build"
}

build()
{
	local make=(make -C "$1" ARCH=um "O=$2" "CC=ccache gcc" "KCFLAGS=-include $2/first.h")
	mkdir -p "$2" &&
	cp "$3.h" "$2/first.h" &&
	"${make[@]}" KCONFIG_ALLCONFIG="$3.config" allnoconfig &&
	"${make[@]}" -j"$(nproc)" linux modules_prepare &&
	ln -sfn . "$2/headers" &&
	cp "$2/include/config/kernel.release" "$2/release"
}

main "$@"
