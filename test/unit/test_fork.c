/* SPDX-License-Identifier: MIT */
/*
 * Making VMs, and what their memory does then, case by case: holes, shared pages, superpages, what
 * is copied and what is not inherited, refusals at every page. If this fails, a fork differs from
 * its parent, shares what it must not, costs the wrong one, or leaves a trace where it failed.
 */
#include "world.h"

#define PAGES 4096

static struct vm *parent, *child;

/* The Root VM, with 2 MiB, and an empty child of it, running. */
static void parent_of(uint64_t ram_pages)
{
	struct dx_create c = empty_of(ram_pages);
	uint32_t handle = 0;

	new_machine(PAGES, 512, 8);
	for (uint32_t i = 0; i < PAGES; i++) /* as if others had used it */
		if (frame_table[i].kind == FRAME_FREE)
			for (uint32_t k = i; k < i + (1u << frame_table[i].order); k++)
				memset(hpa_ptr(hpa(RAM_BASE + k * PAGE_SIZE)), 0xa5, PAGE_SIZE);
	c.vcpus = 2;
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	parent = child_of(root_vm, handle);
	spin_lock(&tree_lock);
	vm_set_state(parent, DX_RUNNING);
	spin_unlock(&tree_lock);
	parent->vcpus[0]->hsm = HSM_STARTED;
	fences = 0;
}

static uint64_t page(unsigned i)
{
	return GIB(2) + i * PAGE_SIZE;
}

static enum err share_all(struct vm *vm)
{
	bool done = false;
	enum err err = OK;

	for (unsigned steps = 0; err == OK && !done; steps++) {
		err = fork_step(vm, &done);
		assert_true(steps < 1000);
	}
	return err;
}

static struct vm *fork_of(struct vm *vm)
{
	struct dx_fork f = keep_all();
	struct vm *made = NULL;

	assert_int_equal(begin_fork(vm, vm, &f, vm->quota.limit[DX_LIMIT_PRIORITY], &made), OK);
	assert_int_equal(share_all(made), OK);
	finish_fork(made, false);
	return made;
}

static void bury(struct vm *vm)
{
	spin_lock(&tree_lock);
	vm_kill(vm, DX_REASON_KILLED, 0);
	spin_unlock(&tree_lock);
	for (unsigned steps = 0; !bury_step(vm); steps++)
		assert_true(steps < 10000);
}

static void store(struct vm *vm, unsigned i, uint64_t value)
{
	assert_int_equal(guest_store(vm, page(i), value, NULL), OK);
}

static uint64_t load(const struct vm *vm, unsigned i)
{
	return guest_load(vm, page(i));
}

static struct gstage_leaf leaf_of(const struct vm *vm, unsigned i)
{
	struct gstage_leaf leaf = {0};

	if (gstage_lookup(vm, gpa(page(i)), &leaf) != OK)
		leaf.size = 0;
	return leaf;
}

static uint64_t own(const struct vm *vm)
{
	return vm->quota.own[RES_PAGES];
}

static void assert_sound(void)
{
	struct frame_stats s;

	assert_true(frames_audit(&s));
	assert_int_equal(s.frames[FRAME_FREE], PAGES - root_vm->quota.used[RES_PAGES]);
	assert_false(spin_is_locked(&tree_lock) || spin_is_locked(&parent->lock));
}

static bool all_zero(hpa_t a, uint64_t size)
{
	const uint64_t *p = hpa_ptr(a);

	for (uint64_t i = 0; i < size / 8; i++)
		if (p[i])
			return false;
	return true;
}

/* --- holes --- */

static void a_hole_becomes_a_page_of_zeros(void **state)
{
	for (unsigned write = 0; write < 2; write++) {
		parent_of(40);
		uint64_t before = own(parent);

		assert_int_equal(gstage_touch(parent, gpa(page(5) + 123), write, NULL), OK);
		struct gstage_leaf leaf = leaf_of(parent, 5);

		assert_true(leaf.size == PAGE_SIZE && leaf.flags == GSTAGE_RWX);
		assert_true(all_zero(leaf.hpa, PAGE_SIZE));
		assert_int_equal(frame_of(leaf.hpa)->payer, parent->id);
		assert_int_equal(own(parent), before + 1 + 2); /* two tables */
		assert_true(leaf_of(parent, 4).size == 0 && leaf_of(parent, 6).size == 0);
		assert_int_equal(gstage_touch(parent, gpa(page(39)), write, NULL), OK);
		assert_int_equal(own(parent), before + 2 + 2);
		assert_sound();
	}
}

