/* SPDX-License-Identifier: MIT */
/*
 * Sv39x4 tables against a model with one entry per page. If this fails, a guest reaches memory that
 * is not its own, loses some that is, or pays for tables that do not exist.
 *
 * Includes the source, so that another PCPU can change a table between two reads of gstage_lookup,
 * and look at it after each store.
 */
#include "unit.h"
#include "arch.h"
#include "core/vm.h"

static uint64_t load_entry(const uint64_t *pte);
static void store_entry(uint64_t *pte, uint64_t value);

#define __atomic_load_n(pte, order)         load_entry(pte)
#define __atomic_store_n(pte, value, order) store_entry(pte, value)
#include "mmu/gstage.c"
#undef __atomic_load_n
#undef __atomic_store_n

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

static void (*after_store)(void);
static unsigned stores;

static void store_entry(uint64_t *pte, uint64_t value)
{
	__atomic_store_n(pte, value, __ATOMIC_RELEASE);
	stores++;
	if (after_store)
		after_store();
}

static int start(void **state)
{
	between_reads = NULL;
	after_store = NULL;
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
	}
}

/* One call, one large leaf or small ones to the next multiple of 2 MiB. */
static void one_call_maps_one_part(void **state)
{
	static const struct {
		uint64_t at, to, size, part, leaf;
	} cases[] = {
		{GIB(1), FAR, GIB(3), GIB(1), GIB(1)},
		{GIB(1), FAR, GIB(1), GIB(1), GIB(1)},
		{GIB(1), FAR, GIB(1) - PAGE_SIZE, MIB(2), MIB(2)},
		{GIB(1), FAR + MIB(2), GIB(1), MIB(2), MIB(2)},
		{GIB(1) + MIB(2), FAR + MIB(2), GIB(2), MIB(2), MIB(2)},
		{GIB(1), FAR + PAGE_SIZE, GIB(1), MIB(2), PAGE_SIZE},
		{GIB(1), FAR, MIB(2) - PAGE_SIZE, MIB(2) - PAGE_SIZE, PAGE_SIZE},
		{GIB(1) + PAGE_SIZE, FAR + PAGE_SIZE, GIB(1), MIB(2) - PAGE_SIZE, PAGE_SIZE},
		{GIB(1) + MIB(1), FAR, GIB(1), MIB(1), PAGE_SIZE},
		{GIB(1) - PAGE_SIZE, FAR - PAGE_SIZE, GIB(4), PAGE_SIZE, PAGE_SIZE},
		{GIB(1) + 3 * PAGE_SIZE, FAR, 7 * PAGE_SIZE, 7 * PAGE_SIZE, PAGE_SIZE},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = cases[i].at, to = cases[i].to, part = cases[i].part, done;

		start(NULL);
		assert_int_equal(map_part(at, to, cases[i].size, GSTAGE_RWX, &done), OK);
		assert_int_equal(done, part);
		assert_int_equal(check_tables(NULL).mapped, part >> PAGE_SHIFT);
		for (uint64_t off = 0; off < part; off += cases[i].leaf)
			assert_maps(at + off, to + off, cases[i].leaf, GSTAGE_RWX);
		assert_maps_nothing(at - 1);
		assert_maps_nothing(at + part);
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
			assert_int_equal(check_tables(NULL).mapped, sizes[old] >> PAGE_SHIFT);
			assert_int_equal(
				map(GIB(4) - PAGE_SIZE, FAR, sizes[new] + PAGE_SIZE, GSTAGE_R),
				E_EXISTS);
			assert_int_equal(check_tables(NULL).mapped, (sizes[old] >> PAGE_SHIFT) + 1);
			assert_maps(GIB(4), FAR, sizes[old], GSTAGE_R);
			assert_maps(GIB(4) - PAGE_SIZE, FAR, PAGE_SIZE, GSTAGE_R);
		}
	}
}

/* An obstacle at each place of the range: what lies before it is mapped, and told, nothing behind.
 */
