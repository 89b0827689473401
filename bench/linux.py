# SPDX-License-Identifier: MIT
"""The same kernel and file system on OpenSBI and as the Root VM: the boot, and lxbench's loops (guest/bench/lxbench.c)."""

import os
import mmode
import qemu
from configs import BACKENDS, CONFIGS, NATIVE, Guest
from qemu import Failed, NS_PER_TICK
from table import Table

# Where a program's parts lie decides how many page tables a fork copies, so that is no matter of chance here.
APPEND = "console=hvc0 earlycon=sbi panic=1 norandmaps"

# A Linux guest does two things that it does not do on OpenSBI 1.5: it updates A and D bits itself where the CPU has Svadu, since SBI 3.0's
# FWFT has hardware do it only when asked, which this kernel does not; and it accounts for stolen time. Without both, what
# is left is the hypervisor's own doing.
EVEN_CPU, EVEN_APPEND = "svadu=off,svade=on", APPEND + " no-steal-acc"

# lxbench's name, description, budgets as ratios to native: of gstage, and of shadow where it has one.
PMP_GOAL = 1.01
COMPUTING, SHADOW_GOAL = 1.02, 1.3
BOOT_GOALS = (1.02, SHADOW_GOAL)
LOOPS = (
    ("syscall", "system call", 1.00),
    ("yield", "sched_yield", 1.01),
    ("clock", "clock_gettime", 1.00),
    ("fork", "fork + exit", 1.02),
    ("exec", "fork + exec", 1.02),
    ("pipe", "pipe round trip", 1.01, SHADOW_GOAL),
    ("pagefault", "page fault", 1.02, SHADOW_GOAL),
    ("mprotect", "mprotect", 1.02),
    ("signal", "signal", 1.00),
    ("icache", "icache flush", 1.02),
    ("sleep20us", "sleep of 20 us", 1.02),
    ("tmpfs", "tmpfs file", 1.02),
    ("sha256_4k", "SHA-256, 4 KiB", 1.00, COMPUTING),
    ("memcpy_64k", "memcpy, 64 KiB", 1.00, COMPUTING),
    ("matmul_48", "matrix product, 48 x 48", 1.00, COMPUTING),
    ("console64", "console, 64 bytes (DBCN)", 1.00),
)

def goals(gstage, shadow=None):
    most = {"gstage": gstage, "pmp": PMP_GOAL, "shadow": shadow}
    return {column: budget for column, budget in most.items() if budget}


def cpio_file(name, data, inode):
    """One record of a cpio archive in format newc, which the kernel unpacks."""
    fields = (inode, 0o100755, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def archive(setup, name, programs, base=b""):
    """A cpio archive of programs, by their places in it, after `base`: of two records of one name the later wins."""
    path = os.path.join(setup.out, name)
    data = base + bytes(-len(base) % 4)
    for inode, (place, program) in enumerate(programs.items(), 1 << 24):
        with open(os.path.join(setup.out, program), "rb") as f:
            data += cpio_file(place, f.read(), inode)
    with open(path, "wb") as f:
        f.write(data + cpio_file("TRAILER!!!", b"", 0))
    return path


def overlaid(setup, name, programs):
    """The Root VM's file system with programs of ours in place of its own."""
    with open(setup.initrd, "rb") as f:
        return archive(setup, name, programs, f.read())


def parse(output):
    """The figures of lxbench and, as "boot_init" and "boot_login", instructions since reset."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "mark":
            found["boot_" + words[1]] = int(words[2]) * NS_PER_TICK
        elif len(words) == 2 and words[0] in NAMES and words[1] != "skipped":
            found[words[0]] = float(words[1])
    missing = [n for n in NAMES | {"boot_init", "boot_login"} if n not in found]
    if missing:
        raise Failed(f"the Linux guest did not tell {', '.join(missing)}:\n{qemu.tail(output.encode())}")
    return found


NAMES = {name for name, *_ in LOOPS}


def guest(setup, name="linux", append=APPEND):
    if not setup.has_guest():
        raise Failed("no kernel or file system to measure: make guest")
    initrd = overlaid(setup, "overlaid.cpio", {"init": "mark", "sbin/getty": "mark"})
    return Guest(setup, name, setup.kernel, initrd, append)


def boot_rows(table, found, entry):
    """`entry`: instructions from reset to the guest, for a payload of this size, by column, if known."""
    for name, text in (("boot_init", "to the first program"), ("boot_login", "to the login prompt")):
        since = {column: found[column][name] for column in CONFIGS}
        table.add(name, f"Linux from reset {text}", since)
        if entry:
            table.add(name + "_guest", "  the same from the guest's first instruction",
                      {column: since[column] - entry[column] for column in CONFIGS}, goals(*BOOT_GOALS), "ratio")


def loop_rows(table, found):
    for name, text, *budgets in LOOPS:
        table.add(name, text, {column: found[column][name] for column in CONFIGS}, goals(*budgets), "ratio")


def goal_notes(table):
    """Whether the goals without H are met here."""
    for column in ("pmp", "shadow"):
        judged = [r for r in table.rows if column in r.budgets]
        missed = [r.text.strip() for r in judged if column in r.missed()]
        yield f"Goals of {column}: {len(judged) - len(missed)} of {len(judged)} met" + ("; missed: " + ", ".join(missed) if missed else "") + "."


def fill(table, found, entry):
    boot_rows(table, found, entry)
    loop_rows(table, found)
    table.notes = list(goal_notes(table))
    return table


def measure_even(setup, entry):
    qemu.progress("Linux on all, without hardware A/D updates and stolen time")
    linux = guest(setup, append=EVEN_APPEND)
    table = Table("linux_even", "Linux, even", f"-cpu ...,{EVEN_CPU}, no-steal-acc: what is left is the hypervisor's own doing")
    return fill(table, {column: parse(linux.run(column, features=EVEN_CPU)) for column in CONFIGS}, entry)


def measure(setup, entry):
    linux, found, counts = guest(setup), {}, {}
    table = Table("linux", "Linux", "instructions; budgets are ratios to native")
    qemu.progress("Linux on OpenSBI")
    found[NATIVE] = parse(linux.run(NATIVE))
    for column in BACKENDS:
        qemu.progress(f"Linux as the Root VM, backend {column}, with the count of M-mode's instructions")
        plugin, path = mmode.plugin(setup, f"mmode-linux-{column}.txt")
        found[column] = parse(linux.run(column, plugin=plugin))
        counts[column] = mmode.read(path)
    return fill(table, found, entry), measure_even(setup, entry), mmode.table(setup, counts)


def measure_wall(setup, rounds=3):
    """Without icount; all take turns, and of each loop the best round counts, so that noise of the machine hits all."""
    linux, best = guest(setup), {column: {} for column in CONFIGS}
    for i in range(rounds):
        qemu.progress(f"the same loops by the clock on the wall, round {i + 1} of {rounds}")
        for column, one in best.items():
            found = parse(linux.run(column, icount=False))
            one.update((name, min(one.get(name, found[name]), found[name])) for name in NAMES)
    table = Table("wall", "The same loops by the clock", "wall time as a ratio to native; varies from run to run")
    for name, text, *_ in LOOPS:
        table.add(name, text, {column: round(one[name] / best[NATIVE][name], 2) for column, one in best.items()}, {}, "wall")
    return table
