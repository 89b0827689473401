/* SPDX-License-Identifier: MIT */
/* What every unit test includes first: cmocka in the order it wants, and the fake host RAM. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Allocates zeroed fake RAM that stands for HPAs [base, base + size). Replaces what was there. */
void host_ram_init(uint64_t base, size_t size);

/* Runs `call`, which must end in bug(). */
extern jmp_buf bug_jmp;
extern int bug_expected;
#define expect_bug(call)                                                                           \
	do {                                                                                       \
		bug_expected = 1;                                                                  \
		if (setjmp(bug_jmp) == 0) {                                                        \
			call;                                                                      \
			fail_msg("expected bug() in " #call);                                      \
		}                                                                                  \
		bug_expected = 0;                                                                  \
	} while (0)
