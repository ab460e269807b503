#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of "make vm", on the stock kernel KERNEL=.
# README=FILE: use the driver of another README, for example one with a bug.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

main()
{
	local stock built

	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_vm[@]}" "${packages_trace[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	built=$("$rig/build.sh" "$stock")

	holds "readme: the driver of README.md builds without a warning" build_readme "$stock" "$built"
	[[ ! -e $work/my/readme_driver ]] ||
		"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm-readme.log" \
			--add "$work/my/my_driver.ko" --add "$work/my/my_program" \
			--add "$work/my/readme_driver" --run "$work/my/my_test.sh" "$rig/vm/readme.sh" || :

	debugging_blocks >"$work/debugging_blocks"
	"$rig/vm.sh" --kernel "$stock" --modules "$built" --timeout 900 --log "$cache/vm.log" \
		--add "$built/samples/hmm_gpu_demo" --add "$built/tests/user/hmm_gpu_vram" \
		--add "$built/tests/user/hmm_gpu_suite" \
		--add "$(command -v trace-cmd)" --output "$work/storm.trace" \
		--add "$work/debugging_blocks" \
		--run "$rig/vm/tests.sh" "$rig/vm/vram.sh" "$rig/vm/legacy.sh" \
		"$rig/vm/debugging.sh" "$rig/vm/trace.sh"
	holds "trace: hmm_mirror_trace draws the trace" draw

	# Without intremap=off, the kernel of a slow machine considers its timer broken.
	"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm-dma.log" \
		--qemu "-machine q35 -device intel-iommu,intremap=off -device edu" \
		--append "intel_iommu=on" \
		--add "$built/samples/hmm_gpu_demo" --add "$built/tests/user/hmm_gpu_suite" \
		--run "$rig/vm/dma.sh"

	"$rig/vm.sh" --kernel "$stock" --modules "$built" --log "$cache/vm-swiotlb.log" \
		--append "swiotlb=force" \
		--add "$built/samples/hmm_gpu_demo" --run "$rig/vm/swiotlb.sh"
}

# build_readme KERNEL BUILT: build the driver of README.md out of tree, and its programs.
build_readme()
{
	local dir=$work/my tree=$work/tree
	mkdir "$tree" &&
		cp "$2/Module.symvers" "$repo"/hmm_mirror.{h,mk} "$tree" &&
		"$rig/readme.sh" "$dir" "${README:-$repo/README.md}" &&
		make -C "$1/headers" M="$dir" HMM_MIRROR="$tree" W=1 modules >"$work/my.log" 2>&1 &&
		! grep -E ' warning: |^WARNING: ' "$work/my.log" &&
		gcc -O2 -Wall -Wextra -static -o "$dir/my_program" "$dir/my_program.c" &&
		gcc -O2 -Wall -Wextra -Werror -pthread -static -o "$dir/readme_driver" \
			"$repo/tests/user/readme_driver.c" ||
		{ cat "$work/my.log"; return 1; }
}

# Print the commands of docs/debugging.md that can be run, each block after a line "block".
debugging_blocks()
{
	awk '
		/^<!-- run -->$/ { run = 1; next }
		/^```/ { on = run && !on; run = 0; if (on) print "block"; next }
		on { print }
	' "$repo/docs/debugging.md"
}

# Check that the picture is well-formed, has both sides and a collision, and that the collision is
# in the bar of its fault. The picture stays in the cache.
draw()
{
	local trace=$work/storm.trace picture=$work/storm.svg begin
	wc "$trace"
	begin=$(sed -n '1s/.* \([0-9]*\.[0-9]*\): .*/\1/p' "$trace")
	"$repo/tools/hmm_mirror_trace" <"$trace" >"$picture" &&
		cp "$trace" "$picture" "$cache" &&
		"$repo/tools/hmm_mirror_trace" --from "$begin" --length 2000000 <"$trace" >"$work/all.svg" &&
		grep -q '<title>fault [^<]*, returned 0<' "$work/all.svg" &&
		grep -q 'hits [1-9]' "$work/all.svg" &&
		python3 - "$picture" <<-'END'
			import re, sys, xml.etree.ElementTree as tree
			bars, marks = [], []
			for e in tree.parse(sys.argv[1]).getroot():
			    title = "".join(e.itertext())
			    if re.fullmatch("fault .*, returned -16", title):
			        bars.append([float(e.get(k)) for k in ("x", "y", "width", "height")])
			    elif title.startswith("collision "):
			        at = re.match(r"M(\S+) (\S+)l8 10", e.get("d"))
			        marks.append((float(at[1]) + 4, float(at[2]) + 5))
			# The fault ends soon after the collision, and not with the picture.
			sys.exit(not any(-1 <= x - left and -1 <= left + width - x < 300 and
			                 0 <= y - top <= height
			                 for left, top, width, height in bars for x, y in marks))
		END
}

main
