#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# patches.sh LINUX_TREE DIR: write hmm_mirror as a series of patches for that tree, for "git am".
# The tree is only read, and need not be a git repository. Author and sign-off are those of the
# git configuration.
#
# patches.sh --base LINUX_TREE DIR: make DIR a repository with only the files of the tree that
# the series changes.

. "$(dirname "$0")/lib.sh"

main()
{
	if [[ ${1-} == --base ]]; then
		base_tree "$2" "$3"
	else
		series "$@"
	fi
}

series()
{
	local tree=${1:?usage: patches.sh LINUX_TREE DIR} to=${2:?} version base
	version=$(module_version)
	git var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
		die "no identity for the sign-off: set git config --global user.name and user.email"

	series=$work/series
	base_tree "$tree" "$series"
	base=$(git -C "$series" rev-parse HEAD)

	part core "mm: add hmm_mirror" <<-END
		Drivers of devices that share a process address space (GPUs, NPUs, RDMA
		NICs) keep copies of page table entries, which have to follow the mm.
		hmm_mirror is the part that they have in common: one pair of mmu
		notifier subscriptions for each mm, any number of devices on it, and for
		each tracked range an exact validity, a sequence for collision-retry,
		and a wait that is killable, bounded, and not delayed by invalidations
		of other addresses.

		Linux had an API of this name until 5.5. It kept validity in a boolean, so
		a driver missed an invalidation that began and ended between two checks.
	END
	part "core kunit" "mm/hmm_mirror: add KUnit tests" <<-END
		Test each invariant, and force each race by interleaving.
	END
	part "core kunit sample" "mm/hmm_mirror: add a software GPU as a sample" <<-END
		An example for drivers, which also tests hmm_mirror from user space.
	END
	part "core kunit sample docs" "Documentation: mm: add hmm_mirror" <<-END
		Document the API by its kernel-doc.
	END

	mkdir -p "$to"
	rm -f "$to"/[0-9]*-*.patch
	git -C "$series" format-patch -q --subject-prefix="PATCH hmm_mirror $version" \
		--no-signature -o "$(cd "$to" && pwd)" "$base"
	ls "$to"/[0-9]*-*.patch
}

# base_tree TREE DIR
base_tree()
{
	local file
	for file in mm/Kconfig mm/Makefile MAINTAINERS Documentation/mm/index.rst \
		Documentation/vm/index.rst; do
		[[ ! -e $1/$file ]] || install -D -m 644 "$1/$file" "$2/$file"
	done
	git init -q "$2"
	git -C "$2" add .
	git -C "$2" -c user.name=base -c user.email=base commit -qm base
}

# part "PARTS" SUBJECT, with the body on stdin
part()
{
	# shellcheck disable=SC2086 # words
	"$rig/graft.sh" "$series" $1
	maintainers "$series/MAINTAINERS"
	git -C "$series" add -A .
	{ echo "$2"; echo; cat; } | git -C "$series" commit -qsF -
}

# Add a MAINTAINERS entry after that of HMM, in alphabetical order.
maintainers()
{
	! grep -q '^HMM_MIRROR' "$1" || return 0
	awk -v who="$(git var GIT_COMMITTER_IDENT | sed 's/>.*/>/')" '
		{ print }
		/^HMM - / { hmm = 1 }
		hmm && /^$/ {
			print "HMM_MIRROR - MIRRORS OF A PROCESS ADDRESS SPACE"
			print "M:\t" who
			print "L:\tlinux-mm@kvack.org"
			print "S:\tMaintained"
			print "F:\tDocumentation/*/hmm_mirror.rst"
			print "F:\tinclude/linux/hmm_mirror.h"
			print "F:\tmm/hmm_mirror/"
			print ""
			hmm = 0
		}
	' "$1" >"$work/MAINTAINERS"
	cp "$work/MAINTAINERS" "$1"
}

main "$@"
