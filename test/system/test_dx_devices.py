# SPDX-License-Identifier: MIT
"""The machine's devices and the tree: they go on for the Root VM while children come and go, and are gone for good after
drop-trust. If these failed, DMA would reach a child's memory, or a fork would lose or corrupt what the parent reads and writes."""

import contextlib
import hashlib
import os
import socket
import socketserver
import threading

import pytest
from conftest import device_args, wait_for_network
from dx import ask, attached, pages_used
from machine import BOOTARGS, Machine

pytestmark = pytest.mark.usefixtures("backend")

UNIT = 64 << 10
COUNT = 16
BIG = COUNT * UNIT  # of the disk: read again and again, and in memory as /tmp/big and in a process

# Each loop ends when it finds something wrong, and says so in a file; so it does in a child, where the devices are gone. What is
# compared is compared in one process: it costs an emulated machine far less than processes that read and compute sums.
LOOPS = """
import hashlib, os, sys

UNIT, BIG = {unit}, {big}
name = sys.argv[1]
held, other = bytearray(BIG), bytearray(BIG)

def stop():
    try:
        return os.stat("/tmp/stop")
    except OSError:
        return None

def tell(what, n):
    with open("/tmp/" + what + "." + name, "w") as f:
        f.write(str(n))

# What is written, and read again, is the file from another place on in each round. To flush is to fsync.
def disk(n):
    k = n * UNIT % BIG
    moved = held[k:] + held[:k]
    with open("/dev/vda", "r+b") as f:
        f.seek(BIG)
        f.write(moved)
        f.flush()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    with open("/dev/vda", "rb") as f:
        return f.readinto(other) == BIG and other == held and f.readinto(other) == BIG and other == moved

# A process's memory, and a file's in memory.
def memory(n):
    with open("/tmp/big", "rb") as f:
        return f.readinto(other) == BIG and other == held

def net(n):
    return os.system('[ "$(wget -q -O - {url} | sha256sum)" = "{page}  -" ]') == 0

n = 0
try:
    with open("/tmp/big", "rb") as f:
        f.readinto(held)
    good = hashlib.sha256(held).digest().hex() == "{sum}"
    while good and not stop():
        n += 1
        good = globals()[name](n)
        if good:
            tell("rounds", n)
finally:
    if not stop():
        tell("bad", n)
"""
KINDS = ("disk", "net", "memory")


def rounds(machine, loop):
    """Waits until a loop has been around once more, from its start."""
    machine.check(f"n=$(</tmp/rounds.{loop})")
    machine.wait_until(f"[ $(</tmp/rounds.{loop})0 -ge $((n + 2))0 ] || [ -e /tmp/bad.{loop} ]")
    assert machine.run(f"cat /tmp/bad.{loop}").status != 0, f"{loop}: something was not as it should be"


def start_loops(machine, **words):
    machine.check(f"dd if=/dev/vda of=/tmp/big bs={UNIT} count={COUNT}; echo 0 | tee /tmp/rounds.disk /tmp/rounds.net /tmp/rounds.memory")
    machine.check(f"cat >/tmp/loops.py <<'END'\n{LOOPS.format(unit=UNIT, big=BIG, **words)}\nEND")
    for loop in KINDS:
        machine.check(f"python -X heapsize=8M /tmp/loops.py {loop} >/dev/null 2>&1 &")


@pytest.mark.parametrize("harts,bus", [(2, "mmio"), (4, "pci")])
def test_traffic(image, name, tmp_path, web, harts, bus):
    """Disk and network are busy in the Root VM, it forks, and all that lives checks its memory all the time."""
    disk = tmp_path / "disk.img"
    big = os.urandom(BIG)
    disk.write_bytes(big + bytes(BIG))
    with Machine(name, image(), harts=harts, args=device_args(bus, disk)) as m:
        m.login()
        wait_for_network(m)
        m.check("dx kill $(dx fork)")
        before = pages_used(m)
        start_loops(m, sum=hashlib.sha256(big).hexdigest(), url=web.url, page=web.sha256)
        for i in range(2):
            ask(m, f"fork --name kid{i}")
            with attached(m, f"kid{i}"):
                # Into pages that the parent's DMA may use: the parent has others there.
                m.check("cp /tmp/big /tmp/own")
            for loop in KINDS:
                rounds(m, loop)
            with attached(m, f"kid{i}"):
                m.check("cmp /tmp/big /tmp/own")
                rounds(m, "memory")
                m.wait_until("[ -e /tmp/bad.disk ]")
        # What the first had is free, and used again.
        m.check("dx kill kid0")
        for loop in KINDS:
            rounds(m, loop)
        m.check("touch /tmp/stop; wait; ls /tmp/bad.* >/tmp/which; [ ! -s /tmp/which ]")
        last = int(m.check("cat /tmp/rounds.disk")) % COUNT
        m.check("dx kill kid1")
        assert pages_used(m) == before
        m.send("poweroff -f\n")
        assert m.wait_exit() == 0
    assert disk.read_bytes() == big + big[last * UNIT:] + big[:last * UNIT]


