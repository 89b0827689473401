/* SPDX-License-Identifier: MIT */
/* How a fork gets its memory, and how a VM gives its own back, in steps; see gstage.h. */
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

/* A part of a fork's memory: what has been done of it by the function that is called with it. */
struct part {
	struct vm *from, *to;
	gpa_t at;
	unsigned budget;      /* leaves that it may cost */
	unsigned level, done; /* entries of `level` from `at` on need no second look */
	unsigned cost;
};

/* How many entries from `*pte` on, of `n`, hold nothing. */
static unsigned empty_run(const uint64_t *pte, unsigned n)
{
	unsigned i = 0;

	while (i < n && pte[i] == 0)
		i++;
	return i;
}

/* Gives the child a copy of the page at p->at, whatever leaf it is in; of one that is all zeros,
 * none: it reads so anyway. */
static enum err copy_page(struct part *p, uint64_t leaf)
{
	hpa_t from = hpa_add(pte_hpa(leaf), p->at.v & (level_size(p->level) - 1));

	p->level = 0;
	p->done = 1;
	p->cost = COPY_COST;
	return is_zero_page(hpa_ptr(from)) ? OK : gstage_put_page(p->to, p->at, hpa_ptr(from));
}

/* What is no RAM leaves a ghost, if it is a device, or nothing. False: a table, or busy. */
static bool share_other(struct part *p, uint64_t pte, uint64_t *dst)
{
	if (is_leaf(pte) ? pte & GSTAGE_DEVICE : pte == PTE_GHOST && p->from->ghosts) {
		*dst = PTE_GHOST;
		p->to->ghosts = true;
	}
	return pte == 0 || pte == PTE_GHOST ||
	       (is_leaf(pte) && pte & (GSTAGE_DEVICE | GSTAGE_FOREIGN));
}

/* Gives the child what the `n` entries from `*src` on are, until one cannot be shared or the budget
 * is spent. */
static void share_run(struct part *p, uint64_t *src, uint64_t *dst, unsigned n)
{
	const uint64_t *begin = src, *end = src + MIN(n, p->budget);
	const uintptr_t records = frame_records;
	const unsigned order = 9 * p->level;
	uint64_t shared = 0, fresh = 0;

	p->cost = 0;
	for (; src < end; src++, dst++) {
		uint64_t pte = *src;

		if (unlikely(!is_own_ram(pte))) {
			if (!share_other(p, pte, dst))
				break;
			continue;
		}
		unsigned blocks = frame_ref(frame_in(records, pte >> 10), order);

		if (unlikely(blocks != 1)) {
			if (!blocks)
				break;
			p->cost += blocks;
			end -= MIN(blocks, end - src - 1);
		}
		shared++;
		fresh += pte & GSTAGE_W;
		*src = *dst = pte & ~GSTAGE_W;
	}
	p->done = src - begin;
	p->cost += p->done;
	__atomic_fetch_add(&p->to->shared, shared << order, __ATOMIC_RELAXED);
	__atomic_fetch_add(&p->from->shared, fresh / GSTAGE_W << order, __ATOMIC_RELAXED);
}

/* What is at p->at. */
static enum err share_at(struct part *p)
{
	uint64_t value, *dst, *src = gstage_walk(p->from, p->at, &p->level, &value);
	bool own = is_own_ram(value), copies = p->from->holds_devices || p->from->direct;
	unsigned rest = entries_from(p->at, p->level);

	p->done = p->cost = 1;
	if (value == 0) {
		p->done = empty_run(src, rest);
		p->cost += p->done / 16;
		return OK;
	}
	if (value == PTE_BUSY) {
		/* Somebody's window is being written: from here on in the next step. */
		p->done = 0;
		p->cost = p->budget;
		return OK;
	}
	if (own && (copies || !IS_ALIGNED(p->at.v, level_size(p->level))))
		return copy_page(p, value);
	/* A leaf of 1 GiB covers more blocks than can be counted in one go. */
	if (own && p->level == LEVELS - 1) {
		p->done = 0;
		return gstage_split(p->from, src, p->level);
	}
	enum err err = gstage_walk_make(p->to, p->at, p->level, &dst);

