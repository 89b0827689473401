/* SPDX-License-Identifier: MIT */
/*
 * One physical hart that runs VCPUs. Its structure is found through tp; a page without access
 * rights lies under its stack. Only its own hart writes the fields without a comment.
 */
#pragma once

#include "core/isa.h"
#include "core/sched.h"
#include "fdt/machine.h"
#include "riscv/offsets.h"
#include "riscv/pmp.h"

struct vcpu;

/* Requests to a PCPU, set by anybody, with an MSI sent after. */
#define REQ_RESCHED 1u
#define REQ_STOP    2u /* the machine ends: leave the guest and stay in M-mode */

struct pcpu {
	/* Known to trap.S and entry.S: */
	struct vcpu *current; /* whose registers are loaded; NULL before the first */
	uint64_t stack_top;
	uint64_t guard;   /* nonzero: an exception in M-mode skips its (4-byte) instruction and is
			     noted in `faulted` */
	uint64_t faulted; /* mcause + 1 of that exception */
	uint64_t scratch[1];
	uint64_t hartid;

	uint32_t id;       /* 0 .. npcpus-1 */
	uint32_t requests; /* atomic: REQ_… */
	bool stopped;      /* atomic: it has obeyed REQ_STOP */
	bool online;       /* written once by its own hart */
	bool vtw;          /* hstatus.VTW as set now */
	uint64_t
		sched_deadline; /* when the scheduler wants the timer; SCHED_NEVER for not at all */
	uint64_t timer_set;     /* what mtimecmp holds */
	const struct machine_hart *hart;
	struct isa isa;           /* as confirmed by probing */
	uint64_t vmid_mask, vmid; /* see vmid_activate */
	bool has_v;               /* whether guests are told of it or not */
	bool has_envcfg;          /* menvcfg and senvcfg */
	uint64_t pbmt;            /* WALK_PBMT, where the harts have Svpbmt */
	bool has_asids;           /* and enough */
	struct pmp pmp;
};

/* What each PCPU gets in memory: the guard page first, since stacks grow down. */
struct pcpu_area {
	uint8_t guard[PAGE_SIZE];
	uint8_t stack[STACK_SIZE];
	struct pcpu pcpu;
} aligned(PAGE_SIZE);
static_assert(sizeof(struct pcpu_area) <= 32768, "a PCPU's memory is at most 64 KiB");

extern struct pcpu *pcpus[SCHED_MAX_PCPUS + 1]; /* NULL behind the last */
extern uint32_t npcpus; /* usable harts; all of them are in pcpus[] before any VCPU runs */

static inline struct pcpu *this_pcpu(void)
{
	struct pcpu *p;

	__asm__("mv %0, tp" : "=r"(p));
	return p;
}

/* Makes the structures of all usable harts of `m`; the boot hart's exists already. Boot only.
 * E_NOMEM. */
enum err must_check pcpus_init(const struct machine *m);

/* Lets the other harts go: each calls secondary_main() on its own stack. Boot only, last. */
void pcpus_release(void);

/* Asks PCPU `id` to reschedule, by an MSI. The scheduler's kick. Any lock may be held. */
void pcpu_kick(uint32_t id);

/* Asks all, each of which obeys then what ceilings of priorities were lowered, or which VMs run no
 * more. */
void pcpus_kick(void);

/* Sends PCPU `p` an MSI, which makes it look at its requests and its VCPU's pending work. */
void pcpu_poke(const struct pcpu *p);

/* Sets mtimecmp to the earlier of the scheduler's deadline and the running VCPU's timer. */
void pcpu_set_timer(struct pcpu *p);

/* Ends this PCPU's work for good. */
noreturn void pcpu_stop(void);

/* Takes the other PCPUs out of their guests, which then neither run nor touch a device while the
 * machine goes down, and waits until they have stopped; a bounded time, as one may be stuck. */
void pcpus_stop_others(void);

/* Stops if it was told to. Called wherever a PCPU looks at its requests or waits for another one.
 */
static inline void pcpu_obey(uint32_t requests)
{
	if (unlikely(requests & REQ_STOP))
		pcpu_stop();
}
