#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make deb: deb.sh DIR: build the Debian packages in a copy of the sources, and put them into
# DIR. Needs no root if the tools are installed.
#
#   SOURCES=DIR		package the sources in DIR instead of this repository's

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local to=${1:?usage: deb.sh DIR}
	need "${packages_deb[@]}"
	mkdir -p "$to" "$work/deb/hmm-mirror"
	rsync -a --exclude=/.git --filter='dir-merge,- .gitignore' \
		"${SOURCES:-$repo}/" "$work/deb/hmm-mirror/"
	step "building the packages" build
	find "$work/deb" -maxdepth 1 -type f -exec cp -t "$to" {} +
	find "$work/deb" -maxdepth 1 -name '*.deb' -printf "$to/%f\n" | sort
}

# Build unsigned packages.
build()
{
	cd "$work/deb/hmm-mirror" && dpkg-buildpackage --no-sign
}

main "$@"
