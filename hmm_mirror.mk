# SPDX-License-Identifier: GPL-2.0
#
# For the Kbuild of a driver that uses hmm_mirror, the topmost one if it has several:
#
#	obj-m := my_driver.o
#	include /usr/include/hmm_mirror/hmm_mirror.mk
#
# It can be included from where it is installed, from a staged installation (below
# DESTDIR), or from a tree in which hmm_mirror was built. For the driver's directory and
# those below, it finds hmm_mirror.h, which is beside this file, and Module.symvers, the
# list of what hmm_mirror exports:
#
#   - DKMS keeps it, for as long as the module is installed;
#   - "make install" puts it into the modules directory; if that was below INSTALL_MOD_PATH,
#     the build of the driver needs INSTALL_MOD_PATH, too;
#   - a build of hmm_mirror leaves it beside this file.
#
# HMM_MIRROR_SYMVERS=file names another.

hmm_mirror_dir := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
hmm_mirror_root := $(patsubst %/usr/include/hmm_mirror,%,$(filter %/usr/include/hmm_mirror,$(hmm_mirror_dir)))

subdir-ccflags-y += -I$(hmm_mirror_dir)

HMM_MIRROR_SYMVERS ?= $(firstword $(wildcard $(hmm_mirror_dir)/Module.symvers \
	$(hmm_mirror_root)/var/lib/dkms/hmm_mirror/kernel-$(KERNELRELEASE)-*/Module.symvers \
	$(hmm_mirror_root)$(INSTALL_MOD_PATH)/lib/modules/$(KERNELRELEASE)/hmm_mirror/Module.symvers \
	$(INSTALL_MOD_PATH)/lib/modules/$(KERNELRELEASE)/hmm_mirror/Module.symvers))
$(if $(HMM_MIRROR_SYMVERS),,$(warning hmm_mirror is not installed for Linux $(KERNELRELEASE)))
KBUILD_EXTRA_SYMBOLS += $(HMM_MIRROR_SYMVERS)
