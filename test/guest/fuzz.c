/* SPDX-License-Identifier: MIT */
/*
 * If this fails: some instruction or register value stops the hypervisor, or takes a guest's hart
 * from it. Random instructions run in S- and U-mode with random registers, and every S-mode
 * register is given extreme values; whatever the hardware or the hypervisor answers is right, as
 * long as the guest gets control back.
 */
#include "abi/diosix.h"
#include "guest.h"

#define INSNS 40000 /* all harts together */
#define WORDS 8     /* instructions in one run */

static const uint32_t ebreak = 0x00100073;

/* SYSTEM instructions that would take the test's own ground away: registers that trap.c lives on,
 * and what waits or returns elsewhere. Everything else is allowed. */
static bool is_forbidden(uint32_t insn)
{
	uint32_t csr = insn >> 20;

	if ((insn & 0x7f) != 0x73)
		return false;
	if ((insn >> 12 & 7) == 0)
		return insn == 0x10500073 || insn == 0x00000073; /* wfi, ecall: fuzzed apart */
	return csr == 0x105 || csr == 0x140 || csr == 0x180 || csr == 0x100 ||
	       csr == 0x104; /* stvec sscratch satp sstatus sie */
}

/* Half of them with an opcode that reaches further than plain noise: loads, stores, AMO, SYSTEM,
 * FP, vector. */
static uint32_t random_insn(uint64_t *seed)
{
	static const uint8_t opcodes[] = {
		0x03, 0x23, 0x2f, 0x73, 0x73, 0x07, 0x27, 0x53, 0x57, 0x0f, 0x13, 0x33};
	uint32_t insn;

	do {
		uint64_t r = random_next(seed);

		insn = (uint32_t)r;
		if (r >> 63)
			insn = (insn & ~0x7fu) |
			       opcodes[r >> 40 & 0xffff & 7 ? (r >> 40) % ARRAY_SIZE(opcodes) : 3];
	} while (is_forbidden(insn));
	return insn;
}

/* Addresses worth trying: the window, devices, the hypervisor, holes, nonsense. */
static uint64_t random_value(uint64_t *seed, uint64_t window)
{
	uint64_t r = random_next(seed), low = r >> 16 & 0x7ff;

	switch (r % 10) {
	case 0:
		return 0x80000000 + (low << 9);
	case 1:
		return m.plic + (low << 11);
	case 2:
		return m.uart + (low & 15);
	case 3:
		return low << 20;
	case 4:
		return ~low;
	case 5:
		return random_next(seed);
	default:
		return window + low;
	}
}

/* The window lies in the middle of 4 MiB of zeros, which are illegal instructions: jumps end there.
 */
struct ground {
	uint32_t *code;
	uint64_t window;
};

static struct ground grounds[MAX_HARTS];

static void run_one(struct hart *h, const struct ground *g, uint64_t *seed, bool user)
{
	for (unsigned i = 0; i < WORDS; i++)
		g->code[i] = random_insn(seed);
	g->code[WORDS] = ebreak;
	fence_i();
	for (unsigned i = 1; i < 32; i++)
		h->x[i] = random_value(seed, g->window);
	csr_set(sstatus, SSTATUS_FS | SSTATUS_VS);
	/* A loop among the random instructions ends by the timer; an interrupt does not leave
	 * run_code, its handler does. */
	sbi_set_timer(now() + m.hz / 20);
	run_code(h, (uintptr_t)g->code, user);
}

static volatile uint64_t timed_out;

/* A run that does not end is steered to an ebreak. */
static void on_timer(struct hart *h, uint64_t irq)
{
	/* Not running yet: the emulator's hart has waited long for its turn. */
	if (irq == IRQ_TIMER)
		sbi_set_timer(h->running_code ? ~0ul : now() + m.hz / 20);
	else
		csr_clear(sip, BIT(irq));
	if (h->running_code) {
		h->x[0] = (uintptr_t)&ebreak;
		timed_out++;
	}
}

static void fuzz(struct hart *h)
{
	uint64_t seed = 0x9e3779b97f4a7c15ul * (h->id + 1);

	h->on_irq = on_timer;
	csr_write(sie, BIT(IRQ_TIMER));
	irqs_on();
	for (unsigned i = 0; i < INSNS / WORDS / m.nharts; i++) {
		run_one(h, &grounds[h->id], &seed, i & 1);
		h->arg = i;
	}
	irqs_off();
	sbi_set_timer(~0ul);
	csr_write(sie, 0);
}

