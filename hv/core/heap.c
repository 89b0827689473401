/* SPDX-License-Identifier: MIT */
/* The linked binary heap of heap.h. */
#include "core/heap.h"
#include "core/bug.h"

/* The link that holds node number `index`: the path is the bits of `index` below its highest one.
 */
static struct heap_node **slot(struct heap *h, uint64_t index, struct heap_node **parent)
{
	struct heap_node **at = &h->root;
	unsigned bit = 63;

	*parent = NULL;
	while (!(index & BIT(bit)))
		bit--;
	while (bit-- > 0) {
		*parent = *at;
		at = &(*at)->child[(index >> bit) & 1];
	}
	return at;
}

static struct heap_node **link_to(struct heap *h, const struct heap_node *n)
{
	if (!n->parent)
		return &h->root;
	return &n->parent->child[n->parent->child[1] == n];
}

static void adopt(struct heap_node *n)
{
	for (unsigned i = 0; i < 2; i++)
		if (n->child[i])
			n->child[i]->parent = n;
}

/* Exchanges `n` with its parent. */
static void lift(struct heap *h, struct heap_node *n)
{
	struct heap_node *p = n->parent;
	unsigned side = p->child[1] == n;
	struct heap_node *sibling = p->child[!side];

	*link_to(h, p) = n;
	n->parent = p->parent;
	p->child[0] = n->child[0];
	p->child[1] = n->child[1];
	adopt(p);
	n->child[side] = p;
	n->child[!side] = sibling;
	adopt(n);
}

static void sift_up(struct heap *h, struct heap_node *n)
{
	while (n->parent && n->key < n->parent->key)
		lift(h, n);
}

static void sift_down(struct heap *h, struct heap_node *n)
{
	for (;;) {
		struct heap_node *least = n->child[0];

		if (n->child[1] && n->child[1]->key < least->key)
			least = n->child[1];
		if (!least || least->key >= n->key)
			return;
		lift(h, least);
	}
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
	struct heap_node *parent;

	BUG_ON(n->queued);
	struct heap_node **at = slot(h, ++h->count, &parent);

	*n = (struct heap_node){.parent = parent, .key = key, .queued = true};
	*at = n;
	sift_up(h, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	struct heap_node *parent;

	if (!n->queued)
		return;
	struct heap_node **at = slot(h, h->count--, &parent);
	struct heap_node *last = *at;

	*at = NULL;
	if (last != n) {
		last->parent = n->parent;
		last->child[0] = n->child[0];
		last->child[1] = n->child[1];
		*link_to(h, n) = last;
		adopt(last);
		sift_up(h, last);
		sift_down(h, last);
	}
	*n = (struct heap_node){0};
}
