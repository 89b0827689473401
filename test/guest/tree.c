/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a VM reaches one that is not its direct child, or a child in a state in which it
 * should not; a wrong argument does something; a dead VM's children live on; how a VM ended cannot
 * be told; or the end of a VM loses pages.
 */
#include "guest.h"

#define NOBODY 0x7fffffff

/* --- what children do --- */

static void spin(uint64_t arg)
{
	(void)arg;
	for (;;)
		relax();
}

static void sleep_for_ever(uint64_t arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("wfi");
}

static void exit_with(uint64_t arg)
{
	dx_exit(arg);
}

static void reset_system(uint64_t arg)
{
	sbi(EID_SRST, 0, arg >> 1, arg & 1, 0, 0, 0);
}

static void stop(uint64_t arg)
{
	(void)arg;
	sbi(EID_HSM, 1, 0, 0, 0, 0, 0);
}

static void idle(struct hart *h)
{
	(void)h;
	for (;;)
		__asm__ volatile("wfi");
}

static void end_in_step(struct hart *h)
{
	(void)h; /* stops */
}

/* --- wrong arguments --- */

static uint64_t bad_handles[8];
static unsigned nbad;

/* Calls on a handle, with all else as it should be. */
static const struct {
	uint64_t fid;
	bool needs_page; /* its second argument */
} by_handle[] = {
	{DX_FID_START, true},
	{DX_FID_PAUSE, false},
	{DX_FID_RESUME, false},
	{DX_FID_KILL, false},
	{DX_FID_INFO, true},
	{DX_FID_REAP, false},
	{DX_FID_CLONE, false},
	{DX_FID_CONSOLE_READ, true},
	{DX_FID_CONSOLE_WRITE, true},
};

static void test_handles(void)
{
	static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
	for (unsigned i = 0; i < ARRAY_SIZE(by_handle); i++)
		for (unsigned k = 0; k < nbad; k++) {
			if (bad_handles[k] == DX_SELF && by_handle[i].fid == DX_FID_INFO)
				continue;
			uint64_t a1 = by_handle[i].needs_page ? (uintptr_t)page : 0;
			struct sbiret r = dx(by_handle[i].fid, bad_handles[k], a1, 8);

			check_eq_at("no such child: call", by_handle[i].fid, (uint64_t)r.error,
				(uint64_t)DX_ERR_NOENT);
		}
}

static void try_handles_of_others(uint64_t arg)
{
	(void)arg;
	checks_begin();
	test_handles();
	check_err("no children", dx(DX_FID_NEXT, 0, 0, 0), SBI_SUCCESS);
	check_eq("no children", dx(DX_FID_NEXT, 0, 0, 0).value, 0);
	dx_exit(checks_end());
}

static void add_bad(uint64_t handle)
{
	bad_handles[nbad++] = handle;
}

static void test_wrong_handles(void)
{
	uint64_t child = dx_spawn(sleep_for_ever, 0);

	nbad = 0;
	add_bad(DX_SELF);
	add_bad(NOBODY);
	add_bad(~0ul);
	add_bad(child + 1);
	add_bad(child | 1ul << 32);
	add_bad(child | 1ul << 63);
	add_bad(child ^ 1ul << 13); /* another generation */
	test_handles();
	/* The child's own child does not know what its parent calls its children. */
	nbad = 0;
	add_bad(DX_SELF);
	add_bad(child);
	uint64_t stranger = dx_spawn(try_handles_of_others, 0);
	struct dx_end e = dx_end(stranger);

	check_eq("a stranger came to its end", e.reason, DX_REASON_EXIT);
	checks_add(e.code);
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	dx_end(child);
	nbad = 0;
	add_bad(child); /* what was reaped */
	test_handles();
}

/* Calls with a pointer, which is argument `at`. */
static const struct {
	uint64_t fid, at;
	bool any_alignment;
} by_pointer[] = {
	{DX_FID_FORK, 0, false},
	{DX_FID_CREATE, 0, false},
	{DX_FID_CLONE, 1, false},
	{DX_FID_INFO, 1, false},
	{DX_FID_CONSOLE_READ, 1, true},
	{DX_FID_CONSOLE_WRITE, 1, true},
};

