#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# prove.sh: check the protocol by machine. tests/model with Spin: every state of
# every scene, and that each mistake brought back on purpose is found.
# tests/litmus with herd7 and the memory model of the newest kernel: what is
# forbidden never happens, and would without each of the barriers.
#
#   prove.sh ladders	write the counterexamples in docs/protocol.md anew
#   prove.sh herd7	prints the directory that has herd7

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
	proves "the same with time-outs: $safe" NESTED -DTIMEOUTS
	proves "refused by us or by others, 2 faults on a range: $safe" REFUSED
	proves "the same, step by step under the lock: $safe" NESTED -DFINE
	proves "late registration, 2 faults on 2 ranges: $safe" TWO_RANGES
	proves "the same, raised one by one: $safe" TWO_RANGES -DPIECES
	proves "the same, step by step under the lock: $safe" TWO_RANGES -DFINE
	proves "3 invalidations, one refused, 2 ranges, a fault on a late one: $safe" CROWD
	proves "more in flight than slots: $safe" OVERFLOW
	proves "the same, until a worker has made one: $safe" GROW
	proves "a lost end whose pointer comes back: $safe" LOST
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
	proves "the form of 2019, one thread: $safe" FORM_2019
	proves "weak fairness: a waiter gets through, whatever happens elsewhere for ever" STORM
	proves "weak fairness: the same, as soon as a worker has made slots" STORM -DGROWS -DFEW
	echo "#   $states states in all"
	finds "a limit: without memory, others share a slot for ever" 'acceptance cycle' STORM -DNO_ROOM
	finds "a limit: an end is lost by one that needed the lock" 'invalid end state' LOST -DLOST_ANYWHERE
}

check_history()
{
	proves "2019: to count down where start failed was right" \
		REFUSED -DBUG_SELF_DECREMENT -DOLD_MM -DOTHERS_FAIL=false
	finds "2019: without it the count leaks" 'invalid end state' \
		REFUSED -DBUG_COUNT_LEAKS -DOLD_MM -DOTHERS_FAIL=false
	finds "2019: it leaks where another subscriber fails" 'invalid end state' \
		REFUSED -DBUG_SELF_DECREMENT -DOLD_MM
	finds "the boolean of 2019: a stale page (ABA)" 'pfn==cpu' "${boolean[@]}"
	finds "validity given at count 0: a waiter starves" 'acceptance cycle' "${count_zero[@]}"
	finds "counting down where start failed: underflow" 'notifiers>0' "${self_decrement[@]}"
	finds "callbacks before the sequence: a stale page" 'x_gone|pfn==cpu' "${callback_first[@]}"
	finds "the sequence in a range that two use: a stale page" 'pfn==cpu' "${sequence_in_range[@]}"
}

boolean=(ABA -DBUG_BOOLEAN -DCONSEQUENCES)
count_zero=(STORM -DBUG_COUNT_ZERO -DFEW)
self_decrement=(ABA -DBUG_SELF_DECREMENT -DNONBLOCK -DCONSEQUENCES)
callback_first=(ABA -DBUG_CALLBACK_FIRST -DCONSEQUENCES)
sequence_in_range=(FORM_2019 -DBUG_SEQUENCE_IN_RANGE -DCONSEQUENCES)
ladders=(boolean count_zero self_decrement callback_first sequence_in_range)

check_mistakes()
{
	finds "a range is born clean, whoever is in flight" '!\(x_hit\)' TWO_RANGES -DBUG_BORN_CLEAN
	finds "the same: a stale page" 'pfn==cpu|x_gone' TWO_RANGES -DBUG_BORN_CLEAN -DCONSEQUENCES
	finds "a start gives no new sequence" 'g_began' NESTED -DBUG_KEEP_SEQ
	finds "the same: a stale page" 'pfn==cpu|x_gone' NESTED -DBUG_KEEP_SEQ -DCONSEQUENCES
	finds "an end wakes nobody" 'invalid end state' NESTED -DBUG_NO_WAKE
	finds "an end that took no lock wakes nobody" 'invalid end state' NESTED -DBUG_HASHED_WAKES_NOBODY
	finds "a waiter queues up without the lock" 'invalid end state' NESTED -DBUG_SLEEPS_UNLOCKED
	finds "a waiter looks no more when it has queued up" 'invalid end state' NESTED -DBUG_LOOKS_ONCE -DFINE
	finds "a start looks at the filter before it is seen" 'g_armed|r_state|x_hit' TWO_RANGES -DBUG_FILTER_FIRST
	finds "a range is in the filter after it has looked who is in flight" 'x_hit' TWO_RANGES -DBUG_LOOKS_FIRST -DFINE
	finds "a range is not in the filter: a stale page" 'pfn==cpu|x_gone' ABA -DBUG_NOT_IN_FILTER -DCONSEQUENCES
	finds "the size of its chunks is not: a stale page" 'pfn==cpu|x_gone' ABA -DBUG_NO_LEVEL -DCONSEQUENCES
	finds "a range takes another one out of the filter" 'levels' UNREGISTER -DBUG_REMOVED_TWICE
	finds "the part of a cell stays when a range goes" 'levels' UNREGISTER -DBUG_PART_STAYS
	finds "new bounds move in the filter, unseen: a stale page" 'pfn==cpu|x_gone' SPLIT -DBUG_REBOUND_UNSEEN
	finds "a slot has a new owner before the old one is done" 'x_slot' NESTED -DBUG_KEY_FIRST
	finds "the shared slot has bounds" 'x_slot' OVERFLOW -DBUG_SHARED_BOUNDS
	finds "the same: a stale page" 'pfn==cpu|x_gone' OVERFLOW -DBUG_SHARED_BOUNDS -DCONSEQUENCES
	finds "one without an end shares a slot for ever" 'invalid end state' ENDLESS -DNO_ROOM -DBUG_SHARED_FOR_EVER
	finds "subscribed while the mm is at it" 'g_armed' SUBSCRIBE -DBUG_SUBSCRIBES_IN_FLIGHT
	finds "the death of the mm raises nothing" 'g_armed|pfn==cpu|dead' EXIT -DBUG_RELEASE_RAISES_NOTHING
	finds "the death of the mm wakes nobody" 'invalid end state' EXIT -DBUG_RELEASE_WAKES_NOBODY
	finds "new bounds wake nobody" 'waiter_range' RESIZE -DBUG_REBOUND_WAKES_NOBODY
	finds "a driver resizes without its lock" 'pfn==cpu|x_gone' RESIZE -DBUG_RESIZE_UNLOCKED -DCONSEQUENCES
	finds "a walk goes on from a range that left the tree" 'r_mirror' UNREGISTER -DBUG_NEXT_OF_DETACHED
	finds "unregister waits for no callback" 'g_unregistered' UNREGISTER -DBUG_UNREGISTER_WAITS_FOR_NOBODY
	finds "rmmod waits for no free function" 'g_unloaded' UNREGISTER -DBUG_EXIT_WAITS_FOR_NOBODY
	finds "a failure leaves a pass without its finish" 'g_open' MIRRORS -DBUG_FAILURE_SKIPS_FINISH
}

