/* SPDX-License-Identifier: MIT */
/* The limits libfdt asks for. The compiler's own <limits.h> would pull in the C library's. */
#pragma once

#define INT_MAX  __INT_MAX__
#define UINT_MAX (__INT_MAX__ * 2U + 1)
