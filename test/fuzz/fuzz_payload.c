/* SPDX-License-Identifier: MIT */
/*
 * A payload may hold anything. Checking and loading it must end in success or an error, touch only
 * the payload and the RAM, and give a result that keeps its promises.
 *
 * The input is a header followed by the kernel's and initrd's bytes, which belong one page further
 * on. It is tried as it is, and again with the fields repaired that no fuzzer would guess (magic,
 * sizes, checksum), and so is the kernel in it.
 */
#include <stdlib.h>
#include <string.h>

#include "payload/image.h"
#include "payload/payload.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_MAX  MIB(1)

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void check_layout(const struct kernel_layout *l, uint64_t file_size)
{
	bool entry_inside = false;

	require(l->nsegments >= 1 && l->nsegments <= KERNEL_MAX_SEGMENTS);
	for (unsigned i = 0; i < l->nsegments; i++) {
		const struct kernel_segment *s = &l->segments[i];

		require(range_within(s->file_offset, s->file_size, 0, file_size));
		require(s->file_size <= s->mem_size);
		require(range_within(s->ram_offset, s->mem_size, 0, l->end));
		entry_inside |= range_within(l->entry, 1, s->ram_offset, s->file_size);
		for (unsigned j = 0; j < i; j++)
			require(!range_overlaps(s->ram_offset, s->mem_size,
				l->segments[j].ram_offset, l->segments[j].mem_size));
	}
	require(entry_inside);
}

#define PHDRS     64 /* offset of the program headers, behind the ELF header */
#define PHDR_SIZE 56

/* Takes 8 bytes modulo `limit`. */
static void reduce64(uint8_t *at, uint64_t limit)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	v %= limit;
	memcpy(at, &v, sizeof(v));
}

/* A segment near to what can be loaded. The input says by a flag whether it wants that: fields that
 * are far out must be tried too. */
static void repair_phdr(uint8_t *phdr, size_t file_size)
{
	static const uint8_t load[4] = {1, 0, 0, 0};

	if (!(phdr[4] & 1))
		return;
	memcpy(phdr, load, sizeof(load));
	reduce64(phdr + 8, file_size);  /* offset */
	reduce64(phdr + 16, 1 << 16);   /* virtual address */
	reduce64(phdr + 24, RAM_MAX);   /* physical address */
	reduce64(phdr + 32, file_size); /* bytes in the file */
	reduce64(phdr + 40, RAM_MAX);   /* bytes in memory */
}

static void repair_elf(uint8_t *file, size_t size)
{
	static const uint8_t ident[20] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 243};
	static const uint8_t phoff[8] = {PHDRS};

	memcpy(file, ident, sizeof(ident));
	if (file[48] & 1)
		reduce64(file + 24, 1 << 16); /* entry */
	memcpy(file + 32, phoff, sizeof(phoff));
	file[54] = PHDR_SIZE;
	file[56] %= 8; /* how many */
	file[55] = file[57] = 0;
	for (size_t i = 0; i < file[56] && PHDRS + (i + 1) * PHDR_SIZE <= size; i++)
		repair_phdr(file + PHDRS + i * PHDR_SIZE, size);
}

/* Makes it look like a kernel of that kind. */
static void repair_kernel(uint8_t *file, size_t size, uint32_t kind)
{
	if (size < 64)
		return;
	if (kind == DX_KERNEL_ELF)
		repair_elf(file, size);
	else if (kind == DX_KERNEL_IMAGE)
		memcpy(file + 56, "RSC\x05", 4);
}

/* In an allocation of its own: an access beyond the file is then one beyond the block. */
static void parse_file(const uint8_t *data, size_t size, uint32_t kind)
{
	uint8_t *file = malloc(size ? size : 1);
	struct kernel_layout l;

	require(file);
	if (size)
		memcpy(file, data, size);
	repair_kernel(file, size, kind);
	if (image_parse(file, size, &l) == OK)
		check_layout(&l, size);
	if (elf_parse(file, size, &l) == OK)
		check_layout(&l, size);
	free(file);
}

static void check_loaded(const struct loaded *l, uint64_t ram_size)
{
	require(l->entry.v >= RAM_BASE && l->entry.v < l->kernel_end.v);
	require(l->kernel_end.v <= l->initrd.v || l->initrd_size == 0);
	require(l->initrd.v + l->initrd_size <= l->fdt.v);
	require(IS_ALIGNED(l->fdt.v, PAGE_SIZE) && l->fdt.v + l->fdt_max <= RAM_BASE + ram_size);
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
		check_loaded(&l, ram_size);
	free(ram);
}

/* Brings a part near to where it may lie, without making sure that it fits. */
static void repair_part(struct dx_payload_part *part, size_t total)
{
	part->offset = part->size ? ALIGN_DOWN(part->offset % total, PAGE_SIZE) : 0;
	part->size %= total;
}

static void repair_parts(struct dx_payload *p, size_t total)
{
	repair_part(&p->kernel, total);
	repair_part(&p->initrd, total);
	p->kernel_kind = p->kernel_kind % 4;
	p->ram_size = ALIGN_DOWN(p->ram_size, PAYLOAD_RAM_ALIGN);
	p->kernel_base = ALIGN_DOWN(p->kernel_base, PAYLOAD_RAM_ALIGN);
	p->bootargs[sizeof(p->bootargs) - 1] = '\0';
	if (range_within(p->kernel.offset, p->kernel.size, PAGE_SIZE, total - PAGE_SIZE))
		repair_kernel((uint8_t *)p + p->kernel.offset, p->kernel.size, p->kernel_kind);
}

static void repair_header(struct dx_payload *p, size_t total)
{
	p->magic = DX_PAYLOAD_MAGIC;
	p->version = DX_PAYLOAD_VERSION;
	p->header_size = sizeof(*p);
	p->total_size = total;
	p->checksum = 0;
	p->checksum = payload_checksum(p, total, PAYLOAD_CHECKSUM_INIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tail, total;
	uint64_t ram_size;
	uint8_t *block;

	parse_file(data, size, 0);
	parse_file(data, size, DX_KERNEL_IMAGE);
	parse_file(data, size, DX_KERNEL_ELF);
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
