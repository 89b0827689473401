/* SPDX-License-Identifier: MIT */
/*
 * A VM in fake RAM, and a model of its G-stage: for each page of a part of its address space what
 * it maps to. Shared by the unit tests and the fuzz target. Every check aborts with a message: it
 * must work outside a cmocka test as well.
 */
#pragma once

#include "arch.h"
#include "core/vm.h"
#include "mmu/gstage.h"

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
	const uint64_t limits[RES_COUNT] = {[RES_PAGES] = limit};

	host_ram_init(RAM_BASE, ram);
	free(frame_table);
	frame_table = calloc((ram >> PAGE_SHIFT) + HOLE, sizeof(*frame_table));
	require(frame_table);
	frames_init(frame_table, hpa(TABLE_BASE), ram + (HOLE << PAGE_SHIFT));
	frames_declare(hpa(TABLE_BASE), HOLE << PAGE_SHIFT, FRAME_HOLE);
	frames_declare(hpa(RAM_BASE), ram, FRAME_FREE);
	vm = NULL;
	return vm_create(NULL, limits, UINT8_MAX, UINT8_MAX, &vm);
}

/* A VM that may use `limit` pages, structure and root table included. */
static inline void new_vm(uint64_t ram, uint64_t limit)
{
	require(create(ram, limit) == OK);
	vm_pages = BIT(frame_of(ptr_hpa(vm))->order);
}

static inline enum err map(uint64_t at, uint64_t to, uint64_t size, uint64_t flags)
{
	struct vm_locked l = vm_lock(vm);
	enum err err = gstage_map(l, gpa(at), hpa(to), size, flags);

	vm_unlock(l);
	return err;
}

static inline enum err unmap(uint64_t at, uint64_t size)
{
	struct vm_locked l = vm_lock(vm);
	enum err err = gstage_unmap(l, gpa(at), size);

	vm_unlock(l);
	return err;
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
		require((pte[i] & 0xd1) == 0xd1 && !(pte[i] & 0x220)); /* V U A D; not G */
		require((pte[i] & 6) != 4);                            /* W without R is reserved */
		require(to % step == 0);
		t->mapped += step >> PAGE_SHIFT;
		if (leaf)
			leaf(at, to, step, pte[i] & 0x10e);
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

/* Maps and compares: what must happen is known but for tables that cannot be had; then nothing may
 * be mapped. */
static inline enum err try_map(uint64_t i, uint64_t n, uint64_t to, uint64_t flags)
{
	require(i + n <= model_size);
	enum err err = map(model_page(i), to, n << PAGE_SHIFT, flags);

	if (err == OK) {
		require(!model_any(i, n));
		model_map(i, n, to, flags);
	} else if (err == E_EXISTS) {
		require(model_any(i, n));
	} else {
		require(err == E_QUOTA_OWN || err == E_NOMEM);
	}
	return err;
}

/* When a leaf cannot be split for want of a page, everything before it is unmapped and nothing from
 * it on. */
static inline enum err try_unmap(uint64_t i, uint64_t n)
{
	struct gstage_leaf leaf;
	uint64_t done = n;

	require(i + n <= model_size);
	enum err err = unmap(model_page(i), n << PAGE_SHIFT);

	if (err != OK) {
		require(err == E_QUOTA_OWN || err == E_NOMEM);
		for (done = 0; done < n; done++)
			if (gstage_lookup(vm, gpa(model_page(i + done)), &leaf) == OK)
				break;
		require(done < n);
	}
	model_unmap(i, done);
	return err;
}
