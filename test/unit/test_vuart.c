/* SPDX-License-Identifier: MIT */
/*
 * The emulated ns16550a, register by register, and as Linux's 8250 driver probes and drives it. If
 * this fails, Debian's kernel or U-Boot sees no UART, takes it for another model, or stalls waiting
 * for an interrupt.
 */
#include "unit.h"
#include "vdev/vuart.h"

enum { RBR, THR = RBR, DLL = RBR, IER, DLM = IER, IIR, FCR = IIR, LCR, MCR, LSR, MSR, SCR };

static struct vuart uart;
static bool irq;
static char sent[512];
static size_t nsent, sink_room;
static const char *input;

bool vuart_output(struct vuart *u, uint8_t byte)
{
	assert_true(spin_is_locked(&u->lock));
	if (sink_room == 0)
		return false;
	sink_room--;
	assert_true(nsent < sizeof(sent) - 1);
	sent[nsent++] = (char)byte;
	sent[nsent] = 0;
	return true;
}

size_t vuart_input(struct vuart *u, uint8_t *bytes, size_t n)
{
	size_t got = strnlen(input, n);

	assert_true(spin_is_locked(&u->lock));
	memcpy(bytes, input, got);
	input += got;
	return got;
}

void vuart_set_irq(struct vuart *u, bool level)
{
	assert_true(spin_is_locked(&u->lock));
	assert_int_not_equal(irq, level);
	irq = level;
}

static int start(void **state)
{
	irq = false;
	nsent = 0;
	sent[0] = 0;
	sink_room = sizeof(sent);
	input = "";
	vuart_init(&uart);
	return 0;
}

static uint8_t in(unsigned reg)
{
	return vuart_access(&uart, reg, false, 0);
}

static void out(unsigned reg, uint8_t value)
{
	vuart_access(&uart, reg, true, value);
}

static void type(const char *text)
{
	input = text;
	vuart_poll(&uart);
}

static void reset_state(void **state)
{
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(in(LCR), 0);
	assert_int_equal(in(MCR), 0);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(MSR), 0xb0);
	assert_int_equal(in(RBR), 0);
	assert_false(irq);
}

static void registers_hold_their_bits(void **state)
{
	out(SCR, 0xa5);
	assert_int_equal(in(SCR), 0xa5);
	out(IER, 0xff);
	assert_int_equal(in(IER), 0x0f);
	out(MCR, 0xef);
	assert_int_equal(in(MCR), 0x0f);
	out(LCR, 0xff);
	assert_int_equal(in(LCR), 0xff);
	out(DLL, 0x12);
	out(DLM, 0x34);
	assert_int_equal(in(DLL), 0x12);
	assert_int_equal(in(DLM), 0x34);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0x0f);
	assert_int_equal(nsent, 0);
	out(LSR, 0xff);
	out(MSR, 0xff);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(MSR), 0xb0);
	assert_int_equal(in(8 + SCR), 0xa5); /* only three bits of the number count */
}

static void output_goes_to_the_sink(void **state)
{
	for (const char *s = "hello\n"; *s; s++) {
		assert_int_equal(in(LSR)&0x20, 0x20);
		out(THR, (uint8_t)*s);
	}
	assert_string_equal(sent, "hello\n");
	assert_false(irq);
}

static void a_full_sink_loses_nothing(void **state)
{
	char text[17] = "0123456789abcdef";

	out(FCR, 0x01);
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0xc2);
	assert_false(irq);
	sink_room = 0;
	for (unsigned i = 0; i < 16; i++)
		out(THR, (uint8_t)text[i]);
	assert_false(irq);
	assert_int_equal(in(LSR), 0x00);
	out(THR, '!'); /* overrun: the guest did not look */
	sink_room = 3;
	vuart_poll(&uart);
	assert_false(irq);
	assert_string_equal(sent, "012");
	sink_room = 100;
	vuart_poll(&uart);
	assert_true(irq);
	assert_string_equal(sent, text);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0xc2);
	out(THR, 'x');
	assert_true(irq);
	assert_int_equal(sent[nsent - 1], 'x');
}

static void polling_guests_get_through_a_full_sink(void **state)
{
	sink_room = 0;
	out(THR, 'a');
	assert_int_equal(in(LSR), 0);
	sink_room = 1;
	assert_int_equal(in(LSR), 0x60);
	assert_string_equal(sent, "a");
}

