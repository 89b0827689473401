/* SPDX-License-Identifier: MIT */
/*
 * If this fails: guests see the wrong SBI. They take work-arounds or fall-backs they should not,
 * call what is not there, or lose registers across a call.
 */
#include "abi/diosix.h"
#include "guest.h"

#define EID_PMU  0x504d55ul
#define EID_SSE  0x535345ul
#define EID_DBTR 0x44425452ul
#define EID_CPPC 0x43505043ul
#define EID_NACL 0x4e41434cul
#define EID_MPXY 0x4d505859ul

static uint64_t probe(uint64_t eid)
{
	struct sbiret r = sbi(EID_BASE, 3, eid, 0, 0, 0, 0);

	return r.error ? (uint64_t)r.error : r.value;
}

static void test_identity(void)
{
	check_eq("spec version", sbi(EID_BASE, 0, 0, 0, 0, 0, 0).value, 0x03000000);
	check_eq("implementation id", sbi(EID_BASE, 1, 0, 0, 0, 0, 0).value, 5);
	check_err("implementation version", sbi(EID_BASE, 2, 0, 0, 0, 0, 0), SBI_SUCCESS);
	check_err("mvendorid", sbi(EID_BASE, 4, 0, 0, 0, 0, 0), SBI_SUCCESS);
	check_err("marchid", sbi(EID_BASE, 5, 0, 0, 0, 0, 0), SBI_SUCCESS);
	check_err("mimpid", sbi(EID_BASE, 6, 0, 0, 0, 0, 0), SBI_SUCCESS);
}

static void test_probe(void)
{
	static const uint64_t there[] = {EID_BASE, EID_TIME, EID_IPI, EID_RFENCE, EID_HSM, EID_SRST,
		EID_DBCN, EID_SUSP, EID_STA, EID_FWFT, EID_DIOSIX};
	static const uint64_t absent[] = {EID_PMU, EID_SSE, EID_DBTR, EID_CPPC, EID_NACL, EID_MPXY,
		9, 0xf, 0x11, 0x08000000, 0x09000000, 0x0a000000, 0x0a000004, 0x0a000006, ~0ul,
		1ul << 32 | EID_BASE};

	for (unsigned i = 0; i < ARRAY_SIZE(there); i++)
		check_eq_at("probe", there[i], probe(there[i]), 1);
	for (uint64_t i = 0; i <= 8; i++)
		check_eq_at("probe legacy", i, probe(i), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		check_eq_at("probe absent", absent[i], probe(absent[i]), 0);
}

static void test_unknown(void)
{
	static const uint64_t absent[] = {EID_PMU, EID_SSE, EID_DBTR, EID_CPPC, EID_NACL, EID_MPXY,
		9, 0xf, 0x11, 0x0a000004, 0x7fffffff, 0xffffffff80000000, ~0ul};
	/* The first function number behind each extension's last. */
	static const struct {
		uint64_t eid, fid;
	} first_absent[] = {{EID_BASE, 7}, {EID_TIME, 1}, {EID_IPI, 1}, {EID_RFENCE, 7},
		{EID_HSM, 4}, {EID_SRST, 1}, {EID_DBCN, 3}, {EID_SUSP, 1}, {EID_STA, 1},
		{EID_FWFT, 2}};

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		for (uint64_t fid = 0; fid < 3; fid++)
			check_eq_at("unknown extension", absent[i],
				(uint64_t)sbi(absent[i], fid, 0, 0, 0, 0, 0).error,
				SBI_NOT_SUPPORTED);
	for (unsigned i = 0; i < ARRAY_SIZE(first_absent); i++) {
		uint64_t eid = first_absent[i].eid, fid = first_absent[i].fid;

		check_eq_at("unknown function", eid, (uint64_t)sbi(eid, fid, 0, 0, 0, 0, 0).error,
			SBI_NOT_SUPPORTED);
		check_eq_at("function 0x7fffffff", eid,
			(uint64_t)sbi(eid, 0x7fffffff, 0, 0, 0, 0, 0).error, SBI_NOT_SUPPORTED);
		check_eq_at("function -1", eid, (uint64_t)sbi(eid, ~0ul, 0, 0, 0, 0, 0).error,
			SBI_NOT_SUPPORTED);
	}
	check_err("unknown Diosix function", sbi(EID_DIOSIX, 0x7fffffff, 0, 0, 0, 0, 0),
		SBI_NOT_SUPPORTED);
	check_eq("Diosix version", sbi(EID_DIOSIX, 0, 0, 0, 0, 0, 0).value, DX_ABI_VERSION);
}

/* Numbers are signed 32-bit, sign-extended in a register: anything else names nothing. */
static void test_upper_half(void)
{
	static const uint64_t garbage[] = {1ul << 32, 0xdeadbeef00000000, 1ul << 63};

	for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++) {
		check_eq_at("extension with upper half", garbage[i],
			(uint64_t)sbi(garbage[i] | EID_BASE, 0, 0, 0, 0, 0, 0).error,
			SBI_NOT_SUPPORTED);
		check_eq_at("function with upper half", garbage[i],
			(uint64_t)sbi(EID_BASE, garbage[i], 0, 0, 0, 0, 0).error,
			SBI_NOT_SUPPORTED);
		/* Not a legacy shutdown. */
		check_eq_at("legacy with upper half", garbage[i],
			(uint64_t)sbi(garbage[i] | 8, 0, 0, 0, 0, 0, 0).error, SBI_NOT_SUPPORTED);
	}
}

