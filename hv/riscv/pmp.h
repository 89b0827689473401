/* SPDX-License-Identifier: MIT */
/* The hypervisor protects itself from itself: locked PMP entries, which bind M-mode too. */
#pragma once

#include "core/err.h"
#include "riscv/pcpu.h"

/*
 * On the hart itself, once: image text RX, constants R, data RW, no access to the guard page under
 * this hart's stack, all else open to lower modes (G-stage tables bound guests). Source: Privileged
 * ISA 3.7.1. The entries stay until reset. E_UNSUPPORTED: the hart has
 * no PMP; guests are bounded all the same, only the hypervisor's own mistakes are not caught.
 * E_STATE: the ROM has locked entries, or there are too few.
 */
enum err must_check pmp_protect(const struct pcpu *p);
