# SPDX-License-Identifier: MIT
"""A user's work on each machine of test/configs.py: one boot, then each test goes on at the same console.

If these failed, Diosix would work on some machines only.
"""

import hashlib
import os
import subprocess

import pytest

import configs
from conftest import device_args, irq_counts, wait_for_network
from machine import Machine

# A minute of load once; elsewhere long enough for many slices of all VCPUs.
LONG_STRESS = configs.Config(backend="gstage", harts=2, sstc=False, vector=True, mem="2G", vcpus=8, bus="mmio", build="release")
CONFIGS = configs.selected()
assert LONG_STRESS in configs.full()
CONFIGS += [] if LONG_STRESS in CONFIGS else [LONG_STRESS]

MIB = 1 << 20


def config_params():
    # All tests of one machine go to the same worker, which boots it once.
    return [pytest.param(c, id=str(c), marks=pytest.mark.xdist_group(str(c))) for c in CONFIGS]


@pytest.fixture(scope="module", params=config_params())
def config(request):
    return request.param


@pytest.fixture(scope="module")
def machine(config, image, disk):
    """The machine, logged in. The disk begins with a MiB of random data."""
    options = ("--cpus", config.vcpus) if config.vcpus else ()
    # 16 GiB show that RAM is found, not that it can be filled.
    with Machine(f"matrix-{config}", image(build=config.build, options=options), harts=config.harts, mem=config.mem,
                 cpu=config.cpu, args=[*config.args, *device_args(config.bus, disk)]) as m:
        m.boot_text = m.login()
        yield m


