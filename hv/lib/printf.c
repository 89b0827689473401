/* SPDX-License-Identifier: MIT */
/*
 * Formatting of the hypervisor's messages. Output beyond the buffer is counted and dropped, so that
 * a message is cut, never refused. An unknown conversion is printed as it stands: a message with a
 * mistake in it is better than none.
 */
#include "lib/printf.h"

#include <stdbool.h>
#include <stdint.h>

#define MAX_DIGITS 20 /* of 2^64 - 1 in decimal */

struct out {
	char *buf;
	size_t size, used; /* `used` goes on counting beyond size */
};

struct spec {
	bool zero, is_long;
	uint8_t width;
};

static void put(struct out *o, char c)
{
	if (o->used + 1 < o->size)
		o->buf[o->used] = c;
	o->used++;
}

static void put_string(struct out *o, const char *s)
{
	while (*s)
		put(o, *s++);
}

static void put_number(struct out *o, const struct spec *spec, uint64_t value, unsigned base)
{
	char digits[MAX_DIGITS];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (unsigned i = n; i < spec->width; i++)
		put(o, spec->zero ? '0' : ' ');
	while (n > 0)
		put(o, digits[--n]);
}

/* Everything between the % and the conversion. */
static const char *parse_spec(const char *fmt, struct spec *spec)
{
	spec->zero = *fmt == '0';
	spec->width = 0;
	for (; *fmt >= '0' && *fmt <= '9'; fmt++)
		spec->width = (uint8_t)(spec->width * 10 + *fmt - '0');
	spec->is_long = *fmt == 'l';
	return fmt + spec->is_long;
}

static void put_signed(struct out *o, const struct spec *spec, int64_t value)
{
	if (value < 0)
		put(o, '-');
	put_number(o, spec, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

/* Returns where the text goes on. */
static const char *put_conversion(struct out *o, const char *percent, va_list *ap)
{
	struct spec spec;
	const char *fmt = parse_spec(percent + 1, &spec);

	switch (*fmt) {
	case 's':
		put_string(o, va_arg(*ap, const char *));
		break;
	case 'd':
		put_signed(o, &spec, spec.is_long ? va_arg(*ap, long) : va_arg(*ap, int));
		break;
	case 'u':
	case 'x':
		put_number(o, &spec,
			spec.is_long ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned),
			*fmt == 'x' ? 16 : 10);
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
