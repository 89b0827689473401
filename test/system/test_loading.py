# SPDX-License-Identifier: MIT
"""Other ways to start and to size the Root VM. If these failed, mkimage's or make's options would not do what they say."""

import pexpect
import pytest

from machine import HANG, ROOT, Machine


@pytest.mark.parametrize("harts", [1, 4])
def test_as_bios(image, name, harts):
    """The ROM jumps to the image in both cases; with -bios it looks for a next stage, which must not matter."""
    with Machine(name, image(), harts=harts, loader="bios") as m:
        m.login()
        assert m.check("nproc") == str(harts)


@pytest.mark.parametrize("mem, root", [("2G", "1G"), ("16G", "8G"), ("2G", "64M")])
def test_root_ram(image, name, mem, root):
    with Machine(name, image(options=("--mem", root)), mem=mem) as m:
        m.login()
        mib = int(root[:-1]) << (10 if root[-1] == "G" else 0)
        total = int(m.check("grep MemTotal /proc/meminfo").split()[1]) >> 10
        assert mib * 3 // 4 < total <= mib


@pytest.mark.parametrize("harts, vcpus", [(1, 8), (2, 3), (4, 1), (2, 16)])
def test_vcpus(image, name, harts, vcpus):
    """Any number of VCPUs on any number of PCPUs."""
    with Machine(name, image(options=("--cpus", vcpus)), harts=harts) as m:
        m.login()
        assert m.check("nproc") == str(vcpus)
        assert "cpustress: ok" in m.check("cpustress 1")


def test_make_run():
    """What the README tells: make run, log in, leave."""
    make = pexpect.spawn("make", ["run", "SMP=2", "APPEND=console=hvc0 panic=1 hello=world"], cwd=str(ROOT), timeout=HANG, encoding="utf-8",
                         codec_errors="replace")
    try:
        make.expect("login: ")
        make.send("root\n")
        make.expect(r"root@\S+ ~ # ")
        make.send("cat /proc/cmdline\n")
        make.expect(r"panic=1 hello=world\s*\r")
        make.send("\x01x")
        make.expect(pexpect.EOF)
    finally:
        make.kill(9)
        make.close(force=True)
