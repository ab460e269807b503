# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Run the commands of docs/debugging.md while the software GPU works. The file debugging_blocks
# has the blocks of the page, each after a line "block".

. /tests/lib.sh

# run BLOCK: the commands succeed and print something. Without pipefail, because grep -s fails if a
# thread ends while grep reads its file.
run()
{
	(cd / && sh -e "$1") >/tmp/output.block 2>&1
	status=$?
	cat /tmp/output.block
	[ $status -eq 0 ] && [ -s /tmp/output.block ]
}

mkdir /tmp/blocks
awk '$0 == "block" { n++; next } { print >sprintf("/tmp/blocks/%02d", n) }' /bin/debugging_blocks
load || exit
# Slow flushes keep invalidations in flight, so that they are seen.
echo 20000 >/sys/module/hmm_gpu/parameters/tlb_flush_us
hmm_gpu_demo --hold >/tmp/demo 2>&1 &
pid=$!
sleep 2
holds 'debugging: docs/debugging.md has commands' test -e /tmp/blocks/01
for block in /tmp/blocks/*; do
	holds "debugging: commands from \"$(sed -n 1p "$block")\", $(wc -l <"$block") lines" run "$block"
done
kill -9 $pid
wait $pid
holds 'debugging: no reference is left' unused hmm_gpu
unload || exit
