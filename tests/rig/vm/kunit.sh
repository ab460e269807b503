# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KUnit suites in modules, which run when they are loaded. They provoke warnings: boot
# with panic_on_warn=0.

. /tests/lib.sh

# run MODULE: what it writes to the kernel's log, which all versions have in full.
run()
{
	echo "hmm_mirror_vm: $1" >/dev/kmsg
	insmod "$1" || not_ok "kunit: ${1##*/} loads"
	dmesg | awk -v from="hmm_mirror_vm: $1" -f /tests/kunit.awk
	rmmod "$(basename "$1" .ko | tr - _)" || not_ok "kunit: ${1##*/} unloads"
}

holds 'kunit: the modules load' insmod /modules/hmm-mirror.ko
for module in /modules/*_test.ko; do
	run "$module" >/tmp/results
	cat /tmp/results
	! grep -q '^not ok' /tmp/results || : >/tmp/failed
	holds "kunit: ${module##*/} ran suites" grep -q '^# suite ' /tmp/results
done
holds 'kunit: the modules unload' rmmod hmm_mirror
