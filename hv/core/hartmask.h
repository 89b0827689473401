/* SPDX-License-Identifier: MIT */
/* The one decoder of SBI hart masks (SBI 3.0, section 3.1, "Hart list parameter"). Pure. */
#pragma once

#include "core/compiler.h"
#include "core/err.h"

/*
 * `mask` and `base` as the guest passed them, for a VM with harts 0 .. nvcpus-1 (1 <= nvcpus <=
 * 64): bit n names hart base + n; a base of -1 names all harts and `mask` is ignored. `*set` gets a
 * bit for each hart named. E_INVAL when the base or a hart named does not exist.
 */
static inline enum err must_check hartmask_decode(
	uint64_t mask, uint64_t base, uint32_t nvcpus, uint64_t *set)
{
	uint64_t all = ~UINT64_C(0) >> (64 - nvcpus);

	if (base == ~UINT64_C(0)) {
		*set = all;
		return OK;
	}
	if (base >= nvcpus || mask > all >> base)
		return E_INVAL;
	*set = mask << base;
	return OK;
}

/* The lowest hart in `*set`, which is taken out of it; `*set` is not 0. Without Zbb a count of
 * trailing zeros is a library call: for the few harts there are, a loop does. */
static inline uint32_t hartmask_next(uint64_t *set)
{
	uint32_t hart = 0;

	while (!(*set >> hart & 1))
		hart++;
	*set &= *set - 1;
	return hart;
}
