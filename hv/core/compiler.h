/* SPDX-License-Identifier: MIT */
/*
 * What every file needs from the compiler: fixed-width types, attributes, static checks and a few
 * arithmetic helpers. Owns nothing at run time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define must_check  __attribute__((warn_unused_result))
#define printf_like __attribute__((format(printf, 1, 2)))
#define noreturn    _Noreturn
#define noinline    __attribute__((noinline))
#define aligned(n)  __attribute__((aligned(n)))
#define static_assert _Static_assert

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)        (UINT64_C(1) << (n))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* `align` is a power of two; the result of ALIGN_UP wraps to 0 at the top of the address space. */
#define ALIGN_DOWN(x, align) ((uint64_t)(x) & ~((uint64_t)(align)-1))
#define ALIGN_UP(x, align)   ALIGN_DOWN((uint64_t)(x) + (align)-1, align)
#define IS_ALIGNED(x, align) (((uint64_t)(x) & ((uint64_t)(align)-1)) == 0)

/* True when [start, start + len) lies within [base, base + size), with no sum that wraps. */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t base, uint64_t size)
{
	return start >= base && len <= size && start - base <= size - len;
}

/* True when the two ranges share at least one byte. Neither may wrap. */
static inline bool range_overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && (a >= b ? a - b < b_len : b - a < a_len);
}