static const uint32_t ecall_ebreak[] = {0x00000073, 0x00100073};

static uint64_t pattern(unsigned i)
{
	return 0x1111111111111111ul * (i & 15) ^ (uint64_t)i << 57 ^ i;
}

/* Which registers other than a0 and a1 changed across the call, as bits. */
static uint64_t changed_by(
	uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2, bool legacy)
{
	struct hart *h = this_hart();
	uint64_t changed = 0, given[32];

	for (unsigned i = 1; i < 32; i++)
		given[i] = pattern(i);
	given[10] = a0;
	given[11] = a1;
	given[12] = a2;
	given[16] = fid;
	given[17] = eid;
	memcpy(h->x, given, sizeof(given));
	struct trap t = run_code(h, (uintptr_t)ecall_ebreak, false);

	if (t.cause != BREAKPOINT || t.pc != (uintptr_t)ecall_ebreak + 4)
		return ~0ul;
	for (unsigned i = 1; i < 32; i++)
		if (i != 10 && (i != 11 || legacy) && h->x[i] != given[i])
			changed |= BIT(i);
	return changed;
}

static void test_registers(void)
{
	static uint64_t mask = 1;
	static uint8_t sta[64] __attribute__((aligned(64)));
	const struct {
		const char *name;
		uint64_t eid, fid, a0, a1, a2;
	} calls[] = {
		{"base", EID_BASE, 0, 0, 0, 0},
		{"probe", EID_BASE, 3, EID_TIME, 0, 0},
		{"unknown", 0x12345, 0, 1, 2, 3},
		{"set_timer", EID_TIME, 0, ~0ul, 0, 0},
		{"send_ipi self", EID_IPI, 0, 1, 0, 0},
		{"send_ipi bad", EID_IPI, 0, 1, 1000, 0},
		{"send_ipi all", EID_IPI, 0, 0, ~0ul, 0},
		{"fence_i", EID_RFENCE, 0, 1, 0, 0},
		{"fence_i all", EID_RFENCE, 0, 0, ~0ul, 0},
		{"sfence_vma", EID_RFENCE, 1, 0, ~0ul, 0},
		{"hart_start", EID_HSM, 0, 1000, 0, 0},
		{"hart_status", EID_HSM, 2, 0, 0, 0},
		{"hart_suspend", EID_HSM, 3, 1, 0, 0},
		{"reset", EID_SRST, 0, 99, 0, 0},
		{"console write", EID_DBCN, 0, 0, (uintptr_t)&mask, 0},
		{"console read", EID_DBCN, 1, 0, (uintptr_t)&mask, 0},
		{"console byte", EID_DBCN, 2, '\n', 0, 0},
		{"suspend", EID_SUSP, 0, 1, 0, 0},
		{"steal time", EID_STA, 0, (uintptr_t)sta, 0, 0},
		{"steal time off", EID_STA, 0, ~0ul, ~0ul, 0},
		{"fwft get", EID_FWFT, 1, 0, 0, 0},
		{"fwft set", EID_FWFT, 0, 0, 1, 0},
		{"Diosix", EID_DIOSIX, 0, 0, 0, 0},
	};
	const struct {
		const char *name;
		uint64_t eid, a0;
	} legacy[] = {{"legacy timer", 0, ~0ul}, {"legacy putchar", 1, '\n'},
		{"legacy getchar", 2, 0}, {"legacy clear_ipi", 3, 0},
		{"legacy send_ipi", 4, (uintptr_t)&mask}, {"legacy fence_i", 5, (uintptr_t)&mask},
		{"legacy sfence", 6, (uintptr_t)&mask},
		{"legacy sfence asid", 7, (uintptr_t)&mask}};

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
		check_eq(calls[i].name,
			changed_by(calls[i].eid, calls[i].fid, calls[i].a0, calls[i].a1,
				calls[i].a2, false),
			0);
	for (unsigned i = 0; i < ARRAY_SIZE(legacy); i++)
		check_eq(legacy[i].name,
			changed_by(legacy[i].eid, 0, legacy[i].a0, pattern(11), pattern(12), true),
			0);
}

void guest_main(void)
{
	test_identity();
	test_probe();
	test_unknown();
	test_upper_half();
	test_registers();
}
