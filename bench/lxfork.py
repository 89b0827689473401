# SPDX-License-Identifier: MIT
"""Linux's own fork() on a machine without Diosix: bench/guest/lxfork.c as the first program of the Root VM's kernel."""

import os
import linux
import qemu
from qemu import Failed, NS_PER_TICK


def parse(output, sizes):
    """NAME_MIB to instructions of one operation."""
    found = {}
    for words in map(str.split, output.splitlines()):
        if len(words) == 5 and words[0] == "lxfork":
            mib, ticks, n = map(int, words[2:])
            found[f"{words[1]}_{mib}"] = round(ticks * NS_PER_TICK / n, 1)
    if "done" not in output.splitlines() or any(f"fork_{mib}" not in found for mib in sizes):
        raise Failed(f"the Linux guest that forks did not finish:\n{qemu.tail(output.encode())}")
    return found


def measure(setup, sizes):
    """None of the figures without a kernel: then there is nothing to compare with."""
    if not os.path.exists(setup.kernel):
        return {}
    qemu.progress("Linux's fork() on OpenSBI")
    initrd = linux.archive(setup, "lxfork.cpio", {"init": "lxfork"})
    return parse(qemu.run(setup.kernel, "-initrd", initrd, "-append", linux.APPEND, mem="2G"), sizes)
