# SPDX-License-Identifier: MIT
"""scripts/mkdisk. If these failed, a HiFive Unleashed would not find what to boot, would boot something else than was packed,
or an image that cannot work would be made without a word. No QEMU; test_sifive.py boots what is made here.
"""

import re
import struct
import subprocess
import uuid

import pytest

from machine import HV, ROOT, mkimage

SECTOR, MIB = 512, 1 << 20
BASE = 0x80000000
SPL_TYPE = uuid.UUID("5B193300-FC78-40CD-8002-E86C45580B47")
FIT_TYPE = uuid.UUID("2E54B353-1271-4842-806F-E436D6AF6985")


def mkdisk(out, *options):
    """Runs it: exit status, what it complains about."""
    done = subprocess.run([ROOT / "scripts/mkdisk", "-o", out, *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


def loader():
    """The folder in the package."""
    command = [ROOT / "scripts/fetch-source", "--deb", "--arch", "riscv64", "--suite", "trixie", "u-boot-sifive"]
    tree = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return ROOT / tree / "usr/lib/u-boot/sifive_unleashed"


def partitions(disk):
    """The GPT's entries: type, first sector, last sector."""
    assert disk[SECTOR : SECTOR + 8] == b"EFI PART"
    entries = (disk[2 * SECTOR + 128 * i :][:128] for i in range(128))
    found = [(uuid.UUID(bytes_le=e[:16]), *struct.unpack_from("<QQ", e, 32)) for e in entries]
    return [f for f in found if f[0].int]


def in_memory(elf):
    """What QEMU's -kernel loads, from BASE on."""
    memory = bytearray()
    phoff, = struct.unpack_from("<Q", elf, 32)
    phnum, = struct.unpack_from("<H", elf, 56)
    for i in range(phnum):
        _, _, offset, _, paddr, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", elf, phoff + 56 * i)
        memory.extend(bytes(paddr - BASE + memsz - len(memory)))
        memory[paddr - BASE : paddr - BASE + filesz] = elf[offset : offset + filesz]
    return bytes(memory)


def fit_part(folder, disk, index):
    """Image number `index` of the FIT in the second partition."""
    (folder / "itb").write_bytes(disk[partitions(disk)[1][1] * SECTOR :])
    subprocess.run(["dumpimage", "-T", "flat_dt", "-p", str(index), "-o", folder / "part", folder / "itb"], check=True, stdout=subprocess.DEVNULL)
    return (folder / "part").read_bytes()


def fdtget(tree, *path):
    return subprocess.run(["fdtget", *path[:-2], tree, *path[-2:]], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return mkimage(tmp_path_factory.mktemp("mkdisk") / "diosix.elf")


def image_with(folder, initrd_size):
    (folder / "initrd").write_bytes(bytes(initrd_size))
    return mkimage(folder / "big.elf", initrd=folder / "initrd")


@pytest.mark.parametrize("options, spl_at, fit_at", [((), 40, 2088), (("--card",), 34, 2082)], ids=["flash", "card"])
def test_layout(packed, tmp_path, options, spl_at, fit_at):
    """The partitions are where the board looks, and hold what it is to run."""
    out = tmp_path / "disk.img"
    assert mkdisk(out, "--image", packed, "--spl", tmp_path / "spl", "--manifest", tmp_path / "manifest", *options) == (0, "")
    disk, spl = out.read_bytes(), (loader() / "u-boot-spl.bin").read_bytes()
    assert len(disk) == 32 * MIB
    (spl_type, spl_first, spl_last), (fit_type, fit_first, fit_last) = partitions(disk)
    assert (spl_type, spl_first, spl_last) == (SPL_TYPE, spl_at, fit_at - 1)
    assert (fit_type, fit_first) == (FIT_TYPE, fit_at) and fit_last < len(disk) // SECTOR - 33
    assert "No problems found" in subprocess.run(["sgdisk", "-v", out], check=True, capture_output=True, text=True).stdout
    assert disk[spl_at * SECTOR :].startswith(spl) and (tmp_path / "spl").read_bytes() == spl

    assert fit_part(tmp_path, disk, 0) == in_memory(packed.read_bytes())
    tree = fit_part(tmp_path, disk, 1)
    itb = tmp_path / "itb"
    assert [fdtget(itb, "-t", "x", "/images/diosix", name) for name in ("load", "entry")] == ["80000000", "80000000"]
    # What OpenSBI's place needs: SPL wants a next stage for "opensbi", and jumps to a "u-boot" as it is.
    assert fdtget(itb, "/images/diosix", "os") == "u-boot"
    assert fdtget(itb, "/configurations", "default") == "board"
    assert [fdtget(itb, "/configurations/board", name) for name in ("firmware", "fdt")] == ["diosix", "fdt"]
    (tmp_path / "tree").write_bytes(tree)
    assert fdtget(tmp_path / "tree", "/", "compatible").startswith("sifive,hifive-unleashed-a00")
    manifest = (tmp_path / "manifest").read_text()
    assert re.search(r"^name u-boot-sifive\nversion \S+\n(.*\n)*sha256 [0-9a-f]{64} u-boot-sifive_\S+\.deb$", manifest, re.MULTILINE)
    assert len(re.findall(r"^part \S+ sha256 [0-9a-f]{64}$", manifest, re.MULTILINE)) == 4


def test_always_the_same(packed, tmp_path):
    for name in ("a", "b"):
        assert mkdisk(tmp_path / name, "--image", packed) == (0, "")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("options", ["", "root-exit=restart", "root-exit=restart backend=shadow"])
def test_options(packed, tmp_path, options):
    """They reach the hypervisor in the board's tree."""
    assert mkdisk(tmp_path / "disk", "--image", packed, "--options", options) == (0, "")
    (tmp_path / "tree").write_bytes(fit_part(tmp_path, (tmp_path / "disk").read_bytes(), 1))
    assert fdtget(tmp_path / "tree", "/chosen", "bootargs") == options
    assert fdtget(tmp_path / "tree", "/chosen", "stdout-path") == "serial0"


def test_ours_fits(packed, tmp_path):
    """The image that make builds leaves room for one that grows by a half."""
    assert mkdisk(tmp_path / "disk", "--image", packed) == (0, "")
    assert len(in_memory(packed.read_bytes())) * 3 // 2 < 31 * MIB


def test_largest_that_fits(tmp_path):
    """To the page: one page too many is refused, with both numbers; without it the end of the flash is whole."""
    out = tmp_path / "disk.img"

    def refused(size):
        status, text = mkdisk(out, "--image", image_with(tmp_path, size))
        assert status == 1 and not out.exists()
        return int(re.fullmatch(rf"mkdisk: image \S+: does not fit into the flash: needs (\d+) bytes of {32 * MIB}", text)[1])

    size = 32 * MIB
    size -= (refused(size) - 32 * MIB + 4095) // 4096 * 4096
    assert mkdisk(out, "--image", image_with(tmp_path, size)) == (0, "")
    assert "No problems found" in subprocess.run(["sgdisk", "-v", out], check=True, capture_output=True, text=True).stdout
    disk = out.read_bytes()
    assert fit_part(tmp_path, disk, 0) == in_memory((tmp_path / "big.elf").read_bytes())
    assert fit_part(tmp_path, disk[: (partitions(disk)[1][2] + 1) * SECTOR], 1) == fit_part(tmp_path, disk, 1)
    out.unlink()
    assert refused(size + 4096) <= 32 * MIB + 4096


def test_large_card(tmp_path):
    """A card may be larger, up to what SPL can load."""
    out = tmp_path / "disk.img"
    assert mkdisk(out, "--card", "--image", image_with(tmp_path, 32 * MIB)) == (0, "")
    assert out.stat().st_size == 64 * MIB
    status, text = mkdisk(out, "--card", "--image", image_with(tmp_path, 60 * MIB))
    assert status == 1 and "from 0x84000000 on RAM is SPL's own" in text


def damaged(folder, what):
    """A file that is no image, and the reason that is given."""
    path = folder / what
    if what == "hypervisor alone":
        return HV["release"], "no payload: pack a kernel with scripts/mkimage"
    if what == "missing":
        return path, "No such file or directory"
    path.write_bytes(b"\x7fELF" if what == "cut" else b"x" * 4096)
    return path, "the ELF header is cut" if what == "cut" else "not a 64-bit RISC-V ELF file"


@pytest.mark.parametrize("what", ["hypervisor alone", "missing", "cut", "text"])
def test_no_image(tmp_path, what):
    path, reason = damaged(tmp_path, what)
    out = tmp_path / "disk.img"
    assert mkdisk(out, "--image", path) == (1, f"mkdisk: image {path}: {reason}") and not out.exists()


def test_no_loader(packed, tmp_path):
    out = tmp_path / "disk.img"
    assert mkdisk(out, "--image", packed, "--loader", tmp_path) == (1, f"mkdisk: loader {tmp_path}/u-boot-spl.bin: No such file or directory")
    (tmp_path / "u-boot-spl.bin").write_bytes(bytes(1048577))
    (tmp_path / "u-boot.itb").write_bytes((loader() / "u-boot.itb").read_bytes())
    status, text = mkdisk(out, "--image", packed, "--loader", tmp_path)
    assert status == 1 and "SPL has 1048577 bytes, its partition 1048576" in text
    (tmp_path / "u-boot.itb").write_bytes(bytes(4096))
    assert mkdisk(out, "--image", packed, "--loader", tmp_path)[0] == 1
    assert not out.exists()
