# SPDX-License-Identifier: MIT
"""Fork, clone, copy-on-write faults and kill: M-mode's instructions, measured by the bare guest of bench/guest/tree.c."""

import contextlib
import os
from typing import NamedTuple
import lxfork
import mmode
import qemu
from configs import BACKENDS, NATIVE, Guest
from qemu import Failed
from table import Table, for_all

# Marks of bench/guest/tree.c.
KINDS = ("fork, superpages", "fork, one superpage split", "fork, all split", "clone", "kill, superpages", "kill, one superpage split",
         "kill, all split", "fault that splits", "fault with copy", "fault without copy")
BEGINS = range(1, len(KINDS) + 1)
RETURNED = 16  # + kind
STAGES = {32: "child", 33: "settled"} | {RETURNED + kind: "returned" for kind in BEGINS}

# Between the steps of a long call, and of a burial, the hypervisor looks whose time has come: a stretch ends there.
STEP = "sched_expire"

BIG = 2 << 20
BELOW = 2  # superpages of the guest's RAM that it does not write: see there
LEAVES = 511  # more than one, when a superpage is split

SHARING = ("gstage", "shadow")  # where a fork is no full copy
FORK_BUDGET, LEAF_BUDGET = for_all(50_000, SHARING), for_all(24, SHARING)
COPY_BUDGET, SPLIT_BUDGET = for_all(2_000, SHARING), for_all(7_000, SHARING)
# A search in a heap of the scheduler's may take a step more among more VMs. A walk over all is more than that.
LIVE_FACTOR = 1.02

SIZES = (64, 256, 1024)  # MiB
SHAPES = tuple((mib, 1) for mib in SIZES) + ((SIZES[-1], 4),)  # and VCPUs
LIVE = (1, 2, 50, 200)
ALIKE = 1  # from here on in LIVE somebody else shares the caller's memory, too


class Sample(NamedTuple):
    """One operation: M-mode's instructions from its beginning to each later mark of it."""
    kind: int
    stages: dict


def samples(marks):
    """`marks`: (mark, M-mode's instructions until then), as the plugin logged them."""
    found = []
    for mark, count in marks:
        if mark in BEGINS:
            found.append((Sample(mark, {}), count))
        elif found and mark in STAGES:
            sample, start = found[-1]
            sample.stages.setdefault(STAGES[mark], count - start)
    return [s for s, _ in found]


def parse(output, marks):
    """The guest's rows: (name, live VMs) to samples, in the order in which both were made; and "late" in instructions."""
    left, rows, lines = samples(marks), {}, output.splitlines()
    if "done" not in lines:
        raise Failed(f"the guest that forks did not finish:\n{qemu.tail(output.encode())}")
    for words in map(str.split, lines):
        if len(words) == 2 and words[0] == "late":
            rows["late"] = int(words[1]) * qemu.NS_PER_TICK
        if len(words) != 5 or words[0] != "row":
            continue
        live, kind, n = map(int, words[2:])
        taken, left = left[:n], left[n:]
        if len(taken) != n or {s.kind for s in taken} - {kind}:
            raise Failed(f"the marks do not fit row {words[1]}")
        if words[1] != "filler":
            rows[words[1], live] = taken
    if left:
        raise Failed(f"{len(left)} operations are of no row")
    return rows


class Machine:
    """The guest with RAM of `mib` MiB. The machine has enough for a full copy of that."""

    def __init__(self, setup, mib, vcpus=1):
        self.setup = setup
        self.guest = Guest(setup, "tree", os.path.join(setup.out, "tree.bin"), mem=mib, cpus=vcpus, machine_mem="4G")

    def run(self, column, hist=0):
        """The guest's rows, and the plugin's counts."""
        step = mmode.Symbols(self.setup).address(STEP)
        option, path = mmode.plugin(self.setup, "mmode-tree.txt", hist=hist, log=1, cut=f"{step:x}")
        output = self.guest.run(column, plugin=option)
        counts = mmode.read(path)
        return parse(output, counts["mark"]), counts


def stage(row, name="returned"):
    """The mean of a row's samples."""
    return round(sum(s.stages[name] for s in row) / len(row), 1)


def worst(row):
    return max(s.stages["returned"] for s in row)


