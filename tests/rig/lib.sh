# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by those who source it
#
# Sourced by all scripts of the rig. Results go to stdout as TAP lines without
# numbers ("ok - name"), which check.sh numbers and counts. Messages go to stderr,
# so that a caller can use the output of a function.

set -euo pipefail
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
# Kernel builds must not inherit the flags of a make that calls the script.
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

# step TEXT COMMAND...: run COMMAND in a subshell with its output in a file. Print a
# message every ten seconds, and the end of the output if it fails. COMMAND is a
# program, or a function that is one pipeline or a chain of &&, because errexit is off
# in it.
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

# Print the errors of a build. With several jobs they are not at its end.
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
	# Not sleep(1), which would outlive this process and keep its locks and pipes open.
	exec {never}<> <(:)
	while ! read -rt 10 -u "$never"; do
		say "... $1: $(tail -n 1 "$2" | tr -d '\r' | cut -c 1-70)"
	done
}

# lock NAME: hold a lock until this script ends.
lock()
{
	local fd
	mkdir -p "$cache/lock"
	exec {fd}>"$cache/lock/$1"
	flock -n $fd || { say "waiting for another run ($1)"; flock $fd; }
}

# cached DIR FUNCTION [ARGUMENT...]: if DIR of the cache is missing, let FUNCTION make
# it, in the directory that is its first argument. DIR appears only when it is
# complete.
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

# holds NAME COMMAND...: one test. COMMAND is as for step; its output is shown if it
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

# sources DIR: print the source files of the modules and the test programs. tests/ has other
# files, too.
sources()
{
	(cd "$1" && find . \( -name .git -o -path './tests/*/*' ! -path './tests/user/*' \
		! -path './tests/legacy/*' \) -prune -o -type f ! -name '*.mod.c' \
		\( -name '*.[ch]' -o -name 'Kbuild*' -o -name Kconfig \) -printf '%P\n' | sort)
}

# sync_sources FROM TO: copy the sources. Only files that differ are written, so that
# make rebuilds no others.
sync_sources()
{
	rsync -rc --delete --prune-empty-dirs \
		--exclude=.git --exclude='*.mod.c' --include=/tests/user/ --include=/tests/legacy/ \
		--exclude='/tests/*/' \
		--include='*/' --include='*.[ch]' --include='Kbuild*' --include=Kconfig \
		--exclude='*' "$1/" "$2/"
}

# configured TREE FRAGMENT CONFIG: fail if kconfig has dropped an option of the fragment. That is
# allowed for options that the version does not have, or that a comment in the fragment lists as
# optional.
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

# to_native DIR: convert a driver for 5.4 with legacy/to_native.cocci, and add a Kbuild. spatch
# succeeds even if it could not parse something.
to_native()
{
	mkdir -p "$1" &&
		cp "$repo/tests/legacy/to_native.c" "$1" &&
		printf '%s\n' 'obj-m += to_native.o' "ccflags-y += -I$repo" >"$1/Kbuild" &&
		spatch --sp-file "$repo/legacy/to_native.cocci" --in-place "$1/to_native.c" 2>&1 &&
		grep -q 'hmm_mirror_range_fault(' "$1/to_native.c" &&
		grep -q 'hmm_mirror_attach(' "$1/to_native.c"
}

# build_native DIR KERNEL BUILT: build the converted driver. BUILT has the modules for the kernel.
build_native()
{
	make -C "$2/headers" M="$1" W=1 KBUILD_EXTRA_SYMBOLS="$3/Module.symvers" modules >"$1/log" 2>&1 ||
		{ cat "$1/log"; return 1; }
	test -f "$1/to_native.ko" &&
		! grep -E ' warning: |^WARNING: ' "$1/log" | grep -v '^[^ ]*/include/'
}

# Print the version of the module; dkms.conf finds it in the same way.
module_version()
{
	sed -n 's/^#define HMM_MIRROR_VERSION[[:space:]]*"\(.*\)"$/\1/p' "$repo/hmm_mirror.h"
}

# Print a digest of stdin, for names in the cache.
digest()
{
	sha256sum | cut -c 1-12
}

# sources_digest DIR
sources_digest()
{
	(cd "$1" && { sources . && echo Makefile; } | xargs sha256sum | digest)
}

# shm_is_small MEGABYTES: the memory of User Mode Linux is a file. If it does not fit into
# /dev/shm (64 MB in some containers), User Mode Linux gets a bus error.
shm_is_small()
{
	(($(df --output=avail /dev/shm 2>/dev/null | tail -n 1) < $1 << 10))
}
