/* SPDX-License-Identifier: MIT */
/*
 * A guest that edits its page tables at random, fences or does not, and changes its address space;
 * a VM whose map changes under it; a hart with a TLB and a page-walk cache that keeps all it may,
 * and forgets only what `flush` tells it to; and what the specification allows that hart to see.
 * For each entry of the guest's tables there is its history: an access is right if some chain of
 * entries explains it, each of which was there at some time since the last fence that covers it.
 * Shared by the unit tests and the fuzz target: pick() chooses.
 */
#pragma once

#include "gstage_model.h"
#include "mmu/shadow.h"
#include "pte_rules.h"

static uint64_t pick(uint64_t n); /* one of 0 to n - 1 */

#define HOST_RAM  MIB(24)
#define GUEST_RAM GIB(3)
#define RAM_SIZE  MIB(8)
#define FAR       UINT64_C(0x4000000000)
#define DEVICES   GIB(1) /* a leaf of each size, the largest at 8 GiB */
#define WINDOW    (GIB(1) + MIB(32))
#define RO_WINDOW (WINDOW + PAGE_SIZE)

#define TABLES 10
#define SLOTS  5
static const unsigned slot_index[SLOTS] = {0, 1, 2, 256, 511};

static struct shadow *s;
static struct vm *other; /* shares the RAM, while there is one */
static unsigned satps;
static uint64_t satp_list[14], guest_satp;
static uint64_t now, last_fence, asid_fence[3];

/* --- what the guest's tables were --- */

struct past {
	uint64_t value, since;
};

#define PAST_MAX 12

static struct history {
	struct past past[PAST_MAX];
	unsigned n;
} history[TABLES][SLOTS];

static struct {
	uint64_t at, time, asid;
} page_fences[64];
static unsigned npage_fences;

static uint64_t table_gpa(unsigned t)
{
	return GUEST_RAM + MIB(2) + t * PAGE_SIZE;
}

/* --- what may be seen --- */

struct look {
	uint64_t at, how, asid;
	enum { SEES, FAULTS, DENIED } what;
	uint64_t gpa, hpa; /* SEES: the first, unless it is 0, else one that maps to the other */
	uint64_t pbmt;     /* or UINT64_MAX */
	uint64_t began;    /* FAULTS: what was read is not older */
};

/* What `gpa` maps to with these rights now; 0 for nothing. */
static uint64_t map_of(uint64_t gpa_, uint64_t rights)
{
	struct gstage_leaf leaf;

	if (gstage_lookup(vm, gpa(gpa_), &leaf) != OK || (leaf.flags & rights) != rights)
		return 0;
	return leaf.hpa.v;
}

static bool explains(const struct look *l, uint64_t gpa_)
{
	if (l->gpa)
		return gpa_ == l->gpa;
	return map_of(gpa_, l->how & (GSTAGE_W | GSTAGE_X)) == l->hpa;
}

/* Since when a leaf of `level` for l->at must have been there. */
static uint64_t leaf_horizon(const struct look *l, uint64_t pte, unsigned level)
{
	bool global = pte & 0x20;
	uint64_t t = global ? last_fence : MAX(last_fence, asid_fence[l->asid]);

	for (unsigned i = 0; i < npage_fences; i++)
		if (page_fences[i].at >> (12 + 9 * level) == l->at >> (12 + 9 * level) &&
			(page_fences[i].asid == SHADOW_ALL_ASIDS ||
				(page_fences[i].asid == l->asid && !global)))
			t = MAX(t, page_fences[i].time);
	return t;
}

static bool search(const struct look *l, uint64_t table, unsigned level);

static bool leads_on(const struct look *l, uint64_t pte, unsigned level)
{
	uint64_t to = pte >> 10 << 12;

	if (to >= table_gpa(0) && to < table_gpa(TABLES))
		return search(l, to, level - 1);
	if (to >= GUEST_RAM && to < GUEST_RAM + RAM_SIZE) /* nothing is written there: zeros */
		return l->what == FAULTS;
	/* The windows' pages are zeros too. */
	if (to == WINDOW || to == RO_WINDOW)
		return l->what == FAULTS;
	return l->what == DENIED;
}

