/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a guest reaches memory, a device or a register that is not its own, or stops the
 * machine by trying. Every access to what it does not own must be answered as hardware does: an
 * access fault, or an illegal instruction, in the guest.
 */
#include "guest.h"

#define MAX_OWN 64
#define RAM_GIB 16ul /* of the address space that may be RAM on the machine */
#define VA      (200ul << 30)

/* What the device tree gives the guest, besides RAM. */
static struct {
	uint64_t base, end;
} own[MAX_OWN];
static unsigned nown;

static void add_own(uint64_t base, uint64_t size)
{
	if (nown == MAX_OWN)
		broken("too many devices", nown, 0, 0);
	own[nown].base = base & ~(PAGE - 1);
	own[nown++].end = (base + size + PAGE - 1) & ~(PAGE - 1);
}

static void visit_own(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx;
	(void)depth;
	if (!strcmp(parent, "soc") && !strcmp(prop, "reg"))
		for (; len >= 16; len -= 16, data += 16)
			add_own(fdt_number(data, 2), fdt_number(data + 8, 2));
	if (node[0] == 'p' && node[1] == 'c' && node[2] == 'i' && !strcmp(prop, "ranges"))
		for (; len >= 28; len -= 28, data += 28)
			add_own(fdt_number(data + 12, 2), fdt_number(data + 20, 2));
}

/* 0, or the end of what is the guest's own at `a`. */
static uint64_t own_end(uint64_t a)
{
	if (a >= m.ram_base && a < m.ram_base + m.ram_size)
		return m.ram_base + m.ram_size;
	for (unsigned i = 0; i < nown; i++)
		if (a >= own[i].base && a < own[i].end)
			return own[i].end;
	return 0;
}

static bool faults(struct trap t, uint64_t cause, uint64_t va)
{
	return t.taken && t.cause == cause && t.tval == va;
}

/* All kinds of access to one address fault as they should. */
static bool all_fault(uint64_t a)
{
	bool good = faults(try_exec(a & ~1ul), INSN_ACCESS, a & ~1ul);

	for (unsigned size = 1; size <= 8; size *= 2) {
		good &= faults(
			try_load(a & -(uint64_t)size, size), LOAD_ACCESS, a & -(uint64_t)size);
		good &= faults(try_store(a & -(uint64_t)size, size, ~0ul), STORE_ACCESS,
			a & -(uint64_t)size);
	}
	good &= faults(try_amo(a & ~3ul), STORE_ACCESS, a & ~3ul);
	good &= faults(try_lr(a & ~3ul), LOAD_ACCESS, a & ~3ul);
	struct trap sc = try_sc(a & ~3ul);

	/* Without a reservation SC may fail without looking at the memory. */
	return good && (!sc.taken || sc.cause == STORE_ACCESS);
}

static void check_all_fault(const char *name, uint64_t a)
{
	if (own_end(a)) {
		skip(name, "the guest's own");
		return;
	}
	check_eq_at(name, a, all_fault(a), true);
}

static void test_places(void)
{
	const uint64_t end = m.ram_base + m.ram_size;
	const uint64_t places[] = {0, 0x1000, 0x1ff8, 0x100000, 0x101000 + PAGE, 0x2000000,
		0x2004000, 0x200bff8, 0x2010000, 0x3010000, 0x4000000, m.plic - 2 * PAGE,
		m.plic + 0x600000, m.uart + PAGE, 0x10100000, 0x18000000, 0x20000000, 0x24000000,
		0x28000000, 0x80000000, 0x80001000, 0x80020000, 0x80200000, 0x80400000,
		m.ram_base - 8, m.ram_base - PAGE, end, end + PAGE, end + MIB(2), 0x100000000,
		0x400000000, 1ul << 38, 1ul << 39, 1ul << 40, (1ul << 41) - 8, 1ul << 41,
		1ul << 41 | m.ram_base, 1ul << 42, 1ul << 50 | m.ram_base, (1ul << 56) - 8,
		1ul << 56, 1ul << 56 | m.ram_base, 1ul << 63, 1ul << 63 | m.ram_base, -8ul};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		check_all_fault("no access to", places[i]);
}

