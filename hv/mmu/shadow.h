#pragma once
#include "mmu/walk.h"
#define SHADOW_ALL_ASIDS UINT64_MAX
static inline uint64_t shadow_switch(struct shadow *s, uint64_t satp)
{
	return 0;
}
static inline void shadow_forget_all(struct shadow *s)
{
}
static inline void shadow_fence(struct shadow *s, uint64_t a, uint64_t b, uint64_t c)
{
}
static inline enum err shadow_fault(
	struct vm *vm, struct shadow *s, gva_t gva, uint64_t how, gpa_t *at, struct refusal *r)
{
	return E_FAULT;
}
