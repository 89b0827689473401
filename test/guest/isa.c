/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the device tree lists an extension that does not work for a guest (a kernel or
 * program crashes when it uses it), or one that works is switched off behind the guest's back.
 */
#include "guest.h"

#define VA (200ul << 30)

static uint64_t block[512] __attribute__((aligned(4096)));

/* One instruction of each; a0 is the address of `block` or 5, a1 is 3. 16-bit ones have a c.nop
 * behind them. */
static const struct {
	const char *ext;
	bool address;
	uint32_t insn;
} insns[] = {
	{"m", false, 0x02b50533},                                  /* mul a0, a0, a1 */
	{"zmmul", false, 0x02b50533}, {"a", true, 0x00b5252f},     /* amoadd.w a0, a1, (a0) */
	{"zaamo", true, 0x00b5252f}, {"zalrsc", true, 0x1005252f}, /* lr.w a0, (a0) */
	{"c", false, 0x00010001}, {"zca", false, 0x00010001},
	{"f", false, 0x00000053},                                      /* fadd.s f0, f0, f0 */
	{"d", false, 0x02000053},                                      /* fadd.d */
	{"zcd", true, 0x00012108},                                     /* c.fld fa0, (a0) */
	{"zfh", false, 0x04000053},                                    /* fadd.h */
	{"zfhmin", false, 0xe4000553},                                 /* fmv.x.h a0, f0 */
	{"zfa", false, 0xf0180053},                                    /* fli.s f0, 1.0 */
	{"zicsr", false, 0x10002573},                                  /* csrr a0, sstatus */
	{"zifencei", false, 0x0000100f}, {"zicbom", true, 0x0005200f}, /* cbo.inval (a0) */
	{"zicbom", true, 0x0015200f},                                  /* cbo.clean */
	{"zicbom", true, 0x0025200f},                                  /* cbo.flush */
	{"zicboz", true, 0x0045200f},                                  /* cbo.zero */
	{"zicbop", true, 0x00156013},                                  /* prefetch.r (a0) */
	{"zicbop", true, 0x00056013},                                  /* prefetch.i */
	{"zicbop", true, 0x00356013},                                  /* prefetch.w */
	{"zihintntl", false, 0x00200033},                              /* ntl.p1 */
	{"zihintpause", false, 0x0100000f},                            /* pause */
	{"zicond", false, 0x0eb55533},                                 /* czero.eqz a0, a0, a1 */
	{"zacas", true, 0x28b5362f},                                   /* amocas.d a2, a1, (a0) */
	{"zawrs", false, 0x01d00073},                                  /* wrs.sto */
	{"zcb", true, 0x00018108},                                     /* c.lbu a0, (a0) */
	{"zba", false, 0x20b52533},                                    /* sh1add a0, a0, a1 */
	{"zbb", false, 0x60051513},                                    /* clz a0, a0 */
	{"zbc", false, 0x0ab51533},                                    /* clmul a0, a0, a1 */
	{"zbs", false, 0x28b51533},                                    /* bset a0, a0, a1 */
	{"v", false, 0x0c05f557}, /* vsetvli a0, a1, e8, m1, ta, ma */
	{"v", false, 0x02000057}, /* vadd.vv v0, v0, v0 */
	{"zve32x", false, 0x02000057}, {"zve32f", false, 0x02000057}, {"zve64x", false, 0x02000057},
	{"zve64f", false, 0x02000057}, {"zve64d", false, 0x02000057},
	{"sstc", false, 0x14d02573},    /* csrr a0, stimecmp */
	{"svinval", false, 0x16000073}, /* sinval.vma */
	{"svinval", false, 0x18000073}, /* sfence.w.inval */
	{"svinval", false, 0x18100073}, /* sfence.inval.ir */
};

/* Nothing to execute: tested below, elsewhere (svade, svadu: sbi_fwft.c), or without effect a guest
 * can see. */
static const char *const no_insn[] = {"i", "svade", "svadu", "svnapot", "svpbmt", "svvptc"};

static bool has_test(const char *ext)
{
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
		if (!strcmp(ext, insns[i].ext))
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(no_insn); i++)
		if (!strcmp(ext, no_insn[i]))
			return true;
	return false;
}

static void test_instructions(void)
{
	csr_set(sstatus, SSTATUS_FS | SSTATUS_VS);
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
		if (isa_listed(insns[i].ext))
			check_eq(insns[i].ext,
				outcome(try_insn(insns[i].insn,
					insns[i].address ? (uintptr_t)block : 5, 3, NULL)),
				NO_TRAP);
	for (uint32_t i = 0; i < m.isa_len; i += (uint32_t)strlen(m.isa + i) + 1)
		if (!has_test(m.isa + i))
			check_eq(m.isa + i, 0,
				1); /* listed, and nobody knows whether it works: add it above */
}

/* In U-mode they work as S-mode allows. */
static void run_user(const char *name, uint32_t insn, uint64_t expected)
{
	static uint32_t code[2] __attribute__((aligned(16)));
	struct hart *h = this_hart();

	code[0] = insn;
	code[1] = 0x00100073;
	fence_i();
	h->x[10] = (uintptr_t)block;
	check_eq(name, run_code(h, (uintptr_t)code, true).cause, expected);
}

