/* SPDX-License-Identifier: MIT */
/*
 * Shadow tables; see shadow.h. Sources: Privileged ISA 12.2.1 (SFENCE.VMA), 12.3.2 (translation).
 *
 * What another PCPU changes in the VM's map meanwhile: it takes the entry away, and then has every
 * VCPU of the VM forget (vm_fence), this one before its next instruction. So what shadow_fault has
 * read of the map and installs is forgotten after that, if it was the old; and pages are not freed
 * before. gstage_touch may fence this VCPU too: nothing that was found before it is used after it.
 *
 * Links are not looked at again while they last, as hardware may do with entries that are no
 * leaves: only fences without an address cover them. A leaf's entry is read anew at each fault.
 */
#include "mmu/shadow.h"
#include "mmu/walk_from.h"

#define PTE_G        BIT(5)
#define PTE_PPN_MASK (BIT(54) - BIT(10))
#define NO_SATP      UINT64_MAX
#define FORGET_MAX   4096 /* entries that are looked at for a page: beyond, all is forgotten */
#define INNER_MAX    512 /* entries made above level 0: the same, before tables are looked through */

/* The table that an entry leads to, NULL for none. */
static inline struct shadow_table *child_of(struct shadow *s, uint64_t entry)
{
	if ((entry & (PTE_V | GSTAGE_RWX)) != PTE_V)
		return NULL;
	return &s->tables[(entry >> 10) - s->first];
}

static_assert(sizeof(struct shadow) <= SHADOW_OWN_PAGES * PAGE_SIZE, "its pages");

static inline uint64_t *entry_for(const struct shadow_table *t, gva_t at)
{
	return &t->entries[at.v >> t->shift & 511];
}

/* The first entry from `i` on that may hold something, 512 for none. */
static inline unsigned used_from(const struct shadow_table *t, unsigned i)
{
	while (i < 512 && !(t->used >> (i / 8) & 1))
		i = ALIGN_DOWN(i, 8) + 8;
	return i;
}

static void free_table(struct shadow *s, struct shadow_table *t)
{
	t->next = s->free;
	s->free = t;
	s->nfree++;
}

/* One link less leads to `t`. After the last, it is free, and so is what it alone led to. */
static void put(struct shadow *s, struct shadow_table *t)
{
	struct shadow_table *child, *list = --t->links ? NULL : t;

	s->flush = SHADOW_FLUSH_ALL;
	s->last_at = SHADOW_NO_LAST;
	t->next = NULL;
	while ((t = list)) {
		list = t->next;
		free_table(s, t);
		if (t->level == 0)
			continue;
		for (unsigned i = used_from(t, 0); i < 512; i = used_from(t, i + 1)) {
			child = child_of(s, t->entries[i]);
			if (child && --child->links == 0) {
				child->next = list;
				list = child;
			}
		}
	}
}

/* What was there the hart forgets. */
static void set(struct shadow *s, struct shadow_table *t, gva_t at, uint64_t entry)
{
	uint64_t *place = entry_for(t, at), old = *place;
	struct shadow_table *child = child_of(s, old);

	s->inner += t->level != 0;
	t->used |= BIT((at.v >> t->shift & 511) / 8);
	pte_set(place, entry);
	if (child)
		put(s, child);
	else if (old)
		s->flush = s->flush == SHADOW_FLUSH_NONE ? ALIGN_DOWN(at.v, PAGE_SIZE)
							 : SHADOW_FLUSH_ALL;
}

/* Sees to it that `n` tables can be taken. False: all had to be forgotten for that. */
static bool reserve(struct shadow *s, unsigned n)
{
	if (s->nfree >= n)
		return true;
	shadow_forget_all(s);
	return false;
}

static struct shadow_table *take_table(
	struct shadow *s, uint64_t pte, uint64_t base, unsigned level, bool global)
{
	struct shadow_table *t = s->free;

	s->free = t->next;
	s->nfree--;
	for (uint64_t *e = t->entries; t->used; t->used >>= 1, e += 8)
		if (t->used & 1)
			e[0] = e[1] = e[2] = e[3] = e[4] = e[5] = e[6] = e[7] = 0;
	t->guest = NULL;
	t->pte = pte;
	t->base = base;
	t->level = (uint8_t)level;
	t->shift = (uint8_t)(PAGE_SHIFT + 9 * level);
	t->global = global;
	t->links = 1;
	return t;
}

