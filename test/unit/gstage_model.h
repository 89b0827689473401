/* SPDX-License-Identifier: MIT */
/*
 * A VM in fake RAM, and a model of its G-stage: for each page of a part of its address space what
 * it maps to. What each call has to do is worked out before it, to the page, from the tables as
 * they lie in memory. Shared by the unit tests and the fuzz target. Every check aborts with a
 * message: it must work outside a cmocka test as well.
 */
#pragma once

#include <limits.h>
#include "arch.h"
#include "core/vm.h"
#include "mmu/tables.h"

/* The table of frames begins before RAM, so that no frame number is like another by chance. */
#define RAM_BASE   UINT64_C(0x80000000)
#define HOLE       8
#define TABLE_BASE (RAM_BASE - (HOLE << PAGE_SHIFT))

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static struct vm *vm;
static struct frame *frame_table;
static uint64_t vm_pages; /* what the structure takes */

static inline enum err create(uint64_t ram, uint64_t limit)
{
	const uint64_t limits[DX_LIMITS] = {[DX_LIMIT_PAGES] = limit};

	host_ram_init(RAM_BASE, ram);
	free(frame_table);
	frame_table = calloc((ram >> PAGE_SHIFT) + HOLE, sizeof(*frame_table));
	require(frame_table);
	frames_init(frame_table, hpa(TABLE_BASE), ram + (HOLE << PAGE_SHIFT));
	frames_declare(hpa(TABLE_BASE), HOLE << PAGE_SHIFT, FRAME_HOLE);
	frames_declare(hpa(RAM_BASE), ram, FRAME_FREE);
	vm = NULL;
	return vm_create(NULL, limits, &vm);
}

/* A VM that may use `limit` pages, structure and root table included. */
static inline void new_vm(uint64_t ram, uint64_t limit)
{
	require(create(ram, limit) == OK);
	vm_pages = BIT(frame_of(ptr_hpa(vm))->order);
}

/* To the guest's memory, page by page, by guest_ptr, and back. E_FAULT: a page may not be accessed;
 * the bytes before it are copied. */
static inline enum err guest_write(const struct vm *to, gpa_t at, const void *from, size_t n)
{
	for (const uint8_t *p = from; n;) {
		size_t part = MIN(n, PAGE_SIZE - (at.v & (PAGE_SIZE - 1)));
		void *page = guest_ptr(to, at, part, GSTAGE_W);

		if (!page)
			return E_FAULT;
		memcpy(page, p, part);
		p += part;
		at = gpa_add(at, part);
		n -= part;
	}
	return OK;
}

static inline enum err guest_read(const struct vm *of, gpa_t at, void *to, size_t n)
{
	for (uint8_t *p = to; n;) {
		size_t part = MIN(n, PAGE_SIZE - (at.v & (PAGE_SIZE - 1)));
		const void *from = guest_ptr(of, at, part, GSTAGE_R);

		if (!from)
			return E_FAULT;
		memcpy(p, from, part);
		p += part;
		at = gpa_add(at, part);
		n -= part;
	}
	return OK;
}

/* --- the tables as they lie in memory, read with none of the code under test --- */

struct tables {
	uint64_t tables; /* below the root */
	uint64_t mapped; /* pages, of all leaves */
};

typedef void leaf_fn(uint64_t at, uint64_t to, uint64_t size, uint64_t flags);

/* Sv39x4, Privileged ISA 18.5.1 and 12.4.1: the bits of an entry. */
static inline void read_table(
	hpa_t table, unsigned level, uint64_t base, struct tables *t, leaf_fn *leaf)
{
	const uint64_t *pte = hpa_ptr(table);
	uint64_t step = PAGE_SIZE << (9 * level), n = level == 2 ? 2048 : 512;

	require(frame_of(table)->kind == FRAME_TABLE && frame_of(table)->payer == vm->id);
	require(frame_of(table)->order == (level == 2 ? 2 : 0));
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = base + i * step, to = pte[i] >> 10 << PAGE_SHIFT;

		if (!pte[i])
			continue;
		require((pte[i] & 1) && pte[i] >> 54 == 0);
		if (!(pte[i] & 0xe)) {
			require(level > 0 && (pte[i] & 0x3ff) == 1); /* only V */
			t->tables++;
			read_table(hpa(to), level - 1, at, t, leaf);
			continue;
		}
		require((pte[i] & 0xd1) == 0xd1 && !(pte[i] & 0x20)); /* V U A D; not G */
		require((pte[i] & 6) != 4);                           /* W without R is reserved */
		require(to % step == 0);
		t->mapped += step >> PAGE_SHIFT;
		if (leaf)
			leaf(at, to, step, pte[i] & 0x30e);
	}
}

