/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a VM gets more than it or one above it may have, or less; a refusal leaves
 * something behind, or tells more than "own limit" or "above"; a limit can be raised by whom it
 * binds; who cannot pay does not wait, or does not go on; or the wrong VM ends for want of memory.
 */
#include "guest.h"

static struct dx_quota quotas[MAX_HARTS] __attribute__((aligned(256)));

static const struct dx_quota *quota(uint64_t handle)
{
	struct sbiret r = dx(DX_FID_QUOTA_READ, handle, (uintptr_t)quotas, 0);

	if (r.error)
		broken("quota read: handle, error", handle, (uint64_t)r.error, 0);
	return quotas;
}

static struct sbiret set(uint64_t handle, uint64_t which, uint64_t to)
{
	return dx(DX_FID_QUOTA_SET, handle, which, to);
}

static void must_set(uint64_t handle, uint64_t which, uint64_t to)
{
	struct sbiret r = set(handle, which, to);

	if (r.error)
		broken("quota set: limit, to, error", which, to, (uint64_t)r.error);
}

static void sleep_for_ever(uint64_t arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("wfi");
}

static void kill(uint64_t handle)
{
	dx(DX_FID_KILL, handle, 0, 0);
	dx_end(handle);
}

/* Pages that nobody has touched: those of a VM's RAM that its image does not reach. */
static volatile uint8_t *fresh(uint64_t page)
{
	return (volatile uint8_t *)(m.ram_base + m.ram_size / 4 + page * PAGE);
}

static void touch(uint64_t from, uint64_t n)
{
	for (uint64_t i = from; i < from + n; i++)
		*fresh(i) = 1;
}

static void touch_and_exit(uint64_t n)
{
	touch(0, n);
	dx_exit(n);
}

/* --- reading and setting --- */

static void test_read(void)
{
	const struct dx_quota *q = quota(DX_SELF);
	uint64_t used[3] = {q->used[0], q->used[1], q->used[2]};

	check_eq("own pages", q->own[DX_LIMIT_PAGES], dx_info(DX_SELF)->pages);
	check_eq("pages used", q->used[DX_LIMIT_PAGES], dx_pages());
	check_eq("VCPUs", q->used[DX_LIMIT_VCPUS], m.nharts);
	check_eq("VMs", q->used[DX_LIMIT_VMS], 0);
	uint64_t child = dx_spawn(sleep_for_ever, 0);

	q = quota(DX_SELF);
	check_eq("VCPUs with a child", q->used[DX_LIMIT_VCPUS], 2 * m.nharts);
	check_eq("VMs with a child", q->used[DX_LIMIT_VMS], 1);
	check_eq("own VCPUs", q->own[DX_LIMIT_VCPUS], m.nharts);
	uint64_t depth = q->limit[DX_LIMIT_DEPTH], pages = q->limit[DX_LIMIT_PAGES];

	q = quota(child);
	check_eq("a child has one level less", q->limit[DX_LIMIT_DEPTH], depth - 1);
	check_eq("a child has its parent's limit", q->limit[DX_LIMIT_PAGES], pages);
	check_eq("and nobody below", q->used[DX_LIMIT_VMS], 0);
	kill(child);
	q = quota(DX_SELF);
	for (unsigned i = DX_LIMIT_VCPUS; i <= DX_LIMIT_VMS; i++)
		check_eq("as before", q->used[i], used[i]);
}

