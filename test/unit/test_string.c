/* SPDX-License-Identifier: MIT */
/*
 * hv/lib/string.c against the build machine's C library. If it failed, copies and zeroing of guest
 * memory would touch wrong bytes at some length or alignment, or libfdt would misread names.
 */
#include "unit.h"

/* Ours are compiled here under other names, beside the host's. */
#define memcpy  hv_memcpy
#define memmove hv_memmove
#define memset  hv_memset
#define memcmp  hv_memcmp
#define memchr  hv_memchr
#define strlen  hv_strlen
#define strnlen hv_strnlen
#define strcmp  hv_strcmp
#define strncmp hv_strncmp
#define strchr  hv_strchr
#include "lib/string.h"
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr

/* Longer than two unrolled batches, so that each loop runs zero, one and several times. */
#define SPAN 420
#define EDGE 16

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void fill_pattern(unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(i * 7 + i / 251 + 1);
}

/* The whole arena is compared, so that a byte written outside the range is seen too. */
static void memcpy_each_alignment_and_length(void **state)
{
	static unsigned char src[SPAN + 2 * EDGE], got[SPAN + 2 * EDGE], want[SPAN + 2 * EDGE];

	fill_pattern(src, sizeof(src));
	for (size_t n = 0; n <= SPAN; n = n < 40 ? n + 1 : n + 13) {
		for (size_t from = 0; from < 8; from++) {
			for (size_t to = 0; to < 8; to++) {
				memset(got, 0xee, sizeof(got));
				memset(want, 0xee, sizeof(want));
				memcpy(want + to, src + from, n);
				assert_ptr_equal(hv_memcpy(got + to, src + from, n), got + to);
				assert_memory_equal(got, want, sizeof(got));
			}
		}
	}
}

static void memmove_each_distance(void **state)
{
	static unsigned char got[3 * SPAN], want[3 * SPAN];

	for (size_t n = 0; n <= SPAN; n = n < 20 ? n + 1 : n + 29) {
		for (int distance = -150; distance <= 150; distance++) {
			unsigned char *from = got + SPAN + n % 8, *to = from + distance;

			fill_pattern(got, sizeof(got));
			fill_pattern(want, sizeof(want));
			memmove(want + (to - got), want + (from - got), n);
			assert_ptr_equal(hv_memmove(to, from, n), to);
			assert_memory_equal(got, want, sizeof(got));
		}
	}
}

static void memset_each_alignment_and_length(void **state)
{
	static unsigned char got[SPAN + 2 * EDGE], want[SPAN + 2 * EDGE];

	for (size_t n = 0; n <= SPAN; n = n < 40 ? n + 1 : n + 7) {
		for (size_t to = 0; to < 8; to++) {
			fill_pattern(got, sizeof(got));
			fill_pattern(want, sizeof(want));
			memset(want + to, 0xa5, n);
			/* Only the low byte of the argument counts. */
			assert_ptr_equal(hv_memset(got + to, 0x7ffffa5, n), got + to);
			assert_memory_equal(got, want, sizeof(got));
		}
	}
}

static void a_page(void **state)
{
	static unsigned char a[4096] __attribute__((aligned(8))),
		b[4096] __attribute__((aligned(8)));

	fill_pattern(a, sizeof(a));
	hv_memcpy(b, a, sizeof(a));
	assert_memory_equal(a, b, sizeof(a));
	hv_memset(a, 0, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i++)
		assert_int_equal(a[i], 0);
}

static void memcmp_and_memchr(void **state)
{
	const unsigned char a[] = {1, 2, 0x80, 4}, b[] = {1, 2, 0x7f, 4};

	assert_int_equal(hv_memcmp(a, b, 2), 0);
	assert_int_equal(hv_memcmp(a, b, 0), 0);
	assert_true(hv_memcmp(a, b, 3) > 0); /* bytes are unsigned */
	assert_true(hv_memcmp(b, a, 4) < 0);
	assert_ptr_equal(hv_memchr(a, 0x180, 4), a + 2);
	assert_ptr_equal(hv_memchr(a, 1, 4), a);
	assert_null(hv_memchr(a, 4, 3));
	assert_null(hv_memchr(a, 1, 0));
}

static const char *const words[] = {
	"", "a", "ab", "abc", "abd", "b", "aab", "\xff", "abcabc", "bc", "ca"};
#define NWORDS (sizeof(words) / sizeof(words[0]))

static void string_pairs_as_the_host_does(void **state)
{
	for (size_t i = 0; i < NWORDS; i++) {
		for (size_t j = 0; j < NWORDS; j++) {
			const char *a = words[i], *b = words[j];

			assert_int_equal(sign(hv_strcmp(a, b)), sign(strcmp(a, b)));
			for (size_t n = 0; n < 8; n++)
				assert_int_equal(sign(hv_strncmp(a, b, n)), sign(strncmp(a, b, n)));
		}
	}
}

static void strings_as_the_host_does(void **state)
{
	static const char chars[] = {'a', 'b', 'c', 'x', 0, (char)0xff};

	for (size_t i = 0; i < NWORDS; i++) {
		assert_int_equal(hv_strlen(words[i]), strlen(words[i]));
		for (size_t n = 0; n < 8; n++)
			assert_int_equal(hv_strnlen(words[i], n), strnlen(words[i], n));
		for (size_t c = 0; c < sizeof(chars); c++) {
			assert_ptr_equal(hv_strchr(words[i], chars[c]), strchr(words[i], chars[c]));
		}
	}
}

/* A missing terminator within the bound must not be looked for beyond it: ASan watches. */
static void strnlen_and_strncmp_stop_at_the_bound(void **state)
{
	char *s = malloc(4);

	assert_non_null(s);
	memcpy(s, "abcd", 4);
	assert_int_equal(hv_strnlen(s, 4), 4);
	assert_int_equal(hv_strncmp(s, "abcd", 4), 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memcpy_each_alignment_and_length),
		cmocka_unit_test(memmove_each_distance),
		cmocka_unit_test(memset_each_alignment_and_length),
		cmocka_unit_test(a_page),
		cmocka_unit_test(memcmp_and_memchr),
		cmocka_unit_test(string_pairs_as_the_host_does),
		cmocka_unit_test(strings_as_the_host_does),
		cmocka_unit_test(strnlen_and_strncmp_stop_at_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
