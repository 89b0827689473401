/* SPDX-License-Identifier: MIT */
/* Takes stock of RAM at boot: who owns which frame before the first VM exists. */
#pragma once

#include "core/addr.h"

#include "abi/payload.h"

/* The payload behind the image, or where it was moved to. */
extern const struct dx_payload *payload;

/* Fills the frame table from the machine's RAM, what is reserved in it, the image, the payload and
 * the host tree at `fdt`, of which it makes a copy. Checks the payload; one that asks for RAM at a
 * certain address is moved out of the way first. Halts with a message when RAM does not hold that,
 * or the payload cannot be used. Boot only. */
void memory_init(uint64_t fdt);

/* The payload has been loaded: its frames become free. Boot only. */
void memory_reclaim_payload(void);
