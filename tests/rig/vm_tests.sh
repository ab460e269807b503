#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of "make vm", on the stock kernel KERNEL=.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock built

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	built=$("$rig/build.sh" "$stock")
	"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm.log" \
		--add "$built/samples/hmm_gpu_demo" --run "$rig/vm/tests.sh"
}

main
