/* SPDX-License-Identifier: MIT */
/* Offsets into struct vcpu and struct pcpu that assembly uses, as symbols; riscv/vcpu.c asserts
 * each. */
#pragma once

#define ASM_OFFSETS(X)                                                                             \
	X(VCPU_PCPU, vcpu, pcpu, 0)                                                                \
	X(VCPU_CALLS, vcpu, exits[DX_EXIT_CALL], 8)                                                \
	X(VCPU_REGS, vcpu, x, 48)                                                                  \
	X(VCPU_PC, vcpu, pc, 304)                                                                  \
	X(VCPU_MSTATUS, vcpu, mstatus, 312)                                                        \
	X(VCPU_ACTION, vcpu, action, 320)                                                          \
	X(PCPU_CURRENT, pcpu, current, 0)                                                          \
	X(PCPU_STACK_TOP, pcpu, stack_top, 8)                                                      \
	X(PCPU_GUARD, pcpu, guard, 16)                                                             \
	X(PCPU_FAULTED, pcpu, faulted, 24)                                                         \
	X(PCPU_SCRATCH, pcpu, scratch, 32)                                                         \
	X(PCPU_HARTID, pcpu, hartid, 40)

#ifdef __ASSEMBLER__
#define SET_OFFSET(symbol, type, field, offset) .set symbol, offset;
ASM_OFFSETS(SET_OFFSET)
#define VCPU_X(n) (VCPU_REGS + (n)*8)
#endif

#define STACK_SIZE  16384
#define PANIC_STACK 8192
