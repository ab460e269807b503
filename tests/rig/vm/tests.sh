# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The tests of "make vm".

. /tests/lib.sh

# Show the output of the program even if it passes.
demo_quick()
{
	hmm_gpu_demo --quick >/tmp/demo 2>&1
	status=$?
	sed 's/^/# /' /tmp/demo >/dev/ttyS1
	return $status
}

# Kill the program while invalidations and GPU commands are in flight.
kill_demo()
{
	hmm_gpu_demo --hold >/tmp/demo 2>&1 &
	pid=$!
	sleep 2
	if ! kill -9 $pid; then
		echo "hmm_gpu_demo ended before it could be killed:"
		cat /tmp/demo
		return 1
	fi
	wait $pid
	[ $? -eq 137 ]
}

reload()
{
	for _ in 1 2 3 4 5; do
		load && hmm_gpu_opens && unload || return
	done
}

hmm_gpu_opens()
{
	: </dev/hmm_gpu
}

holds 'vm: the modules load' load
holds 'vm: the device file exists' test -c /dev/hmm_gpu
holds 'vm: hmm_gpu_demo --quick passes' demo_quick
holds 'vm: hmm_gpu_demo --abuse passes' hmm_gpu_demo --abuse
holds 'vm: hmm_gpu_demo --hold can be killed' kill_demo
holds 'vm: no reference is left by the killed program' unused hmm_gpu
holds 'vm: the modules unload' unload
holds 'vm: the modules can be loaded again, five times' reload
