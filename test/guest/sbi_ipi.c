/* SPDX-License-Identifier: MIT */
/*
 * If this fails: interrupts between a guest's harts get lost, go to the wrong hart, or a bad hart
 * mask is taken for a good one. A guest then waits for ever for a hart that was never told.
 */
#include "guest.h"

#define ROUNDS 2000

static volatile bool stop;
static volatile uint64_t asked[MAX_HARTS], answered[MAX_HARTS];

static uint64_t all_harts(void)
{
	return BIT(m.nharts) - 1;
}

static bool pending(void)
{
	return csr_read(sip) & BIT(IRQ_SOFT);
}

static void clear(void)
{
	csr_clear(sip, BIT(IRQ_SOFT));
}

/* Takes interrupts until told to stop. The look at `stop` and the WFI are one step to interrupts:
 * taken between them, the last one would wake nobody. */
static void listen_until_stop(void)
{
	while (!stop) {
		irqs_off();
		if (!stop)
			__asm__ volatile("wfi");
		irqs_on();
	}
	irqs_off();
}

static void listen(struct hart *h)
{
	csr_write(sie, BIT(IRQ_SOFT));
	irqs_on();
	h->arg = 1;
	listen_until_stop();
}

static void start_listeners(void (*fn)(struct hart *))
{
	stop = false;
	for (unsigned i = 1; i < m.nharts; i++) {
		harts[i].arg = 0;
		hart_start(i, fn);
	}
	for (unsigned i = 1; i < m.nharts; i++)
		while (!harts[i].arg)
			give_way();
}