static void what_is_no_ram_stays_so(void **state)
{
	static const uint64_t nowhere[] = {0, VMGENID + PAGE_SIZE, GIB(2) - 1, GIB(2) - PAGE_SIZE,
		GIB(2) + 40 * PAGE_SIZE, GIB(3), GSTAGE_END - 1, GSTAGE_END, GSTAGE_END + GIB(2),
		UINT64_MAX};

	parent_of(40);
	uint64_t before = own(parent);

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++)
		for (unsigned write = 0; write < 2; write++)
			assert_int_equal(
				gstage_touch(parent, gpa(nowhere[i]), write, NULL), E_NOENT);
	assert_int_equal(gstage_touch(parent, gpa(VMGENID), false, NULL), E_EXISTS);
	assert_int_equal(gstage_touch(parent, gpa(VMGENID), true, NULL), E_NOENT);
	assert_int_equal(own(parent), before);
	map_own(parent, GIB(1), hpa(0x10001000), PAGE_SIZE, GSTAGE_R | GSTAGE_DEVICE);
	assert_int_equal(gstage_touch(parent, gpa(GIB(1)), true, NULL), E_NOENT);
}

static void fresh_ram_comes_2_mib_at_a_time(void **state)
{
	parent_of(1100);
	uint64_t before = own(parent);
	unsigned touches = 0;

	do
		assert_int_equal(gstage_touch(parent, gpa(page(touches % 512)), true, NULL), OK);
	while (++touches < 100 && leaf_of(parent, 0).size == 0);
	assert_in_range(touches, 8, 64); /* in parts, whichever page was wanted */
	struct gstage_leaf leaf = leaf_of(parent, 0);

	assert_true(leaf.size == MIB(2) && leaf.flags == GSTAGE_RWX);
	assert_true(all_zero(leaf.hpa, MIB(2)));
	assert_int_equal(own(parent), before + 512 + 1);
	store(parent, 1099, 1); /* no 2 MiB of RAM are there */
	assert_int_equal(leaf_of(parent, 1099).size, PAGE_SIZE);
	assert_int_equal(own(parent), before + 512 + 1 + 1 + 1);
	assert_sound();
}

static void a_vm_that_dies_while_its_ram_is_zeroed(void **state)
{
	parent_of(1024);
	uint64_t before = frames_free();

	assert_int_equal(gstage_touch(parent, gpa(page(600)), true, NULL), OK);
	assert_true(parent->fill.block.v);
	assert_true(frames_free() <= before - 512);
	bury(parent);
	assert_int_equal(root_vm->nchildren, 1);
	spin_lock(&tree_lock);
	tree_reap(root_vm, tree_slot(root_vm, tree_next(root_vm, 0)));
	spin_unlock(&tree_lock);
	assert_int_equal(frames_free(), PAGES - own(root_vm));
	assert_int_equal(root_vm->quota.used[RES_PAGES], own(root_vm));
}

/* Too little for 2 MiB: a page at a time. */
static void little_is_given_by_the_page(void **state)
{
	parent_of(1024);
	uint64_t before = own(parent);

	assert_int_equal(quota_set(&parent->quota, DX_LIMIT_PAGES, before + 10), OK);
	store(parent, 3, 7);
	assert_int_equal(leaf_of(parent, 3).size, PAGE_SIZE);
	assert_int_equal(own(parent), before + 3);
	assert_int_equal(load(parent, 3), 7);
}

/* --- shared --- */

static void a_shared_page_is_copied_by_who_writes(void **state)
{
	parent_of(40);
	store(parent, 0, 10);
	store(parent, 1, 11);
	child = fork_of(parent);
	struct gstage_leaf was = leaf_of(parent, 0);
	uint64_t parents = own(parent), childs = own(child);

	assert_int_equal(was.hpa.v, leaf_of(child, 0).hpa.v);
	assert_true(was.flags == (GSTAGE_R | GSTAGE_X) && leaf_of(child, 0).flags == was.flags);
	assert_int_equal(frame_of(was.hpa)->refs, 2);
	unsigned before = fences;

	store(child, 0, 20);
	assert_int_equal(fences, before + 1);
	assert_true(load(parent, 0) == 10 && load(child, 0) == 20);
	assert_true(load(parent, 1) == 11 && load(child, 1) == 11);
	assert_int_equal(own(parent), parents);
	assert_int_equal(own(child), childs + 1);
	assert_int_equal(child->copies, 1);
	store(parent, 1, 21);
	assert_true(load(parent, 1) == 21 && load(child, 1) == 11);
	/* The one of before is the child's alone now, but the parent's to pay until it is written.
	 */
	assert_int_equal(own(parent), parents + 1);
	assert_int_equal(frame_of(leaf_of(child, 1).hpa)->payer, parent->id);
	assert_sound();
}

