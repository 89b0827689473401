/* SPDX-License-Identifier: MIT */
/* FORK, CLONE, CREATE and EXEC: calls that make a VM, or begin one anew, in steps. Who makes a
 * child holds its own VM still, or the template; if a step fails, or somebody kills the child, the
 * call waits until it is gone. */
#include <string.h>
#include "boot/boot.h"
#include "core/fork.h"
#include "riscv/time.h"
#include "sbi/diosix.h"

/* Stages of calls that make a VM; of CREATE also an HPA. */
enum { BEGIN, QUIET, SHARE, UNDO };

/* Ends a call that made a child: what v->error says, after the child, which nobody has heard of, is
 * gone. */
static struct sbi_ret undo(struct vcpu *v)
{
	spin_lock(&tree_lock);
	bool gone = !tree_slot(v->vm, v->handle);

	spin_unlock(&tree_lock);
	return gone ? sbi_result(v->error) : sbi_wait(v);
}

/* What there is of the child, if anything, goes. With tree_lock held. */
static void give_up(struct vcpu *v, enum err err)
{
	struct vm *child = dx_live_child(v, v->handle);

	if (child)
		vm_kill(child, DX_REASON_NONE, 0);
	v->error = child ? quota_seen_by(&v->vm->quota, &child->quota, err) : err;
	v->stage = UNDO;
}

/* One step of sharing memory with the child v->handle; when it is the last, the child runs. The
 * child may have been killed meanwhile, and `from` too. */
static struct sbi_ret share(struct vcpu *v, struct vm *from)
{
	bool done = false;
	enum err err = E_STATE;

	spin_lock(&tree_lock);
	struct vm *child = dx_live_child(v, v->handle);

	if (child) {
		dx_hold(child);
		spin_unlock(&tree_lock);
		err = fork_step(child, &done);
		if (done && child->forked)
			vm_fence(from);
		spin_lock(&tree_lock);
		if (child->state == DX_DYING)
			child->cursor = gpa(0); /* of the burial, which begins when it is let go */
		/* A template that dies meanwhile changes under the copy. */
		if (child->state == DX_DYING || from->state == DX_DYING)
			err = E_STATE;
	}
	if (err != OK) {
		give_up(v, err);
	} else if (done) {
		bool forks = child->forked && from == v->vm;

		if (forks)
			vcpu_save(v);
		fork_finish(child, forks ? v : NULL, v->options.flags & DX_PAUSED);
		if (forks)
			vcpu_load(v);
	}
	if (child)
		dx_unpin(child);
	spin_unlock(&tree_lock);
	return done && err == OK ? sbi_value(v->handle) : sbi_again(v);
}

/* What the caller asks, copied once: 0 for nothing special. */
static bool read_options(struct vcpu *v, uint64_t at, struct sbi_ret *r)
{
	struct dx_fork *f = &v->options;
	const void *p;

	memset(f, 0xff, sizeof(*f));
	f->flags = f->reserved = 0;
	if (at == 0)
		return true;
	p = dx_caller_struct(v, at, sizeof(*f), false, r);
	if (p)
		memcpy(f, p, sizeof(*f));
	return p;
}

/* One step of making a child like `from`, which is halted. */
static struct sbi_ret make(struct vcpu *v, struct vm *from)
{
	/* Each time: a template may have been resumed, and paused again, before it had a clone. */
	if (!vm_quiet(from, v))
		return sbi_again(v);
	if (v->stage == SHARE)
		return share(v, from);
	enum err err = fork_begin(v->vm, from, &v->options, v->sched.priority, &v->handle);

	if (err != OK)
		return sbi_result(err);
	v->stage = SHARE;
	return sbi_again(v);
}

/* The caller becomes the one that may go on while its VM is halted, unless another one is. */
static struct sbi_ret become_forker(struct vcpu *v)
{
	spin_lock(&tree_lock);
	if (!v->vm->forker) {
		v->vm->forker = v;
		vm_halt(v->vm, HALT_FORK);
		v->stage = QUIET;
	}
	spin_unlock(&tree_lock);
	return sbi_again(v);
}

static void end_fork(struct vcpu *v)
{
	spin_lock(&tree_lock);
	v->vm->forker = NULL;
	vm_unhalt(v->vm, HALT_FORK);
	spin_unlock(&tree_lock);
}

struct sbi_ret dx_fork(struct vcpu *v, const uint64_t *a)
{
	struct sbi_ret r;

