#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks that run nothing. The modules are built for the stock kernel KERNEL=; a source tree
# provides scripts that its headers lack.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_static[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	tree=$("$rig/kernels.sh" newest)
	built=$("$rig/build.sh" "$stock")

	holds "static: W=1 builds without a warning" no_match ' warning: |^WARNING: ' "$built/build.log"
	check_exports
	check_modinfo
	check_refusals
	check_clang
	check_early_kernel
	check_sparse
	check_to_native
	check_external
	check_style
	check_kernel_doc
	check_shell
}

# no_match REGEX FILE: fail if lines match, and print them.
no_match()
{
	! grep -E "$1" "$2"
}

# exports: print each symbol that the modules export, with the kind of export.
exports()
{
	awk '{ print $2, $4 }' "$built/Module.symvers"
}

check_exports()
{
	holds "static: there are exports" test -n "$(exports)"
	holds "static: exports are hmm_mirror_* and GPL only" \
		no_match '' <(exports | grep -vE '^hmm_mirror_[a-z0-9_]+ EXPORT_SYMBOL_GPL$')
}

check_modinfo()
{
	local module version
	version=$(module_version)
	for module in hmm-mirror.ko samples/hmm-gpu.ko; do
		holds "static: modinfo of ${module##*/} is complete" modinfo_complete "$built/$module"
		holds "static: ${module##*/} has the version of hmm_mirror.h" \
			test "$(modinfo -F version "$built/$module")" = "$version"
	done
	holds "static: dkms.conf has the version of hmm_mirror.h" \
		test "$(bash -c '. "$0" && echo "$PACKAGE_VERSION"' "$repo/dkms.conf")" = "$version"
	holds "static: debian/changelog has the version of hmm_mirror.h" \
		grep "^hmm-mirror ($version) " <(head -n 1 "$repo/debian/changelog")
	holds "static: dkms.conf leaves out kernels before 5.10, and no others" dkms_kernels
}

