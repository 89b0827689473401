# SPDX-License-Identifier: MIT
"""The Linux driver, as programs other than dx could use it: a child's fd, windows, events; loading and unloading."""

import os
import re
import subprocess

import pytest
from conftest import device_args
from dx import ask, attached, disk_with
from machine import ROOT, Machine

CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")


@pytest.mark.usefixtures("backend")
def test_child_fd(image, name, tmp_path):
    """A program's view of a child: test/system/probe.c. And the driver goes and comes while children live."""
    probe = tmp_path / "probe"
    subprocess.run([CROSS + "gcc", "-std=gnu11", "-O2", "-Wall", "-Werror", "-static", "-I", ROOT, "-o", probe,
                    ROOT / "test/system/probe.c"], check=True)
    disk = disk_with(tmp_path, {"probe": probe.read_bytes()})
    with Machine(name, image(), args=device_args("mmio", disk)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt && cp /mnt/probe /tmp && umount /mnt")
        assert m.check("/tmp/probe").endswith("probe: all is well")
        # Without devices the fork is copy-on-write, and the window shows what was shared.
        kid = ask(m, "fork --name kid")["handle"]
        with attached(m, "kid"):
            assert m.check("/tmp/probe").endswith("probe: all is well")
            assert ask(m, "ps") == []
        m.check("dx events >/tmp/events & pid=$!; until ls -l /proc/$pid/fd | grep -q /dev/diosix; do :; done")
        # BusyBox tells it, and exits with 0.
        assert "Resource temporarily unavailable" in m.run("rmmod diosix").output, "unloaded while a file is open"
        m.check("kill $pid; wait; rmmod diosix")
        assert "diosix" not in m.check("cat /proc/interrupts /proc/modules /proc/misc")
        assert m.run("dx ps").status == 7
        m.check("insmod /lib/modules/diosix.ko")
        # The name was the driver's; the child is as it was.
        assert [(c["handle"], c["name"], c["state"]) for c in ask(m, "ps")] == [(kid, "", "running")]
        m.check(f"dx name {kid} again")
        with attached(m, "again"):
            m.check("true")
        m.check("dx kill again")
        assert "diosix" not in m.run("dmesg | grep -iE 'warning|bug|call trace'").output


def test_waits_for_interrupts():
    """The driver has nothing that wakes by the clock: no timer, no time limit, no delayed work."""
    driver = subprocess.run([ROOT / "guest/build", "driver"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    wanted = subprocess.run([CROSS + "nm", "-u", driver + "/root/lib/modules/diosix.ko"], check=True, stdout=subprocess.PIPE,
                            text=True).stdout
    assert "request_threaded_irq" in wanted
    assert not re.findall(r".*(?:timer|timeout|sleep|delay|jiffies).*", wanted)
