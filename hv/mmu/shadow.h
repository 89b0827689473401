/* SPDX-License-Identifier: MIT */
/*
 * The `shadow` backend's tables: for one VCPU, GVA straight to HPA, as a TLB that is filled on page
 * faults from the guest's own tables and its VM's map (mmu/gstage.h). Portable: what the hart has
 * to be told is in `satp` and `flush`. Only the PCPU that has the VCPU loaded touches it.
 *
 * A table of the shadow stands for one of the guest's, entry for entry, or for pieces of a leaf of
 * the guest's that the VM's map has not in one piece. Roots are kept per value of the guest's satp.
 *
 * Invariants:
 *  1. What an entry maps, the guest's tables gave since the last fence that covers it, and the VM's
 *     map gives it now; with no more rights than both. Else the hart faults, and nothing is lost.
 *  2. A table that holds something belongs to one address space, or is `global`: all its leaves
 *     have G, and it is for the same addresses in all spaces that it is linked into. So a fence
 *     finds, from the roots, all that it covers.
 *  3. Before the guest's next instruction the hart obeys `flush`, on whatever PCPU that is. Tables
 *     are taken out and used anew before that: the hart must not go on by an old link.
 */
#pragma once

#include "mmu/walk.h"

#define SHADOW_ORDER     6 /* of the block that all of it is in, charged to the VM */
#define SHADOW_OWN_PAGES 2 /* struct shadow; the others are tables */
#define SHADOW_TABLES    (BIT(SHADOW_ORDER) - SHADOW_OWN_PAGES)
#define SHADOW_SPACES    8 /* roots; the hart's ASIDs are 1 to this */

#define SHADOW_ALL_ASIDS UINT64_MAX

#define SHADOW_NO_LAST 1

/* Values of `flush` beside a page's address, which asks for SFENCE.VMA with it and no ASID. */
#define SHADOW_FLUSH_NONE 1 /* the hart's TLB holds nothing that must go */
#define SHADOW_FLUSH_ALL  2 /* SFENCE.VMA without operands, after satp is set */

struct shadow_table {
	uint64_t *entries;
	const uint64_t *guest; /* the table it stands for. NULL: pieces of a leaf, or look anew */
	uint64_t pte;          /* the guest's entry that led here, or the leaf itself */
	uint64_t base;         /* the address of its first entry */
	uint64_t used;         /* a bit for each eight entries that may hold something */
	struct shadow_table *next; /* among the free, or those that are being freed */
	uint16_t links;            /* entries that lead here, or 1 for a root; 0: free */
	uint8_t level, shift;      /* of an address, for its index */
	bool global;
} aligned(64);

struct shadow_space {
	uint64_t satp; /* the guest's, or NO_SATP */
	uint64_t hart_satp;
	struct shadow_table *root;
	uint64_t since; /* when it was switched to */
};

struct shadow {
	uint64_t satp;  /* what the hart's has to be. It changes only with a full flush, or by
			   shadow_switch */
	uint64_t flush; /* SHADOW_FLUSH_… or an address; the caller obeys, and sets _NONE */
	struct vm *vm;
	struct shadow_space *space; /* the present one */
	uint64_t switches;
	struct shadow_table *last; /* for the 2 MiB at last_at of the present space */
	uint64_t last_at;          /* SHADOW_NO_LAST: none is known */
	struct shadow_table *free;
	uint64_t first;        /* frame number of the tables */
	uint32_t nfree, inner; /* free ones; entries made above level 0 since all was forgotten */
	uint32_t levels;       /* of the hart's largest mode: for guests without translation */
	uint32_t ntables;      /* that are there */
	struct shadow_space spaces[SHADOW_SPACES];
	struct shadow_table tables[SHADOW_TABLES];
};

/*
 * Makes a VCPU's tables, for satp 0, on harts whose largest mode has `levels` of 3 to 5, all of
 * them at once, so that what a VM pays does not depend on what it runs. Where no free block is as
 * large, fewer, but enough for any instruction. Errors as vm_page_alloc.
 *
 * Without translation a guest sees its GPAs in the hart's largest mode: with Sv39 none from 2^38
 * on, accesses there are as where nothing is.
 */
enum err must_check shadow_create(struct vm *vm, unsigned levels, struct shadow **out);
void shadow_destroy(struct shadow *s);

/* The guest's satp is `satp` now, of a mode that the hart has. What was known of that space and not
 * fenced is still known. The caller sets the hart's to s->satp. */
void shadow_switch(struct shadow *s, uint64_t satp);

/*
 * A page fault of the guest at `at`, with an access `how` (WALK_…). OK: execute the instruction
 * again. E_FAULT: it gets the page fault; E_DENIED: an access fault, for its tables are where there
 * is no memory; E_NOENT: the guest's tables allow the access, but at `*gpa` the VM's map does not:
 * an emulated device, or nothing. E_QUOTA_…, E_NOMEM from gstage_touch of the page itself. When
 * there are not enough tables all is forgotten. No lock may be held.
 */
enum err must_check shadow_fault(
	struct shadow *s, gva_t at, uint64_t how, gpa_t *gpa, struct refusal *refused);

/* SFENCE.VMA of the guest's, or on its behalf: with an address, or without; of one ASID, or of
 * SHADOW_ALL_ASIDS. */
void shadow_fence_page(struct shadow *s, gva_t at, uint64_t asid);
void shadow_fence(struct shadow *s, uint64_t asid);

/* The VM's map is another one: all of it, or where it had [a, a + size), page aligned. */
void shadow_forget_all(struct shadow *s);
void shadow_forget(struct shadow *s, hpa_t a, uint64_t size);
