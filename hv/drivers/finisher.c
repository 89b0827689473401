/* SPDX-License-Identifier: MIT */
/* See finisher.h. SiFive's GPIO: FU540-C000 manual, chapter 17. */
#include "drivers/finisher.h"
#include "drivers/mmio.h"

#define GPIO_OUTPUT_EN  0x08
#define GPIO_OUTPUT_VAL 0x0c

/* High first: the edge may be what counts. */
static void drive_low(hpa_t gpio, uint32_t pin)
{
	hpa_t enable = hpa_add(gpio, GPIO_OUTPUT_EN), value = hpa_add(gpio, GPIO_OUTPUT_VAL);

	mmio_write32(value, mmio_read32(value) | pin);
	mmio_write32(enable, mmio_read32(enable) | pin);
	mmio_write32(value, mmio_read32(value) & ~pin);
}

bool finisher_write(const struct machine *m, uint32_t end)
{
	if (m->finisher.v)
		mmio_write32(m->finisher, end);
	else if (m->gpio.v && end == FINISHER_REBOOT)
		drive_low(m->gpio, m->restart_pin);
	else
		return false;
	return true;
}
