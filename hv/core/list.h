/* SPDX-License-Identifier: MIT */
/* An intrusive doubly linked list with a sentinel head. A removed node points at itself, so that
 * removing twice is harmless and membership can be asked. Locking is the owner's. */
#pragma once

#include "core/compiler.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert(struct list *prev, struct list *node)
{
	node->prev = prev;
	node->next = prev->next;
	prev->next->prev = node;
	prev->next = node;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	list_insert(head->prev, node);
}

static inline void list_add_head(struct list *head, struct list *node)
{
	list_insert(head, node);
}

static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_for_each(node, head)                                                                  \
	for (struct list *node = (head)->next; node != (head); node = node->next)
