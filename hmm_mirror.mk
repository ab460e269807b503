# SPDX-License-Identifier: GPL-2.0
#
# For the Kbuild of a driver that uses hmm_mirror:
#
#	obj-m := my_driver.o
#	include /usr/include/hmm_mirror/hmm_mirror.mk
#
# It finds hmm_mirror.h, which is beside this file, and the list of what hmm_mirror
# exports: DKMS keeps that, for as long as the module is installed; "make install" puts it
# into the modules directory.

ccflags-y += -I$(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

HMM_MIRROR_SYMVERS ?= $(firstword $(wildcard \
	/var/lib/dkms/hmm_mirror/kernel-$(KERNELRELEASE)-*/Module.symvers \
	/lib/modules/$(KERNELRELEASE)/hmm_mirror/Module.symvers))
$(if $(HMM_MIRROR_SYMVERS),,$(warning hmm_mirror is not installed for Linux $(KERNELRELEASE)))
KBUILD_EXTRA_SYMBOLS += $(HMM_MIRROR_SYMVERS)
