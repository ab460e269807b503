#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mutants.sh [NAME...]: break the core on purpose, one patch of tests/mutants/ at a
# time, and demand that the test which the patch names fails. A mutant that survives
# is a test that is missing.
#
# A patch begins with what is broken and who has to notice:
#
#   # the end of an invalidation wakes nobody
#   # killed-by: hmm_mirror_wait.woken_by_own_end
#
# The test may also be "log": the kernel must complain (lockdep, KASAN, hung task).
#
# A third line "# needs: two CPUs, ..." or "# needs: DMA" asks for the newest kernel, on
# which User Mode Linux has them; otherwise it is one that builds fast. What User Mode
# Linux has not at all, "# needs: x86, ...", runs in a virtual machine with an IOMMU, a
# fresh one for each mutant, with a kernel of built.sh: 5.10 for "a kernel with
# dma_map_ops", which 7.3 has not. X86=no skips them.

. "$(dirname "$0")/lib.sh"

mutants=$repo/tests/mutants

main()
{
	local patch patches=() name

	if (($#)); then
		for name; do patches+=("$mutants/$name.patch"); done
	else
		patches=("$mutants"/*.patch)
	fi
	[[ -e ${patches[0]} ]] || die "no mutants in $mutants"
	for patch in "${patches[@]}"; do
		name=$(basename "$patch" .patch)
		mutate "$patch" "$name"
	done
}

# mutate PATCH NAME
mutate()
{
	local sources=$work/mutant killer out=$work/out status=0 run=on_uml
	killer=$(sed -n 's/^# killed-by: *//p' "$1" | head -n 1)
	[[ $killer ]] || die "$1 does not say which test it is killed by"

	if grep -q '^# needs: x86' "$1"; then
		run=on_x86
		if [[ ${X86-} == no ]]; then
			skip "mutants: $2 is killed by $killer" "it $(sed -n 's/^# \(needs\): /\1 /p' "$1")"
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

# on_x86 PATCH KILLER. What the mutant before has built is there to be built upon.
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

# noticed KILLER OUTPUT. A test that hangs is one that did not pass.
noticed()
{
	if [[ $1 == log ]]; then
		grep -q '^not ok - kunit: no warning in the kernel log' "$2"
	else
		grep -qE "^not ok - kunit: ${1/./: }( |$)" "$2"
	fi
}

main "$@"
