# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh has them
#
# For scripts that torture: . torture_lib.sh, after lib.sh and packages.sh.

# torture_kernel NAME: the directory of a kernel that is called as in torture.sh.
torture_kernel()
{
	case $1 in
	*/*)	echo "$1" ;;
	*-*)	"$rig/built.sh" "$1" ;;
	*)	"$rig/kernels.sh" stock "$1" ;;
	esac
}

# build_torture KERNEL: the modules, that which tortures among them, in $work/torture,
# and the programs, $work/hmm_torture and $work/hmm_fail_nth.
build_torture()
{
	local built program
	built=$("$rig/build.sh" "$1")
	cp -r "$built" "$work/torture"
	cp -r "$repo/tests/torture" "$work/torture/tests"
	step "building hmm_mirror_torture for $(<"$1/release")" \
		make_torture "$1" "$work/torture"
	for program in hmm_torture hmm_fail_nth; do
		step "building $program" gcc -O2 -g -Wall -Wextra -pthread -static \
			-o "$work/$program" "$repo/tests/torture/$program.c"
	done
}

make_torture()
{
	make -C "$1/headers" M="$2/tests/torture" W=1 KBUILD_EXTRA_SYMBOLS="$2/Module.symvers" \
		-j"$(nproc)" modules
}
