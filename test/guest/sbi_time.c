/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a guest's timers come early, late for ever, twice or not at all, with or without
 * Sstc, and also when VCPUs share a PCPU: its clock stops, or it drowns in interrupts.
 */
#include "guest.h"

#define NEVER      (~0ul)
#define TICKS_EACH 200

static struct {
	volatile uint64_t asked, taken_at, early, spurious;
} clocks[MAX_HARTS];

static bool pending(void)
{
	return csr_read(sip) & BIT(IRQ_TIMER);
}

static void set_by_time(uint64_t when)
{
	clocks[this_hart()->id].asked = when;
	sbi_set_timer(when);
}

static void set_by_legacy(uint64_t when)
{
	clocks[this_hart()->id].asked = when;
	sbi_legacy(0, when, 0, 0, 0);
}

static void set_by_csr(uint64_t when)
{
	clocks[this_hart()->id].asked = when;
	__asm__ volatile("csrw 0x14d, %0" ::"r"(when) : "memory");
}

static uint64_t get_stimecmp(void)
{
	uint64_t v;

	__asm__ volatile("csrr %0, 0x14d" : "=r"(v));
	return v;
}

/* QEMU 10 can leave the pending bit set when a compare register is written while its old time runs
 * out (it clears the bit first and moves its own timer then). The register says that nothing is
 * due: such an interrupt is the emulator's, and does not count. */
static bool is_emulators(void)
{
	return isa_listed("sstc") && get_stimecmp() > now();
}

static void on_tick(struct hart *h, uint64_t irq)
{
	if (irq != IRQ_TIMER)
		broken("unexpected interrupt", irq, 0, 0);
	if (is_emulators()) {
		h->irqs[IRQ_TIMER]--;
		clocks[h->id].spurious++;
		sbi_set_timer(get_stimecmp());
		return;
	}
	clocks[h->id].taken_at = now();
	if (clocks[h->id].taken_at < clocks[h->id].asked)
		clocks[h->id].early++;
	sbi_set_timer(NEVER);
}

/* Pending bit and its ends, interrupts off. */
static void test_pending(const char *way, void (*set)(uint64_t))
{
	say("# by %s", way);
	set(NEVER);
	check("never: not pending", !pending());
	spin_for(m.hz / 1000);
	check("never: not pending later", !pending());
	set(now() - 1);
	while (!pending())
		relax();
	check("past: pending", true);
	spin_for(m.hz / 1000);
	check("stays pending", pending());
	csr_clear(sip, BIT(IRQ_TIMER));
	check("the pending bit is read-only", pending());
	set(now() + 1000 * m.hz);
	check("a new time ends pending", !pending());
	csr_set(sip, BIT(IRQ_TIMER));
	check("the pending bit cannot be set", !pending());
	set(0);
	while (!pending())
		relax();
	check("zero: pending", true);
	set(NEVER);
	check("never ends pending", !pending());
}

static void test_taken(void (*set)(uint64_t))
{
	static const uint64_t waits[] = {0, 1, 10, 100, 1000, 10000, 100000};
	struct hart *h = this_hart();

	h->on_irq = on_tick;
	csr_set(sie, BIT(IRQ_TIMER));
	irqs_on();
	for (unsigned i = 0; i < ARRAY_SIZE(waits); i++) {
		uint64_t before = h->irqs[IRQ_TIMER];

		set(now() + waits[i]);
		while (h->irqs[IRQ_TIMER] == before)
			relax();
		spin_for(m.hz / 2000);
		check_eq_at("taken once, after", waits[i], h->irqs[IRQ_TIMER] - before, 1);
	}
	uint64_t before = h->irqs[IRQ_TIMER];

	/* A later time first, then a near one: one interrupt, at the near one. */
	set(now() + 1000 * m.hz);
	set(now() + 1000);
	while (h->irqs[IRQ_TIMER] == before)
		relax();
	check_eq("the last time set counts", h->irqs[IRQ_TIMER] - before, 1);
	irqs_off();
	set(now() + 1000);
	set(NEVER);
	irqs_on();
	spin_for(m.hz / 100);
	check_eq("cancelled: not taken", h->irqs[IRQ_TIMER] - before, 1);
	csr_clear(sie, BIT(IRQ_TIMER));
	set(now());
	while (!pending())
		relax();
	spin_for(m.hz / 1000);
	check_eq("disabled: pending and not taken", h->irqs[IRQ_TIMER] - before, 1);
	irqs_off();
	set(NEVER);
	check_eq("none too early", clocks[h->id].early, 0);
}

