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
# Linux has not at all, "# needs: x86, ...", is skipped.

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
	local sources=$work/mutant killer out=$work/out status=0 uml
	killer=$(sed -n 's/^# killed-by: *//p' "$1" | head -n 1)
	[[ $killer ]] || die "$1 does not say which test it is killed by"

	if grep -q '^# needs: x86' "$1"; then
		skip "mutants: $2 is killed by $killer" "it $(sed -n 's/^# \(needs\): /\1 /p' "$1")"
		return
	fi

	rm -rf "$sources"
	mkdir "$sources"
	sync_sources "$repo" "$sources"
	if ! patch -d "$sources" -p1 -s --no-backup-if-mismatch <"$1" >"$out" 2>&1; then
		not_ok "mutants: $2 applies"
		comment <"$out"
		return
	fi

	grep -qE '^# needs: (two CPUs|DMA)' "$1" && uml='' || uml=6.12
	UML=$uml SOURCES=$sources KUNIT_TIMEOUT=60 "$rig/kunit.sh" "$(filter "$killer")" \
		>"$out" 2>"$work/err" || status=$?
	if noticed "$killer" "$out"; then
		ok "mutants: $2 is killed by $killer"
	else
		not_ok "mutants: $2 survives $killer: $(sed -n '1s/^# *//p' "$1")"
		((status == 0)) || tail -n 20 "$work/err" | comment
		comment <"$out"
	fi
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
