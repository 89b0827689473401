/* SPDX-License-Identifier: MIT */
/*
 * Sv39x4 tables against a model with one entry per page. If this fails, a guest reaches memory that
 * is not its own, loses some that is, or pays for tables that do not exist.
 *
 * Includes the source, so that another PCPU can change a table between two reads of gstage_lookup.
 */
#include "unit.h"
#include "arch.h"
#include "core/vm.h"

static uint64_t load_entry(const uint64_t *pte);

#define __atomic_load_n(pte, order) load_entry(pte)
#include "mmu/gstage.c"
#undef __atomic_load_n

#include "gstage_model.h"

#define RAM      MIB(8)
#define NO_LIMIT (UINT64_MAX >> 1)
#define TOP      BIT(41)
#define FAR      UINT64_C(0x4000000000) /* HPAs that are no RAM: nothing looks behind a leaf */

static void (*between_reads)(unsigned n);
static unsigned reads;

static uint64_t load_entry(const uint64_t *pte)
{
	if (between_reads)
		between_reads(reads++);
	return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

static int start(void **state)
{
	between_reads = NULL;
	new_vm(RAM, NO_LIMIT);
	return 0;
}

static enum err lookup(uint64_t at, struct gstage_leaf *leaf)
{
	return gstage_lookup(vm, gpa(at), leaf);
}

static void assert_maps(uint64_t at, uint64_t to, uint64_t size, uint64_t flags)
{
	struct gstage_leaf leaf;

	assert_int_equal(lookup(at, &leaf), OK);
	assert_int_equal(leaf.hpa.v, to);
	assert_int_equal(leaf.size, size);
	assert_int_equal(leaf.flags, flags);
}

static void assert_maps_nothing(uint64_t at)
{
	struct gstage_leaf leaf;

	assert_int_equal(lookup(at, &leaf), E_NOENT);
}

static void an_empty_root(void **state)
{
	assert_true(IS_ALIGNED(vm->gstage_root.v, KIB(16)));
	assert_int_equal(check_tables(NULL).mapped, 0);
	for (uint64_t at = 0; at < TOP; at += GIB(1))
		assert_maps_nothing(at);
	assert_maps_nothing(TOP);
	assert_maps_nothing(UINT64_MAX);
}

static void one_leaf_of_each_size(void **state)
{
	for (unsigned level = 0; level < 3; level++) {
		uint64_t size = PAGE_SIZE << (9 * level);

		start(NULL);
		assert_int_equal(map(GIB(5), FAR, size, GSTAGE_RWX), OK);
		assert_int_equal(check_tables(NULL).tables, 2 - level);
		assert_maps(GIB(5), FAR, size, GSTAGE_RWX);
		assert_maps(GIB(5) + size - 1, FAR + size - 1, size, GSTAGE_RWX);
		assert_maps_nothing(GIB(5) + size);
		assert_maps_nothing(GIB(5) - 1);
		assert_maps_nothing(0);
	}
}

/* The largest leaf that the alignment of both addresses and the range leave possible, worked out
 * page by page. */
static uint64_t largest(uint64_t page, uint64_t at, uint64_t to, uint64_t size)
{
	for (uint64_t leaf = GIB(1); leaf > PAGE_SIZE; leaf >>= 9) {
		uint64_t base = page & ~(leaf - 1);

		if (base >= at && base + leaf <= at + size && (base - at + to) % leaf == 0)
			return leaf;
	}
	return PAGE_SIZE;
}

static void leaves_are_as_large_as_can_be(void **state)
{
	static const struct {
		uint64_t at, to, size;
	} cases[] = {
		{GIB(1), FAR, GIB(3)},
		{GIB(1) - PAGE_SIZE, FAR - PAGE_SIZE, GIB(1) + 2 * PAGE_SIZE},
		{GIB(1) - MIB(2), FAR - MIB(2), GIB(2) + MIB(4)},
		{GIB(1) + MIB(2), FAR + MIB(2), GIB(1)},
		{GIB(1), FAR + MIB(2), GIB(1)},    /* GPA and HPA differ: 2 MiB at best */
		{GIB(1), FAR + PAGE_SIZE, MIB(6)}, /* and here 4 KiB */
		{GIB(1) + MIB(1), FAR + MIB(1), MIB(4)},
		{GIB(1) + 7 * PAGE_SIZE, FAR + 7 * PAGE_SIZE, MIB(2) + 5 * PAGE_SIZE},
		{GIB(1) + MIB(2), FAR, MIB(2)},
		{GIB(1), FAR, GIB(1) - PAGE_SIZE},
		{0, 0, GIB(1)},
		{RAM_BASE, RAM_BASE, MIB(512)},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = cases[i].at, to = cases[i].to, size = cases[i].size;

		start(NULL);
		assert_int_equal(map(at, to, size, GSTAGE_RWX), OK);
		assert_int_equal(check_tables(NULL).mapped, size >> PAGE_SHIFT);
		for (uint64_t a = at; a < at + size; a += PAGE_SIZE * (1 + a / PAGE_SIZE % 13))
			assert_maps(a, a - at + to, largest(a, at, to, size), GSTAGE_RWX);
		assert_maps_nothing(at + size);
		if (at)
			assert_maps_nothing(at - 1);
		assert_int_equal(unmap(at, size), OK);
		assert_int_equal(check_tables(NULL).mapped, 0);
	}
}

static void nothing_is_mapped_over_something(void **state)
{
	static const uint64_t sizes[] = {PAGE_SIZE, MIB(2), GIB(1)};

	for (unsigned old = 0; old < 3; old++) {
		for (unsigned new = 0; new < 3; new ++) {
			start(NULL);
			assert_int_equal(map(GIB(4), FAR, sizes[old], GSTAGE_R), OK);
			uint64_t last =
				ALIGN_DOWN(GIB(4) + sizes[old] - 1, MAX(sizes[new], PAGE_SIZE));

			assert_int_equal(
				map(GIB(4), FAR + GIB(2), sizes[new], GSTAGE_RWX), E_EXISTS);
			assert_int_equal(map(last, FAR + GIB(2), sizes[new], GSTAGE_RWX), E_EXISTS);
			assert_int_equal(
				map(GIB(4) - PAGE_SIZE, FAR, sizes[new] + PAGE_SIZE, GSTAGE_R),
				E_EXISTS);
			assert_int_equal(check_tables(NULL).mapped, sizes[old] >> PAGE_SHIFT);
			assert_maps(GIB(4), FAR, sizes[old], GSTAGE_R);
			assert_maps_nothing(GIB(4) - PAGE_SIZE);
		}
	}
}

/* An obstacle at each place of the range: nothing of the range stays mapped, the obstacle does. */
static void an_obstacle_anywhere_undoes_the_map(void **state)
{
	for (uint64_t at = 0; at < MIB(6); at += at % MIB(2) ? MIB(2) - PAGE_SIZE : PAGE_SIZE) {
		start(NULL);
		assert_int_equal(map(GIB(1) + at, FAR, PAGE_SIZE, GSTAGE_R), OK);
		assert_int_equal(map(GIB(1), 0, MIB(6), GSTAGE_RWX), E_EXISTS);
		assert_int_equal(check_tables(NULL).mapped, 1);
		assert_maps(GIB(1) + at, FAR, PAGE_SIZE, GSTAGE_R);
	}
}

static void an_emptied_table_takes_small_leaves(void **state)
{
	assert_int_equal(map(GIB(1) + PAGE_SIZE, FAR, PAGE_SIZE, GSTAGE_R), OK);
	assert_int_equal(unmap(GIB(1) + PAGE_SIZE, PAGE_SIZE), OK);
	assert_int_equal(map(GIB(1), FAR, MIB(4), GSTAGE_RWX), OK);
	assert_maps(GIB(1), FAR, PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(2) - 1, FAR + MIB(2) - 1, PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(2), FAR + MIB(2), MIB(2), GSTAGE_RWX);
	assert_int_equal(check_tables(NULL).mapped, 1024);
	start(NULL);
	assert_int_equal(map(GIB(1) + MIB(6), FAR, PAGE_SIZE, GSTAGE_R), OK);
	assert_int_equal(unmap(GIB(1), GIB(1)), OK);
	assert_int_equal(map(GIB(1), FAR, GIB(1), GSTAGE_RWX), OK);
	assert_maps(GIB(1), FAR, MIB(2), GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(6), FAR + MIB(6), PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(8), FAR + MIB(8), MIB(2), GSTAGE_RWX);
	assert_int_equal(check_tables(NULL).mapped, GIB(1) >> PAGE_SHIFT);
	assert_maps_nothing(GIB(2));
}

static void unmapping_splits_at_the_edges(void **state)
{
	assert_int_equal(map(GIB(3), FAR, GIB(1), GSTAGE_R | GSTAGE_X), OK);
	assert_int_equal(unmap(GIB(3) + MIB(2) + PAGE_SIZE, PAGE_SIZE), OK);
	assert_int_equal(check_tables(NULL).tables, 2);
	assert_maps(GIB(3), FAR, MIB(2), GSTAGE_R | GSTAGE_X);
	assert_maps(GIB(3) + MIB(2), FAR + MIB(2), PAGE_SIZE, GSTAGE_R | GSTAGE_X);
	assert_maps_nothing(GIB(3) + MIB(2) + PAGE_SIZE);
	assert_maps(GIB(3) + MIB(2) + 2 * PAGE_SIZE, FAR + MIB(2) + 2 * PAGE_SIZE, PAGE_SIZE,
		GSTAGE_R | GSTAGE_X);
	assert_maps(GIB(4) - 1, FAR + GIB(1) - 1, MIB(2), GSTAGE_R | GSTAGE_X);
	/* From the middle of one 2 MiB leaf to the middle of another: those between go whole. */
	assert_int_equal(unmap(GIB(3) + MIB(5), MIB(6)), OK);
	assert_int_equal(check_tables(NULL).tables, 4);
	assert_maps(GIB(3) + MIB(5) - 1, FAR + MIB(5) - 1, PAGE_SIZE, GSTAGE_R | GSTAGE_X);
	assert_maps_nothing(GIB(3) + MIB(5));
	assert_maps_nothing(GIB(3) + MIB(11) - 1);
	assert_maps(GIB(3) + MIB(11), FAR + MIB(11), PAGE_SIZE, GSTAGE_R | GSTAGE_X);
	assert_int_equal(unmap(GIB(3), GIB(1)), OK);
	assert_int_equal(check_tables(NULL).mapped, 0);
	assert_int_equal(check_tables(NULL).tables, 4); /* tables stay */
}

static void splits_keep_rights_and_the_device_flag(void **state)
{
	static const uint64_t flags[] = {GSTAGE_R, GSTAGE_R | GSTAGE_W, GSTAGE_R | GSTAGE_X,
		GSTAGE_RWX, GSTAGE_R | GSTAGE_DEVICE, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE,
		GSTAGE_RWX | GSTAGE_DEVICE};

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		start(NULL);
		assert_int_equal(map(0, FAR, GIB(1), flags[i]), OK);
		assert_int_equal(unmap(MIB(4) + PAGE_SIZE, PAGE_SIZE), OK);
		assert_maps(0, FAR, MIB(2), flags[i]);
		assert_maps(MIB(4), FAR + MIB(4), PAGE_SIZE, flags[i]);
		check_tables(NULL);
	}
}

