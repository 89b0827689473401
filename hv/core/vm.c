/* SPDX-License-Identifier: MIT */
/* Creation of VMs and the charging of what they use; see vm.h. */
#include "core/vm.h"
#include "core/bug.h"
#include "mmu/gstage.h"

static unsigned order_for(size_t bytes)
{
	unsigned order = 0;

	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

enum err vm_page_alloc(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out)
{
	BUG_ON(order > ORDER_2M);
	enum err err = quota_charge(&vm->quota, RES_PAGES, BIT(order));

	if (err != OK)
		return err;
	err = frame_alloc(order, kind, vm->id, out);
	if (err != OK) {
		quota_release(&vm->quota, RES_PAGES, BIT(order));
		return err;
	}
	zero_pages(hpa_ptr(*out), PAGE_SIZE << order);
	return OK;
}

void vm_page_free(struct vm *vm, hpa_t a)
{
	BUG_ON(!frame_in_table(a));
	uint64_t n = BIT(frame_of(a)->order);

	BUG_ON(frame_of(a)->payer != vm->id);
	frame_free(a);
	quota_release(&vm->quota, RES_PAGES, n);
}

enum err vm_struct_alloc(struct vm *vm, size_t bytes, void **out)
{
	hpa_t a;
	enum err err = vm_page_alloc(vm, order_for(bytes), FRAME_META, &a);

	if (err == OK)
		*out = hpa_ptr(a);
	return err;
}

enum err vm_create_root(const uint64_t limit[RES_COUNT], struct vm **out)
{
	unsigned order = order_for(sizeof(struct vm));
	hpa_t a;
	enum err err = frame_alloc(order, FRAME_META, 1, &a);

	if (err != OK)
		return err;
	struct vm *vm = hpa_ptr(a);

	/* The structure pays for itself: its block is charged as soon as there is a quota to
	 * charge. */
	zero_pages(vm, PAGE_SIZE << order);
	vm->id = frame_number(a);
	vm->trusted = true;
	frame_of(a)->payer = vm->id;
	quota_init(&vm->quota, NULL, limit, UINT8_MAX, UINT8_MAX);
	err = quota_charge(&vm->quota, RES_PAGES, BIT(order));
	if (err == OK)
		err = gstage_init(vm);
	if (err != OK)
		frame_free(a);
	else
		*out = vm;
	return err;
}
