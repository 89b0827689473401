/* SPDX-License-Identifier: MIT */
/*
 * Copying and filling of memory: whole words, 32 at a time, when both sides allow it. The
 * budgets of fork, zeroing and boot rest on 2 instructions per word copied and 1 per word filled.
 * The other string functions, of which nothing depends on the speed, are klibc's.
 *
 * No loop here may become a call of the very function it is in: see hv.mk.
 */
#include <string.h>

#include <stdint.h>

/* Memory of any type is read and written as words. */
typedef unsigned long __attribute__((may_alias)) word_t;

#define WORD   sizeof(word_t)
#define BATCH  8                  /* words that are read before any is written: one line of cache */
#define STRIDE (4 * BATCH * WORD) /* bytes between two tests of the counter */

static inline int word_aligned(uintptr_t address)
{
	return address % WORD == 0;
}

static inline void copy_batch(word_t *d, const word_t *s)
{
	word_t batch[BATCH];

#pragma GCC unroll 8
	for (unsigned i = 0; i < BATCH; i++)
		batch[i] = s[i];
#pragma GCC unroll 8
	for (unsigned i = 0; i < BATCH; i++)
		d[i] = batch[i];
}

/* Also moves memory downwards onto itself, and so has no `restrict`: with it the compiler mixes the
 * batches. */
void *memcpy(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (word_aligned((uintptr_t)d ^ (uintptr_t)s)) {
		for (; n && !word_aligned((uintptr_t)d); n--)
			*d++ = *s++;
		for (; n >= STRIDE; n -= STRIDE, d += STRIDE, s += STRIDE) {
#pragma GCC unroll 4
			for (unsigned i = 0; i < STRIDE / WORD; i += BATCH)
				copy_batch((word_t *)d + i, (const word_t *)s + i);
		}
		for (; n >= WORD; n -= WORD, d += WORD, s += WORD)
			*(word_t *)d = *(const word_t *)s;
	}
	for (; n; n--)
		*d++ = *s++;
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	if ((uintptr_t)dst - (uintptr_t)src >= n)
		return memcpy(dst, src, n);
	/* Upwards onto itself: nobody does that with much. */
	for (; n; n--)
		((unsigned char *)dst)[n - 1] = ((const unsigned char *)src)[n - 1];
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	const word_t word = (word_t)-1 / 0xff * (unsigned char)byte;
	unsigned char *d = dst;

	for (; n && !word_aligned((uintptr_t)d); n--)
		*d++ = (unsigned char)byte;
	for (; n >= STRIDE; n -= STRIDE, d += STRIDE)
#pragma GCC unroll 32
		for (unsigned i = 0; i < STRIDE / WORD; i++)
			((word_t *)d)[i] = word;
	for (; n >= WORD; n -= WORD, d += WORD)
		*(word_t *)d = word;
	for (; n; n--)
		*d++ = (unsigned char)byte;
	return dst;
}
