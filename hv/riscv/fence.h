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

/* Makes `f` effective for the VCPUs of `vm` that `set` has a bit for, and waits until it is: on all
 * PCPUs where they run at the same time. Those that run nowhere do it before their next
 * instruction. */
void fence_vcpus(struct vm *vm, uint64_t set, const struct fence *f);

/* Executes what is queued for the VCPU loaded here. */
void fence_drain(struct vcpu *v);

/* Gives the VCPU a VMID that is valid on this PCPU and removes stale translations: on loading. */
void vmid_activate(struct vcpu *v, struct pcpu *p, bool moved);
