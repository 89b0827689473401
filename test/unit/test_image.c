/* SPDX-License-Identifier: MIT */
/*
 * hv/payload/image.c and elf.c. If they failed, a damaged or hostile kernel file would make the
 * hypervisor read or write outside of it, or a good one would be refused or entered at a wrong
 * place.
 *
 * Each file lies at an odd address, in an allocation of exactly its size: ASan and UBSan see an
 * access beyond its end and one that assumes alignment.
 */
#include "unit.h"
#include "payload/image.h"

/* --- Image --------------------------------------------------------------------------- */

#define IMAGE_BYTES 200

struct image_fields {
	uint64_t text_offset, image_size, flags;
	const char *magic2;
};

static const struct image_fields good_image = {0x200000, 0x5000, 0, "RSC\x05"};

static enum err parse_image(const struct image_fields *f, size_t size, struct kernel_layout *out)
{
	unsigned char *block = calloc(1, size + 1), *file = block + 1, header[64] = {0};
	enum err err;

	assert_non_null(block);
	memcpy(header + 8, &f->text_offset, 8);
	memcpy(header + 16, &f->image_size, 8);
	memcpy(header + 24, &f->flags, 8);
	memcpy(header + 56, f->magic2, 4);
	memcpy(file, header, size < 64 ? size : 64);
	err = image_parse(file, size, out);
	free(block);
	return err;
}

static void image_layout(void **state)
{
	struct kernel_layout l;

	assert_int_equal(parse_image(&good_image, IMAGE_BYTES, &l), OK);
	assert_int_equal(l.entry, 0x200000);
	assert_int_equal(l.end, 0x205000);
	assert_int_equal(l.nsegments, 1);
	assert_int_equal(l.segments[0].ram_offset, 0x200000);
	assert_int_equal(l.segments[0].file_offset, 0);
	assert_int_equal(l.segments[0].file_size, IMAGE_BYTES);
	assert_int_equal(l.segments[0].mem_size, 0x5000);
}

static void image_header_cut(void **state)
{
	struct image_fields f = good_image;
	struct kernel_layout l;

	for (size_t size = 0; size < 64; size++)
		assert_int_equal(parse_image(&f, size, &l), E_FORMAT);
	assert_int_equal(parse_image(&f, 64, &l), OK);
}

static void image_magic(void **state)
{
	static const char *const wrong[] = {"RSC\x04", "RSD\x05", "xSC\x05", "\0\0\0\0", "RISC"};
	struct image_fields f = good_image;
	struct kernel_layout l;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		f.magic2 = wrong[i];
		assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_FORMAT);
	}
}

static void image_endianness(void **state)
{
	struct image_fields f = good_image;
	struct kernel_layout l;

	f.flags = 1;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_FORMAT);
	f.flags = 2; /* not ours to judge */
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), OK);
}

static void image_size_boundaries(void **state)
{
	struct image_fields f = good_image;
	struct kernel_layout l;

	f.image_size = 0;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_FORMAT);
	f.image_size = IMAGE_BYTES - 1;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_FORMAT);
	f.image_size = IMAGE_BYTES;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), OK);
	f.image_size = UINT64_MAX - 0x200000;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), OK);
	assert_true(l.end == UINT64_MAX);
	f.image_size = UINT64_MAX - 0x200000 + 1;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_RANGE);
	f.image_size = UINT64_MAX;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_RANGE);
}

static void image_text_offset(void **state)
{
	struct image_fields f = good_image;
	struct kernel_layout l;

	f.text_offset = 0;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), OK);
	assert_int_equal(l.entry, 0);
	f.text_offset = 0x200001;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_FORMAT);
	f.text_offset = 0xfffffffffffff000;
	assert_int_equal(parse_image(&f, IMAGE_BYTES, &l), E_RANGE);
}

/* --- ELF ----------------------------------------------------------------------------- */

struct phdr {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct elf {
	unsigned char ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
	struct phdr phdrs[70];
};

#define ELF_FILE_SIZE 0x1300

/* Two segments: code that is linked at a kernel-like virtual address, and data with bss. */
static struct elf good_elf(void)
{
	struct elf e = {
		.ident = {0x7f, 'E', 'L', 'F', 2, 1, 1},
		.type = 2,
		.machine = 243,
		.version = 1,
		.entry = 0xffffffff80000010,
		.phoff = 64,
		.ehsize = 64,
		.phentsize = 56,
		.phnum = 2,
	};

	e.phdrs[0] =
		(struct phdr){1, 5, 0x1000, 0xffffffff80000000, 0x80200000, 0x100, 0x100, 0x1000};
	e.phdrs[1] =
		(struct phdr){1, 6, 0x1100, 0xffffffff80001000, 0x80201000, 0x200, 0x3000, 0x1000};
	return e;
}

static enum err parse_elf_sized(const struct elf *e, size_t size, struct kernel_layout *out)
{
	unsigned char *block = calloc(1, size + 1), *file = block + 1;
	enum err err;

