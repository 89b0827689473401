/* SPDX-License-Identifier: MIT */
/*
 * If this fails: what one VM writes after a fork another sees, or a write is lost: by plain stores,
 * by atomics, across pages, by the hardware that updates page tables; in whatever order parent,
 * child and grandchild write, and with several harts at it. Or fresh RAM shows what another VM left
 * in it.
 */
#include "guest.h"

#define PAGES 48
#define WORDS (PAGE / 8)

static uint64_t memory[PAGES][WORDS] __attribute__((aligned(PAGE)));

/* Two words of each page, and all of one, so that a page that is copied in part shows. */
static void fill(uint64_t with)
{
	for (uint64_t p = 0; p < PAGES; p++) {
		memory[p][p] = with + p;
		memory[p][WORDS - 1] = ~with - p;
	}
	for (uint64_t i = 0; i < WORDS; i++)
		memory[PAGES / 2][i] = with * i;
}

static bool is_filled(uint64_t with)
{
	bool good = true;

	for (uint64_t p = 0; p < PAGES; p++)
		if (p != PAGES / 2)
			good &= memory[p][p] == with + p && memory[p][WORDS - 1] == ~with - p;
	for (uint64_t i = 0; i < WORDS; i++)
		good &= memory[PAGES / 2][i] == with * i;
	return good;
}

/* --- three generations, one order after the other --- */

/* A descendant does what bytes on its console say, and answers each with one byte. In upper case
 * they are for the child, as the letter that follows. */
enum { WRITE = 'w', CHECK = 'c', FORK = 'f', END = 'e', BELOW = '>' };

static uint8_t console_byte(void)
{
	static uint8_t byte;

	while (sbi(EID_DBCN, 1, 1, (uintptr_t)&byte, 0, 0, 0).value == 0)
		dx_yield();
	return byte;
}

static uint8_t tell(uint64_t child, const char *text)
{
	static uint8_t byte;

	for (; *text; text++) {
		byte = (uint8_t)*text;
		while (dx(DX_FID_CONSOLE_WRITE, child, (uintptr_t)&byte, 1).value == 0)
			dx_yield();
	}
	while (dx(DX_FID_CONSOLE_READ, child, (uintptr_t)&byte, 1).value == 0)
		dx_yield();
	return byte;
}

static void answer(uint8_t byte)
{
	sbi(EID_DBCN, 2, byte, 0, 0, 0, 0);
}

/* `mine` is what it last wrote, or what its parent had when it was forked. */
static void obey(uint64_t mine)
{
	uint64_t child = 0, own = mine;

	for (;;) {
		char text[2] = {0, 0};
		uint8_t what = console_byte();

		if (what == WRITE)
			fill(own = mine = mine * 7 + 1);
		else if (what == CHECK)
			what = is_filled(own) ? 'y' : 'n';
		else if (what == FORK)
			child = dx_spawn(obey, own);
		else if (what == BELOW) {
			text[0] = (char)console_byte();
			what = tell(child, text);
		} else {
			dx_exit(child ? dx_end(child).code + 1 : 1);
		}
		answer(what);
	}
}

static void write_in_order(const uint8_t order[3])
{
	uint64_t mine = order[0] * 100 + order[1] * 10 + order[2] + 1000, child;

	fill(mine);
	child = dx_spawn(obey, mine);
	tell(child, "f");
	for (unsigned i = 0; i < 3; i++) {
		if (order[i] == 0)
			fill(mine = mine * 13 + 5);
		else
			tell(child, order[i] == 1 ? "w" : ">w");
		check("the parent's memory is its own", is_filled(mine));
		check_eq("the child's memory is its own", tell(child, "c"), 'y');
		check_eq("the grandchild's memory is its own", tell(child, ">c"), 'y');
	}
	/* The grandchild ends first; what it shared goes on. */
	static uint8_t end = END;

	dx(DX_FID_CONSOLE_WRITE, child, (uintptr_t)&end, 1);
	check_eq("the child waits for the grandchild", dx_info(child)->state, DX_RUNNING);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
	check("the parent's memory is its own at the end", is_filled(mine));
	fill(mine + 1);
	check("and can be written", is_filled(mine + 1));
}

