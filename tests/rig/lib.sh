# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by those who source it
#
# Sourced by all scripts of the rig. Results go to stdout as TAP lines without
# numbers ("ok - name"), which check.sh numbers and counts; everything else
# goes to stderr, so that the output of a function can be used by its caller.

set -euo pipefail
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
# A make that called us must not hand its flags down to kernel builds.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$rig/../.." && pwd)
cache=${XDG_CACHE_HOME:-~/.cache}/hmm_mirror
export RIG_START=${RIG_START:-$(date +%s)}

mkdir -p "$cache"
work=$(mktemp -d "$cache/tmp.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

cleanup()
{
	local jobs
	jobs=$(jobs -p)
	# shellcheck disable=SC2086 # numbers
	[[ -z $jobs ]] || kill $jobs 2>/dev/null || :
	rm -rf "$work"
}

say()
{
	printf '# [%3ds] %s\n' $(($(date +%s) - RIG_START)) "$*" >&2
}

die()
{
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TEXT COMMAND...: run it in a subshell with its output in a file, a sign of
# life every ten seconds, and the end of the output where it fails. COMMAND is a
# program, or a function that is one pipeline or a chain of &&: errexit is off in
# there.
step()
{
	local text=$1 log beat rc=0
	shift
	log=$(mktemp "$work/log.XXXXXX")
	say "$text"
	heartbeat "$text" "$log" &
	beat=$!
	("$@") >"$log" 2>&1 </dev/null || rc=$?
	kill $beat
	wait $beat 2>/dev/null || :
	if ((rc)); then
		say "failed (status $rc): $text"
		explain "$log" | comment >&2
	fi
	return $rc
}

# With several jobs at once the error is not at the end of a build.
explain()
{
	grep -E -A 6 '(error|Error|undefined reference.*|ERROR): ' "$1" | head -n 40 || :
	echo "the end:"
	tail -n 20 "$1"
}

heartbeat()
{
	local never
	trap - EXIT INT TERM HUP
	# Not sleep(1), which would outlive us and keep our locks and pipes.
	exec {never}<> <(:)
	while ! read -rt 10 -u "$never"; do
		say "... $1: $(tail -n 1 "$2" | tr -d '\r' | cut -c 1-70)"
	done
}

# lock NAME: until this script ends.
lock()
{
	local fd
	mkdir -p "$cache/lock"
	exec {fd}>"$cache/lock/$1"
	flock -n $fd || { say "waiting for another run ($1)"; flock $fd; }
}

# cached DIR FUNCTION [ARGUMENT...]: DIR of the cache, where it is missing made
# by FUNCTION in the directory that it gets as its first argument. DIR appears
# when it is complete, or not at all.
cached()
{
	local dir=$1 make=$2
	shift 2
	[[ -d $dir ]] && return
	mkdir -p "${dir%/*}" "$work/new"
	"$make" "$work/new" "$@"
	mv -T "$work/new" "$dir"
}

ok()      { echo "ok - $*"; }
not_ok()  { echo "not ok - $*"; }
skip()    { echo "ok - $1 # SKIP $2"; }
comment() { sed 's/^/# /'; }

# holds NAME COMMAND...: one test; what COMMAND, as in step, prints is shown if it
# fails.
holds()
{
	local name=$1 log
	shift
	log=$(mktemp "$work/log.XXXXXX")
	if ("$@") >"$log" 2>&1 </dev/null; then
		ok "$name"
	else
		not_ok "$name"
		tail -n 60 "$log" | comment
	fi
}

# sources DIR: what kernel modules, and programs for their tests, are made of; else there are
# other things below tests/.
sources()
{
	(cd "$1" && find . \( -name .git -o -path './tests/*/*' ! -path './tests/user/*' \
		! -path './tests/legacy/*' \) -prune -o -type f ! -name '*.mod.c' \
		\( -name '*.[ch]' -o -name 'Kbuild*' -o -name Kconfig \) -printf '%P\n' | sort)
}

# sync_sources FROM TO: only what differs in content is written, so that make
# rebuilds no more; what is gone goes.
sync_sources()
{
	rsync -rc --delete --prune-empty-dirs \
		--exclude=.git --exclude='*.mod.c' --include=/tests/user/ --include=/tests/legacy/ \
		--exclude='/tests/*/' \
		--include='*/' --include='*.[ch]' --include='Kbuild*' --include=Kconfig \
		--exclude='*' "$1/" "$2/"
}

# configured TREE FRAGMENT CONFIG: kconfig drops silently what it cannot have. That is fine
# for what the version does not know, and for what a comment in the fragment calls optional.
configured()
{
	local line symbol lost=()
	while IFS= read -r line; do
		symbol=${line%%=*} symbol=${symbol#CONFIG_}
		if grep -qrE --include='Kconfig*' "^(menu)?config $symbol\$" "$1" &&
			! grep -q "^# optional:.* $symbol\>" "$2"; then
			lost+=("$line")
		fi
	done < <(grep '^CONFIG_' "$2" | grep -vxFf "$3")
	((${#lost[@]} == 0)) || die "the configuration lost ${lost[*]}"
}

# to_native DIR: what legacy/to_native.cocci makes of a driver for 5.4, with a Kbuild. spatch
# ends well also when it could not make sense of something.
to_native()
{
	mkdir -p "$1" &&
		cp "$repo/tests/legacy/to_native.c" "$1" &&
		printf '%s\n' 'obj-m += to_native.o' "ccflags-y += -I$repo" >"$1/Kbuild" &&
		spatch --sp-file "$repo/legacy/to_native.cocci" --in-place "$1/to_native.c" 2>&1 &&
		grep -q 'hmm_mirror_range_fault(' "$1/to_native.c" &&
		grep -q 'hmm_mirror_attach(' "$1/to_native.c"
}

# build_native DIR KERNEL BUILT: for a kernel, with the modules that build.sh has built for it.
build_native()
{
	make -C "$2/headers" M="$1" W=1 KBUILD_EXTRA_SYMBOLS="$3/Module.symvers" modules >"$1/log" 2>&1 ||
		{ cat "$1/log"; return 1; }
	test -f "$1/to_native.ko" &&
		! grep -E ' warning: |^WARNING: ' "$1/log" | grep -v '^[^ ]*/include/'
}

# Of the module; dkms.conf, which is read alone, finds it in the same way.
module_version()
{
	sed -n 's/^#define HMM_MIRROR_VERSION[[:space:]]*"\(.*\)"$/\1/p' "$repo/hmm_mirror.h"
}

# Of stdin; long enough for names in the cache.
digest()
{
	sha256sum | cut -c 1-12
}

# sources_digest DIR
sources_digest()
{
	(cd "$1" && { sources . && echo Makefile; } | xargs sha256sum | digest)
}

# shm_is_small MEGABYTES: the memory of User Mode Linux is a file; where it does not fit
# into /dev/shm (64 MB in some containers) it gets a bus error.
shm_is_small()
{
	(($(df --output=avail /dev/shm 2>/dev/null | tail -n 1) < $1 << 10))
}
