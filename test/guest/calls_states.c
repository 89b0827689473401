/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a call of a child in a state in which it makes no sense refuses for another
 * reason, or in another order, than docs/abi.md says, takes what it must refuse, or changes
 * something though it refuses. Row by row, in the order of the document; handles and addresses:
 * calls.c.
 */
#include "family.h"
#include "refuse.h"

#define WINDOW 0x2000000000ul
#define AT     ((uintptr_t)page)

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));

/* One child in each state in which it stays; `template` has the clone. */
static uint64_t created, running, paused, asked, gone, template, clone;

static void ask_for_reset(uint64_t arg)
{
	sbi(EID_SRST, 0, arg, 0, 0, 0, 0);
}

static void leave(uint64_t arg)
{
	dx_exit(arg);
}

static void make_children(void)
{
	running = dx_spawn(sleep_for_ever, 0);
	paused = paused_child();
	template = paused_child();
	clone = value_of(
		"clone", dx(DX_FID_CLONE, template, (uintptr_t)dx_fork_options(DX_PAUSED), 0));
	asked = dx_spawn(ask_for_reset, 1);
	dx_await(asked, DX_PAUSED_STATE);
	gone = dx_spawn(leave, 7);
	dx_await(gone, DX_GONE);
	created = value_of(
		"create", dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0));
	page[0] = 1;
}

static void end_children(void)
{
	dx_end(gone);
	kill_child(asked);
	kill_child(clone);
	kill_child(template);
	kill_child(paused);
	kill_child(running);
	kill_child(created);
}

/* --- states --- */

#define BAD  SBI_INVALID_STATE
#define GOOD 1

/* What each call says of a child in each state; GOOD: not asked here. */
static void test_states(void)
{
	const struct {
		const char *name;
		uint64_t fid, a1, a2;
		int64_t created, running, paused, asked, gone, template;
	} rows[] = {
		{"QUOTA_READ of", DX_FID_QUOTA_READ, AT, 0, GOOD, GOOD, GOOD, GOOD, DX_ERR_NOENT,
			GOOD},
		{"QUOTA_SET of", DX_FID_QUOTA_SET, 0, 9999, GOOD, GOOD, GOOD, GOOD, DX_ERR_NOENT,
			GOOD},
		{"START of", DX_FID_START, 0x80000000, 0, GOOD, BAD, BAD, BAD, BAD, BAD},
		{"PAUSE of", DX_FID_PAUSE, 0, 0, BAD, GOOD, GOOD, GOOD, BAD, GOOD},
		{"RESUME of", DX_FID_RESUME, 0, 0, BAD, BAD, GOOD, BAD, BAD, BAD},
		{"KILL of", DX_FID_KILL, 0, 0, GOOD, GOOD, GOOD, GOOD, BAD, GOOD},
		{"REBOOT of", DX_FID_REBOOT, 0, 0, BAD, GOOD, GOOD, GOOD, DX_ERR_NOENT, BAD},
		{"CLONE of", DX_FID_CLONE, 0, 0, BAD, BAD, GOOD, BAD, BAD, GOOD},
		{"REAP of", DX_FID_REAP, 0, 0, BAD, BAD, BAD, BAD, GOOD, BAD},
		{"CONSOLE_WRITE of", DX_FID_CONSOLE_WRITE, AT, 1, GOOD, GOOD, GOOD, GOOD, BAD,
			GOOD},
		{"FDT_WRITE of", DX_FID_FDT_WRITE, AT, PAGE, GOOD, GOOD, GOOD, GOOD, BAD, GOOD},
		{"PRIORITY of", DX_FID_PRIORITY, 3, 100, GOOD, GOOD, GOOD, GOOD, DX_ERR_NOENT,
			GOOD},
	};

	page[0] = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct {
			uint64_t handle;
			int64_t error;
		} cases[] = {{created, rows[i].created}, {running, rows[i].running},
			{paused, rows[i].paused}, {asked, rows[i].asked}, {gone, rows[i].gone},
			{template, rows[i].template}};

		for (unsigned k = 0; k < ARRAY_SIZE(cases); k++) {
			refuse_watch(cases[k].handle);
			if (cases[k].error != GOOD)
				REFUSE(rows[i].name, cases[k].error, rows[i].fid, cases[k].handle,
					rows[i].a1, rows[i].a2);
		}
	}
	refuse_watch(gone);
	REFUSE("WINDOW_MAP of a gone one", BAD, DX_FID_WINDOW_MAP, gone, AT, WINDOW, PAGE, DX_READ);
}

/* A dying child, for as long as it is one. */
static void test_dying(void)
{
	const struct {
		uint64_t fid, a1, a2, a3, a4;
		int64_t error;
	} rows[] = {
		{DX_FID_QUOTA_READ, AT, 0, 0, 0, DX_ERR_NOENT},
		{DX_FID_QUOTA_SET, 0, 9999, 0, 0, DX_ERR_NOENT},
		{DX_FID_START, 0x80000000, 0, 0, 0, BAD},
		{DX_FID_PAUSE, 0, 0, 0, 0, BAD},
		{DX_FID_RESUME, 0, 0, 0, 0, BAD},
		{DX_FID_REBOOT, 0, 0, 0, 0, DX_ERR_NOENT},
		{DX_FID_CLONE, 0, 0, 0, 0, BAD},
		{DX_FID_REAP, 0, 0, 0, 0, BAD},
		{DX_FID_WINDOW_MAP, AT, WINDOW, PAGE, DX_READ, BAD},
		{DX_FID_CONSOLE_WRITE, AT, 1, 0, 0, BAD},
		{DX_FID_FDT_WRITE, AT, PAGE, 0, 0, BAD},
		{DX_FID_PRIORITY, 3, 100, 0, 0, DX_ERR_NOENT},
		{DX_FID_KILL, 0, 0, 0, 0, SBI_SUCCESS},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t child = dx_spawn(sleep_for_ever, 0);

		dx(DX_FID_PRIORITY, child, 0, DX_WEIGHT_DEFAULT); /* it will not be in a hurry */
		dx(DX_FID_KILL, child, 0, 0);
		struct sbiret r = sbi(EID_DIOSIX, rows[i].fid, child, rows[i].a1, rows[i].a2,
			rows[i].a3, rows[i].a4);

		if (rows[i].fid == DX_FID_REAP && r.error == 0) {
			skip("REAP of a dying one", "it was gone first");
			continue;
		}
		if (dx_info(child)->state == DX_DYING)
			check_eq_at("of a dying one: call", rows[i].fid, (uint64_t)r.error,
				(uint64_t)rows[i].error);
		else
			skip("of a dying one", "it was gone first");
		dx_end(child);
	}
}

static void test_all(void)
{
	make_children();
	twice(test_states);
	twice(test_dying);
	end_children();
}

void guest_main(void)
{
	dx_run(test_all);
}
