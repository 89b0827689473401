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
	const uint64_t limits[DX_LIMITS] = {limit, limit, limit, 3, 7};

	quota_init(at, parent, limits);
}

/* Also one that quota_set refuses: a limit that was lowered since can leave it so. */
static void set_reserve(struct quota *at, uint64_t pages)
{
	bool fits = pages <= at->limit[DX_LIMIT_PAGES];

	assert_int_equal(quota_set(at, DX_LIMIT_RESERVE, pages), fits ? OK : E_RANGE);
	at->limit[DX_LIMIT_RESERVE] = pages;
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
	return quota_charge(&q[i], RES_PAGES, n, NULL);
}

static void a_new_one_uses_nothing(void **state)
{
	const uint64_t limits[DX_LIMITS] = {50, 6, 7, 4, 9, 3, 20};

	memset(&q[1], 0xff, sizeof(q[1]));
	quota_init(&q[1], &q[0], limits);
	for (unsigned r = 0; r < RES_COUNT; r++)
		assert_true(q[1].limit[r] == limits[r] && q[1].used[r] == 0 && q[1].own[r] == 0);
	assert_ptr_equal(q[1].parent, &q[0]);
	assert_int_equal(q[1].limit[DX_LIMIT_PRIORITY], 4);
	assert_int_equal(q[1].limit[DX_LIMIT_DEPTH], 9);
	assert_true(q[1].limit[DX_LIMIT_RESERVE] == 3 && q[1].limit[DX_LIMIT_GUARANTEE] == 0 &&
		    q[1].released == 0);
	assert_true(heap_min(&q[1].waiters) == NULL);
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
	const uint64_t limits[DX_LIMITS] = {3, 2, 1};

	quota_init(&q[0], NULL, limits);
	for (unsigned r = 0; r < RES_COUNT; r++) {
		assert_int_equal(quota_charge(&q[0], r, limits[r] + 1, NULL), E_QUOTA_OWN);
		assert_int_equal(quota_charge(&q[0], r, limits[r], NULL), OK);
		assert_int_equal(quota_charge(&q[0], r, 1, NULL), E_QUOTA_OWN);
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

/* Two ceilings: one's own, or an ancestor's that is lower now. */
static void ceilings_hold_for_the_subtree(void **state)
{
	chain(1, 1, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(quota_ceiling(&q[i], DX_LIMIT_PRIORITY), 3);
		assert_int_equal(quota_ceiling(&q[i], DX_LIMIT_DEPTH), 7 - i);
	}
	q[0].limit[DX_LIMIT_PRIORITY] = 2;
	q[1].limit[DX_LIMIT_PRIORITY] = 1;
	assert_true(quota_ceiling(&q[0], DX_LIMIT_PRIORITY) == 2 &&
		    quota_ceiling(&q[1], DX_LIMIT_PRIORITY) == 1);
	assert_int_equal(quota_ceiling(&q[2], DX_LIMIT_PRIORITY), 1);
	q[2].limit[DX_LIMIT_DEPTH] = 5;
	assert_int_equal(quota_ceiling(&q[2], DX_LIMIT_DEPTH), 5);
	q[1].limit[DX_LIMIT_DEPTH] = 3;
	assert_true(quota_ceiling(&q[1], DX_LIMIT_DEPTH) == 3 &&
		    quota_ceiling(&q[2], DX_LIMIT_DEPTH) == 2);
	q[0].limit[DX_LIMIT_DEPTH] = 1;
	assert_true(quota_ceiling(&q[0], DX_LIMIT_DEPTH) == 1 &&
		    quota_ceiling(&q[1], DX_LIMIT_DEPTH) == 0 &&
		    quota_ceiling(&q[2], DX_LIMIT_DEPTH) == 0);
}

static void sums_do_not_wrap(void **state)
{
	chain(INT64_MAX, INT64_MAX, INT64_MAX);
	assert_int_equal(charge(2, INT64_MAX), OK);
	assert_used(INT64_MAX, INT64_MAX, INT64_MAX);
	assert_int_equal(charge(2, 1), E_QUOTA_OWN);
	assert_int_equal(charge(2, UINT64_MAX), E_QUOTA_OWN);
	quota_release(&q[2], RES_PAGES, INT64_MAX);
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
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 4), E_STATE);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 0), E_STATE);
	assert_int_equal(q[1].limit[RES_PAGES], 50);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 50), OK);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 5), OK);
	assert_int_equal(q[1].limit[RES_PAGES], 5);
	assert_int_equal(charge(2, 1), E_QUOTA_ABOVE);
	assert_int_equal(charge(1, 1), E_QUOTA_OWN);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 6), OK); /* and up again */
	assert_int_equal(charge(2, 1), OK);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, UINT64_MAX), OK);
	quota_release(&q[2], RES_PAGES, 6);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 0), OK);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_VCPUS, 0), OK);
	assert_int_equal(q[1].limit[RES_VMS], 50);
	assert_false(spin_is_locked(&quota_lock));
}