static void a_page_that_is_left_is_taken_over(void **state)
{
	parent_of(40);
	store(parent, 0, 10);
	child = fork_of(parent);
	hpa_t first = leaf_of(child, 0).hpa;

	store(parent, 0, 20);
	uint64_t parents = own(parent), childs = own(child), all = root_vm->quota.used[RES_PAGES];
	unsigned before = fences;

	store(child, 0, 30);
	assert_int_equal(leaf_of(child, 0).hpa.v, first.v);
	assert_int_equal(child->copies, 1); /* counted alike, or it would tell of others */
	assert_int_equal(fences, before);   /* a right is given, none taken */
	assert_int_equal(frame_of(first)->payer, child->id);
	assert_true(own(parent) == parents - 1 && own(child) == childs + 1);
	assert_int_equal(root_vm->quota.used[RES_PAGES], all);
	assert_true(load(parent, 0) == 20 && load(child, 0) == 30);
	assert_sound();
}

static void holes_stay_holes(void **state)
{
	parent_of(1024);
	store(parent, 0, 1); /* and so the first 2 MiB */
	child = fork_of(parent);
	assert_int_equal(leaf_of(child, 600).size, 0);
	store(child, 600, 5); /* of a fork by the page */
	assert_int_equal(leaf_of(child, 600).size, PAGE_SIZE);
	assert_int_equal(leaf_of(parent, 600).size, 0);
	store(parent, 600, 6); /* by 2 MiB still */
	assert_int_equal(leaf_of(parent, 600).size, MIB(2));
	assert_true(load(child, 600) == 5 && load(parent, 600) == 6);
}

static void a_superpage_is_split_by_the_first_write(void **state)
{
	parent_of(512);
	for (unsigned i = 0; i < 512; i++)
		store(parent, i, i + 1);
	child = fork_of(parent);
	uint64_t childs = own(child);
	hpa_t block = leaf_of(parent, 0).hpa;

	assert_true(leaf_of(child, 0).size == MIB(2) && frame_of(block)->order == ORDER_2M);
	assert_true(parent->shared == 512 && child->shared == 512 && child->copies == 0);
	store(child, 7, 1000);
	assert_true(child->shared == 512 && child->copies == 1 && parent->copies == 0);
	assert_int_equal(own(child), childs + 2); /* the page and a table */
	assert_true(leaf_of(child, 7).size == PAGE_SIZE && leaf_of(child, 8).size == PAGE_SIZE);
	assert_int_equal(leaf_of(parent, 7).size, MIB(2));
	for (unsigned i = 0; i < 512; i++) {
		const struct frame *f = frame_of(hpa_add(block, i * PAGE_SIZE));

		assert_true(f->order == 0 && f->refs == (i == 7 ? 1 : 2) && f->payer == parent->id);
		assert_int_equal(load(parent, i), i + 1);
		assert_int_equal(load(child, i), i == 7 ? 1000 : i + 1);
	}
	uint64_t parents = own(parent);

	store(parent, 7, 2000);                     /* its alone */
	assert_int_equal(own(parent), parents + 1); /* a table */
	store(parent, 8, 2001);
	assert_int_equal(own(parent), parents + 2);
	assert_true(load(child, 8) == 9 && load(parent, 8) == 2001 && load(parent, 9) == 10);
	assert_sound();
}

static void a_superpage_that_nobody_else_has_stays_one(void **state)
{
	parent_of(512);
	store(parent, 5, 50);
	child = fork_of(parent);
	hpa_t block = leaf_of(parent, 0).hpa;
	uint64_t parents = own(parent);

	bury(child);
	assert_int_equal(leaf_of(parent, 0).flags, GSTAGE_R | GSTAGE_X);
	store(parent, 5, 51);
	struct gstage_leaf leaf = leaf_of(parent, 0);

	assert_true(leaf.size == MIB(2) && leaf.flags == GSTAGE_RWX && leaf.hpa.v == block.v);
	assert_int_equal(own(parent), parents + 1); /* the gone child's console */
}

/* The parent of the two dies first, in effect: what they share becomes the grandparent's. */
static void what_clones_share_goes_up_when_the_template_dies(void **state)
{
	struct dx_fork f = keep_all();
	struct vm *clone[2];

	parent_of(40);
	store(parent, 0, 10);
	spin_lock(&tree_lock);
	vm_set_state(parent, DX_PAUSED_STATE);
	spin_unlock(&tree_lock);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(begin_fork(root_vm, parent, &f, 3, &clone[i]), OK);
		parent->cloned = true;
		assert_int_equal(share_all(clone[i]), OK);
		finish_fork(clone[i], false);
	}
	hpa_t a = leaf_of(parent, 0).hpa;

	assert_true(frame_of(a)->refs == 3 && frame_of(a)->payer == parent->id);
	bury(parent);
	parent = clone[0];
	assert_true(frame_of(a)->refs == 2 && frame_of(a)->payer == root_vm->id);
	store(clone[0], 0, 20);
	store(clone[1], 0, 30);
	assert_true(leaf_of(clone[1], 0).hpa.v == a.v && frame_of(a)->payer == clone[1]->id);
	assert_true(load(clone[0], 0) == 20 && load(clone[1], 0) == 30);
	assert_sound();
}

