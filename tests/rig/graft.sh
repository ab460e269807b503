#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# graft.sh LINUX_TREE [PART...]: put hmm_mirror into a kernel tree. Parts: core, kunit, sample,
# docs; all of them by default. The part legacy, for out-of-tree drivers, is only for KUnit.
# Only changed files are written, so the next build of the kernel is short.
#
# graft.sh --copy LINUX_TREE [PART...]: put hmm_mirror into a copy of a tree of the cache, and
# print the directory of the copy. Its files are hard links to those of the tree, which is not
# changed. The copy has one graft at a time: the caller holds the lock "uml-NAME".
#
#   SOURCES=DIR		graft the sources in DIR instead of this repository's

. "$(dirname "$0")/lib.sh"

stage=$work/graft
dir=mm/hmm_mirror

main()
{
	local tree copy=''
	if [[ ${1-} == --copy ]]; then
		copy=$cache/grafted/${2##*/}
		shift
	fi
	tree=${1:?usage: graft.sh [--copy] LINUX_TREE [PART...]}
	shift
	(($#)) || set -- core kunit sample docs

	[[ -f $tree/mm/Kconfig && -f $tree/mm/Makefile ]] || die "$tree is not a kernel tree"
	if [[ $copy ]]; then
		cached "$copy" link_tree "$tree"
		tree=$copy
	fi
	in_tree_form "${SOURCES:-$repo}"
	keep " $* "
	tidy "$stage/$dir/Kbuild"
	tidy "$stage/$dir/Kconfig"
	mkdir -p "$tree/$dir"
	rsync -rc --delete "$stage/$dir/" "$tree/$dir/" --include='*/' \
		--include='*.[chS]' --include='Kbuild*' --include=Kconfig --exclude='*'
	rsync -rc "$stage/include" "$tree/"
	mention
	[[ " $* " != *" docs "* ]] || document
	[[ ! $copy ]] || echo "$copy"
}

# link_tree TO TREE
link_tree()
{
	say "linking a copy of ${2##*/}, for grafts"
	cp -al "$2/." "$1"
}

# Move the public header to include/linux, and remove code that only an out-of-tree build needs.
in_tree_form()
{
	mkdir -p "$stage/$dir" "$stage/include/linux"
	sync_sources "$1" "$stage/$dir"
	rm -rf "$stage/$dir/tests/user"
	mv "$stage/$dir/hmm_mirror.h" "$stage/include/linux/"
	find "$stage/$dir" -name '*.[ch]' -exec \
		sed -i 's,^#include "hmm_mirror.h",#include <linux/hmm_mirror.h>,' {} +
	sed -i '/^ifneq ($(KBUILD_EXTMOD),)/,/^endif/d' "$stage/$dir/Kbuild"
}

# keep PARTS: remove the others.
keep()
{
	[[ $1 == *" kunit "* ]] || drop tests HMM_MIRROR_KUNIT_TEST
	[[ $1 == *" sample "* ]] || drop samples SAMPLE_HMM_GPU
	rm -rf "$stage/$dir/tests/legacy"
	[[ $1 == *" legacy "* ]] || drop_legacy
}

drop_legacy()
{
	rm -rf "${stage:?}/$dir"/legacy "$stage/$dir"/tests/*_legacy*
	[[ -e $stage/$dir/tests ]] || return 0
	sed -i '/^# Not in the series/,/^endif/d' "$stage/$dir/tests/Kbuild"
	tidy "$stage/$dir/tests/Kbuild"
}

# drop FOLDER SYMBOL
drop()
{
	rm -rf "${stage:?}/$dir/$1"
	sed -i "/CONFIG_$2/d; /^hmm_mirror_test-y/d" "$stage/$dir/Kbuild"
	awk -v symbol="$2" '
		/^config / { off = ($2 == symbol) }
		!off
	' "$stage/$dir/Kconfig" >"$work/Kconfig"
	cp "$work/Kconfig" "$stage/$dir/Kconfig"
}

# Remove double blank lines.
tidy()
{
	local text
	text=$(cat -s "$1")
	echo "$text" >"$1"
}

# Add hmm_mirror to the Makefile and Kconfig of mm/. Replace these files, because each may be a
# link to a file of another tree.
mention()
{
	grep -q hmm_mirror/ "$tree/mm/Makefile" ||
		sed -i '$a obj-$(CONFIG_HMM_MIRROR_CORE) += hmm_mirror/' "$tree/mm/Makefile"
	grep -q hmm_mirror/ "$tree/mm/Kconfig" || add_kconfig "$tree/mm/Kconfig"
}

# Add the last entry of the memory management menu, before the last endmenu.
add_kconfig()
{
	tac "$1" | awk '
		{ print }
		!done && /^endmenu/ { print "\nsource \"mm/hmm_mirror/Kconfig\""; done = 1 }
	' | tac >"$work/mm-Kconfig"
	cp --remove-destination "$work/mm-Kconfig" "$1"
}

# Documentation/vm became Documentation/mm in 5.19.
document()
{
	local docs=$tree/Documentation/mm
	[[ -d $docs ]] || docs=$tree/Documentation/vm
	[[ -d $docs ]] || die "$tree has no documentation of mm"
	cmp -s "$repo/docs/hmm_mirror.rst" "$docs/hmm_mirror.rst" ||
		cp --remove-destination "$repo/docs/hmm_mirror.rst" "$docs/"
	grep -qx '   hmm_mirror' "$docs/index.rst" ||
		sed -i '0,/^   hmm$/s//   hmm\n   hmm_mirror/' "$docs/index.rst"
	grep -qx '   hmm_mirror' "$docs/index.rst" || die "$docs/index.rst does not list hmm"
}

main "$@"
