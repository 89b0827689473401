/* SPDX-License-Identifier: MIT */
/* A small vsnprintf: %s %c %d %i %u %x %p %%, the flags 0 and -, a width, a precision on %s, and
 * the lengths l, ll and z. Always NUL-terminates when size > 0. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* Both return the length the whole text would have had, as C's do. */
int fmt_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int fmt_snprintf(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
