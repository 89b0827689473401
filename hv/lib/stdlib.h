/* SPDX-License-Identifier: MIT */
/* libfdt's libfdt_env.h includes it and uses nothing of it (strtoul is in our <string.h>). */
#pragma once

#include <stddef.h>
