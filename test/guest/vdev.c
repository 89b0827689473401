/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the emulated PLIC or UART answers differently from hardware: a load leaves the
 * wrong value in a register, an access no device register allows is let through, or an interrupt is
 * lost or taken twice.
 */
#include "guest.h"

#define PRIORITY(n)     (m.plic + 4 * (n))
#define PENDING(w)      (m.plic + 0x1000 + 4 * (w))
#define ENABLE(hart, w) (m.plic + 0x2000 + 0x80 * (2 * (hart) + 1) + 4 * (w))
#define THRESHOLD(hart) (m.plic + 0x200000 + 0x1000 * (2 * (hart) + 1))
#define CLAIM(hart)     (THRESHOLD(hart) + 4)
#define M_THRESHOLD     (m.plic + 0x200000)

enum { THR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static uint8_t uart_get(unsigned reg)
{
	return *(volatile uint8_t *)(m.uart + reg);
}

static void uart_put(unsigned reg, uint8_t v)
{
	*(volatile uint8_t *)(m.uart + reg) = v;
}

/* --- what no register allows --- */

static void check_access_fault(const char *name, uint64_t a, unsigned size)
{
	struct trap l = try_load(a, size), s = try_store(a, size, 0);

	check(name, l.taken && l.cause == LOAD_ACCESS && l.tval == a && s.taken &&
			    s.cause == STORE_ACCESS && s.tval == a);
}

static void check_atomics_fault(const char *name, uint64_t a)
{
	uint64_t v = 0;

	check_eq(name, outcome(try_amo(a)), TRAP(STORE_ACCESS));
	check_eq(name, outcome(try_lr(a)), TRAP(LOAD_ACCESS));
	check_eq("fetch from a device", outcome(try_exec(a)), TRAP(INSN_ACCESS));
	csr_set(sstatus, SSTATUS_FS);
	check_eq("FP load from a device", outcome(try_insn(0x00052007, a, 0, &v)),
		TRAP(LOAD_ACCESS)); /* flw f0, (a0) */
	check_eq("FP store to a device", outcome(try_insn(0x00052027, a, 0, &v)),
		TRAP(STORE_ACCESS)); /* fsw f0, (a0) */
	csr_clear(sstatus, SSTATUS_FS);
}

static void test_sizes(void)
{
	static const unsigned plic_bad[] = {1, 2, 8}, uart_bad[] = {2, 4, 8};

	for (unsigned i = 0; i < 3; i++) {
		check_access_fault("PLIC priority, wrong size", PRIORITY(2) & ~7ul, plic_bad[i]);
		check_access_fault("PLIC pending, wrong size", PENDING(0), plic_bad[i]);
		check_access_fault("PLIC enable, wrong size", ENABLE(0, 0), plic_bad[i]);
		check_access_fault("PLIC threshold, wrong size", THRESHOLD(0), plic_bad[i]);
		check_access_fault("UART, wrong size", m.uart, uart_bad[i]);
	}
	for (unsigned off = 8; off < PAGE; off = off * 2 + 1)
		check_access_fault("behind the UART", m.uart + off, 1);
	for (unsigned off = 1; off < 4; off++) {
		struct trap l = try_load(THRESHOLD(0) + off, 4),
			    s = try_store(THRESHOLD(0) + off, 4, 0);

		check("misaligned load faults",
			l.taken && (l.cause == LOAD_ACCESS || l.cause == LOAD_MISALIGNED));
		check("misaligned store faults",
			s.taken && (s.cause == STORE_ACCESS || s.cause == STORE_MISALIGNED));
	}
	check_atomics_fault("atomics on the PLIC", THRESHOLD(0));
	check_atomics_fault("atomics on the UART", m.uart);
}

/* --- registers of the PLIC --- */

static void test_plic_registers(void)
{
	uint64_t bad = 0;

	put32(PRIORITY(0), 7);
	check_eq("source 0 has no priority", get32(PRIORITY(0)), 0);
	for (uint32_t i = 1; i <= m.plic_ndev; i++) {
		put32(PRIORITY(i), 7);
		bad += get32(PRIORITY(i)) != 7;
		put32(PRIORITY(i), 0);
		bad += get32(PRIORITY(i)) != 0;
	}
	check_eq("priorities", bad, 0);
	put32(PRIORITY(m.plic_ndev + 1), 7);
	check_eq("no source behind the last", get32(PRIORITY(m.plic_ndev + 1)), 0);
	put32(PRIORITY(m.uart_irq), ~0u);
	check("priority is a bit field", get32(PRIORITY(m.uart_irq)) < 8);
	put32(PRIORITY(m.uart_irq), 0);
	put32(PENDING(0), ~0u);
	check_eq("pending is read-only", get32(PENDING(0)), 0);
	for (unsigned h = 0; h < m.nharts; h++) {
		put32(THRESHOLD(h), 5);
		check_eq("threshold", get32(THRESHOLD(h)), 5);
		put32(THRESHOLD(h), ~0u);
		check("threshold is a bit field", get32(THRESHOLD(h)) < 8);
		put32(THRESHOLD(h), 0);
		put32(ENABLE(h, 0), BIT(m.uart_irq) | 1);
		check_eq("enable, without source 0", get32(ENABLE(h, 0)), BIT(m.uart_irq));
		put32(ENABLE(h, 0), 0);
		put32(ENABLE(h, 31), ~0u);
		check_eq("no sources at the end", get32(ENABLE(h, 31)), 0);
		check_eq("nothing to claim", get32(CLAIM(h)), 0);
	}
	/* The machine-mode context, and harts that are not there: zeros, not faults. */
	put32(M_THRESHOLD, 3);
	check_eq("M-mode's threshold", get32(M_THRESHOLD), 0);
	check_eq("threshold of no hart", get32(THRESHOLD(m.nharts)), 0);
	put32(CLAIM(m.nharts), 1);
	check_eq("claim of no hart", get32(CLAIM(m.nharts)), 0);
	check_eq("reserved space", get32(m.plic + 0x1f0000), 0);
	check_eq("last word", get32(m.plic + 0x5ffffc), 0);
	put32(CLAIM(0), 0);
	put32(CLAIM(0), ~0u);
	put32(CLAIM(0), 1);
	check("completions of nothing are ignored", true);
}

/* --- instruction forms --- */

static uint32_t one_insn[2] __attribute__((aligned(16)));

static void run_insn(uint32_t insn)
{
	one_insn[0] = insn;
	one_insn[1] = 0x00100073;
	fence_i();
	struct trap t = run_code(this_hart(), (uintptr_t)one_insn, false);

	if (t.cause != BREAKPOINT)
		check_eq_at("device access traps", insn, t.cause, BREAKPOINT);
}

/* lbu rd, 7(rs1), for each rd: the scratch register into it, and into no other. */
static void test_every_register(void)
{
	struct hart *h = this_hart();
	uint64_t bad_load = 0, bad_store = 0, bad_other = 0;

	for (uint32_t rd = 0; rd < 32; rd++) {
		uint32_t rs1 = rd == 9 ? 10 : 9;

		uart_put(SCR, (uint8_t)(0x40 + rd));
		for (unsigned i = 1; i < 32; i++)
			h->x[i] = 0x1111111100000000ul + i;
		h->x[rs1] = m.uart;
		run_insn(SCR << 20 | rs1 << 15 | 4 << 12 | rd << 7 | 0x03);
		bad_load += rd && h->x[rd] != 0x40 + rd;
		for (unsigned i = 1; i < 32; i++)
			bad_other += i != rd && i != rs1 && h->x[i] != 0x1111111100000000ul + i;
		bad_other += h->x[rs1] != m.uart;
		h->x[rd] = 0x1111111111111180ul + rd;
		h->x[rs1] = m.uart;
		run_insn(rd << 20 | rs1 << 15 | SCR << 7 | 0x23); /* sb rd, 7(rs1) */
		bad_store += uart_get(SCR) != (rd ? 0x80 + rd : 0);
	}
	check_eq("load into each register", bad_load, 0);
	check_eq("store from each register", bad_store, 0);
	check_eq("no other register changes", bad_other, 0);
}

static uint64_t load_by(uint32_t insn, uint64_t address)
{
	struct hart *h = this_hart();

	memset(h->x, 0xff, sizeof(h->x));
	h->x[10] = address;
	run_insn(insn);
	return h->x[11];
}

static void store_by(uint32_t insn, uint64_t address, uint64_t value)
{
	struct hart *h = this_hart();

	h->x[10] = address;
	h->x[11] = value;
	run_insn(insn);
}

/* a0 holds the address, a1 the value. 16-bit forms have a c.nop behind them. */
static void test_forms(void)
{
	uint64_t e = ENABLE(0, 0),
		 sources = m.plic_ndev >= 31 ? 0xfffffffe : BIT(m.plic_ndev + 1) - 2;

	store_by(0x00b52023, e, 0x7777777700000000 | BIT(m.uart_irq)); /* sw a1, (a0) */
	check_eq("sw", get32(e), BIT(m.uart_irq));
	store_by(0x0001c10c, e, 0); /* c.sw a1, (a0) */
	check_eq("c.sw", get32(e), 0);
	put32(e, BIT(m.uart_irq));
	check_eq("lw", load_by(0x00052583, e), BIT(m.uart_irq));
	check_eq("lwu", load_by(0x00056583, e), BIT(m.uart_irq));
	check_eq("c.lw", load_by(0x0001410c, e), BIT(m.uart_irq));
	/* Enabling source 31 forwards to a host device at most, which raises nothing. */
	if (sources >> 31) {
		put32(e, 0x80000000);
		check_eq("lw extends the sign", load_by(0x00052583, e), 0xffffffff80000000);
		check_eq("c.lw extends the sign", load_by(0x0001410c, e), 0xffffffff80000000);
		check_eq("lwu does not", load_by(0x00056583, e), 0x80000000);
	}
	put32(e, 0);
	uart_put(SCR, 0x85);
	check_eq("lb extends the sign", load_by(0x00750583, m.uart), 0xffffffffffffff85);
	check_eq("lbu does not", load_by(0x00754583, m.uart), 0x85);
	check_eq("negative offset", load_by(0xff854583, m.uart + SCR + 8),
		0x85);                        /* lbu a1, -8(a0) */
	store_by(0x00b503a3, m.uart, 0x1234); /* sb a1, 7(a0) */
	check_eq("sb", uart_get(SCR), 0x34);
	if (isa_listed("zcb")) {
		check_eq("c.lbu", load_by(0x0001810c, m.uart + SCR) & 0xff, 0x34);
		store_by(0x0001890c, m.uart + SCR, 0x77); /* c.sb a1, (a0) */
		check_eq("c.sb", uart_get(SCR), 0x77);
	}
}

static void test_mapped(void)
{
	const uint64_t va = 200ul << 30;
	uint64_t *root = pt_new(), value = 0;

	pt_map(root, va, m.uart, PTE_V | PTE_R | PTE_W | PTE_A | PTE_D);
	pt_map(root, va + PAGE, m.plic, PTE_V | PTE_R | PTE_A);
	uart_put(SCR, 0x3c);
	csr_write(satp, satp_for(root, 0));
	sfence();
	check_eq("through a page table", outcome(try_load_value(va + SCR, 1, &value)), NO_TRAP);
	check_eq("through a page table: value", value, 0x3c);
	struct trap t = try_load(va, 8), s = try_store(va + PAGE, 4, 0);

	check("through a page table: fault tells the virtual address",
		t.taken && t.cause == LOAD_ACCESS && t.tval == va);
	check("the guest's own protection comes first", s.taken && s.cause == STORE_PAGE);
	csr_write(satp, 0);
	sfence();
}

/* --- UART --- */

static void test_uart_registers(void)
{
	uint64_t bad = 0;

	for (unsigned v = 0; v < 256; v++) {
		uart_put(SCR, (uint8_t)v);
		bad += uart_get(SCR) != v;
	}
	check_eq("scratch", bad, 0);
	check_eq("transmitter empty", uart_get(LSR) & 0x60, 0x60);
	check_eq("nothing received", uart_get(LSR) & 1, 0);
	check_eq("no interrupt", uart_get(IIR) & 0x0f, 1);
	uart_put(LCR, 0x83);
	uart_put(THR, 0x0c);
	uart_put(IER, 0x01);
	check_eq("divisor", (uint64_t)uart_get(IER) << 8 | uart_get(THR), 0x010c);
	uart_put(LCR, 0x03);
	check_eq("LCR", uart_get(LCR), 0x03);
	uart_put(IER, 0xff);
	check_eq("IER has four bits", uart_get(IER), 0x0f);
	uart_put(IER, 0);
	uart_put(IIR, 0x07); /* FCR: FIFOs on and empty */
	check_eq("FIFOs are on", uart_get(IIR) & 0xc0, 0xc0);
	uart_put(MCR, 0x10);
	uart_put(THR, 'L');
	check_eq("loopback: received", uart_get(LSR) & 1, 1);
	check_eq("loopback: byte", uart_get(THR), 'L');
	uart_put(MCR, 0);
	for (const char *c = "# by the UART\n"; *c; c++)
		uart_put(THR, (uint8_t)*c);
}

/* --- interrupts --- */

static bool ext_pending(void)
{
	return csr_read(sip) & BIT(IRQ_EXT);
}

static void raise(void)
{
	uart_put(IER, 0);
	uart_put(IER, 2); /* THRE, which is empty */
}

static void test_interrupt(void)
{
	uart_get(IIR);
	put32(ENABLE(0, 0), BIT(m.uart_irq));
	raise();
	check("priority 0: no interrupt", !ext_pending());
	check_eq("but the source is pending",
		get32(PENDING(m.uart_irq / 32)) >> m.uart_irq % 32 & 1, 1);
	put32(PRIORITY(m.uart_irq), 3);
	check("priority 3: interrupt", ext_pending());
	put32(THRESHOLD(0), 3);
	check("threshold 3: none", !ext_pending());
	put32(THRESHOLD(0), 2);
	check("threshold 2: interrupt", ext_pending());
	put32(ENABLE(0, 0), 0);
	check("not enabled: none", !ext_pending());
	put32(ENABLE(0, 0), BIT(m.uart_irq));
	check_eq("claim", get32(CLAIM(0)), m.uart_irq);
	check("claimed: none", !ext_pending());
	check_eq("claim again: nothing", get32(CLAIM(0)), 0);
	put32(CLAIM(0), m.uart_irq);
	check("completed with the line still high: again", ext_pending());
	check_eq("claim again", get32(CLAIM(0)), m.uart_irq);
	check_eq("IIR tells the cause", uart_get(IIR) & 0x0f, 2);
	check_eq("and clears it", uart_get(IIR) & 0x0f, 1);
	put32(CLAIM(0), m.uart_irq);
	check("completed with the line low: none", !ext_pending());
	put32(THRESHOLD(0), 0);
}

static volatile uint64_t handled;

static void on_ext(struct hart *h, uint64_t irq)
{
	uint32_t claim = get32(CLAIM(h->id));

	if (irq != IRQ_EXT)
		broken("unexpected interrupt", irq, 0, 0);
	if (!claim)
		return; /* another hart was faster */
	if (claim != m.uart_irq)
		broken("unexpected source", claim, 0, 0);
	uart_put(IER, 0);
	uart_get(IIR);
	__atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
	put32(CLAIM(h->id), claim);
}

static volatile bool stop;

static void take(struct hart *h)
{
	h->on_irq = on_ext;
	put32(ENABLE(h->id, 0), BIT(m.uart_irq));
	csr_set(sie, BIT(IRQ_EXT) | BIT(IRQ_SOFT));
	irqs_on();
	h->arg = 1;
	while (!stop)
		give_way();
	irqs_off();
	put32(ENABLE(h->id, 0), 0);
}

/* All harts are interrupted; one may claim. */
static void test_many_harts(void)
{
	put32(ENABLE(0, 0), 0);
	for (unsigned i = 1; i < m.nharts; i++) {
		harts[i].arg = 0;
		hart_start(i, take);
		while (!harts[i].arg)
			give_way();
	}
	for (unsigned i = 0; i < 200; i++) {
		uint64_t before = handled;

		raise();
		while (handled == before)
			give_way();
		/* The handler's completion comes last. */
		while (get32(PENDING(m.uart_irq / 32)) >> m.uart_irq % 32 & 1)
			give_way();
		if (handled != before + 1)
			check_eq("an interrupt taken twice", handled - before, 1);
	}
	stop = true;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check_eq("each interrupt is one hart's", handled, 200);
}

void guest_main(void)
{
	test_sizes();
	test_plic_registers();
	test_every_register();
	test_forms();
	test_mapped();
	test_uart_registers();
	test_interrupt();
	if (m.nharts > 1)
		test_many_harts();
	else
		skip("claims from several harts", "one hart");
}
