#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# torture_mutants.sh [NAME...]: measure how soon the torture detects a broken core. Each patch
# of tests/mutants/ with a line "# torture: ..." is built as a module for the kernel KERNEL=
# (6.12) and tortured for at most TIME= seconds (30), with PATIENCE= (4): see torture.sh. A
# report of the kernel counts as a detection. "# torture: no, ..." gives the reason why the
# torture cannot detect the mutant on the stock kernel.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"
. "$rig/torture_lib.sh"

main()
{
	local name names=() patch

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}"
	kernel=$(torture_kernel "${KERNEL:-6.12}")
	build_torture "$kernel"
	mkdir "$work/modules" "$work/mutant"

	if (($#)); then
		names=("$@")
	else
		mapfile -t names < <(grep -l '^# torture: [^n]' "$repo"/tests/mutants/*.patch |
			sed 's,.*/,,; s,\.patch$,,')
	fi
	for name in "${names[@]}"; do
		patch=$repo/tests/mutants/$name.patch
		if step "building $name" build_mutant "$patch"; then
			cp "$work/mutant/hmm-mirror.ko" "$work/modules/$name.hmm-mirror.ko"
		else
			not_ok "torture: $name builds"
		fi
	done
	# A mutant can crash the machine.
	while names=("$work"/modules/*.hmm-mirror.ko) && [[ -e ${names[0]} ]]; do
		torture_some
	done
}

build_mutant()
{
	sync_sources "$repo" "$work/mutant" &&
		patch -d "$work/mutant" -p1 -s --no-backup-if-mismatch <"$1" &&
		make -C "$kernel/headers" M="$work/mutant" -j"$(nproc)" CONFIG_SAMPLE_HMM_GPU= \
			CONFIG_HMM_MIRROR_KUNIT_TEST= KBUILD_MODPOST_WARN=1 modules
}

# Torture in one machine, and remove the tested mutants from the list: at least one.
torture_some()
{
	local line name='' before nr
	before=$(ls "$work/modules" | wc -l)
	cp "$work/torture/tests/torture/hmm_mirror_torture.ko" "$work/modules"
	"$rig/vm.sh" --kernel "$kernel" --modules "$work/modules" --log "$work/console" \
		--timeout $((before * (${TIME:-30} + 60) + 120)) \
		--append "log_buf_len=16M hmm_torture_time=${TIME:-30} hmm_torture_patience=${PATIENCE:-4}" \
		--add "$work/hmm_torture" \
		--run "$rig/vm/torture_mutants.sh" >"$work/out" 2>>"$work/err" || :
	rm "$work/modules/hmm_mirror_torture.ko"
	while read -r line; do
		name=$(cut -d' ' -f2 <<<"$line")
		case $line in
		*" begins")	continue ;;
		*" survives: "*) not_ok "torture: ${line#mutant }" ;;
		*)		ok "torture: ${line#mutant }" ;;
		esac
		rm -f "$work/modules/$name.hmm-mirror.ko"
		name=''
	done < <(grep '^mutant ' "$work/out")
	name=$(grep '^mutant .* begins' "$work/out" | tail -n 1 | cut -d' ' -f2)
	if [[ $name && -e $work/modules/$name.hmm-mirror.ko ]]; then
		ok "torture: $name found: $(killed_by)"
		rm "$work/modules/$name.hmm-mirror.ko"
	fi
	nr=$(ls "$work/modules" | wc -l)
	if ((nr == before)); then
		comment <"$work/out"
		die "the machine tests no mutant"
	fi
}

# Print the reason why the machine died.
killed_by()
{
	grep -m 1 -oE 'hmm_mirror_torture: FAILED.*|BUG: .*|WARNING: .*|Oops.*|general protection.*|Kernel panic.*|KASAN.*' \
		"$work/console" | tr -d '\r' || echo "the machine hangs"
}

main "$@"
