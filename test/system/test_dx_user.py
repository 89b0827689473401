# SPDX-License-Identifier: MIT
"""dx as a user meets it: every command once, each kind of mistake with its exit status, and a manual that tells the truth."""

import json
import os
import re
import subprocess

import pytest
from conftest import device_args
from dx import ask, attach, attached, detach, disk_with, last_status, pages_used
from machine import ROOT, Machine

pytestmark = pytest.mark.usefixtures("backend")

CROSS = os.environ.get("CROSS", "riscv64-linux-gnu-")
SOURCE = ROOT / "guest/dx"
ABI_VERSION = int(re.search(r"DX_ABI_VERSION (\d+)", (ROOT / "abi/diosix.h").read_text(encoding="utf-8"))[1])

# A child whose first instruction is an SBI call, for each way to end: EID, FID, two arguments.
ENDINGS = {
    "exit0": (0x0A000005, 2, 0, 0),
    "exit7": (0x0A000005, 2, 7, 0),
    "shutdown": (0x53525354, 0, 0, 0),
    "stopped": (0x48534D, 1, 0, 0),
    "crash": (0x53525354, 0, 0, 1),
    "stays": (0x10, 3, 0x10, 0),
}
# What dx wait says of them.
ENDS = {
    "exit0": (0, "exit", 0),
    "exit7": (10, "exit", 7),
    "shutdown": (0, "exit", 0),
    "stopped": (0, "stopped", 0),
    "crash": (11, "crash", 0),
}

# What is wrong, and how dx ends. `kid` runs, `mould` is paused, 4711 and nobody are none.
MISTAKES = {
    2: ["", "fly", "help fly", "fork extra", "fork --nome x", "fork --name", "fork --name 1st", "fork --name -x", "fork --name a=b",
        "fork --name self", "fork --name 0123456789012345678901234567890123", "fork --quota colour=3", "fork --quota vms",
        "fork --quota vms=many", "fork --quota pages=1T", "clone", "clone self", "clone kid mould", "run", "run --kernel",
        "run --kernel /etc/motd --cpus 4294967297", "run --kernel /etc/motd --mem lots", "ps kid", "tree kid", "info kid mould",
        "info 1x", "info -1", "name", "name kid 1st", "name self x", "pause", "pause self", "pause kid kid", "resume 0", "kill",
        "kill self", "reboot", "wait", "console", "console kid --escape CC", "console kid --escape 1", "events kid",
        "events --count many", "quota kid mould", "quota colour=3", "quota vms=-1", "priority kid", "priority kid high",
        "drop-trust kid", "version kid", "fork --json=yes --help"],
    3: ["info nobody", "info 4711", "name 4711", "name nobody x", "pause kid nobody", "resume 4711", "kill kid 4711", "reboot nobody",
        "wait nobody", "console 4711", "quota nobody", "quota nobody vms=1", "priority 4711 1", "clone nobody"],
    4: ["fork --quota pages=1", "clone mould --quota vcpus=0"],
    5: ["fork --name kid", "name kid mould", "clone kid", "resume kid", "quota kid pages=1", "quota pages=1"],
    6: ["fork --quota priority=9", "quota vms=4294967296", "quota kid depth=32"],
    1: ["run --kernel /nowhere", "run --kernel /etc", "run --kernel /etc/motd", "run --kernel /etc/motd --cpus 65",
        "priority kid 8", "priority kid 1 --weight 5", "quota kid reserve=4294967295"],
}


def sources():
    return "".join(f.read_text(encoding="utf-8") for f in sorted(SOURCE.glob("*.c")))


def man_page():
    """For each command of the manual: its synopsis, with options, and the text below."""
    text = (SOURCE / "dx.1").read_text(encoding="utf-8").replace("\\-", "-")
    commands = text.partition(".SH COMMANDS")[2].partition(".SH EXIT STATUS")[0]
    found = {}
    for part in commands.split(".TP\n")[1:]:
        synopsis, _, body = part.partition("\n")
        for command in re.findall(r"dx ([\w-]+)", synopsis):
            found[command] = synopsis + "\n" + body
    return found


