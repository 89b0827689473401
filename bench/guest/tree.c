/* SPDX-License-Identifier: MIT */
/*
 * The guest that measures the tree: fork, clone, copy-on-write faults and kill, at as many live VMs
 * as LIVE names. It is the Root VM, without hardware trust, so that its forks share memory; RAM
 * and VCPUs are what it was packed with. bench/plugin/mmode.c counts the hypervisor's instructions
 * between the marks; lines "row NAME LIVE KIND N" say, in the order in which they were done, that N
 * operations of that kind were NAME's, with LIVE VMs there. bench/tree.py puts the two together.
 */
#include <stdbool.h>
#include <stdint.h>
#include "abi/diosix.h"
#include "sbi.h"

#define EID_HSM  0x48534d
#define SIE_STIE 32

#define PAGE    4096ul
#define BIG     (2ul << 20) /* bytes that a superpage maps */
#define BELOW   (2 * BIG)   /* of RAM: this program, and what lies before it */
#define COPIES  256         /* of the 512 pages of a superpage */
#define FEW     64          /* a free page is found sooner or later: the mean counts */
#define WAIT    10000000ul  /* ticks: longer than any child takes to die */
#define SHORT   100ul       /* ticks: less than one takes to die that has much memory */
#define MAX_VMS 256

/* Marks: a kind begins an operation, RETURNED + kind ends its call; the others come later. */
enum { FORK_WHOLE = 1, FORK, FORK_SPLIT, CLONE, KILL_WHOLE, KILL, KILL_SPLIT, SPLIT, COPY, SOLE };
enum { RETURNED = 16, CHILD = 32, SETTLED };

void bench_main(uint64_t hartid, uint64_t entry_time, uint64_t image_end);
void park(void);

static struct dx_info info __attribute__((aligned(512)));
_Static_assert(sizeof(info) <= 512, "it crosses no page");
static uint64_t handles[MAX_VMS];
static uint8_t page[1 + FEW][PAGE] __attribute__((aligned(PAGE)));

/* Where the other harts go, and each child. */
__asm__(".balign 4\npark:\n\tcsrw sie, zero\n1:\twfi\n\tj 1b\n");

static void need(bool good, const char *what)
{
	if (good)
		return;
	put("broken: ");
	put(what);
	put("\n");
	sbi(EID_SRST, 0, 0, 0, 0, 0);
}

static inline struct sbi_ret dx(uint64_t fid, uint64_t a0, uint64_t a1)
{
	return sbi(DX_EID, fid, a0, a1, 0, 0);
}

static const struct dx_info *ask(uint64_t handle)
{
	need(dx(DX_FID_INFO, handle, (uint64_t)&info).error == 0, "info");
	return &info;
}

static void row(const char *name, uint64_t live, uint64_t kind, uint64_t n)
{
	const uint64_t numbers[] = {live, kind, n};

	put("row ");
	put(name);
	for (unsigned i = 0; i < 3; i++) {
		put(" ");
		put_number(numbers[i]);
	}
	put("\n");
}

/* Returns by how much it is later than wanted. */
static uint64_t sleep(uint64_t ticks)
{
	uint64_t until = now() + ticks, t;

	csr_write(0x14d, until);
	csr_write(sie, SIE_STIE);
	while ((t = now()) < until)
		__asm__ volatile("wfi");
	csr_write(sie, 0);
	csr_write(0x14d, UINT64_MAX);
	return t - until;
}

/* All others run until they have nothing to do. */
static void settle(void)
{
	sleep(WAIT);
	MARK(SETTLED);
}

/* Inline, because a mark is a constant. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE uint64_t fork(int kind)
{
	MARK(kind);
	struct sbi_ret r = dx(DX_FID_FORK, 0, 0);

	if (r.error == 0 && r.value == 0) {
		MARK(CHILD);
		park();
	}
	MARK(RETURNED + kind);
	need(r.error == 0, "fork");
	settle();
	return r.value;
}

static uint64_t clone(uint64_t handle)
{
	MARK(CLONE);
	struct sbi_ret r = dx(DX_FID_CLONE, handle, 0);

	MARK(RETURNED + CLONE);
	need(r.error == 0, "clone");
	settle();
	return r.value;
}

ALWAYS_INLINE void kill(int kind, uint64_t handle)
{
	MARK(kind);
	struct sbi_ret r = dx(DX_FID_KILL, handle, 0);

	MARK(RETURNED + kind);
	need(r.error == 0, "kill");
	settle();
	need(ask(handle)->state == DX_GONE, "a killed child is not gone");
	need(dx(DX_FID_REAP, handle, 0).error == 0, "reap");
}

#define STORE(kind, at)                                                                            \
	do {                                                                                       \
		volatile uint64_t *to = (volatile uint64_t *)(at);                                 \
		MARK(kind);                                                                        \
		*to = 1;                                                                           \
		MARK(RETURNED + kind);                                                             \
	} while (0)

/* The first fork: nothing of RAM is split yet. At its end, what this program lies in is. Returns
 * whether memory is shared with it: a direct VM's is copied, so that the rest cannot be. */
