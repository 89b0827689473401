/* SPDX-License-Identifier: MIT */
/*
 * Making VMs: empty ones, and forks. A fork is made in steps, while what it is forked from is
 * quiet; and so is an empty VM that is direct:
 *
 *   fork_begin    the child's structures; it is in the tree, CREATED, and its `source` is set
 *   fork_step     a part of the memory, until done
 *   fork_finish   registers; the child runs. Cannot fail
 *
 * After an error of fork_step the child is killed, which leaves no trace of it.
 */
#pragma once

#include "core/vm.h"

/* Makes an empty child of `parent`: VCPUs, devices at the machine's places, RAM of `c->ram_size`
 * bytes that comes when it is touched; or, where `*run` is not 0 and so much is free, direct RAM
 * there: then it is to be made in steps, like a fork. Else `*run` is 0 afterwards. E_INVAL,
 * E_RANGE: what it asks for; E_DENIED: trust that the parent has not; E_QUOTA_… as the parent sees
 * it; E_NOMEM. Takes tree_lock. */
enum err must_check vm_make_child(
	struct vm *parent, const struct dx_create *c, hpa_t *run, uint32_t *handle);

/* A page at vm->vmgenid, outside RAM, with a number that no other VM has, nor had: Linux watches it
 * for a change of identity. Errors as vm_page_alloc and gstage_map. */
enum err must_check vm_make_vmgenid(struct vm *vm);

/* Begins a child of `parent` that will be as `from` is: `parent` itself, or a quiet child of it,
 * then pinned. `priority` is the ceiling of the child's. Errors as above. Takes tree_lock. */
enum err must_check fork_begin(struct vm *parent, struct vm *from, const struct dx_fork *f,
	uint8_t priority, uint32_t *handle);

/* The next part of the memory. Errors as gstage_share and gstage_touch. */
enum err must_check fork_step(struct vm *child, bool *done);

/* The child gets its VCPUs' registers, of which all are saved, and runs, or is PAUSED. The call
 * that `caller` (NULL: none) is in has the value 0 there. An empty child stays CREATED. Under
 * tree_lock. */
void fork_finish(struct vm *child, const struct vcpu *caller, bool paused);
