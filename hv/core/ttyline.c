/* SPDX-License-Identifier: MIT */
/*
 * See ttyline.h. The states are those of a terminal's parser, reduced to telling where a sequence
 * ends:
 *
 *   TEXT -> ESC      ESC
 *   ESC -> CSI       [                     ESC -> STRING  ] P X ^ _
 *   CSI -> TEXT      final byte, kept if it acts within the line
 *   STRING -> TEXT   BEL; -> ESC by ESC (of ST)
 *   any -> TEXT      the end of any other sequence, CAN, SUB; newline, which begins a new line
 *
 * A sequence is kept while it is incomplete, because aborting it for a message makes replaying it
 * necessary.
 */
#include <string.h>

#include "core/ttyline.h"

#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b

static void new_line(struct ttyline *l)
{
	l->start = l->end;
	l->state = TTY_TEXT;
	l->returned = false;
}

/* Forgets the sequence being received. */
static void forget_sequence(struct ttyline *l)
{
	if ((int32_t)(l->sequence - l->start) < 0)
		l->start = l->sequence; /* it was so long that it pushed out all before it */
	l->end = l->sequence;
	l->state = TTY_TEXT;
}

static void put_text(struct ttyline *l, uint8_t byte)
{
	if (byte == ESC) {
		l->sequence = l->end;
		l->state = TTY_ESC;
		ttyline_keep(l, byte);
	} else if (byte >= ' ' || byte == '\b' || byte == '\t') {
		ttyline_keep(l, byte);
	}
}

static void put_escape(struct ttyline *l, uint8_t byte)
{
	ttyline_keep(l, byte);
	if (byte == '[')
		l->state = TTY_CSI;
	else if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')
		l->state = TTY_STRING;
	else if (byte < ' ' || byte > '/') /* not an intermediate byte: the final one */
		forget_sequence(l);
}

static void put_csi(struct ttyline *l, uint8_t byte)
{
	ttyline_keep(l, byte);
	if (byte < '@')
		return;
	if (strchr("mK@CDGP", byte))
		l->state = TTY_TEXT;
	else
		forget_sequence(l);
}

static void put_string(struct ttyline *l, uint8_t byte)
{
	ttyline_keep(l, byte);
	if (byte == BEL)
		forget_sequence(l);
	else if (byte == ESC)
		l->state = TTY_ESC;
}

void ttyline_control(struct ttyline *l, uint8_t byte)
{
	if (byte == '\n') {
		new_line(l);
		return;
	}
	if (byte == '\r') {
		ttyline_keep(l, byte);
		l->returned = true;
		return;
	}
	if (l->returned && l->state == TTY_TEXT)
		l->start = l->end;
	l->returned = false;
	if (l->state != TTY_TEXT && (byte == CAN || byte == SUB)) {
		forget_sequence(l);
		return;
	}
	if (byte == ESC && (l->state == TTY_ESC || l->state == TTY_CSI))
		forget_sequence(l); /* and begins another */
	if (l->state == TTY_TEXT)
		put_text(l, byte);
	else if (l->state == TTY_ESC)
		put_escape(l, byte);
	else if (l->state == TTY_CSI)
		put_csi(l, byte);
	else
		put_string(l, byte);
}
