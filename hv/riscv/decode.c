/* SPDX-License-Identifier: MIT */
/*
 * Decoding of the load or store that trapped on an emulated device register. It is on the path of
 * each MMIO exit, so it is a few tests on the instruction's bits instead of a table of masks.
 *
 * Instructions are only recognised, never executed, and the effective address is not computed: the
 * trap has reported it.
 */
#include "riscv/decode.h"

/* Major opcodes with their two low bits, Unprivileged ISA, "RV32/64G Instruction Set Listings". */
#define OPCODE_MASK  0x7fu
#define OPCODE_LOAD  0x03u
#define OPCODE_STORE 0x23u

/* funct3 of loads and stores: log2 of the size, and in loads the bit for zero extension. */
#define FUNCT3_SIZE     3u
#define FUNCT3_UNSIGNED 4u

/* The highest values of funct3 that exist. */
#define LAST_LOAD  6u
#define LAST_STORE 3u

/* Privileged ISA, "Special pseudoinstruction values": bit 5 is set in writes, bit 12 on RV64. */
#define PSEUDO_MASK 0xffffffffffffefdfull
#define PSEUDO      0x2000u

/* Clear when the trapping instruction was a compressed one, which is given expanded. */
#define MTINST_UNCOMPRESSED 2u

/* Of an instruction bit 0 is set, and nothing above bit 31. */
#define MTINST_FIXED (UINT64_C(0xffffffff) << 32 | 1)

/* In rs1's place. If it is there, a later part of a misaligned access faulted, which straddles the
 * edge of what is emulated, as no access to a device register does. */
#define MTINST_OFFSET (0x1f << 15)

/* x8..x15, the registers that three bits of a compressed instruction can name. */
static inline uint8_t compressed_reg(uint32_t insn, unsigned low)
{
	return (uint8_t)(8 + insn_field(insn, low, 3));
}

static inline enum err fill(
	struct mmio_access *out, bool write, uint32_t funct3, uint32_t reg, uint8_t insn_len)
{
	uint8_t size = (uint8_t)(1u << (funct3 & FUNCT3_SIZE));
	bool sign_extend = !write && !(funct3 & FUNCT3_UNSIGNED) && size < 8;

	*out = (struct mmio_access){size, (uint8_t)reg, insn_len, write, sign_extend};
	return OK;
}

static inline enum err decode_base(uint32_t insn, uint8_t insn_len, struct mmio_access *out)
{
	uint32_t opcode = insn & OPCODE_MASK, funct3 = insn_field(insn, 12, 3);
	bool write = opcode == OPCODE_STORE;

	if ((opcode != OPCODE_LOAD && !write) || funct3 > (write ? LAST_STORE : LAST_LOAD))
		return E_UNSUPPORTED;
	return fill(out, write, funct3, insn_field(insn, write ? 20 : 7, 5), insn_len);
}

/* Zcb, quadrant 0 with funct3 100. Bits 12:10: LBU, LHU or LH, SB, SH; bit 6 is a part of the
 * offset in the byte forms, tells LH from LHU, and must be clear in SH. */
static enum err decode_zcb(uint32_t insn, struct mmio_access *out)
{
	bool half = insn & BIT(10), write = insn & BIT(11), bit6 = insn & BIT(6);
	bool is_signed = half && bit6;

	if ((insn & BIT(12)) || (write && is_signed))
		return E_UNSUPPORTED;
	return fill(
		out, write, half | (is_signed ? 0 : FUNCT3_UNSIGNED), compressed_reg(insn, 2), 2);
}

/* Integer loads and stores of C are funct3 x10 (word) and x11 (doubleword) of the quadrants 0 and,
 * on the stack, 2. */
enum err decode_access(uint32_t insn, struct mmio_access *out)
{
	bool on_stack = insn & BIT(1), write = insn & BIT(15);
	uint32_t funct3 = insn_field(insn, 13, 2);
	uint32_t reg = !on_stack ? compressed_reg(insn, 2) : insn_field(insn, write ? 2 : 7, 5);

	if ((insn & 3) == 3)
		return decode_base(insn, 4, out);
	if (!(insn & 3) && write && funct3 == 0)
		return decode_zcb(insn, out);
	/* With rd = 0 loads are reserved. */
	if ((insn & 1) || !(funct3 & 2) || (!write && reg == 0))
		return E_UNSUPPORTED;
	return fill(out, write, funct3, reg, 2);
}

/* "Software may safely treat an unrecognized value in a trap instruction register the same as
 * zero": then the instruction is fetched. */
enum err decode_mtinst(uint64_t mtinst, struct mmio_access *out)
{
	uint32_t insn = (uint32_t)mtinst | MTINST_UNCOMPRESSED;
	uint8_t insn_len = (uint8_t)(2 + (mtinst & MTINST_UNCOMPRESSED));

	if (likely((mtinst & MTINST_FIXED) == 1) && !decode_base(insn, insn_len, out))
		return mtinst & MTINST_OFFSET ? E_UNSUPPORTED : OK;
	return (mtinst & PSEUDO_MASK) == PSEUDO ? E_UNSUPPORTED : E_NOENT;
}