static void test_pointers(void)
{
	static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
	uint64_t child = dx_spawn(sleep_for_ever, 0);
	uint64_t bad[] = {(uintptr_t)page + 4, (uintptr_t)page + PAGE - 8, m.ram_base - PAGE,
		m.ram_base + m.ram_size, m.plic, m.uart, 1ul << 40, 1ul << 41, 1ul << 56, 1ul << 63,
		~7ul};

	check_err("pause", dx(DX_FID_PAUSE, child, 0, 0), SBI_SUCCESS);
	for (unsigned i = 0; i < ARRAY_SIZE(by_pointer); i++)
		for (unsigned k = 2 * by_pointer[i].any_alignment; k < ARRAY_SIZE(bad); k++) {
			uint64_t a0 = by_pointer[i].at ? child : bad[k];
			struct sbiret r = dx(by_pointer[i].fid, a0, bad[k], 8);

			check_eq_at("bad pointer: call", by_pointer[i].fid << 8 | k,
				(uint64_t)r.error, (uint64_t)SBI_INVALID_ADDRESS);
		}
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	dx_end(child);
}

static void fork_is(const char *name, const struct dx_fork *f, int64_t error)
{
	struct sbiret r = dx_fork_try(f);

	if (r.error == 0 && r.value == 0)
		dx_exit(0);
	check_err(name, r, error);
	if (r.error == 0)
		dx_end(r.value);
}

static void test_fork_options(void)
{
	struct dx_fork *f;

	for (unsigned b = 3; b < 32; b++)
		fork_is("unknown flag", dx_fork_options(1u << b), SBI_INVALID_PARAM);
	f = dx_fork_options(0);
	f->reserved = 1;
	fork_is("reserved", f, SBI_INVALID_PARAM);
	f = dx_fork_options(0);
	f->limit[DX_LIMIT_PRIORITY] = 8;
	fork_is("priority above", f, SBI_DENIED);
	f->limit[DX_LIMIT_PRIORITY] = 256;
	fork_is("priority of more than 8 bits", f, SBI_DENIED);
	f = dx_fork_options(0);
	f->limit[DX_LIMIT_DEPTH] = 32;
	fork_is("depth above", f, SBI_DENIED);
	f->limit[DX_LIMIT_DEPTH] = 1ul << 32;
	fork_is("depth of more than 32 bits", f, SBI_DENIED);
	for (unsigned l = DX_LIMIT_PAGES; l <= DX_LIMIT_VCPUS; l++) {
		f = dx_fork_options(0);
		f->limit[l] = 0;
		fork_is("a limit of nothing", f, DX_ERR_OWN_LIMIT);
	}
}

static void create_is(const char *name, const struct dx_create *c, int64_t error)
{
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)c, 0, 0);

	check_err(name, r, error);
	if (r.error == 0) {
		check_err("kill", dx(DX_FID_KILL, r.value, 0, 0), SBI_SUCCESS);
		dx_end(r.value);
	}
}

static void test_create_options(void)
{
	struct dx_create *c;

	create_is("one VCPU, one page", dx_create_options(1, PAGE), SBI_SUCCESS);
	create_is("64 VCPUs", dx_create_options(64, MIB(2)), SBI_SUCCESS);
	create_is("no VCPU", dx_create_options(0, MIB(2)), SBI_INVALID_PARAM);
	create_is("65 VCPUs", dx_create_options(65, MIB(2)), SBI_INVALID_PARAM);
	create_is("2^32 - 1 VCPUs", dx_create_options(~0u, MIB(2)), SBI_INVALID_PARAM);
	create_is("no RAM", dx_create_options(1, 0), SBI_INVALID_PARAM);
	create_is("half a page", dx_create_options(1, PAGE / 2), SBI_INVALID_PARAM);
	create_is(
		"RAM beyond the address space", dx_create_options(1, 1ul << 41), SBI_INVALID_PARAM);
	create_is("2^64 less a page", dx_create_options(1, -PAGE), SBI_INVALID_PARAM);
	c = dx_create_options(1, MIB(2));
	c->reserved = 1;
	create_is("reserved", c, SBI_INVALID_PARAM);
	for (uint32_t flag = 1u << 31; flag; flag /= 2) {
		if (flag & (DX_TRUST | DX_DIRECT))
			continue;
		c = dx_create_options(1, MIB(2));
		c->flags = flag;
		create_is("unknown flag", c, SBI_INVALID_PARAM);
	}
	c = dx_create_options(1, MIB(2));
	c->limit[DX_LIMIT_PRIORITY] = 8;
	create_is("priority above", c, SBI_DENIED);
	c = dx_create_options(1, MIB(2));
	c->limit[DX_LIMIT_VCPUS] = 1;
	c->vcpus = 2;
	create_is("more VCPUs than it may have", c, DX_ERR_OWN_LIMIT);
}

