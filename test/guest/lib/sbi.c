/* SPDX-License-Identifier: MIT */
/* SBI calls. */
#include "guest.h"

struct sbiret sbi(
	uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
	register uint64_t r0 __asm__("a0") = a0, r1 __asm__("a1") = a1, r2 __asm__("a2") = a2,
			     r3 __asm__("a3") = a3;
	register uint64_t r4 __asm__("a4") = a4, r6 __asm__("a6") = fid, r7 __asm__("a7") = eid;

	__asm__ volatile("ecall"
			 : "+r"(r0), "+r"(r1)
			 : "r"(r2), "r"(r3), "r"(r4), "r"(r6), "r"(r7)
			 : "memory");
	return (struct sbiret){(int64_t)r0, r1};
}

int64_t sbi_legacy(uint64_t eid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	register uint64_t r0 __asm__("a0") = a0, r1 __asm__("a1") = a1, r2 __asm__("a2") = a2,
			     r3 __asm__("a3") = a3;
	register uint64_t r7 __asm__("a7") = eid;

	/* Legacy calls keep every register but a0. */
	__asm__ volatile("ecall" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r3), "r"(r7) : "memory");
	return (int64_t)r0;
}

void sbi_set_timer(uint64_t when)
{
	sbi(EID_TIME, 0, when, 0, 0, 0, 0);
}

struct sbiret sbi_send_ipi(uint64_t mask, uint64_t base)
{
	return sbi(EID_IPI, 0, mask, base, 0, 0, 0);
}

uint64_t sbi_hart_status(uint64_t id)
{
	return sbi(EID_HSM, 2, id, 0, 0, 0, 0).value;
}

void shutdown(void)
{
	sbi(EID_SRST, 0, 0, 0, 0, 0, 0);
	for (;;)
		relax();
}
