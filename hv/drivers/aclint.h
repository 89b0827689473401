/* SPDX-License-Identifier: MIT */
/* ACLINT MSWI and MTIMER (or the older SiFive CLINT, which is both in one). Inline: these are on
 * the exit path. Source: RISC-V ACLINT specification 1.0-rc4, chapters 2 and 3. */
#pragma once

#include "arch.h"

static inline void aclint_send_msi(hpa_t msip)
{
	*(volatile uint32_t *)hpa_ptr(msip) = 1;
}

static inline void aclint_clear_msi(hpa_t msip)
{
	*(volatile uint32_t *)hpa_ptr(msip) = 0;
}

/* `when` in timebase ticks; UINT64_MAX means never. */
static inline void aclint_set_timer(hpa_t mtimecmp, uint64_t when)
{
	*(volatile uint64_t *)hpa_ptr(mtimecmp) = when;
}

static inline uint64_t aclint_time(hpa_t mtime)
{
	return *(volatile uint64_t *)hpa_ptr(mtime);
}
