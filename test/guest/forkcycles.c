/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a fork and the end of the child lose pages, give back too many, or go wrong once
 * in thousands of times: one after another, or from two harts at once.
 */
#include "family.h"

/* The most are on a debug build, which audits all memory at the end, and where harts share a PCPU.
 */
#define CYCLES 10000
#define SOME   2000
#define FEWER  400 /* where each waits for another PCPU of the emulator */
#define WINDOW 0x2000000000ul
#define PAGES  8 /* that the child writes */

static uint64_t identity, turns[2];
static volatile uint64_t *generation;
static volatile uint64_t memory[PAGES][PAGE / 8] __attribute__((aligned(PAGE)));
static struct dx_info infos[2] __attribute__((aligned(256)));

/* A fork takes the other hart with it, in the midst of what it does: in the child it does no more.
 */
static void only_here(void)
{
	if (*generation != identity)
		sleep_for_ever(0);
}

static uint64_t must(const char *what, struct sbiret r)
{
	only_here();
	return value_of(what, r);
}

static void be_child(uint64_t turn)
{
	for (uint64_t p = 0; p < turn % (PAGES + 1); p++)
		memory[p][0] = turn;
	if (turn % 3 == 0)
		dx_exit(turn);
	sleep_for_ever(0);
}

static void await_gone(unsigned hart, uint64_t child)
{
	for (unsigned n = 0;; n++) {
		must("info", dx(DX_FID_INFO, child, (uintptr_t)&infos[hart], 0));
		if (infos[hart].state == DX_GONE)
			return;
		dx_rest(n);
	}
}

/* Every third child ends by itself, every third is killed as it runs, or before it does. */
static void cycle(unsigned hart, uint64_t turn)
{
	struct sbiret r = dx_fork_try(turn % 3 == 2 ? dx_fork_options(DX_PAUSED) : NULL);

	if (r.error == 0 && r.value == 0)
		be_child(turn);
	uint64_t child = must("fork", r);

	if (turn % 3)
		must("kill", dx(DX_FID_KILL, child, 0, 0));
	await_gone(hart, child);
	uint32_t expected = turn % 3 ? DX_REASON_KILLED : DX_REASON_EXIT;

	if (infos[hart].reason != expected || infos[hart].code != (turn % 3 ? 0 : turn))
		broken("the wrong end: turn, reason, code", turn, infos[hart].reason,
			infos[hart].code);
	must("reap", dx(DX_FID_REAP, child, 0, 0));
}

static void cycles(struct hart *h)
{
	for (turns[h->id] = 0; turns[h->id] < h->arg; turns[h->id]++)
		cycle((unsigned)h->id, turns[h->id]);
}

/* How many pages it has once all that it touches is its own. */
static uint64_t settled(void)
{
	for (uint64_t p = 0; p < PAGES; p++)
		memory[p][0] = p;
	return dx_pages();
}

static void run(unsigned nharts, uint64_t each)
{
	harts[0].arg = harts[1].arg = each;
	if (nharts == 2)
		hart_start(1, cycles);
	cycles(&harts[0]);
	if (nharts == 2)
		hart_wait(1);
}

static void test_cycles(void)
{
	unsigned nharts = m.nharts > 1 ? 2 : 1;
	uint64_t all = bootarg("audited") || bootarg("shared") ? CYCLES
		       : nharts == 1                           ? SOME
							       : FEWER;

	generation = (volatile uint64_t *)vmgenid_place();
	identity = *generation;
	run(nharts, 20);
	uint64_t before = settled(), own = dx_info(DX_SELF)->pages;

	run(nharts, all / nharts);
	check_eq("every page is back", settled(), before);
	check_eq("and paid by its owner", dx_info(DX_SELF)->pages, own);
	check_eq("no child is left", dx_info(DX_SELF)->children, 0);
	check_eq("all turns", turns[0] * nharts, all);
}

/* How much a child gets when it takes all that the machine has: what is charged to nobody and is
 * not free is missing here. */
static uint64_t available(void)
{
	struct dx_create *c = dx_create_options(1, MIB(1024));
	uint64_t child = value_of("create", dx(DX_FID_CREATE, (uintptr_t)c, 0, 0));
	uint64_t got = value_of("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, 0x80000000, WINDOW, MIB(1024), DX_READ));

	kill_child(child);
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, got, 0));
	return got;
}

void guest_main(void)
{
	available();
	uint64_t before = available(), pages = dx_pages();

	check("there is memory to be had", before >= MIB(64));
	dx_run(test_cycles);
	check_eq("the machine has not a page less", available(), before);
	check_eq("nor the Root VM one more", dx_pages(), pages);
}