static bool search(const struct look *l, uint64_t table, unsigned level)
{
	unsigned t = (table - table_gpa(0)) >> PAGE_SHIFT, k = 0;
	uint64_t inside = (UINT64_C(1) << (12 + 9 * level)) - 1;
	unsigned index = l->at >> (12 + 9 * level) & 511;

	while (k < SLOTS && slot_index[k] != index)
		k++;
	if (k == SLOTS)
		return l->what == FAULTS;
	for (unsigned i = 0; i < history[t][k].n; i++) {
		bool current = i + 1 == history[t][k].n;
		uint64_t pte = history[t][k].past[i].value;
		uint64_t end = current ? UINT64_MAX : history[t][k].past[i + 1].since;
		enum kind kind = kind_of(pte, level);

		if (kind == POINTER) {
			if (end > MAX(last_fence, asid_fence[l->asid]) && leads_on(l, pte, level))
				return true;
		} else if (kind == INVALID || !leaf_allows(pte, l->how)) {
			/* Another VCPU may have changed it after it was read. */
			if (l->what == FAULTS && end >= l->began)
				return true;
		} else if (l->what == SEES && end > leaf_horizon(l, pte, level)) {
			uint64_t to = (pte & 0x3ffffffffffc00) << 2;

			if (explains(l, to | (l->at & inside)) &&
				(l->pbmt == UINT64_MAX || l->pbmt == (pte >> 61 & 3)))
				return true;
		}
	}
	return false;
}

static unsigned levels_of(uint64_t satp)
{
	return satp ? (satp >> 60) - 5 : s->levels;
}

/* There is a way to see it. */
static bool possible(struct look *l, uint64_t satp)
{
	unsigned unused = 64 - 12 - 9 * levels_of(satp);
	uint64_t root = (satp & (BIT(44) - 1)) << 12;

	l->asid = satp >> 44 & 0xffff;
	if (satp == 0)
		return l->what == SEES && explains(l, l->at);
	if ((uint64_t)((int64_t)(l->at << unused) >> unused) != l->at)
		return l->what == FAULTS;
	return leads_on(l, root >> 12 << 10, levels_of(satp));
}

/* --- the hart --- */

struct cached {
	uint64_t asid, at, pte;
	unsigned level;
};

static struct cached tlb[16], links[8]; /* `level` of a link: of the table it leads to */

static bool matches(const struct cached *c, uint64_t at, unsigned span)
{
	return c->pte && c->asid == (s->satp >> 44 & 0xffff) &&
	       c->at >> (12 + 9 * span) == at >> (12 + 9 * span);
}

static void obey(void)
{
	if (s->flush == SHADOW_FLUSH_ALL) {
		memset(tlb, 0, sizeof(tlb));
		memset(links, 0, sizeof(links));
	} else if (s->flush != SHADOW_FLUSH_NONE) {
		require(s->flush % PAGE_SIZE == 0);
		for (unsigned i = 0; i < ARRAY_SIZE(tlb); i++)
			if (tlb[i].at >> (12 + 9 * tlb[i].level) ==
				s->flush >> (12 + 9 * tlb[i].level))
				tlb[i].pte = 0;
	}
	s->flush = SHADOW_FLUSH_NONE;
}

static bool is_table(uint64_t a)
{
	for (unsigned i = 0; i < s->ntables; i++)
		if (ptr_hpa(s->tables[i].entries).v == a)
			return true;
	return false;
}

