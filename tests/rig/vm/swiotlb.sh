# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# DMA that is refused: the machine was booted with swiotlb=force, so that each device gets a
# bounce buffer instead of the page.

. /tests/lib.sh

pool=/sys/kernel/debug/swiotlb

there_are_bounce_buffers()
{
	cat /proc/cmdline $pool/io_tlb_nslabs
	grep -qw swiotlb=force /proc/cmdline && [ "$(cat $pool/io_tlb_nslabs)" -gt 0 ]
}

# Each access fails with EOPNOTSUPP.
is_refused()
{
	! hmm_gpu_demo --quick >/tmp/demo 2>&1 || return
	cat /tmp/demo
	grep -q 'GPU write: Operation not supported' /tmp/demo &&
		! grep 'GPU write: ' /tmp/demo | grep -v 'Operation not supported'
}

no_bounce_buffer_is_in_use()
{
	grep . $pool/*
	[ "$(cat $pool/io_tlb_used)" -eq 0 ]
}

holds 'vm-swiotlb: all DMA uses bounce buffers' there_are_bounce_buffers
holds 'vm-swiotlb: the modules load' load dma=1
holds 'vm-swiotlb: commands of the GPU fail with EOPNOTSUPP' is_refused
holds 'vm-swiotlb: no bounce buffer is in use' no_bounce_buffer_is_in_use
holds 'vm-swiotlb: no reference is left' unused hmm_gpu
holds 'vm-swiotlb: the modules unload' unload
