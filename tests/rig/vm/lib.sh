# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For scripts in the virtual machine (busybox sh): . /tests/lib.sh

ok()
{
	echo "ok - $*"
}

not_ok()
{
	echo "not ok - $*"
	: >/tmp/failed
}

# holds NAME COMMAND...: one test. The output of COMMAND is shown if it fails.
holds()
{
	name=$1
	shift
	if "$@" >/tmp/output 2>&1; then
		ok "$name"
	else
		not_ok "$name"
		tail -n 60 /tmp/output | sed 's/^/# /'
	fi
}

# load [PARAMETER=VALUE...]: load the modules, with parameters of hmm_gpu
load()
{
	insmod /modules/hmm-mirror.ko && insmod /modules/hmm-gpu.ko gpus=2 "$@"
}

unload()
{
	rmmod hmm_gpu && rmmod hmm_mirror
}

# unused MODULE: MODULE has no reference. Wait a little: a process that was just
# killed may not have exited.
unused()
{
	for _ in $(seq 50); do
		[ "$(cat "/sys/module/$1/refcnt")" -eq 0 ] && return
		sleep 0.1
	done
	echo "$1 has $(cat "/sys/module/$1/refcnt") references"
	return 1
}
