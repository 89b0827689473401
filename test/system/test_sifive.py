# SPDX-License-Identifier: MIT
"""The HiFive Unleashed as QEMU has it: four harts without H and a first one that cannot host a VM, SiFive's UART, a PLIC in which
that hart has one context and the others two, no power switch, and a pin that restarts the board. If these failed, Diosix would
not start there, neither by the board's own way from its flash nor as QEMU loads it; or it would leave the user before a dead board.
"""

import re
import subprocess

import pytest

from dx import ask, attached, pages_used
from machine import ROOT, Machine

REBOOT = r"\[diosix\] the Root VM reboots; restarting\r*\n"
STANDS_STILL = r"\[diosix\] the Root VM has shut down; powering off\r*\n\[diosix\] this machine cannot do that by itself: all harts stand still\r*\n"


def board(name, image, *, loader="kernel", cpu=None, harts=5, backend=None):
    """The machine as QEMU loads it."""
    return Machine(name, image, machine="sifive_u", cpu=cpu, harts=harts, loader=loader, args=["-append", f"backend={backend}"] if backend else [])


@pytest.fixture(scope="session")
def flash(image, tmp_path_factory):
    """A function: mkimage's command line, mkdisk's options -> a machine that boots from its flash. RAM is what the tree says."""
    folder = tmp_path_factory.mktemp("flash")

    def make(name, append=None, options=""):
        disk, spl = folder / f"{name}.img", folder / "spl"
        command = [ROOT / "scripts/mkdisk", "--image", image(append=append), "--options", options, "--spl", spl, "-o", disk]
        subprocess.run(command, check=True)
        return Machine(name, spl, machine="sifive_u,msel=6", cpu=None, harts=5, mem="8G", loader="bios",
                       args=["-drive", f"file={disk},format=raw,if=mtd"])
    return make


def look_around(m, boot, harts=4, backend="pmp"):
    """The machine is what it is, and works."""
    banner = rf"\[diosix\] Diosix \S+ on SiFive HiFive Unleashed A00\r*\n\[diosix\] {harts} PCPUs? rv64imafdc, \d+ MiB RAM, backend {backend}\b"
    assert re.search(banner, boot)
    assert m.check("nproc") == str(harts)
    assert "cpustress: ok" in m.check("cpustress 1")
    assert m.check("""python -c 'print("hello")'""") == "hello"
    assert re.search(r"hypervisor interface version \d+", m.check("dx version"))
    # None of the machine's devices: Ethernet's DMA could not be stopped, and all need the clock controller.
    assert m.check("echo /sys/class/net/*") == "/sys/class/net/lo"
    assert m.check("ls /sys/class/tty | grep -c SIF; true") == "0"


def look_at_fork(m, cpus="4"):
    """The Root VM's fork is a copy, and what it takes comes back."""
    m.check("echo before >/tmp/file; dx kill $(dx fork)")
    before = pages_used(m)
    ask(m, "fork --name kid")
    with attached(m, "kid"):
        assert m.check("cat /tmp/file; nproc") == f"before\n{cpus}"
        assert re.fullmatch("diosix-[0-9a-f]{8}", m.check("cat /proc/sys/kernel/hostname"))
        m.check("echo child >/tmp/file")
        assert "cpustress: ok" in m.check("cpustress 1")
    assert m.check("cat /tmp/file; cat /proc/sys/kernel/hostname") == "before\ndiosix"
    m.check("dx kill kid")
    assert pages_used(m) == before


@pytest.mark.parametrize("loader, harts", [("kernel", 5), ("bios", 5), ("kernel", 2), ("kernel", 3)])
def test_login(image, name, loader, harts):
    """As QEMU loads it, in its first address. The smallest machine has one hart for VMs."""
    with board(name, image(), loader=loader, harts=harts) as m:
        look_around(m, m.login(), harts - 1)
        look_at_fork(m, str(harts - 1))


@pytest.mark.parametrize("backend", ["pmp", "shadow"])
def test_restart(image, name, backend):
    """By the pin; after a crash as well. All that was said before is seen: the UART has sent it. CSRs keep what they held
    before, also the second time when it is tried what the harts have: the tree claims Sv48, they have Sv39."""
    with board(name, image(), backend=backend) as m:
        look_around(m, m.login(), backend=backend)
        look_at_fork(m)
        for command in ("cpustress 1000 & reboot -f", "echo c >/proc/sysrq-trigger"):
            m.start(command)
            if "sysrq" in command:
                m.expect("Kernel panic - not syncing: sysrq triggered crash")
            m.expect(REBOOT)
            m.login()
        assert m.check("nproc") == "4"


def test_false_sstc(image, name):
    """With QEMU's rv64 the tree lists Sstc and menvcfg keeps STCE, but there is no stimecmp: time goes on without."""
    with board(name, image(), cpu="rv64,h=false", harts=3) as m:
        assert re.search(r"\n\[diosix\] 2 PCPUs rv64imafdc(?! sstc)", m.login())
        assert m.check("sleep 1; grep -c sstc /proc/cpuinfo; true") == "0"


def test_power_off(image, name):
    """Nothing on the board could do it: that is said, and nothing goes on."""
    with board(name, image()) as m:
        m.login()
        m.start("poweroff -f")
        m.expect(STANDS_STILL)
        assert m.qemu.isalive()


def test_flash(flash, name):
    """SPL, Diosix with mkdisk's --options, Linux. What is typed arrives by the UART's interrupt here, although SPL's tree hides
    that the PLIC has M-mode's contexts: a console that is polled would hide it too. SPL is slow: one board shows all."""
    with flash(name, append="console=ttyS0 earlycon=sbi panic=1", options="root-exit=restart hello") as m:
        m.expect("U-Boot SPL")
        m.expect("Trying to boot from SPI")
        boot = m.login()
        assert "[diosix] option not known, ignored: hello" in boot
        look_around(m, boot)
        assert m.check("tty") == "/dev/ttyS0"
        look_at_fork(m)
        m.start("reboot")
        m.expect(REBOOT)
        m.expect("U-Boot SPL")
        m.login()
        assert m.check("nproc") == "4"
        m.start("poweroff -f")
        m.expect(r"\[diosix\] the Root VM has shut down; restarting\r*\n")
        m.expect("U-Boot SPL")
