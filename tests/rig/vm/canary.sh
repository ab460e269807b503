# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A module with bugs that UBSAN must report; see matrix.sh.

. /tests/lib.sh

echo 0 >/proc/sys/kernel/panic_on_warn
holds 'canary: the module loads' insmod /bin/canary.ko
holds 'canary: the module unloads' rmmod canary
echo 1 >/proc/sys/kernel/panic_on_warn
