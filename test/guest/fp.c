/* SPDX-License-Identifier: MIT */
/*
 * If this fails: FP or vector registers change under a guest's feet when a VCPU exits or shares its
 * PCPU, or show what another VCPU had in them.
 *
 * Each hart fills them with its own pattern and checks them over and over, while timers, calls and
 * the other harts come between.
 */
#include "guest.h"

#define ROUNDS 400
#define NFP    32

static bool vector;
static uint64_t vlenb;
static volatile uint64_t wrong_fp, wrong_v, wrong_csr, not_zero, rounds_done;

#define FP(text) ".option push\n.option arch, +d\n" text "\n.option pop\n"
#define V(text)  ".option push\n.option arch, +v\n" text "\n.option pop\n"

#define EACH(op)                                                                                   \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13)    \
		op(14) op(15) op(16) op(17) op(18) op(19) op(20) op(21) op(22) op(23) op(24)       \
			op(25) op(26) op(27) op(28) op(29) op(30) op(31)

#define FSD(n) "fsd f" #n ", 8*" #n "(%0)\n"
#define FLD(n) "fld f" #n ", 8*" #n "(%0)\n"

static void fp_store(uint64_t *to)
{
	__asm__ volatile(FP(EACH(FSD))::"r"(to) : "memory");
}

static void fp_load(const uint64_t *from)
{
	__asm__ volatile(FP(EACH(FLD))::"r"(from) : "memory");
}

/* Whole registers, eight at a time; vl and vtype are not touched. */
static void v_store(uint8_t *to)
{
	__asm__ volatile(
		V("vs8r.v v0, (%0)\nvs8r.v v8, (%1)\nvs8r.v v16, (%2)\nvs8r.v v24, (%3)")::"r"(to),
		"r"(to + 8 * vlenb), "r"(to + 16 * vlenb), "r"(to + 24 * vlenb)
		: "memory");
}

static void v_load(const uint8_t *from)
{
	__asm__ volatile(
		V("vl8re8.v v0, (%0)\nvl8re8.v v8, (%1)\nvl8re8.v v16, (%2)\nvl8re8.v v24, (%3)")::
			"r"(from),
		"r"(from + 8 * vlenb), "r"(from + 16 * vlenb), "r"(from + 24 * vlenb)
		: "memory");
}

static uint64_t get_fcsr(void)
{
	uint64_t v;

	__asm__ volatile("csrr %0, 0x003" : "=r"(v));
	return v;
}

static void set_fcsr(uint64_t v)
{
	__asm__ volatile("csrw 0x003, %0" ::"r"(v));
}

struct area {
	uint64_t f[NFP], f_got[NFP];
	uint8_t *v, *v_got;
	uint64_t vl, vtype, vcsr;
};
static struct area areas[MAX_HARTS];

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	while (n--)
		any |= *b++;
	return !any;
}

/* What a hart finds when it starts. */
static void check_birth(struct area *a)
{
	fp_store(a->f_got);
	if (!all_zero(a->f_got, sizeof(a->f_got)) || get_fcsr())
		not_zero++;
	if (!vector)
		return;
	v_store(a->v_got);
	if (!all_zero(a->v_got, 32 * vlenb))
		not_zero++;
}

static void set_vector_csrs(struct area *a, uint64_t n)
{
	uint64_t avl = 1 + n % (vlenb / 2);

	__asm__ volatile(
		V("vsetvli %0, %1, e8, m1, ta, ma\ncsrw vcsr, %2\ncsrr %1, vl\ncsrr %0, vtype")
		: "=&r"(a->vtype), "+r"(avl)
		: "r"(n & 7));
	a->vl = avl;
	a->vcsr = n & 7;
}

static void check_vector_csrs(const struct area *a)
{
	uint64_t vl, vtype, vcsr;

	__asm__ volatile(V("csrr %0, vl\ncsrr %1, vtype\ncsrr %2, vcsr")
			 : "=r"(vl), "=r"(vtype), "=r"(vcsr));
	if (vl != a->vl || vtype != a->vtype || vcsr != a->vcsr)
		wrong_csr++;
}

/* What comes between: nothing (preemption only), a fast exit, a slow one, sleep. */
static void disturb(unsigned i)
{
	switch (i % 4) {
	case 0:
		spin_for(m.hz / 5000);
		break;
	case 1:
		sbi(EID_BASE, 0, 0, 0, 0, 0, 0);
		break;
	case 2:
		try_load(0x80000000, 4);
		break;
	default:
		sbi_set_timer(now() + m.hz / 10000);
		__asm__ volatile("wfi");
	}
}

