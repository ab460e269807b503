# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh has them
#
# For the torture scripts: . torture_lib.sh, after lib.sh and packages.sh.

# torture_kernel NAME: print the directory of a kernel; NAME is as in torture.sh.
torture_kernel()
{
	case $1 in
	*/*)	echo "$1" ;;
	*-rt)	"$rig/kernels.sh" stock "$1" ;;
	*-*)	"$rig/built.sh" "$1" ;;
	*)	"$rig/kernels.sh" stock "$1" ;;
	esac
}

# build_torture KERNEL: build the modules, with hmm_mirror_torture, in $work/torture, and the
# programs $work/hmm_torture and $work/hmm_fail_nth. HMM_MIRROR_WALK_RANGES is so small that
# walks over the few ranges of a mirror drop the lock.
build_torture()
{
	local built
	built=$("$rig/build.sh" "$1" -DHMM_MIRROR_WALK_RANGES=2)
	cp -r "$built" "$work/torture"
	cp -r "$repo/tests/torture" "$work/torture/tests"
	step "building hmm_mirror_torture for $(<"$1/release")" \
		make_torture "$1" "$work/torture"
	build_program hmm_torture
	build_program hmm_fail_nth
}

# build_program NAME: build a program of tests/torture, in $work.
build_program()
{
	step "building $1" gcc -O2 -g -Wall -Wextra -pthread -static \
		-o "$work/$1" "$repo/tests/torture/$1.c"
}

make_torture()
{
	make -C "$1/headers" M="$2/tests/torture" W=1 KBUILD_EXTRA_SYMBOLS="$2/Module.symvers" \
		-j"$(nproc)" modules
}