/* From the root on, where there is no link to another of the guest's tables, or, with `own`, to
 * one of this space alone. */
static noinline struct shadow_table *descend(
	struct shadow *s, struct shadow_table *t, gva_t at, bool own)
{
	for (;;) {
		struct shadow_table *child = child_of(s, *entry_for(t, at));

		if (!child || !child->guest || (own && child->global))
			return t;
		t = child;
	}
}

/* --- spaces --- */

static void make_root(struct shadow *s, struct shadow_space *sp)
{
	unsigned levels = SATP_MODE(sp->satp) ? SATP_LEVELS(sp->satp) : s->levels;

	sp->root = take_table(s, 0, 0, levels - 1, false);
	sp->hart_satp = SATP_OF(levels) | (sp - s->spaces + 1ull) << 44 |
			ptr_hpa(sp->root->entries).v >> PAGE_SHIFT;
	s->satp = sp->hart_satp;
}

/* In the place of the one that was not used for longest. */
static struct shadow_space *make_space(struct shadow *s, uint64_t satp)
{
	struct shadow_space *sp = s->spaces;

	if (s->inner > INNER_MAX)
		shadow_forget_all(s);
	for (unsigned i = 1; i < SHADOW_SPACES; i++)
		if (s->spaces[i].since < sp->since)
			sp = &s->spaces[i];
	if (sp->root)
		put(s, sp->root);
	*sp = (struct shadow_space){.satp = satp};
	s->space = sp;
	if (reserve(s, 1))
		make_root(s, sp);
	return sp;
}

/* Put off until they are needed: a direct VM has them for the time of a window only. */
static void begin(struct shadow *s)
{
	for (unsigned i = 0; i < s->ntables; i++) {
		s->tables[i].entries = hpa_ptr(hpa((s->first + i) << PAGE_SHIFT));
		s->tables[i].used = UINT64_MAX; /* all to be zeroed when it is taken */
	}
	s->switches = 0;
	s->space = s->spaces;
	s->space->satp = 0;
	shadow_forget_all(s);
}

void shadow_switch(struct shadow *s, uint64_t satp)
{
	struct shadow_space *sp = s->spaces;

	if (SATP_MODE(satp) == 0)
		satp = 0;
	if (!s->space)
		begin(s);
	while (sp < s->spaces + SHADOW_SPACES && sp->satp != satp)
		sp++;
	if (sp == s->spaces + SHADOW_SPACES)
		sp = make_space(s, satp);
	sp->since = ++s->switches;
	s->space = sp;
	s->satp = sp->hart_satp;
	s->last_at = SHADOW_NO_LAST;
}

/* --- faults --- */

/* The guest's `pte` leads on from the entry for `at`. If what it leads to is the same in all spaces
 * it may be known already. */
static struct shadow_table *link_table(
	struct shadow *s, struct shadow_table *t, gva_t at, uint64_t pte, bool global)
{
	uint64_t base = ALIGN_DOWN(at.v, level_size(t->level));
	struct shadow_table *child = s->tables, *end = child + (global && pte ? s->ntables : 0);

	while (child < end && (child->pte != pte || child->base != base || !child->links ||
				      child->level + 1 != t->level || !child->global))
		child++;
	if (child < end)
		child->links++;
	else
		child = take_table(s, pte, base, t->level - 1, global);
	set(s, t, at, PTE_PPN(ptr_hpa(child->entries)) | PTE_V);
	return child;
}

/* The table of `level` for `at`, from `t` on, where the walk `w` began. There are enough. */
static noinline struct shadow_table *make_path(
	struct shadow *s, struct shadow_table *t, gva_t at, unsigned level, const struct walk *w)
{
	if (w->level < WALK_LEVELS)
		t->guest = w->tables[t->level]; /* a root's was not known */
	while (t->level > level) {
		uint64_t pte = t->level >= w->level ? w->ptes[t->level] : 0;
		const uint64_t *guest = t->level > w->level ? w->tables[t->level - 1] : NULL;
		struct shadow_table *child = child_of(s, *entry_for(t, at));

		if (!child || child->pte != pte || (child->global && !(w->pte & PTE_G)))
			child = link_table(s, t, at, pte, w->pte & PTE_G);
		child->guest = guest;
		t = child;
	}
	return t;
}