static void test_set(void)
{
	uint64_t child = dx_spawn(sleep_for_ever, 0), gone = dx_spawn(touch_and_exit, 1);
	struct dx_quota own = *quota(DX_SELF);

	dx_await(gone, DX_GONE);
	check_err("of nobody", set(0x7fffffff, DX_LIMIT_PAGES, 1), DX_ERR_NOENT);
	check("of one that is gone", set(gone, DX_LIMIT_PAGES, 1).error != 0);
	dx_end(gone);
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t unknown[] = {DX_LIMITS, 100, 1ul << 32, ~0ul};

		check_err("an unknown limit", set(child, unknown[i], 0), SBI_INVALID_PARAM);
		check_err("an unknown limit", set(DX_SELF, unknown[i], 0), SBI_INVALID_PARAM);
	}
	for (unsigned l = DX_LIMIT_PAGES; l <= DX_LIMIT_VMS; l++) {
		check_err("nobody raises his own", set(DX_SELF, l, own.limit[l] + 1), SBI_DENIED);
		check_err("nor to the most there is", set(DX_SELF, l, ~0ul), SBI_DENIED);
		check_err("nor a child's above", set(child, l, own.limit[l] + 1), SBI_DENIED);
		check_err("nor a child's to the most", set(child, l, ~0ul), SBI_DENIED);
		check_err("below what is used", set(DX_SELF, l, quota(DX_SELF)->used[l] - 1),
			SBI_INVALID_STATE);
	}
	static const uint64_t too_much[] = {1, 2, 255, 256, 1ul << 32, 1ul << 63, -2ul, ~0ul};

	for (unsigned l = DX_LIMIT_PRIORITY; l <= DX_LIMIT_DEPTH; l++)
		for (unsigned i = 0; i < ARRAY_SIZE(too_much); i++) {
			uint64_t to = too_much[i] > ~7ul ? too_much[i] : own.limit[l] + too_much[i];

			check_err(
				"no higher ceiling of one's own", set(DX_SELF, l, to), SBI_DENIED);
			check_err("no higher ceiling of a child", set(child, l, to), SBI_DENIED);
		}
	check_err("as deep as oneself", set(child, DX_LIMIT_DEPTH, own.limit[DX_LIMIT_DEPTH]),
		SBI_DENIED);
	check_err("no guarantee by oneself", set(DX_SELF, DX_LIMIT_GUARANTEE, 1), SBI_DENIED);
	struct dx_quota after = *quota(DX_SELF);

	check("refusals change nothing", !memcmp(own.limit, after.limit, sizeof(own.limit)));
	kill(child);
}

/* --- the counted ones at their edge --- */

static void fork_until_refused(uint64_t arg)
{
	uint64_t n = 0;
	struct sbiret r;

	(void)arg;
	for (;; n++) {
		r = dx_fork_try(NULL);
		if (r.error)
			break;
		if (r.value == 0)
			sleep_for_ever(0);
	}
	dx_exit(n << 16 | ((uint64_t)-r.error & 0xffff));
}

/* How many forks a child makes, and what refuses the next. */
static uint64_t refusal(uint64_t forks, int64_t error)
{
	return forks << 16 | ((uint64_t)-error & 0xffff);
}

static uint64_t spawn_with(unsigned which, uint64_t limit, void (*fn)(uint64_t), uint64_t arg)
{
	struct dx_fork *f = dx_fork_options(0);

	f->limit[which] = limit;
	struct sbiret r = dx_fork_try(f);

	if (r.error)
		broken("fork with a limit: which, error", which, (uint64_t)r.error, 0);
	if (r.value == 0) {
		fn(arg);
		dx_exit(0);
	}
	return r.value;
}

static void test_edges(void)
{
	uint64_t child, before;

	for (uint64_t n = 0; n < 4; n++) {
		child = spawn_with(DX_LIMIT_VMS, n, fork_until_refused, 0);
		dx_end_is("VMs: its own limit", child, refusal(n, DX_ERR_OWN_LIMIT));
		child = spawn_with(DX_LIMIT_VCPUS, (n + 1) * m.nharts, fork_until_refused, 0);
		dx_end_is("VCPUs: its own limit", child, refusal(n, DX_ERR_OWN_LIMIT));
	}
	/* A limit that nobody reaches by less than a VM. */
	if (m.nharts > 1) {
		child = spawn_with(DX_LIMIT_VCPUS, 3 * m.nharts - 1, fork_until_refused, 0);
		dx_end_is("VCPUs: no part of a VM", child, refusal(1, DX_ERR_OWN_LIMIT));
	}
	before = dx_pages();
	child = spawn_with(DX_LIMIT_VMS, 0, fork_until_refused, 0);
	dx_end(child);
	check_eq("refused forks leave nothing", dx_pages(), before);
}

/* Below one that has the limit, `arg` levels. */
static void edge_below(uint64_t arg)
{
	if (arg == 0)
		fork_until_refused(0);
	struct dx_end e = dx_end(dx_spawn(edge_below, arg - 1));

	dx_exit(e.reason == DX_REASON_EXIT ? e.code : 0xdead);
}

static void test_ancestors(void)
{
	for (uint64_t levels = 1; levels <= 3; levels++) {
		uint64_t child = spawn_with(DX_LIMIT_VMS, levels + 2, edge_below, levels);

		dx_end_is("VMs: a limit above", child, refusal(2, DX_ERR_ABOVE));
		child = spawn_with(DX_LIMIT_VCPUS, (levels + 3) * m.nharts, edge_below, levels);
		dx_end_is("VCPUs: a limit above", child, refusal(2, DX_ERR_ABOVE));
	}
}

/* Each level forks the next until it may not: how many there are. */
static void dig(uint64_t level)
{
	struct sbiret r;

	while ((r = dx_fork_try(NULL)).error == 0 && r.value == 0)
		level++;
	if (r.error)
		dx_exit(r.error == DX_ERR_OWN_LIMIT ? level : 0xdead);
	struct dx_end e = dx_end(r.value);

	dx_exit(e.reason == DX_REASON_EXIT ? e.code : 0xdead);
}

