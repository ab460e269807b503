# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Drivers of 2019, in "make vm": the same programs must work with them.

. /tests/lib.sh

# hmm_gpu_demo --hold ends by itself only after a failure.
storm()
{
	hmm_gpu_demo --hold >/tmp/demo 2>&1 &
	pid=$!
	sleep 10
	if ! kill -9 $pid; then
		cat /tmp/demo
		return 1
	fi
	wait $pid
	[ $? -eq 137 ]
}

load_legacy()
{
	insmod /modules/hmm-mirror.ko && insmod "/modules/legacy_$1.ko"
}

unload_legacy()
{
	unused "legacy_$1" && rmmod "legacy_$1" && rmmod hmm_mirror
}

for release in 5_2 5_3 5_4; do
	holds "vm: legacy_$release loads" load_legacy $release
	holds "vm: legacy_$release: hmm_gpu_demo --hold finds no failure" storm
	holds "vm: legacy_$release: hmm_gpu_demo --abuse passes" hmm_gpu_demo --abuse
	holds "vm: legacy_$release unloads" unload_legacy $release
done