static void test_wfi(void)
{
	csr_set(sie, BIT(IRQ_TIMER));
	for (unsigned i = 0; i < 20; i++) {
		uint64_t when = now() + m.hz / 1000;

		sbi_set_timer(when);
		/* WFI may end early, but not for ever. */
		while (!pending())
			__asm__ volatile("wfi");
		if (now() < when)
			check("wfi: timer too early", false);
	}
	check("wfi ends at the timer, though SIE is 0", true);
	csr_clear(sie, BIT(IRQ_TIMER));
	sbi_set_timer(NEVER);
}

static void ticking(struct hart *h)
{
	h->on_irq = on_tick;
	csr_set(sie, BIT(IRQ_TIMER));
	irqs_on();
	for (unsigned i = 0; i < TICKS_EACH; i++) {
		uint64_t before = h->irqs[IRQ_TIMER];

		set_by_time(now() + m.hz / 2000);
		/* Half of them wait for it in wfi, with SIE off: taken before, it would wake
		 * nobody. */
		while (h->irqs[IRQ_TIMER] == before) {
			irqs_off();
			if ((i & 1) && h->irqs[IRQ_TIMER] == before)
				__asm__ volatile("wfi");
			irqs_on();
		}
	}
	irqs_off();
	csr_clear(sie, BIT(IRQ_TIMER));
}

static void test_all_harts(void)
{
	uint64_t before = harts[0].irqs[IRQ_TIMER];

	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, ticking);
	ticking(this_hart());
	check_eq("ticks of hart 0", harts[0].irqs[IRQ_TIMER] - before, TICKS_EACH);
	for (unsigned i = 1; i < m.nharts; i++) {
		hart_wait(i);
		check_eq_at("ticks of hart", i, harts[i].irqs[IRQ_TIMER], TICKS_EACH);
		check_eq_at("none too early on hart", i, clocks[i].early, 0);
	}
}

static void test_sstc(void)
{
	const uint32_t csrr_a0_stimecmp = 0x14d02573, csrr_a0_vstimecmp = 0x24d02573;
	uint64_t value;

	check_eq("vstimecmp is not the guest's", outcome(try_insn(csrr_a0_vstimecmp, 0, 0, NULL)),
		TRAP(ILLEGAL));
	if (!isa_listed("sstc")) {
		check_eq("no Sstc: stimecmp does not exist",
			outcome(try_insn(csrr_a0_stimecmp, 0, 0, NULL)), TRAP(ILLEGAL));
		skip("stimecmp", "Sstc is not listed");
		return;
	}
	test_pending("stimecmp", set_by_csr);
	test_taken(set_by_csr);
	sbi_set_timer(0x123456789abcdef0);
	check_eq("stimecmp reads", outcome(try_insn(csrr_a0_stimecmp, 0, 0, &value)), NO_TRAP);
	check_eq("SBI sets stimecmp", value, 0x123456789abcdef0);
	sbi_set_timer(NEVER);
}

void guest_main(void)
{
	check_err("set_timer", sbi(EID_TIME, 0, NEVER, 0, 0, 0, 0), SBI_SUCCESS);
	check_eq("legacy set_timer", (uint64_t)sbi_legacy(0, NEVER, 0, 0, 0), 0);
	test_pending("TIME", set_by_time);
	test_taken(set_by_time);
	test_pending("legacy", set_by_legacy);
	test_taken(set_by_legacy);
	test_wfi();
	test_sstc();
	test_all_harts();
	for (unsigned i = 0; i < m.nharts; i++)
		if (clocks[i].spurious)
			say("# %lu interrupts of the emulator's own on hart %u", clocks[i].spurious,
				i);
}