/* The leaf for `at` in the tables, by old links now and then; 0 when there is none. */
static uint64_t hart_walk(uint64_t at, unsigned *level)
{
	uint64_t table = (s->satp & (BIT(44) - 1)) << 12, asid = s->satp >> 44 & 0xffff;

	*level = (s->satp >> 60) - 6;
	require(asid >= 1 && asid <= SHADOW_SPACES && is_table(table));
	for (unsigned i = 0; i < ARRAY_SIZE(links); i++) {
		if (matches(&links[i], at, links[i].level + 1) && links[i].level < *level &&
			pick(2)) {
			table = links[i].pte;
			*level = links[i].level;
		}
	}
	for (;; --*level) {
		require(is_table(table));
		const uint64_t *entries = hpa_ptr(hpa(table));
		uint64_t pte = entries[at >> (12 + 9 * *level) & 511];

		if (kind_of(pte, *level) != POINTER) {
			/* Never a thing that a hart might understand otherwise. */
			require(pte == 0 || (kind_of(pte, *level) == LEAF && !(pte & 0x320) &&
						    (pte & 0xc0) == 0xc0));
			return pte;
		}
		table = pte >> 10 << 12;
		if (pick(4) == 0)
			links[pick(ARRAY_SIZE(links))] =
				(struct cached){asid, at, table, *level - 1};
	}
}

/* True, and the HPA and the leaf, when the access succeeds. */
static bool hart_access(uint64_t at, uint64_t how, uint64_t *hpa_, uint64_t *leaf)
{
	unsigned unused = 64 - 12 - 9 * ((s->satp >> 60) - 5), level = 0;
	uint64_t pte = 0;

	if ((uint64_t)((int64_t)(at << unused) >> unused) != at)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(tlb) && !pte; i++) {
		if (matches(&tlb[i], at, tlb[i].level) && pick(8)) {
			pte = tlb[i].pte;
			level = tlb[i].level;
		}
	}
	if (!pte) {
		pte = hart_walk(at, &level);
		tlb[pick(ARRAY_SIZE(tlb))] =
			(struct cached){s->satp >> 44 & 0xffff, at, pte, level};
	}
	if (!pte || !leaf_allows(pte, how))
		return false;
	*hpa_ = ((pte & 0x3ffffffffffc00) << 2) | (at & ((UINT64_C(1) << (12 + 9 * level)) - 1));
	*leaf = pte;
	return true;
}

/* --- the shadow's own books --- */

static const struct shadow_table *table_at(uint64_t pte)
{
	for (unsigned i = 0; i < s->ntables; i++)
		if (ptr_hpa(s->tables[i].entries).v == pte >> 10 << 12)
			return &s->tables[i];
	require(!"a link to a table");
	return NULL;
}

static void audit_leaf(uint64_t satp, uint64_t at, uint64_t pte)
{
	static const uint64_t rights[] = {GSTAGE_R, GSTAGE_W, GSTAGE_X};

	for (unsigned i = 0; i < 3; i++) {
		struct look l = {.at = at,
			.how = rights[i] | (pte & 16),
			.hpa = (pte & 0x3ffffffffffc00) << 2,
			.pbmt = pte >> 61 & 3};

		if (pte & rights[i])
			require(possible(&l, satp));
	}
}

static void audit_table(uint64_t satp, const struct shadow_table *t, uint64_t base)
{
	for (unsigned i = 0; i < 512; i++) {
		uint64_t pte = t->entries[i], at = base + ((uint64_t)i << (12 + 9 * t->level));

		if (t->level + 1u == levels_of(satp) && i >= 256)
			at |= UINT64_MAX << (21 + 9 * t->level);
		if (kind_of(pte, t->level) == LEAF) {
			audit_leaf(satp, at, pte);
		} else if (pte) {
			const struct shadow_table *c = table_at(pte);

			require(c->level + 1 == t->level && c->base == at);
			require(!t->global || c->global);
			audit_table(satp, c, at);
		}
	}
}

