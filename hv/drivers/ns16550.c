/* SPDX-License-Identifier: MIT */
/*
 * The ns16550a as the machine's console (National Semiconductor PC16550D data sheet, section 8).
 * LSR says only that the transmit FIFO is empty, so an empty one is counted down from its depth
 * instead of asking before each byte: half the device accesses.
 */
#include "drivers/mmio.h"
#include "drivers/uart.h"

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR };

#define IER_RX      0x01
#define IER_THRE    0x02
#define FCR_ENABLE  0x01
#define FCR_RESET   0x06
#define IIR_FIFOS   0xc0
#define LCR_8N1     0x03
#define MCR_CONNECT 0x0b /* DTR, RTS, and OUT2, which gates the interrupt on some boards */
#define LSR_DR      0x01
#define LSR_THRE    0x20
#define FIFO_DEPTH  16

static struct {
	hpa_t base;
	uint32_t shift;
	bool wide;      /* registers take 32-bit accesses only */
	unsigned depth; /* of the transmit FIFO; 1 when there is none */
	unsigned room;  /* bytes that still fit since LSR last said empty */
} uart;

static uint8_t reg_read(unsigned reg)
{
	hpa_t a = hpa_add(uart.base, (uint64_t)reg << uart.shift);

	return uart.wide ? (uint8_t)mmio_read32(a) : mmio_read8(a);
}

static void reg_write(unsigned reg, uint8_t value)
{
	hpa_t a = hpa_add(uart.base, (uint64_t)reg << uart.shift);

	if (uart.wide)
		mmio_write32(a, value);
	else
		mmio_write8(a, value);
}

static void ns16550_init(const struct machine_uart *u)
{
	uart.base = u->base;
	uart.shift = u->reg_shift;
	uart.wide = u->io_width == 4;
	uart.room = 0;
	reg_write(IER, 0);
	/* Also closes the divisor latch, should the ROM have left it open. */
	reg_write(LCR, LCR_8N1);
	reg_write(IIR_FCR, FCR_ENABLE | FCR_RESET);
	uart.depth = (reg_read(IIR_FCR) & IIR_FIFOS) == IIR_FIFOS ? FIFO_DEPTH : 1;
	reg_write(MCR, MCR_CONNECT);
	reg_write(IER, IER_RX);
}

static unsigned ns16550_tx_room(void)
{
	if (uart.room == 0 && (reg_read(LSR) & LSR_THRE))
		uart.room = uart.depth;
	return uart.room;
}

static void ns16550_write(const uint8_t *bytes, unsigned n)
{
	uart.room -= n;
	for (unsigned i = 0; i < n; i++)
		reg_write(RBR_THR, bytes[i]);
}

static int ns16550_get(void)
{
	return reg_read(LSR) & LSR_DR ? reg_read(RBR_THR) : -1;
}

static void ns16550_interrupts(bool rx, bool tx)
{
	reg_write(IER, (rx ? IER_RX : 0) | (tx ? IER_THRE : 0));
}

const struct uart_ops ns16550_ops = {
	ns16550_init, ns16550_tx_room, ns16550_write, ns16550_get, ns16550_interrupts};
