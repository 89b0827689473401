/* SPDX-License-Identifier: MIT */
/*
 * A machine with a Root VM in fake RAM, for tests of the real tree, fork, quota, frame and G-stage
 * code; and stand-ins for what lies below them: VCPUs without registers, no scheduler but a state
 * in each VCPU, a host PLIC that nothing is connected to. Every check aborts with a message, so
 * that it works in helpers and in fuzz targets too.
 */
#pragma once

#include "unit.h"
#include "arch.h"
#include "core/console.h"
#include "core/fork.h"
#include "core/rng.h"
#include "core/tree.h"
#include "core/vconsole.h"
#include "boot/boot.h"
#include "mmu/gstage.h"
#include "riscv/irq.h"
#include "riscv/time.h"
#include "riscv/vcpu.h"
#include "vdev/devices.h"
#include "vdev/grant.h"

#ifndef require
#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
#endif

#define RAM_BASE  UINT64_C(0x80000000)
#define PLIC_BASE UINT64_C(0xc000000)
#define UART_BASE UINT64_C(0x10000000)
#define VMGENID   (PLIC_BASE - PAGE_SIZE)
#define NDEV      12
#define UART_IRQ  10
#define NO_LIMIT  (UINT64_MAX >> 1)

struct vm *root_vm;
uint64_t host_time;

static struct frame *frame_table;
static uint64_t host_pages;
static void (*on_fence)(struct vm *vm); /* what others do while a page is being replaced */
static unsigned fences;

/* --- VCPUs --- */

enum err vcpu_create(struct vm *vm)
{
	void *mem;
	enum err err = quota_charge(&vm->quota, RES_VCPUS, 1, NULL);

	if (err != OK)
		return err;
	err = vm_struct_alloc(vm, sizeof(struct vcpu) + sizeof(struct sched_group), &mem);
	if (err != OK) {
		quota_release(&vm->quota, RES_VCPUS, 1);
		return err;
	}
	struct vcpu *v = mem;

	*v = (struct vcpu){.vm = vm, .id = vm->nvcpus, .hsm = HSM_STOPPED};
	v->sched.priority = MIN(SCHED_DEFAULT_PRIO, quota_ceiling(&vm->quota, DX_LIMIT_PRIORITY));
	vm->vcpus[vm->nvcpus++] = v;
	if (v->id == 0) {
		vm->sched = (struct sched_group *)(v + 1);
		vm->sched->subtree.weight = DX_WEIGHT_DEFAULT;
	}
	return OK;
}

void vcpu_drop_buffer(struct vcpu *v)
{
	vm_struct_free(v->vm, v->buffer);
	v->buffer = NULL;
}

void vcpu_destroy(struct vm *vm)
{
	vcpu_drop_buffer(vm->vcpus[vm->nvcpus - 1]);
	vm_struct_free(vm, vm->vcpus[--vm->nvcpus]);
	quota_release(&vm->quota, RES_VCPUS, 1);
}

void vcpu_copy(struct vcpu *to, const struct vcpu *from)
{
	memcpy(to->x, from->x, sizeof(to->x));
	to->pc = from->pc;
	to->hsm = from->hsm;
	to->action = from->action;
}

static const struct vm *loud; /* whose VCPUs have not left the guest yet */

bool vm_quiet(const struct vm *vm, const struct vcpu *but)
{
	return vm != loud;
}

void vm_fence_of(struct vm *vm, hpa_t a, uint64_t size)
{
	void (*hook)(struct vm * vm) = on_fence;

	fences++;
	require(!spin_is_locked(&vm->lock)); /* it waits for other PCPUs */
	if (!hook)
		return;
	on_fence = NULL;
	hook(vm);
	on_fence = hook;
}

void vm_halt(struct vm *vm, uint32_t why)
{
	vm->halt |= why;
}

void vm_unhalt(struct vm *vm, uint32_t why)
{
	vm->halt &= ~why;
}

