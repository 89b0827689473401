/* SPDX-License-Identifier: MIT */
/* Ends the machine through its syscon (SiFive test finisher on QEMU). Both return only where there
 * is none, or when it has not worked after a while. */
#pragma once

#include "fdt/machine.h"

void finisher_poweroff(const struct machine *m);
void finisher_reboot(const struct machine *m);