static bool whole(void)
{
	uint64_t child = fork(FORK_WHOLE);
	bool shared = ask(child)->pages_private == 0;

	*(volatile uint8_t *)page[0] = 1;
	kill(KILL_WHOLE, child);
	row("fork", 0, FORK_WHOLE, 1);
	row("kill", 0, KILL_WHOLE, 1);
	return shared;
}

/* The same with others alive. */
static void with_others(uint64_t live)
{
	uint64_t others = 0;

	while (1 + others < live)
		handles[others++] = fork(FORK);
	row("filler", live, FORK, others);
	kill(KILL, fork(FORK));
	row("fork", live, FORK, 1);
	row("kill", live, KILL, 1);

	/* Another one to share pages with, also where there are no others. */
	uint64_t child = fork(FORK);

	for (unsigned i = 1; i <= FEW; i++)
		STORE(COPY, page[i]);
	kill(KILL, child);
	row("filler", live, FORK, 1);
	row("copy", live, COPY, FEW);
	row("filler", live, KILL, 1);
	while (others)
		kill(KILL, handles[--others]);
	row("filler", live, KILL, live - 1);
}

static void faults(uint64_t start, uint64_t end)
{
	uint64_t child = fork(FORK), kept = start + COPIES * PAGE;

	row("filler", 0, FORK, 1);
	for (uint64_t at = start; at < end; at += BIG)
		STORE(SPLIT, at);
	row("split", 0, SPLIT, (end - start) / BIG);
	for (uint64_t at = start + PAGE; at < kept; at += PAGE)
		STORE(COPY, at);
	row("copies", 0, COPY, COPIES - 1);
	kill(KILL, child);
	row("filler", 0, KILL, 1);
	for (uint64_t at = kept; at < start + BIG; at += PAGE)
		STORE(SOLE, at);
	row("sole", 0, SOLE, 512 - COPIES);
}

/* Every superpage is a table by now. */
static void split(void)
{
	kill(KILL_SPLIT, fork(FORK_SPLIT));
	row("fork_split", 0, FORK_SPLIT, 1);
	row("kill_split", 0, KILL_SPLIT, 1);

	/* Once more, with a timer that wants to be served meanwhile. */
	uint64_t child = fork(FORK_SPLIT);

	need(dx(DX_FID_KILL, child, 0).error == 0, "kill");
	uint64_t late = sleep(SHORT);

	put("late ");
	put_number(late);
	put("\n");
	row("filler", 0, FORK_SPLIT, 1);
}

static void cloning(void)
{
	uint64_t mould = fork(FORK);

	need(dx(DX_FID_PAUSE, mould, 0).error == 0, "pause");
	kill(KILL, clone(mould));
	kill(KILL, mould);
	row("filler", 0, FORK, 1);
	row("clone", 0, CLONE, 1);
	row("filler", 0, KILL, 2);
}

static const uint64_t LIVE[] = {1, 2, 50, 200};

void bench_main(uint64_t hartid, uint64_t entry_time, uint64_t image_end)
{
	(void)entry_time;
	(void)image_end;
	const struct dx_info *self = ask(DX_SELF);
	uint64_t start = self->ram_base + BELOW, end = self->ram_base + self->ram_size;

	for (uint64_t i = 0; i < self->vcpus; i++)
		if (i != hartid)
			need(sbi(EID_HSM, 0, i, (uint64_t)park, 0, 0).error == 0, "hart_start");
	need(dx(DX_FID_DROP_TRUST, 0, 0).error == 0, "drop trust");
	settle();
	bool shared = whole();

	for (unsigned i = 0; shared && i < sizeof(LIVE) / sizeof(LIVE[0]); i++)
		with_others(LIVE[i]);
	cloning();
	if (shared) {
		faults(start, end);
		split();
	}
	put("done\n");
	sbi(EID_SRST, 0, 0, 0, 0, 0);
}
