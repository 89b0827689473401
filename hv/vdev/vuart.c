/* SPDX-License-Identifier: MIT */
/*
 * The emulated ns16550a: see vuart.h. Register and bit names are the data sheet's. Interrupt causes
 * are computed from the state at each change, by one function (cause), so that IIR and the line
 * cannot differ.
 */
#include <string.h>

#include "vdev/vuart.h"

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX    0x01
#define IER_THRE  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08
/* The upper bits are 0: Linux takes a UART that keeps bit 6 for an XScale one. */
#define IER_MASK 0x0f

#define IIR_MODEM   0x00
#define IIR_NONE    0x01
#define IIR_THRE    0x02
#define IIR_RX      0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_RESET_RX 0x02
#define FCR_RESET_TX 0x04
/* Enable and trigger level; the resets clear themselves, DMA mode means nothing here. */
#define FCR_KEPT 0xc1

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_TERI 0x04
#define MSR_CTS  0x10
#define MSR_DSR  0x20
#define MSR_RI   0x40
#define MSR_DCD  0x80

static void fifo_clear(struct vuart_fifo *f)
{
	f->head = 0;
	f->count = 0;
}

static void fifo_push(struct vuart_fifo *f, uint8_t byte)
{
	f->bytes[(f->head + f->count++) % VUART_FIFO] = byte;
}

static uint8_t fifo_pop(struct vuart_fifo *f)
{
	uint8_t byte = f->bytes[f->head];

	f->head = (f->head + 1) % VUART_FIFO;
	f->count--;
	return byte;
}

static bool loopback(const struct vuart *u)
{
	return u->mcr & MCR_LOOP;
}

/* Bytes either FIFO holds: 16450 mode has one-byte registers. */
static unsigned depth(const struct vuart *u)
{
	return u->fcr & FCR_ENABLE ? VUART_FIFO : 1;
}

static unsigned rx_trigger(const struct vuart *u)
{
	static const uint8_t level[4] = {1, 4, 8, 14};

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The highest-priority cause, as IIR shows it (data sheet table V). */
static uint8_t cause(const struct vuart *u)
{
	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx.count)
		return u->rx.count >= rx_trigger(u) ? IIR_RX : IIR_TIMEOUT;
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_MODEM) && u->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void irq_update(struct vuart *u)
{
	bool level = cause(u) != IIR_NONE;

	if (level != u->irq) {
		u->irq = level;
		u->ops->set_irq(u, level);
	}
}

static void receive(struct vuart *u, uint8_t byte)
{
	if (u->rx.count < depth(u))
		fifo_push(&u->rx, byte);
	else
		u->overrun = true;
}

/* Fetches input once the guest has read all it had: one call per FIFO, not per byte. */
static void rx_refill(struct vuart *u)
{
	uint8_t bytes[VUART_FIFO];
	size_t n;

	if (u->rx.count || loopback(u))
		return;
	n = u->ops->input(u, bytes, depth(u));
	for (size_t i = 0; i < n; i++)
		receive(u, bytes[i]);
}

/* Sends one byte; false when it could not leave now. */
static bool transmit(struct vuart *u, uint8_t byte)
{
	if (!loopback(u))
		return u->ops->output(u, byte);
	receive(u, byte);
	return true;
}

/* Offers the sink again what it refused. */
static void tx_retry(struct vuart *u)
{
	if (!u->tx.count)
		return;
	while (u->tx.count && transmit(u, u->tx.bytes[u->tx.head]))
		fifo_pop(&u->tx);
	if (!u->tx.count)
		u->thre_pending = true;
}

static void thr_write(struct vuart *u, uint8_t byte)
{
	u->thre_pending = false;
	if (!u->tx.count && transmit(u, byte))
		u->thre_pending = true;
	else if (u->tx.count < depth(u))
		fifo_push(&u->tx, byte);
}

static uint8_t rbr_read(struct vuart *u)
{
	uint8_t byte = u->rx.count ? fifo_pop(&u->rx) : 0;

	rx_refill(u);
	return byte;
}