def options_in(text):
    return set(re.findall(r"--([a-z][a-z-]+)", text)) - {"json", "help"}


def tiny(folder, name):
    """An ELF of one SBI call."""
    words = [f"-D{k}={v}" for k, v in zip(("EID", "FID", "ARG0", "ARG1"), ENDINGS[name])]
    out = folder / name
    subprocess.run([CROSS + "gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x80000000,--build-id=none", "-march=rv64imac", "-mabi=lp64", *words,
                    "-o", out, ROOT / "test/system/child.S"], check=True)
    return out.read_bytes()


@pytest.fixture(scope="module")
def tinies(tmp_path_factory):
    """A disk with all of them."""
    folder = tmp_path_factory.mktemp("tinies")
    return disk_with(folder, {name: tiny(folder, name) for name in ENDINGS}, "4M")


def check_help(m):
    """--help and the man page name the same options, all of them are understood, and none is kept secret."""
    listed = re.findall(r"^  ([\w-]+) +\w", m.check("dx --help"), re.MULTILINE)
    manual = man_page()
    assert set(listed) == set(manual)
    assert m.check("man dx | head -4").startswith("DX(1)")
    told = set()
    for command in listed:
        text = m.check(f"dx {command} --help")
        assert m.check(f"dx help {command}") == text
        assert text.startswith(f"usage: dx {command}") and "--json" in text
        options = options_in(text)
        # The text below the synopsis may speak of other commands' options.
        synopsis = manual[command].partition("\n")[0]
        assert options == options_in(synopsis), command
        told |= options
        for option in options:
            value = {"quota": "vms=1", "escape": "A"}.get(option, "1" if option != "name" else "x")
            takes = re.search(rf"--{option} [A-Z]", text)
            assert m.run(f"dx {command} --{option} {value if takes else ''} --help").status == 0, (command, option)
    assert told == set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', sources())) - {"json", "help"}
    assert set(re.findall(r"^ ?(\d+) ", manual_statuses(), re.MULTILINE)) == set(map(str, statuses()))


def manual_statuses():
    return (SOURCE / "dx.1").read_text(encoding="utf-8").partition(".SH EXIT STATUS")[2].partition(".SH EXAMPLES")[0]


def statuses():
    """enum status of dx.h."""
    numbers, n = [], -1
    body = re.search(r"enum status \{(.*?)\};", (SOURCE / "dx.h").read_text(encoding="utf-8"), re.DOTALL)[1]
    for value in re.findall(r"ST_\w+(?: = (\d+))?,", body):
        n = int(value) if value else n + 1
        numbers.append(n)
    return numbers


def check_mistakes(m):
    """Each ends as documented, says why in a line that begins with "dx:", and changes nothing."""
    before = [(c["name"], c["state"]) for c in ask(m, "ps")]
    wrong = []
    for status, commands in MISTAKES.items():
        for command in commands:
            done = m.run(f"dx {command}")
            if done.status != status or not re.match(r"dx: [^\n]+$|dx: [^\n]+\nusage: ", done.output):
                wrong.append((command, done))
    assert not wrong
    assert [(c["name"], c["state"]) for c in ask(m, "ps")] == before


