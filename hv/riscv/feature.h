/* SPDX-License-Identifier: MIT */
/* What this hart can do: the device tree's claims, confirmed by probing. */
#pragma once

#include "core/err.h"
#include "riscv/pcpu.h"

/*
 * Fills p->isa from the tree's claims for this hart, drops what the hart turns out not to have, and
 * finds VLEN and the number of VMID bits. On the hart itself. E_UNSUPPORTED when it has no H
 * extension with Sv39x4 (the message is the caller's).
 */
enum err must_check features_probe(struct pcpu *p);

/* Sets the CSRs that say what guests may use and which traps they get themselves: the same for all
 * VMs. On the hart itself. */
void features_apply(const struct pcpu *p);

/* The ISA that a VCPU may be told of, given that it may run on any PCPU: what all have, less what
 * is the hypervisor's. */
struct isa features_for_guests(void);
