# SPDX-License-Identifier: MIT
"""dx and its driver when something goes wrong, or much happens at once: signals, output that nobody takes, programs that fork,
clone and kill at the same time, random calls, files that change, the machine's end while children live. If these failed, a
mistake of a program would cost a child, a terminal, memory, or the kernel."""

import json
import os
import shlex
import subprocess

import pytest
from conftest import device_args
from dx import ask, attach, attached, detach, disk_with, pages_used
from machine import ROOT, Machine
from test_dx_user import tiny

pytestmark = pytest.mark.usefixtures("backend")

CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")
PROGRAMS = ("forkers", "fuzz_driver", "pending", "template")
TABLES = 16  # pages that windows of random sizes may cost a VM for good


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """With test/system's programs, and kernels of one instruction."""
    folder = tmp_path_factory.mktemp("faults")
    files = {name: tiny(folder, name) for name in ("stays", "exit7")}
    for name in PROGRAMS:
        out = folder / name
        subprocess.run([CROSS + "gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-I", ROOT, "-o", out,
                        ROOT / f"test/system/{name}.c"], check=True)
        files[name] = out.read_bytes()
    return disk_with(folder, files, "8M")


def background(m, command, fds=1, output=None):
    """Starts dx with its output in a file, and few files allowed; it has opened the device or so many children when this returns. A word for `wait`."""
    what = "diosix-child" if command.startswith("wait") else "/dev/diosix"
    m.marks += 1
    name = f"/tmp/background{m.marks}"
    m.check(f"(ulimit -n 5; exec dx {command}) >{output or name} 2>{name} & echo $! >{name}.pid; until [ $(ls -l /proc/$(cat {name}.pid)/fd | grep -c {what}) -ge {fds} ]; "
            "do :; done")
    return name


def finished(m, name):
    """The exit status of what background() started, and its output."""
    status = m.run(f"wait $(cat {name}.pid)").status
    return status, m.check(f"cat {name}")


def check_races(m):
    """In the Root VM, whose devices are frozen for each fork, and all programs with them."""
    assert "template: all is well" in m.check("/tmp/template 8")
    assert m.check("/tmp/forkers 2").endswith("forkers: 4 VMs")
    assert m.check("/tmp/fuzz_driver 1 800") == "fuzz: all is well"
    before = pages_used(m)
    assert m.check("/tmp/fuzz_driver 2 800") == "fuzz: all is well"
    assert pages_used(m) <= before + TABLES
    assert m.run("grep window /proc/iomem").output == ""
    assert ask(m, "ps") == []


def check_output(m):
    """Output that cannot be written is a failure, and nothing else takes the place of a stream that is closed."""
    commands = ("version", "ps --json", "tree", "info", "quota", "name kid", "--help", "help fork")
    said = m.check(";".join(f"dx {c} >/dev/full; echo $?; dx {c} >&-; echo $?" for c in commands))
    assert said.split("\n") == ["dx: output: No space left on device", "1", "dx: output: Bad file descriptor", "1"] * len(commands)
    for command in ("events", "events --json"):
        name = background(m, command, output="/dev/full")
        m.check("dx pause kid; dx resume kid")
        assert finished(m, name) == (1, "dx: output: No space left on device")
    said = "dx console kid </dev/null | cksum"
    before = m.check(said)
    assert m.run("dx console kid <&- >&-") == ("dx: output: Bad file descriptor", 1)
    assert m.run("dx console kid >/dev/full </dev/null") == ("dx: output: No space left on device", 1)
    assert m.check(said) == before, "a child was told what it said itself"


def check_signals(m):
    """While attached: the signal ends dx, and the terminal is as it was."""
    tty, terminal = m.check("tty"), m.check("stty -g")
    for number, signal in ((1, "HUP"), (2, "INT"), (3, "QUIT"), (15, "TERM")):
        attached_now = f"stty -F {tty} -a 2>/dev/null | grep -q -- -icanon"
        m.start(f"{{ until {attached_now}; do :; done; kill -{signal} $(cat /tmp/pid); }} & sh -c 'echo $$ >/tmp/pid; exec dx console kid'")
        assert m.finish().status == 128 + number
        assert m.check("stty -g") == terminal, signal
    assert ask(m, "info kid")["state"] == "running"


def check_flood(m):
    """A child that writes without end does not keep anybody attached, nor does a reader that goes."""
    terminal = m.check("stty -g")
    attach(m, "dx console kid")
    m.send("yes\n")
    m.expect(r"y\r*\ny\r*\n")
    detach(m)
    assert m.check("dx console kid | head -n 1; echo $pipestatus").endswith("141 0")
    assert m.check("stty -g") == terminal
    assert m.run("dx console kid >/dev/full").status == 1
    assert m.check("stty -g") == terminal


