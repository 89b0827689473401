/* SPDX-License-Identifier: MIT */
/*
 * One VM's emulated ns16550a: byte registers 0..7, 16-byte FIFOs, loopback mode, line status,
 * scratch: what drivers probe and use. Time does not exist here: a byte is sent as soon as the sink
 * takes it, and the receiver's time-out has always just passed, so a trigger level never tells.
 * Both FIFOs are there also while the guest has them off. The peer's modem lines never change, and
 * only loopback can overrun: neither interrupts. Portable. Source of the rules: National
 * Semiconductor PC16550D data sheet, section 8.
 *
 * Invariant: the last level given to vuart_set_irq is high exactly when IIR names a cause.
 */
#pragma once

#include "core/lock.h"
#include "core/ring.h"

#define VUART_FIFO 16

enum { UART_DATA, UART_IER, UART_FCR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR };

struct vuart {
	struct spinlock lock;
	/* under lock: */
	uint8_t reg[8]; /* as written; those that a guest does not write are 0 */
	uint8_t divisor[2];
	bool thre_pending;  /* the THRE cause: set by becoming empty or enabling it, cleared by an
			       IIR read that shows it */
	bool waits;         /* input may wait with the owner */
	bool irq;           /* last level given to vuart_set_irq */
	struct ring rx, tx; /* rx.refused is LSR bit 1; tx holds only what the sink refused */
	uint8_t rx_bytes[VUART_FIFO], tx_bytes[VUART_FIFO];
};

/* As after power-on. Nobody uses it. */
void vuart_init(struct vuart *u);

/* Copies the registers; the FIFOs are empty in the copy. Nobody uses either. */
void vuart_copy(struct vuart *to, const struct vuart *from);

/* There may be input, or the sink may have room again: moves what can be moved. Takes the lock. */
void vuart_poll(struct vuart *u);

/* The guest reads byte register `reg` (0..7), or writes `value` to it; returns what it reads. Takes
 * the lock. */
uint8_t vuart_access(struct vuart *u, unsigned reg, bool write, uint8_t value);

/*
 * What the vUART asks of its owner (devices.c). Called with the lock held, so that two VCPUs'
 * changes arrive in order and no byte is taken twice: they may take the locks that core/lock.h
 * lists below it, and must not call back into this vUART.
 */

/* A byte the guest sent. False when the sink is full: the vUART keeps it, and shows a busy
 * transmitter until a later try succeeds. */
bool vuart_output(struct vuart *u, uint8_t byte);

/* Up to `n` bytes for the guest to receive; returns how many there were. */
size_t vuart_input(struct vuart *u, uint8_t *bytes, size_t n);

void vuart_set_irq(struct vuart *u, bool level);

/* The guest's driver has enabled the receive interrupt. */
static inline bool vuart_rx_wanted(const struct vuart *u)
{
	return u->reg[UART_IER] & 1;
}
