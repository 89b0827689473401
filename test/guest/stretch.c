/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a page fault keeps the hypervisor, and all who wait for the hart, busy for more
 * than 100,000 instructions. (Shadow tables that many address spaces could share, and then cannot.)
 */
#include "guest.h"

#define TABLES     46u
#define OTHER      100u
#define SV48       (9ul << 60)
#define TICKS_MOST 8000 /* of 100 ns: 12.5 instructions where one takes 8 ns */

static uint64_t blocks[2][512] __attribute__((aligned(4096))); /* 2 MiB each; the first: global */
static uint64_t middle[512] __attribute__((aligned(4096)));

static uint64_t look_at(uint64_t table, uint64_t block)
{
	return *(volatile uint64_t *)(1ul << 39 | table << 30 | block << 21);
}

void guest_main(void)
{
	uint64_t here = (uintptr_t)blocks & -MIB(2), *root = page_alloc(1);
	uint64_t leaf = pte_for(here, PTE_V | PTE_R | PTE_A | PTE_D);

	for (unsigned i = 0; i < 512; i++) {
		blocks[0][i] = leaf | PTE_G;
		blocks[1][i] = leaf;
	}
	for (unsigned i = 0; i < TABLES; i++)
		middle[i] = pte_for((uintptr_t)blocks[0], PTE_V);
	middle[OTHER] = pte_for((uintptr_t)blocks[1], PTE_V);
	root[0] = pte_for((uintptr_t)pt_new(), PTE_V);
	root[1] = pte_for((uintptr_t)middle, PTE_V);
	csr_write(satp, satp_for(root, 1) | SV48);
	sfence();
	for (unsigned i = 0; i < TABLES; i++)
		for (unsigned k = 0; k < 512; k += 8)
			(void)look_at(i, k);
	uint64_t from = now(), word = look_at(OTHER, 0), ticks = now() - from;

	check_eq("what is there", word, *(volatile uint64_t *)here);
	if (bootarg("fair"))
		check("a short fault", ticks < TICKS_MOST);
	csr_write(satp, 0);
}
