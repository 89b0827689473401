/* SPDX-License-Identifier: MIT */
/* Stands in for hv/drivers/mmio.h: a test of a driver provides the device, side effects and all. */
#pragma once

#include "arch.h"

uint32_t fake_mmio_read(hpa_t reg, unsigned width);
void fake_mmio_write(hpa_t reg, unsigned width, uint32_t value);

static inline uint8_t mmio_read8(hpa_t reg)
{
	return (uint8_t)fake_mmio_read(reg, 1);
}

static inline uint32_t mmio_read32(hpa_t reg)
{
	return fake_mmio_read(reg, 4);
}

static inline void mmio_write8(hpa_t reg, uint8_t value)
{
	fake_mmio_write(reg, 1, value);
}

static inline void mmio_write32(hpa_t reg, uint32_t value)
{
	fake_mmio_write(reg, 4, value);
}
