/* SPDX-License-Identifier: MIT */
/*
 * If this fails: satp or sfence.vma does not do its work with some register or in some form of
 * instruction, or loses a register; a write of a mode that there is not has an effect; or Sv48 and
 * Sv57, where they are listed, do not work.
 *
 * It runs on plain hardware as well.
 */
#include "look.h"

#define VA   (100ul << 30)
#define ASID 5ul

static uint64_t *root;

/* --- all registers --- */

static struct trap run_insn(uint32_t insn)
{
	static uint32_t code[2] __attribute__((aligned(64)));

	if (code[0] != insn) {
		code[0] = insn;
		code[1] = 0x00100073; /* ebreak */
		fence_i();
	}
	return run_code(this_hart(), (uintptr_t)code, false);
}

static void must_run(uint32_t insn)
{
	struct trap t = run_insn(insn);

	if (t.cause != BREAKPOINT)
		check_eq_at("instruction", insn, t.cause, BREAKPOINT);
}

#define SFENCE_VMA(rs1, rs2)  (0x12000073u | (uint32_t)(rs1) << 15 | (uint32_t)(rs2) << 20)
#define SATP(funct3, rd, rs1) (0x18000073u | (funct3) << 12 | (uint32_t)(rd) << 7 | (rs1) << 15)
enum { CSRRW = 1, CSRRS, CSRRC, CSRRWI = 5, CSRRSI, CSRRCI };

static void poison(struct hart *h)
{
	for (unsigned i = 1; i < 32; i++)
		h->x[i] = 0x5000000000000000ul + i;
}

/* Each register as rs1 and as rs2; x0 means all. */
static void test_sfence_registers(void)
{
	struct hart *h = this_hart();
	uint64_t *pte = pt_entry(root, VA, 0), bad = 0;

	for (unsigned r = 0; r < 64; r++) {
		poison(h);
		h->x[r & 31] = r < 32 ? VA : ASID;
		look(VA);
		*(volatile uint64_t *)pte = pte_for(frame_of(r % 8), RW);
		must_run(r < 32 ? SFENCE_VMA(r, 0) : SFENCE_VMA(0, r - 32));
		bad |= (uint64_t)(look(VA) != r % 8) << r;
	}
	check_eq("sfence.vma with each register", bad, 0);
	*pte = 0;
	sfence();
}

/* Sets satp to `to` by `insn`, whose source is register rs and destination rd. */
static bool satp_by(uint32_t funct3, unsigned rd, unsigned rs, uint64_t operand, uint64_t to)
{
	struct hart *h = this_hart();
	uint64_t old = csr_read(satp), sum = 0;

	poison(h);
	if (funct3 < CSRRWI)
		h->x[rs] = operand;
	must_run(SATP(funct3, rd, rs));
	sum = csr_read(satp) ^ to;
	for (unsigned i = 1; i < 32; i++) {
		uint64_t was = i == rs && funct3 < CSRRWI ? operand : 0x5000000000000000ul + i;

		sum |= h->x[i] ^ (i == rd ? old : was);
	}
	return sum == 0;
}

