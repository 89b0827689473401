/* SPDX-License-Identifier: MIT */
/* The syscon that ends the machine: one store (devicetree bindings syscon-poweroff and
 * syscon-reboot). */
#include "drivers/finisher.h"
#include "drivers/mmio.h"

#define GRACE 10000000 /* turns to wait: the machine's end may take effect late */

static void finish(const struct machine *m, uint32_t value)
{
	if (m->finisher.v == 0 || value == 0)
		return;
	mmio_write32(m->finisher, value);
	fence_io();
	for (unsigned i = 0; i < GRACE; i++)
		cpu_relax();
}

void finisher_poweroff(const struct machine *m)
{
	finish(m, m->poweroff_value);
}

void finisher_reboot(const struct machine *m)
{
	finish(m, m->reboot_value);
}