static void audit_books(void)
{
	unsigned links_to[SHADOW_TABLES] = {0}, nfree = 0;

	for (unsigned i = 0; i < SHADOW_SPACES; i++)
		if (s->spaces[i].root)
			links_to[s->spaces[i].root - s->tables]++;
	for (unsigned i = 0; i < s->ntables; i++) {
		const struct shadow_table *t = &s->tables[i];

		for (unsigned k = 0; k < 512; k++) {
			require(!t->entries[k] || (t->used >> (k / 8) & 1));
			if (t->links && kind_of(t->entries[k], t->level) == POINTER)
				links_to[table_at(t->entries[k]) - s->tables]++;
		}
	}
	for (unsigned i = 0; i < s->ntables; i++) {
		require(s->tables[i].links == links_to[i]);
		nfree += links_to[i] == 0;
	}
	require(nfree == s->nfree);
	for (const struct shadow_table *t = s->free; t; t = t->next, nfree--)
		require(t->links == 0);
	require(nfree == 0);
	require(s->space->satp == guest_satp && s->satp == s->space->hart_satp);
}

static void audit(void)
{
	audit_books();
	for (unsigned i = 0; i < SHADOW_SPACES; i++)
		if (s->spaces[i].root)
			audit_table(s->spaces[i].satp, s->spaces[i].root, 0);
}

/* --- what the guest does --- */

static bool elsewhere; /* what happens is another PCPU's doing, in the midst of a fault */

static void fence_all(void)
{
	shadow_fence(s, SHADOW_ALL_ASIDS);
	last_fence = now++;
	npage_fences = 0;
	for (unsigned i = 0; i < TABLES * SLOTS; i++) {
		struct history *h = &history[i / SLOTS][i % SLOTS];

		h->past[0] = h->past[h->n - 1];
		h->n = 1;
	}
}

/* As a VCPU would. */
static uint64_t *guest_entry(uint64_t at)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t *p = guest_ptr(vm, gpa(at), 8, GSTAGE_W);

		if (p)
			return p;
		enum err err = gstage_touch(vm, gpa(at), true, NULL);

		if (err != OK && err != E_EXISTS)
			return NULL;
	}
	require(!"a page that never comes");
	return NULL;
}

static uint64_t some_target(void)
{
	switch (pick(12)) {
	case 0:
		return DEVICES + (pick(2) ? MIB(2) : 0);
	case 1:
		return GIB(8);
	case 2:
		return pick(2) ? WINDOW : RO_WINDOW;
	case 3:
		return pick(2) ? 0x10000000 : BIT(41) << pick(14);
	case 4:
	case 5:
		return GUEST_RAM;
	case 6:
		return GUEST_RAM + MIB(4);
	default:
		return GUEST_RAM + MIB(2) * pick(4) + PAGE_SIZE * pick(16);
	}
}

/* The first tables are mostly for the upper levels, the last for leaves; but any may be used as
 * any. */
static uint64_t some_entry(unsigned t)
{
	uint64_t kind = pick(32), pte;

	if (kind == 0)
		return 0;
	if (kind == 1) /* a table in a bad place, or one with bits it must not have */
		return some_target() >> 2 | 1 | (pick(2) ? BIT(pick(10)) : 0);
	if (kind < (t < TABLES / 2 ? 28 : 4)) {
		t = pick(4) ? t + 1 + pick(3) : pick(TABLES);
		return table_gpa(t % TABLES) >> 2 | 1 | (pick(64) ? 0 : BIT(pick(64)));
	}
	pte = some_target() >> 2 | 0xc1;
	pte |= pick(4) ? 0xe : pick(8) << 1;
	pte |= (pick(4) == 0) << 4 | pick(2) << 5;
	if (pick(8) == 0)
		pte &= ~(BIT(6) << pick(2));
	if (pick(8) == 0)
		pte |= pick(4) << 61;
	return pick(64) ? pte : pte ^ BIT(pick(64));
}

