/* SPDX-License-Identifier: MIT */
/*
 * The machine's console on a UART that takes what the test lets it. If this fails, messages and the
 * guest's lines tear each other, output is lost or reordered, or a slow line holds up the machine.
 */
#include "unit.h"
#include "core/console.h"
#include "core/log.h"
#include "drivers/uart.h"

static char wire[1 << 21];
static size_t sent, room;
static bool tx_interrupt, rx_interrupt = true;
static const char *typed = "";

unsigned uart_tx_room(void)
{
	return room > 16 ? 16 : (unsigned)room;
}

static void uart_put(uint8_t byte)
{
	assert_true(room > 0);
	room--;
	assert_true(sent < sizeof(wire) - 1);
	wire[sent++] = (char)byte;
	wire[sent] = 0;
}

void uart_write(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		uart_put(bytes[i]);
}

int uart_get(void)
{
	return *typed ? (uint8_t)*typed++ : -1;
}

void uart_interrupts(bool rx, bool tx)
{
	rx_interrupt = rx;
	tx_interrupt = tx;
}

static size_t guest(const char *text)
{
	return console_write((const uint8_t *)text, strlen(text));
}

static void clear(void)
{
	sent = 0;
	wire[0] = 0;
}

/* The console is one, so each test begins where the last ended: on an empty line, all sent. */
static int start(void **state)
{
	uint8_t bytes[2048];

	room = SIZE_MAX;
	guest("\n");
	console_flush();
	console_interrupt();
	while (console_read(bytes, sizeof(bytes)))
		;
	clear();
	return 0;
}

/* Lets the UART send everything, as its interrupts would. */
static void drain_all(void)
{
	room = SIZE_MAX;
	while (tx_interrupt)
		console_interrupt();
}

static void a_message_is_a_line(void **state)
{
	klog("%s harts", "four");
	assert_string_equal(wire, "[diosix] four harts\r\n");
	assert_false(tx_interrupt);
}

static void messages_are_cut_and_cleaned(void **state)
{
	char text[400], expected[400] = "[diosix] ";

	memset(text, 'x', sizeof(text));
	text[399] = 0;
	memset(expected + 9, 'x', 240);
	memcpy(expected + 249, "\r\n", 3);
	klog("%s", text);
	assert_string_equal(wire, expected);
	clear();
	klog("a\nb\x1b[2Jc\x7f");
	assert_string_equal(wire, "[diosix] a?b?[2Jc?\r\n");
}

static void guest_output_is_raw(void **state)
{
	assert_int_equal(guest("a\x1b[2J\r\n\x80\xff\a"), 10);
	assert_string_equal(wire, "a\x1b[2J\r\n\x80\xff\a");
}

static void a_message_has_a_line_of_its_own(void **state)
{
	guest("done\r\nlogin: ro");
	klog("one");
	klog("two");
	assert_string_equal(wire, "done\r\nlogin: ro\x18\r\n[diosix] one\r\n[diosix] two\r\n");
}

static void all_comes_in_order(void **state)
{
	room = 3;
	guest("abcdef\r\nghi");
	klog("now");
	guest("j\r\n");
	klog("then");
	drain_all();
	assert_string_equal(wire, "abcdef\r\nghi\x18\r\n[diosix] now\r\nj\r\n[diosix] then\r\n");
}

static void every_place_to_interrupt(void **state)
{
	const char *text = "first line\r\nsecond\r\nthird";

	for (size_t at = 0; at <= strlen(text); at++) {
		bool empty = at == 0 || text[at - 1] == '\n';
		char expected[200];

		start(NULL);
		console_write((const uint8_t *)text, at);
		klog("hey");
		guest(text + at);
		snprintf(expected, sizeof(expected), "%.*s%s[diosix] hey\r\n%s", (int)at, text,
			empty ? "" : "\x18\r\n", text + at);
		assert_string_equal(wire, expected);
	}
}

static void a_full_ring_says_so(void **state)
{
	static char text[20001];
	size_t taken = 0, n;

	memset(text, 'g', 20000);
	room = 0;
	while ((n = guest(text)) > 0) {
		assert_true(n <= CONSOLE_WRITE_MAX);
		taken += n;
	}
	assert_int_equal(taken, 16384);
	room = 330;
	assert_true(console_interrupt());
	text[400] = 0;
	assert_int_equal(guest(text), 330);
	drain_all();
	assert_int_equal(sent, 16384 + 330);
	assert_int_equal(strspn(wire, "g"), sent);
}

