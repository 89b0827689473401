/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a page that a window shows, or that steal time is told in, is shared by a fork, so
 * that what one writes appears with another; a window is inherited, shows the wrong memory or gives
 * rights that it has not; or its page is lost, or freed too early, when its owner ends.
 */
#include "family.h"

#define WINDOW 0x2000000000ul

/* The page that is shown: in the child's memory, and through the window. */
struct box {
	volatile uint64_t command, answer, value, seen;
};
static struct box box __attribute__((aligned(PAGE)));
#define SHOWN ((struct box *)WINDOW)

enum { NONE, FORK, READ, WRITE, END };

/* --- the child: does what is written into its box --- */

static uint64_t grandchild;

/* The copy of the box that a fork has is read and written by its own commands: over the console. */
static void serve_fork(void)
{
	uint64_t before = box.value;
	static uint8_t byte;

	while (sbi(EID_DBCN, 1, 1, (uintptr_t)&byte, 0, 0, 0).value == 0)
		dx_rest(4);
	bool good = box.value == before && box.answer == NONE;

	box.value = ~0ul; /* must not appear in the window */
	dx_exit(good ? before : 0xbad);
}

static void serve(uint64_t arg)
{
	static uint8_t go = 'g';

	(void)arg;
	for (;;) {
		while (box.command == NONE)
			dx_rest(1);
		uint64_t command = box.command;

		box.command = NONE;
		if (command == FORK) {
			box.answer = NONE;
			grandchild = dx_fork();
			if (grandchild == 0)
				serve_fork();
		} else if (command == READ) {
			box.seen = box.value;
		} else if (command == WRITE) {
			box.value++;
		} else if (command == END) {
			dx(DX_FID_CONSOLE_WRITE, grandchild, (uintptr_t)&go, 1);
			dx_exit(dx_end(grandchild).code);
		}
		box.answer = command;
	}
}

/* --- its parent, through the window --- */

static void command(uint64_t what)
{
	SHOWN->answer = NONE;
	SHOWN->command = what;
	for (unsigned n = 0; SHOWN->answer != what; n++)
		dx_rest(n);
}

static void open_window(uint64_t child, uint64_t rights)
{
	check_eq("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, (uintptr_t)&box, WINDOW, PAGE, rights)
			.value,
		PAGE);
}

static void close_window(void)
{
	check_err("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0), SBI_SUCCESS);
}

/* The owner of the page forks: the fork has a copy, window and owner have the page. */
static void test_owner_forks(void)
{
	box.command = NONE;
	box.value = 5;
	uint64_t child = dx_spawn(serve, 0);

	open_window(child, DX_READ | DX_WRITE);
	check_eq("it shows what the child has from its parent", SHOWN->value, 5);
	box.value = 6; /* the parent's own has nothing to do with it any more */
	check_eq("the child's page is its own", SHOWN->value, 5);
	SHOWN->value = 100;
	command(READ);
	check_eq("the child sees what is written through the window", SHOWN->seen, 100);
	command(FORK);
	for (unsigned i = 1; i <= 3; i++) {
		SHOWN->value = 200 * i;
		command(READ);
		check_eq("so it does after its fork", SHOWN->seen, 200 * i);
		command(WRITE);
		check_eq("the window shows what the child writes", SHOWN->value, 200 * i + 1);
	}
	SHOWN->command = END;
	dx_end_is("the fork has its page as it was", child, 100);
	check_eq("what the fork wrote does not appear", SHOWN->value, 601);
	close_window();
}

/* Who has the window forks: the fork has none, whatever it is. */
static void look_outside(uint64_t arg)
{
	bool none = outcome(try_load(WINDOW, 8)) == TRAP(LOAD_ACCESS) &&
		    outcome(try_store(WINDOW, 8, 1)) == TRAP(STORE_ACCESS) &&
		    dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0).error == 0;

	dx_exit(none && box.value == arg);
}

static void test_mapper_forks(void)
{
	uint64_t child = paused_child();

	open_window(child, DX_READ | DX_WRITE);
	SHOWN->value = 77;
	box.value = 78;
	dx_end_is("a fork has no windows", dx_spawn(look_outside, 78), 1);
	check_eq("its parent keeps its own", SHOWN->value, 77);
	close_window();
	kill_child(child);
}

