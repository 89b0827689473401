# SPDX-License-Identifier: MIT
"""The console loses nothing, and what a guest must not reach it does not reach from Linux either."""

import hashlib

import pytest

from machine import Machine

pytestmark = pytest.mark.usefixtures("backend")

# What a VM must not have, and on real hardware would be: the hypervisor, the machine's timer, its finisher, absent memory.
FORBIDDEN = [0x80000000, 0x80100000, 0x0200BFF8, 0x02000000, 0x00100000, 0x00001000, 0x0C000000 + 0x4000000, 0x200000000]


def test_typing(image, name):
    """A long text, pasted: each byte arrives, once and in order."""
    text = "".join(f"line {i:04} " + "abcdefghijklmnopqrstuvwxyz0123456789"[i % 10 :] + "\n" for i in range(150))
    with Machine(name, image()) as m:
        m.login()
        m.send("sha256sum; echo '@@''end'\n" + text + "\x04")
        said = m.expect(r"([0-9a-f]{64})  -\s+@@end")[1]
        assert said == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("harts", [1, 4])
def test_flood(image, name, harts):
    """Output faster than any terminal, while all CPUs compute."""
    with Machine(name, image(), harts=harts) as m:
        m.login()
        m.check("cpustress 1000 >/dev/null 2>&1 &")
        assert m.check("seq 1 5000").split() == [str(i) for i in range(1, 5001)]


def test_forbidden_memory(image, name):
    """An access that hardware would refuse kills the program that makes it, and nobody else."""
    with Machine(name, image()) as m:
        m.login()
        # It works where it may: the clock.
        assert m.check("devmem 0x101000 32").startswith("0x")
        for address in FORBIDDEN:
            for command in (f"devmem {address:#x} 32", f"devmem {address:#x} 32 0x5555"):
                assert m.run(f"({command}) 2>/dev/null").status > 128, command
        assert "cpustress: ok" in m.check("cpustress 1")
