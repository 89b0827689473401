/* SPDX-License-Identifier: MIT */
/*
 * The machine's console: the hypervisor's messages and the Root VM's text on one UART, and its input.
 *
 * Invariants: a message is one line and is never split; a guest's line is never torn: a message that comes
 * while the guest's line is unfinished is written on a line of its own, and the unfinished line is written again
 * after it. Output goes through a ring that the UART's transmit interrupt drains, so that nobody waits for a slow
 * line; a guest that fills the ring is told how much was taken, and messages displace nothing: they have room
 * of their own.
 */
#pragma once

#include "core/compiler.h"

void console_init(void);

/* Guest output: takes up to `n` bytes, returns how many were taken (may be 0 when the ring is full). */
size_t console_write(const uint8_t *bytes, size_t n);

/* Input for the VM that owns the console: up to `n` bytes, returns how many there were. */
size_t console_read(uint8_t *bytes, size_t n);

/* The UART's interrupt: moves received bytes into the input ring (the oldest are kept when full), sends more output. Returns
 * true when there is new input. */
bool console_interrupt(void);

/* Writes out everything that is buffered, waiting for the UART: for the end of the machine. */
void console_flush(void);
