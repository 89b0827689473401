/* SPDX-License-Identifier: MIT */
/* Memory for the tests, and Sv39 tables. */
#include "guest.h"

#define GIB          (1ul << 30)
#define IDENTITY_GIB 64

extern char guest_end[];
static uint64_t taken; /* bytes; harts take them at once */

uint64_t free_start(void)
{
	return (uintptr_t)guest_end + taken;
}

void *page_alloc(unsigned n)
{
	uint64_t at = __atomic_fetch_add(&taken, n * PAGE, __ATOMIC_RELAXED);

	return memset((char *)guest_end + at, 0, n * PAGE);
}

uint64_t *pt_new(void)
{
	uint64_t *root = page_alloc(1);

	for (uint64_t i = 0; i < IDENTITY_GIB; i++)
		root[i] = pte_for(i * GIB, PTE_RWX | PTE_G);
	return root;
}

uint64_t *pt_entry(uint64_t *root, uint64_t va, unsigned level)
{
	uint64_t *table = root;

	for (unsigned l = 2; l > level; l--) {
		uint64_t *pte = &table[va >> (12 + 9 * l) & 511];

		if (!*pte)
			*pte = pte_for((uintptr_t)page_alloc(1), PTE_V);
		table = (uint64_t *)(*pte >> 10 << 12);
	}
	return &table[va >> (12 + 9 * level) & 511];
}

void pt_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t flags)
{
	*pt_entry(root, va, 0) = pte_for(pa, flags);
}

uint64_t satp_for(const uint64_t *root, uint64_t asid)
{
	return 8ul << 60 | asid << 44 | (uintptr_t)root >> 12;
}
