/* SPDX-License-Identifier: MIT */
/*
 * The tree of VMs: who is whose child, by which handle, in which state, and what parents are told.
 *
 *     CREATED --start--> RUNNING <--pause, resume--> PAUSED --reboot--> CREATED
 *     any of these --vm_kill--> DYING --tree_bury--> GONE --reap-->
 *
 * Invariants: a VM is halted (HALT_STATE) if and only if it is not RUNNING; a child's slot in its
 * parent's table exists until the parent reaps it, or is dying itself; a VM is freed after all of
 * its children, so that vm->parent is always good. vm_set_state makes every change.
 *
 * A dying VM buries itself: its VCPUs leave the guest for good, and VCPU 0 takes the VM apart, in
 * steps, as its own time. Children first.
 *
 * tree_lock guards all of it, whole tree, and is the outermost lock; events have one lock per VM,
 * so that a console byte does not meet it.
 */
#pragma once

#include "core/vm.h"

#define TREE_DEPTH_MAX 32 /* levels below the Root VM */

extern struct spinlock tree_lock;

struct child {
	struct vm *vm;            /* NULL: gone, or nobody's slot */
	struct vconsole *console; /* of one that is gone: what it wrote last. The parent pays */
	uint64_t code;
	uint32_t reason;            /* enum dx_reason, of one that is gone */
	uint32_t next;              /* free slot + 1 */
	struct event_source events; /* with the handle, or that of the slot's last child */
};

/* Makes room for one more child of `vm` (E_NOMEM: it has 4096; E_QUOTA_…). Then tree_attach cannot
 * fail. */
enum err must_check tree_make_room(struct vm *vm);

/* `child`, created below `parent`, gets a handle. Under tree_lock. */
void tree_attach(struct vm *parent, struct vm *child);

/* The slot of `vm`'s child `handle`, gone ones included; NULL. Under tree_lock. */
struct child *tree_slot(const struct vm *vm, uint64_t handle);

/* The handle that follows `handle` (0: the first), 0 when there is none. Under tree_lock.
 * O(slots). */
uint32_t tree_next(const struct vm *vm, uint32_t handle);

/* Forgets a child that is gone. Under tree_lock. */
void tree_reap(struct vm *vm, struct child *c);

/* Changes the state; a change that the diagram does not have is a bug. Under tree_lock. */
void vm_set_state(struct vm *vm, enum dx_state to);

/* Ends `vm` and its subtree, if that has not begun yet. Under tree_lock. */
void vm_kill(struct vm *vm, enum dx_reason reason, uint64_t code);

/* Kills and forgets all descendants of `vm`, which runs nothing. True when there are none left:
 * until then call again. Under tree_lock. */
bool tree_clear(struct vm *vm);

/* One step of the end of a dying VM, by its VCPU 0 when all others are STOPPED. True when only the
 * structures of the VM and that VCPU are left: then tree_forget. `*idle`: nothing to do until a
 * child has gone, which wakes that VCPU. */
bool tree_bury(struct vm *vm, bool *idle);

/* `vm` itself cannot pay: of its children that were given no guarantee the
 * one with the largest subtree is killed, unless one is dying already. Takes tree_lock. O(slots).
 */
void tree_sacrifice(struct vm *vm);

/* The VM, of which only the structure is left, is gone: tells the parent, and frees it. */
void tree_forget(struct vm *vm);

/* `vm` has something to tell its parent (DX_EVENT_… bits), or to itself. Any lock but event_lock,
 * vuart, vplic and below may be held. */
void event_to_parent(struct vm *vm, uint32_t events);
void event_to_self(struct vm *vm, uint32_t events);

/* Takes the next event: its child's handle or 0 for itself | bits << 32; 0 when there is none. */
uint64_t event_take(struct vm *vm);
