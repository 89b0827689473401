/* SPDX-License-Identifier: MIT */
/* Ends the machine through its syscon (SiFive test finisher on QEMU; devicetree bindings
 * syscon-poweroff and syscon-reboot). */
#pragma once

#include "core/addr.h"

#define FINISHER_POWEROFF 0x5555u
#define FINISHER_REBOOT   0x7777u

/* Stores `end`, one of the above, to the register; does nothing where there is none (0). The
 * machine may end a little later. */
void finisher_write(hpa_t finisher, uint32_t end);
