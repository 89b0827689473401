/* SPDX-License-Identifier: MIT */
/*
 * Shadow tables: see shadow_model.h. If this fails, a guest sees a translation that its tables do
 * not give (any more), loses one that they do, gets the wrong fault or none, never goes on, or
 * reaches memory that is not its own.
 *
 * Includes the sources, so that another PCPU can change entries between two reads of them.
 */
#include "unit.h"
#include "arch.h"
#include "core/vm.h"

static uint64_t load_entry(const uint64_t *pte);

#define __atomic_load_n(pte, order) load_entry(pte)
#include "mmu/tables.h"
#undef __atomic_load_n
#include "mmu/walk.c"
#include "mmu/shadow.c"

#include "shadow_model.h"

static uint64_t seed = 1;

static uint64_t pick(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 20) % n;
}

static bool busy_world;

static uint64_t load_entry(const uint64_t *pte)
{
	if (busy_world && elsewhere && pick(8) == 0) {
		if (pick(4))
			edit();
		else
			break_begin();
	}
	return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

static void random_walk(void **state)
{
	for (unsigned round = 0; round < 300; round++) {
		seed = round;
		busy_world = round & 1;
		new_guest(3 + round % 3, round % 5 ? UINT64_MAX >> 2 : pick(60), round & 2);
		for (unsigned i = 0; i < 3000; i++) {
			step();
			if (i % 16 == 0) {
				obey();
				audit();
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