static void test_unknown_calls(void)
{
	static const uint64_t later[] = {
		6, 22, 23, 24, 34, 35, 36, 37, 1000, 1ul << 32, 1ul << 63, ~0ul};

	for (unsigned i = 0; i < ARRAY_SIZE(later); i++)
		check_err("no such call", dx(later[i], 0, 0, 0), SBI_NOT_SUPPORTED);
	check_err("version", dx(DX_FID_VERSION, 0, 0, 0), SBI_SUCCESS);
	check_eq("version", dx(DX_FID_VERSION, 0, 0, 0).value, DX_ABI_VERSION);
	check_err("next of a huge handle", dx(DX_FID_NEXT, 1ul << 32, 0, 0), SBI_INVALID_PARAM);
	check_err("yield", dx(DX_FID_YIELD, 0, 0, 0), SBI_SUCCESS);
}

/* --- states --- */

static const uint64_t state_calls[] = {
	DX_FID_START, DX_FID_PAUSE, DX_FID_RESUME, DX_FID_REAP, DX_FID_CLONE};

/* What each of these gives for a child that is in `state`. */
static void refuse(const char *state, uint64_t child, const int64_t expected[5])
{
	for (unsigned i = 0; i < ARRAY_SIZE(state_calls); i++)
		if (expected[i])
			check_err(state, dx(state_calls[i], child, 0, 0), expected[i]);
}

#define BAD  SBI_INVALID_STATE
#define GOOD 0

#define CHILD_RAM 0x80000000ul
#define WINDOW    0x3f00000000ul
#define LOOP      0x0000006fu /* j . */

static void give_loop(uint64_t child)
{
	check_err("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, CHILD_RAM, WINDOW, PAGE,
			DX_READ | DX_WRITE),
		SBI_SUCCESS);
	*(volatile uint32_t *)WINDOW = LOOP;
	check_err("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0), SBI_SUCCESS);
}

/* Nothing is there to run, and no trap vector: its first exception cannot be delivered. */
static void test_empty(void)
{
	static const uint64_t entries[] = {CHILD_RAM, 0, 0x10000000};

	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
		uint64_t child =
			dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0).value;

		check_err("start", dx(DX_FID_START, child, entries[i], 0), SBI_SUCCESS);
		check_eq_at("an empty one crashes", i, dx_end(child).reason, DX_REASON_CRASH);
	}
}

static void test_states(void)
{
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0);
	uint64_t child = r.value;

	check_eq("created", dx_info(child)->state, DX_CREATED);
	refuse("of a created one", child, (int64_t[]){GOOD, BAD, BAD, BAD, BAD});
	give_loop(child);
	check_err("start", dx(DX_FID_START, child, CHILD_RAM, 0), SBI_SUCCESS);
	check_eq("running", dx_info(child)->state, DX_RUNNING);
	refuse("of a running one", child, (int64_t[]){BAD, GOOD, BAD, BAD, BAD});
	check_err("pause", dx(DX_FID_PAUSE, child, 0, 0), SBI_SUCCESS);
	check_err("pause again", dx(DX_FID_PAUSE, child, 0, 0), SBI_SUCCESS);
	check_eq("paused", dx_info(child)->state, DX_PAUSED_STATE);
	refuse("of a paused one", child, (int64_t[]){BAD, GOOD, GOOD, BAD, GOOD});
	/* It may still wait for a PCPU, only to find that it is halted. */
	uint64_t time;

	do {
		time = dx_info(child)->cpu_time;
		spin_for(m.hz / 500);
	} while (dx_info(child)->cpu_time != time);
	check("paused: it does not run", true);
	check_err("resume", dx(DX_FID_RESUME, child, 0, 0), SBI_SUCCESS);
	while (dx_info(child)->cpu_time == time)
		dx_yield(); /* it runs */
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	dx_await(child, DX_GONE);
	check_eq("killed", dx_info(child)->reason, DX_REASON_KILLED);
	refuse("of a gone one", child, (int64_t[]){BAD, BAD, BAD, GOOD, BAD});
	check_err("kill a gone one", dx(DX_FID_KILL, child, 0, 0), SBI_INVALID_STATE);
	check_err("reap", dx(DX_FID_REAP, child, 0, 0), SBI_SUCCESS);
	check_err("reap again", dx(DX_FID_REAP, child, 0, 0), DX_ERR_NOENT);
}

