/* SPDX-License-Identifier: MIT */
/*
 * The walk of a guest's tables against the rules of the specification: each combination of an
 * entry's bits, at each level of each mode, for each access. If this fails, a guest on cores
 * without H gets a fault that hardware would not raise, or none where it would.
 */
#include "unit.h"
#include "mmu/walk_from.h"
#include "gstage_model.h"
#include "pte_rules.h"

#define RAM     GIB(3)
#define DEVICE  GIB(1)
#define WINDOW  GIB(2)
#define HOLE_AT (RAM + MIB(1)) /* RAM that is not there yet */

static const uint64_t accesses[] = {WALK_READ, WALK_WRITE, WALK_EXECUTE};
static struct walk w;

static void put_entry(uint64_t at, uint64_t pte)
{
	uint64_t *p = guest_ptr(vm, gpa(at), 8, GSTAGE_W);

	require(p);
	*p = pte;
}

/* Tables for one address are the first pages of RAM, the root first; all other entries are 0. */
static int start(void **state)
{
	new_vm(MIB(8), UINT64_MAX >> 1);
	vm->ram_base = gpa(RAM);
	vm->ram_size = MIB(2);
	require(map(RAM, RAM_BASE + MIB(4), PAGE_SIZE * 16, GSTAGE_RWX) == OK);
	require(map(WINDOW, RAM_BASE + MIB(4) + PAGE_SIZE * 16, PAGE_SIZE,
			GSTAGE_R | GSTAGE_FOREIGN) == OK);
	require(map(DEVICE, RAM_BASE + MIB(4), PAGE_SIZE, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE) ==
		OK);
	return 0;
}

static uint64_t satp_of(unsigned levels)
{
	return (levels + 5ull) << 60 | UINT64_C(0xabc) << 44 | RAM >> 12;
}

static uint64_t pointer_to(uint64_t at)
{
	return at >> 2 | 1;
}

/* An address with another index at each level, in the upper half or the lower one. */
static uint64_t address(unsigned levels, bool upper)
{
	uint64_t at = 0x123;

	for (unsigned l = 0; l < levels; l++)
		at |= (17 * l + 3ull) << (12 + 9 * l);
	return upper ? at | UINT64_MAX << (11 + 9 * levels) : at;
}

static uint64_t slot_of(unsigned levels, unsigned level, bool upper)
{
	return RAM + (levels - 1 - level) * PAGE_SIZE +
	       8 * (address(levels, upper) >> (12 + 9 * level) & 511);
}

/* A path down to `level`, whose entry is `pte`. */
static void path(unsigned levels, unsigned level, bool upper, uint64_t pte)
{
	for (unsigned l = levels - 1; l > level; l--)
		put_entry(slot_of(levels, l, upper), pointer_to(RAM + (levels - l) * PAGE_SIZE));
	put_entry(slot_of(levels, level, upper), pte);
}

static enum err try_walk(unsigned levels, bool upper, uint64_t how)
{
	memset(&w, 0xa5, sizeof(w));
	return guest_walk(vm, satp_of(levels), gva(address(levels, upper)), how, &w);
}

static void check(unsigned levels, unsigned level, bool upper, uint64_t pte, uint64_t how)
{
	uint64_t inside = (UINT64_C(1) << (12 + 9 * level)) - 1;
	bool pbmt_ok = (how & WALK_PBMT) || !(pte & WALK_PBMT);
	bool ok = pbmt_ok && kind_of(pte, level) == LEAF && leaf_allows(pte, how);

	require(try_walk(levels, upper, how) == (ok ? OK : E_FAULT));
	if (!ok)
		return;
	require(w.gpa.v == (((pte & 0x3ffffffffffc00) << 2) | (address(levels, upper) & inside)));
	require(w.level == level && w.pte == pte);
	for (unsigned l = level; l < levels; l++) {
		require(ptr_hpa(w.tables[l]).v == RAM_BASE + MIB(4) + (levels - 1 - l) * PAGE_SIZE);
		require(w.ptes[l] ==
			*(uint64_t *)guest_ptr(vm, gpa(slot_of(levels, l, upper)), 8, GSTAGE_R));
	}
}

static void check_all_accesses(unsigned levels, unsigned level, bool upper, uint64_t pte)
{
	path(levels, level, upper, pte);
	for (unsigned i = 0; i < 3 * 16; i++) {
		uint64_t how = accesses[i % 3] | (i / 3 & 1 ? WALK_USER : 0) |
			       (i / 3 & 2 ? WALK_SUM : 0) | (i / 3 & 4 ? WALK_MXR : 0) |
			       (i / 3 & 8 ? WALK_PBMT : 0);

		check(levels, level, upper, pte, how);
	}
}

/* All of V, R, W, X, U, G, A, D and RSW, at each level of each mode. */
static void every_combination_of_flags(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++)
		for (unsigned level = 0; level < levels; level++)
			for (uint64_t flags = 0; flags < 1024; flags++)
				if (flags & 0xe || level == 0)
					check_all_accesses(levels, level, flags & 1,
						BIT(12 + 9 * level - 2) | flags);
}

/* Each bit beside them, alone and two at a time. */
static void every_other_bit(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++)
		for (unsigned level = 0; level < levels; level++)
			for (unsigned a = 10; a < 64; a++)
				for (unsigned b = a; b < 64; b++)
					check_all_accesses(
						levels, level, b & 1, BIT(a) | BIT(b) | 0xcf);
}

