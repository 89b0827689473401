/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a hart goes on using a translation that another hart has changed and fenced (freed
 * memory stays reachable), or harts that fence each other stop for ever.
 *
 * QEMU empties its TLB at each change to M-mode: there, a fence that does not reach the other hart
 * or is not waited for is found, one that reaches it and flushes too little is not.
 */
#include "guest.h"

#define VA          (200ul << 30)
#define PAGES       100
#define ROUNDS      10
#define ASID        5
#define FENCE_I     0
#define SFENCE      1
#define SFENCE_ASID 2

#define ANY ~0ul

static uint64_t *root;
static uint64_t *frames[2]; /* each page of VA maps to one of the two, which hold 0 and 1 */
static volatile uint64_t expected, seen, stop, wrong, which_page;

static struct sbiret fence(
	uint64_t fid, uint64_t mask, uint64_t base, uint64_t start, uint64_t size)
{
	return sbi(EID_RFENCE, fid, mask, base, start, size, ASID);
}

static void map_page(uint64_t page, uint64_t frame)
{
	*pt_entry(root, VA + page * PAGE, 0) =
		pte_for((uintptr_t)frames[frame], PTE_V | PTE_R | PTE_W | PTE_A | PTE_D);
}

/* What is read after `expected` was seen must be as expected: it is set after the fence. */
static void reader(struct hart *h)
{
	(void)h;
	csr_write(satp, satp_for(root, ASID));
	sfence();
	while (!stop) {
		uint64_t e = expected, page = which_page;

		__asm__ volatile("fence r, r" ::: "memory");
		uint64_t value = *(volatile uint64_t *)(VA + page * PAGE);

		__asm__ volatile("fence r, r" ::: "memory");
		if (e != ANY && e == expected && value != e)
			wrong++;
		seen++;
	}
	csr_write(satp, 0);
	sfence();
}

/* One whole turn of the other hart's loop. */
static void wait_seen(void)
{
	uint64_t s = seen;

	while (seen < s + 2)
		give_way();
}

struct way {
	const char *name;
	uint64_t fid, page, start, size, mask, base;
};

static void test_way(const struct way *w)
{
	expected = ANY;
	wait_seen();
	which_page = w->page;
	wrong = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		wait_seen(); /* the old translation is cached */
		expected = ANY;
		map_page(w->page, i & 1);
		struct sbiret r = fence(w->fid, w->mask, w->base, w->start, w->size);

		if (r.error)
			check_err(w->name, r, SBI_SUCCESS);
		expected = i & 1;
		wait_seen();
	}
	check_eq(w->name, wrong, 0);
}

static void test_stale(void)
{
	const struct way ways[] = {
		{"everything (0, 0)", SFENCE, 7, 0, 0, 2, 0},
		{"everything (size -1)", SFENCE, 7, VA, ~0ul, 2, 0},
		{"everything (0, -1)", SFENCE, 7, 0, ~0ul, 2, 0},
		{"one page", SFENCE, 7, VA + 7 * PAGE, PAGE, 2, 0},
		{"one byte", SFENCE, 7, VA + 7 * PAGE, 1, 2, 0},
		{"the last byte", SFENCE, 7, VA + 8 * PAGE - 1, 1, 2, 0},
		{"two bytes across pages", SFENCE, 7, VA + 7 * PAGE - 1, 2, 2, 0},
		{"range, first page", SFENCE, 0, VA, 64 * PAGE, 2, 0},
		{"range, last page", SFENCE, 63, VA, 64 * PAGE, 2, 0},
		{"long range, last page", SFENCE, 99, VA, 100 * PAGE, 2, 0},
		{"huge range", SFENCE, 7, 0, 1ul << 40, 2, 0},
		{"range up to the top", SFENCE, 7, PAGE, -PAGE, 2, 0},
		{"all harts", SFENCE, 7, VA + 7 * PAGE, PAGE, 0, ~0ul},
		{"by base 1", SFENCE, 7, VA + 7 * PAGE, PAGE, 1, 1},
		{"ASID, everything", SFENCE_ASID, 7, 0, 0, 2, 0},
		{"ASID, one page", SFENCE_ASID, 7, VA + 7 * PAGE, PAGE, 2, 0},
		{"ASID, range", SFENCE_ASID, 63, VA, 64 * PAGE, 2, 0},
		{"ASID, long range", SFENCE_ASID, 99, VA, 100 * PAGE, 2, 0},
	};

	for (unsigned i = 0; i < PAGES; i++)
		map_page(i, 0);
	stop = 0;
	hart_start(1, reader);
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++)
		test_way(&ways[i]);
	stop = 1;
	hart_wait(1);
}

/* --- new code on another hart --- */

static uint32_t code[2] __attribute__((aligned(64)));

/* Runs the code once for each new `expected`, and not while it is changed: QEMU loses a change that
 * races with its translator. */
static void caller(struct hart *h)
{
	uint64_t done = ANY, got;

	(void)h;
	while (!stop) {
		uint64_t e = expected;

		if (e == ANY || e == done)
			continue;
		__asm__ volatile("jalr ra, %1\n\tmv %0, a0"
				 : "=r"(got)
				 : "r"(code)
				 : "ra", "a0", "memory");
		if (got != e)
			wrong++;
		done = e;
		seen = e;
	}
}

