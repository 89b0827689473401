/* SPDX-License-Identifier: MIT */
/* The host's stand-in for hv/riscv/time.h: time is what a test says. */
#pragma once

#include "core/compiler.h"

extern uint64_t host_time;

static inline uint64_t time_now(void)
{
	return host_time;
}

static inline uint64_t time_to_ns(uint64_t ticks)
{
	return ticks * 100;
}