static void a_reserve_is_kept_from_descendants(void **state)
{
	chain(10, 10, 10);
	set_reserve(&q[0], 4);
	assert_int_equal(charge(2, 7), E_QUOTA_ABOVE);
	assert_int_equal(charge(2, 6), OK);
	assert_int_equal(charge(1, 1), E_QUOTA_ABOVE);
	assert_int_equal(charge(0, 4), OK); /* it is its own */
	assert_int_equal(charge(0, 1), E_QUOTA_OWN);
	quota_release(&q[2], RES_PAGES, 4);
	assert_int_equal(charge(1, 1), E_QUOTA_ABOVE); /* its own use does not use the reserve up */
	assert_used(6, 2, 2);
	set_reserve(&q[0], 3);
	assert_int_equal(charge(1, 1), OK);
	set_reserve(&q[0], 11); /* more than the limit: all of it */
	assert_int_equal(charge(1, 1), E_QUOTA_ABOVE);
	assert_int_equal(charge(0, 3), OK);
	set_reserve(&q[0], UINT64_MAX);
	assert_int_equal(charge(1, 1), E_QUOTA_ABOVE);
}

static void a_reserve_is_of_pages_alone(void **state)
{
	chain(4, 4, 4);
	set_reserve(&q[0], 4);
	assert_int_equal(quota_charge(&q[1], RES_VCPUS, 4, NULL), OK);
	assert_int_equal(quota_charge(&q[1], RES_VMS, 4, NULL), OK);
	assert_int_equal(quota_charge(&q[1], RES_PAGES, 1, NULL), E_QUOTA_ABOVE);
}

static void a_guarantee_is_charged_once(void **state)
{
	chain(20, 20, 20);
	assert_int_equal(charge(2, 3), OK);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 8), OK);
	assert_used(8, 8, 3);
	assert_int_equal(charge(1, 12), OK); /* the rest of what there is */
	assert_int_equal(charge(1, 1), E_QUOTA_OWN);
	assert_int_equal(charge(2, 5), OK); /* what it was given never stalls */
	assert_used(20, 20, 8);
	assert_int_equal(charge(2, 1), E_QUOTA_ABOVE);
	quota_release(&q[1], RES_PAGES, 4);
	assert_int_equal(charge(2, 4), OK);
	assert_used(20, 20, 12);
	quota_release(&q[2], RES_PAGES, 3); /* above it: as without */
	assert_used(17, 17, 9);
	quota_release(&q[2], RES_PAGES, 9);
	assert_used(16, 16, 0);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 2), OK);
	assert_used(10, 10, 0);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 0), OK);
	assert_used(8, 8, 0);
	assert_int_equal(quota_charge(&q[2], RES_VCPUS, 3, NULL), OK);
	assert_int_equal(q[0].used[RES_VCPUS], 3);
}

