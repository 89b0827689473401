/* SPDX-License-Identifier: MIT */
/*
 * hv/riscv/decode.c. If it failed, an access to an emulated device would read or write the wrong
 * register or width, or step into the middle of an instruction. The words were made with GNU
 * as 2.40 (Zcb's by hand from its encoding tables: that assembler does not know it).
 */
#include "unit.h"
#include "riscv/decode.h"

struct sample {
	uint32_t insn;
	const char *text;
	struct mmio_access access; /* size, reg, insn_len, write, sign_extend */
};

static const struct sample samples[] = {
	{0x00058503, "lb a0,0(a1)", {1, 10, 4, false, true}},
	{0x80009f83, "lh x31,-2048(x1)", {2, 31, 4, false, true}},
	{0x7fff2283, "lw x5,2047(x30)", {4, 5, 4, false, true}},
	{0x00813f83, "ld x31,8(sp)", {8, 31, 4, false, false}},
	{0x001fc003, "lbu x0,1(x31)", {1, 0, 4, false, false}},
	{0xffe85d83, "lhu x27,-2(x16)", {2, 27, 4, false, false}},
	{0x00446883, "lwu x17,4(x8)", {4, 17, 4, false, false}},
	{0x00a58023, "sb a0,0(a1)", {1, 10, 4, true, false}},
	{0x81f09023, "sh x31,-2048(x1)", {2, 31, 4, true, false}},
	{0x7e5f2fa3, "sw x5,2047(x30)", {4, 5, 4, true, false}},
	{0x01f13423, "sd x31,8(sp)", {8, 31, 4, true, false}},
	{0xfe0f8fa3, "sb x0,-1(x31)", {1, 0, 4, true, false}},

	{0x4188, "c.lw a0,0(a1)", {4, 10, 2, false, true}},
	{0x5c7c, "c.lw x15,124(x8)", {4, 15, 2, false, true}},
	{0x43a0, "c.lw x8,64(x15)", {4, 8, 2, false, true}},
	{0x6188, "c.ld a0,0(a1)", {8, 10, 2, false, false}},
	{0x7c7c, "c.ld x15,248(x8)", {8, 15, 2, false, false}},
	{0xc188, "c.sw a0,0(a1)", {4, 10, 2, true, false}},
	{0xdfe0, "c.sw x8,124(x15)", {4, 8, 2, true, false}},
	{0xe188, "c.sd a0,0(a1)", {8, 10, 2, true, false}},
	{0xfc7c, "c.sd x15,248(x8)", {8, 15, 2, true, false}},
	{0x4082, "c.lwsp x1,0(sp)", {4, 1, 2, false, true}},
	{0x5ffe, "c.lwsp x31,252(sp)", {4, 31, 2, false, true}},
	{0x6082, "c.ldsp x1,0(sp)", {8, 1, 2, false, false}},
	{0x7ffe, "c.ldsp x31,504(sp)", {8, 31, 2, false, false}},
	{0xc002, "c.swsp x0,0(sp)", {4, 0, 2, true, false}},
	{0xdffe, "c.swsp x31,252(sp)", {4, 31, 2, true, false}},
	{0xe002, "c.sdsp x0,0(sp)", {8, 0, 2, true, false}},
	{0xfffe, "c.sdsp x31,504(sp)", {8, 31, 2, true, false}},

	{0x8000, "c.lbu x8,0(x8)", {1, 8, 2, false, false}},
	{0x83fc, "c.lbu x15,3(x15)", {1, 15, 2, false, false}},
	{0x8404, "c.lhu x9,0(x8)", {2, 9, 2, false, false}},
	{0x87bc, "c.lhu x15,2(x15)", {2, 15, 2, false, false}},
	{0x8444, "c.lh x9,0(x8)", {2, 9, 2, false, true}},
	{0x87fc, "c.lh x15,2(x15)", {2, 15, 2, false, true}},
	{0x8808, "c.sb x10,0(x8)", {1, 10, 2, true, false}},
	{0x8bfc, "c.sb x15,3(x15)", {1, 15, 2, true, false}},
	{0x8c08, "c.sh x10,0(x8)", {2, 10, 2, true, false}},
	{0x8fbc, "c.sh x15,2(x15)", {2, 15, 2, true, false}},
};

