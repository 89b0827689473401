/* SPDX-License-Identifier: MIT */
/*
 * If this fails: CREATE with DX_DIRECT makes another child than INFO says, one that leaves the
 * guest for its own page tables, or one whose RAM is not zeros, not its own, or not all there; it
 * reaches memory beside its RAM, or others reach that; what is asked and what is looked for can
 * differ; where no run of memory is free the call fails; or what is refused, killed or paused
 * half-way leaves a trace.
 *
 * Where all VMs are in shadow tables, or the harts have H, the wish changes nothing.
 */
#include "born.h"
#include "family.h"

#define PLAIN_BASE 0x80000000ul
#define NOWHERE    (100ul << 30)
#define WINDOW     0x2000000000ul
#define PATTERN    0xa5
#define TARGETS    8

/* In the child's memory: what it is told. */
static volatile uint64_t targets[TARGETS], backend;
static volatile bool waits;

static volatile uint64_t word;

static struct dx_info info_of(uint64_t handle)
{
	(void)dx_info(handle); /* what it touches is there */
	return *dx_info(handle);
}

/* --- in the child --- */

static uint64_t *own_root(void)
{
	static uint64_t *root;

	root = root ? root : pt_new();
	return root;
}

/* Exits that address spaces and page faults of its own cost. */
static uint64_t exits_of_paging(void)
{
	uint64_t root[] = {satp_for(own_root(), 1), satp_for(own_root(), 2)};
	struct dx_info before = info_of(DX_SELF);

	for (unsigned i = 0; i < 100; i++) {
		csr_write(satp, root[i & 1]);
		sfence();
		if (outcome(try_load(NOWHERE, 8)) != TRAP(LOAD_PAGE))
			return ~0ul;
	}
	csr_write(satp, 0);
	struct dx_info after = info_of(DX_SELF);

	return after.exits[DX_EXIT_MEMORY] - before.exits[DX_EXIT_MEMORY] +
	       after.exits[DX_EXIT_OTHER] - before.exits[DX_EXIT_OTHER];
}

static void check_paging(const char *name)
{
	uint64_t exits = exits_of_paging();

	check_eq(name, backend == DX_BACKEND_SHADOW ? exits >= 100 : exits,
		backend == DX_BACKEND_SHADOW);
}

static void check_self(void)
{
	struct dx_info i = info_of(DX_SELF);

	check_eq("the backend", i.backend, backend);
	check_eq("RAM is where the tree says", m.ram_base, i.ram_base);
	check_eq("all of it", m.ram_size, BORN_RAM);
}

static void check_zeros(void)
{
	uint64_t from = (free_start() + 7) & -8ul, to = m.ram_base + BORN_RAM - MIB(1), bad = 0;

	for (uint64_t at = from; at < to; at += 8)
		bad += *(volatile uint64_t *)at != 0;
	check_eq("RAM is zeros", bad, 0);
}

/* For the next one that gets this memory. */
static void dirty(void)
{
	memset((void *)free_start(), PATTERN, m.ram_base + BORN_RAM - MIB(1) - free_start());
}

static void check_outside(const char *name)
{
	for (unsigned i = 0; i < TARGETS && targets[i]; i++) {
		check_eq_at(name, targets[i], outcome(try_load(targets[i], 8)), TRAP(LOAD_ACCESS));
		check_eq_at(
			name, targets[i], outcome(try_store(targets[i], 8, 0)), TRAP(STORE_ACCESS));
		check_eq_at(name, targets[i], outcome(try_exec(targets[i])), TRAP(INSN_ACCESS));
	}
}

static void check_isolation(void)
{
	check_outside("no way to");
	csr_write(satp, satp_for(own_root(), 1));
	sfence();
	check_outside("no way by a leaf to");
	csr_write(satp, 0);
	check_eq("the last word", outcome(try_load(m.ram_base + BORN_RAM - 8, 8)), NO_TRAP);
}

static void grandchild(uint64_t arg)
{
	bool copied = backend == DX_BACKEND_PMP;
	uint64_t good = info_of(DX_SELF).backend == (copied ? DX_BACKEND_SHADOW : backend);

	good |= (word == arg) << 1;
	word = 0;
	dx_exit(good);
}

