/* SPDX-License-Identifier: MIT */
/*
 * The vUART's registers are the guest's to read and write as it likes, whatever the sink and the
 * source of input do meanwhile. No sequence may break the invariant of vuart.h, overfill a FIFO, or
 * send what the guest did not write.
 */
#include <stdlib.h>
#include <string.h>

#include "vdev/vuart.h"

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static struct vuart uart;
static bool irq;
static unsigned room, offered;
static size_t written, sent;

bool vuart_output(struct vuart *u, uint8_t byte)
{
	if (room == 0)
		return false;
	room--;
	sent++;
	return true;
}

size_t vuart_input(struct vuart *u, uint8_t *bytes, size_t n)
{
	size_t got = offered < n ? offered : n;

	require(n <= VUART_FIFO);
	memset(bytes, 'i', got);
	offered -= (unsigned)got;
	return got;
}

void vuart_set_irq(struct vuart *u, bool level)
{
	require(level != irq);
	irq = level;
}

static void check(void)
{
	require(ring_count(&uart.rx) <= VUART_FIFO && ring_count(&uart.tx) <= VUART_FIFO);
	require(sent + ring_count(&uart.tx) <= written);
	require(uart.reg[UART_IER] <= 0x0f && uart.reg[UART_MCR] <= 0x1f);
}

/* IIR agrees with the line, before reading it changes either. */
static void read_iir(void)
{
	bool before = irq;

	require(!(vuart_access(&uart, 2, false, 0) & 1) == before);
}

static void step(uint8_t op, uint8_t value)
{
	unsigned reg = op % 8;

	switch (op >> 6) {
	case 0:
		written += reg == 0 && !(uart.reg[UART_LCR] & 0x80);
		vuart_access(&uart, reg, true, value);
		break;
	case 1:
		if (reg == 2)
			read_iir();
		else
			vuart_access(&uart, reg, false, 0);
		break;
	case 2:
		room = value % 32;
		break;
	default:
		offered = value % 64;
		vuart_poll(&uart);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	irq = false;
	room = 1000;
	offered = 0;
	written = 0;
	sent = 0;
	vuart_init(&uart);
	for (size_t at = 0; at + 2 <= size; at += 2) {
		step(data[at], data[at + 1]);
		check();
	}
	return 0;
}