static void an_obstacle_anywhere_ends_the_map(void **state)
{
	for (uint64_t at = 0; at < MIB(6); at += at % MIB(2) ? MIB(2) - PAGE_SIZE : PAGE_SIZE) {
		uint64_t done, block = ALIGN_DOWN(at, MIB(2));

		start(NULL);
		assert_int_equal(map(GIB(1) + at, FAR, PAGE_SIZE, GSTAGE_R), OK);
		assert_int_equal(map_until(GIB(1), 0, MIB(6), GSTAGE_RWX, &done), E_EXISTS);
		assert_int_equal(done, at);
		assert_int_equal(check_tables(NULL).mapped, (at >> PAGE_SHIFT) + 1);
		for (uint64_t off = 0; off < at; off += PAGE_SIZE)
			assert_maps(
				GIB(1) + off, off, off < block ? MIB(2) : PAGE_SIZE, GSTAGE_RWX);
		assert_maps(GIB(1) + at, FAR, PAGE_SIZE, GSTAGE_R);
		assert_maps_nothing(GIB(1) + at + PAGE_SIZE);
	}
}

/* The same in the middle of one part. */
static void an_obstacle_in_a_part(void **state)
{
	for (uint64_t at = 0; at < 20; at++) {
		uint64_t done;

		start(NULL);
		assert_int_equal(map(GIB(1) + at * PAGE_SIZE, FAR, PAGE_SIZE, GSTAGE_R), OK);
		assert_int_equal(map_part(GIB(1), 0, MIB(2), GSTAGE_RWX, &done), E_EXISTS);
		assert_int_equal(done, at * PAGE_SIZE);
		assert_int_equal(check_tables(NULL).mapped, at + 1);
		/* What is behind it can be mapped with a second call, what is before cannot. */
		assert_int_equal(
			map(GIB(1) + done + PAGE_SIZE, 0, MIB(2) - done - PAGE_SIZE, GSTAGE_RWX),
			OK);
		assert_int_equal(check_tables(NULL).mapped, 512);
		assert_int_equal(map_part(GIB(1), 0, MIB(2), GSTAGE_RWX, &done), E_EXISTS);
		assert_int_equal(done, 0);
	}
}

#define DEVICE (GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE)

static void an_emptied_table_takes_small_leaves(void **state)
{
	assert_int_equal(map(GIB(1) + PAGE_SIZE, FAR, PAGE_SIZE, DEVICE), OK);
	assert_int_equal(take(GIB(1) + PAGE_SIZE, PAGE_SIZE), 1);
	assert_int_equal(map(GIB(1), FAR, MIB(4), GSTAGE_RWX), OK);
	assert_maps(GIB(1), FAR, PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(2) - 1, FAR + MIB(2) - 1, PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(2), FAR + MIB(2), MIB(2), GSTAGE_RWX);
	assert_int_equal(check_tables(NULL).mapped, 1024);
	start(NULL);
	assert_int_equal(map(GIB(1) + MIB(6), FAR, PAGE_SIZE, DEVICE), OK);
	assert_int_equal(take(GIB(1), GIB(1)), 1);
	assert_int_equal(map(GIB(1), FAR, GIB(1), GSTAGE_RWX), OK);
	assert_maps(GIB(1), FAR, MIB(2), GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(6), FAR + MIB(6), PAGE_SIZE, GSTAGE_RWX);
	assert_maps(GIB(1) + MIB(8), FAR + MIB(8), MIB(2), GSTAGE_RWX);
	assert_int_equal(check_tables(NULL).mapped, GIB(1) >> PAGE_SHIFT);
	assert_maps_nothing(GIB(2));
}

static const uint64_t all_flags[] = {GSTAGE_R, GSTAGE_R | GSTAGE_W, GSTAGE_R | GSTAGE_X, GSTAGE_RWX,
	GSTAGE_R | GSTAGE_DEVICE, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE, GSTAGE_RWX | GSTAGE_DEVICE,
	GSTAGE_R | GSTAGE_FOREIGN, GSTAGE_R | GSTAGE_W | GSTAGE_FOREIGN};