static void refused(struct vm *vm, unsigned i, struct vm *by);

/* A superpage that is a clone's alone since its template died, and paid by their parent: the clone
 * has no room for all of it, and takes over what it writes. */
static void a_page_of_a_superpage_is_taken_over(void **state)
{
	struct dx_fork f = keep_all();

	parent_of(512);
	for (unsigned i = 0; i < 512; i++)
		store(parent, i, i + 1);
	spin_lock(&tree_lock);
	vm_set_state(parent, DX_PAUSED_STATE);
	spin_unlock(&tree_lock);
	assert_int_equal(begin_fork(root_vm, parent, &f, 3, &child), OK);
	parent->cloned = true;
	assert_int_equal(share_all(child), OK);
	finish_fork(child, false);
	bury(parent);
	parent = child;
	hpa_t block = leaf_of(child, 0).hpa;

	assert_true(frame_of(block)->order == ORDER_2M && frame_of(block)->payer == root_vm->id);
	assert_int_equal(quota_set(&child->quota, DX_LIMIT_PAGES, own(child) + 2), OK);
	uint64_t before = own(child);

	store(child, 7, 1000);
	assert_int_equal(own(child), before + 2); /* a table and the page */
	assert_true(leaf_of(child, 7).hpa.v == block.v + page(7) - page(0));
	assert_int_equal(frame_of(leaf_of(child, 7).hpa)->payer, child->id);
	assert_int_equal(frame_of(leaf_of(child, 8).hpa)->payer, root_vm->id);
	refused(child, 8, child);
	assert_int_equal(quota_set(&child->quota, DX_LIMIT_PAGES, 1000), OK);
	store(child, 8, 1001);
	assert_true(load(child, 7) == 1000 && load(child, 8) == 1001 && load(child, 9) == 10);
	assert_sound();
}

/* --- refusals --- */

static void refused(struct vm *vm, unsigned i, struct vm *by)
{
	struct refusal r = {0};
	struct gstage_leaf before = leaf_of(vm, i), after;
	uint64_t value = load(vm, i), used = own(vm), used_above = own(root_vm);
	enum err err;

	do
		err = gstage_touch(vm, gpa(page(i)), true, &r);
	while (err == OK && !(leaf_of(vm, i).flags & GSTAGE_W));
	assert_int_equal(err, vm == by ? E_QUOTA_OWN : E_QUOTA_ABOVE);
	assert_ptr_equal(r.at, &by->quota);
	assert_int_equal(r.released, by->quota.released);
	after = leaf_of(vm, i);
	assert_true(after.hpa.v == before.hpa.v && after.flags == before.flags);
	assert_int_equal(load(vm, i), value);
	assert_true(own(vm) == used && own(root_vm) == used_above);
	assert_sound();
}

static void set_limit(struct vm *vm, uint64_t spare)
{
	assert_int_equal(
		quota_set(&vm->quota, DX_LIMIT_PAGES, vm->quota.used[RES_PAGES] + spare), OK);
}

static void who_cannot_pay_is_told_where(void **state)
{
	parent_of(40);
	store(parent, 0, 10);
	store(parent, 2, 12);
	child = fork_of(parent);
	store(parent, 2, 13); /* the old one is the child's alone */
	set_limit(child, 0);
	refused(child, 0, child); /* a copy */
	refused(child, 1, child); /* a hole */
	refused(child, 2, child); /* to be taken over */
	set_limit(child, 100);
	set_limit(parent, 0);
	assert_true(quota_set(&parent->quota, DX_LIMIT_RESERVE, 0) == OK);
	refused(child, 0, parent);
	refused(child, 1, parent);
	assert_int_equal(guest_store(child, page(2), 1, NULL), OK); /* paid there already */
	set_limit(root_vm, 0);
	set_limit(parent, 100);
	assert_true(quota_set(&root_vm->quota, DX_LIMIT_RESERVE, 0) == OK);
	refused(child, 0, root_vm);
	assert_int_equal(quota_set(&root_vm->quota, DX_LIMIT_PAGES, PAGES), OK);
	store(child, 0, 20);
	store(child, 1, 21);
	assert_true(load(parent, 0) == 10 && load(parent, 1) == 0);
}

