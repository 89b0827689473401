# SPDX-License-Identifier: MIT
"""Runs QEMU until the guest switches the machine off, and returns what it printed."""

import os
import subprocess
import time

ICOUNT = ("-icount", "shift=0,sleep=off")
NS_PER_TICK = 100  # of the time CSR of QEMU's machines; under icount a nanosecond is an instruction
GIVE_UP = 900  # seconds; only a guest that hangs takes so long


class Failed(Exception):
    """The one message that says why."""


def run(image, *options, cpu="rv64", smp=1, mem="512M", icount=True, plugin=None):
    """`image` is an ELF for M-mode when it ends so, else the payload of QEMU's own firmware."""
    command = ["qemu-system-riscv64", "-M", "virt", "-cpu", cpu, "-smp", str(smp), "-m", mem, "-seed", "1"]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]
    command += ["-bios", "none"] if image.endswith(".elf") else []
    command += ICOUNT if icount else ()
    command += ["-plugin", plugin] if plugin else []
    command += ["-kernel", image, *options]
    # On a timeout this kills with SIGKILL: under sleep=off an idle guest does not hear SIGTERM.
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIVE_UP, check=False)
    except subprocess.TimeoutExpired as e:
        raise Failed(f"the guest hangs: {' '.join(command)}\n{tail(e.stdout)}") from None
    if done.returncode:
        raise Failed(f"QEMU failed: {' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace").replace("\r", "")


def tail(output):
    return "\n".join((output or b"").decode(errors="replace").splitlines()[-20:])


def version():
    return subprocess.run(["qemu-system-riscv64", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


def firmware_version(output):
    """From the banner of the firmware that QEMU loads by default."""
    for line in output.splitlines():
        if line.startswith("OpenSBI"):
            return line.strip()
    raise Failed(f"not the firmware that was expected: {tail(output.encode())}")


def mkimage(setup, output, kernel, *options):
    """Packs the hypervisor with a kernel for the Root VM."""
    command = [os.path.join(setup.top, "scripts", "mkimage"), "--hypervisor", setup.hypervisor, "--kernel", kernel]
    done = subprocess.run(command + [*options, "-o", output], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.strip())
    return output


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
