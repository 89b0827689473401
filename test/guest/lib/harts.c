/* SPDX-License-Identifier: MIT */
/* The harts' structures and stacks, start and end of a guest, and the few library functions. */
#include "guest.h"

#define STACK 16384

struct hart harts[MAX_HARTS];
static bool harts_share;
static uint8_t stacks[MAX_HARTS][STACK] __attribute__((aligned(16)));
static uint8_t trap_stacks[MAX_HARTS][STACK] __attribute__((aligned(16)));

/* Entered by start.S. */
struct hart *boot_setup(uint64_t hartid, const void *fdt);
_Noreturn void hart_main(struct hart *h, uint64_t hartid);
void summary(void);

static void boot_main(struct hart *h)
{
	(void)h;
	guest_main();
	summary();
	shutdown();
}

struct hart *boot_setup(uint64_t hartid, const void *fdt)
{
	for (unsigned i = 0; i < MAX_HARTS; i++) {
		harts[i].id = i;
		harts[i].stack = (uintptr_t)stacks[i] + STACK;
		harts[i].trap_stack = (uintptr_t)trap_stacks[i] + STACK;
	}
	__asm__ volatile("mv tp, zero");
	fdt_init(fdt);
	harts_share = bootarg("shared");
	harts[hartid].fn = boot_main;
	return &harts[hartid];
}

void hart_main(struct hart *h, uint64_t hartid)
{
	if (hartid != h->id)
		broken("a hart started with the wrong id: got, expected", hartid, h->id, 0);
	h->fn(h);
	h->done = true;
	sbi(EID_HSM, 1, 0, 0, 0, 0, 0);
	broken("hart_stop returned", 0, 0, 0);
}

void hart_start(unsigned id, void (*fn)(struct hart *h))
{
	harts[id].fn = fn;
	harts[id].done = false;
	harts[id].on_irq = NULL;
	struct sbiret r = sbi(EID_HSM, 0, id, (uintptr_t)hart_entry, (uintptr_t)&harts[id], 0, 0);

	if (r.error)
		broken("hart_start: id, error", id, (uint64_t)r.error, 0);
}

void give_way(void)
{
	if (harts_share)
		dx_yield();
	else
		relax();
}

void hart_wait(unsigned id)
{
	while (!harts[id].done || sbi_hart_status(id) != HSM_STOPPED)
		give_way();
}

void spin_for(uint64_t ticks)
{
	uint64_t end = now() + ticks;

	while (now() < end)
		relax();
}

/* xorshift64* */
uint64_t random_next(uint64_t *seed)
{
	uint64_t s = *seed;

	s ^= s >> 12;
	s ^= s << 25;
	s ^= s >> 27;
	*seed = s;
	return s * 0x2545f4914f6cdd1dul;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++)
		b++;
	return *(const uint8_t *)a - *(const uint8_t *)b;
}

void *memset(void *p, int c, size_t n)
{
	for (uint8_t *b = p; n--;)
		*b++ = (uint8_t)c;
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	uint8_t *t = to;

	for (const uint8_t *f = from; n--;)
		*t++ = *f++;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
