# SPDX-License-Identifier: MIT
"""What the system tests share: images, disks, a web server, and the console of a machine whose test failed."""

import collections
import functools
import hashlib
import http.server
import os
import re
import sys
import threading
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
# Scripts run by this Python. Another one on PATH may be a wrapper that takes longer to start than they to run.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]

import configs  # noqa: E402
from machine import Machine, mkimage  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the console's tail."""
    report = (yield).get_result()
    if report.failed:
        for machine in Machine.live:
            report.sections.append((f"console, from {machine.log}", machine.tail()))


# What takes longest begins first, so that at the end no worker waits for another.
LONGEST = ("test_two_hundred_clones", "test_traffic", "test_flash", "test_frozen_card", "test_forks_without_end")


def pytest_collection_modifyitems(items):
    """A test with machines of its own has each of them, and each backend, but not all combinations."""
    tests = collections.defaultdict(list)
    for item in items:
        if "backend" in getattr(item, "fixturenames", ()):
            tests[item.function].append(item)
    unwanted = set()
    for those in tests.values():
        of = {item: {**item.callspec.params} for item in those}
        backends = list(dict.fromkeys(params.pop("backend") for params in of.values()))
        machines = [params for i, params in enumerate(of.values()) if params not in list(of.values())[:i]]
        for item, params in of.items():
            backend = backends.index(item.callspec.params["backend"])
            if not configs.meets(machines.index(params), len(machines), backend, len(backends)):
                unwanted.add(item)
    rank = {name: n for n, name in enumerate(LONGEST)}
    items[:] = sorted((item for item in items if item not in unwanted), key=lambda item: rank.get(item.originalname, len(rank)))


@pytest.fixture(params=configs.OPTIONS["backend"])
def backend(request, monkeypatch):
    """What a user does works with each backend: the test runs once with each."""
    monkeypatch.setattr(Machine, "backend", request.param)
    return request.param


@pytest.fixture
def name(request):
    """A name for the machine's log."""
    return request.node.name


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """A function: options of mkimage -> image. Each is packed once."""
    folder = tmp_path_factory.mktemp("images")

    @functools.cache
    def pack(build="release", append=None, options=()):
        more = {} if append is None else {"append": append}
        return mkimage(folder / f"{len(list(folder.iterdir()))}.elf", build=build, options=options, **more)

    return pack


class Page(http.server.BaseHTTPRequestHandler):
    """Answers each request with the server's page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.page)))
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def web():
    """A web server on the loopback interface: its `url`, as the guest sees it, and the page's `sha256`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.page = os.urandom(1 << 18)
    server.sha256 = hashlib.sha256(server.page).hexdigest()
    server.url = f"http://10.0.2.2:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def device_args(bus, disk=None, net=True):
    """QEMU's options for a disk and a network card on a bus."""
    suffix = {"mmio": "device", "pci": "pci"}[bus]
    # The card's boot ROM is another package, and for another kind of machine.
    rom = ",romfile=" if bus == "pci" else ""
    args = ["-netdev", "user,id=net0", "-device", f"virtio-net-{suffix},netdev=net0{rom}"] if net else []
    if disk:
        args += ["-drive", f"file={disk},format=raw,if=none,id=disk0", "-device", f"virtio-blk-{suffix},drive=disk0"]
    return args


def wait_for_network(machine):
    """Waits until DHCP has given the network card a default route."""
    machine.wait_until(r"[[ $(</proc/net/route) == *eth0$'\t00000000'* ]]")


def irq_counts(machine, device):
    """How often each CPU took the interrupts of a device."""
    counts = []
    for line in machine.check("cat /proc/interrupts").splitlines():
        if re.search(rf"\b{device}", line):
            counts.append([int(n) for n in re.findall(r"\b\d+\b", line.split("SiFive")[0])[1:]])
    return [sum(column) for column in zip(*counts)]
