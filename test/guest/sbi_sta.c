/* SPDX-License-Identifier: MIT */
/*
 * If this fails: steal time is written where it may not be, or the structure is not what the guest
 * expects. That it grows when it should is tested in sched.c.
 */
#include "family.h"

static struct sbiret set(uint64_t lo, uint64_t hi, uint64_t flags)
{
	return sbi(EID_STA, 0, lo, hi, flags, 0, 0);
}

/* --- a page that a fork shares is made the VM's own --- */

static uint8_t shared[PAGE] __attribute__((aligned(PAGE)));

static void set_in_child(uint64_t arg)
{
	(void)arg;
	bool good = set((uintptr_t)shared, 0, 0).error == SBI_SUCCESS;

	dx_exit(good && shared[8] == 0 && shared[64] == 0x5a ? 7 : 8);
}

static void test_shared(void)
{
	memset(shared, 0x5a, PAGE);
	dx_end_is("set on a page that is shared since a fork", dx_spawn(set_in_child, 0), 7);
	check("the other side's page stays", shared[0] == 0x5a && shared[8] == 0x5a);
}

void guest_main(void)
{
	uint8_t *page = page_alloc(1), any = 0;
	const uint64_t good = (uintptr_t)page, end = m.ram_base + m.ram_size;
	const uint64_t bad[] = {0, 0x1000, 0x2000000, m.uart & ~63ul, m.plic, vmgenid_place(),
		0x80000000, m.ram_base - 64, end, 1ul << 41, 1ul << 41 | good, 1ul << 63 | good,
		-64ul};

	memset(page, 0xa5, PAGE);
	check_err("flags", set(good, 0, 1), SBI_INVALID_PARAM);
	check_err("all flags", set(good, 0, ~0ul), SBI_INVALID_PARAM);
	for (uint64_t i = 1; i < 64; i *= 2)
		check_eq_at(
			"misaligned", i, (uint64_t)set(good + i, 0, 0).error, SBI_INVALID_PARAM);
	check_err("upper half 1", set(good, 1, 0), SBI_INVALID_ADDRESS);
	check_err("upper half -1", set(good, ~0ul, 0), SBI_INVALID_ADDRESS);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_eq_at(
			"not RAM", bad[i], (uint64_t)set(bad[i], 0, 0).error, SBI_INVALID_ADDRESS);
	check("errors write nothing", page[0] == 0xa5 && page[63] == 0xa5);
	check_err("set", set(good + 64, 0, 0), SBI_SUCCESS);
	for (unsigned i = 0; i < 64; i++)
		any |= page[64 + i];
	/* Somebody may have taken the PCPU since: then there is steal time. */
	if (m.nharts == 1)
		check_eq("zeroed", any, 0);
	check("nothing beside it", page[63] == 0xa5 && page[128] == 0xa5);
	check_err("last 64 bytes of RAM", set(end - 64, 0, 0), SBI_SUCCESS);
	check_err("off", set(~0ul, ~0ul, 0), SBI_SUCCESS);
	check_err("off twice", set(~0ul, ~0ul, 0), SBI_SUCCESS);
	check_err("off with flags", set(~0ul, ~0ul, 1), SBI_INVALID_PARAM);
	memset(page, 0x77, PAGE);
	spin_for(m.hz / 50);
	check("off: nothing is written", page[64] == 0x77 && page[72] == 0x77);
	/* The Root VM was copied; what its child forks is shared. */
	dx_run(test_shared);
}
