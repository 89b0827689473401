/* SPDX-License-Identifier: MIT */
/* What lies around the calls of the Diosix extension, for tests that make them in the machine of
 * world.h, and a step of one. */
#pragma once

#include "world.h"
#include "fdt/guest.h"
#include "riscv/feature.h"
#include "sbi/diosix.h"

bool has_h, direct_vms = true;

struct sbi_ret sbi_again(struct vcpu *v)
{
	v->action = ACTION_CALL;
	return (struct sbi_ret){0, 0};
}

struct sbi_ret sbi_wait(struct vcpu *v)
{
	return sbi_again(v);
}

struct sbi_ret sbi_result(enum err err)
{
	require(err <= OK && err >= E_CHECKSUM);
	return sbi_error(err);
}

struct sbi_ret sbi_need(struct vcpu *v, gpa_t at, bool write, int64_t error)
{
	enum err err = gstage_touch(v->vm, at, write, &v->refused);

	if (err == E_NOENT || err == E_NOMEM)
		return sbi_error(error);
	return sbi_again(v);
}

struct sbi_ret sbi_system_reset(struct vcpu *v, bool reboot, bool failure, uint64_t code)
{
	return sbi_error(SBI_ERR_FAILED);
}

bool sbi_all_stopped(const struct vm *vm, const struct vcpu *but)
{
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (vm->vcpus[i] != but && vm->vcpus[i]->hsm != HSM_STOPPED)
			return false;
	return true;
}

void vcpu_save(struct vcpu *v)
{
}

void vcpu_load(struct vcpu *v)
{
}

void vcpu_reset(struct vcpu *v, uint64_t pc, uint64_t arg)
{
	v->pc = pc;
}

void sched_wake(struct sched_entity *e, uint64_t now)
{
	if (e->state == SCHED_BLOCKED)
		e->state = SCHED_READY;
}

void sched_set_priority(struct sched_entity *e, uint8_t priority, uint64_t now)
{
	require(priority <= SCHED_MAX_PRIORITY);
	e->priority = priority;
}

void sched_group_set_weight(struct sched_group *g, uint32_t weight)
{
	require(weight);
	g->subtree.weight = weight;
}

uint64_t sched_group_ticks(const struct sched_group *g, uint64_t now)
{
	return 0;
}

enum err irq_route(struct vm *vm, uint32_t irq)
{
	return E_EXISTS;
}

enum err irq_unroute(struct vm *vm, uint32_t irq)
{
	return E_NOENT;
}

enum err grant_map(struct vm *vm, hpa_t from, uint64_t size, gpa_t at, uint64_t *done)
{
	*done = 0;
	if (!vm->trusted)
		return E_DENIED;
	if (from.v >= RAM_BASE || size > GIB(1))
		return E_NOENT;
	struct vm_locked l = vm_lock(vm);
	enum err err = gstage_map(l, at, from, size, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE, done);

	vm_unlock(l);
	vm->holds_devices |= *done != 0;
	return err;
}

bool grant_unmap(struct vm *vm, gpa_t *at, uint64_t end)
{
	unsigned budget = 512;
	bool any = false;
	uint64_t size;
	hpa_t a;

	while (gstage_take_device(vm, at, end, &budget, &a, &size))
		any = true;
	return any;
}

void pcpus_kick(void)
{
}

struct machine machine;

struct isa features_for_guests(void)
{
	return (struct isa){0};
}

enum err fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, uint64_t *part, size_t *used)
{
	*used = 0;
	if (++*part < 3)
		return OK;
	*used = MIN(size, 100);
	memset(buf, 0x5a, *used);
	return *used ? OK : E_NOMEM;
}

/* As riscv/trap.c does: one step, and what a call leaves when it is over. */
static void call_step(struct vcpu *v)
{
	uint64_t a[6];

	memcpy(a, &v->x[10], sizeof(a));
	v->action = ACTION_NONE;
	v->in_call = true;
	sbi_diosix(v, v->x[16], a);
	v->in_call = false;
	v->refused.at = NULL;
	if (v->action == ACTION_CALL)
		return;
	v->stage = 0;
	vcpu_drop_buffer(v);
	v->action = ACTION_NONE;
}
