# SPDX-License-Identifier: MIT
"""Unmodified kernels of others as the Root VM: they know nothing of Diosix and have no SBI console. If these failed, "any kernel"
would be a promise for our own only.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import device_args
from machine import INITRD, ROOT, Machine, mkimage

UBOOT = Path("/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin")
UBOOT_BASE = "0x80200000"


def fetch(package):
    """A riscv64 package of trixie: the folder in which it lies unpacked."""
    command = [ROOT / "scripts/fetch-source", "--deb", "--arch", "riscv64", "--suite", "trixie", package]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@pytest.fixture(scope="module")
def debian_kernel():
    """The package that linux-image-riscv64 stands for; its version says which."""
    origin = (fetch("linux-image-riscv64").parent / "origin").read_text()
    version = re.search(r"^version (\S+)-\S+$", origin, re.MULTILINE)[1]
    tree = fetch(f"linux-image-{version}+deb13-riscv64")
    return next((tree / "boot").glob("vmlinu*"))


@pytest.mark.parametrize("harts, cpu", [(1, "rv64"), (4, "rv64"), (2, "rv64,sstc=off"), (2, "rv64,v=on")])
def test_debian(debian_kernel, name, tmp_path, harts, cpu):
    image = mkimage(tmp_path / "debian.elf", kernel=debian_kernel, initrd=INITRD, append="console=ttyS0 earlycon panic=1")
    with Machine(name, image, harts=harts, cpu=cpu, args=device_args("pci")) as m:
        m.login()
        assert "deb13" in m.check("uname -r")
        assert m.check("tty") == "/dev/ttyS0"
        assert m.check("nproc") == str(harts)
        assert m.check("""python -c 'print("hello")'""") == "hello"
        assert "cpustress: ok" in m.check("cpustress 1")
        m.start("poweroff -f")
        assert m.wait_exit() == 0


@pytest.mark.parametrize("harts", [1, 4])
def test_u_boot(name, tmp_path, harts):
    image = mkimage(tmp_path / "uboot.elf", kernel=UBOOT, initrd=None, append="", options=("--flat", "--base", UBOOT_BASE))
    disk = tmp_path / "disk.raw"
    disk.write_bytes(os.urandom(1 << 20))
    with Machine(name, image, harts=harts, args=device_args("mmio", disk, net=False)) as m:
        for end in ("reset", "poweroff"):
            m.expect("Hit any key to stop autoboot")
            m.send("\n")
            m.expect("=> ")
            m.send("version\n")
            m.expect(r"U-Boot 20\d\d")
            m.expect("=> ")
            m.send("virtio scan; virtio info\n")
            m.expect("=> ")
            m.send(f"{end}\n")
        assert m.wait_exit() == 0
