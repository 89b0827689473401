/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a guest gets at memory that is not its own, at the edges of its RAM or far from
 * it: directly, or through tables of its own whose leaves of any size point outward; by loads,
 * stores, fetches, atomics, FP or vector instructions, misaligned or not, from either mode,
 * whatever it writes into sstatus; or a root outside does more than stop the hart that set it.
 *
 * Each must have the access fault that hardware raises where nothing is. hostile.c has more about
 * instructions, registers and tables outside.
 */
#include "access.h"
#include "family.h"

#define VA_4K   (100ul << 30)
#define VA_2M   (101ul << 30)
#define VA_1G   (102ul << 30)
#define EVERY   (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
#define HOST    0x80000000ul /* RAM of QEMU's virt: 512 MiB in these tests, and some more */
#define HOST_TO (HOST + MIB(520))

static uint64_t *root, ram_end, genid;

static uint64_t cause_of(enum access_kind kind)
{
	static const uint64_t causes[ACCESS_KINDS] = {
		LOAD_ACCESS, STORE_ACCESS, INSN_ACCESS, STORE_ACCESS, LOAD_ACCESS};

	return causes[kind];
}

/* How many of the ten kinds of access to `va` are not answered by an access fault there. */
static uint64_t escapes(uint64_t va)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 2 * ACCESS_KINDS; i++) {
		struct access a = {i / 2, i & 1, false, false, va};
		struct seen s = access_try(&a);

		n += s.cause != cause_of(a.kind) || s.tval != 0 || s.value != 0;
	}
	return n;
}

/* An ordinary word: how many of the ten do not work. */
static uint64_t failures(uint64_t va, volatile uint64_t *word)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 2 * ACCESS_KINDS; i++) {
		struct access a = {i / 2, i & 1, false, false, va};

		*word = ACCESS_DATA;
		n += access_try(&a).cause != ACCESS_DONE;
	}
	return n;
}

/* --- through leaves of all sizes, for S-mode and for users --- */

static const struct size {
	unsigned level;
	uint64_t va;
} sizes[] = {{0, VA_4K}, {1, VA_2M}, {2, VA_1G}};

static uint64_t map_at(const struct size *s, uint64_t pa, uint64_t flags)
{
	uint64_t size = PAGE << 9 * s->level, va = s->va | (pa & (size - 1));

	*pt_entry(root, va, s->level) = pte_for(pa & -size, EVERY | flags);
	sfence();
	return va;
}

/* In both modes, each with a page of its own: what is not as it must be. With `own` memory that is
 * success; else an access fault at the address, and nothing read. */
static uint64_t wrong_by_leaf(const struct size *s, uint64_t pa, bool own)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 2 * ACCESS_KINDS; i++) {
		bool user = i & 1;
		struct access a = {i / 2, user, false, false, map_at(s, pa, user ? PTE_U : 0)};

		if (own)
			*(volatile uint64_t *)pa = ACCESS_DATA;
		struct seen seen = access_try(&a);

		n += own ? seen.cause != ACCESS_DONE
			 : seen.cause != cause_of(a.kind) || seen.tval != 0 || seen.value != 0;
	}
	return n;
}

/* Not the guest's in any VM of these tests. */
static const uint64_t places[] = {0, 0x1000, 0x100000, 0x2000000, 0x2004000, 0x200bff8, 0x8000000,
	0x10100000, 0x20000000, HOST, HOST + 0x1000, HOST + 0x20000, HOST + MIB(1), HOST + MIB(4),
	HOST_TO, 1ul << 33, 1ul << 38, 1ul << 40, (1ul << 41) - 8, 1ul << 41, 1ul << 55,
	(1ul << 56) - 8};

static void test_edges(void)
{
	const uint64_t inside[] = {m.ram_base, ram_end - 8}, outside[] = {m.ram_base - 8, ram_end};

	check_eq("the first word", failures(inside[0] + MIB(8), (void *)(inside[0] + MIB(8))), 0);
	check_eq("the last word", failures(inside[1], (void *)inside[1]), 0);
	check_eq("the word below", escapes(outside[0]), 0);
	check_eq("the word behind", escapes(outside[1]), 0);
	check_eq("the last byte below", outcome(try_load(m.ram_base - 1, 1)), TRAP(LOAD_ACCESS));
	check_eq("the first byte behind", outcome(try_store(ram_end, 1, 0)), TRAP(STORE_ACCESS));
}

static void test_places(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		dx_yield();
		check_eq_at("no way to", places[i], escapes(places[i]), 0);
	}
}

