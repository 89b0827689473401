/* SPDX-License-Identifier: MIT */
/*
 * The console: see console.h. What is put out waits in one ring, in the order in which it came,
 * with all that a message needs around it: the line break that it owes the guest's unfinished line,
 * and that line again. So tearing cannot depend on when the UART has room. With an empty ring a
 * guest's bytes go straight to the UART.
 *
 * `at_start` says that the terminal's cursor will be at the start of an empty line, as far as the
 * last byte put out tells.
 */
#include <stdarg.h>
#include <string.h>

#include "core/console.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/ring.h"
#include "core/ttyline.h"
#include "drivers/uart.h"
#include "lib/printf.h"

#define PREFIX       "[diosix] "
#define PREFIX_LEN   (sizeof(PREFIX) - 1)
#define MESSAGE_MAX  240
#define MESSAGE_ROOM 16384    /* of the ring: the guest's output leaves it free */
#define DRAIN_MAX    512      /* bytes sent in one go: about 40,000 instructions */
#define INPUT_MAX    256      /* bytes received in one go */
#define WAIT_TURNS   10000000 /* polls of a UART that takes nothing before it is given up */

static uint8_t out_bytes[32768], in_bytes[1024];

static struct {
	struct spinlock lock;
	bool panicking; /* no locks any more; set once */
	/* under lock: */
	struct ring out, in;
	struct ttyline line; /* of what the guest put out */
	bool redrawn;        /* a message has put it out again, and nothing came since */
	bool at_start;
	bool tx_interrupt; /* as last asked of the UART */
	bool rx_stopped;   /* the same: what is received waits there until there is room here */
	bool refused;      /* guest output did not fit: tell when there is room */
	uint32_t lost;     /* messages, since one could last be kept */
} console = {
	.lock = SPINLOCK_INIT,
	.out = RING_INIT(out_bytes),
	.in = RING_INIT(in_bytes),
	.at_start = true,
};

/* False when the machine is ending and the lock means nothing any more. */
static bool console_lock(void)
{
	if (__atomic_load_n(&console.panicking, __ATOMIC_RELAXED))
		return false;
	spin_lock(&console.lock);
	return true;
}

static void console_unlock(bool locked)
{
	if (locked)
		spin_unlock(&console.lock);
}

static bool guest_room(void)
{
	return ring_room(&console.out) > MESSAGE_ROOM;
}

static void note_start(uint8_t byte)
{
	console.at_start = byte == '\n' || (byte == '\r' && console.at_start);
}

static void note_guest(uint8_t byte)
{
	ttyline_put(&console.line, byte);
	note_start(byte);
}

static void push(uint8_t byte)
{
	ring_push(&console.out, byte);
	note_start(byte);
}

/* Sends what the UART takes now, up to a bound (and the FIFO that reaches it); returns how much. */
static unsigned drain(void)
{
	unsigned sent = 0, room;

	while (sent < DRAIN_MAX && ring_count(&console.out) && (room = uart_tx_room()) > 0)
		for (; room > 0 && ring_count(&console.out); room--, sent++) {
			uint8_t byte = ring_pop(&console.out);

			uart_write(&byte, 1);
		}
	return sent;
}

/* Has the UART interrupt when it can take the rest, or when a guest waits to hear of room. */
static void arm(void)
{
	bool more = ring_count(&console.out) || console.refused;

	bool full = ring_room(&console.in) == 0;

	if (more != console.tx_interrupt || full != console.rx_stopped) {
		console.tx_interrupt = more;
		console.rx_stopped = full;
		uart_interrupts(!full, more);
	}
}

static void send(void)
{
	drain();
	arm();
}

static void flush(void)
{
	for (unsigned turns = 0; ring_count(&console.out) && turns < WAIT_TURNS; turns++) {
		if (drain())
			turns = 0;
		else
			cpu_relax();
	}
}

/* Guest output with nothing before it goes straight to the UART, as most of it does; returns how
 * much that took. */
static size_t write_direct(const uint8_t *bytes, size_t n)
{
	size_t done = 0;
	unsigned room;

	while (!ring_count(&console.out) && done < n && (room = uart_tx_room()) > 0) {
		size_t part = MIN(room, n - done);

		uart_write(bytes + done, (unsigned)part);
		for (; part > 0; part--)
			note_guest(bytes[done++]);
	}
	return done;
}

