/* SPDX-License-Identifier: MIT */
/*
 * If this fails: an emulated register is reached through page tables that do not allow it, or is
 * not reached through those that do, whatever mode accesses it, however large the leaf is, and
 * wherever the instruction lies: the hypervisor reads that as the guest, not as itself.
 */
#include "access.h"

#define DEVICE  (100ul << 30) /* the UART's page, by a leaf of 4 KiB */
#define LARGE   (101ul << 30) /* the PLIC, by superpages */
#define CODE    (102ul << 30) /* two pages of code, not neighbours in memory */
#define SCRATCH 7             /* the UART's register without a meaning */
#define RW      (PTE_V | PTE_R | PTE_W | PTE_A | PTE_D)
#define XONLY   (PTE_V | PTE_X | PTE_A)

#define LBU    0x0005c503u /* lbu a0, 0(a1) */
#define SB     0x00c58023u /* sb a2, 0(a1) */
#define LW     0x0005a503u /* lw a0, 0(a1) */
#define C_LW   0x4188u     /* c.lw a0, 0(a1) */
#define C_EBRK 0x9002u

static uint64_t *root, code_pages[2];

/* At `offset` in the two pages of code: an instruction of `length` bytes, and a breakpoint. */
static void put_code(uint64_t offset, uint32_t insn, unsigned length)
{
	for (unsigned i = 0; i < length + 2; i += 2) {
		uint64_t at = offset + i;
		uint16_t half = (uint16_t)(i < length ? insn >> 8 * i : C_EBRK);

		*(volatile uint16_t *)(code_pages[at / PAGE] + at % PAGE) = half;
	}
	fence_i();
}

static void map_code(uint64_t flags, uint64_t second)
{
	pt_map(root, CODE, code_pages[0], flags);
	pt_map(root, CODE + PAGE, code_pages[1], second);
	sfence();
}

/* The cause; a breakpoint if the access was made. */
static uint64_t run(uint64_t offset, bool user, uint64_t at, uint64_t value, uint64_t *loaded)
{
	struct hart *h = this_hart();

	h->x[10] = 0;
	h->x[11] = at;
	h->x[12] = value;
	struct trap t = run_code(h, CODE + offset, user);

	*loaded = h->x[10];
	if (t.cause != ACCESS_DONE && t.cause != INSN_PAGE && t.tval != at)
		check_eq("stval is the address", t.tval, at);
	return t.cause;
}

/* Stores a byte into the UART's scratch register, and loads it again. */
static void check_works(const char *name, uint64_t offset, bool user, uint64_t value)
{
	uint64_t loaded = 0, ignored;

	put_code(offset, SB, 4);
	check_eq(name, run(offset, user, DEVICE + SCRATCH, value, &ignored), ACCESS_DONE);
	put_code(offset, LBU, 4);
	check_eq(name, run(offset, user, DEVICE + SCRATCH, 0, &loaded), ACCESS_DONE);
	check_eq(name, loaded, value);
}

static void check_faults(const char *name, bool user, uint64_t load, uint64_t store)
{
	uint64_t loaded;

	sfence();
	put_code(0, LBU, 4);
	check_eq(name, run(0, user, DEVICE + SCRATCH, 0, &loaded), load);
	put_code(0, SB, 4);
	check_eq(name, run(0, user, DEVICE + SCRATCH, 0x11, &loaded), store);
}

static void test_modes(void)
{
	uint64_t user_code = XONLY | PTE_U;

	map_code(XONLY, XONLY);
	pt_map(root, DEVICE, m.uart, RW);
	check_works("S-mode", 0, false, 0x21);
	pt_map(root, DEVICE, m.uart, RW | PTE_U);
	check_faults("S-mode, a user's page", false, LOAD_PAGE, STORE_PAGE);
	csr_set(sstatus, SSTATUS_SUM);
	check_works("S-mode with SUM, a user's page", 0, false, 0x22);
	csr_clear(sstatus, SSTATUS_SUM);
	map_code(user_code, user_code);
	check_works("U-mode", 0, true, 0x23);
	pt_map(root, DEVICE, m.uart, RW);
	check_faults("U-mode, not a user's page", true, LOAD_PAGE, STORE_PAGE);
}

