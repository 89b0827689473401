/* SPDX-License-Identifier: MIT */
/*
 * Checking the payload and placing it into the Root VM's RAM. scripts/mkimage makes the same tests
 * when it packs: what passes there and is not damaged since passes here.
 */
#include "payload/payload.h"

#include <string.h>

#include "payload/image.h"

#define CHECKSUM_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t checksum_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * CHECKSUM_FACTOR;
	return h ^ h >> 32;
}

/* Unrolled: five instructions a word, and the whole payload goes through this at boot. */
uint64_t payload_checksum(const void *data, size_t n, uint64_t h)
{
	const uint64_t *w = data, *end = w + n / sizeof(*w);

	for (; end - w >= 8; w += 8) {
		h = checksum_word(h, w[0]);
		h = checksum_word(h, w[1]);
		h = checksum_word(h, w[2]);
		h = checksum_word(h, w[3]);
		h = checksum_word(h, w[4]);
		h = checksum_word(h, w[5]);
		h = checksum_word(h, w[6]);
		h = checksum_word(h, w[7]);
	}
	for (; w < end; w++)
		h = checksum_word(h, *w);
	return h;
}

/* The checksum of the payload as it was before its own checksum was stored. */
static uint64_t checksum_of(const struct dx_payload *p)
{
	const size_t before = offsetof(struct dx_payload, checksum);
	const size_t after = before + sizeof(p->checksum);
	uint64_t h = payload_checksum(p, before, PAYLOAD_CHECKSUM_INIT);

	h = checksum_word(h, 0);
	return payload_checksum((const uint8_t *)p + after, (size_t)p->total_size - after, h);
}

static enum err check_part(const struct dx_payload *p, const struct dx_payload_part *part)
{
	if (part->size == 0)
		return part->offset == 0 ? OK : E_FORMAT;
	if (!IS_ALIGNED(part->offset, PAGE_SIZE))
		return E_FORMAT;
	if (!range_within(part->offset, part->size, ALIGN_UP(sizeof(*p), PAGE_SIZE),
		    p->total_size - ALIGN_UP(sizeof(*p), PAGE_SIZE)))
		return E_RANGE;
	return OK;
}

static enum err check_parts(const struct dx_payload *p)
{
	enum err err = check_part(p, &p->kernel);

	if (!err)
		err = check_part(p, &p->initrd);
	if (err)
		return err;
	if (range_overlaps(p->kernel.offset, p->kernel.size, p->initrd.offset, p->initrd.size))
		return E_FORMAT;
	return OK;
}

static enum err check_fields(const struct dx_payload *p)
{
	if (p->kernel_kind < DX_KERNEL_IMAGE || p->kernel_kind > DX_KERNEL_FLAT ||
		p->kernel.size == 0)
		return E_FORMAT;
	if (!IS_ALIGNED(p->ram_size | p->kernel_base, PAYLOAD_RAM_ALIGN))
		return E_FORMAT;
	if (!memchr(p->bootargs, '\0', sizeof(p->bootargs)))
		return E_FORMAT;
	return OK;
}

enum err payload_check(const struct dx_payload *p, size_t max)
{
	enum err err;

	if (max < sizeof(p->magic) || p->magic != DX_PAYLOAD_MAGIC)
		return E_NOENT;
	if (max < sizeof(*p))
		return E_RANGE;
	if (p->version != DX_PAYLOAD_VERSION || p->header_size != sizeof(*p))
		return E_FORMAT;
	if (!IS_ALIGNED(p->total_size, PAGE_SIZE) || p->total_size < sizeof(*p))
		return E_FORMAT;
	if (p->total_size > max)
		return E_RANGE;
	/* Before the fields, so that damage is called damage whichever field it hit. */
	if (checksum_of(p) != p->checksum)
		return E_CHECKSUM;
	err = check_fields(p);
	return err ? err : check_parts(p);
}

/* A flat binary has no header: it goes to the base of RAM and starts there. */
static void flat_layout(uint64_t size, struct kernel_layout *out)
{
	out->entry = 0;
	out->end = size;
	out->nsegments = 1;
	out->segments[0] = (struct kernel_segment){0, 0, size, size};
}

static enum err parse_kernel(const struct dx_payload *p, struct kernel_layout *out)
{
	const void *file = (const uint8_t *)p + p->kernel.offset;

	switch (p->kernel_kind) {
	case DX_KERNEL_IMAGE:
		return image_parse(file, p->kernel.size, out);
	case DX_KERNEL_ELF:
		return elf_parse(file, p->kernel.size, out);
	case DX_KERNEL_FLAT:
		flat_layout(p->kernel.size, out);
		return OK;
	default:
		return E_FORMAT;
	}
}

/* Offsets of the tree and of the initrd: from the top of RAM downwards, above the kernel. */
static enum err place_high(const struct dx_payload *p, uint64_t kernel_end, uint64_t ram_size,
	uint64_t *fdt, uint64_t *initrd)
{
	uint64_t room;

	if (ram_size < PAYLOAD_FDT_ROOM)
		return E_NOMEM;
	*fdt = ALIGN_DOWN(ram_size - PAYLOAD_FDT_ROOM, PAGE_SIZE);
	if (kernel_end > *fdt)
		return E_NOMEM;
	room = *fdt - kernel_end;
	if (p->initrd.size > room)
		return E_NOMEM;
	*initrd = ALIGN_DOWN(*fdt - p->initrd.size, PAGE_SIZE);
	return *initrd >= kernel_end ? OK : E_NOMEM;
}

static void copy_kernel(const struct dx_payload *p, const struct kernel_layout *l, uint8_t *ram)
{
	const uint8_t *file = (const uint8_t *)p + p->kernel.offset;

	for (unsigned i = 0; i < l->nsegments; i++) {
		const struct kernel_segment *s = &l->segments[i];
		uint8_t *to = ram + s->ram_offset;

		memcpy(to, file + s->file_offset, (size_t)s->file_size);
		/* An Image clears its own bss, and that of Linux is big. */
		if (p->kernel_kind == DX_KERNEL_ELF)
			memset(to + s->file_size, 0, (size_t)(s->mem_size - s->file_size));
	}
}

enum err payload_load(const struct dx_payload *p, gpa_t ram_base, uint64_t ram_size, void *ram,
	struct loaded *out)
{
	struct kernel_layout layout;
	uint64_t fdt, initrd;
	enum err err = parse_kernel(p, &layout);

	if (err)
		return err;
	if (layout.end > ram_size)
		return E_RANGE;
	err = place_high(p, layout.end, ram_size, &fdt, &initrd);
	if (err)
		return err;

	copy_kernel(p, &layout, ram);
	memcpy((uint8_t *)ram + initrd, (const uint8_t *)p + p->initrd.offset,
		(size_t)p->initrd.size);
	*out = (struct loaded){
		.entry = gpa_add(ram_base, layout.entry),
		.kernel_end = gpa_add(ram_base, layout.end),
		.initrd = gpa_add(ram_base, initrd),
		.initrd_size = p->initrd.size,
		.fdt = gpa_add(ram_base, fdt),
		.fdt_max = PAYLOAD_FDT_ROOM,
	};
	return OK;
}
