/* SPDX-License-Identifier: MIT */
/*
 * FWFT (SBI 3.0, chapter 18). Misaligned accesses' exceptions are always the guest's own; the rest
 * needs extensions no VCPU is given.
 */
#include "sbi/sbi.h"

#define FLAG_LOCK 1

#define FWFT_MISALIGNED_EXC_DELEG 0
#define FWFT_RESERVED             6 /* and beyond: also platform-specific ones */

struct sbi_ret sbi_fwft(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	uint32_t feature = (uint32_t)a[0];
	uint64_t value = a[1], flags = a[2];

	if (feature >= FWFT_RESERVED)
		return sbi_error(SBI_ERR_DENIED);
	if (feature != FWFT_MISALIGNED_EXC_DELEG)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	if (fid == 1)
		return sbi_value(1);
	if (value > 1 || (flags & ~(uint64_t)FLAG_LOCK))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (v->fwft_locked)
		return sbi_error(SBI_ERR_DENIED_LOCKED);
	if (!value)
		return sbi_error(SBI_ERR_DENIED);
	v->fwft_locked = flags & FLAG_LOCK;
	return sbi_value(0);
}