static const struct {
	uint32_t insn;
	const char *text;
} refused[] = {
	{0x0005a507, "flw fa0,0(a1)"},
	{0x0005b507, "fld fa0,0(a1)"},
	{0x00a5a027, "fsw fa0,0(a1)"},
	{0x00a5b427, "fsd fa0,8(a1)"},
	{0x1005a52f, "lr.w a0,(a1)"},
	{0x1005b52f, "lr.d a0,(a1)"},
	{0x18c5a52f, "sc.w a0,a2,(a1)"},
	{0x18c5b52f, "sc.d a0,a2,(a1)"},
	{0x00c5a52f, "amoadd.w a0,a2,(a1)"},
	{0x08c5b52f, "amoswap.d a0,a2,(a1)"},
	{0xe0c5b52f, "amomaxu.d a0,a2,(a1)"},
	{0x02050087, "vle8.v v1,(a0)"},
	{0x020500a7, "vse8.v v1,(a0)"},
	{0x0045200f, "cbo.zero (a0)"},
	{0x0005200f, "cbo.inval (a0)"},
	{0x6805c573, "hlv.w a0,(a1)"},
	{0x00358513, "addi a0,a1,3"},
	{0x000000ef, "jal ra,."},
	{0x00000517, "auipc a0,0"},
	{0x00001537, "lui a0,1"},
	{0x00b50063, "beq a0,a1,."},
	{0x00008067, "jalr x0,0(ra)"},
	{0x00000073, "ecall"},
	{0x30059573, "csrrw a0,mstatus,a1"},
	{0x0330000f, "fence rw,rw"},
	{0x0035851b, "addiw a0,a1,3"},
	{0x68c5f543, "fmadd.s fa0,fa1,fa2,fa3"},
	{0x0005f503, "LOAD with the reserved funct3 111"},
	{0x00a5c023, "STORE with funct3 100"},
	{0x00a5f023, "STORE with funct3 111"},
	{0x0005850b, "custom-0"},
	{0xffffffff, "all ones"},
	{0x00000000, "the defined illegal instruction"},
	{0x2188, "c.fld fa0,0(a1)"},
	{0xa188, "c.fsd fa0,0(a1)"},
	{0x2502, "c.fldsp fa0,0(sp)"},
	{0xa02a, "c.fsdsp fa0,0(sp)"},
	{0x0808, "c.addi4spn a0,sp,16"},
	{0x0505, "c.addi a0,1"},
	{0x4505, "c.li a0,1"},
	{0x852e, "c.mv a0,a1"},
	{0x8502, "c.jr a0"},
	{0xa001, "c.j ."},
	{0xc101, "c.beqz a0,."},
	{0x0506, "c.slli a0,1"},
	{0x9002, "c.ebreak"},
	{0x4002, "c.lwsp with rd = 0, reserved"},
	{0x6002, "c.ldsp with rd = 0, reserved"},
	{0x8c48, "c.sh with bit 6, reserved"},
	{0x9000, "Zcb's space with bit 12, reserved"},
};

static void check(const char *text, const struct mmio_access *got, const struct mmio_access *want)
{
	if (got->size != want->size || got->reg != want->reg || got->insn_len != want->insn_len ||
		got->write != want->write || got->sign_extend != want->sign_extend)
		fail_msg("%s: size %u reg %u len %u write %d sign %d", text, got->size, got->reg,
			got->insn_len, got->write, got->sign_extend);
}

static void loads_and_stores(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];
		struct mmio_access got;

		assert_int_equal(decode_access(s->insn, &got), OK);
		check(s->text, &got, &s->access);
	}
}

/* The caller fetched four bytes; what follows a 16-bit instruction is not its concern. */
static void upper_half_of_compressed_is_ignored(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct mmio_access got;

		if (samples[i].access.insn_len == 4)
			continue;
		assert_int_equal(decode_access(samples[i].insn | 0xffff0000, &got), OK);
		check(samples[i].text, &got, &samples[i].access);
	}
}

static void everything_else_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct mmio_access got;

		if (decode_access(refused[i].insn, &got) != E_UNSUPPORTED)
			fail_msg("accepted: %s", refused[i].text);
	}
}

