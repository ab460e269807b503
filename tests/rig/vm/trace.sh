# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Tracepoints, read by trace-cmd, and debugfs, while the software GPU works.

. /tests/lib.sh

mms=/sys/kernel/debug/hmm_mirror/mms

record()
{
	trace-cmd record -q -b 20000 -e hmm_mirror -o /tmp/trace.dat hmm_gpu_demo -s 2 >/tmp/demo 2>&1 &&
		trace-cmd report -q -i /tmp/trace.dat >/tmp/trace 2>/tmp/stderr
}

# has EVENT...: each event was recorded.
has()
{
	for event; do
		grep -q " hmm_mirror_$event: " /tmp/trace || { echo "no $event"; return 1; }
	done
}

# trace-cmd prints a number if it does not know the name of an event.
events_have_names()
{
	grep -q 'invalidate_start:.* event=unmap ' /tmp/trace &&
		! grep 'invalidate_start:.* event=[^a-z]' /tmp/trace
}

# In each thread, a start and its end have the same bounds and slot.
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
			# Some are in flight when the recording ends.
			exit bad > 2 || n < 1000 || n - ended > 8
		}' /tmp/trace
}

# Fault side: a range is unregistered with the bounds of its registration. The end of a fault or
# a wait has the range of its begin. A fault is inside of its range. A wait is for an invalidation
# that intersects the range. A collision belongs to the fault around it, which returns -EBUSY (-16).
faults_make_sense()
{
	awk '
		function number(x) { return "x" substr("0000000000000000" substr(x, 3), length(x) - 1) }
		function wrong(why) { if (bad++ < 10) print why ": " $0 }

		!match($0, / hmm_mirror_[a-z_]+: /) { next }
		{
			event = substr($0, RSTART + 12, RLENGTH - 14)
			split("", f)
			for (i = 2; i <= NF; i++)
				if (at = index($i, "="))
					f[substr($i, 1, at - 1)] = substr($i, at + 1)
			range = f["mm"] " " f["range"]
			bounds = f["start"] " " f["end"]
			start = number(f["start"])
			end = number(f["end"])
			n[event]++
		}
		event == "range_register" {
			known[range] = bounds
			first[range] = start
			behind[range] = end
			if (start >= end)
				wrong("empty")
		}
		event == "range_unregister" {
			if (range in known && known[range] != bounds)
				wrong("another range")
			delete known[range]
		}
		event == "fault_begin" {
			fault[$1] = range
			of[$1] = bounds
			collided[$1] = 0
			if (range in known && (start < first[range] || end > behind[range] || start >= end))
				wrong("outside of its range")
		}
		event == "collision" && $1 in fault {
			collided[$1] = 1
			inside++
			if (fault[$1] != range || of[$1] != bounds)
				wrong("the collision of another fault")
		}
		event == "fault_end" && $1 in fault {
			if (fault[$1] != range)
				wrong("the end of another fault")
			if (collided[$1] != (f["ret"] == -16) || f["ret"] > 0)
				wrong("the fault returned another result")
			good += f["ret"] == 0
			delete fault[$1]
		}
		event == "wait_begin" {
			wait[$1] = range
			if (bounds == "0x0 0x0")
				next
			if (range in known && (start >= behind[range] || end <= first[range] || end !~ /000$/))
				wrong("a wait for an invalidation that does not intersect")
			intersects += range in known
		}
		event == "wait_end" && $1 in wait {
			if (wait[$1] != range)
				wrong("the end of another wait")
			delete wait[$1]
		}
		END {
			print n["fault_end"] " faults, " good " succeeded, " inside " collisions, " intersects " waits"
			exit bad || !good || !inside || !intersects
		}' /tmp/trace
}

# There are hits and misses: the GPU has ranges only for a part of the memory.
hits_are_counted()
{
	grep -q 'invalidate_start:.* hits=0$' /tmp/trace &&
		grep -q 'invalidate_start:.* hits=[1-9]' /tmp/trace
}

waits_have_time()
{
	grep -q 'wait_end:.* waited_ns=[1-9][0-9]* ret=0$' /tmp/trace
}

refusals_in_log()
{
	dmesg | grep -c 'in non-blockable context'
}

# process_mrelease() reaps a killed process, with non-blockable invalidations, which the GPU
# refuses because its flush sleeps. The suite tries again and again, and the kernel logs each
# failure, so stop after the first.
record_refusals()
{
	before=$(refusals_in_log)
	echo 1000 >/sys/module/hmm_gpu/parameters/tlb_flush_us
	trace-cmd record -q -e hmm_mirror -o /tmp/trace.dat hmm_gpu_suite mrelease >/tmp/suite 2>&1 &
	pid=$!
	while [ "$(refusals_in_log)" = "$before" ] && [ -d /proc/$pid ]; do
		sleep 0.1
	done
	echo 0 >/sys/module/hmm_gpu/parameters/tlb_flush_us
	wait $pid
	trace-cmd report -q -i /tmp/trace.dat >/tmp/refusals 2>/tmp/stderr
}

