/* SPDX-License-Identifier: MIT */
/*
 * If this fails: harts cannot be brought up, taken down or put to sleep as the SBI says: CPU
 * hotplug and idle states break, a hart starts with another's state, or a bad request does harm
 * instead of failing.
 */
#include "guest.h"

#define RESTARTS      1000
#define NON_RETENTIVE 0x80000000ul

/* What probe_entry stores, found by its a1. */
struct start_state {
	uint64_t x[32], satp, sstatus, sie, sip, sscratch, stvec, senvcfg, scounteren;
	volatile uint64_t done;
};

__asm__(".balign 4\n"
	"probe_entry:\n"
	"	sd x1, 8(a1)\n	sd x2, 16(a1)\n	sd x3, 24(a1)\n	sd x4, 32(a1)\n	sd x5, 40(a1)\n	sd "
	"x6, 48(a1)\n"
	"	sd x7, 56(a1)\n	sd x8, 64(a1)\n	sd x9, 72(a1)\n	sd x10, 80(a1)\n	sd x11, "
	"88(a1)\n	sd x12, 96(a1)\n"
	"	sd x13, 104(a1)\n	sd x14, 112(a1)\n	sd x15, 120(a1)\n	sd x16, "
	"128(a1)\n	sd x17, 136(a1)\n"
	"	sd x18, 144(a1)\n	sd x19, 152(a1)\n	sd x20, 160(a1)\n	sd x21, "
	"168(a1)\n	sd x22, 176(a1)\n"
	"	sd x23, 184(a1)\n	sd x24, 192(a1)\n	sd x25, 200(a1)\n	sd x26, "
	"208(a1)\n	sd x27, 216(a1)\n"
	"	sd x28, 224(a1)\n	sd x29, 232(a1)\n	sd x30, 240(a1)\n	sd x31, "
	"248(a1)\n"
	"	csrr t0, satp\n	sd t0, 256(a1)\n	csrr t0, sstatus\n	sd t0, 264(a1)\n"
	"	csrr t0, sie\n	sd t0, 272(a1)\n	csrr t0, sip\n	sd t0, 280(a1)\n"
	"	csrr t0, sscratch\n	sd t0, 288(a1)\n	csrr t0, stvec\n	sd t0, "
	"296(a1)\n"
	"	csrr t0, senvcfg\n	sd t0, 304(a1)\n	csrr t0, scounteren\n	sd t0, "
	"312(a1)\n"
	"	fence rw, rw\n	li t0, 1\n	sd t0, 320(a1)\n"
	"	li a7, 0x48534d\n	li a6, 1\n	ecall\n	j .\n");
extern char probe_entry[];

static struct start_state state;
static uint64_t *root;
static volatile uint64_t starts;

static struct sbiret start(uint64_t id, uint64_t address, uint64_t arg)
{
	return sbi(EID_HSM, 0, id, address, arg, 0, 0);
}

static struct sbiret suspend(uint64_t type, uint64_t resume, uint64_t arg)
{
	return sbi(EID_HSM, 3, type, resume, arg, 0, 0);
}

static void wait_status(uint64_t id, uint64_t status)
{
	while (sbi_hart_status(id) != status)
		give_way();
}

static void test_status(void)
{
	check_eq("own status", sbi_hart_status(0), HSM_STARTED);
	for (unsigned i = 1; i < m.nharts; i++)
		check_eq_at("stopped", i, sbi_hart_status(i), HSM_STOPPED);
	check_err("status of the first absent hart", sbi(EID_HSM, 2, m.nharts, 0, 0, 0, 0),
		SBI_INVALID_PARAM);
	check_err("status of hart 64", sbi(EID_HSM, 2, 64, 0, 0, 0, 0), SBI_INVALID_PARAM);
	check_err("status of hart 2^32", sbi(EID_HSM, 2, 1ul << 32, 0, 0, 0, 0), SBI_INVALID_PARAM);
	check_err("status of hart -1", sbi(EID_HSM, 2, ~0ul, 0, 0, 0, 0), SBI_INVALID_PARAM);
}

