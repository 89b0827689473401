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

static struct vm *vm_of(uint32_t id)
{
	return hpa_ptr(frame_hpa(id));
}

static void count_ram(struct vm *vm, uint64_t n)
{
	__atomic_fetch_add(&vm->ram_pages, n, __ATOMIC_RELAXED);
}

enum err vm_page_take(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out)
{
	struct refusal *refused = kind == FRAME_META ? NULL : &vm->refused;
	enum err err = quota_charge(&vm->quota, RES_PAGES, BIT(order), refused);

	if (err != OK)
		return err;
	err = frame_alloc(order, kind, vm->id, out);
	if (err != OK)
		quota_release(&vm->quota, RES_PAGES, BIT(order));
	else if (kind == FRAME_RAM)
		count_ram(vm, BIT(order));
	return err;
}

enum err vm_take_run(struct vm *vm, hpa_t at, uint64_t size)
{
	uint64_t pages = size >> PAGE_SHIFT;
	enum err err = quota_charge(&vm->quota, RES_PAGES, pages, NULL);

	if (err != OK)
		return err;
	err = frame_alloc_run(at, size, vm->id);
	if (err == OK) {
		count_ram(vm, pages);
		vm->ram_base = gpa(at.v);
		vm->ram_size = size;
	} else {
		quota_release(&vm->quota, RES_PAGES, pages);
	}
	return err;
}

enum err vm_page_alloc(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out)
{
	BUG_ON(order > ORDER_2M);
	enum err err = vm_page_take(vm, order, kind, out);

	if (err == OK)
		zero_pages(hpa_ptr(*out), PAGE_SIZE << order);
	return err;
}

void vm_page_free(struct vm *vm, hpa_t a)
{
	BUG_ON(!frame_in_table(a, PAGE_SIZE));
	uint64_t n = BIT(frame_of(a)->order);

	BUG_ON(frame_of(a)->payer != vm->id);
	frame_free(a);
	quota_release(&vm->quota, RES_PAGES, n);
}

/* One leaf less maps `block`. True when its payer passed it on to the parent. */
static bool leave(struct vm *vm, hpa_t block, bool passes_on, struct frame *was)
{
	if (passes_on)
		quota_hold();
	*was = frame_leave(block, vm->id, passes_on ? vm->parent->id : 0);
	bool passed = passes_on && was->refs && was->payer == vm->id;

	if (passes_on)
		quota_pass_up_held(&vm->quota, passed ? BIT(was->order) : 0);
	return passed;
}

unsigned vm_ram_put(struct vm *vm, hpa_t a, unsigned order)
{
	bool passes_on = vm->parent && (vm->cloned || vm->state == DX_DYING);
	unsigned blocks = 0;

	for (uint64_t done = 0; done < BIT(order); blocks++) {
		hpa_t block = hpa_add(a, done << PAGE_SHIFT);
		struct frame was;
		bool passed = leave(vm, block, passes_on, &was);
		uint64_t n = BIT(was.order);

		if (was.refs == 0) {
			/* What we pay was not passed on after all; else the payer may just have
			 * been. */
			struct vm *payer = was.payer == vm->id ? vm : vm_of(frame_of(block)->payer);

			frame_free(block);
			quota_release(&payer->quota, RES_PAGES, n);
			count_ram(payer, -n);
		} else if (passed) {
			count_ram(vm, -n);
			count_ram(vm->parent, n);
		}
		done += n;
	}
	return blocks;
}

enum err vm_ram_pay(struct vm *vm, hpa_t a)
{
	struct frame *f = frame_of(a);

	if (f->payer == vm->id)
		return OK;
	enum err err = quota_move(&vm_of(f->payer)->quota, &vm->quota, BIT(f->order), &vm->refused);

	if (err != OK)
		return err;
	count_ram(vm_of(f->payer), -BIT(f->order));
	count_ram(vm, BIT(f->order));
	f->payer = vm->id;
	return OK;
}

enum err vm_struct_alloc(struct vm *vm, size_t bytes, void **out)
{
	hpa_t a;
	enum err err = vm_page_alloc(vm, order_for(bytes), FRAME_META, &a);

	if (err == OK)
		*out = hpa_ptr(a);
	return err;
}

void vm_struct_free(struct vm *vm, void *p)
{
	if (p)
		vm_page_free(vm, ptr_hpa(p));
}

enum err vm_create(struct vm *parent, const uint64_t limit[DX_LIMITS], struct vm **out)
{
	unsigned order = order_for(sizeof(struct vm));
	hpa_t a;
	enum err err = frame_alloc(order, FRAME_META, 1, &a); /* paid by nobody yet */

	if (err != OK)
		return err;
	struct vm *vm = hpa_ptr(a);

	zero_pages(vm, PAGE_SIZE << order);
	vm->id = frame_of(a)->payer = frame_number(a);
	vm->parent = parent;
	vm->state = DX_CREATED;
	vm->halt = HALT_STATE;
	quota_init(&vm->quota, parent ? &parent->quota : NULL, limit);
	err = quota_charge(&vm->quota, RES_PAGES, BIT(order), NULL);
	if (err == OK) {
		err = vm_page_alloc(vm, GSTAGE_ROOT_ORDER, FRAME_TABLE, &vm->gstage_root);
		if (err == OK) {
			*out = vm;
			return OK;
		}
		quota_release(&vm->quota, RES_PAGES, BIT(order));
	}
	if (parent)
		err = quota_seen_by(&parent->quota, &vm->quota, err);
	frame_free(a);
	return err;
}

void vm_free(struct vm *vm)
{
	struct quota *parent = vm->quota.parent;
	hpa_t a = ptr_hpa(vm);
	uint64_t n = BIT(frame_of(a)->order);

	BUG_ON(vm->quota.own[RES_PAGES] != n || vm->quota.used[RES_PAGES] != n);
	/* The frame first: who is woken by the release is to find it. */
	quota_pass_up(&vm->quota, n);
	frame_free(a);
	quota_release(parent, RES_PAGES, n);
}
