/* SPDX-License-Identifier: MIT */
/*
 * What Linux's own fork() costs, for comparison with bench/guest/tree.c: the first program of a
 * machine without Diosix. For each size it makes a process with so much resident memory fork, write
 * pages that are shared then, and kill its child; of ROUNDS the best counts. Prints lines "lxfork
 * NAME MIB TICKS N" (TICKS of the clock for N operations) and switches the machine off.
 */
#include <stddef.h>
#include <stdint.h>
#include "lxcall.h"

#define PAGE   4096ul
#define COPIES 256
#define ROUNDS 3

#define SYS_sched_yield 124
#define SYS_kill        129
#define SYS_munmap      215
#define SYS_mmap        222

#define SIGKILL       9
#define PROT_RW       3
#define MAP_SHARED    1
#define MAP_PRIVATE   2
#define MAP_ANONYMOUS 0x20

/* The figures of one round, in the order of `names`. */
enum { FORK, CHILD, COPY, SOLE, KILL, KILL_TOTAL, FIGURES };

void lxfork_main(void);

static uint64_t now(void)
{
	uint64_t t;

	__asm__ volatile("rdtime %0" : "=r"(t)::"memory");
	return t;
}

static uint64_t map(uint64_t size, long how)
{
	return (uint64_t)call6(SYS_mmap, 0, (long)size, PROT_RW, how | MAP_ANONYMOUS, -1, 0);
}

static uint64_t write_pages(uint64_t from, uint64_t n)
{
	uint64_t start = now();

	for (uint64_t i = 0; i < n; i++)
		*(volatile uint64_t *)(from + i * PAGE) = i;
	return now() - start;
}

static void round(uint64_t memory, volatile uint64_t *child_time, uint64_t *figure)
{
	*child_time = 0;
	uint64_t start = now();
	long pid = call(SYS_clone, SIGCHLD, 0, 0, 0);

	if (pid == 0) {
		*child_time = now();
		for (;;)
			call(SYS_wait4, -1, 0, 0, 0), call(SYS_sched_yield, 0, 0, 0, 0);
	}
	figure[FORK] = now() - start;
	while (*child_time == 0)
		call(SYS_sched_yield, 0, 0, 0, 0);
	figure[CHILD] = *child_time - start;
	figure[COPY] = write_pages(memory, COPIES);
	start = now();
	call(SYS_kill, pid, SIGKILL, 0, 0);
	figure[KILL] = now() - start;
	call(SYS_wait4, pid, 0, 0, 0);
	figure[KILL_TOTAL] = now() - start;
	figure[SOLE] = write_pages(memory + COPIES * PAGE, COPIES);
}

static void report(const char *name, uint64_t mib, uint64_t ticks, uint64_t n)
{
	put("lxfork ");
	put(name);
	put(" ");
	put_number(mib);
	put(" ");
	put_number(ticks);
	put(" ");
	put_number(n);
	put("\n");
}

static void measure(uint64_t mib, volatile uint64_t *child_time)
{
	uint64_t size = mib << 20, memory = map(size, MAP_PRIVATE), best[FIGURES], one[FIGURES];

	write_pages(memory, size / PAGE);
	for (unsigned r = 0; r < ROUNDS; r++) {
		round(memory, child_time, one);
		for (unsigned i = 0; i < FIGURES; i++)
			best[i] = r && best[i] < one[i] ? best[i] : one[i];
	}
	call(SYS_munmap, (long)memory, (long)size, 0, 0);
	report("fork", mib, best[FORK], 1);
	report("child", mib, best[CHILD], 1);
	report("copy", mib, best[COPY], COPIES);
	report("sole", mib, best[SOLE], COPIES);
	report("kill", mib, best[KILL], 1);
	report("kill_total", mib, best[KILL_TOTAL], 1);
}

void lxfork_main(void)
{
	volatile uint64_t *child_time = (volatile uint64_t *)map(PAGE, MAP_SHARED);

	measure(64, child_time);
	measure(256, child_time);
	measure(1024, child_time);
	put("done\n");
	call(SYS_reboot, (long)REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWEROFF, 0);
}

__asm__(".global _start\n_start:\n\tcall lxfork_main\n1:\tj 1b\n");
