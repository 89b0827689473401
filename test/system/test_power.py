# SPDX-License-Identifier: MIT
"""The Root VM's end is the machine's: off, restart, crash; and its sleep. If these failed, a user would lose a machine that he
only wanted to restart, or not learn why it did.
"""

import re
import time

import pytest

from conftest import device_args, wait_for_network
from machine import Machine

pytestmark = pytest.mark.usefixtures("backend")

OFF = "[diosix] the Root VM has shut down; powering off"
REBOOT = r"\[diosix\] the Root VM reboots; restarting\r*\n"


@pytest.mark.parametrize("command", ["poweroff", "poweroff -f"])
@pytest.mark.parametrize("build", ["release", "debug"])
def test_power_off(image, name, command, build):
    with Machine(name, image(build=build)) as m:
        m.login()
        m.start(command)
        assert m.wait_exit() == 0
        assert m.console.rstrip().endswith(OFF)


@pytest.mark.parametrize("harts, vcpus", [(1, 1), (4, 4), (2, 8)])
def test_reboot(image, name, harts, vcpus):
    """Orderly, then in the middle of work."""
    with Machine(name, image(options=("--cpus", vcpus)), harts=harts) as m:
        m.login()
        for command in ("reboot", "cpustress 1000 & reboot -f"):
            m.start(command)
            m.expect(REBOOT)
            assert "Diosix" in m.login()
            assert m.check("nproc") == str(vcpus)
        m.start("poweroff")
        assert m.wait_exit() == 0


@pytest.mark.parametrize("harts, vcpus", [(1, 1), (2, 8)])
def test_crash(image, name, harts, vcpus):
    """A kernel panic restarts the machine, and the console says why. Linux gives SBI no reason: its own last words are the reason."""
    with Machine(name, image(options=("--cpus", vcpus)), harts=harts) as m:
        m.login()
        m.start("echo c >/proc/sysrq-trigger")
        m.expect(r"Kernel panic - not syncing: sysrq triggered crash")
        m.expect(REBOOT)
        m.login()
        assert m.check("nproc") == str(vcpus)


# The serial port wakes the machine. (The clock's driver in this kernel cannot.) While the port is open, what is typed is its own:
# the shell itself opens and closes it, so that both are done when its next command runs. It must not echo: Linux 6.12 leaves a port
# that wakes the machine unable to transmit (its runtime state stays "suspended", without a hypervisor too), and closing waits 30 s for output.
SLEEP = """dmesg -n 8; exec 3</dev/ttyS0; stty -echo <&3; echo enabled >/sys/class/tty/ttyS0/power/wakeup
until echo mem >/sys/power/state; do true; done 2>/dev/null; exec 3<&-; dmesg -n 1"""


def sleep_and_wake(machine):
    """A key that comes before the machine sleeps makes Linux give up and try again; so each try gets a key of its own,
    a second later, when it most likely sleeps."""
    # From when ttyS0 is open what is typed goes there: all must have been read by then, so it is one line.
    machine.check(f"cat >/tmp/sleep <<'END'\n{SLEEP}\nEND")
    machine.marks += 1
    machine.send(f'. /tmp/sleep; echo "@@""{machine.marks}:$?@@"\n')
    done = rf"@@{machine.marks}:0@@"
    while machine.qemu.expect([r"Suspending console", done]) == 0:
        time.sleep(1)
        machine.send("\n")


@pytest.mark.parametrize("harts, vcpus, cpu", [(1, 1, "rv64"), (4, 4, "rv64"), (2, 2, "rv64,sstc=off"), (2, 8, "rv64")])
def test_suspend(image, name, web, harts, vcpus, cpu):
    """Suspend to RAM: afterwards all CPUs and devices are there again."""
    with Machine(name, image(options=("--cpus", vcpus)), harts=harts, cpu=cpu, args=device_args("mmio")) as m:
        m.login()
        wait_for_network(m)
        for times in (1, 2):
            sleep_and_wake(m)
            assert m.check("cat /sys/power/suspend_stats/success") == str(times)
            assert m.check("nproc") == str(vcpus)
            assert m.check(f"wget -q -O - {web.url} | sha256sum").split()[0] == web.sha256
            assert "cpustress: ok" in m.check("cpustress 1")


def test_message_among_output(image, name):
    """A hypervisor's message in a flood of the guest's output tears no line of it."""
    with Machine(name, image(), harts=4) as m:
        m.login()
        m.start("(for i in 1 2 3 4; do yes line-$i-0123456789abcdefghijklmnopqrstuvwxyz-line-$i | head -n 100000 & done; sleep 1; reboot -f) 2>/dev/null")
        m.expect(REBOOT)
        # The guest's programs write whole lines, but its terminal may mix those of one time.
        assert m.qemu.before.endswith("\n"), repr(m.qemu.before[-200:])
        said = [line for line in m.console.splitlines() if "[diosix]" in line]
        assert all(re.fullmatch(r"\[diosix\] [ -~]+", line) for line in said), said