# Before each refusal there is a non-blockable start in the same thread.
refusals_have_starts()
{
	awk '
		/hmm_mirror_(invalidate_start|nonblock_failure):/ {
			id = $1
			for (i = 2; i <= NF; i++)
				if ($i ~ /^(mm|start|end)=/)
					id = id " " $i
			if (/_start:/) {
				last = id
				blocks = / blockable=1 /
				starts[blocks]++
			} else {
				n++
				if (id != last || blocks || !/ mirror=[0-9a-fx]*[1-9a-f][0-9a-fx]* /) {
					print "a refusal without a non-blockable start: " $0
					bad++
				}
			}
		}
		END {
			print n " refusals, " starts[0] " non-blockable starts, " starts[1] " blockable starts"
			exit bad || !n || !starts[1]
		}' /tmp/refusals
}

# value NAME: print a value of the lines of mms.
value()
{
	awk -v name="$1" '$1 == "mm" { for (i = 1; i < NF; i += 2) if ($i == name) print $(i + 1) }' $mms
}

# at_work NAME...: each value becomes positive within ten seconds.
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

# The lines of the mirrors add up to those of the mms.
mirrors_add_up()
{
	awk '
		$1 == "mm" { mirrors += $8; ranges += $10 }
		/^  mirror [^ ]* ops gpu_[a-z_]*_ops( \[hmm_gpu\])? ranges [0-9]* tracked_only 1 cancelled 0$/ {
			n++
			sum += $(NF - 4)
		}
		END { exit !n || n != mirrors || sum != ranges }' $mms || { cat $mms; return 1; }
}

debugfs_at_work()
{
	# Slow flushes keep invalidations in flight, so that they are seen.
	echo 20000 >/sys/module/hmm_gpu/parameters/tlb_flush_us
	hmm_gpu_demo --hold >/tmp/demo 2>&1 &
	pid=$!
	at_work mirrors ranges hits collisions waits longest_wait_us in_flight waiting &&
		mirrors_add_up &&
		[ "$(value pid)" = $pid ] && [ "$(value dead)" = 0 ]
	status=$?
	kill -9 $pid
	echo 0 >/sys/module/hmm_gpu/parameters/tlb_flush_us
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

# After exec() the file outlives the mm that opened it.
debugfs_dead_mm()
{
	debugfs_is_empty || return
	sh -c 'exec 3</dev/hmm_gpu; exec sleep 60' &
	pid=$!
	for _ in $(seq 50); do
		! grep -q '^mm .* dead 1 mirrors 1 ' $mms || break
		sleep 0.1
	done
	grep -q '^mm .* dead 1 mirrors 1 ' $mms
	status=$?
	cat $mms
	kill -9 $pid
	wait $pid
	[ $status -eq 0 ]
}

# Print the trace around the first collision, with the begin of its fault, for a picture.
window()
{
	at=$(awk '/hmm_mirror_collision:/ { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) { print $i + 0; exit } }' /tmp/trace)
	awk -v at="$at" '{
		for (i = 1; i <= NF; i++)
			if ($i ~ /^[0-9]+\.[0-9]+:$/) {
				if ($i + 0 > at - 1 && $i + 0 < at + 0.06)
					print
				next
			}
	}' /tmp/trace
}

mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
load || exit
holds 'trace: trace-cmd records the tracepoints and reads them' record
holds 'trace: events of both sides are recorded' has invalidate_start invalidate_end range_register range_unregister \
	wait_begin wait_end fault_begin fault_end collision
holds 'trace: events have names' events_have_names
holds 'trace: starts and ends match' starts_have_ends
holds 'trace: faults, waits and collisions are consistent' faults_make_sense
holds 'trace: hits are counted' hits_are_counted
holds 'trace: waits are measured' waits_have_time
record_refusals
if grep -q '^ok .* # SKIP' /tmp/suite; then
	ok 'trace: refusals are recorded # SKIP the kernel has no process_mrelease()'
else
	holds 'trace: refusals are recorded' refusals_have_starts
fi
holds 'trace: debugfs shows ranges, hits, collisions and waits' debugfs_at_work
holds 'trace: debugfs shows a dead mm' debugfs_dead_mm
holds 'trace: debugfs shows no mm without a mirror' debugfs_is_empty
unload || exit
window >/dev/ttyS2