/* Every table is charged to the VM, and nothing else is but its structure: used = frames charged =
 * structure + tables. */
static inline struct tables check_tables(leaf_fn *leaf)
{
	struct tables t = {0};
	struct frame_stats s;

	read_table(vm->gstage_root, 2, 0, &t, leaf);
	require(frames_audit(&s));
	require(s.frames[FRAME_TABLE] == t.tables + 4);
	require(s.frames[FRAME_META] == vm_pages);
	require(vm->quota.used[RES_PAGES] == t.tables + 4 + vm_pages);
	require(vm->quota.own[RES_PAGES] == vm->quota.used[RES_PAGES]);
	return t;
}

/* The entry that decides about `at`, and its level. */
static inline uint64_t entry_at(uint64_t at, unsigned *level)
{
	const uint64_t *table = hpa_ptr(vm->gstage_root);

	for (*level = 2;; --*level) {
		uint64_t pte = table[at >> (12 + 9 * *level) & (*level == 2 ? 0x7ff : 0x1ff)];

		if (*level == 0 || (pte & 0xf) != 1)
			return pte;
		table = hpa_ptr(hpa(pte >> 10 << PAGE_SHIFT));
	}
}

/* --- one call at a time --- */

struct part {
	enum err err;
	unsigned leaf;   /* the level of its leaves */
	uint64_t bytes;  /* mapped by it, on an error too */
	uint64_t tables; /* made by it, on an error too */
};

/* Of `need` tables as many are made as can be had. */
static inline void expect_tables(struct part *p, uint64_t need)
{
	uint64_t room = vm->quota.limit[RES_PAGES] - vm->quota.used[RES_PAGES];

	p->tables = MIN(need, MIN(room, frames_free()));
	if (p->tables < need)
		p->err = room <= frames_free() ? E_QUOTA_OWN : E_NOMEM;
}

/* 4 KiB leaves up to a multiple of 2 MiB, or to what is in the way. */
static inline void expect_small(struct part *p, uint64_t at, uint64_t size)
{
	unsigned level;

	size = MIN(size, MIB(2) - at % MIB(2));
	while (p->bytes < size && !entry_at(at + p->bytes, &level))
		p->bytes += PAGE_SIZE;
	if (p->bytes < size)
		p->err = E_EXISTS;
}

static inline struct part expect_part(uint64_t at, uint64_t to, uint64_t size)
{
	struct part p = {.err = OK, .leaf = 2};
	unsigned level = 0;

	if (((at | to | size) & (PAGE_SIZE - 1)) || at > BIT(41) || size > BIT(41) - at ||
		to > BIT(56) || size > BIT(56) - to)
		p.err = E_RANGE;
	else if (size && entry_at(at, &level))
		p.err = E_EXISTS;
	if (p.err != OK || size == 0)
		return p;
	while (p.leaf &&
		(p.leaf > level || (at | to) % level_size(p.leaf) || size < level_size(p.leaf)))
		p.leaf--;
	expect_tables(&p, level - p.leaf);
	if (p.err == OK && p.leaf)
		p.bytes = level_size(p.leaf);
	else if (p.err == OK)
		expect_small(&p, at, size);
	return p;
}

/* One call of gstage_map does what can be told beforehand, in leaves of the right size. */
static inline enum err map_part(
	uint64_t at, uint64_t to, uint64_t size, uint64_t flags, uint64_t *done)
{
	struct part p = expect_part(at, to, size);
	uint64_t used = vm->quota.used[RES_PAGES];
	unsigned level;

	*done = UINT64_MAX;
	struct vm_locked l = vm_lock(vm);
	enum err err = gstage_map(l, gpa(at), hpa(to), size, flags, done);

	vm_unlock(l);
	require(err == p.err && *done == p.bytes);
	require(vm->quota.used[RES_PAGES] == used + p.tables);
	for (uint64_t off = 0; off < p.bytes; off += level_size(level))
		require(entry_at(at + off, &level) && level == p.leaf);
	return err;
}