	assert_non_null(block);
	memcpy(file, e, size < sizeof(*e) ? size : sizeof(*e));
	err = elf_parse(file, size, out);
	free(block);
	return err;
}

static enum err parse_elf(const struct elf *e, struct kernel_layout *out)
{
	return parse_elf_sized(e, ELF_FILE_SIZE, out);
}

static void elf_layout(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	assert_int_equal(parse_elf(&e, &l), OK);
	assert_int_equal(l.entry, 0x10);
	assert_int_equal(l.end, 0x4000);
	assert_int_equal(l.nsegments, 2);
	assert_int_equal(l.segments[0].ram_offset, 0);
	assert_int_equal(l.segments[0].file_offset, 0x1000);
	assert_int_equal(l.segments[0].file_size, 0x100);
	assert_int_equal(l.segments[0].mem_size, 0x100);
	assert_int_equal(l.segments[1].ram_offset, 0x1000);
	assert_int_equal(l.segments[1].file_offset, 0x1100);
	assert_int_equal(l.segments[1].file_size, 0x200);
	assert_int_equal(l.segments[1].mem_size, 0x3000);
}

/* Physical addresses count, in any order; virtual ones only say where the entry is. */
static void elf_lowest_segment_second(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phdrs[0].paddr = 0x80205000;
	assert_int_equal(parse_elf(&e, &l), OK);
	assert_int_equal(l.segments[0].ram_offset, 0x4000);
	assert_int_equal(l.segments[1].ram_offset, 0);
	assert_int_equal(l.entry, 0x4010);
	assert_int_equal(l.end, 0x4100);
}

static void elf_position_independent(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.type = 3;
	assert_int_equal(parse_elf(&e, &l), OK);
}

static void elf_header_fields(void **state)
{
	struct elf good = good_elf();
	struct kernel_layout l;

	for (size_t i = 0; i < 7; i++) {
		struct elf e = good;

		e.ident[i] ^= 1;
		assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	}
	static const uint16_t types[] = {0, 1, 4, 0xff00};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct elf e = good;

		e.type = types[i];
		assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	}
	struct elf x86 = good, wide = good;

	x86.machine = 62;
	assert_int_equal(parse_elf(&x86, &l), E_FORMAT);
	wide.phentsize = 64;
	assert_int_equal(parse_elf(&wide, &l), E_FORMAT);
}

static void elf_cut_anywhere(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	for (size_t size = 0; size < 64; size++)
		assert_int_equal(parse_elf_sized(&e, size, &l), E_FORMAT);
	for (size_t size = 64; size < ELF_FILE_SIZE; size++)
		assert_int_equal(parse_elf_sized(&e, size, &l), E_RANGE);
}

static void elf_table_out_of_file(void **state)
{
	static const uint64_t places[] = {ELF_FILE_SIZE - 2 * 56 + 1, ELF_FILE_SIZE, UINT64_MAX,
		UINT64_MAX - 111, UINT64_C(1) << 63};
	struct kernel_layout l;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct elf e = good_elf();

		e.phoff = places[i];
		assert_int_equal(parse_elf(&e, &l), E_RANGE);
	}
}

static void elf_table_too_long(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phnum = 64; /* the others are PT_NULL */
	assert_int_equal(parse_elf(&e, &l), OK);
	assert_int_equal(l.nsegments, 2);
	e.phnum = 65;
	assert_int_equal(parse_elf(&e, &l), E_NOMEM);
	e.phnum = 0xffff;
	assert_int_equal(parse_elf(&e, &l), E_NOMEM);
}

static void elf_segment_limit(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	for (unsigned i = 2; i <= KERNEL_MAX_SEGMENTS; i++)
		e.phdrs[i] = (struct phdr){1, 6, 0, 0, 0x90000000 + i * 0x1000, 8, 8, 8};
	e.phnum = KERNEL_MAX_SEGMENTS;
	assert_int_equal(parse_elf(&e, &l), OK);
	assert_int_equal(l.nsegments, KERNEL_MAX_SEGMENTS);
	e.phnum = KERNEL_MAX_SEGMENTS + 1;
	assert_int_equal(parse_elf(&e, &l), E_NOMEM);
}

static void elf_nothing_to_load(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phnum = 0;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	e.phnum = 2;
	e.phdrs[0].type = 2;
	e.phdrs[1].filesz = e.phdrs[1].memsz = 0;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
}

