/* SPDX-License-Identifier: MIT */
/*
 * 64-bit RISC-V ELF executables, System V ABI "ELF-64 Object File Format". Only the file header and
 * the program headers are read; nothing in the file is assumed to be aligned.
 */
#include "payload/image.h"

#include <string.h>

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(struct elf_header) == 64, "Elf64_Ehdr");

struct elf_phdr {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
static_assert(sizeof(struct elf_phdr) == 56, "Elf64_Phdr");

/* ELF, 64 bit, little-endian, current version. */
static const uint8_t elf_ident[7] = {0x7f, 'E', 'L', 'F', 2, 1, 1};

#define ET_EXEC  2
#define ET_DYN   3 /* a position-independent kernel that relocates itself */
#define EM_RISCV 243
#define PT_LOAD  1

#define ELF_MAX_PHDRS 64 /* bound of the loop over them; linkers write about ten */

static enum err read_header(const void *file, uint64_t size, struct elf_header *h)
{
	if (size < sizeof(*h))
		return E_FORMAT;
	memcpy(h, file, sizeof(*h));
	if (memcmp(h->ident, elf_ident, sizeof(elf_ident)) != 0 || h->machine != EM_RISCV)
		return E_FORMAT;
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return E_FORMAT;
	if (h->phentsize != sizeof(struct elf_phdr))
		return E_FORMAT;
	if (h->phnum > ELF_MAX_PHDRS)
		return E_NOMEM;
	return range_within(h->phoff, h->phnum * sizeof(struct elf_phdr), 0, size) ? OK : E_RANGE;
}

static enum err check_phdr(const struct elf_phdr *p, uint64_t size)
{
	if (p->filesz > p->memsz)
		return E_FORMAT;
	if (!range_within(p->offset, p->filesz, 0, size) || p->paddr > UINT64_MAX - p->memsz)
		return E_RANGE;
	return OK;
}

/* Two segments on the same bytes: which of them would count? */
static bool overlaps_earlier(const struct kernel_layout *l, const struct elf_phdr *p)
{
	for (unsigned i = 0; i < l->nsegments; i++) {
		const struct kernel_segment *s = &l->segments[i];

		if (range_overlaps(s->ram_offset, s->mem_size, p->paddr, p->memsz))
			return true;
	}
	return false;
}

static enum err add_segment(struct kernel_layout *l, const struct elf_phdr *p)
{
	if (overlaps_earlier(l, p))
		return E_FORMAT;
	if (l->nsegments == KERNEL_MAX_SEGMENTS)
		return E_NOMEM;
	l->segments[l->nsegments++] =
		(struct kernel_segment){p->paddr, p->offset, p->filesz, p->memsz};
	return OK;
}

/* From physical addresses to offsets from the lowest one. */
static void rebase(struct kernel_layout *l)
{
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < l->nsegments; i++)
		lowest = MIN(lowest, l->segments[i].ram_offset);
	l->entry -= lowest;
	l->end = 0;
	for (unsigned i = 0; i < l->nsegments; i++) {
		struct kernel_segment *s = &l->segments[i];

		s->ram_offset -= lowest;
		l->end = MAX(l->end, s->ram_offset + s->mem_size);
	}
}

enum err elf_parse(const void *file, uint64_t size, struct kernel_layout *out)
{
	struct elf_header h;
	enum err err = read_header(file, size, &h);
	bool has_entry = false;

	if (err)
		return err;
	out->nsegments = 0;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf_phdr p;

		memcpy(&p, (const uint8_t *)file + h.phoff + i * sizeof(p), sizeof(p));
		if (p.type != PT_LOAD || p.memsz == 0)
			continue;
		err = check_phdr(&p, size);
		if (!err)
			err = add_segment(out, &p);
		if (err)
			return err;
		/* The entry is a virtual address; code lies in the file's bytes, not in bss. */
		if (h.entry >= p.vaddr && h.entry - p.vaddr < p.filesz) {
			out->entry = p.paddr + (h.entry - p.vaddr);
			has_entry = true;
		}
	}
	if (out->nsegments == 0)
		return E_FORMAT;
	if (!has_entry)
		return E_RANGE;
	rebase(out);
	return OK;
}
