/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a fork while translation is on is not a copy. What one side writes at one virtual
 * address the other sees, or does not appear at the other addresses of the same page; the fork's
 * tables are not its own; or pages of a superpage of the guest's are not copied one by one.
 */
#include "access.h"
#include "family.h"

#define PAGES    12
#define SMALL    (100ul << 30) /* the pages, by leaves of 4 KiB */
#define LARGE    (101ul << 30) /* the 2 MiB they lie in, by one leaf */
#define USERS    (102ul << 30) /* the pages again, for users */
#define ASID     7
#define BY       4 /* addresses of each page: these, and its physical one */
#define LEAF     (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
#define WORD     64 /* offset of what is read and written */
#define WORDS(p) (*(volatile uint64_t *)(p))

static uint64_t *root, region; /* 2 MiB of RAM */

/* Pages lie apart, so that some have neighbours that are not written. */
static uint64_t offset_of(unsigned page)
{
	return (uint64_t)page * page * PAGE + PAGE;
}

static uint64_t address(unsigned page, unsigned by)
{
	const uint64_t at[BY] = {SMALL, LARGE, USERS, region};

	return at[by] + offset_of(page) + WORD;
}

static void make_tables(void)
{
	root = pt_new();
	region = (m.ram_base + m.ram_size / 2) & -MIB(2);
	for (unsigned i = 0; i < PAGES; i++) {
		pt_map(root, SMALL + offset_of(i), region + offset_of(i), LEAF);
		pt_map(root, USERS + offset_of(i), region + offset_of(i), LEAF | PTE_U);
	}
	*pt_entry(root, LARGE, 1) = pte_for(region, LEAF);
	pt_map(root, ACCESS_CODE, access_code(), PTE_V | PTE_U | PTE_X | PTE_A);
	csr_write(satp, satp_for(root, ASID));
	sfence();
}

static uint64_t read_by(unsigned page, unsigned by)
{
	struct access a = {ACCESS_LOAD, by == 2, false, false, address(page, by)};

	return access_try(&a).value;
}

/* Stores, SC and AMO in turn; all write ACCESS_STORED. */
static bool write_by(unsigned page, unsigned by)
{
	static const enum access_kind kinds[] = {ACCESS_STORE, ACCESS_AMO, ACCESS_LRSC};
	struct access a = {kinds[page % 3], by == 2, false, false, address(page, by)};

	return access_try(&a).cause == ACCESS_DONE;
}

static bool shows(unsigned page, uint64_t value)
{
	bool good = true;

	for (unsigned by = 0; by < BY; by++)
		good &= read_by(page, by) == value;
	return good;
}

static bool all_show(uint64_t value)
{
	bool good = true;

	for (unsigned i = 0; i < PAGES; i++)
		good &= shows(i, value);
	return good;
}

static void fill(uint64_t value)
{
	for (unsigned i = 0; i < PAGES; i++)
		WORDS(address(i, 3)) = value;
}

/* All pages, each by another address than the one before. */
static bool write_all(unsigned shift)
{
	bool good = true;

	for (unsigned i = 0; i < PAGES; i++)
		good &= write_by(i, (i + shift) % BY) && shows(i, ACCESS_STORED);
	return good;
}

/* --- who writes when --- */

static void child_writes(uint64_t shift)
{
	bool before = all_show(1), good = write_all((unsigned)shift);

	dx_exit(before && good && all_show(ACCESS_STORED));
}

static void test_child_writes(void)
{
	for (unsigned shift = 0; shift < BY; shift++) {
		fill(1);
		dx_end_is("the child writes", dx_spawn(child_writes, shift), 1);
		check("the parent's pages stay", all_show(1));
	}
}

static void test_parent_writes(void)
{
	for (unsigned shift = 0; shift < BY; shift++) {
		fill(1);
		uint64_t child = value_of("fork: error", dx_fork_try(dx_fork_options(DX_PAUSED)));

		if (child == 0)
			child_writes(shift);
		check("the parent writes", write_all(shift));
		check_err("resume", dx(DX_FID_RESUME, child, 0, 0), SBI_SUCCESS);
		dx_end_is("the child has what was", child, 1);
		check("the parent has what it wrote", all_show(ACCESS_STORED));
	}
}

/* Read by all addresses beforehand, so that each is cached, and shared with a grandchild. */
static void test_generations(void)
{
	fill(1);
	uint64_t child = dx_fork();

	if (child == 0) {
		bool good = all_show(1);
		uint64_t grandchild = dx_spawn(child_writes, 1);

		good &= dx_end(grandchild).code == 1 && all_show(1) && write_all(2);
		dx_exit(good);
	}
	dx_end_is("three generations", child, 1);
	check("the first one's pages stay", all_show(1));
	check("and can be written", write_all(3));
}

/* --- tables --- */

/* In the child SMALL's pages change places, and LARGE goes; no fence but the child's own. */
static void edit_tables(uint64_t arg)
{
	uint64_t *first = pt_entry(root, SMALL + offset_of(0), 0),
		 *second = pt_entry(root, SMALL + offset_of(1), 0), was = *first;

	*first = *second;
	*second = was;
	*pt_entry(root, LARGE, 1) = 0;
	if (arg)
		__asm__ volatile("sfence.vma x0, %0" ::"r"((uint64_t)ASID) : "memory");
	else
		sfence();
	bool good = read_by(0, 0) == 11 && read_by(1, 0) == 10;
	struct access gone = {ACCESS_LOAD, false, false, false, address(0, 1)};

	dx_exit(good && access_try(&gone).cause == LOAD_PAGE &&
		csr_read(satp) == satp_for(root, ASID));
}

static void test_tables(void)
{
	for (unsigned i = 0; i < 2; i++) {
		WORDS(address(0, 3)) = 10;
		WORDS(address(1, 3)) = 11;
		dx_end_is("the child's tables are its own", dx_spawn(edit_tables, i), 1);
		check("the parent's tables stay", shows(0, 10) && shows(1, 11));
	}
}

/* --- code --- */

#define LI_A0(n) (0x00000513u | (uint32_t)(n) << 20)
#define RET      0x00008067u

static uint64_t call(uint64_t va)
{
	fence_i();
	return ((uint64_t(*)(void))va)();
}

static void set_code(unsigned by, uint32_t n)
{
	*(volatile uint32_t *)address(2, by) = LI_A0(n);
	*(volatile uint32_t *)(address(2, by) + 4) = RET;
}

static void replace_code(uint64_t by)
{
	bool good = call(address(2, 0)) == 5 && call(address(2, 1)) == 5;

	set_code((unsigned)by, 6);
	dx_exit(good && call(address(2, 0)) == 6 && call(address(2, 1)) == 6);
}

static void test_code(void)
{
	set_code(3, 5);
	for (unsigned by = 0; by < 2; by++) {
		check_eq("code", call(address(2, 0)), 5);
		dx_end_is("the child's code is its own", dx_spawn(replace_code, by), 1);
		check_eq("the parent's code stays", call(address(2, 0)), 5);
		check_eq("by its other address as well", call(address(2, 1)), 5);
	}
}

static void test_all(void)
{
	make_tables();
	twice(test_child_writes);
	twice(test_parent_writes);
	twice(test_generations);
	twice(test_tables);
	twice(test_code);
	csr_write(satp, 0);
	sfence();
}

void guest_main(void)
{
	everywhere(test_all);
}
