/* SPDX-License-Identifier: MIT */
/* The machine's console UART: ns16550a (or SiFive's), polled output, interrupt-driven input. Which
 * of the two uart_init is told. No locks: console.lock guards it. */
#pragma once

#include "fdt/machine.h"

/* Sets the UART to 8n1 with FIFOs, keeps the divisor the ROM left, enables the receive interrupt.
 * Without a UART (base 0) all output is taken and dropped. */
void uart_init(const struct machine_uart *u);

/* How many bytes can be written right now without waiting: 0 when the transmitter is full, and
 * before uart_init, so that early messages wait in the console's ring. */
unsigned uart_tx_room(void);
void uart_write(const uint8_t *bytes, unsigned n); /* n <= uart_tx_room() */

/* The next received byte, or -1. Reading it clears the receive interrupt's cause. */
int uart_get(void);

/* Asks for an interrupt when something is received, and when the transmitter has room, or no more.
 */
void uart_interrupts(bool rx, bool tx);