/* The VM's map has nothing with the right that `how` needs: it gets it, if it is RAM. */
static noinline enum err touch(
	struct shadow *s, gpa_t at, uint64_t how, uint64_t leaf, struct refusal *refused)
{
	if (!in_ram(s->vm, at, 1) || (is_leaf(leaf) && !(how & WALK_WRITE)))
		return E_NOENT;
	enum err err = gstage_touch(s->vm, at, how & WALK_WRITE, refused);

	return err == E_EXISTS ? OK : err;
}

/* Where what is known of the guest's tables for `at` ends. NULL: it is no address. */
static noinline struct shadow_table *nearest(struct shadow *s, gva_t at)
{
	struct shadow_table *t = s->space->root;

	if (!gva_is_canonical(at, t->level + 1u))
		return NULL;
	t = descend(s, t, at, false);
	if (t->level == 0) {
		s->last = t;
		s->last_at = ALIGN_DOWN(at.v, MIB(2));
	}
	return t;
}

enum err shadow_fault(struct shadow *s, gva_t at, uint64_t how, gpa_t *gpa, struct refusal *refused)
{
	bool known = likely(ALIGN_DOWN(at.v, MIB(2)) == s->last_at);
	struct shadow_table *t = known ? s->last : nearest(s, at);
	uint64_t leaf = 0;
	unsigned level, small;
	struct walk w;

	if (!t) {
		gpa->v = at.v;
		return SATP_MODE(s->space->satp) ? E_FAULT : E_NOENT;
	}
	for (;;) {
		enum err err = likely(t->guest)
				       ? guest_walk_from(s->vm, t->guest, t->level, at, how, &w)
				       : guest_walk(s->vm, s->space->satp, at, how, &w);

		if (err != OK)
			return err == E_STATE ? OK : err;
		if (likely(!t->global || w.pte & PTE_G))
			break;
		/* It is not the same for all: it needs tables of this space alone. */
		if (s->inner > INNER_MAX) {
			shadow_forget_all(s);
			return OK;
		}
		t = descend(s, s->space->root, at, true);
	}
	*gpa = w.gpa;
	if (w.gpa.v < GSTAGE_END)
		gstage_walk(s->vm, w.gpa, &level, &leaf);
	if (unlikely(!(leaf & PTE_V) || (how & ~leaf & (GSTAGE_W | GSTAGE_X))))
		return touch(s, w.gpa, how, leaf, refused);
	/* A and D are set ahead: without D in the guest's leaf, W waits for it. */
	uint64_t rights = leaf & w.pte & (w.pte & PTE_D ? GSTAGE_RWX : GSTAGE_R | GSTAGE_X);

	if (unlikely(!rights))
		return E_NOENT; /* it may read what it may only execute, but not execute there */
	small = MIN(level, w.level);
	if (t->level != small) {
		if (!reserve(s, t->level - small))
			return OK;
		t = make_path(s, t, at, small, &w);
	}
	/* Of the VM's leaf the part that the entry maps. */
	leaf = (leaf & PTE_PPN_MASK) | (w.gpa.v & (level_size(level) - level_size(small))) >> 2 |
	       (w.pte & (PTE_U | WALK_PBMT)) | rights | PTE_V | PTE_A | PTE_D;
	if (unlikely(*entry_for(t, at) == leaf))
		s->flush = SHADOW_FLUSH_ALL; /* a hart may keep what was not valid */
	set(s, t, at, leaf);
	return OK;
}

/* --- fences --- */

void shadow_fence_page(struct shadow *s, gva_t at, uint64_t asid)
{
	for (struct shadow_space *sp = s->spaces; sp < s->spaces + SHADOW_SPACES; sp++) {
		/* Where the hart's SFENCE.VMA would do nothing, neither does this. */
		if (!sp->root || !SATP_MODE(sp->satp) ||
			!gva_is_canonical(at, sp->root->level + 1u) ||
			(asid != SHADOW_ALL_ASIDS && SATP_ASID(sp->satp) != asid))
			continue;
		struct shadow_table *t = descend(s, sp->root, at, false);

		if (*entry_for(t, at))
			set(s, t, at, 0);
		if (sp->root->level != s->space->root->level && s->flush != SHADOW_FLUSH_NONE)
			s->flush = SHADOW_FLUSH_ALL;
	}
}

