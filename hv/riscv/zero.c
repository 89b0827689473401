/* SPDX-License-Identifier: MIT */
/* Zeroing of whole pages; see arch.h. */
#include <string.h>
#include "arch.h"
#include "riscv/feature.h"

static void zero_blocks(uint8_t *p, uint64_t bytes)
{
	const uint64_t step = zero_block;

	for (uint8_t *end = p + bytes; p < end; p += 4 * step) {
		__asm__ volatile(".option push\n.option arch, +zicboz\n"
				 "cbo.zero (%0)\ncbo.zero (%1)\ncbo.zero (%2)\ncbo.zero (%3)\n.option pop" ::"r"(p),
			"r"(p + step), "r"(p + 2 * step), "r"(p + 3 * step)
			: "memory");
	}
}

/* Four blocks at a time fit into a page for every power of two up to 1 KiB. */
void zero_pages(void *p, uint64_t bytes)
{
	if (zero_block && zero_block <= 1024)
		zero_blocks(p, bytes);
	else
		memset(p, 0, bytes);
}