def check_names(m, kid):
    """What a handle can do, a name can; and the listings agree with each other."""
    assert ask(m, f"name {kid}") == ask(m, "name kid") == {"handle": kid, "name": "kid"}
    by_name = ask(m, "info kid")
    assert by_name["handle"] == kid and ask(m, f"info {kid}")["ram_base"] == by_name["ram_base"]
    listed = {c["name"]: c for c in ask(m, "ps")}
    assert set(listed) == {"kid", "mould"} and set(listed["kid"]) == set(by_name)
    # The manual names every member of the answer.
    told = set(re.findall(r"[a-z_]+", man_page()["info"]))
    assert set(by_name) <= told and set(by_name["exits"]) <= told
    assert by_name["exits"]["call"] > 0
    tree = ask(m, "tree")
    assert tree["handle"] == 0 and {c["handle"] for c in tree["tree"]} == {c["handle"] for c in listed.values()}
    assert re.search(rf"^ +{kid}  kid +running ", m.check("dx ps"), re.MULTILINE)
    assert f"-- {kid} kid  running" in "-" + m.check("dx tree").replace("|-", "--").replace("`-", "--")
    assert ask(m, f"quota {kid}") == ask(m, "quota kid")
    assert ask(m, "priority kid 2 --weight 50") == {"handle": kid, "priority": 2, "weight": 50}
    assert [ask(m, "info kid")[k] for k in ("priority", "weight")] == [2, 50]
    assert ask(m, "priority kid 1")["weight"] == 50
    assert ask(m, f"pause {kid}") == {"handle": kid} == ask(m, "resume kid")
    limits = ask(m, "quota kid vms=7,depth=3 vcpus=9 pages=1G reserve=4M")
    assert [limits[k]["limit"] for k in ("vms", "depth", "vcpus", "pages", "reserve")] == [7, 3, 9, 262144, 1024]


def check_console(m):
    """The key goes away with nothing else; scrollback comes again for who attaches again; a file is typed."""
    with attached(m, "kid"):
        m.check("echo one''two")
    attach(m, "dx console kid --escape B")
    m.expect(r"onetwo\r*\n")
    m.send("echo \x1d | od -An -tx1\n")  # no key now
    m.expect(r"1d 0a")
    detach(m, "\x02")
    shown = m.run("echo 'echo three''four' | dx console kid; dx console kid </dev/null").output
    assert "onetwo" in shown
    # What is asked for is on its way: attach, and it comes.
    attach(m, "dx console kid")
    m.expect(r"threefour\r*\n")
    detach(m)
    # Two at a time: both see it, and one of them goes.
    m.check("dx console kid </dev/zero >/dev/null 2>&1 & kill $!; wait")


def test_commands(image, name):
    with Machine(name, image()) as m:
        m.login()
        check_help(m)
        assert ask(m, "version") == {"dx": m.check("dx version").split()[1].rstrip(","), "abi": ABI_VERSION}
        kid = ask(m, "fork --name kid")["handle"]
        ask(m, "fork --name mould --paused --no-trust")
        check_mistakes(m)
        check_names(m, kid)
        check_console(m)
        copy = ask(m, "clone mould --name copy --paused --quota vms=0")
        assert (ask(m, "info copy")["state"], ask(m, "info copy")["trusted"]) == ("paused", False)
        assert ask(m, "quota copy")["vms"]["limit"] == 0
        assert m.run("dx resume mould").status == 5, "a template with clones"
        assert m.run("su -s /bin/sh nobody -c 'dx ps'").status == 6
        # Who waits learns of the end, though another has it forgotten.
        m.check("dx wait copy --json >/tmp/ended & pid=$!; until ls -l /proc/$pid/fd | grep -q diosix-child; do :; done; echo $pid >/tmp/pid")
        killed = ask(m, "kill copy")
        assert (killed["handle"], killed["reason"]) == (copy["handle"], "killed")
        assert m.run("wait $(cat /tmp/pid)").status == 12
        assert json.loads(m.check("cat /tmp/ended")) == killed
        # A child of fork has nobody who starts it anew.
        assert ask(m, "reboot kid") == {"handle": kid}
        assert ask(m, "info kid")["state"] == "created"
        m.check("dx kill kid mould --keep")
        assert [c["state"] for c in ask(m, "ps")] == ["gone", "gone"]
        assert m.run("dx wait kid --keep").status == 12
        assert m.run("dx wait kid mould").status == 12
        assert ask(m, "ps") == []
        assert m.run("dx info kid").status == 3


