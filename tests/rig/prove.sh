#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# prove.sh: check the protocol by machine. Spin checks every state of every scene of
# tests/model, and must find each bug that is added on purpose. herd7, with the memory model
# of the newest kernel, checks that the forbidden outcomes of tests/litmus never happen, and
# that they do without each of the barriers.
#
#   prove.sh ladders	write the counterexamples in docs/protocol.md anew
#   prove.sh herd7	print the directory of herd7

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

model=$repo/tests/model
litmus=$repo/tests/litmus
story=$repo/docs/protocol.md
runs=0 states=0

main()
{
	case ${1-} in
	herd7)
		need "${packages_fetch[@]}"
		herd7
		return ;;
	ladders)
		need spin gcc libc6-dev
		write_ladders
		return ;;
	esac
	need spin gcc libc6-dev
	check_scenes
	check_history
	check_mistakes
	check_story
	check_litmus
	check_names
}

#
# The model
#
check_scenes()
{
	local safe="no stale page, I1-I8, no deadlock"

	proves "one fault, one invalidation: $safe" ABA
	proves "nested invalidations, 2 faults on a range: $safe" NESTED
	proves "the same with timeouts: $safe" NESTED -DTIMEOUTS
	proves "refused by this or another subscription, 2 faults on a range: $safe" REFUSED
	proves "the same, step by step under the lock: $safe" NESTED -DFINE
	proves "late registration, 2 faults on 2 ranges: $safe" TWO_RANGES
	proves "the same, raised one by one: $safe" TWO_RANGES -DPIECES
	proves "the same, step by step under the lock: $safe" TWO_RANGES -DFINE
	proves "3 invalidations, one refused, 2 ranges, a fault on a late one: $safe" CROWD
	proves "more in flight than slots: $safe" OVERFLOW
	proves "the same, until a worker has made one: $safe" GROW
	proves "a lost end whose pointer is used again: $safe" LOST
	proves "an invalidation without an end: $safe" ENDLESS
	proves "the same, without a slot: $safe" ENDLESS -DNO_ROOM
	proves "2 mirrors, 2 passes, one refuses: $safe" MIRRORS
	proves "the first mirror of a busy mm: $safe" SUBSCRIBE
	proves "exit of the mm, process_mrelease(): $safe" EXIT
	proves "unregister, callbacks that walk, unload: $safe" UNREGISTER
	proves "the same, one range at a time: $safe" UNREGISTER -DPIECES
	proves "unregister while the mm exits, unload: $safe" EXIT_UNREGISTER
	proves "a range is resized: $safe" RESIZE
	proves "a range is split: $safe" SPLIT
	proves "the API of 2019, one thread: $safe" FORM_2019
	proves "weak fairness: invalidations of other addresses do not starve a waiter" STORM
	proves "weak fairness: the same, as soon as a worker has made slots" STORM -DGROWS -DFEW
	echo "#   $states states in all"
	finds "a limit: without memory, invalidations share a slot for ever" 'acceptance cycle' STORM -DNO_ROOM
	finds "a limit: an end is lost in a locked slot" 'invalid end state' LOST -DLOST_ANYWHERE
}

check_history()
{
	proves "2019: a count-down after a failed start was right" \
		REFUSED -DBUG_SELF_DECREMENT -DOLD_MM -DOTHERS_FAIL=false
	finds "2019: without it the count leaks" 'invalid end state' \
		REFUSED -DBUG_COUNT_LEAKS -DOLD_MM -DOTHERS_FAIL=false
	finds "2019: the count leaks if another subscription fails" 'invalid end state' \
		REFUSED -DBUG_SELF_DECREMENT -DOLD_MM
	finds "the boolean of 2019: a stale page (ABA)" 'pfn==cpu' "${boolean[@]}"
	finds "validity given at count 0: a waiter starves" 'acceptance cycle' "${count_zero[@]}"
	finds "a count-down after a failed start: underflow" 'notifiers>0' "${self_decrement[@]}"
	finds "callbacks before the sequence: a stale page" 'x_gone|pfn==cpu' "${callback_first[@]}"
	finds "the sequence in a range of two threads: a stale page" 'pfn==cpu' "${sequence_in_range[@]}"
}

boolean=(ABA -DBUG_BOOLEAN -DCONSEQUENCES)
count_zero=(STORM -DBUG_COUNT_ZERO -DFEW)
self_decrement=(ABA -DBUG_SELF_DECREMENT -DNONBLOCK -DCONSEQUENCES)
callback_first=(ABA -DBUG_CALLBACK_FIRST -DCONSEQUENCES)
sequence_in_range=(FORM_2019 -DBUG_SEQUENCE_IN_RANGE -DCONSEQUENCES)
ladders=(boolean count_zero self_decrement callback_first sequence_in_range)