class Trickle(socketserver.StreamRequestHandler):
    """A byte now and then: its acknowledgement is delayed, and sent by a timer."""

    def handle(self):
        with contextlib.suppress(OSError):
            while not self.server.ended.wait(0.03):
                self.wfile.write(b"x")


@contextlib.contextmanager
def senders(packets):
    """Two that go on until they are told to stop: `packets` to a UDP port, and a server of Trickle, whose port it gives."""
    ended = threading.Event()

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not ended.wait(0.001):
                s.sendto(b"x" * 64, packets)

    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        server.ended = ended
        threads = [threading.Thread(target=run, daemon=True) for run in (flood, server.serve_forever)]
        for thread in threads:
            thread.start()
        yield server.server_address[1]
        ended.set()
        server.shutdown()


@pytest.mark.parametrize("harts,bus", [(4, "pci"), (2, "mmio")])
def test_frozen_card(image, name, harts, bus):
    """Packets come while the network card is being frozen, and TCP's timers send while it is. If this failed, virtio_net sent through
    virtqueues that were freed: guest/driver/net.c."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        packets = s.getsockname()
    args = [arg.replace("id=net0", f"id=net0,hostfwd=udp:127.0.0.1:{packets[1]}-:9", 1) if arg.startswith("user,") else arg
            for arg in device_args(bus)]
    # The console would not tell of a panic in between.
    with Machine(name, image(append=BOOTARGS + " no_console_suspend"), harts=harts, args=args) as m, senders(packets) as port:
        m.login()
        wait_for_network(m)
        m.check(f"for i in {{1..20}}; do nc 10.0.2.2 {port} >>/tmp/got.$i & done")
        all_go_on = " && ".join(f"[ -s /tmp/got.{i} ]" for i in range(1, 21))
        m.wait_until(all_go_on)
        for _ in range(5):
            m.check("dx kill $(dx fork)")
            # The card is thawed, and each connection goes on.
            m.check("for i in {1..20}; do : >/tmp/got.$i; done")
            m.wait_until(all_go_on)
        assert "diosix" not in m.run("dmesg | grep -iE 'warning|bug|call trace'").output


def test_drop_trust(image, name, tmp_path, web):
    """With the devices busy. What used them ends, nothing hangs, and from then on a fork shares memory, if the backend can."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(64 << 20))
    with Machine(name, image(), args=device_args("mmio", disk)) as m:
        m.login()
        wait_for_network(m)
        ask(m, "fork --name mistrusted --no-trust")
        copied = ask(m, "fork --name trusted")["handle"]
        assert [c["trusted"] for c in sorted(ask(m, "ps"), key=lambda c: c["name"])] == [False, True]
        full = ask(m, f"info {copied}")["pages"]
        # A child gives up what it has, and its parent keeps it.
        with attached(m, "trusted"):
            assert ask(m, "drop-trust") == {"trusted": False}
            assert ask(m, "drop-trust") == {"trusted": False}, "a second time is no mistake"
            ask(m, "fork --name grandson")
            assert not ask(m, "info grandson")["trusted"]
        assert not ask(m, "info trusted")["trusted"] and ask(m, "info")["trusted"]
        m.check("{ while [ -b /dev/vda ] && dd if=/dev/zero of=/dev/vda bs=1M count=32 conv=notrunc,fsync 2>/dev/null; do echo >>/tmp/disk; done; } & "
                f"{{ while wget -q -O /dev/null {web.url}; do echo >>/tmp/net; done; }} &")
        m.wait_until("[ -s /tmp/disk ] && [ -s /tmp/net ]")
        m.check("dx drop-trust")
        # A connection without an interface waits for better times: that is TCP.
        m.check("killall wget; wait")
        assert not ask(m, "info")["trusted"]
        assert m.check("echo /sys/class/net/*") == "/sys/class/net/lo"
        assert m.check("echo /sys/block/*(N)") == ""
        assert m.run(f"wget -q -O - {web.url}").status != 0
        m.check("echo parent >/tmp/file")
        after = ask(m, "fork --name after")["handle"]
        shared = ask(m, f"info {after}")
        assert not shared["trusted"]
        # A VM with page tables of its own is copied all the same.
        assert (shared["pages"] > full / 4) == (ask(m, "info")["backend"] == "pmp")
        with attached(m, "after"):
            m.check("echo child >/tmp/file")
        assert m.check("cat /tmp/file") == "parent"
        assert "cpustress: ok" in m.check("cpustress 1")
        m.check("dx kill after trusted mistrusted")
        assert ask(m, "ps") == []
