# SPDX-License-Identifier: MIT
"""scripts/gen-symbols. If these failed, the backtrace of a dying hypervisor would name wrong functions."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")

# Out of order, with aliases, data, marks of the linker script and of the assembler.
NM = """\
0000000080000000 T image_start
0000000080000000 T text_start
0000000080000000 T _start
0000000080000100 t quiet.constprop.0
0000000080000100 T loud
0000000080000080 t middle
0000000080000090 t .Llabel
0000000080000090 t $x
0000000080000200 R text_end
0000000080000200 R symbols_count
0000000080000300 T beyond
0000000080001000 D data
                 U undefined
"""


def gen_symbols(text):
    return subprocess.run([ROOT / "scripts/gen-symbols"], input=text, capture_output=True, text=True, check=False)


def test_table_is_sorted_and_ends_with_the_text():
    done = gen_symbols(NM)
    assert done.returncode == 0 and done.stderr == ""
    pairs = [(int(a, 16), int(n)) for a, n in re.findall(r"\.long (0x[0-9a-f]+), ([0-9]+)", done.stdout)]
    names = re.findall(r'\.asciz "(.*)"', done.stdout)
    assert names == ["_start", "middle", "loud", ""]
    assert [a for a, _ in pairs] == [0, 0x80, 0x100, 0x200]
    blob = "\0".join(names) + "\0"
    assert [blob[n : blob.index("\0", n)] for _, n in pairs] == names
    assert f"symbols_count:\n\t.long {len(names)}\n" in done.stdout


def test_without_text_start():
    done = gen_symbols("0000000080000000 T _start\n")
    assert done.returncode == 1 and done.stdout == "" and "text_start" in done.stderr


@pytest.mark.parametrize("argument,status", [("--help", 0), ("x", 2)])
def test_usage(argument, status):
    done = subprocess.run([ROOT / "scripts/gen-symbols", argument], capture_output=True, text=True, check=False)
    assert done.returncode == status and "usage" in done.stderr


def test_second_link_moves_nothing(tmp_path):
    """The whole way: link without a table, make it, link with it, and make the same one again."""
    (tmp_path / "a.c").write_text(
        '#include "riscv/symbols.h"\n'
        "const char *volatile found;\n"
        "void helper(void) {}\n"
        "void _start(void)\n{\n\tuint64_t offset;\n\tfound = symbol_lookup((uintptr_t)helper, &offset);\n}\n"
    )
    (tmp_path / "a.ld").write_text(
        "ENTRY(_start) SECTIONS { . = 0x80000000; text_start = .; .text : { *(.text .text.*) } . = ALIGN(4096); text_end = .;"
        " .rodata : { *(.rodata .rodata.* .srodata*) } . = ALIGN(4096); .data : { *(.data .sdata .bss .sbss) } }"
    )
    flags = "-std=gnu11 -O2 -ffreestanding -nostdlib -static -march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany"
    link = [CROSS + "gcc", *flags.split(), f"-I{ROOT}/hv", "-Wl,--build-id=none", "-T", tmp_path / "a.ld", tmp_path / "a.c"]
    link += [ROOT / "hv/riscv/symbols.c"]
    tables = []
    for extra in ([], [tmp_path / "symbols.S"]):
        subprocess.run([*link, *extra, "-o", tmp_path / "a.elf"], check=True)
        names = subprocess.run([CROSS + "nm", "-n", tmp_path / "a.elf"], capture_output=True, text=True, check=True).stdout
        tables.append(gen_symbols(names).stdout)
        (tmp_path / "symbols.S").write_text(tables[-1])
    assert tables[0] == tables[1]
    assert '"helper"' in tables[0] and '"symbol_lookup"' in tables[0]
