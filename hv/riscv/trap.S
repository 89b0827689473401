/* SPDX-License-Identifier: MIT */
/*
 * The exit path. mscratch holds the running VCPU's structure while a guest runs, and 0 in M-mode.
 *
 * Fast: the registers that C may clobber are saved, sbi_call() or exit_fast() deals with the trap and the guest goes on. Slow: if they could not, the rest of the integer registers, pc and mstatus are saved too, and
 * exit_slow() returns the VCPU to go on with, which may be another one. C never keeps state on the stack across a
 * return to a guest, so that each entry starts at the top of the PCPU's stack.
 *
 * gp is not touched by the hypervisor's C (no small-data relaxation), so the fast path leaves it alone.
 */
#include "riscv/csr.h"
#include "riscv/offsets.h"

.section .text.trap, "ax"

.balign 64
.global trap_entry
trap_entry:
	csrrw sp, CSR_MSCRATCH, sp
	beqz sp, trap_in_m_mode
	sd ra, VCPU_X(1)(sp)
	sd tp, VCPU_X(4)(sp)
	sd t0, VCPU_X(5)(sp)
	sd t1, VCPU_X(6)(sp)
	sd t2, VCPU_X(7)(sp)
	sd a0, VCPU_X(10)(sp)
	sd a1, VCPU_X(11)(sp)
	sd a2, VCPU_X(12)(sp)
	sd a3, VCPU_X(13)(sp)
	sd a4, VCPU_X(14)(sp)
	sd a5, VCPU_X(15)(sp)
	sd a6, VCPU_X(16)(sp)
	sd a7, VCPU_X(17)(sp)
	sd t3, VCPU_X(28)(sp)
	sd t4, VCPU_X(29)(sp)
	sd t5, VCPU_X(30)(sp)
	sd t6, VCPU_X(31)(sp)
	mv a0, sp
	csrrw t0, CSR_MSCRATCH, zero
	sd t0, VCPU_X(2)(a0)
	ld tp, VCPU_PCPU(a0)
	ld sp, PCPU_STACK_TOP(tp)
	csrr a1, CSR_MCAUSE
	li t0, CAUSE_ECALL_VS
	bne a1, t0, not_a_call
	csrr t0, CSR_MEPC
	addi t0, t0, 4
	csrw CSR_MEPC, t0
	call sbi_call
	ld t6, PCPU_CURRENT(tp)
	sd a0, VCPU_X(10)(t6)
	sd a1, VCPU_X(11)(t6)
	lw t0, VCPU_ACTION(t6)
	li t2, CAUSE_ECALL_VS
	bnez t0, exit_to_slow

/* t6 = VCPU; pc, mstatus and s0-s11, gp are in place. */
resume:
	csrw CSR_MSCRATCH, t6
	ld ra, VCPU_X(1)(t6)
	ld sp, VCPU_X(2)(t6)
	ld tp, VCPU_X(4)(t6)
	ld t0, VCPU_X(5)(t6)
	ld t1, VCPU_X(6)(t6)
	ld t2, VCPU_X(7)(t6)
	ld a0, VCPU_X(10)(t6)
	ld a1, VCPU_X(11)(t6)
	ld a2, VCPU_X(12)(t6)
	ld a3, VCPU_X(13)(t6)
	ld a4, VCPU_X(14)(t6)
	ld a5, VCPU_X(15)(t6)
	ld a6, VCPU_X(16)(t6)
	ld a7, VCPU_X(17)(t6)
	ld t3, VCPU_X(28)(t6)
	ld t4, VCPU_X(29)(t6)
	ld t5, VCPU_X(30)(t6)
	ld t6, VCPU_X(31)(t6)
	mret

not_a_call:
	call exit_fast
	ld t6, PCPU_CURRENT(tp)
	csrr t2, CSR_MCAUSE
	bnez a0, resume

