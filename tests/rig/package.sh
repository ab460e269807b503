#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make package: build the Debian packages, install them in a chroot with the headers of a stock
# kernel, upgrade and remove them. Build drivers against them, and run the drivers with the
# module of DKMS in a virtual machine. Needs root, for the chroot.

if ((EUID)); then
	echo "error: make package needs root, for a chroot" >&2
	exit 1
fi
# Mounts are only visible here, and end with the last process.
[[ ${PACKAGE_NAMESPACE-} ]] || PACKAGE_NAMESPACE=own exec unshare --mount "$0" "$@"

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/documented.sh"
# The functions for the archive, without the call of main().
# shellcheck disable=SC1090
. <(sed '/^\. /d; $d' "$rig/kernels.sh") # and its main(), which is replaced below

root=$work/root
in_chroot=(dkms make openssl)

main()
{
	local stock release version
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" \
		"${packages_deb[@]}" lintian mmdebstrap
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	release=$(<"$stock/release")
	version=$(module_version)

	check_build
	check_install
	make_root
	check_dkms
	check_drivers
	check_vm
	check_upgrade
	check_removal
}

#
# make deb
#
check_build()
{
	holds "package: make deb" "$rig/deb.sh" "$work/debs"
	holds "package: lintian has no complaint" lintian --allow-root \
		--fail-on error,warning "$work"/debs/*.changes

	copy_sources "$work/next" "$version.1"
	holds "package: a version that debian/changelog does not have is refused" \
		refuses "hmm_mirror.h at $version.1" env SOURCES="$work/next" "$rig/deb.sh" "$work/none"
	sed -i "1s/($version)/($version.1)/" "$work/next/debian/changelog"
	holds "package: make deb, next version" env SOURCES="$work/next" "$rig/deb.sh" "$work/next-debs"
}

# copy_sources TO VERSION
copy_sources()
{
	rsync -a --exclude=/.git --filter='dir-merge,- .gitignore' "$repo/" "$1/"
	sed -i "/^#define HMM_MIRROR_VERSION/s/\".*\"/\"$2\"/" "$1/hmm_mirror.h"
}

# refuses TEXT COMMAND...: COMMAND fails with the message TEXT.
refuses()
{
	local text=$1
	shift
	! "$@" >"$work/refusal" 2>&1 && grep -F -- "$text" "$work/refusal" ||
		{ cat "$work/refusal"; return 1; }
}

#
# make install
#
check_install()
{
	local stage=$work/stage
	sync_sources "$repo" "$work/sources"
	cp "$repo"/{Makefile,hmm_mirror.mk} "$work/sources"

	holds "package: make install" make -C "$work/sources" KDIR="$stock/headers" \
		DESTDIR="$stage" install
	# The module is compressed, like those of the kernel.
	cat >"$work/expected" <<-END
		lib/modules/$release/hmm_mirror/Module.symvers
		lib/modules/$release/updates/hmm-mirror.ko
		usr/include/hmm_mirror/hmm_mirror.h
		usr/include/hmm_mirror/hmm_mirror.mk
		usr/include/hmm_mirror/legacy/common.h
		usr/include/hmm_mirror/legacy/hmm_5_2.h
		usr/include/hmm_mirror/legacy/hmm_5_3.h
		usr/include/hmm_mirror/legacy/hmm_5_4.h
	END
	holds "package: make install installs the expected files and no others" \
		diff "$work/expected" <(find "$stage" -type f ! -name 'modules.*' -printf '%P\n' |
			sed 's/\.xz$//; s:/extra/:/updates/:' | sort)
}

# clean_build COMMAND...: COMMAND succeeds without a warning.
clean_build()
{
	"$@" >"$work/build" 2>&1 && ! grep -iE 'warning' "$work/build" ||
		{ cat "$work/build"; return 1; }
}

#
# The chroot
#
make_root()
{
	local dir
	in_chroot+=("linux-headers-$release")
	dir=$cache/chroot/${stock##*/}-$(digest <<<"${in_chroot[*]}")
	use_suite bookworm || die "no package lists, so no chroot"
	# The end of the subshell unlocks.
	(lock chroot && cached "$dir" debootstrap)

	mkdir "$root" "$work/upper" "$work/overlay"
	mount -t overlay -o "lowerdir=$dir,upperdir=$work/upper,workdir=$work/overlay" \
		overlay "$root"
	# Unmount before $work is removed, so that no file of the host is.
	trap 'umount -lR "$root"; cleanup' EXIT
	mount -t proc proc "$root/proc"
	cp -r "$work/debs" "$work/next-debs" "$root/"
	make_poor_kernel
}

debootstrap()
{
	step "making a chroot" mmdebstrap --variant=apt --include="${in_chroot[*]}" \
		bookworm "$1" "$cache/apt/bookworm/sources.list"
}

# A kernel whose configuration has no CONFIG_HMM_MIRROR.
make_poor_kernel()
{
	local headers=$root/usr/src/linux-headers-$release
	local poor=$root/lib/modules/$release-poor/build
	mkdir -p "$poor"
	cp -r "$headers"/{Makefile,include,.config} "$poor"
	sed -i '/^CONFIG_HMM_MIRROR=/d' "$poor/.config" "$poor/include/config/auto.conf"
}

inside()
{
	chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
		DEBIAN_FRONTEND=noninteractive "$@"
}

# install_debs DIR: install the packages as a user would.
install_debs()
{
	inside sh -c "apt-get install -y --no-install-recommends /$1/*.deb" 2>&1 | tee "$work/apt"
}