/* Every page maps the same after it. */
static void a_split_changes_nothing_but_sizes(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(all_flags); i++) {
		uint64_t flags = all_flags[i];

		start(NULL);
		model_start(0, GIB(1) >> PAGE_SHIFT);
		assert_int_equal(try_map(0, model_size, FAR, flags), OK);
		assert_int_equal(split(MIB(4) + PAGE_SIZE), OK);
		assert_int_equal(check_tables(NULL).tables, 1);
		assert_int_equal(split(MIB(4) + PAGE_SIZE), OK);
		assert_int_equal(check_tables(NULL).tables, 2);
		check_all_leaves();
		for (uint64_t p = 0; p < model_size; p++)
			check_page(p);
		assert_maps(MIB(4) - 1, FAR + MIB(4) - 1, MIB(2), flags);
		assert_maps(MIB(4), FAR + MIB(4), PAGE_SIZE, flags);
		assert_maps(MIB(6) - 1, FAR + MIB(6) - 1, PAGE_SIZE, flags);
		assert_maps(MIB(6), FAR + MIB(6), MIB(2), flags);
		assert_maps(GIB(1) - 1, FAR + GIB(1) - 1, MIB(2), flags);
	}
}

static void a_page_cannot_be_split(void **state)
{
	struct vm_locked l = vm_lock(vm);
	uint64_t value, done;
	unsigned level;

	assert_int_equal(gstage_map(l, gpa(GIB(1)), hpa(FAR), PAGE_SIZE, GSTAGE_R, &done), OK);
	uint64_t *pte = gstage_walk(vm, gpa(GIB(1)), &level, &value);

	expect_bug((void)!gstage_split(vm, pte, level));
}

/* --- taking devices away --- */

static void taking_nothing(void **state)
{
	assert_int_equal(take(0, TOP), 0);
	assert_int_equal(take(0, 0), 0);
	assert_int_equal(take(TOP, 0), 0);
	assert_int_equal(check_tables(NULL).tables, 0); /* passing over makes none */
	assert_int_equal(map(GIB(1), FAR, PAGE_SIZE, DEVICE), OK);
	assert_int_equal(take(0, GIB(1)), 0);
	assert_int_equal(take(GIB(1), 0), 0);
	assert_int_equal(take(GIB(1) + PAGE_SIZE, TOP - GIB(1) - PAGE_SIZE), 0);
	assert_maps(GIB(1), FAR, PAGE_SIZE, DEVICE);
	assert_int_equal(take(0, TOP), 1);
	assert_maps_nothing(GIB(1));
	assert_int_equal(take(0, TOP), 0);
	assert_int_equal(check_tables(NULL).tables, 2); /* tables stay */
}

/* Devices in leaves of all sizes, in this order, with other things between them and RAM in which
 * nothing is mapped but small leaves. */
static const struct leaf_at {
	uint64_t at, to, size, flags;
} scene[] = {
	{0, FAR, PAGE_SIZE, DEVICE},
	{PAGE_SIZE, FAR + GIB(8), PAGE_SIZE, GSTAGE_RWX},
	{2 * PAGE_SIZE, FAR + MIB(1), PAGE_SIZE, DEVICE},
	{3 * PAGE_SIZE, FAR + MIB(3), PAGE_SIZE, GSTAGE_RWX | GSTAGE_DEVICE},
	{MIB(2) - PAGE_SIZE, FAR + GIB(9), PAGE_SIZE, GSTAGE_R | GSTAGE_DEVICE},
	{MIB(2), FAR + MIB(2), MIB(2), DEVICE},
	{MIB(4), FAR + MIB(6), MIB(2), GSTAGE_R | GSTAGE_W | GSTAGE_FOREIGN},
	{MIB(6), FAR + MIB(4), MIB(2), DEVICE},
	{GIB(1), FAR + GIB(1), GIB(1), GSTAGE_R | GSTAGE_DEVICE},
	{GIB(3), FAR + GIB(5), GIB(1), GSTAGE_R},
	{GIB(5) - MIB(2), FAR + MIB(8), MIB(2), DEVICE},
	{GIB(5) + MIB(1), FAR + MIB(11), PAGE_SIZE, DEVICE}, /* RAM ends here */
	{TOP - PAGE_SIZE, FAR + MIB(12), PAGE_SIZE, DEVICE},
};

