/* SPDX-License-Identifier: MIT */
/* What the boot hart finds out and the rest of the hypervisor reads. */
#pragma once

#include "abi/payload.h"
#include "core/vm.h"
#include "fdt/machine.h"

extern struct machine machine;
extern void *host_fdt; /* a copy of its own: the original lies in RAM that becomes free */
extern struct vm *root_vm;

/* The hypervisor's own command line: /chosen bootargs of the host tree (QEMU's -append). Words
 * NAME=VALUE; the Root VM's command line is another one, in the payload. */
extern struct options {
	bool shutdown_restarts; /* root-exit=restart: a Root VM that shuts down restarts the machine
				   instead of powering it off */
	const char *backend;    /* backend=gstage, pmp or shadow: no other will do; or auto */
	unsigned pmp_entries;   /* pmp-entries=: no more of a hart's are used to bound guests */
} options;

/* VMs can be `direct` (riscv/translate.h): without H, if all harts have PMP entries for it. */
extern bool direct_vms;

/* The payload behind the image, or where it was moved to. */
extern const struct dx_payload *payload;

/* Takes stock of RAM: fills the frame table from the machine's RAM, what is reserved in it, the
 * image, the payload and the host tree at `fdt`, of which it makes a copy. Checks the payload; one
 * that asks for RAM at a certain address is moved out of the way first. Halts with a message when
 * RAM does not hold that, or the payload cannot be used. Boot only. */
void memory_init(uint64_t fdt);

/* The payload has been loaded: its frames become free. Boot only. */
void memory_reclaim_payload(void);

/* In a debug build: every frame is free, the hypervisor's, or charged to a VM, or it is a bug. */
void memory_audit(void);

/* Creates the Root VM and its VCPUs, loads the payload and its device tree, and makes VCPU 0 ready.
 * Halts with a message when it cannot. Boot only. */
void root_create(void);

/* Where this hart begins to run VCPUs for good. */
noreturn void run_vcpus(void);

/* Entered by trap.S and entry.S. */
noreturn void boot_main(uint64_t hartid, uint64_t fdt);
noreturn void secondary_main(void);
