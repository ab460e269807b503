# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The commands of docs/debugging.md, while the software GPU is at work. The file has the
# blocks of the page, each below a line "block".

. /tests/lib.sh

# Without an error, and with something to see.
run()
{
	(cd / && sh -e -o pipefail "$1") >/tmp/output.block 2>&1
	status=$?
	cat /tmp/output.block
	[ $status -eq 0 ] && [ -s /tmp/output.block ]
}

mkdir /tmp/blocks
awk '$0 == "block" { n++; next } { print >sprintf("/tmp/blocks/%02d", n) }' /bin/debugging_blocks
load || exit
# slow enough to be seen
echo 20000 >/sys/module/hmm_gpu/parameters/tlb_flush_us
hmm_gpu_demo --hold >/tmp/demo 2>&1 &
pid=$!
sleep 2
holds 'debugging: the page has commands' test -e /tmp/blocks/01
for block in /tmp/blocks/*; do
	holds "debugging: commands from \"$(sed -n 1p "$block")\", $(wc -l <"$block") lines" run "$block"
done
kill -9 $pid
wait $pid
holds 'debugging: no reference is left' unused hmm_gpu
unload || exit