static void test_start_errors(void)
{
	const uint64_t good = (uintptr_t)probe_entry, end = m.ram_base + m.ram_size;
	const uint64_t bad[] = {0, 2, 0x1000, 0x100000, 0x2000000, m.plic, m.uart, 0x80000000,
		m.ram_base - 2, m.ram_base - 4096, end, end + 4096, good | 1, 1ul << 40, 1ul << 41,
		1ul << 41 | good, 1ul << 55 | good, 1ul << 56 | good, 1ul << 63 | good, ~1ul, ~0ul};

	check_err("start of itself", start(0, good, 0), SBI_ALREADY_AVAILABLE);
	check_err("start of the first absent hart", start(m.nharts, good, 0), SBI_INVALID_PARAM);
	check_err("start of hart 2^32", start(1ul << 32, good, 0), SBI_INVALID_PARAM);
	check_err("start of hart -1", start(~0ul, good, 0), SBI_INVALID_PARAM);
	if (m.nharts == 1)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		check_eq_at("start at", bad[i], (uint64_t)start(1, bad[i], 0).error,
			SBI_INVALID_ADDRESS);
		if (sbi_hart_status(1) != HSM_STOPPED)
			check("a failed start leaves the hart stopped", false);
	}
}

static uint64_t scounteren_dirty;

static void check_start_state(const struct start_state *s, uint64_t id, bool zeros)
{
	uint64_t others = 0;

	for (unsigned i = 1; i < 32; i++)
		if (i != 10 && i != 11)
			others |= s->x[i];
	check_eq("a0 is the hart's id", s->x[10], id);
	check_eq("a1 is the argument", s->x[11], (uintptr_t)s);
	check_eq("satp is 0", s->satp, 0);
	check_eq("SIE is 0", s->sstatus & SSTATUS_SIE, 0);
	if (!zeros)
		return;
	check_eq("other registers tell nothing", others, 0);
	check_eq("sie is 0", s->sie, 0);
	check_eq("sscratch tells nothing", s->sscratch, 0);
	check_eq("senvcfg is 0", s->senvcfg, 0);
	check("scounteren tells nothing", s->scounteren != scounteren_dirty);
}

/* Leaves as much behind as it can. */
static void make_dirty(struct hart *h)
{
	(void)h;
	csr_write(satp, satp_for(root, 7));
	sfence();
	csr_write(senvcfg, ~0ul);
	csr_write(scounteren, ~0ul);
	scounteren_dirty = csr_read(scounteren);
	csr_write(sie, BIT(IRQ_TIMER) | BIT(IRQ_EXT));
	sbi_set_timer(now() + m.hz * 1000);
	irqs_on();
}

static void test_start_state(void)
{
	for (unsigned i = 1; i < m.nharts; i++) {
		hart_start(i, make_dirty);
		hart_wait(i);
		memset(&state, 0xa5, sizeof(state));
		state.done = 0;
		check_err(
			"start", start(i, (uintptr_t)probe_entry, (uintptr_t)&state), SBI_SUCCESS);
		while (!state.done)
			give_way();
		wait_status(i, HSM_STOPPED);
		check_start_state(&state, i, true);
	}
}

static void count_start(struct hart *h)
{
	(void)h;
	__atomic_fetch_add(&starts, 1, __ATOMIC_RELAXED);
}

static void test_restarts(void)
{
	starts = 0;
	for (unsigned i = 0; i < RESTARTS; i++) {
		unsigned id = 1 + i % (m.nharts - 1);

		hart_start(id, count_start);
		hart_wait(id);
	}
	check_eq("each start ran once", starts, RESTARTS);
}

static volatile uint64_t go, won;

/* All contend for the last hart: one may have it. */
static void contend(struct hart *h)
{
	(void)h;
	while (!go)
		relax();
	if (!start(m.nharts - 1, (uintptr_t)hart_entry, (uintptr_t)&harts[m.nharts - 1]).error)
		__atomic_fetch_add(&won, 1, __ATOMIC_RELAXED);
}

