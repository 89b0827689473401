/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a bad reset or suspend request ends the machine instead of failing, or a suspended
 * machine does not come back. With `reboot`, `warm`, `crash` or `legacy-shutdown` on the command
 * line: the machine ends in the way asked for.
 */
#include "guest.h"

static void test_reset_errors(void)
{
	static const uint64_t types[] = {3, 4, 0x7fffffff, 0xefffffff, 0xf0000000, 0xffffffff};
	static const uint64_t reasons[] = {
		2, 3, 0x7fffffff, 0xdfffffff, 0xe0000000, 0xefffffff, 0xf0000000, 0xffffffff};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		check_eq_at("reset type", types[i],
			(uint64_t)sbi(EID_SRST, 0, types[i], 0, 0, 0, 0).error, SBI_INVALID_PARAM);
	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++)
		for (uint64_t type = 0; type < 3; type++)
			check_eq_at("reset reason", reasons[i],
				(uint64_t)sbi(EID_SRST, 0, type, reasons[i], 0, 0, 0).error,
				SBI_INVALID_PARAM);
}

static uint64_t resumed[4];
__asm__(".balign 4\n"
	"resume_entry:\n"
	"	sd a0, 0(a1)\n	csrr t0, satp\n	sd t0, 8(a1)\n	csrr t0, sstatus\n	sd t0, "
	"16(a1)\n"
	"	csrr t0, sip\n	sd t0, 24(a1)\n	ebreak\n");
extern char resume_entry[];
static const uint32_t ecall_insn = 0x00000073;

static struct sbiret suspend(uint64_t type, uint64_t resume)
{
	return sbi(EID_SUSP, 0, type, resume, (uintptr_t)resumed, 0, 0);
}

static void test_suspend_errors(void)
{
	static const uint64_t types[] = {1, 2, 0x7fffffff, 0x80000000, 0xffffffff};
	const uint64_t good = (uintptr_t)resume_entry;
	const uint64_t bad[] = {0, 0x1000, m.uart, m.plic, 0x80000000, m.ram_base - 4,
		m.ram_base + m.ram_size, good | 1, 1ul << 41, 1ul << 63 | good, ~0ul};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		check_eq_at("sleep type", types[i], (uint64_t)suspend(types[i], good).error,
			SBI_INVALID_PARAM);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_eq_at("resume address", bad[i], (uint64_t)suspend(0, bad[i]).error,
			SBI_INVALID_ADDRESS);
}

static volatile bool stop;

static void stay(struct hart *h)
{
	(void)h;
	while (!stop)
		relax();
}

static void test_others_running(void)
{
	if (m.nharts == 1) {
		skip("suspend while others run", "one hart");
		return;
	}
	hart_start(1, stay);
	check_err(
		"suspend while another hart runs", suspend(0, (uintptr_t)resume_entry), SBI_DENIED);
	stop = true;
	hart_wait(1);
}

static void test_suspend(void)
{
	struct hart *h = this_hart();

	csr_write(sie, BIT(IRQ_TIMER));
	for (unsigned i = 0; i < 10; i++) {
		memset(h->x, 0, sizeof(h->x));
		memset(resumed, 0xff, sizeof(resumed));
		h->x[17] = EID_SUSP;
		h->x[11] = (uintptr_t)resume_entry;
		h->x[12] = (uintptr_t)resumed;
		sbi_set_timer(now() + m.hz / 100);
		struct trap t = run_code(h, (uintptr_t)&ecall_insn, false);

		check_eq("resumes where told", t.cause, BREAKPOINT);
		check_eq("a0 is the hart's id", resumed[0], h->id);
		check_eq("satp is 0", resumed[1], 0);
		check_eq("SIE is 0", resumed[2] & SSTATUS_SIE, 0);
		check("the timer's interrupt is pending", resumed[3] & BIT(IRQ_TIMER));
	}
	csr_write(sie, 0);
	sbi_set_timer(~0ul);
	for (unsigned i = 1; i < m.nharts; i++)
		check_eq_at("others are still stopped", i, sbi_hart_status(i), HSM_STOPPED);
}

static void end_as_told(void)
{
	if (bootarg("reboot"))
		sbi(EID_SRST, 0, 1, 0, 0, 0, 0);
	if (bootarg("warm"))
		sbi(EID_SRST, 0, 2, 0, 0, 0, 0);
	if (bootarg("crash"))
		sbi(EID_SRST, 0, 0, 1, 0, 0, 0);
	if (bootarg("legacy-shutdown"))
		sbi_legacy(8, 0, 0, 0, 0);
}

void guest_main(void)
{
	end_as_told();
	test_reset_errors();
	test_suspend_errors();
	test_others_running();
	test_suspend();
}