static void test_user(void)
{
	csr_write(scounteren, 2);
	run_user("time in U-mode, allowed", 0xc0102573, BREAKPOINT);
	csr_write(scounteren, 0);
	run_user("time in U-mode, not allowed", 0xc0102573, ILLEGAL);
	if (isa_listed("zicboz")) {
		csr_write(senvcfg, 1ul << 7);
		run_user("cbo.zero in U-mode, allowed", 0x0045200f, BREAKPOINT);
		csr_write(senvcfg, 0);
		run_user("cbo.zero in U-mode, not allowed", 0x0045200f, ILLEGAL);
	}
	if (isa_listed("zicbom")) {
		csr_write(senvcfg, 1ul << 6);
		run_user("cbo.clean in U-mode, allowed", 0x0015200f, BREAKPOINT);
		csr_write(senvcfg, 0);
		run_user("cbo.clean in U-mode, not allowed", 0x0015200f, ILLEGAL);
	}
}

static void test_cbo(void)
{
	if (isa_listed("zicboz") && m.cboz) {
		uint64_t set = 0;

		memset(block, 0xff, sizeof(block));
		try_insn(0x0045200f, (uintptr_t)block + m.cboz, 0, NULL);
		for (unsigned i = 0; i < 512; i++)
			set += (block[i] == 0) == (i >= m.cboz / 8 && i < m.cboz / 4);
		check_eq("cbo.zero zeroes the block the tree says", set, 512);
	}
	if (isa_listed("zicbom")) {
		/* What was written is never thrown away: inval acts as flush. */
		block[8] = 0x1234;
		try_insn(0x0005200f, (uintptr_t)&block[8], 0, NULL);
		check_eq("cbo.inval loses nothing", block[8], 0x1234);
	}
}

/* Sleeps until a store to the reserved word, or an interrupt: it may end at any time, but not trap,
 * also while others want the PCPU. */
static volatile bool stop;

static void spin(struct hart *h)
{
	h->arg = 1;
	while (!stop)
		relax();
}

static void test_wrs(void)
{
	if (!isa_listed("zawrs"))
		return;
	for (unsigned i = 1; i < m.nharts; i++) {
		hart_start(i, spin);
		while (!harts[i].arg)
			relax();
	}
	uint64_t bad = 0;

	csr_set(sie, BIT(IRQ_TIMER));
	for (unsigned i = 0; i < 20; i++) {
		sbi_set_timer(now() + m.hz / 1000);
		try_lr((uintptr_t)block);
		bad += try_insn(0x00d00073, 0, 0, NULL).taken; /* wrs.nto */
		bad += try_insn(0x01d00073, 0, 0, NULL).taken;
	}
	check_eq("wrs.nto never traps", bad, 0);
	csr_clear(sie, BIT(IRQ_TIMER));
	sbi_set_timer(~0ul);
	stop = true;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

/* Bits of a page-table entry that exist when listed, and fault when not. */
static void test_pte_bits(void)
{
	uint64_t *root = pt_new(), value = 0, *area = page_alloc(32);
	uint64_t aligned = ((uintptr_t)area + 0xffff) & ~0xfffful;

	pt_map(root, VA, (uintptr_t)block,
		PTE_V | PTE_R | PTE_W | PTE_A | PTE_D | 1ul << 61); /* PBMT = NC */
	pt_map(root, VA + PAGE, (uintptr_t)block,
		PTE_V | PTE_R | PTE_W | PTE_A | PTE_D | 2ul << 61); /* PBMT = IO */
	for (unsigned i = 0; i < 16; i++)
		pt_map(root, VA + MIB(1) + i * PAGE, aligned | 0x8000,
			PTE_V | PTE_R | PTE_A | 1ul << 63);
	block[1] = 0xabcd;
	*(uint64_t *)(aligned + 3 * PAGE) = 0x3333;
	csr_write(satp, satp_for(root, 0));
	sfence();
	uint64_t pbmt = isa_listed("svpbmt") ? NO_TRAP : TRAP(LOAD_PAGE);

	check_eq("Svpbmt: NC", outcome(try_load_value(VA + 8, 8, &value)), pbmt);
	check_eq("Svpbmt: IO", outcome(try_load_value(VA + PAGE + 8, 8, &value)), pbmt);
	check_eq("Svnapot", outcome(try_load_value(VA + MIB(1) + 3 * PAGE, 8, &value)),
		isa_listed("svnapot") ? NO_TRAP : TRAP(LOAD_PAGE));
	csr_write(satp, 0);
	sfence();
	if (isa_listed("svnapot"))
		check_eq("Svnapot: value", value, 0x3333);
}

/* The translation modes up to the one the tree names exist, the others do not. */
static void test_modes(void)
{
	static const char *const names[] = {"riscv,sv39", "riscv,sv48", "riscv,sv57"};
	uint64_t *root = pt_new(), top = 0;

	for (uint64_t i = 0; i < 3; i++)
		if (!strcmp(m.mmu, names[i]))
			top = i;
	for (uint64_t i = 0; i < 3; i++) {
		/* The same table serves as the upper levels: its first entry points to itself but
		 * for the lowest. */
		uint64_t *r = root;

		for (uint64_t k = 0; k < i; k++) {
			uint64_t *up = page_alloc(1);

			up[0] = pte_for((uintptr_t)r, PTE_V);
			r = up;
		}
		csr_write(satp, (8 + i) << 60 | (uintptr_t)r >> 12);
		uint64_t got = csr_read(satp) >> 60;

		sfence();
		uint64_t load = outcome(try_load(m.ram_base, 8));

		csr_write(satp, 0);
		sfence();
		check_eq(names[i], got == 8 + i && load == NO_TRAP, i <= top);
	}
}

void guest_main(void)
{
	test_instructions();
	test_cbo();
	test_user();
	test_pte_bits();
	test_modes();
	test_wrs();
}
