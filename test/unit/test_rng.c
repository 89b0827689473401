/* SPDX-License-Identifier: MIT */
/*
 * The generator of secrets. If this fails, two VMs get the same secret, or one that sees the state
 * later computes what was handed out before.
 *
 * Includes the source, to see the key. The cipher itself is checked against RFC 8439's vectors
 * through it.
 */
#include "unit.h"
#include "core/rng.c"

/* A ChaCha20 block of its own, written from RFC 8439, 2.3: what the generator's output is compared
 * with. */
static uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
	*d = rotate(*d ^ (*a += *b), 16);
	*b = rotate(*b ^ (*c += *d), 12);
	*d = rotate(*d ^ (*a += *b), 8);
	*b = rotate(*b ^ (*c += *d), 7);
}

static void block(const uint8_t key[32], uint8_t nonce, uint32_t counter, uint8_t out[64])
{
	uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];

	memcpy(in + 4, key, 32);
	in[12] = counter;
	in[13] = nonce;
	memcpy(x, in, sizeof(x));
	for (unsigned round = 0; round < 20; round++) {
		unsigned turn = round & 1;

		for (unsigned i = 0; i < 4; i++)
			quarter(&x[i], &x[4 + (i + turn) % 4], &x[8 + (i + 2 * turn) % 4],
				&x[12 + (i + 3 * turn) % 4]);
	}
	for (unsigned i = 0; i < 16; i++)
		x[i] += in[i];
	memcpy(out, x, 64);
}

static void stream(const uint8_t key[32], uint8_t nonce, uint8_t *out, size_t n)
{
	uint8_t b[64];

	for (size_t i = 0; i < n; i++) {
		if (i % 64 == 0)
			block(key, nonce, (uint32_t)(i / 64), b);
		out[i] = b[i % 64];
	}
}

static int zero_key(void **state)
{
	memset(rng.key, 0, sizeof(rng.key));
	return 0;
}

static void set_key(uint8_t first)
{
	for (unsigned i = 0; i < KEY_SIZE; i++)
		rng.key[i] = (uint8_t)(first + i);
}

/* RFC 8439, A.1, test vectors 1 and 2: key, nonce and counter zero, then counter 1. */
static void vectors_of_the_rfc(void **state)
{
	static const uint8_t first[] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d,
		0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
	static const uint8_t second[] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba,
		0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
	uint8_t out[128];

	rng_bytes(out, sizeof(out));
	assert_memory_equal(out, first, sizeof(first));
	assert_memory_equal(out + 64, second, sizeof(second));
}

static void output_and_next_key_are_two_streams(void **state)
{
	static const size_t sizes[] = {0, 1, 31, 32, 33, 63, 64, 65, 128, 1000};
	uint8_t key[KEY_SIZE], want[1000], got[1001];

	set_key(3);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		memcpy(key, rng.key, KEY_SIZE);
		memset(got, 0xa5, sizeof(got));
		rng_bytes(got, sizes[i]);
		stream(key, 0, want, sizes[i]);
		assert_memory_equal(got, want, sizes[i]);
		assert_int_equal(got[sizes[i]], 0xa5); /* not a byte more */
		stream(key, 1, want, KEY_SIZE);
		assert_memory_equal(rng.key, want, KEY_SIZE);
	}
}

