/* SPDX-License-Identifier: MIT */
/* TIME (SBI 3.0, chapter 6). With Sstc the guest has a timer of its own and this only sets it;
 * without, the PCPU's. */
#include "sbi/sbi.h"
#include "riscv/csr.h"

void sbi_set_timer(struct vcpu *v, uint64_t when)
{
	struct pcpu *p = this_pcpu();

	if (isa_has(&p->isa, ISA_SSTC)) {
		csr_write(CSR_VSTIMECMP, when);
		return;
	}
	csr_clear(CSR_HVIP, BIT(IRQ_VSTI));
	v->timer = when;
	pcpu_set_timer(p);
}

struct sbi_ret sbi_time(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	if (fid != 0)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	sbi_set_timer(v, a[0]);
	return sbi_value(0);
}
