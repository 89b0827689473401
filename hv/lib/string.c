/* SPDX-License-Identifier: MIT */
/*
 * The freestanding memory and string functions. Copying and filling move whole words, eight at a
 * time, when both sides allow it: the budgets of fork, zeroing and boot rest on 2 instructions per
 * word copied and 1 per word filled. Everything else favours size.
 *
 * No loop here may become a call: GCC turns a loop that it recognises as memset, memcpy or strlen
 * into a call of that function, here of itself. keep_loop() inside a loop prevents it.
 */
#include <string.h>

#include <stdint.h>

/* Memory of any type is read and written as words. */
typedef unsigned long __attribute__((may_alias)) word_t;

#define WORD        sizeof(word_t)
#define BATCH_WORDS 8 /* what copy_batch moves */
#define BATCH       (BATCH_WORDS * WORD)
#define STRIDE      (2 * BATCH) /* bytes between two tests of the counter */

#define WORD_OF_BYTE(byte) ((word_t)-1 / 0xff * (unsigned char)(byte))

/* Costs no instruction. */
static inline void keep_loop(void)
{
	__asm__ volatile("");
}

static inline int word_aligned(const void *p)
{
	return ((uintptr_t)p & (WORD - 1)) == 0;
}

static inline int same_alignment(const void *a, const void *b)
{
	return (((uintptr_t)a ^ (uintptr_t)b) & (WORD - 1)) == 0;
}

/* Reads a batch before it writes it, so that it may also move memory downwards onto itself. */
static inline void copy_batch(word_t *d, const word_t *s)
{
	word_t a = s[0], b = s[1], c = s[2], e = s[3];
	word_t f = s[4], g = s[5], h = s[6], i = s[7];

	d[0] = a;
	d[1] = b;
	d[2] = c;
	d[3] = e;
	d[4] = f;
	d[5] = g;
	d[6] = h;
	d[7] = i;
}

/* Ascending copy; right also when dst < src and the two overlap. */
static inline void copy_forward(unsigned char *d, const unsigned char *s, size_t n)
{
	if (n >= 2 * WORD && same_alignment(d, s)) {
		for (; !word_aligned(d); n--, keep_loop())
			*d++ = *s++;
		for (; n >= STRIDE; n -= STRIDE) {
			copy_batch((word_t *)d, (const word_t *)s);
			copy_batch((word_t *)d + BATCH_WORDS, (const word_t *)s + BATCH_WORDS);
			d += STRIDE;
			s += STRIDE;
			keep_loop();
		}
		for (; n >= WORD; n -= WORD, d += WORD, s += WORD, keep_loop())
			*(word_t *)d = *(const word_t *)s;
	}
	for (; n; n--, keep_loop())
		*d++ = *s++;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	copy_forward(dst, src, n);
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	if ((uintptr_t)dst - (uintptr_t)src >= n)
		return memcpy(dst, src, n);
	/* Upwards onto itself: nobody does that with much. */
	for (; n; n--, keep_loop())
		((unsigned char *)dst)[n - 1] = ((const unsigned char *)src)[n - 1];
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	unsigned char *d = dst;
	word_t word = WORD_OF_BYTE(byte);

	if (n >= 2 * WORD) {
		for (; !word_aligned(d); n--, keep_loop())
			*d++ = (unsigned char)byte;
		for (; n >= STRIDE; n -= STRIDE, keep_loop()) {
			word_t *w = (word_t *)d;

			w[0] = w[1] = w[2] = w[3] = w[4] = w[5] = w[6] = w[7] = word;
			w[8] = w[9] = w[10] = w[11] = w[12] = w[13] = w[14] = w[15] = word;
			d += STRIDE;
		}
		for (; n >= WORD; n -= WORD, d += WORD, keep_loop())
			*(word_t *)d = word;
	}
	for (; n; n--, keep_loop())
		*d++ = (unsigned char)byte;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (; n; n--, p++, q++) {
		if (*p != *q)
			return *p - *q;
	}
	return 0;
}

void *memchr(const void *s, int byte, size_t n)
{
	const unsigned char *p = s;

	for (; n; n--, p++) {
		if (*p == (unsigned char)byte)
			return (void *)p;
	}
	return NULL;
}

size_t strlen(const char *s)
{
	const char *p = s;

	for (; *p; keep_loop())
		p++;
	return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	for (; n < max && s[n]; keep_loop())
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++) {
		if (!*s)
			return NULL;
	}
	return (char *)s;
}
