/* SPDX-License-Identifier: MIT */
/*
 * A priority queue of intrusive nodes, smallest key first: a leftist tree. Every operation takes
 * O(log n) steps in the worst case and never allocates. Locking is the owner's.
 *
 * Invariants: a node's key is not above its children's. `rank` is the length of the shortest way
 * down to where a child is missing, which is always down the right: so a right spine has at most
 * log2(n + 1) nodes.
 */
#pragma once

#include "core/compiler.h"

struct heap_node {
	struct heap_node *parent, *left, *right;
	uint64_t key;
	uint32_t rank;
	bool queued;
};

struct heap {
	struct heap_node *root;
};

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* does nothing when `n` is not queued */

static inline struct heap_node *heap_min(const struct heap *h)
{
	return h->root;
}
