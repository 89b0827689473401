/* SPDX-License-Identifier: MIT */
/* The leftist tree of heap.h. */
#include "core/heap.h"
#include "core/bug.h"

static uint32_t rank_of(const struct heap_node *n)
{
	return n ? n->rank : 0;
}

/* Makes `n` right after a change below it; false when nothing above can tell. */
static bool settle(struct heap_node *n)
{
	uint32_t before = n->rank;

	if (rank_of(n->left) < rank_of(n->right)) {
		struct heap_node *left = n->left;

		n->left = n->right;
		n->right = left;
	}
	n->rank = rank_of(n->right) + 1;
	return n->rank != before;
}

/* Makes one tree of `a` and `b`, below `parent`: their right spines become one, by key. */
static struct heap_node *merge(struct heap_node *a, struct heap_node *b, struct heap_node *parent)
{
	struct heap_node *root, **at = &root, *last = parent;

	while (a && b) {
		struct heap_node *least = b->key < a->key ? b : a, *other = least == a ? b : a;

		*at = least;
		least->parent = last;
		last = least;
		at = &least->right;
		a = least->right;
		b = other;
	}
	*at = a ? a : b;
	if (*at)
		(*at)->parent = last;
	for (; last != parent; last = last->parent)
		settle(last);
	return root;
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
	BUG_ON(n->queued);
	*n = (struct heap_node){.key = key, .rank = 1, .queued = true};
	h->root = merge(h->root, n, NULL);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	struct heap_node *above = n->parent, **link = &h->root;

	if (!n->queued)
		return;
	if (above)
		link = above->left == n ? &above->left : &above->right;
	*link = merge(n->left, n->right, above);
	/* A rank that changes is one more than the changed one below it: log2(n + 1) steps at most.
	 */
	while (above && settle(above))
		above = above->parent;
	*n = (struct heap_node){0};
}
