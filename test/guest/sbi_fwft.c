/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a guest cannot choose who updates A and D bits, or is told so and it does not
 * happen: pages are lost, since a kernel that counts on faults does not see that they were written.
 */
#include "guest.h"

#define MISALIGNED 0ul
#define AD_UPDATE  4ul
#define LOCK       1ul
#define VA         (200ul << 30)
#define RW         (PTE_V | PTE_R | PTE_W)

static struct sbiret set(uint64_t feature, uint64_t value, uint64_t flags)
{
	return sbi(EID_FWFT, 0, feature, value, flags, 0, 0);
}

static struct sbiret get(uint64_t feature)
{
	return sbi(EID_FWFT, 1, feature, 0, 0, 0, 0);
}

static void test_features(void)
{
	static const uint64_t absent[] = {1, 2, 3, 5};
	static const uint64_t reserved[] = {6, 7, 0x1000, 0x3fffffff, 0x40000000, 0x7fffffff,
		0x80000000, 0xbfffffff, 0xc0000000, 0xffffffff};

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		check_eq_at("get, not there", absent[i], (uint64_t)get(absent[i]).error,
			SBI_NOT_SUPPORTED);
		check_eq_at("set, not there", absent[i], (uint64_t)set(absent[i], 0, 0).error,
			SBI_NOT_SUPPORTED);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
		check_eq_at(
			"get, reserved", reserved[i], (uint64_t)get(reserved[i]).error, SBI_DENIED);
		check_eq_at("set, reserved", reserved[i], (uint64_t)set(reserved[i], 0, 0).error,
			SBI_DENIED);
	}
	check_err("misaligned: get", get(MISALIGNED), SBI_SUCCESS);
	check_eq("misaligned: delegated", get(MISALIGNED).value, 1);
	check_err("misaligned: set what it is", set(MISALIGNED, 1, 0), SBI_SUCCESS);
	check_err("misaligned: value 2", set(MISALIGNED, 2, 0), SBI_INVALID_PARAM);
	check_err("misaligned: flags", set(MISALIGNED, 1, 2), SBI_INVALID_PARAM);
}

static uint64_t *root, *pte;

/* Outcomes of a load with A = 0 and of a store with D = 0. */
static void try_access(uint64_t *load, uint64_t *store, uint64_t *bits)
{
	csr_write(satp, satp_for(root, 3));
	*pte = pte_for(m.ram_base, RW);
	sfence();
	*load = outcome(try_load(VA, 8));
	*pte = pte_for(m.ram_base, RW | PTE_A);
	sfence();
	*store = outcome(try_store(VA, 4, *(volatile uint32_t *)m.ram_base));
	*bits = *pte & (PTE_A | PTE_D);
	csr_write(satp, 0);
	sfence();
}

static void check_updates(const char *name, bool on)
{
	uint64_t load, store, bits;

	try_access(&load, &store, &bits);
	say("# %s", name);
	check_eq("load with A = 0", load, on ? NO_TRAP : TRAP(LOAD_PAGE));
	check_eq("store with D = 0", store, on ? NO_TRAP : TRAP(STORE_PAGE));
	check_eq("A and D afterwards", bits, on ? PTE_A | PTE_D : PTE_A);
}

static volatile uint64_t other[3];

static void on_other(struct hart *h)
{
	(void)h;
	other[0] = get(AD_UPDATE).value;
	other[1] = (uint64_t)set(AD_UPDATE, 1, LOCK).error;
	other[2] = (uint64_t)set(AD_UPDATE, 0, 0).error;
}

static void test_ad(void)
{
	check_eq("off at the start", get(AD_UPDATE).value, 0);
	check_updates("off", false);
	check_err("value 2", set(AD_UPDATE, 2, 0), SBI_INVALID_PARAM);
	check_err("value -1", set(AD_UPDATE, ~0ul, 0), SBI_INVALID_PARAM);
	check_err("flag 2", set(AD_UPDATE, 1, 2), SBI_INVALID_PARAM);
	check_err("flag 2^63", set(AD_UPDATE, 1, 1ul << 63), SBI_INVALID_PARAM);
	check_eq("errors change nothing", get(AD_UPDATE).value, 0);
	check_err("on", set(AD_UPDATE, 1, 0), SBI_SUCCESS);
	check_eq("is on", get(AD_UPDATE).value, 1);
	check_updates("on", true);
	spin_for(m.hz / 20);
	sbi_set_timer(now() + m.hz / 100);
	csr_write(sie, BIT(IRQ_TIMER));
	__asm__ volatile("wfi");
	csr_write(sie, 0);
	check_updates("still on, after others ran", true);
	check_err("off again", set(AD_UPDATE, 0, 0), SBI_SUCCESS);
	check_updates("off again", false);
	for (unsigned i = 1; i < 3 && m.nharts > 1; i++) {
		set(AD_UPDATE, 1, 0);
		hart_start(1, on_other);
		hart_wait(1);
		check_eq("each hart has its own, and starts with it off", other[0], 0);
		check_eq("lock, on a hart that had it locked before its restart", other[1], 0);
		check_eq("locked", other[2], (uint64_t)SBI_DENIED_LOCKED);
	}
	check_err("on and locked", set(AD_UPDATE, 1, LOCK), SBI_SUCCESS);
	check_err("locked: off", set(AD_UPDATE, 0, 0), SBI_DENIED_LOCKED);
	check_err("locked: on", set(AD_UPDATE, 1, LOCK), SBI_DENIED_LOCKED);
	check_eq("locked: is on", get(AD_UPDATE).value, 1);
	check_updates("locked on", true);
	check_err("misaligned is not locked by it", set(MISALIGNED, 1, 0), SBI_SUCCESS);
}

void guest_main(void)
{
	root = pt_new();
	pte = pt_entry(root, VA, 0);
	test_features();
	if (isa_listed("svadu")) {
		check("with Svadu, Svade is listed too", isa_listed("svade"));
		test_ad();
		return;
	}
	skip("A/D updating", "no Svadu");
	check_err("get, no Svadu", get(AD_UPDATE), SBI_NOT_SUPPORTED);
	check_err("set, no Svadu", set(AD_UPDATE, 1, 0), SBI_NOT_SUPPORTED);
	if (isa_listed("svade"))
		check_updates("Svade", false);
}