void vm_start_burial(struct vm *vm)
{
	require(spin_is_locked(&tree_lock));
	require(vm->nvcpus);
	vm->vcpus[0]->sched.state = SCHED_READY;
}

void sched_start(struct sched_entity *e, uint64_t now)
{
	require(e->state == SCHED_OFF);
	e->state = SCHED_READY;
}

/* --- what is around the VMs --- */

static void (*on_random)(void); /* what others do while a VM is being made */

void rng_bytes(void *out, size_t n)
{
	static uint8_t next;

	if (on_random)
		on_random();
	for (uint8_t *p = out; n; n--)
		*p++ = ++next;
}

static uint8_t machine_text[64];
static size_t machine_text_size;

size_t console_write(const uint8_t *bytes, size_t n)
{
	n = MIN(n, sizeof(machine_text) - machine_text_size);
	memcpy(machine_text + machine_text_size, bytes, n);
	machine_text_size += n;
	return n;
}

size_t console_read(uint8_t *bytes, size_t n)
{
	memset(bytes, 'm', n);
	return n;
}

void vplic_set_line(struct vplic *p, unsigned vcpu, bool level)
{
	struct vm *vm = vplic_vm(p);

	require(vcpu < vm->nvcpus);
	vm->vcpus[vcpu]->eip_line = level;
}

void vplic_complete(struct vplic *p, uint32_t irq)
{
	require(!"a source of the host");
}

void vplic_set_enabled(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled)
{
	require(!"a source of the host");
}

/* What vdev/grant.c does; no interrupt is routed here. */
bool grant_end(struct vm *vm, gpa_t *cursor)
{
	unsigned budget = 3;
	uint64_t size;
	hpa_t a;

	while (gstage_take_device(vm, cursor, GSTAGE_END, &budget, &a, &size))
		;
	if (cursor->v < GSTAGE_END)
		return false;
	vm->holds_devices = vm->routes = false;
	*cursor = gpa(0);
	return true;
}

/* --- the machine --- */

static inline void map_own(struct vm *vm, uint64_t at, hpa_t to, uint64_t size, uint64_t flags)
{
	struct vm_locked l = vm_lock(vm);

	for (uint64_t done = 0, part; done < size; done += part)
		require(gstage_map(l, gpa(at + done), hpa_add(to, done), size - done, flags,
				&part) == OK);
	vm_unlock(l);
}

static inline void give_root_ram(uint64_t pages)
{
	hpa_t base = hpa(0);

	while (!frame_find_run(&base, pages << PAGE_SHIFT))
		;
	require(base.v && vm_take_run(root_vm, base, pages << PAGE_SHIFT) == OK);
	for (uint64_t done = 0; done < pages << PAGE_SHIFT;
		done += PAGE_SIZE << frame_order(hpa_add(base, done)))
		frame_split(hpa_add(base, done),
			frame_order(hpa_add(base, done)) < ORDER_2M ? ORDER_4K : ORDER_2M);
	memset(hpa_ptr(base), 0, root_vm->ram_size);
	map_own(root_vm, base.v, base, root_vm->ram_size, GSTAGE_RWX);
}

/* A machine of `pages`, whose Root VM has `ram` of them as its own, and may use all. */
static inline void new_machine(uint64_t pages, uint64_t ram, uint8_t depth)
{
	const uint64_t limit[DX_LIMITS] = {
		pages, 1000, 1000, SCHED_MAX_PRIORITY, depth, pages / QUOTA_RESERVE_PART};

	host_ram_init(RAM_BASE, pages << PAGE_SHIFT);
	host_pages = pages;
	free(frame_table);
	frame_table = calloc(pages, sizeof(*frame_table));
	require(frame_table);
	frames_init(frame_table, hpa(RAM_BASE), pages << PAGE_SHIFT);
	frames_declare(hpa(RAM_BASE), pages << PAGE_SHIFT, FRAME_FREE);
	tree_lock = (struct spinlock){0};
	on_fence = NULL;
	require(vm_create(NULL, limit, &root_vm) == OK);
	root_vm->trusted = true;
	root_vm->vmgenid = gpa(VMGENID);
	root_vm->vmgenid_irq = NDEV - 1;
	root_vm->event_irq = NDEV;
	require(vcpu_create(root_vm) == OK && vcpu_create(root_vm) == OK);
	devices_init(root_vm, gpa(PLIC_BASE), NDEV, gpa(UART_BASE), UART_IRQ);
	require(vm_page_alloc(root_vm, 0, FRAME_META, &root_vm->vmgenid_page) == OK);
	map_own(root_vm, VMGENID, root_vm->vmgenid_page, PAGE_SIZE, GSTAGE_R | GSTAGE_FOREIGN);
	give_root_ram(ram);
	spin_lock(&tree_lock);
	vm_set_state(root_vm, DX_RUNNING);
	spin_unlock(&tree_lock);
	root_vm->vcpus[0]->hsm = HSM_STARTED;
	root_vm->vcpus[0]->sched.state = SCHED_READY;
}