/* A limit of the maker, or of what it makes, is its own; one further up is above. */
static void refusals_are_told_as_the_maker_sees_them(void **state)
{
	struct dx_create c = empty_of(40);
	struct dx_fork f = keep_all();
	uint32_t handle = 0;

	parent_of(40);
	store(parent, 0, 10);
	assert_true(quota_set(&parent->quota, DX_LIMIT_RESERVE, 0) == OK);
	assert_true(quota_set(&root_vm->quota, DX_LIMIT_RESERVE, 0) == OK);
	for (uint64_t spare = 0; spare < 6; spare++) {
		set_limit(parent, spare);
		assert_int_equal(make_empty(parent, &c, &handle), E_QUOTA_OWN);
		assert_int_equal(begin_fork(parent, parent, &f, 3, &child), E_QUOTA_OWN);
		set_limit(parent, 100);
		set_limit(root_vm, spare);
		assert_int_equal(make_empty(parent, &c, &handle), E_QUOTA_ABOVE);
		assert_int_equal(begin_fork(parent, parent, &f, 3, &child), E_QUOTA_ABOVE);
		assert_int_equal(quota_set(&root_vm->quota, DX_LIMIT_PAGES, PAGES), OK);
		c.limit[DX_LIMIT_PAGES] = spare;
		assert_int_equal(make_empty(parent, &c, &handle), E_QUOTA_OWN);
		c.limit[DX_LIMIT_PAGES] = DX_KEEP;
		assert_sound();
	}
	child = NULL;
}

/* What a parent could not give its child by QUOTA_SET. */
static void limits_that_no_child_can_have(void **state)
{
	static const uint32_t counted[] = {DX_LIMIT_PAGES, DX_LIMIT_VCPUS, DX_LIMIT_VMS};
	uint32_t handle = 0;

	parent_of(40);
	for (unsigned i = 0; i < ARRAY_SIZE(counted); i++) {
		struct dx_create c = empty_of(40);
		struct dx_fork f = keep_all();

		c.limit[counted[i]] = f.limit[counted[i]] = parent->quota.limit[i] + 1;
		assert_int_equal(make_empty(parent, &c, &handle), E_DENIED);
		assert_int_equal(begin_fork(parent, parent, &f, 3, &child), E_DENIED);
	}
	struct dx_create c = empty_of(40);

	c.limit[DX_LIMIT_PAGES] = 200;
	c.limit[DX_LIMIT_RESERVE] = 201;
	assert_int_equal(make_empty(parent, &c, &handle), E_RANGE);
	child = NULL;
	assert_sound();
}

/* Each number of pages that is not enough for it: then nothing has happened at all. */
static void try_limits(bool of_child)
{
	struct dx_create c = empty_of(40);
	uint32_t handle = 0;
	enum err err = E_QUOTA_OWN;

	parent_of(40);
	assert_true(quota_set(&parent->quota, DX_LIMIT_RESERVE, 0) == OK);
	uint64_t used = root_vm->quota.used[RES_PAGES], free = frames_free();

	for (uint64_t pages = 0; pages < 100 && err != OK; pages++) {
		assert_true(root_vm->quota.used[RES_PAGES] == used && frames_free() == free);
		assert_int_equal(parent->nchildren, 0);
		assert_int_equal(parent->quota.used[RES_VMS], 0);
		assert_int_equal(parent->quota.used[RES_VCPUS], 2);
		if (of_child)
			c.limit[DX_LIMIT_PAGES] = pages;
		else
			set_limit(parent, pages);
		err = make_empty(parent, &c, &handle);
		assert_true(err == OK || err == E_QUOTA_OWN || err == E_QUOTA_ABOVE);
	}
	assert_int_equal(err, OK);
	assert_true(root_vm->quota.used[RES_PAGES] > used + 9);
}

static void a_child_that_cannot_be_leaves_no_trace(void **state)
{
	try_limits(false);
	try_limits(true);
}

static void a_fork_that_cannot_be_leaves_no_trace(void **state)
{
	struct dx_fork f = keep_all();

	for (uint64_t pages = 0; pages < 100; pages++) {
		parent_of(40);
		assert_true(quota_set(&parent->quota, DX_LIMIT_RESERVE, 0) == OK);
		parent->holds_devices = true; /* a full copy costs */
		for (unsigned i = 0; i < 10; i++)
			store(parent, i, i + 1);
		uint64_t used = root_vm->quota.used[RES_PAGES];

		set_limit(parent, pages);
		struct vm *made = NULL;
		enum err err = begin_fork(parent, parent, &f, 3, &made);

		if (err == OK) {
			err = share_all(made);
			if (err == OK) {
				assert_true(pages > 10);
				return;
			}
			bury(made);
		}
		assert_true(err == E_QUOTA_ABOVE || err == E_QUOTA_OWN);
		/* Its table of children may have got its page. */
		assert_in_range(root_vm->quota.used[RES_PAGES], used, used + 1);
		assert_true(parent->nchildren == 0 && !tree_next(parent, 0));
		assert_int_equal(parent->quota.used[RES_VMS], 0);
		assert_int_equal(event_take(parent), 0);
		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(load(parent, i), i + 1);
		assert_sound();
	}
	fail();
}

