# SPDX-License-Identifier: MIT
"""Instructions in M-mode, counted by bench/plugin/mmode.c: how many, the longest stretch, and in which functions."""

import bisect
import collections
import os
import subprocess
from configs import BACKENDS
from qemu import Failed
from table import Table, for_all

STRETCH_BUDGET = 100_000


def plugin(setup, name, **options):
    """QEMU's option, and the file that will hold the counts. `options` are the plugin's."""
    path = os.path.join(setup.out, name)
    words = [os.path.join(setup.out, "mmode.so"), f"out={path}"] + [f"{k}={v}" for k, v in options.items()]
    return ",".join(words), path


def read(path):
    with open(path, encoding="ascii") as f:
        lines = [line.split() for line in f]
    found = {"mode": {}, "block": collections.defaultdict(list), "mark": []}
    for words in lines:
        if words[0] == "mode":
            found["mode"][words[1]] = int(words[2])
        elif words[0] == "mark":
            found["mark"].append((int(words[1]), int(words[2])))
        elif words[0] == "block":
            found["block"][words[1]].append((int(words[2], 16), int(words[3])))
        else:
            found[words[0]] = int(words[-1]) if words[0] != "longest" else int(words[1])
    if "longest" not in found:
        raise Failed(f"{path} is cut: did QEMU end early?")
    return found


class Symbols:
    def __init__(self, setup):
        nm = subprocess.run([setup.cross + "nm", "-n", setup.hypervisor], capture_output=True, text=True, check=True).stdout
        symbols = [line.split() for line in nm.splitlines()]
        self.named = [(int(s[0], 16), s[2]) for s in symbols if len(s) == 3 and s[1] in "tT"]
        self.starts = [at for at, _ in self.named]

    def address(self, name):
        for at, found in self.named:
            if found == name:
                return at
        raise Failed(f"the hypervisor has no function {name}")

    def name(self, pc):
        i = bisect.bisect(self.starts, pc) - 1
        return self.named[i][1] if i >= 0 else hex(pc)

    def by_function(self, blocks):
        found = collections.Counter()
        for pc, count in blocks:
            found[self.name(pc)] += count
        return found


def worst(setup, counts, n=4):
    functions = Symbols(setup).by_function(counts["block"]["longest"]).most_common(n)
    return ", ".join(f"{name} {count}" for name, count in functions)


def table(setup, counts):
    """`counts`: what the plugin counted, by column."""
    def of(get):
        return {column: get(c) for column, c in counts.items()}
    t = Table("mmode", "M-mode during the Linux boot and loops", "instructions after the first guest entry", BACKENDS)
    t.add("longest", "longest stretch", of(lambda c: c["longest"]), for_all(STRETCH_BUDGET))
    t.add("guest", "outside of M-mode", of(lambda c: sum(n for mode, n in c["mode"].items() if mode != "M")), {}, "info")
    t.add("total", "in M-mode", of(lambda c: c["guest"]))
    t.add("exits", "entries to M-mode", of(lambda c: c["exits"]))
    t.add("per_exit", "instructions per entry", of(lambda c: round(c["guest"] / c["exits"], 1)))
    t.notes = stretch_notes(setup, counts)
    return t


def stretch_notes(setup, counts):
    return [f"Longest stretch, {column}: {worst(setup, c)}." for column, c in counts.items()]
