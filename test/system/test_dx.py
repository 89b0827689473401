# SPDX-License-Identifier: MIT
"""dx and its driver: fork a running Linux, visit the child, run another kernel, limit and end them.
If these failed, the tree of VMs would be of no use to anybody."""

import json
import re
import subprocess

import pytest
from conftest import device_args
from dx import ask, attach, attached, detach, disk_with, last_status, pages_used
from machine import INITRD, KERNEL, Machine

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("harts,bus", [(1, "mmio"), (2, "pci"), (4, "mmio")])
def test_fork(image, name, tmp_path, web, harts, bus):
    disk = tmp_path / "disk.img"
    subprocess.run(["truncate", "-s", "64M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-qF", disk], check=True)
    with Machine(name, image(), harts=harts, args=device_args(bus, disk)) as m:
        m.login()
        m.check("mount /dev/vda /mnt && echo before >/mnt/file && sync")
        m.check("echo before >/tmp/file; sleep 100000 &")
        m.check("dx kill $(dx fork)")
        before = pages_used(m)
        assert ask(m, "fork --name kid")["handle"] > 0
        (kid,) = ask(m, "ps")
        assert (kid["name"], kid["state"], kid["vcpus"]) == ("kid", "running", harts)
        assert kid["pages"] > 0
        assert m.run("dx fork --name kid").status == 5, "two children with one name"
        parent_uuid = m.check("cat /proc/sys/kernel/random/uuid")

        with attached(m, "kid"):
            host = m.check("cat /proc/sys/kernel/hostname")
            assert re.fullmatch("diosix-[0-9a-f]{8}", host)
            assert m.check("cat /proc/sys/kernel/random/uuid") != parent_uuid
            assert "crng reseeded due to virtual machine fork" in m.check("dmesg")
            m.check("pidof sleep")
            assert m.check("cat /tmp/file") == "before"
            m.check("echo child >/tmp/file")
            assert ask(m, "ps") == [], "a child inherits children"
            # The machine's devices are the parent's; what used them fails, and nothing hangs.
            assert m.check("echo /sys/class/net/*") == "/sys/class/net/lo"
            assert m.check("echo /sys/block/*(N)") == ""
            assert m.run("cat /mnt/file").status != 0
            assert "cpustress: ok" in m.check("cpustress 1")
            assert m.check("nproc") == str(harts)

        assert m.check("cat /proc/sys/kernel/hostname") == "diosix"
        assert m.check("cat /tmp/file") == "before"
        assert m.check("cat /mnt/file") == "before"
        m.check("echo after >/mnt/file && sync")
        m.check("pidof sleep")
        assert web.sha256 in m.check(f"wget -q -O - {web.url} | sha256sum")
        m.check("dx kill kid")
        assert ask(m, "ps") == []
        assert pages_used(m) == before
        assert "cpustress: ok" in m.check("cpustress 1")


@pytest.mark.parametrize("harts,vcpus", [(1, None), (2, 4), (4, None)])
def test_descendants(image, name, harts, vcpus):
    """Three generations, each with files, processes and random numbers of its own; the one in the middle is killed, and what
    it had comes back. The Root VM's end with children is the machine's, which starts anew."""
    with Machine(name, image(options=("--cpus", vcpus) if vcpus else ()), harts=harts) as m:
        m.login()
        cpus, seen = m.check("nproc"), set()
        assert cpus == str(vcpus or harts)

        def look(who):
            """What this VM has of its own, and what it has not."""
            assert m.check("nproc; cat /tmp/who") == f"{cpus}\n{'root' if not seen else 'parent'}"
            for file in ("uuid", "../hostname"):
                seen.add(m.check(f"cat /proc/sys/kernel/random/{file}"))
            m.check(f"echo parent >/tmp/who; echo {who} >/tmp/mine; sleep {who} & kill -0 $!")

        def is_alone(who, *others):
            assert m.check("cat /tmp/mine") == str(who)
            assert [m.run(f"pgrep -f '^sleep {n}$'").status for n in (who, *others)] == [0] + [1] * len(others)

        m.check("dx kill $(dx fork); echo root >/tmp/who")
        before = ask(m, "quota")
        look(1001)
        ask(m, "fork --name son")
        with attached(m, "son", escape="A"):
            look(1002)
            ask(m, "fork --name grandson")
            with attached(m, "grandson", escape="B"):
                look(1003)
                ask(m, "fork --name last")
                with attached(m, "last", escape="C"):
                    look(1004)
                    m.check("head -c 4m /dev/urandom >/tmp/big")
                    assert ask(m, "ps") == []
                    assert "cpustress: ok" in m.check("cpustress 1")
                is_alone(1003, 1004)
                assert [c["name"] for c in ask(m, "ps")] == ["last"]
            is_alone(1002, 1003, 1004)
            assert ask(m, "info")["pages_subtree"] > ask(m, "info")["pages"]
            (grandson,) = ask(m, "ps")
            assert grandson["children"] == 1
            held = ask(m, "quota")
            m.check("dx kill grandson")
            assert ask(m, "ps") == []
            after = ask(m, "quota")
            assert (held["vms"]["used"], after["vms"]["used"]) == (2, 0)
            assert held["vcpus"]["used"] - after["vcpus"]["used"] == 2 * int(cpus)
            assert held["pages"]["used"] - after["pages"]["used"] > 1024, "the 4 MiB of the last"
            is_alone(1002, 1003, 1004)
        is_alone(1001, 1002, 1003, 1004)
        assert len(seen) == 8
        (son,) = ask(m, "ps")
        assert son["children"] == 0
        m.check("dx kill son")
        assert ask(m, "quota") == before
        ask(m, "fork --name kid")
        m.send("reboot -f\n")
        m.login()
        assert ask(m, "ps") == []


