# SPDX-License-Identifier: MIT
"""Where the hypervisor's instructions go: per operation of the micro-benchmarks, and for the boot, by function."""

import os
import micro
import mmode

SMALL = 0.004  # of a row's total: not worth a line


def section(title, functions, operations):
    total = sum(functions.values())
    lines = [f"{title}: {total / operations:,.1f}"]
    lines += [f"    {count / operations:12,.1f}  {name}" for name, count in functions.most_common() if count > total * SMALL]
    return "\n".join(lines)


def measure(setup):
    option, path = mmode.plugin(setup, "mmode-micro.txt", hist=True)
    rows = micro.Machine(setup).diosix(micro.SSTC, plugin=option)
    counts, symbols = mmode.read(path), mmode.Symbols(setup)
    parts = [section("boot, to the first guest instruction", symbols.by_function(counts["block"]["0"]), 1)]
    for name, (_, mark, n) in sorted(rows.items(), key=lambda r: r[1][1]):
        if mark and counts["block"][str(mark)]:
            parts.append(section(name, symbols.by_function(counts["block"][str(mark)]), n * micro.BATCHES))
    os.remove(path)
    return "\n".join(parts)
