#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# install.sh [KERNEL...]: "make install", and the commands of docs/signing.md, on kernels with
# different names of the release and the modules directory: the stock kernels of KERNELS= or
# directories of kernels.sh and built.sh. Nothing is installed on the host: its /usr is the
# lower layer of an overlay, in a mount namespace.

if [[ ! ${INSTALL_NAMESPACE-} ]]; then
	user=()
	((EUID == 0)) || user=(--map-root-user)
	if ! unshare "${user[@]}" --mount true 2>/dev/null; then
		echo "ok - install # SKIP a mount namespace cannot be created"
		exit
	fi
	INSTALL_NAMESPACE=own exec unshare "${user[@]}" --mount "$0" "$@"
fi

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/documented.sh"

main()
{
	local dir
	need "${packages_fetch[@]}" "${packages_module[@]}" openssl
	mkdir "$work/layer"
	mount -t tmpfs layer "$work/layer"
	trap 'umount -l "$work/layer"; cleanup' EXIT
	(($#)) || set -- ${KERNELS:-5.10 6.1 6.12}
	for dir; do
		[[ $dir == /* ]] || dir=$("$rig/kernels.sh" stock "$dir")
		check_kernel "$dir"
	done
}

check_kernel()
{
	local release headers sources layer
	release=$(<"$1/release") headers=$(readlink -f "$1/headers")
	sources=$work/sources-$release layer=$work/layer/$release
	say "kernel: $release"
	sync_sources "$repo" "$sources"
	cp "$repo"/{Makefile,hmm_mirror.mk} "$sources"

	mkdir -p "$layer"/{upper/lib/modules/"$release",work,mount}
	# The package of the kernel has these files.
	touch "$layer/upper/lib/modules/$release"/modules.{order,builtin}
	ln -s "$headers" "$layer/upper/lib/modules/$release/build"
	mount -t overlay -o "lowerdir=/usr,upperdir=$layer/upper,workdir=$layer/work" layer /usr
	stand_ins "$work/stand-ins-$release" "$release"

	check_install
	check_driver
	check_relative
	check_signing
	check_clang "$1"
	umount -l /usr
}

# documented COMMANDS: run commands of the documentation in the sources.
documented()
{
	cd "$sources" && PATH=$work/stand-ins-$release:$PATH bash -exc "$1"
}

check_install()
{
	holds "install: $release: make install" documented 'make core; sudo make install'
	holds "install: $release: modprobe finds hmm-mirror" documented 'modprobe hmm-mirror'
	holds "install: $release: modprobe finds hmm_mirror" documented 'modprobe hmm_mirror'
	holds "install: $release: there is no second modules directory" \
		test "$(ls "$layer/upper/lib/modules")" = "$release"
	holds "install: $release: the module is for this kernel" for_this_kernel
}

for_this_kernel()
{
	local magic
	magic=$(documented 'modinfo -F vermagic hmm-mirror') && [[ $magic == "$release "* ]]
}

# Build a driver with the two lines of README.md.
check_driver()
{
	local driver=$work/driver-$release
	mkdir "$driver"
	cp "$repo"/tests/external/{Kbuild,minimal.c} "$driver"
	holds "install: $release: a driver builds against the installation" builds_driver "$driver"
}

builds_driver()
{
	make -C "/lib/modules/$release/build" M="$1" W=1 modules 2>&1 | tee "$1/log" &&
		test -f "$1/minimal.ko" && ! grep -iE 'warning|undefined' "$1/log"
}

# kbuild runs in another directory, so relative paths need care.
check_relative()
{
	holds "install: $release: to a relative DESTDIR" relative DESTDIR=stage stage/usr/include/hmm_mirror/hmm_mirror.mk
	holds "install: $release: to a relative INSTALL_MOD_PATH" relative INSTALL_MOD_PATH=target target/lib/modules/"$release"/modules.dep
}

# relative VARIABLE=DIR FILE: all files are installed below DIR, FILE among them.
relative()
{
	documented "make $1 install" && cd "$sources" && ls "$2" &&
		find "${1#*=}/lib/modules/$release" -name 'hmm-mirror.ko*' | grep . &&
		test -f "${1#*=}/lib/modules/$release/hmm_mirror/Module.symvers" &&
		! ls -d "$headers/${1#*=}" 2>/dev/null
}

check_signing()
{
	local sign=$headers/scripts/sign-file name="install: $release: docs/signing.md, by hand"
	if [[ ! -x $sign ]]; then
		skip "$name" "the headers have no sign-file"
	elif ldd "$sign" | grep -q 'not found'; then
		skip "$name" "its sign-file is for another release of Debian"
	else
		holds "$name" signed_by_hand
	fi
}

# The last command prints the signer.
signed_by_hand()
{
	documented "$(commands "$repo/docs/signing.md" "By hand")" | tee "$work/signed" &&
		[[ $(tail -n 1 "$work/signed") == "my modules" ]]
}

# Make headers of a kernel that clang has built, without options that clang 14 does not know.
# Headers of later kernels have more of these.
check_clang()
{
	local name="install: $release: with clang, if the kernel was built with it"
	[[ $release == 5.10.0-* ]] || return 0
	if (($(type -P clang ld.lld llvm-ar llvm-nm llvm-objcopy | wc -l) < 5)); then
		skip "$name" "there is no clang"
		return
	fi
	mkdir "$work/clang"
	cp -al "$1/." "$work/clang"
	pretend_clang "$work/clang/headers"
	holds "$name" builds_with_clang "$work/clang/headers"
}

pretend_clang()
{
	local file
	sed -i '/^CC = /d' "$1/.kernelvariables"
	for file in .config include/config/auto.conf; do
		sed -i 's/^CONFIG_CC_IS_GCC=/CONFIG_CC_IS_CLANG=/; s/^CONFIG_GCC_VERSION=.*/CONFIG_GCC_VERSION=0/
			/^CONFIG_LD_IS_BFD=/d; /^CONFIG_RETHUNK=/d; /^CONFIG_SLS=/d' "$1/$file"
		echo CONFIG_LD_IS_LLD=y >>"$1/$file"
	done
	sed -i 's/CONFIG_CC_IS_GCC/CONFIG_CC_IS_CLANG/; s/CONFIG_GCC_VERSION .*/CONFIG_GCC_VERSION 0/
		s/CONFIG_CLANG_VERSION .*/CONFIG_CLANG_VERSION 140000/
		/CONFIG_RETHUNK /d; /CONFIG_SLS /d' "$1/include/generated/autoconf.h"
}

builds_with_clang()
{
	documented "make clean; make KDIR='$1' core" && readelf -p .comment "$sources/hmm-mirror.ko" | grep 'clang version'
}

main "$@"