def test_life(image, name):
    """Pause, resume, rename, wait, scrollback, events."""
    with Machine(name, image()) as m:
        m.login()
        kid = ask(m, "fork --name kid")["handle"]
        m.check("dx pause kid")
        assert ask(m, "info kid")["state"] == "paused"
        m.check("dx resume kid")
        assert ask(m, f"info {kid}")["state"] == "running"
        m.check("dx name kid twin")
        assert m.run("dx info kid").status == 3
        assert m.run("dx name twin 1st").status == 2, "a name like a handle"
        # Nobody reads; the child is not held up. Later its last 64 KiB are there. In one line: each is two calls and an event.
        m.check("printf 'seq -s , 1 20000; echo d''one\\n' | dx console twin")
        attach(m, "dx console twin")
        m.expect(r",19999,20000\r*\n")
        m.expect(r"done\r*\n")
        detach(m)
        m.check("dx events --json --count 1 >/tmp/events & echo $! >/tmp/pid; "
                "until ls -l /proc/$(cat /tmp/pid)/fd | grep -q /dev/diosix; do :; done")
        m.check("dx pause twin; wait $(cat /tmp/pid)")
        event = json.loads(m.check("cat /tmp/events"))
        assert (event["handle"], event["event"]) == (kid, "state")
        m.check("dx resume twin")
        m.check("dx wait twin --json >/tmp/ended & echo $! >/tmp/pid")
        attach(m, "dx console twin")
        m.send("poweroff -f\n")
        m.expect(r"\[the child has ended\]\r*\n")
        assert last_status(m) == 0
        m.check("wait $(cat /tmp/pid)")
        ended = json.loads(m.check("cat /tmp/ended"))
        assert (ended["name"], ended["reason"], ended["code"]) == ("twin", "exit", 0)
        assert ask(m, "ps") == []


def test_clone(image, name):
    with Machine(name, image()) as m:
        m.login()
        m.check("echo mould >/tmp/file")
        ask(m, "fork --name template")
        m.check("dx pause template")
        for i in range(3):
            ask(m, f"clone template --name c{i}")
        for i in range(3):
            with attached(m, f"c{i}"):
                assert m.check("cat /tmp/file") == "mould"
                m.check(f"echo {i} >/tmp/file")
        for i in range(3):
            with attached(m, f"c{i}"):
                assert m.check("cat /tmp/file") == str(i)
        uuids = set()
        for i in range(3):
            with attached(m, f"c{i}"):
                uuids.add(m.check("cat /proc/sys/kernel/random/uuid"))
        assert len(uuids) == 3
        m.check("dx kill c0 c1 c2 template")
        assert ask(m, "ps") == []


def test_quota(image, name):
    with Machine(name, image()) as m:
        m.login()
        quota = ask(m, "quota")
        assert quota["pages"]["used"] > 0 and quota["vms"]["limit"] > 0
        ask(m, "fork --name kid --quota vms=1,depth=1")
        assert ask(m, "quota kid")["vms"]["limit"] == 1
        with attached(m, "kid"):
            ask(m, "fork --name only")
            assert m.run("dx fork").status == 4
            assert m.run("dx quota vms=0").status == 5, "a limit below what is used"
            m.check("dx kill only")
            m.check("dx quota vms=0")
            assert m.run("dx fork").status == 4
            assert m.run("dx quota vms=5").status != 0, "a VM has raised its own limit"
        m.check("dx quota kid vms=5")
        assert ask(m, "quota kid")["vms"]["limit"] == 5
        m.check("dx kill kid")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A disk with the Root VM's own kernel and RAM disk, to run in children."""
    return disk_with(tmp_path_factory.mktemp("kernels"), {f.name: f.read_bytes() for f in (KERNEL, INITRD)})


RUN = "dx run --kernel /mnt/Image --initrd /mnt/initramfs.cpio --append 'console=hvc0 earlycon=sbi panic=1' --mem 96M"


