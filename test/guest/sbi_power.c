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

static struct sbiret suspend(uint64_t type, uint64_t resume)
{
	return sbi(EID_SUSP, 0, type, resume, 0, 0, 0);
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
	struct resumed r;

	csr_write(sie, BIT(IRQ_TIMER));
	for (unsigned i = 0; i < 10; i++) {
		memset(&r, 0xff, sizeof(r));
		sbi_set_timer(now() + m.hz / 100);
		check_eq("suspends", (uint64_t)suspend_to(EID_SUSP, 0, 0, &r), SBI_SUCCESS);
		check_eq("a0 is the hart's id", r.a0, this_hart()->id);
		check_eq("a1 is the argument", r.a1, (uintptr_t)&r);
		check_eq("satp is 0", r.satp, 0);
		check_eq("SIE is 0", r.sstatus & SSTATUS_SIE, 0);
		check("the timer's interrupt is pending", r.sip & BIT(IRQ_TIMER));
	}
	csr_write(sie, 0);
	sbi_set_timer(~0ul);
	for (unsigned i = 1; i < m.nharts; i++)
		check_eq_at("others are still stopped", i, sbi_hart_status(i), HSM_STOPPED);
}

/* Writes for as long as it can: no line of it may come after the hypervisor's last. */
static volatile uint64_t written;

static void flood(struct hart *h)
{
	static const char line[] = "a line of the guest's\n";

	(void)h;
	for (;;)
		written += sbi(EID_DBCN, 0, sizeof(line) - 1, (uintptr_t)line, 0, 0, 0).value;
}

static void end_in_flood(void)
{
	hart_start(1, flood);
	while (written < 1000)
		relax();
	sbi(EID_SRST, 0, 0, 0, 0, 0, 0);
}

static void end_as_told(void)
{
	if (bootarg("flood"))
		end_in_flood();
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
