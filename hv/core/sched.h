/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: which VCPU each PCPU runs. Portable; knows VCPUs only as struct sched_entity.
 *
 * Rules:
 *  - A higher priority always runs before a lower one, and preempts it at once on some PCPU.
 *  - Among equals the one that has had the least CPU time (`vruntime`) goes first. Run times are
 * comparable across PCPUs: at the end of a slice a PCPU takes the least-served waiting entity of
 * all PCPUs, when it is a slice or more behind.
 *  - A slice ends only when somebody waits; a PCPU alone with its entity gets no timer interrupts.
 *  - Who sleeps does not save up time: on waking it is at most one slice behind the least-served
 * that runs or waits.
 *  - No PCPU stays idle while something is ready anywhere: whoever leaves something waiting calls
 * an idle PCPU to fetch it.
 *
 * States, each changed under the lock of the home PCPU's run queue by the function named:
 *
 *     OFF --sched_start--> READY --sched_pick--> RUNNING --sched_put--> READY | BLOCKED | OFF
 *     BLOCKED --sched_wake, sched_expire--> READY
 *
 * An entity leaves RUNNING only on its own PCPU, after its registers were saved: nobody can run it
 * half-saved. Costs: O(log n) in the entities of one PCPU, plus O(PCPUs); nothing is allocated.
 */
#pragma once

#include "core/heap.h"
#include "core/lock.h"

#define SCHED_MAX_PCPUS    64
#define SCHED_MAX_PRIORITY 7
#define SCHED_DEFAULT_PRIO 3
#define SCHED_NEVER        UINT64_MAX

enum sched_state { SCHED_OFF, SCHED_BLOCKED, SCHED_READY, SCHED_RUNNING };

struct sched_entity {
	/* under the home run queue's lock: */
	struct heap_node ready; /* in the home's ready heap while READY */
	struct heap_node timer; /* in the home's timer heap while BLOCKED until a time */
	enum sched_state state;
	uint32_t home; /* PCPU whose run queue it belongs to; changes only while READY or on waking
			*/
	uint8_t priority;     /* 0 .. SCHED_MAX_PRIORITY */
	bool wake_latched;    /* woken while RUNNING: the next sched_put to BLOCKED makes it READY
				 instead */
	uint64_t vruntime;    /* ticks of CPU time, plus what sleeping forfeited */
	uint64_t ready_since; /* time it became READY */
	uint64_t run_ticks;   /* total time RUNNING */
	uint64_t wait_ticks;  /* total time READY: what STA reports as stolen */
};

/* What the scheduler asks of the PCPUs: make `pcpu` call sched_pick soon. May be called with a run
 * queue locked, also for the calling PCPU itself. */
typedef void sched_kick_fn(uint32_t pcpu);

/* `npcpus` run queues, `slice` in ticks. Boot only. */
void sched_init(uint32_t npcpus, uint64_t slice, sched_kick_fn *kick);

void sched_entity_init(struct sched_entity *e, uint32_t home, uint8_t priority);

/* BLOCKED becomes READY, on an idle PCPU if there is one, else where the lowest priority runs, else
 * at home. A RUNNING entity latches it. READY and OFF: nothing. */
void sched_wake(struct sched_entity *e, uint64_t now);

/* OFF becomes READY, placed as by sched_wake. Anything else is the caller's bug. */
void sched_start(struct sched_entity *e, uint64_t now);

/* PCPU `pcpu` stops running `e`, whose registers are saved: it becomes `to` (READY, BLOCKED or
 * OFF). BLOCKED wakes by itself at `wake_at` (SCHED_NEVER: only by sched_wake). */
void sched_put(
	uint32_t pcpu, struct sched_entity *e, enum sched_state to, uint64_t wake_at, uint64_t now);

/* Chooses what PCPU `pcpu`, which runs nothing, runs next; NULL when nothing is ready. */
struct sched_entity *sched_pick(uint32_t pcpu, uint64_t now);

/* Called from time to time while `pcpu` runs something: wakes whose time has come; true when the
 * running entity should make way (then save it, sched_put it READY and sched_pick). */
bool sched_tick(uint32_t pcpu, uint64_t now);

/* Wakes those of `pcpu` whose time has come. For an idle PCPU. */
void sched_expire(uint32_t pcpu, uint64_t now);

/* The time at which `pcpu` wants to be interrupted next; SCHED_NEVER for not at all. */
uint64_t sched_deadline(uint32_t pcpu);

/* Somebody waits, at any PCPU: a WFI of the entity running on `pcpu` should give the PCPU away.
 * After an answer of false the PCPU is kicked when that changes. Called before each return to a
 * guest that follows a call of the scheduler. O(PCPUs). */
bool sched_contended(uint32_t pcpu);
