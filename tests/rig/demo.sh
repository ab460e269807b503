#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make demo: boot an unmodified Debian kernel in a virtual machine, load the modules, and run a
# program that shares its memory with a software GPU. Environment: KERNEL=, the kernel version.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock built

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	built=$("$rig/build.sh" "$stock")
	echo
	if "$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/demo.log" \
		--add "$built/samples/hmm_gpu_demo" --run "$rig/vm/demo.sh"; then
		echo
		echo "PASSED on Linux $(<"$stock/release"), in $(($(date +%s) - RIG_START)) s in total"
	else
		echo
		echo "FAILED on Linux $(<"$stock/release"); the kernel log is $cache/demo.log"
		exit 1
	fi
}

main
