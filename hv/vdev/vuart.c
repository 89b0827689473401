/* SPDX-License-Identifier: MIT */
/*
 * The emulated ns16550a: see vuart.h. Register and bit names are the data sheet's. Interrupt causes
 * are computed from the state at each change, by one function (cause), so that IIR and the line
 * cannot differ.
 */
#include "vdev/vuart.h"

#define IER_RX   0x01
#define IER_THRE 0x02

#define IIR_NONE    0x01
#define IIR_THRE    0x02
#define IIR_RX      0x04
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_RESET_RX 0x02
#define FCR_RESET_TX 0x04

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUTS 0x0c
#define MCR_LOOP 0x10

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_DCD 0x80

/* The bits that a register keeps. Of IER not the upper ones: Linux takes a UART that keeps bit 6
 * for an XScale one. */
static const uint8_t kept[8] = {[UART_IER] = 0x0f,
	[UART_FCR] = FCR_ENABLE,
	[UART_LCR] = 0xff,
	[UART_MCR] = 0x1f,
	[UART_SCR] = 0xff};

static bool loopback(const struct vuart *u)
{
	return u->reg[UART_MCR] & MCR_LOOP;
}

static bool fifos(const struct vuart *u)
{
	return u->reg[UART_FCR] & FCR_ENABLE;
}

/* The highest-priority cause, as IIR shows it (data sheet table V). */
static uint8_t cause(const struct vuart *u)
{
	if ((u->reg[UART_IER] & IER_RX) && ring_count(&u->rx))
		return fifos(u) ? IIR_TIMEOUT : IIR_RX;
	if ((u->reg[UART_IER] & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	return IIR_NONE;
}

static void irq_update(struct vuart *u)
{
	bool level = cause(u) != IIR_NONE;

	if (level != u->irq) {
		u->irq = level;
		vuart_set_irq(u, level);
	}
}

/* Fetches input once the guest has read all it had: one call per FIFO, not per byte. */
static void rx_refill(struct vuart *u)
{
	uint8_t bytes[VUART_FIFO];
	size_t n;

	if (ring_count(&u->rx) || loopback(u))
		return;
	n = vuart_input(u, bytes, sizeof(bytes));
	u->waits = n == sizeof(bytes);
	ring_put(&u->rx, bytes, n);
}

/* Sends what waits, until the sink takes no more. */
static void tx_send(struct vuart *u)
{
	uint32_t n;

	if (!ring_count(&u->tx))
		return;
	for (; ring_count(&u->tx); u->tx.tail++) {
		uint8_t byte = *ring_first(&u->tx, &n);

		if (loopback(u))
			ring_put(&u->rx, &byte, 1);
		else if (!vuart_output(u, byte))
			return;
	}
	u->thre_pending = true;
}

static void thr_write(struct vuart *u, uint8_t byte)
{
	u->thre_pending = false;
	ring_put(&u->tx, &byte, 1);
	tx_send(u);
}

static uint8_t rbr_read(struct vuart *u)
{
	uint8_t byte = 0;

	ring_get(&u->rx, &byte, 1);
	rx_refill(u);
	return byte;
}

static uint8_t iir_read(struct vuart *u)
{
	uint8_t iir = cause(u);

	if (iir == IIR_THRE)
		u->thre_pending = false;
	return iir | (fifos(u) ? IIR_FIFOS : 0);
}

static uint8_t lsr_read(struct vuart *u)
{
	uint8_t lsr;

	tx_send(u);
	if (u->waits)
		rx_refill(u);
	lsr = (ring_count(&u->rx) ? LSR_DR : 0) | (u->rx.refused ? LSR_OE : 0) |
	      (ring_count(&u->tx) ? 0 : LSR_THRE | LSR_TEMT);
	u->rx.refused = false;
	return lsr;
}

/* Modem lines: a peer that is always there, or in loopback the UART's own outputs. */
static uint8_t msr_read(const struct vuart *u)
{
	uint8_t mcr = u->reg[UART_MCR];

	if (!loopback(u))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	/* OUT1 and OUT2 appear as RI and DCD. */
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (uint8_t)((mcr & MCR_OUTS) << 4);
}

static uint8_t register_read(struct vuart *u, unsigned reg)
{
	if (reg <= UART_IER && (u->reg[UART_LCR] & LCR_DLAB))
		return u->divisor[reg];
	switch (reg) {
	case UART_DATA:
		return rbr_read(u);
	case UART_FCR:
		return iir_read(u);
	case UART_LSR:
		return lsr_read(u);
	case UART_MSR:
		return msr_read(u);
	default:
		return u->reg[reg];
	}
}

/* Turning the FIFOs on or off empties them, too. */
static void fifos_reset(struct vuart *u, uint8_t fcr, bool switched)
{
	if (switched || (fcr & FCR_RESET_RX))
		u->rx.tail = u->rx.head;
	if ((switched || (fcr & FCR_RESET_TX)) && ring_count(&u->tx)) {
		u->tx.tail = u->tx.head;
		u->thre_pending = true;
	}
}

static void register_write(struct vuart *u, unsigned reg, uint8_t value)
{
	uint8_t changed = (u->reg[reg] ^ value) & kept[reg];

	if (reg <= UART_IER && (u->reg[UART_LCR] & LCR_DLAB)) {
		u->divisor[reg] = value;
	} else if (reg == UART_DATA) {
		thr_write(u, value);
	} else {
		u->reg[reg] = value & kept[reg];
		/* Enabling the cause while the transmitter is empty raises it again: drivers start
		 * sending by this. */
		if (reg == UART_IER && (value & changed & IER_THRE) && !ring_count(&u->tx))
			u->thre_pending = true;
		if (reg == UART_FCR)
			fifos_reset(u, value, changed);
		rx_refill(u); /* may have been held back: by the owner, loopback, or a full FIFO */
	}
}

void vuart_init(struct vuart *u)
{
	*u = (struct vuart){.rx = RING_INIT(u->rx_bytes), .tx = RING_INIT(u->tx_bytes)};
}

void vuart_copy(struct vuart *to, const struct vuart *from)
{
	memcpy(to->reg, from->reg, sizeof(to->reg));
	memcpy(to->divisor, from->divisor, sizeof(to->divisor));
	to->thre_pending = true;
}

void vuart_poll(struct vuart *u)
{
	spin_lock(&u->lock);
	tx_send(u);
	u->waits = true;
	/* Who polls for it is who it is for: what is here a guest cannot read by SBI any more. */
	if (vuart_rx_wanted(u))
		rx_refill(u);
	irq_update(u);
	spin_unlock(&u->lock);
}

uint8_t vuart_access(struct vuart *u, unsigned reg, bool write, uint8_t value)
{
	spin_lock(&u->lock);
	if (write)
		register_write(u, reg & 7, value);
	else
		value = register_read(u, reg & 7);
	irq_update(u);
	spin_unlock(&u->lock);
	return value;
}
