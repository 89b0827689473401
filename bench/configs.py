# SPDX-License-Identifier: MIT
"""The one table of what a guest is measured on: the firmware alone, and Diosix with each backend. Each row of each table has
these columns, and every guest that is measured is run through `Guest`."""

import os
from typing import NamedTuple
import qemu


class Config(NamedTuple):
    """A column."""
    cpu: str  # QEMU's -cpu
    options: str | None  # the hypervisor's own command line; None: there is no hypervisor


# Without a hypervisor nothing uses the H extension, so that one column is native for all: the CPU that two of the three have.
NATIVE = "native"
CONFIGS = {
    NATIVE: Config("rv64,h=false", None),
    "gstage": Config("rv64", "backend=gstage"),
    "pmp": Config("rv64,h=false", "backend=pmp"),
    "shadow": Config("rv64,h=false", "backend=shadow"),
}
BACKENDS = tuple(c for c in CONFIGS if c != NATIVE)


class Guest:
    """A kernel with its files and command line, to be run in any column with `mem` MiB of its own."""

    def __init__(self, setup, name, kernel, initrd=None, append=None, mem=512, cpus=1, machine_mem="2G"):
        given = {"initrd": initrd, "append": append}
        self.kernel, self.mem, self.machine_mem = kernel, f"{mem}M", machine_mem
        self.given = {k: v for k, v in given.items() if v}
        packed = [w for k, v in self.given.items() for w in ("--" + k, v)]
        self.image = qemu.mkimage(setup, os.path.join(setup.out, name + "-diosix.elf"), kernel, *packed, "--mem", self.mem,
                                  "--cpus", str(cpus))

    def run(self, column, *options, features="", **how):
        """What it printed. `features` are more of -cpu's; `how` is qemu.run's."""
        config = CONFIGS[column]
        cpu = ",".join(filter(None, (config.cpu, features)))
        if config.options is None:
            given = [w for k, v in self.given.items() for w in ("-" + k, v)]
            return qemu.run(self.kernel, *given, *options, cpu=cpu, mem=self.mem, **how)
        return qemu.run(self.image, "-append", config.options, *options, cpu=cpu, mem=self.machine_mem, **how)