def check_kernels(m):
    """What dx run was given may be no file, vanish or change; who presses Ctrl-C while it loads wants no child."""
    assert m.run("mkfifo /tmp/pipe; dx run --kernel /tmp/pipe") == ("dx: /tmp/pipe: not a file, or empty", 1)
    m.check("/tmp/pending dx run --kernel /mnt/stays --name early & echo $! >/tmp/pid")
    assert m.run("wait $(cat /tmp/pid)").status == 130
    assert m.run("dx info early").status == 3
    # The keeper has no streams of its own; it reads the file anew.
    assert m.run("cp /mnt/stays /tmp/kernel; dx run --kernel /tmp/kernel --name kept --detach <&- >&- 2>&-").status == 1
    assert ask(m, "info kept")["state"] == "running"
    m.check("cat /mnt/exit7 >/tmp/kernel; dx reboot kept")
    assert m.run("dx wait kept").status == 10
    # It has less in it than its size says, as one that was cut off a moment ago. The child that was begun goes.
    assert m.run("dx run --kernel /sys/module/diosix/refcnt") == ("dx: /sys/module/diosix/refcnt: it has become shorter", 1)
    # And so it does when who reads of it has gone.
    nobody = "exec 3<>/tmp/pipe; exec 4>/tmp/pipe; exec 3<&-"
    assert m.run(f"({nobody}; exec dx run --kernel /sys/module/diosix/refcnt 2>&4)").status == 1
    assert [c["name"] for c in ask(m, "ps")] == ["kid"]


def check_waiting(m):
    """Several wait for several, and each is told, in its order, whoever was faster to forget them."""
    for child in "ab":
        m.check(f"dx run --kernel /mnt/stays --detach --name {child}")
    both, one = background(m, "wait a b --json", 2), background(m, "wait b --json")
    ask(m, "kill b")
    assert finished(m, one)[0] == 12
    assert m.run("dx info b").status == 3
    ask(m, "kill a")
    status, output = finished(m, both)
    assert status == 12
    assert [(e["name"], e["reason"]) for e in map(json.loads, output.splitlines())] == [("a", "killed"), ("b", "killed")]


def check_words(m):
    """Names of odd characters, which JSON and the listings carry; numbers and options that are none."""
    for name in ('a"b\\c/', "$(x)`y`", "{}[],:", "~" * 31, "'&<>|;#!*?"):
        assert ask(m, f"name kid {shlex.quote(name)}")["name"] == name
        assert [c["name"] for c in ask(m, "ps")] == [name] == [c["name"] for c in ask(m, "tree")["tree"]]
        assert ask(m, f"info {shlex.quote(name)}")["name"] == name
        assert m.check(f"dx ps; dx tree; dx name {shlex.quote(name)} kid").count("\n") == 3
    bad = ("a b", "\\x7f", "\\xc3\\xa9", "\\n", "~" * 32)
    assert m.check("; ".join(f"dx name kid $'{name}' 2>/dev/null; echo $?" for name in bad)).split() == ["2"] * len(bad)
    assert "no value is taken: --json=yes" in m.run("dx ps --json=yes").output
    assert "no such option: -x" in m.run("dx ps -x").output
    assert m.run("dx quota vms=18446744073709551615").status == 2


def test_faults(image, name, disk):
    """One machine for all, since each is quick."""
    with Machine(name, image(), args=device_args("mmio", disk)) as m:
        m.login()
        m.check(f"mount -o ro /dev/vda /mnt && cd /mnt && cp {' '.join(PROGRAMS)} /tmp && cd")
        check_races(m)
        m.check("dx fork --name kid")
        with attached(m, "kid"):
            assert m.check("/tmp/forkers 3").endswith("forkers: 8 VMs")
            assert_no_oops(m)
        check_words(m)
        check_output(m)
        check_kernels(m)
        check_waiting(m)
        check_signals(m)
        check_flood(m)
        assert_no_oops(m)
        # The end of the machine, in the midst of it all.
        m.check("dx fork --name paused --paused; dx clone paused --name clone; dx run --kernel /mnt/stays --detach")
        assert sorted(c["state"] for c in ask(m, "ps")) == ["paused", "running", "running", "running"]
        m.send("poweroff -f\n")
        assert m.wait_exit() == 0


def assert_no_oops(m):
    assert m.run("dmesg | grep -E 'WARNING:|BUG:|Oops|Call Trace|Unable to handle'").output == ""