	if (err != OK)
		return err;
	/* Of a VM that holds devices RAM is copied, page by page. */
	share_run(p, src, dst, own ? rest : 1);
	return p->done ? OK : copy_page(p, value);
}

enum err gstage_share(struct vm *from, struct vm *to, gpa_t *cursor, unsigned budget)
{
	struct part p = {from, to, *cursor, budget, 0, 0, 0};
	struct vm_locked l = vm_lock(from);
	uint64_t end = from->gpa_end;
	enum err err = OK;

	/* Beside RAM only devices leave something, ghosts. */
	if (!from->holds_devices && !from->ghosts) {
		p.at = gpa(MAX(p.at.v, from->ram_base.v));
		end = MIN(end, from->ram_base.v + from->ram_size);
	}
	to->gpa_end = MAX(to->gpa_end, end);
	while (p.budget && p.at.v < end && (err = share_at(&p)) == OK) {
		p.at = gpa(ALIGN_DOWN(p.at.v, level_size(p.level)) + p.done * level_size(p.level));
		p.budget -= MIN(p.budget, p.cost);
	}
	vm_unlock(l);
	*cursor = err == OK && p.at.v >= end ? gpa(GSTAGE_END) : p.at;
	return err;
}

unsigned gstage_drop_leaf(struct vm *vm, hpa_t a, unsigned order, uint64_t flags)
{
	if (flags & GSTAGE_DEVICE)
		return 1;
	if ((flags & GSTAGE_FOREIGN) && frame_of(a)->kind == FRAME_META)
		return 1; /* the generation ID: vm->vmgenid_page */
	if (flags & GSTAGE_FOREIGN)
		frame_window(a, order, false);
	return vm_ram_put(vm, a, order);
}

/* Drops what leaf `pte` of `level` maps at `at`: all of it, or, where others have split its blocks,
 * a quarter. *size tells how much; returns how many blocks it was. */
static unsigned drop_at(struct vm *vm, uint64_t pte, unsigned level, gpa_t at, uint64_t *size)
{
	uint64_t into = at.v & (level_size(level) - 1);
	unsigned order = 9 * level;
	hpa_t a = pte_hpa(pte);

	if (into || (level && !(pte & GSTAGE_DEVICE) && frame_of(a)->order < order))
		order -= 2;
	*size = PAGE_SIZE << order;
	return gstage_drop_leaf(vm, hpa_add(a, into), order, pte);
}

/* The tables that end at `end` are done with. */
static void drop_tables(struct vm *vm, gpa_t end, unsigned level)
{
	uint64_t *pte;

	while (++level < LEVELS && IS_ALIGNED(end.v, level_size(level))) {
		BUG_ON(gstage_walk_make(vm, gpa(end.v - 1), level, &pte) != OK);
		vm_page_free(vm, pte_hpa(*pte));
		*pte = 0;
	}
}

bool gstage_drop(struct vm *vm, gpa_t *cursor, unsigned budget)
{
	/* The tables of the last leaf go when the cursor has passed their ends. */
	uint64_t end = ALIGN_UP(vm->gpa_end, level_size(LEVELS - 1));

	for (; vm->fill.block.v && budget; budget--) {
		hpa_t a = vm->fill.block;
		uint64_t size = PAGE_SIZE << frame_order(a);

		gstage_fill(vm, hpa_add(a, size), gpa(0), vm->fill.rest - size);
		vm_ram_put(vm, a, frame_order(a));
	}
	while (budget && cursor->v < end) {
		unsigned level, cost = 1;
		uint64_t value, *pte = gstage_walk(vm, *cursor, &level, &value);
		uint64_t size = level_size(level);

		if (is_leaf(value))
			cost = drop_at(vm, value, level, *cursor, &size);
		else if (value == 0)
			size *= empty_run(pte, entries_from(*cursor, level));
		budget -= MIN(budget, cost);
		*cursor = gpa(ALIGN_DOWN(cursor->v, MIN(size, level_size(level))) + size);
		if (!IS_ALIGNED(cursor->v, level_size(level))) {
			*pte = value & ~PTE_V; /* it maps nothing, but tells where the rest is */
			continue;
		}
		*pte = 0;
		drop_tables(vm, *cursor, level);
	}
	return cursor->v >= end;
}
