# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The tests of "make suite". Set up all that the suite needs and the kernel supports; the suite
# skips the rest.

. /tests/lib.sh

# Load modules of the kernel itself, if they are not built in.
stock_modules()
{
	[ ! -e /stock/order ] || while read -r module; do
		insmod "/stock/$module" || return
	done </stock/order
}

unload_stock_modules()
{
	[ ! -e /stock/order ] || tac /stock/order | while read -r module; do
		rmmod "${module%.ko}" || exit
	done
}

# new_zram SIZE: make a zram device, and print its number.
new_zram()
{
	n=$(cat /sys/class/zram-control/hot_add) &&
		echo "$1" >"/sys/block/zram$n/disksize" &&
		echo "$n"
}

swap_space()
{
	swap=$(new_zram 128M) && mkswap "/dev/zram$swap" && swapon "/dev/zram$swap"
}

file_system()
{
	disk=$(new_zram 64M) && mke2fs -b 4096 "/dev/zram$disk" && mount -t ext4 "/dev/zram$disk" /files
}

# Set up the rest, as far as the kernel supports it.
prepare()
{
	mkdir -p /files
	if [ -e /sys/class/zram-control ]; then
		holds 'suite: swap space on zram' swap_space
	fi
	if grep -qw ext4 /proc/filesystems && [ -e /sys/class/zram-control ]; then
		holds 'suite: a file system on zram' file_system
	else
		mount -t tmpfs files /files
	fi
	mount -t cgroup2 cgroup /sys/fs/cgroup
	for pages in /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages \
		/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages; do
		[ ! -e "$pages" ] || [ "$(cat "$pages")" -ge 4 ] || echo 4 >"$pages"
	done
	# If the kernel moves pages by itself, results are less certain.
	[ ! -e /proc/sys/kernel/numa_balancing ] || echo 0 >/proc/sys/kernel/numa_balancing
	[ ! -e /sys/kernel/mm/transparent_hugepage ] ||
		echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
}

clean_up()
{
	umount /files || return
	[ ! -e /sys/fs/cgroup/cgroup.controllers ] || umount /sys/fs/cgroup
	while read -r device _; do
		case $device in
		/dev/*)	swapoff "$device" || return ;;
		esac
	done </proc/swaps
	unload_stock_modules
}

# translate [PREFIX]: convert the TAP of the program to that of the rig. Cases of the plan without
# a result have failed.
translate()
{
	prefix=${1:-suite}
	left=-1
	while read -r line; do
		case $line in
		1..*)
			left=${line#1..}
			left=${left%% *}
			[ "$left" -gt 0 ] || not_ok "$prefix: $line"
			;;
		"ok "*)
			ok "$prefix: ${line#ok * - }"
			left=$((left - 1))
			;;
		"not ok "*)
			not_ok "$prefix: ${line#not ok * - }"
			left=$((left - 1))
			;;
		"#"*)
			echo "$line"
			;;
		esac
	done
	[ $left -eq 0 ] || not_ok "$prefix: $left cases have no result"
}

# argument NAME: print an argument of the kernel command line.
argument()
{
	sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

# A driver with /dev/hmm_gpu.
driver=$(argument driver)
load_driver()
{
	if [ "$driver" ]; then
		insmod /modules/hmm-mirror.ko && insmod "/modules/$driver.ko"
	else
		load
	fi
}

unload_driver()
{
	rmmod "${driver:-hmm_gpu}" && rmmod hmm_mirror
}

# Leave out cases that drivers of 2019 cannot support, see docs/legacy.md; and cases with bad
# input, which only the sample checks.
[ ! "$driver" ] || without='-n edges -n no_result'
[ "$driver" != legacy_5_2 ] || without="$without -n uffd_missing -n uffd_wp"

holds 'suite: the modules load' load_driver
holds 'suite: modules of the kernel load' stock_modules
prepare
# shellcheck disable=SC2046,SC2086 # words
hmm_gpu_suite -f /files $without $(argument suite | tr , ' ') 2>&1 | translate
holds 'suite: no reference is left' unused "${driver:-hmm_gpu}"
holds 'suite: the modules unload' unload_driver

# With DMA mappings: pages that the GPU has written are dirty, and the GPU can map pages while
# neighbours change.
if [ ! "$driver$(argument suite)" ]; then
	holds 'suite-dma: the modules load' load dma=1
	hmm_gpu_suite -f /files lazyfree shmem_swap shmem_clean file_writeback file_reclaim \
		busy_neighbours 2>&1 | translate suite-dma
	holds 'suite-dma: no reference is left' unused hmm_gpu
	holds 'suite-dma: the modules unload' unload
fi
holds 'suite: swap and file system can be removed' clean_up