/* 32 roots, one behind the other, so that the low bits of satp choose one. */
static void test_satp_registers(void)
{
	uint64_t *roots = (uint64_t *)(((uintptr_t)page_alloc(64) + 32 * PAGE - 1) & -(32 * PAGE));
	uint64_t first = satp_for(roots, ASID), home = csr_read(satp), bad = 0, leaf;

	for (unsigned i = 0; i < 32; i++) {
		memcpy(roots + 512 * i, root, PAGE);
		roots[512 * i + (VA >> 30)] = 0;
		pt_map(roots + 512 * i, VA, frame_of(i % 8), RW | PTE_U);
	}
	leaf = *pt_entry(roots, VA, 0);
	csr_set(sstatus, SSTATUS_SUM);
	for (unsigned r = 1; r < 32; r++) {
		unsigned rd = (r * 7) & 31;
		bool good = satp_by(CSRRW, rd, r, first + r, first + r);

		sfence();
		good &= look(VA) == r % 8;
		good &= satp_by(CSRRC, r, r, 31, first) && satp_by(CSRRS, rd, r, r, first + r);
		sfence();
		good &= look(VA) == r % 8;
		good &= satp_by(CSRRCI, rd, 31, 0, first) && satp_by(CSRRSI, 0, r, 0, first + r);
		sfence();
		good &= look(VA) == r % 8;
		good &= satp_by(CSRRS, rd, 0, 0, first + r) && satp_by(CSRRCI, r, 0, 0, first + r);
		bad |= (uint64_t)!good << r;
	}
	check_eq("satp by each register", bad, 0);
	check("satp = 0 by an immediate", satp_by(CSRRWI, 2, 0, 0, 0));
	check("satp by csrrs from 0", satp_by(CSRRS, 2, 2, first, first));
	check("satp by csrrw x0", satp_by(CSRRW, 0, 2, home, home));
	sfence();
	csr_clear(sstatus, SSTATUS_SUM);
	check_eq("the entries stay as they were", *pt_entry(roots, VA, 0), leaf);
}

/* --- modes --- */

static bool mode_listed(uint64_t mode)
{
	return mode == 0 || mode == 8 || (mode == 9 && strcmp(m.mmu, "riscv,sv39")) ||
	       (mode == 10 && !strcmp(m.mmu, "riscv,sv57"));
}

/* A mode that there is not: the write has no effect at all. */
static void test_modes(void)
{
	uint64_t home = csr_read(satp), *other = pt_new();

	pt_map(root, VA, frame_of(3), RW);
	pt_map(other, VA, frame_of(4), RW);
	sfence();
	for (uint64_t mode = 1; mode < 16; mode++) {
		if (mode_listed(mode))
			continue;
		csr_write(satp, mode << 60 | 9ul << 44 | (uintptr_t)other >> 12);
		check_eq_at("satp as it was: mode", mode, csr_read(satp), home);
		sfence();
		check_eq_at("the same tables: mode", mode, look(VA), 3);
	}
	csr_write(satp, home | 0xfffful << 44);
	uint64_t bits = csr_read(satp) >> 44 & 0xffff;

	check_eq("ASIDs have all lower bits", bits & (bits + 1), 0);
	csr_write(satp, home);
	sfence();
}

/* Sv48 and Sv57: as many levels above the Sv39 root. */
static void test_larger(void)
{
	uint64_t home = csr_read(satp), *top = root;

	for (uint64_t mode = 9; mode <= 10 && mode_listed(mode); mode++) {
		uint64_t *above = page_alloc(1), far = 3ul << (mode == 9 ? 39 : 48);

		above[0] = above[3] = pte_for((uintptr_t)top, PTE_V);
		top = above;
		csr_write(satp, mode << 60 | ASID << 44 | (uintptr_t)top >> 12);
		sfence();
		check_eq_at("satp in mode", mode, csr_read(satp) >> 60, mode);
		pt_map(root, VA, frame_of(5), RW);
		sfence();
		check_eq("through all levels", look(far + VA), 5);
		check_eq("and through the lowest", look(VA), 5);
		pt_map(root, VA, frame_of(6), RW);
		__asm__ volatile("sfence.vma %0" ::"r"(far + VA) : "memory");
		check_eq("changed", look(far + VA), 6);
		above[3] = 0;
		sfence();
		check_eq("cut off at the top", look(far + VA), FAULT);
		csr_write(satp, home);
		sfence();
		check_eq("back in Sv39", look(VA), 6);
	}
	check_eq("Sv39 has no such address", look(VA + (3ul << 39)), FAULT);
}

static void test_all(void)
{
	root = pt_new();
	csr_write(satp, satp_for(root, ASID));
	sfence();
	test_sfence_registers();
	test_satp_registers();
	test_modes();
	test_larger();
	csr_write(satp, 0);
}

void guest_main(void)
{
	everywhere(test_all);
}
