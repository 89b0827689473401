/* SPDX-License-Identifier: MIT */
/*
 * What a VM and its whole subtree may use. Three resources are counted, two are ceilings.
 *
 * Invariants: for each counted resource and each VM, used = own + the sum of what its direct
 * children weigh, and a child weighs its own use or, of pages, what is guaranteed to it if that is
 * more. A charge is made to the VM and its ancestors, or to none: it fits the VM's own limit, and
 * each ancestor's less the reserve that the ancestor keeps from its descendants. `used` exceeds
 * `limit` only by what the death of a VM passes to its parent.
 *
 * Who cannot pay may wait at the quota that refused. Each release there lets the waiters try again,
 * each once: one is woken, and wakes the next when it runs (quota_unwait).
 *
 * Amounts and limits stay below 2^63, so that a difference of two has a sign.
 *
 * One lock guards all counters of the tree: a charge is a few additions per level, and not on the
 * exit path.
 */
#pragma once

#include "abi/diosix.h"
#include "core/err.h"
#include "core/heap.h"

/* What is counted: the first of enum dx_limit. */
enum quota_res {
	RES_PAGES = DX_LIMIT_PAGES, /* 4 KiB frames: RAM, page tables, every structure */
	RES_VCPUS = DX_LIMIT_VCPUS,
	RES_VMS = DX_LIMIT_VMS, /* descendants, oneself not counted */
	RES_COUNT
};

/* Who refused a charge, and the turn of the last release there by then. */
struct refusal {
	struct quota *at;
	uint64_t released;
};

struct quota_waiter {
	struct heap_node node;                /* while it waits: by its turn */
	void (*wake)(struct quota_waiter *w); /* called under the quota lock */
};

struct quota {
	struct quota *parent; /* NULL for the Root VM */
	/* under the quota lock: */
	uint64_t limit[DX_LIMITS]; /* the ceilings too; pages that descendants cannot charge; pages
				      that the parent is charged at least */
	uint64_t used[RES_COUNT];  /* by the subtree, oneself included */
	uint64_t own[RES_COUNT];   /* by oneself alone */
	struct heap waiters;
	uint64_t turns, released; /* each wait and each release has a turn; that of the last one */
	const struct quota *refused_by; /* who refused it something last */
};

#define QUOTA_RESERVE_PART 16 /* of the limit: the default reserve */

/* A quota below `parent` (NULL for the Root VM) with nothing used, and no guarantee whatever
 * `limit` says. Limits above the parent's are allowed (overcommit): a charge meets every ancestor's
 * limit anyway. */
void quota_init(struct quota *q, struct quota *parent, const uint64_t limit[DX_LIMITS]);

/* A ceiling, DX_LIMIT_PRIORITY or DX_LIMIT_DEPTH, as it is for `q` now: its own, or an ancestor's
 * that is lower. O(depth). */
uint8_t quota_ceiling(const struct quota *q, enum dx_limit which);

/* Charges `n` units to `q` and all its ancestors, or to none. O(depth). E_QUOTA_OWN: the own limit
 * refuses; E_QUOTA_ABOVE: an ancestor's does. `*refused`, unless NULL, tells whose. */
enum err must_check quota_charge(
	struct quota *q, enum quota_res res, uint64_t n, struct refusal *refused);

/* `err`, if it is that what was made for `q` was refused, as a VM that has `by` sees it: a limit of
 * `q` or `by` is its own to look at, what lies above is not. */
enum err quota_seen_by(const struct quota *by, const struct quota *q, enum err err);

/* Takes back `n` units that were charged to `q`. O(depth). */
void quota_release(struct quota *q, enum quota_res res, uint64_t n);

/* `n` pages that `from` paid are now paid by `to`. Errors as quota_charge: nothing has changed. */
enum err must_check quota_move(
	struct quota *from, struct quota *to, uint64_t n, struct refusal *refused);

/* The parent of `q` takes over `n` pages that `q` paid, whatever the limits say. */
void quota_pass_up(struct quota *q, uint64_t n);

/* The same in two parts: between them no counter changes, so that nobody gives back what the parent
 * pays before it is in the parent's counters. `n` may be 0. */
void quota_hold(void);
void quota_pass_up_held(struct quota *q, uint64_t n);

/* Lowers or raises a limit, a ceiling, the reserve, or the guarantee, of which the ancestors are
 * charged what is not used. Whether the caller may is his to know. E_STATE: below present use;
 * E_RANGE: a reserve or guarantee above the limit of pages; E_QUOTA_…: as quota_charge. */
enum err must_check quota_set(struct quota *q, enum dx_limit which, uint64_t to);

/* `w`, whose charge was refused, waits for a release there. False when there was one since: try
 * again. */
bool must_check quota_wait(const struct refusal *r, struct quota_waiter *w);

/* `w` waits at `q` no longer, if it has not been woken. The next that has not tried since the last
 * release is. */
void quota_unwait(struct quota *q, struct quota_waiter *w);
