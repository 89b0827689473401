/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a fork is not a copy. What one side writes the other sees, or it starts somewhere
 * else, or with other registers; or memory is lost.
 */
#include "abi/diosix.h"
#include "guest.h"

#define PAGES 64

static uint8_t memory[PAGES][PAGE] __attribute__((aligned(PAGE)));
static struct dx_info info __attribute__((aligned(4096)));

static struct sbiret dx(uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2)
{
	return sbi(EID_DIOSIX, fid, a0, a1, a2, 0, 0);
}

static const struct dx_info *info_of(uint64_t handle)
{
	check_err("info", dx(DX_FID_INFO, handle, (uintptr_t)&info, 0), SBI_SUCCESS);
	return &info;
}

static void wait_gone(uint64_t handle)
{
	while (info_of(handle)->state != DX_GONE)
		dx(DX_FID_YIELD, 0, 0, 0);
}

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

static _Noreturn void child(void)
{
	bool good = is_filled(1);

	fill(100);
	good = good && is_filled(100);
	dx(DX_FID_EXIT, good ? 7 : 8, 0, 0);
	for (;;)
		;
}

static void test_fork(void)
{
	fill(1);
	struct sbiret r = dx(DX_FID_FORK, 0, 0, 0);

	if (r.error == 0 && r.value == 0)
		child();
	check_err("fork", r, SBI_SUCCESS);
	check("a handle", r.value > 0 && r.value < 1u << 31);
	wait_gone(r.value);
	check_eq("reason", info.reason, DX_REASON_EXIT);
	check_eq("code", info.code, 7);
	check("the child's writes are its own", is_filled(1));
	check_err("reap", dx(DX_FID_REAP, r.value, 0, 0), SBI_SUCCESS);
	check_err("reaped", dx(DX_FID_INFO, r.value, (uintptr_t)&info, 0), DX_ERR_NOENT);
}

void guest_main(void)
{
	uint64_t before = info_of(DX_SELF)->pages_subtree;

	test_fork();
	before = info_of(DX_SELF)->pages_subtree;
	for (unsigned i = 0; i < 20; i++)
		test_fork();
	check_eq("not one page lost", info_of(DX_SELF)->pages_subtree, before);
}