#define SCENE_RAM GIB(5)

static void set_scene(void)
{
	start(NULL);
	vm->ram_base = gpa(SCENE_RAM);
	vm->ram_size = MIB(1);
	for (unsigned i = 0; i < ARRAY_SIZE(scene); i++)
		assert_int_equal(map(scene[i].at, scene[i].to, scene[i].size, scene[i].flags), OK);
	for (uint64_t off = 0; off < MIB(1); off += 3 * PAGE_SIZE)
		assert_int_equal(
			map(SCENE_RAM + off, FAR + GIB(10) + off, PAGE_SIZE, GSTAGE_RWX), OK);
}

/* Each once, in its place, whatever the budget, and nothing else. */
static void every_device_leaf_is_taken_once(void **state)
{
	static const unsigned budgets[] = {1, 2, 3, 5, 64, 511, 512, 513, 4096, UINT_MAX};

	for (unsigned b = 0; b < ARRAY_SIZE(budgets); b++) {
		uint64_t at = 0, left = MIB(1) / PAGE_SIZE / 3 + 1;
		unsigned i = 0, budget = budgets[b];
		struct taken t;

		set_scene();
		while (at < TOP) {
			if (!take_part(&at, TOP, &budget, &t)) {
				budget = budgets[b];
				continue;
			}
			while (!(scene[i].flags & GSTAGE_DEVICE))
				left += scene[i++].size >> PAGE_SHIFT;
			assert_true(i < ARRAY_SIZE(scene));
			assert_int_equal(t.at, scene[i].at);
			assert_int_equal(t.to, scene[i].to);
			assert_int_equal(t.size, scene[i++].size);
			assert_int_equal(at, t.at + t.size);
			assert_maps_nothing(t.at);
			assert_maps_nothing(at - 1);
		}
		assert_int_equal(i, ARRAY_SIZE(scene));
		assert_int_equal(check_tables(NULL).mapped, left);
		assert_int_equal(take(0, TOP), 0);
	}
}

/* Where the cursor or the end lies within a leaf, all of it goes; where they lie at its ends, none.
 */
static void devices_go_by_whole_leaves(void **state)
{
	static const uint64_t sizes[] = {PAGE_SIZE, MIB(2), GIB(1)};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t size = sizes[i], first = GIB(4), at;
		unsigned budget = 100;
		struct taken t;

		start(NULL);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(map(first + k * size, FAR + k * size, size, DEVICE), OK);
		at = first + size;
		assert_true(take_part(&at, first + size + 1, &budget, &t));
		assert_int_equal(t.at, first + size);
		at = first + 3 * size - 1; /* the last byte of the third */
		assert_true(take_part(&at, first + 3 * size, &budget, &t));
		assert_int_equal(t.at, first + 2 * size);
		assert_int_equal(t.to, FAR + 2 * size);
		assert_false(take_part(&at, first + 3 * size, &budget, &t));
		assert_int_equal(at, first + 3 * size);
		assert_int_equal(budget, 98);
		assert_maps(first, FAR, size, DEVICE);
		assert_maps(first + 3 * size, FAR + 3 * size, size, DEVICE);
		assert_int_equal(check_tables(NULL).mapped, 2 * size >> PAGE_SHIFT);
	}
}

/* 512 entries of a table cost 512, a gap of 2 MiB or 1 GiB costs one, what lies behind all that was
 * ever mapped nothing. */