static void order_is_kept_behind_a_refused_byte(void **state)
{
	out(FCR, 0x01);
	sink_room = 0;
	out(THR, 'a');
	sink_room = 10;
	out(THR, 'b');
	vuart_poll(&uart);
	assert_string_equal(sent, "ab");
}

static void a_busy_transmitter_raises_nothing(void **state)
{
	out(IER, 0x02);
	assert_true(irq);
	sink_room = 0;
	out(THR, 'a'); /* not empty any more */
	assert_false(irq);
	out(IER, 0x00);
	out(IER, 0x02);
	assert_false(irq);
	sink_room = 10;
	vuart_poll(&uart);
	assert_true(irq);
	assert_string_equal(sent, "a");
}

static void fifos_wrap(void **state)
{
	out(FCR, 0x01);
	out(MCR, 0x10);
	for (unsigned i = 0; i < 100; i++) {
		out(THR, (uint8_t)i);
		if (i >= 10)
			assert_int_equal(in(RBR), i - 10);
	}
}

static void transmit_reset_drops_what_waits(void **state)
{
	out(FCR, 0x01);
	out(IER, 0x02);
	(void)in(IIR);
	sink_room = 0;
	out(THR, 'a');
	out(FCR, 0x05);
	assert_true(irq);
	sink_room = 10;
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(nsent, 0);
}

static void input_is_fetched_by_the_fifo(void **state)
{
	out(FCR, 0x01);
	type("abcdefghijklmnopqrstuvwxyz");
	/* Until the guest asks here it may still ask elsewhere. */
	assert_string_equal(input, "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(in(LSR), 0x61);
	assert_string_equal(input, "qrstuvwxyz");
	for (char c = 'a'; c <= 'z'; c++) {
		assert_int_equal(in(LSR), 0x61);
		assert_int_equal(in(RBR), c);
	}
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(RBR), 0);
}

static void receive_interrupts(void **state)
{
	out(FCR, 0x81); /* trigger at 8 */
	type("12");
	assert_false(irq);
	out(IER, 0x01);
	assert_true(irq);
	assert_int_equal(in(IIR), 0xcc); /* time-out: the guest reads until there is no more */
	(void)in(RBR);
	assert_true(irq);
	(void)in(RBR);
	assert_false(irq);
	assert_int_equal(in(IIR), 0xc1);
	out(FCR, 0);
	type("1");
	assert_true(irq);
	assert_int_equal(in(IIR), 0x04);
}

/* devices.c holds input back until the driver enables the interrupt: that must fetch it. */
static void enabling_the_interrupt_fetches_input(void **state)
{
	out(FCR, 0x01);
	input = "late";
	out(IER, 0x01);
	assert_true(irq);
	assert_int_equal(in(RBR), 'l');
}

static void receive_reset_and_switching_fifos(void **state)
{
	out(FCR, 0x01);
	type("abc");
	assert_int_equal(in(LSR), 0x61);
	out(FCR, 0x03);
	assert_int_equal(in(LSR), 0x60);
	type("def");
	assert_int_equal(in(LSR), 0x61);
	out(FCR, 0xc0); /* off: flushes, and the other bits do not stick */
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
	out(IER, 0x01);
	type("g");
	assert_int_equal(in(IIR), 0x04);
}

static void transmit_interrupt(void **state)
{
	out(IER, 0x02);
	assert_true(irq);
	assert_int_equal(in(IIR), 0x02);
	assert_false(irq); /* reading it clears it */
	assert_int_equal(in(IIR), 0x01);
	out(THR, 'a');
	assert_true(irq);
	assert_int_equal(in(IIR), 0x02);
	out(IER, 0x02); /* no edge */
	assert_false(irq);
	out(IER, 0x00);
	out(IER, 0x02);
	assert_true(irq);
	out(IER, 0x00);
	assert_false(irq);
}

static void priorities_of_the_causes(void **state)
{
	out(FCR, 0x01);
	out(MCR, 0x10);
	for (int i = 0; i < 17; i++)
		out(THR, 'x'); /* the last one overruns */
	out(MCR, 0x12);
	out(IER, 0x0f);
	assert_true(irq);
	assert_int_equal(in(LSR), 0x63);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(IIR), 0xcc);
	for (int i = 0; i < 16; i++)
		(void)in(RBR);
	assert_int_equal(in(IIR), 0xc2);
	assert_false(irq);
	assert_int_equal(in(IIR), 0xc1);
}

