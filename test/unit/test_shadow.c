/* SPDX-License-Identifier: MIT */
/*
 * Shadow tables: see shadow_model.h. If this fails, a guest sees a translation that its tables do
 * not give (any more), loses one that they do, gets the wrong fault or none, never goes on, or
 * reaches memory that is not its own.
 *
 * Includes the sources, so that another PCPU can change entries between two reads of them.
 */
#include "unit.h"
#include "arch.h"
#include "core/vm.h"

static uint64_t load_entry(const uint64_t *pte);

#define __atomic_load_n(pte, order) load_entry(pte)
#include "mmu/tables.h"
#undef __atomic_load_n
#include "mmu/walk.c"
#include "mmu/shadow.c"

#include "shadow_model.h"

static uint64_t seed = 1;

static uint64_t pick(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 20) % n;
}

static bool busy_world;

static uint64_t load_entry(const uint64_t *pte)
{
	if (busy_world && elsewhere && pick(8) == 0) {
		if (pick(4))
			edit();
		else
			break_begin();
	}
	return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

/* --- case by case: a guest with its root in table 0 --- */

#define ROOT  0
#define ALL   0xcf /* V, R, W, X, A and D; U is 0x10, G 0x20 */
#define PAGES (GUEST_RAM + MIB(4))

static gpa_t where;
static struct refusal refused;

static void put_entry(uint64_t at, uint64_t pte)
{
	*guest_entry(at) = pte;
}

static void point(unsigned from, unsigned index, unsigned to)
{
	put_entry(table_gpa(from) + 8 * index, table_gpa(to) >> 2 | 1);
}

static void leaf(unsigned table, unsigned index, uint64_t to, uint64_t flags)
{
	put_entry(table_gpa(table) + 8 * index, to >> 2 | flags);
}

static uint64_t satp(unsigned root, unsigned asid)
{
	return UINT64_C(8) << 60 | (uint64_t)asid << 44 | table_gpa(root) >> 12;
}

/* Pages are there, and the hart is in the space of table 0. */
static int quiet_guest(void **state)
{
	busy_world = false;
	seed = 1;
	shadow_order = SHADOW_ORDER;
	new_guest(3, UINT64_MAX >> 2, false);
	for (unsigned t = 0; t < TABLES; t++)
		memset(guest_entry(table_gpa(t)), 0, PAGE_SIZE);
	guest_entry(PAGES);
	point(0, 0, 1);
	point(1, 0, 2);
	point(0, 256, 3); /* the kernel's half */
	point(3, 0, 4);
	point(5, 256, 3);
	guest_satp = satp(ROOT, 1);
	shadow_switch(s, guest_satp);
	obey();
	return 0;
}

#define KERNEL (UINT64_MAX << 38)

static enum err fault(uint64_t at, uint64_t how)
{
	enum err err;

	while ((err = shadow_fault(s, gva(at), how, &where, &refused)) == OK) {
		uint64_t to, pte;

		obey();
		if (hart_access(at, how, &to, &pte))
			return OK;
	}
	return err;
}

/* The hart finds it, without a fault. */
static bool finds(uint64_t at, uint64_t how)
{
	uint64_t to, pte;

	obey();
	memset(tlb, 0, sizeof(tlb));
	memset(links, 0, sizeof(links));
	return hart_access(at, how, &to, &pte);
}

static void pages_are_charged_and_given_back(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		uint64_t before = vm->quota.used[RES_PAGES], need = BIT(SHADOW_ORDER);
		struct shadow *made;

		for (uint64_t room = 0; room < need; room++) {
			vm->quota.limit[RES_PAGES] = before + room;
			require(shadow_create(vm, levels, &made) == E_QUOTA_OWN);
			require(vm->quota.used[RES_PAGES] == before);
		}
		vm->quota.limit[RES_PAGES] = before + need;
		require(shadow_create(vm, levels, &made) == OK);
		require(vm->quota.used[RES_PAGES] == before + need);
		shadow_switch(made, 0);
		require(made->satp >> 60 == levels + 5 && made->flush == SHADOW_FLUSH_ALL);
		shadow_destroy(made);
		require(vm->quota.used[RES_PAGES] == before);
	}
}

