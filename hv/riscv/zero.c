/* SPDX-License-Identifier: MIT */
/* Zeroing of whole pages; see zero.h. */
#include <string.h>
#include "riscv/zero.h"
#include "riscv/guard.h"

#define MAX_BLOCK 1024 /* four blocks at a time fit into a page */

static uint32_t zero_block; /* 0: by stores */

static void cbo_zero(uint8_t *p)
{
	__asm__ volatile(".option push\n.option arch, +zicboz\ncbo.zero (%0)\n.option pop" ::"r"(p)
			 : "memory");
}

void zero_init(uint32_t block)
{
	static uint8_t probe[MAX_BLOCK] aligned(MAX_BLOCK);
	bool usable = block >= 4 && block <= MAX_BLOCK && (block & (block - 1)) == 0;

	zero_block = 0;
	if (!usable)
		return;
	memset(probe, 0xff, sizeof(probe));
	guard_begin();
	cbo_zero(probe);
	/* The tree's block size is believed only if that is what one instruction clears. */
	if (guard_end() == 0 && probe[block - 1] == 0 &&
		(block == MAX_BLOCK || probe[block] == 0xff))
		zero_block = block;
}

void zero_pages(void *p, uint64_t bytes)
{
	const uint64_t step = zero_block;

	if (!step) {
		memset(p, 0, bytes);
		return;
	}
	for (uint8_t *at = p, *end = at + bytes; at < end; at += 4 * step) {
		cbo_zero(at);
		cbo_zero(at + step);
		cbo_zero(at + 2 * step);
		cbo_zero(at + 3 * step);
	}
}