static void fill(struct area *a, uint64_t *seed)
{
	for (unsigned i = 0; i < NFP; i++)
		a->f[i] = random_next(seed);
	fp_load(a->f);
	set_fcsr(*seed >> 20 & 0x7f);
	if (!vector)
		return;
	for (unsigned i = 0; i < 32 * vlenb; i += 8)
		*(uint64_t *)(a->v + i) = random_next(seed);
	v_load(a->v);
	set_vector_csrs(a, *seed >> 30);
}

static void compare(struct area *a, uint64_t fcsr)
{
	fp_store(a->f_got);
	if (memcmp(a->f, a->f_got, sizeof(a->f)))
		wrong_fp++;
	if (get_fcsr() != fcsr)
		wrong_csr++;
	if (!vector)
		return;
	check_vector_csrs(a);
	v_store(a->v_got);
	if (memcmp(a->v, a->v_got, 32 * vlenb))
		wrong_v++;
}

static void work(struct hart *h)
{
	struct area *a = &areas[h->id];
	uint64_t seed = h->id * 0x1234567 + 99;

	csr_set(sstatus, SSTATUS_FS | (vector ? SSTATUS_VS : 0));
	if (h->arg == 0)
		check_birth(a);
	csr_set(sie, BIT(IRQ_TIMER));
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* Sometimes only read for a while: clean registers are kept as well. */
		if (i % 3 == 0)
			fill(a, &seed);
		/* Sometimes fcsr alone changes, after a sleep that leaves the registers clean. */
		if (i % 3 == 1) {
			disturb(3);
			set_fcsr(random_next(&seed) & 0x7f);
		}
		uint64_t fcsr = get_fcsr();

		disturb(i + (unsigned)h->id);
		compare(a, fcsr);
		__atomic_fetch_add(&rounds_done, 1, __ATOMIC_RELAXED);
	}
	csr_clear(sie, BIT(IRQ_TIMER));
	sbi_set_timer(~0ul);
}

static void run_all(void)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, work);
	work(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

/* With FS or VS off the instructions do not exist. */
static void test_off(void)
{
	csr_clear(sstatus, SSTATUS_FS | SSTATUS_VS);
	check_eq("FS off: FP is illegal", outcome(try_insn(0x02050053, 0, 0, NULL)),
		TRAP(ILLEGAL)); /* fadd.d */
	check_eq("FS off: fcsr is illegal", outcome(try_insn(0x00302573, 0, 0, NULL)),
		TRAP(ILLEGAL));
	check_eq("VS off: vector is illegal", outcome(try_insn(0x02000057, 0, 0, NULL)),
		TRAP(ILLEGAL)); /* vadd.vv */
	csr_set(sstatus, SSTATUS_FS);
	check_eq("FS on: FP works", outcome(try_insn(0x02050053, 0, 0, NULL)), NO_TRAP);
	if (!vector) {
		csr_set(sstatus, SSTATUS_VS);
		check_eq("no V: vector is illegal", outcome(try_insn(0x02000057, 0, 0, NULL)),
			TRAP(ILLEGAL));
	}
	csr_clear(sstatus, SSTATUS_FS | SSTATUS_VS);
}

void guest_main(void)
{
	if (!isa_listed("d")) {
		skip("FP and vector", "no D");
		return;
	}
	vector = isa_listed("v");
	if (vector) {
		csr_set(sstatus, SSTATUS_VS);
		__asm__ volatile("csrr %0, 0xc22" : "=r"(vlenb));
		csr_clear(sstatus, SSTATUS_VS);
	} else {
		skip("vector registers", "no V");
	}
	for (unsigned i = 0; i < m.nharts && vector; i++) {
		areas[i].v = page_alloc((unsigned)(32 * vlenb / PAGE) + 1);
		areas[i].v_got = page_alloc((unsigned)(32 * vlenb / PAGE) + 1);
	}
	test_off();
	run_all();
	/* Harts that ran before and start anew find nothing of it. */
	for (unsigned i = 1; i < m.nharts; i++)
		harts[i].arg = 0;
	harts[0].arg = 1;
	run_all();
	check_eq("rounds", rounds_done, 2ul * ROUNDS * m.nharts);
	check_eq("FP registers are kept", wrong_fp, 0);
	check_eq("fcsr, vl, vtype, vcsr are kept", wrong_csr, 0);
	check_eq("zero at the start of a hart", not_zero, 0);
	if (vector)
		check_eq("vector registers are kept", wrong_v, 0);
}
