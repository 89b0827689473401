# SPDX-License-Identifier: MIT
"""The one table of machine configurations that system tests run on.

OPTIONS is the table. `full()` is its product; `pairwise()` a small subset in which each value of each option meets
each value of each other option at least once; `selected()` is the one that this run wants (FULL=1: full).

    python3 test/configs.py [--full]     prints the configurations, one a line
"""

import itertools
import os
import sys
from collections import namedtuple

# The first value of each option is the ordinary one.
OPTIONS = {
    "backend": ("gstage", "pmp", "shadow"),  # with the H extension, and without
    "harts": (4, 1, 2, 8),  # PCPUs
    "sstc": (True, False),  # timer without exits, or the hypervisor's
    "vector": (False, True),
    "mem": ("2G", "256M", "16G"),  # of the machine
    "vcpus": (None, 8),  # of the Root VM; None: one for each PCPU
    "bus": ("mmio", "pci"),  # of disk and network
    "build": ("release", "debug"),
}


class Config(namedtuple("Config", OPTIONS)):
    """One machine."""

    __slots__ = ()

    @property
    def cpu(self):
        """QEMU's -cpu."""
        h, sstc, vector = ("on" if on else "off" for on in (self.backend == "gstage", self.sstc, self.vector))
        return f"rv64,h={h},sstc={sstc},v={vector}"

    @property
    def args(self):
        """What else QEMU is told: the hypervisor's own command line."""
        return ["-append", f"backend={self.backend}"]

    @property
    def nproc(self):
        """What the Root VM sees."""
        return self.vcpus or self.harts

    def __str__(self):
        words = [self.backend, f"{self.harts}harts", "sstc" if self.sstc else "nosstc", "v" if self.vector else "nov", self.mem]
        words += [f"{self.vcpus}vcpus"] if self.vcpus else []
        return "-".join(words + [self.bus, self.build])


DEFAULT = Config(*(values[0] for values in OPTIONS.values()))


def full():
    """All combinations."""
    return [Config(*values) for values in itertools.product(*OPTIONS.values())]


def pairs_of(config):
    """The pairs of options' values that a configuration has."""
    return set(itertools.combinations(enumerate(config), 2))


def pairwise():
    """Greedy: always the configuration that has most of the pairs that are still missing. Always the same result."""
    every = full()
    missing = set().union(*map(pairs_of, every))
    chosen = []
    while missing:
        best = max(every, key=lambda c: len(missing & pairs_of(c)))
        chosen.append(best)
        missing -= pairs_of(best)
    return chosen


ALL = os.environ.get("FULL", "0") not in ("", "0")


def selected():
    """What this run of the tests wants."""
    return full() if ALL else pairwise()


def meets(machine, machines, backend, backends):
    """Whether this run wants a test's machine with a backend, by their numbers: each of both at least once, unless ALL."""
    return ALL or machine % backends == backend % machines


if __name__ == "__main__":
    print("\n".join(map(str, full() if "--full" in sys.argv else pairwise())))
