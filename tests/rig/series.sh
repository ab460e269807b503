#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of "make patches", on each kernel source in the cache: the series applies, checkpatch has
# no complaint, and the result is the source that kunit.sh has built and run.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local tree newest
	need "${packages_fetch[@]}" "${packages_kunit[@]}" git
	newest=$("$rig/kernels.sh" newest)
	for tree in "$cache"/source/*; do
		check_series "$tree" "$newest"
	done
}

# check_series TREE NEWEST
check_series()
{
	local version patches=$work/patches applied=$work/applied
	version=$(make -s -C "$1" kernelversion)
	rm -rf "$patches" "$applied" "$work/series"

	# Any sign-off will do.
	export GIT_AUTHOR_NAME=hmm_mirror GIT_AUTHOR_EMAIL=hmm_mirror@localhost
	export GIT_COMMITTER_NAME=hmm_mirror GIT_COMMITTER_EMAIL=hmm_mirror@localhost

	holds "series: the patches for $version are written" "$rig/patches.sh" "$1" "$patches"
	holds "series: the patches apply to $version" apply "$1" "$patches" "$applied"
	holds "series: the patches for $version give the tested sources" same "$1" "$applied"
	holds "series: checkpatch on $version" checkpatch "$2" "$patches"
}

# apply TREE PATCHES TO
apply()
{
	"$rig/patches.sh" --base "$1" "$3" && git -C "$3" am -q --whitespace=error-all "$2"/*.patch
}

# same TREE APPLIED: compare with a graft of all parts into the same files.
same()
{
	"$rig/patches.sh" --base "$1" "$work/grafted" &&
		"$rig/graft.sh" "$work/grafted" &&
		diff -r --exclude=.git --exclude=MAINTAINERS "$2" "$work/grafted" &&
		rm -rf "$work/grafted"
}

# The first patch has the MAINTAINERS entry for all, and a user space program has to define its own
# attributes. The other exceptions are as in static.sh.
checkpatch()
{
	local ignore=FILE_PATH_CHANGES,ALLOC_WITH_SIZEOF,MACRO_ARG_REUSE
	ignore+=,PREFER_DEFINED_ATTRIBUTE_MACRO
	# For the header of tracepoints.
	ignore+=,COMPLEX_MACRO,MACRO_ARG_UNUSED,TRAILING_SEMICOLON,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE
	perl "$1/scripts/checkpatch.pl" --no-tree --strict --quiet --show-types \
		--ignore "$ignore" "$2"/*.patch
}

main