/* t2 = mcause as it was at the trap. */
exit_to_slow:
	csrr t0, CSR_MEPC
	csrr t1, CSR_MSTATUS
	sd t0, VCPU_PC(t6)
	sd t1, VCPU_MSTATUS(t6)
	sd gp, VCPU_X(3)(t6)
	sd s0, VCPU_X(8)(t6)
	sd s1, VCPU_X(9)(t6)
	sd s2, VCPU_X(18)(t6)
	sd s3, VCPU_X(19)(t6)
	sd s4, VCPU_X(20)(t6)
	sd s5, VCPU_X(21)(t6)
	sd s6, VCPU_X(22)(t6)
	sd s7, VCPU_X(23)(t6)
	sd s8, VCPU_X(24)(t6)
	sd s9, VCPU_X(25)(t6)
	sd s10, VCPU_X(26)(t6)
	sd s11, VCPU_X(27)(t6)
	li s0, 0 /* the frame chain of the backtrace ends here */
	mv a0, t6
	mv a1, t2
	call exit_slow
	mv t6, a0

/* t6 = VCPU, loaded on this PCPU. */
resume_all:
	ld t0, VCPU_PC(t6)
	ld t1, VCPU_MSTATUS(t6)
	csrw CSR_MEPC, t0
	csrw CSR_MSTATUS, t1
	ld gp, VCPU_X(3)(t6)
	ld s0, VCPU_X(8)(t6)
	ld s1, VCPU_X(9)(t6)
	ld s2, VCPU_X(18)(t6)
	ld s3, VCPU_X(19)(t6)
	ld s4, VCPU_X(20)(t6)
	ld s5, VCPU_X(21)(t6)
	ld s6, VCPU_X(22)(t6)
	ld s7, VCPU_X(23)(t6)
	ld s8, VCPU_X(24)(t6)
	ld s9, VCPU_X(25)(t6)
	ld s10, VCPU_X(26)(t6)
	ld s11, VCPU_X(27)(t6)
	j resume

/* void enter_guest(struct vcpu *v): the first entry on a PCPU; drops the stack it was called on. */
.global enter_guest
enter_guest:
	mv t6, a0
	j resume_all

/*
 * A trap in M-mode: an expected fault of a guarded instruction, which is skipped, or our own bug. Nothing here uses the
 * stack, which may be what is broken. On entry mscratch = the interrupted sp, sp = 0.
 */
trap_in_m_mode:
	csrrw sp, CSR_MSCRATCH, sp
	sd t0, PCPU_SCRATCH(tp)
	ld t0, PCPU_GUARD(tp)
	beqz t0, fatal_trap
	csrr t0, CSR_MCAUSE
	addi t0, t0, 1
	sd t0, PCPU_FAULTED(tp)
	csrr t0, CSR_MEPC
	addi t0, t0, 4
	csrw CSR_MEPC, t0
	ld t0, PCPU_SCRATCH(tp)
	mret

/* Saves every register where the report finds them and goes to a stack of its own. */
fatal_trap:
	la t0, panic_regs
	sd x1, 8(t0)
	sd x2, 16(t0)
	sd x3, 24(t0)
	sd x4, 32(t0)
	sd x6, 48(t0)
	ld t1, PCPU_SCRATCH(tp)
	sd t1, 40(t0)
	sd x7, 56(t0)
	sd x8, 64(t0)
	sd x9, 72(t0)
	sd x10, 80(t0)
	sd x11, 88(t0)
	sd x12, 96(t0)
	sd x13, 104(t0)
	sd x14, 112(t0)
	sd x15, 120(t0)
	sd x16, 128(t0)
	sd x17, 136(t0)
	sd x18, 144(t0)
	sd x19, 152(t0)
	sd x20, 160(t0)
	sd x21, 168(t0)
	sd x22, 176(t0)
	sd x23, 184(t0)
	sd x24, 192(t0)
	sd x25, 200(t0)
	sd x26, 208(t0)
	sd x27, 216(t0)
	sd x28, 224(t0)
	sd x29, 232(t0)
	sd x30, 240(t0)
	sd x31, 248(t0)
	la sp, panic_stack + PANIC_STACK
	mv a0, t0
	call panic_trap