/* A pointer may have V, G and RSW; with another bit it is no entry at all. */
static void every_pointer(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		for (unsigned level = 1; level < levels; level++) {
			for (unsigned bit = 0; bit < 64; bit++) {
				uint64_t bad = BIT(bit);
				bool fine = (bad & 0x321) || (bit >= 10 && bit < 54);

				if (bad & 0xe || (bit >= 10 && bit < 54))
					continue;
				path(levels, 0, false, RAM >> 2 | 0xcf);
				put_entry(slot_of(levels, level, false),
					pointer_to(RAM + (levels - level) * PAGE_SIZE) | bad);
				require(try_walk(levels, false, WALK_READ | WALK_PBMT) ==
					(fine ? OK : E_FAULT));
				put_entry(slot_of(levels, level, false),
					pointer_to(RAM + (levels - level) * PAGE_SIZE) & ~1ull);
				require(try_walk(levels, false, WALK_READ) == E_FAULT);
			}
		}
		/* At the last level it leads nowhere. */
		path(levels, 0, false, pointer_to(RAM));
		require(try_walk(levels, false, WALK_READ) == E_FAULT);
	}
}

static void addresses_that_are_none(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		unsigned top = 11 + 9 * levels;

		path(levels, levels - 1, false, 0xcf);
		path(levels, levels - 1, true, 0xcf);
		for (unsigned bit = top; bit < 64; bit++) {
			uint64_t low = address(levels, false), high = address(levels, true);

			require(guest_walk(vm, satp_of(levels), gva(low), WALK_READ, &w) == OK);
			require(guest_walk(vm, satp_of(levels), gva(high), WALK_READ, &w) == OK);
			require(guest_walk(vm, satp_of(levels), gva(low | BIT(bit)), WALK_READ,
					&w) == E_FAULT);
			require(guest_walk(vm, satp_of(levels), gva(high & ~BIT(bit)), WALK_READ,
					&w) == E_FAULT);
		}
	}
}

static void without_translation(void **state)
{
	static const uint64_t at[] = {0, 0x123, RAM, GIB(512), UINT64_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		for (unsigned k = 0; k < 6; k++) {
			uint64_t how = accesses[k % 3] | (k / 3 ? WALK_USER : 0);

			require(guest_walk(vm, 0, gva(at[i]), how, &w) == OK);
			require(w.gpa.v == at[i] && w.level == WALK_LEVELS);
			require(leaf_allows(w.pte, how) && !(w.pte & WALK_PBMT));
		}
}

/* What is read where there is no table: each place, as a root and as what an entry leads to. */
static void tables_in_strange_places(void **state)
{
	static const struct {
		uint64_t at;
		enum err err;
	} places[] = {
		{DEVICE, E_DENIED},
		{DEVICE + PAGE_SIZE, E_DENIED}, /* nothing is there */
		{WINDOW, E_FAULT},              /* zeros */
		{HOLE_AT, E_FAULT},
		{RAM + MIB(2) - PAGE_SIZE, E_FAULT},
		{RAM + MIB(2), E_DENIED},
		{RAM - PAGE_SIZE, E_DENIED},
		{BIT(41), E_DENIED},
		{BIT(41) | RAM, E_DENIED},
		{BIT(55), E_DENIED},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		for (unsigned levels = 3; levels <= 5; levels++) {
			uint64_t root = satp_of(levels) & (UINT64_MAX << 44);

			require(guest_walk(vm, root | places[i].at >> 12,
					gva(address(levels, false)), WALK_READ,
					&w) == places[i].err);
			for (unsigned level = 1; level < levels; level++) {
				path(levels, level, false, pointer_to(places[i].at));
				require(try_walk(levels, false, WALK_READ) == places[i].err);
			}
		}
	}
}

/* Another PCPU is just copying the page of a table: neither fault nor translation. */
static void a_table_that_is_being_replaced(void **state)
{
	uint64_t value, *pte, was;
	unsigned level;

	for (unsigned levels = 3; levels <= 5; levels++) {
		path(levels, 0, false, RAM >> 2 | 0xcf);
		for (unsigned i = 0; i < levels; i++) {
			pte = gstage_walk(vm, gpa(RAM + i * PAGE_SIZE), &level, &value);
			was = *pte;
			*pte = PTE_BUSY;
			require(try_walk(levels, false, WALK_READ) == E_STATE);
			*pte = was;
			require(try_walk(levels, false, WALK_READ) == OK);
		}
	}
}

/* Part of a walk is the same as the whole. */
static void from_a_table_that_is_known(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		path(levels, 0, true, RAM >> 2 | 0xcf);
		for (unsigned level = 0; level < levels; level++) {
			uint64_t at = address(levels, true);
			struct walk part;

			require(try_walk(levels, true, WALK_WRITE) == OK);
			require(guest_walk_from(vm, w.tables[level], level, gva(at), WALK_WRITE,
					&part) == OK);
			require(part.gpa.v == w.gpa.v && part.level == 0 && part.pte == w.pte);
			require(guest_walk_from(vm, w.tables[level], level, gva(at),
					WALK_WRITE | WALK_USER, &part) == E_FAULT);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_combination_of_flags, start),
		cmocka_unit_test_setup(every_other_bit, start),
		cmocka_unit_test_setup(every_pointer, start),
		cmocka_unit_test_setup(addresses_that_are_none, start),
		cmocka_unit_test_setup(without_translation, start),
		cmocka_unit_test_setup(tables_in_strange_places, start),
		cmocka_unit_test_setup(a_table_that_is_being_replaced, start),
		cmocka_unit_test_setup(from_a_table_that_is_known, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