# proves TEXT SCENE [FLAG...]: nothing is wrong in any state.
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
	# What pan says when it stops early, for want of memory or depth.
	! grep -E 'not completed|too small|MEMLIM|out of memory' "$1"
}

# finds TEXT REGEX SCENE [FLAG...]: there is a counterexample of that kind.
finds()
{
	local text="prove: found: $1" what=$2
	shift 2
	run -O0 "$@"
	holds "$text" grep -E "^pan:1: .*($what)" "$run/out"
}

# run GCC_FLAG SCENE [FLAG...]: leaves pan's report in $run/out.
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

# Of SCENE_STORM we ask what happens for ever, of every other one what can be.
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

# ladder NAME: the shortest counterexample.
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

# pan can look for a shorter one by itself, but not for one that goes on for ever.
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

# In the story each stands between ``` behind a comment that has its name.
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
		skip "prove: litmus tests" "herd7, or the memory model of the kernel, is not to be had"
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

# With the loader and the libraries of the suite that herd7 comes from.
observe()
{
	local lib=$dir/lib-of-herd7
	(cd "$tree/tools/memory-model" && "$lib/ld.so" --library-path "$lib" "$dir/usr/bin/herd7" \
		-set-libdir "$dir/usr/share/herdtools7/herd" -conf linux-kernel.cfg "$1") 2>&1 || :
}

# No data race either, where it is as in the code.
observed()
{
	grep "^Observation .* $2 " "$1" || { cat "$1"; return 1; }
	[[ $2 != Never ]] || ! grep '^Flag' "$1"
}

# In a test, "// barrier NAME: TEXT" behind a line says what stands there without it.
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
	# shellcheck disable=SC1090 # without what it does when it is run
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
# That code, model and litmus tests are about the same thing
#
check_names()
{
	local sources=("$repo"/hmm_{mirror,callback,invalidate,fault,read,wait,part,range,grow,tree,slot,filter,mm}.c
		"$repo"/hmm_{mirror,invalidate,tree,slot,filter}.h "$repo"/internal.h)

	awk -f "$model/sources.awk" "${sources[@]}" >"$work/sources"
	field function <"$work/sources" >"$work/functions"
	modelled >"$work/modelled"
	field code <"$model/functions.txt" >"$work/not_modelled"
	field model <"$model/functions.txt" >"$work/only_modelled"
	grep -v '^#' "$litmus/sites.txt" | grep . >"$work/sites"

	holds "prove: each function is in the model, or functions.txt says why not" \
		none comm -23 "$work/functions" <(sort -u "$work/modelled" "$work/not_modelled")
	holds "prove: what is in the model is in the code, or functions.txt says what it is" \
		none comm -23 "$work/modelled" <(sort -u "$work/functions" "$work/only_modelled")
	holds "prove: functions.txt has nothing else" none superfluous
	holds "prove: sites.txt has each barrier of the code, and no other" \
		diff <(barriers) <(awk '$2 != "-" { print $1, $2 }' "$work/sites" | sort -u)
	holds "prove: sites.txt has each litmus test, and no other" \
		diff <(cd "$litmus" && printf '%s\n' *.litmus | sed 's/\.litmus$//') \
		<(awk '$3 != "-" { print $3 }' "$work/sites" | sort -u)
	holds "prove: comments at barriers name their litmus test" \
		none comm -23 <(awk '$3 != "-" { print $1, $3 }' "$work/sites" | sort -u) \
		<(sed -n 's/^named //p' "$work/sources" | sort -u)
}

# The command has nothing to say.
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

# Names of the model; those of ghosts do not count.
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
