/* SPDX-License-Identifier: MIT */
/*
 * The console: see console.h. What is put out waits in one ring, in the order in which it came,
 * until the UART takes it: as a rule at once.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/console.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/ring.h"
#include "drivers/uart.h"

/* CAN ends an escape sequence that the guest has not finished; elsewhere terminals ignore it. */
#define LINE_BREAK  "\x18\r\n"
#define PREFIX      "[diosix] "
#define MESSAGE_MAX 240
#define DRAIN_MAX   512      /* bytes sent in one go: about 40,000 instructions */
#define INPUT_MAX   256      /* bytes received in one go */
#define WAIT_TURNS  10000000 /* polls of a UART that takes nothing before it is given up */

static uint8_t out_bytes[16384], in_bytes[1024];

static struct {
	struct spinlock lock;
	bool panicking; /* no locks any more; set once */
	/* under lock: */
	struct ring out, in;
	bool at_start;     /* the last byte put out ended a line */
	bool tx_interrupt; /* as last asked of the UART */
	bool rx_stopped;   /* the same: what is received waits there until there is room here */
} console = {
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

/* Sends what the UART takes now, up to a bound (and the FIFO that reaches it); returns how much. */
static unsigned drain(void)
{
	unsigned sent = 0, room;
	uint32_t n;

	while (sent < DRAIN_MAX && ring_count(&console.out) && (room = uart_tx_room()) > 0) {
		const uint8_t *bytes = ring_first(&console.out, &n);

		n = MIN(n, room);
		uart_write(bytes, n);
		console.out.tail += n;
		sent += n;
	}
	return sent;
}

/* Has the UART interrupt when it can take the rest, or when a guest waits to hear of room. */
static void arm(void)
{
	bool more = ring_count(&console.out) || console.out.refused;
	bool full = ring_room(&console.in) == 0;

	if (more != console.tx_interrupt || full != console.rx_stopped) {
		console.tx_interrupt = more;
		console.rx_stopped = full;
		uart_interrupts(!full, more);
	}
}

static void flush(void)
{
	for (unsigned turns = 0; ring_count(&console.out) && turns < WAIT_TURNS;
		turns = drain() ? 0 : turns + 1)
		cpu_relax();
}

static size_t put(const uint8_t *bytes, size_t n)
{
	size_t taken = ring_put(&console.out, bytes, n);

	if (taken)
		console.at_start = bytes[taken - 1] == '\n';
	return taken;
}

size_t console_write(const uint8_t *bytes, size_t n)
{
	size_t taken;

	if (!console_lock())
		return n;
	n = MIN(n, CONSOLE_WRITE_MAX);
	taken = put(bytes, n);
	drain();
	arm();
	spin_unlock(&console.lock);
	return taken;
}

/* What there is no room for stays with the UART, and so, if it can be held back, with the sender.
 */
static bool receive(void)
{
	unsigned n = 0;
	int got;

	for (; n < INPUT_MAX && ring_room(&console.in) && (got = uart_get()) >= 0; n++) {
		uint8_t byte = (uint8_t)got;

		ring_put(&console.in, &byte, 1);
	}
	return n != 0;
}

size_t console_read(uint8_t *bytes, size_t n)
{
	size_t got;

	if (!console_lock())
		return 0;
	/* A UART without interrupt is looked at when somebody asks. */
	if (!ring_count(&console.in))
		receive();
	got = ring_get(&console.in, bytes, n);
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
	if (console.out.refused && ring_room(&console.out)) {
		console.out.refused = false;
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

/* Formats into `text`, of MESSAGE_MAX and a newline. Control characters could come from outside (a
 * device tree, a guest) and would break the promise of one line. */
static size_t format(char *text, const char *fmt, va_list ap)
{
	size_t len = (size_t)vsnprintf(text, MESSAGE_MAX + 1, fmt, ap);

	len = MIN(len, MESSAGE_MAX);
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	text[len++] = '\r';
	text[len++] = '\n';
	return len;
}

void klog(const char *fmt, ...)
{
	char text[sizeof(LINE_BREAK PREFIX) + MESSAGE_MAX + 2] = LINE_BREAK PREFIX;
	size_t len = sizeof(LINE_BREAK PREFIX) - 1, start;
	bool locked;
	va_list ap;

	va_start(ap, fmt);
	len += format(text + len, fmt, ap);
	va_end(ap);

	locked = console_lock();
	start = console.at_start ? sizeof(LINE_BREAK) - 1 : 0;
	if (ring_room(&console.out) < len)
		flush();
	put((uint8_t *)text + start, len - start);
	if (locked) {
		drain();
		arm();
		spin_unlock(&console.lock);
	} else {
		flush();
	}
}
