#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mutants.sh [NAME...]: break the core on purpose, and check that a test fails. If a mutant
# survives, a test is missing.
#
# mutate.py makes most mutants, all in one kernel, which mutants.py boots. Patches,
# tests/mutants/*.patch, make other changes, and are built one at a time. NAME is a patch, a
# function, or the number of a mutant; by default all are run.
#
#   mutants.sh --sample SECONDS	run a random sample of the mutants of mutate.py (SEED= repeats
#				it), and check that the patches apply and compile
#   mutants.sh --record		run all mutants of mutate.py, and write the survivors to
#				tests/mutants/survivors.txt
#
# A patch begins with the bug and the test that must fail:
#
#   # the end of an invalidation wakes no waiter
#   # killed-by: hmm_mirror_wait.woken_by_own_end
#
# The test may also be "log": the kernel must report a bug (lockdep, KASAN, hung task).
#
# A third line "# needs: two CPUs, ..." or "# needs: DMA" selects the newest kernel, on which
# User Mode Linux has these; the default kernel builds faster. With "# needs: x86, ..." the
# test runs in a virtual machine with an IOMMU, a new one for each mutant, with a kernel of
# built.sh: 5.10 for "a kernel with dma_map_ops", which 7.3 does not have. X86=no skips these.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

mutants=$repo/tests/mutants

main()
{
	local name patches=() made=()

	need "${packages_kunit[@]}"
	case ${1-} in
	--sample)
		build_made
		"$rig/mutants.py" "$build" --sample "$2"
		check_patches
		return ;;
	--record)
		made=("$1") ;;
	'')
		patches=("$mutants"/*.patch) ;;
	*)
		for name; do
			if [[ -e $mutants/$name.patch ]]; then
				patches+=("$mutants/$name.patch")
			else
				made+=("$name")
			fi
		done ;;
	esac
	if ((${#made[@]} || ! $#)); then
		build_made
		"$rig/mutants.py" "$build" "${made[@]}"
	fi
	for name in "${patches[@]}"; do
		mutate "$name" "$(basename "$name" .patch)"
	done
}

#
# Mutants of mutate.py
#

# Set tree and build. The tree is a copy of the newest one, made of links. It has no other graft,
# so the next build is short.
build_made()
{
	local source sources=$work/made config=$work/config
	source=$("$rig/kernels.sh" newest)
	grep -q '^config SMP' "$source/arch/um/Kconfig" ||
		die "User Mode Linux has several CPUs from 7.3 on, and there is no source of it"
	# kunit.py would use the first file by itself.
	grep -hv SAMPLE "$source/tools/testing/kunit/configs/arch_uml.config" \
		"$rig"/configs/um{,-smp}.config >"$config"
	tree=$cache/mutants/${source##*/}
	build=$tree-$(cat "$config" <(gcc --version) | digest)
	lock "mutants-${source##*/}"
	cached "$tree" link_tree "$source"
	mkdir -p "$build"

	mkdir "$sources"
	sync_sources "$repo" "$sources"
	"$rig/mutate.py" "$sources" "$build/mutants.json"
	SOURCES=$sources "$rig/graft.sh" "$tree" core kunit legacy
	step "building the kernel with $(wc -l <"$build/mutants.json") mutants" make_made "$config"
	step "looking for the mutants that this kernel has" make_preprocessed
}

# link_tree TO SOURCE: copy files that are changed, and link the others. User Mode Linux gets
# dma_map_ops, as other architectures have, for tests with a device of their own.
link_tree()
{
	cp -al "$2/." "$1" &&
	cp --remove-destination "$2"/mm/{Makefile,Kconfig} "$1/mm/" &&
	cp --remove-destination "$2/arch/um/Kconfig" "$1/arch/um/" &&
	sed -i '/^config UML$/,/default/s/default y/&\n\tselect ARCH_HAS_DMA_OPS/' "$1/arch/um/Kconfig"
}

make_made()
{
	{ cmp -s "$1" "$build/config" || { cp "$1" "$build/.config" && kernel olddefconfig; }; } &&
	cp "$1" "$build/config" &&
	kernel -j"$(nproc)" linux
}

# Preprocess the files that kbuild has compiled.
make_preprocessed()
{
	local files
	files=$(cd "$build" && printf '%s\n' mm/hmm_mirror/hmm_*.o | sed 's/o$/i/')
	# shellcheck disable=SC2086 # words
	kernel -j"$(nproc)" $files
}

kernel()
{
	make -C "$tree" ARCH=um "O=$build" "CC=ccache gcc" "$@"
}

#
# Patches
#

