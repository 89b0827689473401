/* SPDX-License-Identifier: MIT */
/* Instruction words come from guests. Whatever they are, the decoder must end, and what it accepts
 * must be consistent and survive the transformation that hardware applies for mtinst. */
#include <stdlib.h>
#include <string.h>

#include "riscv/decode.h"

struct input {
	uint64_t mtinst;
	uint32_t insn;
};

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void check_access(const struct mmio_access *a)
{
	require(a->size == 1 || a->size == 2 || a->size == 4 || a->size == 8);
	require(a->reg < 32);
	require(a->insn_len == 2 || a->insn_len == 4);
	require(!a->sign_extend || (!a->write && a->size < 8));
}

static uint32_t transform(const struct mmio_access *a)
{
	uint32_t funct3 = (uint32_t)__builtin_ctz(a->size);
	uint32_t low = a->insn_len == 4 ? 3 : 1;

	if (a->write)
		return (uint32_t)a->reg << 20 | funct3 << 12 | 0x20 | low;
	if (!a->sign_extend && a->size < 8)
		funct3 |= 4;
	return (uint32_t)a->reg << 7 | funct3 << 12 | low;
}

static void round_trip(const struct mmio_access *a)
{
	struct mmio_access again;

	check_access(a);
	memset(&again, 0, sizeof(again));
	require(decode_mtinst(transform(a), &again) == OK);
	require(again.size == a->size && again.reg == a->reg && again.insn_len == a->insn_len);
	require(again.write == a->write && again.sign_extend == a->sign_extend);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mmio_access a;
	struct input in;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	if (decode_access(in.insn, &a) == OK) {
		require(a.insn_len == ((in.insn & 3) == 3 ? 4 : 2));
		round_trip(&a);
	}
	if (decode_mtinst(in.mtinst, &a) == OK)
		round_trip(&a);
	return 0;
}
