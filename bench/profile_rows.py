# SPDX-License-Identifier: MIT
"""Where the hypervisor's instructions go: per operation of the bare guests, and for the boot, by function."""

import collections
import os
import micro
import mmode
import tree
from configs import BACKENDS, Guest

SMALL = 0.004  # of a row's total: not worth a line


def section(title, functions, operations):
    total = sum(functions.values())
    lines = [f"{title}: {total / operations:,.1f}"]
    lines += [f"    {count / operations:12,.1f}  {name}" for name, count in functions.most_common() if count > total * SMALL]
    return "\n".join(lines)


def of_micro(setup, symbols, column):
    option, path = mmode.plugin(setup, "mmode-micro.txt", hist=1)
    rows = micro.parse(Guest(setup, "micro", micro.small_guest(setup)).run(column, plugin=option))
    counts = mmode.read(path)
    os.remove(path)
    yield section("boot, to the first guest instruction", symbols.by_function(counts["block"]["0"]), 1)
    for name, (_, mark, n) in sorted(rows.items(), key=lambda r: r[1][1]):
        if mark and counts["block"][str(mark)]:
            yield section(name, symbols.by_function(counts["block"][str(mark)]), n * micro.BATCHES)


def of_tree(setup, symbols, column):
    """The means of all operations of a kind; of those that are not done when the call returns, also what follows."""
    mib = tree.SIZES[-1]
    _, counts = tree.Machine(setup, mib).run(column, hist=1)
    done = collections.Counter(mark for mark, _ in counts["mark"])
    for kind, name in ((k, n) for k, n in zip(tree.BEGINS, tree.KINDS) if done[k]):
        yield section(f"{name} ({mib} MiB)", symbols.by_function(counts["block"][str(kind)]), done[kind])
        after = counts["block"][str(tree.RETURNED + kind)]
        if name.startswith("kill"):
            yield section(f"  after {name}, until it is gone", symbols.by_function(after), done[kind])


def measure(setup):
    symbols = mmode.Symbols(setup)
    return "\n".join(line for column in BACKENDS
                     for line in (f"{column}:\n", *of_micro(setup, symbols, column), *of_tree(setup, symbols, column)))