size_t console_write(const uint8_t *bytes, size_t n)
{
	size_t taken;

	if (!console_lock())
		return n;
	taken = write_direct(bytes, MIN(n, CONSOLE_WRITE_MAX));
	for (; taken < n && taken < CONSOLE_WRITE_MAX && guest_room(); taken++) {
		ring_push(&console.out, bytes[taken]);
		note_guest(bytes[taken]);
	}
	console.redrawn &= taken == 0;
	console.refused |= taken < n && !guest_room();
	send();
	spin_unlock(&console.lock);
	return taken;
}

/* What there is no room for stays with the UART, and so, if it can be held back, with the sender.
 */
static bool receive(void)
{
	unsigned n = 0;
	int byte;

	for (; n < INPUT_MAX && ring_room(&console.in) && (byte = uart_get()) >= 0; n++)
		ring_push(&console.in, (uint8_t)byte);
	return n != 0;
}

size_t console_read(uint8_t *bytes, size_t n)
{
	size_t got = 0;

	if (!console_lock())
		return 0;
	/* A UART without interrupt is looked at when somebody asks. */
	if (!ring_count(&console.in))
		receive();
	while (got < n && ring_count(&console.in))
		bytes[got++] = ring_pop(&console.in);
	if (console.rx_stopped)
		arm();
	spin_unlock(&console.lock);
	return got;
}

bool console_interrupt(void)
{
	bool event;

	if (!console_lock())
		return false;
	event = receive();
	drain();
	if (console.refused && guest_room()) {
		console.refused = false;
		event = true;
	}
	arm();
	spin_unlock(&console.lock);
	return event;
}

void console_flush(void)
{
	bool locked = console_lock();

	flush();
	console_unlock(locked);
}

void console_panic_begin(void)
{
	for (unsigned i = 0; i < WAIT_TURNS && spin_is_locked(&console.lock); i++)
		cpu_relax();
	__atomic_store_n(&console.panicking, true, __ATOMIC_RELAXED);
	flush();
}

/* On a line of its own. */
static void break_line(void)
{
	/* CAN ends an escape sequence that the guest has not finished. */
	if (!console.at_start && ttyline_in_sequence(&console.line))
		push(0x18);
	if (!console.at_start) {
		push('\r');
		push('\n');
	}
}

/* Puts one message out; false when there is no room for all of it. Control characters could come
 * from outside (a device tree, a guest) and would break the promise of one line. */
static bool message_push(const char *text, size_t len)
{
	uint32_t unfinished = console.line.end - console.line.start;

	if (ring_room(&console.out) < len + unfinished + 5) /* CAN, two line breaks */
		return false;
	/* After another message, of whose redraw nothing has been sent: once will do. */
	if (console.redrawn && ring_count(&console.out) >= unfinished) {
		console.out.head -= unfinished;
		console.at_start = true;
	}
	break_line();
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)text[i];

		push(byte < ' ' || byte == 0x7f ? '?' : byte);
	}
	push('\r');
	push('\n');
	for (uint32_t at = console.line.start; at != console.line.end; at++)
		push(ttyline_at(&console.line, at));
	console.redrawn = true;
	return true;
}

/* Says that messages were lost, once there is room again to say it. */
static void report_lost(void)
{
	char text[48];
	int len;

	if (console.lost == 0)
		return;
	len = fmt_snprintf(text, sizeof(text), PREFIX "messages lost: %u", console.lost);
	if (message_push(text, MIN((size_t)len, sizeof(text) - 1)))
		console.lost = 0;
}

void klog(const char *fmt, ...)
{
	char text[PREFIX_LEN + MESSAGE_MAX + 1];
	bool locked;
	va_list ap;
	int len;

	memcpy(text, PREFIX, PREFIX_LEN);
	va_start(ap, fmt);
	len = fmt_vsnprintf(text + PREFIX_LEN, MESSAGE_MAX + 1, fmt, ap);
	va_end(ap);

	locked = console_lock();
	report_lost();
	if (console.lost || !message_push(text, PREFIX_LEN + (size_t)MIN(len, MESSAGE_MAX)))
		console.lost++;
	if (locked)
		send();
	else
		flush();
	console_unlock(locked);
}
