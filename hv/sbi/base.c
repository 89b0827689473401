/* SPDX-License-Identifier: MIT */
/* BASE (SBI 3.0, chapter 4). The machine's ids are passed on: guests choose work-arounds for errata
 * by them. */
#include "sbi/sbi.h"
#include "abi/diosix.h"
#include "core/version.h"
#include "riscv/csr.h"

#define SPEC_VERSION_3_0 0x03000000

struct sbi_ret sbi_base(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	switch (fid) {
	case 0:
		return sbi_value(SPEC_VERSION_3_0);
	case 1:
		return sbi_value(DX_SBI_IMPL_ID);
	case 2:
		return sbi_value(DIOSIX_VERSION_NUMBER);
	case 3:
		return sbi_value(sbi_probe(a[0]));
	case 4:
		return sbi_value(csr_read(mvendorid));
	case 5:
		return sbi_value(csr_read(marchid));
	default:
		return sbi_value(csr_read(mimpid));
	}
}
