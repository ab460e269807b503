# SPDX-License-Identifier: GPL-2.0
#
# What the C sources have that the model and the litmus tests must know of:
#
#	function NAME
#	site FUNCTION PRIMITIVE		something that orders memory, or does without
#	named FUNCTION TEST		a comment in or above it says "TEST.litmus"

BEGIN {
	primitive = "^(smp_[a-z_]+|READ_ONCE|WRITE_ONCE|data_race|barrier|[a-z_]*cmpxchg[a-z0-9_]*|" \
		"xchg[a-z_]*|atomic[0-9]*_[a-z_]+|refcount_[a-z_]+|s?rcu_[a-z_]+|call_s?rcu|" \
		"synchronize_s?rcu[a-z_]*|[a-z_]+_s?rcu|mmu_notifier_synchronize|" \
		"wait_[a-z_]*event[a-z_]*|wake_up[a-z_]*|waitqueue_active|prepare_to_wait[a-z_]*|" \
		"set_current_state|spin_trylock[a-z_]*|(read_|write_)?seq[a-z]+_[a-z_]+)$"
}

{
	raw = raw " " $0
	line = code($0)
}

line ~ /^[a-zA-Z].*\(/ && match(line, /[a-zA-Z_0-9]+\(/) {
	name = substr(line, RSTART, RLENGTH - 1)
}

line ~ /^\{/ {
	function_name = name
	print "function", name
}

{
	while (function_name && match(line, /[a-zA-Z_0-9]+\(/)) {
		called = substr(line, RSTART, RLENGTH - 1)
		if (called ~ primitive)
			print "site", function_name, called
		line = substr(line, RSTART + RLENGTH)
	}
}

/^\}/ {
	while (function_name && match(raw, /[a-z_]+\.litmus/)) {
		print "named", function_name, substr(raw, RSTART, RLENGTH - 7)
		raw = substr(raw, RSTART + RLENGTH)
	}
	raw = function_name = ""
}

# The line without its comments.
function code(text, out, at)
{
	for (;;) {
		if (in_comment) {
			at = index(text, "*/")
			if (!at)
				return out
			text = substr(text, at + 2)
			in_comment = 0
		}
		at = index(text, "/*")
		if (!at)
			return out text
		out = out substr(text, 1, at - 1)
		text = substr(text, at + 2)
		in_comment = 1
	}
}
