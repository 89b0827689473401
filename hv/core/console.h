/* SPDX-License-Identifier: MIT */
/*
 * The machine's console: the hypervisor's messages (core/log.h) and the Root VM's text on one UART,
 * and its input.
 *
 * Invariants: a message is one line and is never split, nor does it split a guest's: messages come
 * before guests run, or when they run no more (riscv/panic.h), and then an unfinished line is ended
 * first (ADR 12). Nobody waits for a slow line: what the UART does not take at once goes into a
 * ring that its transmit interrupt drains, in order. A guest that fills it is told how much was
 * taken; only a message that finds no room waits, as long as the UART makes progress.
 *
 * The rings are static: the console is the machine's, not a VM's. All functions take console.lock.
 */
#pragma once

#include "core/compiler.h"

#define CONSOLE_WRITE_MAX 512 /* bytes one call takes at most: bounds the time in M-mode */

/* Guest output: takes up to `n` bytes, returns how many were taken (may be 0 when the ring is
 * full). */
size_t console_write(const uint8_t *bytes, size_t n);

/* Input for the VM that owns the console: up to `n` bytes, returns how many there were. */
size_t console_read(uint8_t *bytes, size_t n);

/* The UART's interrupt: moves received bytes into the input ring, as long as it has room, sends
 * more output. Returns true when the guest should hear of it (devices_console_event): there is new
 * input, or room after a console_write that took less than it was given. Also good to call now and
 * then where the UART has no interrupt. */
bool console_interrupt(void);

/* Writes out everything that is buffered, waiting for the UART as long as it makes progress: for
 * the machine's end. */
void console_flush(void);

/*
 * The machine is about to end by a bug: from now on each klog waits for the UART, no lock is taken,
 * and guests' output is dropped. Waits a bounded time for console.lock to be released, then goes on
 * without: this hart may hold it itself. The caller lets only one hart get here.
 */
void console_panic_begin(void);
