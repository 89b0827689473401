/* SPDX-License-Identifier: MIT */
/*
 * The smallest child: one SBI call, given by the assembler's command line: its EID, its FID and two
 * arguments. If it comes back, the hart spins.
 */
	.globl	_start
_start:
	li	a7, EID
	li	a6, FID
	li	a0, ARG0
	li	a1, ARG1
	ecall
1:	j	1b
