/* SPDX-License-Identifier: MIT */
/*
 * hv/lib/string.c against the build machine's C library. If it failed, copies and zeroing of guest
 * memory would touch wrong bytes at some length or alignment.
 */
#include "unit.h"

/* Ours are compiled here under other names, beside the host's. */
#define memcpy  hv_memcpy
#define memmove hv_memmove
#define memset  hv_memset
#include "lib/string.h"
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset

/* Longer than two unrolled batches, so that each loop runs zero, one and several times. */
#define SPAN 420
#define EDGE 16

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memcpy_each_alignment_and_length),
		cmocka_unit_test(memmove_each_distance),
		cmocka_unit_test(memset_each_alignment_and_length),
		cmocka_unit_test(a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
