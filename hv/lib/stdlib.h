/* SPDX-License-Identifier: MIT */
/* Empty: libfdt's libfdt_env.h includes it and uses nothing of it. */
