/* SPDX-License-Identifier: MIT */
/*
 * hv/payload/payload.c. If it failed, a damaged payload would be booted, a good one refused, or a
 * part of it be written outside the Root VM's RAM or over another part.
 */
#include "unit.h"
#include "payload/payload.h"

#define KERNEL_AT   0x1000
#define KERNEL_SIZE 0x1800
#define INITRD_AT   0x3000
#define INITRD_SIZE 0x1001
#define TOTAL       0x5000

#define RAM_BASE 0x80000000
#define RAM_SIZE MIB(4)

static struct dx_payload *p;
static unsigned char *ram;

/* As the packer does it: the field is 0 while it is summed over. */
static void seal(void)
{
	p->checksum = 0;
	p->checksum = payload_checksum(p, p->total_size, PAYLOAD_CHECKSUM_INIT);
}

static unsigned char *kernel(void)
{
	return (unsigned char *)p + KERNEL_AT;
}

static void fill(unsigned char *at, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (unsigned char)(i * 13 + i / 256 + seed);
}

static void put64(unsigned char *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

static void make_image(uint64_t text_offset, uint64_t image_size)
{
	p->kernel_kind = DX_KERNEL_IMAGE;
	put64(kernel() + 8, text_offset);
	put64(kernel() + 16, image_size);
	put64(kernel() + 24, 0);
	memcpy(kernel() + 56, "RSC\x05", 4);
	seal();
}

/* One segment of 16 bytes with 48 bytes of bss, and one that lies 0x3000 bytes above. */
static void make_elf(void)
{
	static const unsigned char ident[16] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
	static const uint16_t type_machine[2] = {2, 243}, counts[3] = {64, 56, 2};
	unsigned char *k = kernel();

	p->kernel_kind = DX_KERNEL_ELF;
	memcpy(k, ident, 16);
	memcpy(k + 16, type_machine, 4);
	put64(k + 24, 0x80000004); /* entry */
	put64(k + 32, 64);         /* program headers */
	memcpy(k + 52, counts, 6);
	for (unsigned i = 0; i < 2; i++) {
		unsigned char *h = k + 64 + i * 56;

		put64(h, 1 | UINT64_C(5) << 32);
		put64(h + 8, 0x1000 + i * 0x100);
		put64(h + 16, 0x80000000 + i * 0x3000);
		put64(h + 24, 0x80000000 + i * 0x3000);
		put64(h + 32, 16);
		put64(h + 40, 64);
	}
	seal();
}

static int setup(void **state)
{
	p = aligned_alloc(4096, TOTAL);
	ram = malloc(RAM_SIZE);
	if (!p || !ram)
		return -1;
	memset(p, 0, TOTAL);
	memset(ram, 0xee, RAM_SIZE);
	p->magic = DX_PAYLOAD_MAGIC;
	p->version = DX_PAYLOAD_VERSION;
	p->header_size = sizeof(*p);
	p->total_size = TOTAL;
	p->kernel = (struct dx_payload_part){KERNEL_AT, KERNEL_SIZE};
	p->initrd = (struct dx_payload_part){INITRD_AT, INITRD_SIZE};
	strcpy(p->bootargs, "console=hvc0");
	fill(kernel(), KERNEL_SIZE, 1);
	fill((unsigned char *)p + INITRD_AT, INITRD_SIZE, 2);
	make_image(MIB(2), 0x2000);
	return 0;
}

static int teardown(void **state)
{
	free(p);
	free(ram);
	return 0;
}

/* --- the checksum -------------------------------------------------------------------- */

static void checksum_is_the_documented_one(void **state)
{
	uint64_t words[19], h = UINT64_C(0xcbf29ce484222325);

	for (size_t n = 0; n <= 19; n++) {
		assert_true(payload_checksum(words, n * 8, PAYLOAD_CHECKSUM_INIT) == h);
		if (n == 19)
			break;
		words[n] = n * UINT64_C(0x123456789abcdef1);
		h = (h ^ words[n]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	/* From outside: computed with Python from the formula. */
	static const uint64_t zero[1], ones[1] = {UINT64_MAX};
	assert_true(
		payload_checksum(zero, 8, PAYLOAD_CHECKSUM_INIT) == UINT64_C(0xf8bb92c91b3f5cc0));
	assert_true(
		payload_checksum(ones, 8, PAYLOAD_CHECKSUM_INIT) == UINT64_C(0x690cf37cf43c469e));
}

static void checksum_goes_on_where_it_stopped(void **state)
{
	uint64_t words[32];

	fill((unsigned char *)words, sizeof(words), 3);
	uint64_t whole = payload_checksum(words, sizeof(words), PAYLOAD_CHECKSUM_INIT);

	for (size_t cut = 0; cut <= 32; cut++) {
		uint64_t h = payload_checksum(words, cut * 8, PAYLOAD_CHECKSUM_INIT);

		assert_true(payload_checksum(words + cut, (32 - cut) * 8, h) == whole);
	}
}

/* --- payload_check ------------------------------------------------------------------- */

static void good_payload_passes(void **state)
{
	assert_int_equal(payload_check(p, TOTAL), OK);
	assert_int_equal(payload_check(p, SIZE_MAX), OK);
}

static void damage_anywhere_is_found(void **state)
{
	unsigned char *bytes = (unsigned char *)p;

	for (size_t at = 0; at < TOTAL; at += at < sizeof(*p) ? 1 : 37) {
		bytes[at] ^= 0x10;
		enum err err = payload_check(p, TOTAL);

		/* The fields that say what it is and how long come before the sum. */
		if (at < 8)
			assert_int_equal(err, E_NOENT);
		else if (at < 24)
			assert_true(err == E_FORMAT || err == E_RANGE || err == E_CHECKSUM);
		else
			assert_int_equal(err, E_CHECKSUM);
		bytes[at] ^= 0x10;
	}
	assert_int_equal(payload_check(p, TOTAL), OK);
}

static void nothing_there(void **state)
{
	static const struct dx_payload zero;

	assert_int_equal(payload_check(&zero, sizeof(zero)), E_NOENT);
	for (size_t max = 0; max < 8; max++)
		assert_int_equal(payload_check(p, max), E_NOENT);
}

static void readable_bytes_bound(void **state)
{
	for (size_t max = 8; max < TOTAL; max += max < 1200 ? 1 : 101)
		assert_int_equal(payload_check(p, max), E_RANGE);
	assert_int_equal(payload_check(p, TOTAL - 1), E_RANGE);
}

/* Only what may be read is read: the rest of the block is not there. */
static void cut_header_is_not_read(void **state)
{
	unsigned char *block = malloc(40);

	assert_non_null(block);
	memcpy(block, p, 40);
	assert_int_equal(payload_check((struct dx_payload *)block, 40), E_RANGE);
	memset(block, 0, 4);
	assert_int_equal(payload_check((struct dx_payload *)block, 40), E_NOENT);
	free(block);
}

/* Sets a field, seals, expects the error, and puts the old value back. */
#define expect_field(field, value, want)                                                           \
	do {                                                                                       \
		__typeof__(p->field) old = p->field;                                               \
		p->field = (value);                                                                \
		seal();                                                                            \
		assert_int_equal(payload_check(p, TOTAL), want);                                   \
		p->field = old;                                                                    \
	} while (0)

static void versions(void **state)
{
	expect_field(version, 0, E_FORMAT);
	expect_field(version, 2, E_FORMAT);
	expect_field(header_size, sizeof(*p) - 8, E_FORMAT);
	expect_field(header_size, sizeof(*p) + 8, E_FORMAT);
}

/* These cannot be sealed over their length: the error must come before the sum. */
static void total_size(void **state)
{
	static const struct {
		uint64_t total;
		enum err want;
	} cases[] = {{0, E_FORMAT}, {TOTAL - 1, E_FORMAT}, {TOTAL + 8, E_FORMAT},
		{TOTAL + 4096, E_RANGE}, {UINT64_MAX, E_FORMAT}, {UINT64_MAX - 4095, E_RANGE},
		{UINT64_C(1) << 63, E_RANGE}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		p->total_size = cases[i].total;
		assert_int_equal(payload_check(p, TOTAL), cases[i].want);
	}
}

static void kernel_kinds(void **state)
{
	expect_field(kernel_kind, 0, E_FORMAT);
	expect_field(kernel_kind, 4, E_FORMAT);
	expect_field(kernel_kind, UINT32_MAX, E_FORMAT);
	expect_field(kernel_kind, DX_KERNEL_FLAT, OK);
	expect_field(kernel_kind, DX_KERNEL_ELF, OK); /* what it is shows when it is loaded */
}

static void ram_size(void **state)
{
	expect_field(ram_size, MIB(512), OK);
	expect_field(ram_size, MIB(1), E_FORMAT);
	expect_field(ram_size, MIB(512) + 4096, E_FORMAT);
}

static void kernel_base(void **state)
{
	expect_field(kernel_base, 0x80200000, OK);
	expect_field(kernel_base, 0x80201000, E_FORMAT);
}

static void bootargs_end(void **state)
{
	memset(p->bootargs, 'a', sizeof(p->bootargs));
	seal();
	assert_int_equal(payload_check(p, TOTAL), E_FORMAT);
	p->bootargs[1023] = '\0';
	seal();
	assert_int_equal(payload_check(p, TOTAL), OK);
}

static void parts(void **state)
{
	expect_field(kernel.size, 0, E_FORMAT);
	expect_field(kernel.offset, 0, E_RANGE); /* over the header */
	expect_field(kernel.offset, KERNEL_AT + 8, E_FORMAT);
	expect_field(kernel.offset, TOTAL, E_RANGE);
	expect_field(kernel.offset, UINT64_MAX - 4095, E_RANGE);
	expect_field(kernel.size, TOTAL - KERNEL_AT + 1, E_RANGE);
	expect_field(kernel.size, UINT64_MAX, E_RANGE);
	expect_field(kernel.size, INITRD_AT - KERNEL_AT, OK);
	expect_field(kernel.size, INITRD_AT - KERNEL_AT + 1, E_FORMAT); /* over the initrd */
	expect_field(initrd.size, TOTAL - INITRD_AT, OK);
	expect_field(initrd.size, TOTAL - INITRD_AT + 1, E_RANGE);
	expect_field(initrd.offset, KERNEL_AT, E_FORMAT);
	expect_field(initrd.size, 0, E_FORMAT); /* an offset to nothing */
	p->initrd.offset = 0;
	expect_field(initrd.size, 0, OK);
	expect_field(initrd.size, 8, E_RANGE);
	p->kernel.offset = 0;
	expect_field(kernel.size, 0, E_FORMAT);
}

/* --- payload_load -------------------------------------------------------------------- */

static enum err load(uint64_t size, struct loaded *l)
{
	assert_int_equal(payload_check(p, TOTAL), OK);
	return payload_load(p, gpa(RAM_BASE), size, ram, l);
}

static void assert_untouched(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		if (ram[i] != 0xee)
			fail_msg("byte %llx was written", (unsigned long long)i);
	}
}

static void image_is_placed(void **state)
{
	const uint64_t fdt = RAM_SIZE - PAYLOAD_FDT_ROOM, initrd = fdt - 0x2000;
	struct loaded l;

	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.entry.v, RAM_BASE + MIB(2));
	assert_int_equal(l.kernel_end.v, RAM_BASE + MIB(2) + 0x2000);
	assert_int_equal(l.fdt.v, RAM_BASE + fdt);
	assert_int_equal(l.fdt_max, PAYLOAD_FDT_ROOM);
	assert_int_equal(l.initrd.v, RAM_BASE + initrd);
	assert_int_equal(l.initrd_size, INITRD_SIZE);
	assert_memory_equal(ram + MIB(2), kernel(), KERNEL_SIZE);
	assert_memory_equal(ram + initrd, (unsigned char *)p + INITRD_AT, INITRD_SIZE);
	assert_untouched(0, MIB(2));
	assert_untouched(MIB(2) + KERNEL_SIZE, initrd); /* an Image clears its own bss */
	assert_untouched(initrd + INITRD_SIZE, RAM_SIZE);
}

static void elf_is_placed(void **state)
{
	struct loaded l;

	make_elf();
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.entry.v, RAM_BASE + 4);
	assert_int_equal(l.kernel_end.v, RAM_BASE + 0x3040);
	for (unsigned i = 0; i < 2; i++) {
		static const unsigned char zero[48];

		assert_memory_equal(ram + i * 0x3000, kernel() + 0x1000 + i * 0x100, 16);
		assert_memory_equal(ram + i * 0x3000 + 16, zero, 48);
	}
	assert_untouched(64, 0x3000);
	assert_untouched(0x3040, l.initrd.v - RAM_BASE);
}

