/* SPDX-License-Identifier: MIT */
/* Walking a guest's page tables; see walk.h. */
#include "mmu/walk.h"
#include "mmu/tables.h"

#define PTE_RESERVED    (UINT64_C(0x3ff) << 54) /* N and PBMT among them */
#define PTE_NOT_POINTER (PTE_V | GSTAGE_RWX | PTE_U | PTE_A | PTE_D | PTE_RESERVED)

/* Where the guest's table at `at` is. */
static enum err guest_table(const struct vm *vm, gpa_t at, const uint64_t **out)
{
	unsigned level;
	uint64_t value;

	if (at.v >= GSTAGE_END)
		return E_DENIED;
	gstage_walk(vm, at, &level, &value);
	if ((value & PTE_V) && is_leaf(value) && !(value & GSTAGE_DEVICE)) {
		*out = hpa_ptr(hpa_add(pte_hpa(value), at.v & (level_size(level) - 1)));
		return OK;
	}
	if (!in_ram(vm, at, 1))
		return E_DENIED;
	return value == PTE_BUSY ? E_STATE : E_FAULT;
}

/* Privileged ISA 12.3.2, steps 3 and 5 to 9: a leaf, aligned, with A and D as Svade has them. */
static inline bool allows(uint64_t leaf, unsigned level, uint64_t how)
{
	uint64_t needs = PTE_V | PTE_A | (how & WALK_WRITE ? PTE_D : 0), rights = leaf;

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
static inline bool look_at(struct walk *w, const uint64_t *table, unsigned level, gva_t at)
{
	w->tables[level] = table;
	w->ptes[level] = pte_get(&table[gva_index(at, level)]);
	return level && (w->ptes[level] & PTE_NOT_POINTER) == PTE_V;
}

static inline enum err finish(struct walk *w, unsigned level, gva_t at, uint64_t how)
{
	uint64_t inside = level_size(level) - 1, leaf = w->ptes[level];

	w->pte = leaf;
	w->level = level;
	w->gpa = gpa(pte_hpa(leaf).v | (at.v & inside));
	return allows(leaf, level, how) ? OK : E_FAULT;
}

static noinline enum err go_on(
	const struct vm *vm, unsigned level, gva_t at, uint64_t how, struct walk *w)
{
	const uint64_t *table;

	do {
		enum err err = guest_table(vm, gpa(pte_hpa(w->ptes[level]).v), &table);

		if (err != OK)
			return err;
	} while (look_at(w, table, --level, at));
	return finish(w, level, at, how);
}

enum err guest_walk_from(const struct vm *vm, const uint64_t *table, unsigned level, gva_t at,
	uint64_t how, struct walk *w)
{
	return look_at(w, table, level, at) ? go_on(vm, level, at, how, w)
					    : finish(w, level, at, how);
}

enum err guest_walk(const struct vm *vm, uint64_t satp, gva_t at, uint64_t how, struct walk *w)
{
	unsigned levels = SATP_LEVELS(satp);
	const uint64_t *root;

	if (SATP_MODE(satp) == 0) {
		w->gpa = gpa(at.v);
		w->level = WALK_LEVELS;
		w->pte = PTE_V | GSTAGE_RWX | PTE_A | PTE_D | (how & WALK_USER);
		return OK;
	}
	if (!gva_is_canonical(at, levels))
		return E_FAULT;
	enum err err = guest_table(vm, gpa(SATP_PPN(satp) << PAGE_SHIFT), &root);

	return err == OK ? guest_walk_from(vm, root, levels - 1, at, how, w) : err;
}
