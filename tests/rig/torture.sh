#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make torture: random work on the core from all sides at once, in a virtual
# machine; and then, where the kernel can do that, each allocation fails once. In the
# environment:
#
#   TIME=SECONDS	how long (60)
#   KERNEL=NAME		a stock kernel (6.12, or 6.12-rt); one of built.sh with fragments, such as
#			7.3-debug or 6.12-kcsan; or a directory that is laid out as
#			theirs
#   SEED=NUMBER		of all that is random; it was printed by another run
#   PATIENCE=SECONDS	after which a thread counts as hanging (20)
#   APPEND=ARGS		for the kernel's command line
#   LOG=FILE		where to leave the kernel's log

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/torture_lib.sh"

main()
{
	local time=${TIME:-60} kernel append

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	kernel=$(torture_kernel "${KERNEL:-6.12}")
	build_torture "$kernel"
	# the machine looks at the whole log in the end
	append="log_buf_len=16M hmm_torture_time=$time hmm_torture_patience=${PATIENCE:-20}"
	[[ -z ${SEED:-} ]] || append+=" hmm_torture_seed=$SEED"

	"$rig/vm.sh" --kernel "$kernel" --modules "$work/torture" \
		--log "${LOG:-$cache/torture.log}" --append "$append ${APPEND:-}" \
		--timeout $((time * 2 + 1200)) \
		--add "$work/hmm_torture" --add "$work/hmm_fail_nth" \
		--add "$work/torture/samples/hmm_gpu_demo" \
		--run "$rig/vm/torture.sh" "$rig/vm/fail_nth.sh"
}

main
