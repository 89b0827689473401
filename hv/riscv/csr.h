/* SPDX-License-Identifier: MIT */
/* Fields of the CSRs that Diosix uses, and access to CSRs, by the names that the assembler knows
 * (binutils 2.40). Source: Privileged ISA 20240411 and the extensions named beside them. */
#pragma once

#define MSTATUS_SIE      (UINT64_C(1) << 1)
#define MSTATUS_SPIE     (UINT64_C(1) << 5)
#define MSTATUS_SPP      (UINT64_C(1) << 8)
#define MSTATUS_VS       (UINT64_C(3) << 9)
#define MSTATUS_MPP_S    (UINT64_C(1) << 11)
#define MSTATUS_FS       (UINT64_C(3) << 13)
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

#define SATP_ASIDS     (UINT64_C(0xffff) << 44)
#define SATP_ASIDS_MIN (UINT64_C(0xff) << 44) /* that many are enough */

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
#define CAUSE_VIRTUAL_INSN     22

/* Sets of exceptions. Those that a guest always handles itself: */
#define OWN_EXCEPTIONS                                                                             \
	(BIT(CAUSE_INSN_MISALIGNED) | BIT(CAUSE_BREAKPOINT) | BIT(CAUSE_LOAD_MISALIGNED) |         \
		BIT(CAUSE_STORE_MISALIGNED) | BIT(CAUSE_ECALL_VU) | BIT(CAUSE_SOFTWARE_CHECK))
#define ACCESS_FAULTS (BIT(CAUSE_INSN_ACCESS) | BIT(CAUSE_LOAD_ACCESS) | BIT(CAUSE_STORE_ACCESS))
#define PAGE_FAULTS   (BIT(CAUSE_INSN_PAGE) | BIT(CAUSE_LOAD_PAGE) | BIT(CAUSE_STORE_PAGE))

#ifndef __ASSEMBLER__
#include "core/compiler.h"

#define csr_read(csr)                                                                              \
	({                                                                                         \
		uint64_t csr_v_;                                                                   \
		__asm__ volatile("csrr %0, " #csr : "=r"(csr_v_)::"memory");                       \
		csr_v_;                                                                            \
	})
#define csr_change(insn, v) ({ __asm__ volatile(insn ", %0" ::"rK"((uint64_t)(v)) : "memory"); })
#define csr_write(csr, v)   csr_change("csrw " #csr, v)
#define csr_set(csr, v)     csr_change("csrs " #csr, v)
#define csr_clear(csr, v)   csr_change("csrc " #csr, v)

/* With these operands; `zero` in the text for none. */
#define sfence_vma(operands, ...)                                                                  \
	({ __asm__ volatile("sfence.vma " operands ::__VA_ARGS__ : "memory"); })
#endif