static void edit_to(unsigned t, unsigned k, uint64_t pte)
{
	uint64_t at = table_gpa(t) + 8 * slot_index[k], *entry;

	if (elsewhere && (history[t][k].n == PAST_MAX || !guest_ptr(vm, gpa(at), 8, GSTAGE_W)))
		return;
	entry = guest_entry(at);
	if (!entry)
		return; /* cannot pay */
	if (history[t][k].n == PAST_MAX)
		fence_all();
	history[t][k].past[history[t][k].n++] = (struct past){pte, now++};
	*entry = pte;
}

static void edit(void)
{
	unsigned t = pick(TABLES);

	edit_to(t, pick(SLOTS), some_entry(t));
}

static uint64_t seen[8]; /* addresses where accesses succeeded */

static uint64_t some_address(void)
{
	unsigned levels = levels_of(guest_satp), unused = 64 - 12 - 9 * levels;
	uint64_t at = pick(2) ? pick(PAGE_SIZE) : 0;

	if (pick(100) == 0)
		return pick(UINT64_MAX);
	if (pick(3))
		return seen[pick(ARRAY_SIZE(seen))];
	if (guest_satp == 0)
		return some_target() + at;
	for (unsigned l = 0; l < levels; l++)
		at |= (uint64_t)slot_index[pick(SLOTS)] << (12 + 9 * l);
	return (uint64_t)((int64_t)(at << unused) >> unused);
}

/* --- what happens to the map --- */

static struct {
	uint64_t *pte, old;
} broken; /* a page that another PCPU is giving a copy of */

static bool exact; /* what was replaced is told by its HPA */

static void forget(uint64_t a)
{
	if (exact)
		shadow_forget(s, hpa(a), PAGE_SIZE);
	else
		shadow_forget_all(s);
}

/* Another PCPU writes a shared page: up to where it waits for this one. */
static void break_begin(void)
{
	uint64_t value, *pte;
	unsigned level;

	if (broken.pte)
		return;
	pte = gstage_walk(vm, gpa(GUEST_RAM + MIB(2) + PAGE_SIZE * pick(16)), &level, &value);
	if (level || !is_own_ram(value) || (value & GSTAGE_W))
		return;
	broken.pte = pte;
	broken.old = value;
	pte_set(pte, PTE_BUSY);
}

static void break_end(void)
{
	hpa_t page, old = pte_hpa(broken.old);

	if (!broken.pte)
		return;
	forget(old.v);
	if (vm_page_take(vm, 0, FRAME_RAM, &page) == OK) {
		memcpy(hpa_ptr(page), hpa_ptr(old), PAGE_SIZE);
		memset(hpa_ptr(old), 0xff, PAGE_SIZE); /* who reads it now must not */
		pte_set(broken.pte, leaf_pte(page, GSTAGE_RWX));
		(void)vm_ram_put(vm, old, 0);
	} else {
		pte_set(broken.pte, broken.old);
	}
	broken.pte = NULL;
}

/* The pages that are mostly used, and what they were at the beginning of the step. */
static uint64_t was[4 * (16 + 2)];

static gpa_t page_gpa(unsigned i)
{
	uint64_t in_block = i / 4 < 16 ? i / 4 : slot_index[3 + i / 4 - 16];

	return gpa(GUEST_RAM + i % 4 * MIB(2) + in_block * PAGE_SIZE);
}

static void note_pages(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(was); i++)
		was[i] = map_of(page_gpa(i).v, 0);
}

/* This VCPU makes a page its own. */
void vm_fence_of(struct vm *of, hpa_t a, uint64_t size)
{
	require(of == vm && !spin_is_locked(&vm->lock) && size == PAGE_SIZE);
	forget(a.v);
}

static void map_own(uint64_t at, uint64_t to, uint64_t size, uint64_t flags)
{
	require(map(at, to, size, flags) == OK);
}

