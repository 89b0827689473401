/* SPDX-License-Identifier: MIT */
/* Loads through the running guest's own translation; see guard.h. */
#include "riscv/guard.h"

enum err guest_load_u64(uint64_t va, uint64_t *out, uint64_t *cause)
{
	uint64_t v = 0;

	guard_begin();
	__asm__ volatile(".option push\n.option arch, +h\nhlv.d %0, (%1)\n.option pop" : "+r"(v) : "r"(va) : "memory");
	*cause = guard_end() - 1;
	*out = v;
	return *cause == UINT64_MAX ? OK : E_FAULT;
}

enum err guest_fetch_u16(uint64_t va, uint16_t *out, uint64_t *cause)
{
	uint64_t v = 0;

	guard_begin();
	__asm__ volatile(".option push\n.option arch, +h\nhlvx.hu %0, (%1)\n.option pop" : "+r"(v) : "r"(va) : "memory");
	*cause = guard_end() - 1;
	*out = (uint16_t)v;
	return *cause == UINT64_MAX ? OK : E_FAULT;
}
