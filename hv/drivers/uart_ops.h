/* SPDX-License-Identifier: MIT */
/* What a UART driver offers to drivers/uart.c: the functions of uart.h, for a UART that is there.
 */
#pragma once

#include "fdt/machine.h"

struct uart_ops {
	void (*init)(const struct machine_uart *u);
	unsigned (*tx_room)(void);
	void (*write)(const uint8_t *bytes, unsigned n);
	int (*get)(void);
	void (*interrupts)(bool rx, bool tx);
};

extern const struct uart_ops ns16550_ops;
extern const struct uart_ops sifive_uart_ops;