check_mistakes()
{
	finds "a new range is clean during an invalidation" '!\(x_hit\)' TWO_RANGES -DBUG_BORN_CLEAN
	finds "the same: a stale page" 'pfn==cpu|x_gone' TWO_RANGES -DBUG_BORN_CLEAN -DCONSEQUENCES
	finds "a start gives no new sequence" 'g_began' NESTED -DBUG_KEEP_SEQ
	finds "the same: a stale page" 'pfn==cpu|x_gone' NESTED -DBUG_KEEP_SEQ -DCONSEQUENCES
	finds "an end wakes no waiter" 'invalid end state' NESTED -DBUG_NO_WAKE
	finds "an end without the lock wakes no waiter" 'invalid end state' NESTED -DBUG_HASHED_WAKES_NOBODY
	finds "a waiter queues up without the lock" 'invalid end state' NESTED -DBUG_SLEEPS_UNLOCKED
	finds "a waiter does not check the slot after it has queued up" 'invalid end state' NESTED -DBUG_SLOT_CHECKED_ONCE -DFINE
	finds "a start reads the filter before it takes a slot" 'g_armed|r_state|x_hit' TWO_RANGES -DBUG_FILTER_FIRST
	finds "a registration searches the slots before it updates the filter" 'x_hit' TWO_RANGES -DBUG_SLOTS_FIRST -DFINE
	finds "a range is not in the filter: a stale page" 'pfn==cpu|x_gone' ABA -DBUG_NOT_IN_FILTER -DCONSEQUENCES
	finds "the level of a range is not in the filter: a stale page" 'pfn==cpu|x_gone' ABA -DBUG_NO_LEVEL -DCONSEQUENCES
	finds "a range removes another one from the filter" 'levels' UNREGISTER -DBUG_REMOVED_TWICE
	finds "the part of a cell stays when its range is removed" 'levels' UNREGISTER -DBUG_PART_STAYS
	finds "a start misses a range whose cells change: a stale page" 'pfn==cpu|x_gone' SPLIT -DBUG_REBOUND_UNSEEN
	finds "a slot has a new owner before the old one is done" 'x_slot' NESTED -DBUG_KEY_FIRST
	finds "the shared slot has bounds" 'x_slot' OVERFLOW -DBUG_SHARED_BOUNDS
	finds "the same: a stale page" 'pfn==cpu|x_gone' OVERFLOW -DBUG_SHARED_BOUNDS -DCONSEQUENCES
	finds "an endless invalidation shares a slot for ever" 'invalid end state' ENDLESS -DNO_ROOM -DBUG_SHARED_FOR_EVER
	finds "a subscription during an invalidation" 'g_armed' SUBSCRIBE -DBUG_SUBSCRIBES_IN_FLIGHT
	finds "the death of the mm raises no sequence" 'g_armed|pfn==cpu|dead' EXIT -DBUG_RELEASE_RAISES_NOTHING
	finds "the death of the mm wakes no waiter" 'invalid end state' EXIT -DBUG_RELEASE_WAKES_NOBODY
	finds "new bounds wake no waiter" 'waiter_range' RESIZE -DBUG_REBOUND_WAKES_NOBODY
	finds "a driver resizes without its lock" 'pfn==cpu|x_gone' RESIZE -DBUG_RESIZE_UNLOCKED -DCONSEQUENCES
	finds "a walk continues from a range that has left the tree" 'r_mirror' UNREGISTER -DBUG_NEXT_OF_DETACHED
	finds "unregister waits for no callback" 'g_unregistered' UNREGISTER -DBUG_UNREGISTER_WAITS_FOR_NOBODY
	finds "rmmod waits for no free function" 'g_unloaded' UNREGISTER -DBUG_EXIT_WAITS_FOR_NOBODY
	finds "a failure skips the finish of a pass" 'g_open' MIRRORS -DBUG_FAILURE_SKIPS_FINISH
}

# proves TEXT SCENE [FLAG...]: no state has an error.
proves()
{
	local text="prove: $1"
	shift
	run -O1 "$@"
	holds "$text" all_states "$run/out"
	measured
}

all_states()
{
	grep 'errors: 0$' "$1" || { cat "$1"; return 1; }
	# pan prints these if it stops early, for lack of memory or depth.
	! grep -E 'not completed|too small|MEMLIM|out of memory' "$1"
}

# finds TEXT REGEX SCENE [FLAG...]: there is a counterexample that matches REGEX.
finds()
{
	local text="prove: found: $1" what=$2
	shift 2
	run -O0 "$@"
	holds "$text" grep -E "^pan:1: .*($what)" "$run/out"
}

# run GCC_FLAG SCENE [FLAG...]: store pan's report in $run/out.
run()
{
	local optimize=$1 scene=$2 flags=("-DSCENE_$2" "${@:3}")
	run=$work/run.$((++runs))
	mkdir "$run"
	step "${flags[*]}" search || :
}

