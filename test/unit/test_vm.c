/* SPDX-License-Identifier: MIT */
/*
 * What a VM takes is charged before it is taken and given back whole. If this fails, pages have no
 * payer, or a failure leaves a trace.
 */
#include "unit.h"
#include "gstage_model.h"

#define RAM      MIB(8)
#define NO_LIMIT (UINT64_MAX >> 1)

static int start(void **state)
{
	new_vm(RAM, NO_LIMIT);
	return 0;
}

/* What the VM is charged is what the frames say, kind by kind, and the rest is free. */
static void assert_charged(uint64_t meta, uint64_t tables, uint64_t ram)
{
	struct frame_stats s;

	assert_true(frames_audit(&s));
	assert_int_equal(s.frames[FRAME_META], meta);
	assert_int_equal(s.frames[FRAME_TABLE], tables);
	assert_int_equal(s.frames[FRAME_RAM], ram);
	assert_int_equal(s.frames[FRAME_FREE], frames_free());
	if (!vm)
		return;
	assert_int_equal(vm->quota.used[RES_PAGES], meta + tables + ram);
	assert_int_equal(vm->quota.own[RES_PAGES], meta + tables + ram);
}

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

/* Fills all free memory, as if others had used it. */
static void make_dirty(void)
{
	memset(host_ram, 0xa5, RAM);
}

static void the_root_vm_pays_for_itself(void **state)
{
	const uint64_t limits[DX_LIMITS] = {100, 7, 8, 7, 9};

	new_vm(RAM, 100); /* for the memory alone */
	frame_free(vm->gstage_root);
	frame_free(ptr_hpa(vm));
	make_dirty();
	assert_int_equal(vm_create(NULL, limits, &vm), OK);
	assert_true((vm_pages << PAGE_SHIFT) >= sizeof(struct vm));
	assert_charged(vm_pages, 4, 0);
	assert_int_equal(vm->id, frame_number(ptr_hpa(vm)));
	assert_int_equal(frame_of(ptr_hpa(vm))->payer, vm->id);
	assert_int_equal(frame_of(vm->gstage_root)->payer, vm->id);
	assert_true(vm->state == DX_CREATED && vm->halt == HALT_STATE);
	assert_false(vm->trusted || vm->holds_devices);
	assert_null(vm->quota.parent);
	assert_memory_equal(vm->quota.limit, limits, sizeof(limits));
	assert_true(
		vm->quota.limit[DX_LIMIT_PRIORITY] == 7 && vm->quota.limit[DX_LIMIT_DEPTH] == 9);
	assert_true(vm->nvcpus == 0 && vm->ram_size == 0);
	assert_false(spin_is_locked(&vm->lock));
	assert_true(is_zero(hpa_ptr(vm->gstage_root), KIB(16)));
}

/* Every limit below what it needs, and every amount of memory. */
static void a_root_vm_that_cannot_be(void **state)
{
	start(NULL);
	uint64_t need = vm->quota.used[RES_PAGES];

	for (uint64_t limit = 0; limit < need; limit++) {
		assert_int_equal(create(RAM, limit), E_QUOTA_OWN);
		assert_null(vm);
		assert_charged(0, 0, 0);
		assert_int_equal(frames_free(), RAM >> PAGE_SHIFT);
	}
	assert_int_equal(create(RAM, need), OK);
	for (uint64_t pages = 1; pages < need; pages++) {
		assert_int_equal(create(pages << PAGE_SHIFT, NO_LIMIT), E_NOMEM);
		assert_null(vm);
		assert_charged(0, 0, 0);
		assert_int_equal(frames_free(), pages);
	}
}

static void pages_are_charged_zeroed_and_given_back(void **state)
{
	uint64_t before = frames_free(), base = vm->quota.used[RES_PAGES];
	hpa_t a[ORDER_2M + 1];

	for (unsigned order = 0; order <= ORDER_2M; order++) {
		assert_int_equal(vm_page_alloc(vm, order, FRAME_RAM, &a[order]), OK);
		assert_true(IS_ALIGNED(a[order].v, PAGE_SIZE << order));
		assert_int_equal(frame_of(a[order])->payer, vm->id);
		assert_int_equal(frame_of(a[order])->order, order);
		assert_true(is_zero(hpa_ptr(a[order]), PAGE_SIZE << order));
		memset(hpa_ptr(a[order]), 0x5a, PAGE_SIZE << order); /* for whoever has it next */
		assert_charged(vm_pages, 4, (2u << order) - 1);
	}
	for (unsigned i = 0; i <= ORDER_2M; i++)
		vm_page_free(vm, a[(i * 3) % (ORDER_2M + 1)]);
	assert_charged(vm_pages, 4, 0);
	assert_int_equal(frames_free(), before);
	assert_int_equal(vm->quota.used[RES_PAGES], base);
	for (unsigned order = 0; order <= ORDER_2M; order++) {
		assert_int_equal(vm_page_alloc(vm, order, FRAME_META, &a[order]), OK);
		assert_true(is_zero(hpa_ptr(a[order]), PAGE_SIZE << order));
	}
}

