/* SPDX-License-Identifier: MIT */
/* klibc includes it for the types alone. */
#pragma once

#include <stdint.h>