search()
(
	cd "$run" && generate "$optimize" -DCOLLAPSE -DMEMLIM=4000 && pan -m100000 -w22
)

# Check SCENE_STORM for liveness, and other scenes for safety.
generate()
{
	local about=(-DSAFETY)
	[[ $scene != STORM ]] || about=(-DNFAIR=3)
	spin -a "${flags[@]}" "$model/protocol.pml" && gcc -w "$1" "${about[@]}" "${@:2}" -o pan pan.c
}

pan()
{
	local about=()
	[[ $scene != STORM ]] || about=(-a -f)
	timeout 900 nice ./pan "${about[@]}" "$@" >out
}

measured()
{
	local counted memory seconds
	read -r counted memory seconds < <(awk '
		/states, stored/	{ states = $1 }
		/total actual memory/	{ memory = $1 }
		/elapsed time/		{ time = $4 }
		END			{ printf "%d %.0f %.1f\n", states, memory, time }
	' "$run/out")
	echo "#   $counted states, $seconds s, $memory MB"
	states=$((states + counted))
}

#
# Counterexamples as ladders
#

# ladder NAME: print the shortest counterexample.
ladder()
{
	local -n flags_of=$1
	local scene=${flags_of[0]} flags=("-DSCENE_${flags_of[0]}" "${flags_of[@]:1}")
	run=$work/ladder.$1
	mkdir -p "$run"
	step "the shortest counterexample: $1" shortest || return
	(cd "$run" && spin -k protocol.pml.trail -T "${flags[@]}" "$model/protocol.pml" | awk -f "$model/ladder.awk")
}

shortest()
(
	cd "$run" && generate -O0 -DREACH && shorter
)

# pan can search for the shortest counterexample by itself, except for an acceptance cycle.
shorter()
{
	local depth
	if [[ $scene != STORM ]]; then
		pan -i -m10000
		return
	fi
	for ((depth = 50; depth < 1000; depth += 10)); do
		pan "-m$depth"
		[[ ! -e protocol.pml.trail ]] || return 0
	done
	return 1
}

# In docs/protocol.md each counterexample is a code block after a comment with its name.
check_story()
{
	local name
	for name in "${ladders[@]}"; do
		ladder "$name" >"$work/ladder" || :
		told "$name" >"$work/told"
		holds "prove: docs/protocol.md shows the counterexample \"$name\"" \
			same "$work/told" "$work/ladder"
	done
}

same()
{
	test -s "$1" && diff "$1" "$2"
}

told()
{
	awk -v name="$1" '
		$0 == "<!-- ladder " name " -->" { here = 1; next }
		here && /^```/	{ if (inside) exit; inside = 1; next }
		inside
	' "$story"
}

write_ladders()
{
	local name
	for name in "${ladders[@]}"; do
		ladder "$name" >"$work/$name"
	done
	awk -v dir="$work" '
		!inside
		/^<!-- ladder /	{ name = $3; here = 1 }
		here && /^```/	{
			if (!inside) {
				while ((getline line <(dir "/" name)) > 0)
					print line
				inside = 1
			} else {
				print
				inside = here = 0
			}
		}
	' "$story" >"$work/story"
	cat "$work/story" >"$story"
}

#
# Litmus tests
#
check_litmus()
{
	local dir tree file name what

	if ! dir=$("$rig/prove.sh" herd7) || ! tree=$("$rig/kernels.sh" newest); then
		skip "prove: litmus tests" "herd7, or the memory model of the kernel, is not available"
		return
	fi
	say "litmus tests with the memory model of Linux $(make -s -C "$tree" kernelversion)"
	for file in "$litmus"/*.litmus; do
		name=$(basename "$file" .litmus)
		observe "$file" >"$work/$name"
		holds "prove: litmus $name: never" observed "$work/$name" Never
		for what in $(marks barrier "$file"); do
			without barrier "$what" "$file" >"$work/$name.litmus"
			observe "$work/$name.litmus" >"$work/$name"
			holds "prove: litmus $name without $what: sometimes" observed "$work/$name" Sometimes
		done
		for what in $(marks race "$file"); do
			without race "$what" "$file" >"$work/$name.litmus"
			observe "$work/$name.litmus" >"$work/$name"
			holds "prove: litmus $name without $what: a data race" grep '^Flag data-race' "$work/$name"
		done
	done
}

# Run herd7 with the loader and the libraries of its Debian suite.
observe()
{
	local lib=$dir/lib-of-herd7
	(cd "$tree/tools/memory-model" && "$lib/ld.so" --library-path "$lib" "$dir/usr/bin/herd7" \
		-set-libdir "$dir/usr/share/herdtools7/herd" -conf linux-kernel.cfg "$1") 2>&1 || :
}

# The unchanged test must not have a data race either.
observed()
{
	grep "^Observation .* $2 " "$1" || { cat "$1"; return 1; }
	[[ $2 != Never ]] || ! grep '^Flag' "$1"
}

# In a test, "// barrier NAME: TEXT" behind a line gives the line without the barrier.
marks()
{
	sed -nE "s,.*// $1 ([a-z]+):.*,\1,p" "$2" | sort -u
}

without()
{
	sed -E "s,^(\s*)\S.*// $1 $2:(.*)$,\1\2," "$3"
}

# The functions that fetch packages of other suites are in kernels.sh.
herd7()
{
	local version dir
	# shellcheck disable=SC1090 # without the call of main()
	. <(sed '/^\. /d; $d' "$rig/kernels.sh")
	lock kernels
	use_suite sid || die "no package lists, so no herd7"
	version=$(package_version herdtools7)
	[[ $version ]] || die "the archive has no herdtools7"
	dir=$cache/herd7/$(plain "$version")
	cached "$dir" unpack_herd7
	echo "$dir"
}

unpack_herd7()
{
	local deb
	fetch herdtools7 libc6 libgmp10
	for deb in "$work"/debs/*.deb; do
		case ${deb##*/} in
		herdtools7_*)
			unpack_only "$deb" "$1" './usr/bin/herd7'
			unpack_only "$deb" "$1" './usr/share/herdtools7/herd/*' ;;
		*)
			dpkg-deb -x "$deb" "$1" ;;
		esac
	done
	rm -r "$work/debs"
	mkdir "$1/lib-of-herd7"
	find "$1/usr/lib" -name 'ld-linux*.so.*' -exec mv {} "$1/lib-of-herd7/ld.so" \;
	find "$1/usr/lib" -name 'lib[cm].so.*' -exec mv -t "$1/lib-of-herd7" {} +
	find "$1/usr/lib" -name 'libgmp.so.10' -exec cp -L -t "$1/lib-of-herd7" {} +
	find "$1" -mindepth 1 -maxdepth 1 ! -name usr ! -name lib-of-herd7 -exec rm -rf {} +
	rm -rf "$1/usr/lib"
}


