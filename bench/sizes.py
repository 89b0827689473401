# SPDX-License-Identifier: MIT
"""Sizes: the image, a PCPU's memory, lines of code."""

import glob
import os
import re
import subprocess
from qemu import Failed
from table import Table, for_all

KIB = 1024
WHOLE = "Diosix"  # the one column: what is built is the same for every backend
SOURCE = (".c", ".S", ".h")
TESTS = SOURCE + (".py",)
# A string or character constant is matched first, so that a comment's mark within one is none.
C_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|/\*.*?\*/|//[^\n]*', re.DOTALL)


def code_lines(path):
    """Lines that hold something beside blanks and comments."""
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    if path.endswith(SOURCE):
        text = C_COMMENT.sub(lambda m: m[1] or "\n" * m[0].count("\n"), text)
        return sum(1 for line in text.splitlines() if line.strip())
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def count(top, folders, endings):
    files = [f for folder in folders for f in glob.glob(os.path.join(top, folder, "**", "*"), recursive=True)]
    return sum(code_lines(f) for f in files if f.endswith(endings) and os.path.isfile(f))


def sections(setup):
    out = subprocess.run([setup.cross + "size", "-A", setup.hypervisor], capture_output=True, text=True, check=True).stdout
    return {w[0]: int(w[1]) for w in map(str.split, out.splitlines()) if len(w) == 3 and w[0].startswith(".")}


def symbol_size(setup, name):
    out = subprocess.run([setup.cross + "nm", "-S", setup.hypervisor], capture_output=True, text=True, check=True).stdout
    for words in map(str.split, out.splitlines()):
        if len(words) == 4 and words[3] == name:
            return int(words[1], 16)
    raise Failed(f"the hypervisor has no symbol {name}")


def defined(setup, header, name):
    with open(os.path.join(setup.top, header), encoding="utf-8") as f:
        found = re.search(rf"^#define\s+{name}\s+(\d+)", f.read(), re.MULTILINE)
    if not found:
        raise Failed(f"{header} does not define {name}")
    return int(found[1])


def per_pcpu(setup):
    """Guard, stack and structure, as the frame allocator rounds them up (a power of two), and a share of the run queues."""
    area = 1 << (symbol_size(setup, "boot_area") - 1).bit_length()
    return area + symbol_size(setup, "sched") // defined(setup, "hv/core/sched.h", "SCHED_MAX_PCPUS")


def image_rows(table, setup):
    s = sections(setup)
    constants = s[".text"] + s.get(".rodata", 0)
    table.add("text_rodata", "hypervisor text + rodata, bytes", {WHOLE: constants}, for_all(128 * KIB, [WHOLE]))
    table.add("image", "image: text + rodata + data, bytes", {WHOLE: constants + s.get(".data", 0)}, for_all(160 * KIB, [WHOLE]))
    table.add("bss", "bss, bytes", {WHOLE: s.get(".bss", 0)})
    table.add("per_pcpu", "memory of a PCPU, bytes", {WHOLE: per_pcpu(setup)}, for_all(64 * KIB, [WHOLE]))


def measure(setup):
    table = Table("sizes", "Sizes", "bytes, and lines that are neither blank nor comment", (WHOLE,))
    image_rows(table, setup)
    hv, tests = count(setup.top, ["hv", "abi"], SOURCE), count(setup.top, ["test"], TESTS)
    table.add("lines", "lines of the hypervisor (C, assembly, headers)", {WHOLE: hv}, for_all(10_000, [WHOLE]), "info")
    table.add("test_ratio", f"lines of test per line of source ({tests:,} lines)", {WHOLE: round(tests / hv, 2)}, {}, "info")
    return table
