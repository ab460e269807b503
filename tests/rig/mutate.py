#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""mutate.py DIR TABLE: make mutants of the core.

Rewrites the sources of the core in DIR, a copy of the repository, so that a kernel built
from them contains all mutants. At run time, a number selects the one that is on (see
tests/mutants/hmm_mutant.h). TABLE gets a line of JSON for each mutant: number, file, line,
function, kind, original text, mutated text.

The kinds:

  delete   a statement is left out
  false    a condition is false; its calls are still made
  true     a condition is true
  negate   a condition is negated
  without  an operand of && or || is left out
  compare  a comparison is replaced by its neighbour
  bound    a comparison is off by one in the other direction
  one      + 1 or - 1 is left out
  step     ++ or -- inside an expression is left out
  return   the last return of a function returns another value
  barrier  an ordering is weakened

Parses C in the kernel's coding style. If it does not understand something, it fails.
"""

import glob
import json
import os
import re
import shutil
import sys

TOKEN = re.compile(r"""
    (?P<space>(?:\s|/\*.*?\*/|//[^\n]*)+)
  | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>\.?[0-9](?:[0-9a-zA-Z_.])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<op><<=|>>=|\.\.\.|->|\+\+|--|&&|\|\||[<>=!]=|<<|>>|[-+*/%&|^]=|[][(){};,.:?~!<>=*/%&|^+-])
""", re.X | re.S)

DIRECTIVE = re.compile(r"[ \t]*#(?:\\\n|/\*.*?\*/|[^\n])*", re.S)

TYPES = set("""struct union enum unsigned signed const static volatile register extern void
    bool char short int long u8 u16 u32 u64 s8 s16 s32 s64 size_t ssize_t pid_t dma_addr_t
    phys_addr_t gfp_t""".split())

ASSIGNMENTS = set("= += -= *= /= %= &= |= ^= <<= >>=".split())

# Operators by precedence, the lowest first.
BINARY = [["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<", "<=", ">", ">="],
          ["<<", ">>"], ["+", "-"], ["*", "/", "%"]]

NEIGHBOUR = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}

# Numbers to add to both sides, to move the bound in the other direction.
OTHER_BOUND = {"<": (1, 0), "<=": (0, 1), ">": (0, 1), ">=": (1, 0)}

# Statements that only order memory.
FENCES = set("""smp_mb smp_wmb smp_rmb synchronize_rcu mmu_notifier_synchronize
    rcu_read_lock_sched rcu_read_unlock_sched""".split())

# Calls that do not return. The compiler refuses a function that ends without one.
ENDINGS = {"hmm_mirror_compat_module_put_and_exit"}

# Calls that order memory, and the calls without that order. hmm_mutant.h has macros for them.
WEAKER = {
    "smp_load_acquire": "READ_ONCE",
    "smp_store_release": "WRITE_ONCE",
    "xchg": "xchg_relaxed",
    "cmpxchg": "cmpxchg_relaxed",
    "try_cmpxchg": "try_cmpxchg_relaxed",
    "atomic_long_dec_and_test": "atomic_long_sub_return_relaxed",
    "list_add_tail_rcu": "list_add_tail",
}

# Macros that only give a hint to the compiler.
HINTS = ("likely", "unlikely")


class NotUnderstood(Exception):
    pass


class Token:
    def __init__(self, kind, text, at):
        self.kind, self.text, self.at = kind, text, at
        self.end = at + len(text)


def tokens_of(text):
    tokens, at, line_start = [], 0, True
    while at < len(text):
        if line_start and (m := DIRECTIVE.match(text, at)):
            at = m.end()
            continue
        m = TOKEN.match(text, at)
        if not m:
            raise NotUnderstood(f"{text[at:at + 20]!r}")
        if m.lastgroup == "space":
            line_start = "\n" in m.group()
        else:
            line_start = False
            tokens.append(Token(m.lastgroup, m.group(), at))
        at = m.end()
        # A directive may be indented.
        if line_start:
            back = text.rfind("\n", 0, at) + 1
            if not text[back:at].strip() and text[at:at + 1] == "#":
                at = back
    return tokens


class Source:
    """One file: mutants are insertions into its text."""

    def __init__(self, path, table, first):
        self.path, self.table, self.next = path, table, first
        with open(path, encoding="utf-8") as file:
            self.text = file.read()
        self.t = tokens_of(self.text)
        self.before, self.behind, self.instead = {}, {}, {}
        self.pair = self.pairs()
        self.function = None

    def pairs(self):
        """Return the matching bracket of each bracket."""
        pair, stack = {}, []
        closes = {")": "(", "]": "[", "}": "{"}
        for i, token in enumerate(self.t):
            if token.text in closes.values():
                stack.append(i)
            elif token.text in closes:
                if not stack or self.t[stack[-1]].text != closes[token.text]:
                    self.fail(i, "brackets")
                pair[i] = stack.pop()
                pair[pair[i]] = i
        return pair

    def fail(self, i, what):
        token = self.t[min(i, len(self.t) - 1)]
        line = self.text.count("\n", 0, token.at) + 1
        raise NotUnderstood(f"{self.path}:{line}: {what} at {token.text!r}")

    def is_at(self, i, *texts):
        return i < len(self.t) and self.t[i].text in texts

    def spell(self, i, j):
        return " ".join(self.text[self.t[i].at:self.t[j - 1].end].split())

    # ---------------------------------------------------------------- mutants

    def mutant(self, kind, i, j, mutated):
        nr = self.next
        self.next += 1
        self.table.append({
            "nr": nr,
            "file": os.path.basename(self.path),
            "line": self.text.count("\n", 0, self.t[i].at) + 1,
            "function": self.function,
            "kind": kind,
            "text": self.spell(i, j),
            "mutated": mutated,
        })
        return nr

    def wrap(self, i, j, before, behind):
        """Insert text around tokens. A caller wraps outer expressions before inner ones."""
        self.before.setdefault(i, []).append(before)
        self.behind.setdefault(j - 1, []).insert(0, behind)

    def result(self):
        out, at = [], 0
        for i, token in enumerate(self.t):
            out.append(self.text[at:token.at])
            out += self.before.get(i, [])
            out.append(self.instead.get(i, token.text))
            out += self.behind.get(i, [])
            at = token.end
        out.append(self.text[at:])
        text = "".join(out)
        return text.replace("#include", '#include "hmm_mutant.h"\n#include', 1)

    # -------------------------------------------------------------- functions

    def file(self):
        i = start = 0
        while i < len(self.t):
            if self.t[i].text == ";":
                start = i + 1
            elif self.t[i].text == "{":
                end = self.pair[i]
                if self.t[i - 1].text == ")":
                    name = self.pair[i - 1] - 1
                    self.function = self.t[name].text
                    self.returns = [t.text for t in self.t[start:name]]
                    self.body(i)
                i = end
                start = i + 1
            elif self.t[i].text == "(":
                i = self.pair[i]
            i += 1

    def body(self, i):
        self.last_return = None
        start, at = i, i + 1
        while at < self.pair[i]:
            start, at = at, self.statement_end(at)
        if self.is_at(start, "switch"):
            # No statement follows the last case.
            start = max((j for j in range(start, self.pair[i]) if self.is_at(j, "return")),
                        default=start)
        if self.is_at(start, "return"):
            self.last_return = start
        self.statement(i)

    # ------------------------------------------------------------- statements

    def semicolon(self, i):
        while not self.is_at(i, ";"):
            if i >= len(self.t) or self.is_at(i, "}"):
                self.fail(i, "no end of the statement")
            i = self.pair[i] + 1 if self.is_at(i, "(", "[", "{") else i + 1
        return i + 1

    def is_walk(self, i):
        """Return true for a macro before a statement, such as list_for_each_entry(...)."""
        return (self.t[i].kind == "name" and "for_each" in self.t[i].text and
                self.is_at(i + 1, "(") and not self.is_at(self.pair[i + 1] + 1, ";"))

    def is_label(self, i):
        return self.t[i].kind == "name" and self.is_at(i + 1, ":") and not self.is_at(i, "default")

    def statement_end(self, i):
        """Return the end of the statement that begins at i."""
        if self.is_at(i, "{"):
            return self.pair[i] + 1
        if self.is_at(i, "if"):
            end = self.statement_end(self.pair[i + 1] + 1)
            return self.statement_end(end + 1) if self.is_at(end, "else") else end
        if self.is_at(i, "while", "for", "switch") or self.is_walk(i):
            return self.statement_end(self.pair[i + 1] + 1)
        if self.is_at(i, "do"):
            return self.semicolon(self.statement_end(i + 1))
        if self.is_label(i):
            return i + 2
        if self.is_at(i, "case", "default"):
            while not self.is_at(i, ":"):
                i += 1
            return i + 1
        return self.semicolon(i)

    def block(self, i, end):
        while i < end:
            i = self.statement(i)

    def is_single(self, i):
        """Return true for one simple statement, with or without braces."""
        if self.is_at(i, "{"):
            end = self.pair[i]
            return i + 1 < end and self.statement_end(i + 1) == end and self.is_single(i + 1)
        return not (self.is_at(i, "if", "while", "for", "switch", "do") or self.is_walk(i) or
                    self.is_label(i))

    def statement(self, i, deletable=True):
        """Mutate the statement, and return its end."""
        end = self.statement_end(i)
        if self.is_at(i, "{"):
            if not deletable and self.is_single(i):
                self.statement(i + 1, False)
            else:
                self.block(i + 1, end - 1)
        elif self.is_at(i, "if"):
            self.branch(i)
        elif self.is_at(i, "while", "for"):
            self.loop(i)
        elif self.is_walk(i):
            body = self.pair[i + 1] + 1
            self.delete(i, end, i, body)
            self.statement(body, not self.is_single(body))
        elif self.is_at(i, "do"):
            then = self.statement(i + 1)
            self.condition(then + 2, self.pair[then + 1], "false")
        elif self.is_at(i, "switch"):
            self.statement(self.pair[i + 1] + 1)
        elif self.is_label(i) or self.is_at(i, "case", "default", ";"):
            pass
        elif self.is_at(i, "return"):
            self.leave(i, end, deletable)
        elif self.is_at(i, "break", "continue", "goto"):
            if deletable:
                self.delete(i, end)
        elif self.is_at(i, "BUILD_BUG_ON"):
            pass
        elif self.is_declaration(i, end):
            self.declaration(i, end - 1)
        else:
            self.simple(i, end, deletable)
        return end

    def delete(self, i, end, spell_from=None, spell_to=None, kind="delete"):
        nr = self.mutant(kind, spell_from or i, spell_to or end, ";")
        self.wrap(i, end, f"{{ if (!hmm_mutant({nr})) ", " }")

    def branch(self, i):
        close = self.pair[i + 1]
        then = close + 1
        end = self.statement_end(then)
        has_else = self.is_at(end, "else")
        self.condition(i + 2, close, "negate", "true", "false")
        # Without else, to delete the statement is to make the condition false.
        self.statement(then, has_else or not self.is_single(then))
        if has_else:
            self.statement(end + 1)

    def loop(self, i):
        close = self.pair[i + 1]
        at, end = i + 2, close
        if self.is_at(i, "for"):
            first = self.semicolon(at)
            self.expressions(at, first - 1)
            at, end = first, self.semicolon(first) - 1
            self.expressions(end + 1, close)
        # No mutant "true", which would loop for ever.
        if at < end and not self.is_at(at, "true", "1"):
            self.condition(at, end, "false")
        body = close + 1
        self.statement(body, not self.is_single(body))

    def leave(self, i, end, deletable):
        if i == self.last_return:
            value = self.spell(i + 1, end - 1)
            if i + 2 < end and value != "NULL" and not self.returns_structure():
                other = {"0": "1", "false": "true"}.get(value, "0")
                nr = self.mutant("return", i, end, f"return {other};")
                self.wrap(i + 1, end - 1, f"hmm_mutant({nr}) ? {other} : (", ")")
        elif deletable:
            self.delete(i, end)
        self.expressions(i + 1, end - 1)

    def returns_structure(self):
        return "struct" in self.returns and "*" not in self.returns

    def simple(self, i, end, deletable):
        name = self.t[i].text
        if self.is_at(i + 1, "(") and self.pair[i + 1] == end - 2:
            if name in FENCES and self.is_at(i + 1, "("):
                self.delete(i, end, kind="barrier")
                return
        if deletable and name not in ENDINGS:
            self.delete(i, end)
        self.expressions(i, end - 1)

    def is_declaration(self, i, end):
        if self.t[i].text in TYPES or re.match("(DEFINE|DECLARE)_|LIST_HEAD$", self.t[i].text):
            return True
        at = i + 1
        while self.is_at(at, "*"):
            at += 1
        return (self.t[i].kind == "name" and at < end and self.t[at].kind == "name" and
                (at == i + 1 or self.is_at(at + 1, "=", ";", ",")))

    def declaration(self, i, end):
        """Mutate the initialisers of a declaration."""
        if any(self.is_at(j, "static") for j in range(i, end)):
            return
        for j, k in self.split(i, end, ","):
            for at in self.top(j, k):
                if self.is_at(at, "="):
                    if self.is_at(at + 1, "{"):
                        self.declaration(at + 2, self.pair[at + 1])
                    else:
                        self.expression(at + 1, k)
                    break

    # ------------------------------------------------------------ expressions

    def top(self, i, end):
        """Yield the indices of the tokens outside of brackets."""
        while i < end:
            yield i
            i = self.pair[i] + 1 if self.is_at(i, "(", "[", "{") else i + 1

    def split(self, i, end, text):
        start = i
        for at in self.top(i, end):
            if self.is_at(at, text):
                yield start, at
                start = at + 1
        if start < end:
            yield start, end

    def expressions(self, i, end):
        for j, k in self.split(i, end, ","):
            self.expression(j, k)

    def is_binary(self, start, i):
        """Return true if the token follows an operand, and not a cast."""
        if i == start:
            return False
        last = self.t[i - 1]
        if last.text == ")":
            inside = self.t[self.pair[i - 1] + 1].text
            before = self.pair[i - 1] - 1
            is_call = before >= start and self.t[before].kind == "name"
            return is_call or inside not in TYPES
        return last.kind in ("name", "number", "string") or last.text in ("]", "++", "--")

    def bare(self, i, end):
        """Return the bounds without enclosing brackets and hints."""
        while i < end:
            if self.is_at(i, "(") and self.pair[i] == end - 1 and \
                    self.t[i + 1].text not in TYPES:
                i, end = i + 1, end - 1
            elif self.t[i].text in HINTS and self.pair.get(i + 1) == end - 1:
                i, end = i + 2, end - 1
            else:
                break
        return i, end

    def operator(self, i, end):
        """Return kind and places of the operators of lowest precedence outside of brackets."""
        top = list(self.top(i, end))
        for at in top:
            if self.t[at].text in ASSIGNMENTS:
                return "=", [at]
        for at in top:
            if self.is_at(at, "?"):
                depth = 0
                for colon in self.top(at + 1, end):
                    if self.is_at(colon, "?"):
                        depth += 1
                    elif self.is_at(colon, ":"):
                        if not depth:
                            return "?", [at, colon]
                        depth -= 1
                self.fail(at, "no colon")
        for texts in BINARY:
            found = [at for at in top if self.t[at].text in texts and self.is_binary(i, at)]
            if found:
                return texts[0], found
        return None, []

    def condition(self, i, end, *kinds):
        names = {"negate": "hmm_mutant_not", "true": "hmm_mutant_or", "false": "hmm_mutant_and"}
        for kind in kinds:
            mutated = f"!({self.spell(i, end)})" if kind == "negate" else kind
            nr = self.mutant(kind, i, end, mutated)
            self.wrap(i, end, f"{names[kind]}({nr}, ", ")")
        self.expression(i, end, "negate" in kinds)

    def expression(self, i, end, negated=False):
        """Mutate an expression. negated: another mutant already negates it."""
        i, end = self.bare(i, end)
        if i >= end:
            return
        what, ats = self.operator(i, end)
        if what == "=":
            self.expression(i, ats[0])
            self.expression(ats[0] + 1, end)
        elif what == "?":
            self.condition(i, ats[0], "true", "false")
            self.expression(ats[0] + 1, ats[1])
            self.expression(ats[1] + 1, end)
        elif what in ("||", "&&"):
            start = i
            for at in ats + [end]:
                nr = self.mutant("without", start, at, "true" if what == "&&" else "false")
                is_out = f"hmm_mutant({nr}) ||" if what == "&&" else f"!hmm_mutant({nr}) &&"
                self.wrap(start, at, f"({is_out} (", "))")
                self.expression(start, at)
                start = at + 1
        elif what in ("==", "<"):
            at = ats[-1]
            if not (negated and what == "=="):
                self.comparison(i, at, end)
            self.expression(i, at)
            self.expression(at + 1, end)
        elif what:
            start = i
            for at, stop in zip(ats, ats[1:] + [end]):
                self.expression(start, at)
                start = at + 1
                if what == "+" and self.is_at(start, "1") and stop == start + 1:
                    nr = self.mutant("one", i, stop, self.spell(i, at))
                    self.instead[start] = f"hmm_mutant_one({nr})"
                    start = stop
            self.expression(start, end)
            if what == "+" and self.is_at(i, "1") and ats[0] == i + 1 and self.is_at(ats[0], "+"):
                nr = self.mutant("one", i, ats[0] + 2, self.spell(ats[0] + 1, ats[0] + 2))
                self.instead[i] = f"hmm_mutant_one({nr})"
        else:
            self.unary(i, end)

    def comparison(self, i, at, end):
        old, new = self.t[at].text, NEIGHBOUR[self.t[at].text]
        a, b = self.spell(i, at), self.spell(at + 1, end)
        nr = self.mutant("compare", i, end, f"{a} {new} {b}")
        if old in OTHER_BOUND:
            x, y = OTHER_BOUND[old]
            self.mutant("bound", i, end, f"{a} + {x} {old} {b} + {y}".replace(" + 0", ""))
            self.wrap(i, end, f"hmm_mutant_bound({nr}, {old}, {new}, {x}, {y}, ", ")")
        else:
            self.wrap(i, end, f"hmm_mutant_compare({nr}, {old}, {new}, ", ")")
        self.instead[at] = ","

    def unary(self, i, end):
        if self.is_at(i, "++", "--"):
            if self.is_at(i - 1, "(", "!", "<", ">", "return", "=", "&&", "||"):
                nr = self.mutant("step", i, end, self.spell(i + 1, end))
                self.wrap(i, end, f"hmm_mutant_step({nr}, {self.t[i].text}, ", ")")
                self.instead[i] = ""
            return
        if self.is_at(i, "!", "~", "-", "+", "*", "&"):
            self.expression(i + 1, end)
            return
        # A cast.
        if self.is_at(i, "(") and self.t[i + 1].text in TYPES and self.pair[i] + 1 < end:
            self.expression(self.pair[i] + 1, end)
            return
        # Names, calls, members, indices.
        at = i
        while at < end:
            if self.is_at(at, "sizeof", "typeof", "offsetof") and self.is_at(at + 1, "("):
                at = self.pair[at + 1]
            elif self.is_at(at, "(", "["):
                name = self.t[at - 1].text if at > i else ""
                if name in WEAKER:
                    nr = self.mutant("barrier", at - 1, self.pair[at] + 1, WEAKER[name])
                    self.instead[at - 1] = f"hmm_mutant_{name}"
                    self.before.setdefault(at + 1, []).insert(0, f"{nr}, ")
                self.expressions(at + 1, self.pair[at])
                at = self.pair[at]
            elif self.is_at(at, "{"):
                at = self.pair[at]
            at += 1


def main():
    folder, table_path = sys.argv[1:]
    table = []
    names = glob.glob(f"{folder}/*.h") + glob.glob(f"{folder}/hmm_*.c")
    for path in sorted(names):
        # No test can detect mutants of tracepoint macros.
        if os.path.basename(path).startswith("hmm_trace."):
            continue
        first = len(table) + 1
        try:
            source = Source(path, table, first)
            source.file()
        except NotUnderstood as error:
            sys.exit(f"mutate.py: {error}")
        if source.next > first:
            with open(path, "w", encoding="utf-8") as file:
                file.write(source.result())

    mutants = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mutants")
    with open(f"{mutants}/hmm_mutant.h", encoding="utf-8") as file:
        header = file.read().replace("NR_MUTANTS", str(len(table) + 1))
    with open(f"{folder}/hmm_mutant.h", "w", encoding="utf-8") as file:
        file.write(header)
    shutil.copy(f"{mutants}/hmm_mutant.c", folder)
    with open(f"{folder}/Kbuild", "a", encoding="utf-8") as file:
        file.write("hmm-mirror-y += hmm_mutant.o\n")
    with open(table_path, "w", encoding="utf-8") as file:
        for line in table:
            file.write(json.dumps(line) + "\n")


main()