static inline struct vm *child_of(struct vm *parent, uint32_t handle)
{
	struct child *c = tree_slot(parent, handle);

	return c ? c->vm : NULL;
}

static inline struct dx_fork keep_all(void)
{
	struct dx_fork f;

	memset(&f, 0xff, sizeof(f));
	f.flags = f.reserved = 0;
	return f;
}

static inline struct dx_create empty_of(uint64_t pages)
{
	struct dx_create c;

	memset(&c, 0xff, sizeof(c));
	c.flags = c.reserved = 0;
	c.vcpus = 1;
	c.ram_size = pages << PAGE_SHIFT;
	return c;
}

/* An empty child whose RAM comes when it is touched. */
static inline enum err make_empty(struct vm *parent, const struct dx_create *c, uint32_t *handle)
{
	hpa_t run = hpa(0);

	return vm_make_child(parent, c, &run, handle);
}

static inline void finish_fork(struct vm *child, bool paused)
{
	spin_lock(&tree_lock);
	fork_finish(child, NULL, paused);
	spin_unlock(&tree_lock);
}

/* One step of what VCPU 0 of a dying VM does (riscv/vcpu.c, vcpu_bury); true when it is gone. */
static inline bool bury_step(struct vm *vm)
{
	bool idle;

	if (!tree_bury(vm, &idle)) {
		vm->vcpus[0]->sched.state = idle ? SCHED_BLOCKED : SCHED_READY;
		return false;
	}
	while (vm->nvcpus)
		vcpu_destroy(vm);
	vm_page_free(vm, vm->vmgenid_page);
	vm_page_free(vm, vm->gstage_root);
	if (vm->parent) {
		tree_forget(vm);
	} else {
		hpa_t a = ptr_hpa(vm);

		quota_release(&vm->quota, RES_PAGES, BIT(frame_of(a)->order));
		frame_free(a);
	}
	return true;
}

/* Stores `value` at `at`, as a VCPU does that takes a fault as often as it must. */
static inline enum err guest_store(
	struct vm *vm, uint64_t at, uint64_t value, struct refusal *refused)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t *p = guest_ptr(vm, gpa(at), 8, GSTAGE_W);

		if (p) {
			*p = value;
			return OK;
		}
		enum err err = gstage_touch(vm, gpa(at), true, refused);

		if (err != OK)
			return err;
	}
	require(!"a store that never succeeds");
	return E_FAULT;
}

/* What a load reads: RAM that is not there is zero. */
static inline uint64_t guest_load(const struct vm *vm, uint64_t at)
{
	const uint64_t *p = guest_ptr(vm, gpa(at), 8, GSTAGE_R);

	return p ? *p : 0;
}

/* fork_begin, with the child itself. */
static inline enum err begin_fork(struct vm *parent, struct vm *from, const struct dx_fork *f,
	uint8_t priority, struct vm **out)
{
	uint32_t handle;
	enum err err = fork_begin(parent, from, f, priority, &handle);

	if (err == OK)
		*out = tree_slot(parent, handle)->vm;
	return err;
}
