/* SPDX-License-Identifier: MIT */
/* Device interrupts: from the host's PLIC to the VM that holds the device, and to the console. */
#pragma once

#include "core/vm.h"
#include "vdev/vplic.h"

/* A VM's PLIC has its sources at the same numbers, and two of its own behind them. */
#define HOST_SOURCES_MAX (VPLIC_MAX_SOURCES - 3)

/* Takes a source away from `vm`: it hears of it no more. E_NOENT: it has not got it. */
enum err must_check irq_unroute(struct vm *vm, uint32_t irq);
void irq_unroute_all(struct vm *vm);

/* Connects the console's interrupt to the boot PCPU. Boot only. */
void irq_init(void);

/* Routes host source `irq` to `vm`'s virtual PLIC source of the same number. E_EXISTS when another
 * VM has it or it is the hypervisor's; E_RANGE beyond the PLIC's sources. The source is enabled
 * when the guest enables it. */
enum err must_check irq_route(struct vm *vm, uint32_t irq);

/* Takes everything that is pending at this PCPU's PLIC context. Bounded by the number of sources.
 */
void irq_external(void);
