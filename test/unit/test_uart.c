/* SPDX-License-Identifier: MIT */
/*
 * The drivers of the machine's console UART, on models with FIFOs, and the finisher. If this fails,
 * the console is silent, loses characters, or the hypervisor touches registers that are not there.
 */
#include "unit.h"
#include "drivers/finisher.h"
#include "drivers/mmio.h"
#include "drivers/uart.h"

#define BASE UINT64_C(0x10000000)

static struct machine_uart u;
static unsigned reg_width, fifo_depth, fill, accesses;
static char wire[256];
static const char *typed;
static uint32_t ier, lcr, mcr, fcr, txctrl, rxctrl;
#define GPIO UINT64_C(0x10060000)

static uint64_t finisher_at;
static uint32_t finisher_value;
static uint32_t gpio_enable, gpio_value, gpio_pin;
static char gpio_seen[8]; /* what the pin was, each time something was written */

static uint32_t ns16550_read(unsigned reg)
{
	switch (reg) {
	case 0:
		assert_true(*typed);
		return (uint8_t)*typed++;
	case 2:
		return fcr & 1 && fifo_depth > 1 ? 0xc1 : 0x01;
	case 5:
		return (*typed ? 0x01 : 0) | (fill ? 0 : 0x60);
	default:
		fail_msg("read of register %u", reg);
		return 0;
	}
}

static void ns16550_write(unsigned reg, uint32_t value)
{
	switch (reg) {
	case 0:
		assert_int_equal(lcr, 0x03); /* DLAB clear */
		assert_true(fill++ < fifo_depth);
		wire[strlen(wire)] = (char)value;
		break;
	case 1:
		ier = value;
		break;
	case 2:
		fcr = value;
		break;
	case 3:
		lcr = value;
		break;
	case 4:
		mcr = value;
		break;
	default:
		fail_msg("write of register %u", reg);
	}
}

static uint32_t sifive_read(uint64_t off)
{
	if (off == 0x00)
		return fill >= fifo_depth ? 0x80000000 : 0;
	assert_int_equal(off, 0x04);
	return *typed ? (uint8_t)*typed++ : 0x80000000;
}

static void sifive_write(uint64_t off, uint32_t value)
{
	switch (off) {
	case 0x00:
		assert_true(fill++ < fifo_depth);
		wire[strlen(wire)] = (char)value;
		break;
	case 0x08:
		txctrl = value;
		break;
	case 0x0c:
		rxctrl = value;
		break;
	case 0x10:
		ier = value;
		break;
	default:
		fail_msg("write at 0x%x", (unsigned)off);
	}
}

static bool is_gpio(hpa_t reg, unsigned width)
{
	return gpio_pin && width == 4 && (reg.v == GPIO + 8 || reg.v == GPIO + 12);
}

static void gpio_write(hpa_t reg, uint32_t value)
{
	const char now = !(gpio_enable & gpio_pin) ? '-' : gpio_value & gpio_pin ? '1' : '0';

	*(reg.v == GPIO + 8 ? &gpio_enable : &gpio_value) = value;
	gpio_seen[strlen(gpio_seen)] = now;
}

uint32_t fake_mmio_read(hpa_t reg, unsigned width)
{
	accesses++;
	if (is_gpio(reg, width))
		return reg.v == GPIO + 8 ? gpio_enable : gpio_value;
	assert_int_equal(width, reg_width);
	assert_int_equal((reg.v - BASE) % (1u << u.reg_shift), 0);
	return u.sifive ? sifive_read(reg.v - BASE)
			: ns16550_read((unsigned)((reg.v - BASE) >> u.reg_shift));
}

void fake_mmio_write(hpa_t reg, unsigned width, uint32_t value)
{
	accesses++;
	if (finisher_at && reg.v == finisher_at) {
		assert_int_equal(width, 4);
		finisher_value = value;
		return;
	}
	if (is_gpio(reg, width)) {
		gpio_write(reg, value);
		return;
	}
	assert_int_equal(width, reg_width);
	if (u.sifive)
		sifive_write(reg.v - BASE, value);
	else
		ns16550_write((unsigned)((reg.v - BASE) >> u.reg_shift), value);
}

static void start(bool sifive, unsigned shift, unsigned width, unsigned depth)
{
	u = (struct machine_uart){
		.base = hpa(BASE), .reg_shift = shift, .io_width = width, .sifive = sifive};
	reg_width = sifive ? 4 : width;
	fifo_depth = depth;
	fill = 0;
	ier = lcr = 0xff;
	typed = "";
	memset(wire, 0, sizeof(wire));
	uart_init(&u);
}

static void write_all(const char *text)
{
	while (*text) {
		unsigned room = uart_tx_room();

		if (!room)
			fill = 0; /* time passes */
		room = MIN(room, (unsigned)strlen(text));
		uart_write((const uint8_t *)text, room);
		text += room;
	}
}