static void the_budget_is_for_entries(void **state)
{
	uint64_t at = GIB(1);
	unsigned budget = 0;
	struct taken t;

	assert_int_equal(map(GIB(1) + MIB(2) - PAGE_SIZE, FAR, PAGE_SIZE, DEVICE), OK);
	assert_int_equal(map(GIB(2) - PAGE_SIZE, FAR, PAGE_SIZE, DEVICE), OK);
	assert_int_equal(map(GIB(4), FAR, GIB(1), DEVICE), OK);
	assert_false(take_part(&at, TOP, &budget, &t));
	assert_int_equal(at, GIB(1));
	budget = 511;
	assert_false(take_part(&at, TOP, &budget, &t));
	assert_int_equal(at, GIB(1) + MIB(2) - PAGE_SIZE);
	budget = 1;
	assert_true(take_part(&at, TOP, &budget, &t));
	assert_int_equal(budget, 0);
	budget = 510 + 511; /* empty entries of 2 MiB, then of 4 KiB */
	assert_false(take_part(&at, TOP, &budget, &t));
	assert_int_equal(at, GIB(2) - PAGE_SIZE);
	budget = 4;
	assert_true(take_part(&at, TOP, &budget, &t));
	assert_true(take_part(&at, TOP, &budget, &t));
	assert_int_equal(t.at, GIB(4));
	assert_int_equal(budget, 0);
	budget = 1;
	assert_false(take_part(&at, TOP, &budget, &t));
	assert_true(at == TOP && budget == 1);
}

/* However much of RAM is mapped, it is passed over in one go, also from its middle. */
static void ram_is_passed_over(void **state)
{
	static const uint64_t from[] = {GIB(2), GIB(2) + PAGE_SIZE, GIB(2) + MIB(3)};

	for (unsigned i = 0; i < ARRAY_SIZE(from); i++) {
		uint64_t at = from[i], end = GIB(2) + MIB(4) + PAGE_SIZE;
		unsigned budget = 2;
		struct taken t;

		start(NULL);
		vm->ram_base = gpa(GIB(2));
		vm->ram_size = MIB(4) + PAGE_SIZE;
		assert_int_equal(map(GIB(2), FAR + PAGE_SIZE, vm->ram_size, GSTAGE_RWX), OK);
		assert_int_equal(map(end, FAR, PAGE_SIZE, DEVICE), OK);
		assert_int_equal(map(GIB(2) - PAGE_SIZE, FAR, PAGE_SIZE, DEVICE), OK);
		assert_true(take_part(&at, TOP, &budget, &t));
		assert_int_equal(t.at, end);
		assert_int_equal(budget, 0);
		at = GIB(2) - PAGE_SIZE;
		assert_int_equal(take(at, PAGE_SIZE), 1);
		assert_int_equal(check_tables(NULL).mapped, vm->ram_size >> PAGE_SHIFT);
	}
}

/* --- limits --- */

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
		assert_int_equal(map(GIB(1) + off, FAR, PAGE_SIZE, GSTAGE_R), E_RANGE);
		assert_int_equal(map(GIB(1), FAR + off, PAGE_SIZE, GSTAGE_R), E_RANGE);
		assert_int_equal(map(GIB(1), FAR, PAGE_SIZE + off, GSTAGE_R), E_RANGE);
	}
	assert_int_equal(map(GIB(1), FAR, 0, GSTAGE_R), OK);
	assert_int_equal(check_tables(NULL).tables, 0);
}

static void flags_that_no_leaf_may_have_are_bugs(void **state)
{
	static const uint64_t bad[] = {0, GSTAGE_W, GSTAGE_X, GSTAGE_W | GSTAGE_X, GSTAGE_DEVICE,
		GSTAGE_FOREIGN, GSTAGE_R | BIT(0), GSTAGE_R | BIT(4), GSTAGE_R | BIT(5),
		GSTAGE_R | BIT(6), GSTAGE_R | BIT(10), GSTAGE_R | BIT(11), GSTAGE_R | BIT(63)};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start(NULL);
		expect_bug((void)!map(0, FAR, PAGE_SIZE, bad[i]));
	}
}

/* The map needs four tables. With fewer pages than that it fails at each of them in turn: what was
 * mapped before stays, what was taken is accounted for, and with a higher limit the rest succeeds.
 */
