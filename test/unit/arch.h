/* SPDX-License-Identifier: MIT */
/* The host's side of the boundary in hv/riscv/arch.h. Host physical RAM is an array that a test
 * allocates; `host_ram_base` is the HPA its first byte stands for. */
#pragma once

#include <string.h>
#include "core/addr.h"

extern uint64_t host_ram_base;
extern unsigned char *host_ram;

static inline void cpu_relax(void)
{
}

static inline void fence_io(void)
{
}

static inline void *hpa_ptr(hpa_t a)
{
	return host_ram + (a.v - host_ram_base);
}

static inline hpa_t ptr_hpa(const void *p)
{
	return (hpa_t){(uint64_t)((const unsigned char *)p - host_ram) + host_ram_base};
}

static inline void zero_pages(void *p, uint64_t bytes)
{
	memset(p, 0, bytes);
}
