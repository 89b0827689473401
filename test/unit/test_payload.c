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

static void seal(void)
{
	const size_t before = offsetof(struct dx_payload, checksum) + sizeof(p->checksum);

	p->checksum = payload_checksum((unsigned char *)p + before, p->total_size - before);
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

/* One segment, which leaves the clearing of its bss to the kernel. */
static void make_kernel(uint64_t at, uint64_t kernel_size)
{
	p->nsegments = 1;
	p->segments[0] = (struct dx_payload_segment){{KERNEL_AT, KERNEL_SIZE}, at, KERNEL_SIZE};
	p->entry = at;
	p->kernel_size = kernel_size;
	seal();
}

/* Two segments of 16 bytes with 48 bytes of bss, 0x3000 bytes apart. */
static void make_two_segments(void)
{
	p->nsegments = 2;
	for (unsigned i = 0; i < 2; i++)
		p->segments[i] = (struct dx_payload_segment){
			{KERNEL_AT + 0x1000 + i * 0x100, 16}, i * 0x3000, 64};
	p->entry = 4;
	p->kernel_size = 0x3040;
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
	p->initrd = (struct dx_payload_part){INITRD_AT, INITRD_SIZE};
	strcpy(p->bootargs, "console=hvc0");
	fill(kernel(), KERNEL_SIZE, 1);
	fill((unsigned char *)p + INITRD_AT, INITRD_SIZE, 2);
	make_kernel(MIB(2), MIB(2) + 0x2000);
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
		assert_true(payload_checksum(words, n * 8) == h);
		if (n == 19)
			break;
		words[n] = n * UINT64_C(0x123456789abcdef1);
		h = (h ^ words[n]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	/* From outside: computed with Python from the formula. */
	static const uint64_t zero[1], ones[1] = {UINT64_MAX};
	assert_true(payload_checksum(zero, 8) == UINT64_C(0xf8bb92c91b3f5cc0));
	assert_true(payload_checksum(ones, 8) == UINT64_C(0x690cf37cf43c469e));
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
	for (size_t max = 0; max < sizeof(*p); max++)
		assert_int_equal(payload_check(p, max), E_NOENT);
}

static void readable_bytes_bound(void **state)
{
	for (size_t max = sizeof(*p); max < TOTAL; max += 101)
		assert_int_equal(payload_check(p, max), E_RANGE);
	assert_int_equal(payload_check(p, TOTAL - 1), E_RANGE);
}

/* Only what may be read is read: the rest of the block is not there. */
static void cut_header_is_not_read(void **state)
{
	unsigned char *block = malloc(40);

	assert_non_null(block);
	memcpy(block, p, 40);
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
	expect_field(version, 1, E_FORMAT);
	expect_field(version, 3, E_FORMAT);
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

static void segment_count(void **state)
{
	expect_field(nsegments, 0, E_FORMAT);
	expect_field(nsegments, DX_PAYLOAD_MAX_SEGMENTS, OK); /* empty ones */
	expect_field(nsegments, DX_PAYLOAD_MAX_SEGMENTS + 1, E_FORMAT);
	expect_field(nsegments, UINT32_MAX, E_FORMAT);
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
	expect_field(segments[0].part.offset, 0, E_FORMAT); /* over the header */
	expect_field(segments[0].part.offset, sizeof(*p) - 1, E_FORMAT);
	expect_field(segments[0].part.offset, sizeof(*p), OK);
	expect_field(segments[0].part.offset, TOTAL - KERNEL_SIZE, OK);
	expect_field(segments[0].part.offset, TOTAL - KERNEL_SIZE + 1, E_FORMAT);
	expect_field(segments[0].part.offset, UINT64_MAX - 4095, E_FORMAT);
	expect_field(segments[0].part.size, UINT64_MAX, E_FORMAT);
	expect_field(initrd.size, TOTAL - INITRD_AT, OK);
	expect_field(initrd.size, TOTAL - INITRD_AT + 1, E_FORMAT);
	expect_field(initrd.size, UINT64_MAX, E_FORMAT);
	expect_field(initrd.offset, 0, E_FORMAT);
	p->initrd.offset = 0;
	expect_field(initrd.size, 0, OK);
	expect_field(initrd.size, 8, E_FORMAT);
}

static void places(void **state)
{
	const uint64_t size = p->kernel_size;

	expect_field(segments[0].ram_size, KERNEL_SIZE - 1, E_FORMAT); /* smaller than its part */
	expect_field(segments[0].ram_size, size - MIB(2), OK);
	expect_field(segments[0].ram_size, size - MIB(2) + 1, E_FORMAT);
	expect_field(segments[0].ram_size, UINT64_MAX, E_FORMAT);
	expect_field(segments[0].ram_offset, size - KERNEL_SIZE, OK);
	expect_field(segments[0].ram_offset, size - KERNEL_SIZE + 1, E_FORMAT);
	expect_field(segments[0].ram_offset, UINT64_MAX, E_FORMAT);
	expect_field(entry, size - 1, OK);
	expect_field(entry, size, E_FORMAT);
	make_two_segments();
	expect_field(segments[1].ram_offset, 0x3001, E_FORMAT); /* each is looked at */
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

static void kernel_is_placed(void **state)
{
	const uint64_t fdt = RAM_SIZE - PAYLOAD_FDT_ROOM, initrd = fdt - 0x2000;
	struct loaded l;

	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.entry.v, RAM_BASE + MIB(2));
	assert_int_equal(l.fdt.v, RAM_BASE + fdt);
	assert_int_equal(l.initrd.v, RAM_BASE + initrd);
	assert_memory_equal(ram + MIB(2), kernel(), KERNEL_SIZE);
	assert_memory_equal(ram + initrd, (unsigned char *)p + INITRD_AT, INITRD_SIZE);
	assert_untouched(0, MIB(2));
	assert_untouched(MIB(2) + KERNEL_SIZE, initrd); /* what it clears itself */
	assert_untouched(initrd + INITRD_SIZE, RAM_SIZE);
}

static void segments_are_placed(void **state)
{
	struct loaded l;

	make_two_segments();
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.entry.v, RAM_BASE + 4);
	for (unsigned i = 0; i < 2; i++) {
		static const unsigned char zero[48];

		assert_memory_equal(ram + i * 0x3000, kernel() + 0x1000 + i * 0x100, 16);
		assert_memory_equal(ram + i * 0x3000 + 16, zero, 48);
	}
	assert_untouched(64, 0x3000);
	assert_untouched(0x3040, l.initrd.v - RAM_BASE);
}

static void no_initrd(void **state)
{
	struct loaded l;

	p->initrd = (struct dx_payload_part){0, 0};
	seal();
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_untouched(MIB(2) + KERNEL_SIZE, RAM_SIZE);
}

static void kernel_outside_of_ram(void **state)
{
	static const uint64_t sizes[] = {RAM_SIZE + 1, UINT64_MAX, UINT64_C(1) << 63};
	struct loaded l;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		make_kernel(sizes[i] - KERNEL_SIZE, sizes[i]);
		assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	}
	assert_untouched(0, RAM_SIZE);
}

/* From just too small to just enough, byte by byte of the bss. */
static void exact_fit(void **state)
{
	const uint64_t need_above =
		PAYLOAD_FDT_ROOM + 0x2000; /* device tree, initrd in whole pages */
	struct loaded l;

	make_kernel(0, RAM_SIZE - need_above);
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.initrd.v, RAM_BASE + RAM_SIZE - need_above);
	make_kernel(0, RAM_SIZE - need_above + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_kernel(0, RAM_SIZE - PAYLOAD_FDT_ROOM);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_kernel(0, RAM_SIZE - PAYLOAD_FDT_ROOM + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
	make_kernel(0, RAM_SIZE);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
}

static void exact_fit_without_initrd(void **state)
{
	struct loaded l;

	p->initrd = (struct dx_payload_part){0, 0};
	make_kernel(0, RAM_SIZE - PAYLOAD_FDT_ROOM);
	assert_int_equal(load(RAM_SIZE, &l), OK);
	assert_int_equal(l.fdt.v, RAM_BASE + RAM_SIZE - PAYLOAD_FDT_ROOM);
	make_kernel(0, RAM_SIZE - PAYLOAD_FDT_ROOM + 1);
	assert_int_equal(load(RAM_SIZE, &l), E_NOMEM);
}

/* Room for it below the tree would begin below address 0. */
static void initrd_bigger_than_ram(void **state)
{
	struct loaded l;

	p->segments[0].part.size = p->segments[0].ram_size = 8;
	p->segments[0].ram_offset = p->entry = 0;
	p->kernel_size = 8;
	seal();
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x1000, &l), E_NOMEM);
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x2000, &l), E_NOMEM);
	assert_int_equal(load(PAYLOAD_FDT_ROOM + 0x3000, &l), OK);
}

static void tiny_ram(void **state)
{
	struct loaded l;

	make_kernel(0, KERNEL_SIZE);
	for (uint64_t size = 0; size < PAYLOAD_FDT_ROOM + KIB(32); size += 4096)
		assert_int_equal(load(size, &l), size < PAYLOAD_FDT_ROOM + 0x4000 ? E_NOMEM : OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(checksum_is_the_documented_one),
		T(good_payload_passes),
		T(damage_anywhere_is_found),
		T(nothing_there),
		T(readable_bytes_bound),
		T(cut_header_is_not_read),
		T(versions),
		T(total_size),
		T(segment_count),
		T(ram_size),
		T(kernel_base),
		T(bootargs_end),
		T(parts),
		T(places),
		T(kernel_is_placed),
		T(segments_are_placed),
		T(no_initrd),
		T(kernel_outside_of_ram),
		T(exact_fit),
		T(exact_fit_without_initrd),
		T(initrd_bigger_than_ram),
		T(tiny_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
