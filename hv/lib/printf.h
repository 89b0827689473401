/* SPDX-License-Identifier: MIT */
/* A small vsnprintf: %s %d %u %x %%, the length l, and for u and x a width, filled with blanks or,
 * after a 0, with zeroes. Always NUL-terminates when size > 0. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* Both return the length the whole text would have had, as C's do. */
int fmt_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int fmt_snprintf(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
