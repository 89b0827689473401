/* SPDX-License-Identifier: MIT */
/* Sv39x4 tables: finding, mapping and splitting; see gstage.h. */
#include <string.h>
#include "core/bug.h"
#include "mmu/tables.h"

enum err gstage_split(struct vm *vm, uint64_t *pte, unsigned level)
{
	uint64_t old = *pte;
	hpa_t table;

	BUG_ON(level == 0); /* ranges are page aligned: a 4 KiB leaf is never cut */
	enum err err = vm_page_take(vm, 0, FRAME_TABLE, &table);

	if (err != OK)
		return err;
	uint64_t *entries = hpa_ptr(table), step = level_size(level - 1) >> PAGE_SHIFT << 10;

#pragma GCC unroll 4
	for (unsigned i = 0; i < 512; i++, old += step)
		entries[i] = old;
	pte_set(pte, PTE_PPN(table) | PTE_V);
	return OK;
}

enum err gstage_split_ram(struct vm *vm, uint64_t *pte, unsigned level)
{
	hpa_t a = pte_hpa(*pte);
	enum err err = gstage_split(vm, pte, level);

	/* Blocks are of 2 MiB, or 4 KiB, as others may have made them by now. */
	if (err == OK && level == 1 && frame_order(a) == ORDER_2M)
		frame_split(a, ORDER_4K);
	return err;
}

enum err gstage_walk_make(struct vm *vm, gpa_t at, unsigned level, uint64_t **out)
{
	vm->gpa_end = MAX(vm->gpa_end, ALIGN_DOWN(at.v, level_size(level)) + level_size(level));
	uint64_t *table = hpa_ptr(vm->gstage_root);

	for (unsigned l = LEVELS - 1; l > level; l--) {
		uint64_t *pte = &table[index_at(at, l)];

		if (!(*pte & PTE_V)) {
			hpa_t made;
			enum err err = vm_page_alloc(vm, 0, FRAME_TABLE, &made);

			if (err != OK)
				return err;
			pte_set(pte, PTE_PPN(made) | PTE_V);
		}
		if (is_leaf(*pte))
			return E_EXISTS;
		table = hpa_ptr(pte_hpa(*pte));
	}
	*out = &table[index_at(at, level)];
	return OK;
}

uint64_t *gstage_walk(const struct vm *vm, gpa_t at, unsigned *level, uint64_t *value)
{
	uint64_t *table = hpa_ptr(vm->gstage_root);

	for (unsigned l = LEVELS - 1;; l--) {
		uint64_t *pte = &table[index_at(at, l)], found = pte_get(pte);

		if (l == 0 || !(found & PTE_V) || is_leaf(found)) {
			*value = found;
			*level = l;
			return pte;
		}
		table = hpa_ptr(pte_hpa(found));
	}
}

unsigned gstage_fitting_level(gpa_t at, hpa_t to, uint64_t size)
{
	unsigned level = LEVELS - 1;

	while (level && (!IS_ALIGNED(at.v | to.v, level_size(level)) || size < level_size(level)))
		level--;
	return level;
}

enum err gstage_map_leaf(struct vm *vm, gpa_t at, hpa_t to, unsigned level, uint64_t flags)
{
	uint64_t *pte;
	enum err err = gstage_walk_make(vm, at, level, &pte);

	if (err != OK)
		return err;
	if (*pte & PTE_V)
		return E_EXISTS;
	pte_set(pte, leaf_pte(to, flags));
	gstage_count_moved(vm, at, to, 1);
	return OK;
}

enum err gstage_put_page(struct vm *vm, gpa_t at, const void *contents)
{
	uint64_t *pte;
	hpa_t page;
	enum err err = gstage_walk_make(vm, at, 0, &pte);

	if (err == OK)
		err = vm_page_take(vm, 0, FRAME_RAM, &page);
	if (err != OK)
		return err;
	if (contents)
		memcpy(hpa_ptr(page), contents, PAGE_SIZE);
	else
		zero_pages(hpa_ptr(page), PAGE_SIZE);
	pte_set(pte, leaf_pte(page, GSTAGE_RWX));
	return OK;
}

enum err gstage_map(
	struct vm_locked l, gpa_t at, hpa_t to, uint64_t size, uint64_t flags, uint64_t *done)
{
	uint64_t small = MIN(size, MIB(2) - (at.v & (MIB(2) - 1)));
	unsigned level = gstage_fitting_level(at, to, size);

	*done = 0;
	if (!IS_ALIGNED(at.v | to.v | size, PAGE_SIZE) ||
		!range_within(at.v, size, 0, GSTAGE_END) ||
		!range_within(to.v, size, 0, BIT(HPA_BITS)))
		return E_RANGE;
	BUG_ON(!(flags & GSTAGE_R) || (flags & ~(GSTAGE_RWX | GSTAGE_DEVICE | GSTAGE_FOREIGN)));
	while (*done < (level ? 1 : small)) {
		enum err err =
			gstage_map_leaf(l.vm, gpa_add(at, *done), hpa_add(to, *done), level, flags);

		if (err == OK)
			*done += level_size(level);
		else if (err != E_EXISTS || level-- == 0)
			return err;
	}
	return OK;
}

enum err gstage_lookup(const struct vm *vm, gpa_t at, struct gstage_leaf *out)
{
	unsigned level;
	uint64_t pte;

	if (at.v >= BIT(GSTAGE_GPA_BITS))
		return E_NOENT;
	gstage_walk(vm, at, &level, &pte);
	if (!(pte & PTE_V) || !is_leaf(pte))
		return E_NOENT;
	out->size = level_size(level);
	out->hpa = hpa_add(pte_hpa(pte), at.v & (out->size - 1));
	out->flags = pte & (GSTAGE_RWX | GSTAGE_DEVICE | GSTAGE_FOREIGN);
	return OK;
}

bool gstage_is_ghost(const struct vm *vm, gpa_t at)
{
	unsigned level;
	uint64_t value;

	if (at.v >= GSTAGE_END)
		return false;
	gstage_walk(vm, at, &level, &value);
	return value == PTE_GHOST && vm->ghosts;
}

void *guest_ptr(const struct vm *vm, gpa_t at, size_t n, uint64_t rights)
{
	struct gstage_leaf leaf;

	if (n > PAGE_SIZE - (at.v & (PAGE_SIZE - 1)) || gstage_lookup(vm, at, &leaf) != OK)
		return NULL;
	if ((leaf.flags & GSTAGE_DEVICE) || (leaf.flags & rights) != rights)
		return NULL;
	return hpa_ptr(leaf.hpa);
}
