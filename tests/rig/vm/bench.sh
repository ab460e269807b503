# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# The benchmark. Its results are in the kernel log. Nothing else runs meanwhile.

. /tests/lib.sh

# Options on the kernel command line.
quick=$(sed -n 's/.*bench_quick=\([01]\).*/\1/p' /proc/cmdline)
time=$(sed -n 's/.*bench_time=\([01]\).*/\1/p' /proc/cmdline)

holds 'bench: the core loads' insmod /modules/hmm-mirror.ko
holds 'bench: the benchmark runs to the end' insmod /modules/hmm_mirror_bench.ko \
	"quick=$quick" "time=$time" "lookup=0x$(awk '$3 == "kallsyms_lookup_name" { print $1 }' /proc/kallsyms)"
rmmod hmm_mirror_bench hmm_mirror