/* In pieces that are too small for an instruction nothing is made, and nothing charged. */
static void no_memory_in_one_piece(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		unsigned least = least_order(levels);
		uint64_t before = vm->quota.used[RES_PAGES];
		struct shadow *made;

		for (unsigned order = 0; order <= SHADOW_ORDER; order++) {
			enum err err = create_among_pieces(levels, order, &made);

			require(err == (order < least ? E_NOMEM : OK));
			require(vm->quota.used[RES_PAGES] == before + (err == OK ? BIT(order) : 0));
			if (err == OK)
				shadow_destroy(made);
			require(vm->quota.used[RES_PAGES] == before);
		}
	}
}

/* The tables of all levels of an address, apart from all others'. */
static void deep_path(uint64_t at, unsigned levels)
{
	static unsigned next;

	if (at == 0)
		next = 1;
	for (unsigned l = levels - 1, t = 0; l; l--) {
		uint64_t e = table_gpa(t) + 8 * (at >> (12 + 9 * l) & 511);

		if (!*guest_entry(e))
			put_entry(e, table_gpa(next++) >> 2 | 1);
		t = ((*guest_entry(e) >> 10 << 12) - table_gpa(0)) >> 12;
		if (l == 1)
			leaf(t, at >> 12 & 511, PAGES, ALL);
	}
}

/* An instruction on two pages that accesses two comes to its end, whatever was in use before, also
 * where memory was too fragmented for all tables. */
static void the_least_is_enough_for_an_instruction(void **state)
{
	for (unsigned levels = 3; levels <= 5; levels++) {
		uint64_t at[4], step_ = BIT(12 + 9 * (levels - 1));
		unsigned done = 0;

		shadow_order = least_order(levels);
		new_guest(levels, 0, false);
		vm->quota.limit[RES_PAGES] = UINT64_MAX >> 1;
		for (unsigned t = 0; t < 20; t++)
			memset(guest_entry(table_gpa(t)), 0, PAGE_SIZE);
		guest_entry(PAGES);
		for (unsigned i = 0; i < 4; i++)
			deep_path(at[i] = i * step_, levels);
		vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES];
		guest_satp = (levels + 5ull) << 60 | table_gpa(0) >> 12;
		shadow_switch(s, 0);
		require(fault(PAGES, WALK_READ) == OK); /* something is in use */
		shadow_switch(s, guest_satp);
		obey();
		for (unsigned tries = 0; done < 4; tries++) {
			require(tries < 16);
			for (done = 0; done < 4 && finds(at[done], WALK_READ); done++)
				;
			if (done < 4)
				require(shadow_fault(s, gva(at[done]), WALK_READ, &where,
						&refused) == OK);
		}
	}
}

static void tables_are_bounded_and_used_again(void **state)
{
	point(0, 1, 5);
	for (unsigned i = 0; i < 512; i++) {
		point(5, i, 2);
		point(1, i, 2);
	}
	leaf(2, 0, PAGES, ALL);
	for (unsigned i = 0; i < 1024; i++) {
		require(fault(i * MIB(2), WALK_READ) == OK);
	}
	require(s->space->root->links == 1);
	audit_books();
}

static void a_switch_loses_nothing(void **state)
{
	leaf(2, 0, PAGES, ALL);
	require(fault(0, WALK_WRITE) == OK);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned k = 1; k < SHADOW_SPACES; k++) {
			shadow_switch(s, satp(5, 1 + k));
			require(finds(0, WALK_READ) == false && s->flush == SHADOW_FLUSH_NONE);
		}
		shadow_switch(s, satp(ROOT, 1));
		require(finds(0, WALK_WRITE));
	}
	/* One more, and the oldest goes; what is in use does not. */
	shadow_switch(s, satp(5, 100));
	require(s->flush == SHADOW_FLUSH_ALL);
	shadow_switch(s, satp(ROOT, 1));
	require(finds(0, WALK_WRITE));
}

/* An instruction that lies on a page with G, and accesses one without, in the same table. */
static void global_and_own_in_one_table(void **state)
{
	leaf(4, 0, PAGES, ALL | 0x20);
	leaf(4, 1, PAGES, ALL);
	require(fault(KERNEL, WALK_READ) == OK);
	require(fault(KERNEL + PAGE_SIZE, WALK_READ) == OK);
	if (!finds(KERNEL, WALK_READ))
		require(fault(KERNEL, WALK_READ) == OK);
	require(finds(KERNEL, WALK_READ) && finds(KERNEL + PAGE_SIZE, WALK_READ));
}

