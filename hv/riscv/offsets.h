/* SPDX-License-Identifier: MIT */
/* Offsets into struct vcpu and struct pcpu that assembly uses; riscv/vcpu.c asserts each. */
#pragma once

#define VCPU_PCPU    0
#define VCPU_CALLS   8
#define VCPU_X(n)    (48 + (n)*8)
#define VCPU_PC      304
#define VCPU_MSTATUS 312
#define VCPU_ACTION  320

#define PCPU_CURRENT   0
#define PCPU_STACK_TOP 8
#define PCPU_GUARD     16
#define PCPU_FAULTED   24
#define PCPU_SCRATCH   32
#define PCPU_HARTID    40

#define STACK_SIZE  16384
#define PANIC_STACK 8192
