/* SPDX-License-Identifier: MIT */
/* The host's PLIC: see plic.h. Register map: PLIC specification 1.0.0, "Memory Map". */
#include "core/lock.h"
#include "drivers/mmio.h"
#include "drivers/plic.h"

#define ENABLE_BASE    0x2000
#define ENABLE_STRIDE  0x80
#define CONTEXT_BASE   0x200000
#define CONTEXT_STRIDE 0x1000
#define PRIORITY       1 /* of all sources */
#define REG_THRESHOLD  0
#define REG_CLAIM      4

static struct spinlock lock; /* read-modify-write of enable words */
static hpa_t base;
static uint32_t ndev;

static hpa_t enable_reg(uint32_t irq, int context)
{
	return hpa_add(
		base, ENABLE_BASE + ENABLE_STRIDE * (uint64_t)context + irq / 32 * UINT64_C(4));
}

static hpa_t context_reg(int context, uint64_t reg)
{
	return hpa_add(base, CONTEXT_BASE + CONTEXT_STRIDE * (uint64_t)context + reg);
}

static uint32_t irq_bit(uint32_t irq)
{
	return UINT32_C(1) << (irq % 32);
}

static bool valid(uint32_t irq, int context)
{
	return irq != 0 && irq <= ndev && context >= 0;
}

static void context_init(int context)
{
	if (context < 0)
		return;
	for (uint32_t irq = 0; irq <= ndev; irq += 32)
		mmio_write32(enable_reg(irq, context), 0);
	mmio_write32(context_reg(context, REG_THRESHOLD), 0);
}

void plic_init(const struct machine *m)
{
	base = m->plic.base;
	ndev = m->plic.ndev;
	for (uint32_t irq = 1; irq <= ndev; irq++)
		mmio_write32(hpa_add(base, UINT64_C(4) * irq), PRIORITY);
	for (unsigned i = 0; ndev && i < m->nharts; i++) {
		context_init(m->harts[i].plic_m_context);
		context_init(m->harts[i].plic_s_context);
	}
}

void plic_set_enabled(uint32_t irq, int context, bool on)
{
	hpa_t enable = enable_reg(irq, context);

	if (!valid(irq, context))
		return;
	spin_lock(&lock);
	mmio_write32(enable, (mmio_read32(enable) & ~irq_bit(irq)) | (on ? irq_bit(irq) : 0));
	/* QEMU 10 looks at what is pending already only at the write of a priority. */
	if (on)
		mmio_write32(hpa_add(base, UINT64_C(4) * irq), PRIORITY);
	spin_unlock(&lock);
}

uint32_t plic_claim(int context)
{
	return ndev && context >= 0 ? mmio_read32(context_reg(context, REG_CLAIM)) : 0;
}

void plic_complete(uint32_t irq, int context)
{
	hpa_t enable = enable_reg(irq, context);
	uint32_t enabled;

	if (!valid(irq, context))
		return;
	/* Under the lock, or another hart could disable the source between the look and the write.
	 */
	spin_lock(&lock);
	enabled = mmio_read32(enable);
	if (!(enabled & irq_bit(irq)))
		mmio_write32(enable, enabled | irq_bit(irq));
	mmio_write32(context_reg(context, REG_CLAIM), irq);
	if (!(enabled & irq_bit(irq)))
		mmio_write32(enable, enabled);
	spin_unlock(&lock);
}
