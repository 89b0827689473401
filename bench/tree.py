# SPDX-License-Identifier: MIT
"""Fork, clone, copy-on-write faults and kill: M-mode's instructions, measured by the bare guest of bench/guest/tree.c."""

import os
from typing import NamedTuple
import lxfork
import mmode
import qemu
from qemu import Failed
from table import Row, Table

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

FORK_BUDGET, LEAF_BUDGET = 50_000, 24
COPY_BUDGET, SPLIT_BUDGET = 2_000, 7_000
# A search in a heap of the scheduler's may take a step more among more VMs. A walk over all is more than that.
LIVE_FACTOR = 1.02

SIZES = (64, 256, 1024)  # MiB
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
    def __init__(self, setup):
        self.setup = setup
        self.guest = os.path.join(setup.out, "tree.bin")

    def run(self, mib, vcpus=1, hist=0):
        """The guest's rows with RAM of `mib` MiB, and the plugin's counts."""
        image = qemu.mkimage(self.setup, os.path.join(self.setup.out, "tree-diosix.elf"), self.guest, "--mem", f"{mib}M",
                             "--cpus", str(vcpus))
        step = mmode.Symbols(self.setup).address(STEP)
        option, path = mmode.plugin(self.setup, "mmode-tree.txt", hist=hist, log=1, cut=f"{step:x}")
        output = qemu.run(image, mem="2G", plugin=option)
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


def fork_rows(table, runs, native):
    for mib in SIZES:
        row, own = runs[mib, 1]["fork", 0], native.get(f"fork_{mib}")
        table.add(Row(f"fork_{mib}", f"fork, {mib} MiB in superpages, 1 VCPU", own, stage(row), FORK_BUDGET))
        table.add(Row(f"fork_child_{mib}", "  and until the child runs", native.get(f"child_{mib}"), stage(row, "child")))
    row = runs[SIZES[-1], 4]["fork", 0]
    table.add(Row("fork_4vcpus", f"fork, {SIZES[-1]} MiB in superpages, 4 VCPUs", None, stage(row)))
    table.add(Row("fork_child_4vcpus", "  and until the child runs", None, stage(row, "child")))
    for mib in SIZES:
        own = native.get(f"fork_{mib}")
        table.add(Row(f"fork_split_{mib}", f"fork, {mib} MiB in pages of 4 KiB", own, stage(runs[mib, 1]["fork_split", 0])))
        table.add(Row(f"fork_leaf_{mib}", "  of these, for each split leaf", None, per_leaf(runs[mib, 1], mib), LEAF_BUDGET))
    table.add(Row("clone", f"clone of a paused child, {SIZES[-1]} MiB", None, stage(runs[SIZES[-1], 1]["clone", 0])))


def fault_rows(table, rows, native):
    for name, text, own, budget in (("copies", "copy-on-write fault, with the copy", native.get(f"copy_{SIZES[0]}"), COPY_BUDGET),
                                    ("split", "copy-on-write fault that splits a superpage", None, SPLIT_BUDGET)):
        table.add(Row(name, f"{text}, mean of {len(rows[name, 0])}", own, stage(rows[name, 0]), budget))
        table.add(Row(name + "_worst", "  the worst of them", None, worst(rows[name, 0]), budget))
    table.add(Row("sole", "the same by the last who has the page: no copy", native.get(f"sole_{SIZES[0]}"), stage(rows["sole", 0])))


def kill_rows(table, runs, native):
    for name, what in (("kill", "superpages"), ("kill_split", "pages of 4 KiB")):
        for mib in SIZES:
            row, own = runs[mib, 1][name, 0], name == "kill_split"
            table.add(Row(f"{name}_{mib}", f"kill a child, {mib} MiB in {what}: the call",
                          native.get(f"kill_{mib}") if own else None, stage(row)))
            table.add(Row(f"{name}_total_{mib}", "  until it is gone",
                          native.get(f"kill_total_{mib}") if own else None, stage(row, "settled")))


    mib = SIZES[-1]
    table.add(Row("late", f"a timer of the parent's while a child of {mib} MiB in pages of 4 KiB dies: late by", None,
                  runs[mib, 1]["late"]))


def live_rows(table, rows):
    """Nothing may grow with the number of VMs: the budget is what it costs with two."""
    for name, at, text in (("fork", "returned", "fork"), ("copy", "returned", "copy-on-write fault"), ("kill", "returned", "kill: the call"),
                           ("kill", "settled", "kill, until it is gone")):
        most = round(stage(rows[name, LIVE[ALIKE]], at) * LIVE_FACTOR)
        for i, n in enumerate(LIVE):
            table.add(Row(f"live_{name}_{at}_{n}", f"{text}, {n} live VM{'s' * (n > 1)}", None, stage(rows[name, n], at),
                          most if i > ALIKE else None))


def measure(setup):
    table = Table("tree", "Fork, faults, kill", "M-mode's instructions; beside them Linux's fork(), copy-on-write fault and "
                  "SIGKILL of a process with as much memory, in instructions", native_title="Linux")
    machine, runs, longest = Machine(setup), {}, None
    native = lxfork.measure(setup, SIZES)
    for mib, vcpus in [(m, 1) for m in SIZES] + [(SIZES[-1], 4)]:
        qemu.progress(f"forks of a VM with {mib} MiB and {vcpus} VCPU{'s' * (vcpus > 1)}")
        runs[mib, vcpus], counts = machine.run(mib, vcpus)
        if not longest or counts["longest"] > longest["longest"]:
            longest = counts
    fork_rows(table, runs, native)
    fault_rows(table, runs[SIZES[0], 1], native)
    kill_rows(table, runs, native)
    live_rows(table, runs[SIZES[0], 1])
    table.add(Row("longest", f"longest stretch of all this ({mmode.worst(setup, longest)})", None, longest["longest"],
                  mmode.STRETCH_BUDGET))
    return table
