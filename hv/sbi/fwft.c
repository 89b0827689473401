/* SPDX-License-Identifier: MIT */
/*
 * FWFT (SBI 3.0, chapter 18). Misaligned accesses' exceptions are always the guest's own; the rest
 * needs extensions no VCPU is given.
 */
#include "sbi/sbi.h"

#define FLAG_LOCK 1

enum fwft_feature {
	FWFT_MISALIGNED_EXC_DELEG,
	FWFT_LANDING_PAD,
	FWFT_SHADOW_STACK,
	FWFT_DOUBLE_TRAP,
	FWFT_PTE_AD_HW_UPDATING,
	FWFT_POINTER_MASKING_PMLEN,
	FWFT_COUNT /* beyond: reserved or platform-specific */
};

static int64_t available(uint32_t feature)
{
	if (feature == FWFT_MISALIGNED_EXC_DELEG)
		return SBI_SUCCESS;
	return feature < FWFT_COUNT ? SBI_ERR_NOT_SUPPORTED : SBI_ERR_DENIED;
}

static struct sbi_ret set(struct vcpu *v, uint32_t feature, uint64_t value, uint64_t flags)
{
	int64_t error = available(feature);

	if (error != SBI_SUCCESS)
		return sbi_error(error);
	if (value > 1 || (flags & ~(uint64_t)FLAG_LOCK))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (v->fwft_locked & BIT(feature))
		return sbi_error(SBI_ERR_DENIED_LOCKED);
	if (!value)
		return sbi_error(SBI_ERR_DENIED);
	if (flags & FLAG_LOCK)
		v->fwft_locked |= (uint32_t)BIT(feature);
	return sbi_value(0);
}

static struct sbi_ret get(uint32_t feature)
{
	int64_t error = available(feature);

	return error == SBI_SUCCESS ? sbi_value(1) : sbi_error(error);
}

struct sbi_ret sbi_fwft(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	switch (fid) {
	case 0:
		return set(v, (uint32_t)a[0], a[1], a[2]);
	case 1:
		return get((uint32_t)a[0]);
	default:
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}
