# SPDX-License-Identifier: MIT
"""Boots each bare-metal guest (test/guest/*.c) as the Root VM under QEMU. If one failed, the hypervisor would break a
promise to its guests; which one, the first comment of the guest's source says.

Four outcomes: passed, skipped (the machine lacks what the guest tests), failed, and error: the test itself broke.
HV=FILE chooses the hypervisor, GUEST_BUILD=DIR the build folder, QEMU=FILE the emulator.
"""

import fcntl
import functools
import os
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GUEST_BUILD", ROOT / "build"))
HV = Path(os.environ.get("HV", BUILD / "hv.elf"))
MKIMAGE = Path(os.environ.get("MKIMAGE", ROOT / "scripts/mkimage"))
QEMU = os.environ.get("QEMU", "qemu-system-riscv64")

# Nothing in a guest depends on speed: this only ends what hangs.
HANGS_AFTER = 180

ICOUNT = ("-icount", "shift=3,sleep=off")  # an instruction is 8 ns: repeats exactly

# A virtio disk that the test makes. SLOW_DISK gives a byte a second: a page takes an hour.
VIRTIO = ("-global", "virtio-mmio.force-legacy=false", "-device", "virtio-blk-device,drive=disk", "-drive")
DISK = (*VIRTIO, "if=none,id=disk,format=raw,file={disk}")
SLOW_DISK = (*VIRTIO, DISK[-1] + ",throttling.bps-total=1")

# name: PCPUs, VCPUs, what is added to -cpu rv64, and to the emulator's command line
CONFIGS = {
    "1": (1, 1, "", ()),
    "2": (2, 2, "", ()),
    "4": (4, 4, "", ()),
    "nosstc1": (1, 1, "sstc=off", ()),
    "nosstc4": (4, 4, "sstc=off", ()),
    "v2": (2, 2, "v=on", ()),
    "4on1": (1, 4, "", ()),
    "3on2": (2, 3, "", ()),
    "8on2": (2, 8, "", ()),
    "4on1nosstc": (1, 4, "sstc=off", ()),
    "8on2nosstc": (2, 8, "sstc=off", ()),
    "4on1v": (1, 4, "v=on", ()),
    "3on2v": (2, 3, "v=on,vlen=256", ()),
    "max1": (
        1,
        1,
        "v=on,svinval=on,svnapot=on,svpbmt=on,zacas=on,zfh=on,zcb=on,zicond=on,zfa=on,svade=on,zbc=on",
        (),
    ),
    "pbmt1": (1, 1, "v=on,svinval=on,svpbmt=on", ()),
    "nosvadu1": (1, 1, "svadu=off", ()),
    "7on3": (3, 7, "", ()),
    "dbltrp1": (1, 1, "smdbltrp=on", ()),
    "rnmi1": (1, 1, "smdbltrp=on,smrnmi=on", ()),
    "notime1": (1, 1, "zicntr=off", ()),
    "notime4": (4, 4, "zicntr=off,sstc=off", ()),
    "4on1fair": (1, 4, "", ICOUNT),
    "3on2fair": (2, 3, "", ICOUNT),
    "8on2fair": (2, 8, "", ICOUNT),
    "debug1": (1, 1, "", ()),
    "debug4": (4, 4, "", ()),
    "disk1": (1, 1, "", DISK),
    "disk2": (2, 2, "", DISK),
    "disk4": (4, 4, "", DISK),
    "disk4on1": (1, 4, "", DISK),
    "disk8on2nosstc": (2, 8, "sstc=off", DISK),
    "slow1": (1, 1, "", SLOW_DISK),
    "slow2": (2, 2, "", SLOW_DISK),
    "slow8on2nosstc": (2, 8, "sstc=off", SLOW_DISK),
}

