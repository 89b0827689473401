/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a hart goes on with a translation after it was fenced, by whatever form of
 * sfence.vma; or finds a third thing, neither what the tables say now nor what they said; or a root
 * that is a table of its own is not understood.
 *
 * Without a fence both the old and the new are allowed, so the tests ask for no more. It runs on
 * plain hardware as well.
 */
#include "access.h"
#include "look.h"

#define VA      (100ul << 30) /* pages */
#define VA_2M   (101ul << 30) /* a superpage */
#define VA_SELF (102ul << 30) /* the root as its own table */
#define ASID    5ul

static uint64_t *root;
static uint64_t big[2]; /* 2 MiB each; all pages are frame 0, or 1 */

/* --- fences --- */

enum form { ALL, BY_VA, BY_ASID, BY_BOTH, ASID_AND_MORE, INVAL, FORMS };
static const char *const form_names[FORMS] = {"sfence.vma", "sfence.vma va", "sfence.vma asid",
	"sfence.vma va, asid", "sfence.vma asid, upper bits set", "sinval.vma"};

static void fence(enum form form, uint64_t va)
{
	const uint64_t asid = ASID | (form == ASID_AND_MORE ? -1ul << 16 : 0);

	if (form == ALL)
		sfence();
	else if (form == BY_VA)
		__asm__ volatile("sfence.vma %0" ::"r"(va) : "memory");
	else if (form == BY_ASID || form == ASID_AND_MORE)
		__asm__ volatile("sfence.vma x0, %0" ::"r"(asid) : "memory");
	else if (form == BY_BOTH)
		__asm__ volatile("sfence.vma %0, %1" ::"r"(va), "r"(asid) : "memory");
	else
		__asm__ volatile(".insn r 0x73, 0, 0x0c, x0, x0, x0\n" /* sfence.w.inval */
				 ".insn r 0x73, 0, 0x0b, x0, %0, %1\n" /* sinval.vma */
				 ".insn r 0x73, 0, 0x0c, x0, x0, x1\n" ::"r"(va),
				 "r"(asid)
				 : "memory");
}

static bool has(enum form form)
{
	return form != INVAL || isa_listed("svinval");
}

/* After an edit of the entry that maps `va`: old or new, and behind the fence only the new. */
static void edit(enum form form, uint64_t va, uint64_t *pte, uint64_t new, uint64_t expected)
{
	uint64_t old = look(va), before;

	*(volatile uint64_t *)pte = new;
	before = look(va);
	if (before != old && before != expected)
		check_eq_at("neither old nor new", old, before, expected);
	fence(form, va);
	check_eq(form_names[form], look(va), expected);
}

static uint64_t store_outcome(uint64_t va)
{
	return outcome(try_store(va + 8, 8, 1));
}

static void test_leaf(enum form form, uint64_t flags)
{
	uint64_t *pte = pt_entry(root, VA, 0);

	edit(form, VA, pte, pte_for(frame_of(0), flags), 0);
	edit(form, VA, pte, pte_for(frame_of(1), flags), 1);
	edit(form, VA, pte, 0, FAULT);
	edit(form, VA, pte, pte_for(frame_of(2), flags), 2);
	check_eq("a page that can be written", store_outcome(VA), NO_TRAP);
	edit(form, VA, pte, pte_for(frame_of(2), flags & ~PTE_W), 2);
	check_eq("W is gone", store_outcome(VA), TRAP(STORE_PAGE));
	edit(form, VA, pte, pte_for(frame_of(2), flags & ~PTE_D), 2);
	check_eq("D is gone", store_outcome(VA), TRAP(STORE_PAGE));
	edit(form, VA, pte, pte_for(frame_of(2), flags), 2);
	check_eq("W and D are back", store_outcome(VA), NO_TRAP);
	edit(form, VA, pte, pte_for(frame_of(2), flags & ~PTE_A), FAULT);
	edit(form, VA, pte, pte_for(frame_of(2), flags | PTE_U), FAULT);
	edit(form, VA, pte, 0, FAULT);
}

/* Fences by address are good for leaves; a pointer takes one for all addresses. */
static void test_pointer(enum form form)
{
	uint64_t *tables[2] = {page_alloc(1), page_alloc(1)}, *pte = pt_entry(root, VA, 1);
	uint64_t old = *pte;

	tables[0][0] = pte_for(frame_of(3), RW);
	tables[1][0] = pte_for(frame_of(4), RW);
	edit(form, VA, pte, pte_for((uintptr_t)tables[0], PTE_V), 3);
	edit(form, VA, pte, pte_for((uintptr_t)tables[1], PTE_V), 4);
	edit(form, VA, pte, 0, FAULT);
	edit(form, VA, pte, pte_for((uintptr_t)tables[0], PTE_V), 3);
	edit(form, VA, pte, pte_for(big[0], RW), 0);
	edit(form, VA, pte, pte_for((uintptr_t)tables[1], PTE_V), 4);
	edit(form, VA, pte, old, FAULT);
}

/* Pages of a superpage: `wrong` counts those that do not show what they should. */
static uint64_t count_wrong(uint64_t expected)
{
	uint64_t wrong = 0;

	for (uint64_t at = 0; at < MIB(2); at += 7 * PAGE)
		wrong += look(VA_2M + at) != expected;
	return wrong;
}