static void wrong_arguments(void **state)
{
	struct dx_create c = empty_of(40);
	struct dx_fork f = keep_all();
	struct vm *made;
	uint32_t handle;

	parent_of(40);
#define REFUSED_CREATE(field, value, err)                                                          \
	do {                                                                                       \
		struct dx_create wrong = c;                                                        \
		wrong.field = value;                                                               \
		assert_int_equal(make_empty(parent, &wrong, &handle), err);                        \
	} while (0)
	REFUSED_CREATE(vcpus, 0, E_INVAL);
	REFUSED_CREATE(vcpus, 65, E_INVAL);
	REFUSED_CREATE(reserved, 1, E_INVAL);
	REFUSED_CREATE(flags, DX_NO_TRUST, E_INVAL);
	REFUSED_CREATE(flags, DX_PAUSED, E_INVAL);
	REFUSED_CREATE(flags, 16, E_INVAL);
	REFUSED_CREATE(flags, DX_TRUST, E_DENIED);
	REFUSED_CREATE(ram_size, 0, E_RANGE);
	REFUSED_CREATE(ram_size, 1, E_RANGE);
	REFUSED_CREATE(ram_size, PAGE_SIZE + 8, E_RANGE);
	REFUSED_CREATE(ram_size, GIB(1024) + PAGE_SIZE, E_RANGE);
	REFUSED_CREATE(ram_size, -PAGE_SIZE, E_RANGE);
	REFUSED_CREATE(limit[DX_LIMIT_DEPTH], 7, E_DENIED); /* it is 7 itself */
	REFUSED_CREATE(limit[DX_LIMIT_DEPTH], 256, E_DENIED);
	REFUSED_CREATE(limit[DX_LIMIT_PRIORITY], 256, E_DENIED);
	REFUSED_CREATE(limit[DX_LIMIT_GUARANTEE], 10000, E_RANGE);
	REFUSED_CREATE(limit[DX_LIMIT_VCPUS], 0, E_QUOTA_OWN);
	f.reserved = 1;
	assert_int_equal(begin_fork(parent, parent, &f, 3, &made), E_INVAL);
	f = keep_all();
	f.flags = 8;
	assert_int_equal(begin_fork(parent, parent, &f, 3, &made), E_INVAL);
	f.flags = DX_TRUST;
	assert_int_equal(begin_fork(parent, parent, &f, 3, &made), E_DENIED);
	f = keep_all();
	f.limit[DX_LIMIT_PRIORITY] = 4;
	assert_int_equal(begin_fork(parent, parent, &f, 3, &made), E_DENIED);
	parent->quota.limit[DX_LIMIT_DEPTH] = 0;
	f = keep_all();
	assert_int_equal(begin_fork(parent, parent, &f, 3, &made), E_QUOTA_OWN);
	assert_int_equal(make_empty(parent, &c, &handle), E_QUOTA_OWN);
	assert_int_equal(parent->nchildren, 0);
	assert_sound();
}

/* --- what is inherited --- */

static void who_holds_devices_is_copied_in_full(void **state)
{
	parent_of(512);
	for (unsigned i = 0; i < 512; i += 3)
		store(parent, i, i + 1);
	map_own(parent, GIB(1), hpa(0x10001000), PAGE_SIZE, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE);
	map_own(parent, GIB(1) + MIB(4), hpa(0x20000000), MIB(2), GSTAGE_R | GSTAGE_DEVICE);
	parent->holds_devices = true;
	child = fork_of(parent);
	struct gstage_leaf leaf = leaf_of(parent, 0);

	assert_true(leaf.size == MIB(2) && leaf.flags == GSTAGE_RWX); /* DMA goes on */
	assert_true(frame_of(leaf.hpa)->refs == 1 && frame_of(leaf.hpa)->order == ORDER_2M);
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(load(child, i), load(parent, i));
		assert_int_equal(leaf_of(child, i).size, i % 3 ? 0 : PAGE_SIZE);
		assert_true(leaf_of(child, i).hpa.v != leaf_of(parent, i).hpa.v);
	}
	assert_false(child->holds_devices);
	/* Where the devices are, ghosts; nowhere else, and of ghosts, too. */
	for (struct vm *vm = child; vm; vm = vm == child ? fork_of(child) : NULL) {
		assert_true(gstage_is_ghost(vm, gpa(GIB(1) + 8)));
		assert_true(gstage_is_ghost(vm, gpa(GIB(1) + MIB(6) - 1)));
		assert_false(gstage_is_ghost(vm, gpa(GIB(1) + PAGE_SIZE)));
		assert_false(gstage_is_ghost(vm, gpa(GIB(1) + MIB(6))));
		assert_false(gstage_is_ghost(vm, gpa(GSTAGE_END)));
		assert_int_equal(gstage_touch(vm, gpa(GIB(1)), true, NULL), E_NOENT);
		assert_null(guest_ptr(vm, gpa(GIB(1)), 8, GSTAGE_R));
	}
	assert_false(gstage_is_ghost(parent, gpa(GIB(1))));
	store(child, 1, 77);
	assert_int_equal(load(parent, 1), 0);
	assert_sound();
}

