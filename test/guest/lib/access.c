/* SPDX-License-Identifier: MIT */
/* See access.h. */
#include "access.h"

#define SLOT 32 /* bytes of code for a kind */

const char *const access_names[ACCESS_KINDS] = {"load", "store", "fetch", "amo", "lrsc"};

/* In the order of enum access_kind; a1: address, a2: what is stored, a0: what is loaded. */
__asm__(".balign 4096\n"
	"access_begin:\n"
	"	.option push\n	.option norvc\n"
	"	ld a0, 0(a1)\n	ebreak\n"
	"	.balign 32\n"
	"	sd a2, 0(a1)\n	ebreak\n"
	"	.balign 32\n"
	"	jr a1\n"
	"	.balign 32\n"
	"	amoswap.d a0, a2, (a1)\n	ebreak\n"
	"	.balign 32\n"
	"1:	lr.d a0, (a1)\n	sc.d a3, a2, (a1)\n	bnez a3, 1b\n	ebreak\n"
	"	.option pop\n"
	"	.balign 4096\n");
extern char access_begin[];

uint64_t access_code(void)
{
	return (uintptr_t)access_begin;
}

struct seen access_try(const struct access *a)
{
	struct hart *h = this_hart();
	uint64_t code = a->user && csr_read(satp) ? ACCESS_CODE : access_code();
	uint64_t on = (a->sum ? SSTATUS_SUM : 0) | (a->mxr ? SSTATUS_MXR : 0);

	h->x[10] = 0;
	h->x[11] = a->va;
	h->x[12] = ACCESS_STORED;
	csr_set(sstatus, on);
	struct trap t = run_code(h, code + SLOT * a->kind, a->user);

	csr_clear(sstatus, on);
	struct seen s = {t.cause, t.tval - a->va, t.pc - code, h->x[10]};

	if (s.pc >= PAGE)
		s.pc = ACCESS_AT + t.pc - a->va;
	if (t.cause == ACCESS_DONE)
		s.tval = t.tval == t.pc ? 1 : t.tval;
	return s;
}
