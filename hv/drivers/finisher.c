/* SPDX-License-Identifier: MIT */
/* See finisher.h. */
#include "drivers/finisher.h"
#include "drivers/mmio.h"

#define GRACE 10000000 /* turns to wait: the machine's end may take effect late */

void finisher_write(hpa_t finisher, uint32_t end)
{
	if (finisher.v == 0)
		return;
	mmio_write32(finisher, end);
	fence_io();
	for (unsigned i = 0; i < GRACE; i++)
		cpu_relax();
}
