/* SPDX-License-Identifier: MIT */
/*
 * Charging up the tree, against a reference that adds everything up anew. If this fails, a VM takes
 * what its ancestors were not asked for, or something charged is never given back.
 *
 * Includes the source: a call that ends in bug() leaves its lock taken.
 */
#include "unit.h"
#include "core/quota.c"

#define TREE 40

static struct quota q[TREE];

static void set_up(struct quota *at, struct quota *parent, uint64_t limit)
{
	const uint64_t limits[RES_COUNT] = {limit, limit, limit};

	quota_init(at, parent, limits, 3, 7);
}

/* q[0] <- q[1] <- q[2] */
static void chain(uint64_t l0, uint64_t l1, uint64_t l2)
{
	set_up(&q[0], NULL, l0);
	set_up(&q[1], &q[0], l1);
	set_up(&q[2], &q[1], l2);
}

static void assert_used(uint64_t u0, uint64_t u1, uint64_t u2)
{
	assert_int_equal(q[0].used[RES_PAGES], u0);
	assert_int_equal(q[1].used[RES_PAGES], u1);
	assert_int_equal(q[2].used[RES_PAGES], u2);
	assert_false(spin_is_locked(&quota_lock));
}

static enum err charge(unsigned i, uint64_t n)
{
	return quota_charge(&q[i], RES_PAGES, n);
}

static void a_new_one_uses_nothing(void **state)
{
	const uint64_t limits[RES_COUNT] = {5, 6, 7};

	memset(&q[1], 0xff, sizeof(q[1]));
	quota_init(&q[1], &q[0], limits, 4, 9);
	for (unsigned r = 0; r < RES_COUNT; r++)
		assert_true(q[1].limit[r] == limits[r] && q[1].used[r] == 0 && q[1].own[r] == 0);
	assert_ptr_equal(q[1].parent, &q[0]);
	assert_int_equal(q[1].max_priority, 4);
	assert_int_equal(q[1].max_depth, 9);
}

static void a_charge_goes_to_all_ancestors(void **state)
{
	chain(100, 50, 20);
	assert_int_equal(charge(2, 5), OK);
	assert_used(5, 5, 5);
	assert_int_equal(charge(1, 7), OK);
	assert_used(12, 12, 5);
	assert_int_equal(charge(0, 1), OK);
	assert_used(13, 12, 5);
	assert_true(
		q[0].own[RES_PAGES] == 1 && q[1].own[RES_PAGES] == 7 && q[2].own[RES_PAGES] == 5);
	assert_int_equal(charge(2, 0), OK);
	assert_used(13, 12, 5);
	quota_release(&q[2], RES_PAGES, 5);
	assert_used(8, 7, 0);
	quota_release(&q[1], RES_PAGES, 3);
	quota_release(&q[1], RES_PAGES, 4);
	quota_release(&q[0], RES_PAGES, 1);
	quota_release(&q[0], RES_PAGES, 0);
	assert_used(0, 0, 0);
}

static void each_resource_by_itself(void **state)
{
	const uint64_t limits[RES_COUNT] = {3, 2, 1};

	quota_init(&q[0], NULL, limits, 0, 0);
	for (unsigned r = 0; r < RES_COUNT; r++) {
		assert_int_equal(quota_charge(&q[0], r, limits[r] + 1), E_QUOTA_OWN);
		assert_int_equal(quota_charge(&q[0], r, limits[r]), OK);
		assert_int_equal(quota_charge(&q[0], r, 1), E_QUOTA_OWN);
		for (unsigned o = r + 1; o < RES_COUNT; o++)
			assert_int_equal(q[0].used[o], 0);
	}
}

static void exactly_up_to_the_limit(void **state)
{
	chain(10, 10, 10);
	assert_int_equal(charge(2, 11), E_QUOTA_OWN);
	assert_used(0, 0, 0);
	assert_int_equal(charge(2, 10), OK);
	assert_int_equal(charge(2, 1), E_QUOTA_OWN);
	assert_int_equal(charge(2, 0), OK);
	assert_used(10, 10, 10);
	quota_release(&q[2], RES_PAGES, 1);
	assert_int_equal(charge(2, 2), E_QUOTA_OWN);
	assert_int_equal(charge(2, 1), OK);
	chain(0, 0, 0);
	assert_int_equal(charge(2, 0), OK);
	assert_int_equal(charge(2, 1), E_QUOTA_OWN);
}

