/* SPDX-License-Identifier: MIT */
/*
 * What a VM and its whole subtree may use. Three resources are counted, two are ceilings.
 *
 * Invariants: for each counted resource and each VM, used = own + the sum of used over its direct
 * children, and used <= limit (a limit is never set below use). A charge goes to the VM and all its
 * ancestors, or to none.
 *
 * One lock guards all counters of the tree: a charge is a few additions per level, and not on the
 * exit path.
 */
#pragma once

#include "core/compiler.h"
#include "core/err.h"

enum quota_res {
	RES_PAGES, /* 4 KiB frames: RAM, page tables, every structure */
	RES_VCPUS,
	RES_VMS, /* descendants, oneself not counted */
	RES_COUNT
};

struct quota {
	struct quota *parent; /* NULL for the Root VM */
	/* under the quota lock: */
	uint64_t limit[RES_COUNT];
	uint64_t used[RES_COUNT]; /* by the subtree, oneself included */
	uint64_t own[RES_COUNT];  /* by oneself alone */
	uint8_t max_priority;     /* highest scheduling priority of any VCPU of the subtree */
	uint8_t max_depth;        /* levels of VMs below this one */
};

/* A quota below `parent` (NULL for the Root VM) with nothing used. Limits above the parent's are
 * allowed (overcommit): a charge meets every ancestor's limit anyway. */
void quota_init(struct quota *q, struct quota *parent, const uint64_t limit[RES_COUNT],
	uint8_t max_priority, uint8_t max_depth);

/* Charges `n` units to `q` and all its ancestors, or to none. O(depth). E_QUOTA_OWN: the own limit
 * refuses; E_QUOTA_ABOVE: an ancestor's does. */
enum err must_check quota_charge(struct quota *q, enum quota_res res, uint64_t n);

/* Takes back `n` units that were charged to `q`. O(depth). */
void quota_release(struct quota *q, enum quota_res res, uint64_t n);

/* Lowers `q`'s limit. E_RANGE when it would rise; E_STATE when it would fall below present use. */
enum err must_check quota_lower(struct quota *q, enum quota_res res, uint64_t limit);
