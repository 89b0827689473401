/* SPDX-License-Identifier: MIT */
/* Ends the machine: through its syscon (SiFive test finisher on QEMU; devicetree bindings
 * syscon-poweroff and syscon-reboot), or by the pin that restarts a board (binding gpio-restart).
 */
#pragma once

#include "fdt/machine.h"

#define FINISHER_POWEROFF 0x5555u
#define FINISHER_REBOOT   0x7777u

/* `end` is one of the above. The machine may end a little later. False, and nothing happens, where
 * it has no way to end so: a board without a finisher cannot be powered off. */
bool finisher_write(const struct machine *m, uint32_t end);
