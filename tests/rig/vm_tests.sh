#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of "make vm", on the stock kernel KERNEL=.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock built

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" "${packages_trace[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	built=$("$rig/build.sh" "$stock")
	"$rig/vm.sh" --kernel "$stock" --modules "$built" --timeout 900 --log "$cache/vm.log" \
		--add "$built/samples/hmm_gpu_demo" --add "$built/tests/user/hmm_gpu_vram" \
		--add "$built/tests/user/hmm_gpu_suite" \
		--add "$(command -v trace-cmd)" --output "$work/storm.trace" \
		--run "$rig/vm/tests.sh" "$rig/vm/vram.sh" "$rig/vm/legacy.sh" \
		"$rig/vm/trace.sh"
	holds "trace: hmm_mirror_trace draws it" draw

	# Interrupts are not to be remapped: a slow machine takes its timer for broken then.
	"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm-dma.log" \
		--qemu "-machine q35 -device intel-iommu,intremap=off -device edu" \
		--append "intel_iommu=on" \
		--add "$built/samples/hmm_gpu_demo" --run "$rig/vm/dma.sh"

	"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm-swiotlb.log" \
		--append "swiotlb=force" \
		--add "$built/samples/hmm_gpu_demo" --run "$rig/vm/swiotlb.sh"
}

# Well-formed, with both sides and a collision. The picture stays in the cache.
draw()
{
	local trace=$work/storm.trace picture=$work/storm.svg
	wc "$trace"
	"$repo/tools/hmm_mirror_trace" <"$trace" >"$picture" &&
		cp "$trace" "$picture" "$cache" &&
		python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$picture" &&
		grep -q '<title>fault ' "$picture" &&
		grep -q '<title>collision ' "$picture" &&
		grep -q 'hits [1-9]' "$picture"
}

main
