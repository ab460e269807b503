# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Tortures each /modules/NAME.hmm-mirror.ko until something is found. A line
# "mutant NAME begins" without another one after it: the machine did not survive it.

. /tests/lib.sh

seconds=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^hmm_torture_time=//p')

# Whatever is stuck, the next machine goes on.
finish()
{
	echo "mutant $1 $2"
	echo "verdict: pass"
	exec >/dev/null 2>&1
	poweroff -f
}

for module in /modules/*.hmm-mirror.ko; do
	name=${module##*/}
	name=${name%.hmm-mirror.ko}
	echo "mutant $name begins"
	dmesg -c >/dev/null
	insmod "$module" && insmod /modules/hmm_mirror_torture.ko patience=4 ||
		finish "$name" "does not load"
	timeout -s KILL $((seconds + 60)) hmm_torture --time "$seconds" >/tmp/output 2>&1
	status=$?
	found=$(dmesg | sed -n 's/.*hmm_mirror_torture: FAILED after \([0-9]* ms: .*\)/\1/p' | head -n 1)
	if [ $status -eq 0 ]; then
		found="survives: $(tail -n 2 /tmp/output | head -n 1)"
	elif [ -n "$found" ]; then
		found="found after $found"
	else
		found="found after $((seconds * 1000)) ms: $(tail -n 1 /tmp/output)"
	fi
	timeout 30 rmmod hmm_mirror_torture || finish "$name" "$found; hmm_mirror_torture stays"
	timeout 15 rmmod hmm_mirror || finish "$name" "$found; hmm_mirror does not unload"
	echo "mutant $name $found"
done