static void test_depth(void)
{
	static unsigned turn;
	uint64_t depth = quota(DX_SELF)->limit[DX_LIMIT_DEPTH];

	for (uint64_t n = 0; n < 3; n++)
		dx_end_is("depth: levels below", spawn_with(DX_LIMIT_DEPTH, n, dig, 0), n);
	if (turn++) /* once is enough: it takes long */
		dx_end_is("as deep as there is", dx_spawn(dig, 1), depth);
}

/* One that exists already is bound by what is set above it later. */
static void dig_when_told(uint64_t arg)
{
	static uint8_t byte;

	if (arg == 0) {
		for (unsigned n = 0; sbi(EID_DBCN, 1, 1, (uintptr_t)&byte, 0, 0, 0).value == 0; n++)
			dx_rest(n);
		dx_exit(dx_fork_try(NULL).error == DX_ERR_OWN_LIMIT ||
			dx_fork_try(NULL).error == DX_ERR_ABOVE);
	}
	uint64_t child = dx_spawn(dig_when_told, arg - 1);

	sbi(EID_DBCN, 2, 'r', 0, 0, 0, 0);
	for (unsigned n = 0; sbi(EID_DBCN, 1, 1, (uintptr_t)&byte, 0, 0, 0).value == 0; n++)
		dx_rest(n);
	dx(DX_FID_CONSOLE_WRITE, child, (uintptr_t)&byte, 1);
	dx_exit(dx_end(child).code);
}

static void test_depth_lowered(void)
{
	static uint8_t byte;

	sbi(EID_DBCN, 1, 1, (uintptr_t)&byte, 0, 0, 0); /* what is typed goes to SBI */
	uint64_t child = dx_spawn(dig_when_told, 1);

	for (unsigned n = 0; dx(DX_FID_CONSOLE_READ, child, (uintptr_t)&byte, 1).value == 0; n++)
		dx_rest(n);
	must_set(child, DX_LIMIT_DEPTH, 1);
	dx(DX_FID_CONSOLE_WRITE, child, (uintptr_t)&byte, 1);
	dx_end_is("a grandchild is bound by what its parent's parent set", child, 1);
}

/* --- pages: stall and resume --- */

static void await_stall(uint64_t child)
{
	for (unsigned n = 0; !dx_info(child)->stalled && dx_info(child)->state == DX_RUNNING; n++)
		dx_rest(n);
}

static uint64_t events_of(uint64_t handle)
{
	uint64_t event, bits = 0;

	while ((event = dx_event()))
		if ((event & UINT32_MAX) == handle)
			bits |= event >> 32;
	return bits;
}

static void test_stall(void)
{
	uint64_t child = dx_fork_try(dx_fork_options(DX_PAUSED)).value, n = 100;

	if (child == 0)
		touch_and_exit(n);
	events_of(child);
	/* Room for some; raised again and again until it suffices. */
	uint64_t limit = quota(child)->used[DX_LIMIT_PAGES] + 10, stalls = 0;

	must_set(child, DX_LIMIT_RESERVE, 0);
	must_set(child, DX_LIMIT_PAGES, limit);
	dx(DX_FID_RESUME, child, 0, 0);
	for (;;) {
		await_stall(child);
		if (dx_info(child)->state != DX_RUNNING)
			break;
		check_eq("a stalled VM has used all", dx_info(child)->pages_subtree, limit);
		check("its parent is told", events_of(child) & DX_EVENT_STALLED);
		limit += 20;
		stalls++;
		must_set(child, DX_LIMIT_PAGES, limit);
	}
	check("it stalled some times", stalls >= 4 && stalls <= 8);
	dx_end_is("and went on each time", child, n);
}

static void test_kill_stalled(void)
{
	uint64_t child = dx_fork_try(dx_fork_options(DX_PAUSED)).value;

	if (child == 0)
		touch_and_exit(200);
	must_set(child, DX_LIMIT_PAGES, quota(child)->used[DX_LIMIT_PAGES] + 5);
	dx(DX_FID_RESUME, child, 0, 0);
	await_stall(child);
	dx(DX_FID_PAUSE, child, 0, 0);
	dx(DX_FID_RESUME, child, 0, 0);
	await_stall(child);
	check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	check_eq("a stalled VM can be killed", dx_end(child).reason, DX_REASON_KILLED);
}

/* --- reserve, guarantee, victims --- */

