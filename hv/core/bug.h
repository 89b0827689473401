/* SPDX-License-Identifier: MIT */
/*
 * The last two rungs of the error ladder. BUG_ON, always compiled in, ends the machine because
 * going on could leak or corrupt across VMs; no guest may be able to reach one. ASSERT finds our
 * own bugs early in DEBUG=1 builds and guards only what the release path survives without it.
 */
#pragma once

#include "core/compiler.h"

/* Prints `what`, the registers and a backtrace, then restarts the machine. Provided by
 * riscv/panic.c, and by the unit tests, which turn it into a test failure. */
noreturn void bug(const char *file, int line, const char *what);

#define BUG_ON(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(cond))                                                                \
			bug(__FILE__, __LINE__, #cond);                                            \
	} while (0)

#define ASSERT(cond) BUG_ON(DIOSIX_DEBUG && !(cond))