static void a_guarantee_that_cannot_be(void **state)
{
	chain(10, 30, 20);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 21), E_RANGE);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 11), E_QUOTA_ABOVE);
	assert_used(0, 0, 0);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 10), OK);
	assert_used(10, 10, 0);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 11), E_QUOTA_ABOVE);
	assert_true(q[2].limit[DX_LIMIT_GUARANTEE] == 10);
	assert_used(10, 10, 0);
	chain(10, 10, 10);
	set_reserve(&q[1], 3);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 8), E_QUOTA_ABOVE);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 7), OK);
	assert_int_equal(quota_set(&q[0], DX_LIMIT_GUARANTEE, 10), OK); /* nobody to ask */
	assert_used(7, 7, 0);
}

/* A guarantee within a guarantee is charged where it is more. */
static void guarantees_in_guarantees(void **state)
{
	chain(30, 30, 30);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_GUARANTEE, 10), OK);
	assert_used(10, 0, 0);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 6), OK);
	assert_used(10, 6, 0);
	assert_int_equal(charge(2, 8), OK);
	assert_used(10, 8, 8);
	assert_int_equal(charge(1, 4), OK);
	assert_used(12, 12, 8);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_GUARANTEE, 0), OK);
	assert_used(12, 12, 8);
	quota_release(&q[2], RES_PAGES, 8);
	assert_used(10, 10, 0);
}

static void a_payer_changes(void **state)
{
	chain(10, 10, 10);
	assert_int_equal(charge(0, 4), OK);
	assert_int_equal(charge(2, 6), OK);
	assert_int_equal(
		quota_move(&q[0], &q[2], 3, NULL), OK); /* no room is needed for it above */
	assert_used(10, 9, 9);
	assert_true(q[0].own[RES_PAGES] == 1 && q[2].own[RES_PAGES] == 9);
	assert_int_equal(quota_move(&q[2], &q[0], 9, NULL), OK);
	assert_used(10, 0, 0);
	assert_int_equal(quota_move(&q[0], &q[1], 0, NULL), OK);
	assert_int_equal(quota_move(&q[0], &q[0], 10, NULL), OK);
	assert_used(10, 0, 0);
}

static void a_refused_move_changes_nothing(void **state)
{
	struct refusal refused = {0};

	chain(10, 10, 3);
	assert_int_equal(charge(0, 8), OK);
	assert_int_equal(quota_move(&q[0], &q[2], 4, &refused), E_QUOTA_OWN);
	assert_ptr_equal(refused.at, &q[2]);
	assert_used(8, 0, 0);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 2), OK);
	assert_int_equal(quota_move(&q[0], &q[2], 3, &refused), E_QUOTA_ABOVE);
	assert_ptr_equal(refused.at, &q[1]);
	set_reserve(&q[0], 9);
	assert_int_equal(quota_move(&q[0], &q[2], 2, &refused), E_QUOTA_ABOVE);
	assert_ptr_equal(refused.at, &q[0]);
	assert_int_equal(quota_move(&q[0], &q[2], 1, &refused), E_QUOTA_ABOVE); /* 7 and 1 + 9 */
	assert_used(8, 0, 0);
	assert_int_equal(q[0].own[RES_PAGES], 8);
	set_reserve(&q[0], 2);
	assert_int_equal(quota_move(&q[0], &q[2], 2, &refused), OK);
	assert_used(8, 2, 2);
}

static void what_a_dead_one_paid_goes_up(void **state)
{
	chain(10, 10, 10);
	assert_int_equal(charge(2, 6), OK);
	quota_pass_up(&q[2], 4);
	assert_used(6, 6, 2);
	assert_true(q[1].own[RES_PAGES] == 4 && q[2].own[RES_PAGES] == 2);
	assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 6), OK);
	set_reserve(&q[1], 6); /* whatever the limits say */
	quota_pass_up(&q[2], 2);
	assert_used(6, 6, 0);
	/* Its guarantee is not given back by this: the parent's use grows. */
	chain(10, 6, 6);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 6), OK);
	assert_int_equal(charge(2, 6), OK);
	quota_pass_up(&q[2], 6);
	assert_used(12, 12, 0);
	assert_int_equal(charge(2, 1), OK); /* guaranteed */
	assert_int_equal(charge(1, 1), E_QUOTA_OWN);
	assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 0), OK);
	assert_used(7, 7, 1);
	assert_int_equal(charge(1, 1), E_QUOTA_OWN);
	expect_bug(quota_pass_up(&q[0], 0));
	quota_lock = (struct spinlock){0};
	expect_bug(quota_pass_up(&q[2], 2));
	quota_lock = (struct spinlock){0};
}

