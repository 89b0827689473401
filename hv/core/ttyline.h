/* SPDX-License-Identifier: MIT */
/*
 * The unfinished line of a terminal stream: what must be written again after something else was put
 * on lines of its own in between. Keeps the last TTYLINE_MAX bytes since the last newline.
 * Portable; locking is the owner's.
 *
 * Writing a line twice must do no more than writing it once: of escape sequences it keeps those
 * that act within the line (ECMA-48: SGR, EL, ICH, CUF, CUB, CHA, DCH); positioning, erasing the
 * screen, queries (which the terminal would answer twice), titles and the bell it forgets.
 */
#pragma once

#include "core/compiler.h"

#define TTYLINE_MAX 256 /* a power of two */

enum ttyline_state { TTY_TEXT, TTY_ESC, TTY_CSI, TTY_STRING };

struct ttyline {
	uint32_t start, end; /* positions in the stream of what is kept; they wrap */
	uint32_t sequence;   /* position of the escape sequence that is being received */
	enum ttyline_state state;
	bool returned; /* the last byte was a carriage return: what follows overwrites the line */
	uint8_t bytes[TTYLINE_MAX];
};

/* Of ttyline_put: all but plain text. */
void ttyline_control(struct ttyline *l, uint8_t byte);

static inline void ttyline_keep(struct ttyline *l, uint8_t byte)
{
	l->bytes[l->end++ % TTYLINE_MAX] = byte;
	if (l->end - l->start > TTYLINE_MAX)
		l->start = l->end - TTYLINE_MAX;
}

/* The next byte of the stream. */
static inline void ttyline_put(struct ttyline *l, uint8_t byte)
{
	if (likely(byte >= ' ' && l->state == TTY_TEXT && !l->returned))
		ttyline_keep(l, byte);
	else
		ttyline_control(l, byte);
}

/* The byte at `pos`, start <= pos < end. */
static inline uint8_t ttyline_at(const struct ttyline *l, uint32_t pos)
{
	return l->bytes[pos % TTYLINE_MAX];
}

/* True within an escape sequence: another text must abort it first (CAN). */
static inline bool ttyline_in_sequence(const struct ttyline *l)
{
	return l->state != TTY_TEXT;
}
