/* SPDX-License-Identifier: MIT */
/* Calls of the Diosix extension between whose steps something changes: the caller's memory, whom
 * its handles name, what other VCPUs of the caller's do with the same child. If this fails, a guest
 * chooses what the hypervisor has not looked at. */
#include "calls.h"

#define PAGES  (160 * 512)
#define STRUCT GIB(2)

/* Large enough that one step does not look at all of the machine. */
static struct vm *caller;

static void begin(void)
{
	struct dx_create c = empty_of(1);
	uint32_t handle;
	hpa_t a;

	new_machine(PAGES, 512, 8);
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	caller = child_of(root_vm, handle);
	assert_int_equal(gstage_touch(caller, gpa(STRUCT), true, NULL), OK);
	/* Nowhere is a run. */
	while (frame_alloc(ORDER_2M, FRAME_HV, 0, &a) == OK)
		;
}

static void ask(uint32_t flags, uint64_t ram_size)
{
	struct dx_create c = empty_of(1);

	c.flags = flags;
	c.ram_size = ram_size;
	memcpy(guest_ptr(caller, gpa(STRUCT), sizeof(c), GSTAGE_W), &c, sizeof(c));
}

/* What is asked for while a run is looked for is not what is asked for then, and what was taken
 * there is free. */
static void a_place_is_for_what_it_was_looked_for(void **state)
{
	static const struct {
		uint32_t flags;
		uint64_t ram_size;
	} then[] = {{0, PAGE_SIZE}, {0, MIB(2)}, {DX_DIRECT, PAGE_SIZE}};

	for (unsigned i = 0; i < ARRAY_SIZE(then); i++) {
		begin();
		struct vcpu *v = caller->vcpus[0];

		v->x[10] = STRUCT;
		v->x[16] = DX_FID_CREATE;
		ask(DX_DIRECT, MIB(2));
		call_step(v);
		assert_int_equal(v->action, ACTION_CALL);
		assert_true(v->stage > PAGE_SIZE);
		frame_free(hpa(v->stage));
		ask(then[i].flags, then[i].ram_size);
		call_step(v);
		assert_int_equal(v->action, ACTION_NONE);
		assert_false(child_of(caller, v->handle)->direct);
	}
}

static struct vcpu *hart;

/* The first step of a call of hart `i` of `vm`'s. */
static void begin_call(struct vm *vm, unsigned i, uint64_t fid, uint64_t a0)
{
	hart = vm->vcpus[i];
	hart->x[10] = a0;
	hart->x[11] = 0;
	hart->x[16] = fid;
	call_step(hart);
}

static void end_call(struct vcpu *v)
{
	for (unsigned steps = 0; v->action == ACTION_CALL; steps++) {
		assert_true(steps < 10000);
		call_step(v);
	}
}

static void call(struct vm *vm, unsigned i, uint64_t fid, uint64_t a0)
{
	begin_call(vm, i, fid, a0);
	end_call(hart);
}

static void bury(struct vm *parent, uint32_t handle)
{
	struct vm *vm = child_of(parent, handle);

	call(parent, 1, DX_FID_KILL, handle);
	for (unsigned steps = 0; !bury_step(vm); steps++)
		assert_true(steps < 10000);
}

/* A call that makes a clone of `template` is between two steps. */
static uint32_t begin_clone(void)
{
	struct dx_create c = empty_of(3000);
	struct dx_fork f = keep_all();
	uint32_t handle;
	struct vm *t;

	new_machine(PAGES, 512, 8);
	c.vcpus = 2;
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	caller = child_of(root_vm, handle);
	assert_int_equal(begin_fork(caller, caller, &f, 3, &t), OK);
	finish_fork(t, true);
	/* More than are shared in one step. */
	for (uint64_t done = 0; done < t->ram_size; done += PAGE_SIZE)
		assert_int_equal(guest_store(t, t->ram_base.v + done, done, NULL), OK);
	begin_call(caller, 0, DX_FID_CLONE, t->handle);
	return t->handle;
}

