# SPDX-License-Identifier: GPL-2.0
#
# A ladder from what spin -t prints: a column for each process, time runs downwards.
# Faulters are to the left, as everywhere in this project.

BEGIN { FS = "\t" }

/^(faulter|invalidation) [0-9]+\t/ { who[++n] = $1; text[n] = $2; seen[$1] = 1 }
/START OF CYCLE/ { who[++n] = "" }

END {
	split("faulter 0,faulter 1,invalidation 0,invalidation 1,invalidation 2,invalidation 3", order, ",")
	for (i = 1; i in order; i++)
		if (order[i] in seen) {
			column[order[i]] = columns++
			number[order[i]] = ++kind[substr(order[i], 1, 1)]
		}
	width = columns > 3 ? 22 : columns > 2 ? 29 : 41
	for (i = 1; i in order; i++)
		if (order[i] in seen)
			line = put(line, column[order[i]], title(order[i]))
	print line
	print ""
	for (i = 1; i <= n; i++)
		step(who[i], text[i])
}

function title(name, k)
{
	k = substr(name, 1, 1)
	return (k == "f" ? "fault side" : "mm side") (kind[k] > 1 ? " " number[name] : "")
}

function put(line, at, what)
{
	return sprintf("%-*s%s", at * width, line, what)
}

# Continuation lines are indented.
function step(name, what, words, m, j, part)
{
	if (name == "") {
		print "-------- and again from here, for ever --------"
		return
	}
	m = split(what, words, " ")
	part = words[1]
	for (j = 2; j <= m; j++)
		if (length(part " " words[j]) > width - 2) {
			print put("", column[name], part)
			part = "  " words[j]
		} else {
			part = part " " words[j]
		}
	print put("", column[name], part)
}
