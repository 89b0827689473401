/* SPDX-License-Identifier: MIT */
/* What there is of it: text into buffers. klibc's; on the build machine the host's own. No floating
 * point. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int snprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
