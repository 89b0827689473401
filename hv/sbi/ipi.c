/* SPDX-License-Identifier: MIT */
/* IPI (SBI 3.0, chapter 7). */
#include "sbi/sbi.h"
#include "core/hartmask.h"
#include "riscv/guest_csr.h"

struct sbi_ret sbi_ipi(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	uint64_t set;

	if (hartmask_decode(a[0], a[1], v->vm->nvcpus, &set) != OK)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	while (set) {
		struct vcpu *to = v->vm->vcpus[hartmask_next(&set)];

		if (to == v)
			guest_irq_set(BIT(IRQ_VSSI));
		else
			vcpu_post(to, PEND_SSIP);
	}
	return sbi_value(0);
}
