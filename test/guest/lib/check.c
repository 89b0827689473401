/* SPDX-License-Identifier: MIT */
/* Results and their printing. A line goes out in one piece, whichever hart it is from. */
#include <stdarg.h>
#include "guest.h"

static uint64_t checks, failed;
static uint32_t line_lock;

struct line {
	char text[240];
	uint64_t n;
};

static void put(struct line *l, char c)
{
	if (l->n < sizeof(l->text))
		l->text[l->n++] = c;
}

static void put_number(struct line *l, uint64_t v, unsigned base)
{
	char digits[20];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) && n < sizeof(digits));
	while (n)
		put(l, digits[--n]);
}

/* Conversions: %s, %x, %u, %lx, %lu. Numbers are taken as 64 bits after l. */
static void format_line(struct line *l, const char *f, va_list ap)
{
	for (; *f; f++) {
		if (*f != '%') {
			put(l, *f);
			continue;
		}
		bool is_long = *++f == 'l';

		f += is_long;
		if (*f == 's')
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put(l, *s);
		else
			put_number(l, is_long ? va_arg(ap, uint64_t) : va_arg(ap, uint32_t),
				*f == 'x' ? 16 : 10);
	}
}

static void send(const char *text, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		struct sbiret r = sbi(EID_DBCN, 0, n - done, (uintptr_t)text + done, 0, 0, 0);

		if (r.error)
			return; /* nothing is left to say it with */
		if (r.value == 0)
			dx_yield(); /* a child's is full until its parent reads */
		done += r.value;
	}
}

static void lock(void)
{
	while (__atomic_exchange_n(&line_lock, 1, __ATOMIC_ACQUIRE))
		give_way();
}

static void unlock(void)
{
	__atomic_store_n(&line_lock, 0, __ATOMIC_RELEASE);
}

void say_bytes(const char *text, uint64_t n)
{
	lock();
	send(text, n);
	unlock();
}

/* The text is given to SBI by its physical address, so it does not lie on a stack, which could be
 * mapped elsewhere. */
static void say_list(const char *format, va_list ap)
{
	static struct line l;

	lock();
	l.n = 0;
	format_line(&l, format, ap);
	put(&l, '\n');
	send(l.text, l.n);
	unlock();
}

void say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say_list(format, ap);
	va_end(ap);
}

static bool count(bool good)
{
	__atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
	if (!good)
		__atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
	return good;
}

void check(const char *name, bool good)
{
	if (count(good))
		say("ok %s", name);
	else
		say("not ok %s: got 0 expected 1", name);
}

void check_eq(const char *name, uint64_t got, uint64_t expected)
{
	if (count(got == expected))
		say("ok %s", name);
	else
		say("not ok %s: got 0x%lx expected 0x%lx", name, got, expected);
}

void check_eq_at(const char *name, uint64_t at, uint64_t got, uint64_t expected)
{
	if (count(got == expected))
		say("ok %s 0x%lx", name, at);
	else
		say("not ok %s 0x%lx: got 0x%lx expected 0x%lx", name, at, got, expected);
}

void check_err(const char *name, struct sbiret r, int64_t expected)
{
	if (count(r.error == expected))
		say("ok %s", name);
	else
		say("not ok %s: got error 0x%lx expected 0x%lx", name, (uint64_t)r.error,
			(uint64_t)expected);
}

void skip(const char *name, const char *reason)
{
	say("skip %s: %s", name, reason);
}

void broken(const char *reason, uint64_t a, uint64_t b, uint64_t c)
{
	unlock(); /* whoever holds the lock may be what is broken */
	say("broken: %s (0x%lx, 0x%lx, 0x%lx) on hart %lu", reason, a, b, c,
		this_hart() ? this_hart()->id : 0);
	shutdown();
}

void checks_begin(void)
{
	checks = failed = 0;
}

uint64_t checks_end(void)
{
	return checks << 32 | failed;
}

void checks_add(uint64_t counts)
{
	__atomic_fetch_add(&checks, counts >> 32, __ATOMIC_RELAXED);
	__atomic_fetch_add(&failed, counts & UINT32_MAX, __ATOMIC_RELAXED);
}

void summary(void);
void summary(void)
{
	say("guest: %lu checks, %lu failed", checks, failed);
}
