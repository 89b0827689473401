/* SPDX-License-Identifier: MIT */
/* Devices of the machine, and the PLIC of this VM. */
#include "guest.h"

#define ENABLE(hart, irq) (m.plic + 0x2000 + 0x80 * (2 * (hart) + 1) + 4 * ((irq) / 32))
#define CLAIM(hart)       (m.plic + 0x200004 + 0x1000 * (2 * (hart) + 1))

uint32_t get32(uint64_t a)
{
	return *(volatile uint32_t *)a;
}

void put32(uint64_t a, uint32_t v)
{
	*(volatile uint32_t *)a = v;
}

void device_take(const struct device *d)
{
	struct sbiret r = dx(DX_FID_MMIO_MAP, d->base, PAGE, d->base);

	if (r.error)
		broken("map: device, error", d->base, (uint64_t)r.error, 0);
}

void device_release(const struct device *d)
{
	struct sbiret r = dx(DX_FID_MMIO_UNMAP, d->base, PAGE, 0);

	if (r.error)
		broken("unmap: device, error", d->base, (uint64_t)r.error, 0);
	dx(DX_FID_IRQ_UNROUTE, d->irq, 0, 0);
}

uint64_t dx_pin(const void *page)
{
	struct sbiret r = dx(DX_FID_DMA_PIN, (uintptr_t)page, 0, 0);

	if (r.error)
		broken("pin: page, error", (uintptr_t)page, (uint64_t)r.error, 0);
	return r.value;
}

void plic_enable(unsigned hart, uint32_t irq, bool on)
{
	uint32_t bit = 1u << irq % 32, was = get32(ENABLE(hart, irq));

	put32(m.plic + 4 * irq, 1);
	put32(ENABLE(hart, irq), on ? was | bit : was & ~bit);
}

uint32_t plic_claim(unsigned hart)
{
	return get32(CLAIM(hart));
}

void plic_complete(unsigned hart, uint32_t irq)
{
	put32(CLAIM(hart), irq);
}

bool plic_pending(uint32_t irq)
{
	return get32(m.plic + 0x1000 + 4 * (irq / 32)) >> irq % 32 & 1;
}
