/* SPDX-License-Identifier: MIT */
/* Calls of the Diosix extension whose memory changes between their steps. If this fails, a guest
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_for_what_it_was_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
