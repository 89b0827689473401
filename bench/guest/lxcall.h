/* SPDX-License-Identifier: MIT */
/* System calls and numbers for the benchmarks' Linux programs without a C library, whose start-up
 * is no part of what is measured. */
#ifndef BENCH_LXCALL_H
#define BENCH_LXCALL_H

#include <stddef.h>
#include <stdint.h>

#define SYS_write  64
#define SYS_exit   93
#define SYS_reboot 142
#define SYS_clone  220
#define SYS_execve 221
#define SYS_wait4  260

#define SIGCHLD         17
#define REBOOT_MAGIC1   0xfee1dead
#define REBOOT_MAGIC2   672274793
#define REBOOT_POWEROFF 0x4321fedc

static inline long call6(long n, long p0, long p1, long p2, long p3, long p4, long p5)
{
	register long a0 __asm__("a0") = p0, a1 __asm__("a1") = p1, a2 __asm__("a2") = p2,
			 a3 __asm__("a3") = p3;
	register long a4 __asm__("a4") = p4, a5 __asm__("a5") = p5, a7 __asm__("a7") = n;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return a0;
}

static inline long call(long n, long p0, long p1, long p2, long p3)
{
	return call6(n, p0, p1, p2, p3, 0, 0);
}

static inline void put(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	call(SYS_write, 1, (long)s, (long)n, 0);
}

static inline void put_number(uint64_t v)
{
	char number[21];
	unsigned at = sizeof(number);

	number[--at] = 0;
	do
		number[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put(number + at);
}

#endif