static void test_orders(void)
{
	static const uint8_t orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	/* What is typed goes to SBI once that has been read, and to the UART before. */
	uint64_t nothing;

	sbi(EID_DBCN, 1, 1, (uintptr_t)&nothing, 0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++)
		write_in_order(orders[i]);
}

/* --- kinds of writes --- */

static uint64_t spread[4][WORDS] __attribute__((aligned(PAGE)));

static uint64_t add(uint64_t *p, uint64_t n)
{
	uint64_t old;

	__asm__ volatile("amoadd.d %0, %2, (%1)" : "=r"(old) : "r"(p), "r"(n) : "memory");
	return old;
}

static bool conditional(uint64_t *p, uint64_t v)
{
	uint64_t old, failed;

	for (unsigned i = 0; i < 1000; i++) {
		__asm__ volatile("lr.d %0, (%2)\n	sc.d %1, %3, (%2)"
				 : "=&r"(old), "=&r"(failed)
				 : "r"(p), "r"(v)
				 : "memory");
		if (!failed)
			return true;
	}
	return false;
}

/* Each page is shared when it is written. */
static void write_kinds(uint64_t arg)
{
	uint64_t bad = 0;

	bad |= add(&spread[0][3], 5) != 100 || spread[0][3] != 105;
	bad |= (uint64_t)(!conditional(&spread[1][3], 7) || spread[1][3] != 7) << 1;
	/* Across two pages, both shared. */
	__asm__ volatile("sd %0, 0(%1)" ::"r"(arg), "r"((uintptr_t)spread[3] - 4) : "memory");
	bad |= (uint64_t)(spread[2][WORDS - 1] >> 32 != (arg & UINT32_MAX)) << 2;
	bad |= (uint64_t)((spread[3][0] & UINT32_MAX) != arg >> 32) << 3;
	dx_exit(bad);
}

static void test_kinds(void)
{
	memset(spread, 0, sizeof(spread));
	spread[0][3] = 100;
	spread[1][3] = 1;
	if (try_store((uintptr_t)spread[3] - 4, 8, 0).taken) {
		skip("stores across pages", "misaligned stores trap");
		return;
	}
	dx_end_is("AMO, SC and a store across pages", dx_spawn(write_kinds, 0x1122334455667788), 0);
	check_eq("the parent's pages stay", spread[0][3], 100);
	check_eq("the parent's pages stay", spread[1][3], 1);
	check_eq("the parent's pages stay", spread[2][WORDS - 1] | spread[3][0], 0);
}

/* Code that the child has replaced: the parent executes the old. */
static uint32_t code[1024] __attribute__((aligned(PAGE)));
typedef uint64_t function(void);

#define LI_A0(n) (0x00000513u | (uint32_t)(n) << 20)
#define RET      0x00008067u

static uint64_t call_code(void)
{
	fence_i();
	return ((function *)code)();
}

static void replace_code(uint64_t arg)
{
	uint64_t before = call_code();

	code[0] = LI_A0(arg);
	dx_exit(before << 8 | call_code());
}

static void test_code(void)
{
	code[0] = LI_A0(11);
	code[1] = RET;
	check_eq("code", call_code(), 11);
	dx_end_is("the child's code is its own", dx_spawn(replace_code, 22), 11 << 8 | 22);
	check_eq("the parent's code stays", call_code(), 11);
}

/* --- writes by hardware: A and D of page tables --- */

#define FWFT_ADUE 4
#define GVA       0x2000000000ul /* beyond the identity map */

static uint64_t *root, *leaf;

static uint64_t flags_of(const uint64_t *pte)
{
	return *(const volatile uint64_t *)pte & (PTE_A | PTE_D);
}