/* The next child to get the slot that was `handle`'s gets it after 2^15 others. */
static uint32_t next_of(uint32_t handle)
{
	const uint32_t generation = 1 << 12;
	struct dx_create c = empty_of(1);
	uint32_t slot = (handle - 1) % generation, next;
	struct child *s = &caller->children[slot / CHILDREN_PER_PAGE][slot % CHILDREN_PER_PAGE];

	assert_null(s->vm);
	assert_int_equal(caller->free_slot, slot + 1);
	s->events.handle =
		handle > generation ? handle - generation : handle + (8 << 24) - generation;
	assert_int_equal(make_empty(caller, &c, &next), OK);
	assert_int_equal((next - 1) % generation, slot);
	return next;
}

/* A call that has begun with one child does not go on with another, however many there were. */
static void no_handle_is_used_again_during_a_call(void **state)
{
	for (unsigned template = 0; template <2; template ++) {
		uint32_t t = begin_clone(), made = hart->handle, gone = template ? t : made;
		struct vcpu *v = hart;

		assert_int_equal(v->action, ACTION_CALL);
		call_step(v);
		assert_true(child_of(caller, made)->source && v->action == ACTION_CALL);
		bury(caller, gone);
		if (template)
			call(caller, 1, DX_FID_REAP, gone);
		assert_int_not_equal(next_of(gone), gone);
		for (unsigned steps = 0; v->action == ACTION_CALL; steps++) {
			struct vm *left = child_of(caller, made);

			call_step(v);
			if (left && left->state == DX_DYING)
				bury_step(left);
			assert_true(steps < 1000);
		}
		assert_null(child_of(caller, made));
	}
}

/* A template that was not quite paused when its clone began. */
static void a_template_is_quiet_in_each_step(void **state)
{
	uint32_t t = begin_clone();
	const struct vm *template = child_of(caller, t);

	loud = template;
	call_step(hart);
	call_step(hart);
	assert_int_equal(template->shared, 0);
	loud = NULL;
	end_call(hart);
	assert_int_equal(template->shared, template->ram_size / PAGE_SIZE);
	assert_int_equal(child_of(caller, hart->handle)->state, DX_RUNNING);
}

/* --- two harts reboot one child --- */

#define HIGH (GSTAGE_END - GIB(1))
#define LOW  GIB(1)

static struct vm *holder;

static void hold(uint64_t at)
{
	uint64_t done;

	assert_int_equal(grant_map(holder, hpa(GIB(1)), PAGE_SIZE, gpa(at), &done), OK);
	assert_true(holder->holds_devices);
}

static void stop_holder(void)
{
	holder->vcpus[0]->hsm = HSM_STOPPED;
	holder->vcpus[0]->sched.state = SCHED_OFF;
}

/* A trusted child of the Root VM's that holds a device; hart 0 reboots it, and is not ready. */
static void begin_reboot(void)
{
	struct dx_create c = empty_of(1);
	uint32_t handle;

	new_machine(PAGES, 512, 8);
	c.flags = DX_TRUST;
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	holder = child_of(root_vm, handle);
	call(root_vm, 0, DX_FID_START, handle);
	hold(HIGH);
	begin_call(root_vm, 0, DX_FID_REBOOT, handle);
	stop_holder();
	for (unsigned steps = 0; steps < 600; steps++)
		call_step(hart); /* it is beyond LOW */
	assert_true(hart->action == ACTION_CALL && holder->holds_devices);
}

static bool has_device(uint64_t at)
{
	struct gstage_leaf leaf;

	return gstage_lookup(holder, gpa(at), &leaf) == OK;
}

/* One reboots it and starts it again while the other one is between two steps. */
static void a_reboot_takes_what_came_meanwhile(void **state)
{
	begin_reboot();
	struct vcpu *slow = hart;

	call(root_vm, 1, DX_FID_REBOOT, holder->handle);
	assert_int_equal(holder->state, DX_CREATED);
	assert_false(holder->holds_devices || has_device(HIGH));
	call(root_vm, 1, DX_FID_START, holder->handle);
	hold(LOW);
	call(root_vm, 1, DX_FID_PAUSE, holder->handle);
	stop_holder();
	end_call(slow);
	assert_int_equal(holder->state, DX_CREATED);
	assert_false(holder->holds_devices || has_device(LOW));
}