static void test_leaves(void)
{
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		const struct size *z = &sizes[s];

		check_eq_at("the last word: leaf", s, wrong_by_leaf(z, ram_end - 8, true), 0);
		check_eq_at("the word below: leaf", s, wrong_by_leaf(z, m.ram_base - 8, false), 0);
		check_eq_at("the word behind: leaf", s, wrong_by_leaf(z, ram_end, false), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
			check_eq_at("no way by a leaf to", places[i],
				wrong_by_leaf(z, places[i], false), 0);
	}
}

/* --- every page of the machine's RAM --- */

/* `pa` if it is. */
static uint64_t reachable(uint64_t va, uint64_t pa)
{
	struct trap l = try_load(va, 8), s;

	if (pa == genid) /* its own, to read */
		return outcome(try_store(va, 8, 0)) == TRAP(STORE_ACCESS) ? 0 : pa;
	if (!l.taken || l.cause != LOAD_ACCESS || l.tval != va)
		return pa;
	s = try_store(va, 8, 0);
	return s.taken && s.cause == STORE_ACCESS && s.tval == va ? 0 : pa;
}

/* Each page of the hypervisor's and around the guest's RAM, and some of all others. */
static uint64_t next_page(uint64_t pa)
{
	const uint64_t around = m.ram_base - MIB(1);
	bool each = pa < HOST + MIB(4) || (pa >= around && pa < ram_end + MIB(1));
	uint64_t next = pa + (each ? PAGE : 13 * PAGE);

	if (pa < around && next > around)
		next = around;
	return next >= m.ram_base && next < ram_end ? ram_end : next;
}

/* `offset`: of the address from the physical one. */
static void scan(const char *name, uint64_t offset)
{
	uint64_t first = 0;

	for (uint64_t pa = HOST, n = 0; pa < HOST_TO && !first; pa = next_page(pa)) {
		if (n++ % 64 == 0)
			dx_yield(); /* to the other VM */
		first = reachable(pa + offset + (pa / PAGE * 8) % PAGE, pa);
	}
	check_eq(name, first, 0);
}

/* --- accesses that begin inside and end outside --- */

static bool faults_across(struct trap t, uint64_t access, uint64_t misaligned, uint64_t va)
{
	return t.taken && ((t.cause == access && t.tval >= va && t.tval < va + 8) ||
				  (t.cause == misaligned && t.tval == va));
}

/* `edge` is the address of an edge of RAM. */
static void test_across(const char *name, uint64_t edge)
{
	uint64_t wrong = 0;

	for (uint64_t k = 1; k < 8; k++)
		for (unsigned size = 8; size > k; size /= 2) {
			wrong += !faults_across(
				try_load(edge - k, size), LOAD_ACCESS, LOAD_MISALIGNED, edge - k);
			wrong += !faults_across(try_store(edge - k, size, ~0ul), STORE_ACCESS,
				STORE_MISALIGNED, edge - k);
		}
	check_eq(name, wrong, 0);
}

static void test_straddling(void)
{
	test_across("across the start", m.ram_base);
	test_across("across the end", ram_end);
	csr_write(satp, satp_for(root, 1));
	pt_map(root, VA_4K, ram_end - PAGE, EVERY);
	pt_map(root, VA_4K + PAGE, ram_end, EVERY);
	pt_map(root, VA_4K + 2 * PAGE, HOST, EVERY);
	pt_map(root, VA_4K + 3 * PAGE, m.ram_base + MIB(8), EVERY);
	sfence();
	test_across("across the end, by pages", VA_4K + PAGE);
	test_across("from outside, by pages", VA_4K + 3 * PAGE);
	csr_write(satp, 0);
	sfence();
}

/* --- FP and vector --- */

#define VSETIVLI_16_E8 0xcc087057u
#define VLE8           0x02050007u
#define VSE8           0x02050027u

static bool insn_faults(uint32_t insn, uint64_t at, uint64_t cause, uint64_t tval)
{
	struct trap t = try_insn(insn, at, 0, NULL);

	return t.taken && t.cause == cause && t.tval == tval;
}

static void test_fp(void)
{
	static const uint32_t loads[] = {0x00052007, 0x00053007},
			      stores[] = {0x00052027, 0x00053027};
	const uint64_t at[] = {HOST, m.ram_base - 8, ram_end, 0x2000000};

	csr_set(sstatus, SSTATUS_FS);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		for (unsigned k = 0; k < 2; k++) {
			check("an FP load", insn_faults(loads[k], at[i], LOAD_ACCESS, at[i]));
			check("an FP store", insn_faults(stores[k], at[i], STORE_ACCESS, at[i]));
		}
}