dkms_kernels()
{
	local name
	set +u # DKMS sets the variables
	# shellcheck disable=SC1091
	. "$repo/dkms.conf"
	for name in 5.10.0-46-amd64 5.19.17 6.1.0-57-amd64 6.12.117+deb12-amd64 7.3.4 10.0.1; do
		[[ $name =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "not $name"; return 1; }
	done
	for name in 2.6.32 3.10.0-1160.el7 4.19.0-27-amd64 5.4.0-216-generic 5.9.16; do
		[[ ! $name =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "$name"; return 1; }
	done
}

modinfo_complete()
{
	local field value
	for field in license description author version vermagic srcversion; do
		value=$(modinfo -F $field "$1") && [[ $value ]] || { echo "no $field"; return 1; }
	done
	[[ $(modinfo -F license "$1") == GPL ]] || { echo "license: $(modinfo -F license "$1")"; return 1; }
	[[ $(modinfo -F intree "$1") == "" ]] || { echo "the module pretends to be in-tree"; return 1; }
	# Each parameter has a description.
	! modinfo -F parm "$1" | grep -E '^[^:]*:\((int|uint|bool|ulong|charp)\)$'
}

# make refuses kernels for which the modules cannot be built, before it calls kbuild.
check_refusals()
{
	local config=$work/refused/.config header=$work/refused/include/generated/uapi/linux/version.h
	local variable
	holds "static: a KDIR that does not exist is refused" refused 'does not exist: install the headers'
	mkdir "$work/refused"
	echo CONFIG_64BIT=y >"$config"
	holds "static: a KDIR that is no kernel is refused" refused 'neither kernel headers nor a configured kernel'
	touch "$work/refused/Makefile"
	for variable in KDIR DESTDIR INSTALL_MOD_PATH; do
		holds "static: spaces in $variable are refused" \
			refused "spaces in a path .* $variable = " "$variable=$work/a b"
	done
	mkdir "$work/a b"
	cp "$repo/Makefile" "$work/a b"
	holds "static: spaces in the path of the sources are refused" \
		refused "spaces in a path .* CURDIR = " -C "$work/a b"
	: >"$config"
	holds "static: a kernel without configuration is refused" refused 'neither kernel headers nor a configured kernel'
	echo '# CONFIG_64BIT is not set' >"$config"
	mkdir -p "${header%/*}"
	echo '#define LINUX_VERSION_CODE 330239' >"$header"
	holds "static: a kernel before 5.10 is refused" refused 'before Linux 5.10'
	echo '#define LINUX_VERSION_CODE 330240' >"$header"
	holds "static: 32 bits are refused" refused 'needs 64 bits'
	echo CONFIG_64BIT=y >"$config"
	holds "static: a kernel without mmu notifiers is refused" refused 'without CONFIG_MMU_NOTIFIER'
	echo CONFIG_MMU_NOTIFIER=y >>"$config"
	holds "static: a kernel without HMM is refused" refused 'without CONFIG_HMM_MIRROR'
}

# refused WHY [MAKE_ARGUMENT...]: make fails with one sentence.
refused()
{
	! make -s -C "$repo" KDIR="$work/refused" "${@:2}" modules >"$work/refusal" 2>&1 || return
	cat "$work/refusal"
	[[ $(grep -c '^error: ' "$work/refusal") -eq 1 ]] && grep -q "$1" "$work/refusal"
}

# Check the compiler that make passes to kbuild, with a kernel that only prints it.
check_clang()
{
	local tool
	printf '%s\n' 'modules: ; @echo kbuild has LLVM=$(LLVM) CC=$(CC)' >"$work/refused/Makefile"
	echo CONFIG_HMM_MIRROR=y >>"$work/refused/.config"
	mkdir "$work/tools" "$work/clang"
	for tool in make sh grep sed uname cat; do
		ln -s "$(type -P $tool)" "$work/tools"
	done
	for tool in clang ld.lld llvm-ar llvm-nm llvm-objcopy; do
		ln -s "$(type -P true)" "$work/clang/$tool"
	done
	local PATH=$PATH
	holds "static: for a kernel built by gcc, kbuild chooses" kbuild_has 'LLVM= CC=cc'
	echo CONFIG_CC_IS_CLANG=y >>"$work/refused/.config"
	holds "static: without clang a kernel that clang has built is refused" \
		without_clang refused 'built with clang: install clang'
	PATH=$work/clang:$PATH
	holds "static: for a kernel built by clang, clang is used" kbuild_has 'LLVM= CC=clang'
	echo CONFIG_LD_IS_LLD=y >>"$work/refused/.config"
	holds "static: for a kernel linked by ld.lld, LLVM is used" kbuild_has 'LLVM=1 CC=cc'
	holds "static: LLVM= has precedence" kbuild_has 'LLVM=-19 CC=cc' LLVM=-19
	holds "static: CC= has precedence" kbuild_has 'LLVM= CC=clang-19' CC=clang-19
}

without_clang()
{
	PATH=$work/tools "$@"
}

# kbuild_has TEXT [MAKE_ARGUMENT...]
kbuild_has()
{
	make -s -C "$repo" KDIR="$work/refused" "${@:2}" modules 2>&1 | tee "$work/kbuild" &&
		grep -qx "kbuild has $1" "$work/kbuild"
}

# kbuild recognizes a kernel that ends a refused invalidation by a comment in a header.
check_early_kernel()
{
	local tree=$work/early/hmm_mirror
	mkdir -p "$tree"
	cp -al "$stock/." "$work/early"
	sed -i '/no mechanism for informing/d' "$work"/early/usr/src/*-common/include/linux/mmu_notifier.h
	sync_sources "$repo" "$tree"
	cp "$repo/Makefile" "$tree"
	holds "static: a kernel that does not end a refused invalidation is refused" early_is_refused "$tree"
}

early_is_refused()
{
	! make -s -C "$1" KDIR="$work/early/headers" core >"$work/refusal" 2>&1 || return
	cat "$work/refusal"
	[[ $(grep -c 'needs a kernel that ends an invalidation' "$work/refusal") -eq 1 ]] && ! grep 'CC ' "$work/refusal"
}

# Include the KUnit tests and the device memory of the sample, which no stock kernel can load,
# and modules that are built separately. On kernels that sparse does not understand, it switches
# itself off, so it must find a bug in a file that has one.
check_sparse()
{
	local dir=$work/sparse log=$work/sparse/log
	mkdir "$dir"
	sync_sources "$repo" "$dir"
	cp -r "$repo"/tests/{torture,bench} "$dir/tests"
	echo 'obj-m += canary.o tests/torture/ tests/bench/' >>"$dir/Kbuild"
	cat >"$dir/canary.c" <<-END
		#include <linux/module.h>
		int canary(int __user *p);
		int canary(int __user *p) { return *p; }
		MODULE_LICENSE("GPL");
	END
	step "running sparse" run_sparse "$dir" "$log" || :
	holds "static: sparse finds a mistake made on purpose" \
		grep 'canary.c:.*dereference of noderef expression' "$log"
	sed -i '/canary\.c:/d' "$log"
	holds "static: W=1 builds the tests without a warning" no_match '\[-W|objtool:|\*\*\*' "$log"
	sed -i '/\[-W\|objtool:/d' "$log"
	holds "static: sparse finds nothing else" no_match ' (warning|error): ' "$log"
}

run_sparse()
{
	make -C "$stock/headers" M="$1" -j"$(nproc)" W=1 C=2 CHECK=sparse \
		CONFIG_HMM_MIRROR_KUNIT_TEST=m CONFIG_HMM_MIRROR_LEGACY_TEST=m \
		CONFIG_DEVICE_PRIVATE=y KBUILD_MODPOST_WARN=1 modules 2>&1 | tee "$2"
}

# Check the conversion of a driver for 5.4 by legacy/to_native.cocci.
check_to_native()
{
	local dir=$work/native
	holds "static: to_native.cocci converts a driver" to_native "$dir"
	holds "static: to_native.cocci leaves no name of 2019" no_match \
		'"legacy/|mmap_sem|\<hmm_range|\<hmm_device_entry|->hmm\>|\<pfn_shift' "$dir/to_native.c"
	holds "static: the converted driver builds without a warning" \
		build_native "$dir" "$stock" "$built"
	look_up_in_a_caller >"$work/look_up.c"
	holds "static: to_native.cocci leaves no look-up without the mmap lock" look_up_is_found
}

# Print code that looks a VMA up in the caller of a function that faults.
look_up_in_a_caller()
{
	cat <<-END
		#include "legacy/hmm_5_4.h"
		static int inner(struct hmm_range *range, uint64_t *entry)
		{
			uint64_t *words;
			int got;
			range->pfns = words;
			got = hmm_range_fault(range, 0);
			return got;
		}
		int outer(struct mm_struct *mm, struct hmm_range *range, uint64_t *entry)
		{
			down_read(&mm->mmap_sem);
			if (!find_vma_intersection(mm, range->start, range->end))
				inner(range, entry);
			up_read(&mm->mmap_sem);
		}
	END
}

look_up_is_found()
{
	spatch --sp-file "$repo/legacy/to_native.cocci" --in-place "$work/look_up.c" 2>&1 &&
		grep 'find_vma_under_mmap_lock(mm, range->tracked.start, range->tracked.end)' "$work/look_up.c" &&
		grep 'unsigned long \*words' "$work/look_up.c" &&
		! grep mmap_sem "$work/look_up.c"
}

# Build out-of-tree drivers against a tree in which hmm_mirror was built, and against a staged
# installation.
check_external()
{
	local tree=$work/tree stage=$work/stage driver
	cp -r "$built" "$tree"
	cp "$repo"/{Makefile,hmm_mirror.mk} "$tree"
	for driver in minimal nested; do
		holds "static: $driver builds against a built tree" build_external $driver "$tree"
	done
	rm "$tree/Module.symvers"
	holds "static: without Module.symvers a driver is refused, with the reason" \
		no_symvers build_external minimal "$tree"
	holds "static: make clean works without Module.symvers" cleans_silently
	step "installing" make -C "$tree" KDIR="$stock/headers" DESTDIR="$stage" install || :
	holds "static: fault injection is built on request" injects "$built/hmm-mirror.ko"
	holds "static: fault injection is not built by default" injects_nothing "$tree/hmm-mirror.ko"
	for driver in minimal nested; do
		holds "static: $driver builds against a staged installation" \
			build_external $driver "$stage/usr/include/hmm_mirror"
	done
	mkdir "$stage/target"
	mv "$stage/lib" "$stage/target"
	holds "static: nested builds against a staged installation with INSTALL_MOD_PATH" \
		build_external nested "$stage/usr/include/hmm_mirror" INSTALL_MOD_PATH=/target
}

# build_external DRIVER DIR [MAKE_ARGUMENT]: build from tests/external with DIR/hmm_mirror.mk.
build_external()
{
	local dir=$work/external
	rm -rf "$dir"
	case $1 in
	minimal)	mkdir "$dir" && cp "$repo"/tests/external/{Kbuild,minimal.c} "$dir" ;;
	*)		cp -r "$repo/tests/external/$1" "$dir" ;;
	esac
	sed -i "s,/usr/include/hmm_mirror/,$2/," "$dir/Kbuild"
	make -C "$stock/headers" M="$dir" W=1 "${@:3}" modules >"$work/build" 2>&1 &&
		! grep -i warning "$work/build" || { cat "$work/build"; return 1; }
}

cleans_silently()
{
	make -s -C "$stock/headers" M="$work/external" clean 2>&1 | tee "$work/clean"
	! grep . "$work/clean" && [[ ! -e $work/external/minimal.o ]]
}

# injects MODULE
injects()
{
	nm "$1" | grep hmm_mirror_inject
}

injects_nothing()
{
	test -f "$1" && ! injects "$1"
}

no_symvers()
{
	! "$@" && grep "hmm_mirror is not installed for Linux $(<"$stock/release")" "$work/build"
}

check_style()
{
	local file
	while IFS= read -r file; do
		holds "static: checkpatch $file" checkpatch "$file"
	done < <(sources "$repo" | grep '\.[ch]$'; cd "$repo" && ls tests/{examples,external,external/nested/*,torture,bench}/*.[ch])
	"$rig/readme.sh" "$work/readme"
	holds "static: checkpatch the driver of README.md" checkpatch "$work/readme/my_driver.c"
}

# Checks that do not fit files that must build on many kernels:
#   FILE_PATH_CHANGES	wants a MAINTAINERS entry
#   ALLOC_WITH_SIZEOF	wants kzalloc_obj(), which Linux 7 brought
#   LINUX_VERSION_CODE	in compat/, whose purpose this is
#   MACRO_ARG_REUSE	in hmm_mirror.h and the test of tracepoints: a for_each macro must
#   COMPLEX_MACRO ...	in hmm_trace.h: the arguments of TRACE_EVENT() are hardly C
# and programs:
#   PREFER_KERNEL_TYPES, PREFER_DEFINED_ATTRIBUTE_MACRO, BIT_MACRO	do not exist there
#   ENOSYS, VOLATILE	have their normal meaning there
#   EMBEDDED_FUNCTION_NAME	is the name of a file
#   MACRO_ARG_REUSE	in macros that are statements
trace_style=COMPLEX_MACRO,MACRO_ARG_UNUSED,TRAILING_SEMICOLON,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE
checkpatch()
{
	local ignore=FILE_PATH_CHANGES,ALLOC_WITH_SIZEOF
	case $1 in
	compat/*)	ignore+=,LINUX_VERSION_CODE ;;
	hmm_mirror.h | tests/torture/* | *_test_trace.c)
			ignore+=,MACRO_ARG_REUSE,PREFER_DEFINED_ATTRIBUTE_MACRO ;;
	hmm_trace.h)	ignore+=,$trace_style ;;
	*_demo.c | tests/user/*)	ignore+=,PREFER_KERNEL_TYPES,PREFER_DEFINED_ATTRIBUTE_MACRO ;;&
	tests/user/*)	ignore+=,BIT_MACRO,ENOSYS,VOLATILE,EMBEDDED_FUNCTION_NAME,MACRO_ARG_REUSE ;;
	esac
	cd "$repo" && perl "$tree/scripts/checkpatch.pl" --no-tree --strict --quiet \
		--show-types --ignore "$ignore" -f "$1"
}

# kernel-doc must also print documentation of each exported function.
check_kernel_doc()
{
	local name
	holds "static: kernel-doc" kernel_doc
	while read -r name _; do
		holds "static: kernel-doc of $name()" \
			grep -E "^\.\. c:function:: .*\b$name \(" "$work/rst"
	done < <(exports | sort)
}

kernel_doc()
{
	cd "$repo" && "$tree/scripts/kernel-doc" -Wall -Werror -rst \
		hmm_mirror.h hmm_{mirror,range,lookup,wait,fault,dma}.c >"$work/rst"
}

check_shell()
{
	if ! command -v shellcheck >/dev/null; then
		skip "static: shellcheck" "not installed"
		return
	fi
	holds "static: shellcheck" shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR \
		"$repo/.ci/run" "$repo/dkms.post_build" "$rig"/*.sh "$rig/vm/init" "$rig"/vm/*.sh
}

main
