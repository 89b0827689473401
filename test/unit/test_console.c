/* SPDX-License-Identifier: MIT */
/*
 * The machine's console on a UART that takes what the test lets it. If this fails, messages and the
 * guest's lines tear each other, output is lost or repeated, or a slow line holds up the machine.
 */
#include "unit.h"
#include "core/console.h"
#include "core/log.h"
#include "core/ttyline.h"
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

static void an_unfinished_line_is_written_again(void **state)
{
	guest("done\r\nlogin: ro");
	klog("one");
	klog("two");
	guest("ot\r\n");
	assert_string_equal(wire, "done\r\nlogin: ro\r\n[diosix] one\r\nlogin: ro\r\n[diosix] "
				  "two\r\nlogin: root\r\n");
}

static void messages_together_redraw_once(void **state)
{
	guest("login: ");
	room = 0;
	klog("one");
	klog("two");
	assert_true(tx_interrupt);
	drain_all();
	assert_string_equal(wire, "login: \r\n[diosix] one\r\n[diosix] two\r\nlogin: ");
	assert_false(tx_interrupt);
}

static void a_message_in_the_redraw(void **state)
{
	guest("login: ");
	room = 18; /* "\r\n", the message and "lo" */
	klog("one");
	room = 2;
	console_interrupt();
	room = 0;
	klog("two");
	drain_all();
	assert_string_equal(wire, "login: \r\n[diosix] one\r\nlogin: \r\n[diosix] two\r\nlogin: ");
}

static void all_comes_in_order(void **state)
{
	room = 3;
	guest("abcdef\r\nghi");
	klog("now");
	guest("j\r\n");
	klog("then");
	drain_all();
	assert_string_equal(wire, "abcdef\r\nghi\r\n[diosix] now\r\nghij\r\n[diosix] then\r\n");
}

static void every_place_to_interrupt(void **state)
{
	const char *text = "first line\r\nsecond\r\nthird";
	const char *plain = "[diosix] hey\r\n";

	for (size_t at = 0; at <= strlen(text); at++) {
		char expected[200];
		size_t line = at;

		while (line > 0 && text[line - 1] != '\n')
			line--;
		start(NULL);
		console_write((const uint8_t *)text, at);
		klog("hey");
		guest(text + at);
		snprintf(expected, sizeof(expected), "%.*s%s%s%s", (int)at, text,
			line == at ? "" : "\r\n", plain, text + line);
		assert_string_equal(wire, expected);
	}
}