static void check_fork(void)
{
	word = 77;
	dx_end_is("a fork of it", dx_spawn(grandchild, 77), 3);
	check_eq("has memory of its own", word, 77);
	check_eq("and this one is as it was", info_of(DX_SELF).backend, backend);
}

/* While a window is open it may be in shadow tables; not longer. */
static void check_window(void)
{
	uint64_t page = (uintptr_t)&word & -PAGE, at = WINDOW + ((uintptr_t)&word - page);

	word = 1;
	uint64_t child = paused_child();

	word = 2;
	value_of("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, page, WINDOW, PAGE, DX_READ | DX_WRITE));
	check_eq("a window", *(volatile uint64_t *)at, 1);
	if (backend == DX_BACKEND_PMP)
		check("meanwhile in shadow tables", exits_of_paging() >= 100);
	check_isolation();
	*(volatile uint64_t *)at = 3;
	check_eq("is no memory of its own", word, 2);
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0));
	check_eq("no window", outcome(try_load(at, 8)), TRAP(LOAD_ACCESS));
	check_paging("paging is its own again");
	kill_child(child);
}

static void after_exec(struct hart *h)
{
	(void)h;
	check_eq("EXEC: satp", csr_read(satp), 0);
	check_self();
	check_paging("EXEC: paging is its own");
	dirty();
	dx_exit(checks_end());
}

/* Its memory is its own whoever runs in between, until something is typed. */
static void stay(void)
{
	static uint8_t memory[PAGE], typed;
	uint64_t bad = 0;

	memset(memory, 1, PAGE);
	csr_write(satp, satp_for(own_root(), 1));
	sfence();
	while (sbi(EID_DBCN, 1, 1, (uintptr_t)&typed, 0, 0, 0).value == 0) {
		for (unsigned i = 0; i < PAGE; i++)
			bad += memory[i] != 1;
		dx_yield();
	}
	csr_write(satp, 0);
	check_eq("its memory stays", bad, 0);
}

static _Noreturn void child_main(void)
{
	checks_begin();
	if (waits) {
		stay();
		dx_exit(checks_end());
	}
	check_self();
	check_zeros();
	check_isolation();
	check_paging("paging is its own");
	check_fork();
	check_window();
	this_hart()->fn = after_exec;
	dx(DX_FID_EXEC, (uintptr_t)hart_entry, (uintptr_t)this_hart(), 0);
	broken("EXEC returned", 0, 0, 0);
}

/* --- the parent --- */

static struct sbiret create(uint64_t ram)
{
	struct dx_create *c = dx_create_options(1, ram);

	c->flags = DX_DIRECT;
	return dx(DX_FID_CREATE, (uintptr_t)c, 0, 0);
}

static uint64_t make(uint64_t ram)
{
	return value_of("create", create(ram));
}

static bool is_direct(uint64_t handle)
{
	return info_of(handle).backend == DX_BACKEND_PMP;
}

static void check_info(uint64_t child)
{
	struct dx_info i = info_of(child);
	bool direct = backend == DX_BACKEND_PMP;
	uint64_t end = i.ram_base + i.ram_size;

	check_eq("INFO: the backend", i.backend, backend);
	check_eq("INFO: created", i.state, DX_CREATED);
	check_eq("INFO: size", i.ram_size, BORN_RAM);
	check_eq("INFO: aligned", i.ram_base & (MIB(2) - 1), 0);
	check_eq("INFO: place", i.ram_base == PLAIN_BASE, !direct);
	if (!direct)
		return;
	check_eq("INFO: all RAM is there", i.pages_private, BORN_RAM / PAGE);
	check("INFO: none of the parent's",
		end <= m.ram_base || i.ram_base >= m.ram_base + m.ram_size);
}

/* What `child` shall not reach; `sibling`: another direct child's RAM, or 0. */
static void tell(uint64_t child, uint64_t sibling)
{
	struct dx_info i = info_of(child);
	uint64_t list[TARGETS] = {i.ram_base - 8, i.ram_base + i.ram_size, m.ram_base,
		m.ram_base + m.ram_size - 8, PLAIN_BASE, PLAIN_BASE + MIB(1), sibling,
		sibling + i.ram_size - 8};
	unsigned n = !is_direct(child) ? 2 : sibling ? TARGETS : TARGETS - 2;

	for (unsigned k = 0; k < TARGETS; k++)
		BORN(targets)[k] = k < n ? list[k] : 0;
	BORN(backend) = backend;
}

