/* SPDX-License-Identifier: MIT */
/* SiFive's UART as the machine's console (SiFive FU540-C000 manual, chapter 13). Its divisor stays
 * what the ROM set. */
#include "drivers/mmio.h"
#include "drivers/uart.h"

#define TXDATA 0x00
#define RXDATA 0x04
#define TXCTRL 0x08
#define RXCTRL 0x0c
#define IE     0x10

#define TXDATA_FULL  (UINT32_C(1) << 31)
#define RXDATA_EMPTY (UINT32_C(1) << 31)
#define CTRL_ENABLE  UINT32_C(1)
/* Transmit interrupt when fewer than 1 byte is queued; the receive mark of 0 means: more than 0. */
#define TXCTRL_MARK1 (UINT32_C(1) << 16)
#define IE_TX        UINT32_C(1)
#define IE_RX        UINT32_C(2)

static hpa_t base;

static void sifive_uart_init(const struct machine_uart *u)
{
	base = u->base;
	mmio_write32(hpa_add(base, TXCTRL), CTRL_ENABLE | TXCTRL_MARK1);
	mmio_write32(hpa_add(base, RXCTRL), CTRL_ENABLE);
	mmio_write32(hpa_add(base, IE), IE_RX);
}

static unsigned sifive_uart_tx_room(void)
{
	return mmio_read32(hpa_add(base, TXDATA)) & TXDATA_FULL ? 0 : 1;
}

/* One at the most: that is all the room it tells. */
static void sifive_uart_write(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		mmio_write32(hpa_add(base, TXDATA), bytes[i]);
}

static int sifive_uart_get(void)
{
	uint32_t data = mmio_read32(hpa_add(base, RXDATA));

	return data & RXDATA_EMPTY ? -1 : (int)(data & 0xff);
}

static void sifive_uart_interrupts(bool rx, bool tx)
{
	mmio_write32(hpa_add(base, IE), (rx ? IE_RX : 0) | (tx ? IE_TX : 0));
}

const struct uart_ops sifive_uart_ops = {sifive_uart_init, sifive_uart_tx_room, sifive_uart_write,
	sifive_uart_get, sifive_uart_interrupts};