/* --- who waits --- */

struct client {
	struct quota_waiter w;
	struct quota *q, *at;
	unsigned woken;
};

static struct client clients[8];

static void woken(struct quota_waiter *w)
{
	struct client *c = container_of(w, struct client, w);

	assert_true(spin_is_locked(&quota_lock)); /* or the waiter could be gone by now */
	assert_false(w->node.queued);
	c->woken++;
}

static void client(unsigned i, struct quota *at)
{
	clients[i] = (struct client){.q = at, .w.wake = woken};
}

/* Tries to pay, and waits when it cannot. */
static bool pays(unsigned i, uint64_t n)
{
	struct client *c = &clients[i];
	struct refusal refused = {0};

	if (quota_charge(c->q, RES_PAGES, n, &refused) == OK)
		return true;
	c->at = refused.at;
	assert_true(quota_wait(&refused, &c->w));
	return false;
}

/* What has been woken, and runs again. */
static bool retries(unsigned i, uint64_t n)
{
	assert_int_equal(clients[i].woken, 1);
	clients[i].woken = 0;
	bool paid = pays(i, n);

	if (paid)
		quota_unwait(clients[i].at, &clients[i].w);
	return paid;
}

static unsigned all_woken(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
		n += clients[i].woken;
	return n;
}

static void start_waiting(unsigned n)
{
	memset(clients, 0, sizeof(clients));
	for (unsigned i = 0; i < n; i++)
		client(i, &q[2]);
}

static void who_refused_is_told(void **state)
{
	struct refusal refused = {0};

	chain(10, 10, 3);
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 4, &refused), E_QUOTA_OWN);
	assert_true(refused.at == &q[2] && refused.released == q[2].released);
	chain(10, 3, 10);
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 4, &refused), E_QUOTA_ABOVE);
	assert_ptr_equal(refused.at, &q[1]);
	chain(3, 10, 10);
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 4, &refused), E_QUOTA_ABOVE);
	assert_ptr_equal(refused.at, &q[0]);
	chain(5, 10, 10);
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 4, &refused), OK);
}

static void who_waits_is_woken_where_it_waits(void **state)
{
	chain(10, 4, 10);
	start_waiting(1);
	assert_int_equal(charge(0, 1), OK);
	assert_int_equal(charge(1, 3), OK);
	assert_false(pays(0, 2));
	quota_release(&q[0], RES_PAGES, 1); /* elsewhere */
	assert_int_equal(clients[0].woken, 0);
	quota_release(&q[1], RES_PAGES, 1);
	assert_true(retries(0, 2));
	assert_int_equal(all_woken(), 0);
	assert_true(heap_min(&q[1].waiters) == NULL);
}

static void what_makes_room_wakes(void **state)
{
	for (unsigned how = 0; how < 5; how++) {
		chain(20, 10, 20);
		set_reserve(&q[1], 2);
		start_waiting(1);
		assert_int_equal(charge(1, 2), OK);
		assert_int_equal(charge(2, 3), OK);
		assert_int_equal(quota_set(&q[2], DX_LIMIT_GUARANTEE, 6), OK);
		assert_false(pays(0, 4));
		if (how == 0)
			quota_release(&q[1], RES_PAGES, 1);
		else if (how == 1)
			assert_int_equal(quota_set(&q[1], DX_LIMIT_PAGES, 11), OK);
		else if (how == 2)
			set_reserve(&q[1], 1);
		else if (how == 3)
			assert_int_equal(quota_move(&q[1], &q[0], 1, NULL), OK);
		else
			quota_pass_up(&q[1], 1);
		assert_true(retries(0, 4));
	}
}

/* One release, several that wait: each tries once, in the order they came. Who fails again waits at
 * the end. */
