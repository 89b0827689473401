/* SPDX-License-Identifier: MIT */
/* Device registers: one access of exactly the given width, in program order with all other accesses
 * to memory and devices. The unit tests have an mmio.h of their own. */
#pragma once

#include "arch.h"

static inline uint8_t mmio_read8(hpa_t reg)
{
	uint8_t value = *(volatile uint8_t *)hpa_ptr(reg);

	fence_io();
	return value;
}

static inline uint32_t mmio_read32(hpa_t reg)
{
	uint32_t value = *(volatile uint32_t *)hpa_ptr(reg);

	fence_io();
	return value;
}

static inline void mmio_write8(hpa_t reg, uint8_t value)
{
	fence_io();
	*(volatile uint8_t *)hpa_ptr(reg) = value;
	fence_io();
}

static inline void mmio_write32(hpa_t reg, uint32_t value)
{
	fence_io();
	*(volatile uint32_t *)hpa_ptr(reg) = value;
	fence_io();
}