static void test_start_race(void)
{
	if (m.nharts < 3) {
		skip("start race", "needs three harts");
		return;
	}
	for (unsigned round = 0; round < 50; round++) {
		starts = won = go = 0;
		harts[m.nharts - 1].fn = count_start;
		harts[m.nharts - 1].done = false;
		for (unsigned i = 1; i < m.nharts - 1; i++)
			hart_start(i, contend);
		go = 1;
		for (unsigned i = 1; i < m.nharts - 1; i++)
			hart_wait(i);
		hart_wait(m.nharts - 1);
		/* Having run and stopped it may be started again by a late one. */
		if (won == 0 || starts != won)
			check_eq("start race: as many runs as successes", starts, won);
	}
	check("start race", true);
}

static void test_suspend_errors(void)
{
	static const uint64_t reserved[] = {1, 0x0fffffff, 0x10000000, 0x7fffffff, 0x80000001,
		0x8fffffff, 0x90000000, 0xffffffff, ~0ul};
	const uint64_t good = (uintptr_t)hart_entry;
	const uint64_t bad[] = {0, m.uart, 0x80000000, m.ram_base - 4, m.ram_base + m.ram_size,
		good | 1, 1ul << 41, 1ul << 63 | good, ~0ul};

	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++)
		check_eq_at("suspend type", reserved[i],
			(uint64_t)suspend(reserved[i], good, 0).error, SBI_INVALID_PARAM);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_eq_at("resume at", bad[i], (uint64_t)suspend(NON_RETENTIVE, bad[i], 0).error,
			SBI_INVALID_ADDRESS);
	check_eq("still started", sbi_hart_status(0), HSM_STARTED);
}

/* Comes again: on a loaded machine the first may come before the suspension that it is to end. */
static void tick(struct hart *h, uint64_t irq)
{
	(void)h;
	(void)irq;
	sbi_set_timer(now() + m.hz / 100);
}

static void test_retentive(void)
{
	struct hart *h = this_hart();

	csr_write(sie, BIT(IRQ_TIMER));
	sbi_set_timer(now() + m.hz / 100);
	check_err("retentive suspend", suspend(0, 0, 0), SBI_SUCCESS);
	check("it ended by the timer", csr_read(sip) & BIT(IRQ_TIMER));
	check_err("suspend with an interrupt pending", suspend(0, ~0ul, 0), SBI_SUCCESS);
	h->on_irq = tick;
	uint64_t before = h->irqs[IRQ_TIMER];

	sbi_set_timer(now() + m.hz / 100);
	irqs_on();
	check_err("suspend with SIE set", suspend(0, 0, 0), SBI_SUCCESS);
	while (h->irqs[IRQ_TIMER] == before)
		relax();
	irqs_off();
	csr_write(sie, 0);
	sbi_set_timer(~0ul);
	check_eq("started again", sbi_hart_status(0), HSM_STARTED);
}

static void test_non_retentive(void)
{
	struct resumed r;

	csr_write(satp, satp_for(root, 0));
	sfence();
	csr_write(sie, BIT(IRQ_TIMER));
	sbi_set_timer(now() + m.hz / 100);
	check_eq("non-retentive suspend", (uint64_t)suspend_to(EID_HSM, 3, NON_RETENTIVE, &r),
		SBI_SUCCESS);
	check_eq("resume: a0 is the hart's id", r.a0, this_hart()->id);
	check_eq("resume: a1 is the argument", r.a1, (uintptr_t)&r);
	check_eq("resume: satp is 0", r.satp, 0);
	check_eq("resume: SIE is 0", r.sstatus & SSTATUS_SIE, 0);
	check("resume: the interrupt is pending", r.sip & BIT(IRQ_TIMER));
	check_eq("resume: started", sbi_hart_status(this_hart()->id), HSM_STARTED);
	csr_write(sie, 0);
	sbi_set_timer(~0ul);
}

static void sleeper(struct hart *h)
{
	csr_write(sie, BIT(IRQ_SOFT));
	for (unsigned i = 0; i < 100; i++) {
		struct sbiret r = suspend(0, 0, 0);

		if (r.error)
			broken("suspend failed", (uint64_t)r.error, 0, 0);
		/* It may end early. */
		while (!(csr_read(sip) & BIT(IRQ_SOFT)))
			suspend(0, 0, 0);
		csr_clear(sip, BIT(IRQ_SOFT));
		h->arg = i + 1;
	}
}

