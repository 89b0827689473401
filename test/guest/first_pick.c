/* SPDX-License-Identifier: MIT */
/*
 * A hart that sleeps in a non-retentive suspension is woken, and the PCPU that takes it is one that
 * has run nothing yet. If this failed, it would go on behind its ecall with its old translation,
 * instead of at its resume address, and block at its next call.
 *
 * For seven VCPUs on three PCPUs: hart 3 lives on PCPU 0, as do 0 and 6; PCPU 2 runs nothing until
 * hart 0 is woken while 3 and 6 keep PCPUs 0 and 1 busy.
 */
#include "guest.h"

static volatile bool six_runs, zero_returned;
static uint64_t saved[4];

/* True when it came back by way of its resume address, false behind the ecall. */
bool suspend(uint64_t *save) __attribute__((returns_twice));
__asm__(".balign 4\n"
	"suspend:\n"
	"	sd sp, 0(a0)\n"
	"	sd tp, 8(a0)\n"
	"	sd gp, 16(a0)\n"
	"	sd ra, 24(a0)\n"
	"	mv a2, a0\n"
	"	la a1, suspend_resumed\n"
	"	li a0, 0x80000000\n"
	"	li a7, 0x48534d\n"
	"	li a6, 3\n"
	"	ecall\n"
	"	li a0, 0\n"
	"	ret\n"
	".balign 4\n"
	"suspend_resumed:\n"
	"	ld sp, 0(a1)\n"
	"	ld tp, 8(a1)\n"
	"	ld gp, 16(a1)\n"
	"	ld ra, 24(a1)\n"
	"	li a0, 1\n"
	"	ret\n");

static void six(struct hart *h)
{
	(void)h;
	six_runs = true;
	while (!zero_returned)
		relax();
}

static void three(struct hart *h)
{
	(void)h;
	while (sbi_hart_status(0) != HSM_SUSPENDED)
		relax();
	hart_start(6, six);
	while (!six_runs)
		relax();
	sbi_send_ipi(1, 0);
	while (!zero_returned)
		relax();
}

void guest_main(void)
{
	csr_write(sie, BIT(IRQ_SOFT));
	hart_start(3, three);
	bool resumed = suspend(saved);

	zero_returned = true;
	check_eq("resumed at the resume address", resumed, 1);
	check_eq("its state", (uint64_t)sbi_hart_status(0), HSM_STARTED);
	hart_wait(3);
	hart_wait(6);
}
