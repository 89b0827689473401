/* SPDX-License-Identifier: MIT */
/*
 * If this fails: VCPUs that share PCPUs starve, get unequal shares, keep a PCPU while they wait,
 * are not woken, or see time go backwards.
 *
 * Shares are compared with each other, never with a clock: all harts spin until the least served
 * has done a given amount of work.
 */
#include "guest.h"

static struct {
	volatile uint64_t work;
	uint8_t pad[56];
} done[MAX_HARTS];
static volatile bool go, stop;

static uint64_t least(unsigned from)
{
	uint64_t w = ~0ul;

	for (unsigned i = from; i < m.nharts; i++)
		w = done[i].work < w ? done[i].work : w;
	return w;
}

/* As SBI STA defines it. */
struct sta {
	volatile uint32_t sequence, flags;
	volatile uint64_t steal;
	volatile uint8_t preempted, pad[47];
};
static struct sta stas[MAX_HARTS] __attribute__((aligned(64)));
static volatile uint64_t per_mille[MAX_HARTS]; /* of the time while all spun: how much a hart ran */

/* Counts its work, and how much of the time it ran: all but what was stolen from it. */
static void spin(struct hart *h)
{
	struct sta *sta = &stas[h->id];

	if (sbi(EID_STA, 0, (uintptr_t)sta, 0, 0, 0, 0).error)
		broken("no steal time", h->id, 0, 0);
	while (!go)
		relax();
	uint64_t steal = sta->steal, start = now();

	while (!stop)
		done[h->id].work++;
	uint64_t elapsed = (now() - start) * (1000000000 / m.hz);

	per_mille[h->id] = (elapsed - (sta->steal - steal)) / (elapsed / 1000);
}

static void check_equal(const char *name, uint64_t (*of)(unsigned hart))
{
	uint64_t max = 0, min = ~0ul;

	for (unsigned i = 1; i < m.nharts; i++) {
		uint64_t v = of(i);

		max = v > max ? v : max;
		min = v < min ? v : min;
	}
	say("# %s: least %lu, most %lu", name, min, max);
	check(name, max - min <= max / 4);
}

static uint64_t work_of(unsigned hart)
{
	return done[hart].work;
}

static uint64_t time_of(unsigned hart)
{
	return per_mille[hart];
}

/* All harts but 0, which waits in WFI most of the time. */
static void test_shares(uint64_t amount)
{
	go = stop = false;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, spin);
	/* Until each has been told of its steal time once. */
	spin_for(m.hz / 10);
	csr_set(sie, BIT(IRQ_TIMER));
	go = true;
	uint64_t until = now() + m.nharts * m.hz / 5;

	while (now() < until || least(1) < amount) {
		sbi_set_timer(now() + m.hz / 20);
		__asm__ volatile("wfi");
	}
	stop = true;
	csr_clear(sie, BIT(IRQ_TIMER));
	sbi_set_timer(~0ul);
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check("every VCPU progresses", true);
	/* Only where time is instructions: otherwise the build machine's scheduler is measured too.
	 */
	if (bootarg("fair"))
		check_equal("shares of time are within a quarter", time_of);
	/* With several PCPUs the emulator gives one more instructions than the other. */
	if (bootarg("one-pcpu"))
		check_equal("shares of work are within a quarter", work_of);
}

/* --- WFI gives the PCPU away --- */

static volatile uint64_t ping, pong;

static void on_soft(struct hart *h, uint64_t irq)
{
	(void)h;
	(void)irq;
	csr_clear(sip, BIT(IRQ_SOFT));
}

static void ponger(struct hart *h)
{
	h->on_irq = on_soft;
	csr_write(sie, BIT(IRQ_SOFT));
	irqs_on();
	while (!stop) {
		if (pong != ping) {
			pong = ping;
			sbi_send_ipi(1, 0);
		}
		irqs_off();
		if (pong == ping && !stop)
			__asm__ volatile("wfi");
		irqs_on();
	}
	irqs_off();
	csr_write(sie, 0);
}

