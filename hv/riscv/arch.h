/* SPDX-License-Identifier: MIT */
/* What the portable code needs from the architecture, inline. The unit tests have an arch.h of
 * their own (test/unit/arch.h) with the same names: that is the whole boundary. */
#pragma once

#include "core/addr.h"

/* Hint that the hart is spinning (Zihintpause; encoded as a fence that older cores execute as a
 * nop). */
static inline void cpu_relax(void)
{
	__asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010" ::: "memory");
}

/* Orders every earlier access, to memory or a device, before every later one (Unprivileged
 * ISA 2.7). */
static inline void fence_io(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

/* M-mode runs without translation: a host physical address is a pointer. */
static inline void *hpa_ptr(hpa_t a)
{
	return (void *)(uintptr_t)a.v;
}

static inline hpa_t ptr_hpa(const void *p)
{
	return (hpa_t){(uintptr_t)p};
}

/* Zeroes `bytes` (a multiple of PAGE_SIZE) at page-aligned `p`, by cbo.zero where the harts have
 * it. */
void zero_pages(void *p, uint64_t bytes);
