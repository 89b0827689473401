/* SPDX-License-Identifier: MIT */
/*
 * If this fails: INFO counts wrong what a VM did and has: how often its harts left the guest, and
 * why; pages that are shared since a fork, or reserved by a guarantee.
 */
#include "guest.h"

#define PAGES 40

static uint8_t memory[PAGES][PAGE] __attribute__((aligned(PAGE)));

/* INFO of oneself; what it touches is there already. */
static struct dx_info self(void)
{
	(void)dx_info(DX_SELF);
	return *dx_info(DX_SELF);
}

static void touch(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memory[i][0]++;
}

/* --- exits --- */

static void count_exits(uint64_t arg)
{
	(void)arg;
	uint64_t calls, devices, faults;
	struct dx_info before = self();

	for (unsigned i = 0; i < 50; i++)
		dx(DX_FID_VERSION, 0, 0, 0);
	calls = self().exits[DX_EXIT_CALL] - before.exits[DX_EXIT_CALL];
	before = self();
	for (unsigned i = 0; i < 30; i++)
		(void)*(volatile uint8_t *)(m.uart + 5);
	devices = self().exits[DX_EXIT_DEVICE] - before.exits[DX_EXIT_DEVICE];
	before = self();
	touch(PAGES);
	faults = self().exits[DX_EXIT_MEMORY] - before.exits[DX_EXIT_MEMORY];
	bool same = self().faults == self().exits[DX_EXIT_MEMORY];

	/* Each look at INFO is two calls. */
	dx_exit((calls >= 52 && calls <= 54) | (devices == 30) << 1 | (faults >= PAGES) << 2 |
		same << 3);
}

static void test_exits(void)
{
	uint64_t child = dx_spawn(count_exits, 0);

	dx_end_is("calls, devices, memory", child, 15);
}

/* The timer is set by a call, and comes by an exit, where there is no Sstc; WFI leaves only while
 * somebody waits. What is left is told by their sum: it does not fall. */
static void test_monotonic(void)
{
	struct dx_info before = self();
	bool less = false;

	for (unsigned i = 0; i < 20; i++) {
		struct dx_info now_ = self();

		for (unsigned k = 0; k < DX_EXITS; k++)
			less |= now_.exits[k] < before.exits[k];
		before = now_;
	}
	check("no count falls", !less);
}

/* --- pages --- */

/* All that both have is shared at first; what one writes is its own again. */
static void share(uint64_t arg)
{
	(void)arg;
	touch(PAGES);
	uint64_t child = dx_fork();
	struct dx_info before = self();

	touch(PAGES);
	struct dx_info after = self();
	uint64_t good = before.pages_shared >= PAGES &&
			before.pages_shared - after.pages_shared == PAGES &&
			after.copies - before.copies == PAGES;

	if (child == 0)
		dx_exit(good);
	dx_exit(good + 2 * dx_end(child).code);
}

static void test_shared(void)
{
	uint64_t child = dx_spawn(share, 0);

	dx_end_is("shared pages become its own, in parent and child", child, 3);
}

static void test_reserved(void)
{
	uint64_t child = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0).value;
	uint64_t used = dx_info(child)->pages_subtree;

	check_eq("nothing is reserved", dx_info(child)->pages_reserved, 0);
	check_err("guarantee", dx(DX_FID_QUOTA_SET, child, DX_LIMIT_GUARANTEE, used + 25),
		SBI_SUCCESS);
	check_eq("what it does not use", dx_info(child)->pages_reserved, 25);
	check_err("less than it uses", dx(DX_FID_QUOTA_SET, child, DX_LIMIT_GUARANTEE, used - 1),
		SBI_SUCCESS);
	check_eq("nothing again", dx_info(child)->pages_reserved, 0);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

static void test_all(void)
{
	test_exits();
	test_monotonic();
	test_shared();
	test_reserved();
}

void guest_main(void)
{
	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	dx_run(test_all);
}