static void unmapping_nothing(void **state)
{
	assert_int_equal(unmap(0, TOP), OK);
	assert_int_equal(unmap(0, 0), OK);
	assert_int_equal(unmap(TOP, 0), OK);
	assert_int_equal(check_tables(NULL).tables, 0); /* passing over makes none */
	assert_int_equal(map(GIB(1), FAR, PAGE_SIZE, GSTAGE_R), OK);
	assert_int_equal(unmap(0, GIB(1)), OK);
	assert_int_equal(unmap(GIB(1) + PAGE_SIZE, TOP - GIB(1) - PAGE_SIZE), OK);
	assert_maps(GIB(1), FAR, PAGE_SIZE, GSTAGE_R);
	assert_int_equal(unmap(0, TOP), OK);
	assert_maps_nothing(GIB(1));
}

static void limits(void **state)
{
	assert_int_equal(map(TOP - PAGE_SIZE, FAR, PAGE_SIZE, GSTAGE_R), OK);
	assert_maps(TOP - 1, FAR + PAGE_SIZE - 1, PAGE_SIZE, GSTAGE_R);
	assert_maps_nothing(TOP);
	assert_int_equal(map(TOP - GIB(2), FAR, GIB(1), GSTAGE_R), OK);
	assert_int_equal(map(TOP, FAR, PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(TOP - PAGE_SIZE, FAR, 2 * PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(PAGE_SIZE, FAR, TOP, GSTAGE_R), E_RANGE);
	assert_int_equal(map(PAGE_SIZE, FAR, -PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(-PAGE_SIZE, FAR, PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(BIT(42), FAR, PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(unmap(TOP, PAGE_SIZE), E_RANGE);
	assert_int_equal(unmap(PAGE_SIZE, TOP), E_RANGE);
	assert_int_equal(unmap(-PAGE_SIZE, 2 * PAGE_SIZE), E_RANGE);
	/* HPAs have 56 bits: beyond lie PBMT and N. */
	assert_int_equal(map(0, BIT(56) - PAGE_SIZE, PAGE_SIZE, GSTAGE_R), OK);
	assert_maps(0, BIT(56) - PAGE_SIZE, PAGE_SIZE, GSTAGE_R);
	assert_int_equal(map(PAGE_SIZE, BIT(56), PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(PAGE_SIZE, BIT(56) - PAGE_SIZE, 2 * PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(map(PAGE_SIZE, -PAGE_SIZE, PAGE_SIZE, GSTAGE_R), E_RANGE);
	assert_int_equal(check_tables(NULL).mapped, 2 + (GIB(1) >> PAGE_SHIFT));
}

static void alignment(void **state)
{
	for (uint64_t off = 1; off < PAGE_SIZE; off <<= 1) {
		assert_int_equal(map(GIB(1) + off, FAR, PAGE_SIZE, GSTAGE_R), E_ALIGN);
		assert_int_equal(map(GIB(1), FAR + off, PAGE_SIZE, GSTAGE_R), E_ALIGN);
		assert_int_equal(map(GIB(1), FAR, PAGE_SIZE + off, GSTAGE_R), E_ALIGN);
		assert_int_equal(unmap(GIB(1) + off, PAGE_SIZE), E_ALIGN);
		assert_int_equal(unmap(GIB(1), PAGE_SIZE + off), E_ALIGN);
	}
	assert_int_equal(map(GIB(1), FAR, 0, GSTAGE_R), OK);
	assert_int_equal(check_tables(NULL).tables, 0);
}

static void flags_that_no_leaf_may_have_are_bugs(void **state)
{
	static const uint64_t bad[] = {0, GSTAGE_W, GSTAGE_X, GSTAGE_W | GSTAGE_X, GSTAGE_DEVICE,
		GSTAGE_R | BIT(0), GSTAGE_R | BIT(4), GSTAGE_R | BIT(5), GSTAGE_R | BIT(6),
		GSTAGE_R | BIT(10), GSTAGE_R | BIT(11), GSTAGE_R | BIT(63)};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start(NULL);
		expect_bug((void)!map(0, FAR, PAGE_SIZE, bad[i]));
	}
}

/* The map needs four tables. With fewer pages than that it fails at each of them in turn; then
 * nothing is mapped, what was taken is accounted for, and with a higher limit the same succeeds. */
static void a_map_refused_by_the_quota(void **state)
{
	const uint64_t at = GIB(1) - MIB(3), size = GIB(2) + MIB(6) + PAGE_SIZE;

	for (uint64_t spare = 0; spare <= 4; spare++) {
		new_vm(RAM, NO_LIMIT);
		vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES] + spare;
		enum err err = map(at, FAR + GIB(1) - MIB(3), size, GSTAGE_RWX);

		assert_int_equal(err, spare < 4 ? E_QUOTA_OWN : OK);
		if (err == OK) {
			assert_int_equal(check_tables(NULL).mapped, size >> PAGE_SHIFT);
			continue;
		}
		assert_int_equal(check_tables(NULL).mapped, 0);
		assert_int_equal(vm->quota.used[RES_PAGES], vm->quota.limit[RES_PAGES]);
		vm->quota.limit[RES_PAGES] = NO_LIMIT;
		assert_int_equal(map(at, FAR + GIB(1) - MIB(3), size, GSTAGE_RWX), OK);
		assert_int_equal(check_tables(NULL).mapped, size >> PAGE_SHIFT);
	}
}

static void an_unmap_refused_by_the_quota(void **state)
{
	for (uint64_t spare = 0; spare <= 4; spare++) {
		new_vm(RAM, NO_LIMIT);
		model_start(0, 3 * (GIB(1) >> PAGE_SHIFT));
		assert_int_equal(try_map(0, model_size, FAR, GSTAGE_RWX), OK);
		vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES] + spare;
		/* Splits the first twice and the last twice. */
		assert_int_equal(try_unmap(1, model_size - 2), spare < 4 ? E_QUOTA_OWN : OK);
		check_all_leaves();
		vm->quota.limit[RES_PAGES] = NO_LIMIT;
		assert_int_equal(try_unmap(1, model_size - 2), OK);
		check_all_leaves();
		assert_int_equal(model_mapped, 2);
	}
}

/* The same with frames running out instead. */
static void no_frames_left(void **state)
{
	hpa_t a;

	for (unsigned spare = 0; spare < 4; spare++) {
		new_vm(MIB(1), NO_LIMIT);
		model_start(0, 3 * (GIB(1) >> PAGE_SHIFT));
		assert_int_equal(try_map(0, model_size, FAR, GSTAGE_RWX), OK);
		for (uint64_t n = frames_free(); n > spare; n--)
			assert_int_equal(frame_alloc(0, FRAME_HV, 0, &a), OK);
		assert_int_equal(try_unmap(1, model_size - 2), E_NOMEM);
		check_all_leaves();
		assert_int_equal(map(GIB(9), FAR, PAGE_SIZE, GSTAGE_R), E_NOMEM);
		check_all_leaves();
		assert_int_equal(frames_free(), 0);
	}
}

static uint64_t ram_page(unsigned i)
{
	return RAM_BASE + RAM - ((uint64_t)i + 1) * PAGE_SIZE;
}

/* Guest pages 0..3 at 1 GiB are host pages far apart and backwards; 4 is read-only, 5 a device, 6
 * execute and read. 7 is nothing. */
static void guest_pages(void)
{
	static const uint64_t rights[] = {GSTAGE_RWX, GSTAGE_RWX, GSTAGE_R | GSTAGE_W,
		GSTAGE_R | GSTAGE_W, GSTAGE_R, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE,
		GSTAGE_R | GSTAGE_X};

	start(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(rights); i++) {
		assert_int_equal(
			map(GIB(1) + i * PAGE_SIZE, ram_page(3 * i), PAGE_SIZE, rights[i]), OK);
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			((uint8_t *)hpa_ptr(hpa(ram_page(3 * i))))[k] =
				(uint8_t)(i * 31 + k * 7 + k / 256);
	}
}

static uint8_t guest_byte(uint64_t off)
{
	return *(uint8_t *)hpa_ptr(
		hpa(ram_page(3 * (unsigned)(off / PAGE_SIZE)) + off % PAGE_SIZE));
}

static void reading_across_pages(void **state)
{
	static uint8_t buf[5 * PAGE_SIZE];

	guest_pages();
	for (uint64_t off = PAGE_SIZE - 3; off < PAGE_SIZE + 3; off++) {
		for (size_t n = 0; n < 3 * PAGE_SIZE - 5; n = n < 8 ? n + 1 : n * 2 + 1) {
			memset(buf, 0xee, sizeof(buf));
			assert_int_equal(guest_read(vm, gpa(GIB(1) + off), buf, n), OK);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(buf[i], guest_byte(off + i));
			assert_int_equal(buf[n], 0xee);
		}
	}
}

static void writing_across_pages(void **state)
{
	static uint8_t buf[3 * PAGE_SIZE];

	guest_pages();
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 13 + i / 256);
	for (uint64_t off = PAGE_SIZE - 2; off < PAGE_SIZE + 2; off++) {
		uint8_t before = guest_byte(off - 1), after = guest_byte(off + 2 * PAGE_SIZE + 1);

		assert_int_equal(guest_write(vm, gpa(GIB(1) + off), buf, 2 * PAGE_SIZE + 1), OK);
		for (size_t i = 0; i < 2 * PAGE_SIZE + 1; i++)
			assert_int_equal(guest_byte(off + i), buf[i]);
		assert_int_equal(guest_byte(off - 1), before);
		assert_int_equal(guest_byte(off + 2 * PAGE_SIZE + 1), after);
		assert_int_equal(guest_write(vm, gpa(GIB(1) + off), buf, 0), OK);
	}
}

static void copies_end_at_what_is_not_accessible(void **state)
{
	static uint8_t buf[4 * PAGE_SIZE];

	guest_pages();
	/* Page 4 may be read, 5 is a device, before which the bytes are there. */
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(
		guest_read(vm, gpa(GIB(1) + 4 * PAGE_SIZE + 100), buf, PAGE_SIZE), E_FAULT);
	for (unsigned i = 0; i < PAGE_SIZE - 100; i++)
		assert_int_equal(buf[i], guest_byte(4 * PAGE_SIZE + 100 + i));
	assert_int_equal(buf[PAGE_SIZE - 100], 0xee);
	/* Page 4 may not be written; page 3 gets its part. */
	memset(buf, 0x44, sizeof(buf));
	uint8_t kept = guest_byte(4 * PAGE_SIZE);

	assert_int_equal(guest_write(vm, gpa(GIB(1) + 4 * PAGE_SIZE - 10), buf, 20), E_FAULT);
	assert_int_equal(guest_byte(4 * PAGE_SIZE - 1), 0x44);
	assert_int_equal(guest_byte(4 * PAGE_SIZE - 10), 0x44);
	assert_int_equal(guest_byte(4 * PAGE_SIZE), kept);
	assert_int_equal(guest_write(vm, gpa(GIB(1) + 6 * PAGE_SIZE), buf, 1), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(GIB(1) + 5 * PAGE_SIZE), buf, 1), E_FAULT);
	assert_int_equal(guest_write(vm, gpa(GIB(1) + 5 * PAGE_SIZE), buf, 1), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(GIB(1) + 7 * PAGE_SIZE - 1), buf, 2), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(GIB(1) - 1), buf, 1), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(GIB(1) - 1), buf, 2), E_FAULT);
}

static void addresses_at_the_ends(void **state)
{
	uint8_t buf[16] = {0};

	start(NULL);
	assert_int_equal(map(TOP - PAGE_SIZE, ram_page(0), PAGE_SIZE, GSTAGE_RWX), OK);
	assert_int_equal(map(0, ram_page(1), PAGE_SIZE, GSTAGE_RWX), OK);
	assert_int_equal(guest_write(vm, gpa(TOP - 16), "0123456789abcdef", 16), OK);
	assert_int_equal(guest_read(vm, gpa(TOP - 16), buf, 16), OK);
	assert_memory_equal(buf, "0123456789abcdef", 16);
	assert_int_equal(guest_read(vm, gpa(TOP - 1), buf, 2), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(TOP), buf, 1), E_FAULT); /* not page 0 once more */
	assert_int_equal(guest_read(vm, gpa(BIT(63)), buf, 1), E_FAULT);
	assert_int_equal(guest_read(vm, gpa(UINT64_MAX), buf, 2), E_FAULT);
	assert_int_equal(guest_write(vm, gpa(UINT64_MAX - 7), buf, 16), E_FAULT);
	assert_null(guest_ptr(vm, gpa(UINT64_MAX), 1, GSTAGE_R));
	assert_null(guest_ptr(vm, gpa(TOP), 1, GSTAGE_R));
}

