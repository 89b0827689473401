# SPDX-License-Identifier: MIT
"""Guests that write down what the machine does (test/guest/sv39.c): the record of a VM has to be that of the same guest on
plain hardware, below it only the firmware that QEMU loads by default. Nothing expected is kept: both run here.
"""

import functools
import re

import pytest
from test_guests import BUILD, CONFIGS, QEMU, Broken, boot_guest, emulate, guests_built, results, tail  # noqa: F401

# configuration, what the guest's command line says
CASES = [("1", ""), ("1", "child"), ("max1", ""), ("nosvadu1", ""), ("4on1", "child")]
CASES += [("noh1", ""), ("nohpbmt1", "child"), ("shadow1", ""), ("shadow4on1", "child"), ("shadowpbmt1", "")]

# Guests that are right about hardware: their checks hold there as well. PCPUs.
PLAIN = {"tables": 1, "satp": 1, "spaces": 1, "walkrace": 2}

ROWS_AT_LEAST = 1000  # blocks of one mode: less is not what it claims to be


def plain_core(config):
    """One that leaves A and D to software, which is what a VCPU is told that it has."""
    options = {*CONFIGS[config][2].split(","), "svade=on", "svadu=off"}
    return ",".join(["rv64", *sorted(filter(None, options))])


def boot_plain(name, core, append, pcpus=1):
    command = [QEMU, "-M", "virt", "-cpu", core]
    command += ["-m", "512M", "-smp", str(pcpus), "-kernel", BUILD / f"guest-test/{name}.bin", "-append", append]
    text, code = emulate(command)
    if "broken" in text or code != 0:
        raise Broken(f"on plain hardware: exit code {code}\n" + tail(text))
    return text


@functools.cache
def plain_record(core):
    return record(boot_plain("sv39", core, ""))


def record(text):
    """Blocks by name: (number, hash)."""
    found = re.findall(r"^block (\d+) (\S+) (\S+)\r?$", text, re.MULTILINE)
    return {name: (number, value) for number, name, value in found}


def rows(text):
    return re.findall(r"^row (.*?)\r?$", text, re.MULTILINE)


def mode(name):
    return name.split("-")[0]


def missing(ours, plain):
    """Blocks of the modes that the VM has which only one of them has."""
    modes = {mode(name) for name in ours}
    return sorted(ours.keys() ^ {name for name in plain if mode(name) in modes})


def first_difference(ours, plain):
    return next((name for name, (_, value) in ours.items() if value != plain[name][1]), None)


def cases():
    """Those that are compared with the same core go to the same process, which boots it once."""
    return [pytest.param(*c, id="-".join(filter(None, c)), marks=pytest.mark.xdist_group(plain_core(c[0]))) for c in CASES]


@pytest.mark.parametrize("config,append", cases())
def test_same_as_hardware(config, append, guests_built, tmp_path):  # noqa: F811
    text, code = boot_guest("sv39", config, append, tmp_path)
    found, summary = results(text)
    if found["broken"]:
        raise Broken(found["broken"][0])
    assert code == 0 and summary, f"exit code {code}; its last words:\n" + tail(text)
    ours, plain = record(text), plain_record(plain_core(config))
    assert sum(mode(name) == "sv39" for name in ours) > ROWS_AT_LEAST, "not all of the record"
    assert not missing(ours, plain), "one of them has no such block"
    name = first_difference(ours, plain)
    if name:
        ours = rows(boot_guest("sv39", config, f"{append} block={ours[name][0]}", tmp_path)[0])
        plain = rows(boot_plain("sv39", plain_core(config), f"block={plain[name][0]}"))
        different = [(a, b) for a, b in zip(ours, plain) if a != b]
        assert not different, f"{name}: {len(different)} rows\n  here:     {different[0][0]}\n  hardware: {different[0][1]}"
        pytest.fail(f"{name}: differs, but not the second time")


@pytest.mark.parametrize("name", PLAIN)
def test_holds_on_hardware(name, guests_built):  # noqa: F811
    found, summary = results(boot_plain(name, plain_core("1"), "", PLAIN[name]))
    assert not found["not ok"], "\n".join(found["not ok"])
    assert summary and int(summary[1]) == len(found["ok"]) > 0
