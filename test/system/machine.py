# SPDX-License-Identifier: MIT
"""A machine under QEMU and what a user does at its console: the harness of the system tests.

Nothing here depends on speed. A deadline (HANG) only ends what hangs, and is the same for all. Every machine is ended by
its process id, and its console is kept in build/test-logs/.
"""

import os
import re
import signal
import subprocess
from collections import namedtuple
from pathlib import Path

import pexpect

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build")).absolute()
LOGS = BUILD / "test-logs"
QEMU = os.environ.get("QEMU", "qemu-system-riscv64")
HV = {"release": BUILD / "hv.elf", "debug": BUILD / "debug" / "hv.elf"}
KERNEL = BUILD / "guest" / "Image"
INITRD = BUILD / "guest" / "initramfs.cpio"
BOOTARGS = "console=hvc0 earlycon=sbi panic=1"
HANG = 180  # seconds

Result = namedtuple("Result", "output status")


def mkimage(out, *, build="release", kernel=KERNEL, initrd=INITRD, append=BOOTARGS, options=()):
    """Packs an image and returns its path."""
    command = [ROOT / "scripts/mkimage", "--hypervisor", HV[build], "--kernel", kernel, "--append", append, "-o", out]
    command += ["--initrd", initrd] if initrd else []
    subprocess.run([*map(str, command), *map(str, options)], check=True)
    return out


class Machine:
    """One QEMU. Use as a context manager, or call kill()."""

    live = []  # for the report of a test that failed
    backend = None  # of conftest.backend: what machines of "virt" have to be

    def __init__(self, name, image, *, harts=2, mem="2G", cpu="rv64", machine="virt", loader="kernel", args=()):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / (re.sub(r"[^\w.-]+", "_", name) + ".log")
        if self.backend and machine == "virt":
            cpu += "" if self.backend == "gstage" else ",h=false"
            args = [*args, "-append", f"backend={self.backend}"]
        load = ["-bios", "none", "-kernel", image] if loader == "kernel" else ["-bios", image]
        self.command = [QEMU, "-M", machine, "-smp", harts, "-m", mem, *load, "-display", "none"]
        self.command += ["-cpu", cpu] if cpu else []  # a board has its own
        self.command += ["-monitor", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        self.command = [str(word) for word in [*self.command, *args]]
        self.marks = 0
        self.qemu = None
        self.file = None

    def __enter__(self):
        self.file = open(self.log, "w", encoding="utf-8", errors="replace", newline="")
        self.file.write(" ".join(self.command) + "\n")
        self.qemu = pexpect.spawn(self.command[0], self.command[1:], timeout=HANG, encoding="utf-8",
                                  codec_errors="replace", maxread=1 << 16, dimensions=(24, 200))
        self.qemu.delaybeforesend = None
        self.qemu.logfile_read = self.file
        Machine.live.append(self)
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends QEMU if it has not ended by itself."""
        if self in Machine.live:
            Machine.live.remove(self)
        self.qemu.kill(signal.SIGKILL)
        self.qemu.close(force=True)
        self.file.close()

    def cpu_time(self):
        """What QEMU has used of the CPUs, in ticks: utime and stime of proc(5)."""
        fields = Path(f"/proc/{self.qemu.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # --- the console --------------------------------------------------------------------------

    @property
    def console(self):
        """All that the console has shown, with plain line ends."""
        self.file.flush()
        return re.sub("\r+\n?", "\n", self.log.read_bytes().decode(errors="replace").split("\n", 1)[1])

    def tail(self, lines=40):
        """The command line and the last lines of the console."""
        return " ".join(self.command) + "\n" + "\n".join(self.console.splitlines()[-lines:])

    def expect(self, pattern):
        """Waits until the console shows a pattern; returns the match. The hypervisor's or the kernel's end, where it is not
        what the pattern is about, fails at once."""
        at = self.qemu.expect([pattern, r"\[diosix\] (cannot run here|BUG on|fatal trap)[^\n]*\n", r"Kernel panic[^\n]*\n"])
        assert at == 0, self.qemu.match[0].strip()
        return self.qemu.match

    def send(self, text):
        """Types."""
        self.qemu.send(text)

    def wait_exit(self):
        """Waits until QEMU ends by itself; its exit status."""
        self.expect(pexpect.EOF)
        self.qemu.close()
        return self.qemu.exitstatus

    # --- the Root VM's Linux ------------------------------------------------------------------

    def login(self):
        """From the start of a boot to a shell that neither prompts nor echoes; returns the text up to the prompt."""
        self.expect(r"\S login: ")  # the kernel may say something behind it
        boot = self.qemu.before
        self.send("root\n")
        self.expect(r"root@\S+ ~ # ")
        # Without the line editor's echo and redrawing, the output of a command is only its output.
        # Nothing is typed ahead meanwhile: the line editor would take it with it.
        # zselect is wait_until()'s: a sleep that is no process.
        self.send("unsetopt zle monitor; stty -echo; PS1= PS2=; zmodload zsh/zselect; dmesg -n 1; echo '@@''ready'\n")
        self.expect(r"@@ready\r*\n")
        self.run("true")
        return boot

    def start(self, command):
        """Runs a command without waiting for its end; finish() does that."""
        self.marks += 1
        # One compound command, which the shell has read to its end before it begins: what would be typed ahead of a fork,
        # both sides of it would have, whole or half. The mark as typed never equals the mark as printed.
        self.send(f'{{ {command}\n}}; echo "@@""{self.marks}:$?@@"\n')

    def finish(self):
        """The output and exit status of the command that start() began."""
        status = int(self.expect(rf"@@{self.marks}:(\d+)@@\r*\n")[1])
        lines = re.sub("\r+\n", "\n", self.qemu.before).splitlines()
        output = "\n".join(line for line in lines if not line.startswith("[diosix] "))
        return Result(output, status)

    def run(self, command):
        """Runs a command in the guest's shell."""
        self.start(command)
        return self.finish()

    def check(self, command):
        """Runs a command that must succeed; its output without white space around it."""
        result = self.run(command)
        assert result.status == 0, f"{command}: exit status {result.status}\n{result.output}"
        return result.output.strip()

    def wait_until(self, condition):
        """Waits until a command of the guest succeeds. A process costs an emulated machine more than what is waited for, so
        the condition is one of builtins where it can be."""
        self.check(f"until {condition}; do zselect -t 10 || :; done")