static void what_others_write_is_copied(void **state)
{
	for (unsigned pinned = 0; pinned < 2; pinned++) {
		uint64_t mapped;
		hpa_t a;

		parent_of(512);
		for (unsigned i = 0; i < 512; i++)
			store(parent, i, i + 1);
		if (pinned)
			assert_int_equal(gstage_pin(parent, gpa(page(9)), &a), OK);
		else
			assert_int_equal(
				gstage_open_window(root_vm, gpa(GIB(1)), parent, gpa(page(9)),
					PAGE_SIZE, GSTAGE_R | GSTAGE_W, &mapped),
				OK);
		child = fork_of(parent);
		assert_int_equal(leaf_of(parent, 9).flags, GSTAGE_RWX);
		assert_true(leaf_of(child, 9).hpa.v != leaf_of(parent, 9).hpa.v);
		if (!pinned) { /* the window is one page: the others are shared */
			assert_int_equal(leaf_of(child, 8).hpa.v, leaf_of(parent, 8).hpa.v);
			assert_int_equal(guest_store(root_vm, GIB(1), 900, NULL), OK);
			assert_int_equal(load(parent, 9), 900);
		}
		assert_int_equal(load(child, 9), 10);
		assert_sound();
	}
}

static void windows_are_not_inherited(void **state)
{
	uint64_t mapped;

	parent_of(40);
	child = fork_of(parent);
	store(child, 0, 5);
	assert_int_equal(gstage_open_window(parent, gpa(GIB(1)), child, gpa(page(0)), PAGE_SIZE,
				 GSTAGE_R, &mapped),
		OK);
	assert_int_equal(guest_load(parent, GIB(1)), 5);
	assert_int_equal(guest_store(parent, GIB(1), 6, NULL), E_NOENT); /* a view only */
	struct vm *second = fork_of(parent);

	assert_null(guest_ptr(second, gpa(GIB(1)), 8, GSTAGE_R));
	assert_false(gstage_is_ghost(second, gpa(GIB(1))));
	assert_true(second->vmgenid_page.v != parent->vmgenid_page.v);
	assert_int_equal(guest_load(second, VMGENID), *(uint64_t *)hpa_ptr(second->vmgenid_page));
	/* It stays when the child is gone, and is the parent's to pay. */
	hpa_t a = leaf_of(child, 0).hpa;

	bury(child);
	assert_int_equal(guest_load(parent, GIB(1)), 5);
	assert_true(frame_of(a)->payer == parent->id && frame_of(a)->refs == 1);
	uint64_t done, before = own(parent);

	assert_int_equal(gstage_close_windows(parent, gpa(GIB(1)), PAGE_SIZE, &done), OK);
	assert_int_equal(own(parent), before - 1);
	assert_sound();
}

