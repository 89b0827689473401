/* SPDX-License-Identifier: MIT */
/* What only a VM with hardware trust may do, and how it gives that away (docs/abi.md). */
#include "mmu/gstage.h"
#include "riscv/irq.h"
#include "sbi/diosix.h"
#include "vdev/grant.h"

struct sbi_ret dx_drop_trust(struct vcpu *v, const uint64_t *a)
{
	spin_lock(&tree_lock);
	__atomic_store_n(&v->vm->trusted, false, __ATOMIC_RELEASE);
	spin_unlock(&tree_lock);
	gpa_t at = gpa(v->stage);
	bool done = grant_end(v->vm, &at);

	v->stage = at.v;
	return done ? sbi_value(0) : sbi_again(v);
}

static bool good_range(uint64_t a, uint64_t b, uint64_t size)
{
	return IS_ALIGNED(a | b | size, PAGE_SIZE) && size && range_within(a, size, 0, GSTAGE_END);
}

struct sbi_ret dx_mmio_map(struct vcpu *v, const uint64_t *a)
{
	uint64_t done = v->stage, part;

	if (!good_range(a[2], a[0], a[1]))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	enum err err = grant_map(v->vm, hpa(a[0] + done), a[1] - done, gpa(a[2] + done), &part);

	return dx_part(v, part, a[1], err);
}

struct sbi_ret dx_mmio_unmap(struct vcpu *v, const uint64_t *a)
{
	gpa_t at = gpa(a[0] + v->stage);

	if (!good_range(a[0], 0, a[1]))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (v->stage == 0)
		v->error = E_NOENT;
	if (grant_unmap(v->vm, &at, a[0] + a[1]))
		v->error = OK;
	v->stage = at.v - a[0];
	return v->stage < a[1] ? sbi_again(v) : sbi_result(v->error);
}

struct sbi_ret dx_irq(struct vcpu *v, const uint64_t *a)
{
	bool route = v->x[16] == DX_FID_IRQ_ROUTE;

	if (route && !v->vm->trusted)
		return sbi_error(SBI_ERR_DENIED);
	if (a[0] > UINT32_MAX)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	return sbi_result((route ? irq_route : irq_unroute)(v->vm, (uint32_t)a[0]));
}

/* The page is private from now on, also after a fork, and where it is. */
struct sbi_ret dx_dma_pin(struct vcpu *v, const uint64_t *a)
{
	hpa_t page;

	if (!IS_ALIGNED(a[0], PAGE_SIZE))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (!v->vm->trusted)
		return sbi_error(SBI_ERR_DENIED);
	if (!range_within(a[0], PAGE_SIZE, v->vm->ram_base.v, v->vm->ram_size))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	enum err err = gstage_pin(v->vm, gpa(a[0]), &page);

	if (err == E_FAULT)
		return sbi_need(v, gpa(a[0]), true, SBI_ERR_INVALID_ADDRESS);
	return err == OK ? sbi_value(page.v) : sbi_result(err);
}
