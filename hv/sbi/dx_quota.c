/* SPDX-License-Identifier: MIT */
/* QUOTA_READ and QUOTA_SET (docs/abi.md). A VM may only lower what it has itself; its parent sets
 * it either way, within the parent's own. */
#include <string.h>
#include "riscv/time.h"
#include "sbi/diosix.h"

struct sbi_ret dx_quota_read(struct vcpu *v, const uint64_t *a)
{
	struct sbi_ret r;
	struct dx_quota *q = dx_caller_struct(v, a[1], sizeof(*q), true, &r);

	if (!q)
		return r;
	spin_lock(&tree_lock);
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);

	if (vm) {
		memset(q, 0, sizeof(*q));
		memcpy(q->limit, vm->quota.limit, sizeof(vm->quota.limit));
		memcpy(q->used, vm->quota.used, sizeof(vm->quota.used));
		memcpy(q->own, vm->quota.own, sizeof(vm->quota.own));
	}
	spin_unlock(&tree_lock);
	return vm ? sbi_value(0) : sbi_error(DX_ERR_NOENT);
}

/* The weight is among siblings: the parent's to say. */
struct sbi_ret dx_priority(struct vcpu *v, const uint64_t *a)
{
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);

	if (a[1] > SCHED_MAX_PRIORITY || a[2] < DX_WEIGHT_MIN || a[2] > DX_WEIGHT_MAX)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (!vm)
		return sbi_error(DX_ERR_NOENT);
	if (a[1] > quota_ceiling(&vm->quota, DX_LIMIT_PRIORITY) ||
		(vm == v->vm && a[2] != vm->sched->subtree.weight))
		return sbi_error(SBI_ERR_DENIED);
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		sched_set_priority(&vm->vcpus[i]->sched, (uint8_t)a[1], time_now());
	sched_group_set_weight(vm->sched, (uint32_t)a[2]);
	return sbi_value(0);
}

/* The caller has `max`: may it set limit `which` of `q` to that? */
static bool may_set(const struct quota *q, uint64_t which, uint64_t to, const struct quota *max)
{
	switch (which) {
	case DX_LIMIT_DEPTH:
		return to < max->limit[which] + (max == q);
	case DX_LIMIT_RESERVE:
		return true;
	case DX_LIMIT_GUARANTEE:
		return max != q;
	default:
		return to <= max->limit[which];
	}
}

static enum err set(struct quota *q, uint64_t which, uint64_t to, const struct quota *max)
{
	if (which >= DX_LIMITS)
		return E_INVAL;
	if (!may_set(q, which, to, max))
		return E_DENIED;
	enum err err = quota_seen_by(max, q, quota_set(q, (enum dx_limit)which, to));

	if (err == OK && which == DX_LIMIT_PRIORITY)
		pcpus_kick();
	return err;
}

struct sbi_ret dx_quota_set(struct vcpu *v, const uint64_t *a)
{
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);

	return sbi_result(vm ? set(&vm->quota, a[1], a[2], &v->vm->quota) : E_NOENT);
}
