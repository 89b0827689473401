/* SPDX-License-Identifier: MIT */
/*
 * The micro-benchmark guest: what single operations of the layer below cost. It runs in S-mode
 * without paging, as the payload of OpenSBI or as the Root VM of Diosix, prints lines "row NAME
 * TICKS N MARK" (the best batch: TICKS of the clock for N operations) on the SBI console and
 * switches the machine off. bench/micro.py turns that into instructions.
 *
 * Position-independent by -mcmodel=medany: no tables of pointers here.
 */
#include <stdbool.h>
#include <stdint.h>
#include "sbi.h"
#include "traps.h"

#define BATCHES 10
#define N       2000
#define FEW     100 /* for what the host sees as well */

#define EID_BASE 0x10
#define EID_TIME 0x54494d45
#define EID_IPI  0x735049
#define EID_RFNC 0x52464e43
#define EID_HSM  0x48534d
#define EID_NONE 0x0bad0bad

#define SSTATUS_SIE 2
#define SIE_SSIE    2
#define SIE_STIE    32

#define UART_LSR 0x10000005
#define MIB      (1ul << 20)

void bench_main(uint64_t hartid, uint64_t entry_time, uint64_t image_end);

/* Handlers of traps.S count in gp. */
static inline uint64_t taken(void)
{
	uint64_t n;

	__asm__ volatile("mv %0, gp" : "=r"(n)::"memory");
	return n;
}

static void row(const char *name, uint64_t ticks, uint64_t n, uint64_t mark)
{
	put("row ");
	put(name);
	put(" ");
	put_number(ticks);
	put(" ");
	put_number(n);
	put(" ");
	put_number(mark);
	put("\n");
}

#define UNMARK 63 /* no row's */

#define MEASURE(name, operation) MEASURE_AS(__COUNTER__ + 1, name, N, operation)

/* The best of BATCHES times `number` operations. The loop's instructions, two to six, are part of
 * the figure. */
#define MEASURE_AS(mark, name, number, operation)                                                  \
	do {                                                                                       \
		enum { MARK_HERE = mark };                                                         \
		uint64_t best = UINT64_MAX;                                                        \
		MARK(MARK_HERE);                                                                   \
		for (int b = 0; b < BATCHES; b++) {                                                \
			uint64_t start = now();                                                    \
			for (uint64_t i = number; i != 0; i--)                                     \
				operation;                                                         \
			uint64_t ticks = now() - start;                                            \
			best = ticks < best ? ticks : best;                                        \
		}                                                                                  \
		MARK(UNMARK);                                                                      \
		row(name, best, number, MARK_HERE);                                                \
	} while (0)

static void calls(uint64_t hartid)
{
	uint64_t self = 1ul << hartid, page = (uint64_t)&bench_main & ~0xffful;

	MEASURE("base", sbi(EID_BASE, 0, 0, 0, 0, 0));
	MEASURE("unknown", sbi(EID_NONE, 0, 0, 0, 0, 0));
	MEASURE("hart_status", sbi(EID_HSM, 2, hartid, 0, 0, 0));
	MEASURE("fence_i", sbi(EID_RFNC, 0, self, 0, 0, 0));
	MEASURE("sfence_vma", sbi(EID_RFNC, 1, self, 0, page, 4096));
	MEASURE("dbcn_0", sbi(EID_DBCN, 0, 0, page, 0, 0));
	MEASURE("set_timer_far", sbi(EID_TIME, 0, UINT64_MAX, 0, 0, 0));
}

/* A line of 64 bytes. */
static void output(void)
{
	char line[64];

	for (unsigned i = 0; i < sizeof(line); i++)
		line[i] = (char)('0' + i);
	line[sizeof(line) - 1] = '\n';
	MEASURE_AS(__COUNTER__ + 1, "dbcn_64", FEW,
		sbi(EID_DBCN, 0, sizeof(line), (uint64_t)line, 0, 0));
}

static void send_ipi(uint64_t self)
{
	uint64_t before = taken();

	sbi(EID_IPI, 0, self, 0, 0, 0);
	while (taken() == before)
		;
}