def check_ends(m):
    for child, (status, reason, code) in ENDS.items():
        m.check(f"dx run --kernel /mnt/{child} --name {child} --detach >/tmp/handle")
        waited = m.run(f"dx wait {child} --json")
        ended = json.loads(waited.output)
        assert (waited.status, ended["name"], ended["reason"], ended["code"]) == (status, child, reason, code)
    # The last counts; attached, run is told itself.
    m.check("dx run --kernel /mnt/exit7 --name a --detach; dx run --kernel /mnt/exit0 --name b --detach")
    assert m.run("dx wait b a --keep").status == 10 and m.run("dx wait a b").status == 0
    m.send("dx run --kernel /mnt/crash\n")
    m.expect(r"\[the child has ended\]\r*\n")
    m.expect(r"crash\r*\n")
    assert last_status(m) == 11


def check_victim(m):
    """A VM that cannot pay takes back what a child of its own has; without one it waits, until its parent raises the limit."""
    ask(m, "fork --name kid")
    with attached(m, "kid", escape="A"):
        ask(m, "fork --name spare")
        with attached(m, "spare", escape="B"):
            m.check("head -c 8m /dev/urandom >/tmp/spare")
    used = ask(m, "quota kid")["pages"]["used"]
    ask(m, f"quota kid pages={used + 512}")
    m.check("dx events >/tmp/events & echo $! >/tmp/pid; until ls -l /proc/$(cat /tmp/pid)/fd | grep -q /dev/diosix; do :; done")
    with attached(m, "kid", escape="A"):
        m.send("head -c 32m /dev/urandom >/tmp/more; dx wait spare; echo status''$?\n")
    m.wait_until("[[ $(</tmp/events) == *'kid stalled'* ]]")
    m.check("kill $(cat /tmp/pid)")
    ask(m, f"quota kid pages={used + 32768}")
    attach(m, "dx console kid --escape A")
    m.expect(r"spare: out of memory\r*\n")
    m.expect(r"status13\r*\n")
    detach(m, "\x01")
    assert not ask(m, "info kid")["stalled"]
    m.check("dx kill kid")


def test_ends(image, name, tinies):
    """Each way in which a child can end is told, and every page comes back."""
    with Machine(name, image(), args=device_args("mmio", tinies, net=False)) as m:
        m.login()
        m.check("mount -o ro /dev/vda /mnt")
        m.check("dx run --kernel /mnt/stays --detach --name stays; dx fork --name f; dx kill stays f")
        before = pages_used(m)
        check_ends(m)
        check_victim(m)
        assert ask(m, "ps") == []
        assert pages_used(m) == before


FORKS = 20
ROUNDS = 8  # with 256 superpages to split at most, nearly all of them in the first


def settle(m, forks):
    """A round of forks costs the Root VM nothing. One that shares its memory may cost a table: the first write to a superpage
    while a child has it splits it for good. So the use must stop to grow, which it never does if each fork loses a page."""
    used = [pages_used(m)]
    while len(used) < 2 or used[-1] != used[-2]:
        assert len(used) <= ROUNDS, f"pages are lost: {used}"
        assert forks()
        used.append(pages_used(m))


def test_forks_without_end(image, name):
    """Fork and kill from a shell, with devices (a full copy) and without, in a child and in the Root VM: not one page is lost."""
    with Machine(name, image(), args=device_args("mmio")) as m:
        m.login()
        again = "for i in $(seq {}); do dx kill $(dx fork) || break; done; echo $i"
        m.check("dx kill $(dx fork)")
        before = pages_used(m)
        assert m.check(again.format(FORKS // 2)) == str(FORKS // 2)
        assert pages_used(m) == before
        ask(m, "fork --name kid")
        with attached(m, "kid"):
            m.check(again.format(2))
            held = ask(m, "quota")["vms"]["used"]
            assert m.check(again.format(FORKS)) == str(FORKS)
            assert ask(m, "quota")["vms"]["used"] == held == 0
        m.check("dx kill kid")
        assert pages_used(m) == before
        m.check("dx drop-trust")
        settle(m, lambda: m.check(again.format(FORKS)) == str(FORKS))
