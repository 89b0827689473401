/* SPDX-License-Identifier: MIT */
/* The host's PLIC (RISC-V PLIC specification 1.0.0). The hypervisor uses the M-mode contexts alone;
 * every S-mode context stays disabled. Enable words are guarded by an internal lock, the last of
 * the lock order; the rest is per context and needs none. A source out of 1..ndev is ignored, and
 * so is a context below 0. */
#pragma once

#include "fdt/machine.h"

/* All sources: priority 1, disabled everywhere, thresholds 0. */
void plic_init(const struct machine *m);

/* Source `irq` (1..ndev) is enabled for M-mode context `context`, or disabled there. Nothing
 * happens for context -1. */
void plic_set_enabled(uint32_t irq, int context, bool on);

/* The highest pending source for `context`, 0 when none. It stays closed until plic_complete. */
uint32_t plic_claim(int context);

/* Opens source `irq` again, through any context: a PLIC does not compare it with the one that
 * claimed, but ignores a context in which the source is disabled. So a source disabled since is
 * enabled there just for the completion; no completion is ever lost. Earlier accesses to the device
 * are ordered before it. */
void plic_complete(uint32_t irq, int context);
