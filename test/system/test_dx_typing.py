# SPDX-License-Identifier: MIT
"""Typing in a child of a child of a child is like typing here: each level hands a key on when it comes, by an interrupt."""

import os
import re
import subprocess

import pytest
from conftest import device_args
from dx import ask, attach, disk_with
from machine import ROOT, Machine

pytestmark = pytest.mark.usefixtures("backend")

CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")
LEVELS = 3
KEYS = 5
# Linux looks at a console without an interrupt every two seconds in the end; there are four of them, one behind the other.
WORST_US = 100_000


def interrupts(m):
    """Of the driver, so far."""
    (line,) = re.findall(r".* diosix\b", m.check("cat /proc/interrupts"))
    return sum(map(int, re.findall(r"\b\d+\b", line.partition("SiFive")[0])[1:]))


def test_echo_from_below(image, name, tmp_path):
    """Under -icount the guests' time is counted in instructions, however slow this machine is, and an idle minute costs nothing."""
    program = tmp_path / "echo"
    subprocess.run([CROSS + "gcc", "-std=gnu11", "-O2", "-Wall", "-Werror", "-static", "-I", ROOT, "-o", program,
                    ROOT / "test/system/echo.c"], check=True)
    disk = disk_with(tmp_path, {"echo": program.read_bytes()}, "4M")
    args = [*device_args("mmio", disk, net=False), "-icount", "shift=0,sleep=off"]
    with Machine(name, image(), harts=1, args=args) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt && cp /mnt/echo /tmp && umount /mnt")
        son = ask(m, "fork --name child")["handle"]
        before = interrupts(m)
        for level in range(LEVELS):
            if level:
                ask(m, "fork --name child")
            attach(m, f"dx console child --escape {'ABC'[level]}")
            m.run("true")
        m.send("stty echo; echo read''y; cat\n")
        m.expect(r"ready\r*\n")
        # Leave the child, but not what its shell and those below have attached to.
        m.send("\x01")
        m.expect(r"\[detached\]\r*\n")
        assert int(m.check(f"/tmp/echo {son} {KEYS}")) < WORST_US
        assert interrupts(m) - before >= KEYS
        m.check("dx kill child")
