/* SPDX-License-Identifier: MIT */
/* RFENCE (SBI 3.0, chapter 8). The HFENCE functions are for guests with the H extension, which no
 * VCPU has. */
#include "sbi/sbi.h"
#include "core/hartmask.h"
#include "riscv/fence.h"

static bool range_wraps(const struct fence *f)
{
	return f->size != UINT64_MAX && f->start + f->size < f->start && f->start + f->size != 0;
}

struct sbi_ret sbi_rfence(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	static const enum fence_kind kinds[] = {FENCE_I, FENCE_VVMA, FENCE_VVMA_ASID};
	uint64_t set;

	struct fence f = {.kind = kinds[fid], .start = a[2], .size = a[3], .asid = a[4]};

	if (hartmask_decode(a[0], a[1], v->vm->nvcpus, &set) != OK)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (f.start == 0 && f.size == 0)
		f.size = UINT64_MAX;
	if (f.kind != FENCE_I && range_wraps(&f))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	/* The common case of one hart needs no table of tickets. */
	if (set == BIT(v->id))
		fence_local(&f);
	else
		fence_vcpus(v->vm, set, &f);
	return sbi_value(0);
}
