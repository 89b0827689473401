/* SPDX-License-Identifier: MIT */
/*
 * The three kinds of address, as one-field structs so that mixing them does not compile:
 * HPA host physical, GPA guest physical, GVA guest virtual. Always 64 bits wide, on RV32 as well,
 * whose physical addresses have 34 bits.
 */
#pragma once

#include "core/compiler.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE  (UINT64_C(1) << PAGE_SHIFT)

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

typedef struct {
	uint64_t v;
} hpa_t;

typedef struct {
	uint64_t v;
} gpa_t;

typedef struct {
	uint64_t v;
} gva_t;

static inline hpa_t hpa(uint64_t v)
{
	return (hpa_t){v};
}

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){v};
}

static inline gva_t gva(uint64_t v)
{
	return (gva_t){v};
}

static inline hpa_t hpa_add(hpa_t a, uint64_t bytes)
{
	return (hpa_t){a.v + bytes};
}

static inline gpa_t gpa_add(gpa_t a, uint64_t bytes)
{
	return (gpa_t){a.v + bytes};
}
