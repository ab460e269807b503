# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# "make torture" runs this. The options are on the kernel command line.

. /tests/lib.sh

# option NAME DEFAULT
option()
{
	value=$(tr ' ' '\n' </proc/cmdline | sed -n "s/^hmm_torture_$1=//p")
	echo "${value:-$2}"
}

# start [PARAMETER...]
start()
{
	insmod /modules/hmm-mirror.ko &&
		insmod /modules/hmm_mirror_torture.ko seed="$seed" \
			patience="$(option patience 20)" workers="$(option workers 5)" "$@"
}

# Load and unload another driver meanwhile, again and again.
gpu_comes_and_goes()
{
	while [ ! -e /tmp/enough ]; do
		insmod /modules/hmm-gpu.ko && hmm_gpu_demo --quick
		rmmod hmm_gpu
		sleep 1
	done
}

# torture SECONDS
torture()
{
	rm -f /tmp/enough
	# The OOM killer must not kill this shell.
	echo -1000 >/proc/$$/oom_score_adj
	gpu_comes_and_goes >/dev/null 2>&1 &
	hmm_torture --oom --time "$1" --seed "$seed" >/dev/ttyS1
	status=$?
	: >/tmp/enough
	wait
	dmesg | grep -E 'hmm_mirror_torture: (FAILED|.* hangs|seed)'
	return $status
}

knobs=/sys/kernel/debug/hmm_mirror/inject

# inject KNOB=VALUE...
inject()
{
	for knob; do
		echo "${knob#*=}" >"$knobs/${knob%=*}" &&
			[ "$(cat "$knobs/${knob%=*}")" = "${knob#*=}" ] || return
	done
}

were_injected()
{
	grep . "$knobs"/*_injected || return
	! grep -qx 0 "$knobs"/*_injected
}

mount -t debugfs debugfs /sys/kernel/debug
# KCSAN is off until then.
[ ! -e /sys/kernel/debug/kcsan ] || echo on >/sys/kernel/debug/kcsan
time=$(option time 60)
seed=$(option seed "$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')")
echo "# seed $seed"
holds 'torture: the modules load' start
holds 'torture: no failure is found' torture "$time"
holds 'torture: hmm_mirror_torture unloads' timeout 60 rmmod hmm_mirror_torture
holds 'torture: hmm_mirror unloads: no reference is leaked' timeout 60 rmmod hmm_mirror

holds 'torture: the modules load again' start injected=1
holds 'torture: faults can be injected' inject eagain=20 delay_us=200 overflow=20 collision=20
holds 'torture: no failure is found with faults injected' torture $((time / 4 + 10))
holds 'torture: faults of each kind were injected' were_injected
# hmm_gpu_demo fails if faults wait for invalidations of other addresses.
holds 'torture: the injection of overflows can be switched off' inject overflow=0
holds 'torture: hmm_gpu loads' insmod /modules/hmm-gpu.ko gpus=2
holds 'torture: hmm_gpu_demo passes with faults injected' hmm_gpu_demo --quick
holds 'torture: hmm_gpu unloads' rmmod hmm_gpu
holds 'torture: injection can be switched off' inject eagain=0 delay_us=0 overflow=0 collision=0
holds 'torture: hmm_mirror_torture unloads again' timeout 60 rmmod hmm_mirror_torture
holds 'torture: hmm_mirror unloads again' timeout 60 rmmod hmm_mirror
