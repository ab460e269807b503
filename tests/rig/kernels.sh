#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernels from the Debian mirror that this machine uses, unpacked into the
# cache. Nothing is installed. Each prints the directory:
#
#   kernels.sh stock 6.12     vmlinuz, headers/ (for M= builds) and release; 6.12-rt is
#                             the PREEMPT_RT flavour
#   kernels.sh modules 6.12   what the stock kernel has as modules and the suite
#                             wants: *.ko, and order, a list to load them by
#   kernels.sh source 7.3     a source tree
#   kernels.sh newest         the source tree of the newest kernel to be had
#   kernels.sh busybox        busybox, statically linked

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	need "${packages_fetch[@]}"
	lock kernels
	# What runs that were killed have left.
	find "$cache" -maxdepth 1 -name 'tmp.*' -mtime +1 -exec rm -rf {} +
	case ${1-}:${2-} in
	stock:?*)	stock "$2" ;;
	modules:?*)	stock_modules "$2" ;;
	source:?*)	source_tree "$2" ;;
	newest:)	newest ;;
	busybox:)	busybox ;;
	*)		die "usage: kernels.sh stock VERSION | modules VERSION | source VERSION | newest | busybox" ;;
	esac
}

# The Debian suite that carries a kernel version.
suite_of()
{
	case $1 in
	5.10)		echo bullseye ;;
	6.1 | 6.12)	echo bookworm ;;
	7.2)		echo sid ;;
	7.3)		echo trixie-backports ;;
	*)		die "no Debian suite is known to have Linux $1" ;;
	esac
}

# The host's own archive: address by label (Debian, Debian-Security).
archive()
{
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk -v label="$1" '$1 == label { print $2; exit }'
}

# use_suite SUITE: sets apt[], options that make apt see that suite and nothing
# of the host: neither its lists, nor its pins, nor what it has installed.
use_suite()
{
	local dir=$cache/apt/$1
	apt=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o "Dir::State=$dir/state" -o Dir::State::status=/dev/null
		-o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root
		-o Acquire::Retries=3 -o Acquire::http::Timeout=60)
	[[ -z $(find "$dir/fresh" -mtime -1 2>/dev/null) ]] || return 0

	mkdir -p "$dir"/{state/lists,cache/archives}/partial
	write_sources "$1" >"$dir/sources.list"
	if step "updating package lists of $1" apt-get "${apt[@]}" -q -o APT::Update::Error-Mode=any update; then
		touch "$dir/fresh"
	elif [[ -e $dir/fresh ]]; then
		say "going on with the package lists of $(date -r "$dir/fresh" +%F)"
	else
		return 1
	fi
}

write_sources()
{
	local main security
	main=$(archive Debian)
	if [[ -z $main ]]; then
		# Names of archives come with the package lists.
		step "updating package lists" update_host
		main=$(archive Debian)
	fi
	[[ $main ]] || die "apt has no Debian archive configured"
	security=$(archive Debian-Security)

	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $main $1 main"
	[[ $1 == sid || $1 == *-backports || -z $security ]] ||
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $security $1-security main"
}

update_host()
{
	if ((EUID)); then sudo -n apt-get -q update; else apt-get -q update; fi
}

# package_version NAME: empty where there is none.
package_version()
{
	apt-cache "${apt[@]}" show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p'
}

# fetch PACKAGE...: to $work/debs.
fetch()
{
	mkdir -p "$work/debs"
	step "downloading $*" download "$@"
}

download()
{
	cd "$work/debs" && apt-get "${apt[@]}" -q download "$@"
}

# A version as a directory name that no tool trips over.
plain()
{
	tr -c 'A-Za-z0-9.\n-' _ <<<"$1"
}

#
# Stock kernels
#
stock()
{
	local abi version flavour dir
	find_stock "$1"
	dir=$cache/stock/$(plain "$version")$flavour
	cached "$dir" unpack_stock "$abi"
	echo "$dir"
}

# find_stock VERSION[-rt]: sets abi, version and flavour.
find_stock()
{
	local base=${1%-rt}
	flavour=${1#"$base"}
	use_suite "$(suite_of "$base")" || die "no package lists, so no Linux $1"
	abi=$(apt-cache "${apt[@]}" pkgnames "linux-headers-$base." |
		sed -nE "s/^linux-headers-([^-]*(-[0-9][^-]*)?$flavour-amd64)\$/\1/p" |
		sort -V | tail -n 1)
	[[ $abi ]] || die "the archive has no Linux $1 for amd64"
	version=$(package_version "linux-headers-$abi")
}

unpack_stock()
{
	local to=$1 abi=$2 deb image headers=linux-headers-$2

	image=$(image_package "$abi")
	# shellcheck disable=SC2046 # package names are words
	fetch $(depends "$image" '^linux-binary-') \
		$(depends "$headers" '^linux-(headers|kbuild)-') "$image" "$headers"

	for deb in "$work"/debs/*.deb; do
		case ${deb##*/} in
		linux-image-* | linux-binary-*)	# the rest is half a gigabyte of modules
			step "unpacking ${deb##*/}" unpack_only "$deb" "$to" '*/vmlinuz*' ;;
		*)
			step "unpacking ${deb##*/}" dpkg-deb -x "$deb" "$to" ;;
		esac
	done
	rm -r "$work/debs"

	# The headers include the common ones by absolute path.
	# shellcheck disable=SC2016 # for make
	sed -i 's,/usr/src/,$(dir $(lastword $(MAKEFILE_LIST)))../,' "$to/usr/src/$headers/Makefile"
	# The compilers of older releases are not in this one; gcc 12 builds all.
	sed -i 's/gcc-[0-9]*/gcc-12/' "$to/usr/src/$headers/.kernelvariables"
	ln -s "usr/src/$headers" "$to/headers"
	ln -s "$(cd "$to" && find . -name 'vmlinuz*' -type f)" "$to/vmlinuz"
	echo "$abi" >"$to/release"

	! ldd "$to/headers/scripts/basic/fixdep" 2>&1 | grep -q 'not found' ||
		die "the kernel headers $abi were made for a newer Debian than this one"
}

