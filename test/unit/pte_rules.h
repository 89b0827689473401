/* SPDX-License-Identifier: MIT */
/* What an entry of a guest's page tables means, written down once more from the specification, bit
 * by bit and with none of the hypervisor's names for them. */
#pragma once

#include "mmu/walk.h"

/* The rules, written down once more: Privileged ISA 12.3.2, 12.4.1, chapters Svade and Svpbmt. */
enum kind { INVALID, POINTER, LEAF };

static enum kind kind_of(uint64_t pte, unsigned level)
{
	bool v = pte & 1, r = pte & 2, w = pte & 4, x = pte & 8;

	if (!v || (!r && w) || (pte & 0x9fc0000000000000) || (pte >> 61 & 3) == 3)
		return INVALID;
	if (r || x)
		return (pte >> 10) & ((UINT64_C(1) << (9 * level)) - 1) ? INVALID : LEAF;
	return level == 0 || (pte & 0x60000000000000d0) ? INVALID : POINTER;
}

static bool leaf_allows(uint64_t pte, uint64_t how)
{
	bool r = pte & 2, w = pte & 4, x = pte & 8, u = pte & 16, a = pte & 64, d = pte & 128;

	if (how & WALK_USER ? !u : u && (!(how & WALK_SUM) || (how & WALK_EXECUTE)))
		return false;
	if (how & WALK_EXECUTE)
		return x && a;
	if (how & WALK_WRITE)
		return w && a && d;
	return (r || (x && (how & WALK_MXR))) && a;
}
