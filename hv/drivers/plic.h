/* SPDX-License-Identifier: MIT */
/* The host's PLIC (RISC-V PLIC specification 1.0.0). The hypervisor uses the M-mode contexts alone; every
 * S-mode context stays disabled. No locks: enable words are guarded by an internal one, the rest is per context. */
#pragma once

#include "fdt/machine.h"

/* All sources: priority 0, disabled everywhere, thresholds 0. */
void plic_init(const struct machine_plic *plic, const struct machine *m);

/* Source `irq` (1..ndev) is enabled for M-mode context `context` with priority 1, or disabled there. */
void plic_enable(uint32_t irq, int context);
void plic_disable(uint32_t irq, int context);

/* The highest pending source for `context`, 0 when none. It stays closed until plic_complete, which must name the
 * context that claimed it and find the source still enabled there. */
uint32_t plic_claim(int context);
void plic_complete(uint32_t irq, int context);