static void stop_listeners(void)
{
	stop = true;
	sbi_send_ipi(0, ~0ul);
	clear();
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

static void test_self(void)
{
	clear();
	check_err("no hart", sbi_send_ipi(0, 0), SBI_SUCCESS);
	check("no hart: nothing pending", !pending());
	check_err("self", sbi_send_ipi(1, 0), SBI_SUCCESS);
	check("self: pending", pending());
	clear();
	check("pending bit cleared", !pending());
	csr_set(sip, BIT(IRQ_SOFT));
	check("pending bit set by hand", pending());
	check_eq("legacy clear_ipi tells", (uint64_t)sbi_legacy(3, 0, 0, 0, 0), 1);
	check("legacy clear_ipi clears", !pending());
	check_eq("legacy clear_ipi: nothing", (uint64_t)sbi_legacy(3, 0, 0, 0, 0), 0);
}

static void test_invalid(void)
{
	const struct {
		const char *name;
		uint64_t mask, base;
	} bad[] = {
		{"base beyond", 1, m.nharts},
		{"base 64", 1, 64},
		{"base -2", 1, ~1ul},
		{"base -2, bit 2", 4, ~1ul},
		{"base 2^63", 1, 1ul << 63},
		{"base 2^32", 1, 1ul << 32},
		{"bit beyond", BIT(m.nharts), 0},
		{"bit 63", 1ul << 63, 0},
		{"all bits", ~0ul, 0},
		{"all bits, last hart", ~0ul, m.nharts - 1},
		{"base + bit beyond", 2, m.nharts - 1},
		{"base + bit wraps", 1ul << 63, 1ul << 63},
		{"good and bad", BIT(m.nharts) | 1, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_err(bad[i].name, sbi_send_ipi(bad[i].mask, bad[i].base), SBI_INVALID_PARAM);
	clear();
}

static void wait_count(unsigned id, uint64_t count)
{
	while (harts[id].irqs[IRQ_SOFT] < count)
		give_way();
}

/* Each hart alone, by each base that names it. */
static void test_each(void)
{
	for (unsigned i = 1; i < m.nharts; i++)
		for (unsigned base = 0; base <= i; base++) {
			uint64_t before = harts[i].irqs[IRQ_SOFT];

			check_err("send to one", sbi_send_ipi(BIT(i - base), base), SBI_SUCCESS);
			wait_count(i, before + 1);
			check("not to self", !pending());
		}
}

static void test_all(const char *name, uint64_t mask, uint64_t base)
{
	uint64_t before[MAX_HARTS];

	for (unsigned i = 1; i < m.nharts; i++)
		before[i] = harts[i].irqs[IRQ_SOFT];
	check_err(name, sbi_send_ipi(mask, base), SBI_SUCCESS);
	for (unsigned i = 1; i < m.nharts; i++)
		wait_count(i, before[i] + 1);
	check("all: self too", pending());
	clear();
}

static void test_stopped_target(void)
{
	if (m.nharts == 1) {
		skip("stopped hart as a target", "one hart");
		return;
	}
	check_eq("hart 1 is stopped", sbi_hart_status(1), HSM_STOPPED);
	check_err("to a stopped hart", sbi_send_ipi(2, 0), SBI_SUCCESS);
	check_eq("it stays stopped", sbi_hart_status(1), HSM_STOPPED);
}

static void test_legacy(void)
{
	static volatile uint64_t mask __attribute__((aligned(16)));
	uint64_t *root = pt_new(), before = m.nharts > 1 ? harts[1].irqs[IRQ_SOFT] : 0;
	const uint64_t va = 200ul << 30;

	mask = all_harts();
	check_eq("legacy: mask", (uint64_t)sbi_legacy(4, (uintptr_t)&mask, 0, 0, 0), 0);
	check("legacy: pending", pending());
	clear();
	if (m.nharts > 1)
		wait_count(1, before + 1);
	check_eq("legacy: NULL is all", (uint64_t)sbi_legacy(4, 0, 0, 0, 0), 0);
	check("legacy: NULL: pending", pending());
	clear();
	if (m.nharts > 1)
		wait_count(1, before + 2);
	mask = 0;
	check_eq("legacy: empty mask", (uint64_t)sbi_legacy(4, (uintptr_t)&mask, 0, 0, 0), 0);
	check("legacy: empty mask: nothing", !pending());
	check("legacy: no RAM", sbi_legacy(4, 0x1000, 0, 0, 0) < 0);
	check("legacy: hypervisor", sbi_legacy(4, 0x80000000, 0, 0, 0) < 0);
	check("legacy: 2^56", sbi_legacy(4, 1ul << 56, 0, 0, 0) < 0);
	mask = 1;
	pt_map(root, va, (uintptr_t)&mask & ~(PAGE - 1), PTE_V | PTE_R | PTE_W | PTE_A | PTE_D);
	pt_map(root, va + PAGE, (uintptr_t)&mask & ~(PAGE - 1),
		PTE_V | PTE_R | PTE_W | PTE_A | PTE_D | PTE_U);
	csr_write(satp, satp_for(root, 0));
	sfence();
	check_eq("legacy: virtual address",
		(uint64_t)sbi_legacy(4, va | ((uintptr_t)&mask & (PAGE - 1)), 0, 0, 0), 0);
	check("legacy: virtual address: pending", pending());
	clear();
	check("legacy: user page",
		sbi_legacy(4, (va + PAGE) | ((uintptr_t)&mask & (PAGE - 1)), 0, 0, 0) < 0);
	check("legacy: not mapped", sbi_legacy(4, va + 2 * PAGE, 0, 0, 0) < 0);
	check("legacy: not canonical", sbi_legacy(4, 1ul << 45, 0, 0, 0) < 0);
	check("legacy: errors send nothing", !pending());
	csr_write(satp, 0);
	sfence();
	/* A misaligned mask may be read or refused. */
	sbi_legacy(4, (uintptr_t)&mask + 1, 0, 0, 0);
	check("legacy: misaligned survives", true);
	clear();
}

/* The listener answers each number it is given; a lost interrupt leaves it asleep. */
static void answer(struct hart *h, uint64_t irq)
{
	(void)irq;
	clear();
	answered[h->id] = asked[h->id];
}

static void listen_and_answer(struct hart *h)
{
	h->on_irq = answer;
	listen(h);
}

static void test_no_lost(void)
{
	start_listeners(listen_and_answer);
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 1; i < m.nharts; i++)
			asked[i] = round;
		sbi_send_ipi(all_harts() & ~1ul, 0);
		for (unsigned i = 1; i < m.nharts; i++)
			while (answered[i] != round)
				give_way();
	}
	check("none lost", true);
	stop_listeners();
}

/* Everybody to everybody: the last one sent to each must arrive. */
static void flood(struct hart *h)
{
	h->on_irq = answer;
	csr_write(sie, BIT(IRQ_SOFT));
	irqs_on();
	for (unsigned i = 0; i < ROUNDS; i++)
		sbi_send_ipi(i & 1 ? 0 : all_harts(), i & 1 ? ~0ul : 0);
	h->arg = 2;
	listen_until_stop();
	csr_write(sie, 0);
}

static void test_flood(void)
{
	stop = false;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, flood);
	for (unsigned i = 0; i < ROUNDS; i++)
		sbi_send_ipi(all_harts(), 0);
	for (unsigned i = 1; i < m.nharts; i++)
		while (harts[i].arg != 2)
			give_way();
	stop_listeners();
	check("flood survived", true);
}

void guest_main(void)
{
	test_self();
	test_invalid();
	test_stopped_target();
	start_listeners(listen);
	test_each();
	test_all("by mask", all_harts(), 0);
	test_all("base -1", 0, ~0ul);
	test_all("base -1, mask ignored", ~0ul, ~0ul);
	test_legacy();
	stop_listeners();
	test_no_lost();
	test_flood();
}
