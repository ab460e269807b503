# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The memory of the GPU: hmm_gpu_vram, where the kernel has CONFIG_DEVICE_PRIVATE. Where it
# has not, the module says so.

. /tests/lib.sh

# What the program prints is worth seeing also when it passes.
vram()
{
	hmm_gpu_vram >/tmp/vram 2>&1
	status=$?
	sed 's/^/# /' /tmp/vram >/dev/ttyS1
	return $status
}

skips_all()
{
	vram
	[ $? -eq 4 ]
}

if load vram_mb=16 >/tmp/load 2>&1; then
	ok 'vram: the modules load, with memory for the GPUs'
	holds 'vram: hmm_gpu_vram passes' vram
	holds 'vram: no reference is left' unused hmm_gpu
	holds 'vram: the modules unload' unload
	holds 'vram: the modules load again' load vram_mb=16
	holds 'vram: hmm_gpu_vram passes again' vram
	holds 'vram: no reference is left again' unused hmm_gpu
	holds 'vram: the modules unload again' unload
elif grep -q 'not supported' /tmp/load; then
	ok 'vram: a kernel without device private memory is told from one with it'
	insmod /modules/hmm-gpu.ko
	holds 'vram: hmm_gpu_vram # SKIP this kernel has no device private memory' skips_all
	holds 'vram: the modules unload' unload
else
	not_ok 'vram: the modules load, with memory for the GPUs'
	sed 's/^/# /' /tmp/load
fi
