/* SPDX-License-Identifier: MIT */
/*
 * Names for the addresses in a backtrace. The table is made by scripts/gen-symbols from a first
 * link and is linked in by a second; without it every look-up finds nothing.
 */
#pragma once

#include <stdint.h>

/* One function. The table is sorted by address; an empty name marks the end of the text. */
struct symbol {
	uint32_t address; /* from text_start */
	uint32_t name;    /* offset into symbols_names */
};

/*
 * The name of the function that holds `addr`, and in *offset how far into it that is. NULL when the
 * address lies outside the hypervisor's text or there is no table; *offset is not written then.
 * Touches constants only and takes no lock: it is used while the hypervisor dies.
 */
const char *symbol_lookup(uint64_t addr, uint64_t *offset);
