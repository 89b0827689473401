/* SPDX-License-Identifier: MIT */
/* See finisher.h. */
#include "drivers/finisher.h"
#include "drivers/mmio.h"

void finisher_write(hpa_t finisher, uint32_t end)
{
	if (finisher.v == 0)
		return;
	mmio_write32(finisher, end);
	fence_io();
}
