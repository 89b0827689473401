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
	same("%d %i", 0, -1);
	same("%d %d", INT_MAX, INT_MIN);
	same("%u %x", UINT_MAX, UINT_MAX);
	same("%ld %ld", LONG_MAX, LONG_MIN);
	same("%lu %lx", ULONG_MAX, ULONG_MAX);
	same("%lld %llx", LLONG_MIN, ULLONG_MAX);
	same("%llu", ULLONG_MAX);
	same("%zu %zx", SIZE_MAX, SIZE_MAX);
	same("%zd", (ssize_t)-5);
	same("%u after %llu after %d", 1u, 2ull, -3);
}

static void widths_and_flags(void **state)
{
	same("[%5d] [%-5d] [%05d]", 42, 42, 42);
	same("[%5d] [%-5d] [%05d]", -42, -42, -42);
	same("[%2d] [%-2d] [%02d]", 12345, 12345, 12345);
	same("[%016lx] [%-16lx] [%16lx]", 0xabcul, 0xabcul, 0xabcul);
	same("[%08x] [%8x] [%-8x]", 0u, 0u, 0u);
	same("[%40u]", 7u);
}

static void characters_and_strings(void **state)
{
	same("%c%c%c", 'a', 'b', 'c');
	same("[%3c] [%-3c]", 'a', 'b');
	same("[%s] [%5s] [%-5s]", "abc", "abc", "abc");
	same("[%2s] [%-2s] [%s]", "abc", "abc", "");
	same("[%.2s] [%5.2s] [%-5.2s] [%.0s] [%.9s]", "abc", "abc", "abc", "abc", "abc");
	same("[%.s]", "abc");
}

/* A precision bounds what is read, not only what is printed: the text may lack a NUL. */
static void precision_stops_reading(void **state)
{
	char *s = malloc(3), got[8];

	assert_non_null(s);
	memcpy(s, "abc", 3);
	assert_int_equal(fmt_snprintf(got, sizeof(got), "%.3s", s), 3);
	assert_string_equal(got, "abc");
	free(s);
}

/* What C leaves open. Through a pointer, for the compiler checks formats that it can see. */
static void undefined_in_c(void **state)
{
	int (*volatile print)(char *, size_t, const char *, ...) = fmt_snprintf;
	char got[4096];

	assert_int_equal(print(got, sizeof(got), "%s", (char *)NULL), 6);
	assert_string_equal(got, "(null)");
	print(got, sizeof(got), "%p", (void *)0x80001234);
	assert_string_equal(got, "0x80001234");
	print(got, sizeof(got), "%18p|%-6p|%012p", (void *)0x1f, (void *)0x1f, (void *)0x1f);
	assert_string_equal(got, "              0x1f|0x1f  |0x000000001f");
	print(got, sizeof(got), "%q%d", 7);
	assert_string_equal(got, "%q7");
	print(got, sizeof(got), "end%");
	assert_string_equal(got, "end%");
	print(got, sizeof(got), "end%-0l");
	assert_string_equal(got, "end%-0l");
}

/* A width is a number in our own text, yet a wrong one must not spin for 2^64 blanks. */
static void width_is_bounded(void **state)
{
	int (*volatile print)(char *, size_t, const char *, ...) = fmt_snprintf;
	char got[16];

	assert_int_equal(print(got, sizeof(got), "%99999999999999999999999d", 1), 1024);
	assert_string_equal(got, "               ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text),
		cmocka_unit_test(integers),
		cmocka_unit_test(widths_and_flags),
		cmocka_unit_test(characters_and_strings),
		cmocka_unit_test(precision_stops_reading),
		cmocka_unit_test(undefined_in_c),
		cmocka_unit_test(width_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
