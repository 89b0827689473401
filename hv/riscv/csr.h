/* SPDX-License-Identifier: MIT */
/* CSR numbers and fields that Diosix uses, and access to them. Numbers instead of names, since the
 * assembler's knowledge of names differs by version. Source: Privileged ISA 20240411 and the
 * extensions named beside them. */
#pragma once

#define CSR_FCSR       0x003
#define CSR_VSTART     0x008
#define CSR_VCSR       0x00f
#define CSR_SIE        0x104
#define CSR_STVEC      0x105
#define CSR_SCOUNTEREN 0x106
#define CSR_SENVCFG    0x10a
#define CSR_SSTATEEN0  0x10c
#define CSR_SSCRATCH   0x140
#define CSR_SEPC       0x141
#define CSR_SCAUSE     0x142
#define CSR_STVAL      0x143
#define CSR_STIMECMP   0x14d /* Sstc */
#define CSR_SISELECT   0x150 /* Ssaia */
#define CSR_SATP       0x180
#define CSR_VSSTATUS   0x200
#define CSR_VSIE       0x204
#define CSR_VSTVEC     0x205
#define CSR_VSSCRATCH  0x240
#define CSR_VSEPC      0x241
#define CSR_VSCAUSE    0x242
#define CSR_VSTVAL     0x243
#define CSR_VSTIMECMP  0x24d /* Sstc */
#define CSR_VSISELECT  0x250 /* Ssaia */
#define CSR_VSATP      0x280
#define CSR_MSTATUS    0x300
#define CSR_MISA       0x301
#define CSR_MEDELEG    0x302
#define CSR_MIDELEG    0x303
#define CSR_MIE        0x304
#define CSR_MTVEC      0x305
#define CSR_MCOUNTEREN 0x306
#define CSR_MENVCFG    0x30a
#define CSR_MSTATEEN0  0x30c /* Smstateen */
#define CSR_MSCRATCH   0x340
#define CSR_MEPC       0x341
#define CSR_MCAUSE     0x342
#define CSR_MTVAL      0x343
#define CSR_MIP        0x344
#define CSR_MTINST     0x34a
#define CSR_MTVAL2     0x34b
#define CSR_PMPCFG0    0x3a0
#define CSR_PMPCFG2    0x3a2
#define CSR_PMPADDR0   0x3b0
#define CSR_HSTATUS    0x600
#define CSR_HEDELEG    0x602
#define CSR_HIDELEG    0x603
#define CSR_HIE        0x604
#define CSR_HTIMEDELTA 0x605
#define CSR_HCOUNTEREN 0x606
#define CSR_HGEIE      0x607
#define CSR_HENVCFG    0x60a
#define CSR_HSTATEEN0  0x60c
#define CSR_HVIP       0x645
#define CSR_HGATP      0x680
#define CSR_TIME       0xc01
#define CSR_VL         0xc20
#define CSR_VTYPE      0xc21
#define CSR_VLENB      0xc22
#define CSR_SEED       0x015 /* Zkr */

#define MSTATUS_SIE      (UINT64_C(1) << 1)
#define MSTATUS_SPIE     (UINT64_C(1) << 5)
#define MSTATUS_SPP      (UINT64_C(1) << 8)
#define MSTATUS_VS       (UINT64_C(3) << 9)
#define MSTATUS_MPP_S    (UINT64_C(1) << 11)
#define MSTATUS_FS       (UINT64_C(3) << 13)
#define MSTATUS_SUM      (UINT64_C(1) << 18)
#define MSTATUS_MXR      (UINT64_C(1) << 19)
#define MSTATUS_TVM      (UINT64_C(1) << 20)
#define MSTATUS_TW       (UINT64_C(1) << 21)
#define MSTATUS_XL_64    (UINT64_C(10) << 32) /* UXL and SXL */
#define MSTATUS_MPV      (UINT64_C(1) << 39)
#define MSTATUS_MDT      (UINT64_C(1) << 42) /* Smdbltrp */
#define MSTATUS_FS_CLEAN (UINT64_C(2) << 13)
#define MSTATUS_VS_CLEAN (UINT64_C(2) << 9)

#define HSTATUS_SPVP    (UINT64_C(1) << 8)
#define HSTATUS_VTW     (UINT64_C(1) << 21)
#define HSTATUS_VSXL_64 (UINT64_C(2) << 32)

#define SATP_MODE_SHIFT 60
#define SATP_SV39       8
#define SATP_ASIDS      (UINT64_C(0xffff) << 44)
#define SATP_ASIDS_MIN  (UINT64_C(0xff) << 44) /* that many are enough */

#define HGATP_SV39X4     (UINT64_C(8) << 60)
#define HGATP_VMID_SHIFT 44
#define HGATP_VMID_MASK  UINT64_C(0x3fff)

#define ENVCFG_CBIE_FLUSH (UINT64_C(1) << 4) /* cbo.inval does a flush */
#define ENVCFG_CBCFE      (UINT64_C(1) << 6)
#define ENVCFG_CBZE       (UINT64_C(1) << 7)
#define ENVCFG_ADUE       (UINT64_C(1) << 61)
#define ENVCFG_PBMTE      (UINT64_C(1) << 62)
#define ENVCFG_STCE       (UINT64_C(1) << 63)

#define COUNTEREN_CY (UINT64_C(1) << 0)
#define COUNTEREN_TM (UINT64_C(1) << 1)
#define COUNTEREN_IR (UINT64_C(1) << 2)

#define CAUSE_INTERRUPT (UINT64_C(1) << 63)
#define IRQ_VSSI        2
#define IRQ_MSI         3
#define IRQ_VSTI        6
#define IRQ_MTI         7
#define IRQ_VSEI        10
#define IRQ_MEI         11
#define IRQ_SGEI        12

#define VS_INTERRUPTS (BIT(IRQ_VSSI) | BIT(IRQ_VSTI) | BIT(IRQ_VSEI))

#define CAUSE_INSN_MISALIGNED  0
#define CAUSE_INSN_ACCESS      1
#define CAUSE_ILLEGAL_INSN     2
#define CAUSE_BREAKPOINT       3
#define CAUSE_LOAD_MISALIGNED  4
#define CAUSE_LOAD_ACCESS      5
#define CAUSE_STORE_MISALIGNED 6
#define CAUSE_STORE_ACCESS     7
#define CAUSE_ECALL_VU         8
#define CAUSE_ECALL_S          9
#define CAUSE_ECALL_VS         10
#define CAUSE_INSN_PAGE        12
#define CAUSE_LOAD_PAGE        13
#define CAUSE_STORE_PAGE       15
#define CAUSE_SOFTWARE_CHECK   18
#define CAUSE_INSN_GUEST_PAGE  20
#define CAUSE_LOAD_GUEST_PAGE  21
#define CAUSE_VIRTUAL_INSN     22
#define CAUSE_STORE_GUEST_PAGE 23

#ifndef __ASSEMBLER__
#include "core/compiler.h"

#define csr_read(csr)                                                                              \
	({                                                                                         \
		uint64_t csr_v_;                                                                   \
		__asm__ volatile("csrr %0, %1" : "=r"(csr_v_) : "i"(csr) : "memory");              \
		csr_v_;                                                                            \
	})
#define csr_write(csr, v) __asm__ volatile("csrw %0, %1" ::"i"(csr), "rK"((uint64_t)(v)) : "memory")
#define csr_set(csr, v)   __asm__ volatile("csrs %0, %1" ::"i"(csr), "rK"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc %0, %1" ::"i"(csr), "rK"((uint64_t)(v)) : "memory")
#endif
