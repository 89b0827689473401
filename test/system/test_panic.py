# SPDX-License-Identifier: MIT
"""The hypervisor's own faults, made with a debugger: there is no other way in. If one of these failed, a mistake of the
hypervisor would go on silently, or end without a word: its locked PMP entries would not bind it, or the report would
lack the registers, the cause or the backtrace.
"""

import subprocess

import pytest

from machine import HV, Machine

# All stop one PCPU in the hypervisor, with a VCPU in a0, and change its registers.
FAULTS = {
    "bad_pointer": ("set $a0=0x10", "0x5", "(?:at|called from)", "exit_slow"),
    "write_text": ("set $a0=(long)&text_start\nset $a1=0\nset $a2=64\nset $pc=memset", "0x7", "at", "memset"),
    "write_constants": ("set $a0=(long)&text_end\nset $a1=0\nset $a2=64\nset $pc=memset", "0x7", "at", "memset"),
    "execute_data": ("set $pc=(long)&machine", "0x1", "ra", "enter_guest"),  # to which exit_slow returns
    "stack_overflow": ("set $sp=pcpus[0]->stack_top-16384", "0x7", "at", "exit_slow"),
}


def break_it(socket, commands):
    """Attaches to QEMU, stops at exit_slow (not behind its prologue), gives the debugger's commands and lets go."""
    script = ["set confirm off", "set pagination off", f"target remote {socket}", "hbreak *exit_slow", "continue", "delete",
              *commands.split("\n"), "detach"]
    options = [word for line in script for word in ("-ex", line)]
    done = subprocess.run(["gdb-multiarch", "-q", "-nx", "-batch", *options, str(HV["release"])], capture_output=True,
                          text=True, timeout=120, check=False)
    assert "Breakpoint 1" in done.stdout, done.stdout + done.stderr


def expect_in(m, what, function):
    """One of the addresses that the report gives next as `what` lies in a function of the hypervisor, or one inlined in it."""
    while True:
        address = m.expect(rf"{what} (0x\w+)\r*\n")[1]
        done = subprocess.run(["riscv64-linux-gnu-addr2line", "-fi", "-e", HV["release"], address], capture_output=True, text=True, check=True)
        if function in done.stdout.split():
            return


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_reported_and_the_machine_restarts(name, image, tmp_path, fault):
    commands, cause, what, function = FAULTS[fault]
    socket = tmp_path / "gdb"
    args = ["-gdb", f"unix:{socket},server=on,wait=off", "-S"]
    with Machine(name, image(), harts=1, args=args) as m:
        while not socket.exists():
            assert m.qemu.isalive()
        break_it(socket, commands)
        m.qemu.expect(rf"fatal trap in the hypervisor on PCPU 0 \(hart 0\): mcause {cause} mtval")
        m.qemu.expect(r"x04 \w{16}")
        expect_in(m, what, function)
        m.qemu.expect("restarting")
        m.qemu.expect("Diosix .* on riscv-virtio")


def test_bug_names_the_place(name, image, tmp_path):
    socket = tmp_path / "gdb"
    args = ["-gdb", f"unix:{socket},server=on,wait=off", "-S", "-no-reboot"]
    with Machine(name, image(), harts=1, args=args) as m:
        while not socket.exists():
            assert m.qemu.isalive()
        break_it(socket, "set $a0=machine.model\nset $a2=machine.model\nset $a1=42\nset $ra=exit_slow\nset $pc=bug")
        m.qemu.expect("BUG on PCPU 0: riscv-virtio,qemu:42: riscv-virtio,qemu")
        expect_in(m, "at", "exit_slow")
        m.qemu.expect("restarting")
        assert m.wait_exit() == 0
