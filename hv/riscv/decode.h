/* SPDX-License-Identifier: MIT */
/* Decodes the load or store that a guest used on an emulated device register. Portable and pure. */
#pragma once

#include "core/compiler.h"
#include "core/err.h"

struct mmio_access {
	uint8_t size;     /* bytes: 1, 2, 4 or 8 */
	uint8_t reg;      /* integer register number: destination of a load, source of a store */
	uint8_t insn_len; /* bytes to step over: 2 or 4 */
	bool write;
	bool sign_extend; /* loads narrower than a register */
};

static inline uint32_t insn_field(uint32_t insn, unsigned low, unsigned width)
{
	return (insn >> low) & ((1u << width) - 1);
}

/*
 * `insn` is the instruction as fetched (16-bit ones in the low half). Integer loads and stores of
 * the base ISA and of C, Zcb (c.lbu, c.lhu, c.lh, c.sb, c.sh), of RV64. Everything else
 * (AMO, LR/SC, FP, vector, CBO) is E_UNSUPPORTED: hardware answers those on device memory with an
 * access fault. Source: Unprivileged ISA, chapters RV32I 2.6, RV64I 4.3, C 26.3.
 */
enum err must_check decode_access(uint32_t insn, struct mmio_access *out);

/*
 * `mtinst` as the trap wrote it (Privileged ISA, "Transformed Instruction or Pseudoinstruction"): a
 * transformed load or store; bit 1 clear means that the trapping instruction was a compressed one.
 * E_NOENT when it is zero or something else (the caller fetches the instruction), E_UNSUPPORTED
 * when it is a pseudo-instruction (an implicit page-table access), or a misaligned load or store of
 * which a later part faulted.
 */
enum err must_check decode_mtinst(uint64_t mtinst, struct mmio_access *out);
