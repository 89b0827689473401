/* SPDX-License-Identifier: MIT */
/* The C library's memory and string functions that we, the compiler and libfdt call, with the
 * standard's contracts: the first three are string.c's, the others klibc's. On the build machine
 * the host's own <string.h> is used instead. */
#pragma once

#include <stddef.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int byte, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* Nobody's: named in what libfdt leaves out (ASSUME_LATEST). */
char *strrchr(const char *s, int c);
