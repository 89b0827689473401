/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: which VCPU each PCPU runs. Portable; knows VCPUs only as struct sched_entity, and
 * VMs as struct sched_group.
 *
 * Rules:
 *  - A higher priority always runs before a lower one, and preempts it at once on some PCPU.
 *  - Among equals time is shared by subtree: in each VM, its own VCPUs together are one, and so is
 * the subtree of each child; each gets time by its weight, whatever is in it. The one that has had
 * the least for its weight (`vruntime`) goes first. Each priority is shared by itself: time at
 * another one is not held against anybody. At the end of a slice a PCPU takes what waits at other
 * PCPUs and is a slice or more behind.
 *  - One slice in eight of each PCPU at which a VCPU of the Root VM waits is the Root VM's, against
 * any priority: after seven without it, one is lifted above all others for a slice.
 *  - A slice ends only when somebody waits; a PCPU alone with its entity gets no timer interrupts.
 *  - Who sleeps does not save up time: who wakes, and each subtree that wakes with it, is at most
 * one slice behind the clock of its level, which is what whoever had most there had a slice
 * before. Who could run and yet fell behind (too few VCPUs to use its share) keeps at most
 * SCHED_LAG_MAX slices.
 *  - No PCPU stays idle while something is ready anywhere: whoever leaves something waiting calls
 * an idle PCPU to fetch it.
 *
 * States, each changed under the lock of the home PCPU's run queue by the function named:
 *
 *     OFF --sched_start--> READY --sched_pick--> RUNNING --sched_put--> READY | BLOCKED | OFF
 *     BLOCKED --sched_wake, sched_expire--> READY
 *
 * An entity leaves RUNNING only on its own PCPU, after its registers were saved: nobody can run it
 * half-saved. Costs, with the tree `depth` deep: O(depth * log n) at most in what is ready at one
 * PCPU, usually one level of it, plus O(PCPUs); nothing is allocated.
 */
#pragma once

#include "abi/diosix.h"
#include "core/heap.h"
#include "core/lock.h"

#define SCHED_MAX_PCPUS    64
#define SCHED_MAX_PRIORITY 7
#define SCHED_DEFAULT_PRIO 3
#define SCHED_LAG_MAX      16
#define SCHED_NEVER        UINT64_MAX

enum sched_state { SCHED_OFF, SCHED_BLOCKED, SCHED_READY, SCHED_RUNNING };

struct sched_node;

/* What is ready at one PCPU of a VM's own VCPUs, or of what is in a subtree; under the lock of the
 * PCPU's run queue. */
struct sched_queue {
	struct sched_node *node; /* whose it is */
	struct heap ready;
	struct heap_node link; /* in the queue of the level above while this one is not empty */
};

/* What time is shared between: a VCPU, a VM's own VCPUs, a subtree. All but the constants are
 * changed by atomic operations, on any PCPU. The arrays are by priority. */
struct sched_node {
	struct sched_node *parent; /* NULL: the whole tree */
	struct sched_queue *on;    /* by PCPU; NULL for a VCPU */
	uint32_t depth, weight;
	bool own;                                  /* holds VCPUs */
	uint64_t run_ticks;                        /* CPU time of all that is in it */
	uint64_t vruntime[SCHED_MAX_PRIORITY + 1]; /* ticks of CPU time by weight, plus what was
						      forfeited */
	uint64_t clock[SCHED_MAX_PRIORITY + 1];    /* of the level inside; only grows */
	uint32_t active[SCHED_MAX_PRIORITY + 1];   /* how many inside run or wait */
};

/* A VM's place in the sharing. Its size is sched_group_size. */
struct sched_group {
	struct sched_node subtree, own; /* `own` is inside `subtree`, as are the children's */
	struct sched_queue queues[];    /* own's, then the subtree's */
};

struct sched_entity {
	/* under the home run queue's lock: */
	struct sched_node node;
	struct heap_node ready; /* in its VM's queue at the home PCPU while READY */
	struct heap_node timer; /* in the home's timer heap while BLOCKED until a time */
	enum sched_state state;
	uint32_t home;        /* PCPU whose run queue it belongs to; changes only while READY or on
				 waking */
	uint8_t priority;     /* 0 .. SCHED_MAX_PRIORITY */
	bool wake_latched;    /* woken while RUNNING: the next sched_put to BLOCKED makes it READY
				 instead */
	uint64_t ready_since; /* time it became READY */
	uint64_t wait_ticks;  /* total time READY: what STA reports as stolen */
};

/* What the scheduler asks of the PCPUs: make `pcpu` call sched_pick soon. May be called with a run
 * queue locked, also for the calling PCPU itself. */
typedef void sched_kick_fn(uint32_t pcpu);

/* `npcpus` run queues, `slice` in ticks. Boot only. */
void sched_init(uint32_t npcpus, uint64_t slice, sched_kick_fn *kick);

/* Bytes of a struct sched_group; known from sched_init on. */
size_t sched_group_size(void);

/* Makes the group of a VM whose parent's is `parent`, NULL for the Root VM. Nothing links to a
 * group but its VCPUs and its children's groups. */
void sched_group_init(struct sched_group *g, struct sched_group *parent);

/* The weight of its subtree among its siblings' and its parent's own VCPUs, which have
 * DX_WEIGHT_DEFAULT, as it has at first: DX_WEIGHT_MIN .. DX_WEIGHT_MAX; holds for what runs from
 * now on. */
void sched_group_set_weight(struct sched_group *g, uint32_t weight);

/* After this `g` may be freed. None of its VCPUs is READY or RUNNING, and it has no children's
 * groups. Waits until no PCPU still looks at it; no run queue may be locked. */
void sched_group_remove(struct sched_group *g);

/* CPU time of the VM's own VCPUs, in ticks, exact to about a slice for each that runs now. */
uint64_t sched_group_ticks(const struct sched_group *g, uint64_t now);

void sched_entity_init(
	struct sched_entity *e, struct sched_group *g, uint32_t home, uint8_t priority);

/* In any state, from any PCPU; takes effect at once. */
void sched_set_priority(struct sched_entity *e, uint8_t priority, uint64_t now);

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

/* Wakes some of `pcpu` whose time has come: if more are, sched_deadline has passed. For an idle
 * PCPU.
 */
void sched_expire(uint32_t pcpu, uint64_t now);

/* The time at which `pcpu` wants to be interrupted next; SCHED_NEVER for not at all. */
uint64_t sched_deadline(uint32_t pcpu);

/* Somebody waits, at any PCPU: a WFI of the entity running on `pcpu` should give the PCPU away.
 * After an answer of false the PCPU is kicked when that changes. Called before each return to a
 * guest that follows a call of the scheduler, and before sched_deadline: it begins a slice when
 * equals wait, or ends it. O(PCPUs). */
bool sched_contended(uint32_t pcpu);
