/* SPDX-License-Identifier: MIT */
/* See look.h. */
#include "look.h"

#define FRAMES 256

void frame_mark(uint64_t pa, uint64_t number)
{
	*(volatile uint64_t *)pa = number + 1;
}

uint64_t frame_of(unsigned number)
{
	static uint64_t frames[FRAMES];

	if (number >= FRAMES)
		broken("no such frame", number, FRAMES, 0);
	if (!frames[number]) {
		frames[number] = (uintptr_t)page_alloc(1);
		frame_mark(frames[number], number);
	}
	return frames[number];
}

uint64_t look(uint64_t va)
{
	uint64_t v = 0;
	struct trap t = try_load_value(va, 8, &v);

	if (t.taken && (t.cause != LOAD_PAGE || t.tval != va))
		broken("look: cause, stval, address", t.cause, t.tval, va);
	return t.taken ? FAULT : v - 1;
}