# Each of them with each backend, by the beginning of its name: gstage (none), pmp (there forks are in shadow tables), shadow.
# What is added to -cpu, and to the emulator's command line.
BACKENDS = {"noh": ("h=false", ()), "shadow": ("h=false", ("-append", "backend=shadow"))}
CONFIGS |= {
    backend + name: (pcpus, vcpus, ",".join(filter(None, (without_h, cpu))), (*extra, *append))
    for backend, (without_h, append) in BACKENDS.items()
    for name, (pcpus, vcpus, cpu, extra) in CONFIGS.items()
}
# As few entries as may be: a single one for all devices.
CONFIGS["nohfew1"] = (1, 1, "h=false", ("-append", "pmp-entries=4"))

# More PCPUs than the build machine has cores make whatever takes locks slow out of all proportion: a lock goes to who has
# waited longest, and that emulator thread may have to wait for its turn. Those with 4 are worth it.
# guest: the configurations where it says something new; with the other backends the first and the last of them, or
# (FULL=1) all
GUESTS = {
    "sbi_base": ["1", "4", "nosstc1", "v2", "4on1"],
    "sbi_time": ["1", "4", "nosstc1", "nosstc4", "4on1", "8on2nosstc", "notime1", "notime4"],
    "sbi_ipi": ["1", "2", "4", "4on1", "8on2nosstc", "dbltrp1", "rnmi1"],
    "sbi_rfence": ["1", "2", "4", "4on1", "3on2"],
    "sbi_hsm": ["1", "4", "nosstc4", "4on1", "8on2"],
    "sbi_power": ["1", "4", "nosstc1", "4on1"],
    "sbi_dbcn": ["1", "4"],
    "sbi_sta": ["1", "4on1"],
    "sbi_fwft": ["1", "4", "4on1", "nosvadu1"],
    "hostile": ["1", "4", "4on1", "nosstc1", "max1", "nosvadu1"],
    "fuzz": ["1", "4", "v2", "nosstc4", "3on2v", "max1"],
    "vdev": ["1", "4", "4on1", "nosstc1", "max1"],
    "fp": ["1", "v2", "4on1", "4on1v", "3on2v", "8on2"],
    "lrsc": ["4", "4on1", "8on2"],
    "first_pick": ["7on3"],
    "storm": ["2", "4", "nosstc4", "4on1", "8on2", "4on1nosstc"],
    "sched": ["1", "4", "3on2", "8on2", "8on2nosstc", "4on1nosstc", "4on1fair", "3on2fair", "8on2fair"],
    "fork": ["1", "2", "4", "4on1", "8on2nosstc", "v2"],
    "forkbomb": ["1", "2", "8on2", "4on1fair"],
    "tree": ["1", "2", "4", "8on2nosstc"],
    "quota": ["1", "2", "8on2nosstc"],
    "superpage": ["1", "4", "4on1"],
    "console": ["1", "4", "8on2nosstc"],
    "clone": ["1", "2", "8on2nosstc", "debug1"],
    "killrace": ["1", "4", "8on2", "8on2nosstc", "debug4"],
    "forkstate": ["1", "4", "nosstc4", "v2", "3on2v", "8on2nosstc"],
    "exec": ["1", "2", "4", "8on2nosstc"],
    "cow": ["1", "2", "4", "8on2", "v2", "nosvadu1"],
    "calls": ["1", "2"],
    "calls_makers": ["1", "8on2nosstc"],
    "calls_states": ["1", "4"],
    "calls_trust": ["1", "8on2nosstc"],
    "calls_windows": ["1", "4"],
    "forkcycles": ["1", "2", "4on1", "debug1"],
    "priority": ["1", "4", "4on1fair"],
    "fdtwrite": ["1", "4"],
    "starve": ["1", "2", "4on1", "8on2nosstc"],
    "windowfork": ["1", "4", "4on1fair"],
    "reboot": ["1", "2", "8on2nosstc"],
    "direct": ["1", "4on1", "debug1"],
    "trust": ["disk1", "disk2", "disk4", "disk4on1", "disk8on2nosstc"],
    "mmio": ["disk1", "disk4"],
    "info": ["1", "4on1"],
    "irq": ["disk1", "disk2", "disk4on1", "disk8on2nosstc"],
    "dma": ["disk1", "disk2", "disk8on2nosstc"],
    "loader": ["disk1", "disk2", "disk8on2nosstc"],
    "dmadeath": ["slow1", "slow2", "slow8on2nosstc"],
    "tables": ["1", "max1"],
    "satp": ["1", "4on1"],
    "spaces": ["1"],
    "walkrace": ["2", "3on2"],
    "stretch": ["1", "4on1fair"],
    "busytable": ["2"],
    "vafork": ["1", "4on1", "debug1"],
    "escape": ["1", "v2", "nosvadu1"],
    "vdevpage": ["1", "4on1"],
    "stale": ["1", "2", "4on1nosstc"],
    "isa": ["1", "v2", "4on1", "nosstc1", "max1", "nosvadu1"],
}

