/* SPDX-License-Identifier: MIT */
/*
 * A payload may hold anything. Checking and loading it must end in success or an error, touch only
 * the payload and the RAM, and give a result that keeps its promises.
 *
 * The input is a header followed by the kernel's and initrd's bytes, which belong one page further
 * on. It is tried as it is, and again with the fields repaired that no fuzzer would guess (magic,
 * sizes, checksum).
 */
#include <stdlib.h>
#include <string.h>

#include "payload/payload.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_MAX  MIB(1)

#define SUMMED_FROM (offsetof(struct dx_payload, checksum) + sizeof(uint64_t))

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

/* The kernel's start is left to ASan: `ram` has exactly the size of RAM. */
static void check_loaded(const struct dx_payload *p, const struct loaded *l, uint64_t ram_size)
{
	require(range_within(l->entry.v, 1, RAM_BASE, p->kernel_size));
	require(l->initrd.v >= RAM_BASE + p->kernel_size && IS_ALIGNED(l->initrd.v, PAGE_SIZE));
	require(l->initrd.v + p->initrd.size <= l->fdt.v);
	require(l->fdt.v + PAYLOAD_FDT_ROOM == RAM_BASE + ram_size);
}

static void try_payload(struct dx_payload *p, size_t max, uint64_t ram_size)
{
	struct loaded l;
	void *ram;

	if (payload_check(p, max) != OK)
		return;
	ram = malloc(ram_size ? ram_size : 1);
	require(ram);
	if (payload_load(p, gpa(RAM_BASE), ram_size, ram, &l) == OK)
		check_loaded(p, &l, ram_size);
	free(ram);
}

/* Brings a part near to where it may lie, without making sure that it fits. */
static void repair_part(struct dx_payload_part *part, size_t total)
{
	part->offset %= total;
	part->size %= total;
}

static void repair_parts(struct dx_payload *p, size_t total)
{
	for (unsigned i = 0; i < DX_PAYLOAD_MAX_SEGMENTS; i++) {
		struct dx_payload_segment *s = &p->segments[i];

		repair_part(&s->part, total);
		s->ram_offset %= RAM_MAX;
		s->ram_size = s->part.size + s->ram_size % PAGE_SIZE;
	}
	repair_part(&p->initrd, total);
	p->nsegments %= DX_PAYLOAD_MAX_SEGMENTS + 1;
	p->kernel_size %= 2 * RAM_MAX;
	p->entry %= 2 * RAM_MAX;
	p->ram_size = ALIGN_DOWN(p->ram_size, PAYLOAD_RAM_ALIGN);
	p->kernel_base = ALIGN_DOWN(p->kernel_base, PAYLOAD_RAM_ALIGN);
	p->bootargs[sizeof(p->bootargs) - 1] = '\0';
}

static void repair_header(struct dx_payload *p, size_t total)
{
	p->magic = DX_PAYLOAD_MAGIC;
	p->version = DX_PAYLOAD_VERSION;
	p->header_size = sizeof(*p);
	p->total_size = total;
	p->checksum = payload_checksum((uint8_t *)p + SUMMED_FROM, total - SUMMED_FROM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tail, total;
	uint64_t ram_size;
	uint8_t *block;

	if (size < sizeof(struct dx_payload))
		return 0;
	tail = size - sizeof(struct dx_payload);
	total = (size_t)ALIGN_UP(PAGE_SIZE + tail, PAGE_SIZE);
	block = aligned_alloc(PAGE_SIZE, total);
	require(block);
	memset(block, 0, total);
	memcpy(block, data, sizeof(struct dx_payload));
	memcpy(block + PAGE_SIZE, data + sizeof(struct dx_payload), tail);

	/* From the header's own bytes, so that the input stays one piece: any size up to the
	 * maximum. */
	ram_size = ALIGN_DOWN(((struct dx_payload *)block)->checksum % (RAM_MAX + 1), PAGE_SIZE);
	try_payload((struct dx_payload *)block, total, ram_size);
	repair_header((struct dx_payload *)block, total);
	try_payload((struct dx_payload *)block, total, ram_size);
	repair_parts((struct dx_payload *)block, total);
	repair_header((struct dx_payload *)block, total);
	try_payload((struct dx_payload *)block, total, ram_size);
	free(block);
	return 0;
}
