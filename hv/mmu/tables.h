/* SPDX-License-Identifier: MIT */
/* The entries of the G-stage tables and the way to them, for the files of mmu/ alone. What needs
 * vm->lock takes a VM whose lock is held, but where another thing is said. */
#pragma once

#include "mmu/gstage.h"

#define PTE_V      BIT(0)
#define PTE_U      BIT(4)
#define PTE_A      BIT(6)
#define PTE_D      BIT(7)
#define PTE_PPN(a) ((a).v >> PAGE_SHIFT << 10)

/* Entries without V, leaf rights or address: */
#define PTE_BUSY  BIT(8) /* being replaced: see gstage.h */
#define PTE_GHOST BIT(9)

#define LEVELS   3
#define HPA_BITS 56

static inline uint64_t level_size(unsigned level)
{
	return PAGE_SIZE << (9 * level);
}

static inline unsigned index_at(gpa_t a, unsigned level)
{
	unsigned mask = level == LEVELS - 1 ? 0x7ff : 0x1ff;

	return (a.v >> (PAGE_SHIFT + 9 * level)) & mask;
}

/* From the entry for `a` on, how many there are in its table. */
static inline unsigned entries_from(gpa_t a, unsigned level)
{
	return (level == LEVELS - 1 ? 2048 : 512) - index_at(a, level);
}

static inline hpa_t pte_hpa(uint64_t pte)
{
	return hpa((pte & ~(UINT64_C(0x3ff) << 54)) >> 10 << PAGE_SHIFT);
}

static inline bool is_leaf(uint64_t pte)
{
	return pte & GSTAGE_RWX;
}

static inline uint64_t pte_get(const uint64_t *pte)
{
	return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

/* Release: a table's contents are visible before the entry that points to it. */
static inline void pte_set(uint64_t *pte, uint64_t v)
{
	__atomic_store_n(pte, v, __ATOMIC_RELEASE);
}

static inline uint64_t leaf_pte(hpa_t to, uint64_t flags)
{
	return PTE_PPN(to) | flags | PTE_V | PTE_U | PTE_A | PTE_D;
}

/* RAM can always be read, nothing else can be but what is marked. */
static inline bool is_own_ram(uint64_t pte)
{
	return (pte & (PTE_V | GSTAGE_R | GSTAGE_DEVICE | GSTAGE_FOREIGN)) == (PTE_V | GSTAGE_R);
}

static inline bool in_ram(const struct vm *vm, gpa_t at, uint64_t size)
{
	return range_within(at.v, size, vm->ram_base.v, vm->ram_size);
}

/* `n` more leaves are where GPA is not HPA, or as many less. */
static inline void gstage_count_moved(struct vm *vm, gpa_t at, hpa_t to, uint32_t n)
{
	if (at.v != to.v)
		__atomic_fetch_add(&vm->moved, n, __ATOMIC_RELEASE);
}

/* Puts a table in place of the leaf `*pte` of `level` that maps the same. Errors as
 * vm_page_take. */
enum err must_check gstage_split(struct vm *vm, uint64_t *pte, unsigned level);

/* The same for a leaf of RAM, whose blocks are split with it: a leaf never maps a part of one. */
enum err must_check gstage_split_ram(struct vm *vm, uint64_t *pte, unsigned level);

/* The entry for `at` in the table of `level`, with tables made on the way down. E_EXISTS: a leaf is
 * in the way; else errors as vm_page_alloc. */
enum err must_check gstage_walk_make(struct vm *vm, gpa_t at, unsigned level, uint64_t **out);

/* A page of RAM at `at`, where nothing is, as a copy of `contents`, or zeroed for NULL. Errors as
 * vm_page_take. */
enum err must_check gstage_put_page(struct vm *vm, gpa_t at, const void *contents);

/* The entry that decides about `at`, its level, and what it held at one moment: without the lock it
 * may change. */
uint64_t *gstage_walk(const struct vm *vm, gpa_t at, unsigned *level, uint64_t *value);

/* The level of the largest leaf that alignment and `size` allow. */
unsigned gstage_fitting_level(gpa_t at, hpa_t to, uint64_t size);

/* Maps one leaf. E_EXISTS: something is there; a table in the way whose entries are all empty is no
 * obstacle to a small leaf, but to a large one it is: try one level down. Errors as vm_page_alloc.
 */
enum err must_check gstage_map_leaf(
	struct vm *vm, gpa_t at, hpa_t to, unsigned level, uint64_t flags);

/* Gives back 2^order frames at `a`, which a leaf with these `flags` mapped; returns how many blocks
 * they are. */
unsigned gstage_drop_leaf(struct vm *vm, hpa_t a, unsigned order, uint64_t flags);
