#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make torture: call the core at random from many threads, in a virtual machine. Then, if the
# kernel can inject failures, let each allocation fail once. Environment:
#
#   TIME=SECONDS	duration (60)
#   KERNEL=NAME		a stock kernel (6.12, or 6.12-rt); one of built.sh with fragments, such as
#			7.3-debug or 6.12-kcsan; or a directory with the same layout
#   SEED=NUMBER		seed of the random numbers, as printed by an earlier run
#   PATIENCE=SECONDS	timeout of the checks (20)
#   WORKERS=NUMBER	threads for each address space (5)
#   APPEND=ARGS		added to the kernel command line
#   LOG=FILE		where to store the kernel log

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/torture_lib.sh"

main()
{
	local time=${TIME:-60} kernel append

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	kernel=$(torture_kernel "${KERNEL:-6.12}")
	build_torture "$kernel"
	# The machine searches the whole log in the end.
	append="log_buf_len=16M hmm_torture_time=$time hmm_torture_patience=${PATIENCE:-20}"
	append+=" hmm_torture_workers=${WORKERS:-5}"
	[[ -z ${SEED:-} ]] || append+=" hmm_torture_seed=$SEED"

	"$rig/vm.sh" --kernel "$kernel" --modules "$work/torture" \
		--log "${LOG:-$cache/torture.log}" --append "$append ${APPEND:-}" \
		--timeout $((time * 2 + 1200)) \
		--add "$work/hmm_torture" --add "$work/hmm_fail_nth" \
		--add "$work/torture/samples/hmm_gpu_demo" \
		--run "$rig/vm/torture.sh" "$rig/vm/fail_nth.sh"
}

main
