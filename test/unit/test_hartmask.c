/* SPDX-License-Identifier: MIT */
/*
 * Hart masks against the sentence of the specification, hart by hart. If this fails, an IPI or a
 * remote fence goes to the wrong harts, or a guest's mask reaches beyond its VCPUs.
 */
#include "unit.h"
#include "core/hartmask.h"

#define ALL UINT64_MAX

/* SBI 3.0, 3.1: bit n names hart base + n; -1 names all; each named must exist. A base that does
 * not exist is an error too. */
static enum err reference(uint64_t mask, uint64_t base, uint32_t nvcpus, uint64_t *set)
{
	*set = 0;
	if (base == ALL) {
		for (uint32_t i = 0; i < nvcpus; i++)
			*set |= BIT(i);
		return OK;
	}
	if (base >= nvcpus)
		return E_INVAL;
	for (uint32_t n = 0; n < 64; n++) {
		if (!(mask >> n & 1))
			continue;
		if (base + n >= nvcpus)
			return E_INVAL;
		*set |= BIT(base + n);
	}
	return OK;
}

static void compare(uint64_t mask, uint64_t base, uint32_t nvcpus)
{
	uint64_t want, got = 0x5555;
	enum err err = reference(mask, base, nvcpus, &want);

	if (hartmask_decode(mask, base, nvcpus, &got) != err)
		fail_msg("mask 0x%lx base 0x%lx of %u: not %d", mask, base, nvcpus, err);
	assert_int_equal(got, err == OK ? want : 0x5555);
}

static void few_harts_exhaustively(void **state)
{
	for (uint32_t nvcpus = 1; nvcpus <= 9; nvcpus++)
		for (uint64_t base = 0; base <= 11; base++)
			for (uint64_t mask = 0; mask < 1 << 11; mask++)
				compare(mask, base, nvcpus);
}

static void every_bit_base_and_number(void **state)
{
	for (uint32_t nvcpus = 1; nvcpus <= 64; nvcpus++) {
		for (uint64_t base = 0; base <= 70; base++) {
			compare(0, base, nvcpus);
			compare(ALL, base, nvcpus);
			for (uint32_t bit = 0; bit < 64; bit++) {
				compare(BIT(bit), base, nvcpus);
				compare(BIT(bit) - 1, base, nvcpus);
				compare(~(BIT(bit) - 1), base, nvcpus);
				compare(BIT(bit) | 1, base, nvcpus);
			}
		}
	}
}

static void all_harts(void **state)
{
	uint64_t set;

	for (uint32_t nvcpus = 1; nvcpus <= 64; nvcpus++) {
		compare(0, ALL, nvcpus);
		compare(ALL, ALL, nvcpus);
		compare(0x8000000000000001, ALL, nvcpus);
	}
	assert_int_equal(hartmask_decode(0, ALL, 64, &set), OK);
	assert_int_equal(set, ALL);
	assert_int_equal(hartmask_decode(0, ALL, 1, &set), OK);
	assert_int_equal(set, 1);
}

static void the_last_hart(void **state)
{
	uint64_t set;

	assert_int_equal(hartmask_decode(1, 63, 64, &set), OK);
	assert_int_equal(set, BIT(63));
	assert_int_equal(hartmask_decode(2, 63, 64, &set), E_INVAL);
	assert_int_equal(hartmask_decode(ALL, 0, 64, &set), OK);
	assert_int_equal(set, ALL);
	assert_int_equal(hartmask_decode(BIT(63), 0, 63, &set), E_INVAL);
	assert_int_equal(hartmask_decode(1, 0, 1, &set), OK);
	assert_int_equal(hartmask_decode(3, 0, 1, &set), E_INVAL);
}

/* Bases near the largest number are not -1, and sums with them must not wrap to harts that exist.
 */
static void bases_far_out(void **state)
{
	static const uint64_t bases[] = {
		64, 128, UINT32_MAX, BIT(32), BIT(63), ALL - 1, ALL - 63, ALL - 64};
	static const uint64_t masks[] = {0, 1, 2, 3, 4, 1 << 6, BIT(62), BIT(63), ALL};

	for (unsigned b = 0; b < ARRAY_SIZE(bases); b++)
		for (unsigned i = 0; i < ARRAY_SIZE(masks); i++)
			for (uint32_t nvcpus = 1; nvcpus <= 64; nvcpus++)
				compare(masks[i], bases[b], nvcpus);
}

static void next_names_each_once_in_order(void **state)
{
	uint64_t x = 88172645463325252;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t set = i < 64 ? BIT(i) : x >> (i % 64), rest = set, seen = 0;
		uint32_t last = 0;

		while (rest) {
			uint32_t hart = hartmask_next(&rest);

			assert_true(hart < 64 && (set >> hart & 1) && !(seen >> hart & 1));
			assert_true(seen == 0 || hart > last);
			assert_false(rest >> hart & 1);
			seen |= BIT(hart);
			last = hart;
		}
		assert_int_equal(seen, set);
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_harts_exhaustively),
		cmocka_unit_test(every_bit_base_and_number),
		cmocka_unit_test(all_harts),
		cmocka_unit_test(the_last_hart),
		cmocka_unit_test(bases_far_out),
		cmocka_unit_test(next_names_each_once_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
