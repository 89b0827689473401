# SPDX-License-Identifier: MIT
"""Compares results with a record. Only what repeats is judged: wall times and lines of code are not."""

import json

# Counts repeat exactly; the tolerance is for a change of compiler, QEMU or firmware that nobody here made. A ratio compares
# Diosix with native of the same run, so that a new guest moves both; a few instructions more or less at boot already move the clock's ticks to other
# places in a loop that forks, and its cost by up to 1 %.
COUNT_FACTOR, COUNT_EXTRA = 1.02, 1
RATIO_EXTRA = 0.015


def worse(old, new):
    if new["kind"] == "count":
        return new["diosix"] > old["diosix"] * COUNT_FACTOR + COUNT_EXTRA
    if new["kind"] == "ratio" and old["native"] and new["native"]:
        return new["diosix"] / new["native"] > old["diosix"] / old["native"] + RATIO_EXTRA
    return False


def better(old, new):
    return new["kind"] == old["kind"] == "count" and old["diosix"] > new["diosix"] * COUNT_FACTOR + COUNT_EXTRA


def pairs(old, new):
    for part, rows in new["tables"].items():
        for key, row in rows.items():
            before = old["tables"].get(part, {}).get(key)
            if before:
                yield f"{part}/{key}", before, row


def missing(old, new):
    """Rows of the record that were not measured although their part was."""
    return [f"{part}/{key}" for part in new["tables"] for key in old["tables"].get(part, {}) if key not in new["tables"][part]]


def report(path, new):
    """Prints what changed; 1 when anything got worse."""
    with open(path, encoding="ascii") as f:
        old = json.load(f)
    changed = [k for k in new["about"] if k not in ("hypervisor",) and old["about"].get(k) != new["about"][k]]
    if changed:
        print(f"Not measured as the record was: {', '.join(changed)} differ.")
    failures = [f"{n}: {a['diosix']} became {b['diosix']} (native {a['native']}, {b['native']})"
                for n, a, b in pairs(old, new) if worse(a, b)]
    failures += [f"{n}: no longer measured" for n in missing(old, new)]
    for n, a, b in pairs(old, new):
        if better(a, b):
            print(f"better: {n}: {a['diosix']} became {b['diosix']}")
    for f in failures:
        print(f"WORSE: {f}")
    print("worse than the record" if failures else "no worse than the record")
    return 1 if failures else 0