static uint32_t li_a0(uint64_t n)
{
	return 0x513 | (uint32_t)n << 20;
}

static void test_fence_i(void)
{
	stop = wrong = 0;
	expected = ANY;
	code[0] = li_a0(0);
	code[1] = 0x00008067; /* ret */
	fence_i();
	hart_start(1, caller);
	seen = ANY;
	for (unsigned i = 0; i < ROUNDS; i++) {
		__atomic_store_n(&code[0], li_a0(i), __ATOMIC_RELEASE);
		fence(FENCE_I, 2, 0, 0, 0);
		expected = i;
		while (seen != i)
			give_way();
	}
	check_eq("fence_i: new code runs", wrong, 0);
	stop = 1;
	hart_wait(1);
}

/* --- everybody to everybody --- */

static void storm(struct hart *h)
{
	uint64_t seed = h->id + 1, all = BIT(m.nharts) - 1;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t r = random_next(&seed), start = r << 12 & 0xffffffffffff,
			 size = r >> 8 & 0xfffff;

		struct sbiret s =
			fence(r % 3, r & 64 ? all : r >> 32 & all, 0, start, r & 128 ? 0 : size);

		if (s.error)
			wrong++;
	}
}

static void test_storm(void)
{
	wrong = 0;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, storm);
	storm(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check_eq("storm of fences", wrong, 0);
}

static void test_errors(void)
{
	for (uint64_t fid = 0; fid < 3; fid++) {
		check_eq_at("bit beyond", fid, (uint64_t)fence(fid, BIT(m.nharts), 0, 0, 0).error,
			SBI_INVALID_PARAM);
		check_eq_at("base beyond", fid, (uint64_t)fence(fid, 1, m.nharts, 0, 0).error,
			SBI_INVALID_PARAM);
		check_eq_at("base -2", fid, (uint64_t)fence(fid, 4, ~1ul, 0, 0).error,
			SBI_INVALID_PARAM);
		check_eq_at("self", fid, (uint64_t)fence(fid, 1, 0, 0, 0).error, SBI_SUCCESS);
		check_eq_at("nobody", fid, (uint64_t)fence(fid, 0, 0, 0, 0).error, SBI_SUCCESS);
		check_eq_at("all, mask ignored", fid, (uint64_t)fence(fid, ~0ul, ~0ul, 0, 0).error,
			SBI_SUCCESS);
	}
	for (uint64_t fid = 1; fid < 3; fid++) {
		check_eq_at("range wraps", fid,
			(uint64_t)fence(fid, 1, 0, -2 * PAGE, 4 * PAGE).error, SBI_INVALID_ADDRESS);
		check_eq_at("range wraps, all harts", fid,
			(uint64_t)fence(fid, 0, ~0ul, ~0ul, 2).error, SBI_INVALID_ADDRESS);
		check_eq_at("range to the top", fid,
			(uint64_t)fence(fid, 1, 0, -2 * PAGE, 2 * PAGE).error, SBI_SUCCESS);
		check_eq_at("half of the last page", fid,
			(uint64_t)fence(fid, 1, 0, -PAGE, PAGE / 2).error, SBI_SUCCESS);
		check_eq_at(
			"empty range", fid, (uint64_t)fence(fid, 1, 0, PAGE, 0).error, SBI_SUCCESS);
	}
	__asm__ volatile("sfence.vma %0, x0" ::"r"(-PAGE / 2) : "memory");
	__asm__ volatile("sfence.vma %0, x0" ::"r"(~0ul) : "memory");
	/* HFENCE is for guests with the H extension. */
	for (uint64_t fid = 3; fid < 8; fid++) {
		check_eq_at(
			"HFENCE", fid, (uint64_t)fence(fid, 1, 0, 0, 0).error, SBI_NOT_SUPPORTED);
		check_eq_at("HFENCE, bad mask", fid, (uint64_t)fence(fid, ~0ul, 0, 0, 0).error,
			SBI_NOT_SUPPORTED);
	}
}

static void test_legacy(void)
{
	static uint64_t mask;

	mask = BIT(m.nharts) - 1;
	for (uint64_t eid = 5; eid <= 7; eid++) {
		check_eq_at("legacy, mask", eid,
			(uint64_t)sbi_legacy(eid, (uintptr_t)&mask, 0, 0, 0), 0);
		check_eq_at("legacy, all", eid, (uint64_t)sbi_legacy(eid, 0, VA, PAGE, ASID), 0);
		check_eq_at(
			"legacy, size -1", eid, (uint64_t)sbi_legacy(eid, 0, VA, ~0ul, ASID), 0);
		check_eq_at("legacy, wraps", eid, sbi_legacy(eid, 0, ~0ul, 4096, ASID) <= 0, true);
	}
}

void guest_main(void)
{
	test_errors();
	test_legacy();
	test_storm();
	if (m.nharts == 1) {
		skip("other harts' translations", "one hart");
		return;
	}
	root = pt_new();
	frames[0] = page_alloc(1);
	frames[1] = page_alloc(1);
	*frames[1] = 1;
	test_stale();
	test_fence_i();
}