/* What is G in the kernel's half is found by a new space; its first fault links it. */
static void a_new_space_knows_the_kernel(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		leaf(4, i, PAGES, ALL | 0x20);
		require(fault(KERNEL + i * PAGE_SIZE, WALK_WRITE) == OK);
	}
	shadow_switch(s, satp(5, 2));
	require(!finds(KERNEL, WALK_READ));
	require(fault(KERNEL + PAGE_SIZE, WALK_READ) == OK);
	for (unsigned i = 0; i < 16; i++)
		require(finds(KERNEL + i * PAGE_SIZE, WALK_WRITE));
}

static void a_fence_of_an_asid_spares_the_kernel(void **state)
{
	leaf(2, 0, PAGES, ALL);
	leaf(4, 0, PAGES, ALL | 0x20);
	require(fault(0, WALK_READ) == OK && fault(KERNEL, WALK_READ) == OK);
	shadow_fence(s, 2);
	require(s->flush == SHADOW_FLUSH_NONE);
	require(finds(0, WALK_READ) && finds(KERNEL, WALK_READ));
	shadow_fence(s, 1);
	require(s->flush == SHADOW_FLUSH_ALL);
	require(!finds(0, WALK_READ) && finds(KERNEL, WALK_READ));
	/* But not what the guest has unlinked, at either level. */
	point(3, 0, 6);
	require(finds(KERNEL, WALK_READ));
	shadow_fence(s, 1);
	require(!finds(KERNEL, WALK_READ) && fault(KERNEL, WALK_READ) == E_FAULT);
	leaf(6, 0, PAGES, ALL | 0x20);
	require(fault(KERNEL, WALK_READ) == OK);
	point(0, 256, 7);
	shadow_fence(s, 1);
	require(!finds(KERNEL, WALK_READ) && fault(KERNEL, WALK_READ) == E_FAULT);
}

/* A table with both gets apart: what is not G belongs to its space. */
static void not_all_in_a_table_is_global(void **state)
{
	leaf(4, 0, PAGES, ALL | 0x20);
	leaf(4, 1, PAGES, ALL);
	require(fault(KERNEL, WALK_READ) == OK && fault(KERNEL + PAGE_SIZE, WALK_READ) == OK);
	shadow_switch(s, satp(5, 2));
	require(fault(KERNEL, WALK_READ) == OK);
	require(!finds(KERNEL + PAGE_SIZE, WALK_READ));
	shadow_switch(s, satp(ROOT, 1));
	require(fault(KERNEL, WALK_READ) == OK && finds(KERNEL + PAGE_SIZE, WALK_READ));
	shadow_fence(s, 1);
	require(!finds(KERNEL + PAGE_SIZE, WALK_READ));
	audit_books();
}

static unsigned tables_in_use(void)
{
	return s->ntables - s->nfree;
}

static void superpages(void **state)
{
	unsigned before;

	leaf(1, 1, PAGES, ALL); /* 2 MiB here, and there */
	require(fault(MIB(2) + 0x5123, WALK_READ) == OK);
	before = tables_in_use();
	for (uint64_t at = MIB(2); at < MIB(4); at += PAGE_SIZE)
		require(finds(at, WALK_WRITE));
	shadow_fence_page(s, gva(MIB(4) - 1), 1);
	require(s->flush == MIB(4) - PAGE_SIZE && !finds(MIB(2), WALK_READ));
	/* 1 GiB here, 2 MiB there, and the same with pages. */
	leaf(0, 1, GUEST_RAM, ALL);
	require(fault(GIB(1) + MIB(4), WALK_READ) == OK);
	require(finds(GIB(1) + MIB(6) - 1, WALK_WRITE) && tables_in_use() == before + 1);
	require(split(PAGES) == OK);
	shadow_forget_all(s);
	require(fault(GIB(1) + MIB(4), WALK_READ) == OK && !finds(GIB(1) + MIB(6) - 1, WALK_READ));
	require(fault(GIB(1) + MIB(6) - 1, WALK_WRITE) == OK);
	require(finds(GIB(1) + MIB(4), WALK_WRITE));
	/* The guest's leaf is one: whatever address of it is fenced, all goes. */
	shadow_fence_page(s, gva(GIB(2) - 1), SHADOW_ALL_ASIDS);
	require(s->flush == SHADOW_FLUSH_ALL);
	require(!finds(GIB(1) + MIB(4), WALK_READ) && !finds(GIB(1) + MIB(6) - 1, WALK_READ));
	require(tables_in_use() == 1);
}

