/* SPDX-License-Identifier: MIT */
/* Passes the calls of uart.h to the driver that uart_init chose; stands in where there is none. */
#include "drivers/uart.h"
#include "drivers/uart_ops.h"

static unsigned closed_tx_room(void)
{
	return 0;
}

static unsigned null_tx_room(void)
{
	return 16;
}

static void null_init(const struct machine_uart *u)
{
}

static void null_write(const uint8_t *bytes, unsigned n)
{
}

static int null_get(void)
{
	return -1;
}

static void null_tx_interrupt(bool on)
{
}

/* Before uart_init: nothing is taken yet. */
static const struct uart_ops closed_ops = {
	null_init, closed_tx_room, null_write, null_get, null_tx_interrupt};
/* A machine without a UART: everything is taken, so that nobody waits. */
static const struct uart_ops null_ops = {
	null_init, null_tx_room, null_write, null_get, null_tx_interrupt};

static const struct uart_ops *uart = &closed_ops;

void uart_init(const struct machine_uart *u)
{
	if (u->base.v == 0)
		uart = &null_ops;
	else
		uart = u->sifive ? &sifive_uart_ops : &ns16550_ops;
	uart->init(u);
}

unsigned uart_tx_room(void)
{
	return uart->tx_room();
}

void uart_write(const uint8_t *bytes, unsigned n)
{
	uart->write(bytes, n);
}

int uart_get(void)
{
	return uart->get();
}

void uart_tx_interrupt(bool on)
{
	uart->tx_interrupt(on);
}
