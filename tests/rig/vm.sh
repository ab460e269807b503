#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# vm.sh --kernel STOCK [OPTION...] --run SCRIPT...: boot a stock kernel (a
# directory from kernels.sh) in a virtual machine and run shell scripts in it,
# one after the other. A kernel for User Mode Linux (from uml.sh) is a process.
#
#   --modules DIR	directory whose *.ko are copied to /modules
#   --stock-modules DIR	modules of the kernel itself, from kernels.sh, copied to /stock
#   --add FILE		program that is copied to /bin, with its libraries
#   --append ARGS	added to the kernel command line
#   --qemu ARGS		arguments for QEMU, separated by blanks
#   --memory MEGABYTES	memory of the machine (1024)
#   --timeout SECONDS	timeout of the whole run
#   --count yes		one CPU, whose time stamp counter counts instructions
#   --log FILE		where to store the kernel log
#   --output FILE	where to store the output of the scripts to /dev/ttyS2
#
# Prints the output of the scripts as it comes. The exit status is 0 if all
# scripts succeeded, no module was left, the kernel log is clean, and the machine
# gave its verdict: see vm/init.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

kernel='' modules='' stock_modules='' programs=() append='' qemu=() memory=1024 timeout=300
log=$work/console output=$work/output scripts=()
accelerator='' machine=(-smp 2) boot=boot

main()
{
	local attempt
	while (($#)); do
		case $1 in
		--kernel)	kernel=$2 ;;
		--modules)	modules=$2 ;;
		--stock-modules) stock_modules=$2 ;;
		--add)		programs+=("$2") ;;
		--append)	append=$2 ;;
		--qemu)		read -ra qemu <<<"$2" ;;
		--memory)	memory=$2 ;;
		--timeout)	timeout=$2 ;;
		--count)	machine=(-smp 1 -icount "shift=0,sleep=off") accelerator=tcg,thread=single ;;
		--log)		log=$2 ;;
		--output)	output=$2 ;;
		--run)		scripts=("${@:2}"); break ;;
		*)		die "vm.sh: unknown option $1" ;;
		esac
		shift 2
	done
	[[ $kernel ]] || die "vm.sh: --kernel is missing"
	[[ $(uname -m) == x86_64 ]] || die "the virtual machine needs an x86-64 host"

	need "${packages_vm[@]}"
	[[ ! -e $kernel/append ]] || append+=" $(<"$kernel/append")"
	make_initramfs
	if [[ -e $kernel/linux ]]; then
		boot=boot_uml
		say "booting Linux $(<"$kernel/release") as a process"
	else
		[[ $accelerator ]] || choose_accelerator
		say "booting Linux $(<"$kernel/release") in QEMU (${accelerator%%,*})"
	fi
	for attempt in 1 2 3; do
		: >"$log"
		# The verdict counts, not the status of this pipeline.
		$boot "$accelerator" "$timeout" "$log" "$append" |
			tee "$work/results" | grep --line-buffered -v '^verdict: ' || :
		died_of_the_emulator || break
		say "the emulator lost a change of the kernel's code, in boot $attempt of 3"
	done
	verdict
}

# On a busy host, a CPU of the emulator sometimes misses a change of the kernel's code by another
# CPU: it hits the breakpoint of a change that is already complete, or faults with flags that no
# processor can have. A kernel that dies before init has not run the modules either.
died_of_the_emulator()
{
	local flags
	[[ $accelerator == tcg* ]] && grep -q 'Kernel panic' "$log" || return
	! grep -q 'hmm_mirror_vm: begin' "$log" && return
	flags=$(grep -m 1 -o 'EFLAGS: [0-9a-f]*' "$log") || return
	((16#${flags#EFLAGS: } >> 22)) && return
	grep -q 'int3: 0000 \[#1\]' "$log" && ! grep -m 1 'RIP: ' "$log" | grep -q '\[hmm_'
}

make_initramfs()
{
	local root=$work/root n=10 script
	mkdir -p "$root"/{bin,dev,modules,proc,sys,tests,tmp}
	cp "$("$rig/kernels.sh" busybox)" "$root/bin/busybox"
	install "$rig/vm/init" "$root/init"
	cp "$rig/vm/lib.sh" "$rig/klog.awk" "$rig/kunit.awk" "$root/tests"
	for script in "${programs[@]}"; do
		install "$script" "$root/bin"
		libraries "$script" | while read -r script; do
			install -D "$script" "$root$script"
		done
	done
	for script in "${scripts[@]}"; do
		cp "$script" "$root/tests/run-$((n++))-${script##*/}"
	done
	[[ -z $modules ]] || find "$modules" -name '*.ko' -exec cp -t "$root/modules" {} +
	[[ -z $stock_modules ]] || cp -r "$stock_modules" "$root/stock"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
}

# libraries PROGRAM: print the libraries and the loader; none if it is linked statically.
libraries()
{
	{ ldd "$1" 2>/dev/null || :; } | sed -n 's,^[^/]*\(/[^ ]*\).*,\1,p'
}

# boot ACCELERATOR SECONDS LOG APPEND: the output of the scripts goes to stdout.
# no_timer_check: the kernel counts timer interrupts early, and would panic if there are too
# few, which happens if the machine is emulated on a busy host.
boot()
{
	timeout --foreground --kill-after=5 "$2" qemu-system-x86_64 \
		-accel "$1" -cpu max "${machine[@]}" -m "$memory" -nodefaults -no-user-config \
		"${qemu[@]}" -display none -no-reboot \
		-serial "file:$3" -serial stdio -serial "file:$output" \
		-kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
		-append "console=ttyS0 no_timer_check panic=-1 oops=panic panic_on_warn=1 $4" </dev/null
}

# The same without QEMU, with the same serial lines. User Mode Linux polls them, so they cannot be
# files.
boot_uml()
{
	local append
	read -ra append <<<"$4"
	! shm_is_small "$memory" || export TMPDIR=$work
	timeout --foreground --kill-after=5 "$2" "$kernel/linux" \
		"mem=${memory}M" ncpus=2 seccomp=on "uml_dir=$work/" "initrd=$work/initramfs" \
		con=null ssl=null ssl0=fd:5,fd:8 ssl1=fd:6,fd:1 ssl2=fd:7,fd:9 \
		console=ttyS0 panic=-1 oops=panic panic_on_warn=1 "${append[@]}" \
		5<> <(:) 6<> <(:) 7<> <(:) 8> >(cat >"$3") 9> >(cat >"$output") 2>/dev/null
}

# Some hosts have a /dev/kvm that cannot run a guest: it aborts, or spins for ever. So test it
# with a short boot.
choose_accelerator()
{
	accelerator=kvm
	[[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo &&
		[[ $(boot kvm 20 "$work/probe" hmm_mirror_probe 2>&1) == "verdict: pass" ]] ||
		accelerator=tcg,thread=multi
}

verdict()
{
	local last
	last=$(tail -n 1 "$work/results")
	case $last in
	"verdict: pass")
		# The machine has checked its log before it ended.
		awk -v from='hmm_mirror_vm: begin' -f "$rig/klog.awk" "$log" >"$work/late" || {
			not_ok "vm: no warning in the kernel log to the very end"
			comment <"$work/late"
			exit 1
		}
		;;
	"verdict: fail")
		exit 1
		;;
	*)
		not_ok "vm: the machine gave no verdict within $timeout s; the end of its kernel log:"
		tail -n 40 "$log" | tr -d '\r' | comment
		exit 1
		;;
	esac
}

main "$@"
