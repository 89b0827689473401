/* SPDX-License-Identifier: MIT */
/* Zeroing of whole pages; see feature.h. */
#include <string.h>
#include "riscv/feature.h"
#include "riscv/guard.h"

#define MAX_BLOCK 1024 /* four blocks at a time fit into a page */

static uint32_t zero_block; /* 0: by stores */

static void cbo_zero(uint8_t *p)
{
	__asm__ volatile(".option push\n.option arch, +zicboz\ncbo.zero (%0)\n.option pop" ::"r"(p)
			 : "memory");
}

/* The tree's block size is believed only if that is what one instruction clears. */
void zero_init(uint32_t block)
{
	static uint8_t probe[MAX_BLOCK] aligned(MAX_BLOCK);
	uint32_t cleared = 0;

	memset(probe, 0xff, sizeof(probe));
	guard_begin();
	if (block && block <= MAX_BLOCK)
		cbo_zero(probe);
	(void)guard_end();
	while (cleared < MAX_BLOCK && probe[cleared] == 0)
		cleared++;
	zero_block = cleared == block ? block : 0;
}

void zero_pages(void *p, uint64_t bytes)
{
	const uint64_t step = zero_block;

	if (!step) {
		memset(p, 0, bytes);
		return;
	}
	for (uint8_t *at = p, *end = at + bytes; at < end;)
#pragma GCC unroll 4
		for (unsigned i = 0; i < 4; i++, at += step)
			cbo_zero(at);
}