/* Maps all parts, *done bytes until an error. */
static inline enum err map_until(
	uint64_t at, uint64_t to, uint64_t size, uint64_t flags, uint64_t *done)
{
	uint64_t part;
	enum err err;

	*done = 0;
	do {
		err = map_part(at + *done, to + *done, size - *done, flags, &part);
		*done += part;
	} while (err == OK && *done < size);
	return err;
}

static inline enum err map(uint64_t at, uint64_t to, uint64_t size, uint64_t flags)
{
	uint64_t done;

	return map_until(at, to, size, flags, &done);
}

/* Splits the leaf that maps `at`; there must be one that can be. */
static inline enum err split(uint64_t at)
{
	struct part p = {.err = OK};
	uint64_t value, used = vm->quota.used[RES_PAGES];
	unsigned level, before, after;

	expect_tables(&p, 1);
	require(entry_at(at, &before) && before > 0);
	struct vm_locked l = vm_lock(vm);
	uint64_t *pte = gstage_walk(vm, gpa(at), &level, &value);
	enum err err = gstage_split(vm, pte, level);

	vm_unlock(l);
	require(err == p.err && vm->quota.used[RES_PAGES] == used + p.tables);
	require(entry_at(at, &after) && after == before - (err == OK));
	return err;
}

/* How many entries decide about [at, end); RAM counts as one. */
static inline uint64_t entries_between(uint64_t at, uint64_t end)
{
	unsigned level;
	uint64_t n;

	for (n = 0; at < end; n++) {
		if (at - vm->ram_base.v < vm->ram_size) {
			at = vm->ram_base.v + vm->ram_size;
			continue;
		}
		(void)entry_at(at, &level);
		at = (at & ~(level_size(level) - 1)) + level_size(level);
	}
	return n;
}

struct taken {
	uint64_t at, to, size;
};

/* One call of gstage_take_device: what it looked at is told by *at, and is paid from the budget;
 * what it took was a leaf, which began before `end` and had not ended at *at. */
static inline bool take_part(uint64_t *at, uint64_t end, unsigned *budget, struct taken *t)
{
	bool past = *at >= vm->gpa_end;
	unsigned had = *budget, level;
	gpa_t cursor = gpa(*at);
	hpa_t to;
	bool found = gstage_take_device(vm, &cursor, end, budget, &to, &t->size);

	require(past ? !found && cursor.v == end && *budget == had
		     : cursor.v >= *at && had - *budget == entries_between(*at, cursor.v));
	require(found || cursor.v >= end || *budget == 0);
	if (found) {
		t->at = cursor.v - t->size;
		t->to = to.v;
		require(cursor.v > *at && t->at < end);
		require(entry_at(t->at, &level) == 0 && level_size(level) == t->size);
	}
	*at = cursor.v;
	return found;
}

/* Takes all devices from [at, at + size); how many leaves they were. */
static inline unsigned take(uint64_t at, uint64_t size)
{
	uint64_t end = at + size;
	unsigned budget = UINT_MAX, n = 0;
	struct taken t;

	while (take_part(&at, end, &budget, &t))
		n++;
	return n;
}

/* --- the model: pages from model_base on; an entry is the HPA and the flags, 0 for not mapped ---
 */

#define MODEL_MAX (1 << 20) /* pages: 4 GiB */

static uint64_t model[MODEL_MAX], model_base, model_size, model_mapped;

static inline void model_start(uint64_t base, uint64_t pages)
{
	require(pages <= MODEL_MAX);
	model_base = base;
	model_size = pages;
	model_mapped = 0;
	memset(model, 0, pages * sizeof(*model));
}

static inline uint64_t model_page(uint64_t i)
{
	return model_base + (i << PAGE_SHIFT);
}

static inline bool model_any(uint64_t i, uint64_t n)
{
	for (; n; i++, n--)
		if (model[i])
			return true;
	return false;
}