/* What an access does to a PTE without A and D: a page fault, or what the hardware sets. */
static bool access_sets(bool hardware, bool store, uint64_t value)
{
	uint64_t got = 0;
	struct trap t = store ? try_store(GVA, 8, value) : try_load_value(GVA, 8, &got);
	uint64_t cause = store ? STORE_PAGE : LOAD_PAGE;

	if (!hardware)
		return outcome(t) == TRAP(cause) && flags_of(leaf) == 0;
	return !t.taken && flags_of(leaf) == (PTE_A | (store ? PTE_D : 0)) &&
	       (store || got == value);
}

static void access_in_child(uint64_t arg)
{
	bool good = flags_of(leaf) == 0;

	good &= access_sets(arg & 2, arg & 1, arg & 1 ? 0x77 : 0x55);
	good &= memory[1][0] == (arg == 3 ? 0x77 : 0x55);
	/* As a kernel without Svadu does it. */
	*leaf |= PTE_A | PTE_D;
	sfence();
	good &= !try_store(GVA, 8, 0x99).taken && memory[1][0] == 0x99;
	dx_exit(good);
}

static void test_one_implicit(bool hardware, bool store)
{
	uint64_t value = hardware && store ? 0x66 : 0x55;

	memory[1][0] = 0x55;
	*leaf = pte_for((uintptr_t)memory[1], PTE_V | PTE_R | PTE_W);
	sfence();
	dx_end_is("A and D in the child",
		dx_spawn(access_in_child, (uint64_t)hardware << 1 | store), 1);
	check_eq("the parent's entry stays", flags_of(leaf), 0);
	check_eq("the parent's page stays", memory[1][0], 0x55);
	/* The parent first, while the child exists. */
	struct sbiret r = dx_fork_try(dx_fork_options(DX_PAUSED));

	if (r.value == 0)
		access_in_child((uint64_t)hardware << 1 | store);
	check("A and D in the parent", access_sets(hardware, store, store ? 0x66 : 0x55));
	check_err("resume", dx(DX_FID_RESUME, r.value, 0, 0), SBI_SUCCESS);
	dx_end_is("A and D in the child afterwards", r.value, 1);
	check_eq("the parent's page", memory[1][0], value);
}

/* A table that is in RAM nobody has touched reads as zeros: a page fault, no more. */
static void test_table_in_hole(void)
{
	uint64_t hole = (m.ram_base + m.ram_size / 2) & ~(MIB(2) - 1);

	*pt_entry(root, GVA + MIB(1024), 2) = pte_for(hole, PTE_V);
	sfence();
	check_eq("a table in fresh RAM", outcome(try_load(GVA + MIB(1024), 8)), TRAP(LOAD_PAGE));
	check_eq("a table in fresh RAM", outcome(try_store(GVA + MIB(1024) + PAGE, 8, 1)),
		TRAP(STORE_PAGE));
	check_eq("a table in fresh RAM", outcome(try_exec(GVA + MIB(1024) + MIB(2))),
		TRAP(INSN_PAGE));
	*pt_entry(root, GVA + MIB(1024), 2) = pte_for(m.plic & ~(PAGE - 1), PTE_V);
	sfence();
	check_eq("a table in a device", outcome(try_load(GVA + MIB(1024), 8)), TRAP(LOAD_ACCESS));
	*pt_entry(root, GVA + MIB(1024), 2) = 0;
	sfence();
}

static void test_implicit(void)
{
	root = pt_new();
	pt_map(root, GVA, (uintptr_t)memory[1], PTE_V);
	leaf = pt_entry(root, GVA, 0);
	csr_write(satp, satp_for(root, 1));
	sfence();
	for (unsigned store = 0; store < 2; store++)
		test_one_implicit(false, store);
	if (sbi(EID_FWFT, 0, FWFT_ADUE, 1, 0, 0, 0).error == 0) {
		for (unsigned store = 0; store < 2; store++)
			test_one_implicit(true, store);
		sbi(EID_FWFT, 0, FWFT_ADUE, 0, 0, 0, 0);
	} else {
		skip("hardware updating of A and D", "no Svadu");
	}
	test_table_in_hole();
	csr_write(satp, 0);
	sfence();
}

