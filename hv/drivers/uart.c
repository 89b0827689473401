/* SPDX-License-Identifier: MIT */
/* Passes the calls of uart.h to the driver that uart_init chose; stands in where there is none. */
#include "drivers/uart.h"

static const struct uart_ops *uart; /* NULL before uart_init, and without a UART */
static unsigned room_without;       /* then: nothing is taken yet; everything, so nobody waits */

void uart_init(const struct machine_uart *u)
{
	room_without = 16;
	uart = !u->base.v ? NULL : u->sifive ? &sifive_uart_ops : &ns16550_ops;
	if (uart)
		uart->init(u);
}

unsigned uart_tx_room(void)
{
	return uart ? uart->tx_room() : room_without;
}

void uart_write(const uint8_t *bytes, unsigned n)
{
	if (uart)
		uart->write(bytes, n);
}

int uart_get(void)
{
	return uart ? uart->get() : -1;
}

void uart_interrupts(bool rx, bool tx)
{
	if (uart)
		uart->interrupts(rx, tx);
}
