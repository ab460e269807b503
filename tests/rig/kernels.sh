#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Get kernels from the Debian mirror of this machine, unpacked into the cache.
# Nothing is installed. Each command prints a directory:
#
#   kernels.sh stock 6.12     vmlinuz, headers/ (for M= builds) and release; 6.12-rt is
#                             the PREEMPT_RT flavour
#   kernels.sh modules 6.12   modules of the stock kernel that the suite needs: *.ko,
#                             and order, a list to load them by
#   kernels.sh source 7.3     a source tree
#   kernels.sh newest         the source tree of the newest available kernel
#   kernels.sh busybox        busybox, statically linked

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	need "${packages_fetch[@]}"
	lock kernels
	# Remove the directories of killed runs.
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

# Print the Debian suite that has a kernel version.
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

# Print the address of an archive of the host, by label (Debian, Debian-Security).
archive()
{
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk -v label="$1" '$1 == label { print $2; exit }'
}

# use_suite SUITE: set apt[], options that make apt use that suite, and ignore the
# lists, pins and installed packages of the host.
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
		# The package lists contain the names of archives.
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

# package_version NAME: print the version, or nothing if there is no such package.
package_version()
{
	apt-cache "${apt[@]}" show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p'
}

# fetch PACKAGE...: download packages to $work/debs.
fetch()
{
	mkdir -p "$work/debs"
	step "downloading $*" download "$@"
}

download()
{
	cd "$work/debs" && apt-get "${apt[@]}" -q download "$@"
}

# Convert a version to a directory name without special characters.
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

# find_stock VERSION[-rt]: set abi, version and flavour.
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
		linux-image-* | linux-binary-*)	# without the modules: half a gigabyte
			step "unpacking ${deb##*/}" unpack_only "$deb" "$to" '*/vmlinuz*' ;;
		*)
			step "unpacking ${deb##*/}" dpkg-deb -x "$deb" "$to" ;;
		esac
	done
	rm -r "$work/debs"

	# The headers include the common ones by absolute path.
	# shellcheck disable=SC2016 # for make
	sed -i 's,/usr/src/,$(dir $(lastword $(MAKEFILE_LIST)))../,' "$to/usr/src/$headers/Makefile"
	# This release has no compilers of older ones; gcc 12 builds all kernels.
	sed -i 's/gcc-[0-9]*/gcc-12/' "$to/usr/src/$headers/.kernelvariables"
	ln -s "usr/src/$headers" "$to/headers"
	ln -s "$(cd "$to" && find . -name 'vmlinuz*' -type f)" "$to/vmlinuz"
	echo "$abi" >"$to/release"

	! ldd "$to/headers/scripts/basic/fixdep" 2>&1 | grep -q 'not found' ||
		die "the kernel headers $abi were made for a newer Debian than this one"
}

# Signed and unsigned images differ only in the signature.
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
	dir=$cache/stock-modules/$(plain "$version")$flavour-fuse
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

# Modules for swap space, for a file system with writeback, and for one of user programs.
pick_modules()
{
	local files
	files=$(modprobe -d "$work/image" -S "$2" --show-depends -a zram ext4 fuse |
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

# ungraft TREE: remove a graft by an earlier version of graft.sh, which changed the tree itself.
# If such a version runs there, the graft stays.
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
		# Use a subshell, which ends if something is not available, and not a
		# condition, in which errexit is off.
		set +e
		dir=$(set -e; source_tree "$version")
		rc=$?
		set -e
		((rc)) || break
		say "trying an older kernel than Linux $version"
	done
	((rc == 0)) || die "no kernel source is available"
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
# Busybox: unpacked, because its package conflicts with that of the dynamic one
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