static void the_child_goes_on_where_the_parent_is(void **state)
{
	struct dx_fork f = keep_all();
	uint64_t id[2];

	parent_of(40);
	memset(parent->vcpus[0]->x, 0x11, sizeof(parent->vcpus[0]->x));
	parent->vcpus[0]->pc = 0x80001234;
	parent->vcpus[0]->action = ACTION_CALL;
	parent->vcpus[0]->sched.priority = 2;
	f.limit[DX_LIMIT_PRIORITY] = 1;
	f.limit[DX_LIMIT_PAGES] = 300;
	f.limit[DX_LIMIT_RESERVE] = 17;
	assert_int_equal(begin_fork(parent, parent, &f, 3, &child), OK);
	assert_true(child->state == DX_CREATED && child->source == parent);
	assert_int_equal(share_all(child), OK);
	spin_lock(&tree_lock);
	fork_finish(child, parent->vcpus[0], false);
	spin_unlock(&tree_lock);
	const struct vcpu *v = child->vcpus[0];

	assert_true(v->x[10] == 0 && v->x[11] == 0 && v->action == ACTION_NONE);
	assert_true(v->x[12] == UINT64_C(0x1111111111111111) && v->pc == 0x80001234);
	assert_true(parent->vcpus[0]->x[10] != 0);
	assert_true(v->sched.state == SCHED_READY && v->sched.priority == 1);
	assert_int_equal(child->vcpus[1]->sched.state, SCHED_OFF); /* stopped there, too */
	assert_true(child->state == DX_RUNNING && !child->source && child->parent == parent);
	assert_true(
		child->quota.limit[RES_PAGES] == 300 && child->quota.limit[DX_LIMIT_RESERVE] == 17);
	assert_int_equal(
		child->quota.limit[DX_LIMIT_DEPTH], parent->quota.limit[DX_LIMIT_DEPTH] - 1);
	assert_true(child->ram_base.v == parent->ram_base.v && child->ram_size == parent->ram_size);
	/* A new identity, and the interrupt that tells of it. */
	memcpy(id, hpa_ptr(child->vmgenid_page), sizeof(id));
	assert_memory_not_equal(id, hpa_ptr(parent->vmgenid_page), sizeof(id));
	assert_true(child->plic.pending[child->vmgenid_irq / 32] >> child->vmgenid_irq % 32 & 1);
	assert_false(parent->plic.pending[child->vmgenid_irq / 32] >> child->vmgenid_irq % 32 & 1);
}

static void trust_is_given_by_flags(void **state)
{
	static const struct {
		bool forks;
		uint32_t flags;
		bool trusted;
	} cases[] = {{true, 0, true}, {true, DX_NO_TRUST, false}, {true, DX_TRUST, true},
		{false, 0, false}, {false, DX_NO_TRUST, false}, {false, DX_TRUST, true}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dx_fork f = keep_all();

		parent_of(40);
		parent->trusted = true; /* a template's own trust is not what counts */
		f.flags = cases[i].flags;
		assert_int_equal(
			begin_fork(root_vm, cases[i].forks ? root_vm : parent, &f, 3, &child), OK);
		assert_int_equal(child->trusted, cases[i].trusted);
	}
}

/* A fork may be ended in the midst of it, at any place. */
static void a_fork_that_is_killed(void **state)
{
	for (unsigned steps = 0; steps < 60; steps += 7) {
		struct dx_fork f = keep_all();

		parent_of(1100);
		for (unsigned i = 0; i < 30; i++)
			store(parent, 1030 + i, i); /* small ones */
		store(parent, 0, 1);
		uint64_t used = root_vm->quota.used[RES_PAGES];

		assert_int_equal(begin_fork(parent, parent, &f, 3, &child), OK);
		for (unsigned i = 0; i < steps && child->cursor.v != GSTAGE_END; i++)
			assert_int_equal(gstage_share(parent, child, &child->cursor, 1), OK);
		bury(child);
		assert_int_equal(
			root_vm->quota.used[RES_PAGES], used + 1); /* the children's table */
		for (unsigned i = 0; i < 30; i++)
			store(parent, 1030 + i, i + 5);
		assert_int_equal(root_vm->quota.used[RES_PAGES], used + 1); /* all its own again */
		assert_sound();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hole_becomes_a_page_of_zeros),
		cmocka_unit_test(what_is_no_ram_stays_so),
		cmocka_unit_test(fresh_ram_comes_2_mib_at_a_time),
		cmocka_unit_test(a_vm_that_dies_while_its_ram_is_zeroed),
		cmocka_unit_test(little_is_given_by_the_page),
		cmocka_unit_test(a_shared_page_is_copied_by_who_writes),
		cmocka_unit_test(a_page_that_is_left_is_taken_over),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(a_superpage_is_split_by_the_first_write),
		cmocka_unit_test(a_superpage_that_nobody_else_has_stays_one),
		cmocka_unit_test(a_page_of_a_superpage_is_taken_over),
		cmocka_unit_test(what_clones_share_goes_up_when_the_template_dies),
		cmocka_unit_test(who_cannot_pay_is_told_where),
		cmocka_unit_test(refusals_are_told_as_the_maker_sees_them),
		cmocka_unit_test(limits_that_no_child_can_have),
		cmocka_unit_test(a_child_that_cannot_be_leaves_no_trace),
		cmocka_unit_test(a_fork_that_cannot_be_leaves_no_trace),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(who_holds_devices_is_copied_in_full),
		cmocka_unit_test(what_others_write_is_copied),
		cmocka_unit_test(windows_are_not_inherited),
		cmocka_unit_test(the_child_goes_on_where_the_parent_is),
		cmocka_unit_test(trust_is_given_by_flags),
		cmocka_unit_test(a_fork_that_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
