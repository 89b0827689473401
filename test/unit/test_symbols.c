/* SPDX-License-Identifier: MIT */
/* hv/riscv/symbols.c. If it failed, the backtrace of a dying hypervisor would name wrong functions,
 * or fault. The table here is a strong one, as scripts/gen-symbols writes it. */
#include "unit.h"
#include "riscv/symbols.h"

extern const char text_start[];
extern const uint32_t symbols_count;
extern const struct symbol symbols_table[];
extern const char symbols_names[];

/* Three functions, the first not at the start, and the end of the text. */
const char text_start[0x100] = {0};
const uint32_t symbols_count = 4;
const struct symbol symbols_table[] = {{0x10, 0}, {0x14, 6}, {0x40, 13}, {0x80, 19}};
const char symbols_names[] = "first\0second\0third\0";

static void expect(uint64_t at, const char *name, uint64_t want_offset)
{
	uint64_t offset = 12345;
	const char *got = symbol_lookup((uintptr_t)text_start + at, &offset);

	if (!name) {
		assert_null(got);
		assert_int_equal(offset, 12345);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, name);
	assert_int_equal(offset, want_offset);
}

static void first_and_last_byte_of_each(void **state)
{
	expect(0x10, "first", 0);
	expect(0x13, "first", 3);
	expect(0x14, "second", 0);
	expect(0x3f, "second", 0x2b);
	expect(0x40, "third", 0);
	expect(0x7f, "third", 0x3f);
}

static void outside(void **state)
{
	expect(0, NULL, 0);
	expect(0x0f, NULL, 0);
	expect((uint64_t)-1, NULL, 0);
	expect(0x80, NULL, 0);
	expect(UINT64_C(0x100000010), NULL, 0); /* an offset that 32 bits would cut to a good one */
	expect(-(uint64_t)(uintptr_t)text_start, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_and_last_byte_of_each),
		cmocka_unit_test(outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
