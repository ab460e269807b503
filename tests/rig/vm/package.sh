# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# "make package" runs this, with the modules that were built from the packages.

. /tests/lib.sh

fails()
{
	! "$@"
}

said()
{
	dmesg | grep -F "$1"
}

demo_quick()
{
	hmm_gpu_demo --quick
}

holds 'package: no driver loads before hmm_mirror' fails insmod /modules/minimal.ko
holds 'package: the module of DKMS loads' insmod /modules/hmm-mirror.ko
holds 'package: an out-of-tree driver loads' insmod /modules/minimal.ko
holds 'package: the device of the driver maps a page' said 'minimal: the device maps a page'
holds 'package: hmm_mirror cannot be unloaded before the driver' fails rmmod hmm_mirror
holds 'package: the driver unloads' rmmod minimal
holds 'package: the page was unmapped when its process ended' said 'minimal: the device maps nothing'
holds 'package: the software GPU loads' insmod /modules/hmm-gpu.ko gpus=2
holds 'package: hmm_gpu_demo --quick passes' demo_quick
holds 'package: everything unloads in the right order' unload