static void each_tries_once_for_a_release(void **state)
{
	chain(10, 10, 20);
	start_waiting(4);
	assert_int_equal(charge(1, 10), OK);
	for (unsigned i = 0; i < 4; i++)
		assert_false(pays(i, i == 2 ? 2 : 5));
	quota_release(&q[1], RES_PAGES, 3);
	assert_int_equal(all_woken(), 1);
	clients[0].woken = 0;
	assert_false(pays(0, 5)); /* too much, still */
	quota_unwait(&q[1], &(struct quota_waiter){0});
	assert_int_equal(all_woken(), 1);
	clients[1].woken = 0;
	assert_false(pays(1, 5));
	quota_unwait(&q[1], &(struct quota_waiter){0});
	assert_true(retries(2, 2));
	assert_int_equal(all_woken(), 1);
	clients[3].woken = 0;
	assert_false(pays(3, 5));
	quota_unwait(&q[1], &(struct quota_waiter){0});
	assert_int_equal(all_woken(), 0); /* all have tried */
	quota_release(&q[1], RES_PAGES, 4);
	assert_true(retries(0, 5)); /* the first again */
	assert_int_equal(clients[1].woken, 1);
}

static void a_release_that_came_before_the_wait_is_seen(void **state)
{
	struct refusal refused;

	chain(10, 4, 10);
	start_waiting(2);
	assert_int_equal(charge(1, 4), OK);
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 1, &refused), E_QUOTA_ABOVE);
	quota_release(&q[1], RES_PAGES, 1);
	assert_false(quota_wait(&refused, &clients[0].w));
	assert_false(clients[0].w.node.queued);
	assert_null(heap_min(&q[1].waiters));
	assert_int_equal(quota_charge(&q[2], RES_PAGES, 2, &refused), E_QUOTA_ABOVE);
	assert_true(quota_wait(&refused, &clients[0].w));
	assert_ptr_equal(clients[0].w.wake, woken);
}

/* Who is ended in the midst of waiting, at any place of the queue. */
static void who_goes_away_waits_no_longer(void **state)
{
	for (unsigned gone = 0; gone < 3; gone++) {
		chain(10, 4, 10);
		start_waiting(3);
		assert_int_equal(charge(1, 4), OK);
		for (unsigned i = 0; i < 3; i++)
			assert_false(pays(i, 1));
		quota_unwait(&q[1], &clients[gone].w);
		assert_false(clients[gone].w.node.queued);
		quota_unwait(&q[1], &clients[gone].w);
		assert_int_equal(all_woken(), 0);
		quota_release(&q[1], RES_PAGES, 2);
		unsigned first = gone == 0 ? 1 : 0, second = 3 - gone - first;

		assert_true(retries(first, 1));
		assert_true(retries(second, 1));
		assert_true(heap_min(&q[1].waiters) == NULL);
		client(7, &q[2]);
		assert_false(pays(7, 1)); /* the end of the queue is good */
		quota_release(&q[1], RES_PAGES, 1);
		assert_true(retries(7, 1));
	}
}

/* Who was woken and is ended before it tried hands the chance on. */
static void who_was_woken_and_goes_away_wakes_the_next(void **state)
{
	chain(10, 4, 10);
	start_waiting(2);
	assert_int_equal(charge(1, 4), OK);
	assert_false(pays(0, 1) || pays(1, 1));
	quota_release(&q[1], RES_PAGES, 1);
	assert_true(clients[0].woken == 1 && clients[1].woken == 0);
	quota_unwait(&q[1], &clients[0].w);
	assert_true(retries(1, 1));
}

/* Two that cannot take over what an ancestor pays: their vain attempts make no room, and must not
 * wake each other for ever. */
static void a_refused_move_is_no_release(void **state)
{
	struct refusal refused;

	chain(10, 10, 10);
	set_reserve(&q[0], 8);
	assert_int_equal(charge(0, 8), OK);
	start_waiting(2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(quota_charge(&q[2], RES_PAGES, 3, &refused), E_QUOTA_ABOVE);
		assert_ptr_equal(refused.at, &q[0]);
		assert_true(quota_wait(&refused, &clients[i].w));
	}
	assert_int_equal(all_woken(), 0);
	set_reserve(&q[0], 7); /* not enough */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(clients[i].woken, 1);
		assert_int_equal(quota_move(&q[0], &q[2], 1, &refused), E_QUOTA_ABOVE);
		assert_true(quota_wait(&refused, &clients[i].w));
		quota_unwait(refused.at, &(struct quota_waiter){0});
	}
	assert_int_equal(all_woken(), 2);
}

