/* SPDX-License-Identifier: MIT */
/*
 * hv/lib/printf.c against the build machine's snprintf. If it failed, the hypervisor's messages
 * would lie, or a long one would write past its buffer.
 */
#include "unit.h"
#include "lib/printf.h"

#include <limits.h>

/* Both must give the same text and length, at each size of the buffer, and no byte beyond it. */
#define same(...)                                                                                  \
	do {                                                                                       \
		char want[128], got[128];                                                          \
		for (size_t size = 0; size <= 80; size++) {                                        \
			memset(want, 0x55, sizeof(want));                                          \
			memset(got, 0x55, sizeof(got));                                            \
			int n = snprintf(want, size, __VA_ARGS__);                                 \
			assert_int_equal(fmt_snprintf(got, size, __VA_ARGS__), n);                 \
			assert_memory_equal(got, want, sizeof(got));                               \
		}                                                                                  \
	} while (0)

#pragma GCC diagnostic ignored "-Wformat-truncation"
#pragma GCC diagnostic ignored "-Wformat-zero-length"

static void plain_text(void **state)
{
	same("");
	same("no conversion");
	same("100%% of %s", "it");
}

static void integers(void **state)
{
	same("%d %d", 0, -1);
	same("%d %d", INT_MAX, INT_MIN);
	same("%u %x", UINT_MAX, UINT_MAX);
	same("%ld %ld", LONG_MAX, LONG_MIN);
	same("%lu %lx", ULONG_MAX, ULONG_MAX);
	same("%u after %lu after %d", 1u, 2ul, -3);
}

static void widths(void **state)
{
	same("[%5u] [%05u] [%u]", 42, 42, 42);
	same("[%2u] [%02u]", 12345, 12345);
	same("[%016lx] [%16lx]", 0xabcul, 0xabcul);
	same("[%08x] [%8x]", 0u, 0u);
	same("[%40u]", 7u);
}

static void strings(void **state)
{
	same("[%s] [%s]", "abc", "");
}

/* What C leaves open. Through a pointer, for the compiler checks formats that it can see. */
static void undefined_in_c(void **state)
{
	int (*volatile print)(char *, size_t, const char *, ...) = fmt_snprintf;
	char got[4096];

	print(got, sizeof(got), "%q%d", 7);
	assert_string_equal(got, "%q7");
	print(got, sizeof(got), "end%");
	assert_string_equal(got, "end%");
	print(got, sizeof(got), "end%0l");
	assert_string_equal(got, "end%0l");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text),
		cmocka_unit_test(integers),
		cmocka_unit_test(widths),
		cmocka_unit_test(strings),
		cmocka_unit_test(undefined_in_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