static void test_rights(void)
{
	uint64_t loaded;

	map_code(XONLY, XONLY);
	pt_map(root, DEVICE, m.uart, RW & ~PTE_W);
	check_faults("read-only", false, ACCESS_DONE, STORE_PAGE);
	pt_map(root, DEVICE, m.uart, RW & ~PTE_D);
	check_faults("without D", false, ACCESS_DONE, STORE_PAGE);
	pt_map(root, DEVICE, m.uart, RW & ~PTE_A);
	check_faults("without A", false, LOAD_PAGE, STORE_PAGE);
	pt_map(root, DEVICE, m.uart, XONLY);
	check_faults("execute-only", false, LOAD_PAGE, STORE_PAGE);
	csr_set(sstatus, SSTATUS_MXR);
	put_code(0, LBU, 4);
	check_eq("execute-only with MXR", run(0, false, DEVICE + SCRATCH, 0, &loaded), ACCESS_DONE);
	csr_clear(sstatus, SSTATUS_MXR);
	pt_map(root, DEVICE, m.uart, PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D);
	sfence();
	check_eq("fetch", run_code(this_hart(), DEVICE, false).cause, INSN_ACCESS);
}

/* The instruction's two halves lie on different pages, whose rights are different ones. */
static void test_across(void)
{
	const uint64_t offset = PAGE - 2;
	uint64_t loaded;

	pt_map(root, DEVICE, m.uart, RW | PTE_U);
	map_code(XONLY | PTE_U, XONLY | PTE_U);
	check_works("an instruction across pages", offset, true, 0x31);
	map_code(XONLY | PTE_U | PTE_R, XONLY | PTE_U);
	check_works("an instruction across pages", offset, true, 0x32);
	map_code(XONLY | PTE_U, XONLY);
	check_eq("its second half is S-mode's", run(offset, true, DEVICE + SCRATCH, 0x33, &loaded),
		INSN_PAGE);
	pt_map(root, DEVICE, m.uart, RW);
}

/* Where a leaf has 2 MiB or 1 GiB, and by an instruction of two bytes. */
static void test_large(void)
{
	const uint64_t source = 4 * 3, plic = m.plic & (MIB(2) - 1),
		       in_gib = m.plic & (MIB(1024) - 1);
	uint64_t loaded;

	map_code(XONLY, XONLY);
	*pt_entry(root, LARGE, 1) = pte_for(m.plic & -MIB(2), RW);
	*pt_entry(root, LARGE + MIB(2048), 2) = pte_for(m.plic & -MIB(1024), RW);
	sfence();
	for (uint32_t v = 1; v < 4; v++) {
		*(volatile uint32_t *)(LARGE + plic + source) = v;
		put_code(2, C_LW, 2);
		check_eq("c.lw", run(2, false, LARGE + MIB(2048) + in_gib + source, 0, &loaded),
			ACCESS_DONE);
		check_eq("what was stored by the other leaf", loaded, v);
		put_code(6, LW, 4);
		check_eq("lw", run(6, false, LARGE + plic + source, 0, &loaded), ACCESS_DONE);
		check_eq("what was stored", loaded, v);
	}
	*(volatile uint32_t *)(LARGE + plic + source) = 0;
}

/* What is mapped there changes: a device, a page of RAM, a device. */
static void test_changes(void)
{
	uint64_t page = (uintptr_t)page_alloc(1), loaded;

	map_code(XONLY, XONLY);
	for (unsigned i = 0; i < 4; i++) {
		uint8_t value = (uint8_t)(0x40 + i);

		pt_map(root, DEVICE, i & 1 ? page : m.uart, RW);
		sfence();
		check_works("a page that changes", 8, false, value);
	}
	pt_map(root, DEVICE, m.uart, RW);
	sfence();
	put_code(0, LBU, 4);
	check_eq("the register", run(0, false, DEVICE + SCRATCH, 0, &loaded), ACCESS_DONE);
	check_eq("has kept what it had", loaded, 0x42);
	check_eq("so has the page", *(volatile uint8_t *)(page + SCRATCH), 0x43);
}

static void test_all(void)
{
	root = pt_new();
	code_pages[0] = (uintptr_t)page_alloc(3);
	code_pages[1] = code_pages[0] + 2 * PAGE;
	csr_write(satp, satp_for(root, 2));
	sfence();
	test_modes();
	test_rights();
	test_across();
	test_large();
	test_changes();
	csr_write(satp, 0);
	sfence();
}

void guest_main(void)
{
	everywhere(test_all);
}
