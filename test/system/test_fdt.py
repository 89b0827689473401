# SPDX-License-Identifier: MIT
"""The device trees QEMU really makes, read by the hypervisor's code compiled for this machine. If these failed, a
machine we support would be taken for something else, or its Root VM would get a tree that is not well-formed.

QEMU only writes the trees (dumpdtb); nothing is booted.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
VIRTIO = [0x10001000 + i * 0x1000 for i in range(8)]


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """A function: QEMU's options, or another tree -> (machine as read, path of the guest's tree)."""
    folder = tmp_path_factory.mktemp("fdt")
    program = folder / "fdt_dump"
    sources = sorted((ROOT / "hv/fdt").glob("*.c")) + [Path(__file__).with_name("fdt_dump.c")]
    subprocess.run(["gcc", "-std=gnu11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                    "-I", ROOT / "test/unit", "-I", ROOT / "hv", "-I", ROOT, "-o", program, *sources, "-lfdt"], check=True)

    def run(machine, *options, host=None):
        guest = folder / "guest.dtb"
        if not host:
            host = folder / "host.dtb"
            host.unlink(missing_ok=True)
            subprocess.run(["qemu-system-riscv64", "-M", f"{machine},dumpdtb={host}", "-display", "none", *options],
                           check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        text = subprocess.run([program, host, guest], check=True, timeout=60, capture_output=True, text=True).stdout
        return json.loads(text), guest

    return run


def regions(m):
    return sorted(d["regions"][0][0] for d in m["devices"])


def expect_dtc_silent(guest):
    if not shutil.which("dtc"):
        return
    done = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", "-o", "/dev/null", guest], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("harts", [1, 2, 4, 8])
@pytest.mark.parametrize("mem", [256, 2048, 16384])
def test_virt(dump, harts, mem):
    m, guest = dump("virt", "-smp", str(harts), "-m", str(mem))
    assert not m["truncated"]
    assert m["ram"] == [[0x80000000, mem * MIB]]
    assert m["timebase"] == 10_000_000
    assert m["seed"] == 32
    assert m["uart"] == [0x10000000, 10, False]
    assert m["plic"] == [0xC000000, 95]
    assert m["finisher"] == 0x100000
    assert m["mtime"] == 0x200BFF8
    assert [h["id"] for h in m["harts"]] == list(range(harts))
    for i, h in enumerate(m["harts"]):
        assert h["usable"] and h["mmu"] == 5
        assert {"h", "sstc", "zicbom", "zicboz", "svadu"} <= set(h["exts"])
        assert h["msip"] == 0x2000000 + 4 * i
        assert h["mtimecmp"] == 0x2004000 + 8 * i
        assert h["plic"] == [2 * i, 2 * i + 1]
    assert regions(m) == [0x101000, *VIRTIO, 0x30000000]
    pci = next(d for d in m["devices"] if d["regions"][0][0] == 0x30000000)
    assert sorted(pci["irqs"]) == [32, 33, 34, 35]
    assert [0x40000000, 0x40000000] in pci["regions"] and [0x3000000, 0x10000] in pci["regions"]
    expect_dtc_silent(guest)


@pytest.mark.parametrize("cpu, present, absent", [
    ("rv64,h=false", {"sstc"}, {"h", "v"}),
    ("rv64,sstc=false", {"h"}, {"sstc"}),
    ("rv64,v=true", {"h", "v"}, set()),
    ("rv64,svadu=false,svade=true", {"svade"}, {"svadu"}),
    ("max", {"v", "zkr", "smstateen", "svinval", "svpbmt", "svnapot"}, set()),
])
def test_cpu(dump, cpu, present, absent):
    m, guest = dump("virt", "-cpu", cpu)
    exts = set(m["harts"][0]["exts"])
    assert present <= exts and not absent & exts
    expect_dtc_silent(guest)


def test_virt_aclint(dump):
    m, guest = dump("virt,aclint=on", "-smp", "4")
    assert m["mtime"] == 0x200BFF8
    for i, h in enumerate(m["harts"]):
        assert h["msip"] == 0x2000000 + 4 * i
        assert h["mtimecmp"] == 0x2004000 + 8 * i
    assert [0x2F00000, 0x4000] in m["own"]
    assert len(m["devices"]) == 10
    expect_dtc_silent(guest)


@pytest.mark.parametrize("aia", ["aplic", "aplic-imsic"])
def test_virt_aia(dump, aia):
    """No PLIC: no device can be handed out, and nothing of the interrupt controllers either."""
    m, guest = dump(f"virt,aia={aia}", "-smp", "2")
    assert m["plic"] == [0, 0] and m["devices"] == []
    assert m["uart"][0] == 0x10000000 and m["uart"][1] == 0
    assert all(h["msip"] and h["mtimecmp"] and h["plic"] == [-1, -1] for h in m["harts"])
    assert {"smaia", "ssaia"} & set(m["harts"][0]["exts"]) or aia == "aplic"
    assert [0xC000000, 0x8000] in m["own"] and [0xD000000, 0x8000] in m["own"]
    assert ([0x28000000, 0x2000] in m["own"]) == (aia == "aplic-imsic")
    expect_dtc_silent(guest)


def test_virt_numa(dump):
    """Two nodes: memory is one range again, and of two PLICs we use one."""
    m, guest = dump("virt", "-smp", "4", "-m", "512",
                    "-object", "memory-backend-ram,id=a,size=256M", "-object", "memory-backend-ram,id=b,size=256M",
                    "-numa", "node,memdev=a,cpus=0-1", "-numa", "node,memdev=b,cpus=2-3")
    assert m["ram"] == [[0x80000000, 512 * MIB]]
    assert m["truncated"]
    assert [h["msip"] for h in m["harts"]] == [0x2000000, 0x2000004, 0x2010000, 0x2010004]
    assert [h["plic"][0] >= 0 for h in m["harts"]].count(True) == 2
    expect_dtc_silent(guest)


@pytest.fixture(scope="module")
def board_tree(tmp_path_factory):
    """The HiFive Unleashed's tree in U-Boot's FIT, which scripts/mkdisk takes over."""
    tree = tmp_path_factory.mktemp("board") / "board.dtb"
    fetch = [ROOT / "scripts/fetch-source", "--deb", "--arch", "riscv64", "--suite", "trixie", "u-boot-sifive"]
    package = subprocess.run(fetch, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run(["dumpimage", "-T", "flat_dt", "-p", "2", "-o", tree, f"{package}/usr/lib/u-boot/sifive_unleashed/u-boot.itb"],
                   check=True, stdout=subprocess.DEVNULL)
    return tree


@pytest.mark.parametrize("mem, of_qemu", [(1024, True), (8192, False)])
def test_sifive_u(dump, board_tree, mem, of_qemu):
    """Without a finisher; U-Boot's tree hides M-mode's contexts of the PLIC."""
    m, guest = dump("sifive_u", "-smp", "5", "-m", str(mem), host=None if of_qemu else board_tree)
    assert m["ram"] == [[0x80000000, mem * MIB]]
    assert m["finisher"] == 0 and m["restart"] == [0x10060000, 1 << 10]
    assert m["mtime"] == 0x200BFF8 and m["devices"] == []
    assert [h["usable"] for h in m["harts"]] == [False, True, True, True, True]
    assert m["harts"][0]["plic"] == [0, -1]
    assert [h["plic"] for h in m["harts"][1:]] == [[2 * i - 1, 2 * i] for i in range(1, 5)]
    assert [h["mtimecmp"] for h in m["harts"]] == [0x2004000 + 8 * i for i in range(5)]
    assert m["uart"] == [0x10010000, 4, True]
    assert m["timebase"] == 1_000_000
    assert m["plic"] == [0xC000000, 53]
    expect_dtc_silent(guest)


def test_spike(dump):
    m, guest = dump("spike", "-smp", "2")
    assert m["uart"][0] == 0 and m["plic"] == [0, 0]  # its console is HTIF
    assert all(h["usable"] and h["msip"] and h["mtimecmp"] for h in m["harts"])
    expect_dtc_silent(guest)