#
# Consistency of code, model and litmus tests
#
check_names()
{
	local sources=("$repo"/hmm_{mirror,callback,invalidate,fault,read,wait,part,lookup,range,grow,tree,slot,filter,mm}.c
		"$repo"/hmm_{mirror,invalidate,tree,slot,filter}.h "$repo"/internal.h)

	awk -f "$model/sources.awk" "${sources[@]}" >"$work/sources"
	field function <"$work/sources" >"$work/functions"
	modelled >"$work/modelled"
	field code <"$model/functions.txt" >"$work/not_modelled"
	field model <"$model/functions.txt" >"$work/only_modelled"
	grep -v '^#' "$litmus/sites.txt" | grep . >"$work/sites"

	holds "prove: each function is in the model, or functions.txt gives a reason" \
		none comm -23 "$work/functions" <(sort -u "$work/modelled" "$work/not_modelled")
	holds "prove: each function of the model is in the code, or in functions.txt" \
		none comm -23 "$work/modelled" <(sort -u "$work/functions" "$work/only_modelled")
	holds "prove: functions.txt has no other function" none superfluous
	holds "prove: sites.txt has each barrier of the code, and no other" \
		diff <(barriers) <(awk '$2 != "-" { print $1, $2 }' "$work/sites" | sort -u)
	holds "prove: sites.txt has each litmus test, and no other" \
		diff <(cd "$litmus" && printf '%s\n' *.litmus | sed 's/\.litmus$//') \
		<(awk '$3 != "-" { print $3 }' "$work/sites" | sort -u)
	holds "prove: comments at barriers name their litmus test" \
		none comm -23 <(awk '$3 != "-" { print $1, $3 }' "$work/sites" | sort -u) \
		<(sed -n 's/^named //p' "$work/sources" | sort -u)
}

# none COMMAND...: COMMAND prints nothing.
none()
{
	! "$@" | grep .
}

field()
{
	awk -v kind="$1" '$1 == kind { print $2 }' | sort -u
}

barriers()
{
	sed -n 's/^site //p' "$work/sources" | sort -u
}

# Print the names of the functions in the model, without ghost functions.
modelled()
{
	sed -nE 's/^(inline |#define )([a-z_0-9]+)\(.*/\2/p' "$model"/{protocol,history}.pml |
		grep -v '^g_' | sort -u
}

superfluous()
{
	comm -12 "$work/not_modelled" "$work/modelled"
	comm -23 "$work/not_modelled" "$work/functions"
	comm -23 "$work/only_modelled" "$work/modelled"
	comm -12 "$work/only_modelled" "$work/functions"
}

main "$@"
