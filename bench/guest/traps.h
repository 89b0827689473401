/* SPDX-License-Identifier: MIT */
/* The assembly half of the micro-benchmark guest: trap handlers, and sampling of a delay to the
 * instruction. */
#ifndef BENCH_TRAPS_H
#define BENCH_TRAPS_H

#include <stdint.h>

/*
 * Handlers for stvec. They save nothing: they clobber t6 (on_timer_sbi a0, a1, a6 and a7 as well)
 * and count themselves in gp, which the compiler leaves alone.
 */
void on_ipi(void);       /* clears sip.SSIP */
void on_timer_sbi(void); /* cancels the timer by SBI set_timer */
void on_timer_csr(void); /* cancels the timer by stimecmp */
void on_exception(void); /* skips an instruction of four bytes */

/*
 * The time that passes between a timer's deadline and the guest's first instruction after it, in
 * ticks rounded down. `phase` and `late` (0 to 99) are numbers of instructions by which the setting
 * of the timer is moved against the clock's tick, and the reading of the time is put off; see
 * delay() in micro.c. The kinds: an interrupt with the timer set by SBI or by stimecmp, and a wfi
 * with interrupts disabled.
 */
uint64_t sample_irq_sbi(uint64_t phase, uint64_t late);
uint64_t sample_irq_csr(uint64_t phase, uint64_t late);
uint64_t sample_wfi_sbi(uint64_t phase, uint64_t late);
uint64_t sample_wfi_csr(uint64_t phase, uint64_t late);

#endif
