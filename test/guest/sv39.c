/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a guest's page tables do not mean what they mean to hardware. Every leaf flag at
 * every level, pointers, reserved bits, misaligned superpages, non-canonical addresses, what lies
 * outside RAM, and accesses across two pages: each is tried by loads, stores, fetches and atomics,
 * from S- and U-mode, with and without SUM and MXR; cause, stval, sepc, the value and what became
 * of memory and entry make up the record.
 *
 * It has no checks: it runs on plain hardware too (below it OpenSBI), and the harness compares the
 * records. A block of rows about one entry makes one line:
 *
 *	block NUMBER NAME HASH
 *
 * `block=NUMBER` on the command line asks for that block's rows as well; `child`: in a child.
 */
#include "access.h"

#define LEVELS  5     /* at most: Sv57 */
#define SLOT    200ul /* index of what is tested, at each level */
#define DOWN    201ul /* index of the table that leads to the next level's */
#define DATA_AT 0x100
#define EVERY   (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
#define HASHING 0xcbf29ce484222325ul

/* Tables of one mode. up[l] holds SLOT of level l; below[l] is what a pointer at level l + 1 leads
 * to: its way ends at the page that is tested. */
static struct space {
	const char *name;
	unsigned levels;
	uint64_t *up[LEVELS], *below[LEVELS];
} space;

static uint64_t page, page2; /* physical: what is accessed; page2 is what lies behind it */
static uint64_t block, wanted, hash;

static uint64_t size_of(unsigned level)
{
	return PAGE << 9 * level;
}

static uint64_t index_of(uint64_t va, unsigned level)
{
	return va >> (12 + 9 * level) & 511;
}

/* --- rows --- */

/* The eight bytes that an access at `va` means, by their place in page and page2. */
static uint8_t *byte_at(uint64_t offset)
{
	return (uint8_t *)(offset < PAGE ? page + offset : page2 + offset - PAGE);
}

static uint64_t get_data(uint64_t offset)
{
	uint64_t v = 0;

	for (unsigned i = 8; i--;)
		v = v << 8 | *byte_at(offset + i);
	return v;
}

static void put_data(uint64_t offset, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		*byte_at(offset + i) = (uint8_t)(v >> 8 * i);
}

static void mix(uint64_t v)
{
	hash = (hash ^ v) * 0x9e3779b97f4a7c15ul;
	hash ^= hash >> 29;
}

static void row(const struct access *a, const volatile uint64_t *pte)
{
	uint64_t offset = a->va & (PAGE - 1), entry = *pte;
	struct seen s = access_try(a);
	uint64_t data = get_data(offset);
	const uint64_t all[] = {s.cause, s.tval, s.pc, s.value, data, *pte ^ entry};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		mix(all[i]);
	if (data != ACCESS_DATA)
		put_data(offset, ACCESS_DATA);
	if (block == wanted)
		say("row %s %s%s%s: cause %lu stval 0x%lx sepc 0x%lx value 0x%lx memory 0x%lx "
		    "entry ^ 0x%lx",
			access_names[a->kind], a->user ? "U" : "S", a->sum ? " SUM" : "",
			a->mxr ? " MXR" : "", s.cause, s.tval, s.pc, s.value, data, *pte ^ entry);
}

static void rows(uint64_t va, const uint64_t *pte, unsigned from, unsigned to, unsigned step)
{
	for (unsigned i = from; i != to; i += step) {
		struct access a = {i >> 3, i & 1, i & 2, i & 4, va};

		row(&a, pte);
	}
}

/* All rows, and again in the other order: what the first round has left behind must not matter. */
static void run_block(const char *name, uint64_t n, uint64_t k, uint64_t va, const uint64_t *pte)
{
	const unsigned end = ACCESS_KINDS << 3;

	hash = HASHING;
	sfence();
	rows(va, pte, 0, end, 1);
	rows(va, pte, end - 1, -1u, -1u);
	say("block %lu %s-%s-%lx-%lx 0x%lx", block++, space.name, name, n, k, hash);
}

/* --- tables --- */

/* The address whose way passes SLOT of `level` and ends in the page, if that is a leaf or leads to
 * `below`. */