/* One address stands for all of the leaf that maps it. */
static void test_superpage(enum form form)
{
	uint64_t *pte = pt_entry(root, VA_2M, 1), in = VA_2M + 50 * 7 * PAGE;

	for (unsigned i = 0; i < 2; i++) {
		edit(form, in, pte, pte_for(big[i], RW), i);
		check_eq("all pages of the superpage", count_wrong(i), 0);
	}
	edit(form, in, pte, pte_for(big[1], RW & ~PTE_W), 1);
	check_eq("the superpage is read-only", store_outcome(VA_2M + 5 * PAGE), TRAP(STORE_PAGE));
	edit(form, in, pte, 0, FAULT);
	check_eq("no page of the superpage", count_wrong(FAULT), 0);
}

/* The same leaf a level up: its pages are those of big[], by their place in the GiB. */
static void test_gigapage(enum form form)
{
	uint64_t base = big[0] & -MIB(1024), *pte = &root[(VA_SELF >> 30) + 1],
		 va = VA_SELF + MIB(1024) + (big[0] - base), next = va + (big[1] - big[0]);

	edit(form, va, pte, pte_for(base, RW), 0);
	check_eq("another page of the gigapage", look(next), 1);
	edit(form, va, pte, 0, FAULT);
	check_eq("another page of the gigapage is gone", look(next), FAULT);
}

static void test_fences(void)
{
	for (unsigned form = 0; form < FORMS; form++) {
		if (!has(form)) {
			skip(form_names[form], "not listed");
			continue;
		}
		test_leaf(form, RW);
		test_superpage(form);
		test_gigapage(form);
		/* Not by ASID, those are good for no global page. */
		if (form == ALL || form == BY_VA)
			test_leaf(form, RW | PTE_G);
		if (form == ALL || form == BY_ASID || form == ASID_AND_MORE)
			test_pointer(form);
	}
	__asm__ volatile("sfence.vma %0" ::"r"(1ul << 40) : "memory"); /* no address: no effect */
	check("fences of what is no address", true);
}

/* --- code and data, global and not, in one table --- */

static void test_mixed(void)
{
	static const uint64_t global[] = {PTE_G, 0};
	const uint64_t code = VA + 8 * PAGE, data = VA + 9 * PAGE, own = frame_of(7);

	for (unsigned i = 0; i < 4; i++) {
		uint64_t g = global[i & 1], other = PTE_G & ~g;

		pt_map(root, code, access_code(), PTE_V | PTE_X | PTE_A | g);
		pt_map(root, data, own, RW | other);
		pt_map(root, data + PAGE, frame_of(6), RW | g);
		sfence();
		this_hart()->x[11] = i & 2 ? data : data + PAGE - 4; /* across two pages */
		struct trap t = run_code(this_hart(), code + ACCESS_LOAD, false);

		check_eq("global code loads what is not, and the other way round", t.cause,
			ACCESS_DONE);
		check_eq("that page", look(data), 7);
		check_eq("and the next", look(data + PAGE), 6);
	}
}

/* One table at two addresses: each is fenced by its own. */
static void test_two_ways(uint64_t flags)
{
	uint64_t *way = pt_entry(root, VA, 2), *other = &root[(VA_SELF >> 30) + 3];
	const uint64_t at[2] = {VA + 20 * PAGE, VA_SELF + MIB(3072) + 20 * PAGE};

	*other = *way;
	for (unsigned i = 0; i < 4; i++) {
		pt_map(root, at[0], frame_of(i), flags);
		for (unsigned k = 0; k < 2; k++)
			fence(BY_VA, at[(i + k) & 1]);
		for (unsigned k = 0; k < 2; k++)
			check_eq_at("one table, two ways", k, look(at[k]), i);
	}
	*other = 0;
	sfence();
	check_eq("one way less", look(at[1]), FAULT);
	check_eq("the other stays", look(at[0]), 3);
}

/* --- roots that are tables of theirs --- */

static void test_self(void)
{
	uint64_t self = VA_SELF >> 30, data = self + 2;
	uint64_t l1 = VA_SELF | self << 21, l0 = l1 | data << 12;

	root[self] = pte_for((uintptr_t)root, PTE_V);
	root[data] = pte_for(frame_of(5), RW); /* as a leaf of 1 GiB it would be misaligned */
	sfence();
	check_eq("a root's entry as a page", look(l0), 5);
	check_eq("and as a superpage", look(VA_SELF | data << 21), FAULT);
	check_eq("and as a gigapage", look(data << 30), FAULT);
	check_eq("a pointer as a page", look(l1 | self << 12), FAULT);
	root[data] = pte_for(frame_of(6), RW);
	fence(BY_VA, l0);
	check_eq("changed", look(l0), 6);
	root[data] = root[self] = 0;
	sfence();
	check_eq("gone", look(l0), FAULT);
}

static void make_big(unsigned i)
{
	big[i] = ((m.ram_base + m.ram_size / 2) & -MIB(2)) + MIB(2 * i);
	for (uint64_t at = 0; at < MIB(2); at += PAGE)
		frame_mark(big[i] + at, i);
}

static void test_all(void)
{
	make_big(0);
	make_big(1);
	root = pt_new();
	csr_write(satp, satp_for(root, ASID));
	sfence();
	test_fences();
	test_mixed();
	test_two_ways(RW);
	test_two_ways(RW | PTE_G);
	test_self();
	csr_write(satp, 0);
}

void guest_main(void)
{
	everywhere(test_all);
}