/* One load and one store in each page below the guest's RAM and behind it. */
static void scan(const char *name, uint64_t from, uint64_t to, uint64_t step)
{
	uint64_t bad = 0, first_bad = 0;

	for (uint64_t a = from; a < to; a += step) {
		uint64_t skip_to = own_end(a);

		if (skip_to) {
			a = skip_to - step;
			continue;
		}
		if (faults(try_load(a, 8), LOAD_ACCESS, a) &&
			faults(try_store(a, 4, 0), STORE_ACCESS, a))
			continue;
		if (!bad++)
			first_bad = a;
	}
	check_eq(name, bad, 0);
	if (bad)
		say("# first at 0x%lx", first_bad);
}

static void test_scan(void)
{
	scan("no page of the device space", 0, 0x80000000, 4 * PAGE);
	scan("no page of the hypervisor", 0x80000000, 0x80000000 + MIB(8), PAGE);
	scan("no other RAM", 0x80000000, RAM_GIB << 30, PAGE * 256);
	scan("no high addresses", RAM_GIB << 30, 1ul << 41, 1ul << 30);
}

/* Misaligned accesses that begin in RAM and end outside. */
static void test_straddling(void)
{
	const uint64_t end = m.ram_base + m.ram_size;

	for (unsigned size = 2; size <= 8; size *= 2) {
		struct trap t = try_load(end - 1, size), s = try_store(end - 1, size, 0);

		check("load across the end of RAM faults",
			t.taken && (t.cause == LOAD_ACCESS || t.cause == LOAD_MISALIGNED));
		check("store across the end of RAM faults",
			s.taken && (s.cause == STORE_ACCESS || s.cause == STORE_MISALIGNED));
		t = try_load(m.ram_base - 1, size);
		s = try_store(m.ram_base - 1, size, 0);
		check("load across the start of RAM faults",
			t.taken && (t.cause == LOAD_ACCESS || t.cause == LOAD_MISALIGNED));
		check("store across the start of RAM faults",
			s.taken && (s.cause == STORE_ACCESS || s.cause == STORE_MISALIGNED));
	}
	/* A 4-byte instruction whose second half is beyond. */
	*(volatile uint16_t *)(end - 2) = 0x0013;
	fence_i();
	struct trap t = try_exec(end - 2);

	check("fetch across the end of RAM faults",
		t.taken && t.cause == INSN_ACCESS && t.tval >= end - 2 && t.tval <= end);
}

/* --- through page tables --- */

static uint64_t *root;

static void paging_on(uint64_t satp)
{
	csr_write(satp, satp);
	sfence();
}

static void paging_off(void)
{
	csr_write(satp, 0);
	sfence();
}

static bool page_faults_as_access(uint64_t va)
{
	return faults(try_load(va, 8), LOAD_ACCESS, va) &&
	       faults(try_store(va, 8, 0), STORE_ACCESS, va) &&
	       faults(try_exec(va), INSN_ACCESS, va) && faults(try_amo(va), STORE_ACCESS, va);
}

static void test_leaves(void)
{
	const uint64_t targets[] = {0, 0x100000, 0x2000000, 0x80000000, 0x80020000,
		m.ram_base - PAGE, m.ram_base + m.ram_size, 1ul << 41, 1ul << 41 | m.ram_base,
		1ul << 55, (1ul << 56) - PAGE};

	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		if (own_end(targets[i]))
			continue;
		pt_map(root, VA, targets[i], PTE_RWX);
		paging_on(satp_for(root, 1));
		bool good = page_faults_as_access(VA + 0x120);

		paging_off();
		check_eq_at("a leaf that points to", targets[i], good, true);
	}
}