# Signed and unsigned images differ in the signature only.
image_package()
{
	[[ $(package_version "linux-image-$1") ]] && echo "linux-image-$1" ||
		echo "linux-image-$1-unsigned"
}

stock_modules()
{
	local abi version flavour dir
	need "${packages_module[@]}"
	find_stock "$1"
	dir=$cache/stock-modules/$(plain "$version")$flavour
	cached "$dir" unpack_modules "$abi"
	echo "$dir"
}

unpack_modules()
{
	local to=$1 abi=$2 image deb
	image=$(image_package "$abi")
	# shellcheck disable=SC2046 # package names are words
	fetch $(depends "$image" '^linux-(binary|modules)-') "$image"
	mkdir "$work/image"
	for deb in "$work"/debs/*.deb; do
		step "unpacking the modules of ${deb##*/}" dpkg-deb -x "$deb" "$work/image"
	done
	[[ -d $work/image/lib/modules ]] || ln -s usr/lib "$work/image/lib"
	step "looking for dependencies" depmod -b "$work/image" "$abi"
	step "picking modules" pick_modules "$to" "$abi"
	rm -r "$work/debs" "$work/image"
}

# Swap space, and a file system that writes back.
pick_modules()
{
	local files
	files=$(modprobe -d "$work/image" -S "$2" --show-depends -a zram ext4 |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }') &&
		xargs cp -t "$1" <<<"$files" &&
		sed 's,.*/,,; s,\.xz$,,' <<<"$files" >"$1/order" &&
		find "$1" -name '*.xz' -exec unxz {} +
}

depends()
{
	apt-cache "${apt[@]}" depends "$1" | sed -n 's/^ *Depends: //p' | grep -E "$2" || :
}

unpack_only()
{
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards "$3"
}

#
# Source trees
#
source_tree()
{
	local version dir
	use_suite "$(suite_of "$1")" || die "no package lists, so no source of Linux $1"
	version=$(package_version "linux-source-$1")
	[[ $version ]] || die "the archive has no source of Linux $1"
	dir=$cache/source/$(plain "$version")
	cached "$dir" unpack_source "linux-source-$1"
	[[ ! -e $dir/mm/hmm_mirror ]] || ungraft "$dir"
	echo "$dir"
}

# ungraft TREE: earlier versions of graft.sh wrote into the tree itself. If one of them is
# at work there, the graft stays.
ungraft()
{
	local fd
	exec {fd}>"$cache/lock/uml-${1##*/}"
	flock -n "$fd" || return 0
	say "removing a graft from ${1##*/}"
	rm -rf "$1"/mm/hmm_mirror "$1"/include/linux/hmm_mirror.h "$1"/Documentation/*/hmm_mirror.rst
	sed -i '/hmm_mirror\//d' "$1/mm/Makefile"
	sed -i '/hmm_mirror\/Kconfig/,+1d' "$1/mm/Kconfig"
	sed -i '/^   hmm_mirror$/d' "$1"/Documentation/[mv]m/index.rst
}

newest()
{
	local version dir rc
	for version in 7.3 7.2 6.12; do
		# In a subshell, which ends where something cannot be had; and not
		# as a condition, which would make it go on there.
		set +e
		dir=$(set -e; source_tree "$version")
		rc=$?
		set -e
		((rc)) || break
		say "so an older one than Linux $version"
	done
	((rc == 0)) || die "no kernel source can be had"
	echo "$dir"
}

unpack_source()
{
	fetch "$2"
	step "unpacking $2" unpack_tarball "$1" "$2" "$work"/debs/*.deb
	rm -r "$work/debs"
}

unpack_tarball()
{
	dpkg-deb --fsys-tarfile "$3" | tar -xO "./usr/src/$2.tar.xz" | tar -xJ -C "$1" --strip-components=1
}

#
# Busybox: unpacked, as to install it would remove a dynamic one
#
busybox()
{
	local version dir
	use_suite bookworm || die "no package lists, so no busybox"
	version=$(package_version busybox-static)
	dir=$cache/busybox/$(plain "$version")
	cached "$dir" unpack_busybox
	echo "$dir/busybox"
}

unpack_busybox()
{
	fetch busybox-static
	dpkg-deb --fsys-tarfile "$work"/debs/*.deb | tar -xO ./bin/busybox >"$1/busybox"
	chmod +x "$1/busybox"
	rm -r "$work/debs"
}

main "$@"