def test_run(image, name, kernels):
    """A child with a kernel of its own boots, reboots, powers off."""
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        # Page tables for windows stay, as the table of children does.
        m.check(f"dx kill $({RUN} --detach)")
        before = pages_used(m)
        attach(m, f"{RUN} --cpus 2 --name guest")
        m.login()
        assert m.check("nproc") == "2"
        assert m.check("cat /sys/class/tty/console/active").split()[-1] == "hvc0"
        assert "console=hvc0" in m.check("cat /proc/cmdline")
        assert ask(m, "ps") == []
        m.check("touch /root/mark")
        m.send("reboot\n")
        m.expect("Linux version")
        m.login()
        assert m.run("ls /root/mark").status != 0
        m.send("poweroff\n")
        m.expect(r"\[the child has ended\]\r*\n")
        assert last_status(m) == 0
        assert ask(m, "ps") == []
        assert pages_used(m) == before


def test_run_detached(image, name, kernels):
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        handle = json.loads(m.check(f"{RUN} --name guest --detach --json"))["handle"]
        attach(m, "dx console guest")
        m.login()
        m.check("echo first''boot")
        detach(m)
        m.check("dx reboot guest")
        attach(m, f"dx console {handle}")
        m.expect(r"firstboot\r*\n")  # what it said before comes first
        m.expect(r"Linux version")
        m.login()
        detach(m)
        m.check("dx kill guest --keep")
        assert m.run("dx wait guest").status == 12
        assert ask(m, "ps") == []


@pytest.mark.parametrize("backend", ["pmp"], indirect=True)
def test_run_direct(image, name, kernels):
    """Without H: a child with page tables of its own, which are no exits, and a fork of it that is in shadow tables."""
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        m.check(f"dx kill $({RUN} --direct --detach)")
        before = pages_used(m)
        own = ask(m, "info self")
        attach(m, f"{RUN} --direct --cpus 2 --name guest")
        m.login()
        assert ask(m, "info self")["backend"] == "pmp"
        ram = [int(n, 16) for n in re.search("([0-9a-f]+)-([0-9a-f]+) : System RAM", m.check("cat /proc/iomem")).groups()]
        faults = ask(m, "info self")["faults"]
        assert "cpustress: ok" in m.check("cpustress 1")
        m.check("for i in $(seq 200); do /bin/true; done")
        # Devices that have no PMP entry at the moment, not processes.
        assert ask(m, "info self")["faults"] - faults < 200
        m.check("dx fork --name twin")
        assert [c["backend"] for c in ask(m, "ps")] == ["shadow"]
        with attached(m, "twin", "A"):
            assert "cpustress: ok" in m.check("cpustress 1")
        m.check("dx kill twin")
        detach(m)
        (guest,) = ask(m, "ps")
        assert (guest["backend"], guest["ram_size"]) == ("pmp", 96 << 20)
        assert guest["pages_private"] == guest["ram_size"] // 4096
        assert guest["ram_base"] <= ram[0] < ram[1] < guest["ram_base"] + guest["ram_size"]
        assert ram[1] < own["ram_base"] or ram[0] >= own["ram_base"] + own["ram_size"]
        assert "backend pmp" in m.check("dx info guest")
        m.check(f"{RUN} --name other --detach")
        assert [c["backend"] for c in ask(m, "ps")] == ["pmp", "shadow"]
        m.check("dx kill guest other")
        assert pages_used(m) == before


CLONES = 200


@pytest.mark.parametrize("backend", ["gstage", "shadow"], indirect=True)
def test_two_hundred_clones(image, name, kernels):
    """A Linux with 64 MiB, booted once and cloned: all live on a machine of 2 GiB, each answers, and no page is lost."""
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        attach(m, f"{RUN} --mem 64M --name template")
        m.login()
        detach(m)
        m.check("dx pause template")
        # The table of children stays. It grows as well with those that never run.
        for paused in ("--paused", ""):
            m.check("[ ! -e /tmp/handles ] || dx kill $(</tmp/handles)")
            before = pages_used(m)
            m.check(f"for i in {{1..{CLONES}}}; do dx clone template {paused} || break; done >/tmp/handles")
        clones = [c for c in ask(m, "ps") if c["name"] != "template"]
        assert [c["state"] for c in clones] == ["running"] * CLONES
        assert sum(c["pages"] for c in clones) * 4096 < CLONES * (1 << 20), "they share little"
        for clone in clones:
            # It has written nothing yet: its first line is the answer.
            attach(m, f"dx console {clone['handle']}")
            who = str(clone["handle"])
            assert m.check(f"[ ! -e /tmp/who ] && echo {who} >/tmp/who && read -r who </tmp/who && echo I am $who") == f"I am {who}"
            m.send("\x1d")
            m.expect(r"\[detached\]\r*\n")
        m.check("dx kill $(</tmp/handles)")
        assert [c["name"] for c in ask(m, "ps")] == ["template"]
        assert pages_used(m) == before
