/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a VM that forks as fast as it can, and whose children do the same, takes memory or
 * CPU time that is its siblings' or its parent's, or cannot be ended, or leaves pages behind.
 */
#include "guest.h"

#define BOMB_PAGES 1000
#define ROUNDS     2000

static volatile uint64_t dirt[4][PAGE / 8] __attribute__((aligned(PAGE)));

/* Every VM of the bomb forks until it may not, and then goes on trying. */
static void explode(uint64_t arg)
{
	for (;;) {
		struct sbiret r = dx_fork_try(NULL);

		if (r.error == 0 && r.value == 0)
			arg++;
		dirt[arg % 4][arg % 512] = arg;
	}
}

/* A sibling that works, and needs memory at times. */
static void work(uint64_t arg)
{
	volatile uint8_t *fresh = (volatile uint8_t *)(m.ram_base + m.ram_size / 4);
	volatile uint64_t sum = 0;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		for (unsigned k = 0; k < 200; k++)
			sum += k * i;
		fresh[i % 100 * PAGE] = 1;
	}
	dx_exit(arg);
}

static uint64_t spawn_bomb(void)
{
	struct dx_fork *f = dx_fork_options(DX_NO_TRUST);

	f->limit[DX_LIMIT_PAGES] = dx_info(DX_SELF)->pages_subtree + BOMB_PAGES;
	struct sbiret r = dx_fork_try(f);

	if (r.error)
		broken("bomb: error", (uint64_t)r.error, 0, 0);
	if (r.value == 0)
		explode(0);
	return r.value;
}

/* The bomb has used up what it may: at least half of it, and never more. */
static void await_full(uint64_t bomb, uint64_t limit)
{
	for (unsigned n = 0; dx_info(bomb)->pages_subtree < limit / 2; n++)
		dx_rest(n);
}

static void test_bomb(void)
{
	uint64_t limit = dx_info(DX_SELF)->pages_subtree + BOMB_PAGES, bomb = spawn_bomb();

	await_full(bomb, limit);
	check("it keeps to its limit", dx_info(bomb)->pages_subtree <= limit);
	for (uint64_t i = 0; i < 3; i++)
		dx_end_is("a sibling comes to its end", dx_spawn(work, i), i);
	check("it keeps to its limit", dx_info(bomb)->pages_subtree <= limit);
	check_eq("it goes on", dx_info(bomb)->state, DX_RUNNING);
	check_err("kill", dx(DX_FID_KILL, bomb, 0, 0), SBI_SUCCESS);
	check_eq("it is gone", dx_end(bomb).reason, DX_REASON_KILLED);
}

/* --- shares: on one PCPU, where time is instructions --- */

static void explode_here(struct hart *h)
{
	explode(h->id);
}

/* All harts of each VM of the bomb fork. */
static uint64_t spawn_full_bomb(void)
{
	struct dx_fork *f = dx_fork_options(DX_NO_TRUST);

	f->limit[DX_LIMIT_PAGES] = dx_info(DX_SELF)->pages_subtree + BOMB_PAGES;
	struct sbiret r = dx_fork_try(f);

	if (r.error)
		broken("bomb: error", (uint64_t)r.error, 0, 0);
	if (r.value == 0) {
		for (unsigned i = 1; i < m.nharts; i++)
			hart_start(i, explode_here);
		explode(0);
	}
	return r.value;
}

static void spin(uint64_t arg)
{
	for (;;)
		arg++;
}

/* In per cent of a second or more: what `peer` had, and the caller, which spins or sleeps. */
static void measure(uint64_t peer, bool spins, uint64_t *its, uint64_t *own)
{
	uint64_t start = now(), end;

	*its = dx_info(peer)->cpu_time;
	*own = dx_info(DX_SELF)->cpu_time;
	while ((end = now()) < start + m.hz)
		if (spins)
			spin_for(m.hz / 100);
		else
			dx_rest(8);
	uint64_t per_cent = (end - start) * (1000000000 / m.hz) / 100;

	*its = (dx_info(peer)->cpu_time - *its) / per_cent;
	*own = (dx_info(DX_SELF)->cpu_time - *own) / per_cent;
	say("# of the CPU time in per cent: a sibling %lu, their parent %lu", *its, *own);
}

/* One hart of a sibling, and one of the parent, against all harts of many VMs. */
static void test_share(void)
{
	uint64_t limit = dx_info(DX_SELF)->pages_subtree + BOMB_PAGES, its, own;
	uint64_t bomb = spawn_full_bomb();

	await_full(bomb, limit);
	uint64_t peer = dx_spawn(spin, 0);

	measure(peer, false, &its, &own);
	check("a sibling has half", its >= 40 && its <= 60);
	measure(peer, true, &its, &own);
	check("a sibling has a third", its >= 26 && its <= 40);
	check("their parent has a third", own >= 26 && own <= 40);
	check_eq("the bomb goes on", dx_info(bomb)->state, DX_RUNNING);
	dx(DX_FID_KILL, peer, 0, 0);
	dx(DX_FID_KILL, bomb, 0, 0);
	dx_end(peer);
	dx_end(bomb);
}

static void test_all(void)
{
	test_bomb();
	uint64_t before = dx_pages();

	test_bomb();
	check_eq("every page is back", dx_pages(), before);
	if (bootarg("one-pcpu"))
		test_share();
	else
		skip("shares of the CPU time", "not exact here");
}

void guest_main(void)
{
	test_bomb();
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
