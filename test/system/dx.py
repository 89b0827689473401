# SPDX-License-Identifier: MIT
"""What the tests of dx share: its answers, the consoles of children, disks with files."""

import json
import subprocess
from contextlib import contextmanager


def ask(machine, command):
    """The answer of a dx command, read from its JSON."""
    return json.loads(machine.check(f"dx {command} --json"))


def last_status(machine):
    """The exit status of the command that was typed with send(), because it reads what is typed after it."""
    return machine.run("(exit $?)").status


def attach(machine, command):
    """Types a command that attaches to a child's console."""
    machine.send(command + "\n")
    machine.expect(r"\[attached: .* detaches\]\r*\n")


def detach(machine, key="\x1d"):
    """Presses the key, and is back in the parent's shell."""
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


def pages_used(machine):
    """All that the VM and its subtree are charged with, when there was a child before: the table of children stays."""
    return ask(machine, "quota")["pages"]["used"]


def disk_with(folder, files, size="64M"):
    """A disk with an ext4 file system that holds files: name -> contents."""
    (folder / "files").mkdir()
    for name, contents in files.items():
        (folder / "files" / name).write_bytes(contents)
        (folder / "files" / name).chmod(0o755)
    disk = folder / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "files", disk, size], check=True)
    return disk