# Check that each patch applies, and that the changed files compile, with the commands that kbuild
# has used for the kernel of build_made().
check_patches()
{
	local patch name bad=0
	say "checking that the patches apply and compile"
	for patch in "$mutants"/*.patch; do
		name=$(basename "$patch" .patch)
		while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || :; done
		{ compiles "$patch" "$work/$name" >"$work/$name.out" 2>&1 || touch "$work/$name.bad"; } &
	done
	wait
	for patch in "$mutants"/*.patch; do
		name=$(basename "$patch" .patch)
		[[ -e $work/$name.bad ]] || continue
		not_ok "mutants: $name applies and compiles"
		comment <"$work/$name.out"
		bad=1
	done
	((bad)) || ok "mutants: all patches apply and compile"
}

# compiles PATCH DIR
compiles()
{
	local file objects
	mkdir "$2" &&
	sync_sources "$repo" "$2" &&
	patch -d "$2" -p1 -s --no-backup-if-mismatch <"$1" || return
	objects=$(sed -n 's,^+++ b/,,p' "$1" | while read -r file; do
		case $file in
		*.c)		echo "${file%.c}.o" ;;
		legacy/*.h)	(cd "$repo" && printf '%s\n' tests/hmm_mirror_test_legacy_*.c | sed 's/c$/o/') ;;
		*.h)		(cd "$build/mm/hmm_mirror" && printf '%s\n' hmm_*.o) ;;
		esac
	done | grep -v '^hmm_mutant.o$' | sort -u)
	for file in $objects; do
		# Skip files that this kernel does not contain.
		[[ -e $build/mm/hmm_mirror/$file ]] || continue
		syntax "$file" "$2" || return
	done
	rm -r "$2"
}

# syntax OBJECT DIR
syntax()
{
	local command
	command=$(sed -n '1s/^[^=]*:= //p' "$build/mm/hmm_mirror/$(dirname "$1")/.$(basename "$1").cmd" |
		sed "s,-Wp\,-MMD\S*,,; s, -c -o \S* \S*.c.*, -fsyntax-only $2/${1%.o}.c,
			s, -nostdinc, -I$2 -nostdinc,")
	(cd "$build" && bash -c "$command")
}

# mutate PATCH NAME
mutate()
{
	local sources=$work/mutant killer out=$work/out status=0 run=on_uml
	killer=$(sed -n 's/^# killed-by: *//p' "$1" | head -n 1)
	[[ $killer ]] || die "$1 has no line \"# killed-by:\""

	if grep -q '^# needs: x86' "$1"; then
		run=on_x86
		if [[ ${X86-} == no ]]; then
			skip "mutants: $2 is killed by $killer" "$(sed -n 's/^# \(needs\): /\1 /p' "$1")"
			return
		fi
	fi

	rm -rf "$sources"
	mkdir "$sources"
	sync_sources "$repo" "$sources"
	if ! patch -d "$sources" -p1 -s --no-backup-if-mismatch <"$1" >"$out" 2>&1; then
		not_ok "mutants: $2 applies"
		comment <"$out"
		return
	fi

	$run "$1" "$killer" >"$out" 2>"$work/err" || status=$?
	if noticed "$killer" "$out"; then
		ok "mutants: $2 is killed by $killer"
	else
		not_ok "mutants: $2 survives $killer: $(sed -n '1s/^# *//p' "$1")"
		((status == 0)) || tail -n 20 "$work/err" | comment
		comment <"$out"
	fi
}

# on_uml PATCH KILLER
on_uml()
{
	local uml=6.12
	! grep -qE '^# needs: (two CPUs|DMA)' "$1" || uml=''
	UML=$uml SOURCES=$sources KUNIT_TIMEOUT=60 "$rig/kunit.sh" "$(filter "$2")"
}

# on_x86 PATCH KILLER: the build continues from that of the previous mutant.
on_x86()
{
	local version=7.3 kernel dir
	! grep -q '^# needs: .*dma_map_ops' "$1" || version=5.10
	kernel=$("$rig/built.sh" $version) || return
	dir=$work/x86-$version
	mkdir -p "$dir"
	sync_sources "$sources" "$dir"
	step "building the modules" make -C "$kernel/headers" M="$dir" -j"$(nproc)" \
		CONFIG_SAMPLE_HMM_GPU= modules || return
	# See vm_tests.sh for the interrupts.
	"$rig/vm.sh" --kernel "$kernel" --modules "$dir" --timeout 600 \
		--qemu "-machine q35 -device intel-iommu,intremap=off -device edu" \
		--append "intel_iommu=on panic_on_warn=0 kunit.filter_glob=$(filter "$2")" \
		--run "$rig/vm/kunit.sh"
}

filter()
{
	[[ $1 == log ]] && echo 'hmm_mirror*' || echo "$1"
}

# noticed KILLER OUTPUT: a test that hangs counts as failed.
noticed()
{
	if [[ $1 == log ]]; then
		grep -q '^not ok - kunit: no warning in the kernel log' "$2"
	else
		grep -qE "^not ok - kunit: ${1/./: }( |$)" "$2"
	fi
}

main "$@"
