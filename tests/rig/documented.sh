# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by tests that run the commands of the documentation unchanged.

# commands FILE HEADING: print the code of a section, which is indented by four blanks.
commands()
{
	awk -v heading="## $2" '
		/^## / { inside = $0 == heading; next }
		inside && sub(/^    /, "") { print; n++ }
		END { exit !n }
	' "$1"
}

# stand_ins DIR RELEASE: make replacements for programs in the documentation, for a kernel that
# does not run here. They look modules up instead of loading them, and check a certificate
# instead of enrolling it in the firmware. DIR must be first in PATH.
stand_ins()
{
	mkdir -p "$1"
	stand_in "$1/uname" "[ \"\$*\" != -r ] || { echo '$2'; exit; }" 'exec /usr/bin/uname "$@"'
	stand_in "$1/sudo" 'exec "$@"'
	stand_in "$1/apt" ':'
	stand_in "$1/modprobe" "exec /usr/sbin/modprobe -S '$2' --show-depends \"\$@\""
	stand_in "$1/modinfo" "exec /usr/sbin/modinfo -k '$2' \"\$@\""
	stand_in "$1/mokutil" 'case $1 in' \
		'--sb-state | --list-enrolled) ;;' \
		'--import) openssl x509 -inform DER -in "$2" -noout -subject ;;' \
		'*) exit 1 ;;' 'esac'
}

# stand_in FILE LINE...
stand_in()
{
	printf '%s\n' '#!/bin/sh' "${@:2}" >"$1"
	chmod +x "$1"
}
