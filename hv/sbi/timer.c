/* SPDX-License-Identifier: MIT */
/* TIME (SBI 3.0, chapter 6). With Sstc the guest has a timer of its own and this only sets it;
 * without, the PCPU's. */
#include "sbi/sbi.h"
#include "riscv/guest_csr.h"

struct sbi_ret sbi_time(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	struct pcpu *p = this_pcpu();

	if (isa_has(&p->isa, ISA_SSTC)) {
		guest_csr_write(stimecmp, a[0]);
		return sbi_value(0);
	}
	guest_irq_clear(BIT(IRQ_VSTI));
	v->timer = a[0];
	pcpu_set_timer(p);
	return sbi_value(0);
}
