/* SPDX-License-Identifier: MIT */
/* What this hart can do: the device tree's claims, confirmed by probing. */
#pragma once

#include "riscv/pcpu.h"

/* Fills p->isa from the tree's claims for this hart, drops what the hart turns out not to have (of
 * H, if it is without Sv39x4), and finds VLEN and the number of VMID bits. On the hart itself. */
void features_probe(struct pcpu *p);

/* When all harts have been probed: each is treated as if it had only what all have, since any VCPU
 * may run on any of them. Halts where only some have H. Once, by the boot hart. */
void features_unify(void);

/* Sets the CSRs that say what guests may use and which traps they get themselves: the same for all
 * VMs. On the hart itself, after features_unify. */
void features_apply(struct pcpu *p);

/* What a VCPU may be told of: less what is the hypervisor's. After features_unify. */
struct isa features_for_guests(void);

/* From now on zero_pages() works by cbo.zero, which clears `block` bytes on every hart in use; 0,
 * or one that this hart turns out not to have: by stores. Boot only. */
void zero_init(uint32_t block);