static void pointers_into_one_page(void **state)
{
	guest_pages();
	uint8_t *p = hpa_ptr(hpa(ram_page(0)));

	assert_ptr_equal(guest_ptr(vm, gpa(GIB(1)), PAGE_SIZE, GSTAGE_RWX), p);
	assert_ptr_equal(guest_ptr(vm, gpa(GIB(1) + 4095), 1, GSTAGE_R), p + 4095);
	assert_null(guest_ptr(vm, gpa(GIB(1) + 4095), 2, GSTAGE_R));
	assert_null(guest_ptr(vm, gpa(GIB(1)), PAGE_SIZE + 1, GSTAGE_R));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 8), SIZE_MAX, GSTAGE_R));
	assert_non_null(guest_ptr(vm, gpa(GIB(1) + 4 * PAGE_SIZE), 8, GSTAGE_R));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 4 * PAGE_SIZE), 8, GSTAGE_W));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 4 * PAGE_SIZE), 8, GSTAGE_R | GSTAGE_W));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 4 * PAGE_SIZE), 8, GSTAGE_R | GSTAGE_X));
	assert_non_null(guest_ptr(vm, gpa(GIB(1) + 6 * PAGE_SIZE), 8, GSTAGE_R | GSTAGE_X));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 5 * PAGE_SIZE), 8, GSTAGE_R));
	assert_null(guest_ptr(vm, gpa(GIB(1) + 7 * PAGE_SIZE), 8, GSTAGE_R));
	/* Within a large leaf, at any offset. */
	start(NULL);
	assert_int_equal(map(GIB(1), RAM_BASE + MIB(6), MIB(2), GSTAGE_R), OK);
	assert_ptr_equal(guest_ptr(vm, gpa(GIB(1) + 0x123456), 8, GSTAGE_R),
		hpa_ptr(hpa(RAM_BASE + MIB(6) + 0x123456)));
}