#
# DKMS
#
check_dkms()
{
	say "installing the packages; DKMS builds the module"
	holds "package: the packages can be installed" install_debs debs
	holds "package: DKMS has built the module" installed_version "$version"
	holds "package: a kernel without CONFIG_HMM_MIRROR is skipped" skipped "$release-poor"
	holds "package: DKMS has built nothing for that kernel" no_module "$release-poor"
	holds "package: make gives the reason" refuses "is a kernel without CONFIG_HMM_MIRROR" \
		inside make -C "/usr/src/hmm_mirror-$version" KVER="$release-poor"

	inside dkms unbuild "hmm_mirror/$version" -k "$release" >"$work/out" 2>&1 || :
	holds "package: DKMS can remove the module" no_module "$release"
	holds "package: a kernel that is installed later gets the module" \
		inside /etc/kernel/postinst.d/dkms "$release"
	holds "package: that module is installed" installed_version "$version"
	holds "package: DKMS has signed it" signed_by "DKMS module signing key"
	holds "package: docs/signing.md, with DKMS" signed_as_documented
	holds "package: a later kernel without CONFIG_HMM_MIRROR is skipped, too" skipped_later "$release-poor"
}

skipped()
{
	cat "$work/apt"
	grep -A 5 "^Building initial module for $1\$" "$work/apt" | grep -x 'Skipped\.'
}

# DKMS 3.0, of Debian 12, counts a skipped kernel as a failure; 3.2 does not.
skipped_later()
{
	inside /etc/kernel/postinst.d/dkms "$1" >"$work/out" 2>&1 || :
	cat "$work/out"
	grep 'includes a BUILD_EXCLUSIVE directive which does not match' "$work/out" && no_module "$1"
}

# The last command prints the signer.
signed_as_documented()
{
	stand_ins "$root/stand-ins" "$release"
	commands "$repo/docs/signing.md" "With DKMS" >"$root/signing" || return
	inside env PATH=/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin sh -ex /signing | tee "$work/signed" &&
		[[ $(tail -n 1 "$work/signed") == "DKMS module signing key" ]] &&
		installed_version "$version"
}

signed_by()
{
	[[ $(modinfo -F signer "$(module_of "$release")") == "$1" ]]
}

module_of()
{
	find "$root/lib/modules/$1" -name 'hmm-mirror.ko*'
}

no_module()
{
	[[ ! $(module_of "$1") ]] && ! inside dkms status -m hmm_mirror -k "$1" | grep -F "$1"
}

# installed_version VERSION
installed_version()
{
	local module symvers
	module=$(module_of "$release")
	symvers=$root/var/lib/dkms/hmm_mirror/kernel-$release-x86_64/Module.symvers

	inside dkms status -m hmm_mirror &&
		[[ $(modinfo -F version "$module") == "$1" ]] &&
		[[ $(modinfo -F vermagic "$module") == "$release "* ]] &&
		grep -w hmm_mirror "$root/lib/modules/$release/modules.dep" "$symvers"
}

#
# Drivers
#
check_drivers()
{
	local example examples=$root/usr/share/doc/hmm-mirror-dev/examples
	for example in minimal hmm_gpu; do
		cp -r "$examples/$example" "$root/$example"
		holds "package: examples/$example builds against the packages" clean_build \
			inside make -C "/lib/modules/$release/build" M="/$example" W=1 modules
	done
	cp -r "$examples/minimal" "$root/unlinked"
	holds "package: without Module.symvers a driver is refused, with the reason" \
		refuses "hmm_mirror is not installed for Linux $release" inside make \
		-C "/lib/modules/$release/build" M=/unlinked HMM_MIRROR_SYMVERS= modules
}

check_vm()
{
	mkdir "$work/modules"
	holds "package: the modules for the virtual machine exist" collect "$work/modules"
	make -s -C "$work/sources" -f "$repo/Makefile" samples/hmm_gpu_demo >&2
	"$rig/vm.sh" --kernel "$stock" --modules "$work/modules" \
		--add "$work/sources/samples/hmm_gpu_demo" --run "$rig/vm/package.sh" ||
		not_ok "package: the virtual machine succeeds"
}

# DKMS compresses the module like those of the kernel.
collect()
{
	cp "$(module_of "$release")" "$root"/{minimal/minimal,hmm_gpu/hmm-gpu}.ko "$1" &&
		find "$1" -name '*.xz' -exec xz -d {} +
}

#
# Upgrade and removal
#
check_upgrade()
{
	say "upgrading the packages"
	holds "package: an upgrade succeeds" install_debs next-debs
	holds "package: the upgrade installs the next module" installed_version "$version.1"
	holds "package: the upgrade removes the old module" \
		gone "$root/usr/src/hmm_mirror-$version" "$root/var/lib/dkms/hmm_mirror/$version"
}

check_removal()
{
	holds "package: removal succeeds" inside apt-get purge -y hmm-mirror-dkms hmm-mirror-dev
	holds "package: no module is left after the removal" no_module "$release"
	holds "package: no file is left after the removal" nothing_left
}

gone()
{
	! ls -d "$@" 2>/dev/null
}

nothing_left()
{
	! find "$root"/{usr/src,usr/include,usr/share,var/lib/dkms,lib/modules} -xdev \
		-iname '*hmm*mirror*' ! -path '*/linux-headers-*' ! -path '*-poor/*' | grep .
}

main
