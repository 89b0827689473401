/* SPDX-License-Identifier: MIT */
/* The limits libfdt and klibc ask for. The compiler's own <limits.h> would pull in the C library's.
 */
#pragma once

#define CHAR_BIT __CHAR_BIT__
#define INT_MAX  __INT_MAX__
#define UINT_MAX (__INT_MAX__ * 2U + 1)
