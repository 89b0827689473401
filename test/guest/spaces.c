/* SPDX-License-Identifier: MIT */
/*
 * If this fails: address spaces are mixed up, by ASID, by root, or because they are more than
 * something holds; or what changes in one while another is in use is not seen there when it was
 * fenced.
 *
 * It runs on plain hardware as well.
 */
#include "look.h"

#define SPACES 200u
#define VA     (100ul << 30)
#define GLOBAL (101ul << 30)
#define ROUNDS 3

static uint64_t *roots[SPACES], *leaves[SPACES];
static uint64_t asid_mask;

/* Space n shows frame n at VA. */
static void make_spaces(void)
{
	for (unsigned n = 0; n < SPACES; n++) {
		roots[n] = pt_new();
		pt_map(roots[n], VA, frame_of(n), RW);
		pt_map(roots[n], GLOBAL, frame_of(SPACES), RW | PTE_G);
		leaves[n] = pt_entry(roots[n], VA, 0);
	}
	csr_write(satp, satp_for(roots[0], 0xffff));
	asid_mask = csr_read(satp) >> 44 & 0xffff;
	sfence();
}

/* ASID 0 is for who has none of its own. */
static uint64_t asid_of(unsigned n)
{
	return n + 1 <= asid_mask ? n + 1 : 0;
}

static void enter(unsigned n)
{
	csr_write(satp, satp_for(roots[n], asid_of(n)));
	if (!asid_of(n))
		sfence();
}

static void fence_asid(unsigned n)
{
	__asm__ volatile("sfence.vma x0, %0" ::"r"(asid_of(n)) : "memory");
}

static void fence_both(unsigned n)
{
	__asm__ volatile("sfence.vma %0, %1" ::"r"(VA), "r"(asid_of(n)) : "memory");
}

/* In an order that each round is another. */
static unsigned in_turn(unsigned round, unsigned i)
{
	static const unsigned steps[ROUNDS] = {1, 77, SPACES - 1};

	return i * steps[round] % SPACES;
}

static void test_switches(void)
{
	uint64_t wrong = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < SPACES; i++) {
			unsigned n = in_turn(round, i);

			enter(n);
			wrong += look(VA) != n || look(GLOBAL) != SPACES;
		}
	check_eq("each space shows its own page", wrong, 0);
}

/* One ASID for all: each switch takes a fence, and needs no more. */
static void test_one_asid(void)
{
	uint64_t wrong = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < SPACES; i++) {
			unsigned n = in_turn(round, i);

			csr_write(satp, satp_for(roots[n], 0));
			sfence();
			wrong += look(VA) != n;
		}
	check_eq("with one ASID for all", wrong, 0);
}

/* The entry of each space is changed from another one, and fenced from there. */
static void test_from_elsewhere(const char *name, void (*fence)(unsigned n))
{
	uint64_t wrong = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned n = 0; n < SPACES; n++) {
			enter(n);
			look(VA);
		}
		for (unsigned i = 0; i < SPACES; i++) {
			unsigned n = in_turn(round, i);

			enter((n + 1) % SPACES);
			*(volatile uint64_t *)leaves[n] = pte_for(frame_of((n + round) % 7), RW);
			fence(n);
			enter(n);
			wrong += look(VA) != (n + round) % 7;
		}
	}
	check_eq(name, wrong, 0);
	for (unsigned n = 0; n < SPACES; n++)
		pt_map(roots[n], VA, frame_of(n), RW);
	sfence();
}

/* Not fenced: what a space showed before, or what it says now. */
static void test_unfenced(void)
{
	uint64_t wrong = 0, stale = 0;

	for (unsigned n = 0; n < SPACES; n++) {
		enter(n);
		look(VA);
	}
	for (unsigned n = 0; n < SPACES; n++) {
		enter(n ^ 1);
		*(volatile uint64_t *)leaves[n] = pte_for(frame_of(n ^ 3), RW);
		enter(n);
		uint64_t seen = look(VA);

		wrong += seen != n && seen != (n ^ 3);
		sfence();
		stale += look(VA) != (n ^ 3);
		*(volatile uint64_t *)leaves[n] = pte_for(frame_of(n), RW);
		sfence();
	}
	check_eq("the old or the new", wrong, 0);
	check_eq("the new behind a fence", stale, 0);
}