static void flat_is_placed(void **state)
{
	struct loaded l;

	p->kernel_kind = DX_KERNEL_FLAT;
	seal();
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.entry.v, RAM_BASE);
	assert_int_equal(l.kernel_end.v, RAM_BASE + KERNEL_SIZE);
	assert_memory_equal(ram, kernel(), KERNEL_SIZE);
	assert_untouched(KERNEL_SIZE, l.initrd.v - RAM_BASE);
}

static void no_initrd(void **state)
{
	struct loaded l;

	p->initrd = (struct dx_payload_part){0, 0};
	seal();
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.initrd_size, 0);
	assert_untouched(MIB(2) + KERNEL_SIZE, RAM_SIZE);
}

static void wrong_kind(void **state)
{
	struct loaded l;

	p->kernel_kind = DX_KERNEL_ELF;
	seal();
	assert_int_equal(load(RAM_SIZE, &l), E_FORMAT);
	make_elf();
	p->kernel_kind = DX_KERNEL_IMAGE;
	seal();
	assert_int_equal(load(RAM_SIZE, &l), E_FORMAT);
	assert_untouched(0, RAM_SIZE);
}

static void kernel_outside_of_ram(void **state)
{
	struct loaded l;

	make_image(MIB(2), MIB(2) + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_RANGE);
	make_image(RAM_SIZE, 0x2000);
	assert_int_equal(load(RAM_SIZE, &l), E_RANGE);
	make_image(0, UINT64_MAX);
	assert_int_equal(load(RAM_SIZE, &l), E_RANGE);
	make_elf();
	put64(kernel() + 64 + 56 + 24, 0x80000000 + RAM_SIZE); /* the second segment's address */
	seal();
	assert_int_equal(load(RAM_SIZE, &l), E_RANGE);
	assert_untouched(0, RAM_SIZE);
}

