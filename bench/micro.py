# SPDX-License-Identifier: MIT
"""Single operations, measured by the bare guest of bench/guest/micro.c, in instructions."""

import os
import qemu
from configs import BACKENDS, CONFIGS, NATIVE, Guest
from qemu import Failed, NS_PER_TICK
from table import Table, for_all

NO_SSTC = "sstc=false"

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


def measure_one(table, guest, features, wanted, prefix):
    """Returns the instructions from reset to the guest, by column."""
    rows = {column: parse(guest.run(column, features=features)) for column in CONFIGS}
    for name, text, budget in wanted:
        if budget is None or budget in rows[NATIVE]:
            budget = rows[NATIVE][budget or name][0]
        table.add(prefix + name, text, {column: rows[column][name][0] for column in CONFIGS}, for_all(budget))
    return {column: rows[column]["reset"][0] for column in CONFIGS}


def filler(setup):
    """A file so big that the payload is as big as that of the Linux benchmark. What is in it plays no role."""
    size = sum(os.path.getsize(f) for f in (setup.kernel, setup.initrd)) if setup.has_guest() else 12 << 20
    path = os.path.join(setup.out, "filler")
    with open(path, "wb") as f:
        f.write(bytes(range(1, 251)) * (size // 250))
    return path, size // 250 * 250


def measure_reset(table, setup, small):
    path, size = filler(setup)
    guest = Guest(setup, "micro-filler", small_guest(setup), initrd=path)
    told = {column: guest.run(column) for column in CONFIGS}
    big = {column: parse(output)["reset"][0] for column, output in told.items()}
    slope = {column: round((big[column] - small[column]) / size, 4) for column in CONFIGS}
    table.add("reset", "reset to first guest instruction, payload of 12 KiB", small, for_all(RESET_BUDGET))
    table.add("reset_per_byte", "  and per byte of payload: copy and checksum", slope)
    table.add("reset_linux", f"  so with a payload of {size / (1 << 20):.1f} MiB", big,
              {column: RESET_BUDGET + round(slope[column] * size) for column in BACKENDS})
    return big, qemu.firmware_version(told[NATIVE])


def small_guest(setup):
    return os.path.join(setup.out, "micro.bin")


def measure(setup):
    """The table, and the instructions from reset to a guest as big as Linux, by column; the firmware."""
    guest = Guest(setup, "micro", small_guest(setup))
    table = Table("micro", "Single operations", "instructions, the measuring loop's 2-6 included")
    qemu.progress("micro-benchmarks, with Sstc")
    resets = measure_one(table, guest, "", WITH_SSTC, "")
    qemu.progress("micro-benchmarks, without Sstc")
    measure_one(table, guest, NO_SSTC, WITHOUT_SSTC, "nosstc_")
    qemu.progress("from reset to the guest")
    return table, *measure_reset(table, setup, resets)