/* While one PCPU looks a page up, another splits the leaf that maps it, before any of the reads: it
 * stays mapped, to the same. */
static unsigned split_before;

static void split_now(unsigned n)
{
	if (n != split_before)
		return;
	between_reads = NULL;
	assert_int_equal(unmap(GIB(1) + MIB(2), PAGE_SIZE), OK);
}

static void lookup_while_a_leaf_is_split(void **state)
{
	unsigned most = 0;

	for (split_before = 0; split_before < 6; split_before++) {
		struct gstage_leaf leaf;

		start(NULL);
		assert_int_equal(map(GIB(1), FAR, GIB(1), GSTAGE_RWX), OK);
		reads = 0;
		between_reads = split_now;
		assert_int_equal(lookup(GIB(1) + MIB(2) + 0x5123, &leaf), OK);
		assert_int_equal(leaf.hpa.v, FAR + MIB(2) + 0x5123);
		assert_true(IS_ALIGNED(leaf.size, PAGE_SIZE) && leaf.flags == GSTAGE_RWX);
		if (!between_reads)
			most = split_before + 1;
		between_reads = NULL;
	}
	assert_true(most >= 1); /* it was split in between, or this test tests nothing */
}

static void unmap_now(unsigned n)
{
	if (n != split_before)
		return;
	between_reads = NULL;
	assert_int_equal(unmap(GIB(1), GIB(1)), OK);
	assert_int_equal(map(GIB(1) + MIB(2), FAR + GIB(7), PAGE_SIZE, GSTAGE_R), OK);
}