/* Runs in a VM with a limit of its own: its child can use all but the reserve; itself that too. */
static void keep_reserve(uint64_t arg)
{
	uint64_t used = dx_pages(), reserve = 60, child;

	checks_begin();
	touch(2000, 1); /* the table of these pages */
	child = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (child == 0)
		touch_and_exit(1000);
	used = dx_pages();
	must_set(DX_SELF, DX_LIMIT_PAGES, used + reserve + 40);
	must_set(DX_SELF, DX_LIMIT_RESERVE, reserve);
	events_of(DX_SELF);
	dx(DX_FID_RESUME, child, 0, 0);
	await_stall(child);
	check("its child leaves the reserve", dx_pages() <= used + 45);
	check("its child took the rest", dx_pages() >= used + 30);
	check("low memory is told", events_of(DX_SELF) & DX_EVENT_LOW_MEMORY);
	touch(2001, 30);
	check_eq("the child is still there", dx_info(child)->state, DX_RUNNING);
	/* Now it needs more than there is: the child ends. */
	touch(2031, 55);
	struct dx_end e = dx_end(child);

	check_eq("a child ends for want of memory", e.reason, DX_REASON_MEMORY);
	(void)arg;
	dx_exit(checks_end());
}

/* Of two children the larger one ends; one with a guarantee never. */
static void choose_victim(uint64_t guarded)
{
	uint64_t small, large, used;

	checks_begin();
	touch(2000, 1);
	small = dx_spawn(sleep_for_ever, 0);
	large = dx_fork_try(dx_fork_options(0)).value;
	if (large == 0) {
		touch(0, 100);
		sbi(EID_DBCN, 2, '.', 0, 0, 0, 0);
		sleep_for_ever(0);
	}
	static uint8_t byte;

	for (unsigned n = 0; dx(DX_FID_CONSOLE_READ, large, (uintptr_t)&byte, 1).value == 0; n++)
		dx_rest(n);
	if (guarded)
		must_set(large, DX_LIMIT_GUARANTEE, dx_info(large)->pages_subtree + 1);
	used = dx_pages();
	must_set(DX_SELF, DX_LIMIT_PAGES, used + 20);
	must_set(DX_SELF, DX_LIMIT_RESERVE, 20);
	touch(2001, 24);
	uint64_t victim = guarded ? small : large, other = guarded ? large : small;

	check_eq("the right one ends", dx_end(victim).reason, DX_REASON_MEMORY);
	check_eq("the other lives", dx_info(other)->state, DX_RUNNING);
	dx_exit(checks_end());
}

/* What is guaranteed to a child nobody else can take. */
static void keep_guarantee(uint64_t arg)
{
	uint64_t used, sure, other;

	(void)arg;
	checks_begin();
	sure = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (sure == 0)
		touch_and_exit(50);
	other = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (other == 0)
		touch_and_exit(1000);
	uint64_t its = quota(sure)->used[DX_LIMIT_PAGES];

	used = dx_pages();
	used = dx_pages(); /* asking may have copied a page */
	must_set(DX_SELF, DX_LIMIT_PAGES, used + 200);
	must_set(DX_SELF, DX_LIMIT_RESERVE, 20);
	struct sbiret r = set(sure, DX_LIMIT_GUARANTEE, its + 181);
	uint64_t refused = dx_pages() - used;

	must_set(sure, DX_LIMIT_GUARANTEE, its + 60);
	uint64_t charged = dx_pages() - used;

	check_err("more than there is", r, DX_ERR_OWN_LIMIT);
	check_eq("refused: nothing is charged", refused, 0);
	check_eq("it is charged at once", charged, 60);
	dx(DX_FID_RESUME, other, 0, 0);
	await_stall(other);
	dx(DX_FID_RESUME, sure, 0, 0);
	dx_end_is("it never stalls", sure, 50);
	kill(other);
	dx_exit(checks_end());
}

static void ends_well(const char *name, uint64_t child)
{
	struct dx_end e = dx_end(child);

	check_eq(name, e.reason, DX_REASON_EXIT);
	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
}

static void test_memory(void)
{
	test_stall();
	test_kill_stalled();
	ends_well("reserve", dx_spawn(keep_reserve, 0));
	ends_well("victim", dx_spawn(choose_victim, 0));
	ends_well("victim, one guarded", dx_spawn(choose_victim, 1));
	ends_well("guarantee", dx_spawn(keep_guarantee, 0));
}

static void twice(void (*test)(void))
{
	test();
	uint64_t before = dx_pages();

	test();
	check_eq("every page is back", dx_pages(), before);
}

static void test_all(void)
{
	static void (*const tests[])(void) = {test_read, test_set, test_edges, test_ancestors,
		test_depth, test_depth_lowered, test_memory};

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
		twice(tests[i]);
}

void guest_main(void)
{
	test_edges();
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