#define INSN_RET 0x8082

static void test_rights(void)
{
	box.command = INSN_RET;
	fence_i();
	uint64_t child = paused_child();

	open_window(child, DX_READ);
	check_eq("read", outcome(try_load(WINDOW, 8)), NO_TRAP);
	check_eq("not written", outcome(try_store(WINDOW, 8, 1)), TRAP(STORE_ACCESS));
	check_eq("not by an AMO", outcome(try_amo(WINDOW)), TRAP(STORE_ACCESS));
	check_eq("not executed", outcome(try_exec(WINDOW)), TRAP(INSN_ACCESS));
	close_window();
	check_eq("closed", outcome(try_load(WINDOW, 8)), TRAP(LOAD_ACCESS));
	open_window(child, DX_READ | DX_WRITE);
	check_eq("written", outcome(try_store(WINDOW, 8, INSN_RET)), NO_TRAP);
	check_eq("not executed", outcome(try_exec(WINDOW)), TRAP(INSN_ACCESS));
	close_window();
	kill_child(child);
}

/* Opening makes the page the child's own, who pays; when that ends it is the mapper's to pay. */
static void test_charge(void)
{
	uint64_t child = paused_child(), its = dx_info(child)->pages;

	open_window(child, DX_READ | DX_WRITE);
	check("the child pays for the page", dx_info(child)->pages > its);
	its = dx_info(child)->pages;
	/* Of the mapper, while the child lives: at most a table. */
	uint64_t table = dx_info(DX_SELF)->pages;

	close_window();
	table -= dx_info(DX_SELF)->pages;
	open_window(child, DX_READ | DX_WRITE);
	check_eq("only once", dx_info(child)->pages, its);
	SHOWN->value = 99;
	kill_child(child);
	uint64_t own = dx_info(DX_SELF)->pages;

	check_eq("the window stays when the child has gone", SHOWN->value, 99);
	close_window();
	check_eq("its page was the mapper's, and goes with it", own - dx_info(DX_SELF)->pages,
		table + 1);
}

/* --- steal time: only where VMs share the one PCPU for sure --- */

struct sta {
	volatile uint32_t sequence, flags;
	volatile uint64_t steal;
	uint8_t rest[48];
};
static struct {
	struct sta sta;
	volatile uint64_t beside; /* in the same page */
} report __attribute__((aligned(PAGE)));

static void spin(uint64_t arg)
{
	for (;;)
		arg++;
}

/* Spins until much of its time must have been stolen. */
static void be_robbed(void)
{
	uint64_t start = dx_info(DX_SELF)->cpu_time;

	while (dx_info(DX_SELF)->cpu_time < start + 50000000)
		spin_for(m.hz / 100);
}

/* What either side finds after a fork: nothing is told until it has written to the page. */
static uint64_t look_at_report(uint64_t before)
{
	uint64_t good = report.sta.steal == before;

	be_robbed();
	good += report.sta.steal == before;
	report.beside++;
	be_robbed();
	good += report.sta.steal > before;
	good += !(report.sta.sequence & 1);
	return good;
}

static void fork_robbed(uint64_t arg)
{
	(void)arg;
	checks_begin();
	value_of("STA", sbi(EID_STA, 0, (uintptr_t)&report.sta, 0, 0, 0, 0));
	be_robbed();
	check("time is stolen", report.sta.steal > 0);
	uint64_t before, child = dx_fork();

	before = report.sta.steal;
	if (child == 0)
		dx_exit(look_at_report(before));
	uint64_t good = look_at_report(before);

	check_eq("its parent's side", good, 4);
	dx_end_is("a fork's side", child, 4);
	dx_exit(checks_end());
}

static void test_steal(void)
{
	uint64_t rival = dx_spawn(spin, 0);

	family_end("one that is robbed", dx_spawn(fork_robbed, 0));
	kill_child(rival);
}

static void test_all(void)
{
	twice(test_owner_forks);
	twice(test_mapper_forks);
	twice(test_rights);
	twice(test_charge);
	if (bootarg("one-pcpu"))
		twice(test_steal);
	else
		skip("steal time", "nothing is stolen for sure");
}

void guest_main(void)
{
	dx_run(test_all);
}
