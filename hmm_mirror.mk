# SPDX-License-Identifier: GPL-2.0
#
# Include this in the Kbuild of a driver that uses hmm_mirror, the topmost one if there are
# several:
#
#	obj-m := my_driver.o
#	include /usr/include/hmm_mirror/hmm_mirror.mk
#
# The file may be in an installation, in a staged installation (below DESTDIR), or in a tree
# in which hmm_mirror was built. It adds the directory of hmm_mirror.h, which is beside this
# file, to the include path of the driver's directory and its subdirectories. It also finds
# Module.symvers, the list of the symbols that hmm_mirror exports:
#
#   - DKMS keeps one while the module is installed;
#   - "make install" puts one into the modules directory; if that was below INSTALL_MOD_PATH,
#     the build of the driver needs INSTALL_MOD_PATH, too;
#   - a build of hmm_mirror leaves one beside this file.
#
# HMM_MIRROR_SYMVERS=file overrides the search.

hmm_mirror_dir := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
hmm_mirror_root := $(patsubst %/usr/include/hmm_mirror,%,$(filter %/usr/include/hmm_mirror,$(hmm_mirror_dir)))

subdir-ccflags-y += -I$(hmm_mirror_dir)

HMM_MIRROR_SYMVERS ?= $(firstword $(wildcard $(hmm_mirror_dir)/Module.symvers \
	$(hmm_mirror_root)/var/lib/dkms/hmm_mirror/kernel-$(KERNELRELEASE)-*/Module.symvers \
	$(hmm_mirror_root)$(INSTALL_MOD_PATH)/lib/modules/$(KERNELRELEASE)/hmm_mirror/Module.symvers \
	$(INSTALL_MOD_PATH)/lib/modules/$(KERNELRELEASE)/hmm_mirror/Module.symvers))
# Only modpost looks up what is exported, and neither compilation nor "make clean" does.
$(if $(filter %/Makefile.modpost,$(MAKEFILE_LIST)),$(if $(HMM_MIRROR_SYMVERS),,\
	$(warning hmm_mirror is not installed for Linux $(KERNELRELEASE))))
KBUILD_EXTRA_SYMBOLS += $(HMM_MIRROR_SYMVERS)
