/* SPDX-License-Identifier: MIT */
/*
 * If this fails: harts that are started, stopped, suspended, interrupted and fenced by each other
 * at random get lost: one is started twice or never, does not wake, or waits for one that is gone.
 */
#include "guest.h"

#define NON_RETENTIVE 0x80000000ul
#define TURNS         4000 /* of hart 0 */

static volatile bool stop;
static volatile uint64_t started[MAX_HARTS], entered[MAX_HARTS], unexpected, last_error;

static void storm(struct hart *h);

static void note(struct sbiret r, int64_t also_right)
{
	if (r.error && r.error != also_right) {
		unexpected++;
		last_error = (uint64_t)r.error;
	}
}

static void on_irq(struct hart *h, uint64_t irq)
{
	(void)h;
	if (irq == IRQ_TIMER)
		sbi_set_timer(~0ul);
	else
		csr_clear(sip, BIT(irq));
}

static void start_one(uint64_t id)
{
	/* Counted first: it may run before the call returns. */
	__atomic_fetch_add(&started[id], 1, __ATOMIC_SEQ_CST);
	struct sbiret r = sbi(EID_HSM, 0, id, (uintptr_t)hart_entry, (uintptr_t)&harts[id], 0, 0);

	if (r.error)
		__atomic_fetch_sub(&started[id], 1, __ATOMIC_SEQ_CST);
	note(r, SBI_ALREADY_AVAILABLE);
}

static void suspend(uint64_t r)
{
	struct resumed res;

	irqs_off(); /* the timer's interrupt, taken before, would wake nobody */
	sbi_set_timer(now() + r % (m.hz / 2000));
	if (r & 1)
		note(sbi(EID_HSM, 3, 0, 0, 0, 0, 0), SBI_SUCCESS);
	else
		note((struct sbiret){suspend_to(EID_HSM, 3, NON_RETENTIVE, &res), 0}, SBI_SUCCESS);
	irqs_on();
}

/* False: this hart should stop. */
static bool one_thing(struct hart *h, uint64_t *seed)
{
	uint64_t r = random_next(seed), all = BIT(m.nharts) - 1, arg = r >> 8;

	switch (r % 10) {
	case 0:
		return h->id == 0;
	case 1:
	case 2:
		if (arg % m.nharts)
			start_one(arg % m.nharts);
		return true;
	case 3:
		note(sbi_send_ipi(arg & all, 0), SBI_SUCCESS);
		return true;
	case 4:
		note(sbi(EID_RFENCE, arg % 3, arg >> 8 & all, 0, arg << 12, arg >> 40, 0),
			SBI_INVALID_ADDRESS);
		return true;
	case 5:
		suspend(arg);
		return true;
	case 6:
		irqs_off();
		sbi_set_timer(now() + arg % (m.hz / 2000));
		__asm__ volatile("wfi");
		irqs_on();
		return true;
	case 7:
		note(sbi(EID_HSM, 2, arg % m.nharts, 0, 0, 0, 0), SBI_SUCCESS);
		return true;
	case 8:
		try_load(0x80000000, 4);
		return true;
	default:
		spin_for(arg % (m.hz / 20000));
		return true;
	}
}

static void storm(struct hart *h)
{
	static uint64_t seeds[MAX_HARTS];

	if (h->id) {
		__atomic_fetch_add(&entered[h->id], 1, __ATOMIC_SEQ_CST);
		seeds[h->id] += h->id * 0x9e3779b97f4a7c15ul + 1;
	} else {
		seeds[0] = 1234567;
	}
	h->on_irq = on_irq;
	csr_write(sie, BIT(IRQ_TIMER) | BIT(IRQ_SOFT));
	irqs_on();
	for (unsigned i = 0; !stop && (h->id || i < TURNS); i++)
		if (!one_thing(h, &seeds[h->id]))
			break;
	irqs_off();
	csr_write(sie, 0);
	sbi_set_timer(~0ul);
}

void guest_main(void)
{
	uint64_t lost = 0, total = 0;

	if (m.nharts == 1) {
		skip("storm", "one hart");
		return;
	}
	for (unsigned i = 1; i < m.nharts; i++)
		harts[i].fn = storm;
	storm(&harts[0]);
	stop = true;
	/* Who sleeps without a timer is woken; a late start is seen by the count. */
	for (unsigned i = 1; i < m.nharts; i++)
		while (sbi_hart_status(i) != HSM_STOPPED || entered[i] != started[i])
			give_way();
	for (unsigned i = 1; i < m.nharts; i++) {
		lost += started[i] != entered[i];
		total += entered[i];
	}
	check_eq("each start is one run", lost, 0);
	check_eq("no unexpected error", unexpected ? last_error : 0, 0);
	check("harts were started", total > 0);
	say("# %lu starts", total);
}
