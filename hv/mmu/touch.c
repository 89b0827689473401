/* SPDX-License-Identifier: MIT */
/* What a guest's touch of its RAM does: missing pages come, shared ones become its own; see
 * gstage.h. */
#include <string.h>
#include "mmu/tables.h"

#define FILL_STEP KIB(128) /* bytes zeroed in one go */

/* Fresh RAM comes 2 MiB at a time where it can; that much is zeroed in parts. */
static bool fill_begin(struct vm *vm, gpa_t at)
{
	gpa_t block = gpa(ALIGN_DOWN(at.v, MIB(2)));
	uint64_t *pte;
	hpa_t a;

	if (vm->forked || !in_ram(vm, block, MIB(2)) ||
		gstage_walk_make(vm, block, 1, &pte) != OK || *pte ||
		vm_page_take(vm, ORDER_2M, FRAME_RAM, &a) != OK)
		return false;
	gstage_fill(vm, a, block, MIB(2));
	return true;
}

void gstage_fill(struct vm *vm, hpa_t block, gpa_t at, uint64_t size)
{
	vm->fill.block = size ? block : hpa(0);
	vm->fill.at = at;
	vm->fill.done = 0;
	vm->fill.rest = size;
}

static enum err fill_step(struct vm *vm)
{
	uint64_t *pte;
	enum err err = gstage_walk_make(vm, vm->fill.at, 1, &pte);

	if (err != OK)
		return err;
	zero_pages(hpa_ptr(hpa_add(vm->fill.block, vm->fill.done)), FILL_STEP);
	vm->fill.done += FILL_STEP;
	if (vm->fill.done < MIB(2))
		return OK;
	frame_split(vm->fill.block, ORDER_2M);
	pte_set(pte, leaf_pte(vm->fill.block, GSTAGE_RWX));
	gstage_fill(vm, hpa_add(vm->fill.block, MIB(2)), gpa_add(vm->fill.at, MIB(2)),
		vm->fill.rest - MIB(2));
	return OK;
}

/* Puts a copy in the place of the shared page at `*pte`. The lock is let go meanwhile. */
static enum err replace(struct vm_locked l, uint64_t *pte)
{
	uint64_t old = *pte;
	hpa_t page;
	enum err err = vm_page_take(l.vm, 0, FRAME_RAM, &page);

	if (err != OK)
		return err;
	pte_set(pte, PTE_BUSY);
	vm_unlock(l);
	vm_fence_of(l.vm, pte_hpa(old), PAGE_SIZE);
	memcpy(hpa_ptr(page), hpa_ptr(pte_hpa(old)), PAGE_SIZE);
	spin_lock(&l.vm->lock);
	pte_set(pte, leaf_pte(page, GSTAGE_RWX));
	__atomic_fetch_add(&l.vm->copies, 1, __ATOMIC_RELAXED);
	vm_ram_put(l.vm, pte_hpa(old), 0);
	return OK;
}

/* RAM of the VM that it may not write yet: nobody else has it any more, or it is copied. Who cannot
 * pay for all of a large leaf may still pay for a page of it. */
static enum err unshare(struct vm_locked l, uint64_t *pte, unsigned level, gpa_t at)
{
	for (;; level--) {
		hpa_t a = pte_hpa(*pte);
		bool sole = frame_sole(a, 9 * level);
		enum err err = sole ? vm_ram_pay(l.vm, a) : E_EXISTS;

		if (err == OK) {
			pte_set(pte, *pte | GSTAGE_W);
			/* Counted like a copy, which would tell of others. */
			__atomic_fetch_add(&l.vm->copies, BIT(9 * level), __ATOMIC_RELAXED);
			return OK;
		}
		if (level == 0)
			return sole ? err : replace(l, pte);
		err = gstage_split_ram(l.vm, pte, level);
		if (err != OK)
			return err;
		pte = (uint64_t *)hpa_ptr(pte_hpa(*pte)) + index_at(at, level - 1);
	}
}

enum err gstage_touch(struct vm *vm, gpa_t at, bool write, struct refusal *refused)
{
	enum err err = E_NOENT;
	unsigned level;
	uint64_t value;

	if (at.v >= GSTAGE_END)
		return E_NOENT;
	struct vm_locked l = vm_lock(vm);
	uint64_t *pte = gstage_walk(vm, at, &level, &value);

	if (is_own_ram(value) && write && !(value & GSTAGE_W))
		err = unshare(l, pte, level, at);
	else if (value == PTE_BUSY)
		err = OK;
	else if (is_leaf(value) && !(value & GSTAGE_DEVICE) && (!write || (value & GSTAGE_W)))
		err = E_EXISTS;
	else if (!is_leaf(value) && in_ram(vm, at, 1))
		err = vm->fill.block.v || fill_begin(vm, at) ? fill_step(vm)
							     : gstage_put_page(vm, at, NULL);
	if (unlikely(err != OK) && refused && (err == E_QUOTA_OWN || err == E_QUOTA_ABOVE))
		*refused = vm->refused;
	vm_unlock(l);
	return err;
}