/* One root under several ASIDs: a fence of one is a fence of that one at least. */
static void test_one_root(void)
{
	enum { ASIDS = 8 };
	uint64_t wrong = 0, odd = 0;

	if (asid_mask < ASIDS) {
		skip("a root under several ASIDs", "too few ASIDs");
		return;
	}
	sfence();
	for (unsigned round = 0; round < ASIDS; round++) {
		unsigned from = round, to = round + 1;

		pt_map(roots[0], VA, frame_of(from), RW);
		sfence();
		for (unsigned a = 1; a <= ASIDS; a++) {
			csr_write(satp, satp_for(roots[0], a));
			wrong += look(VA) != from;
		}
		pt_map(roots[0], VA, frame_of(to), RW);
		fence_asid(round); /* ASID round + 1 */
		for (unsigned a = 1; a <= ASIDS; a++) {
			csr_write(satp, satp_for(roots[0], a));
			uint64_t seen = look(VA);

			odd += seen != to && seen != from;
			wrong += a == round + 1 && seen != to;
		}
	}
	check_eq("one root, several ASIDs", wrong, 0);
	check_eq("one root, several ASIDs: old or new", odd, 0);
	pt_map(roots[0], VA, frame_of(0), RW);
	sfence();
}

/* An ASID goes from one root to the next, as a kernel does that has run out of them. */
static void test_reused_asid(void)
{
	uint64_t wrong = 0;

	for (unsigned n = 0; n < SPACES; n++) {
		csr_write(satp, satp_for(roots[n], 1));
		fence_asid(0);
		wrong += look(VA) != n || look(GLOBAL) != SPACES;
	}
	check_eq("one ASID, handed on", wrong, 0);
	sfence();
}

/* A root page that becomes a data page and a root again, with other contents. */
static void test_reused_root(void)
{
	uint64_t wrong = 0, *root = page_alloc(1);

	for (unsigned n = 0; n < 20; n++) {
		enter(0);
		memcpy(root, roots[n], PAGE);
		fence_asid(SPACES - 1);
		csr_write(satp, satp_for(root, asid_of(SPACES - 1)));
		wrong += look(VA) != n;
	}
	check_eq("one root page, again and again", wrong, 0);
	enter(0);
	sfence();
}

/* One space with more tables than anything caches: a page in each 2 MiB of 400 MiB, half of them
 * global. */
static void test_sparse(void)
{
	uint64_t *root = pt_new(), wrong = 0;

	for (unsigned n = 0; n < SPACES; n++)
		pt_map(root, VA + n * MIB(2), frame_of(n), RW | (n & 1 ? PTE_G : 0));
	sfence();
	csr_write(satp, satp_for(root, SPACES < asid_mask ? SPACES + 1 : 0));
	sfence();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < SPACES; i++)
			wrong += look(VA + in_turn(round, i) * MIB(2)) != in_turn(round, i);
	check_eq("pages far apart", wrong, 0);
	for (unsigned n = 0; n < SPACES; n++) {
		uint64_t va = VA + n * MIB(2);

		pt_map(root, va, frame_of(n ^ 1), RW | (n & 1 ? PTE_G : 0));
		__asm__ volatile("sfence.vma %0" ::"r"(va) : "memory");
		wrong += look(va) != (n ^ 1) || look(VA) != 1;
	}
	check_eq("pages far apart, each changed", wrong, 0);
	enter(0);
	sfence();
}

static void test_all(void)
{
	make_spaces();
	test_switches();
	test_one_asid();
	sfence();
	test_from_elsewhere("changed from elsewhere, fenced by ASID", fence_asid);
	test_from_elsewhere("changed from elsewhere, fenced by both", fence_both);
	test_unfenced();
	test_one_root();
	test_reused_asid();
	test_reused_root();
	test_sparse();
	csr_write(satp, 0);
}

void guest_main(void)
{
	everywhere(test_all);
}
