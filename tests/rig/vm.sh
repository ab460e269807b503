#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# vm.sh --kernel STOCK [OPTION...] --run SCRIPT...: boot a stock kernel (a
# directory from kernels.sh) in a virtual machine and run shell scripts in it,
# one after the other. One of User Mode Linux (from uml.sh) is a process.
#
#   --modules DIR	directory whose *.ko the machine gets in /modules
#   --stock-modules DIR	modules of the kernel itself, from kernels.sh; the machine
#			gets them in /stock
#   --add FILE		program that the machine gets in /bin, with its libraries
#   --append ARGS	for the kernel's command line
#   --qemu ARGS		for QEMU, separated by blanks
#   --memory MEGABYTES	1024 if it is not said
#   --timeout SECONDS	for the whole run
#   --count yes		one CPU, whose time stamp counter counts instructions
#   --log FILE		where to leave the kernel's log
#   --output FILE	where to leave what the scripts write to /dev/ttyS2
#
# Standard output is what the scripts print, while they do. The exit status is
# 0 if all scripts succeeded, no module was left, the kernel's log is clean, and
# the machine lived to say so: see vm/init.

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
		*)		die "vm.sh: what is $1?" ;;
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
		# The status of this pipeline says nothing; the verdict does.
		$boot "$accelerator" "$timeout" "$log" "$append" |
			tee "$work/results" | grep --line-buffered -v '^verdict: ' || :
		died_of_the_emulator || break
		say "the emulator lost a change of the kernel's code, in boot $attempt of 3"
	done
	verdict
}

# The emulator of a busy host sometimes does not let one CPU see what another one has written to
# the kernel's code: it runs into the breakpoint of a change that has been made long ago. A kernel
# that dies before init has met nothing of ours either.
died_of_the_emulator()
{
	[[ $accelerator == tcg* ]] && grep -q 'Kernel panic' "$log" || return
	! grep -q 'hmm_mirror_vm: begin' "$log" && return
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

# libraries PROGRAM: and the loader; none if it is linked statically.
libraries()
{
	{ ldd "$1" 2>/dev/null || :; } | sed -n 's,^[^/]*\(/[^ ]*\).*,\1,p'
}

# boot ACCELERATOR SECONDS LOG APPEND: the scripts' output comes to stdout.
# The kernel would count timer interrupts early on, and panic if there are too few, as
# there are if the machine is emulated on a busy host: no_timer_check.
boot()
{
	timeout --foreground --kill-after=5 "$2" qemu-system-x86_64 \
		-accel "$1" -cpu max "${machine[@]}" -m "$memory" -nodefaults -no-user-config \
		"${qemu[@]}" -display none -no-reboot \
		-serial "file:$3" -serial stdio -serial "file:$output" \
		-kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
		-append "console=ttyS0 no_timer_check panic=-1 oops=panic panic_on_warn=1 $4" </dev/null
}

# The same, with the same serial lines; of QEMU's options none. It polls them, which
# cannot be done with files.
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

# A /dev/kvm can open and yet not run a guest: it aborts, or spins for ever. So
# let it prove itself.
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
		# The machine cannot see what comes after its own look.
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
		not_ok "vm: the machine gave no verdict (it had $timeout s); the end of its kernel log:"
		tail -n 40 "$log" | tr -d '\r' | comment
		exit 1
		;;
	esac
}

main "$@"
