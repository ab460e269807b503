# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# DMA, in a machine with an edu device behind an IOMMU.

. /tests/lib.sh

# The edu device is 1234:11e8.
behind_iommu()
{
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/device")" = 0x11e8 ] && break
	done
	cat "$device/device" "$device/iommu_group/type" && grep -q DMA "$device/iommu_group/type"
}

# Show the output of the program even if it passes.
show()
{
	"$@" >/tmp/demo 2>&1
	status=$?
	sed 's/^/# /' /tmp/demo >/dev/ttyS1
	return $status
}

no_iommu_fault()
{
	! dmesg | grep -E 'DMAR:.*([Ff]ault|error)|AMD-Vi: Event|edu: clamping'
}

# All GPUs map pages for DMA, also the software GPUs.
load_dma()
{
	insmod /modules/hmm-mirror.ko && insmod /modules/hmm-gpu.ko gpus=2 dma=1
}

holds 'vm-dma: the edu device is behind an IOMMU' behind_iommu
holds 'vm-dma: the modules load' load_dma
# Before 5.11 a mask of 28 bits needs ZONE_DMA, even with an IOMMU.
if dmesg | grep -q 'hmm_gpu: probe of .* failed with error -5' && ! grep -q 'zone *DMA$' /proc/zoneinfo; then
	ok 'vm-dma: data moved by DMA # SKIP the kernel has no CONFIG_ZONE_DMA'
else
	holds 'vm-dma: the device file exists' test -c /dev/hmm_gpu_edu
	holds 'vm-dma: hmm_gpu_demo --dma passes, data moved by DMA' \
		show hmm_gpu_demo --dma -d /dev/hmm_gpu_edu
	holds 'vm-dma: the device can be removed, with open files and commands in flight' \
		show hmm_gpu_suite -v -x device_removed device_unbound \
			device_removed_stuck device_races
fi
holds 'vm-dma: hmm_gpu_demo --dma passes, software with DMA mappings' show hmm_gpu_demo --dma
holds 'vm-dma: hmm_gpu_demo --quick passes, software with DMA mappings' show hmm_gpu_demo --quick
holds 'vm-dma: hmm_gpu_demo --abuse passes, software with DMA mappings' hmm_gpu_demo --abuse
holds 'vm-dma: no IOMMU fault' no_iommu_fault
holds 'vm-dma: no reference is left' unused hmm_gpu
holds 'vm-dma: the modules unload' unload
