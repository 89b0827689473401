/* SPDX-License-Identifier: MIT */
/* See rng.h. The cipher is Mbed TLS's, from the distribution's source package. */
#include <mbedtls/chacha20.h>
#include <mbedtls/platform_util.h>
#include <string.h>
#include "core/rng.h"
#include "core/bug.h"
#include "core/lock.h"

#define KEY_SIZE 32

static struct {
	struct spinlock lock;
	uint8_t key[KEY_SIZE]; /* under lock */
} rng;

/* Asked for by the library too. The barrier keeps the compiler from dropping a store to memory that
 * dies. */
void mbedtls_platform_zeroize(void *buf, size_t len)
{
	memset(buf, 0, len);
	__asm__ volatile("" ::"r"(buf) : "memory");
}

/* `out` becomes key stream of `nonce`; distinct nonces give unrelated streams. */
static void keystream(uint8_t nonce, void *out, size_t n)
{
	uint8_t iv[12] = {nonce};

	memset(out, 0, n);
	BUG_ON(mbedtls_chacha20_crypt(rng.key, iv, 0, n, out, out) != 0);
}

static void rekey(void)
{
	uint8_t next[KEY_SIZE];

	keystream(1, next, sizeof(next));
	memcpy(rng.key, next, sizeof(next));
	mbedtls_platform_zeroize(next, sizeof(next));
}

void rng_seed(const void *entropy, size_t n)
{
	const uint8_t *p = entropy;

	spin_lock(&rng.lock);
	for (size_t i = 0; i < n; i++) {
		rng.key[i % KEY_SIZE] ^= p[i];
		if (i % KEY_SIZE == KEY_SIZE - 1)
			rekey();
	}
	rekey();
	spin_unlock(&rng.lock);
}

void rng_bytes(void *out, size_t n)
{
	spin_lock(&rng.lock);
	keystream(0, out, n);
	rekey();
	spin_unlock(&rng.lock);
}
