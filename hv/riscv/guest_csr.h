/* SPDX-License-Identifier: MIT */
/* The CSRs that the loaded guest sees as its S-mode's: with H the VS-mode ones, without the
 * S-mode ones themselves. */
#pragma once

#include "riscv/csr.h"

extern bool has_h; /* guests run in VS-mode; the same on all harts. Set at boot */

#define guest_csr_read(name) (has_h ? csr_read(v##name) : csr_read(name))

#define guest_csr_write(name, value) (has_h ? csr_write(v##name, value) : csr_write(name, value))

/* The guest's interrupts, of VS_INTERRUPTS: in mip they have their S-level places, one lower. */
#define guest_irq_set(bits)   (has_h ? csr_set(hvip, bits) : csr_set(mip, (bits) >> 1))
#define guest_irq_clear(bits) (has_h ? csr_clear(hvip, bits) : csr_clear(mip, (bits) >> 1))
#define guest_irq_read()      (has_h ? csr_read(hvip) : csr_read(mip) << 1 & VS_INTERRUPTS)