/* What is in the buffer beforehand has no influence. */
static void the_buffer_is_overwritten(void **state)
{
	uint8_t a[100], b[100];

	memset(a, 0xff, sizeof(a));
	memset(b, 0x12, sizeof(b));
	set_key(9);
	rng_bytes(a, sizeof(a));
	set_key(9);
	rng_bytes(b, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
}

/* The key in memory after a request says nothing about what was handed out: no request, of any
 * size, gives it from there. */
static void earlier_output_cannot_be_had_again(void **state)
{
	uint8_t before[KEY_SIZE], secret[64], again[4096];

	set_key(77);
	memcpy(before, rng.key, KEY_SIZE);
	rng_bytes(secret, sizeof(secret));
	assert_memory_not_equal(rng.key, before, KEY_SIZE);
	for (unsigned i = 0; i < 100; i++) {
		rng_bytes(again, sizeof(again));
		for (size_t at = 0; at + 16 <= sizeof(again); at++)
			assert_memory_not_equal(again + at, secret, 16);
	}
	/* Nor does the key's own stream hold the key that follows, or the output. */
	set_key(77);
	stream(rng.key, 0, again, sizeof(again));
	rng_bytes(secret, 0);
	for (size_t at = 0; at + KEY_SIZE <= sizeof(again); at++)
		assert_memory_not_equal(again + at, rng.key, KEY_SIZE);
}

static int by_content(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

static void nothing_repeats(void **state)
{
	static uint8_t all[20000][8];

	rng_seed("seed", 4);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		rng_bytes(all[i], 8);
	qsort(all, ARRAY_SIZE(all), 8, by_content);
	for (unsigned i = 1; i < ARRAY_SIZE(all); i++)
		assert_memory_not_equal(all[i - 1], all[i], 8);
}

/* Each bit of a long output is set half of the time. */
static void bits_are_balanced(void **state)
{
	static uint8_t out[100000];
	unsigned ones[8] = {0};

	rng_seed("seed", 4);
	rng_bytes(out, sizeof(out));
	for (unsigned i = 0; i < sizeof(out); i++)
		for (unsigned b = 0; b < 8; b++)
			ones[b] += out[i] >> b & 1;
	for (unsigned b = 0; b < 8; b++)
		assert_in_range(ones[b], 49000, 51000);
}

static void after(const void *seed, size_t n, uint8_t out[32])
{
	zero_key(NULL);
	rng_seed(seed, n);
	rng_bytes(out, 32);
}

/* Every byte of the seed counts, however long it is. */
static void every_byte_of_a_seed_matters(void **state)
{
	uint8_t seed[100], a[32], b[32];

	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)(i * 7 + 1);
	for (size_t n = 1; n <= sizeof(seed); n += 9) {
		after(seed, n, a);
		for (size_t i = 0; i < n; i++) {
			seed[i] ^= 0x10;
			after(seed, n, b);
			seed[i] ^= 0x10;
			assert_memory_not_equal(a, b, 32);
		}
		after(seed, n, b);
		assert_memory_equal(a, b, 32); /* it is a function of the seed */
		after(seed, n - 1, b);
		assert_memory_not_equal(a, b, 32);
	}
}

/* Nor can parts of one seed, or one seed and the next, undo each other, or change places. */
static void parts_of_seeds_do_not_cancel(void **state)
{
	uint8_t seed[64], zero[64] = {0}, a[32], b[32];

	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)(i % 32 * 5 + 1);
	after(seed, 64, a); /* two equal halves */
	after(zero, 64, b);
	assert_memory_not_equal(a, b, 32);
	for (size_t n = 1; n <= 64; n++) {
		zero_key(NULL);
		rng_seed(seed, n);
		rng_seed(seed, n);
		rng_bytes(a, 32);
		zero_key(NULL);
		rng_seed(zero, n);
		rng_seed(zero, n);
		rng_bytes(b, 32);
		assert_memory_not_equal(a, b, 32);
	}
	after("ab", 2, a);
	after("ba", 2, b);
	assert_memory_not_equal(a, b, 32);
}

/* A second seed is mixed in: a known one does not take away what an unknown one gave, nor does one
 * cancel another. */
static void seeds_add_up(void **state)
{
	uint8_t once[32], twice[32], other[32];

	after("unknown entropy of 32 bytes.....", 32, once);
	zero_key(NULL);
	rng_seed("unknown entropy of 32 bytes.....", 32);
	rng_seed("unknown entropy of 32 bytes.....", 32); /* plain XOR would be back at zero */
	rng_bytes(twice, 32);
	assert_memory_not_equal(once, twice, 32);
	after("", 0, other);
	assert_memory_not_equal(twice, other, 32);
	zero_key(NULL);
	rng_seed("a different unknown entropy here", 32);
	rng_seed("known", 5);
	rng_bytes(other, 32);
	zero_key(NULL);
	rng_seed("unknown entropy of 32 bytes.....", 32);
	rng_seed("known", 5);
	rng_bytes(twice, 32);
	assert_memory_not_equal(other, twice, 32);
}

static void reseeding_changes_what_comes(void **state)
{
	uint8_t a[32], b[32];

	set_key(1);
	rng_bytes(a, 32);
	rng_bytes(a, 32);
	set_key(1);
	rng_bytes(b, 32);
	rng_seed("x", 1);
	rng_bytes(b, 32);
	assert_memory_not_equal(a, b, 32);
	assert_false(spin_is_locked(&rng.lock));
}

static void zeroize_zeroizes(void **state)
{
	uint8_t buf[9] = "secrets!";

	mbedtls_platform_zeroize(buf, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(buf[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(vectors_of_the_rfc, zero_key),
		cmocka_unit_test_setup(output_and_next_key_are_two_streams, zero_key),
		cmocka_unit_test_setup(the_buffer_is_overwritten, zero_key),
		cmocka_unit_test_setup(earlier_output_cannot_be_had_again, zero_key),
		cmocka_unit_test_setup(nothing_repeats, zero_key),
		cmocka_unit_test_setup(bits_are_balanced, zero_key),
		cmocka_unit_test_setup(every_byte_of_a_seed_matters, zero_key),
		cmocka_unit_test_setup(parts_of_seeds_do_not_cancel, zero_key),
		cmocka_unit_test_setup(seeds_add_up, zero_key),
		cmocka_unit_test_setup(reseeding_changes_what_comes, zero_key),
		cmocka_unit_test_setup(zeroize_zeroizes, zero_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