/* A guest whose output was refused waits to be told, also when another call made the room. */
static void room_again_is_an_event(void **state)
{
	static char text[513];

	memset(text, 'g', 512);
	room = 0;
	for (int i = 0; i < 32; i++)
		assert_int_equal(guest(text), 512);
	assert_false(console_interrupt());
	assert_int_equal(guest("x"), 0);
	assert_false(console_interrupt());
	room = SIZE_MAX;
	for (int i = 0; i < 100; i++)
		klog("other calls send it");
	assert_true(tx_interrupt);
	assert_true(console_interrupt());
	assert_false(tx_interrupt);
	assert_false(console_interrupt());
}

/* Nor is a guest told that lost nothing: the ring just full, or more bytes than one call takes. */
static void no_event_without_a_refusal(void **state)
{
	static char text[2001];

	memset(text, 'g', 2000);
	assert_int_equal(guest(text), 512);
	assert_false(console_interrupt());
	room = 0;
	for (int i = 0; i < 32; i++)
		assert_int_equal(console_write((uint8_t *)text, 512), 512);
	room = SIZE_MAX;
	assert_false(console_interrupt());
}

/* Nothing is lost and nothing displaced, however much waits: messages come when nobody else runs.
 */
static void a_message_waits_for_room(void **state)
{
	static char text[513];

	memset(text, 'g', 512);
	room = 0;
	for (int i = 0; i < 32; i++)
		assert_int_equal(guest(text), 512);
	room = SIZE_MAX;
	klog("the end");
	assert_int_equal(strspn(wire, "g"), 16384);
	assert_string_equal(wire + 16384, "\x18\r\n[diosix] the end\r\n");
}

static void early_messages_wait_for_a_uart(void **state)
{
	char expected[100], *at = wire;

	room = 0;
	for (unsigned i = 0; i < 300; i++)
		klog("message %04u", i);
	drain_all();
	for (unsigned i = 0; i < 300; i++) {
		int length = sprintf(expected, "[diosix] message %04u\r\n", i);

		assert_memory_equal(at, expected, length);
		at += length;
	}
	assert_string_equal(at, "");
}

static void an_empty_line_needs_no_break(void **state)
{
	guest("\r\n");
	klog("hey");
	assert_string_equal(wire, "\r\n[diosix] hey\r\n");
}

static void one_call_sends_a_bounded_amount(void **state)
{
	static char text[16000];

	memset(text, 'g', sizeof(text) - 1);
	room = 0;
	for (size_t at = 0; at < sizeof(text) - 1;)
		at += guest(text + at);
	room = SIZE_MAX;
	console_interrupt();
	assert_int_equal(sent, 512);
	assert_true(tx_interrupt);
	console_flush();
	assert_int_equal(sent, sizeof(text) - 1);
}

static void flush_gives_a_dead_uart_up(void **state)
{
	room = 3;
	guest("stuck");
	console_flush();
	assert_string_equal(wire, "stu");
	drain_all();
	assert_string_equal(wire, "stuck");
}

static void input_waits_at_the_uart(void **state)
{
	char text[1101];
	uint8_t got[1101] = {0};

	for (size_t i = 0; i < 1100; i++)
		text[i] = (char)('A' + i % 57);
	text[1100] = 0;
	typed = "hi";
	assert_true(console_interrupt());
	assert_false(console_interrupt());
	assert_int_equal(console_read(got, 1), 1);
	assert_int_equal(got[0], 'h');
	assert_int_equal(console_read(got, 10), 1);
	assert_int_equal(got[0], 'i');
	assert_int_equal(console_read(got, 10), 0);
	typed = text;
	for (int i = 0; i < 4; i++)
		assert_true(console_interrupt()); /* 256 bytes each */
	assert_false(console_interrupt());        /* there is no room */
	assert_int_equal(strlen(typed), 1100 - 1024);
	assert_false(rx_interrupt);
	assert_int_equal(console_read(got, 10), 10);
	assert_true(rx_interrupt);
	assert_true(console_interrupt());
	assert_int_equal(strlen(typed), 1100 - 1024 - 10);
	assert_false(rx_interrupt);
	assert_int_equal(console_read(got + 10, sizeof(got) - 10), 1024);
	assert_true(console_interrupt());
	assert_string_equal(typed, "");
	assert_true(rx_interrupt);
	assert_memory_equal(got, text, 1034);
}

