#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# built.sh VERSION[-FRAGMENT...]: build a kernel for virtual machines, from Debian's source or
# the tree LINUX=, with configs/x86.config and configs/FRAGMENT.config. For example, 7.3 has no
# fragment, 7.3-debug has KASAN, lockdep and others, 6.12-kcsan reports data races. Prints a
# directory of the cache with vmlinuz, headers/ (for M= builds) and release, like kernels.sh for
# stock kernels.
#
# A line "# make: ..." of a fragment is for the make that builds the kernel, "# boot: ..." for
# the kernel command line, which is in the file append.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local name=${1:?usage: built.sh VERSION[-FRAGMENT...]} tree source configs=("$rig/configs/x86.config") dir
	local fragment fragments=${name#"${name%%-*}"}

	need "${packages_built[@]}"
	for fragment in ${fragments//-/ }; do
		configs+=("$rig/configs/$fragment.config")
	done
	cat "${configs[@]}" >"$work/fragment"

	if [[ ${LINUX-} ]]; then
		tree=$(cd "$LINUX" && pwd)
		source=$(make -s -C "$tree" kernelversion)-$(tree_digest "$tree")
	else
		tree=$("$rig/kernels.sh" source "${name%%-*}")
		source=${tree##*/}
	fi
	dir=$cache/built/$source$fragments-$(cat "$work/fragment" <(gcc --version) | digest)
	lock "built-${dir##*/}"
	cached "$dir" build "$tree" "$dir.objects" "$name"
	touch "$dir"
	# Remove kernels that were not used for a month.
	find "$cache/built" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
	echo "$dir"
}

# Print a digest of names, sizes and times: the content of a kernel tree is too large.
tree_digest()
{
	(cd "$1" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' | sort | digest)
}

# build TO TREE OBJECTS NAME: an interrupted build continues.
build()
{
	local to=$1 tree=$2 objects=$3
	local make=(make -C "$tree" "O=$objects" "CC=ccache gcc")

	mkdir -p "$objects"
	step "configuring Linux $4" "${make[@]}" KCONFIG_ALLCONFIG="$work/fragment" allnoconfig
	configured "$tree" "$work/fragment" "$objects/.config"
	# shellcheck disable=SC2046 # words
	step "building Linux $4, which takes minutes" "${make[@]}" $(said make) -j"$(nproc)" bzImage modules
	step "packing Linux $4" pack "$tree" "$objects" "$to"
	said boot >"$to/append"
	rm -rf "$objects"
}

# said make|boot: print the arguments in the fragments.
said()
{
	sed -n "s/^# $1: //p" "$work/fragment"
}

# pack TREE OBJECTS TO: copy the files for builds of modules and for a boot.
pack()
{
	local headers=$3/headers
	mkdir -p "$headers"
	(cd "$1" && find Makefile include scripts arch/x86/Makefile* arch/x86/include \
		-path include/dt-bindings -prune -o ! -type d -print0) |
		rsync -a --from0 --files-from=- "$1" "$headers" &&
	rsync -a --exclude='*.o' --exclude='.*.cmd' --exclude=/include/generated/utsrelease.h.tmp \
		--include=/include/'***' --include=/scripts/'***' --include=/.config \
		--include=/Module.symvers --include=/arch/ --include=/arch/x86/ \
		--include=/arch/x86/include/'***' --include=/tools/ --include=/tools/objtool/ \
		--include=/tools/objtool/objtool --exclude='*' "$2/" "$headers" &&
	cp "$2/arch/x86/boot/bzImage" "$3/vmlinuz" &&
	cp "$2/include/config/kernel.release" "$3/release"
}

main "$@"