static void test_vector(void)
{
	const uint64_t at[] = {HOST, m.ram_base - 16, ram_end};

	if (!isa_listed("v")) {
		skip("vector accesses", "no V");
		return;
	}
	csr_set(sstatus, SSTATUS_VS);
	check_eq("vsetivli", outcome(try_insn(VSETIVLI_16_E8, 0, 0, NULL)), NO_TRAP);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		check("a vector load", insn_faults(VLE8, at[i], LOAD_ACCESS, at[i]));
		check("a vector store", insn_faults(VSE8, at[i], STORE_ACCESS, at[i]));
	}
	check("a vector across the end", insn_faults(VLE8, ram_end - 8, LOAD_ACCESS, ram_end));
	csr_write(vstart, 0);
	check("a vector across the end", insn_faults(VSE8, ram_end - 8, STORE_ACCESS, ram_end));
	csr_write(vstart, 0);
}

/* --- sstatus --- */

#define SSTATUS_ALL                                                                                \
	(SSTATUS_SIE | SSTATUS_SPIE | BIT(6) | SSTATUS_SPP | SSTATUS_VS | SSTATUS_FS |             \
		(3ul << 15) | SSTATUS_SUM | SSTATUS_MXR | BIT(23) | BIT(24) | (3ul << 32) |        \
		BIT(63))

/* But for interrupts, and UXL stays 64-bit: it can be another on some machines. */
#define EVERY_BIT (~0ul & ~SSTATUS_SIE & ~BIT(32))

/* No bit that is M-mode's (MPRV, MPP, TVM, TW, TSR) shows or works, written alone or with all. */
static void test_sstatus(void)
{
	uint64_t was = csr_read(sstatus), shown = 0;

	for (unsigned i = 0; i < 64; i++) {
		csr_set(sstatus, BIT(i));
		shown |= csr_read(sstatus);
		csr_write(sstatus, was);
	}
	csr_write(sstatus, EVERY_BIT);
	shown |= csr_read(sstatus);
	check_eq("bits of sstatus that are not S-mode's", shown & ~SSTATUS_ALL, 0);
	check_eq("with all bits set: the word behind RAM", escapes(ram_end), 0);
	csr_write(sstatus, EVERY_BIT);
	check_eq("with all bits set: the hypervisor", escapes(HOST), 0);
	csr_write(sstatus, EVERY_BIT);
	csr_write(satp, satp_for(root, 1));
	sfence();
	check_eq("satp can be written", csr_read(satp), satp_for(root, 1));
	csr_write(satp, 0);
	csr_set(sie, BIT(IRQ_SOFT));
	csr_set(sip, BIT(IRQ_SOFT));
	check_eq("wfi", outcome(try_insn(0x10500073, 0, 0, NULL)), NO_TRAP);
	csr_clear(sip, BIT(IRQ_SOFT));
	csr_clear(sie, BIT(IRQ_SOFT));
	csr_write(sstatus, was);
}

/* --- roots outside --- */

static void set_root(uint64_t at)
{
	csr_write(satp, 8ul << 60 | at >> 12);
	sfence();
	dx_exit(0xbad); /* it went on */
}

/* It faults for ever, or is ended: but no instruction of its own runs any more. */
static void test_root(uint64_t at)
{
	uint64_t child = dx_spawn(set_root, at);
	const struct dx_info *i = dx_info(child);

	for (unsigned n = 0; i->state == DX_RUNNING && i->cpu_time < 2000000; n++) {
		dx_rest(n);
		i = dx_info(child);
	}
	dx(DX_FID_KILL, child, 0, 0);
	check("a root outside stops who sets it", dx_end(child).reason != DX_REASON_EXIT);
}

static void test_roots(void)
{
	const uint64_t at[] = {0, 0x2000000, m.plic, HOST, m.ram_base - PAGE, ram_end, 1ul << 33,
		1ul << 41, (1ul << 56) - PAGE};

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		test_root(at[i]);
}

/* What it may do its parent may not. */
static void take_turns(uint64_t arg)
{
	for (;; arg++) {
		*(volatile uint64_t *)(m.ram_base + MIB(8)) = arg;
		dx_yield();
	}
}

static void test_all(void)
{
	uint64_t child = dx_spawn(take_turns, 0);

	ram_end = m.ram_base + m.ram_size;
	genid = vmgenid_place();
	root = pt_new();
	pt_map(root, ACCESS_CODE, access_code(), PTE_V | PTE_U | PTE_X | PTE_A);
	test_edges();
	test_places();
	scan("no page of the machine's RAM", 0);
	test_straddling();
	test_fp();
	test_vector();
	test_sstatus();
	csr_write(satp, satp_for(root, 1));
	test_leaves();
	map_at(&sizes[2], HOST, 0);
	scan("no page of the machine's RAM, by a leaf", VA_1G - HOST);
	csr_write(satp, 0);
	sfence();
	kill_child(child);
}

static void test_in_child(void)
{
	test_all();
	twice(test_roots);
}

void guest_main(void)
{
	test_all();
	dx_run(test_in_child);
}