/* Nothing is charged anywhere, whoever refuses; and who refuses above stays unknown. */
static void refused_by_any_ancestor(void **state)
{
	chain(4, 50, 50);
	assert_int_equal(charge(2, 5), E_QUOTA_ABOVE);
	assert_used(0, 0, 0);
	assert_int_equal(charge(1, 5), E_QUOTA_ABOVE);
	assert_int_equal(charge(0, 5), E_QUOTA_OWN);
	chain(50, 4, 50);
	assert_int_equal(charge(2, 5), E_QUOTA_ABOVE);
	assert_used(0, 0, 0);
	assert_int_equal(charge(1, 5), E_QUOTA_OWN);
	assert_int_equal(charge(0, 5), OK);
	chain(4, 4, 4);
	assert_int_equal(charge(2, 5), E_QUOTA_OWN); /* the own one is told first */
	assert_int_equal(charge(1, 3), OK);
	assert_int_equal(
		charge(2, 2), E_QUOTA_ABOVE); /* room of its own, but a sibling's use above */
	assert_used(3, 3, 0);
	assert_int_equal(charge(2, 1), OK);
}

static void sums_do_not_wrap(void **state)
{
	chain(UINT64_MAX, UINT64_MAX, UINT64_MAX);
	assert_int_equal(charge(2, UINT64_MAX), OK);
	assert_used(UINT64_MAX, UINT64_MAX, UINT64_MAX);
	assert_int_equal(charge(2, 1), E_QUOTA_OWN);
	assert_int_equal(charge(2, UINT64_MAX), E_QUOTA_OWN);
	quota_release(&q[2], RES_PAGES, UINT64_MAX);
	assert_used(0, 0, 0);
	chain(10, UINT64_MAX, UINT64_MAX);
	assert_int_equal(charge(1, 10), OK);
	assert_int_equal(charge(2, UINT64_MAX), E_QUOTA_ABOVE); /* 10 + that wraps to 9 */
	assert_int_equal(charge(2, UINT64_MAX - 9), E_QUOTA_ABOVE);
	assert_used(10, 10, 0);
}

static void children_may_be_promised_more_than_there_is(void **state)
{
	set_up(&q[0], NULL, 10);
	for (unsigned i = 1; i < 5; i++)
		set_up(&q[i], &q[0], 100);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(charge(i, 3), i < 4 ? OK : E_QUOTA_ABOVE);
	assert_int_equal(q[4].used[RES_PAGES], 0);
	quota_release(&q[1], RES_PAGES, 2);
	assert_int_equal(charge(4, 3), OK);
	assert_int_equal(q[0].used[RES_PAGES], 10);
}

static void limits_fall_to_use_and_no_further(void **state)
{
	chain(100, 50, 20);
	assert_int_equal(charge(2, 5), OK);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 51), E_RANGE);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, UINT64_MAX), E_RANGE);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 4), E_STATE);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 0), E_STATE);
	assert_int_equal(q[1].limit[RES_PAGES], 50);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 50), OK);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 5), OK);
	assert_int_equal(q[1].limit[RES_PAGES], 5);
	assert_int_equal(charge(2, 1), E_QUOTA_ABOVE);
	assert_int_equal(charge(1, 1), E_QUOTA_OWN);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 6), E_RANGE); /* never up again */
	quota_release(&q[2], RES_PAGES, 5);
	assert_int_equal(quota_lower(&q[1], RES_PAGES, 0), OK);
	assert_int_equal(quota_lower(&q[1], RES_VCPUS, 0), OK);
	assert_int_equal(q[1].limit[RES_VMS], 50);
	assert_false(spin_is_locked(&quota_lock));
}

static void giving_back_what_was_not_charged_is_a_bug(void **state)
{
	chain(100, 50, 20);
	assert_int_equal(charge(2, 5), OK);
	expect_bug(quota_release(&q[2], RES_PAGES, 6));
	quota_lock = (struct spinlock)SPINLOCK_INIT;
	expect_bug(quota_release(&q[1], RES_PAGES, 1)); /* used by its child, not by itself */
	quota_lock = (struct spinlock)SPINLOCK_INIT;
	expect_bug(quota_release(&q[2], RES_VCPUS, 1));
	quota_lock = (struct spinlock)SPINLOCK_INIT;
	assert_used(5, 5, 5);
	q[0].used[RES_PAGES] = 4; /* damaged */
	expect_bug(quota_release(&q[2], RES_PAGES, 5));
	quota_lock = (struct spinlock)SPINLOCK_INIT;
}

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