/* --- several harts --- */

static volatile uint64_t salt, stop, bad[MAX_HARTS], rounds[MAX_HARTS];
static volatile uint64_t wide[PAGES][WORDS] __attribute__((aligned(PAGE)));
static uint64_t *wide_root; /* has them at GVA */

/* Every other hart has them at virtual addresses. */
static volatile uint64_t *words_of(const struct hart *h)
{
	if (!(h->id & 1))
		return wide[0];
	csr_write(satp, satp_for(wide_root, h->id));
	sfence();
	return (volatile uint64_t *)GVA;
}

/* Each hart has a word of its own in each page. What it wrote it knows in a register. */
static void write_all(struct hart *h)
{
	volatile uint64_t *words = words_of(h) + h->id * 8;
	uint64_t last = ~0ul, n = 0;

	while (!stop) {
		uint64_t next = ++n << 8 ^ salt;

		for (unsigned p = 0; p < PAGES; p++) {
			if (last != ~0ul && words[p * WORDS] != last)
				bad[h->id]++;
			words[p * WORDS] = next;
		}
		last = next;
		rounds[h->id] = n;
	}
	csr_write(satp, 0);
	sfence();
}

static void wait_rounds(uint64_t n)
{
	for (unsigned i = 1; i < m.nharts; i++)
		for (uint64_t from = rounds[i]; rounds[i] < from + n;)
			dx_yield();
}

static uint64_t stop_all(void)
{
	uint64_t sum = 0;

	stop = 1;
	for (unsigned i = 1; i < m.nharts; i++) {
		hart_wait(i);
		sum += bad[i];
	}
	return sum;
}

/* All harts go on in the child; there they write other values. */
static void go_on(uint64_t arg)
{
	uint64_t before = 0;

	for (unsigned i = 1; i < m.nharts; i++)
		before += bad[i];
	salt = arg;
	wait_rounds(2);
	dx_exit(stop_all() - before);
}

#define FORKS 6

static void test_harts(void)
{
	uint64_t children[FORKS];

	if (m.nharts == 1) {
		skip("writes by several harts", "one hart");
		return;
	}
	wide_root = pt_new();
	for (uint64_t p = 0; p < PAGES; p++)
		pt_map(wide_root, GVA + p * PAGE, (uintptr_t)wide[p],
			PTE_V | PTE_R | PTE_W | PTE_A | PTE_D);
	stop = salt = 0;
	memset((void *)bad, 0, sizeof(bad));
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, write_all);
	for (uint64_t i = 0; i < FORKS; i++) {
		wait_rounds(1);
		children[i] = dx_spawn(go_on, (i + 1) << 56);
	}
	for (unsigned i = 0; i < FORKS; i++)
		dx_end_is("writes by the harts of a child", children[i], 0);
	check_eq("writes by the harts of the parent", stop_all(), 0);
}

/* --- fresh RAM --- */

#define DIRTY MIB(2)

static uint64_t fresh_start(void)
{
	return (m.ram_base + m.ram_size / 4 + MIB(2)) & ~(MIB(2) - 1);
}

static void soil(uint64_t arg)
{
	uint64_t *p = (uint64_t *)fresh_start(), dirty = 0;

	for (uint64_t i = 0; i < DIRTY / 8; i++)
		dirty |= p[i];
	for (uint64_t i = 0; i < DIRTY / 8; i++)
		p[i] = arg;
	dx_exit(dirty);
}

static void test_fresh(void)
{
	for (unsigned i = 0; i < 4; i++)
		dx_end_is("fresh RAM is zeros", dx_spawn(soil, 0x5ec4e75ec4e7), 0);
}

static void test_all(void)
{
	test_orders();
	test_kinds();
	test_code();
	test_implicit();
	test_harts();
	test_fresh();
}

void guest_main(void)
{
	test_fresh();
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