static void test_seen_from_outside(void)
{
	harts[1].arg = 0;
	hart_start(1, sleeper);
	for (unsigned i = 0; i < 100; i++) {
		wait_status(1, HSM_SUSPENDED);
		if (i == 0)
			check_err("start of a suspended hart", start(1, (uintptr_t)hart_entry, 0),
				SBI_ALREADY_AVAILABLE);
		if (i == 1)
			check_err("fence to a suspended hart", sbi(EID_RFENCE, 1, 2, 0, 0, 0, 0),
				SBI_SUCCESS);
		sbi_send_ipi(2, 0);
		while (harts[1].arg != i + 1)
			give_way();
	}
	hart_wait(1);
	check("suspended until the IPI, 100 times", true);
	check_eq("stopped afterwards", sbi_hart_status(1), HSM_STOPPED);
}

/* Stopped with an interrupt pending, it must not come to life by it, nor start with its timer
 * running. */
static void stop_with_pending(struct hart *h)
{
	(void)h;
	csr_write(sie, BIT(IRQ_SOFT) | BIT(IRQ_TIMER));
	sbi_send_ipi(BIT(h->id), 0);
	sbi_set_timer(now() + m.hz / 1000);
}

static void test_stop_with_pending(void)
{
	hart_start(1, stop_with_pending);
	hart_wait(1);
	spin_for(m.hz / 100);
	check_eq("stays stopped", sbi_hart_status(1), HSM_STOPPED);
	memset(&state, 0, sizeof(state));
	start(1, (uintptr_t)probe_entry, (uintptr_t)&state);
	while (!state.done)
		give_way();
	wait_status(1, HSM_STOPPED);
	check_eq("the old timer does not run", state.sip & BIT(IRQ_TIMER), 0);
}

/* --- RAM that nobody has touched is RAM --- */

#define EMPTY_BASE   0x80000000ul
#define EMPTY_WINDOW 0x1000000000ul

/* Hart 0 of an empty VM: starts hart 1 in a superpage that is not there yet, and tells what that
 * said, if it is an error. Hart 1 finds zeros there, no instruction, and has no trap vector. */
extern char in_empty_vm[], in_empty_vm_end[];
__asm__(".pushsection .text\n"
	"in_empty_vm:\n"
	"li a7, 0x48534d\n"
	"li a6, 0\n"
	"li a0, 1\n"
	"li a1, 0x80200000\n"
	"ecall\n"
	"bnez a0, 2f\n"
	"1: wfi\n"
	"j 1b\n"
	"2: addi a0, a0, 40\n"
	"li a7, 0x0a000005\n"
	"li a6, 2\n"
	"ecall\n"
	"in_empty_vm_end:\n"
	".popsection\n");

static void test_start_in_fresh_ram(void)
{
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(2, MIB(4)), 0, 0);
	uint64_t child = r.value;

	check_err("an empty VM", r, SBI_SUCCESS);
	sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, EMPTY_BASE, EMPTY_WINDOW, PAGE,
		DX_READ | DX_WRITE);
	memcpy((void *)EMPTY_WINDOW, in_empty_vm, (size_t)(in_empty_vm_end - in_empty_vm));
	dx(DX_FID_WINDOW_UNMAP, EMPTY_WINDOW, PAGE, 0);
	check_err("it starts", dx(DX_FID_START, child, EMPTY_BASE, 0), SBI_SUCCESS);
	check_eq("a hart starts in RAM that nobody has touched", dx_end(child).reason,
		DX_REASON_CRASH);
}

void guest_main(void)
{
	root = pt_new();
	test_status();
	test_start_errors();
	test_suspend_errors();
	test_retentive();
	test_non_retentive();
	test_start_in_fresh_ram();
	if (m.nharts == 1) {
		skip("start and stop", "one hart");
		return;
	}
	test_start_state();
	test_restarts();
	test_start_race();
	test_seen_from_outside();
	test_stop_with_pending();
}