static void a_full_ring_says_so(void **state)
{
	static char text[20001], expected[17000];
	size_t taken = 0, n;

	memset(text, 'g', 20000);
	room = 0;
	while ((n = guest(text)) > 0) {
		assert_true(n <= CONSOLE_WRITE_MAX);
		taken += n;
	}
	assert_int_equal(taken, 16384);
	klog("there is room for messages");
	assert_int_equal(guest("x"), 0);
	room = 330; /* the message, too, takes what is left */
	console_interrupt();
	assert_int_equal(guest("x"), 1);
	drain_all();
	memset(expected, 'g', 16384);
	n = 16384 +
	    (size_t)sprintf(expected + 16384, "\r\n[diosix] there is room for messages\r\n");
	memset(expected + n, 'g', TTYLINE_MAX);
	strcpy(expected + n + TTYLINE_MAX, "x");
	assert_string_equal(wire, expected);
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

#define RING 32768

static void messages_that_do_not_fit_are_counted(void **state)
{
	const unsigned length = (unsigned)strlen("[diosix] message 0000\r\n");
	unsigned kept = 0;
	char expected[100];

	room = 0;
	for (unsigned i = 0; i < 2000; i++)
		klog("message %04u", i);
	drain_all();
	for (char *at = wire; *at; at += length) {
		snprintf(expected, sizeof(expected), "[diosix] message %04u\r\n", kept++);
		assert_memory_equal(at, expected, length);
	}
	assert_int_equal(kept, RING / length);
	clear();
	klog("on");
	snprintf(expected, sizeof(expected), "[diosix] messages lost: %u\r\n[diosix] on\r\n",
		2000 - kept);
	assert_string_equal(wire, expected);
	clear();
	klog("again");
	assert_string_equal(wire, "[diosix] again\r\n");
}

/* With room for all that may have to stand around it. */
static void a_message_fits_whole_or_not_at_all(void **state)
{
	char text[241] = {0}, expected[300];
	size_t left = RING % 251 - strlen("\x18\r\n[diosix] \r\n");

	memset(text, 'x', 240);
	room = 0;
	for (int i = 0; i < RING / 251; i++)
		klog("%s", text);
	snprintf(expected, sizeof(expected), "[diosix] %s\r\n", text);
	text[left + 1] = '\0';
	klog("%s", text);
	drain_all();
	assert_int_equal(strlen(wire), RING / 251 * 251);
	assert_string_equal(wire + (RING / 251 - 1) * 251, expected);
	clear();
	klog("on");
	assert_string_equal(wire, "[diosix] messages lost: 1\r\n[diosix] on\r\n");
	memset(text, 'x', 240);
	room = 0;
	for (int i = 0; i < RING / 251; i++)
		klog("%s", text);
	text[left] = '\0';
	klog("%s", text);
	drain_all();
	clear();
	klog("on");
	assert_string_equal(wire, "[diosix] on\r\n");
}

static void an_empty_line_needs_no_break(void **state)
{
	guest("\r");
	klog("hey");
	assert_string_equal(wire, "\r[diosix] hey\r\n\r");
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

/* ---- what of a line is written again ---- */

static const char *kept_of(const char *text)
{
	static char out[TTYLINE_MAX + 1];
	struct ttyline l = {0};
	size_t n = 0;

	while (*text)
		ttyline_put(&l, (uint8_t)*text++);
	for (uint32_t pos = l.start; pos != l.end; pos++)
		out[n++] = (char)ttyline_at(&l, pos);
	out[n] = 0;
	return out;
}

static void lines_kept(void **state)
{
	static const struct {
		const char *stream, *kept;
	} cases[] = {
		{"abc", "abc"},
		{"abc\n", ""},
		{"abc\r\ndef", "def"},
		{"10%\r20%\r30%", "30%"},
		{"Loading\r", "Loading\r"},
		{"a\a\vb\bc\td", "ab\bc\td"},
		{"\x1b[1;31mred\x1b[0m \x1b[K$ ", "\x1b[1;31mred\x1b[0m \x1b[K$ "},
		{"ab\x1b[3D\x1b[2C\x1b[4P\x1b[2@\x1b[5G", "ab\x1b[3D\x1b[2C\x1b[4P\x1b[2@\x1b[5G"},
		{"\x1b[H\x1b[2J$ ", "$ "},                  /* would wipe the message */
		{"$ \x1b[6nx\x1b[cy\x1b[?2004hz", "$ xyz"}, /* would be answered twice */
		{"a\x1b"
		 "cb\x1b"
		 "7c\x1b(Bd\x1b#8e",
			"abcde"},
		{"a\x1b]0;title\ab\x1b]2;t\x1b\\c\x1bP1$r\x1b\\d", "abcd"},
		{"a\x1b[31", "a\x1b[31"}, /* incomplete: aborted, so it comes again */
		{"a\x1b]0;ti", "a\x1b]0;ti"},
		{"a\x1b[31\x18"
		 "b",
			"ab"},
		{"a\x1b[31\x1b[1mb", "a\x1b[1mb"},
		{"a\x1b[3\nb", "b"},
		{"a\x1b]0;x\nb", "b"},
		{"ab\x1b[3\r1mc", "ab\x1b[3\r1mc"},
		{"a\r\x1b[Kb", "\x1b[Kb"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(kept_of(cases[i].stream), cases[i].kept);
}

static void long_lines_keep_their_end(void **state)
{
	char text[600 + 1] = {0}, with_title[800];

	for (size_t i = 0; i < 600; i++)
		text[i] = (char)('a' + i % 26);
	for (size_t from = 0; from < 600 - TTYLINE_MAX; from++)
		assert_string_equal(kept_of(text + from), text + 600 - TTYLINE_MAX);
	snprintf(with_title, sizeof(with_title), "lost\x1b]0;%s\aX",
		text); /* a title longer than all that is kept */
	assert_string_equal(kept_of(with_title), "X");
}

static void a_sequence_is_aborted_before_a_message(void **state)
{
	guest("$ \x1b[3");
	klog("hey");
	guest("1mred");
	assert_string_equal(wire, "$ \x1b[3\x18\r\n[diosix] hey\r\n$ \x1b[31mred");
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

/* True when the `len` bytes at `at` are the beginning of guest line `number`. */
static bool begins(const char *at, size_t len, unsigned number)
{
	char text[100];

	return len <= guest_line(text, number) && !memcmp(at, text, len);
}

/* Each line is a message, a guest's line, or the beginning of one that a message interrupted. One
 * interrupted when only its
 * "\r\n" was missing looks whole, and comes again after the message. */
static void check_wire(unsigned guests, unsigned messages)
{
	unsigned g = 0, m = 0;
	bool after_message = false;
	char text[100];

	for (char *at = wire, *end; (end = strstr(at, "\r\n")); at = end + 2) {
		size_t len = (size_t)(end - at) + 2;

		if (*at == '[') {
			assert_int_equal(len, sprintf(text, "[diosix] m%u\r\n", m++));
			assert_memory_equal(at, text, len);
		} else if (len == guest_line(text, g) && begins(at, len, g)) {
			g++;
		} else {
			bool interrupted = end[2] == '[' && begins(at, len - 2, g);
			bool again = after_message && g > 0 &&
				     begins(at, len - (end[2] == '[' ? 2 : 0), g - 1);

			assert_true(interrupted || again);
		}
		after_message = *at == '[';
	}
	assert_int_equal(g, guests);
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
	assert_string_equal(wire, "login: \r\n[diosix] before\r\nlogin: ");
	clear();
	klog("dying");
	assert_string_equal(wire, "\r\n[diosix] dying\r\nlogin: ");
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
		cmocka_unit_test_setup(an_unfinished_line_is_written_again, start),
		cmocka_unit_test_setup(messages_together_redraw_once, start),
		cmocka_unit_test_setup(a_message_in_the_redraw, start),
		cmocka_unit_test_setup(all_comes_in_order, start),
		cmocka_unit_test_setup(every_place_to_interrupt, start),
		cmocka_unit_test_setup(a_full_ring_says_so, start),
		cmocka_unit_test_setup(room_again_is_an_event, start),
		cmocka_unit_test_setup(no_event_without_a_refusal, start),
		cmocka_unit_test_setup(messages_that_do_not_fit_are_counted, start),
		cmocka_unit_test_setup(a_message_fits_whole_or_not_at_all, start),
		cmocka_unit_test_setup(an_empty_line_needs_no_break, start),
		cmocka_unit_test_setup(one_call_sends_a_bounded_amount, start),
		cmocka_unit_test_setup(flush_gives_a_dead_uart_up, start),
		cmocka_unit_test_setup(input_waits_at_the_uart, start),
		cmocka_unit_test(lines_kept),
		cmocka_unit_test(long_lines_keep_their_end),
		cmocka_unit_test_setup(a_sequence_is_aborted_before_a_message, start),
		cmocka_unit_test_setup(random_walk, start),
		cmocka_unit_test_setup(panic_waits_for_the_uart, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