	if (v->stage == BEGIN)
		return read_options(v, a[0], &r) ? become_forker(v) : r;
	r = v->stage == UNDO ? undo(v) : make(v, v->vm);
	if (v->action != ACTION_CALL)
		end_fork(v);
	return r;
}

/* Pins child `handle` if it can be cloned. */
static enum err pin_template(struct vcpu *v, uint64_t handle, struct vm **out)
{
	enum err err = handle == DX_SELF ? E_NOENT : dx_pin(v, handle, out);

	if (err == OK && (__atomic_load_n(&(*out)->state, __ATOMIC_ACQUIRE) != DX_PAUSED_STATE ||
				 (*out)->reset_asked)) {
		dx_unpin(*out);
		err = E_STATE;
	}
	return err;
}

struct sbi_ret dx_clone(struct vcpu *v, const uint64_t *a)
{
	struct sbi_ret r;
	struct vm *t;

	if (v->stage == BEGIN && !read_options(v, a[1], &r))
		return r;
	if (v->stage == UNDO)
		return undo(v);
	enum err err = pin_template(v, a[0], &t);

	if (err == OK) {
		r = make(v, t);
		dx_unpin(t);
		return r;
	}
	if (v->stage == BEGIN)
		return sbi_result(err);
	spin_lock(&tree_lock);
	give_up(v, E_STATE);
	spin_unlock(&tree_lock);
	return sbi_again(v);
}

/* A hart of a halted VM stops when it is next picked; the call that it is in is given up. */
static void stop_hart(struct vcpu *h)
{
	struct vm *child = h->stage == SHARE ? dx_live_child(h, h->handle) : NULL;

	if (child && child->source)
		vm_kill(child, DX_REASON_NONE, 0);
	h->stage = BEGIN;
	vcpu_drop_buffer(h);
	h->hsm = HSM_STOP_PENDING;
	h->action = ACTION_STOP;
	sched_wake(&h->sched, time_now());
}

bool dx_stop_harts(struct vm *vm, const struct vcpu *self)
{
	bool stopped = true;

	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		struct vcpu *h = vm->vcpus[i];

		uint32_t hsm = __atomic_load_n(&h->hsm, __ATOMIC_ACQUIRE);

		if (h == self || hsm == HSM_STOPPED)
			continue;
		stopped = false;
		/* Seen once: one that is stopping becomes STOPPED at any moment. */
		if (hsm != HSM_STOP_PENDING)
			stop_hart(h);
	}
	return stopped;
}

/* Every VCPU starts anew: the others stop, the caller is at `entry`. */
struct sbi_ret dx_exec(struct vcpu *v, const uint64_t *a)
{
	struct vm *vm = v->vm;

	if (!sbi_can_start(vm, a[0]))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	if (v->stage == BEGIN)
		return become_forker(v);
	if (!vm_quiet(vm, v))
		return sbi_again(v);
	spin_lock(&tree_lock);
	bool alone = dx_stop_harts(vm, v);

	spin_unlock(&tree_lock);
	if (!alone)
		return sbi_wait(v);
	vm->ghosts = false;
	vcpu_save(v);
	vcpu_reset(v, a[0], a[1]);
	vcpu_load(v);
	end_fork(v);
	return (struct sbi_ret){v->id, v->x[11]};
}

struct sbi_ret dx_create(struct vcpu *v, const uint64_t *a)
{
	struct dx_create c;
	struct sbi_ret r;

	if (v->stage == SHARE || v->stage == UNDO)
		return v->stage == SHARE ? share(v, v->vm) : undo(v);
	const void *p = dx_caller_struct(v, a[0], sizeof(c), false, &r);

	if (!p)
		return r;
	memcpy(&c, p, sizeof(c));
	/* Read anew in each step: it may ask for something else by now. */
	bool direct = c.flags & DX_DIRECT && direct_vms && IS_ALIGNED(c.ram_size, MIB(2));
	hpa_t run = hpa(direct ? v->stage : 0);

	if (direct && c.ram_size && !frame_find_run(&run, c.ram_size)) {
		v->stage = run.v;
		return sbi_again(v);
	}
	enum err err = vm_make_child(v->vm, &c, &run, &v->handle);

	v->stage = SHARE;
	if (err == OK)
		return run.v ? sbi_again(v) : sbi_value(v->handle);
	return sbi_result(err);
}
