/* SPDX-License-Identifier: MIT */
/*
 * The console: see console.h. Output leaves through next_byte, which decides what follows what, or,
 * when there is nothing to decide, straight from the guest:
 *
 *   1. `lead`, the line break that a message owes the guest's unfinished line, or its own;
 *   2. waiting messages, whole ones;
 *   3. the guest's unfinished line again, when a message interrupted it;
 *   4. guest output.
 *
 * So tearing cannot depend on when the UART has room. `at_start` says that the terminal's cursor is
 * at the start of an empty line, as far as the last byte sent tells.
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

#define PREFIX      "[diosix] "
#define PREFIX_LEN  (sizeof(PREFIX) - 1)
#define MESSAGE_MAX 240
#define DRAIN_MAX   512      /* bytes sent in one go: about 40,000 instructions */
#define INPUT_MAX   256      /* bytes received in one go */
#define WAIT_TURNS  10000000 /* polls of a UART that takes nothing before it is given up */

static uint8_t out_bytes[16384], message_bytes[4096], in_bytes[1024];

static struct {
	struct spinlock lock;
	bool panicking; /* no locks any more; set once */
	/* under lock: */
	struct ring out, messages, in;
	struct ttyline line; /* of what was sent to the UART */
	uint32_t redraw;     /* next position of the line to send again; line.end when none */
	const char *lead;
	bool at_start;
	bool in_message;   /* a message is half sent */
	bool tx_interrupt; /* as last asked of the UART */
	bool refused;      /* guest output did not fit: tell when there is room */
	uint32_t lost;     /* messages, since one could last be kept */
} console = {
	.lock = SPINLOCK_INIT,
	.out = RING_INIT(out_bytes),
	.messages = RING_INIT(message_bytes),
	.in = RING_INIT(in_bytes),
	.lead = "",
	.at_start = true,
};

/* Returns false when the machine is ending and the lock means nothing any more. */
static bool console_lock(void)
{
	if (__atomic_load_n(&console.panicking, __ATOMIC_RELAXED))
		return false;
	spin_lock(&console.lock);
	return true;
}

static bool has_output(void)
{
	return *console.lead || ring_count(&console.messages) ||
	       console.redraw != console.line.end || ring_count(&console.out);
}

/* Messages are kept with a newline after each. */
static uint8_t message_byte(void)
{
	uint8_t byte;

	if (!console.in_message) {
		console.in_message = true;
		console.redraw = console.line.start;
		if (!console.at_start) {
			/* CAN ends an escape sequence that the guest has not finished. */
			console.lead = ttyline_in_sequence(&console.line) ? "\x18\r\n" : "\r\n";
			return *console.lead++;
		}
	}
	byte = ring_pop(&console.messages);
	if (byte != '\n')
		return byte;
	console.in_message = false;
	console.lead = "\n";
	return '\r';
}

/* -1 when there is nothing to send. */
static int next_byte(void)
{
	uint8_t byte;

	if (*console.lead)
		return *console.lead++;
	if (ring_count(&console.messages))
		return message_byte();
	if (console.redraw != console.line.end)
		return ttyline_at(&console.line, console.redraw++);
	if (!ring_count(&console.out))
		return -1;
	byte = ring_pop(&console.out);
	ttyline_put(&console.line, byte);
	console.redraw = console.line.end;
	return byte;
}

static void note_start(uint8_t byte)
{
	console.at_start = byte == '\n' || (byte == '\r' && console.at_start);
}

/* Sends what the UART takes now, up to a bound (and the FIFO that reaches it); returns how much. */
static unsigned drain(void)
{
	unsigned sent = 0;

	while (sent < DRAIN_MAX && has_output()) {
		unsigned room = uart_tx_room();
		int byte;

		if (room == 0)
			break;
		for (; room > 0 && (byte = next_byte()) >= 0; room--, sent++) {
			uint8_t b = (uint8_t)byte;

			note_start(b);
			uart_write(&b, 1);
		}
	}
	return sent;
}

/* Has the UART interrupt when it can take the rest, or when a guest waits to hear of room. */
static void arm(void)
{
	bool more = has_output() || console.refused;

	if (more != console.tx_interrupt) {
		console.tx_interrupt = more;
		uart_tx_interrupt(more);
	}
}

static void send(void)
{
	drain();
	arm();
}

static void flush(void)
{
	for (unsigned turns = 0; has_output() && turns < WAIT_TURNS; turns++) {
		if (drain())
			turns = 0;
		else
			cpu_relax();
	}
}

void console_init(void)
{
	bool locked = console_lock();

	send();
	if (locked)
		spin_unlock(&console.lock);
}

/* Guest output with nothing before it goes straight to the UART, as most of it does; returns how
 * much that took. */
static size_t write_direct(const uint8_t *bytes, size_t n)
{
	size_t done = 0;
	unsigned room;

	if (has_output())
		return 0;
	while (done < n && (room = uart_tx_room()) > 0) {
		size_t part = MIN(room, n - done);

		uart_write(bytes + done, (unsigned)part);
		for (; part > 0; part--, done++) {
			ttyline_put(&console.line, bytes[done]);
			note_start(bytes[done]);
		}
	}
	console.redraw = console.line.end;
	return done;
}

size_t console_write(const uint8_t *bytes, size_t n)
{
	size_t taken;

	if (!console_lock())
		return n;
	taken = write_direct(bytes, MIN(n, CONSOLE_WRITE_MAX));
	while (taken < n && taken < CONSOLE_WRITE_MAX && ring_room(&console.out))
		ring_push(&console.out, bytes[taken++]);
	console.refused |= taken < n && !ring_room(&console.out);
	send();
	spin_unlock(&console.lock);
	return taken;
}

static bool receive(void)
{
	bool received = false;
	int byte;

	for (unsigned i = 0; i < INPUT_MAX && (byte = uart_get()) >= 0; i++) {
		if (!ring_room(&console.in))
			continue; /* reading it is what ends the interrupt */
		ring_push(&console.in, (uint8_t)byte);
		received = true;
	}
	return received;
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
	if (console.refused && ring_room(&console.out)) {
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
	if (locked)
		spin_unlock(&console.lock);
}

void console_panic_begin(void)
{
	for (unsigned i = 0; i < WAIT_TURNS && spin_is_locked(&console.lock); i++)
		cpu_relax();
	__atomic_store_n(&console.panicking, true, __ATOMIC_RELAXED);
	flush();
}

/* Keeps one message; false when there is no room for all of it. Control characters could come from
 * outside (a device tree, a guest) and would break the promise of one line. */
static bool message_push(const char *text, size_t len)
{
	if (ring_room(&console.messages) <= len)
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)text[i];

		ring_push(&console.messages, byte < ' ' || byte == 0x7f ? '?' : byte);
	}
	ring_push(&console.messages, '\n');
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
	if (locked)
		spin_unlock(&console.lock);
}