/* The model keeps what each has charged itself, and limits; everything else is summed up when
 * asked. */
static uint64_t model_own[TREE][RES_COUNT], model_limit[TREE][RES_COUNT];
static unsigned model_parent[TREE];

static bool is_below(unsigned i, unsigned ancestor)
{
	while (i != ancestor && i != 0)
		i = model_parent[i];
	return i == ancestor;
}

static uint64_t model_used(unsigned at, unsigned res)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < TREE; i++)
		if (is_below(i, at))
			sum += model_own[i][res];
	return sum;
}

static enum err model_charge(unsigned at, unsigned res, uint64_t n)
{
	for (unsigned i = at;; i = model_parent[i]) {
		if (model_used(i, res) + n > model_limit[i][res])
			return i == at ? E_QUOTA_OWN : E_QUOTA_ABOVE;
		if (i == 0)
			break;
	}
	model_own[at][res] += n;
	return OK;
}

static enum err model_lower(unsigned at, unsigned res, uint64_t n)
{
	if (n > model_limit[at][res])
		return E_RANGE;
	if (n < model_used(at, res))
		return E_STATE;
	model_limit[at][res] = n;
	return OK;
}

static void walk_start(void)
{
	memset(model_own, 0, sizeof(model_own));
	for (unsigned i = 0; i < TREE; i++) {
		model_parent[i] = i ? rnd(i) : 0;
		for (unsigned r = 0; r < RES_COUNT; r++)
			model_limit[i][r] = i ? rnd(2000) : 5000;
		quota_init(&q[i], i ? &q[model_parent[i]] : NULL, model_limit[i], 0, 0);
	}
}

static void walk_step(void)
{
	unsigned at = rnd(TREE), res = rnd(RES_COUNT);

	switch (rnd(8)) {
	case 0:
	case 1:
	case 2:
	case 3: {
		uint64_t n = rnd(100);

		assert_int_equal(quota_charge(&q[at], res, n), model_charge(at, res, n));
		break;
	}
	case 4:
	case 5:
	case 6: {
		uint64_t n = rnd((uint32_t)model_own[at][res] + 1);

		quota_release(&q[at], res, n);
		model_own[at][res] -= n;
		break;
	}
	default:
		if (rnd(10) == 0) {
			uint64_t n = rnd(2100);

			assert_int_equal(quota_lower(&q[at], res, n), model_lower(at, res, n));
		}
	}
}

/* used = own + the direct children's used; never above the limit; and what the model says. */
static void walk_check(void)
{
	for (unsigned r = 0; r < RES_COUNT; r++) {
		uint64_t below[TREE] = {0};

		for (unsigned i = TREE; i-- > 1;) /* parents have lower numbers */
			below[model_parent[i]] += q[i].used[r];
		for (unsigned i = 0; i < TREE; i++) {
			assert_int_equal(q[i].used[r], q[i].own[r] + below[i]);
			assert_int_equal(q[i].own[r], model_own[i][r]);
			assert_int_equal(q[i].limit[r], model_limit[i][r]);
			assert_true(q[i].used[r] <= q[i].limit[r]);
		}
	}
}

static void random_walk(void **state)
{
	for (unsigned tree = 0; tree < 20; tree++) {
		walk_start();
		for (unsigned i = 0; i < 10000; i++) {
			walk_step();
			if (i % 8 == 0)
				walk_check();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_one_uses_nothing),
		cmocka_unit_test(a_charge_goes_to_all_ancestors),
		cmocka_unit_test(each_resource_by_itself),
		cmocka_unit_test(exactly_up_to_the_limit),
		cmocka_unit_test(refused_by_any_ancestor),
		cmocka_unit_test(sums_do_not_wrap),
		cmocka_unit_test(children_may_be_promised_more_than_there_is),
		cmocka_unit_test(limits_fall_to_use_and_no_further),
		cmocka_unit_test(giving_back_what_was_not_charged_is_a_bug),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
