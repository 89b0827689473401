/* SPDX-License-Identifier: MIT */
/* Sv39x4 tables; see gstage.h. */
#include <string.h>
#include "mmu/gstage.h"
#include "core/bug.h"

#define PTE_V      BIT(0)
#define PTE_U      BIT(4)
#define PTE_A      BIT(6)
#define PTE_D      BIT(7)
#define PTE_FLAGS  UINT64_C(0x3ff)
#define PTE_PPN(a) ((a).v >> PAGE_SHIFT << 10)

/* Entries without V, leaf rights or address: */
#define PTE_BUSY  BIT(8) /* being replaced: see gstage.h */
#define PTE_GHOST BIT(9)

#define FILL_STEP KIB(128) /* bytes zeroed in one go */
#define COPY_COST 48       /* leaves that cost as much as copying a page */

#define LEVELS     3
#define HPA_BITS   56
#define ROOT_ORDER 2 /* 16 KiB: the root indexes two bits more */

static uint64_t level_size(unsigned level)
{
	return PAGE_SIZE << (9 * level);
}

static unsigned index_at(gpa_t a, unsigned level)
{
	unsigned mask = level == LEVELS - 1 ? 0x7ff : 0x1ff;

	return (a.v >> (PAGE_SHIFT + 9 * level)) & mask;
}

static hpa_t pte_hpa(uint64_t pte)
{
	return hpa((pte & ~(UINT64_C(0x3ff) << 54)) >> 10 << PAGE_SHIFT);
}

static bool is_leaf(uint64_t pte)
{
	return pte & GSTAGE_RWX;
}