/* One is in the midst of a step: it must not take what the child gets when it runs again. */
static void a_reboot_ends_when_none_is_in_a_step(void **state)
{
	begin_reboot();
	dx_hold(holder);
	for (unsigned steps = 0; steps < 10000; steps++)
		call_step(hart);
	assert_int_equal(holder->state, DX_PAUSED_STATE);
	dx_unpin(holder);
	end_call(hart);
	assert_int_equal(holder->state, DX_CREATED);
}

/* The child is killed and reaped meanwhile: another one is not rebooted in its place. */
static void a_reboot_is_of_whom_it_began_with(void **state)
{
	begin_reboot();
	struct vcpu *slow = hart;
	uint32_t handle = holder->handle, next;

	bury(root_vm, handle);
	call(root_vm, 1, DX_FID_REAP, handle);
	caller = root_vm;
	next = next_of(handle);
	assert_int_not_equal(next, handle);
	call(root_vm, 1, DX_FID_START, next);
	end_call(slow);
	assert_int_equal(child_of(root_vm, next)->state, DX_RUNNING);
}

/* A fork has its cursor at the end of its memory. */
static void a_fork_is_rebooted_from_the_start(void **state)
{
	struct dx_fork f = keep_all();
	bool done = false;

	new_machine(PAGES, 512, 8);
	assert_int_equal(begin_fork(root_vm, root_vm, &f, 3, &holder), OK);
	while (!done)
		assert_int_equal(fork_step(holder, &done), OK);
	finish_fork(holder, false);
	hold(LOW);
	stop_holder();
	call(root_vm, 1, DX_FID_REBOOT, holder->handle);
	assert_int_equal(holder->state, DX_CREATED);
	assert_false(holder->holds_devices || has_device(LOW));
}

/* --- trust --- */

static void drop_trust(void)
{
	root_vm->trusted = false;
}

static void who_drops_trust_makes_no_trusted_child(void **state)
{
	struct dx_create c = empty_of(1);
	uint32_t handle;

	new_machine(PAGES, 512, 8);
	c.flags = DX_TRUST;
	on_random = drop_trust;
	assert_int_equal(make_empty(root_vm, &c, &handle), E_DENIED);
	on_random = NULL;
	assert_int_equal(root_vm->nchildren, 0);
}

static bool is_told_trusted(uint32_t handle)
{
	gpa_t at = root_vm->ram_base;
	enum err err = gstage_touch(root_vm, at, true, NULL);
	struct vcpu *v = root_vm->vcpus[0];

	assert_true(err == OK || err == E_EXISTS);
	v->x[10] = handle;
	v->x[11] = at.v;
	v->x[16] = DX_FID_INFO;
	call_step(v);
	return ((struct dx_info *)guest_ptr(root_vm, at, sizeof(struct dx_info), GSTAGE_R))
		->trusted;
}

/* Another hart's EXEC ends DROP_TRUST between two steps: who still has a device is still trusted,
 * and may still ask about itself. */
static void trust_is_gone_when_the_devices_are(void **state)
{
	struct dx_create c = empty_of(2);
	uint32_t handle;
	struct vm *self;

	new_machine(PAGES, 512, 8);
	c.flags = DX_TRUST;
	c.vcpus = 2;
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	holder = child_of(root_vm, handle);
	hold(HIGH);
	begin_call(holder, 0, DX_FID_DROP_TRUST, 0);
	assert_true(hart->action == ACTION_CALL && !holder->trusted && has_device(HIGH));
	assert_true(is_told_trusted(handle));
	hart->stage = 0;
	assert_int_equal(dx_pin(hart, DX_SELF, &self), OK);
	dx_unpin(self);
	call(holder, 1, DX_FID_DROP_TRUST, 0);
	assert_false(is_told_trusted(handle) || has_device(HIGH));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_for_what_it_was_looked_for),
		cmocka_unit_test(no_handle_is_used_again_during_a_call),
		cmocka_unit_test(a_template_is_quiet_in_each_step),
		cmocka_unit_test(a_reboot_takes_what_came_meanwhile),
		cmocka_unit_test(a_reboot_ends_when_none_is_in_a_step),
		cmocka_unit_test(a_reboot_is_of_whom_it_began_with),
		cmocka_unit_test(a_fork_is_rebooted_from_the_start),
		cmocka_unit_test(who_drops_trust_makes_no_trusted_child),
		cmocka_unit_test(trust_is_gone_when_the_devices_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