# And what only one backend has
MORE = {"direct": ["nohfew1", "noh2", "noh4on1", "nohdebug4"], "escape": ["nohfew1"], "stale": ["nohfew1"], "vdevpage": ["nohfew1"]}

# Guests that have a test of their own: test_compare.py
COMPARED = {"sv39"}

# How sbi_power ends the machine when its command line says so: what the console says last
ENDINGS = {
    "reboot": "the Root VM reboots; restarting",
    "warm": "the Root VM reboots; restarting",
    "crash": "reports a system failure",
    "legacy-shutdown": "powering off",
    "flood": "powering off",
}


# Guests that need more RAM than the others: each fork of the Root VM copies all of it, and makes tables of small pages.
ROOM = {"loader": "64M", "dmadeath": "64M", "direct": "64M"}


@functools.cache
def mkimage():
    """As a module: to start a Python for each image takes longer than to make it."""
    loader = SourceFileLoader("mkimage", str(MKIMAGE))
    module = module_from_spec(spec_from_loader("mkimage", loader))
    loader.exec_module(module)
    return module


def pack(name, config, append, folder):
    image = folder / f"{name}.elf"
    kernel = BUILD / "guest-test" / f"{name}.elf"
    command = [MKIMAGE, "--kernel", kernel, "--mem", ROOM.get(name, "32M")]
    # A debug build has an audit of all memory at the end.
    hypervisor = BUILD / "debug" / HV.name if "debug" in config else HV
    command += ["--cpus", str(CONFIGS[config][1]), "--append", append, "--hypervisor", hypervisor, "-o", image]
    with mock.patch.object(sys, "argv", list(map(str, command))):
        mkimage().main()
    return image


def boot(image, pcpus, cpu, extra):
    command = [QEMU, "-M", "virt", "-cpu", f"rv64,{cpu}" if cpu else "rv64", "-m", "512M", "-smp", str(pcpus)]
    return emulate([*command, "-bios", "none", "-kernel", image, *extra])


def emulate(command):
    """Console and exit code; None for what hangs."""
    command = [*command, "-nographic", "-no-reboot"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=HANGS_AFTER, check=False)
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode(errors="replace"), None
    return done.stdout.decode(errors="replace"), done.returncode


DISK_SIZE = 8 << 20
DISK_IMAGE = 1 << 20  # lib/guest.h
DISK_WORD = 0x9E3779B97F4A7C15


