/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a fork is not a copy. What one side writes the other sees, or it starts somewhere
 * else, or with other registers; or memory is lost.
 */
#include "guest.h"

#define PAGES 64

static uint8_t memory[PAGES][PAGE] __attribute__((aligned(PAGE)));

static void fill(uint8_t with)
{
	for (unsigned i = 0; i < PAGES; i++)
		memory[i][i] = with + i;
}

static bool is_filled(uint8_t with)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (memory[i][i] != (uint8_t)(with + i))
			return false;
	return true;
}

static void child(uint64_t arg)
{
	bool good = is_filled((uint8_t)arg);

	fill(100);
	good = good && is_filled(100);
	dx_exit(good ? 7 : 8);
}

static void test_fork(void)
{
	fill(1);
	uint64_t handle = dx_spawn(child, 1);

	check("a handle", handle > 0 && handle < 1u << 31);
	dx_end_is("the child has its parent's memory", handle, 7);
	check("the child's writes are its own", is_filled(1));
	struct dx_info *info;

	check_err("reaped", dx_info_try(handle, &info), DX_ERR_NOENT);
}

static void test_forks(void)
{
	test_fork();
	uint64_t before = dx_pages();

	for (unsigned i = 0; i < 20; i++)
		test_fork();
	check_eq("not one page lost", dx_pages(), before);
}

void guest_main(void)
{
	test_forks();
	/* The Root VM was copied; what is tested in a child is shared until it is written. */
	dx_run(test_forks);
}
