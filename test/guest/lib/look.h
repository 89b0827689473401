/* SPDX-License-Identifier: MIT */
/* Frames that say which they are, and a look at what an address shows of them. */
#pragma once

#include "guest.h"

#define RW    (PTE_V | PTE_R | PTE_W | PTE_A | PTE_D)
#define FAULT ~0ul /* what look() finds if there is a page fault */

/* Physical addresses of frames that look() knows by their number, from 0. */
uint64_t frame_of(unsigned number);
void frame_mark(uint64_t pa, uint64_t number); /* makes any page one of them */

/* Another trap than a page fault at `va` is `broken`. */
uint64_t look(uint64_t va);
