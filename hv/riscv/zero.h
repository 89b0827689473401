/* SPDX-License-Identifier: MIT */
/* How zero_pages() of arch.h works. */
#pragma once

#include "core/compiler.h"

/* From now on pages are zeroed by cbo.zero, which clears `block` bytes on every hart in use; 0, or
 * one that this hart turns out not to have: by stores. Boot only. */
void zero_init(uint32_t block);
