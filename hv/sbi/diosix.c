/* SPDX-License-Identifier: MIT */
/*
 * The Diosix extension (abi/diosix.h, docs/abi.md): decodes, checks the caller's right, and leaves
 * the work to core/. All but VERSION run on the slow path, where a call may take several steps
 * (v->stage tells how far it is), be preempted between them, and stall.
 *
 * A handler that uses the caller's memory looks for it first: until it is there nothing happens.
 */
#include "core/vconsole.h"
#include "mmu/gstage.h"
#include "riscv/guest_csr.h"
#include "riscv/time.h"
#include "sbi/diosix.h"
#include "vdev/devices.h"
#include "vdev/grant.h"

#define CONSOLE_MAX 512 /* bytes one call moves */

static_assert(sizeof(struct dx_fork) == 64 && offsetof(struct dx_fork, limit) == 8, "the ABI's");
static_assert(
	sizeof(struct dx_create) == 80 && offsetof(struct dx_create, limit) == 24, "the ABI's");
static_assert(sizeof(struct dx_quota) == 168 && offsetof(struct dx_quota, own) == 112, "the ABI's");
static_assert(sizeof(struct dx_info) == 176 && offsetof(struct dx_info, ram_base) == 48 &&
		      offsetof(struct dx_info, copies) == 104 &&
		      offsetof(struct dx_info, exits) == 128,
	"the ABI's");

