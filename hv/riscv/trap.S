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

/* What C clobbers, but ra, sp, tp, a0, a1 and t6; and what it keeps. */
.macro fast_registers op, base
	.irp n, 5,6,7,12,13,14,15,16,17,28,29,30
	\op x\n, VCPU_X(\n)(\base)
	.endr
.endm

.macro slow_registers op, base
	.irp n, 3,8,9,18,19,20,21,22,23,24,25,26,27
	\op x\n, VCPU_X(\n)(\base)
	.endr
.endm

.section .text.trap, "ax"

.balign 64
.global trap_entry
trap_entry:
	csrrw sp, mscratch, sp
	beqz sp, trap_in_m_mode
	sd ra, VCPU_X(1)(sp)
	sd tp, VCPU_X(4)(sp)
	fast_registers sd, sp
	sd a0, VCPU_X(10)(sp)
	sd a1, VCPU_X(11)(sp)
	sd t6, VCPU_X(31)(sp)
	mv a0, sp
	csrrw t0, mscratch, zero
	sd t0, VCPU_X(2)(a0)
	ld tp, VCPU_PCPU(a0)
	ld sp, PCPU_STACK_TOP(tp)
	csrr a1, mcause
	li t0, CAUSE_ECALL_VS
	bne a1, t0, not_from_vs
is_a_call:
	csrr t0, mepc
	addi t0, t0, 4
	csrw mepc, t0
	ld t0, VCPU_CALLS(a0)
	addi t0, t0, 1
	sd t0, VCPU_CALLS(a0)
	call sbi_call
	ld t6, PCPU_CURRENT(tp)
	lw t0, VCPU_ACTION(t6)
	beqz t0, resume_call
	sd a0, VCPU_X(10)(t6)
	sd a1, VCPU_X(11)(t6)
	li t2, CAUSE_ECALL_VS
	j exit_to_slow

/* t6 = VCPU; pc, mstatus and s0-s11, gp are in place. */
resume:
	ld a0, VCPU_X(10)(t6)
	ld a1, VCPU_X(11)(t6)
/* And a0, a1, the answer of a call. */
resume_call:
	csrw mscratch, t6
	ld ra, VCPU_X(1)(t6)
	ld sp, VCPU_X(2)(t6)
	ld tp, VCPU_X(4)(t6)
	fast_registers ld, t6
	ld t6, VCPU_X(31)(t6)
	mret

not_from_vs:
	li t0, CAUSE_ECALL_S
	beq a1, t0, is_a_call
	call exit_fast
	ld t6, PCPU_CURRENT(tp)
	csrr t2, mcause
	bnez a0, resume

/* t2 = mcause as it was at the trap. */
exit_to_slow:
	csrr t0, mepc
	csrr t1, mstatus
	sd t0, VCPU_PC(t6)
	sd t1, VCPU_MSTATUS(t6)
	slow_registers sd, t6
	li s0, 0 /* the frame chain of the backtrace ends here */
	mv a0, t6
	mv a1, t2
	call exit_slow

/* a0 = VCPU, loaded on this PCPU. void enter_guest(struct vcpu *v): the first entry on a PCPU; drops the stack it was called on. */
.global enter_guest
enter_guest:
	mv t6, a0
	ld t0, VCPU_PC(t6)
	ld t1, VCPU_MSTATUS(t6)
	csrw mepc, t0
	csrw mstatus, t1
	slow_registers ld, t6
	j resume

/*
 * A trap in M-mode: an expected fault of a guarded instruction, which is skipped, or our own bug. Nothing here uses the
 * stack, which may be what is broken. On entry mscratch = the interrupted sp, sp = 0.
 */
trap_in_m_mode:
	csrrw sp, mscratch, sp
	sd t0, PCPU_SCRATCH(tp)
	ld t0, PCPU_GUARD(tp)
	beqz t0, fatal_trap
	csrr t0, mcause
	addi t0, t0, 1
	sd t0, PCPU_FAULTED(tp)
	csrr t0, mepc
	addi t0, t0, 4
	csrw mepc, t0
	ld t0, PCPU_SCRATCH(tp)
	mret

/* Saves every register where the report finds them and goes to a stack of its own. */
fatal_trap:
	la t0, panic_regs
	.irp n, 1,2,3,4,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	sd x\n, 8*\n(t0)
	.endr
	ld t1, PCPU_SCRATCH(tp)
	sd t1, 40(t0)
	la sp, panic_stack + PANIC_STACK
	mv a0, t0
	call panic_trap