@functools.cache
def disk_data():
    """Words that tell where they are, and a guest image for the loader, its length in the sector before it."""
    words = ((n * DISK_WORD & (1 << 64) - 1).to_bytes(8, "little") for n in range(1, DISK_SIZE // 8 + 1))
    data = bytearray().join(words)
    image = (BUILD / "guest-test/image/loaded.elf").read_bytes()
    data[DISK_IMAGE - 512 : DISK_IMAGE - 504] = len(image).to_bytes(8, "little")
    data[DISK_IMAGE : DISK_IMAGE + len(image)] = image
    return bytes(data)


def make_disk(folder):
    disk = folder / "disk.img"
    disk.write_bytes(disk_data())
    return disk


class Broken(Exception):
    """The test itself could not go on."""


def results(text):
    """The lines of a guest by their kind."""
    found = {"ok": [], "not ok": [], "skip": [], "broken": []}
    for line in text.replace("\r", "").split("\n"):
        match = re.match(r"(ok|not ok|skip|broken)\b:? ?(.*)", line)
        if match:
            found[match[1]].append(match[2])
    summary = re.search(r"^guest: (\d+) checks, (\d+) failed\r?$", text, re.MULTILINE)
    return found, summary


@pytest.fixture(scope="session")
def guests_built():
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "guest-tests.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist has several sessions
        subprocess.run(["make", "-s", "-f", "test/guest/guest-tests.mk", f"BUILD={BUILD}", "guest-tests"], cwd=ROOT, check=True)
    for hypervisor in (HV, BUILD / "debug" / HV.name):
        if not hypervisor.exists():
            raise Broken(f"{hypervisor} is missing: make hv, make DEBUG=1 hv")


def boot_guest(name, config, append, folder):
    pcpus, _, cpu, extra = CONFIGS[config]
    if any("{disk}" in e for e in extra):
        disk = make_disk(folder)
        extra = [e.format(disk=disk) for e in extra]
    text, code = boot(pack(name, config, append, folder), pcpus, cpu, extra)
    print(text)
    return text, code


def arguments(config):
    """The guest's command line: what it cannot see by itself."""
    pcpus, vcpus, _, extra = CONFIGS[config]
    fair = ICOUNT[0] in extra
    words = {"shared": vcpus > pcpus, "fair": fair, "one-pcpu": fair and pcpus == 1, "direct": config.startswith("noh")}
    words["audited"] = "debug" in config
    return " ".join(word for word, holds in words.items() if holds)


@pytest.fixture
def run(request, guests_built, tmp_path):
    name, config = request.param
    text, code = boot_guest(name, config, arguments(config), tmp_path)
    found, summary = results(text)
    if found["broken"]:
        raise Broken(found["broken"][0])
    return text, code, found, summary


def configs_of(name):
    own = GUESTS[name]
    few = own if os.environ.get("FULL", "0") not in ("", "0") else list(dict.fromkeys((own[0], own[-1])))
    return [*own, *(backend + c for backend in BACKENDS for c in few), *MORE.get(name, [])]


def cases():
    return [pytest.param((n, c), id=f"{n}-{c}") for n in GUESTS for c in configs_of(n)]


def tail(text):
    return "\n".join(text.splitlines()[-15:])


@pytest.mark.parametrize("run", cases(), indirect=True)
def test_guest(run):
    text, code, found, summary = run
    assert code is not None, "hangs; its last words:\n" + tail(text)
    assert not found["not ok"], "\n".join(found["not ok"])
    assert summary, "ended before its time; its last words:\n" + tail(text)
    assert code == 0 and "powering off" in text, "the Root VM's shutdown is not a power-off"
    # A check whose line got lost or torn is no success.
    assert int(summary[1]) == len(found["ok"]), f"{summary[0]}, but {len(found['ok'])} ok lines"
    if not found["ok"]:
        pytest.skip("; ".join(found["skip"]) or "nothing to check")


@pytest.mark.parametrize("way", ENDINGS)
def test_end(way, guests_built, tmp_path):
    text, code = boot_guest("sbi_power", "2", way, tmp_path)
    assert code == 0, "hangs; its last words:\n" + tail(text)
    assert ENDINGS[way] in text.splitlines()[-1], "not the last word:\n" + tail(text)
    assert "guest:" not in text, "the call returned"


def test_every_guest_is_listed():
    sources = {p.stem for p in (ROOT / "test/guest").glob("*.c")}
    assert sources == set(GUESTS) | COMPARED
