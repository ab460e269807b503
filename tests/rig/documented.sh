# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by tests that do what the documentation says, word for word.

# commands FILE HEADING: the code of a section, which is what is indented by four blanks.
commands()
{
	awk -v heading="## $2" '
		/^## / { inside = $0 == heading; next }
		inside && sub(/^    /, "") { print; n++ }
		END { exit !n }
	' "$1"
}

# stand_ins DIR RELEASE: programs that the documentation names, for a kernel that does not run
# here: modules are looked up and not loaded, and instead of asking the firmware to trust a
# certificate, see that it is one. DIR goes first in PATH.
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
