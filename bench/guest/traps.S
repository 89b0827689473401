/* SPDX-License-Identifier: MIT */
/* See traps.h. The handlers are as short as can be: what is measured is the way to them. */
#define CSR_STIMECMP 0x14d
#define EID_TIME     0x54494d45
#define SLED	     99
#define AHEAD	     40 /* ticks from the setting of a timer to its deadline */

.text
.option norvc

.balign 4
.global on_ipi
on_ipi:
	csrci sip, 2
	addi gp, gp, 1
	sret

.balign 4
.global on_timer_sbi
on_timer_sbi:
	li a0, -1
	li a6, 0
	li a7, EID_TIME
	ecall
	addi gp, gp, 1
	sret

.balign 4
.global on_timer_csr
on_timer_csr:
	li t6, -1
	csrw CSR_STIMECMP, t6
	addi gp, gp, 1
	sret

.balign 4
.global on_exception
on_exception:
	csrr t6, sepc
	addi t6, t6, 4
	csrw sepc, t6
	addi gp, gp, 1
	sret

/* The end of each sample: t5 points into the sled. t6 = the time, late. */
.balign 4
reached:
	jr t5
	.rept SLED
	nop
	.endr
sled_end:
	rdtime t6
	sub a0, t6, t2
	/* No longer needed; in the handler this also keeps it from coming again. */
	csrw sie, zero
	csrci sstatus, 2
	jr t4

/* a0 = phase, a1 = late. Returns to t4 with t2 = the deadline, at the given phase of the clock's tick. */
prepare:
	la t5, sled_end
	slli a1, a1, 2
	sub t5, t5, a1
	la t3, phase_end
	slli a0, a0, 2
	sub t3, t3, a0
	rdtime t0
1:	rdtime t1
	beq t0, t1, 1b
	jr t3
	.rept SLED
	nop
	.endr
phase_end:
	addi t2, t1, AHEAD
	jr t4

.macro set_timer_sbi
	mv a0, t2
	li a6, 0
	li a7, EID_TIME
	ecall
.endm

.macro set_timer_csr
	csrw CSR_STIMECMP, t2
.endm

.macro enable_timer
	li t6, 32
	csrw sie, t6
.endm

.macro sample name, set, wait
.global \name
\name:
	jal t4, prepare
	\set
	la t6, reached
	csrw stvec, t6
	mv t4, ra
	enable_timer
	\wait
.endm

/* The handler does not return but ends the sample. */
.macro wait_irq
	csrsi sstatus, 2
1:	j 1b
.endm

.macro wait_wfi
	wfi
	jr t5
.endm

sample sample_irq_sbi, set_timer_sbi, wait_irq
sample sample_irq_csr, set_timer_csr, wait_irq
sample sample_wfi_sbi, set_timer_sbi, wait_wfi
sample sample_wfi_csr, set_timer_csr, wait_wfi
