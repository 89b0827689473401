/* SPDX-License-Identifier: MIT */
/*
 * Kernel files: the RISC-V Linux Image (Linux, Documentation/arch/riscv/boot-image-header.rst) and
 * 64-bit ELF executables. Where their parts go in the child's RAM; nothing in a file is believed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dx.h"

#define IMAGE_MAGIC2 0x05435352u /* "RSC\x05" */
#define BASE_ALIGN   0x200000    /* an ELF that moves, moves by so much: page tables of kernels */

struct image_header {
	uint32_t code[2];
	uint64_t text_offset; /* from the start of RAM */
	uint64_t image_size;  /* in memory, with what follows the file */
	uint64_t flags;
	uint32_t version, reserved1;
	uint64_t reserved2, magic;
	uint32_t magic2, reserved3;
};

/* Of a pipe, the opening does not wait for a writer. */
struct image image_open(const char *path)
{
	struct image f = {path, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};

	if (f.fd < 0)
		die_file(path);
	image_size(&f);
	return f;
}

uint64_t image_size(const struct image *f)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		die_file(f->path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		die(ST_FAILED, "%s: not a file, or empty", escaped(f->path));
	return (uint64_t)st.st_size;
}

void image_read(const struct image *f, uint64_t offset, void *to, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t n = pread(f->fd, (uint8_t *)to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			die_file(f->path);
		if (n == 0)
			die(ST_FAILED, "%s: it has become shorter", escaped(f->path));
		done += n > 0 ? (uint64_t)n : 0;
	}
}

static bool within(uint64_t start, uint64_t size, uint64_t limit)
{
	return start <= limit && size <= limit - start;
}

/* --- Image --- */

static bool is_image(const struct image *f)
{
	struct image_header h;

	if (image_size(f) < sizeof(h))
		return false;
	image_read(f, 0, &h, sizeof(h));
	return h.magic2 == IMAGE_MAGIC2;
}

static void layout_image(const struct image *f, uint64_t base, struct layout *l)
{
	uint64_t size = image_size(f);
	struct image_header h;

	image_read(f, 0, &h, sizeof(h));
	if (h.image_size < size || h.image_size > UINT32_MAX || h.text_offset > UINT32_MAX)
		die(ST_FAILED, "the kernel's header is damaged");
	l->parts[0] = (struct part){0, size, base + h.text_offset, h.image_size};
	l->nparts = 1;
	l->entry = base + h.text_offset;
}

/* --- ELF --- */

static bool is_elf(const struct image *f)
{
	static const unsigned char ident[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};

	unsigned char start[sizeof(ident)];

	if (image_size(f) < sizeof(Elf64_Ehdr))
		return false;
	image_read(f, 0, start, sizeof(start));
	return memcmp(start, ident, sizeof(ident)) == 0;
}

static Elf64_Phdr elf_phdr(const struct image *f, const Elf64_Ehdr *e, unsigned i)
{
	Elf64_Phdr p;

	image_read(f, e->e_phoff + i * sizeof(p), &p, sizeof(p));
	if (p.p_type == PT_LOAD &&
		(!within(p.p_offset, p.p_filesz, image_size(f)) || p.p_filesz > p.p_memsz ||
			p.p_paddr > UINT64_MAX - p.p_memsz))
		die(ST_FAILED, "the kernel's program headers are damaged");
	return p;
}

static Elf64_Ehdr elf_header(const struct image *f)
{
	Elf64_Ehdr e;

	image_read(f, 0, &e, sizeof(e));
	if (e.e_machine != EM_RISCV || e.e_phentsize != sizeof(Elf64_Phdr) ||
		!within(e.e_phoff, e.e_phnum * sizeof(Elf64_Phdr), image_size(f)))
		die(ST_FAILED, "not an ELF executable for 64-bit RISC-V");
	return e;
}

/* Where it is linked to if that is RAM, else from the start of RAM on: what to add. */
static uint64_t elf_shift(uint64_t low, uint64_t high, uint64_t base, uint64_t size)
{
	if (low >= base && within(high - base, 0, size))
		return 0;
	return base + low % BASE_ALIGN - low;
}

static void elf_bounds(const struct image *f, const Elf64_Ehdr *e, uint64_t *low, uint64_t *high)
{
	*low = UINT64_MAX;
	*high = 0;
	for (unsigned i = 0; i < e->e_phnum; i++) {
		Elf64_Phdr p = elf_phdr(f, e, i);

		if (p.p_type != PT_LOAD || p.p_memsz == 0)
			continue;
		*low = p.p_paddr < *low ? p.p_paddr : *low;
		*high = p.p_paddr + p.p_memsz > *high ? p.p_paddr + p.p_memsz : *high;
	}
	if (*high == 0)
		die(ST_FAILED, "the ELF file has nothing to load");
}

/* The entry is a virtual address where the two differ, a physical one in some kernels' files. */
static void layout_elf(const struct image *f, uint64_t base, uint64_t size, struct layout *l)
{
	Elf64_Ehdr e = elf_header(f);
	uint64_t low, high, shift;

	elf_bounds(f, &e, &low, &high);
	shift = elf_shift(low, high, base, size);
	l->entry = e.e_entry + shift;
	for (unsigned i = 0; i < e.e_phnum; i++) {
		Elf64_Phdr p = elf_phdr(f, &e, i);

		if (p.p_type != PT_LOAD || p.p_memsz == 0)
			continue;
		if (l->nparts == IMAGE_MAX_PARTS)
			die(ST_FAILED, "the ELF file has more than %d segments", IMAGE_MAX_PARTS);
		l->parts[l->nparts++] =
			(struct part){p.p_offset, p.p_filesz, p.p_paddr + shift, p.p_memsz};
		if (e.e_entry >= p.p_vaddr && e.e_entry - p.p_vaddr < p.p_memsz)
			l->entry = e.e_entry - p.p_vaddr + p.p_paddr + shift;
	}
}

static bool is_compressed(const struct image *f)
{
	uint8_t start[2] = {0};

	if (image_size(f) > sizeof(start))
		image_read(f, 0, start, sizeof(start));
	return start[0] == 0x1f && start[1] == 0x8b;
}

void image_layout(const struct image *f, uint64_t base, uint64_t size, struct layout *l)
{
	*l = (struct layout){0};
	if (is_elf(f))
		layout_elf(f, base, size, l);
	else if (is_image(f))
		layout_image(f, base, l);
	else
		die(ST_FAILED, "%s: neither a Linux Image nor an ELF file%s", escaped(f->path),
			is_compressed(f) ? ", but compressed: gunzip it" : "");
	for (unsigned i = 0; i < l->nparts; i++) {
		struct part *p = &l->parts[i];

		if (p->gpa < base || !within(p->gpa - base, p->mem_size, size))
			die(ST_FAILED, "%s: does not fit into %llu KiB of RAM", escaped(f->path),
				(unsigned long long)size >> 10);
		l->end = p->gpa + p->mem_size > l->end ? p->gpa + p->mem_size : l->end;
	}
}
