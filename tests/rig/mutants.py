#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""mutants.py BUILD [--sample SECONDS] [--record] [FUNCTION|NUMBER...]

Boots the kernel of BUILD, which mutants.sh has built from the output of mutate.py. For each
mutant, runs the KUnit cases that reach it, the shortest first, until one fails. If that case
passes again without the mutant, the same boot goes on with the next mutant. A crash, a kernel
without output, or a report in the kernel log ends a boot, and counts only if the mutant was
the first. Two boots run at a time.

No test on this processor can detect a mutant of an ordering. A litmus test kills it if
tests/litmus/sites.txt names one: prove.sh shows that this test fails without the ordering.
Other mutants that survive must be in tests/mutants/equivalent.txt or
tests/mutants/survivors.txt, with the reason. Otherwise the run fails, as with a wrong entry.

An interrupted run of all mutants continues, if the kernel is the same.

--sample runs as many random mutants as it can in so many seconds; SEED= in the environment
repeats a sample. --record writes survivors.txt anew. QUICK= in the environment leaves out
cases that take more than 1.5 seconds; most mutants are killed by shorter ones.
"""

import argparse
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time

RIG = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(RIG))
MUTANTS = f"{REPO}/tests/mutants"
LITMUS = f"{REPO}/tests/litmus"
LEAST = 95
# Tests sleep, so one kernel more than there are CPUs.
AT_ONCE = (os.cpu_count() or 1) + 1
# Maximum number of mutants per boot. A mutant that spoils the kernel ends the boot.
BATCH = 25
# Timeouts in seconds: of a test, for its threads; and of the kernel, for a line of output, in
# addition to the time of the longest case.
PATIENCE = 4
SILENCE = 8
LAST_SUITE = "hmm_mirror_lockdep."

stop = threading.Event()


def say(text):
    since = int(time.time()) - int(os.environ.get("RIG_START", time.time()))
    print(f"# [{since:3d}s] {text}", file=sys.stderr, flush=True)


def name_of(mutant):
    return (f"{mutant['file']}:{mutant['line']}: {mutant['function']}() {mutant['kind']}: "
            f"{mutant['text']}" +
            (f" -> {mutant['mutated']}" if mutant["kind"] in
             ("compare", "bound", "one", "step", "return", "barrier") else ""))


# ------------------------------------------------------------------------- boots

class Kernel:
    def __init__(self, build, work):
        self.build, self.work = build, work

    def boot(self, lines=None, nr=0, until=None, longest=60):
        """Return the log, and "end", "crash" or "silence". Each line is a mutant and its cases."""
        folder = tempfile.mkdtemp(dir=self.work)
        command = [f"{self.build}/linux", "mem=256M", "ncpus=2", "seccomp=on",
                   "console=tty", "panic=-1", "panic_on_oops=1", "kunit.enable=1",
                   "slub_debug=FZP", f"uml_dir={folder}/",
                   f"hmm_mirror_test.patience={PATIENCE}", f"hmm_mutant={nr}"]
        if lines:
            with open(f"{folder}/batch", "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
            command.append(f"hmm_mutant_file={folder}/batch")
        log, how = bytearray(), "crash"
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True,
                              cwd=folder) as linux:
            try:
                while select.select([linux.stdout], [], [], SILENCE + longest)[0]:
                    some = os.read(linux.stdout.fileno(), 1 << 16)
                    if not some or stop.is_set() or until and time.time() > until:
                        break
                    log += some
                    if b"hmm_mutant: end" in log[-len(some) - 50:]:
                        how = "end"
                else:
                    how = "silence" if how != "end" else how
            finally:
                try:
                    os.killpg(linux.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        subprocess.run(["rm", "-rf", folder], check=False)
        return log.decode(errors="replace"), how

    def complaints(self, log):
        awk = subprocess.run(["awk", "-f", f"{RIG}/klog.awk"], input=log, text=True,
                             capture_output=True, check=False, errors="replace")
        return awk.stdout.splitlines() if awk.returncode else []

    def judge(self, lines, nr=0, until=None, longest=60):
        """
        Return [(number, killer or None, log)] of the mutants with a verdict: always of the
        first, unless the time was over. If more happens than that a case fails only with the
        mutant, an earlier mutant may be the cause: then only a first mutant gets a verdict.
        """
        log, how = self.boot(lines, nr, until, longest)
        parts = re.split(r"hmm_mutant: begin (\d+)", log)
        # A mutant that is on since the boot may be detected before the first case.
        if nr and len(parts) > 2:
            parts[2] = parts[0] + parts[2]
        judged = []
        for number, part in zip(parts[1::2], parts[2::2]):
            verdict = re.search(r"hmm_mutant: (survives|killed) \d+", part)
            failed = re.search(r"hmm_mutant: case (\S+) failed", part)
            rest = part[verdict.end():] if verdict else ""
            spoilt = re.search(r"hmm_mutant: case \S+ failed", rest)
            complaints = self.complaints(part) if not failed or spoilt else []
            killer = failed.group(1) if failed else \
                "log: " + re.sub(r"^\[ *[0-9.]+\] ", "", complaints[0].strip()) if complaints else \
                None if verdict else how
            sure = verdict and not spoilt and not complaints
            if not sure and (judged or until and time.time() > until):
                break
            judged.append((int(number), killer, part))
            if not sure:
                break
        if not judged and not (until and time.time() > until):
            first = int(lines[0].split()[0])
            judged.append((first, f"boot: {how}", log))
        return judged


# ------------------------------------------------------------------------- reach

class Reach:
    """The cases, their durations, and the mutants that each reaches."""

    def __init__(self, kernel):
        with open(f"{kernel.build}/linux", "rb") as file:
            self.digest = hashlib.sha256(file.read()).hexdigest()[:12]
        path = f"{kernel.build}/reach-{self.digest}.json"
        if not os.path.exists(path):
            for old in glob.glob(f"{kernel.build}/reach-*"):
                os.remove(old)
            self.measure(kernel, path)
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        self.names, self.us = known["names"], known["us"]
        self.cases = {int(nr): cases for nr, cases in known["cases"].items()}
        self.boot = set(known["boot"])
        if os.environ.get("QUICK"):
            for nr, cases in self.cases.items():
                quick = [case for case in cases if self.us[self.names[case]] < 1500000]
                self.cases[nr] = quick or cases[:1]

    def longest(self, nr):
        """Return the duration, in seconds, of the longest case that reaches the mutant."""
        return max(self.us[self.names[case]] for case in self.cases[nr]) / 1e6

    def measure(self, kernel, path):
        say("measuring which case reaches which mutant")
        names, us, reached = [], {}, {}
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            boots = list(pool.map(lambda _: kernel.boot(), range(AT_ONCE)))
        for log, how in boots:
            bad = re.findall(r"hmm_mutant: case (\S+) failed", log) + kernel.complaints(log)
            if bad or how != "end":
                print("not ok - mutants: the tests pass without a mutant")
                for line in [how] + bad[:5] + log.splitlines()[-20:]:
                    print("# " + line)
                sys.exit(1)
            names = re.findall(r"hmm_mutant: case (\S+) passed", log)
            for name, took in re.findall(r"hmm_mutant: case (\S+) passed us (\d+)", log):
                us[name] = max(us.get(name, 0), int(took))
            for name, nrs in re.findall(r"hmm_mutant: (\S+) reaches ([\d ]+)", log):
                for nr in nrs.split():
                    reached.setdefault(int(nr), set()).add(name)
        index = {name: i for i, name in enumerate(names)}

        def in_order(nr):
            # Any case may detect a mutant that is reached before the tests.
            found = set(names) if "boot" in reached[nr] else reached[nr]
            return [index[name] for name in sorted(
                found, key=lambda name: (name.startswith(LAST_SUITE), us[name]))]

        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump({"names": names, "us": us,
                       "boot": [nr for nr in reached if "boot" in reached[nr]],
                       "cases": {nr: in_order(nr) for nr in reached}}, file)
        os.rename(path + ".new", path)


# ----------------------------------------------------------------- known mutants

def compiled_in(build):
    """Return the numbers of mutants that this configuration of the kernel compiles."""
    numbers = set()
    for path in glob.glob(f"{build}/mm/hmm_mirror/*.i"):
        with open(path, encoding="utf-8") as file:
            for nr, one in re.findall(r"\bhmm_mutant\(\(?(\d+)\)?( \+ 1)?", file.read()):
                numbers.add(int(nr) + bool(one))
    return numbers


def litmus_of():
    """Return, by (function, primitive), a litmus test that fails without the primitive."""
    sites = {}
    with open(f"{LITMUS}/sites.txt", encoding="utf-8") as file:
        for line in file:
            words = line.split(None, 3)
            if len(words) < 3 or line.startswith("#") or "-" in words[1:3]:
                continue
            function, primitive, test = words[:3]
            with open(f"{LITMUS}/{test}.litmus", encoding="utf-8") as litmus:
                marked = [text for text in litmus if "// barrier " in text]
            there = {"rcu_read_lock_sched": "rcu_read_lock",
                     "rcu_read_unlock_sched": "rcu_read_unlock",
                     "mmu_notifier_synchronize": "synchronize_",
                     "list_add_tail_rcu": "rcu_assign_pointer"}.get(
                         primitive, primitive.replace("_long", ""))
            if any(there in text.split("//")[0] for text in marked):
                sites[function, primitive] = test
    return sites


class Known:
    """
    A file of mutants with reasons: "FUNCTION KIND TEXT", and indented lines below. The
    function "*" matches any function, and a text that ends in "..." matches any rest.
    """

    def __init__(self, path):
        self.path, self.entries = path, []
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line[0] == "#" or not line.strip():
                    continue
                if line[0].isspace():
                    self.entries[-1]["reason"].append(line.strip())
                else:
                    function, kind, text = line.rstrip("\n").split(None, 2)
                    self.entries.append({"function": function, "kind": kind, "text": text,
                                         "reason": []})

    @staticmethod
    def matches(entry, mutant):
        text = entry["text"]
        return (entry["function"] in ("*", mutant["function"]) and
                entry["kind"] == mutant["kind"] and
                (mutant["text"] == text or
                 text.endswith("...") and mutant["text"].startswith(text[:-3])))

    def find(self, mutant):
        return next((entry for entry in self.entries if self.matches(entry, mutant)), None)

    def wrong(self, table, survived):
        """Yield entries without a mutant, without a reason, or whose mutants were all killed."""
        for entry in self.entries:
            name = f"{os.path.basename(self.path)}: {entry['function']} {entry['kind']} {entry['text']}"
            found = [m for m in table if self.matches(entry, m)]
            if not found:
                yield f"{name}: there is no such mutant"
            elif not entry["reason"]:
                yield f"{name}: no reason is given"
            elif all(survived.get(m["nr"]) is False for m in found):
                yield f"{name}: the mutant is killed"


# --------------------------------------------------------------------------- run

class Run:
    def __init__(self, kernel, reach):
        self.kernel, self.reach = kernel, reach
        self.killer = {}
        self.todo = None
        self.lock = threading.Lock()
        self.path = f"{kernel.build}/results-{reach.digest}"

    def go_on(self, mutants):
        """Return the mutants whose result is known from an interrupted run."""
        for old in glob.glob(f"{self.kernel.build}/results-*"):
            if old != self.path:
                os.remove(old)
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.killer = {nr: killer for nr, killer in map(json.loads, file)}
        known = [m for m in mutants if m["nr"] in self.killer]
        if known:
            say(f"continuing after {len(known)} mutants")
        return known

    def note(self, mutants):
        with open(self.path, "a", encoding="utf-8") as file:
            for mutant in mutants:
                file.write(json.dumps([mutant["nr"], self.killer[mutant["nr"]]]) + "\n")

    def all(self, mutants, seconds=None, whole=False):
        """Run mutants, for so many seconds at most, and return those that were run."""
        done = self.go_on(mutants) if whole else []
        began = said = time.time()
        until = began + seconds if seconds else None
        self.todo = collections.deque(m for m in mutants if m["nr"] not in self.killer)
        left = len(self.todo)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                workers = [pool.submit(self.work, until, done, whole) for _ in range(AT_ONCE)]
                while concurrent.futures.wait(workers, 1).not_done:
                    if time.time() - said > 10:
                        said = time.time()
                        self.progress(done, len(mutants), left, said - began, seconds)
                for worker in workers:
                    worker.result()
                return done
            except BaseException:
                stop.set()
                raise

    def line(self, mutant):
        return " ".join(str(nr) for nr in [mutant["nr"], *self.reach.cases[mutant["nr"]]])

    def work(self, until, done, whole):
        """Run mutants in boots. A mutant that has got no verdict is the first of another boot."""
        while not stop.is_set() and not (until and time.time() > until):
            with self.lock:
                some = [self.todo.popleft() for _ in range(min(BATCH, len(self.todo)))]
                # A mutant that is reached before the tests must be on since the boot.
                at_boot = [m for m in some if m["nr"] in self.reach.boot]
                if at_boot:
                    self.todo.extendleft(m for m in reversed(some) if m != at_boot[0])
                    some = at_boot[:1]
            if not some:
                return
            nr = some[0]["nr"] if at_boot else 0
            judged = self.kernel.judge([self.line(m) for m in some], nr, until,
                                       max(self.reach.longest(m["nr"]) for m in some))
            with self.lock:
                for (number, killer, log), mutant in zip(judged, some):
                    self.killer[number] = killer
                    with open(f"{self.kernel.build}/logs/{number}", "w", encoding="utf-8") as file:
                        file.write(log)
                    done.append(mutant)
                if whole:
                    self.note(some[:len(judged)])
                self.todo.extendleft(reversed(some[len(judged):]))

    def progress(self, done, nr, new, took, seconds):
        killed = sum(1 for mutant in done if self.killer[mutant["nr"]])
        ran = new - (nr - len(done))
        left = seconds - took if seconds else took / max(ran, 1) * (nr - len(done))
        say(f"... {len(done)} mutants of {nr}, {killed} killed; {max(left, 0):.0f} s left")

    def control(self):
        """Return failures without a mutant of the cases that have killed, under equal load."""
        names = set(self.killer.values()) & set(self.reach.names)
        cases = [i for i, name in enumerate(self.reach.names) if name in names]
        cases.sort(key=lambda i: (self.reach.names[i].startswith(LAST_SUITE),
                                  self.reach.us[self.reach.names[i]]))
        line = " ".join(str(nr) for nr in [0, *cases])
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            boots = pool.map(lambda _: self.kernel.judge([line]), range(AT_ONCE))
            return [killer for judged in boots for _, killer, _ in judged if killer]


def record(path, known, survivors):
    with open(path, encoding="utf-8") as file:
        head = [line for line in file if line[0] == "#"]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(head)
        seen = set()
        for mutant in survivors:
            key = f"{mutant['function']} {mutant['kind']} {mutant['text']}"
            if key in seen:
                continue
            seen.add(key)
            entry = known.find(mutant)
            reason = entry["reason"] if entry else [mutant["why"]]
            file.write("\n" + key + "\n" + "".join(f"\t{line}\n" for line in reason))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("build")
    args.add_argument("--sample", type=int)
    args.add_argument("--record", action="store_true")
    args.add_argument("names", nargs="*")
    args = args.parse_args()

    with open(f"{args.build}/mutants.json", encoding="utf-8") as file:
        table = [json.loads(line) for line in file]
    compiled = compiled_in(args.build)
    os.makedirs(f"{args.build}/logs", exist_ok=True)
    whole = not args.sample and not args.names

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    with tempfile.TemporaryDirectory(dir=args.build) as work:
        kernel = Kernel(args.build, work)
        reach = Reach(kernel)
        litmus = litmus_of()
        equivalent = Known(f"{MUTANTS}/equivalent.txt")
        known = Known(f"{MUTANTS}/survivors.txt")

        def ordered_by(mutant):
            if mutant["kind"] != "barrier":
                return None
            return litmus.get((mutant["function"], re.match(r"\w+", mutant["text"]).group()))

        mutants = [m for m in table if m["nr"] in compiled]
        if args.names:
            mutants = [m for m in mutants
                       if m["function"] in args.names or str(m["nr"]) in args.names]
        runnable = [m for m in mutants if m["nr"] in reach.cases and not ordered_by(m)]
        if args.sample:
            runnable = [m for m in runnable if not equivalent.find(m) and not known.find(m)]
            seed = os.environ.get("SEED") or str(random.randrange(1 << 32))
            say(f"a sample of {len(runnable)} mutants in {args.sample} s, SEED={seed}")
            print(f"# SEED={seed}")
            random.Random(seed).shuffle(runnable)
        run = Run(kernel, reach)
        done = run.all(runnable, args.sample, whole)
        verdict(args, whole, table, mutants, done, run, ordered_by, equivalent, known, reach)


def verdict(args, whole, table, mutants, done, run, ordered_by, equivalent, known, reach):

    def test(good, text, lines=()):
        print(("ok - " if good else "not ok - ") + "mutants: " + text)
        for line in lines:
            print("# " + line)

    wild = run.control() if done else []
    test(not wild, "the tests that killed pass without a mutant", wild)

    ran = {m["nr"] for m in done}
    survived = {m["nr"]: not run.killer[m["nr"]] for m in done}
    considered = done if args.sample else mutants
    by_litmus = [m for m in considered if ordered_by(m)]
    survivors, same = [], []
    for m in considered:
        if ordered_by(m) or survived.get(m["nr"]) is False:
            continue
        m["why"] = "no case notices" if m["nr"] in ran else "no case gets there"
        (same if equivalent.find(m) else survivors).append(m)

    if args.names:
        for m in done:
            print(f"# {m['nr']} {name_of(m)}: {run.killer[m['nr']] or 'survives'}")
    listed = [m for m in survivors if known.find(m)]
    for m in survivors:
        if whole or m not in listed:
            test(m in listed, f"survives: {name_of(m)} ({m['why']})" if m not in listed
                 else f"survives, as listed: {name_of(m)}")

    everywhere = {m["nr"]: False for m in mutants if ordered_by(m)} | survived
    for text in [*equivalent.wrong(table, everywhere), *known.wrong(table, everywhere)]:
        test(False, text)

    if whole:
        os.remove(run.path)

    total = len(considered) - len(same)
    killed = total - len(survivors)
    hung = sum(1 for m in done if run.killer[m["nr"]] in ("silence", "crash"))
    percent = 100 * killed / max(total, 1)
    print(f"# {len(considered)} mutants; {len(same)} are equivalent; of {total} others "
          f"{killed - len(by_litmus)} are killed by KUnit ({hung} hang or crash the kernel), "
          f"{len(by_litmus)} by litmus tests; {len(survivors)} survive")
    if args.record and whole:
        record(known.path, known, survivors)
    elif whole:
        test(percent >= LEAST, f"{percent:.1f} of 100 are killed ({killed} of {total}), "
             f"at least {LEAST}")
    else:
        test(done != [] or args.names, f"{killed} of {total} are killed, "
             f"{len(listed)} survive as listed")


main()
