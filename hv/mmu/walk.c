/* SPDX-License-Identifier: MIT */
/* Walking a guest's page tables; see walk.h. */
#include "mmu/walk.h"
#include "mmu/tables.h"

#define PTE_N        BIT(63)
#define PTE_RESERVED (UINT64_C(0x3ff) << 54) /* N and PBMT among them */

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

/* MXR, SUM, and A and D as Svade has them (Privileged ISA 12.3.2, steps 5 and 9). */
static bool allows(uint64_t leaf, uint64_t how)
{
	uint64_t rights = leaf;

	if ((how & WALK_MXR) && (leaf & GSTAGE_X))
		rights |= GSTAGE_R;
	if (((leaf ^ how) & PTE_U) &&
		(!(leaf & PTE_U) || !(how & WALK_SUM) || (how & WALK_EXECUTE)))
		return false;
	if (!(leaf & PTE_A) || ((how & WALK_WRITE) && !(leaf & PTE_D)))
		return false;
	return rights & how & GSTAGE_RWX;
}

static enum err finish(uint64_t leaf, unsigned level, gva_t at, uint64_t how, struct walk *w)
{
	uint64_t inside = level_size(level) - 1, to = pte_hpa(leaf).v;

	if (!allows(leaf, how) || (to & inside)) /* a superpage has to be aligned */
		return E_FAULT;
	w->gpa = gpa(to | (at.v & inside));
	w->level = level;
	w->pte = leaf;
	return OK;
}

enum err guest_walk_from(const struct vm *vm, uint64_t satp, const uint64_t *table, unsigned level,
	gva_t at, uint64_t how, struct walk *w)
{
	enum err err = OK;

	if (SATP_MODE(satp) == 0) {
		w->gpa = gpa(at.v);
		w->level = WALK_LEVELS;
		w->pte = PTE_V | GSTAGE_RWX | PTE_A | PTE_D | (how & WALK_USER);
		return OK;
	}
	if (!gva_is_canonical(at, SATP_LEVELS(satp)))
		return E_FAULT;
	if (!table) {
		level = SATP_LEVELS(satp) - 1;
		err = guest_table(vm, gpa(SATP_PPN(satp) << PAGE_SHIFT), &table);
	}
	for (; err == OK; level--) {
		uint64_t pte = pte_get(&table[gva_index(at, level)]);

		w->tables[level] = table;
		w->ptes[level] = pte;
		if (!(pte & PTE_V) || (pte & (GSTAGE_R | GSTAGE_W)) == GSTAGE_W ||
			(pte & PTE_RESERVED & ~how) || (pte & WALK_PBMT) == WALK_PBMT)
			return E_FAULT;
		if (is_leaf(pte))
			return finish(pte, level, at, how, w);
		if (level == 0 || (pte & (PTE_U | PTE_A | PTE_D | WALK_PBMT)))
			return E_FAULT;
		err = guest_table(vm, gpa(pte_hpa(pte).v), &table);
	}
	return err;
}