static void a_map_refused_by_the_quota(void **state)
{
	const uint64_t at = GIB(1) - MIB(3), to = FAR + at, size = GIB(2) + MIB(6) + PAGE_SIZE;
	const uint64_t mapped[] = {0, 0, GIB(2) + MIB(3), GIB(2) + MIB(5), size};

	for (uint64_t spare = 0; spare <= 4; spare++) {
		uint64_t done;

		new_vm(RAM, NO_LIMIT);
		vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES] + spare;
		assert_int_equal(
			map_until(at, to, size, GSTAGE_RWX, &done), spare < 4 ? E_QUOTA_OWN : OK);
		assert_int_equal(done, mapped[spare]);
		assert_int_equal(check_tables(NULL).mapped, done >> PAGE_SHIFT);
		assert_int_equal(vm->quota.used[RES_PAGES], vm->quota.limit[RES_PAGES]);
		assert_maps_nothing(at + done);
		vm->quota.limit[RES_PAGES] = NO_LIMIT;
		assert_int_equal(map(at + done, to + done, size - done, GSTAGE_RWX), OK);
		assert_int_equal(check_tables(NULL).mapped, size >> PAGE_SHIFT);
		for (uint64_t off = 0; off < size; off += PAGE_SIZE)
			assert_maps(
				at + off, to + off, largest(at + off, at, to, size), GSTAGE_RWX);
	}
}

/* The first leaf is split twice, then the last is: until that fails. */
static enum err split_at_both_ends(void)
{
	enum err err = OK;

	for (unsigned i = 0; i < 4 && err == OK; i++) {
		err = split(i < 2 ? 0 : 3 * GIB(1) - PAGE_SIZE);
		check_all_leaves();
	}
	return err;
}