static uint64_t pte_get(const uint64_t *pte)
{
	return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

/* Release: a table's contents are visible before the entry that points to it. */
static void pte_set(uint64_t *pte, uint64_t v)
{
	__atomic_store_n(pte, v, __ATOMIC_RELEASE);
}

static uint64_t leaf_pte(hpa_t to, uint64_t flags)
{
	return PTE_PPN(to) | flags | PTE_V | PTE_U | PTE_A | PTE_D;
}

enum err gstage_init(struct vm *vm, struct refusal *refused)
{
	return vm_page_alloc_at(vm, ROOT_ORDER, FRAME_TABLE, refused, &vm->gstage_root);
}

/* Puts a table in place of the leaf `*pte` of `level` that maps the same. */
static enum err split(struct vm *vm, uint64_t *pte, unsigned level, struct refusal *refused)
{
	uint64_t old = *pte;
	hpa_t table;

	BUG_ON(level == 0); /* ranges are page aligned: a 4 KiB leaf is never cut */
	enum err err = vm_page_take(vm, 0, FRAME_TABLE, refused, &table);

	if (err != OK)
		return err;
	uint64_t *entries = hpa_ptr(table);

	for (unsigned i = 0; i < 512; i++)
		entries[i] = PTE_PPN(hpa_add(pte_hpa(old), i * level_size(level - 1))) |
			     (old & PTE_FLAGS);
	pte_set(pte, PTE_PPN(table) | PTE_V);
	return OK;
}

/* The entry for `at` in the table of `level`, with tables made on the way down. There is no leaf on
 * the way. */
static enum err walk_make(
	struct vm *vm, gpa_t at, unsigned level, struct refusal *refused, uint64_t **out)
{
	vm->gpa_end = MAX(vm->gpa_end, ALIGN_DOWN(at.v, level_size(level)) + level_size(level));
	uint64_t *table = hpa_ptr(vm->gstage_root);

	for (unsigned l = LEVELS - 1; l > level; l--) {
		uint64_t *pte = &table[index_at(at, l)];

		if (!(*pte & PTE_V)) {
			hpa_t made;
			enum err err = vm_page_alloc_at(vm, 0, FRAME_TABLE, refused, &made);

			if (err != OK)
				return err;
			pte_set(pte, PTE_PPN(made) | PTE_V);
		}
		table = hpa_ptr(pte_hpa(*pte));
	}
	*out = &table[index_at(at, level)];
	return OK;
}

/* The entry that decides about `at`, its level, and what it held at one moment: without the lock it
 * may change. */
static uint64_t *walk(const struct vm *vm, gpa_t at, unsigned *level, uint64_t *value)
{
	uint64_t *table = hpa_ptr(vm->gstage_root);

	for (unsigned l = LEVELS - 1;; l--) {
		uint64_t *pte = &table[index_at(at, l)];

		*value = pte_get(pte);
		*level = l;
		if (l == 0 || !(*value & PTE_V) || is_leaf(*value))
			return pte;
		table = hpa_ptr(pte_hpa(*value));
	}
}

static enum err check_range(gpa_t at, uint64_t size)
{
	if (!IS_ALIGNED(at.v | size, PAGE_SIZE))
		return E_ALIGN;
	return range_within(at.v, size, 0, BIT(GSTAGE_GPA_BITS)) ? OK : E_RANGE;
}

static unsigned fitting_level(gpa_t at, hpa_t to, uint64_t size)
{
	unsigned level = LEVELS - 1;

	while (level && (!IS_ALIGNED(at.v | to.v, level_size(level)) || size < level_size(level)))
		level--;
	return level;
}

/* A table in the way whose entries are all empty is no obstacle to a small leaf, but to a large one
 * it is: one level down. */
static enum err map_one(struct vm *vm, gpa_t at, hpa_t to, unsigned level, uint64_t flags)
{
	uint64_t *pte, present;
	unsigned found;

	walk(vm, at, &found, &present);
	if (is_leaf(present))
		return E_EXISTS;
	enum err err = walk_make(vm, at, level, NULL, &pte);

	if (err != OK)
		return err;
	if (*pte & PTE_V)
		return E_EXISTS;
	pte_set(pte, leaf_pte(to, flags));
	return OK;
}

static enum err map_range(struct vm *vm, gpa_t *at, hpa_t to, uint64_t size, uint64_t flags)
{
	enum err err = OK;

	while (err == OK && size) {
		unsigned level = fitting_level(*at, to, size);

		do
			err = map_one(vm, *at, to, level, flags);
		while (err == E_EXISTS && level-- > 0);
		if (err != OK)
			break;
		*at = gpa_add(*at, level_size(level));
		to = hpa_add(to, level_size(level));
		size -= level_size(level);
	}
	return err;
}

enum err gstage_map(struct vm_locked l, gpa_t at, hpa_t to, uint64_t size, uint64_t flags)
{
	gpa_t done = at;
	enum err err = check_range(at, size);

	if (err == OK && !IS_ALIGNED(to.v, PAGE_SIZE))
		err = E_ALIGN;
	if (err == OK && !range_within(to.v, size, 0, BIT(HPA_BITS)))
		err = E_RANGE;
	if (err != OK)
		return err;
	BUG_ON(!(flags & GSTAGE_R) || (flags & ~(GSTAGE_RWX | GSTAGE_DEVICE | GSTAGE_FOREIGN)));
	err = map_range(l.vm, &done, to, size, flags);
	/* What was mapped just now consists of whole leaves: taking it back splits nothing and
	 * cannot fail. */
	if (err != OK)
		BUG_ON(gstage_unmap(l, at, done.v - at.v) != OK);
	return err;
}

enum err gstage_unmap(struct vm_locked l, gpa_t at, uint64_t size)
{
	enum err err = check_range(at, size);

	while (err == OK && size) {
		unsigned level;
		uint64_t present;
		uint64_t *pte = walk(l.vm, at, &level, &present);
		uint64_t skip = level_size(level) - (at.v & (level_size(level) - 1));

		if (is_leaf(present)) {
			if (skip != level_size(level) || size < level_size(level)) {
				err = split(l.vm, pte, level, NULL);
				continue;
			}
			pte_set(pte, 0);
		}
		skip = MIN(skip, size);
		at = gpa_add(at, skip);
		size -= skip;
	}
	return err;
}

enum err gstage_lookup(const struct vm *vm, gpa_t at, struct gstage_leaf *out)
{
	unsigned level;
	uint64_t pte;

	if (at.v >= BIT(GSTAGE_GPA_BITS))
		return E_NOENT;
	walk(vm, at, &level, &pte);
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
	walk(vm, at, &level, &value);
	return value == PTE_GHOST && vm->ghosts;
}

/* RAM can always be read, nothing else can be but what is marked. */
static inline bool is_own_ram(uint64_t pte)
{
	return (pte & (PTE_V | GSTAGE_R | GSTAGE_DEVICE | GSTAGE_FOREIGN)) == (PTE_V | GSTAGE_R);
}

static bool in_ram(const struct vm *vm, gpa_t at, uint64_t size)
{
	return range_within(at.v, size, vm->ram_base.v, vm->ram_size);
}

/* Fresh RAM comes 2 MiB at a time where it can; that much is zeroed in parts. */
static bool fill_begin(struct vm *vm, gpa_t at)
{
	gpa_t block = gpa(ALIGN_DOWN(at.v, MIB(2)));
	uint64_t *pte;
	hpa_t a;

	if (vm->forked || !in_ram(vm, block, MIB(2)) || walk_make(vm, block, 1, NULL, &pte) != OK ||
		*pte || vm_page_take(vm, ORDER_2M, FRAME_RAM, NULL, &a) != OK)
		return false;
	vm->fill.block = a;
	vm->fill.at = block;
	vm->fill.done = 0;
	return true;
}

static enum err fill_step(struct vm *vm)
{
	uint64_t *pte;

	zero_pages(hpa_ptr(hpa_add(vm->fill.block, vm->fill.done)), FILL_STEP);
	vm->fill.done += FILL_STEP;
	if (vm->fill.done < MIB(2))
		return OK;
	BUG_ON(walk_make(vm, vm->fill.at, 1, NULL, &pte) != OK);
	pte_set(pte, leaf_pte(vm->fill.block, GSTAGE_RWX));
	vm->fill.block = hpa(0);
	return OK;
}

static enum err fill_page(struct vm *vm, gpa_t at, struct refusal *refused)
{
	uint64_t *pte;
	hpa_t page;
	enum err err = walk_make(vm, at, 0, refused, &pte);

	if (err == OK)
		err = vm_page_alloc_at(vm, 0, FRAME_RAM, refused, &page);
	if (err != OK)
		return err;
	pte_set(pte, leaf_pte(page, GSTAGE_RWX));
	return OK;
}

static enum err fill_hole(struct vm *vm, gpa_t at, struct refusal *refused)
{
	if (vm->fill.block.v || fill_begin(vm, at))
		return fill_step(vm);
	return fill_page(vm, at, refused);
}

/* Puts a copy in the place of the shared page at `*pte`. The lock is let go meanwhile. */
static enum err replace(struct vm_locked l, uint64_t *pte, struct refusal *refused)
{
	uint64_t old = *pte;
	hpa_t page;
	enum err err = vm_page_take(l.vm, 0, FRAME_RAM, refused, &page);

	if (err != OK)
		return err;
	pte_set(pte, PTE_BUSY);
	vm_unlock(l);
	vm_fence(l.vm);
	memcpy(hpa_ptr(page), hpa_ptr(pte_hpa(old)), PAGE_SIZE);
	spin_lock(&l.vm->lock);
	pte_set(pte, leaf_pte(page, GSTAGE_RWX));
	__atomic_fetch_add(&l.vm->copies, 1, __ATOMIC_RELAXED);
	vm_ram_put(l.vm, pte_hpa(old), 0);
	return OK;
}

/* A leaf never maps a part of a block: those in [a, a + 2^order) are made of order `to` at most. */
static void split_blocks(hpa_t a, unsigned order, unsigned to)
{
	for (uint64_t i = 0; i < BIT(order);) {
		hpa_t block = hpa_add(a, i << PAGE_SHIFT);
		unsigned was = frame_of(block)->order;

		if (was > to)
			frame_split(block, to);
		i += BIT(was);
	}
}

/* RAM of the VM that it may not write yet: nobody else has it any more, or it is copied. */
static enum err unshare(
	struct vm_locked l, uint64_t *pte, unsigned level, gpa_t at, struct refusal *refused)
{
	for (;; level--) {
		hpa_t a = pte_hpa(*pte);

		if (frame_sole(a, 9 * level)) {
			enum err err = vm_ram_pay(l.vm, a, refused);

			if (err != OK)
				return err;
			pte_set(pte, *pte | GSTAGE_W);
			/* Counted like a copy, which would tell of others. */
			__atomic_fetch_add(&l.vm->copies, BIT(9 * level), __ATOMIC_RELAXED);
			return OK;
		}
		if (level == 0)
			return replace(l, pte, refused);
		enum err err = split(l.vm, pte, level, refused);

		if (err != OK)
			return err;
		split_blocks(a, 9 * level, 9 * (level - 1));
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
	uint64_t *pte = walk(vm, at, &level, &value);

	if (is_leaf(value) && (value & GSTAGE_DEVICE))
		err = E_NOENT;
	else if (value == PTE_BUSY || (is_leaf(value) && (!write || (value & GSTAGE_W))))
		err = OK;
	else if (is_own_ram(value))
		err = unshare(l, pte, level, at, refused);
	else if (!is_leaf(value) && in_ram(vm, at, 1))
		err = fill_hole(vm, at, refused);
	vm_unlock(l);
	return err;
}

/* Returns how many blocks it was. */
static unsigned drop_leaf(struct vm *vm, uint64_t pte, unsigned level)
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

/* One leaf of `level` of what `child` maps at `at`; what is larger there is split. */
static enum err open_leaf(struct vm *vm, gpa_t own, struct vm_locked child, gpa_t at,
	unsigned level, uint64_t flags, hpa_t *a)
{
	unsigned found;
	uint64_t value, *pte;

	while (pte = walk(child.vm, at, &found, &value), found > level) {
		enum err err = split(child.vm, pte, found, NULL);

		if (err != OK)
			return err;
		split_blocks(pte_hpa(value), 9 * found, 9 * (found - 1));
	}
	*a = pte_hpa(value);
	enum err err = map_one(vm, own, *a, level, flags);

	if (err == OK)
		frame_open(*a, 9 * level);
	return err;
}

enum err gstage_open_window(struct vm *vm, gpa_t own, struct vm *child, gpa_t at, uint64_t size,
	uint64_t rights, uint64_t *mapped)
{
	unsigned level;
	uint64_t value;
	hpa_t a;
	enum err err = E_RANGE;

	*mapped = 0;
	if (!range_within(own.v, size, 0, GSTAGE_END) || !in_ram(child, at, size) ||
		range_overlaps(own.v, size, vm->ram_base.v, vm->ram_size))
		return E_RANGE;
	struct vm_locked l = vm_lock(vm), c = vm_lock(child); /* parents before children */

	walk(child, at, &level, &value);
	if (!is_own_ram(value) || !(value & GSTAGE_W)) {
		vm_unlock(c);
		vm_unlock(l);
		return gstage_touch(child, at, true, NULL);
	}

	level = MIN(level, fitting_level(own, hpa(at.v), size));
	do
		err = open_leaf(vm, own, c, at, level, rights | GSTAGE_FOREIGN, &a);
	while (err == E_EXISTS && level-- > 0);
	vm_unlock(c);
	vm_unlock(l);
	if (err == OK)
		*mapped = level_size(level);
	return err;
}

enum err gstage_pin(struct vm *vm, gpa_t at, hpa_t *out)
{
	struct vm_locked l = vm_lock(vm);
	unsigned level;
	uint64_t value;
	enum err err = E_FAULT;

	walk(vm, at, &level, &value);
	if (is_own_ram(value) && (value & GSTAGE_W)) {
		*out = hpa_add(pte_hpa(value), at.v & (level_size(level) - 1));
		frame_pin(*out);
		err = OK;
	}
	vm_unlock(l);
	return err;
}

#define CLOSE_STEP 64
#define CLOSE_WALK 1024

enum err gstage_close_windows(struct vm *vm, gpa_t at, uint64_t size, uint64_t *done)
{
	uint64_t closed[CLOSE_STEP], value;
	uint8_t levels[CLOSE_STEP];
	unsigned n = 0, steps = 0, level;
	struct vm_locked l = vm_lock(vm);
	enum err err = OK;

	for (*done = 0; *done < size && n < CLOSE_STEP && steps < CLOSE_WALK; steps++) {
		uint64_t *pte = walk(vm, gpa_add(at, *done), &level, &value);
		uint64_t leaf = level_size(level), into = (at.v + *done) & (leaf - 1);

		if (is_leaf(value)) {
			if (!(value & GSTAGE_FOREIGN) ||
				frame_of(pte_hpa(value))->kind != FRAME_RAM || into ||
				leaf > size - *done) {
				err = E_INVAL;
				break;
			}
			pte_set(pte, 0);
			closed[n] = value;
			levels[n++] = (uint8_t)level;
			/* Many blocks under one leaf: enough for now. */
			steps += frame_of(pte_hpa(value))->order < 9 * level ? CLOSE_WALK : 0;
		}
		*done += MIN(leaf - into, size - *done);
	}
	vm_unlock(l);
	if (n)
		vm_fence(vm);
	while (n-- > 0)
		drop_leaf(vm, closed[n], levels[n]);
	return err;
}

bool gstage_take_device(struct vm *vm, gpa_t *at, uint64_t end, hpa_t *out, uint64_t *size)
{
	struct vm_locked l = vm_lock(vm);
	bool found = false;

	end = MIN(end, vm->gpa_end);
	while (at->v < end && !found) {
		unsigned level;

		/* What it has many leaves of is RAM. */
		if (in_ram(vm, *at, 1)) {
			*at = gpa(vm->ram_base.v + vm->ram_size);
			continue;
		}
		uint64_t value, *pte = walk(vm, *at, &level, &value);

		found = is_leaf(value) && (value & GSTAGE_DEVICE);
		if (found) {
			*out = pte_hpa(value);
			*size = level_size(level);
			pte_set(pte, 0);
		}
		*at = gpa(ALIGN_DOWN(at->v, level_size(level)) + level_size(level));
	}
	vm_unlock(l);
	return found;
}

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
	enum err err = walk_make(to, at, 0, refused, &pte);

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
	uint64_t value, *dst, *src = walk(from, at, level, &value);
	bool own = is_own_ram(value);
	unsigned index = index_at(at, *level);
	unsigned rest = (*level == LEVELS - 1 ? 2048 : 512) - index;

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
		return split(from, src, *level, refused);
	}
	enum err err = walk_make(to, at, *level, refused, &dst);

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
		unsigned level, cost = 1;
		uint64_t value, *pte = walk(vm, *cursor, &level, &value);

		unsigned n = 1;

		if (is_leaf(value))
			cost = drop_leaf(vm, value, level);
		else if (value == 0)
			n = empty_run(
				pte, (level == LEVELS - 1 ? 2048 : 512) - index_at(*cursor, level));
		budget -= MIN(budget, cost);
		*pte = 0;
		*cursor = gpa(ALIGN_DOWN(cursor->v, level_size(level)) + n * level_size(level));
		drop_tables(vm, *cursor, level);
	}
	return cursor->v >= end;
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

static size_t within_page(gpa_t at, size_t n)
{
	return MIN(n, PAGE_SIZE - (at.v & (PAGE_SIZE - 1)));
}

enum err guest_read(const struct vm *vm, gpa_t at, void *to, size_t n)
{
	for (uint8_t *p = to; n;) {
		size_t part = within_page(at, n);
		const void *from = guest_ptr(vm, at, part, GSTAGE_R);

		if (!from)
			return E_FAULT;
		memcpy(p, from, part);
		p += part;
		at = gpa_add(at, part);
		n -= part;
	}
	return OK;
}

enum err guest_write(const struct vm *vm, gpa_t at, const void *from, size_t n)
{
	for (const uint8_t *p = from; n;) {
		size_t part = within_page(at, n);
		void *to = guest_ptr(vm, at, part, GSTAGE_W);

		if (!to)
			return E_FAULT;
		memcpy(to, p, part);
		p += part;
		at = gpa_add(at, part);
		n -= part;
	}
	return OK;
}
