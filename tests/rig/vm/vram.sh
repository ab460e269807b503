# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The memory of the GPU: run hmm_gpu_vram if the kernel has CONFIG_DEVICE_PRIVATE. Otherwise the
# module must refuse vram_mb.

. /tests/lib.sh

# Show the output of the program even if it passes.
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
	ok 'vram: without device private memory, hmm_gpu refuses vram_mb'
	insmod /modules/hmm-gpu.ko
	holds 'vram: hmm_gpu_vram # SKIP this kernel has no device private memory' skips_all
	holds 'vram: the modules unload' unload
else
	not_ok 'vram: the modules load, with memory for the GPUs'
	sed 's/^/# /' /tmp/load
fi
