/* SPDX-License-Identifier: MIT */
/* Making VMs; see fork.h. */
#include <string.h>
#include "core/fork.h"
#include "boot/boot.h"
#include "core/bug.h"
#include "core/rng.h"
#include "core/tree.h"
#include "core/vconsole.h"
#include "mmu/gstage.h"
#include "riscv/time.h"
#include "riscv/vcpu.h"
#include "vdev/devices.h"

#define SHARE_STEP 2048 /* leaves in one go: about 50,000 instructions */

/* What is asked, or else what the parent has. What QUOTA_SET would refuse is refused here too. */
static enum err choose_limits(
	const struct vm *parent, const uint64_t *asked, uint8_t priority, uint64_t limit[DX_LIMITS])
{
	uint8_t depth = quota_ceiling(&parent->quota, DX_LIMIT_DEPTH);

	if (depth == 0)
		return E_QUOTA_OWN;
	memcpy(limit, parent->quota.limit, sizeof(parent->quota.limit));
	limit[DX_LIMIT_PRIORITY] = priority;
	limit[DX_LIMIT_DEPTH] = depth - 1u;
	for (unsigned i = 0; i < DX_LIMIT_RESERVE; i++) {
		if (asked[i] == DX_KEEP)
			continue;
		if (asked[i] > limit[i])
			return E_DENIED;
		limit[i] = asked[i];
	}
	limit[DX_LIMIT_RESERVE] = asked[DX_LIMIT_RESERVE];
	if (asked[DX_LIMIT_RESERVE] == DX_KEEP)
		limit[DX_LIMIT_RESERVE] = limit[DX_LIMIT_PAGES] / QUOTA_RESERVE_PART;
	return limit[DX_LIMIT_RESERVE] > limit[DX_LIMIT_PAGES] ? E_RANGE : OK;
}

/* The structure alone, with its limits. */
static enum err make(struct vm *parent, const uint64_t *asked, uint8_t priority, struct vm **out)
{
	uint64_t limit[DX_LIMITS], guarantee = asked[DX_LIMIT_GUARANTEE];
	enum err err = choose_limits(parent, asked, priority, limit);

	if (err == OK)
		err = quota_charge(&parent->quota, RES_VMS, 1, NULL);
	if (err != OK)
		return err;
	err = vm_create(parent, limit, out);
	if (err != OK)
		quota_release(&parent->quota, RES_VMS, 1);
	else if (guarantee != DX_KEEP)
		err = quota_set(&(*out)->quota, DX_LIMIT_GUARANTEE, guarantee);
	return err;
}

enum err vm_make_vmgenid(struct vm *vm)
{
	uint64_t done;
	enum err err = vm_page_alloc(vm, 0, FRAME_META, &vm->vmgenid_page);

	if (err != OK)
		return err;
	rng_bytes(hpa_ptr(vm->vmgenid_page), 16);
	if (vm->direct)
		vm->vmgenid = gpa(vm->vmgenid_page.v);
	struct vm_locked l = vm_lock(vm);

	err = gstage_map(
		l, vm->vmgenid, vm->vmgenid_page, PAGE_SIZE, GSTAGE_R | GSTAGE_FOREIGN, &done);
	vm_unlock(l);
	return err;
}

/* Never in the tree: gives back what there is of it. What its maker is told: `err`. */
static enum err discard(struct vm *vm, enum err err)
{
	gpa_t cursor = gpa(0);

	err = quota_seen_by(&vm->parent->quota, &vm->quota, err);

	while (vm->nvcpus)
		vcpu_destroy(vm);
	vm_struct_free(vm, vm->console);
	while (!gstage_drop(vm, &cursor, UINT32_MAX))
		;
	if (vm->vmgenid_page.v)
		vm_page_free(vm, vm->vmgenid_page);
	vm_page_free(vm, vm->gstage_root);
	BUG_ON(quota_set(&vm->quota, DX_LIMIT_GUARANTEE, 0) != OK);
	quota_release(&vm->parent->quota, RES_VMS, 1);
	vm_free(vm);
	return err;
}

/* All that a VM has but memory. `like` is what it resembles. */
static enum err fit_out(struct vm *vm, const struct vm *like, uint32_t nvcpus)
{
	enum err err = OK;

	/* Who is forked knows the place; the Root VM's is where there is no RAM of others. */
	vm->vmgenid = vm->source ? like->vmgenid : gpa(like->plic_base.v - PAGE_SIZE);
	vm->vmgenid_irq = like->vmgenid_irq;
	vm->event_irq = like->event_irq;
	while (err == OK && vm->nvcpus < nvcpus)
		err = vcpu_create(vm);
	if (err == OK)
		err = vconsole_create(vm);
	if (err == OK)
		err = vm_make_vmgenid(vm);
	devices_copy(vm, like);
	return err;
}

/* Puts `vm` into the tree, unless there was an error: then nothing is left of it, if there was
 * anything (NULL: not). Without the lock another VCPU of the parent's may already have killed it.
 */