static void giving_back_what_was_not_charged_is_a_bug(void **state)
{
	chain(100, 50, 20);
	assert_int_equal(charge(2, 5), OK);
	expect_bug(quota_release(&q[2], RES_PAGES, 6));
	quota_lock = (struct spinlock){0};
	expect_bug(quota_release(&q[1], RES_PAGES, 1)); /* used by its child, not by itself */
	quota_lock = (struct spinlock){0};
	expect_bug(quota_release(&q[2], RES_VCPUS, 1));
	quota_lock = (struct spinlock){0};
	assert_used(5, 5, 5);
	q[0].used[RES_PAGES] = 4; /* damaged */
	expect_bug(quota_release(&q[2], RES_PAGES, 5));
	quota_lock = (struct spinlock){0};
}

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

/* The model keeps what each has charged itself, and what was set; everything else is summed up when
 * asked. */
struct model {
	uint64_t own[RES_COUNT], limit[DX_LIMITS], reserve, guarantee;
};

static struct model model[TREE], before[TREE];
static unsigned model_parent[TREE];
static uint64_t used[TREE][RES_COUNT], used_before[TREE][RES_COUNT];

static void sum_up(uint64_t sum[TREE][RES_COUNT])
{
	for (unsigned i = 0; i < TREE; i++)
		memcpy(sum[i], model[i].own, sizeof(model[i].own));
	for (unsigned i = TREE; i-- > 1;) /* parents have lower numbers */
		for (unsigned r = 0; r < RES_COUNT; r++)
			sum[model_parent[i]][r] +=
				r == RES_PAGES ? MAX(sum[i][r], model[i].guarantee) : sum[i][r];
}

/* What was changed for the sake of `at` is allowed where nobody uses more than he may, or no more
 * than before; else it is undone. */
static enum err judge(unsigned at, unsigned res)
{
	sum_up(used);
	for (unsigned i = at;; i = model_parent[i]) {
		uint64_t limit = model[i].limit[res];

		if (i != at && res == RES_PAGES)
			limit -= MIN(limit, model[i].reserve);
		if (used[i][res] > limit && used[i][res] > used_before[i][res]) {
			memcpy(model, before, sizeof(model));
			return i == at ? E_QUOTA_OWN : E_QUOTA_ABOVE;
		}
		if (i == 0)
			return OK;
	}
}

static void model_begin(void)
{
	memcpy(before, model, sizeof(model));
	sum_up(used_before);
}

static void step_charge(unsigned at, unsigned res)
{
	uint64_t n = 1 + rnd(100);

	model[at].own[res] += n;
	assert_int_equal(quota_charge(&q[at], res, n, NULL), judge(at, res));
}

static void step_release(unsigned at, unsigned res)
{
	uint64_t n = rnd((uint32_t)model[at].own[res] + 1);

	quota_release(&q[at], res, n);
	model[at].own[res] -= n;
}

static void step_move(unsigned from, unsigned to)
{
	uint64_t n = rnd((uint32_t)model[from].own[RES_PAGES] + 1);

	if (n == 0)
		return;
	model[from].own[RES_PAGES] -= n;
	sum_up(used_before);
	model[to].own[RES_PAGES] += n;
	assert_int_equal(quota_move(&q[from], &q[to], n, NULL), judge(to, RES_PAGES));
}

static void step_pass_up(unsigned at)
{
	uint64_t n = rnd((uint32_t)model[at].own[RES_PAGES] + 1);

	if (at == 0)
		return;
	model[at].own[RES_PAGES] -= n;
	model[model_parent[at]].own[RES_PAGES] += n;
	quota_pass_up(&q[at], n);
}

