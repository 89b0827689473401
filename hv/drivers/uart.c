/* SPDX-License-Identifier: MIT */
/*
 * The ns16550a (National Semiconductor PC16550D data sheet, section 8) or SiFive's UART (FU540-C000
 * manual, chapter 13) as the machine's console. Both have the transmitter's data at register 0.
 *
 * An ns16550a says only that the transmit FIFO is empty, so an empty one is counted down from its
 * depth instead of asking before each byte: half the device accesses.
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

/* SiFive's, of 32 bits each. */
enum { TXDATA, RXDATA, TXCTRL, RXCTRL, IE };

#define TXDATA_FULL  (UINT32_C(1) << 31)
#define RXDATA_EMPTY (UINT32_C(1) << 31)
#define CTRL_ENABLE  UINT32_C(1)
/* Transmit interrupt when fewer than 1 byte is queued; the receive mark of 0 means: more than 0. */
#define TXCTRL_MARK1 (UINT32_C(1) << 16)
#define IE_TX        0x01
#define IE_RX        0x02

#define ROOM_WITHOUT 16 /* a UART: everything is taken, so that nobody waits */

static struct machine_uart uart; /* base 0: there is none, or not yet */
static unsigned depth;           /* of the transmit FIFO; 1 when there is none */
static unsigned room;            /* bytes that fit since the device last said that it has room */

static hpa_t reg_at(unsigned reg)
{
	return hpa_add(uart.base, (uint64_t)reg << uart.reg_shift);
}

static uint32_t reg_read(unsigned reg)
{
	return uart.io_width == 4 ? mmio_read32(reg_at(reg)) : mmio_read8(reg_at(reg));
}

static void reg_write(unsigned reg, uint32_t value)
{
	if (uart.io_width == 4)
		mmio_write32(reg_at(reg), value);
	else
		mmio_write8(reg_at(reg), (uint8_t)value);
}

static void ns16550_init(void)
{
	reg_write(IER, 0);
	/* Also closes the divisor latch, should the ROM have left it open. */
	reg_write(LCR, LCR_8N1);
	reg_write(IIR_FCR, FCR_ENABLE | FCR_RESET);
	depth = (reg_read(IIR_FCR) & IIR_FIFOS) == IIR_FIFOS ? FIFO_DEPTH : 1;
	reg_write(MCR, MCR_CONNECT);
}

static void sifive_init(void)
{
	depth = 1;
	reg_write(TXCTRL, CTRL_ENABLE | TXCTRL_MARK1);
	reg_write(RXCTRL, CTRL_ENABLE);
}

void uart_init(const struct machine_uart *u)
{
	uart = *u;
	room = u->base.v ? 0 : ROOM_WITHOUT;
	if (!u->base.v)
		return;
	(u->sifive ? sifive_init : ns16550_init)();
	uart_interrupts(true, false);
}

static bool can_send(void)
{
	return uart.sifive ? !(reg_read(TXDATA) & TXDATA_FULL) : reg_read(LSR) & LSR_THRE;
}

unsigned uart_tx_room(void)
{
	if (room == 0 && uart.base.v && can_send())
		room = depth;
	return room;
}

void uart_write(const uint8_t *bytes, unsigned n)
{
	if (!uart.base.v)
		return;
	room -= n;
	for (unsigned i = 0; i < n; i++)
		reg_write(RBR_THR, bytes[i]);
}

int uart_get(void)
{
	if (uart.sifive) {
		uint32_t data = reg_read(RXDATA);

		return data & RXDATA_EMPTY ? -1 : (int)(data & 0xff);
	}
	if (!uart.base.v || !(reg_read(LSR) & LSR_DR))
		return -1;
	return (int)(reg_read(RBR_THR) & 0xff);
}

void uart_interrupts(bool rx, bool tx)
{
	if (uart.sifive)
		reg_write(IE, (rx ? IE_RX : 0) | (tx ? IE_TX : 0));
	else if (uart.base.v)
		reg_write(IER, (rx ? IER_RX : 0) | (tx ? IER_THRE : 0));
}
