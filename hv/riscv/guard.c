/* SPDX-License-Identifier: MIT */
/* Loads through the running guest's own translation; see guard.h. */
#include "riscv/guard.h"

enum err guest_load_u64(uint64_t va, uint64_t *out, uint64_t *cause)
{
	uint64_t v = 0;

	guard_begin();
	__asm__ volatile(".option push\n.option arch, +h\nhlv.d %0, (%1)\n.option pop"
			 : "+r"(v)
			 : "r"(va)
			 : "memory");
	*cause = guard_end() - 1;
	*out = v;
	return *cause == UINT64_MAX ? OK : E_FAULT;
}

static enum err fetch_u16(uint64_t va, uint16_t *out, uint64_t *cause)
{
	uint64_t v = 0;

	guard_begin();
	__asm__ volatile(".option push\n.option arch, +h\nhlvx.hu %0, (%1)\n.option pop"
			 : "+r"(v)
			 : "r"(va)
			 : "memory");
	*cause = guard_end() - 1;
	*out = (uint16_t)v;
	return *cause == UINT64_MAX ? OK : E_FAULT;
}

static enum err fetch(uint64_t va, uint32_t *insn, uint64_t *cause)
{
	uint16_t low, high = 0;
	enum err err = fetch_u16(va, &low, cause);

	if (err == OK && (low & 3) == 3)
		err = fetch_u16(va + 2, &high, cause);
	*insn = low | (uint32_t)high << 16;
	return err;
}

/* HLVX has the privilege that hstatus.SPVP says, which is S-mode's everywhere else. */
enum err guest_fetch(const struct vcpu *v, uint32_t *insn, uint64_t *cause)
{
	bool user = !(v->mstatus & MSTATUS_MPP_S);

	if (user)
		csr_clear(CSR_HSTATUS, HSTATUS_SPVP);
	enum err err = fetch(v->pc, insn, cause);

	if (user)
		csr_set(CSR_HSTATUS, HSTATUS_SPVP);
	return err;
}