def per_leaf(rows, mib):
    """What each leaf more costs, when all that can be is split."""
    more = (mib * (1 << 20) // BIG - BELOW + 1) * LEAVES  # and the one that this program is in
    return round((stage(rows["fork_split", 0]) - stage(rows["fork", 0])) / more, 2)


def mean(key, at="returned"):
    return lambda rows: stage(rows[key], at)


def figures(runs, size, key, get, native=None):
    """What `get` says of the rows of the runs of one size, by column. Where row `key` is missing there is no figure: bench/guest/tree.c
    leaves out what cannot be."""
    found = {column: get(runs[column, *size]) for column in BACKENDS if key in runs[column, *size]}
    return found if native is None else {NATIVE: native} | found


def fork_rows(table, runs, native):
    fork, split, clone = ("fork", 0), ("fork_split", 0), ("clone", 0)
    for mib, vcpus in SHAPES:
        text, name = f"fork, {mib} MiB in superpages, {vcpus} VCPU{'s' * (vcpus > 1)}", f"{mib}" if vcpus == 1 else f"{vcpus}vcpus"
        own = native if vcpus == 1 else {}
        table.add(f"fork_{name}", text, figures(runs, (mib, vcpus), fork, mean(fork), own.get(f"fork_{mib}")),
                  FORK_BUDGET if vcpus == 1 else {})
        table.add(f"fork_child_{name}", "  and until the child runs",
                  figures(runs, (mib, vcpus), fork, mean(fork, "child"), own.get(f"child_{mib}")))
    for mib in SIZES:
        table.add(f"fork_split_{mib}", f"fork, {mib} MiB in pages of 4 KiB",
                  figures(runs, (mib, 1), split, mean(split), native.get(f"fork_{mib}")))
        table.add(f"fork_leaf_{mib}", "  of these, for each split leaf",
                  figures(runs, (mib, 1), split, lambda rows, mib=mib: per_leaf(rows, mib)), LEAF_BUDGET)
    table.add("clone", f"clone of a paused child, {SIZES[-1]} MiB", figures(runs, (SIZES[-1], 1), clone, mean(clone)))


def fault_rows(table, runs, native):
    copies, split, sole, shape = ("copies", 0), ("split", 0), ("sole", 0), SHAPES[0]
    for key, text, own, budget in ((copies, "copy-on-write fault, with the copy", native.get(f"copy_{SIZES[0]}"), COPY_BUDGET),
                                   (split, "copy-on-write fault that splits a superpage", None, SPLIT_BUDGET)):
        table.add(key[0], f"{text}, mean", figures(runs, shape, key, mean(key), own), budget)
        table.add(key[0] + "_worst", "  the worst of them", figures(runs, shape, key, lambda rows, key=key: worst(rows[key])), budget)
    table.add("sole", "the same by the last who has the page: no copy",
              figures(runs, shape, sole, mean(sole), native.get(f"sole_{SIZES[0]}")))


def kill_rows(table, runs, native):
    for name, what, own in (("kill", "superpages", {}), ("kill_split", "pages of 4 KiB", native)):
        key = name, 0
        for mib in SIZES:
            table.add(f"{name}_{mib}", f"kill a child, {mib} MiB in {what}: the call",
                      figures(runs, (mib, 1), key, mean(key), own.get(f"kill_{mib}")))
            table.add(f"{name}_total_{mib}", "  until it is gone",
                      figures(runs, (mib, 1), key, mean(key, "settled"), own.get(f"kill_total_{mib}")))
    mib = SIZES[-1]
    table.add("late", f"a timer of the parent's while a child of {mib} MiB in pages of 4 KiB dies: late by",
              figures(runs, (mib, 1), "late", lambda rows: rows["late"]))


def live_rows(table, runs):
    """Nothing may grow with the number of VMs: the budget is what it costs with two."""
    for name, at, text in (("fork", "returned", "fork"), ("copy", "returned", "copy-on-write fault"), ("kill", "returned", "kill: the call"),
                           ("kill", "settled", "kill, until it is gone")):
        found = [figures(runs, SHAPES[0], (name, n), mean((name, n), at)) for n in LIVE]
        most = {column: round(v * LIVE_FACTOR) for column, v in found[ALIKE].items()}
        for i, n in enumerate(LIVE):
            table.add(f"live_{name}_{at}_{n}", f"{text}, {n} live VM{'s' * (n > 1)}", found[i], most if i > ALIKE else {})


def measure(setup):
    table = Table("tree", "Fork, faults, kill", "M-mode's instructions; beside them Linux's fork(), copy-on-write fault and "
                  "SIGKILL of a process with as much memory, in instructions", titles={NATIVE: "Linux"})
    runs, longest = {}, {}
    native = lxfork.measure(setup, SIZES)
    for mib, vcpus in SHAPES:
        qemu.progress(f"forks of a VM with {mib} MiB and {vcpus} VCPU{'s' * (vcpus > 1)}")
        machine = Machine(setup, mib, vcpus)
        for column in BACKENDS:
            runs[column, mib, vcpus], counts = machine.run(column)
            longest[column] = max(longest.get(column, counts), counts, key=lambda c: c["longest"])
    fork_rows(table, runs, native)
    fault_rows(table, runs, native)
    kill_rows(table, runs, native)
    live_rows(table, runs)
    table.add("longest", "longest stretch of all this", {c: n["longest"] for c, n in longest.items()}, for_all(mmode.STRETCH_BUDGET))
    table.notes = mmode.stretch_notes(setup, longest)
    return table