@pytest.fixture(scope="module")
def disk(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    with open(path, "wb") as f:
        f.write(os.urandom(MIB))
        f.truncate(64 * MIB)
    yield path
    path.unlink()


def test_banner(machine, config):
    lines = [line for line in machine.boot_text.replace("\r", "").split("\n") if "[diosix]" in line]
    # Nothing stands before or behind a hypervisor's message on its line.
    assert all(line.startswith("[diosix] ") for line in lines), lines
    text = "\n".join(lines)
    assert f"{config.harts} PCPU" in text and f"Root VM: {config.nproc} VCPU" in text
    mib = {"256M": 256, "2G": 2048, "16G": 16384}[config.mem]
    assert f"{mib} MiB RAM, backend {config.backend}" in text


def test_cpus(machine, config):
    assert machine.check("nproc") == str(config.nproc)
    isa = [line for line in machine.check("cat /proc/cpuinfo").splitlines() if line.startswith("isa")]
    assert len(isa) == config.nproc
    for line in isa:
        letters, _, extensions = line.split(":")[1].strip().partition("_")
        assert ("v" in letters[4:]) == config.vector, line
        assert ("sstc" in extensions.split("_")) == config.sstc, line
        assert "h" not in letters[4:], "nothing is listed that does not work"


def test_memory(machine, config):
    total = int(machine.check("grep MemTotal /proc/meminfo").split()[1]) >> 10
    root = {"256M": 64, "2G": 512, "16G": 512}[config.mem]
    assert root * 3 // 4 < total <= root


def test_programs(machine):
    assert machine.check("""python -c 'print("hello")'""") == "hello"
    assert machine.check("python -c 'print(sum(1/n for n in range(1, 1001)))'").startswith("7.48547")


def test_disk(machine, disk):
    """Raw reads and writes, then a file system, checked on both sides."""
    begin = disk.read_bytes()[:MIB]
    assert machine.check("dd if=/dev/vda bs=64k count=16 2>/dev/null | sha256sum").split()[0] == hashlib.sha256(begin).hexdigest()
    wrote = machine.check("dd if=/dev/urandom of=/tmp/r bs=64k count=64 2>/dev/null; sha256sum /tmp/r").split()[0]
    machine.check("dd if=/tmp/r of=/dev/vda bs=64k seek=32 conv=fsync 2>/dev/null; rm /tmp/r")
    with open(disk, "rb") as f:
        f.seek(32 << 16)
        assert hashlib.sha256(f.read(64 << 16)).hexdigest() == wrote

    machine.check("mke2fs -q /dev/vda >/dev/null 2>&1 && mkdir -p /mnt && mount -t ext2 /dev/vda /mnt")
    listed = machine.check("cp /bin/busybox /mnt/ && sync && umount /mnt && sha256sum /bin/busybox").split()[0]
    machine.check("echo 3 >/proc/sys/vm/drop_caches; mount -t ext2 /dev/vda /mnt")
    assert machine.check("sha256sum /mnt/busybox").split()[0] == listed
    machine.check("umount /mnt")
    assert subprocess.run(["/sbin/e2fsck", "-fn", disk], capture_output=True, check=False).returncode == 0
    copy = subprocess.run(["/sbin/debugfs", "-R", "cat busybox", disk], capture_output=True, check=True).stdout
    assert hashlib.sha256(copy).hexdigest() == listed


def test_network(machine, web):
    wait_for_network(machine)
    for _ in range(3):
        assert machine.check(f"wget -q -O - {web.url} | sha256sum").split()[0] == web.sha256


def test_affinity(machine, config, web):
    """The network card's interrupt goes to the CPU that is asked for."""
    if config.nproc == 1:
        pytest.skip("one CPU")
    irqs = machine.check("grep virtio /proc/interrupts | cut -d: -f1").split()
    for cpu in (config.nproc - 1, 0):
        for irq in irqs:
            machine.run(f"echo {1 << cpu:x} >/proc/irq/{irq}/smp_affinity")
        before = irq_counts(machine, "virtio")
        assert machine.check(f"wget -q -O - {web.url} | sha256sum").split()[0] == web.sha256
        taken = [b - a for a, b in zip(before, irq_counts(machine, "virtio"))]
        assert taken[cpu] > 0 and sum(taken) == taken[cpu], f"interrupts at each CPU: {taken}"


def test_stress(machine, config):
    """All CPUs compute, with disk traffic beside."""
    seconds = 60 if config == LONG_STRESS else 2
    machine.check("(while [ ! -e /tmp/stop ]; do dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null; sleep 0.01; done) &")
    said = machine.check(f"cpustress {seconds}; e=$?; touch /tmp/stop; wait; rm /tmp/stop; (exit $e)")
    assert "cpustress: ok" in said
    assert f"vector {'on' if config.vector else 'off'}" in said


# One clock between two looks at the other, however long each takes; and the ticks of all CPUs.
CLOCKS = "{ read a _ </proc/uptime; b=$(date +%s); read c _ </proc/uptime; read _ ticks </proc/stat; echo $a $b $c $ticks; }"


def test_time(machine, config):
    """While all CPUs compute no timer is lost, and a second of one clock is one of the other. Time that others had is told, and only
    where there are more VCPUs than PCPUs."""
    said = machine.check(f"{CLOCKS}; sleep 1 & cpustress 2 >/dev/null; wait; {CLOCKS}")
    (a0, b0, c0, *ticks), (a1, b1, c1, *ticks1) = ([float(n) for n in line.split()] for line in said.splitlines())
    assert a1 - c0 - 1 <= b1 - b0 <= c1 - a0 + 1 and a1 - a0 >= 1
    passed = [after - before for before, after in zip(ticks[:8], ticks1)]
    stolen = passed[7]
    if config.nproc > config.harts:
        # In units of 10 ms: each of these CPUs waits for at least a good part of the time.
        assert stolen >= 100
    else:
        assert stolen <= sum(passed) / 4


def test_hotplug(machine, config):
    """CPUs go and come back while all compute: the second, the last and one between; FULL=1: all but the first."""
    if config.nproc == 1:
        pytest.skip("one CPU")
    machine.check("(until [ -e /tmp/stop ]; do cpustress 1 >>/tmp/stress 2>&1 || echo WRONG >>/tmp/stress; done) &")
    for cpu in range(1, config.nproc) if configs.ALL else sorted({1, config.nproc // 2, config.nproc - 1}):
        online = f"/sys/devices/system/cpu/cpu{cpu}/online"
        machine.check(f"echo 0 >{online} && [ $(nproc) = {config.nproc - 1} ] && echo 1 >{online}")
        assert machine.check("nproc") == str(config.nproc)
    said = machine.check("touch /tmp/stop; wait; cat /tmp/stress; rm /tmp/stop /tmp/stress")
    assert "ok" in said and "WRONG" not in said


def test_quiet(machine):
    """Nothing of all that made the kernel or the hypervisor complain."""
    assert machine.run("dmesg -r | grep -E '^<[0-4]>' | grep -iE 'bug|oops|rcu.*stall|lockup|call trace|unexpected|spurious'").output == ""


def test_power_off(machine):
    machine.start("poweroff -f")  # test_power.py has the orderly one, in which init waits two seconds
    assert machine.wait_exit() == 0
    assert "[diosix] the Root VM has shut down; powering off" in machine.console
