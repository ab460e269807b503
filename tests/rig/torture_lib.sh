# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # lib.sh has them
#
# For scripts that torture: . torture_lib.sh, after lib.sh and packages.sh.

# build_torture KERNEL: the modules, that which tortures among them, in $work/torture,
# and the program, $work/hmm_torture.
build_torture()
{
	local built
	built=$("$rig/build.sh" "$1")
	cp -r "$built" "$work/torture"
	cp -r "$repo/tests/torture" "$work/torture/tests"
	step "building hmm_mirror_torture for $(<"$1/release")" \
		make_torture "$1" "$work/torture"
	step "building the program" gcc -O2 -g -Wall -Wextra -pthread -static \
		-o "$work/hmm_torture" "$repo/tests/torture/hmm_torture.c"
}

make_torture()
{
	make -C "$1/headers" M="$2/tests/torture" W=1 KBUILD_EXTRA_SYMBOLS="$2/Module.symvers" \
		-j"$(nproc)" modules
}
