/* SPDX-License-Identifier: MIT */
/*
 * Formatting of the hypervisor's messages. Output beyond the buffer is counted and dropped, so that
 * a message is cut, never refused. An unknown conversion is printed as it stands: a message with a
 * mistake in it is better than none.
 */
#include "lib/printf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAX_DIGITS 20   /* of 2^64 - 1 in decimal */
#define MAX_FIELD  1024 /* widths and precisions beyond this are cut to it */

struct out {
	char *buf;
	size_t size, used; /* `used` goes on counting beyond size */
};

struct spec {
	bool zero, left, has_precision;
	int longs; /* how many l; z counts as one: size_t is as wide as long on every RISC-V ABI */
	size_t width, precision;
};

static void put(struct out *o, char c)
{
	if (o->used + 1 < o->size)
		o->buf[o->used] = c;
	o->used++;
}

static void put_repeated(struct out *o, char c, size_t n)
{
	for (; n; n--)
		put(o, c);
}

/* `prefix` (a sign, or 0x) stands before zeroes but behind blanks. */
static void put_field(
	struct out *o, const struct spec *spec, const char *prefix, const char *text, size_t len)
{
	size_t prefix_len = strlen(prefix);
	size_t pad = spec->width > len + prefix_len ? spec->width - len - prefix_len : 0;
	bool zero = spec->zero && !spec->left;

	if (!zero && !spec->left)
		put_repeated(o, ' ', pad);
	for (; *prefix; prefix++)
		put(o, *prefix);
	if (zero)
		put_repeated(o, '0', pad);
	for (; len; len--)
		put(o, *text++);
	if (spec->left)
		put_repeated(o, ' ', pad);
}

static void put_number(
	struct out *o, const struct spec *spec, const char *prefix, uint64_t value, unsigned base)
{
	char digits[MAX_DIGITS];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put_field(o, spec, prefix, digits + at, sizeof(digits) - at);
}

static void put_string(struct out *o, struct spec *spec, const char *s)
{
	if (!s)
		s = "(null)";
	spec->zero = false;
	put_field(o, spec, "", s, spec->has_precision ? strnlen(s, spec->precision) : strlen(s));
}

static const char *parse_count(const char *fmt, size_t *count)
{
	size_t n = 0;

	for (; *fmt >= '0' && *fmt <= '9'; fmt++)
		n = n < MAX_FIELD ? n * 10 + (size_t)(*fmt - '0') : n;
	*count = n < MAX_FIELD ? n : MAX_FIELD;
	return fmt;
}

/* Everything between the % and the conversion. */
static const char *parse_spec(const char *fmt, struct spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	for (; *fmt == '0' || *fmt == '-'; fmt++) {
		spec->zero |= *fmt == '0';
		spec->left |= *fmt == '-';
	}
	fmt = parse_count(fmt, &spec->width);
	if (*fmt == '.') {
		spec->has_precision = true;
		fmt = parse_count(fmt + 1, &spec->precision);
	}
	for (; *fmt == 'l' || *fmt == 'z'; fmt++)
		spec->longs++;
	return fmt;
}

static uint64_t unsigned_arg(const struct spec *spec, va_list *ap)
{
	if (spec->longs >= 2)
		return va_arg(*ap, unsigned long long);
	return spec->longs ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned);
}

static int64_t signed_arg(const struct spec *spec, va_list *ap)
{
	if (spec->longs >= 2)
		return va_arg(*ap, long long);
	return spec->longs ? va_arg(*ap, long) : va_arg(*ap, int);
}

static void put_signed(struct out *o, const struct spec *spec, int64_t value)
{
	uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;

	put_number(o, spec, value < 0 ? "-" : "", magnitude, 10);
}

/* Returns where the text goes on. */
static const char *put_conversion(struct out *o, const char *percent, va_list *ap)
{
	struct spec spec;
	const char *fmt = parse_spec(percent + 1, &spec);
	char c;

	switch (*fmt) {
	case 's':
		put_string(o, &spec, va_arg(*ap, const char *));
		break;
	case 'c':
		c = (char)va_arg(*ap, int);
		spec.zero = false;
		put_field(o, &spec, "", &c, 1);
		break;
	case 'd':
	case 'i':
		put_signed(o, &spec, signed_arg(&spec, ap));
		break;
	case 'u':
		put_number(o, &spec, "", unsigned_arg(&spec, ap), 10);
		break;
	case 'x':
		put_number(o, &spec, "", unsigned_arg(&spec, ap), 16);
		break;
	case 'p':
		put_number(o, &spec, "0x", (uintptr_t)va_arg(*ap, void *), 16);
		break;
	case '%':
		put(o, '%');
		break;
	default:
		put(o, '%');
		return percent + 1;
	}
	return fmt + 1;
}

int fmt_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = {buf, size, 0};
	va_list args;

	/* A copy, because a va_list parameter may be an array: its address is no va_list *. */
	va_copy(args, ap);
	while (*fmt) {
		if (*fmt == '%')
			fmt = put_conversion(&o, fmt, &args);
		else
			put(&o, *fmt++);
	}
	va_end(args);
	if (size)
		buf[o.used < size ? o.used : size - 1] = '\0';
	return (int)o.used;
}

int fmt_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = fmt_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
