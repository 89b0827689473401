/* SPDX-License-Identifier: MIT */
/* Walking a guest's page tables; see walk.h. */
#include "mmu/walk_from.h"

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

enum err guest_walk_on(const struct vm *vm, unsigned level, gva_t at, uint64_t how, struct walk *w)
{
	const uint64_t *table;

	do {
		enum err err = guest_table(vm, gpa(pte_hpa(w->ptes[level]).v), &table);

		if (err != OK)
			return err;
	} while (walk_look_at(w, table, --level, at));
	return walk_finish(w, level, at, how);
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
