/* SPDX-License-Identifier: MIT */
/* The RISC-V Linux boot image. ELF executables are parsed in elf.c. */
#include "payload/image.h"

#include <string.h>

/* Linux, Documentation/arch/riscv/boot-image-header.rst. All little-endian. */
struct image_header {
	uint32_t code[2];
	uint64_t text_offset; /* where the image goes, from the start of RAM */
	uint64_t image_size;  /* in memory: what follows the file's bytes is bss */
	uint64_t flags;
	uint32_t version, reserved1;
	uint64_t reserved2, magic; /* magic is deprecated: some kernels put other things there */
	uint32_t magic2, reserved3;
};
static_assert(sizeof(struct image_header) == 64, "the boot protocol's");

#define IMAGE_MAGIC2     0x05435352u /* "RSC\x05" in memory order */
#define IMAGE_BIG_ENDIAN 1u          /* of flags */

enum err image_parse(const void *file, uint64_t size, struct kernel_layout *out)
{
	struct image_header h;

	if (size < sizeof(h))
		return E_FORMAT;
	memcpy(&h, file, sizeof(h)); /* `file` may have any alignment */
	if (h.magic2 != IMAGE_MAGIC2 || (h.flags & IMAGE_BIG_ENDIAN))
		return E_FORMAT;
	if (!IS_ALIGNED(h.text_offset, PAGE_SIZE) || h.image_size < size)
		return E_FORMAT;
	if (h.text_offset > UINT64_MAX - h.image_size)
		return E_RANGE;

	out->entry = h.text_offset;
	out->end = h.text_offset + h.image_size;
	out->nsegments = 1;
	out->segments[0] = (struct kernel_segment){h.text_offset, 0, size, h.image_size};
	return OK;
}
