# SPDX-License-Identifier: MIT
"""Machines and images that cannot work are refused with one clear message. If these failed, a user would look at a dead screen."""

import re
import shutil

import pexpect
import pytest

from machine import BUILD, HV, Machine

REFUSAL = r"\[diosix\] cannot run here: ([^\r\n]*)\r*\n"


def goes_on(m):
    """Whether there is another word on the console, until QEMU has used no time in two looks, one after the other: all harts stand
    still, and it is not just others' turn. Those that wait for a first one that has stopped never do; they get two seconds."""
    still = 0
    for _ in range(7):
        used = m.cpu_time()
        if m.qemu.expect([r"\[diosix\]|Linux", pexpect.TIMEOUT], timeout=0.3) == 0:
            return True
        still = still + 1 if m.cpu_time() == used else 0
        if still == 2:
            break
    return False


def refusal(name, image, **options):
    """The message, after making sure that there is one and nothing after it."""
    with Machine(name, image, **options) as m:
        text = m.expect(REFUSAL)[1]
        # A second hart would say the same again at once; a hypervisor that went on would start Linux.
        assert not goes_on(m), m.console
        assert len(re.findall(REFUSAL, m.console)) == 1
        return text


@pytest.mark.parametrize("harts", [1, 4])
@pytest.mark.parametrize("what, options, says", [
    ("backend", {"args": ["-append", "backend=shadow"]}, r"backend=shadow: these harts have gstage"),
    ("aia", {"machine": "virt,aia=aplic-imsic"}, r"no PLIC"),
    ("aplic", {"machine": "virt,aia=aplic"}, r"no PLIC"),
    ("32M", {"mem": "32M"}, r"RAM"),
    ("48M", {"mem": "48M"}, r"RAM"),
])
def test_machine(image, name, harts, what, options, says):
    assert re.search(says, refusal(name, image(), harts=harts, **options))


def test_no_payload(name):
    assert "no payload" in refusal(name, HV["release"])


@pytest.mark.parametrize("where, says", [(-1000, "checksum"), (-8_000_000, "checksum"), (-3_000_000, "checksum")])
def test_damaged_payload(name, image, tmp_path, where, says):
    """One bit, in different parts of the payload."""
    damaged = tmp_path / "damaged.elf"
    shutil.copy(image(), damaged)
    with open(damaged, "r+b") as f:
        f.seek(where, 2)
        byte = f.read(1)[0]
        f.seek(where, 2)
        f.write(bytes([byte ^ 0x10]))
    assert says in refusal(name, damaged)


def test_root_vm_bigger_than_the_machine(name, image):
    assert "contiguous RAM for the Root VM" in refusal(name, image(options=("--mem", "4G")), mem="2G")


def test_build_has_no_leftovers():
    """What the other tests boot is what make builds."""
    assert (BUILD / "diosix.elf").exists()
