/* SPDX-License-Identifier: MIT */
/* The Diosix extension (abi/diosix.h, docs/abi.md). */
#include "sbi/sbi.h"
#include "abi/diosix.h"

struct sbi_ret sbi_diosix(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	if (fid == DX_FID_VERSION)
		return sbi_value(DX_ABI_VERSION);
	return sbi_error(SBI_ERR_NOT_SUPPORTED);
}
