# SPDX-License-Identifier: GPL-2.0
#
# Targets for users; "make help" lists them. The objects of each module are in
# Kbuild, which kbuild prefers to this file.

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR) $(clang)
rig    := tests/rig

# $(call has,SYMBOL): the kernel at KDIR is configured with it.
has    = grep -qsx $(1)=y $(KDIR)/.config $(KDIR)/include/config/auto.conf
# $(call refuse,SENTENCE)
refuse = { echo "error: $(1)." >&2; exit 1; }

# A kernel that was built with clang takes options for modules that gcc does not know. LLVM=
# or CC= of the user comes first, and reaches kbuild by itself.
clang = $(if $(LLVM)$(findstring command,$(origin CC)),,$(shell $(call has,CONFIG_CC_IS_CLANG) && \
	{ $(call has,CONFIG_LD_IS_LLD) && echo LLVM=1 || echo CC=clang; }))
clang_tools = $(if $(clang),clang $(if $(filter LLVM=1,$(clang)),ld.lld llvm-ar llvm-nm llvm-objcopy))

# kbuild quotes none of these.
spaced := $(strip $(foreach var,CURDIR KDIR DESTDIR INSTALL_MOD_PATH,$(if $(word 2,$($(var))),$(var))))

# LINUX_VERSION_CODE; 5.10 has 330240.
version_code = $(shell sed -n 's/^.define LINUX_VERSION_CODE \([0-9]*\)$$/\1/p' \
	$(KDIR)/include/generated/uapi/linux/version.h 2>/dev/null)

modules: kernel
	$(kbuild) modules

# The core alone is what is installed: neither the sample nor the tests.
core_only := CONFIG_SAMPLE_HMM_GPU= CONFIG_HMM_MIRROR_KUNIT_TEST=

core: kernel
	$(kbuild) $(core_only) modules

kernel:
	@$(if $(spaced),$(call refuse,kbuild cannot cope with spaces in a path and there are some in $(foreach var,$(spaced),$(var) = $($(var)))))
	@test -d $(KDIR) || \
	$(call refuse,$(KDIR) does not exist: install the headers of the kernel (Debian: linux-headers-$(KVER)) or set KDIR=)
	@test -f $(KDIR)/Makefile && grep -qs . $(KDIR)/.config $(KDIR)/include/config/auto.conf || \
	$(call refuse,$(KDIR) has neither kernel headers nor a configured kernel)
	@test "$(or $(version_code),330240)" -ge 330240 || \
	$(call refuse,$(KDIR) is a kernel before Linux 5.10 and hmm_mirror needs 5.10.27 or later)
	@$(call has,CONFIG_64BIT) || \
	$(call refuse,$(KDIR) is a 32-bit kernel and hmm_mirror needs 64 bits)
	@$(call has,CONFIG_MMU_NOTIFIER) || \
	$(call refuse,$(KDIR) is a kernel without CONFIG_MMU_NOTIFIER: hmm_mirror cannot learn of changes to memory maps there)
	@$(call has,CONFIG_HMM_MIRROR) || \
	$(call refuse,$(KDIR) is a kernel without CONFIG_HMM_MIRROR: hmm_mirror cannot read page tables there)
	@for tool in $(clang_tools); do command -v $$tool >/dev/null || \
	$(call refuse,$(KDIR) is a kernel that was built with clang: install $$tool or name the tools with LLVM= (LLVM=-19 is for clang-19)); done

