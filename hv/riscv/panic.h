/* SPDX-License-Identifier: MIT */
/* The hypervisor's own end: a report on the console, then the machine restarts. */
#pragma once

#include "core/bug.h"
#include "core/log.h"
#include "drivers/finisher.h"

/* The machine cannot host a VM: one clear message, then this hart and with it the machine stops for
 * good. `fmt` is a literal. */
#define halt(fmt, ...) (klog("cannot run here: " fmt, ##__VA_ARGS__), halt_hart())
noreturn void halt_hart(void);

/* Ends the machine, `how` of drivers/finisher.h: the other PCPUs leave their guests, what is
 * buffered and `why` are written out. The first PCPU that wants it sees to it. */
noreturn void machine_end(uint32_t how, const char *why);

/* Called by trap.S on the panic stack: `regs` are x0..x31 of an exception that nobody expected. */
noreturn void panic_trap(const uint64_t regs[32]);
