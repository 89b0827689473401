/* SPDX-License-Identifier: MIT */
/* Loads through the running guest's own translation; see guard.h. */
#include "riscv/guard.h"
#include "riscv/guest_csr.h"
#include "riscv/translate.h"

/* One of the instructions that load with a guest's translation; after an exception *out is what it
 * was. */
#define guest_load(insn, va, out, cause)                                                           \
	({                                                                                         \
		guard_begin();                                                                     \
		__asm__ volatile(".option push\n.option arch, +h\n" insn " %0, (%1)\n.option pop"  \
				 : "+r"(*(out))                                                    \
				 : "r"(va)                                                         \
				 : "memory");                                                      \
		*(cause) = guard_end() - 1;                                                        \
		*(cause) == UINT64_MAX ? OK : E_FAULT;                                             \
	})

enum err guest_load_u64(const struct vcpu *v, uint64_t va, uint64_t *out, uint64_t *cause)
{
	if (has_h)
		return guest_load("hlv.d", va, out, cause);
	return translate_read(v, csr_read(mstatus), va, false, out, sizeof(*out), cause);
}

static enum err load_half(const struct vcpu *v, uint64_t va, uint64_t *out, uint64_t *cause)
{
	if (has_h)
		return guest_load("hlvx.hu", va, out, cause);
	return translate_read(v, v->mstatus, va, true, out, 2, cause);
}

/* HLVX has the privilege that hstatus.SPVP says, which is S-mode's everywhere else. */
enum err guest_fetch(const struct vcpu *v, uint32_t *insn, uint64_t *cause)
{
	bool user = has_h && !(v->mstatus & MSTATUS_MPP_S);
	uint64_t low = 0, high = 0;

	if (user)
		csr_clear(hstatus, HSTATUS_SPVP);
	enum err err = load_half(v, v->pc, &low, cause);

	if (err == OK && (low & 3) == 3)
		err = load_half(v, v->pc + 2, &high, cause);
	if (user)
		csr_set(hstatus, HSTATUS_SPVP);
	*insn = (uint32_t)(low | high << 16);
	return err;
}
