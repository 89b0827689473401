/* SPDX-License-Identifier: MIT */
/* A walk of a guest's tables from one of them on, inline: most page faults of guests on shadow
 * tables look at one entry. For mmu/walk.c and mmu/shadow.c. */
#pragma once

#include "mmu/tables.h"
#include "mmu/walk.h"

#define PTE_RESERVED    (UINT64_C(0x3ff) << 54) /* N and PBMT among them */
#define PTE_NOT_POINTER (PTE_V | GSTAGE_RWX | PTE_U | PTE_A | PTE_D | PTE_RESERVED)

/* Privileged ISA 12.3.2, steps 3 and 5 to 9: a valid leaf, aligned, with A and D as Svade has them.
 */
static inline bool walk_allows(uint64_t leaf, unsigned level, uint64_t how)
{
	uint64_t needs = PTE_A | (how & WALK_WRITE ? PTE_D : 0), rights = leaf;

	if ((leaf & needs) != needs || (leaf & (GSTAGE_R | GSTAGE_W)) == GSTAGE_W)
		return false;
	if ((leaf & PTE_RESERVED & ~how) || (leaf & WALK_PBMT) == WALK_PBMT)
		return false;
	if (((leaf ^ how) & PTE_U) && (how & (WALK_USER | WALK_SUM | WALK_EXECUTE)) != WALK_SUM)
		return false;
	if ((how & WALK_MXR) && (leaf & GSTAGE_X))
		rights |= GSTAGE_R;
	return (rights & how & GSTAGE_RWX) && IS_ALIGNED(leaf >> 10, level_size(level) >> 12);
}

/* What a walk does at `level`. True when it goes on, with *pte. */
static inline bool walk_look_at(struct walk *w, const uint64_t *table, unsigned level, gva_t at)
{
	w->tables[level] = table;
	w->ptes[level] = pte_get(&table[gva_index(at, level)]);
	return level && (w->ptes[level] & PTE_NOT_POINTER) == PTE_V;
}

static inline enum err walk_finish(struct walk *w, unsigned level, gva_t at, uint64_t how)
{
	uint64_t inside = level_size(level) - 1, leaf = w->ptes[level];

	if (!(leaf & PTE_V))
		return E_FAULT;
	w->pte = leaf;
	w->level = level;
	w->gpa = gpa(pte_hpa(leaf).v | (at.v & inside));
	return walk_allows(leaf, level, how) ? OK : E_FAULT;
}

/* Goes on from the entry of `level`, which leads to another table. Errors as guest_walk. */
enum err must_check guest_walk_on(
	const struct vm *vm, unsigned level, gva_t at, uint64_t how, struct walk *w);

/* As guest_walk, for a canonical address, from a table on that an earlier walk has found. */
static inline enum err guest_walk_from(const struct vm *vm, const uint64_t *table, unsigned level,
	gva_t at, uint64_t how, struct walk *w)
{
	return walk_look_at(w, table, level, at) ? guest_walk_on(vm, level, at, how, w)
						 : walk_finish(w, level, at, how);
}
