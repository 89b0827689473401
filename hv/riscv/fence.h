/* SPDX-License-Identifier: MIT */
/*
 * Fences of guest translations, on this PCPU and on others. A VCPU has a small queue of fences that
 * its PCPU executes before the guest's next instruction; a full queue degrades to flushing
 * everything, so overflow stays correct. VMIDs belong to VCPUs, not to VMs: two VCPUs of one VM may
 * use the same ASID for different tables, so they must not share TLB entries when they take turns
 * on a PCPU.
 */
#pragma once

#include "riscv/vcpu.h"

/* Executes `f` for the VCPU loaded on this PCPU. Bounded: a long range becomes a full flush. */
void fence_local(const struct fence *f);

/*
 * Makes `f` effective for VCPU `v` of the same VM as `self`, the VCPU loaded here: at once if it is
 * `self`; before its next instruction if it is loaded nowhere; else it interrupts its PCPU. Returns
 * a ticket for fence_wait, 0 when there is nothing to wait for.
 */
uint64_t fence_send(struct vcpu *self, struct vcpu *v, const struct fence *f);

/* Waits until the fence of `ticket` is done. Executes `self`'s own queue meanwhile, so that two
 * PCPUs may wait for each other. */
void fence_wait(struct vcpu *self, struct vcpu *v, uint64_t ticket);

/* Executes what is queued for the VCPU loaded here. */
void fence_drain(struct vcpu *v);

/* Gives the VCPU a VMID that is valid on this PCPU and removes stale translations: on loading. */
void vmid_activate(struct vcpu *v, struct pcpu *p, bool moved);
