/* SPDX-License-Identifier: MIT */
/* How a fork gets its memory, and how a VM gives its own back, in steps; see gstage.h. */
#include <string.h>
#include "core/bug.h"
#include "mmu/tables.h"

#define COPY_COST 48 /* leaves that cost as much as copying a page */

static bool is_zero_page(const uint64_t *p)
{
	for (const uint64_t *end = p + PAGE_SIZE / 8; p < end; p += 8)
		if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
			return false;
	return true;
}

/* Gives `to` a copy of one page; of one that is all zeros, none: it reads so anyway. */
static enum err copy_page(struct vm *to, gpa_t at, hpa_t from, struct refusal *refused)
{
	uint64_t *pte;
	hpa_t page;

	if (is_zero_page(hpa_ptr(from)))
		return OK;
	enum err err = gstage_walk_make(to, at, 0, refused, &pte);

	if (err == OK)
		err = vm_page_take(to, 0, FRAME_RAM, refused, &page);
	if (err != OK)
		return err;
	memcpy(hpa_ptr(page), hpa_ptr(from), PAGE_SIZE);
	pte_set(pte, leaf_pte(page, GSTAGE_RWX));
	return OK;
}

/* How many entries from `*pte` on, of `n`, hold nothing. */
static unsigned empty_run(const uint64_t *pte, unsigned n)
{
	unsigned i = 0;

	while (i < n && pte[i] == 0)
		i++;
	return i;
}

/* Gives `dst` what the `n` entries from `*src` on are, until one cannot be shared, or about
 * `budget` blocks were counted; returns how many. */
static unsigned share_run(
	uint64_t *src, uint64_t *dst, unsigned n, unsigned order, unsigned budget, unsigned *cost)
{
	unsigned i, blocks;

	for (i = 0; i < n && *cost < budget; i++) {
		uint64_t pte = src[i];

		if (pte == 0)
			continue;
		*cost += 1;
		if (likely(is_own_ram(pte) && order <= ORDER_2M)) {
			if (!(blocks = frame_ref(pte_hpa(pte), order)))
				break;
			pte &= ~GSTAGE_W;
			src[i] = pte;
			dst[i] = pte;
			*cost += blocks - 1;
		} else if (pte == PTE_GHOST || (pte & GSTAGE_RWX && pte & GSTAGE_DEVICE)) {
			dst[i] = PTE_GHOST;
		} else if (!(is_leaf(pte) && pte & GSTAGE_FOREIGN)) {
			break; /* a table, or busy */
		}
	}
	return i;
}

/* One page that is not shared, of whatever leaf it is in. */
static enum err copy_at(struct vm *to, gpa_t at, uint64_t leaf, unsigned *level, unsigned *cost,
	struct refusal *refused)
{
	hpa_t page = hpa_add(pte_hpa(leaf), at.v & (level_size(*level) - 1));

	*level = 0;
	*cost = COPY_COST;
	return copy_page(to, at, page, refused);
}

/* What is at the cursor: `*done` entries of `level` from there on need no second look. */
static enum err share_at(struct vm *from, struct vm *to, gpa_t at, unsigned budget, unsigned *level,
	unsigned *done, unsigned *cost, struct refusal *refused)
{
	uint64_t value, *dst, *src = gstage_walk(from, at, level, &value);
	bool own = is_own_ram(value);
	unsigned rest = entries_from(at, *level);

	*done = *cost = 1;
	if (value == 0) {
		*done = empty_run(src, rest);
		*cost += *done / 16;
		return OK;
	}
	if (value == PTE_BUSY) {
		/* Somebody's window is being written: from here on in the next step. */
		*done = 0;
		*cost = budget;
		return OK;
	}
	if (own && (from->holds_devices || !IS_ALIGNED(at.v, level_size(*level))))
		return copy_at(to, at, value, level, cost, refused);
	/* A leaf of 1 GiB may cover more blocks than can be counted in one go. */
	if (own && *level == LEVELS - 1) {
		*done = 0;
		return gstage_split(from, src, *level, refused);
	}
	enum err err = gstage_walk_make(to, at, *level, refused, &dst);

	if (err != OK)
		return err;
	to->ghosts = true;
	*cost = 0;
	/* Of a VM that holds devices RAM is copied, page by page. */
	*done = share_run(
		src, dst, own || !from->holds_devices ? rest : 1, 9 * *level, budget, cost);
	if (*done)
		return OK;
	*done = 1;
	return copy_at(to, at, value, level, cost, refused);
}

enum err gstage_share(
	struct vm *from, struct vm *to, gpa_t *cursor, unsigned budget, struct refusal *refused)
{
	struct vm_locked l = vm_lock(from);
	enum err err = OK;

	to->gpa_end = from->gpa_end;
	while (budget && cursor->v < from->gpa_end) {
		unsigned level, done, cost;

		err = share_at(from, to, *cursor, budget, &level, &done, &cost, refused);
		if (err != OK)
			break;
		*cursor = gpa(ALIGN_DOWN(cursor->v, level_size(level)) + done * level_size(level));
		budget -= MIN(budget, cost);
	}
	vm_unlock(l);
	if (err == OK && cursor->v >= from->gpa_end)
		*cursor = gpa(GSTAGE_END);
	return err;
}

unsigned gstage_drop_leaf(struct vm *vm, uint64_t pte, unsigned level)
{
	hpa_t a = pte_hpa(pte);

	if (pte & GSTAGE_DEVICE)
		return 1;
	if ((pte & GSTAGE_FOREIGN) && frame_of(a)->kind == FRAME_META)
		return 1; /* the generation ID: vm->vmgenid_page */
	if (pte & GSTAGE_FOREIGN)
		frame_close(a, 9 * level);
	return vm_ram_put(vm, a, 9 * level);
}

/* The tables that end at `end` are done with. */
static void drop_tables(struct vm *vm, gpa_t end, unsigned level)
{
	for (; level < LEVELS - 1 && IS_ALIGNED(end.v, level_size(level + 1)); level++) {
		unsigned found;
		uint64_t value, *pte = hpa_ptr(vm->gstage_root);

		for (found = LEVELS - 1; found > level + 1; found--)
			pte = hpa_ptr(pte_hpa(pte[index_at(gpa(end.v - 1), found)]));
		pte += index_at(gpa(end.v - 1), found);
		value = *pte;
		*pte = 0;
		vm_page_free(vm, pte_hpa(value));
	}
}

bool gstage_drop(struct vm *vm, gpa_t *cursor, unsigned budget)
{
	/* The tables of the last leaf go when the cursor has passed their ends. */
	uint64_t end = ALIGN_UP(vm->gpa_end, level_size(LEVELS - 1));

	if (vm->fill.block.v)
		vm_ram_put(vm, vm->fill.block, ORDER_2M);
	vm->fill.block = hpa(0);
	while (budget && cursor->v < end) {
		unsigned level, cost = 1, n = 1;
		uint64_t value, *pte = gstage_walk(vm, *cursor, &level, &value);

		if (is_leaf(value))
			cost = gstage_drop_leaf(vm, value, level);
		else if (value == 0)
			n = empty_run(pte, entries_from(*cursor, level));
		budget -= MIN(budget, cost);
		*pte = 0;
		*cursor = gpa(ALIGN_DOWN(cursor->v, level_size(level)) + n * level_size(level));
		drop_tables(vm, *cursor, level);
	}
	return cursor->v >= end;
}
