/* SPDX-License-Identifier: MIT */
/*
 * Attaching to a child's console: bytes go through as they are, both ways. What the child has
 * written before is shown first, as far back as the driver keeps it.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "dx.h"

#define SCROLLBACK (64 << 10) /* what the driver keeps at most */

struct console {
	int fd, key;
	bool input_ended;
	bool terminal; /* a user types */
	char in[4096]; /* typed, and not yet taken by the child */
	size_t nin;
};

static struct termios saved;
static bool is_raw;

static void restore_terminal(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	is_raw = false;
}

static void on_signal(int signal)
{
	restore_terminal();
	_exit(128 + signal);
}

static void raw_terminal(void)
{
	/* SIGPIPE: the output's reader has gone. */
	static const int ends[] = {SIGTERM, SIGHUP, SIGPIPE, SIGINT, SIGQUIT};
	static bool registered;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	if (!registered)
		atexit(restore_terminal);
	registered = true;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		signal(ends[i], on_signal);
	raw = saved;
	cfmakeraw(&raw);
	is_raw = true;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static void write_all(const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			die_file("output");
		bytes += done;
		n -= (size_t)done;
	}
}

/* What the child has written, but not much more than `most` bytes: one that writes without end does
 * not keep the user's keys from being read. False when there will never be more. */
static bool show_output(struct console *c, size_t most)
{
	char buf[4096];

	for (size_t shown = 0; shown < most;) {
		ssize_t n = read(c->fd, buf, sizeof(buf));

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		write_all(buf, (size_t)n);
		shown += (size_t)n;
	}
	return true;
}

/* What is typed; true: the key to detach was among it. That works also when the child takes no
 * input, so what there is no room for is dropped. */
static bool read_input(struct console *c)
{
	char buf[sizeof(c->in)];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	char *key;
	size_t typed;

	if (n < 0 && errno == EINTR)
		return false;
	c->input_ended = n <= 0;
	if (n <= 0)
		return false;
	key = memchr(buf, c->key, (size_t)n);
	typed = key ? (size_t)(key - buf) : (size_t)n;
	if (typed > sizeof(c->in) - c->nin)
		typed = sizeof(c->in) - c->nin;
	memcpy(c->in + c->nin, buf, typed);
	c->nin += typed;
	return key;
}

/* A file waits until the child has taken what it gave so far. */
static bool wants_input(const struct console *c)
{
	return !c->input_ended && (c->terminal || c->nin == 0);
}

static void pass_input(struct console *c)
{
	ssize_t n = write(c->fd, c->in, c->nin);

	/* To a child that has ended, nothing can be said. */
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = (ssize_t)c->nin;
	if (n > 0) {
		memmove(c->in, c->in + n, c->nin - (size_t)n);
		c->nin -= (size_t)n;
	}
}

static bool has_ended(const struct console *c)
{
	struct dx_info info;

	ioctl(c->fd, DXIO_EVENTS);
	return ioctl(c->fd, DXIO_LAST, &info) < 0 || info.state == DX_GONE;
}

/* The last words of a child that has ended; what it said so far, to who leaves at a file's end. */
static size_t how_much(const struct console *c, bool ended)
{
	return ended ? SIZE_MAX : c->input_ended ? SCROLLBACK : 1;
}

/* The child has ended (true), or the user wants away (false). Input that ended, a file's, is a wish
 * to go when the child has taken it; a user's goes at once. */
static bool converse(struct console *c)
{
	bool ended = has_ended(c), away = false;

	for (;;) {
		if (!show_output(c, how_much(c, ended)) || ended)
			return true;
		if (c->nin)
			pass_input(c);
		if (away || (c->input_ended && !c->nin))
			return false;
		struct pollfd p[2] = {
			{.fd = c->fd, .events = POLLIN | POLLPRI | (c->nin ? POLLOUT : 0)},
			{.fd = wants_input(c) ? STDIN_FILENO : -1, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die_errno("poll");
		if (p[1].revents)
			away = read_input(c);
		if (p[0].revents & (POLLPRI | POLLHUP))
			ended = has_ended(c);
	}
}

bool console_attach(uint32_t handle, int key)
{
	struct console c = {.key = key, .fd = child_open(handle)};
	bool ended;

	c.terminal = isatty(STDIN_FILENO);
	fcntl(c.fd, F_SETFL, O_RDWR | O_NONBLOCK);
	if (c.terminal)
		fprintf(stderr, "[attached: Ctrl-%c detaches]\n", key | 0x40);
	raw_terminal();
	ended = converse(&c);
	restore_terminal();
	close(c.fd);
	if (c.terminal)
		fprintf(stderr, "\n[%s]\n", ended ? "the child has ended" : "detached");
	return ended;
}

static int parse_key(const char *text)
{
	int key = toupper((unsigned char)*text);

	if (strlen(text) != 1 || key < 'A' || key > '_')
		die(ST_USAGE, "--escape takes a letter, or one of [ \\ ] ^ _");
	return key & 0x1f;
}

int cmd_console(int argc, char **argv)
{
	static const struct option own[] = {{"escape", required_argument, NULL, 'e'}, {0}};
	int key = ESCAPE_KEY;

	while (next_option(argc, argv, own) == 'e')
		key = parse_key(optarg);
	operands(argc, 1, 1);
	console_attach(child_find(argv[optind], false), key);
	return ST_OK;
}
