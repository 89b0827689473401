# SPDX-License-Identifier: MIT
"""scripts/mkimage. If these failed, an image would not boot, a bad payload would be found out only at boot, or a good
one would be refused.

The boot's own code (hv/payload/) is compiled for this machine and asked about what the packer made, of damaged
kernels too: what is packed must boot. No QEMU.
"""

import gzip
import hashlib
import importlib.machinery
import importlib.util
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MKIMAGE = ROOT / "scripts" / "mkimage"
CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")

LINKER_SCRIPT = """
ENTRY(_start)
SECTIONS {
    . = 0x80000000;
    .text : { *(.text) }
    . = ALIGN(4096);
    .data : { *(.data) }
    .bss : { *(.bss) }
    . = ALIGN(4096);
    payload_start = .;
}
"""
HYPERVISOR = """
.global _start, some_data
_start: j _start
.data
some_data: .quad 42
.bss
.skip 10000
"""
CHECKER = r"""
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "payload/payload.h"

static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;

	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	data = malloc(*size + 1);
	*size = fread(data, 1, *size, f);
	fclose(f);
	return data;
}

static const char *name(enum err err)
{
	return err == OK ? "0" : err == E_CHECKSUM ? "E_CHECKSUM" : err == E_NOMEM ? "E_NOMEM" : "another error";
}

/* FILE RAM_SIZE ORACLE: the last is for what the kernel must look like in RAM; "" for none */
int main(int argc, char **argv)
{
	size_t size, oracle_size;
	struct dx_payload *p = (void *)read_file(argv[1], &size);
	uint64_t ram_size = strtoull(argv[2], NULL, 0);
	struct loaded l = {0};
	enum err err = payload_check(p, size);
	if (err) {
		printf("check %s\n", name(err));
		return 0;
	}
	uint8_t *ram = malloc(ram_size), *oracle;
	memset(ram, 0xee, ram_size);
	err = payload_load(p, gpa(0x80000000), ram_size, ram, &l);
	if (!err && *argv[3]) {
		oracle = read_file(argv[3], &oracle_size);
		if (oracle_size > ram_size || memcmp(ram, oracle, oracle_size))
			printf("differs ");
	}
	printf("load %s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", name(err), l.entry.v, l.initrd.v, l.fdt.v);
	return 0;
}
"""


# --- what the tests work with ---------------------------------------------------------------


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder with hv.elf, a stand-in for the hypervisor, and checker, the boot's code."""
    folder = tmp_path_factory.mktemp("mkimage")
    (folder / "hv.ld").write_text(LINKER_SCRIPT)
    (folder / "hv.s").write_text(HYPERVISOR)
    (folder / "checker.c").write_text(CHECKER)
    subprocess.run([CROSS + "as", "-g", "-o", folder / "hv.o", folder / "hv.s"], check=True)
    subprocess.run([CROSS + "ld", "-T", folder / "hv.ld", "-o", folder / "hv.elf", folder / "hv.o"], check=True)
    source = ROOT / "hv/payload/payload.c"
    command = ["cc", "-std=gnu11", "-g", "-fsanitize=address,undefined", f"-I{ROOT}/hv", f"-I{ROOT}"]
    subprocess.run([*command, "-o", folder / "checker", folder / "checker.c", source], check=True)
    return folder


def boot(tools, payload, ram_size, memory=None):
    """What the boot says of a payload; `memory` is what the start of RAM must hold then, 0xee where nothing is written."""
    file, oracle = tools / "payload", tools / "oracle"
    file.write_bytes(payload)
    oracle.write_bytes(memory or b"")
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    command = [tools / "checker", file, str(ram_size), oracle if memory else ""]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def mkimage(tools, tmp_path):
    """mkimage(args...) packs into out.elf in the test's folder; returns the finished process."""

    def run(*arguments, hypervisor=tools / "hv.elf"):
        command = [MKIMAGE, "--hypervisor", hypervisor, "-o", tmp_path / "out.elf", *arguments]
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)

    return run


def make_image(size=5000, text_offset=0x200000, image_size=0x8000, flags=0, magic=b"RSC\x05"):
    body = bytearray(random.Random(1).randbytes(max(size, 64)))
    struct.pack_into("<QQQ", body, 8, text_offset, image_size, flags)
    body[56:60] = magic
    return bytes(body[:size])