static uint64_t va_at(unsigned level)
{
	uint64_t va = page & (size_of(level) - 1);

	va |= SLOT * size_of(level);
	for (unsigned l = level + 1; l < space.levels; l++)
		va |= DOWN * size_of(l);
	return va | DATA_AT;
}

static uint64_t leaf(unsigned level, uint64_t flags)
{
	return pte_for(page & ~(size_of(level) - 1), flags);
}

static uint64_t pointer(unsigned level, uint64_t flags)
{
	return pte_for((uintptr_t)space.below[level - 1], flags);
}

static void set(unsigned level, uint64_t pte)
{
	*(volatile uint64_t *)&space.up[level][SLOT] = pte;
}

static void clear(unsigned level)
{
	set(level, 0);
}

static void block_of(const char *name, unsigned level, uint64_t n, uint64_t pte)
{
	set(level, pte);
	run_block(name, level, n, va_at(level), &space.up[level][SLOT]);
	clear(level);
}

/* What the last entry of a pointer's way says. */
static void set_below(uint64_t flags)
{
	space.below[0][index_of(page, 0)] = pte_for(page, flags);
}

static void make_space(const char *name, unsigned levels)
{
	uint64_t *root = pt_new(); /* Sv39 */

	pt_map(root, ACCESS_CODE, access_code(), PTE_V | PTE_U | PTE_X | PTE_A);
	for (unsigned l = 3; l < levels; l++) {
		uint64_t *above = page_alloc(1);

		above[0] = pte_for((uintptr_t)root, PTE_V);
		root = above;
	}
	space = (struct space){.name = name, .levels = levels};
	for (unsigned l = levels; l--;) {
		space.up[l] = l == levels - 1 ? root : page_alloc(1);
		if (l < levels - 1)
			space.up[l + 1][DOWN] = pte_for((uintptr_t)space.up[l], PTE_V);
		space.below[l] = page_alloc(1);
	}
	for (unsigned l = 1; l < levels; l++)
		space.below[l][index_of(page, l)] = pte_for((uintptr_t)space.below[l - 1], PTE_V);
	set_below(EVERY);
	csr_write(satp, (5ul + levels) << 60 | 1ul << 44 | (uintptr_t)root >> 12);
	sfence();
}

/* --- blocks --- */

/* All values of the eight flags. Without R, W and X it is a pointer, but at the last level. */
static void flags_at(unsigned level)
{
	for (uint64_t flags = 0; flags < 256; flags++) {
		bool is_pointer = level && !(flags & (PTE_R | PTE_W | PTE_X));

		block_of("flags", level, flags,
			is_pointer ? pointer(level, flags) : leaf(level, flags));
	}
}

/* Flags of pointers above a leaf for users. */
static void pointers_at(unsigned level)
{
	set_below(EVERY | PTE_U);
	for (uint64_t flags = 0; flags < 256; flags += PTE_U)
		block_of("pointer", level, flags, pointer(level, flags | PTE_V));
	set_below(EVERY);
}

/* Bits 54 to 63 of leaves, for S- and U-mode, and pointers. Not 61 and 62 at once: with Svpbmt that
 * is a page fault by the specification, but not in QEMU. */
static void high_bits_at(unsigned level)
{
	for (unsigned bit = 54; bit < 64; bit++) {
		block_of("leaf-bit", level, bit, leaf(level, EVERY | BIT(bit)));
		block_of("user-leaf-bit", level, bit, leaf(level, EVERY | PTE_U | BIT(bit)));
		if (level)
			block_of("pointer-bit", level, bit, pointer(level, PTE_V | BIT(bit)));
	}
	block_of("leaf-bit-63-ppn", level, 0, leaf(level, EVERY | BIT(63)) + (1ul << 10));
}

/* Each bit of a superpage's PPN that must be zero. */
static void misaligned_at(unsigned level)
{
	for (unsigned bit = 0; bit < 9 * level; bit++)
		block_of("misaligned", level, bit, leaf(level, EVERY | 1ul << (10 + bit)));
}

/* Physical addresses where plain hardware has an access fault: the firmware or the hypervisor, the
 * CLINT (both denied), and where nothing is. Tables only at the first two: QEMU's walk takes
 * nothing for a page fault, where the specification has an access fault (see hostile.c). */
static const uint64_t outside[] = {0x80000000, 0x2000000, 0x8000000, 0x300000000, 1ul << 40,
	1ul << 41, (1ul << 41) + MIB(1024), 1ul << 55, (1ul << 56) - MIB(1024)};
