/* SPDX-License-Identifier: MIT */
/* The machine's clock: ticks of the timebase, the same on all harts. */
#pragma once

#include "core/compiler.h"
#include "drivers/aclint.h"
#include "riscv/csr.h"

/* mtime's address where the harts have no time CSR, else 0. Set at boot. */
extern hpa_t time_mmio;
extern uint64_t time_hz;

static inline uint64_t time_now(void)
{
	if (unlikely(time_mmio.v))
		return aclint_time(time_mmio);
	return csr_read(time);
}

static inline uint64_t time_to_ns(uint64_t ticks)
{
	uint64_t s = ticks / time_hz;

	return s * 1000000000 + (ticks - s * time_hz) * 1000000000 / time_hz;
}