static void before_init_nothing_is_taken(void **state)
{
	assert_int_equal(uart_tx_room(), 0);
	assert_int_equal(uart_get(), -1);
	uart_interrupts(true, true);
	assert_int_equal(accesses, 0);
}

static void check_ns16550(unsigned shift, unsigned width, unsigned depth)
{
	const char *text = "the quick brown fox jumps over the lazy dog";

	start(false, shift, width, depth);
	assert_int_equal(lcr, 0x03);
	assert_int_equal(mcr & 0x08, 0x08);
	assert_int_equal(ier, 0x01);
	assert_int_equal(fcr & 0x01, 0x01);
	write_all(text);
	assert_string_equal(wire, text);
	uart_interrupts(true, true);
	assert_int_equal(ier, 0x03);
	uart_interrupts(true, false);
	assert_int_equal(ier, 0x01);
	typed = "a\xff";
	assert_int_equal(uart_get(), 'a');
	assert_int_equal(uart_get(), 0xff);
	assert_int_equal(uart_get(), -1);
}

static void ns16550(void **state)
{
	check_ns16550(0, 1, 16);
	check_ns16550(2, 4, 16);
	check_ns16550(2, 1, 16);
	check_ns16550(0, 1, 1); /* 16450 */
}

static void ns16550_asks_once_per_fifo(void **state)
{
	start(false, 0, 1, 16);
	accesses = 0;
	for (int i = 0; i < 16; i++) {
		assert_true(uart_tx_room() > 0);
		uart_write((const uint8_t *)"x", 1);
	}
	assert_int_equal(accesses, 17);
	assert_int_equal(uart_tx_room(), 0);
}

static void sifive(void **state)
{
	start(true, 2, 4, 8);
	assert_int_equal(txctrl & 1, 1);
	assert_int_equal(txctrl >> 16, 1);
	assert_int_equal(rxctrl, 1);
	assert_int_equal(ier, 2);
	write_all("hello, world");
	assert_string_equal(wire, "hello, world");
	uart_interrupts(true, true);
	assert_int_equal(ier, 3);
	uart_interrupts(true, false);
	assert_int_equal(ier, 2);
	typed = "b";
	assert_int_equal(uart_get(), 'b');
	assert_int_equal(uart_get(), -1);
}

static void without_a_uart_all_is_dropped(void **state)
{
	struct machine_uart none = {.base = hpa(0)};

	uart_init(&none);
	accesses = 0;
	assert_true(uart_tx_room() > 0);
	uart_write((const uint8_t *)"x", 1);
	uart_interrupts(true, true);
	assert_int_equal(uart_get(), -1);
	assert_int_equal(accesses, 0);
}

static void finisher(void **state)
{
	/* Where there are both, the finisher is taken. */
	const struct machine with = {
		.finisher = hpa(0x100000), .gpio = hpa(GPIO), .restart_pin = 1};

	finisher_at = 0x100000;
	assert_true(finisher_write(&with, FINISHER_POWEROFF));
	assert_int_equal(finisher_value, 0x5555);
	assert_true(finisher_write(&with, FINISHER_REBOOT));
	assert_int_equal(finisher_value, 0x7777);
}

/* The pin goes from high to low, and no other one changes. */
static void restart_pin(void **state)
{
	const struct machine board = {.gpio = hpa(GPIO), .restart_pin = 1 << 10};

	for (unsigned before = 0; before < 4; before++) {
		gpio_pin = 1 << 10;
		gpio_enable = 0x8001 | (before & 1) << 10;
		gpio_value = 0x4001 | (before & 2) << 9;
		memset(gpio_seen, 0, sizeof(gpio_seen));
		assert_true(finisher_write(&board, FINISHER_REBOOT));
		assert_string_equal(gpio_seen + 1, before & 1 ? "11" : "-1");
		assert_int_equal(gpio_enable, 0x8401);
		assert_int_equal(gpio_value, 0x4001);
	}
}

static void no_way_to_end(void **state)
{
	const struct machine board = {.gpio = hpa(GPIO), .restart_pin = 1}, none = {.nram = 1};

	accesses = 0;
	assert_false(finisher_write(&board, FINISHER_POWEROFF));
	assert_false(finisher_write(&none, FINISHER_POWEROFF));
	assert_false(finisher_write(&none, FINISHER_REBOOT));
	assert_int_equal(accesses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_init_nothing_is_taken),
		cmocka_unit_test(ns16550),
		cmocka_unit_test(ns16550_asks_once_per_fifo),
		cmocka_unit_test(sifive),
		cmocka_unit_test(without_a_uart_all_is_dropped),
		cmocka_unit_test(finisher),
		cmocka_unit_test(restart_pin),
		cmocka_unit_test(no_way_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
