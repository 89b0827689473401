/* SPDX-License-Identifier: MIT */
/*
 * Any VMs, at any depth, make any calls of the Diosix extension with any arguments, several at a
 * time, a step each, while others die: no BUG_ON, no page without a payer, no quota that is not the
 * sum of what it should be; and when the Root VM has ended, every page is back.
 *
 * Arguments are mostly what might make sense (handles of children, addresses at edges), so that a
 * few bytes of input reach far; sometimes they are anything.
 */
#include "calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES    2048
#define RAM      48
#define CALL_MAX 400 /* calls begun in one input */

/* --- input --- */

static const uint8_t *input, *input_end;

static uint64_t take(unsigned bytes)
{
	uint64_t value = 0;

	for (; bytes; bytes--)
		value = value << 8 | (input < input_end ? *input++ : 0);
	return value;
}

/* The nth VM of the tree below `vm`, or a nearby one. */
static struct vm *walk_down(unsigned steps)
{
	struct vm *vm = root_vm;

	for (; steps; steps >>= 3) {
		uint32_t handle = tree_next(vm, 0);

		for (unsigned i = steps & 7; i > 1 && handle; i--)
			handle = tree_next(vm, handle);
		if (!handle || !child_of(vm, handle))
			break;
		vm = child_of(vm, handle);
	}
	return vm;
}

static uint64_t some_handle(const struct vm *vm)
{
	unsigned n = (unsigned)take(1);
	uint32_t handle = 0;

	if (n == 255)
		return take(8);
	for (n %= 6; n; n--)
		handle = tree_next(vm, handle);
	return handle;
}

static uint64_t some_number(const struct vm *vm)
{
	unsigned kind = (unsigned)take(1);

	switch (kind % 10) {
	case 0:
		return take(1);
	case 1:
		return kind / 10;
	case 2:
		return (kind / 10) * PAGE_SIZE;
	case 3: /* in its RAM, or about its end */
		return vm->ram_base.v + kind / 10 * 2 * PAGE_SIZE;
	case 4:
		return vm->ram_base.v + (take(1) % RAM) * PAGE_SIZE + kind / 10 * 8;
	case 5: /* for windows and devices */
		return GIB(1) + kind / 10 * PAGE_SIZE;
	case 6:
		return VMGENID + kind / 10 * 8;
	case 7:
		return BIT(take(1) % 64) - kind / 10;
	case 8:
		return UART_BASE + kind / 10 * PAGE_SIZE;
	default:
		return take(8);
	}
}

/* What each argument of a call should be: see argument(). */
static const char *const shapes[DX_FID_PRIORITY + 4] = {[DX_FID_FORK] = "o",
	[DX_FID_EXEC] = "on",
	[DX_FID_QUOTA_READ] = "ho",
	[DX_FID_QUOTA_SET] = "hln",
	[DX_FID_CREATE] = "o",
	[DX_FID_START] = "hon",
	[DX_FID_PAUSE] = "h",
	[DX_FID_RESUME] = "h",
	[DX_FID_KILL] = "h",
	[DX_FID_REBOOT] = "h",
	[DX_FID_CLONE] = "ho",
	[DX_FID_INFO] = "ho",
	[DX_FID_NEXT] = "h",
	[DX_FID_REAP] = "h",
	[DX_FID_WINDOW_MAP] = "hpwsr",
	[DX_FID_WINDOW_UNMAP] = "ws",
	[DX_FID_CONSOLE_READ] = "hpl",
	[DX_FID_CONSOLE_WRITE] = "hpl",
	[DX_FID_MMIO_MAP] = "dsw",
	[DX_FID_MMIO_UNMAP] = "ws",
	[DX_FID_DMA_PIN] = "p",
	[DX_FID_FDT_WRITE] = "hpn",
	[DX_FID_PRIORITY] = "hln"};

static uint64_t argument(const struct vm *vm, char kind)
{
	switch (kind) {
	case 'h':
		return some_handle(vm);
	case 'o': /* where structs are poked; 0 is none */
		return take(1) & 7 ? vm->ram_base.v + take(1) % 4 * PAGE_SIZE : 0;
	case 'p':
		return vm->ram_base.v + take(1) % 16 * PAGE_SIZE;
	case 'w':
		return GIB(1) + take(1) % 16 * PAGE_SIZE;
	case 's':
		return (1 + take(1) % 6) * PAGE_SIZE;
	case 'r':
		return 1 + take(1) % 3;
	case 'l':
		return take(1) % 9;
	case 'd':
		return UART_BASE + take(1) % 4 * PAGE_SIZE;
	default:
		return some_number(vm);
	}
}

/* A store; who cannot pay for it may lose a child, as in vcpu_stall. */
static void touch(struct vm *vm)
{
	uint64_t at = vm->ram_base.v + take(1) % 16 * PAGE_SIZE;

	if (guest_store(vm, at, take(1), NULL) == E_QUOTA_OWN)
		tree_sacrifice(vm);
}

