/* SPDX-License-Identifier: MIT */
/*
 * Every 4 KiB frame of RAM has one record, kept for naturally aligned power-of-two *blocks*: the
 * block's first frame (its head) speaks for all of it; the records of the others, the tails, are
 * all zero.
 *
 * Invariants (frames_audit checks them all):
 *  1. Heads tile [base, base + size) without gap or overlap; each is aligned to its own size.
 *  2. A block is free, the hypervisor's, reserved, a hole (not RAM), or charged to exactly one VM,
 * its payer.
 *  3. free + hypervisor + reserved + charged = all of RAM.
 *  4. Free blocks, and only they, are on the free list of their order; two free buddies never lie
 * side by side.
 *
 * What it leaves to others: who may have a frame (core/quota.h) and what a frame holds. Frames are
 * not zeroed here: vm_page_alloc (core/vm.h) does that.
 */
#pragma once

#include "core/addr.h"
#include "core/err.h"
#include "core/lock.h"

#define FRAME_MAX_ORDER 18 /* 1 GiB */
#define ORDER_4K        0
#define ORDER_2M        9

enum frame_kind {
	FRAME_TAIL, /* not a head; the value of a zeroed record */
	FRAME_FREE,
	FRAME_HV,       /* image, frame table, PCPU areas: charged to nobody, taken at boot */
	FRAME_RESERVED, /* RAM the machine keeps: /reserved-memory, firmware */
	FRAME_HOLE,     /* no RAM: lies between two RAM ranges */
	FRAME_META,     /* a VM's structures */
	FRAME_TABLE,    /* a VM's page tables */
	FRAME_RAM,      /* a VM's memory */
	FRAME_KINDS
};

#define FRAME_NONE UINT32_MAX /* no frame number */

struct frame {
	union {
		struct {
			uint32_t next, prev; /* frame numbers on the free list */
		};
		struct {
			uint32_t payer; /* frame number of the paying VM's structure */
			uint32_t refs;  /* FRAME_RAM, atomic: leaves that map it */
		};
	};
	union {
		struct {
			uint8_t kind, order;
			uint16_t reserved;
			uint32_t
				writers; /* FRAME_RAM, atomic: others that write it: windows, pins,
					    the hypervisor. While there are any, a fork copies it */
		};
		uint64_t shape; /* all of these at one look */
	};
};
static_assert(sizeof(struct frame) == 16, "64 MiB of records for 16 GiB of RAM");

#define FRAME_SHAPE(kind, order) ((kind) | (uint64_t)(order) << 8)

extern uintptr_t frame_records; /* where the record of HPA 0 would be */

/* `records` is frame_records, of which a loop may have a copy in a register. */
static inline struct frame *frame_in(uintptr_t records, uint64_t ppn)
{
	return (struct frame *)(records + ppn * sizeof(struct frame));
}

static inline struct frame *frame_of(hpa_t a)
{
	return frame_in(frame_records, a.v >> PAGE_SHIFT);
}

/* Of the block at `a`: when another VM has split it just now, all parts are to be seen. */
static inline unsigned frame_order(hpa_t a)
{
	return __atomic_load_n(&frame_of(a)->order, __ATOMIC_ACQUIRE);
}

struct frame_stats {
	uint64_t frames[FRAME_KINDS]; /* 4 KiB frames by kind; FRAME_TAIL stays 0 */
};

/* `table` (a record for each frame, zeroed) will describe [base, base + size), both page aligned.
 * Boot only. */
void frames_init(struct frame *table, hpa_t base, uint64_t size);

/* Declares page-aligned [base, base + size) to be of `kind`; each frame must be declared exactly
 * once, before the first allocation. Boot only. */
void frames_declare(hpa_t base, uint64_t size, enum frame_kind kind);

/* Takes a block of 2^order frames, payer `payer` (0 for FRAME_HV). O(FRAME_MAX_ORDER). E_NOMEM when
 * no block is large enough. */
enum err must_check frame_alloc(unsigned order, enum frame_kind kind, uint32_t payer, hpa_t *out);

/* Looks for the highest run of `size` free bytes, below `*at` if that is not 0, that starts at a
 * multiple of 2 MiB. True: `*at` is where, or 0. False: it
 * has looked in some places; again with `*at`. */
bool must_check frame_find_run(hpa_t *at, uint64_t size);

/* Takes the contiguous run of `size` bytes at page-aligned `at` as blocks of FRAME_RAM, as large as
 * they can be: who maps them splits them. O(FRAME_MAX_ORDER + size / 1 GiB). E_NOMEM: it is not
 * free. */
enum err must_check frame_alloc_run(hpa_t at, uint64_t size, uint32_t payer);

/* Gives back the block whose head is at `a`. O(FRAME_MAX_ORDER). */
void frame_free(hpa_t a);

/* Breaks the charged block at `a`, if it is larger, into blocks of `order`, each with the same
 * payer, kind, and references. O(number of new blocks). */
void frame_split(hpa_t a, unsigned order);

unsigned must_check frame_ref_blocks(struct frame *f, unsigned order); /* the rest of frame_ref */

/* One more leaf of 2^order frames maps the RAM that `f` is the first record of. Returns how many
 * blocks they are; 0, and nothing is done, when somebody else writes one. The caller holds a leaf
 * that maps it already, so that it stays. Inline: it is done for each leaf of a fork. */
static inline unsigned must_check frame_ref(struct frame *f, unsigned order)
{
	/* A larger block is safe from being split by another that maps it only with the lock, or if
	 * there is no other. That first: who has split it and left its head is seen to have split
	 * it. */
	if (unlikely((order != ORDER_4K && __atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) != 1) ||
		     f->shape != FRAME_SHAPE(FRAME_RAM, order)))
		return frame_ref_blocks(f, order);
	__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
	return 1;
}

/* The same for a window that opens: one more leaf, and one more writer. When it closes the writer
 * is no more; its leaf still is. */
void frame_window(hpa_t a, unsigned order, bool opens);

/* Somebody writes the block that `a` lies in, as long as it lives. */
void frame_pin(hpa_t a);

/* One leaf less maps the block at `a`. With `heir`, a block that `from` pays and others map is the
 * heir's to pay from now on. Returns the record as it was, but with the references that are left:
 * with none, the block is the caller's to free. */
struct frame must_check frame_leave(hpa_t a, uint32_t from, uint32_t heir);

/* [a, a + 2^order) is one block that only one leaf maps. Stays so as long as the caller keeps that
 * leaf from being shared. */
bool must_check frame_sole(hpa_t a, unsigned order);

/* The frame number of `a`, and back: these are what struct frame's links and payers hold. Aligned
 * as `a` is, up to FRAME_MAX_ORDER. Never 0, since 0 as payer means nobody. */
uint32_t frame_number(hpa_t a);
hpa_t frame_hpa(uint32_t number);

/* [a, a + size) is whole frames, all of which have records. */
bool frame_in_table(hpa_t a, uint64_t size);

/* Free 4 KiB frames right now. */
uint64_t frames_free(void);

/* Walks every head and checks invariants 1 to 4; fills `*stats`. False when one does not hold.
 * O(blocks). */
bool must_check frames_audit(struct frame_stats *stats);
