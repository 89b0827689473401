/* SPDX-License-Identifier: MIT */
/*
 * If this fails: tables that one hart edits while another one's accesses walk them lead somewhere
 * else than they ever said; or a page that was a table once, and is none any more since all harts
 * were fenced, is still taken for one.
 *
 * Entries only ever lead to two frames, or nowhere; a third frame is what must not be reached. It
 * runs on plain hardware as well.
 */
#include "look.h"

#define VA     (100ul << 30)
#define ASID   3
#define EDITS  1000
#define REUSES 16
#define LEAF   (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
#define RET    0x8082u

enum { A, B, THIRD };

static uint64_t *root;
/* The way to VA, in two versions of each table. big is a superpage that has both frames in it. */
static uint64_t *middle[2], *last[2], big;
static volatile uint64_t stop, turns[MAX_HARTS], odd[MAX_HARTS];

/* Frames hold, besides their number, code to return from, and each hart's own word. */
static uint64_t word_of(uint64_t va, unsigned hart)
{
	return va + 256 + 8 * hart;
}

static bool allowed(struct trap t, uint64_t cause, uint64_t va)
{
	return !t.taken || (t.cause == cause && t.tval == va);
}

static void access_all(struct hart *h)
{
	uint64_t v = A + 1, at = word_of(VA, h->id);
	struct trap t = try_load_value(VA, 8, &v);
	bool good = allowed(t, LOAD_PAGE, VA) && (v == A + 1 || v == B + 1);

	good &= allowed(try_store(at, 8, turns[h->id]), STORE_PAGE, at);
	good &= allowed(try_amo(at), STORE_PAGE, at);
	if ((turns[h->id] & 7) == 0) /* slow, next to what is stored */
		good &= allowed(try_exec(VA + 128), INSN_PAGE, VA + 128);
	if (!good)
		odd[h->id]++;
}

static void walk(struct hart *h)
{
	csr_write(satp, satp_for(root, ASID));
	sfence();
	while (!stop) {
		access_all(h);
		if ((turns[h->id]++ & 15) == h->id)
			sfence();
	}
	csr_write(satp, 0);
	sfence();
}

static void wait_turns(uint64_t n)
{
	for (unsigned i = 1; i < m.nharts; i++)
		for (uint64_t from = turns[i]; turns[i] < from + n;)
			give_way();
}

static void fence_all(void)
{
	struct sbiret r = sbi(EID_RFENCE, 1, 0, ~0ul, 0, 0, 0);

	if (r.error)
		broken("fence: error", (uint64_t)r.error, 0, 0);
}

static uint64_t offset_in_big(unsigned frame)
{
	return (frame + 1) * PAGE;
}

/* Frames A and B in the superpage; its first page is at VA if it is mapped as one. */
static void make_frames(void)
{
	for (unsigned i = A; i <= THIRD; i++) {
		uint64_t pa = big + offset_in_big(i);

		frame_mark(pa, i);
		*(volatile uint32_t *)(pa + 128) = RET;
	}
	frame_mark(big, A);
	*(volatile uint32_t *)(big + 128) = RET;
	fence_i();
}

static uint64_t random_leaf(uint64_t r)
{
	static const uint64_t without[8] = {0, 0, 0, PTE_W, PTE_D, PTE_A, PTE_X, PTE_V};

	return pte_for(big + offset_in_big(r & 1), LEAF & ~without[r >> 1 & 7]);
}

/* One entry of one of the levels, chosen and changed at random. */
static void edit(uint64_t r)
{
	unsigned which = r >> 4 & 1;
	uint64_t choice = r >> 8 & 3, *pte;
	uint64_t table = (uintptr_t)(r & 16 ? last[r >> 5 & 1] : middle[r >> 5 & 1]);

	if (r & 8) {
		*(volatile uint64_t *)last[which] = random_leaf(r >> 16);
		return;
	}
	pte = r & 16 ? &middle[which][0] : &root[VA >> 30];
	if (choice == 0)
		*(volatile uint64_t *)pte = 0;
	else if (choice == 1 && (r & 16))
		*(volatile uint64_t *)pte = pte_for(big, LEAF);
	else
		*(volatile uint64_t *)pte = pte_for(table, PTE_V);
}

static uint64_t third_is_whole(void)
{
	const uint64_t *p = (const uint64_t *)(big + offset_in_big(THIRD));
	uint64_t written = 0;

	for (unsigned i = 0; i < MAX_HARTS; i++)
		written |= p[32 + i];
	return written == 0 && p[0] == THIRD + 1;
}

static void check_odd(const char *name)
{
	uint64_t sum = 0;

	for (unsigned i = 1; i < m.nharts; i++) {
		sum += odd[i];
		odd[i] = 0;
	}
	check_eq(name, sum, 0);
	check("nobody wrote to the third frame", third_is_whole());
}

static void test_edits(void)
{
	uint64_t seed = 11;

	for (unsigned i = 0; i < EDITS; i++) {
		uint64_t r = random_next(&seed) >> 8;

		edit(r);
		if ((r >> 40 & 63) == 0) {
			fence_all();
			wait_turns(1);
		}
	}
	wait_turns(2);
	check_odd("only what the tables lead to");
}

/* Without a way to it, and fenced, the last table's page is data: entries for the third frame. */
static void test_reuse(void)
{
	for (unsigned i = 0; i < REUSES; i++) {
		uint64_t *pte = i & 1 ? &root[VA >> 30] : &middle[0][0];
		uint64_t *table = i & 1 ? middle[0] : last[0], first;

		root[VA >> 30] = pte_for((uintptr_t)middle[0], PTE_V);
		middle[0][0] = pte_for((uintptr_t)last[0], PTE_V);
		last[0][0] = pte_for(big + offset_in_big(i / 2 % 2), LEAF);
		first = table[0];
		fence_all();
		wait_turns(2);
		*(volatile uint64_t *)pte = 0;
		fence_all();
		*(volatile uint64_t *)table = i & 1 ? pte_for(big + MIB(2), LEAF)
						    : pte_for(big + offset_in_big(THIRD), LEAF);
		wait_turns(2);
		*(volatile uint64_t *)table = first;
	}
	check_odd("a page that was a table");
}

static void test_race(void)
{
	if (m.nharts == 1) {
		skip("tables edited while they are walked", "one hart");
		return;
	}
	root = pt_new();
	big = ((m.ram_base + m.ram_size / 2) & -MIB(2));
	make_frames();
	frame_mark(big + MIB(2), THIRD);
	for (unsigned i = 0; i < 2; i++) {
		middle[i] = page_alloc(1);
		last[i] = page_alloc(1);
	}
	stop = 0;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, walk);
	wait_turns(1);
	test_edits();
	test_reuse();
	stop = 1;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

void guest_main(void)
{
	everywhere(test_race);
}