/* Headers that are not loaded are not looked at, whatever they hold. */
static void elf_other_headers_ignored(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phdrs[2] = (struct phdr){0x70000003, 4, UINT64_MAX, 0, 0, UINT64_MAX, 0, 1};
	e.phdrs[3] = (struct phdr){1, 4, UINT64_MAX, 0, 0, 0, 0, 1};
	e.phnum = 4;
	assert_int_equal(parse_elf(&e, &l), OK);
	assert_int_equal(l.nsegments, 2);
}

static void elf_segment_out_of_file(void **state)
{
	static const struct {
		uint64_t offset, filesz;
		enum err want;
	} cases[] = {
		{ELF_FILE_SIZE - 0x200, 0x200, OK},
		{ELF_FILE_SIZE - 0x1ff, 0x200, E_RANGE},
		{ELF_FILE_SIZE, 0, OK},
		{ELF_FILE_SIZE + 1, 0, E_RANGE},
		{UINT64_MAX, 2, E_RANGE},
		{UINT64_MAX - 0x1ff, 0x200, E_RANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct elf e = good_elf();
		struct kernel_layout l;

		e.phdrs[1].offset = cases[i].offset;
		e.phdrs[1].filesz = cases[i].filesz;
		assert_int_equal(parse_elf(&e, &l), cases[i].want);
	}
}

static void elf_more_file_than_memory(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phdrs[1].memsz = 0x1ff;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	e.phdrs[1].memsz = 0x200;
	assert_int_equal(parse_elf(&e, &l), OK);
}

static void elf_address_wraps(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phdrs[1].memsz = UINT64_MAX - 0x80201000;
	assert_int_equal(parse_elf(&e, &l), OK);
	assert_true(l.end == UINT64_MAX - 0x80200000);
	e.phdrs[1].memsz++;
	assert_int_equal(parse_elf(&e, &l), E_RANGE);
	e.phdrs[1].memsz = UINT64_MAX;
	assert_int_equal(parse_elf(&e, &l), E_RANGE);
	e.phdrs[1].memsz = 0x3000;
	e.phdrs[1].paddr = UINT64_MAX - 0x2000;
	assert_int_equal(parse_elf(&e, &l), E_RANGE);
}

static void elf_segments_overlap(void **state)
{
	struct elf e = good_elf();
	struct kernel_layout l;

	e.phdrs[1].paddr = 0x80200100; /* right behind the first */
	assert_int_equal(parse_elf(&e, &l), OK);
	e.phdrs[1].paddr = 0x802000ff;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	e.phdrs[1].paddr = 0x80200000;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
	e.phdrs[1].paddr = 0x80200000 - 0x3000; /* bss up to the first */
	assert_int_equal(parse_elf(&e, &l), OK);
	e.phdrs[1].paddr++;
	assert_int_equal(parse_elf(&e, &l), E_FORMAT);
}

static void elf_entry(void **state)
{
	static const struct {
		uint64_t entry;
		enum err want;
		uint64_t offset;
	} cases[] = {
		{0xffffffff80000000, OK, 0},
		{0xffffffff800000ff, OK, 0xff},
		{0xffffffff7fffffff, E_RANGE, 0},
		{0xffffffff80000100, E_RANGE, 0},
		{0xffffffff80001000, OK, 0x1000},
		{0xffffffff800011ff, OK, 0x11ff},
		{0xffffffff80001200, E_RANGE, 0}, /* bss holds no code */
		{0x80200000, E_RANGE, 0},         /* a physical address is not an entry */
		{0, E_RANGE, 0},
		{UINT64_MAX, E_RANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct elf e = good_elf();
		struct kernel_layout l;

		e.entry = cases[i].entry;
		assert_int_equal(parse_elf(&e, &l), cases[i].want);
		if (cases[i].want == OK)
			assert_int_equal(l.entry, cases[i].offset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image_layout),
		cmocka_unit_test(image_header_cut),
		cmocka_unit_test(image_magic),
		cmocka_unit_test(image_endianness),
		cmocka_unit_test(image_size_boundaries),
		cmocka_unit_test(image_text_offset),
		cmocka_unit_test(elf_layout),
		cmocka_unit_test(elf_lowest_segment_second),
		cmocka_unit_test(elf_position_independent),
		cmocka_unit_test(elf_header_fields),
		cmocka_unit_test(elf_cut_anywhere),
		cmocka_unit_test(elf_table_out_of_file),
		cmocka_unit_test(elf_table_too_long),
		cmocka_unit_test(elf_segment_limit),
		cmocka_unit_test(elf_nothing_to_load),
		cmocka_unit_test(elf_other_headers_ignored),
		cmocka_unit_test(elf_segment_out_of_file),
		cmocka_unit_test(elf_more_file_than_memory),
		cmocka_unit_test(elf_address_wraps),
		cmocka_unit_test(elf_segments_overlap),
		cmocka_unit_test(elf_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
