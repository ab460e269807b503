# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Load modules with KUnit suites, which run in their init functions. They provoke warnings: boot
# with panic_on_warn=0.

. /tests/lib.sh

# run MODULE: print the results from the kernel log, which is complete in all versions.
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
	holds "kunit: ${module##*/} has run suites" grep -q '^# suite ' /tmp/results
done
holds 'kunit: the modules unload' rmmod hmm_mirror