static void timer_by_sbi(void)
{
	uint64_t before = taken();

	/* The handler makes a call, too. */
	sbi(EID_TIME, 0, 0, 0, 0, 0);
	while (taken() == before)
		__asm__ volatile("" ::: "a0", "a1", "a6", "a7", "t6", "memory");
}

static void timer_by_csr(void)
{
	uint64_t before = taken();

	__asm__ volatile("csrw 0x14d, zero" ::: "memory", "t6");
	while (taken() == before)
		__asm__ volatile("" ::: "t6", "memory");
}

static void exception(bool illegal)
{
	if (illegal)
		__asm__ volatile(".word 0x0000000b" /* custom-0 */ ::: "t6", "memory");
	else
		__asm__ volatile(".option push\n.option norvc\nebreak\n.option pop" ::
					 : "t6", "memory");
}

static void enable(void (*handler)(void), uint64_t irq)
{
	csr_write(stvec, handler);
	csr_write(sie, irq);
	csr_set(sstatus, SSTATUS_SIE);
}

static void disable(void)
{
	csr_clear(sstatus, SSTATUS_SIE);
	csr_write(sie, 0);
}

static bool has_sstc(void)
{
	uint64_t before = taken();

	csr_write(stvec, on_exception);
	__asm__ volatile("csrw 0x14d, %0" ::"r"(UINT64_MAX) : "t6", "memory");
	return taken() == before;
}

static void interrupts(uint64_t hartid, bool sstc)
{
	enable(on_ipi, SIE_SSIE);
	MEASURE("ipi_self", send_ipi(1ul << hartid));
	enable(on_timer_sbi, SIE_STIE);
	MEASURE("timer_sbi", timer_by_sbi());
	if (sstc) {
		enable(on_timer_csr, SIE_STIE);
		MEASURE("timer_csr", timer_by_csr());
	}
	disable();
}

static void exceptions(void)
{
	csr_write(stvec, on_exception);
	MEASURE("ebreak", exception(false));
	MEASURE("illegal", exception(true));
}

/*
 * The mean delay from a timer's deadline to the guest, exact although the clock has ticks of 100
 * instructions: reading it 0, 1, … 99 instructions late and rounding down each time adds up to
 * exactly the delay of one event (Hermite's identity). QEMU adds the phase of the tick in which the
 * timer is set to its deadline, so that is varied, too; its mean of 49.5 instructions is taken off
 * by the host. The sum is over 10,000 samples.
 */
#define DELAY(name, sample)                                                                        \
	do {                                                                                       \
		uint64_t ticks = 0;                                                                \
		for (uint64_t phase = 0; phase < 100; phase++)                                     \
			for (uint64_t late = 0; late < 100; late++)                                \
				ticks += sample(phase, late);                                      \
		row(name, ticks, 10000, 0);                                                        \
	} while (0)

static void delays(bool sstc)
{
	DELAY("delay_irq_sbi", sample_irq_sbi);
	DELAY("delay_wfi_sbi", sample_wfi_sbi);
	if (sstc) {
		DELAY("delay_irq_csr", sample_irq_csr);
		DELAY("delay_wfi_csr", sample_wfi_csr);
	}
	sbi(EID_TIME, 0, UINT64_MAX, 0, 0, 0);
}

/* RAM that nobody has touched: each page counts once, so there is one batch. */
static void first_touch(uint64_t image_end)
{
	uint64_t at = (image_end + 16 * MIB) & ~(MIB - 1), pages = 64 * MIB / 4096, start = now();

	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(at + i * 4096) = i;
	row("first_touch", now() - start, pages, 0);
}

void bench_main(uint64_t hartid, uint64_t entry_time, uint64_t image_end)
{
	row("reset", entry_time, 1, 0);
	first_touch(image_end);
	calls(hartid);
	output();
	MEASURE("mmio_read", (void)*(volatile uint8_t *)UART_LSR);
	exceptions();
	bool sstc = has_sstc();

	interrupts(hartid, sstc);
	delays(sstc);
	put("done\n");
	sbi(EID_SRST, 0, 0, 0, 0, 0);
}
