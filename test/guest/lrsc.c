/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a load reservation outlives a change of the VCPU on a PCPU, so that one VCPU's
 * store-conditional succeeds by another's reservation, and updates are lost: locks and counters in
 * every guest break.
 */
#include "guest.h"

#define EACH 30000

static uint64_t counter __attribute__((aligned(64)));

/* A long time between LR and SC, so that preemption falls there. The loop is not one of those that
 * must end in a bounded time, but there is nothing that would make it fail for ever. */
static void add_slowly(uint64_t *p)
{
	uint64_t value, failed, n;

	do
		__asm__ volatile("lr.d %0, (%3)\n\tli %2, 1500\n1:\taddi %2, %2, -1\n\tbnez %2, "
				 "1b\n\taddi %0, %0, 1\n\tsc.d %1, %0, (%3)"
				 : "=&r"(value), "=&r"(failed), "=&r"(n)
				 : "r"(p)
				 : "memory");
	while (failed);
}

static void work(struct hart *h)
{
	(void)h;
	for (unsigned i = 0; i < EACH; i++)
		add_slowly(&counter);
}

static volatile uint64_t amo_counter;

static void amo_work(struct hart *h)
{
	(void)h;
	for (unsigned i = 0; i < 100000; i++)
		__atomic_fetch_add(&amo_counter, 1, __ATOMIC_RELAXED);
}

static void on_all(void (*fn)(struct hart *h))
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, fn);
	fn(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
}

void guest_main(void)
{
	on_all(work);
	check_eq("no update by LR/SC is lost", counter, (uint64_t)EACH * m.nharts);
	on_all(amo_work);
	check_eq("no update by AMO is lost", amo_counter, 100000ul * m.nharts);
}
