/* SPDX-License-Identifier: MIT */
/* Binary search in the symbol table. See symbols.h. */
#include "riscv/symbols.h"

#include <stddef.h>

/* From the linker script. */
extern const char text_start[];

/* The table. What is defined here is the empty one, for the first link; the one that
 * scripts/gen-symbols writes is strong. It is in assembly because GCC 12 folds the values of weak
 * constants that it can see. */
extern const uint32_t symbols_count;
extern const struct symbol symbols_table[];
extern const char symbols_names[];
__asm__(".pushsection .rodata.symbols, \"a\"\n"
	".balign 4\n"
	".weak symbols_count, symbols_table, symbols_names\n"
	"symbols_count: symbols_table: symbols_names: .long 0\n"
	".popsection");

/* How many symbols lie at or below `address`. */
static uint32_t count_at_or_below(uint64_t address)
{
	uint32_t low = 0, high = symbols_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (symbols_table[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *symbol_lookup(uint64_t addr, uint64_t *offset)
{
	uint64_t start = (uintptr_t)text_start;
	const struct symbol *found;
	uint32_t n;

	if (addr < start)
		return NULL;
	n = count_at_or_below(addr - start);
	if (n == 0)
		return NULL;
	found = &symbols_table[n - 1];
	if (symbols_names[found->name] == '\0')
		return NULL;
	*offset = addr - start - found->address;
	return symbols_names + found->name;
}
