/* SPDX-License-Identifier: MIT */
/* For third-party sources that include it. Ours use core/bug.h. */
#pragma once

#define assert(x) ((void)0)