/* From just too small to just enough, byte by byte of the bss. */
static void exact_fit(void **state)
{
	const uint64_t need_above =
		PAYLOAD_FDT_ROOM + 0x2000; /* device tree, initrd in whole pages */
	struct loaded l;

	make_image(0, RAM_SIZE - need_above);
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.initrd.v, l.kernel_end.v);
	make_image(0, RAM_SIZE - need_above + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_image(0, RAM_SIZE - PAYLOAD_FDT_ROOM);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_image(0, RAM_SIZE - PAYLOAD_FDT_ROOM + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_image(0, RAM_SIZE);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
}

static void exact_fit_without_initrd(void **state)
{
	struct loaded l;

	p->initrd = (struct dx_payload_part){0, 0};
	make_image(0, RAM_SIZE - PAYLOAD_FDT_ROOM);
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.fdt.v, l.kernel_end.v);
	make_image(0, RAM_SIZE - PAYLOAD_FDT_ROOM + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
}

/* Room for it below the tree would begin below address 0. */
static void initrd_bigger_than_ram(void **state)
{
	struct loaded l;

	p->kernel_kind = DX_KERNEL_FLAT;
	p->kernel.size = 8;
	seal();
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x1000, &l), E_NOMEM);
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x2000, &l), E_NOMEM);
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x3000, &l), OK);
}

static void tiny_ram(void **state)
{
	struct loaded l;

	make_image(0, KERNEL_SIZE);
	for (uint64_t size = 0; size < KIB(80); size += 4096) {
		enum err want = size < 0x2000                      ? E_RANGE
				: size < PAYLOAD_FDT_ROOM + 0x4000 ? E_NOMEM
								   : OK;

		assert_int_equal(load(size, &l), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(checksum_is_the_documented_one),
		T(checksum_goes_on_where_it_stopped),
		T(good_payload_passes),
		T(damage_anywhere_is_found),
		T(nothing_there),
		T(readable_bytes_bound),
		T(cut_header_is_not_read),
		T(versions),
		T(total_size),
		T(kernel_kinds),
		T(ram_size),
		T(kernel_base),
		T(bootargs_end),
		T(parts),
		T(image_is_placed),
		T(elf_is_placed),
		T(flat_is_placed),
		T(no_initrd),
		T(wrong_kind),
		T(kernel_outside_of_ram),
		T(exact_fit),
		T(exact_fit_without_initrd),
		T(initrd_bigger_than_ram),
		T(tiny_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
