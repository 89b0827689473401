/* SPDX-License-Identifier: MIT */
/* A ring of bytes in storage of its owner's; the size is a power of two. Positions run on and wrap
 * at 2^32, so that full and empty differ, and any value of them keeps within the storage. Locking
 * is the owner's. */
#pragma once

#include <string.h>

#include "core/compiler.h"

struct ring {
	uint8_t *bytes;
	uint32_t size, head, tail; /* [tail, head) is filled */
	bool refused;              /* something did not fit; the owner takes it back */
};

/* Empty, in the array `storage`. */
#define RING_INIT(storage) ((struct ring){.bytes = (storage), .size = sizeof(storage)})

static inline uint32_t ring_count(const struct ring *r)
{
	return r->head - r->tail;
}

static inline uint32_t ring_room(const struct ring *r)
{
	return r->size - ring_count(r);
}

/* Where the first byte is, and how many follow it there without a break. */
static inline const uint8_t *ring_first(const struct ring *r, uint32_t *n)
{
	uint32_t at = r->tail & (r->size - 1);

	*n = MIN(ring_count(r), r->size - at);
	return r->bytes + at;
}

/* Takes what there is room for; returns how much. */
static inline uint32_t ring_put(struct ring *r, const uint8_t *bytes, size_t n)
{
	uint32_t at = r->head & (r->size - 1), taken = (uint32_t)MIN(n, ring_room(r));
	uint32_t part = MIN(taken, r->size - at);

	memcpy(r->bytes + at, bytes, part);
	memcpy(r->bytes, bytes + part, taken - part);
	r->head += taken;
	r->refused |= taken < n;
	return taken;
}

/* Takes up to `n` bytes out; returns how many there were. */
static inline uint32_t ring_get(struct ring *r, uint8_t *bytes, size_t n)
{
	uint32_t taken = (uint32_t)MIN(n, ring_count(r)), part;
	const uint8_t *from = ring_first(r, &part);

	part = MIN(part, taken);
	memcpy(bytes, from, part);
	memcpy(bytes + part, r->bytes, taken - part);
	r->tail += taken;
	return taken;
}
