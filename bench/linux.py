# SPDX-License-Identifier: MIT
"""The same kernel and file system on OpenSBI and as the Root VM: the boot, and lxbench's loops (guest/bench/lxbench.c)."""

import os
import mmode
import qemu
from qemu import Failed, NS_PER_TICK
from table import Row, Table

APPEND = "console=hvc0 earlycon=sbi panic=1"
BOOT_RATIO = 1.02

# A Linux guest does two things that it does not do on OpenSBI 1.5: it updates A and D bits itself where the CPU has Svadu, since SBI 3.0's
# FWFT has hardware do it only when asked, which this kernel does not; and it accounts for stolen time. Without both, what
# is left is the hypervisor's own doing.
EVEN_CPU, EVEN_APPEND = "rv64,svadu=off,svade=on", APPEND + " no-steal-acc"
EVEN_LOOPS = ("yield", "fork", "exec", "pipe", "pagefault", "mprotect", "tmpfs")

# lxbench's name, description, budget as a ratio to native.
LOOPS = (
    ("syscall", "system call", 1.00),
    ("yield", "sched_yield", 1.01),
    ("clock", "clock_gettime", 1.00),
    ("fork", "fork + exit", 1.02),
    ("exec", "fork + exec", 1.02),
    ("pipe", "pipe round trip", 1.01),
    ("pagefault", "page fault", 1.02),
    ("mprotect", "mprotect", 1.02),
    ("signal", "signal", 1.00),
    ("icache", "icache flush", 1.02),
    ("sleep20us", "sleep of 20 us", 1.02),
    ("tmpfs", "tmpfs file", 1.02),
    ("sha256_4k", "SHA-256, 4 KiB", 1.00),
    ("memcpy_64k", "memcpy, 64 KiB", 1.00),
    ("matmul_48", "matrix product, 48 x 48", 1.00),
    ("console64", "console, 64 bytes (DBCN)", 1.00),
)
# Budgets have two decimals: 1.00 is kept by what rounds to it.
ROUNDING = 0.005


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


NAMES = {name for name, _, _ in LOOPS}


class Machine:
    def __init__(self, setup, append=APPEND):
        if not setup.has_guest():
            raise Failed("no kernel or file system to measure: make guest")
        self.setup, self.append = setup, append
        self.initrd = overlaid(setup, "overlaid.cpio", {"init": "mark", "sbin/getty": "mark"})
        self.image = qemu.mkimage(setup, os.path.join(setup.out, "linux-diosix.elf"), setup.kernel, "--initrd", self.initrd,
                                  "--append", append, "--mem", "512M")

    def native(self, **how):
        return parse(qemu.run(self.setup.kernel, "-initrd", self.initrd, "-append", self.append, mem="512M", **how))

    def diosix(self, **how):
        return parse(qemu.run(self.image, mem="2G", **how))


def boot_rows(table, native, diosix, entry):
    for name, text in (("boot_init", "to the first program"), ("boot_login", "to the login prompt")):
        table.add(Row(name, f"Linux from reset {text}", native[name], diosix[name], None))
        if entry:
            n, d = native[name] - entry[0], diosix[name] - entry[1]
            table.add(Row(name + "_guest", "  the same from the guest's first instruction", n, d, round(n * BOOT_RATIO)))


def loop_rows(table, native, diosix, names):
    for name, text, budget in LOOPS:
        if name in names:
            table.add(Row(name, text, native[name], diosix[name], round(native[name] * (budget + ROUNDING), 1), "ratio"))


def measure_even(setup):
    qemu.progress("Linux on both, without hardware A/D updates and stolen time")
    machine = Machine(setup, EVEN_APPEND)
    table = Table("linux_even", "Linux, even", f"-cpu {EVEN_CPU}, no-steal-acc: what is left is the hypervisor's own doing")
    loop_rows(table, machine.native(cpu=EVEN_CPU), machine.diosix(cpu=EVEN_CPU), EVEN_LOOPS)
    return table


def measure(setup, entry):
    """`entry`: instructions from reset to the guest without and with Diosix, for a payload of this size, if known."""
    machine = Machine(setup)
    table = Table("linux", "Linux", "instructions; budgets are ratios to native")
    qemu.progress("Linux on OpenSBI")
    native = machine.native()
    qemu.progress("Linux as the Root VM, with the count of M-mode's instructions")
    plugin, counts = mmode.plugin(setup, "mmode-linux.txt")
    diosix = machine.diosix(plugin=plugin)
    boot_rows(table, native, diosix, entry)
    loop_rows(table, native, diosix, NAMES)
    return table, measure_even(setup), mmode.table(setup, mmode.read(counts))


def measure_wall(setup, rounds=3):
    """Without icount; the two take turns, and of each loop the best round counts, so that noise of the machine hits both."""
    machine = Machine(setup)
    best = ({}, {})
    for i in range(rounds):
        qemu.progress(f"the same loops by the clock on the wall, round {i + 1} of {rounds}")
        for one, found in zip(best, (machine.native(icount=False), machine.diosix(icount=False))):
            for name in NAMES:
                one[name] = min(one.get(name, found[name]), found[name])
    table = Table("wall", "The same loops by the clock", "Diosix's wall time as a ratio to native; varies from run to run")
    table.native_title = "OpenSBI"
    for name, text, _ in LOOPS:
        table.add(Row(name, text, 1.0, round(best[1][name] / best[0][name], 2), None, "wall"))
    return table
