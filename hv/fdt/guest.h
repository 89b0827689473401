/* SPDX-License-Identifier: MIT */
/* The one generator of guest device trees. Everything listed works; nothing else is listed. */
#pragma once

#include "core/vm.h"
#include "fdt/machine.h"

struct guest_tree {
	const struct vm *vm;           /* whose tree it is: RAM, VCPUs, emulated devices */
	const struct machine *machine; /* its timebase, and its PLIC's phandle, so that devices
					  keep their references */
	struct isa isa;                /* of each VCPU */

	uint64_t devices;     /* bits of those of machine->devices that the VM holds */
	const void *host_fdt; /* where their nodes are copied from: `machine` was read from it */

	const char *bootargs; /* never NULL */
	gpa_t initrd;         /* initrd_size 0 for none */
	uint64_t initrd_size;
};

/*
 * Writes the tree into `buf` (8-byte aligned, `size` bytes), in parts, each of about as many
 * instructions: `*part` counts them from 0, and `*used`, 0 until then, becomes the length when all
 * are done. Nothing of `t` may change meanwhile. In all about 2 KiB for each VCPU with all
 * extensions, 1 KiB for a PCI host.
 *
 * Listed are: for VCPU n, hart id n with riscv,isa (string), riscv,isa-base and
 * riscv,isa-extensions, mmu-type, riscv,cbo{m,z,p}-block-size; the virtual PLIC
 * (sifive,plic-1.0.0), where VCPU n has context 2n for M-mode, listed as -1 (not there), and 2n+1
 * for S-mode, as on QEMU's virt; an ns16550a at vm->uart_base, unless that is 0, with byte
 * registers without shift; the generation ID; the devices; /hypervisor. /chosen holds bootargs,
 * stdout-path, a new rng-seed, linux,initrd-start and -end.
 *
 * Errors: E_NOMEM the buffer is too small.
 */
enum err must_check fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, uint64_t *part, size_t *used);
