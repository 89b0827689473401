/* SPDX-License-Identifier: MIT */
/* The CSRs that the loaded guest sees as its S-mode's: with H the VS-mode ones, without the
 * S-mode ones themselves. */
#pragma once

#include "riscv/csr.h"

extern bool has_h; /* guests run in VS-mode; the same on all harts. Set at boot */

#define guest_csr_read(name) (has_h ? csr_read(v##name) : csr_read(name))

#define guest_csr_write(name, value)                                                               \
	do {                                                                                       \
		if (has_h)                                                                         \
			csr_write(v##name, value);                                                 \
		else                                                                               \
			csr_write(name, value);                                                    \
	} while (0)

/* The guest's interrupts, of VS_INTERRUPTS, by csr_set or csr_clear: in mip they have their S-level
 * places, one lower. */
#define guest_irq(op, bits)                                                                        \
	do {                                                                                       \
		if (has_h)                                                                         \
			csr_##op(hvip, bits);                                                      \
		else                                                                               \
			csr_##op(mip, (bits) >> 1);                                                \
	} while (0)
#define guest_irq_set(bits)   guest_irq(set, bits)
#define guest_irq_clear(bits) guest_irq(clear, bits)

static inline uint64_t guest_irq_read(void)
{
	return has_h ? csr_read(hvip) : csr_read(mip) << 1 & VS_INTERRUPTS;
}