static void a_fence_of_nothing_costs_no_flush(void **state)
{
	leaf(2, 0, PAGES, ALL);
	require(fault(0, WALK_READ) == OK);
	shadow_fence_page(s, gva(PAGE_SIZE), SHADOW_ALL_ASIDS);
	shadow_fence_page(s, gva(0), 2);
	require(s->flush == SHADOW_FLUSH_NONE && finds(0, WALK_READ));
	shadow_fence_page(s, gva(0x123), 1);
	require(s->flush == 0 && !finds(0, WALK_READ));
	require(fault(0, WALK_READ) == OK);
	shadow_fence_page(s, gva(0), SHADOW_ALL_ASIDS);
	require(s->flush == 0 && !finds(0, WALK_READ));
}

/* Of an address that was fenced twice without a flush, and of two. */
static void flushes_add_up(void **state)
{
	leaf(2, 0, PAGES, ALL);
	leaf(2, 1, PAGES, ALL);
	require(fault(0, WALK_READ) == OK && fault(PAGE_SIZE, WALK_READ) == OK);
	shadow_fence_page(s, gva(0), 1);
	shadow_fence_page(s, gva(PAGE_SIZE), 1);
	require(s->flush == SHADOW_FLUSH_ALL);
}

static void w_waits_for_d(void **state)
{
	leaf(2, 0, PAGES, ALL & ~0x80);
	require(fault(0, WALK_WRITE) == E_FAULT && fault(0, WALK_READ) == OK);
	require(!finds(0, WALK_WRITE));
	leaf(2, 0, PAGES, ALL);
	require(shadow_fault(s, gva(0), WALK_WRITE, &where, &refused) == OK);
	require(s->flush == 0 && finds(0, WALK_WRITE));
	/* A hart that still has the older one. */
	require(shadow_fault(s, gva(0), WALK_WRITE, &where, &refused) == OK);
	require(s->flush == SHADOW_FLUSH_ALL);
}

static void shared_pages_are_copied_when_written(void **state)
{
	uint64_t was_, now_;

	leaf(2, 0, PAGES, ALL);
	leaf(2, 1, PAGES, ALL & ~4);
	exact = true;
	require(fault(0, WALK_WRITE) == OK);
	try_share();
	note_pages();
	require(other && !finds(0, WALK_READ));
	require(fault(0, WALK_READ) == OK && !finds(0, WALK_WRITE));
	require(fault(PAGE_SIZE, WALK_READ) == OK);
	was_ = map_of(PAGES, 0);
	require(fault(0, WALK_WRITE) == OK);
	now_ = map_of(PAGES, GSTAGE_W);
	require(now_ && now_ != was_);
	require(!finds(PAGE_SIZE, WALK_READ)); /* it had the old page */
	audit_books();
}

/* The page of a table is copied: what came from it is still right, and what comes does from the
 * copy. */
static void a_table_is_copied(void **state)
{
	leaf(2, 0, PAGES, ALL);
	leaf(2, 1, PAGES, ALL);
	exact = true;
	try_share();
	note_pages();
	require(fault(0, WALK_READ) == OK);
	leaf(2, 1, PAGES + PAGE_SIZE, ALL);
	require(finds(0, WALK_READ) && fault(PAGE_SIZE, WALK_READ) == OK);
	leaf(2, 0, 0, 0);
	shadow_fence_page(s, gva(0), 1);
	require(fault(0, WALK_READ) == E_FAULT);
	audit_books();
}

/* A table of all spaces whose guest's page has been copied is not taken for one space's own. */
static void a_global_table_is_copied(void **state)
{
	leaf(4, 0, PAGES, ALL | 0x20);
	leaf(4, 1, PAGES, ALL);
	exact = true;
	try_share();
	note_pages();
	require(fault(KERNEL, WALK_READ) == OK);
	leaf(3, 1, 0, 0);
	leaf(4, 2, 0, 0); /* both tables are copied */
	require(finds(KERNEL, WALK_READ) && fault(KERNEL + PAGE_SIZE, WALK_READ) == OK);
	shadow_switch(s, satp(5, 2));
	require(fault(KERNEL, WALK_READ) == OK && !finds(KERNEL + PAGE_SIZE, WALK_READ));
}

/* One page of what a large entry maps is copied. */
static void a_part_of_a_superpage_is_copied(void **state)
{
	leaf(1, 1, PAGES, ALL);
	exact = true;
	try_share();
	note_pages();
	require(fault(MIB(2), WALK_READ) == OK && finds(MIB(4) - 1, WALK_READ));
	guest_entry(PAGES + 3 * PAGE_SIZE);
	require(!finds(MIB(2) + 3 * PAGE_SIZE, WALK_READ));
}