void *dx_caller_struct(struct vcpu *v, uint64_t at, size_t size, bool write, struct sbi_ret *r)
{
	void *p = NULL;

	*r = sbi_error(SBI_ERR_INVALID_ADDRESS);
	if (!IS_ALIGNED(at, 8) || (at & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		return NULL;
	p = guest_ptr(v->vm, gpa(at), size, write ? GSTAGE_W : GSTAGE_R);
	if (!p)
		*r = sbi_need(v, gpa(at), write, SBI_ERR_INVALID_ADDRESS);
	return p;
}

struct vm *dx_live_child(const struct vcpu *v, uint64_t handle)
{
	struct child *c = tree_slot(v->vm, handle);

	/* Of one that is dying only the structure itself is sure to be there. */
	return c && c->vm && c->vm->state != DX_DYING ? c->vm : NULL;
}

enum err dx_pin(struct vcpu *v, uint64_t handle, struct vm **out)
{
	enum err err = OK;

	spin_lock(&tree_lock);
	struct child *c = tree_slot(v->vm, handle);
	struct vm *vm = c ? c->vm : v->vm;

	if (!c && handle != DX_SELF)
		err = E_NOENT;
	else if (!vm || vm->state == DX_DYING || vm->source)
		err = E_STATE;
	else if (c && vm_has_trust(vm) && !v->vm->trusted)
		err = E_DENIED;
	else
		dx_hold(vm);
	spin_unlock(&tree_lock);
	*out = vm;
	return err;
}

static struct sbi_ret dx_yield(struct vcpu *v, const uint64_t *a)
{
	v->action = ACTION_YIELD;
	return sbi_value(0);
}

static struct sbi_ret dx_exit(struct vcpu *v, const uint64_t *a)
{
	return sbi_system_reset(v, false, false, a[0]);
}

/* --- children --- */

/* What a parent may do to a live child in which state. With tree_lock held. */
typedef enum err change(struct vcpu *v, struct vm *child, const uint64_t *a);

static enum err start(struct vcpu *v, struct vm *child, const uint64_t *a)
{
	if (child->state != DX_CREATED || child->source)
		return E_STATE;
	if (vm_has_trust(child) && !v->vm->trusted)
		return E_DENIED;
	vcpu_reset(child->vcpus[0], a[1], a[2]);
	child->vcpus[0]->hsm = HSM_STARTED;
	vm_set_state(child, DX_RUNNING);
	sched_start(&child->vcpus[0]->sched, time_now());
	return OK;
}

/* Once: who resumes it while this waits for its harts has the last word. */
static enum err pause(struct vcpu *v, struct vm *child, const uint64_t *a)
{
	if (v->stage++ || child->state == DX_PAUSED_STATE)
		return OK;
	if (child->state != DX_RUNNING)
		return E_STATE;
	vm_set_state(child, DX_PAUSED_STATE);
	return OK;
}

static enum err resume(struct vcpu *v, struct vm *child, const uint64_t *a)
{
	if (child->state != DX_PAUSED_STATE || child->clones || child->reset_asked)
		return E_STATE;
	vm_set_state(child, DX_RUNNING);
	/* The last hart may have stopped just when it was paused. */
	if (sbi_all_stopped(child, NULL))
		vm_kill(child, DX_REASON_STOPPED, 0);
	return OK;
}

/* In steps: descendants go, harts stop, devices are as new. Memory is the caller's to load. */
static struct sbi_ret dx_reboot(struct vcpu *v, const uint64_t *a)
{
	struct vm *child = dx_live_child(v, a[0]);

	if (!child)
		return sbi_result(E_NOENT);
	if (child->state == DX_CREATED || child->clones)
		return sbi_result(E_STATE);
	if (vm_has_trust(child) && !v->vm->trusted)
		return sbi_result(E_DENIED);
	v->stage = 1; /* from now on it goes by its handle: tree_attach */
	if (child->state == DX_RUNNING)
		vm_set_state(child, DX_PAUSED_STATE);
	if (!vm_quiet(child, NULL) || !tree_clear(child) || !dx_stop_harts(child, NULL))
		return sbi_wait(v);
	/* It may have been forking itself. */
	child->forker = NULL;
	vm_unhalt(child, HALT_FORK);
	dx_hold(child);
	gpa_t at = child->cursor; /* not v's: others may reboot and start it between two steps */
	spin_unlock(&tree_lock);
	bool done = grant_end(child, &at);

	spin_lock(&tree_lock);
	dx_unpin(child);
	if (child->state != DX_PAUSED_STATE)
		return sbi_result(E_STATE);
	child->cursor = at;
	/* Who else is in the midst of this step must not end what the child has when it runs. */
	if (!done || __atomic_load_n(&child->pins, __ATOMIC_ACQUIRE))
		return done ? sbi_wait(v) : sbi_again(v);
	devices_reset(child);
	event_to_self(child, 0);
	child->reset_asked = false;
	vm_set_state(child, DX_CREATED);
	return sbi_value(0);
}

static enum err kill(struct vcpu *v, struct vm *child, const uint64_t *a)
{
	vm_kill(child, DX_REASON_KILLED, 0);
	return OK;
}

static struct sbi_ret change_child(struct vcpu *v, change *to, const uint64_t *a)
{
	struct child *c = tree_slot(v->vm, a[0]);
	struct vm *child = c ? c->vm : NULL;
	enum err err = !c ? E_NOENT : !child ? E_STATE : to(v, child, a);
	bool quiet = err != OK || child->state == DX_RUNNING || child->state == DX_DYING ||
		     vm_quiet(child, NULL);

	/* PAUSE returns when it is true. */
	return quiet ? sbi_result(err) : sbi_again(v);
}

static struct sbi_ret dx_next(struct vcpu *v, const uint64_t *a)
{
	if (a[0] > UINT32_MAX)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	return sbi_value(tree_next(v->vm, (uint32_t)a[0]));
}

static struct sbi_ret dx_reap(struct vcpu *v, const uint64_t *a)
{
	struct child *c = tree_slot(v->vm, a[0]);

	if (!c || c->vm)
		return sbi_result(c ? E_STATE : E_NOENT);
	tree_reap(v->vm, c);
	return sbi_value(0);
}

/* --- what a VM can know --- */

static void fill_info(const struct vm *vm, struct dx_info *i)
{
	*i = (struct dx_info){.state = vm->state,
		.reason = vm->reason,
		.code = vm->code,
		.pages = vm->quota.own[RES_PAGES],
		.pages_subtree = vm->quota.used[RES_PAGES]};
	if (vm->state == DX_DYING)
		return;
	i->vcpus = vm->nvcpus;
	i->children = vm->nchildren;
	i->trusted = vm_has_trust(vm);
	i->reset_asked = vm->reset_asked;
	i->priority = vm->vcpus[0]->sched.priority;
	i->weight = vm->sched->subtree.weight;
	i->pages_private = vm->ram_pages;
	i->backend = has_h ? DX_BACKEND_GSTAGE : vm->direct ? DX_BACKEND_PMP : DX_BACKEND_SHADOW;
	i->ram_base = vm->ram_base.v;
	i->ram_size = vm->ram_size;
	i->copies = vm->copies;
	i->pages_shared = vm->shared - vm->copies;
	i->pages_reserved =
		MAX(vm->quota.limit[DX_LIMIT_GUARANTEE], i->pages_subtree) - i->pages_subtree;
	i->cpu_time = time_to_ns(sched_group_ticks(vm->sched, time_now()));
	for (uint32_t n = 0; n < vm->nvcpus; n++) {
		const struct vcpu *h = vm->vcpus[n];

		i->stalled |= h->waiter.node.queued;
		for (unsigned k = 0; k < DX_EXITS; k++)
			i->exits[k] += h->exits[k];
	}
	i->faults = i->exits[DX_EXIT_MEMORY];
}

static struct sbi_ret dx_info(struct vcpu *v, const uint64_t *a)
{
	struct sbi_ret r;
	struct dx_info *info = dx_caller_struct(v, a[1], sizeof(*info), true, &r);

	if (!info)
		return r;
	spin_lock(&tree_lock);
	const struct child *c = tree_slot(v->vm, a[0]);
	bool known = c || a[0] == DX_SELF;

	if (c && !c->vm)
		*info = (struct dx_info){.state = DX_GONE, .reason = c->reason, .code = c->code};
	else if (known)
		fill_info(c ? c->vm : v->vm, info);
	spin_unlock(&tree_lock);
	return known ? sbi_value(0) : sbi_error(DX_ERR_NOENT);
}

static struct sbi_ret dx_event_next(struct vcpu *v, const uint64_t *a)
{
	return sbi_value(event_take(v->vm));
}

/* --- the console of a child --- */

/* A gone child's last words can be read until it is reaped. At most CONSOLE_MAX bytes, so that
 * tree_lock may be held. */
static struct sbi_ret dx_console(struct vcpu *v, const uint64_t *a)
{
	bool reads = v->x[16] == DX_FID_CONSOLE_READ;
	uint64_t n = MIN(MIN(a[2], CONSOLE_MAX), PAGE_SIZE - (a[1] & (PAGE_SIZE - 1)));
	void *p = guest_ptr(v->vm, gpa(a[1]), n, reads ? GSTAGE_W : GSTAGE_R);
	enum err err = OK;

	if (!p)
		return sbi_need(v, gpa(a[1]), reads, SBI_ERR_INVALID_ADDRESS);
	spin_lock(&tree_lock);
	struct child *c = tree_slot(v->vm, a[0]);
	struct vm *live = dx_live_child(v, a[0]);

	if (!c)
		err = E_NOENT;
	else if (reads)
		n = vconsole_take(live, c->vm ? c->vm->console : c->console, p, n);
	else if (live)
		n = vconsole_give(live, p, n);
	else
		err = E_STATE;
	spin_unlock(&tree_lock);
	return err == OK ? sbi_value(n) : sbi_result(err);
}

static const struct call {
	dx_handler *call;
	bool locked; /* with tree_lock held */
	change *to;  /* what change_child does, instead */
} calls[] = {
	[DX_FID_YIELD] = {.call = dx_yield},
	[DX_FID_EXIT] = {.call = dx_exit},
	[DX_FID_FORK] = {.call = dx_fork},
	[DX_FID_EXEC] = {.call = dx_exec},
	[DX_FID_DROP_TRUST] = {.call = dx_drop_trust},
	[DX_FID_QUOTA_READ] = {.call = dx_quota_read},
	[DX_FID_QUOTA_SET] = {.call = dx_quota_set, .locked = true},
	[DX_FID_CREATE] = {.call = dx_create},
	[DX_FID_START] = {.to = start, .locked = true},
	[DX_FID_PAUSE] = {.to = pause, .locked = true},
	[DX_FID_RESUME] = {.to = resume, .locked = true},
	[DX_FID_KILL] = {.to = kill, .locked = true},
	[DX_FID_REBOOT] = {.call = dx_reboot, .locked = true},
	[DX_FID_CLONE] = {.call = dx_clone},
	[DX_FID_INFO] = {.call = dx_info},
	[DX_FID_NEXT] = {.call = dx_next, .locked = true},
	[DX_FID_REAP] = {.call = dx_reap, .locked = true},
	[DX_FID_WINDOW_MAP] = {.call = dx_window_map},
	[DX_FID_WINDOW_UNMAP] = {.call = dx_window_unmap},
	[DX_FID_EVENT_NEXT] = {.call = dx_event_next},
	[DX_FID_CONSOLE_READ] = {.call = dx_console},
	[DX_FID_CONSOLE_WRITE] = {.call = dx_console},
	[DX_FID_MMIO_MAP] = {.call = dx_mmio_map},
	[DX_FID_MMIO_UNMAP] = {.call = dx_mmio_unmap},
	[DX_FID_IRQ_ROUTE] = {.call = dx_irq},
	[DX_FID_IRQ_UNROUTE] = {.call = dx_irq},
	[DX_FID_DMA_PIN] = {.call = dx_dma_pin},
	[DX_FID_FDT_WRITE] = {.call = dx_fdt_write},
	[DX_FID_PRIORITY] = {.call = dx_priority, .locked = true},
};

struct sbi_ret sbi_diosix(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	if (fid == DX_FID_VERSION)
		return sbi_value(DX_ABI_VERSION);
	if (fid >= ARRAY_SIZE(calls) || !(calls[fid].call || calls[fid].to))
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	if (!v->in_call)
		return sbi_again(v);
	const struct call *c = &calls[fid];

	if (c->locked)
		spin_lock(&tree_lock);
	struct sbi_ret r = c->to ? change_child(v, c->to, a) : c->call(v, a);

	if (c->locked)
		spin_unlock(&tree_lock);
	return r;
}
