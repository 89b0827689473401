/* SPDX-License-Identifier: MIT */
/*
 * The scheduler's heap against a plain set of nodes. If this fails, VCPUs run out of order, wake
 * late, or are lost.
 */
#include "unit.h"
#include "core/heap.h"

#define NODES 300

static struct heap heap;
static struct heap_node nodes[NODES];
static uint64_t keys[NODES]; /* of those that are in, by the test's own book */
static bool in[NODES];

/* Returns the rank, by definition. */
static uint32_t check_node(
	const struct heap_node *n, const struct heap_node *parent, uint64_t least, uint64_t *count)
{
	unsigned i = (unsigned)(n - nodes);

	if (!n)
		return 0;
	assert_true(i < NODES && in[i] && n->queued);
	assert_int_equal(n->key, keys[i]);
	assert_true(n->parent == parent && n->key >= least);
	++*count;
	uint32_t left = check_node(n->left, n, n->key, count);
	uint32_t right = check_node(n->right, n, n->key, count);

	assert_true(left >= right);
	assert_int_equal(n->rank, right + 1);
	return n->rank;
}

static void check(void)
{
	uint64_t count = 0, least = UINT64_MAX, expected = 0;

	for (unsigned i = 0; i < NODES; i++) {
		assert_int_equal(nodes[i].queued, in[i]);
		if (!in[i])
			continue;
		expected++;
		if (keys[i] < least)
			least = keys[i];
	}
	if (heap.root) {
		check_node(heap.root, NULL, 0, &count);
		assert_int_equal(heap_min(&heap)->key, least);
	}
	assert_int_equal(count, expected);
}

static int clear(void **state)
{
	memset(&heap, 0, sizeof(heap));
	memset(nodes, 0, sizeof(nodes));
	memset(in, 0, sizeof(in));
	return 0;
}

static void insert(unsigned i, uint64_t key)
{
	heap_insert(&heap, &nodes[i], key);
	keys[i] = key;
	in[i] = true;
}

static void drop(unsigned i)
{
	heap_remove(&heap, &nodes[i]);
	in[i] = false;
}

static void empty(void **state)
{
	assert_null(heap_min(&heap));
	drop(0);
	check();
}

static void one(void **state)
{
	insert(0, UINT64_MAX);
	check();
	assert_ptr_equal(heap_min(&heap), &nodes[0]);
	drop(0);
	check();
	drop(0); /* once more does nothing */
	check();
	insert(0, 0);
	check();
}

static void inserting_twice_is_a_bug(void **state)
{
	insert(0, 1);
	expect_bug(heap_insert(&heap, &nodes[0], 2));
	check();
}

/* Every heap of up to 7 nodes with keys 0..3, and from each the removal of each node. */
static void every_small_heap(void **state)
{
	for (unsigned n = 1; n <= 7; n++) {
		for (unsigned code = 0; code < 1u << (2 * n); code += n < 6 ? 1 : 7) {
			for (unsigned gone = 0; gone < n; gone++) {
				clear(NULL);
				for (unsigned i = 0; i < n; i++)
					insert(i, code >> (2 * i) & 3);
				drop(gone);
				check();
			}
		}
	}
}

static void comes_out_sorted(uint64_t (*key)(unsigned))
{
	uint64_t last = 0;

	clear(NULL);
	for (unsigned i = 0; i < NODES; i++) {
		insert(i, key(i));
		check();
	}
	while (heap_min(&heap)) {
		assert_true(heap_min(&heap)->key >= last);
		last = heap_min(&heap)->key;
		drop((unsigned)(heap_min(&heap) - nodes));
		check();
	}
}

static uint64_t rising(unsigned i)
{
	return i;
}

static uint64_t falling(unsigned i)
{
	return NODES - i;
}

static uint64_t same(unsigned i)
{
	return 5;
}

static uint64_t mixed(unsigned i)
{
	return i * UINT64_C(2654435761) % 97;
}

static uint64_t large(unsigned i)
{
	return UINT64_MAX - i * 7 % 11;
}

static void any_order_comes_out_sorted(void **state)
{
	comes_out_sorted(rising);
	comes_out_sorted(falling);
	comes_out_sorted(same);
	comes_out_sorted(mixed);
	comes_out_sorted(large);
}

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static void random_walk(void **state)
{
	for (unsigned i = 0; i < 60000; i++) {
		unsigned n = rnd(1 + rnd(NODES)), keep = i / 5000 % 2 ? 70 : 30;

		if (in[n] && rnd(100) >= keep)
			drop(n);
		else if (!in[n] && rnd(100) < keep)
			insert(n, rnd(2) ? rnd(20) : (uint64_t)rnd(UINT32_MAX) << rnd(33));
		check();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(empty, clear),
		cmocka_unit_test_setup(one, clear),
		cmocka_unit_test_setup(inserting_twice_is_a_bug, clear),
		cmocka_unit_test_setup(every_small_heap, clear),
		cmocka_unit_test_setup(any_order_comes_out_sorted, clear),
		cmocka_unit_test_setup(random_walk, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
