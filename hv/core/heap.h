/* SPDX-License-Identifier: MIT */
/*
 * A priority queue of intrusive nodes, smallest key first: a binary heap as a linked complete tree,
 * so that it needs no array. Every operation takes O(log n) steps in the worst case and never
 * allocates. Locking is the owner's.
 *
 * Invariants: node number i (root 1) has children 2i and 2i+1; a node's key is not above its
 * children's.
 */
#pragma once

#include "core/compiler.h"

struct heap_node {
	struct heap_node *parent, *child[2];
	uint64_t key;
	bool queued;
};

struct heap {
	struct heap_node *root;
	uint64_t count;
};

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* does nothing when `n` is not queued */

static inline struct heap_node *heap_min(const struct heap *h)
{
	return h->root;
}