/* Another one takes the page away and puts a different one there: the old answer, the new one or
 * none, never a mixture. */
static void lookup_while_a_page_is_replaced(void **state)
{
	for (split_before = 0; split_before < 6; split_before++) {
		struct gstage_leaf leaf;

		start(NULL);
		assert_int_equal(map(GIB(1), FAR, GIB(1), GSTAGE_RWX), OK);
		assert_int_equal(unmap(GIB(1), PAGE_SIZE), OK);
		reads = 0;
		between_reads = unmap_now;
		enum err err = lookup(GIB(1) + MIB(2), &leaf);

		between_reads = NULL;
		if (err != OK)
			assert_int_equal(err, E_NOENT);
		else if (leaf.flags == GSTAGE_R)
			assert_int_equal(leaf.hpa.v, FAR + GIB(7));
		else
			assert_true(leaf.hpa.v == FAR + MIB(2) && leaf.flags == GSTAGE_RWX);
	}
}

static uint64_t seed = 1;

static uint64_t rnd(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 20) % n;
}

static uint64_t some_flags(void)
{
	return GSTAGE_R | (rnd(8) << 1 & GSTAGE_RWX) | (rnd(4) ? 0 : GSTAGE_DEVICE);
}

/* Mostly whole 2 MiB or 1 GiB with a matching HPA, or else anything. */
static void some_range(uint64_t *at, uint64_t *n, uint64_t *to)
{
	unsigned grain = rnd(3) ? (unsigned)(rnd(3) * 9) : 0;
	uint64_t units = MAX(model_size >> grain, 1), first = rnd(units) << grain,
		 most = rnd(4) ? 3 : 40;
	uint64_t pages = (1 + rnd(most)) << grain;

	*at = MIN(first, model_size - 1);
	*n = MIN(pages, model_size - *at);
	*to = FAR + (rnd(4) ? *at << PAGE_SHIFT : rnd(1 << 18) << PAGE_SHIFT);
	if (rnd(5) == 0 && *n > 2) {
		*n -= 2;
		*at += 1;
		*to += PAGE_SIZE;
	}
}

