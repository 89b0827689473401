/* SPDX-License-Identifier: MIT */
/* Hypervisor messages. One call is one line, written whole: see core/console.c. */
#pragma once

#include "core/compiler.h"

/* Prints "[diosix] " and the formatted text (at most 240 characters) as one line; no newline at the
 * end of `fmt`. May be called with any lock but console.lock held. */
void klog(const char *fmt, ...) printf_like;