static void a_split_refused_by_the_quota(void **state)
{
	for (uint64_t spare = 0; spare <= 4; spare++) {
		new_vm(RAM, NO_LIMIT);
		model_start(0, 3 * (GIB(1) >> PAGE_SHIFT));
		assert_int_equal(try_map(0, model_size, FAR, GSTAGE_RWX), OK);
		vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES] + spare;
		assert_int_equal(split_at_both_ends(), spare < 4 ? E_QUOTA_OWN : OK);
		assert_int_equal(check_tables(NULL).tables, spare);
		for (uint64_t p = 0; p < model_size; p += 511)
			check_page(p);
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
		assert_int_equal(split_at_both_ends(), E_NOMEM);
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
	assert_int_equal(split(GIB(1) + MIB(2)), OK);
	assert_int_equal(split(GIB(1) + MIB(2)), OK);
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

static void look_at_all(void)
{
	for (uint64_t p = 0; p < model_size; p += 73)
		check_page(p);
}

/* At no moment is a page of a leaf that is being split without translation: the guest runs. */
static void a_split_as_others_see_it(void **state)
{
	model_start(GIB(1), GIB(1) >> PAGE_SHIFT);
	assert_int_equal(try_map(0, model_size, FAR, GSTAGE_RWX), OK);
	for (unsigned i = 0; i < 2; i++) {
		stores = 0;
		after_store = look_at_all;
		assert_int_equal(split(GIB(1) + MIB(4)), OK);
		after_store = NULL;
		assert_true(stores > 0);
	}
}

static void replace_now(unsigned n)
{
	if (n != split_before)
		return;
	between_reads = NULL;
	assert_true(take(GIB(1) + MIB(2), PAGE_SIZE) == 1);
	assert_int_equal(map(GIB(1) + MIB(2), FAR + GIB(7), PAGE_SIZE, GSTAGE_R), OK);
}

/* Another one takes the page away and puts a different one there: the old answer, the new one or
 * none, never a mixture. */
static void lookup_while_a_page_is_replaced(void **state)
{
	for (unsigned i = 0; i < 18; i++) {
		struct gstage_leaf leaf;

		start(NULL);
		assert_int_equal(map(GIB(1), FAR, GIB(1), DEVICE), OK);
		for (unsigned splits = i / 6; splits; splits--) /* leaves of each size */
			assert_int_equal(split(GIB(1) + MIB(2)), OK);
		reads = 0;
		split_before = i % 6;
		between_reads = replace_now;
		enum err err = lookup(GIB(1) + MIB(2), &leaf);

		between_reads = NULL;
		if (err != OK)
			assert_int_equal(err, E_NOENT);
		else if (leaf.flags == GSTAGE_R)
			assert_int_equal(leaf.hpa.v, FAR + GIB(7));
		else
			assert_true(leaf.hpa.v == FAR + MIB(2) && leaf.flags == DEVICE);
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
	/* Devices mostly: what is none stays. */
	static const uint64_t kinds[] = {0, GSTAGE_FOREIGN};

	return GSTAGE_R | (rnd(8) << 1 & GSTAGE_RWX) | (rnd(12) ? GSTAGE_DEVICE : kinds[rnd(2)]);
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
	if (rnd(100) < 40)
		try_take(at, n, 1 + (unsigned)rnd(BIT(rnd(12))));
	else if (rnd(6) == 0)
		for (unsigned k = 0; k < 8; k++)
			try_split(rnd(model_size));
	else
		(void)!try_map(at, n, to, some_flags());
	check_page(at);
	check_page(at + n - 1);
	check_page(at ? at - 1 : 0);
	check_page(MIN(at + n, model_size - 1));
}

/* RAM, where no device can be, is a part of the model, or there is none. */
static void some_ram(void)
{
	uint64_t first = rnd(model_size), n = rnd(3) ? rnd(model_size - first) / 4 : 0;

	vm->ram_base = gpa(model_page(first));
	vm->ram_size = n << PAGE_SHIFT;
}

/* 8 MiB across a border of 1 GiB: every page is looked up after each step. */
static void random_walk_every_page(void **state)
{
	for (unsigned i = 0; i < 4000; i++) {
		if (i % 200 == 0) { /* tables stay: with new ones large leaves are possible again */
			start(NULL);
			model_start(GIB(1) - MIB(4), MIB(8) >> PAGE_SHIFT);
			some_ram();
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
		some_ram();
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
		cmocka_unit_test_setup(one_call_maps_one_part, start),
		cmocka_unit_test_setup(nothing_is_mapped_over_something, start),
		cmocka_unit_test_setup(an_obstacle_anywhere_ends_the_map, start),
		cmocka_unit_test_setup(an_obstacle_in_a_part, start),
		cmocka_unit_test_setup(an_emptied_table_takes_small_leaves, start),
		cmocka_unit_test_setup(a_split_changes_nothing_but_sizes, start),
		cmocka_unit_test_setup(a_page_cannot_be_split, start),
		cmocka_unit_test_setup(taking_nothing, start),
		cmocka_unit_test_setup(every_device_leaf_is_taken_once, start),
		cmocka_unit_test_setup(devices_go_by_whole_leaves, start),
		cmocka_unit_test_setup(the_budget_is_for_entries, start),
		cmocka_unit_test_setup(ram_is_passed_over, start),
		cmocka_unit_test_setup(limits, start),
		cmocka_unit_test_setup(alignment, start),
		cmocka_unit_test_setup(flags_that_no_leaf_may_have_are_bugs, start),
		cmocka_unit_test_setup(a_map_refused_by_the_quota, start),
		cmocka_unit_test_setup(a_split_refused_by_the_quota, start),
		cmocka_unit_test_setup(no_frames_left, start),
		cmocka_unit_test_setup(reading_across_pages, start),
		cmocka_unit_test_setup(writing_across_pages, start),
		cmocka_unit_test_setup(copies_end_at_what_is_not_accessible, start),
		cmocka_unit_test_setup(addresses_at_the_ends, start),
		cmocka_unit_test_setup(pointers_into_one_page, start),
		cmocka_unit_test_setup(lookup_while_a_leaf_is_split, start),
		cmocka_unit_test_setup(a_split_as_others_see_it, start),
		cmocka_unit_test_setup(lookup_while_a_page_is_replaced, start),
		cmocka_unit_test_setup(random_walk_every_page, start),
		cmocka_unit_test_setup(random_walk_of_large_leaves, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
