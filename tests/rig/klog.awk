# SPDX-License-Identifier: GPL-2.0
#
# Reads a kernel log, prints the lines that must not be there, and fails if
# there are any. Used on the host and, with busybox, in the virtual machine.
#
#   -v from=TEXT	check only the lines after the line with TEXT
#
# A test that provokes a warning writes two markers around it. Between them
# warnings and lockdep reports pass; a crash does not. A report of UBSAN passes if the first
# marker names it: "expect-begin UBSAN".

BEGIN { on = (from == "") }

!on { on = index($0, from); next }

/hmm_mirror_test: expect-begin/ { expected = 1; ubsan = /expect-begin UBSAN/; next }
/hmm_mirror_test: expect-end/ {
	if (!expected)
		complain("expect-end without expect-begin")
	expected = ubsan = 0
	next
}
ubsan && /UBSAN:/ { next }

# Report a data race if it is in a function of our modules, or in one that these have called. The
# kernel has many others.
race != "" {
	race = race "\n" $0
	if (/ bytes by .* on cpu /)
		frame = 0
	else if (/\+0x[0-9a-f]+\/0x/ && ++frame <= 2 && /\[hmm_/)
		ours = 1
	else if (/======/)
		end_of_race()
}
/BUG: KCSAN:/ { race = $0; ours = /\[hmm_/; next }

# always fatal
/Kernel panic|Oops|[Uu]nable to handle kernel|general protection|KASAN|UBSAN/ ||
/stack-protector|list_add corruption|list_del corruption|refcount_t:|ODEBUG:/ ||
/Objects remaining|still has objects|Bad page|Bad rss-counter|non-zero pgtables/ ||
/lockup|self-detected stall|detected stalls|blocked for more than/ {
	complain($0)
	next
}

/WARNING:|BUG:|INFO: possible|INFO: rcu|INFO: trying to register|possible circular/ ||
/suspicious RCU|DEBUG_LOCKS_WARN|inconsistent lock state/ {
	if (!expected)
		complain($0)
}

END {
	end_of_race()
	if (!on)
		complain("the log does not have: " from)
	if (expected)
		complain("expect-begin without expect-end")
	exit bad
}

function end_of_race()
{
	if (ours)
		complain(race)
	race = ""
	ours = 0
}

function complain(text)
{
	print text
	bad = 1
}
