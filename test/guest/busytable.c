/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a hart that uses an emulated device gets a fault that no hardware would raise
 * while another hart of its VM is just making a page of its own, which is one of their page tables
 * and was shared by a fork.
 */
#include "family.h"

#define ROUNDS 200

static volatile bool stop;
static volatile uint64_t tries, bad;
static volatile uint64_t *root;

/* Only an emulated register has its instruction fetched, through the guest's tables. */
static void reader(struct hart *h)
{
	csr_write(satp, satp_for((uint64_t *)root, 0));
	sfence();
	h->arg = 1;
	while (!stop) {
		uint64_t v;

		bad += try_load_value(m.plic + 4, 4, &v).taken;
		tries++;
	}
	csr_write(satp, 0);
}

static void run(void)
{
	root = pt_new();
	hart_start(1, reader);
	while (!harts[1].arg)
		relax();
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t child = paused_child(), had = tries, end = now() + m.hz / 2;

		/* The write meets the reader at another moment each time. */
		while (tries - had < 30 + i * 7 % 200 && now() < end)
			relax();
		root[300] = 0;
		kill_child(child);
	}
	stop = true;
	hart_wait(1);
	check_eq("loads of the PLIC that trapped", bad, 0);
	check("there were some", tries > ROUNDS);
}

void guest_main(void)
{
	dx_run(run);
}
