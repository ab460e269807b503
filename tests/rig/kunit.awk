# SPDX-License-Identifier: GPL-2.0
#
# Reads a kernel log, and prints one TAP line for each KUnit case after the line with the text
# -v from=, and a comment for each suite. A suite fails if it runs another number of cases than
# planned, or if the log ends inside it.
#
# Suites are at the left edge, and cases are indented by four columns. Lines that are indented
# further are parameters of a case, and count in its result.

BEGIN { on = (from == "") }

!on { on = index($0, from); next }

{ sub(/\r$/, ""); sub(/^(<[0-9]+>)?\[ *[0-9.]+\] /, "") }

/^    # Subtest: / { end(); suite = $3; cases = 0; planned = -1; next }
suite == "" { next }

/^    1\.\./ { sub(/^ *1\.\./, ""); planned = $1 + 0; next }

/^    (not )?ok [0-9]+ / {
	ok = ($1 == "ok")
	sub(/^ *(not )?ok [0-9]+ (- )?/, "")
	reason = ""
	if (at = index($0, " # SKIP")) {
		reason = substr($0, at)
		$0 = substr($0, 1, at - 1)
	} else if ($1 in skipped) {
		reason = " # SKIP " skipped[$1]
	}
	print (ok ? "ok" : "not ok") " - kunit: " suite ": " $1 reason
	cases++
	next
}

# Linux 5.10 has no kunit_skip().
/^    # [a-z0-9_]+: skipped: / {
	name = $2
	sub(/:$/, "", name)
	sub(/^.*: skipped: /, "")
	skipped[name] = $0
	next
}

/^    # .*(EXPECTATION|ASSERTION) FAILED/ { shown = 8 }
shown > 0 { print "# " $0; shown-- }

/^(not )?ok [0-9]+ / { end() }

END { end() }

function end()
{
	if (suite != "") {
		if (cases != planned)
			print "not ok - kunit: " suite ": " cases " cases were run of " planned
		print "# suite " suite ": " cases
	}
	suite = ""
}
