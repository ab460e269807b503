#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build.sh STOCK [FLAGS]: build the modules, with fault injection, and the programs for a
# stock kernel from kernels.sh, in the cache and not in the repository. Prints the directory,
# which also has build.log, with the warnings of W=1. FLAGS are for the compiler.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock=${1:?usage: build.sh STOCK [FLAGS]} flags=${2-} dir

	need "${packages_module[@]}"
	dir=$cache/modules/${stock##*/}-$(sources_digest "$repo")-$({ gcc-12 --version; echo "$flags"; } | digest)
	lock modules
	cached "$dir" build "$stock" "$flags"
	# Each change of the sources has made a directory.
	find "$cache/modules" -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +
	echo "$dir"
}

build()
{
	local to=$1 stock=$2 flags=$3
	sync_sources "$repo" "$to"
	step "building the modules for $(<"$stock/release")" build_modules "$to" "$stock" "$flags"
	step "building the programs" build_programs "$to"
}

build_modules()
{
	make -C "$2/headers" M="$1" W=1 -j"$(nproc)" CONFIG_HMM_MIRROR_LEGACY_TEST=m \
		CONFIG_HMM_MIRROR_INJECT=y KCFLAGS="$3" modules 2>&1 | tee "$1/build.log"
}

build_programs()
{
	make -C "$1" -f "$repo/Makefile" samples/hmm_gpu_demo tests/user/hmm_gpu_{vram,suite}
}

main "$@"