static uint64_t begin(uint64_t sibling, bool stays)
{
	uint64_t child = born_create(1, DX_DIRECT);

	check_info(child);
	tell(child, sibling);
	BORN(waits) = stays;
	return child;
}

/* This VM does not reach a direct child's RAM but by its window. */
static void check_hidden(const char *name, uint64_t at)
{
	if (backend != DX_BACKEND_PMP)
		return;
	check_eq_at(name, at, outcome(try_load(at, 8)), TRAP(LOAD_ACCESS));
	check_eq_at(name, at, outcome(try_store(at + BORN_RAM - 8, 8, 0)), TRAP(STORE_ACCESS));
}

static void test_two(void)
{
	uint64_t first = begin(0, true);
	uint64_t place = info_of(first).ram_base;

	born_start(first);
	born_close();
	uint64_t second = begin(place, false);

	check_hidden("with a window: hidden", place);
	born_start(second);
	family_end("a child beside another", second);
	check_hidden("hidden", place);
	born_close();
	check_eq("the window is closed", outcome(try_load(BORN_WINDOW, 8)), TRAP(LOAD_ACCESS));
	check_hidden("after the window: hidden", place);
	word = 'x';
	value_of("type", dx(DX_FID_CONSOLE_WRITE, first, (uintptr_t)&word, 1));
	family_end("a child that others ran beside", first);
	check_hidden("gone: hidden", place);
}

/* Its RAM lives on in the window. */
static void test_death(void)
{
	uint64_t child = begin(0, true);

	BORN(word) = 55;
	kill_child(child);
	check_eq("the window shows it still", BORN(word), 55);
	born_close();
}

/* --- where there is no run --- */

static void check_plain(const char *name, uint64_t ram)
{
	uint64_t child = make(ram);
	struct dx_info i = info_of(child);

	check(name, i.backend == (backend == DX_BACKEND_PMP ? DX_BACKEND_SHADOW : backend));
	check_eq("its RAM is where it ever is", i.ram_base, PLAIN_BASE);
	check_eq("and comes later", i.pages_private, 0);
	kill_child(child);
}

static void test_sizes(void)
{
	check_plain("no whole 2 MiB", MIB(2) + PAGE);
	check_plain("more than the machine has", MIB(1024));
	check_plain("the most there can be", 1ul << 40);
}

static void test_fragments(void)
{
	static uint64_t parts[32];
	unsigned n = 0;

	if (backend != DX_BACKEND_PMP)
		return;
	do
		parts[n] = make(MIB(64));
	while (is_direct(parts[n]) && ++n < ARRAY_SIZE(parts));
	if (n < 4 || n == ARRAY_SIZE(parts))
		broken("so many parts", n, 0, 0);
	kill_child(parts[n]);
	kill_child(parts[0]);
	kill_child(parts[2]);
	check_plain("enough, but not in one piece", MIB(128));
	parts[0] = make(MIB(64));
	parts[2] = make(MIB(64));
	check("each piece", is_direct(parts[0]) && is_direct(parts[2]));
	while (n-- > 0)
		kill_child(parts[n]);
}

/* --- limits --- */

static struct sbiret create_within(uint64_t pages)
{
	struct dx_create *c = dx_create_options(1, MIB(2));

	c->flags = DX_DIRECT;
	c->limit[DX_LIMIT_PAGES] = pages;
	return dx(DX_FID_CREATE, (uintptr_t)c, 0, 0);
}

static void test_limits(void)
{
	uint64_t child = make(MIB(2)), enough = info_of(child).pages, before;

	kill_child(child);
	before = dx_pages();
	for (uint64_t pages = enough - 100 > enough ? 0 : enough - 100; pages < enough; pages++) {
		check_eq_at("too few pages", pages, (uint64_t)create_within(pages).error,
			(uint64_t)DX_ERR_OWN_LIMIT);
		check_eq("no trace", dx_pages(), before);
		check_eq("no child", dx(DX_FID_NEXT, 0, 0, 0).value, 0);
	}
	kill_child(value_of("just enough", create_within(enough)));
}

