# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # used by those who source it
#
# Debian packages that the host needs. Kernels are not installed: kernels.sh unpacks
# them into the cache.

packages_fetch=(ca-certificates debian-archive-keyring xz-utils)
# Dependencies of Debian's kernel headers, which are unpacked and not installed.
packages_module=(gcc gcc-12 make libc6-dev libelf1 libssl3 zlib1g pahole kmod rsync)
packages_static=(sparse coccinelle perl python3)
packages_kunit=(gcc make libc6-dev flex bison bc perl python3 ccache rsync)
packages_built=("${packages_kunit[@]}" libelf-dev)
packages_arm64=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm)
packages_vm=(qemu-system-x86 cpio)
packages_bench=(python3)
packages_trace=(trace-cmd python3)
packages_deb=(build-essential debhelper dh-dkms rsync)
packages_docs=(python3-sphinx python3-myst-parser python3 groff-base git)

# need PACKAGE...: install the missing packages.
need()
{
	local missing=() name
	command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
		die "this needs Debian, or a system with apt and these packages: $*"
	for name; do
		installed "$name" || missing+=("$name")
	done
	((${#missing[@]})) || return 0
	# The end of the subshell unlocks: a child may need more packages.
	(lock packages && step "installing ${missing[*]}" apt_install "${missing[@]}") ||
		die "please install them: apt-get install --no-install-recommends ${missing[*]}"
}

installed()
{
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Package lists can be missing or out of date: update them only if the installation fails.
apt_install()
{
	local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
	((EUID == 0)) || get=(sudo -n "${get[@]}")
	"${get[@]}" install --no-install-recommends "$@" ||
		{ "${get[@]}" update && "${get[@]}" install --no-install-recommends "$@"; }
}