static void walk_step(void)
{
	uint64_t at, n, to;

	some_range(&at, &n, &to);
	if (rnd(100) < 45)
		(void)!try_unmap(at, n);
	else
		(void)!try_map(at, n, to, some_flags());
	check_page(at);
	check_page(at + n - 1);
	check_page(at ? at - 1 : 0);
	check_page(MIN(at + n, model_size - 1));
}

/* 8 MiB across a border of 1 GiB: every page is looked up after each step. */
static void random_walk_every_page(void **state)
{
	model_start(GIB(1) - MIB(4), MIB(8) >> PAGE_SHIFT);
	for (unsigned i = 0; i < 4000; i++) {
		if (i % 200 == 0) { /* tables stay: with new ones large leaves are possible again */
			start(NULL);
			model_start(GIB(1) - MIB(4), MIB(8) >> PAGE_SHIFT);
		}
		walk_step();
		check_all_leaves();
		for (uint64_t p = 0; p < model_size; p++)
			check_page(p);
	}
}

/* 4 GiB, with leaves of 1 GiB; sometimes pages are short. */
static void random_walk_of_large_leaves(void **state)
{
	for (unsigned round = 0; round < 30; round++) {
		new_vm(MIB(4), round % 3 ? NO_LIMIT : 6 + rnd(30));
		model_start(GIB(8), MODEL_MAX);
		for (unsigned i = 0; i < 60; i++) {
			walk_step();
			check_all_leaves();
			for (unsigned k = 0; k < 50; k++)
				check_page(rnd(model_size));
		}
		if (round % 10 == 0)
			for (uint64_t p = 0; p < model_size; p++)
				check_page(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_root, start),
		cmocka_unit_test_setup(one_leaf_of_each_size, start),
		cmocka_unit_test_setup(leaves_are_as_large_as_can_be, start),
		cmocka_unit_test_setup(nothing_is_mapped_over_something, start),
		cmocka_unit_test_setup(an_obstacle_anywhere_undoes_the_map, start),
		cmocka_unit_test_setup(an_emptied_table_takes_small_leaves, start),
		cmocka_unit_test_setup(unmapping_splits_at_the_edges, start),
		cmocka_unit_test_setup(splits_keep_rights_and_the_device_flag, start),
		cmocka_unit_test_setup(unmapping_nothing, start),
		cmocka_unit_test_setup(limits, start),
		cmocka_unit_test_setup(alignment, start),
		cmocka_unit_test_setup(flags_that_no_leaf_may_have_are_bugs, start),
		cmocka_unit_test_setup(a_map_refused_by_the_quota, start),
		cmocka_unit_test_setup(an_unmap_refused_by_the_quota, start),
		cmocka_unit_test_setup(no_frames_left, start),
		cmocka_unit_test_setup(reading_across_pages, start),
		cmocka_unit_test_setup(writing_across_pages, start),
		cmocka_unit_test_setup(copies_end_at_what_is_not_accessible, start),
		cmocka_unit_test_setup(addresses_at_the_ends, start),
		cmocka_unit_test_setup(pointers_into_one_page, start),
		cmocka_unit_test_setup(lookup_while_a_leaf_is_split, start),
		cmocka_unit_test_setup(lookup_while_a_page_is_replaced, start),
		cmocka_unit_test_setup(random_walk_every_page, start),
		cmocka_unit_test_setup(random_walk_of_large_leaves, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