static void a_page_among_too_many(void **state)
{
	for (unsigned i = 0; i < 9; i++)
		point(1, i, 2);
	for (unsigned i = 0; i < 512; i++)
		leaf(2, i, PAGES + i % 4 * PAGE_SIZE, ALL);
	for (unsigned i = 0; i < 8 * 512; i++)
		require(fault(i * PAGE_SIZE, WALK_READ) == OK);
	shadow_forget(s, hpa(map_of(PAGES, 0)), PAGE_SIZE);
	require(finds(PAGE_SIZE, WALK_READ) == false); /* all */
	for (unsigned i = 0; i < 4 * 512; i++)
		require(fault(i * PAGE_SIZE, WALK_READ) == OK);
	shadow_forget(s, hpa(map_of(PAGES, 0)), PAGE_SIZE);
	for (unsigned i = 0; i < 4 * 512; i++)
		require(finds(i * PAGE_SIZE, WALK_READ) == (i % 4 != 0));
}

/* Without translation the same page is for both modes, in turn. */
static void without_translation(void **state)
{
	guest_satp = 0;
	shadow_switch(s, 0);
	require(fault(PAGES, WALK_EXECUTE) == OK && !finds(PAGES, WALK_READ | WALK_USER));
	require(fault(PAGES, WALK_EXECUTE | WALK_USER) == OK && !finds(PAGES, WALK_READ));
	require(fault(PAGES, WALK_WRITE) == OK);
	require(fault(BIT(38), WALK_READ) == E_NOENT && where.v == BIT(38));
	require(fault(0x10000000, WALK_READ) == E_NOENT && where.v == 0x10000000);
	require(fault(WINDOW, WALK_EXECUTE) == E_NOENT && fault(RO_WINDOW, WALK_WRITE) == E_NOENT);
	require(fault(WINDOW, WALK_WRITE) == OK && fault(DEVICES, WALK_WRITE) == OK);
}

static void nobody_can_pay(void **state)
{
	leaf(2, 0, GUEST_RAM + MIB(6), ALL);
	vm->forked = true;
	vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES];
	require(fault(0, WALK_READ) == E_QUOTA_OWN && refused.at == &vm->quota);
	vm->quota.limit[RES_PAGES] += 2;
	require(fault(0, WALK_READ) == OK);
}

static void random_walk(void **state)
{
	for (unsigned round = 0; round < 160; round++) {
		seed = round;
		shadow_order = 0;
		busy_world = round & 1;
		new_guest(3 + round % 3, round % 5 ? UINT64_MAX >> 2 : pick(60), round & 2);
		for (unsigned i = 0; i < 3000; i++) {
			step();
			if (i % 16 == 0) {
				obey();
				audit();
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pages_are_charged_and_given_back, quiet_guest),
		cmocka_unit_test_setup(no_memory_in_one_piece, quiet_guest),
		cmocka_unit_test(the_least_is_enough_for_an_instruction),
		cmocka_unit_test_setup(tables_are_bounded_and_used_again, quiet_guest),
		cmocka_unit_test_setup(a_switch_loses_nothing, quiet_guest),
		cmocka_unit_test_setup(global_and_own_in_one_table, quiet_guest),
		cmocka_unit_test_setup(a_new_space_knows_the_kernel, quiet_guest),
		cmocka_unit_test_setup(a_fence_of_an_asid_spares_the_kernel, quiet_guest),
		cmocka_unit_test_setup(not_all_in_a_table_is_global, quiet_guest),
		cmocka_unit_test_setup(superpages, quiet_guest),
		cmocka_unit_test_setup(a_fence_of_nothing_costs_no_flush, quiet_guest),
		cmocka_unit_test_setup(flushes_add_up, quiet_guest),
		cmocka_unit_test_setup(w_waits_for_d, quiet_guest),
		cmocka_unit_test_setup(shared_pages_are_copied_when_written, quiet_guest),
		cmocka_unit_test_setup(a_table_is_copied, quiet_guest),
		cmocka_unit_test_setup(a_global_table_is_copied, quiet_guest),
		cmocka_unit_test_setup(a_part_of_a_superpage_is_copied, quiet_guest),
		cmocka_unit_test_setup(a_page_among_too_many, quiet_guest),
		cmocka_unit_test_setup(without_translation, quiet_guest),
		cmocka_unit_test_setup(nobody_can_pay, quiet_guest),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