static enum err conclude(struct vm *vm, enum err err, uint32_t *handle)
{
	if (!vm)
		return err;
	spin_lock(&tree_lock);
	if (err == OK)
		err = vm->parent->state == DX_DYING         ? E_STATE
		      : vm->trusted && !vm->parent->trusted ? E_DENIED /* dropped just now */
							    : tree_make_room(vm->parent);
	if (err == OK) {
		tree_attach(vm->parent, vm);
		*handle = vm->handle;
	}
	if (err == OK && vm->source && vm->source != vm->parent) {
		vm->template = vm->source->handle;
		vm->source->clones++;
		vm->source->cloned = true;
	}
	spin_unlock(&tree_lock);
	return err == OK ? OK : discard(vm, err);
}

/* All RAM at once, if nobody else has been quicker: then there is no run for it. */
static enum err make_direct(struct vm *vm, hpa_t *run)
{
	uint64_t size = vm->ram_size;
	bool fits = range_within(run->v, size, 0, GSTAGE_END);
	enum err err = fits ? vm_take_run(vm, *run, size) : E_NOMEM;

	vm->direct = err == OK;
	gstage_fill(vm, *run, gpa(run->v), vm->direct ? size : 0);
	if (!vm->direct)
		*run = hpa(0);
	return err == E_NOMEM ? OK : err;
}

enum err vm_make_child(struct vm *parent, const struct dx_create *c, hpa_t *run, uint32_t *handle)
{
	struct vm *vm = NULL;

	if (c->vcpus == 0 || c->vcpus > VM_MAX_VCPUS || c->reserved ||
		(c->flags & ~(DX_TRUST | DX_DIRECT)))
		return E_INVAL;
	if (!IS_ALIGNED(c->ram_size, PAGE_SIZE) || c->ram_size == 0 || c->ram_size > GIB(1024))
		return E_RANGE;
	if ((c->flags & DX_TRUST) && !parent->trusted)
		return E_DENIED;
	enum err err =
		make(parent, c->limit, quota_ceiling(&parent->quota, DX_LIMIT_PRIORITY), &vm);

	if (err == OK) {
		vm->ram_base = gpa(GIB(2));
		vm->ram_size = c->ram_size;
		vm->trusted = c->flags & DX_TRUST;
		err = run->v ? make_direct(vm, run) : OK;
	}
	if (err == OK)
		err = fit_out(vm, root_vm, c->vcpus);
	if (err == OK) {
		devices_reset(vm); /* the places are the Root VM's, the contents are nobody's */
		vm->source = vm->direct ? parent : NULL;
	}
	return conclude(vm, err, handle);
}

enum err fork_begin(struct vm *parent, struct vm *from, const struct dx_fork *f, uint8_t priority,
	uint32_t *handle)
{
	struct vm *vm = NULL;

	if (f->reserved || (f->flags & ~(DX_NO_TRUST | DX_TRUST | DX_PAUSED)))
		return E_INVAL;
	if ((f->flags & DX_TRUST) && !parent->trusted)
		return E_DENIED;
	enum err err = make(parent, f->limit, priority, &vm);

	if (err == OK) {
		vm->ram_base = from->ram_base;
		vm->ram_size = from->ram_size;
		vm->forked = true;
		vm->dbcn_reads = from->dbcn_reads;
		vm->source = from;
		vm->trusted = from == parent ? parent->trusted && !(f->flags & DX_NO_TRUST)
					     : (f->flags & DX_TRUST) != 0;
		err = fit_out(vm, from, from->nvcpus);
	}
	return conclude(vm, err, handle);
}

enum err fork_step(struct vm *child, bool *done)
{
	enum err err;

	if (!child->forked) {
		err = gstage_touch(child, gpa(child->ram_base.v + child->ram_size - 1), true, NULL);
		*done = err == E_EXISTS;
		return *done ? OK : err;
	}
	err = gstage_share(child->source, child, &child->cursor, SHARE_STEP);
	*done = child->cursor.v == GSTAGE_END;
	return err;
}

void fork_finish(struct vm *child, const struct vcpu *caller, bool paused)
{
	const struct vm *from = child->source;

	child->source = NULL;
	child->cursor = gpa(0);
	if (!child->forked)
		return;
	for (uint32_t i = 0; i < child->nvcpus; i++) {
		struct vcpu *to = child->vcpus[i];

		vcpu_copy(to, from->vcpus[i]);
		to->sched.priority = (uint8_t)MIN(
			from->vcpus[i]->sched.priority, child->quota.limit[DX_LIMIT_PRIORITY]);
		if (from->vcpus[i] == caller) {
			to->action = ACTION_NONE;
			to->x[10] = to->x[11] = 0;
		}
	}
	vuart_poll(&child->uart);
	vplic_raise(&child->plic, child->vmgenid_irq);
	/* Halted still: none can start another one that this loop has yet to come to. */
	for (uint32_t i = 0; i < child->nvcpus; i++)
		if (child->vcpus[i]->hsm != HSM_STOPPED)
			sched_start(&child->vcpus[i]->sched, time_now());
	vm_set_state(child, paused ? DX_PAUSED_STATE : DX_RUNNING);
}
