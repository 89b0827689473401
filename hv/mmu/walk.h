/* SPDX-License-Identifier: MIT */
/*
 * A guest's own page tables, walked in software as a hart with Svade does (Privileged ISA 12.3.2,
 * 12.4 to 12.6; Svpbmt, no Svnapot): where there is no H extension whose hardware would. Portable.
 * Entries are read atomically, and need no lock.
 */
#pragma once

#include "mmu/gstage.h"

/* What is accessed how: one of the first three, and the mode. SUM, MXR and PBMT are bits that the
 * CSR and the entry have at the same place. */
#define WALK_READ    GSTAGE_R
#define WALK_WRITE   GSTAGE_W
#define WALK_EXECUTE GSTAGE_X
#define WALK_USER    BIT(4)
#define WALK_SUM     BIT(18)
#define WALK_MXR     BIT(19)
#define WALK_PBMT    (BIT(61) | BIT(62)) /* the guest's harts have Svpbmt, menvcfg.PBMTE is set */

#define WALK_LEVELS 5 /* Sv57 */

#define SATP_OF(levels)   (((levels) + UINT64_C(5)) << 60)
#define SATP_MODE(satp)   ((satp) >> 60)
#define SATP_ASID(satp)   ((satp) >> 44 & 0xffff)
#define SATP_PPN(satp)    ((satp) & (BIT(44) - 1))
#define SATP_LEVELS(satp) ((unsigned)SATP_MODE(satp) - 5) /* 8, 9, 10: Sv39, Sv48, Sv57 */

struct walk {
	gpa_t gpa;      /* of the address itself */
	unsigned level; /* of the guest's leaf; WALK_LEVELS without translation */
	uint64_t pte;   /* the leaf; without translation one that would allow all */
	/* By level, those that were walked through: where a table is in the hypervisor's memory
	 * (valid until the VM's map changes), and which of its entries led on. */
	const uint64_t *tables[WALK_LEVELS];
	uint64_t ptes[WALK_LEVELS];
};

/*
 * Translates `at` for an access `how`. `satp` has a mode that the guest may have. Errors: E_FAULT
 * the guest gets a page fault; E_DENIED it gets an access fault: a table lies where there is no
 * memory to be read; E_STATE another PCPU is just replacing a table's page: execute the instruction
 * again. RAM that is not there yet reads as zeros.
 */
enum err must_check guest_walk(
	const struct vm *vm, uint64_t satp, gva_t at, uint64_t how, struct walk *w);

static inline bool gva_is_canonical(gva_t at, unsigned levels)
{
	int64_t rest = (int64_t)at.v >> (PAGE_SHIFT + 9 * levels - 1);

	return rest == 0 || rest == -1;
}

static inline unsigned gva_index(gva_t at, unsigned level)
{
	return at.v >> (PAGE_SHIFT + 9 * level) & 511;
}