/* Random calls, without those that end or stop. */
static void fuzz_sbi(struct hart *h)
{
	static const uint64_t eids[] = {EID_BASE, EID_TIME, EID_IPI, EID_RFENCE, EID_HSM, EID_DBCN,
		EID_SUSP, EID_STA, EID_FWFT, EID_DIOSIX, 3, 4, 5, 6, 7, 0x504d55, 9};
	uint64_t seed = h->id + 77, window = grounds[h->id].window;

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t eid = eids[random_next(&seed) % ARRAY_SIZE(eids)],
			 fid = random_next(&seed) % 8, a[5];

		for (unsigned k = 0; k < 5; k++)
			a[k] = random_value(&seed, window);
		/* hart_stop, and waiting for an interrupt that nobody sends; console text stays
		 * readable. */
		if ((eid == EID_HSM && (fid == 1 || fid == 3)) || eid == EID_SUSP)
			continue;
		if (eid == EID_DIOSIX && fid >= DX_FID_EXIT && fid <= DX_FID_DROP_TRUST)
			continue;
		if (eid == EID_DBCN && (fid == 2 || a[1] - m.ram_base < m.ram_size))
			continue;
		if (eid == EID_HSM && fid == 0 && a[1] - m.ram_base < m.ram_size)
			continue;
		sbi(eid, fid, a[0], a[1], a[2], a[3], a[4]);
	}
	sbi(EID_STA, 0, ~0ul, ~0ul, 0, 0, 0);
	sbi(EID_FWFT, 0, 4, 0, 0, 0, 0);
	sbi_set_timer(~0ul);
	csr_clear(sip, BIT(IRQ_SOFT));
}

static void on_all(void (*fn)(struct hart *h))
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, fn);
	fn(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

/* Each S- and U-mode register with zeros, ones and in between; what is read must not trap other
 * than as illegal. */
static void test_csrs(void)
{
	static const uint64_t values[] = {
		0, ~0ul, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 1ul << 63, 0xffffffff};
	uint64_t there = 0, odd = 0;

	csr_set(sstatus, SSTATUS_FS | SSTATUS_VS);
	for (uint32_t csr = 0; csr < 0x1000; csr++) {
		uint64_t old = 0;

		if ((csr >> 8 & 3) > 1 || csr == 0x105 || csr == 0x140 || csr == 0x180)
			continue; /* stvec, sscratch, satp */
		struct trap t = try_insn(csr << 20 | 0x2573, 0, 0, &old);

		odd += t.taken && t.cause != ILLEGAL;
		if (t.taken)
			continue;
		there++;
		for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
			uint64_t v = values[i];

			/* SIE stays off, and U-mode's memory is not looked at with MXR and SUM. */
			if (csr == 0x100)
				v = (v & ~(SSTATUS_SIE | SSTATUS_SPIE)) | SSTATUS_FS | SSTATUS_VS;
			t = try_insn(csr << 20 | 0x51073, v, 0, NULL);
			odd += t.taken && t.cause != ILLEGAL;
			sbi(EID_BASE, 0, 0, 0, 0, 0, 0); /* a fast exit with it */
			try_load(0x80000000, 4);         /* a slow one */
		}
		try_insn(csr << 20 | 0x51073, old, 0, NULL);
	}
	check("registers are there", there > 10); /* with fcsr and its parts */
	check_eq("registers trap as illegal or not at all", odd, 0);
}

/* satp: modes that exist or not, with roots that lead nowhere are for another hart; here BARE and
 * reserved modes. */
static void test_satp(void)
{
	for (uint64_t mode = 0; mode < 16; mode++) {
		if (mode >= 8 && mode <= 10)
			continue;
		csr_write(satp, mode << 60);
		uint64_t got = csr_read(satp);

		csr_write(satp, 0);
		if (got && mode)
			check_eq_at("satp keeps a reserved mode", mode, got, 0);
	}
	check("reserved modes of satp", true);
}

static void make_grounds(void)
{
	for (unsigned i = 0; i < m.nharts; i++) {
		uint8_t *block = page_alloc(1024);

		grounds[i].code = (uint32_t *)(block + MIB(2));
		grounds[i].window = (uintptr_t)block + MIB(2) + 2048;
	}
}

void guest_main(void)
{
	make_grounds();
	test_csrs();
	test_satp();
	on_all(fuzz_sbi);
	check("random SBI calls", true);
	on_all(fuzz);
	check("random instructions", true);
	say("# runs ended by the timer: %lu", timed_out);
	check_err("the hypervisor still answers", sbi(EID_BASE, 0, 0, 0, 0, 0, 0), SBI_SUCCESS);
}