#define DENIED 2

static void outside_at(unsigned level)
{
	for (unsigned i = 0; i < ARRAY_SIZE(outside); i++) {
		uint64_t va = va_at(level) & -size_of(level);

		if (outside[i] & (size_of(level) - 1))
			continue;
		set(level, pte_for(outside[i], EVERY));
		run_block("leaf-outside", level, i, va, &space.up[level][SLOT]);
		run_block("leaf-outside-misaligned", level, i, va + 2, &space.up[level][SLOT]);
		clear(level);
	}
	for (unsigned i = 0; level && i < DENIED; i++)
		block_of("pointer-outside", level, i, pte_for(outside[i], PTE_V));
}

/* Addresses whose upper bits are not all the same, and the upper half. */
static void canonical(void)
{
	const unsigned top = 11 + 9 * space.levels;
	uint64_t va = va_at(0), *root = space.up[space.levels - 1];
	const uint64_t *pte = &space.up[0][SLOT];

	set(0, leaf(0, EVERY));
	root[index_of(va, space.levels - 1) + 256] = root[index_of(va, space.levels - 1)];
	for (unsigned bit = top; bit < 64; bit++) {
		run_block("one-bit", bit, 0, va | BIT(bit), pte);
		run_block("all-from", bit, 0, va | -BIT(bit), pte);
	}
	root[index_of(va, space.levels - 1) + 256] = 0;
	clear(0);
}

/* Eight bytes, or an instruction, across two pages. */
static void straddling(void)
{
	static const uint64_t flags[] = {0, PTE_V | PTE_R | PTE_A, PTE_V | PTE_X | PTE_A,
		EVERY & ~PTE_X, EVERY, EVERY & ~PTE_A, EVERY & ~PTE_D, EVERY | PTE_U,
		PTE_V | PTE_U | PTE_R | PTE_A};
	uint64_t *pte = &space.up[0][SLOT], va = va_at(0) | (PAGE - 1);

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(flags); k++) {
			put_data(PAGE - 2, ACCESS_DATA);
			pte[0] = pte_for(page, flags[i]);
			pte[1] = pte_for(page2, flags[k]);
			run_block("across", i, k, va - 1, pte);
		}
	pte[0] = pte[1] = 0;
}

static void run_level(unsigned level)
{
	flags_at(level);
	if (level)
		pointers_at(level);
	high_bits_at(level);
	misaligned_at(level);
	outside_at(level);
}

/* So that no record is good because nothing worked. */
static void must_work(bool user)
{
	set(0, leaf(0, EVERY | (user ? PTE_U : 0)));
	sfence();
	for (unsigned k = 0; k < ACCESS_KINDS; k++) {
		struct access a = {k, user, false, false, va_at(0)};
		struct seen s = access_try(&a);

		if (s.cause != ACCESS_DONE)
			broken("an ordinary access: kind, user, cause", k, user, s.cause);
	}
	put_data(DATA_AT, ACCESS_DATA);
	clear(0);
}

static void run_mode(const char *name, unsigned levels, unsigned first)
{
	make_space(name, levels);
	put_data(0, ACCESS_DATA);
	put_data(DATA_AT, ACCESS_DATA);
	must_work(false);
	must_work(true);
	for (unsigned l = first; l < levels; l++)
		run_level(l);
	canonical();
	straddling();
	csr_write(satp, 0);
	sfence();
}

/* In the larger modes only what they have more. */
static void run_all(void)
{
	run_mode("sv39", 3, 0);
	if (!strcmp(m.mmu, "riscv,sv48") || !strcmp(m.mmu, "riscv,sv57"))
		run_mode("sv48", 4, 3);
	if (!strcmp(m.mmu, "riscv,sv57"))
		run_mode("sv57", 5, 4);
}

void guest_main(void)
{
	wanted = bootarg_number("block=", ~0ul);
	/* Where a NAPOT leaf of 64 KiB has it, if it has PPN and index as they are. */
	page = ((uintptr_t)page_alloc(32) + 0xffff) & ~0xfffful;
	page2 = page + 2 * PAGE;
	page += (SLOT & 15) * PAGE;
	if (bootarg("child"))
		dx_run(run_all);
	else
		run_all();
}