def make_elf(segments=None, entry=0x80200010, size=0x1300, **fields):
    """An ELF kernel; segments are (offset, vaddr, paddr, filesz, memsz)."""
    if segments is None:
        segments = [(0x1000, 0x80200000, 0x80200000, 0x100, 0x100), (0x1100, 0x80201000, 0x80201000, 0x200, 0x3000)]
    f = {"ident": b"\x7fELF\2\1\1", "type": 2, "machine": 243, "phoff": 64, "phentsize": 56, "phnum": len(segments)}
    f.update(fields)
    data = bytearray(random.Random(2).randbytes(0x4000))
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", f["ident"], f["type"], f["machine"], 1, entry, f["phoff"], 0, 0, 64, f["phentsize"],
        f["phnum"], 0, 0, 0,
    )
    data[:64] = header
    for i, (offset, vaddr, paddr, filesz, memsz) in enumerate(segments):
        struct.pack_into("<IIQQQQQQ", data, 64 + 56 * i, 1, 5, offset, vaddr, paddr, filesz, memsz, 4096)
    return bytes(data[:size])


def segments_of(data):
    """The PT_LOAD segments of an ELF file: (offset, vaddr, paddr, filesz, memsz)."""
    phoff, phentsize, phnum = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, phoff + i * phentsize) for i in range(phnum)]
    return [h[2:7] for h in headers if h[0] == 1]


def payload_of(path):
    data = path.read_bytes()
    offset, _, _, filesz, _ = segments_of(data)[-1]
    return data[offset : offset + filesz]


def fields_of(payload):
    """The header's fields; segments are (offset, size, ram_offset, ram_size)."""
    names = "magic version header_size total_size checksum vcpus nsegments ram_size kernel_base kernel_size entry"
    fields = dict(zip(names.split(), struct.unpack_from("<8sIIQQIIQQQQ", payload)))
    segments = list(struct.iter_unpack("<4Q", payload[72:584]))
    fields["segments"] = segments[: fields["nsegments"]]
    assert not any(n for segment in segments[fields["nsegments"] :] for n in segment)
    fields["initrd_at"], fields["initrd_size"], fields["bootargs"] = struct.unpack_from("<QQ1024s", payload, 584)
    return fields


def kernel_of(payload):
    """The bytes of the one segment that there is."""
    ((offset, size, _, _),) = fields_of(payload)["segments"]
    return payload[offset:][:size]


