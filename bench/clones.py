# SPDX-License-Identifier: MIT
"""What an idle copy of the Root VM's Linux keeps for itself, as dx info tells it: bench/guest/clones.sh in place of the login."""

import json
import os
import linux
import qemu
from configs import BACKENDS, Guest
from qemu import Failed
from table import Table, for_all

PAGE_KIB = 4
SECONDS = (0, 1, 10, 60)
BUDGETS = {0: 128, 10: 1024}  # KiB, of a clone
WHO = (("clone", "clone of a paused Linux", BUDGETS), ("fork", "fork of the Root VM without trust", {}))

# The clock on the wall is none of the guest's inputs.
RTC = ("-rtc", "base=2026-01-01,clock=vm")


def parse(output):
    """(Who, seconds) to what dx info said."""
    found = {}
    for line in output.splitlines():
        words = line.split(maxsplit=3)
        if len(words) == 4 and words[0] == "clone":
            found[words[1], int(words[2])] = json.loads(words[3])
    missing = [f"{who} after {s} s" for who, _, _ in WHO for s in SECONDS if (who, s) not in found]
    if missing or "done" not in output.splitlines():
        raise Failed(f"the Linux that clones did not tell {', '.join(missing) or 'that it was done'}:\n{qemu.tail(output.encode())}")
    return found


def add_rows(table, found):
    """`found`: what parse() found, by column."""
    for who, text, budgets in WHO:
        for s in SECONDS:
            when, budget = f"after {s} s" if s else "at birth", for_all(budgets.get(s))
            for key, field, what in (("", "pages_private", f"{text}, {when}: RAM of its own"),
                                     ("_all", "pages", "  all that it is charged: tables and structures too")):
                table.add(f"{who}{key}_{s}", what, {column: infos[who, s][field] * PAGE_KIB for column, infos in found.items()}, budget)


def measure(setup):
    if not setup.has_guest():
        raise Failed("no kernel or file system to measure: make guest")
    initrd = linux.overlaid(setup, "clones.cpio", {"sbin/getty": os.path.join(setup.top, "bench/guest/clones.sh")})
    guest, found = Guest(setup, "clones", setup.kernel, initrd, linux.APPEND), {}
    for column in BACKENDS:
        qemu.progress(f"memory of idle copies of a Linux VM, backend {column}")
        found[column] = parse(guest.run(column, *RTC))
    table = Table("clones", "Memory of an idle copy of Linux, 512 MiB", "KiB; seconds are the guest's", BACKENDS)
    add_rows(table, found)
    return table
