# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Let each allocation of the modules, and each call of the core, fail once. Each time an error
# must be returned, without a leak or a warning. Needs a kernel with failure injection.

. /tests/lib.sh

debug=/sys/kernel/debug
fail=$debug/failslab

# Set up the injection of failures.
prepare()
{
	echo 0 >$fail/verbose && echo N >$fail/ignore-gfp-wait
}

# at_random PERCENT: let so many of the allocations below code of hmm_gpu fail.
at_random()
{
	text=$(cat /sys/module/hmm_gpu/sections/.text)
	echo "$text" >$fail/require-start &&
		printf '0x%x\n' $((text + 65536)) >$fail/require-end &&
		echo 32 >$fail/stacktrace-depth &&
		echo -1 >$fail/times &&
		echo "$1" >$fail/probability
}

always()
{
	echo 0 >$fail/probability && echo 0 >$fail/require-start &&
		echo 0xffffffffffffffff >$fail/require-end
}

# New kernels warn if the tracepoints of a module get no memory. No other warning is allowed.
load_nth()
{
	echo 0 >/proc/sys/kernel/panic_on_warn
	echo 'hmm_mirror_test: expect-begin' >/dev/kmsg
	hmm_fail_nth insmod /modules/hmm-mirror.ko
	status=$?
	echo 'hmm_mirror_test: expect-end' >/dev/kmsg
	! dmesg | sed '1,/expect-begin/d' | grep -E 'WARNING:|BUG:|INFO:' |
		grep -v ' kernel/trace/trace_events.c:' && return $status
}

function=$debug/fail_function

# fails FUNCTION: let it return -ENOMEM to any caller, as hmm_fail_nth demands.
fails()
{
	echo "$1" >$function/inject &&
		printf '0x%x\n' -12 >"$function/$1/retval" &&
		echo 0 >$function/times &&
		echo N >$function/task-filter &&
		echo 0 >$function/verbose &&
		echo 100 >$function/probability
}

each_call_fails()
{
	fails "$1" && hmm_fail_nth call
	status=$?
	echo "!$1" >$function/inject
	return $status
}

# can_fail FUNCTION...: drivers can test failures of these functions of the core.
can_fail()
{
	for called; do
		grep "^hmm_mirror_${called}[^a-z_]" $debug/error_injection/list || return
	done
}

# kmemleak reports only objects that are some seconds old.
nothing_leaks()
{
	sleep 6
	for _ in 1 2 3; do
		echo scan >$debug/kmemleak || return
	done
	! grep -E -B 20 'hmm_|gpu_' $debug/kmemleak
}

[ -d $debug/bdi ] || mount -t debugfs debugfs $debug
if [ ! -d $fail ] || [ ! -e /proc/self/fail-nth ]; then
	ok 'fail-nth # SKIP the kernel has no CONFIG_FAILSLAB'
	exit
fi

holds 'fail-nth: failures can be set up' prepare
case $(uname -r) in
5.10.*)	# static_call_del_module() uses a pointer that static_call_module_notify() failed to set
	ok 'fail-nth: hmm_mirror loads, or fails with ENOMEM # SKIP Linux 5.10 crashes if a module with tracepoints gets no memory' ;;
*)	holds 'fail-nth: hmm_mirror loads, or fails with ENOMEM' load_nth
	cat /tmp/output ;;
esac
insmod /modules/hmm-mirror.ko
holds 'fail-nth: hmm_gpu loads, or fails with ENOMEM' hmm_fail_nth insmod /modules/hmm-gpu.ko
cat /tmp/output
insmod /modules/hmm-gpu.ko
holds 'fail-nth: /dev/hmm_gpu opens, or fails with ENOMEM' hmm_fail_nth open
cat /tmp/output
if [ -e $fail/require-start ]; then
	holds 'fail-nth: random failures can be set up' at_random 30
	holds 'fail-nth: commands succeed, or fail with ENOMEM' hmm_fail_nth jobs
	cat /tmp/output
	holds 'fail-nth: random failures can be switched off' always
else
	ok 'fail-nth: commands succeed, or fail with ENOMEM # SKIP the kernel cannot limit failures to hmm_gpu'
fi
holds 'fail-nth: hmm_gpu works as before' hmm_gpu_demo --quick
if [ -d $function ]; then
	holds 'fail-nth: functions of the core can be made to fail' \
		can_fail register range_register range_resize range_split range_fault range_dma_map
	holds 'fail-nth: hmm_gpu unloads' rmmod hmm_gpu
	holds 'fail-nth: hmm_gpu loads, and maps for DMA' insmod /modules/hmm-gpu.ko dma=1
	for called in register range_register range_fault range_dma_map; do
		holds "fail-nth: hmm_mirror_$called() fails, and hmm_gpu returns ENOMEM" \
			each_call_fails "hmm_mirror_$called"
		cat /tmp/output
	done
else
	ok 'fail-nth: functions of the core # SKIP the kernel has no CONFIG_FAIL_FUNCTION'
fi
if [ -e $debug/kmemleak ]; then
	holds 'fail-nth: nothing leaks' nothing_leaks
else
	ok 'fail-nth: nothing leaks # SKIP the kernel has no kmemleak'
fi
holds 'fail-nth: hmm_gpu unloads' rmmod hmm_gpu
holds 'fail-nth: hmm_mirror unloads' timeout 60 rmmod hmm_mirror