static void step_guarantee(unsigned at)
{
	uint64_t n = rnd(4) ? rnd(300) : rnd(2100);
	enum err err = quota_set(&q[at], DX_LIMIT_GUARANTEE, n);

	if (n > model[at].limit[RES_PAGES]) {
		assert_int_equal(err, E_RANGE);
		return;
	}
	model[at].guarantee = n;
	assert_int_equal(err, judge(at, RES_PAGES));
}

static void step_limits(unsigned at, unsigned res)
{
	uint64_t n = rnd(2100);

	if (rnd(2)) {
		model[at].reserve = n / 8;
		set_reserve(&q[at], n / 8);
	} else {
		enum err err = quota_set(&q[at], (enum dx_limit)res, n);

		assert_int_equal(err, n < used_before[at][res] ? E_STATE : OK);
		if (err == OK)
			model[at].limit[res] = n;
	}
}

static void walk_start(void)
{
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < TREE; i++) {
		model_parent[i] = i ? rnd(i) : 0;
		for (unsigned r = 0; r < RES_COUNT; r++)
			model[i].limit[r] = i ? rnd(2000) : 5000;
		model[i].reserve = model[i].limit[RES_PAGES] / QUOTA_RESERVE_PART;
		model[i].limit[DX_LIMIT_RESERVE] = model[i].reserve;
		quota_init(&q[i], i ? &q[model_parent[i]] : NULL, model[i].limit);
	}
}

static void walk_step(void)
{
	unsigned at = rnd(TREE), res = rnd(RES_COUNT), what = rnd(64);

	model_begin();
	if (what < 30)
		step_charge(at, res);
	else if (what < 50)
		step_release(at, res);
	else if (what < 58)
		step_move(at, rnd(TREE));
	else if (what < 60)
		step_pass_up(at);
	else if (what < 62)
		step_guarantee(at);
	else
		step_limits(at, res);
}

/* used = own + what the children weigh, as the model says. */
static void walk_check(void)
{
	sum_up(used);
	for (unsigned i = 0; i < TREE; i++) {
		for (unsigned r = 0; r < RES_COUNT; r++) {
			assert_int_equal(q[i].used[r], used[i][r]);
			assert_int_equal(q[i].own[r], model[i].own[r]);
			assert_int_equal(q[i].limit[r], model[i].limit[r]);
		}
		assert_true(q[i].limit[DX_LIMIT_RESERVE] == model[i].reserve);
		assert_true(q[i].limit[DX_LIMIT_GUARANTEE] == model[i].guarantee);
	}
}

static void random_walk(void **state)
{
	for (unsigned tree = 0; tree < 20; tree++) {
		walk_start();
		for (unsigned i = 0; i < 10000; i++) {
			walk_step();
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
		cmocka_unit_test(ceilings_hold_for_the_subtree),
		cmocka_unit_test(sums_do_not_wrap),
		cmocka_unit_test(children_may_be_promised_more_than_there_is),
		cmocka_unit_test(limits_fall_to_use_and_no_further),
		cmocka_unit_test(a_reserve_is_kept_from_descendants),
		cmocka_unit_test(a_reserve_is_of_pages_alone),
		cmocka_unit_test(a_guarantee_is_charged_once),
		cmocka_unit_test(a_guarantee_that_cannot_be),
		cmocka_unit_test(guarantees_in_guarantees),
		cmocka_unit_test(a_payer_changes),
		cmocka_unit_test(a_refused_move_changes_nothing),
		cmocka_unit_test(what_a_dead_one_paid_goes_up),
		cmocka_unit_test(who_refused_is_told),
		cmocka_unit_test(who_waits_is_woken_where_it_waits),
		cmocka_unit_test(what_makes_room_wakes),
		cmocka_unit_test(each_tries_once_for_a_release),
		cmocka_unit_test(a_release_that_came_before_the_wait_is_seen),
		cmocka_unit_test(who_goes_away_waits_no_longer),
		cmocka_unit_test(who_was_woken_and_goes_away_wakes_the_next),
		cmocka_unit_test(a_refused_move_is_no_release),
		cmocka_unit_test(giving_back_what_was_not_charged_is_a_bug),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
