/* SPDX-License-Identifier: MIT */
/* See symbols.h. */
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

const char *symbol_lookup(uint64_t addr, uint64_t *offset)
{
	uint64_t at = addr - (uintptr_t)text_start; /* below the text: behind its end */
	const struct symbol *found = NULL;

	for (uint32_t i = 0; i < symbols_count && symbols_table[i].address <= at; i++)
		found = &symbols_table[i];
	if (!found || symbols_names[found->name] == '\0')
		return NULL;
	*offset = at - found->address;
	return symbols_names + found->name;
}
