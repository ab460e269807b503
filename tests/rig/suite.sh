#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# suite.sh [--kernel DIR --modules DIR [--stock-modules DIR]]: run tests/user in a virtual
# machine, on the stock kernel KERNEL= or on the given one: see vm.sh. The modules must have been
# built in their directory, which also has tests/user/hmm_gpu_suite.
#
# The machine has two nodes, for migration, and secret memory, which is off by default on some
# kernels.
#
# Environment: SUITE=, options and cases for the program, such as "-v -t 300 ksm";
# DRIVER=legacy_5_2, 5_3 or 5_4, a driver of 2019 instead of hmm_gpu.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock built extra

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	if (($#)); then
		[[ ${1-}:${3-} == --kernel:--modules ]] || die "usage: suite.sh [--kernel DIR --modules DIR ...]"
		built=$4
	else
		stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
		extra=$("$rig/kernels.sh" modules "${KERNEL:-6.12}")
		built=$("$rig/build.sh" "$stock")
		set -- --kernel "$stock" --modules "$built" --stock-modules "$extra"
	fi
	# shellcheck disable=SC2086 # words
	"$rig/vm.sh" "$@" --add "$built/tests/user/hmm_gpu_suite" --timeout 1800 \
		--append "numa=fake=2 secretmem.enable=1 suite=$(words ${SUITE-}) driver=${DRIVER-}" \
		--log "$cache/suite-${2##*/}.log" --run "$rig/vm/suite.sh"
}

# Join words into one, which vm/suite.sh splits again.
words()
{
	local IFS=,
	echo "$*"
}

main "$@"