/* A cause of lower priority must not be lost when IIR shows another. */
static void iir_clears_only_what_it_shows(void **state)
{
	out(IER, 0x03);
	type("a");
	assert_int_equal(in(IIR), 0x04);
	(void)in(RBR);
	assert_int_equal(in(IIR), 0x02);
}

static void loopback(void **state)
{
	out(FCR, 0x01);
	out(MCR, 0x10);
	assert_int_equal(in(MSR)&0xf0, 0);
	for (unsigned bits = 0; bits < 16; bits++) {
		out(MCR, (uint8_t)(0x10 | bits));
		assert_int_equal(in(MSR) >> 4, (bits & 2) >> 1 | (bits & 1) << 1 | (bits & 4) |
						       (bits & 8)); /* RTS DTR OUT1 OUT2 */
	}
	out(MCR, 0x10);
	assert_int_equal(in(MSR), 0);
	type("from outside");
	assert_int_equal(in(LSR), 0x60);
	out(THR, 'L');
	assert_int_equal(nsent, 0);
	assert_int_equal(in(RBR), 'L');
	out(MCR, 0x00);
	assert_int_equal(in(RBR), 'f');
}

/* ---- Linux, drivers/tty/serial/8250/8250_port.c ---- */

static unsigned size_fifo(void)
{
	uint8_t mcr = in(MCR);
	unsigned count;

	out(LCR, 0);
	out(FCR, 0x07);
	out(MCR, 0x10);
	out(LCR, 0x80);
	out(DLL, 1);
	out(DLM, 0);
	out(LCR, 0x03);
	for (count = 0; count < 256; count++)
		out(THR, (uint8_t)count);
	for (count = 0; (in(LSR)&1) && count < 256; count++)
		assert_int_equal(in(RBR), count);
	out(FCR, 0);
	out(MCR, mcr);
	out(LCR, 0);
	return count;
}

/* autoconfig() and autoconfig_16550a(): every question they ask, with the answer that leaves a
 * plain 16550A. */
static void linux_finds_a_16550a(void **state)
{
	uint8_t mcr, status1, status2;

	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	mcr = in(MCR);
	out(MCR, 0x1a);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, mcr);
	out(LCR, 0xbf);
	out(FCR, 0); /* where an EFR would be */
	out(LCR, 0);
	out(FCR, 0x01);
	assert_int_equal(in(IIR) >> 6, 3);

	out(LCR, 0x80);
	assert_int_not_equal(in(IIR), 0); /* no 16650 */
	out(LCR, 0xbf);
	assert_int_not_equal(in(IIR), 0); /* no 16650V2 */
	out(LCR, 0);
	status1 = in(MCR);
	out(LCR, 0xe0);
	status2 = in(IIR);
	if (!((status2 ^ status1) & 0x10)) {
		out(LCR, 0);
		out(MCR, status1 ^ 0x10);
		out(LCR, 0xe0);
		status2 = in(IIR);
		out(LCR, 0);
		out(MCR, status1);
		assert_false((status2 ^ status1) & 0x10); /* no NatSemi SuperIO */
	}
	out(LCR, 0);
	out(FCR, 0x21);
	status1 = in(IIR) >> 5;
	out(FCR, 0x01);
	out(LCR, 0x80);
	out(FCR, 0x21);
	status2 = in(IIR) >> 5;
	out(FCR, 0x01);
	out(LCR, 0);
	assert_false(status1 == 6 && status2 == 7); /* no TI16750 */
	out(IER, 0x40);
	assert_int_equal(in(IER)&0x40, 0); /* no XScale */
	out(IER, 0);
	assert_int_equal(size_fifo(), 16); /* no U6 16550A */
	assert_int_equal(nsent, 0);
	assert_false(irq);
}

/* serial8250_do_startup(): neither UART_BUG_THRE nor UART_BUG_TXEN, both of which fall back to
 * timers. */
