/* SPDX-License-Identifier: MIT */
/* A VM for tests of guests' trees, and its whole tree in one go. The tests have what it needs of
 * the rest of the hypervisor. */
#pragma once

#include <string.h>
#include "core/rng.h"
#include "fdt/guest.h"

static struct vm vm;

static inline void make_vm(uint64_t ram_base, uint64_t ram_size, uint32_t nvcpus)
{
	vm = (struct vm){
		.ram_base = gpa(ram_base),
		.ram_size = ram_size,
		.nvcpus = nvcpus,
		.plic.ndev = 97,
		.uart_irq = 10,
		.plic_base = gpa(0xc000000),
		.uart_base = gpa(0x10000000),
		.vmgenid = gpa(0x10200000),
		.vmgenid_irq = 96,
		.event_irq = 97,
	};
}

void rng_bytes(void *out, size_t n)
{
	memcpy(out, "another seed of thirty-two bytes", n);
}

static inline enum err build_guest(const struct guest_tree *t, void *buf, size_t size, size_t *used)
{
	uint64_t part = 0;
	enum err err;

	do
		err = fdt_guest_part(t, buf, size, &part, used);
	while (err == OK && *used == 0);
	return err;
}