/* The walk itself touches what is not the guest's: an access fault of the original kind. */
static void test_tables(void)
{
	const uint64_t targets[] = {0, 0x100000, 0x2000000, 0x80000000, 0x80020000,
		m.uart & ~(PAGE - 1), m.plic, m.plic + 0x200000, m.ram_base - PAGE,
		m.ram_base + m.ram_size, 1ul << 41, 1ul << 55};

	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		*pt_entry(root, VA + (1ul << 30), 1) = pte_for(targets[i], PTE_V);
		*pt_entry(root, VA + (2ul << 30), 2) = pte_for(targets[i], PTE_V);
		paging_on(satp_for(root, 1));
		bool last = page_faults_as_access(VA + (1ul << 30) + 0x40),
		     middle = page_faults_as_access(VA + (2ul << 30) + 0x40);

		paging_off();
		check_eq_at("a last-level table at", targets[i], last, true);
		check_eq_at("a middle-level table at", targets[i], middle, true);
	}
}

/* With a root outside RAM the next fetch faults, and so does the handler's, for ever: a hart lost
 * by its own doing, and nobody else's loss. */
static uint64_t bad_root;

static void set_bad_root(struct hart *h)
{
	h->arg = 1;
	csr_write(satp, 8ul << 60 | bad_root >> 12);
	sfence();
	h->arg = 2;
}

static void test_root(void)
{
	static const uint64_t roots[] = {0x80000000, 0, 1ul << 41};

	if (m.nharts <= ARRAY_SIZE(roots)) {
		skip("satp root outside RAM", "needs four harts");
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(roots); i++) {
		bad_root = roots[i];
		harts[1 + i].arg = 0;
		hart_start(1 + i, set_bad_root);
		while (!harts[1 + i].arg)
			relax();
		spin_for(m.hz / 100);
		check_eq_at("root outside RAM: no code runs", roots[i], harts[1 + i].arg, 1);
	}
}

/* With hardware A/D updating on: updates of tables that are not the guest's. */
static void test_ad_updates(void)
{
	if (!isa_listed("svadu") || sbi(EID_FWFT, 0, 4, 1, 0, 0, 0).error) {
		skip("A/D updates outside RAM", "no Svadu");
		return;
	}
	*pt_entry(root, VA + (1ul << 30), 1) = pte_for(0x80000000, PTE_V);
	paging_on(satp_for(root, 1));
	bool good = page_faults_as_access(VA + (1ul << 30) + 0x40);

	paging_off();
	sbi(EID_FWFT, 0, 4, 0, 0, 0, 0);
	check("A/D updates outside RAM", good);
}

/* --- instructions and registers that are not a guest's --- */

static void check_illegal(const char *name, uint32_t insn)
{
	struct trap t = try_insn(insn, m.ram_base, 0, NULL);

	check_eq_at(name, insn, outcome(t), TRAP(ILLEGAL));
	/* QEMU tells an older instruction's bits for mret. */
	if (t.taken && t.tval != 0 && t.tval != insn && insn != 0x30200073)
		check_eq("stval is the instruction", t.tval, insn);
}