/* A fence without an address, in `t`: links stay that lead to what is the same in all spaces, and
 * that the guest still has; leaves stay if `t` is the same in all spaces. */
static void check_entries(struct shadow *s, struct shadow_table *t)
{
	for (unsigned i = used_from(t, 0); i < 512; i = used_from(t, i + 1)) {
		const struct shadow_table *child = child_of(s, t->entries[i]);
		bool same =
			child && (!child->pte || (t->guest && pte_get(&t->guest[i]) == child->pte));

		if (child ? !child->global || !same : !t->global)
			set(s, t, gva(t->base + i * level_size(t->level)), 0);
	}
}

void shadow_fence(struct shadow *s, uint64_t asid)
{
	if (asid == SHADOW_ALL_ASIDS || s->inner > INNER_MAX) {
		shadow_forget_all(s);
		return;
	}
	for (struct shadow_space *sp = s->spaces; sp < s->spaces + SHADOW_SPACES; sp++) {
		if (sp->root && SATP_ASID(sp->satp) == asid) {
			s->flush = SHADOW_FLUSH_ALL;
			check_entries(s, sp->root);
		}
	}
	for (struct shadow_table *t = s->tables; t < s->tables + s->ntables; t++)
		if (t->global && t->links && t->level)
			check_entries(s, t);
}

void shadow_forget_all(struct shadow *s)
{
	if (!s->space)
		return;
	uint64_t satp = s->space->satp;

	s->inner = 0;
	s->free = NULL;
	s->nfree = 0;
	for (unsigned i = 0; i < s->ntables; i++) {
		s->tables[i].links = 0;
		free_table(s, &s->tables[i]);
	}
	for (unsigned i = 0; i < SHADOW_SPACES; i++)
		s->spaces[i] = (struct shadow_space){.satp = NO_SATP};
	*s->space = (struct shadow_space){.satp = satp, .since = s->switches};
	s->last_at = SHADOW_NO_LAST;
	make_root(s, s->space);
	s->flush = SHADOW_FLUSH_ALL;
}

void shadow_forget(struct shadow *s, hpa_t a, uint64_t size)
{
	unsigned looked_at = 0;

	s->last_at = SHADOW_NO_LAST;
	for (struct shadow_table *t = s->tables; t < s->tables + s->ntables; t++) {
		if (!t->links)
			continue;
		/* What it held is still right: the new page is a copy. */
		if (t->guest && range_within(ptr_hpa(t->guest).v, 1, a.v, size))
			t->guest = NULL;
		for (unsigned i = used_from(t, 0); i < 512; i = used_from(t, i + 1)) {
			uint64_t entry = t->entries[i];

			looked_at++;
			if (is_leaf(entry) &&
				range_overlaps(pte_hpa(entry).v, level_size(t->level), a.v, size)) {
				t->entries[i] = 0;
				s->flush = SHADOW_FLUSH_ALL;
			}
		}
		if (looked_at > FORGET_MAX) {
			shadow_forget_all(s);
			return;
		}
	}
}

/* --- life --- */

void shadow_destroy(struct shadow *s)
{
	vm_page_free(s->vm, ptr_hpa(s));
}

/* A root, and a path for each page of an instruction on two of them that accesses two. */
static bool enough(unsigned order, unsigned levels)
{
	return BIT(order) - SHADOW_OWN_PAGES >= 1 + 4 * (levels - 1);
}

enum err shadow_create(struct vm *vm, unsigned levels, struct shadow **out)
{
	unsigned order = SHADOW_ORDER;
	enum err err;
	hpa_t at;

	while ((err = vm_page_take(vm, order, FRAME_TABLE, &at)) == E_NOMEM &&
		enough(order - 1, levels))
		order--;
	if (err != OK)
		return err;
	struct shadow *s = hpa_ptr(at);

	s->vm = vm;
	s->levels = levels;
	s->first = (at.v >> PAGE_SHIFT) + SHADOW_OWN_PAGES;
	s->ntables = BIT(order) - SHADOW_OWN_PAGES;
	s->space = NULL;
	*out = s;
	return OK;
}
