/* SPDX-License-Identifier: MIT */
/*
 * Guarded instructions: ones that may raise an exception in M-mode, which is then skipped and
 * reported instead of fatal. Such an exception changes mepc, mcause, mtval, mtval2, mtinst and
 * mstatus.MPP/MPV/MPIE/GVA: callers on the exit path read what they need of the guest's trap first,
 * and mepc and mstatus are in struct vcpu by then (slow path). The instruction must be 4 bytes
 * long.
 */
#pragma once

#include "core/err.h"
#include "riscv/csr.h"
#include "riscv/vcpu.h"

static inline void guard_begin(void)
{
	csr_clear(mstatus, MSTATUS_MDT); /* Smdbltrp: or the expected trap would be fatal */
	this_pcpu()->faulted = 0;
	__atomic_store_n(&this_pcpu()->guard, 1, __ATOMIC_RELAXED);
	__asm__ volatile("" ::: "memory");
}

/* 0, or mcause + 1 of the last exception since guard_begin. */
static inline uint64_t guard_end(void)
{
	__asm__ volatile("" ::: "memory");
	__atomic_store_n(&this_pcpu()->guard, 0, __ATOMIC_RELAXED);
	return __atomic_load_n(&this_pcpu()->faulted, __ATOMIC_RELAXED);
}

/* What a CSR holds; 0 when it does not exist. */
#define csr_probe(csr)                                                                             \
	({                                                                                         \
		guard_begin();                                                                     \
		uint64_t probe_v_ = csr_read(csr);                                                 \
		guard_end() ? 0 : probe_v_;                                                        \
	})

#define csr_exists(csr) ((void)csr_probe(csr), this_pcpu()->faulted == 0)

/* Writes a CSR and tells what it holds then; 0 when it does not exist. */
#define csr_probe_write(csr, v)                                                                    \
	({                                                                                         \
		guard_begin();                                                                     \
		csr_write(csr, v);                                                                 \
		csr_probe(csr);                                                                    \
	})

/* Read the loaded guest's memory with its own translation and its S-mode rights (with H by hlv.d,
 * hlvx.hu; Privileged ISA 18.3.1). E_FAULT when the guest could not have read it itself; `*cause`
 * is the exception then, which a caller may inject unless it is a guest-page fault. Off the slow
 * path the caller keeps mepc and mstatus himself. */
enum err must_check guest_load_u64(
	const struct vcpu *v, uint64_t va, uint64_t *out, uint64_t *cause);

/* The instruction at the VCPU's pc, fetched with the rights of the mode it trapped from; 16-bit
 * ones in the low half. E_FAULT as above. */
enum err must_check guest_fetch(const struct vcpu *v, uint32_t *insn, uint64_t *cause);