/* A struct of FORK or CREATE in the VM's memory. */
static void poke(struct vm *vm)
{
	uint64_t at = vm->ram_base.v + take(1) % 4 * PAGE_SIZE;
	unsigned creates = (unsigned)take(1) & 1;
	struct dx_create c = empty_of(1 + take(1) % RAM);
	struct dx_fork f = keep_all();
	unsigned which = (unsigned)take(1);

	f.flags = c.flags = which & 7;
	c.vcpus = 1 + (which >> 3 & 1);
	if (c.vcpus == 2) {
		c.flags |= DX_DIRECT;
		c.ram_size = MIB(2);
	}
	if (which >> 4)
		c.limit[which >> 4 & 7 ? (which >> 4) % DX_LIMITS : 0] =
			f.limit[(which >> 4) % DX_LIMITS] = some_number(vm);
	for (unsigned i = 0; i < (creates ? sizeof(c) : sizeof(f)) / 8; i++)
		if (guest_store(vm, at + i * 8, ((uint64_t *)(creates ? (void *)&c : &f))[i],
			    NULL) != OK)
			return;
}

/* --- calls --- */

static bool may_run(const struct vcpu *v)
{
	const struct vm *vm = v->vm;

	return v->hsm == HSM_STARTED &&
	       (vm->halt == 0 || (vm->halt == HALT_FORK && vm->forker == v));
}

static void call(struct vm *vm, unsigned n)
{
	struct vcpu *v = vm->vcpus[n % vm->nvcpus];
	unsigned steps = 1 + (unsigned)take(1) % 40;

	if (!may_run(v))
		return;
	if (v->action != ACTION_CALL) {
		v->x[16] = take(1) % (DX_FID_PRIORITY + 4);
		const char *shape = take(1) & 7 ? shapes[v->x[16]] : NULL;

		for (unsigned i = 10; i < 15; i++)
			v->x[i] = argument(vm, shape && *shape ? *shape++ : 'n');
	}
	do
		call_step(v);
	while (v->action == ACTION_CALL && --steps && may_run(v));
}

static void bury_one(struct vm *vm)
{
	if (vm->state != DX_DYING || vm->vcpus[0]->sched.state != SCHED_READY)
		return;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vm->vcpus[i]->action = ACTION_NONE;
	if (vm != root_vm)
		bury_step(vm);
}

/* --- what must hold --- */

/* The tree below, first child first; `depth` bounds the recursion that a test may use. */
static uint64_t check_vm(const struct vm *vm, unsigned depth)
{
	const struct quota *q = &vm->quota;
	uint64_t used[RES_COUNT], own = q->own[RES_PAGES], children = 0;

	memcpy(used, q->own, sizeof(used));
	require(depth <= TREE_DEPTH_MAX && vm->pins == 0);
	require(q->own[RES_VCPUS] == vm->nvcpus);
	require(!!(vm->halt & HALT_STATE) == (vm->state != DX_RUNNING));
	for (uint32_t h = tree_next(vm, 0); h; h = tree_next(vm, h)) {
		const struct vm *c = child_of((struct vm *)vm, h);

		if (!c)
			continue;
		require(c->parent == vm && c->handle == h);
		children++;
		own += check_vm(c, depth + 1);
		for (unsigned r = 0; r < RES_COUNT; r++)
			used[r] += r == RES_PAGES ? MAX(c->quota.used[r],
							    c->quota.limit[DX_LIMIT_GUARANTEE])
						  : c->quota.used[r];
	}
	require(q->own[RES_VMS] == children);
	for (unsigned r = 0; r < RES_COUNT; r++)
		require(q->used[r] == used[r]);
	return own;
}

static void check(void)
{
	struct frame_stats s;

	require(frames_audit(&s));
	require(!spin_is_locked(&tree_lock));
	require(s.frames[FRAME_FREE] + check_vm(root_vm, 0) == PAGES);
}

static struct vm *any_dying(struct vm *vm)
{
	for (uint32_t h = tree_next(vm, 0); h; h = tree_next(vm, h)) {
		struct vm *c = child_of(vm, h);

		if (c)
			return any_dying(c);
	}
	return vm->state == DX_DYING ? vm : NULL;
}

static void end(void)
{
	struct frame_stats s;
	struct vm *vm;

	spin_lock(&tree_lock);
	vm_kill(root_vm, DX_REASON_EXIT, 0);
	spin_unlock(&tree_lock);
	for (unsigned steps = 0;; steps++) {
		require(steps < 100000);
		vm = any_dying(root_vm);
		if (!vm) { /* a child that has not heard of it yet: its parent's next step */
			for (vm = root_vm; vm->vcpus[0]->sched.state != SCHED_READY;)
				vm = child_of(vm, tree_next(vm, 0));
		}
		if (bury_step(vm) && vm == root_vm)
			break;
	}
	require(frames_audit(&s) && s.frames[FRAME_FREE] == PAGES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = data;
	input_end = data + size;
	new_machine(PAGES, RAM, 5);
	root_vm->vcpus[1]->hsm = HSM_STARTED;
	root_vm->holds_devices = take(1) & 1;
	for (unsigned i = 0; i < CALL_MAX && input < input_end; i++) {
		unsigned what = (unsigned)take(1);
		struct vm *vm = walk_down((unsigned)take(1));

		if (vm->state == DX_DYING || what % 8 == 0)
			bury_one(vm);
		else if (what % 8 == 1 && vm->state == DX_RUNNING && vm->halt == 0)
			poke(vm);
		else if (what % 8 == 2 && vm->state == DX_RUNNING && vm->halt == 0)
			touch(vm);
		else
			call(vm, what >> 3);
		check();
	}
	end();
	return 0;
}