/* ---- random ---- */

static uint64_t seed = UINT64_C(88172645463325252);

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

#define LINES 6000

/* Guest lines are "g<number>:" and filling, messages "m<number>", so that each line on the wire
 * names what it must be. */
static size_t guest_line(char *out, unsigned number)
{
	size_t n = (size_t)sprintf(out, "g%u:", number);

	for (unsigned i = number * 7 % 60; i > 0; i--)
		out[n++] = (char)('a' + (number + i) % 26);
	out[n++] = '\r';
	out[n++] = '\n';
	out[n] = 0;
	return n;
}

/* Without the messages, and the line breaks that they needed, the wire has what the guest wrote. */
static void check_wire(unsigned guests, unsigned messages)
{
	unsigned m = 0;
	char *at = wire, text[100];

	for (unsigned g = 0; g < guests; g++) {
		size_t done = 0, len = guest_line(text, g);

		while (done < len) {
			if (*at == '\x18') {
				assert_true(done > 0 && !memcmp(at, "\x18\r\n[", 4));
				at += 3;
			}
			if (*at == '[') {
				char expected[100];
				int n = sprintf(expected, "[diosix] m%u\r\n", m++);

				assert_true(at == wire || at[-1] == '\n');
				assert_memory_equal(at, expected, n);
				at += n;
			} else {
				assert_int_equal(*at++, text[done]);
				done++;
			}
		}
	}
	for (; *at == '['; m++)
		at = strchr(at, '\n') + 1;
	assert_string_equal(at, "");
	assert_int_equal(m, messages);
}

static void random_walk(void **state)
{
	char line[100] = "";
	size_t at = 0, len = 0, some;
	unsigned guests = 0, messages = 0;

	while (guests < LINES || at < len) {
		switch (rnd(8)) {
		case 0:
			room = rnd(40);
			console_interrupt();
			break;
		case 1:
			room = rnd(3) ? 0 : rnd(2000);
			break;
		case 2:
			klog("m%u", messages++);
			if (messages % 100 == 0)
				drain_all(); /* before the ring is full and some are lost */
			break;
		default:
			if (at == len) {
				len = guest_line(line, guests++);
				at = 0;
			}
			some = 1 + rnd(30);
			at += console_write((uint8_t *)line + at, MIN(len - at, some));
		}
	}
	drain_all();
	check_wire(guests, messages);
	assert_true(messages > 500);
}

/* Last: there is no way back. */
static void panic_waits_for_the_uart(void **state)
{
	guest("login: ");
	room = 0;
	klog("before");
	room = SIZE_MAX;
	console_panic_begin();
	assert_string_equal(wire, "login: \x18\r\n[diosix] before\r\n");
	clear();
	klog("dying");
	assert_string_equal(wire, "[diosix] dying\r\n");
	clear();
	assert_int_equal(guest("let me out"),
		10); /* taken and dropped: no guest waits for a dying machine */
	typed = "x";
	assert_false(console_interrupt());
	console_flush();
	assert_string_equal(wire, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_message_is_a_line, start),
		cmocka_unit_test_setup(messages_are_cut_and_cleaned, start),
		cmocka_unit_test_setup(guest_output_is_raw, start),
		cmocka_unit_test_setup(a_message_has_a_line_of_its_own, start),
		cmocka_unit_test_setup(all_comes_in_order, start),
		cmocka_unit_test_setup(every_place_to_interrupt, start),
		cmocka_unit_test_setup(a_full_ring_says_so, start),
		cmocka_unit_test_setup(room_again_is_an_event, start),
		cmocka_unit_test_setup(no_event_without_a_refusal, start),
		cmocka_unit_test_setup(a_message_waits_for_room, start),
		cmocka_unit_test_setup(early_messages_wait_for_a_uart, start),
		cmocka_unit_test_setup(an_empty_line_needs_no_break, start),
		cmocka_unit_test_setup(one_call_sends_a_bounded_amount, start),
		cmocka_unit_test_setup(flush_gives_a_dead_uart_up, start),
		cmocka_unit_test_setup(input_waits_at_the_uart, start),
		cmocka_unit_test_setup(random_walk, start),
		cmocka_unit_test_setup(panic_waits_for_the_uart, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