static void ier_write(struct vuart *u, uint8_t value)
{
	/* Enabling the cause while the transmitter is empty raises it again: drivers start sending
	 * by this. */
	if ((value & ~u->ier & IER_THRE) && !u->tx.count)
		u->thre_pending = true;
	u->ier = value & IER_MASK;
	rx_refill(u); /* the owner may have held input back from a driver that does not receive */
}

static uint8_t iir_read(struct vuart *u)
{
	uint8_t iir = cause(u);

	if (iir == IIR_THRE)
		u->thre_pending = false;
	return iir | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static void fcr_write(struct vuart *u, uint8_t value)
{
	bool switched = (value ^ u->fcr) & FCR_ENABLE;

	if (switched || (value & FCR_RESET_RX))
		fifo_clear(&u->rx);
	if ((switched || (value & FCR_RESET_TX)) && u->tx.count) {
		fifo_clear(&u->tx);
		u->thre_pending = true;
	}
	/* The other bits are programmed only together with the enable bit. */
	u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	rx_refill(u);
}

/* Modem lines: a peer that is always there, or in loopback the UART's own outputs. */
static uint8_t modem_lines(const struct vuart *u)
{
	if (!loopback(u))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void mcr_write(struct vuart *u, uint8_t value)
{
	uint8_t before = modem_lines(u), changed;

	u->mcr = value & MCR_MASK;
	changed = (before ^ modem_lines(u)) >> 4;
	if (!(before & MSR_RI))
		changed &= ~MSR_TERI; /* the ring indicator counts only when it ends */
	u->msr_delta |= changed;
	rx_refill(u);
}

static uint8_t lsr_read(struct vuart *u)
{
	uint8_t lsr;

	tx_retry(u);
	lsr = (u->rx.count ? LSR_DR : 0) | (u->overrun ? LSR_OE : 0) |
	      (u->tx.count ? 0 : LSR_THRE | LSR_TEMT);
	u->overrun = false;
	return lsr;
}

static uint8_t msr_read(struct vuart *u)
{
	uint8_t msr = modem_lines(u) | u->msr_delta;

	u->msr_delta = 0;
	return msr;
}

static uint8_t register_read(struct vuart *u, unsigned reg)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		return dlab ? u->dll : rbr_read(u);
	case IER_DLM:
		return dlab ? u->dlm : u->ier;
	case IIR_FCR:
		return iir_read(u);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return lsr_read(u);
	case MSR:
		return msr_read(u);
	default:
		return u->scr;
	}
}

static void register_write(struct vuart *u, unsigned reg, uint8_t value)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		if (dlab)
			u->dll = value;
		else
			thr_write(u, value);
		break;
	case IER_DLM:
		if (dlab)
			u->dlm = value;
		else
			ier_write(u, value);
		break;
	case IIR_FCR:
		fcr_write(u, value);
		break;
	case LCR:
		u->lcr = value;
		break;
	case MCR:
		mcr_write(u, value);
		break;
	case SCR:
		u->scr = value;
		break;
	default: /* LSR and MSR are read-only; writing them is for factory tests */
		break;
	}
}

void vuart_init(struct vuart *u, const struct vuart_ops *ops)
{
	memset(u, 0, sizeof(*u));
	u->ops = ops;
}

void vuart_copy(struct vuart *to, const struct vuart *from)
{
	to->ier = from->ier;
	to->lcr = from->lcr;
	to->mcr = from->mcr;
	to->scr = from->scr;
	to->dll = from->dll;
	to->dlm = from->dlm;
	to->fcr = from->fcr;
	to->msr_delta = from->msr_delta;
	to->thre_pending = true;
}

void vuart_poll(struct vuart *u)
{
	spin_lock(&u->lock);
	tx_retry(u);
	rx_refill(u);
	irq_update(u);
	spin_unlock(&u->lock);
}

uint8_t vuart_read(struct vuart *u, unsigned reg)
{
	uint8_t value;

	spin_lock(&u->lock);
	value = register_read(u, reg & 7);
	irq_update(u);
	spin_unlock(&u->lock);
	return value;
}

void vuart_write(struct vuart *u, unsigned reg, uint8_t value)
{
	spin_lock(&u->lock);
	register_write(u, reg & 7, value);
	irq_update(u);
	spin_unlock(&u->lock);
}
