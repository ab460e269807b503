#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""kunit2tap.py RESULTS LOG: print RESULTS, the output of kunit.py --json, as one TAP
line per test case. LOG is the kernel log, which has the reasons of skips."""

import json
import re
import sys


def skip_reasons(path):
    reason = re.compile(r"ok \d+ (\S+) # SKIP (.+)")
    with open(path, encoding="utf-8", errors="replace") as log:
        return dict(m.groups() for m in map(reason.search, log) if m)


def leaves(group):
    """Yield the statuses of a case with parameters."""
    yield from (case["status"] for case in group["test_cases"])
    for sub in group["sub_groups"]:
        yield from leaves(sub)


def worst(statuses):
    return next((s for s in ("ERROR", "FAIL", "PASS") if s in statuses), "SKIP")


def main():
    with open(sys.argv[1], encoding="utf-8") as results:
        top = json.load(results)
    reasons = skip_reasons(sys.argv[2])

    def report(suite, case, status):
        result = "ok" if status in ("PASS", "SKIP") else "not ok"
        note = ""
        if status == "SKIP":
            note = " # SKIP " + reasons.get(case, "").strip()
        elif status == "ERROR":
            note = " (crashed)"
        print(f"{result} - kunit: {suite}: {case}{note}")

    for suite in top["sub_groups"]:
        for case in suite["test_cases"]:
            if case["name"]:
                report(suite["name"], case["name"], case["status"])
        if any(not case["name"] for case in suite["test_cases"]):
            report(suite["name"], "(the rest)", "ERROR")
        for case in suite["sub_groups"]:
            report(suite["name"], case["name"], worst(set(leaves(case))))
    # A suite that ended before its first case.
    for suite in top["test_cases"]:
        report(suite["name"], "(no cases)", suite["status"])


main()