static void what_is_refused_is_not_charged(void **state)
{
	hpa_t a = hpa(1);
	struct quota above;
	const uint64_t limits[DX_LIMITS] = {3, 3, 3};

	vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES] + 7;
	assert_int_equal(vm_page_alloc(vm, 3, FRAME_RAM, &a), E_QUOTA_OWN);
	assert_charged(vm_pages, 4, 0);
	assert_int_equal(vm_page_alloc(vm, 2, FRAME_RAM, &a), OK);
	vm_page_free(vm, a);
	quota_init(&above, NULL, limits);
	above.used[RES_PAGES] = 3;
	vm->quota.parent = &above;
	a = hpa(1);
	assert_int_equal(vm_page_alloc(vm, 0, FRAME_RAM, &a), E_QUOTA_ABOVE);
	vm->quota.parent = NULL;
	assert_charged(vm_pages, 4, 0);
	assert_int_equal(a.v, 1);
}

static void memory_that_runs_out_is_not_charged(void **state)
{
	hpa_t a = hpa(1), b;

	new_vm(64 * PAGE_SIZE, NO_LIMIT);
	while (vm_page_alloc(vm, 0, FRAME_RAM, &b) == OK)
		;
	assert_int_equal(frames_free(), 0);
	assert_charged(vm_pages, 4, 60 - vm_pages);
	assert_int_equal(vm_page_alloc(vm, 0, FRAME_RAM, &a), E_NOMEM);
	assert_int_equal(a.v, 1);
	assert_charged(vm_pages, 4, 60 - vm_pages);
	vm_page_free(vm, b);
	assert_int_equal(vm_page_alloc(vm, 1, FRAME_RAM, &a), E_NOMEM);
	assert_charged(vm_pages, 4, 59 - vm_pages);
	assert_int_equal(vm_page_alloc(vm, 0, FRAME_RAM, &a), OK);
}

static void structures_get_what_they_need(void **state)
{
	static const struct {
		size_t bytes;
		unsigned order;
	} cases[] = {{0, 0}, {1, 0}, {4095, 0}, {4096, 0}, {4097, 1}, {8192, 1}, {8193, 2},
		{12288, 2}, {16385, 3}, {1 << 20, 8}, {(1 << 20) + 1, 9}, {1 << 21, 9}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		void *p = NULL;

		start(NULL);
		assert_int_equal(vm_struct_alloc(vm, cases[i].bytes, &p), OK);
		assert_int_equal(frame_of(ptr_hpa(p))->order, cases[i].order);
		assert_int_equal(frame_of(ptr_hpa(p))->kind, FRAME_META);
		assert_true(is_zero(p, PAGE_SIZE << cases[i].order));
		assert_charged(vm_pages + BIT(cases[i].order), 4, 0);
		vm_page_free(vm, ptr_hpa(p));
		assert_charged(vm_pages, 4, 0);
	}
	void *p = (void *)1;

	vm->quota.limit[RES_PAGES] = vm->quota.used[RES_PAGES];
	assert_int_equal(vm_struct_alloc(vm, 1, &p), E_QUOTA_OWN);
	assert_ptr_equal(p, (void *)1);
}

static void wrong_calls_are_bugs(void **state)
{
	static hpa_t a;
	void *p;

	expect_bug((void)!vm_page_alloc(
		vm, ORDER_2M + 1, FRAME_RAM, &a)); /* too long to zero in one go */
	expect_bug((void)!vm_struct_alloc(vm, (1 << 21) + 1, &p));
	assert_charged(vm_pages, 4, 0);
	assert_int_equal(frame_alloc(0, FRAME_RAM, vm->id + 1, &a), OK); /* another's */
	expect_bug(vm_page_free(vm, a));
	assert_int_equal(vm_page_alloc(vm, 1, FRAME_RAM, &a), OK);
	expect_bug(vm_page_free(vm, hpa_add(a, PAGE_SIZE))); /* a tail */
	vm_page_free(vm, a);
	expect_bug(vm_page_free(vm, hpa(RAM_BASE + RAM)));
	expect_bug(vm_page_free(vm, hpa(TABLE_BASE - PAGE_SIZE)));
	assert_int_equal(vm_page_alloc(vm, 0, FRAME_RAM, &a), OK);
	expect_bug(vm_page_free(vm, hpa_add(a, 1)));
}

static void freeing_twice_is_a_bug(void **state)
{
	static hpa_t a;

	assert_int_equal(vm_page_alloc(vm, 0, FRAME_RAM, &a), OK);
	vm_page_free(vm, a);
	expect_bug(vm_page_free(vm, a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_root_vm_pays_for_itself, start),
		cmocka_unit_test_setup(a_root_vm_that_cannot_be, start),
		cmocka_unit_test_setup(pages_are_charged_zeroed_and_given_back, start),
		cmocka_unit_test_setup(what_is_refused_is_not_charged, start),
		cmocka_unit_test_setup(memory_that_runs_out_is_not_charged, start),
		cmocka_unit_test_setup(structures_get_what_they_need, start),
		cmocka_unit_test_setup(wrong_calls_are_bugs, start),
		cmocka_unit_test_setup(freeing_twice_is_a_bug, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