/* Two harts wake each other by IPI, each in WFI otherwise. If WFI kept the PCPU, each turn would
 * take slices. */
static void test_ping_pong(void)
{
	struct hart *h = this_hart();

	stop = false;
	ping = pong = 0;
	h->on_irq = on_soft;
	csr_write(sie, BIT(IRQ_SOFT));
	hart_start(1, ponger);
	for (unsigned i = 1; i <= 3000; i++) {
		ping = i;
		sbi_send_ipi(2, 0);
		while (pong != i) {
			__asm__ volatile("wfi");
			csr_clear(sip, BIT(IRQ_SOFT));
		}
	}
	check("IPI wakes a VCPU in WFI, 3000 times to and fro", true);
	stop = true;
	sbi_send_ipi(2, 0);
	hart_wait(1);
	csr_write(sie, 0);
	csr_clear(sip, BIT(IRQ_SOFT));
}

/* A hart in WFI for long leaves its PCPU to those that spin: it is asleep with SIE = 0 and no
 * interrupt enabled at all. */
static void sleeper(struct hart *h)
{
	csr_write(sie, BIT(IRQ_SOFT));
	h->arg = 1;
	while (!(csr_read(sip) & BIT(IRQ_SOFT)))
		__asm__ volatile("wfi");
	csr_write(sie, 0);
	h->arg = 2;
}

static void test_sleepers(void)
{
	for (unsigned i = 1; i < m.nharts; i++) {
		harts[i].arg = 0;
		hart_start(i, sleeper);
	}
	for (unsigned i = 1; i < m.nharts; i++)
		while (harts[i].arg != 1)
			relax();
	spin_for(m.hz / 10);
	for (unsigned i = 1; i < m.nharts; i++)
		check_eq_at("asleep", i, harts[i].arg, 1);
	sbi_send_ipi(BIT(m.nharts) - 2, 0);
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check("all woken", true);
}

/* --- time --- */

static volatile uint64_t latest, backwards;

static void watch(struct hart *h)
{
	(void)h;
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t before = latest;

		__asm__ volatile("fence rw, rw" ::: "memory");
		uint64_t t = now();

		if (t < before)
			backwards++;
		if (t > latest)
			latest = t;
	}
}

static void test_time(void)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, watch);
	watch(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check_eq("time never goes backwards, across harts", backwards, 0);
}

/* --- steal time --- */

static void spin_only(struct hart *h)
{
	(void)h;
	while (!stop)
		relax();
}

static void test_steal(void)
{
	uint64_t odd = 0, shrunk = 0, last = 0;
	struct sta *sta = &stas[0];

	memset(sta, 0xff, sizeof(*sta));
	uint64_t start = now();

	check_err("STA on", sbi(EID_STA, 0, (uintptr_t)sta, 0, 0, 0, 0), SBI_SUCCESS);
	if (!bootarg("shared")) {
		skip("steal time grows", "PCPUs are not shared for sure");
		return;
	}
	stop = false;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, spin_only);
	while (!sta->steal)
		relax();
	uint64_t first = sta->steal;

	check("steal time counts from when STA is set",
		first <= (now() - start) * (1000000000 / m.hz));

	while (sta->steal < first + 50000000) {
		uint32_t s1 = sta->sequence;
		uint64_t v = sta->steal;

		odd += s1 & 1;
		shrunk += v < last;
		last = v;
	}
	stop = true;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check("steal time grows", true);
	check_eq("sequence is even for the VCPU itself", odd, 0);
	check_eq("steal time never shrinks", shrunk, 0);
	check_err("STA off", sbi(EID_STA, 0, ~0ul, ~0ul, 0, 0, 0), SBI_SUCCESS);
}

void guest_main(void)
{
	if (m.nharts == 1) {
		skip("scheduling", "one hart");
		test_time();
		return;
	}
	test_time();
	test_ping_pong();
	test_sleepers();
	test_shares(100000);
	test_steal();
}