static inline void model_map(uint64_t i, uint64_t n, uint64_t to, uint64_t flags)
{
	model_mapped += n;
	for (; n; i++, n--, to += PAGE_SIZE)
		model[i] = to | flags;
}

static inline void model_unmap(uint64_t i, uint64_t n)
{
	for (; n; i++, n--) {
		model_mapped -= model[i] != 0;
		model[i] = 0;
	}
}

static inline void check_page(uint64_t i)
{
	struct gstage_leaf leaf;
	uint64_t at = model_page(i) + (i * 8 & 0xfff); /* somewhere in the page */

	if (!model[i]) {
		require(gstage_lookup(vm, gpa(at), &leaf) == E_NOENT);
		return;
	}
	require(gstage_lookup(vm, gpa(at), &leaf) == OK);
	require((leaf.hpa.v & ~UINT64_C(0xfff)) == (model[i] & ~UINT64_C(0xfff)));
	require((leaf.hpa.v & 0xfff) == (at & 0xfff));
	require(leaf.flags == (model[i] & 0xfff));
}

static inline void check_leaf(uint64_t at, uint64_t to, uint64_t size, uint64_t flags)
{
	uint64_t first = (at - model_base) >> PAGE_SHIFT, last = first + (size >> PAGE_SHIFT) - 1;

	require(at >= model_base && last < model_size);
	require(model[first] == (to | flags));
	require(model[last] == ((to + size - PAGE_SIZE) | flags));
}

/* As many pages are mapped as should be, and each leaf maps at both ends what it should. */
static inline void check_all_leaves(void)
{
	require(check_tables(check_leaf).mapped == model_mapped);
}

/* Maps until all is or something is in the way or a table cannot be had: the model knows how far it
 * came. */
static inline enum err try_map(uint64_t i, uint64_t n, uint64_t to, uint64_t flags)
{
	uint64_t done;

	require(i + n <= model_size);
	if (range_overlaps(model_page(i), n << PAGE_SHIFT, vm->ram_base.v, vm->ram_size))
		flags &= ~GSTAGE_DEVICE; /* vdev/grant.c sees to it */
	enum err err = map_until(model_page(i), to, n << PAGE_SHIFT, flags, &done);

	done >>= PAGE_SHIFT;
	require(!model_any(i, done));
	model_map(i, done, to, flags);
	if (err == OK)
		require(done == n);
	else if (err == E_EXISTS)
		require(done < n && model[i + done]);
	else
		require((err == E_QUOTA_OWN || err == E_NOMEM) && done < n && !model[i + done]);
	return err;
}

/* Splits what maps page `i`, if that can be split: nothing else changes. */
static inline void try_split(uint64_t i)
{
	unsigned level;

	require((entry_at(model_page(i), &level) != 0) == (model[i] != 0));
	if (model[i] && level)
		(void)!split(model_page(i));
}

static inline bool model_any_device(uint64_t i, uint64_t end)
{
	for (; i < end; i++)
		if (model[i] & GSTAGE_DEVICE)
			return true;
	return false;
}

/* The leaf that was taken was a device's, all of it. */
static inline void model_take(const struct taken *t)
{
	uint64_t i = (t->at - model_base) >> PAGE_SHIFT, n = t->size >> PAGE_SHIFT;

	require(t->at >= model_base && i + n <= model_size);
	for (uint64_t k = 0; k < n; k++) {
		require(model[i + k] & GSTAGE_DEVICE);
		require((model[i + k] & ~UINT64_C(0xfff)) == t->to + (k << PAGE_SHIFT));
	}
	model_unmap(i, n);
}

/* Takes the devices that have a part of the `n` pages from `i` on, `budget` entries at a time: all
 * of them, in their order, and nothing else. */
static inline void try_take(uint64_t i, uint64_t n, unsigned budget)
{
	uint64_t at = model_page(i), end = at + (n << PAGE_SHIFT);

	require(i + n <= model_size && budget);
	for (unsigned left = budget; at < end; left = left ? left : budget) {
		uint64_t before = (at - model_base) >> PAGE_SHIFT;
		struct taken t;

		if (take_part(&at, end, &left, &t))
			model_take(&t);
		require(!model_any_device(before, (MIN(at, end) - model_base) >> PAGE_SHIFT));
	}
}
