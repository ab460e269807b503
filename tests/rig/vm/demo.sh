# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# "make demo" runs this.

. /tests/lib.sh

set -e
echo '$ insmod hmm-mirror.ko; insmod hmm-gpu.ko gpus=2; hmm_gpu_demo'
load
hmm_gpu_demo
echo '$ rmmod hmm_gpu hmm_mirror'
unload