static void map_devices(void)
{
	map_own(DEVICES, FAR, PAGE_SIZE, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE);
	map_own(DEVICES + MIB(2), FAR + MIB(2), MIB(2), GSTAGE_R | GSTAGE_DEVICE);
	map_own(GIB(8), FAR + GIB(1), GIB(1), GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE);
}

/* --- one step --- */

/* The guest's tables allow it, the VM's map does not; or there is no way to say so to the hart. */
static bool refused_by_map(uint64_t gpa_, uint64_t how)
{
	if (guest_satp == 0 && gpa_ >> (11 + 9 * s->levels))
		return true;
	if ((how & WALK_MXR) && (how & WALK_READ) && !map_of(gpa_, GSTAGE_X))
		return true;
	return !map_of(gpa_, how & GSTAGE_RWX);
}

/* One instruction, as often as it takes. */
static void try_access(uint64_t at, uint64_t how)
{
	struct refusal refused;
	enum err err = OK;
	uint64_t leaf;
	gpa_t where = {0};

	for (unsigned tries = 0; err == OK; tries++) {
		struct look l = {.at = at, .how = how, .pbmt = UINT64_MAX, .began = now};

		require(tries < 64);
		break_end();
		obey();
		if (hart_access(at, how, &l.hpa, &leaf)) {
			l.pbmt = leaf >> 61 & 3;
			require(possible(&l, guest_satp));
			seen[pick(ARRAY_SIZE(seen))] = at;
			return;
		}
		elsewhere = true;
		err = shadow_fault(s, gva(at), how | WALK_PBMT, &where, &refused);
		elsewhere = false;
		if (err == OK)
			continue;
		l.what = err == E_FAULT ? FAULTS : err == E_DENIED ? DENIED : SEES;
		l.gpa = where.v;
		require(possible(&l, guest_satp));
		if (err == E_QUOTA_OWN || err == E_NOMEM)
			require(where.v - GUEST_RAM < RAM_SIZE);
		else
			require(l.what != SEES || (err == E_NOENT && refused_by_map(where.v, how)));
	}
}

static void try_fence(void)
{
	uint64_t asid = pick(3), at = some_address();

	switch (pick(32)) {
	case 0:
		fence_all();
		break;
	case 1:
	case 2:
	case 3:
		shadow_fence(s, asid);
		asid_fence[asid] = now++;
		break;
	default:
		if (npage_fences == ARRAY_SIZE(page_fences)) {
			fence_all();
			break;
		}
		if (pick(2))
			asid = SHADOW_ALL_ASIDS;
		shadow_fence_page(s, gva(at), asid);
		page_fences[npage_fences].at = at;
		page_fences[npage_fences].asid = asid;
		page_fences[npage_fences++].time = now++;
	}
}

static void try_switch(void)
{
	guest_satp = satp_list[pick(satps)];
	shadow_switch(s, guest_satp);
	obey();
}

/* A fork, and its end. */
static void try_share(void)
{
	const uint64_t limits[DX_LIMITS] = {[DX_LIMIT_PAGES] = UINT64_MAX >> 1,
		[DX_LIMIT_PRIORITY] = UINT8_MAX,
		[DX_LIMIT_DEPTH] = UINT8_MAX};
	gpa_t cursor = gpa(0);
	enum err err = OK;

	if (other) {
		other->state = DX_DYING;
		while (!gstage_drop(other, &cursor, UINT_MAX))
			;
		vm_page_free(other, other->gstage_root);
		vm_free(other);
		other = NULL;
		return;
	}
	if (vm_create(vm, limits, &other) != OK)
		return;
	other->ram_base = vm->ram_base;
	other->ram_size = vm->ram_size;
	while (err == OK && cursor.v < GSTAGE_END)
		err = gstage_share(vm, other, &cursor, 2048);
	shadow_forget_all(s);
	if (err != OK)
		try_share();
}

static void take_devices(void)
{
	while (take(0, GSTAGE_END))
		;
	shadow_forget_all(s);
	map_devices();
}

