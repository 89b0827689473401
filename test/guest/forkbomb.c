/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a VM that forks as fast as it can, and whose children do the same, takes memory or
 * CPU time that is its siblings' or its parent's, or cannot be ended, or leaves pages behind.
 */
#include "guest.h"

#define BOMB_PAGES 2000
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

/* One sibling beside a bomb of many VMs has half of the CPU time, give or take a quarter. */
static void spin(uint64_t arg)
{
	for (;;)
		arg++;
}

static void test_share(void)
{
	uint64_t bomb = spawn_bomb(), peer;

	await_full(bomb, BOMB_PAGES);
	peer = dx_spawn(spin, 0);
	uint64_t bomb_before = dx_info(bomb)->cpu_time, peer_before = dx_info(peer)->cpu_time;

	while (dx_info(bomb)->cpu_time + dx_info(peer)->cpu_time <
		bomb_before + peer_before + 300000000)
		dx_rest(8);
	uint64_t b = dx_info(bomb)->cpu_time - bomb_before;
	uint64_t p = dx_info(peer)->cpu_time - peer_before;

	check("a sibling has its share", p > b / 2);
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
