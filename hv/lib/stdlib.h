/* SPDX-License-Identifier: MIT */
/* libfdt's libfdt_env.h includes it and uses nothing of it. */
#pragma once

#include <stddef.h>