static void linux_trusts_its_transmit_interrupt(void **state)
{
	uint8_t iir1, iir2;

	out(FCR, 0x01);
	out(FCR, 0x07);
	out(FCR, 0);
	(void)in(LSR);
	(void)in(RBR);
	(void)in(IIR);
	(void)in(MSR);
	assert_int_not_equal(in(LSR), 0xff);
	out(IER, 0x02);
	iir1 = in(IIR);
	out(IER, 0);
	out(IER, 0x02);
	iir2 = in(IIR);
	out(IER, 0);
	assert_int_equal(iir1 & 1, 0);
	assert_int_equal(iir2 & 1, 0);
	out(LCR, 0x03);
	out(MCR, 0x0b);
	out(IER, 0x02);
	assert_int_equal(in(LSR)&0x40, 0x40);
	assert_int_equal(in(IIR)&1, 0);
	out(IER, 0);
	assert_false(irq);
}

/* serial8250_interrupt() until IIR says none: the whole text goes out by interrupts alone, 16 bytes
 * a turn. */
static void linux_sends_by_interrupt(void **state)
{
	char text[201];
	size_t at = 0;

	for (size_t i = 0; i < 200; i++)
		text[i] = (char)('a' + i % 26);
	text[200] = 0;
	out(FCR, 0x81);
	out(IER, 0x05);
	out(IER, 0x07); /* start_tx */
	for (unsigned turns = 0; irq; turns++) {
		assert_true(turns < 100);
		assert_int_equal(in(IIR)&1, 0);
		assert_int_equal(in(LSR)&0x20, 0x20);
		for (unsigned n = 0; n < 16 && at < 200; n++)
			out(THR, (uint8_t)text[at++]);
		if (at == 200)
			out(IER, 0x05); /* stop_tx */
	}
	assert_string_equal(sent, text);
}

/* The registers of the one it was forked from, with nothing in its FIFOs; and who sleeps until it
 * can send is woken. */
static void a_copy_has_the_registers(void **state)
{
	static struct vuart other;

	out(LCR, 0x83);
	out(DLL, 0x0d);
	out(DLM, 0x01);
	out(LCR, 0x03);
	out(FCR, 0x01);
	out(MCR, 0x0b);
	out(SCR, 0x5a);
	sink_room = 0;
	out(THR, 'a'); /* waits */
	type("in");
	out(IER, 0x02);
	other = uart;
	irq = false;
	sink_room = sizeof(sent);
	vuart_init(&uart);
	vuart_copy(&uart, &other);
	input = "";
	vuart_poll(&uart);
	assert_true(irq);
	assert_int_equal(nsent, 0); /* 'a' is the other's to send */
	assert_int_equal(in(IIR), 0xc2);
	assert_int_equal(in(LSR), 0x60);
	assert_true(in(IER) == 0x02 && in(LCR) == 0x03 && in(MCR) == 0x0b && in(SCR) == 0x5a);
	out(LCR, 0x83);
	assert_true(in(DLL) == 0x0d && in(DLM) == 0x01);
	out(LCR, 0x03);
	out(THR, 'b');
	assert_string_equal(sent, "b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reset_state, start),
		cmocka_unit_test_setup(registers_hold_their_bits, start),
		cmocka_unit_test_setup(output_goes_to_the_sink, start),
		cmocka_unit_test_setup(a_full_sink_loses_nothing, start),
		cmocka_unit_test_setup(polling_guests_get_through_a_full_sink, start),
		cmocka_unit_test_setup(order_is_kept_behind_a_refused_byte, start),
		cmocka_unit_test_setup(a_busy_transmitter_raises_nothing, start),
		cmocka_unit_test_setup(fifos_wrap, start),
		cmocka_unit_test_setup(transmit_reset_drops_what_waits, start),
		cmocka_unit_test_setup(input_is_fetched_by_the_fifo, start),
		cmocka_unit_test_setup(receive_interrupts, start),
		cmocka_unit_test_setup(enabling_the_interrupt_fetches_input, start),
		cmocka_unit_test_setup(receive_reset_and_switching_fifos, start),
		cmocka_unit_test_setup(transmit_interrupt, start),
		cmocka_unit_test_setup(priorities_of_the_causes, start),
		cmocka_unit_test_setup(iir_clears_only_what_it_shows, start),
		cmocka_unit_test_setup(loopback, start),
		cmocka_unit_test_setup(linux_finds_a_16550a, start),
		cmocka_unit_test_setup(linux_trusts_its_transmit_interrupt, start),
		cmocka_unit_test_setup(linux_sends_by_interrupt, start),
		cmocka_unit_test_setup(a_copy_has_the_registers, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
