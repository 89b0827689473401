/* SPDX-License-Identifier: MIT */
/* What the boot hart finds out and the rest of the hypervisor reads. */
#pragma once

#include "core/vm.h"
#include "fdt/machine.h"

extern struct machine machine;
extern void *host_fdt; /* a copy of its own: the original lies in RAM that becomes free */
extern struct vm *root_vm;

/* Writes the device tree of `vm`, as one that holds no device, into `buf` (8-byte aligned). Errors
 * as fdt_build_guest. */
enum err must_check vm_tree(const struct vm *vm, void *buf, size_t size, size_t *used);

/* Creates the Root VM and its VCPUs, loads the payload and its device tree, and makes VCPU 0 ready.
 * Halts with a message when it cannot. Boot only. */
void root_create(void);

/* Where this hart begins to run VCPUs for good. */
noreturn void run_vcpus(void);

/* Entered by trap.S and entry.S. */
noreturn void boot_main(uint64_t hartid, uint64_t fdt);
noreturn void secondary_main(void);
