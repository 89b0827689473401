/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the end of a VM, or a call, waits for ever for VCPUs of a lower priority, which it
 * keeps from running; or a VM that is paused and resumed in the midst of its fork never goes on.
 */
#include "guest.h"

#define PAGES 600

static uint8_t memory[PAGES][PAGE] __attribute__((aligned(PAGE)));

/* --- harts that obey a ceiling at different times: one sleeps while the other lowers it --- */

static void lower_and_exit(struct hart *h)
{
	(void)h;
	for (unsigned i = 0; i < 3; i++)
		dx_yield();
	dx(DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_PRIORITY, 0);
	dx_yield();
	dx_exit(7);
}

static void sleep_beside(uint64_t arg)
{
	(void)arg;
	hart_start(1, lower_and_exit);
	csr_write(sie, 0);
	for (;;)
		__asm__ volatile("wfi");
}

static void test_burial(void)
{
	if (m.nharts < 2)
		skip("harts of different priorities", "too few");
	else
		dx_end_is("they are buried", dx_spawn(sleep_beside, 0), 7);
}

/* --- calls that wait for VCPUs of a lower priority --- */

static void run_for_ever(uint64_t arg)
{
	(void)arg;
	for (;;)
		dx_yield();
}

static void test_reboot(void)
{
	uint64_t child = dx_spawn(run_for_ever, 0);

	dx_rest(3);
	check_err("a lower priority", dx(DX_FID_PRIORITY, child, 2, 100), SBI_SUCCESS);
	check_err("reboot of such a child", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	dx_end(child);
}

/* With each limit the fork fails at another place. */
static void fork_and_fail(uint64_t arg)
{
	uint64_t limit = dx_pages();

	(void)arg;
	dx(DX_FID_PRIORITY, DX_SELF, 5, 100);
	dx(DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_RESERVE, 0);
	for (unsigned k = 60; k > 0; k--) {
		dx(DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_PAGES, limit + k);
		struct sbiret r = dx_fork_try(NULL);

		if (r.error == 0 && r.value == 0)
			dx_exit(0);
		if (r.error == 0)
			dx_end(r.value);
	}
	dx_exit(dx_info(DX_SELF)->priority);
}

static void test_failed_forks(void)
{
	uint64_t before = dx_info(DX_SELF)->priority;

	check_err("a higher priority", dx(DX_FID_PRIORITY, DX_SELF, 5, 100), SBI_SUCCESS);
	uint64_t child = dx_spawn(fork_and_fail, 0);

	check_err("as before", dx(DX_FID_PRIORITY, DX_SELF, before, 100), SBI_SUCCESS);
	dx_end_is("forks that fail return", child, 5);
}

/* --- paused in the midst of forking --- */

static void fork_often(uint64_t arg)
{
	(void)arg;
	for (unsigned i = 0; i < PAGES; i++)
		memory[i][0] = 1;
	for (unsigned n = 0; n < 60; n++) {
		uint64_t child = dx_fork();

		if (child == 0)
			dx_exit(0);
		dx_end(child);
	}
	dx_exit(7);
}

static void test_paused_forks(void)
{
	uint64_t child = dx_spawn(fork_often, 0);

	for (unsigned n = 0; n < 150; n++) {
		spin_for(m.hz / 10000 + n % 97 * 10);
		if (dx(DX_FID_PAUSE, child, 0, 0).error || dx(DX_FID_RESUME, child, 0, 0).error)
			break;
	}
	dx_end_is("who is paused as it forks goes on", child, 7);
}

static void test_all(void)
{
	test_burial();
	test_reboot();
	test_paused_forks();
}

/* The first needs a higher priority than children have. */
void guest_main(void)
{
	test_failed_forks();
	dx_run(test_all);
}
