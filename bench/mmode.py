# SPDX-License-Identifier: MIT
"""Instructions in M-mode, counted by bench/plugin/mmode.c: how many, the longest stretch, and in which functions."""

import bisect
import collections
import os
import subprocess
from qemu import Failed
from table import Row, Table

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
    guest = sum(n for mode, n in counts["mode"].items() if mode != "M")
    t = Table("mmode", "M-mode during the Linux boot and loops", "instructions after the first guest entry")
    t.add(Row("longest", f"longest stretch ({worst(setup, counts)})", None, counts["longest"], STRETCH_BUDGET))
    t.add(Row("total", f"in M-mode, of {guest / 1e6:,.0f} M in the guest", None, counts["guest"], None))
    t.add(Row("exits", "entries to M-mode", None, counts["exits"], None))
    t.add(Row("per_exit", "instructions per entry", None, round(counts["guest"] / counts["exits"], 1), None))
    return t