/* Killed in each state it can be in. */
static void test_kill_states(void)
{
	uint64_t child = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(2, MIB(4)), 0, 0).value;

	check_err("kill a created one", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	check_eq("killed", dx_end(child).reason, DX_REASON_KILLED);
	void (*const what[])(uint64_t) = {spin, sleep_for_ever};

	for (unsigned i = 0; i < 4; i++) {
		child = dx_spawn(what[i & 1], 0);
		if (i & 2)
			check_err("pause", dx(DX_FID_PAUSE, child, 0, 0), SBI_SUCCESS);
		check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
		check_eq("killed", dx_end(child).reason, DX_REASON_KILLED);
	}
	child = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (child == 0)
		dx_exit(0);
	check_eq("forked paused", dx_info(child)->state, DX_PAUSED_STATE);
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	check_eq("killed", dx_end(child).reason, DX_REASON_KILLED);
}

/* --- endings --- */

static void ends(const char *name, void (*fn)(uint64_t), uint64_t arg, struct dx_end expected)
{
	struct dx_end e = dx_end(dx_spawn(fn, arg));

	check_eq(name, e.reason, expected.reason);
	check_eq(name, e.code, expected.code);
}

/* All harts of the child are running when one says that it is over. */
static void exit_with_harts(uint64_t arg)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, idle);
	dx_exit(arg);
}

static void stop_with_harts(uint64_t arg)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, end_in_step);
	stop(arg);
}

static void exit_from_last(struct hart *h)
{
	(void)h;
	dx_exit(77);
}

static void exit_from_other(uint64_t arg)
{
	if (m.nharts == 1)
		dx_exit(77);
	hart_start(m.nharts - 1, exit_from_last);
	sleep_for_ever(arg);
}

static void test_ends(void)
{
	ends("exit 0", exit_with, 0, (struct dx_end){DX_REASON_EXIT, 0});
	ends("exit with 64 bits", exit_with, ~5ul, (struct dx_end){DX_REASON_EXIT, ~5ul});
	ends("exit with all harts", exit_with_harts, 9, (struct dx_end){DX_REASON_EXIT, 9});
	ends("exit from the last hart", exit_from_other, 0, (struct dx_end){DX_REASON_EXIT, 77});
	ends("SBI shutdown", reset_system, 0, (struct dx_end){DX_REASON_EXIT, 0});
	ends("SBI shutdown, failure", reset_system, 1, (struct dx_end){DX_REASON_CRASH, 0});
	ends("SBI reboot, failure", reset_system, 3, (struct dx_end){DX_REASON_CRASH, 0});
	ends("its hart stopped", stop, 0, (struct dx_end){DX_REASON_STOPPED, 0});
	ends("all its harts stopped", stop_with_harts, 0, (struct dx_end){DX_REASON_STOPPED, 0});
}

static void test_reboot_request(void)
{
	for (uint64_t type = 1; type <= 2; type++) {
		uint64_t child = dx_spawn(reset_system, type << 1);

		dx_await(child, DX_PAUSED_STATE);
		check_eq("it asked for a reset", dx_info(child)->reset_asked, 1);
		check_err("it does not go on", dx(DX_FID_RESUME, child, 0, 0), SBI_INVALID_STATE);
		check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
		check_eq("killed", dx_end(child).reason, DX_REASON_KILLED);
	}
}

/* A guest whose trap vector is nowhere cannot be told of its exceptions. */
static void lose_the_way(uint64_t arg)
{
	csr_write(stvec, arg);
	__asm__ volatile("ebreak");
}

static void test_lost(void)
{
	uint64_t nowhere[] = {0, m.plic, ~3ul, 1ul << 41};

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++)
		check_eq_at("its trap vector is nowhere", i,
			dx_end(dx_spawn(lose_the_way, nowhere[i])).reason, DX_REASON_CRASH);
}

/* --- the tree --- */

static volatile uint8_t dirt[8][PAGE] __attribute__((aligned(PAGE)));

/* Two children at each level, `arg` levels. */
static void grow(uint64_t arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(dirt); i++)
		dirt[i][0] = (uint8_t)arg;
	if (arg > 1)
		for (unsigned i = 0; i < 2; i++)
			dx_spawn(grow, arg - 1);
	/* Tells its parent, and waits for what its children tell. */
	for (unsigned told = arg > 1 ? 2 : 0; told;) {
		uint64_t event = dx_event();
		uint8_t byte[1];

		if (event >> 32 & DX_EVENT_CONSOLE)
			told -= dx(DX_FID_CONSOLE_READ, event & UINT32_MAX, (uintptr_t)byte, 1)
					.value;
		dx_yield();
	}
	sbi(EID_DBCN, 2, '.', 0, 0, 0, 0);
	if (arg & 1)
		spin(0);
	sleep_for_ever(0);
}

