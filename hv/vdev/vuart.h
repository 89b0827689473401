/* SPDX-License-Identifier: MIT */
/*
 * One VM's emulated ns16550a: byte registers 0..7, 16-byte receive FIFO, transmitter that is always ready
 * (output goes straight to the sink), loopback mode, line and modem status, scratch. Portable.
 * Source of the rules: National Semiconductor PC16550D data sheet, section 8.
 */
#pragma once

#include "core/err.h"
#include "core/lock.h"

#define VUART_FIFO 16

struct vuart;

/* Called without vuart->lock. */
struct vuart_ops {
	void (*output)(struct vuart *u, uint8_t byte);
	void (*set_irq)(struct vuart *u, bool level);
	/* The FIFO has room again: the owner may call vuart_input. */
	void (*input_wanted)(struct vuart *u);
};

struct vuart {
	struct spinlock lock;
	const struct vuart_ops *ops;
	/* under lock: */
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	uint8_t lsr_errors; /* overrun, kept until LSR is read */
	bool thr_empty_pending; /* THRE interrupt: set by becoming empty or enabling it, cleared by reading IIR */
	bool irq;
	unsigned head, count;
	uint8_t fifo[VUART_FIFO];
};

void vuart_init(struct vuart *u, const struct vuart_ops *ops);

/* Puts up to `n` bytes into the receive FIFO; returns how many it took. Takes the lock. */
unsigned vuart_input(struct vuart *u, const uint8_t *bytes, unsigned n);

/* The guest accesses byte register `reg` (0..7). Take the lock. */
uint8_t vuart_read(struct vuart *u, unsigned reg);
void vuart_write(struct vuart *u, unsigned reg, uint8_t value);
