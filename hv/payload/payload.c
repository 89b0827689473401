/* SPDX-License-Identifier: MIT */
/* Checking the payload and placing it into the Root VM's RAM. What scripts/mkimage packs and is not
 * damaged since passes here, if the Root VM's RAM is large enough. */
#include "payload/payload.h"

#include <string.h>

#define CHECKSUM_INIT   UINT64_C(0xcbf29ce484222325)
#define CHECKSUM_FACTOR UINT64_C(0x9e3779b97f4a7c15)

/* Unrolled: five instructions a word, and the whole payload goes through this at boot. */
uint64_t payload_checksum(const void *data, size_t n)
{
	const uint64_t *w = data, *end = w + n / sizeof(*w);
	uint64_t h = CHECKSUM_INIT;

#pragma GCC unroll 8
	for (; w < end; w++) {
		h = (h ^ *w) * CHECKSUM_FACTOR;
		h ^= h >> 32;
	}
	return h;
}

static bool part_ok(const struct dx_payload *p, const struct dx_payload_part *part)
{
	return part->size == 0 ||
	       range_within(part->offset, part->size, sizeof(*p), p->total_size - sizeof(*p));
}

static bool segment_ok(const struct dx_payload *p, const struct dx_payload_segment *s)
{
	return part_ok(p, &s->part) && s->part.size <= s->ram_size &&
	       range_within(s->ram_offset, s->ram_size, 0, p->kernel_size);
}

static bool fields_ok(const struct dx_payload *p)
{
	if (p->nsegments < 1 || p->nsegments > DX_PAYLOAD_MAX_SEGMENTS)
		return false;
	for (unsigned i = 0; i < p->nsegments; i++)
		if (!segment_ok(p, &p->segments[i]))
			return false;
	return part_ok(p, &p->initrd) && p->entry < p->kernel_size &&
	       IS_ALIGNED(p->ram_size | p->kernel_base, PAYLOAD_RAM_ALIGN) &&
	       memchr(p->bootargs, '\0', sizeof(p->bootargs));
}

enum err payload_check(const struct dx_payload *p, size_t max)
{
	const size_t summed = offsetof(struct dx_payload, checksum) + sizeof(p->checksum);

	if (max < sizeof(*p) || p->magic != DX_PAYLOAD_MAGIC)
		return E_NOENT;
	if (p->version != DX_PAYLOAD_VERSION || p->header_size != sizeof(*p) ||
		p->total_size < sizeof(*p) || !IS_ALIGNED(p->total_size, PAGE_SIZE))
		return E_FORMAT;
	if (p->total_size > max)
		return E_RANGE;
	/* Before the other fields, so that damage is called damage whichever it hit. */
	if (payload_checksum((const uint8_t *)p + summed, p->total_size - summed) != p->checksum)
		return E_CHECKSUM;
	return fields_ok(p) ? OK : E_FORMAT;
}

enum err payload_load(const struct dx_payload *p, gpa_t ram_base, uint64_t ram_size, void *ram,
	struct loaded *out)
{
	const uint8_t *bytes = (const uint8_t *)p;
	uint64_t above = ALIGN_UP(p->initrd.size, PAGE_SIZE) + PAYLOAD_FDT_ROOM;
	uint64_t fdt = ram_size - PAYLOAD_FDT_ROOM, initrd = ram_size - above;

	if (ram_size < above || p->kernel_size > initrd)
		return E_NOMEM;
	for (unsigned i = 0; i < p->nsegments; i++) {
		const struct dx_payload_segment *s = &p->segments[i];
		uint8_t *to = (uint8_t *)ram + s->ram_offset;

		memcpy(to, bytes + s->part.offset, s->part.size);
		memset(to + s->part.size, 0, s->ram_size - s->part.size);
	}
	memcpy((uint8_t *)ram + initrd, bytes + p->initrd.offset, p->initrd.size);
	*out = (struct loaded){
		gpa_add(ram_base, p->entry), gpa_add(ram_base, initrd), gpa_add(ram_base, fdt)};
	return OK;
}