static void test_cascade(void)
{
	for (unsigned depth = 1; depth <= 4; depth++) {
		uint64_t child = dx_spawn(grow, depth);
		uint8_t byte;

		while (dx(DX_FID_CONSOLE_READ, child, (uintptr_t)&byte, 1).value == 0)
			dx_yield();
		check_eq("it has two children", dx_info(child)->children, depth > 1 ? 2 : 0);
		check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
		check_eq("killed", dx_end(child).reason, DX_REASON_KILLED);
	}
}

/* Children of one that ends by itself end too. */
static void leave_children(uint64_t arg)
{
	for (unsigned i = 0; i < arg; i++)
		dx_spawn(i & 1 ? spin : sleep_for_ever, 0);
	dx_exit(arg);
}

static void test_orphans(void)
{
	dx_end_is("a parent exits before its children", dx_spawn(leave_children, 5), 5);
}

#define MANY 150 /* more than a page of slots */

static void test_next(void)
{
	static uint64_t handles[MANY];
	uint64_t at = 0, n = 0;
	uint64_t template = dx_fork_try(dx_fork_options(DX_PAUSED)).value;

	if (template == 0)
		dx_exit(0);
	for (unsigned i = 0; i < MANY; i++) {
		struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, PAGE), 0, 0);

		if (r.error)
			broken("create: number, error", i, (uint64_t)r.error, 0);
		handles[i] = r.value;
	}
	check_eq("children", dx_info(DX_SELF)->children, MANY + 1);
	while ((at = dx(DX_FID_NEXT, at, 0, 0).value))
		n += dx_info(at)->state == (at == template ? DX_PAUSED_STATE : DX_CREATED);
	check_eq("NEXT names each", n, MANY + 1);
	dx(DX_FID_KILL, template, 0, 0);
	dx_end(template);
	for (unsigned i = 0; i < MANY; i++)
		dx(DX_FID_KILL, handles[i], 0, 0);
	for (unsigned i = 0; i < MANY; i++)
		dx_end(handles[i]);
	check_eq("NEXT names none", dx(DX_FID_NEXT, 0, 0, 0).value, 0);
	check_eq("children", dx_info(DX_SELF)->children, 0);
}

static void test_generations(void)
{
	uint64_t last = 0, again = 0;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t h = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, PAGE), 0, 0).value;

		again += h == last;
		check("a handle", h > 0 && h < 1u << 31);
		dx(DX_FID_KILL, h, 0, 0);
		dx_end(h);
		last = h;
	}
	check_eq("handles used again at once", again, 0);
}

/* --- INFO --- */

static void test_info(void)
{
	const struct dx_info *i = dx_info(DX_SELF);
	uint64_t pages = i->pages, time = i->cpu_time;

	check_eq("own state", i->state, DX_RUNNING);
	check_eq("own VCPUs", i->vcpus, m.nharts);
	check_eq("own RAM", i->ram_base, m.ram_base);
	check_eq("own RAM", i->ram_size, m.ram_size);
	check_eq("own children", i->children, 0);
	check_eq("not stalled", i->stalled, 0);
	check_eq("no reset asked", i->reset_asked, 0);
	check_eq("no reason", i->reason, DX_REASON_NONE);
	check_eq("own pages", i->pages, i->pages_subtree);
	uint64_t child = dx_spawn(sleep_for_ever, 0);

	i = dx_info(child);
	check_eq("its VCPUs", i->vcpus, m.nharts);
	check_eq("its RAM", i->ram_size, m.ram_size);
	check_eq("inherited trust", i->trusted, dx_info(DX_SELF)->trusted);
	check("a child's pages count", dx_info(DX_SELF)->pages_subtree > pages);
	check_eq("one child", dx_info(DX_SELF)->children, 1);
	check("time goes by", dx_info(DX_SELF)->cpu_time > time);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
	child = dx_fork_try(dx_fork_options(DX_NO_TRUST | DX_PAUSED)).value;
	if (child == 0)
		dx_exit(0);
	check_eq("no trust", dx_info(child)->trusted, 0);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

/* Pages that are touched for the first time, and the table of children, stay with the VM: what a
 * test costs shows when it is done again. */
static void twice(void (*test)(void))
{
	test();
	uint64_t before = dx_pages();

	test();
	check_eq("every page is back", dx_pages(), before);
}

static void test_all(void)
{
	static void (*const tests[])(void) = {test_info, test_wrong_handles, test_pointers,
		test_fork_options, test_create_options, test_unknown_calls, test_states, test_empty,
		test_kill_states, test_ends, test_reboot_request, test_lost, test_cascade,
		test_orphans, test_next, test_generations};

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
		twice(tests[i]);
}

void guest_main(void)
{
	twice(test_ends);
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
