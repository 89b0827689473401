# SPDX-License-Identifier: MIT
"""Compares results with a record. Only what repeats is judged: wall times and lines of code are not."""

import json
from configs import NATIVE

# Counts repeat exactly; the tolerance is for a change of compiler, QEMU or firmware that nobody here made. A ratio compares
# Diosix with native of the same run, so that a new guest moves both; a few instructions more or less at boot already move the clock's ticks to other
# places in a loop that forks, and its cost by up to 1 %.
COUNT_FACTOR, COUNT_EXTRA = 1.02, 1
RATIO_EXTRA = 0.015


def worse(old, new, column):
    before, after = (row["values"][column] for row in (old, new))
    if new["kind"] == "count":
        return after > before * COUNT_FACTOR + COUNT_EXTRA
    natives = [row["values"].get(NATIVE) for row in (old, new)]
    if new["kind"] == "ratio" and all(natives):
        return after / natives[1] > before / natives[0] + RATIO_EXTRA
    return False


def better(old, new, column):
    return new["kind"] == old["kind"] == "count" and old["values"][column] > new["values"][column] * COUNT_FACTOR + COUNT_EXTRA


def figures(results):
    """(Name, column) of each figure to its row. Native ones are not ours to judge."""
    return {(f"{part}/{key}", column): row for part, rows in results["tables"].items() for key, row in rows.items()
            for column in row["values"] if column != NATIVE}


def pairs(old, new):
    """Name, column, and the rows of the record and of now, of each figure that both have."""
    before, after = figures(old), figures(new)
    return [(*at, before[at], row) for at, row in after.items() if at in before]


def missing(old, new):
    """Figures of the record that were not measured although their part was."""
    after = figures(new)
    return [" ".join(at) for at in figures(old) if at not in after and at[0].split("/")[0] in new["tables"]]


def change(name, column, old, new):
    return f"{name} {column}: {old['values'][column]} became {new['values'][column]} (native {old['values'].get(NATIVE)}, " \
           f"{new['values'].get(NATIVE)})"


def report(path, new):
    """Prints what changed; 1 when anything got worse."""
    with open(path, encoding="ascii") as f:
        old = json.load(f)
    changed = [k for k in new["about"] if k not in ("hypervisor",) and old["about"].get(k) != new["about"][k]]
    if changed:
        print(f"Not measured as the record was: {', '.join(changed)} differ.")
    failures = [change(n, c, a, b) for n, c, a, b in pairs(old, new) if worse(a, b, c)]
    failures += [f"{n}: no longer measured" for n in missing(old, new)]
    for n, c, a, b in pairs(old, new):
        if better(a, b, c):
            print(f"better: {change(n, c, a, b)}")
    for f in failures:
        print(f"WORSE: {f}")
    print("worse than the record" if failures else "no worse than the record")
    return 1 if failures else 0
