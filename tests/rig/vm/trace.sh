# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Tracepoints, read by trace-cmd, and debugfs, while the software GPU is at work.

. /tests/lib.sh

mms=/sys/kernel/debug/hmm_mirror/mms

record()
{
	trace-cmd record -q -b 20000 -e hmm_mirror -o /tmp/trace.dat hmm_gpu_demo -s 2 >/tmp/demo 2>&1 &&
		trace-cmd report -q -i /tmp/trace.dat >/tmp/trace 2>/tmp/stderr
}

# has EVENT...: each was recorded.
has()
{
	for event; do
		grep -q " hmm_mirror_$event: " /tmp/trace || { echo "no $event"; return 1; }
	done
}

# A name that trace-cmd does not know is a number.
events_have_names()
{
	grep -q 'invalidate_start:.* event=unmap ' /tmp/trace &&
		! grep 'invalidate_start:.* event=[^a-z]' /tmp/trace
}

# In each thread, as the calls nest, a start and its end have the same bounds and slot.
starts_have_ends()
{
	awk '
		/hmm_mirror_invalidate_(start|end):/ {
			id = $1
			for (i = 2; i <= NF; i++)
				if ($i ~ /^(mm|start|end|slot)=/)
					id = id " " $i
			if (/_start:/) { open[id]++; n++ }
			else if (open[id]) { open[id]--; ended++ }
			else { print "an end without a start: " $0; bad++ }
		}
		END {
			print n " starts, " ended " of them with an end"
			# in flight when the recording ended
			exit bad > 2 || n < 1000 || n - ended > 8
		}' /tmp/trace
}

# hit AND miss, as the ranges of the GPU are somewhere and the process is everywhere
hits_are_counted()
{
	grep -q 'invalidate_start:.* hits=0$' /tmp/trace &&
		grep -q 'invalidate_start:.* hits=[1-9]' /tmp/trace
}

waits_have_time()
{
	grep -q 'wait_end:.* waited_ns=[1-9][0-9]* ret=0$' /tmp/trace
}

# value NAME: of the line of the mm that has a mirror.
value()
{
	awk -v name="$1" '$1 == "mm" { for (i = 1; i < NF; i += 2) if ($i == name) print $(i + 1) }' $mms
}

# at_work NAME...: each gets above zero within ten seconds.
at_work()
{
	for key; do
		for _ in $(seq 100); do
			[ "$(value "$key" | sort -n | tail -n 1)" -gt 0 ] 2>/dev/null && continue 2
			sleep 0.1
		done
		echo "$key is not above 0:"
		cat $mms
		return 1
	done
}

debugfs_at_work()
{
	hmm_gpu_demo --hold >/tmp/demo 2>&1 &
	pid=$!
	at_work mirrors ranges hits collisions waits longest_wait_us pid &&
		grep -q '^  mirror .* ops [a-z_]* .*ranges [0-9]* tracked_only 1$' $mms
	status=$?
	kill -9 $pid
	wait $pid
	[ $status -eq 0 ]
}

debugfs_is_empty()
{
	for _ in $(seq 50); do
		[ -z "$(cat $mms)" ] && return
		sleep 0.1
	done
	cat $mms
	return 1
}

# What is around the first collision, for a picture.
window()
{
	at=$(awk '/hmm_mirror_collision:/ { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) { print $i + 0; exit } }' /tmp/trace)
	awk -v at="$at" '{
		for (i = 1; i <= NF; i++)
			if ($i ~ /^[0-9]+\.[0-9]+:$/) {
				if ($i + 0 > at - 0.02 && $i + 0 < at + 0.06)
					print
				next
			}
	}' /tmp/trace
}

mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
load || exit
holds 'trace: trace-cmd records the tracepoints and reads them' record
holds 'trace: both sides are there' has invalidate_start invalidate_end range_register range_unregister \
	wait_begin wait_end fault_begin fault_end collision
holds 'trace: nonblock_failure can be enabled' \
	test -e /sys/kernel/tracing/events/hmm_mirror/hmm_mirror_nonblock_failure/enable
holds 'trace: events have names' events_have_names
holds 'trace: a start and its end belong together' starts_have_ends
holds 'trace: hits are counted' hits_are_counted
holds 'trace: waits are measured' waits_have_time
holds 'trace: debugfs shows what is going on' debugfs_at_work
holds 'trace: debugfs shows nothing when all have gone' debugfs_is_empty
unload || exit
window >/dev/ttyS2
