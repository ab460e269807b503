# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Torture each /modules/NAME.hmm-mirror.ko until a failure is found. If the machine crashes or
# hangs, the line "mutant NAME begins" has no other line of NAME after it.

. /tests/lib.sh

# option NAME
option()
{
	tr ' ' '\n' </proc/cmdline | sed -n "s/^hmm_torture_$1=//p"
}

seconds=$(option time)

# Report the mutant and power off, because modules cannot be unloaded. The caller starts
# another machine for the rest.
finish()
{
	echo "mutant $1 $2"
	echo "verdict: pass"
	exec >/dev/null 2>&1
	poweroff -f
}

# Return true if the kernel has reported nothing: lockdep, for example, does not panic.
log_is_clean()
{
	dmesg | awk -v from="hmm_mirror_vm: $name" -f /tests/klog.awk >/tmp/reported
}

# The OOM killer must not kill this shell.
echo -1000 >/proc/$$/oom_score_adj
for module in /modules/*.hmm-mirror.ko; do
	name=${module##*/}
	name=${name%.hmm-mirror.ko}
	echo "mutant $name begins"
	dmesg -c >/dev/null
	echo "hmm_mirror_vm: $name" >/dev/kmsg
	insmod "$module" && insmod /modules/hmm_mirror_torture.ko patience="$(option patience)" ||
		finish "$name" "does not load"
	timeout -s KILL $((seconds + 60)) hmm_torture --oom --time "$seconds" >/tmp/output 2>&1
	status=$?
	found=$(dmesg | sed -n 's/.*hmm_mirror_torture: FAILED after \([0-9]* ms: .*\)/\1/p' | head -n 1)
	if [ $status -eq 0 ]; then
		found="survives: $(tail -n 2 /tmp/output | head -n 1)"
	elif [ -n "$found" ]; then
		found="found after $found"
	else
		found="found after $((seconds * 1000)) ms: $(tail -n 1 /tmp/output)"
	fi
	# Lockdep is off after its first report.
	log_is_clean || finish "$name" "found by the kernel: $(head -n 1 /tmp/reported)"
	timeout 30 rmmod hmm_mirror_torture || finish "$name" "$found; hmm_mirror_torture stays"
	timeout 15 rmmod hmm_mirror || finish "$name" "$found; hmm_mirror does not unload"
	echo "mutant $name $found"
done
