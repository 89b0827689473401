# SPDX-License-Identifier: MIT
"""dx and its driver, as a user meets them: fork a running Linux, visit the child, run another kernel, limit and end them.
If these failed, the tree of VMs would be of no use to anybody."""

import json
import re
import subprocess
from contextlib import contextmanager

import pytest
from conftest import device_args
from machine import INITRD, KERNEL, Machine

COMMANDS = ("fork clone run ps tree info name pause resume kill reboot wait console events quota priority drop-trust "
            "version").split()


def ask(machine, command):
    """The answer of a dx command, read from its JSON."""
    return json.loads(machine.check(f"dx {command} --json"))


def last_status(machine):
    """The exit status of the command that was typed with send(), because it reads what is typed after it."""
    return machine.run("(exit $?)").status


def attach(machine, command):
    machine.send(command + "\n")
    machine.expect(r"\[attached: .* detaches\]\r*\n")


def detach(machine, key="\x1d"):
    machine.send(key)
    machine.expect(r"\[detached\]\r*\n")
    assert last_status(machine) == 0


@contextmanager
def attached(machine, child, escape=None):
    """Within: what is typed goes to a child's shell, which is as the parent's was, for it is its copy."""
    option, key = (f" --escape {escape}", chr(ord(escape) & 0x1f)) if escape else ("", "\x1d")
    attach(machine, f"dx console {child}{option}")
    machine.run("true")  # what it wrote before comes first
    yield
    detach(machine, key)


def own_pages(machine):
    """All that the VM and its subtree are charged with, when there was a child before: the table of children stays."""
    return ask(machine, "info")["pages_subtree"]


def test_commands(image, name):
    with Machine(name, image()) as m:
        m.login()
        assert "diosix" in m.check("cat /proc/interrupts")
        assert ask(m, "version")["abi"] >= 2
        assert ask(m, "ps") == []
        for command in COMMANDS:
            assert m.check(f"dx {command} --help").startswith(f"usage: dx {command}")
            assert m.run(f"dx {command} --nonsense").status == 2, command
        assert m.run("dx").status == 2
        assert m.run("dx fly").status == 2
        for words in ("info nobody", "info 4711", "kill nobody", "wait 4711", "console 4711", "pause 4711"):
            assert m.run(f"dx {words}").status == 3, words
        assert m.run("dx run --kernel /etc/motd --mem 32M").status == 1
        assert ask(m, "ps") == [], "a child that could not be loaded has been left behind"
        m.check("rmmod diosix")
        assert m.run("dx ps").status == 7
        m.check("insmod /lib/modules/diosix.ko")
        assert ask(m, "ps") == []


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
        before = own_pages(m)
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
        assert own_pages(m) == before
        assert "cpustress: ok" in m.check("cpustress 1")


@pytest.mark.parametrize("harts", [1, 2])
def test_descendants(image, name, harts):
    """Three generations; the one in the middle is killed, and what it had comes back."""
    with Machine(name, image(), harts=harts) as m:
        m.login()
        m.check("dx kill $(dx fork)")
        before = own_pages(m)
        ask(m, "fork --name son")
        with attached(m, "son", escape="A"):
            ask(m, "fork --name grandson")
            with attached(m, "grandson", escape="B"):
                ask(m, "fork --name last")
                with attached(m, "last", escape="C"):
                    m.check("echo deep >/tmp/file")
                    assert ask(m, "ps") == []
                assert [c["name"] for c in ask(m, "ps")] == ["last"]
            assert ask(m, "info")["pages_subtree"] > ask(m, "info")["pages"]
            (grandson,) = ask(m, "ps")
            assert grandson["children"] == 1
            held = own_pages(m)
            m.check("dx kill grandson")
            assert ask(m, "ps") == []
            assert own_pages(m) < held
        (son,) = ask(m, "ps")
        assert son["children"] == 0
        m.check("dx kill son")
        assert own_pages(m) == before


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
        assert m.run("dx name twin 1st").status == 1, "a name like a handle"
        # Nobody reads; the child is not held up. Later its last 64 KiB are there.
        m.check("printf 'seq 1 20000; echo d''one\\n' | dx console twin")
        attach(m, "dx console twin")
        m.expect(r"\n20000\r*\n")
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


def test_trust(image, name):
    """After drop-trust the devices are gone, at once and for good, and what is forked has none."""
    with Machine(name, image(), args=device_args("mmio")) as m:
        m.login()
        assert ask(m, "info")["trusted"]
        ask(m, "fork --name mistrusted --no-trust")
        ask(m, "fork --name trusted")
        assert [c["trusted"] for c in ask(m, "ps")] == [False, True]
        m.check("dx drop-trust")
        assert not ask(m, "info")["trusted"]
        assert m.check("echo /sys/class/net/*") == "/sys/class/net/lo"
        ask(m, "fork --name after")
        assert not ask(m, "info after")["trusted"]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A disk with the Root VM's own kernel and RAM disk, to run in children."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "files").mkdir()
    for file in (KERNEL, INITRD):
        (folder / "files" / file.name).write_bytes(file.read_bytes())
    disk = folder / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "files", disk, "64M"], check=True)
    return disk


RUN = "dx run --kernel /mnt/Image --initrd /mnt/initramfs.cpio --append 'console=hvc0 earlycon=sbi panic=1' --mem 96M"


def test_run(image, name, kernels):
    """A child with a kernel of its own boots, reboots, powers off."""
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        # Page tables for windows stay, as the table of children does.
        m.check(f"dx kill $({RUN} --detach)")
        before = own_pages(m)
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
        assert own_pages(m) == before


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


def test_root_ends_with_children(image, name):
    with Machine(name, image(), args=["-no-reboot"]) as m:
        m.login()
        ask(m, "fork --name kid")
        m.send("reboot -f\n")
        assert m.wait_exit() == 0


CLONES = 200


def test_two_hundred_clones(image, name, kernels):
    """A Linux with 64 MiB, booted once and cloned: all live on a machine of 2 GiB, each answers, and no page is lost."""
    with Machine(name, image(), args=device_args("mmio", kernels)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        attach(m, f"{RUN} --mem 64M --name template")
        m.login()
        detach(m)
        m.check("dx pause template")
        all_clones = f"for i in $(seq {CLONES}); do echo c$i; done"
        kill_all = f"dx kill $({all_clones})"
        make_all = f"{all_clones} | while read name; do dx clone template --name $name >/tmp/handle || break; done"
        m.check(f"{make_all}; {kill_all}")
        before = own_pages(m)
        m.check(make_all)
        clones = [c for c in ask(m, "ps") if c["name"] != "template"]
        assert [c["state"] for c in clones] == ["running"] * CLONES
        assert sum(c["pages"] for c in clones) * 4096 < CLONES * (1 << 20), "they share little"
        for i in range(1, CLONES + 1):
            with attached(m, f"c{i}"):
                m.check(f"[ ! -e /tmp/who ] && echo {i} >/tmp/who")
                assert m.check("cat /tmp/who") == str(i)
        m.check(kill_all)
        assert [c["name"] for c in ask(m, "ps")] == ["template"]
        assert own_pages(m) == before
