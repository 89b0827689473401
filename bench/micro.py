# SPDX-License-Identifier: MIT
"""Single operations, measured by the bare guest of bench/guest/micro.c, in instructions."""

import os
import qemu
from qemu import Failed, NS_PER_TICK
from table import Row, Table

SSTC, NO_SSTC = "rv64", "rv64,sstc=false"

# Name of the guest's row, description, budget. A budget of None: what it costs without a hypervisor.
WITH_SSTC = (
    ("base", "SBI BASE get_spec_version", 100),
    ("unknown", "unknown SBI extension", 100),
    ("hart_status", "HSM hart_get_status", 130),
    ("fence_i", "RFENCE fence.i, self", 250),
    ("sfence_vma", "RFENCE sfence.vma one page, self", 300),
    ("ipi_self", "IPI to self, sent and taken", 300),
    ("set_timer_far", "set_timer, far", 150),
    ("timer_sbi", "set_timer now + interrupt + cancel", 400),
    ("timer_csr", "the same by stimecmp (Sstc)", None),
    ("delay_irq_csr", "latency of the timer interrupt (Sstc)", None),
    ("delay_wfi_csr", "wfi to wake by timer (Sstc)", 50),
    ("dbcn_0", "DBCN write of 0 bytes", 150),
    ("dbcn_64", "DBCN write of 64 bytes", None),
    ("mmio_read", "MMIO read, UART LSR (Diosix: emulated)", 400),
    ("ebreak", "ebreak to own handler", None),
    ("illegal", "illegal instruction to own handler", "ebreak"),
    ("first_touch", "first touch of fresh RAM, per 4 KiB", 25),
)
WITHOUT_SSTC = (
    ("set_timer_far", "without Sstc: set_timer, far", 150),
    ("delay_irq_sbi", "without Sstc: latency of the interrupt", 200),
    ("timer_sbi", "without Sstc: set_timer now + interrupt + cancel", 400),
    ("delay_wfi_sbi", "without Sstc: wfi to wake by timer", 200),
)

# A delay() of the guest holds the mean phase of the tick in which the timer was set, and the sample's own two instructions.
DELAY_EXTRA = 49.5 + 2

BATCHES = 10  # of the guest, micro.c

RESET_BUDGET = 5_000_000


def parse(output):
    """Rows of the guest: name, to instructions per operation and the marker of its operations."""
    rows = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] == "row":
            ticks, n, mark = map(int, words[2:])
            extra = DELAY_EXTRA if words[1].startswith("delay_") else 0
            rows[words[1]] = (round(ticks * NS_PER_TICK / n - extra, 2), mark, n)
    if "done" not in output.splitlines():
        raise Failed(f"the micro-benchmark guest did not finish:\n{qemu.tail(output.encode())}")
    return rows


class Machine:
    """The guest on one of the two layers."""

    def __init__(self, setup):
        self.setup = setup
        self.guest = os.path.join(setup.out, "micro.bin")
        self.firmware = None

    def native(self, cpu, initrd=None):
        output = qemu.run(self.guest, *(["-initrd", initrd] if initrd else []), cpu=cpu)
        self.firmware = qemu.firmware_version(output)
        return parse(output)

    def diosix(self, cpu, initrd=None, plugin=None):
        options = ["--mem", "512M"] + (["--initrd", initrd] if initrd else [])
        image = qemu.mkimage(self.setup, os.path.join(self.setup.out, "micro-diosix.elf"), self.guest, *options)
        return parse(qemu.run(image, cpu=cpu, mem="2G", plugin=plugin))


def measure_one(table, machine, cpu, wanted, prefix):
    native, diosix = machine.native(cpu), machine.diosix(cpu)
    for name, text, budget in wanted:
        if budget is None:
            budget = native[name][0]
        elif budget in native:
            budget = native[budget][0]
        table.add(Row(prefix + name, text, native[name][0], diosix[name][0], budget))
    return native["reset"][0], diosix["reset"][0]


def filler(setup):
    """A file so big that the payload is as big as that of the Linux benchmark. What is in it plays no role."""
    size = sum(os.path.getsize(f) for f in (setup.kernel, setup.initrd)) if setup.has_guest() else 12 << 20
    path = os.path.join(setup.out, "filler")
    with open(path, "wb") as f:
        f.write(bytes(range(1, 251)) * (size // 250))
    return path, size // 250 * 250


def measure_reset(table, machine, small_native, small_diosix):
    path, size = filler(machine.setup)
    big_native, big_diosix = machine.native(SSTC, path)["reset"][0], machine.diosix(SSTC, path)["reset"][0]
    slope = (big_diosix - small_diosix) / size
    table.add(Row("reset", "reset to first guest instruction, payload of 12 KiB", small_native, small_diosix, RESET_BUDGET))
    table.add(Row("reset_per_byte", "  and per byte of payload: copy and checksum",
                  (big_native - small_native) / size, round(slope, 4), None))
    table.add(Row("reset_linux", f"  so with a payload of {size / (1 << 20):.1f} MiB", big_native, big_diosix,
                  RESET_BUDGET + round(slope * size)))


def measure(setup):
    machine = Machine(setup)
    table = Table("micro", "Single operations", "instructions, the measuring loop's 2-6 included")
    qemu.progress("micro-benchmarks, with Sstc")
    resets = measure_one(table, machine, SSTC, WITH_SSTC, "")
    qemu.progress("micro-benchmarks, without Sstc")
    measure_one(table, machine, NO_SSTC, WITHOUT_SSTC, "nosstc_")
    qemu.progress("from reset to the guest")
    measure_reset(table, machine, *resets)
    return table, machine.firmware