/* Each register in each field, for the instruction formats that have one. */
static void each_register(void **state)
{
	struct mmio_access got;

	for (uint32_t r = 0; r < 32; r++) {
		assert_int_equal(decode_access(0x0005a003 | r << 7, &got), OK); /* lw */
		assert_int_equal(got.reg, r);
		assert_int_equal(decode_access(0x0005a023 | r << 20, &got), OK); /* sw */
		assert_int_equal(got.reg, r);
		assert_int_equal(
			decode_access(0x4002 | r << 7, &got), r ? OK : E_UNSUPPORTED); /* c.lwsp */
		if (r)
			assert_int_equal(got.reg, r);
		assert_int_equal(decode_access(0xc002 | r << 2, &got), OK); /* c.swsp */
		assert_int_equal(got.reg, r);
		assert_int_equal(decode_access(0x4000 | (r & 7) << 2, &got), OK); /* c.lw */
		assert_int_equal(got.reg, 8 + (r & 7));
	}
}

/* The number of encodings that are accesses follows from the formats; one bit tested wrongly
 * changes it. */
static void whole_compressed_space(void **state)
{
	const unsigned per_form = 1 << 11, reserved_rd = 1 << 6;
	const unsigned words = 4 * per_form - reserved_rd;
	const unsigned zcb = 4 * (1 << 8) - (1 << 7);
	unsigned n = 0;
	struct mmio_access got;

	for (uint32_t insn = 0; insn < 0x10000; insn++) {
		if ((insn & 3) == 3)
			continue;
		n += decode_access(insn, &got) == OK;
	}
	assert_int_equal(n, 2 * words + zcb);
}

/* The transformation of Privileged ISA, "Transformed Instruction or Pseudoinstruction": no offset,
 * rs1 replaced, bit 1 cleared when the instruction was compressed. */
static uint64_t transformed(const struct mmio_access *a)
{
	uint32_t log2 = a->size == 8 ? 3 : a->size == 4 ? 2 : a->size == 2 ? 1 : 0;
	uint32_t bits10 = a->insn_len == 2 ? 1 : 3;

	if (a->write)
		return (uint32_t)a->reg << 20 | log2 << 12 | 0x20 | bits10;
	return (uint32_t)a->reg << 7 | (log2 | (a->sign_extend || a->size == 8 ? 0 : 4)) << 12 |
	       bits10;
}

static void mtinst_of_each_access(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];
		struct mmio_access got;

		assert_int_equal(decode_mtinst(transformed(&s->access), &got), OK);
		check(s->text, &got, &s->access);
		/* "It is not necessary to confirm" that the immediate offset fields are zero. */
		assert_int_equal(decode_mtinst(transformed(&s->access) | 0xfe000000, &got), OK);
		check(s->text, &got, &s->access);
	}
}

static void mtinst_without_information(void **state)
{
	static const uint64_t values[] = {0, 0x0b, 0x09, 0x2b, 0x29, 0x5b, 0x59, 0x7b,
		0x79,                                                    /* custom-0 to -3 */
		0x2, 0x2002, 0x4188, 0xfffffffe, 0x1000, 0x2004, 0x2040, /* not defined */
		0x2507, 0x3505, 0x00a02027, 0x00a03025, /* flw, c.fld, fsw, c.fsd */
		0x1000252f, 0x00c0252f, 0x6800c573,     /* lr.w, amoadd.w, hlv.w */
		0x7503, 0x4023,                         /* reserved funct3 */
		UINT64_C(0x100002503), UINT64_C(0x8000000000002503), UINT64_C(0x100002000)};
	struct mmio_access got;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (decode_mtinst(values[i], &got) != E_NOENT)
			fail_msg("0x%llx", (unsigned long long)values[i]);
	}
}

static void mtinst_not_an_access_we_emulate(void **state)
{
	static const uint64_t values[] = {
		0x2000, 0x2020, 0x3000, 0x3020}; /* implicit page-table accesses */
	struct mmio_access got;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (decode_mtinst(values[i], &got) != E_UNSUPPORTED)
			fail_msg("0x%llx", (unsigned long long)values[i]);
	}
}

/* An address offset: a misaligned access of which a later part faulted. */
static void mtinst_of_a_torn_access(void **state)
{
	struct mmio_access got;

	for (uint64_t offset = 1; offset < 8; offset++)
		assert_int_equal(decode_mtinst(0x3503 | offset << 15, &got), E_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_and_stores),
		cmocka_unit_test(upper_half_of_compressed_is_ignored),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(each_register),
		cmocka_unit_test(whole_compressed_space),
		cmocka_unit_test(mtinst_of_each_access),
		cmocka_unit_test(mtinst_without_information),
		cmocka_unit_test(mtinst_not_an_access_we_emulate),
		cmocka_unit_test(mtinst_of_a_torn_access),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