static void step(void)
{
	static const uint64_t modes[] = {
		0, WALK_SUM, WALK_USER, WALK_SUM, WALK_MXR, WALK_SUM | WALK_MXR};
	uint64_t what = pick(64);

	exact = pick(2);
	note_pages();
	if (what < 10)
		edit();
	else if (what < 44)
		try_access(some_address(), BIT(1 + pick(3)) | modes[pick(ARRAY_SIZE(modes))]);
	else if (what < 50)
		try_fence();
	else if (what < 56)
		try_switch();
	else if (what == 56 && pick(8) == 0)
		try_share();
	else if (what == 57 && pick(8) == 0)
		take_devices();
	else if (what == 58)
		break_begin();
	break_end();
}

/* --- the start --- */

static unsigned shadow_order; /* of the largest free block when the tables are made */

/* The tables, with no free block of more than 2^order pages; the rest comes back. */
static enum err create_among_pieces(unsigned levels, unsigned order, struct shadow **out)
{
	hpa_t piece, taken[64];
	unsigned n = 0;

	require(frame_alloc(order, FRAME_HV, 0, &piece) == OK);
	for (unsigned o = FRAME_MAX_ORDER + 1; o-- > order;)
		while (n < ARRAY_SIZE(taken) && frame_alloc(o, FRAME_HV, 0, &taken[n]) == OK)
			n++;
	require(n < ARRAY_SIZE(taken));
	frame_free(piece);
	enum err err = shadow_create(vm, levels, out);

	while (n--)
		frame_free(taken[n]);
	return err;
}

static unsigned least_order(unsigned levels)
{
	return levels == 5 ? 5 : 4;
}

/* One tree of tables in four is of the least size. */
static void new_guest(unsigned levels, uint64_t limit, bool forked)
{
	unsigned order = shadow_order ? shadow_order : pick(4) ? SHADOW_ORDER : least_order(levels);

	new_vm(HOST_RAM, UINT64_MAX >> 1);
	vm->ram_base = gpa(GUEST_RAM);
	vm->ram_size = RAM_SIZE;
	vm->forked = forked;
	map_devices();
	hpa_t page;

	require(vm_page_alloc(vm, 1, FRAME_RAM, &page) == OK);
	map_own(WINDOW, page.v, PAGE_SIZE, GSTAGE_R | GSTAGE_W | GSTAGE_FOREIGN);
	map_own(RO_WINDOW, page.v + PAGE_SIZE, PAGE_SIZE, GSTAGE_R | GSTAGE_FOREIGN);
	other = NULL;
	now = 1;
	last_fence = guest_satp = npage_fences = 0;
	memset(asid_fence, 0, sizeof(asid_fence));
	memset(history, 0, sizeof(history));
	memset(&broken, 0, sizeof(broken));
	for (unsigned t = 0; t < TABLES; t++)
		for (unsigned k = 0; k < SLOTS; k++)
			history[t][k].n = 1;
	require(create_among_pieces(levels, order, &s) == OK);
	require(s->ntables == BIT(order) - 2);
	shadow_switch(s, 0);
	vm->quota.limit[RES_PAGES] = MIN(vm->quota.used[RES_PAGES] + limit, UINT64_MAX >> 1);
	memset(tlb, 0, sizeof(tlb));
	memset(links, 0, sizeof(links));
	satps = 0;
	satp_list[satps++] = 0;
	while (satps < ARRAY_SIZE(satp_list)) {
		uint64_t root = pick(20) ? table_gpa(pick(TABLES / 2)) : some_target() & ~0xfffull;

		satp_list[satps++] =
			(8 + pick(levels - 2)) << 60 | pick(3) << 44 | (root >> 12 & (BIT(44) - 1));
	}
	for (unsigned i = 0; i < TABLES * SLOTS; i++)
		edit_to(i / SLOTS, i % SLOTS, some_entry(i / SLOTS));
}
