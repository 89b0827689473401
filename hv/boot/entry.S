/* SPDX-License-Identifier: MIT */
/*
 * Where the ROM's jump arrives: every hart, in M-mode, a0 = hart id, a1 = host device tree. The first to draw the lottery
 * boots; the others wait for an MSI and then for their PCPU structure.
 */
#include "riscv/csr.h"
#include "riscv/offsets.h"

.section .text.entry, "ax"
.global _start
_start:
	/* Smdbltrp and Smrnmi: allow traps in M-mode. On harts without them the first changes nothing and the
	 * second traps, to where it goes on anyway. mtvec wants 4-byte alignment. */
	li t0, 1 << 42
	csrc mstatus, t0
	la t1, 1f
	csrw mtvec, t1
	csrw mie, zero
	.insn i 0x73, 6, x0, x8, 0x744 /* csrsi mnstatus, NMIE */
.balign 4
1:	csrc mstatus, t0 /* the trap has set MDT, where there is Smdbltrp */
	la t0, trap_entry
	csrw mtvec, t0
	csrw mscratch, zero
	li s0, 0 /* the frame pointer: where backtraces end */
	/* A hart that says it has no S-mode takes no part in the lottery; misa may also be zero. */
	csrr t0, misa
	beqz t0, 1f
	slli t0, t0, 63 - 18
	bgez t0, park
1:
	la t0, boot_lottery
	li t1, 1
	amoadd.w t0, t1, (t0)
	bnez t0, secondary_wait

	/* .bss is zeroed by us: not every loader does. */
	la t0, bss_start
	la t1, bss_end
1:	sd zero, 0(t0)
	addi t0, t0, 8
	bltu t0, t1, 1b
	la tp, boot_area + 4096 + STACK_SIZE
	mv sp, tp
	sd sp, PCPU_STACK_TOP(tp)
	sd a0, PCPU_HARTID(tp)
	call boot_main

/* mie.MSIE makes wfi return on an MSI; mstatus.MIE stays 0, so that none is taken as a trap. */
secondary_wait:
	csrwi mie, 8
1:	wfi
	lw t0, secondary_go
	beqz t0, 1b
	fence r, rw
	csrw mie, zero
	la t0, pcpus
2:	ld tp, 0(t0) /* NULL behind the last */
	addi t0, t0, 8
	beqz tp, park
	ld t1, PCPU_HARTID(tp)
	bne t1, a0, 2b
	ld sp, PCPU_STACK_TOP(tp)
	call secondary_main

/* Harts that cannot host a VM, and those that the machine's tree does not list. */
park:
	csrw mie, zero
1:	wfi
	j 1b

.section .data
.balign 8
boot_lottery:
	.word 0
.global secondary_go
secondary_go:
	.word 0
