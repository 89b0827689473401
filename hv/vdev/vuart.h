/* SPDX-License-Identifier: MIT */
/*
 * One VM's emulated ns16550a: byte registers 0..7, 16-byte FIFOs, loopback mode, line and modem
 * status, scratch. Time does not exist here: a byte is sent as soon as the sink takes it, and the
 * receiver's time-out has always just passed. Portable. Source of the rules: National Semiconductor
 * PC16550D data sheet, section 8.
 *
 * Invariant: the last level given to set_irq is high exactly when IIR names a cause.
 */
#pragma once

#include "core/err.h"
#include "core/lock.h"

#define VUART_FIFO 16

struct vuart;

/*
 * Called with vuart->lock held, so that two VCPUs' changes arrive in order and no byte is taken
 * twice: they may take the locks that core/lock.h lists below it, and must not call back into this
 * vUART.
 */
struct vuart_ops {
	/* A byte the guest sent. False when the sink is full: the vUART keeps it, and shows a busy
	 * transmitter until a later try succeeds. */
	bool (*output)(struct vuart *u, uint8_t byte);
	/* Up to `n` bytes for the guest to receive; returns how many there were. */
	size_t (*input)(struct vuart *u, uint8_t *bytes, size_t n);
	void (*set_irq)(struct vuart *u, bool level);
};

struct vuart_fifo {
	uint8_t head, count;
	uint8_t bytes[VUART_FIFO];
};

struct vuart {
	struct spinlock lock;
	const struct vuart_ops *ops;
	/* under lock: */
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	bool overrun;      /* LSR bit 1, until LSR is read */
	uint8_t msr_delta; /* MSR bits 0..3, until MSR is read */
	bool thre_pending; /* the THRE cause: set by becoming empty or enabling it, cleared by an
			      IIR read that shows it */
	bool irq;          /* last level given to set_irq */
	struct vuart_fifo rx, tx; /* tx holds only what the sink refused */
};

void vuart_init(struct vuart *u, const struct vuart_ops *ops);

/* Copies the registers; the FIFOs are empty in the copy. Nobody uses either. */
void vuart_copy(struct vuart *to, const struct vuart *from);

/* There may be input, or the sink may have room again: moves what can be moved. Takes the lock. */
void vuart_poll(struct vuart *u);

/* The guest accesses byte register `reg` (0..7). Take the lock. */
uint8_t vuart_read(struct vuart *u, unsigned reg);
void vuart_write(struct vuart *u, unsigned reg, uint8_t value);

/* The guest's driver has enabled the receive interrupt. For ops->input, that is with the lock held.
 */
static inline bool vuart_rx_wanted(const struct vuart *u)
{
	return u->ier & 1;
}