# DESTDIR stages files for a package, whose installation runs depmod then. Kernel
# headers come without the key that their kernel was signed with. What other drivers
# are built with goes where hmm_mirror.mk looks for it. "make kernelrelease" does not
# tell the modules directory with Debian's headers for 5.10 and 6.1.
install: modules_root = $(if $(DESTDIR)$(INSTALL_MOD_PATH),$(abspath $(DESTDIR)$(INSTALL_MOD_PATH)))
install: release = $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"$$/\1/p' $(KDIR)/include/generated/utsrelease.h)
install: core
	$(kbuild) $(core_only) INSTALL_MOD_PATH=$(modules_root) \
		$(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=) modules_install
	install -D -m 644 Module.symvers \
		$(modules_root)/lib/modules/$(release)/hmm_mirror/Module.symvers
	install -D -m 644 -t $(DESTDIR)/usr/include/hmm_mirror hmm_mirror.h hmm_mirror.mk
	install -D -m 644 -t $(DESTDIR)/usr/include/hmm_mirror/legacy legacy/*.h
ifeq ($(DESTDIR),)
	depmod $(if $(modules_root),-b $(modules_root)) $(release)
endif

# Without kbuild, so that it works when KDIR has gone.
clean:
	find . -name .git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name '.*.cmd' -o -name '.*.d' -o -name .module-common.o \
		-o -name modules.order -o -name Module.symvers \) -exec rm -f {} +
	rm -f samples/hmm_gpu_demo tests/user/hmm_gpu_vram tests/user/hmm_gpu_suite

# Static: it also runs in a virtual machine that has no C library.
samples/hmm_gpu_demo: samples/hmm_gpu_demo.c $(wildcard samples/*.h)
	$(or $(HOSTCC),cc) -O2 -g -Wall -Wextra -pthread -static -I. $(CFLAGS) -o $@ $< $(LDFLAGS)

tests/user/hmm_gpu_vram: tests/user/hmm_gpu_vram.c $(wildcard samples/*.h)
	$(or $(HOSTCC),cc) -O2 -g -Wall -Wextra -pthread -static -I. $(CFLAGS) -o $@ $< $(LDFLAGS)

# In the order of the cases.
suite := $(addprefix tests/user/,memory.c change.c process.c race.c wait.c suite.c)

tests/user/hmm_gpu_suite: $(suite) tests/user/suite.h samples/hmm_gpu.h
	$(or $(HOSTCC),cc) -O2 -g -Wall -Wextra -pthread -static -I. $(CFLAGS) -o $@ $(suite) $(LDFLAGS)

demo:
	@$(rig)/demo.sh

check:
	@TIME=15 $(rig)/check.sh static series prove docs install kunit kunit-6.12 vm suite torture

static series prove kunit vm suite torture matrix mutants mutants-sample coverage package:
	@$(rig)/check.sh $@

check-install:
	@$(rig)/check.sh install

# Not a check: it reports, whatever it finds.
bench:
	@$(rig)/bench.sh

# make deb DEB=directory
DEB ?= deb
deb:
	@$(rig)/deb.sh $(DEB)

# make docs DOCS=directory
DOCS ?= docs/_build
docs:
	@DOCS=$(DOCS) $(rig)/check.sh docs

# make patches LINUX=tree
PATCHES ?= patches
patches:
	@$(if $(LINUX),,$(call refuse,say for which kernel tree: make patches LINUX=))
	@$(rig)/patches.sh $(LINUX) $(PATCHES)

help:
	@echo 'make            build the modules for the running kernel, or for KVER= or KDIR='
	@echo 'make install    build and install the core (DESTDIR=, INSTALL_MOD_PATH=)'
	@echo 'make deb        Debian packages of it, for DKMS, to DEB='
	@echo 'make docs       README, docs/ and the API as a site; manual pages; to DOCS='
	@echo 'make clean      remove what was built here'
	@echo 'make demo       see it work, in a virtual machine (KERNEL=6.12, 6.1 or 5.10)'
	@echo 'make check      all tests, which are:'
	@echo 'make static     compiler warnings, sparse, checkpatch, kernel-doc'
	@echo 'make check-install  "make install" and docs/signing.md, on several kernels (KERNELS="6.1 ...")'
	@echo 'make kunit      KUnit on User Mode Linux with lockdep (UML=7.3, 7.2 or 6.12)'
	@echo 'make series     the patches of "make patches", on the trees in the cache'
	@echo 'make prove      the protocol, model-checked: Spin, and litmus tests with herd7'
	@echo 'make vm         tests in a virtual machine (KERNEL=6.12, 6.1 or 5.10)'
	@echo 'make torture    random work from all sides at once (TIME=60, KERNEL=, SEED=)'
	@echo
	@echo 'make suite      every kind of memory, and all that can happen to it, in that machine'
	@echo 'make matrix     the modules on all kernels, most of which it builds (KERNELS="7.3 ...")'
	@echo 'make package    the Debian packages, in a chroot and a virtual machine; needs root'
	@echo 'make mutants    break every line of the core on purpose, and see that a test notices'
	@echo 'make mutants-sample  two minutes of it, elsewhere each time (SEED=)'
	@echo 'make bench      costs and latencies, beside mmu_interval_notifier (QUICK=1, BENCH_OUT=file.json)'
	@echo 'make coverage   how much of the core the KUnit suites execute'
	@echo 'make patches    a series for "git am", for the kernel tree LINUX=, to PATCHES='
	@echo
	@echo 'Demo and tests get Debian packages that they lack, and keep kernels in'
	@echo '$${XDG_CACHE_HOME:-~/.cache}/hmm_mirror, which can be deleted at any time.'

.PHONY: modules core kernel install clean deb docs package demo check check-install static series prove kunit vm suite torture matrix mutants mutants-sample coverage bench patches help
