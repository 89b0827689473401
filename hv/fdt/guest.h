/* SPDX-License-Identifier: MIT */
/* The one generator of guest device trees. Everything listed works; nothing else is listed. */
#pragma once

#include "fdt/machine.h"

struct guest_tree {
	gpa_t ram_base;
	uint64_t ram_size; /* bytes */
	unsigned nvcpus;   /* hart ids 0 .. nvcpus-1 */
	struct isa isa;    /* of each VCPU; only extensions of kind G or C may be set */

	/* Virtual PLIC (sifive,plic-1.0.0): VCPU n has context 2n for M-mode, listed as -1 (not
	 * there), and 2n+1 for S-mode, as on QEMU's virt. */
	gpa_t plic_base;
	uint64_t plic_size;
	uint32_t plic_ndev;

	gpa_t uart_base;   /* emulated ns16550a, byte registers without shift; 0 for none */
	uint32_t uart_irq; /* 0 for none: the guest polls */

	gpa_t vmgenid_page; /* page that holds the 16-byte generation ID at its start; 0 for none */
	uint32_t vmgenid_irq;
	uint32_t event_irq; /* of /hypervisor: EVENT_NEXT has something */

	const struct machine
		*machine;       /* its timebase, the clock of its UART, its PLIC's phandle, so
				   that devices keep their references (without one: any) */
	const void *host_fdt;   /* where the devices' nodes are copied from; NULL for none */
	const uint8_t *devices; /* indices into machine->devices granted to this VM */
	unsigned ndevices;

	const char *bootargs; /* never NULL */
	gpa_t initrd;         /* initrd_size 0 for none */
	uint64_t initrd_size;
	uint8_t rng_seed[32];
	uint32_t abi_version; /* of the Diosix SBI extension: /hypervisor's diosix,abi-version */
};

/*
 * Writes the tree into `buf` (8-byte aligned, `size` bytes); `*used` becomes its length, 0 on
 * error. Takes time linear in that length; about 2 KiB for each VCPU with all extensions, 1 KiB for
 * a PCI host. VCPU features: riscv,isa (string), riscv,isa-base and riscv,isa-extensions, mmu-type,
 * riscv,cbo{m,z,p}-block-size. /chosen holds bootargs, stdout-path, rng-seed, linux,initrd-start
 * and -end. The host tree is the one that `machine` was read from, and the devices are its.
 *
 * Errors: E_NOMEM the buffer is too small; E_FORMAT a device's name is too long; E_INVAL no VCPU or
 * more than MACHINE_MAX_HARTS, a timebase not of 32 bits, no phandles left above the PLIC's.
 */
enum err must_check fdt_build_guest(
	const struct guest_tree *t, void *buf, size_t size, size_t *used);

/* The same in parts, each of about as many instructions: *part counts them, and *used is not 0 when
 * all are done. Nothing of `t` but the seed may change meanwhile. */
enum err must_check fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, unsigned *part, size_t *used);
