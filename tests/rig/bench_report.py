#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
bench_report.py [--json FILE] [--plot FILE] [instructions=LOG] [time=LOG]

Turn the output of the benchmark into tables with ratios, a list of targets, JSON, and a
picture (SVG).
"""

import argparse
import json
import sys

from bench_plot import Panel, draw

UNITS = {"instructions": "instructions", "time": "ns"}
SCHEMES = ["none", "floor", "floor2", "interval", "2019", "hmm_mirror", "hmm_mirror_all"]
TITLES = {
    "none": "no subscription", "floor": "one subscription that does nothing",
    "floor2": "two of these", "interval": "mmu_interval_notifier",
    "2019": "list and boolean, as in 2019", "hmm_mirror": "hmm_mirror",
    "hmm_mirror_all": "hmm_mirror, every invalidation",
}
ROWS = {
    "nothing": "start + end, nothing registered",
    "miss": "start + end of 4K, hits no range",
    "busy": "the same, while another thread uses the caches",
    "scattered": "the same, ranges at random distances",
    "hit1": "start + end of 4K, hits 1",
    "hit1_off": "interrupts off and on again, measured meanwhile",
    "hit16": "start + end of 4K, hits 16",
    "hit16_off": "interrupts off and on again, measured meanwhile",
    "miss2M": "start + end of 2M, hits none",
    "miss1G": "start + end of 1G, hits none",
    "classes": "start + end of 4K, hits none, ranges of five sizes",
    "begin": "begin, driver's mutex, retry",
    "cycle": "register, begin, mutex, retry, unregister",
    "beside": "the same, with an invalidation in flight",
    "madvise": "madvise(MADV_DONTNEED) and touch",
    "mprotect": "mprotect() to read-only and back",
    "small": "fault 512 small pages",
    "huge": "fault a huge page of 2M",
    "range_bytes": "bytes of a range",
    "range_elsewhere": "bytes of a range elsewhere",
    "mm_bytes": "bytes of an mm",
    "nothing_threads": "start + end by N threads, nothing registered",
    "miss_threads": "start + end by N threads, no hit of 4096 ranges",
    "scattered_threads": "the same, ranges at random distances",
    "miss_mms": "start + end, with mirrors in N other mms",
    "hold_register": "longest delay of others, while N ranges are registered",
    "hold_hit": "the same, an invalidation hits N ranges of 16 mirrors",
    "hold_unregister": "the same, one of 16 mirrors is unregistered",
    "hold_exit": "the same, the process exits",
    "faults_per_s": "device faults per second of N threads, in a storm",
}
FAULTS = {"hit": "after its own invalidation", "new": "of a new range", "remove": "unregister"}
# Quantiles in thousandths, as in threads.c.
QUANTILES = [0, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 980, 990, 995, 998,
             1000]


def read(log):
    """Return costs by row, number and scheme, best and median, and latencies."""
    costs, latencies = {}, []
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            word = line.split()
            if len(word) == 5 and word[0] in ROWS:
                row, scheme, number, best, median = word
                costs.setdefault(row, {}).setdefault(int(number), {})[scheme] = (
                    int(best) / 100, int(median) / 100)
            elif word and word[0] == "latency":
                latencies.append({
                    "fault": word[1], "scheme": word[2], "threads": int(word[3]),
                    "in_flight": int(word[4]), "trials": int(word[5]),
                    "timeouts": int(word[6]), "ns": dict(zip(QUANTILES, map(int, word[7:])))})
    return costs, latencies


class Results:
    def __init__(self, logs):
        self.costs, self.latencies = {}, []
        for part, log in logs.items():
            self.costs[part], latencies = read(log)
            self.latencies += latencies

    def cost(self, part, row, number, scheme):
        """
        Return the best cost, or the median of concurrent threads. The best one has least noise.
        This goes for the longest delay of a round, too: a lock that is held for long makes it long
        in each round, and noise can only make it longer.
        """
        both = self.costs.get(part, {}).get(row, {}).get(number, {}).get(scheme)
        return both and both[row.endswith("_threads")]

    def numbers(self, part, row):
        return sorted(self.costs.get(part, {}).get(row, {}))

    def ratio(self, part, row, number, scheme, other):
        a, b = (self.cost(part, row, number, s) for s in (scheme, other))
        return None if a is None or not b else a / b

    def worst(self, part, row, other, numbers=None):
        ratios = [self.ratio(part, row, n, "hmm_mirror", other)
                  for n in numbers or self.numbers(part, row)]
        return max(ratios) if ratios and None not in ratios else None


def show(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def table(results, part):
    print(f"\n{part}, in {UNITS[part]} unless another unit is given\n")
    print(f"{'':52}{'N':>6}" + "".join(f"{s:>15}" for s in SCHEMES) + "   /floor /interval")
    for row, title in ROWS.items():
        for number in results.numbers(part, row):
            costs = results.costs[part][row][number]
            line = [results.cost(part, row, number, s) for s in SCHEMES]
            others = {s for s in costs if s not in SCHEMES}
            if others:      # with rows of their own
                text = ", ".join(f"{s} {show(results.cost(part, row, number, s))}" for s in costs)
                print(f"{title:52}{number:>6}   {text}")
                continue
            text = "".join(f"{show(value):>15}" for value in line)
            for other in ("floor", "interval"):
                ratio = results.ratio(part, row, number, "hmm_mirror", other)
                text += f"{'-' if ratio is None else f'{ratio:.3f}':>9}"
            print(f"{title:52}{number:>6}{text}")


def microseconds(ns):
    return f"{ns / 1000:.1f}" if ns < 1e6 else f"{ns / 1000:.0f}"


def storm(threads):
    if not threads:
        return "one always in flight"
    return f"{threads} thread{'s' * (threads > 1)}, no pause"


def latency_table(results):
    if not results.latencies:
        return
    print("\nlatency of a device fault in a storm of invalidations of other addresses, each "
          "with a flush of 200 us,\nor of 20 us for each thread if that is more; in us\n")
    print(f"{'fault':30}{'storm':24}{'scheme':14}{'in flight':>10}{'trials':>7}{'median':>10}{'p99':>10}"
          f"{'max':>10}{'> 500 ms':>10}")
    for one in sorted(results.latencies, key=lambda l: (list(FAULTS).index(l["fault"]),
                                                        l["threads"], l["scheme"])):
        ns = one["ns"]
        print(f"{FAULTS[one['fault']]:30}{storm(one['threads']):24}{one['scheme']:14}"
              f"{one['in_flight']:>10}{one['trials']:>7}" +
              "".join(f"{microseconds(ns[q]):>10}" for q in (500, 990, 1000)) +
              f"{one['timeouts']:>10}")


def targets(r):
    """Return the targets: text, measured value (None if not measured), and limit."""
    code, time = "instructions", "time"
    found = []

    def want(text, value, limit):
        found.append({"target": text, "measured": value, "limit": limit,
                      "reached": None if value is None else value <= limit})

    mirror = [l for l in r.latencies if l["scheme"] == "hmm_mirror"]
    for kind, title in FAULTS.items():
        some = [l for l in mirror if l["fault"] == kind]
        want(f"storm, {title}: p99 in ms", max((l["ns"][990] / 1e6 for l in some), default=None), 1)
        want(f"storm, {title}: time-outs", sum(l["timeouts"] for l in some) if some else None, 0)
    misses = [r.cost(code, "miss", n, "hmm_mirror") for n in r.numbers(code, "miss")]
    want("miss, instructions / floor, worst N", r.worst(code, "miss", "floor"), 1.7)
    want("miss, instructions, largest / smallest N", max(misses) / min(misses) if misses else None,
         1.01)
    want("miss, ranges at random distances, instructions / floor",
         r.worst(code, "scattered", "floor"), 1.7)
    want("miss, five sizes of ranges, instructions / floor", r.worst(code, "classes", "floor"), 2)
    want("nothing registered, instructions / floor", r.worst(code, "nothing", "floor"), 1.5)
    want("miss, N=65536, ns / interval",
         r.ratio(time, "miss", 65536, "hmm_mirror", "interval"), 0.1)
    want("miss, N>=256, ns / interval", r.worst(time, "miss", "interval", [256, 4096, 65536]), 1)
    for row, text in (("miss_threads", "miss"), ("scattered_threads", "miss at random distances")):
        one, two = (r.cost(time, row, n, "hmm_mirror") for n in (1, 2))
        want(f"{text} by two threads, ns / one", two / one if one and two else None, 2)
    # User Mode Linux needs two system calls to switch interrupts; a processor does not.
    for row, (limit, time_limit) in (("hit1", (1.15, 0.7)), ("hit16", (0.55, 0.4))):
        want(f"{row}, N=4096, instructions / interval",
             r.ratio(code, row, 4096, "hmm_mirror", "interval"), limit)
        own, other = (r.cost(time, row, 4096, s) for s in ("hmm_mirror", "interval"))
        off = r.cost(time, f"{row}_off", 4096, "none")
        want(f"{row}, N=4096, ns / interval without interrupts off",
             own / (other - off) if own and other and off else None, time_limit)
    want("begin and retry, instructions / interval", r.worst(code, "begin", "interval"), 0.63)
    for n in (1, 4096):
        want(f"register to unregister, N={n}, instructions / interval",
             r.ratio(code, "cycle", n, "hmm_mirror", "interval"), 1.1)
    for row in ("madvise", "mprotect"):
        for n, limit in ((4096, 1.002), (65536, 1)):
            want(f"{row}, N={n}, instructions / interval",
                 r.ratio(code, row, n, "hmm_mirror", "interval"), limit)
    for row, text in (("register", "register"), ("hit", "a hit"), ("unregister", "unregister"),
                      ("exit", "exit")):
        for n in (65536, 1048576):
            delay = r.cost(time, f"hold_{row}", n, "hmm_mirror")
            want(f"longest delay of others, {text}, N={n}, in us", delay and delay / 1000, 100)
    own = r.cost(code, "range_bytes", 65536, "hmm_mirror")
    rest = r.cost(code, "range_elsewhere", 65536, "hmm_mirror")
    want("bytes of a range", own, 64)
    want("bytes of a range, and elsewhere", None if own is None else own + rest, 72)
    return found


def target_table(found):
    print("\ntargets\n")
    for one in found:
        if one["reached"] is None:
            continue
        verdict = "reached" if one["reached"] else "NOT REACHED"
        print(f"{one['target']:58}{one['measured']:>10.3f}  (at most {one['limit']})  {verdict}")
    reached = sum(one["reached"] is True for one in found)
    print(f"\n{reached} of {sum(one['reached'] is not None for one in found)} targets reached")


def plot(results, name):
    """Plot costs by the number of ranges, and distributions of latencies."""
    panels = []

    for part in results.costs:
        curves = []
        for color, scheme in enumerate(SCHEMES):
            points = [(n, results.cost(part, "miss", n, scheme))
                      for n in results.numbers(part, "miss")]
            points = [(n, cost) for n, cost in points if cost]
            if points:
                curves.append((color, TITLES[scheme], points))
        if curves:
            panels.append(Panel(f"An invalidation that hits no range: {UNITS[part]}", "ranges",
                                curves, dots=True))

    for threads in sorted({l["threads"] for l in results.latencies}):
        curves = [(SCHEMES.index(one["scheme"]), TITLES[one["scheme"]],
                   [(max(ns, 1) / 1000, q / 10) for q, ns in one["ns"].items()])
                  for one in results.latencies
                  if one["threads"] == threads and one["fault"] == "hit"]
        panels.append(Panel(f"Faults within us, %; storm: {storm(threads)}", "us", curves,
                            log_y=False, x=(0.1, 1e6), y=(0, 100), key=(330, 250)))

    with open(name, "w", encoding="utf-8") as file:
        file.write(draw(panels))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--plot")
    parser.add_argument("log", nargs="+")
    options = parser.parse_args()
    results = Results(dict(log.split("=", 1) for log in options.log))
    for part, costs in results.costs.items():
        if not costs:
            sys.exit(f"error: no results of {part}")
        table(results, part)
    latency_table(results)
    found = targets(results)
    target_table(found)

    if options.plot:
        plot(results, options.plot)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"costs": results.costs, "latencies": results.latencies,
                       "targets": found}, file, indent=1)


main()
