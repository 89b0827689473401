/* SPDX-License-Identifier: MIT */
/* Non-retentive suspends: the call does not return, the hart starts anew at resume_entry, with
 * nothing but a0 and a1. */
#include "guest.h"

__asm__(".balign 4\n"
	"suspend_call:\n"
	"	ecall\n"
	"	ebreak\n"
	".global resume_entry\n"
	"resume_entry:\n"
	"	ld t0, 0(a1)\n	csrw sscratch, t0\n	lla t0, trap_entry\n	csrw stvec, t0\n"
	"	sd a0, 8(a1)\n	csrr t0, satp\n	sd t0, 16(a1)\n	csrr t0, sstatus\n	sd t0, "
	"24(a1)\n"
	"	csrr t0, sip\n	sd t0, 32(a1)\n	ebreak\n");
extern char suspend_call[];

int64_t suspend_to(uint64_t eid, uint64_t fid, uint64_t type, struct resumed *r)
{
	struct hart *h = this_hart();

	memset(h->x, 0, sizeof(h->x));
	r->hart = h;
	h->x[10] = type;
	h->x[11] = (uintptr_t)resume_entry;
	h->x[12] = (uintptr_t)r;
	h->x[16] = fid;
	h->x[17] = eid;
	struct trap t = run_code(h, (uintptr_t)suspend_call, false);

	if (t.cause != BREAKPOINT)
		broken("trap in a suspend: cause, tval", t.cause, t.tval, 0);
	r->a1 = h->x[11];
	if (t.pc != (uintptr_t)suspend_call + 4)
		return SBI_SUCCESS;
	return h->x[10] ? (int64_t)h->x[10] : RETURNED;
}