def assert_refused(done, *words):
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("mkimage: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


# --- what it makes --------------------------------------------------------------------------


@pytest.fixture
def packed(mkimage, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    (tmp_path / "initrd").write_bytes(b"initial" * 1000)
    done = mkimage(
        "--kernel", tmp_path / "Image", "--initrd", tmp_path / "initrd", "--append", "console=hvc0 quiet",
        "--mem", "128M", "--cpus", "3",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return tmp_path / "out.elf"


def test_payload_holds_what_was_given(packed, tmp_path):
    payload = payload_of(packed)
    f = fields_of(payload)
    assert f["magic"] == b"DOSXPAYL" and f["version"] == 2 and f["header_size"] == 1624
    assert f["total_size"] == len(payload) and len(payload) % 4096 == 0
    assert f["entry"] == 0x200000 and f["kernel_size"] == 0x208000 and f["vcpus"] == 3 and f["ram_size"] == 128 << 20 and f["kernel_base"] == 0
    assert f["segments"][0][0] % 4096 == 0 and f["initrd_at"] % 4096 == 0
    assert f["segments"][0][2:] == (0x200000, 5000)  # an Image clears its own bss
    assert kernel_of(payload) == (tmp_path / "Image").read_bytes()
    assert payload[f["initrd_at"] :][: f["initrd_size"]] == (tmp_path / "initrd").read_bytes()
    assert f["bootargs"].rstrip(b"\0") == b"console=hvc0 quiet"


def test_boot_accepts_and_places_it(packed, tools):
    fdt = 0x80000000 + (128 << 20) - (128 << 10)
    memory = b"\xee" * (2 << 20) + make_image() + b"\xee" * 0x8000
    assert boot(tools, payload_of(packed), 128 << 20, memory) == f"load 0 80200000 {fdt - 0x2000:x} {fdt:x}"


def test_boot_notices_damage(packed, tools):
    payload = bytearray(payload_of(packed))
    for at in (24, 500, 4096, len(payload) - 1):
        payload[at] ^= 1
        assert boot(tools, payload, 128 << 20) == "check E_CHECKSUM"
        payload[at] ^= 1


def test_segment_lies_at_payload_start(packed, tools):
    before, after = segments_of((tools / "hv.elf").read_bytes()), segments_of(packed.read_bytes())
    names = subprocess.run([CROSS + "nm", packed], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" payload_start"))
    assert after[:-1] == before
    offset, vaddr, paddr, filesz, memsz = after[-1]
    assert vaddr == paddr == start and filesz == memsz and offset % 4096 == 0
    assert start >= max(p + m for _, _, p, _, m in before)


def test_hypervisor_stays_as_it_was(packed, tools):
    """Its bytes, symbols and debug information: only where the program headers are has changed."""
    before, after = (tools / "hv.elf").read_bytes(), packed.read_bytes()
    assert after[64 : len(before)] == before[64:]
    assert after[:32] == before[:32] and after[40:54] == before[40:54]
    for command in (["nm"], ["objdump", "-d", "-j", ".text"], ["readelf", "-SW"], ["objdump", "--dwarf=decodedline"]):
        texts = [
            subprocess.run([CROSS + command[0], *command[1:], file], capture_output=True, text=True, check=True).stdout
            for file in (tools / "hv.elf", packed)
        ]
        assert texts[0].replace(str(tools / "hv.elf"), "") == texts[1].replace(str(packed), "")


def test_same_input_same_output(packed, mkimage, tmp_path):
    first = packed.read_bytes()
    mkimage("--kernel", tmp_path / "Image", "--initrd", tmp_path / "initrd", "--append", "console=hvc0 quiet", "--mem", "128M", "--cpus", "3")
    assert packed.read_bytes() == first


def test_defaults(mkimage, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    assert mkimage("--kernel", tmp_path / "Image").returncode == 0
    f = fields_of(payload_of(tmp_path / "out.elf"))
    assert f["vcpus"] == f["ram_size"] == f["initrd_at"] == f["initrd_size"] == 0
    assert f["bootargs"] == bytes(1024)


@pytest.mark.parametrize("kernel", [make_image(), make_elf()], ids=["Image", "ELF"])
@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_kernel_is_decompressed(mkimage, tmp_path, kernel, compress):
    (tmp_path / "plain").write_bytes(kernel)
    with open(tmp_path / "packed", "wb") as f:
        subprocess.run([compress, "-c", tmp_path / "plain"], stdout=f, check=True)
    payloads = []
    for name in ("packed", "plain"):
        assert mkimage("--kernel", tmp_path / name).returncode == 0
        payloads.append(payload_of(tmp_path / "out.elf"))
    assert payloads[0] == payloads[1]


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_initrd_stays_compressed(mkimage, tmp_path, compress):
    (tmp_path / "Image").write_bytes(make_image())
    (tmp_path / "plain").write_bytes(b"root" * 5000)
    initrd = subprocess.run([compress, "-c", tmp_path / "plain"], capture_output=True, check=True).stdout
    (tmp_path / "initrd").write_bytes(initrd)
    assert mkimage("--kernel", tmp_path / "Image", "--initrd", tmp_path / "initrd").returncode == 0
    payload = payload_of(tmp_path / "out.elf")
    f = fields_of(payload)
    assert payload[f["initrd_at"] :][: f["initrd_size"]] == initrd


def test_elf_kernel(mkimage, tools, tmp_path):
    (tmp_path / "kernel").write_bytes(make_elf())
    assert mkimage("--kernel", tmp_path / "kernel").returncode == 0
    memory = make_elf()[0x1000:0x1100] + b"\xee" * 0xF00 + make_elf()[0x1100:0x1300] + bytes(0x2E00) + b"\xee" * 64
    assert boot(tools, payload_of(tmp_path / "out.elf"), 2 << 20, memory).startswith("load 0 80000010 ")


def test_flat_kernel(mkimage, tools, tmp_path):
    flat = bytes(range(256)) * 20
    (tmp_path / "u-boot.bin").write_bytes(flat)
    assert mkimage("--kernel", tmp_path / "u-boot.bin", "--flat").returncode == 0
    payload = payload_of(tmp_path / "out.elf")
    assert fields_of(payload)["kernel_size"] == len(flat)
    assert boot(tools, payload, 2 << 20, flat + b"\xee" * 64).startswith("load 0 80000000 ")


@pytest.mark.parametrize("text,size", [("64M", 64 << 20), ("1G", 1 << 30), ("2048K", 2 << 20), ("2097152", 2 << 20), ("64m", 64 << 20)])
def test_memory_sizes(mkimage, tmp_path, text, size):
    (tmp_path / "kernel").write_bytes(make_elf())
    assert mkimage("--kernel", tmp_path / "kernel", "--mem", text).returncode == 0
    assert fields_of(payload_of(tmp_path / "out.elf"))["ram_size"] == size


def test_longest_command_line(mkimage, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    assert mkimage("--kernel", tmp_path / "Image", "--append", "a" * 1023).returncode == 0
    assert fields_of(payload_of(tmp_path / "out.elf"))["bootargs"] == b"a" * 1023 + b"\0"
    assert_refused(mkimage("--kernel", tmp_path / "Image", "--append", "a" * 1024), "command line", "1024")
    assert_refused(mkimage("--kernel", tmp_path / "Image", "--append", "ä" * 512), "command line", "1024")


def test_verbose_says_what_was_packed(mkimage, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    done = mkimage("--kernel", tmp_path / "Image", "-v")
    assert done.returncode == 0 and "kernel 5000 bytes" in done.stdout and done.stdout.count("\n") == 1


def test_manifest(mkimage, tmp_path):
    image, initrd, manifest = tmp_path / "Image", tmp_path / "initrd", tmp_path / "manifest.txt"
    image.write_bytes(gzip.compress(make_image()))
    initrd.write_bytes(b"root")
    manifest.write_text("package busybox 1.36\npart kernel sha256 old Image\n")
    for _ in range(2):
        assert mkimage("--kernel", image, "--initrd", initrd, "--manifest", manifest).returncode == 0

    def line(name, file, data):
        return f"part {name} sha256 {hashlib.sha256(data).hexdigest()} {file}"

    lines = manifest.read_text().splitlines()
    assert lines[0] == "package busybox 1.36"
    assert line("kernel", "Image", make_image()) in lines  # as packed
    assert line("initrd", "initrd", b"root") in lines
    assert line("output", "out.elf", (tmp_path / "out.elf").read_bytes()) in lines
    assert len(lines) == 5


# --- what it refuses ------------------------------------------------------------------------

BAD_KERNELS = {
    "empty": (b"", "empty"),
    "text": (b"#!/bin/sh\n" * 100, "not a RISC-V kernel"),
    "short": (b"MZ", "not a RISC-V kernel"),
    "x86 Image": (make_image(magic=b"\0\0\0\0"), "not a RISC-V kernel"),
    "zboot": (b"MZ\0\0zimg" + bytes(100), "zboot"),
    "cut gzip": (gzip.compress(make_image())[:-10], "gzip"),
    "damaged gzip": (b"\x1f\x8b" + bytes(50), "gzip"),
    "damaged zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), "zstd"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "cut Image": (make_image(size=63), "cut"),
    "big-endian Image": (make_image(flags=1), "big-endian"),
    "Image bigger than it says": (make_image(size=5000, image_size=4999), "4999"),
    "Image without size": (make_image(image_size=0), "0 bytes"),
    "Image at an odd place": (make_image(text_offset=0x200800), "text_offset"),
    "Image that wraps": (make_image(text_offset=0xFFFFFFFFFFFFF000), "wrap"),
    "cut ELF header": (make_elf()[:40], "cut"),
    "cut ELF": (make_elf()[:0x1200], "outside the file"),
    "cut ELF table": (make_elf()[:100], "program headers"),
    "x86 ELF": (make_elf(machine=62), "RISC-V"),
    "32-bit ELF": (make_elf(ident=b"\x7fELF\1\1\1"), "64-bit"),
    "object file": (make_elf(type=1), "executable"),
    "ELF entry outside": (make_elf(entry=0), "entry"),
    "ELF entry in bss": (make_elf(entry=0x80201200), "entry"),
    "ELF with nothing to load": (make_elf(segments=[]), "nothing"),
    "ELF overlap": (make_elf(segments=[(0x1000, 0, 0, 256, 256), (0x1000, 0, 255, 256, 256)], entry=0), "overlap"),
    "ELF file > memory": (make_elf(segments=[(0x1000, 0, 0, 256, 255)], entry=0), "more bytes"),
    "ELF wraps": (make_elf(segments=[(0x1000, 0, 2**64 - 4096, 256, 8192)], entry=0), "wraps"),
    "ELF of 17 segments": (make_elf(segments=[(0x1000, i << 12, i << 12, 16, 16) for i in range(17)], entry=0), "17"),
    "ELF of 65 headers": (make_elf(segments=[(0, i << 12, i << 12, 16, 16) for i in range(65)], entry=0), "65"),
}


@pytest.mark.parametrize("name", BAD_KERNELS)
def test_bad_kernel(mkimage, tmp_path, name):
    data, word = BAD_KERNELS[name]
    (tmp_path / "kernel").write_bytes(data)
    assert_refused(mkimage("--kernel", tmp_path / "kernel"), str(tmp_path / "kernel"), word)
    assert not (tmp_path / "out.elf").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["kernel"]  # no half-written file either


def test_elf_as_flat(mkimage, tmp_path):
    (tmp_path / "kernel").write_bytes(make_elf())
    assert_refused(mkimage("--kernel", tmp_path / "kernel", "--flat"), "--flat")


def test_old_output_survives_a_refusal(mkimage, tmp_path):
    (tmp_path / "out.elf").write_bytes(b"precious")
    (tmp_path / "kernel").write_bytes(b"no kernel at all" * 10)
    assert_refused(mkimage("--kernel", tmp_path / "kernel"))
    assert (tmp_path / "out.elf").read_bytes() == b"precious"


def test_missing_and_empty_files(mkimage, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    (tmp_path / "empty").write_bytes(b"")
    kernel = ("--kernel", tmp_path / "Image")
    assert_refused(mkimage("--kernel", tmp_path / "none"), "kernel", "none", "No such file")
    assert_refused(mkimage(*kernel, "--initrd", tmp_path / "none"), "initrd", "none", "No such file")
    assert_refused(mkimage(*kernel, "--initrd", tmp_path / "empty"), "initrd", "empty")
    assert_refused(mkimage(*kernel, hypervisor=tmp_path / "none"), "hypervisor", "none", "No such file")
    assert_refused(mkimage(*kernel, "-o", tmp_path / "no" / "folder"), "output", "No such file")


def test_not_the_hypervisor(mkimage, tools, tmp_path):
    (tmp_path / "Image").write_bytes(make_image())
    kernel = ("--kernel", tmp_path / "Image")
    assert_refused(mkimage(*kernel, hypervisor=tmp_path / "Image"), "hypervisor", "not a 64-bit RISC-V ELF")
    subprocess.run([CROSS + "strip", "-o", tmp_path / "stripped", tools / "hv.elf"], check=True)
    assert_refused(mkimage(*kernel, hypervisor=tmp_path / "stripped"), "payload_start")
    assert mkimage(*kernel).returncode == 0
    assert_refused(mkimage(*kernel, "-o", tmp_path / "twice", hypervisor=tmp_path / "out.elf"), "payload already")


def test_must_fit_into_mem(mkimage, tools, tmp_path):
    """From just too big to just enough, and the boot thinks the same."""
    (tmp_path / "initrd").write_bytes(b"i" * 4097)  # two pages
    room = (4 << 20) - (128 << 10) - 8192
    for image_size, fits in ((room - (2 << 20), True), (room - (2 << 20) + 1, False)):
        (tmp_path / "Image").write_bytes(make_image(image_size=image_size))
        arguments = ("--kernel", tmp_path / "Image", "--initrd", tmp_path / "initrd")
        done = mkimage(*arguments, "--mem", "4M")
        if fits:
            assert done.returncode == 0
        else:
            assert_refused(done, "does not fit", "initrd 4097")
        assert mkimage(*arguments).returncode == 0
        assert boot(tools, payload_of(tmp_path / "out.elf"), 4 << 20).startswith("load 0 " if fits else "load E_NOMEM ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--mem", "0"),
        ("--mem", "3M"),
        ("--mem", "-2M"),
        ("--mem", "64T"),
        ("--mem", "M"),
        ("--mem", "99999999999999G"),
        ("--cpus", "0"),
        ("--cpus", "65"),
        ("--cpus", "two"),
        ("--unknown",),
    ],
)
def test_wrong_usage(mkimage, tmp_path, arguments):
    (tmp_path / "Image").write_bytes(make_image())
    kernel = ("--kernel", tmp_path / "Image") if arguments else ()
    done = mkimage(*kernel, *arguments)
    assert done.returncode == 2 and done.stdout == "" and "usage: mkimage" in done.stderr
    assert not (tmp_path / "out.elf").exists()


# --- the reading of kernels -----------------------------------------------------------------


@pytest.fixture(scope="module")
def module():
    loader = importlib.machinery.SourceFileLoader("mkimage", str(MKIMAGE))
    found = importlib.util.module_from_spec(importlib.util.spec_from_loader("mkimage", loader))
    loader.exec_module(found)
    return found


def read(module, data):
    """(entry, size, [(ram_offset, bytes in the file, ram_size)]), or None for a refusal."""
    try:
        kernel = module.read_kernel(data, False)[1]
    except module.Refused:
        return None
    return kernel.entry, kernel.size, [(s.ram_offset, len(s.data), s.ram_size) for s in kernel.segments]


def two(**second):
    """make_elf() with a second segment that differs, linked at a kernel-like virtual address."""
    s = {"offset": 0x1100, "vaddr": V + 0x1000, "paddr": 0x80201000, "filesz": 0x200, "memsz": 0x3000, **second}
    return [(0x1000, V, 0x80200000, 0x100, 0x100), (s["offset"], s["vaddr"], s["paddr"], s["filesz"], s["memsz"])]


V = 0xFFFFFFFF80000000
FIRST = (0, 0x100, 0x100)
GOOD = (0x10, 0x4000, [FIRST, (0x1000, 0x200, 0x3000)])
ELF_CASES = {
    "good": ({}, {}, GOOD),
    "position-independent": ({}, {"type": 3}, GOOD),
    "lowest second": ({"paddr": 0x801FD000}, {}, (0x3010, 0x3100, [(0, 0x200, 0x3000), (0x3000, 0x100, 0x100)])),
    "lowest second, too long by 1": ({"paddr": 0x801FD001}, {}, None),
    "adjacent": ({"paddr": 0x80200100}, {}, (0x10, 0x3100, [FIRST, (0x100, 0x200, 0x3000)])),
    "overlap by 1": ({"paddr": 0x802000FF}, {}, None),
    "the same place": ({"paddr": 0x80200000}, {}, None),
    "no bss": ({"memsz": 0x200}, {}, (0x10, 0x1200, [FIRST, (0x1000, 0x200, 0x200)])),
    "less memory than file": ({"memsz": 0x1FF}, {}, None),
    "nothing in the file": ({"filesz": 0, "offset": 0x1300}, {}, (0x10, 0x4000, [FIRST, (0x1000, 0, 0x3000)])),
    "nothing in memory": ({"filesz": 2**64 - 1, "memsz": 0}, {}, (0x10, 0x100, [FIRST])),
    "beyond the file": ({"offset": 0x1101}, {}, None),
    "wraps in the file": ({"offset": 2**64 - 1}, {}, None),
    "to the end of addresses": ({"memsz": 2**64 - 1 - 0x80201000}, {}, (0x10, 2**64 - 1 - 0x80200000, [FIRST, (0x1000, 0x200, 2**64 - 1 - 0x80201000)])),
    "beyond them": ({"memsz": 2**64 - 0x80201000}, {}, None),
    "first byte": ({}, {"entry": V}, (0, *GOOD[1:])),
    "last byte": ({}, {"entry": V + 0xFF}, (0xFF, *GOOD[1:])),
    "before": ({}, {"entry": V - 1}, None),
    "behind": ({}, {"entry": V + 0x100}, None),
    "second segment": ({}, {"entry": V + 0x11FF}, (0x11FF, *GOOD[1:])),
    "bss holds no code": ({}, {"entry": V + 0x1200}, None),
    "a physical address": ({}, {"entry": 0x80200000}, None),
    "table's last place": ({}, {"phoff": 0x1300 - 112 + 1}, None),
    "table outside": ({}, {"phoff": 2**64 - 1}, None),
    "wide table": ({}, {"phentsize": 64}, None),
}


@pytest.mark.parametrize("name", ELF_CASES)
def test_elf_edges(module, name):
    second, fields, expected = ELF_CASES[name]
    assert read(module, make_elf(segments=two(**second), **{"entry": V + 0x10, **fields})) == expected


def test_elf_limits(module):
    many = [(0x1000, i << 12, i << 12, 16, 16) for i in range(16)]
    assert len(read(module, make_elf(segments=many, entry=0))[2]) == 16
    data = bytearray(make_elf())
    struct.pack_into("<H", data, 56, 64)  # what follows must not look like segments
    data[64 + 112 : 64 + 64 * 56] = bytes(62 * 56)
    assert len(read(module, bytes(data))[2]) == 2


def test_elf_cut_anywhere(module):
    data = make_elf()
    assert read(module, data) and not any(read(module, data[:size]) for size in range(len(data)))


@pytest.mark.parametrize("fields, expected", [
    ({"text_offset": 0}, (0, 0x8000, [(0, 5000, 5000)])),
    ({"text_offset": 1}, None),
    ({"image_size": 5000}, (0x200000, 0x200000 + 5000, [(0x200000, 5000, 5000)])),
    ({"image_size": 2**64 - 1 - 0x200000}, (0x200000, 2**64 - 1, [(0x200000, 5000, 5000)])),
    ({"image_size": 2**64 - 0x200000}, None),
    ({"flags": 2}, (0x200000, 0x208000, [(0x200000, 5000, 5000)])),  # not ours to judge
    ({"magic": b"RSC\4"}, None),
])
def test_image_edges(module, fields, expected):
    assert read(module, make_image(**fields)) == expected


# Offset and size of the fields worth damaging.
IMAGE_FIELDS = [(8, 8), (16, 8), (24, 8), (56, 4)]
ELF_FIELDS = [(4, 1), (5, 1), (16, 2), (18, 2), (24, 8), (32, 8), (54, 2), (56, 2)]
ELF_FIELDS += [(64 + 56 * i + at, size) for i in range(2) for at, size in ((0, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8))]
VALUES = [0, 1, 2, 3, 16, 17, 56, 64, 65, 255, 0x1000, 0x1300, 0x80200000, 0x80201000, 2**32, 2**63, 2**64 - 4096, 2**64 - 1]


def damaged(rng, base, fields):
    data = bytearray(base)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, size = rng.choice(fields)
        old = int.from_bytes(data[at : at + size], "little")
        new = rng.choice([rng.choice(VALUES), old + rng.choice((-4096, -1, 1, 4096)), old ^ 1 << rng.randrange(8 * size)])
        data[at : at + size] = (new % 256**size).to_bytes(size, "little")
    if rng.random() < 0.2:
        del data[rng.randrange(64, len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("base,fields", [(make_image(), IMAGE_FIELDS), (make_elf(), ELF_FIELDS)], ids=["Image", "ELF"])
def test_what_is_packed_boots(module, tools, base, fields):
    """A damaged kernel is refused, or becomes a payload whose header is good to the boot."""
    rng = random.Random(3)
    verdicts = []
    for _ in range(150):
        data = damaged(rng, base, fields)
        try:
            kernel = module.read_kernel(data, False)[1]
        except module.Refused:
            verdicts.append("refused")
            continue
        verdict = boot(tools, module.build_payload(kernel, b"", b"", 0, 0, 0), 4 << 20)
        verdicts.append(verdict.split()[0])
        assert verdict.startswith("load 0 " if kernel.size <= (4 << 20) - (128 << 10) else "load E_NOMEM ")
    assert 20 < verdicts.count("refused") < 130  # both outcomes were tried
