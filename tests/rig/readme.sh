#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# readme.sh DIR [README]: write the files of the README's driver to DIR: each code block
# below a line "<!-- file: NAME -->". Only the README has these files.

. "$(dirname "$0")/lib.sh"

main()
{
	local to=${1:?usage: readme.sh DIR [README]} from=${2:-$repo/README.md}
	mkdir -p "$to"
	awk -v to="$to" '
		/^<!-- file: .* -->$/ { name = $3; next }
		/^```/ { file = name ? to "/" name : ""; if (file) { printf "" >file; n++ } name = ""; next }
		file { print >file }
		END { exit !n }
	' "$from" || die "$from has no files"
}

main "$@"
