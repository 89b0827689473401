/* SPDX-License-Identifier: MIT */
/* A ring of bytes in storage of its owner's; the size is a power of two. Positions run on and wrap
 * at 2^32, so that full and empty differ, and any value of them keeps within the storage. Locking
 * is the owner's. */
#pragma once

#include "core/compiler.h"

struct ring {
	uint8_t *bytes;
	uint32_t size, head, tail; /* [tail, head) is filled */
};

#define RING_INIT(array)                                                                           \
	{                                                                                          \
		array, sizeof(array), 0, 0                                                         \
	}

static inline uint32_t ring_count(const struct ring *r)
{
	return r->head - r->tail;
}

static inline uint32_t ring_room(const struct ring *r)
{
	return r->size - ring_count(r);
}

/* Only when there is room. */
static inline void ring_push(struct ring *r, uint8_t byte)
{
	r->bytes[r->head++ & (r->size - 1)] = byte;
}

/* Only when it is not empty. */
static inline uint8_t ring_pop(struct ring *r)
{
	return r->bytes[r->tail++ & (r->size - 1)];
}