/* --- what comes between --- */

static struct dx_create asked __attribute__((aligned(256))); /* crosses no page */

/* Nobody, until somebody changes what is asked. */
static void ask_for_ever(uint64_t arg)
{
	struct sbiret r;

	(void)arg;
	do
		r = dx(DX_FID_CREATE, (uintptr_t)&asked, 0, 0);
	while (r.error);
	dx_exit(is_direct(r.value));
}

/* The search passes what is taken in several steps, between which that is freed, and what is asked
 * becomes another thing. */
static void change_in_search(unsigned turns)
{
	uint64_t page = (uintptr_t)&asked & -PAGE, parts[3];
	struct dx_create *theirs = (struct dx_create *)(WINDOW + ((uintptr_t)&asked - page));

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		parts[i] = make(MIB(64));
	asked = *dx_create_options(0, MIB(2));
	asked.flags = DX_DIRECT;
	uint64_t asker = dx_spawn(ask_for_ever, 0);

	while (turns-- > 0)
		dx_yield();
	value_of("pause", dx(DX_FID_PAUSE, asker, 0, 0));
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		kill_child(parts[i]);
	value_of("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, asker, page, WINDOW, PAGE, DX_READ | DX_WRITE));
	theirs->vcpus = 1;
	theirs->ram_size = MIB(2) + PAGE;
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0));
	value_of("resume", dx(DX_FID_RESUME, asker, 0, 0));
	dx_end_is("what was not looked for is not direct", asker, 0);
}

static void test_change(void)
{
	for (unsigned turns = 1; turns <= 8; turns++)
		change_in_search(turns);
}

static struct sbiret made;

static void create_big(struct hart *h)
{
	(void)h;
	made = create(MIB(64));
}

/* Whether the child was found half made. */
static bool kill_half_made(void)
{
	uint64_t child;

	hart_start(1, create_big);
	while (!(child = dx(DX_FID_NEXT, 0, 0, 0).value))
		dx_yield();
	struct sbiret w = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, info_of(child).ram_base, WINDOW,
		PAGE, DX_READ);
	struct sbiret s = dx(DX_FID_START, child, 0, 0);

	value_of("kill", dx(DX_FID_KILL, child, 0, 0));
	hart_wait(1);
	if (!s.error) {
		dx_end(child);
		return false;
	}
	check_err("half made: START", s, SBI_INVALID_STATE);
	check_err("half made: WINDOW_MAP", w, SBI_INVALID_STATE);
	check_err("half made: CREATE", made, SBI_INVALID_STATE);
	check_eq("half made: nobody hears of it", dx(DX_FID_NEXT, 0, 0, 0).value, 0);
	return true;
}

static void test_half_made(void)
{
	if (m.nharts < 2 || backend != DX_BACKEND_PMP)
		return;
	unsigned rounds = 0;

	/* It may be complete before this hart sees it. */
	while (!kill_half_made())
		if (++rounds == 100)
			broken("never half made", rounds, 0, 0);
}

static void make_for_ever(uint64_t arg)
{
	for (;;)
		kill_child(make(arg));
}

/* Its maker is paused and ends, wherever it is. */
static void test_maker(void)
{
	for (unsigned i = 0; i < 5; i++) {
		uint64_t maker = dx_spawn(make_for_ever, MIB(32));

		while (!info_of(maker).children)
			dx_yield();
		value_of("pause", dx(DX_FID_PAUSE, maker, 0, 0));
		value_of("resume", dx(DX_FID_RESUME, maker, 0, 0));
		kill_child(maker);
	}
}

static void test_all(void)
{
	test_two();
	test_death();
	test_sizes();
	test_fragments();
	test_limits();
	test_change();
	test_half_made();
	test_maker();
}

void guest_main(void)
{
	if (born())
		child_main();
	backend = info_of(DX_SELF).backend;
	check_eq("this VM", backend == DX_BACKEND_PMP, bootarg("direct"));
	twice(test_all);
}
