/* SPDX-License-Identifier: MIT */
/* What the bare guests of the benchmarks have in common: SBI calls, the clock, numbers on the SBI
 * console, and marks for the plugin. All inline, so that a measured operation has no call in it. */
#ifndef BENCH_SBI_H
#define BENCH_SBI_H

#include <stdint.h>

#define EID_DBCN 0x4442434e
#define EID_SRST 0x53525354

#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_set(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")

/* For bench/plugin/mmode.c: by these hints it knows what the hypervisor's instructions are for. */
#define MARK(n) __asm__ volatile("slti x0, x0, %0" ::"i"(n) : "memory")

struct sbi_ret {
	int64_t error;
	uint64_t value;
};

static inline struct sbi_ret sbi(
	uint64_t eid, uint64_t fid, uint64_t p0, uint64_t p1, uint64_t p2, uint64_t p3)
{
	register uint64_t a0 __asm__("a0") = p0, a1 __asm__("a1") = p1, a2 __asm__("a2") = p2,
			     a3 __asm__("a3") = p3;
	register uint64_t a6 __asm__("a6") = fid, a7 __asm__("a7") = eid;

	__asm__ volatile("ecall"
			 : "+r"(a0), "+r"(a1)
			 : "r"(a2), "r"(a3), "r"(a6), "r"(a7)
			 : "memory");
	return (struct sbi_ret){(int64_t)a0, a1};
}

static inline uint64_t now(void)
{
	uint64_t t;

	__asm__ volatile("rdtime %0" : "=r"(t)::"memory");
	return t;
}

static inline void put_bytes(const char *s, uint64_t n)
{
	while (n) {
		struct sbi_ret r = sbi(EID_DBCN, 0, n, (uint64_t)s, 0, 0);

		if (r.error)
			return;
		s += r.value;
		n -= r.value;
	}
}

static inline void put(const char *s)
{
	uint64_t n = 0;

	while (s[n])
		n++;
	put_bytes(s, n);
}

static inline void put_number(uint64_t v)
{
	char buf[20];
	unsigned at = sizeof(buf);

	do
		buf[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put_bytes(buf + at, sizeof(buf) - at);
}

#endif