static void test_h_instructions(void)
{
	static const uint32_t insns[] = {
		0x22000073,                         /* hfence.vvma zero, zero */
		0x62000073,                         /* hfence.gvma zero, zero */
		0x22b50073, 0x62b50073, 0x60054573, /* hlv.b a0, (a0) */
		0x60154573,                         /* hlv.bu */
		0x64054573,                         /* hlv.h */
		0x64354573,                         /* hlvx.hu */
		0x68054573,                         /* hlv.w */
		0x68354573,                         /* hlvx.wu */
		0x6c054573,                         /* hlv.d */
		0x62a54073,                         /* hsv.b a0, (a0) */
		0x66a54073,                         /* hsv.h */
		0x6aa54073,                         /* hsv.w */
		0x6ea54073,                         /* hsv.d */
		0x26000073,                         /* hinval.vvma */
		0x66000073,                         /* hinval.gvma */
		0x30200073,                         /* mret */
		0x70200073,                         /* mnret */
		0x7b200073,                         /* dret */
		0x00200073,                         /* uret */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
		check_illegal("instruction", insns[i]);
}

/* Reads, then writes, of every register that is not of the lowest two levels. */
static void test_privileged_csrs(void)
{
	uint64_t reads = 0, writes = 0, first = 0;

	for (uint32_t csr = 0; csr < 0x1000; csr++) {
		if ((csr >> 8 & 3) < 2)
			continue;
		bool r = outcome(try_insn(csr << 20 | 0x2573, 0, 0, NULL)) !=
			 TRAP(ILLEGAL); /* csrr a0 */
		bool w = outcome(try_insn(csr << 20 | 0x51073, ~0ul, 0, NULL)) !=
			 TRAP(ILLEGAL); /* csrw a0 */

		if ((r || w) && !first)
			first = csr;
		reads += r;
		writes += w;
	}
	check_eq("H and M registers cannot be read", reads, 0);
	check_eq("H and M registers cannot be written", writes, 0);
	if (first)
		say("# first is 0x%lx", first);
}

static void test_counters(void)
{
	check_illegal("cycle", 0xc0002573);
	check_illegal("instret", 0xc0202573);
	for (uint32_t i = 3; i < 32; i++)
		check_illegal("hpmcounter", (0xc00 + i) << 20 | 0x2573);
	check_illegal("scountovf", 0xda002573);
	check_illegal("write of time", 0xc0151073);
}

static const uint32_t user_insns[] = {
	0x10500073, /* wfi */
	0x10200073, /* sret */
	0x12000073, /* sfence.vma */
	0x30200073, /* mret */
	0x10002573, /* csrr a0, sstatus */
	0x14202573, /* csrr a0, scause */
	0x18002573, /* csrr a0, satp */
	0x60002573, /* csrr a0, hstatus */
	0x30002573, /* csrr a0, mstatus */
	0x62000073, /* hfence.gvma */
	0x6c054573, /* hlv.d */
	0xc0102573, /* csrr a0, time: scounteren is 0 */
	0x16000073, /* sinval.vma */
};

static void test_user_mode(void)
{
	static uint32_t code[2] __attribute__((aligned(16)));
	struct hart *h = this_hart();

	csr_write(scounteren, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(user_insns); i++) {
		code[0] = user_insns[i];
		code[1] = 0x00100073;
		fence_i();
		memset(h->x, 0, sizeof(h->x));
		h->x[10] = m.ram_base;
		struct trap t = run_code(h, (uintptr_t)code, true);

		check_eq_at("in U-mode", user_insns[i], outcome(t), TRAP(ILLEGAL));
		check_eq("from U-mode", csr_read(sstatus) & SSTATUS_SPP, 0);
	}
	code[0] = 0x00000073;
	fence_i();
	check_eq("ecall from U-mode", run_code(h, (uintptr_t)code, true).cause, ECALL_U);
	h->x[10] = 0x80000000;
	code[0] = 0x00053503; /* ld a0, (a0) */
	fence_i();
	struct trap t = run_code(h, (uintptr_t)code, true);

	check("a user's load of what is not the guest's", faults(t, LOAD_ACCESS, 0x80000000));
	check_eq("is a user's fault", csr_read(sstatus) & SSTATUS_SPP, 0);
}

/* Cache-block operations on memory of others. */
static void test_cache_blocks(void)
{
	static const struct {
		const char *ext;
		uint32_t insn;
	} ops[] = {{"zicboz", 0x0045200f}, {"zicbom", 0x0015200f}, {"zicbom", 0x0025200f},
		{"zicbom", 0x0005200f}};
	const uint64_t places[] = {0x80000000, 0x1000, m.ram_base + m.ram_size, 1ul << 41};

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(places) && isa_listed(ops[i].ext); k++) {
			/* rs1 is a0 in all */
			struct trap t = try_insn(
				(ops[i].insn & ~(31u << 15)) | 10u << 15, places[k], 0, NULL);

			check_eq_at("cbo on another's memory", ops[i].insn >> 20, outcome(t),
				TRAP(STORE_ACCESS));
		}
}

void guest_main(void)
{
	fdt_walk(visit_own, NULL);
	root = pt_new();
	test_places();
	test_scan();
	test_straddling();
	test_leaves();
	test_tables();
	test_ad_updates();
	test_h_instructions();
	test_privileged_csrs();
	test_counters();
	test_user_mode();
	test_cache_blocks();
	test_root();
}
