/* SPDX-License-Identifier: MIT */
/* QUOTA_READ and QUOTA_SET (docs/abi.md). A VM may only lower what it has itself; its parent sets
 * it either way, within the parent's own. */
#include <string.h>
#include "abi/diosix.h"
#include "riscv/time.h"
#include "sbi/diosix.h"

static void fill(const struct quota *q, struct dx_quota *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned r = 0; r < RES_COUNT; r++) {
		out->limit[r] = q->limit[r];
		out->used[r] = q->used[r];
		out->own[r] = q->own[r];
	}
	out->limit[DX_LIMIT_PRIORITY] = q->max_priority;
	out->limit[DX_LIMIT_DEPTH] = q->max_depth;
	out->limit[DX_LIMIT_RESERVE] = q->reserve;
	out->limit[DX_LIMIT_GUARANTEE] = q->guarantee;
}

static_assert((int)DX_LIMIT_PAGES == RES_PAGES && (int)DX_LIMIT_VCPUS == RES_VCPUS &&
		      (int)DX_LIMIT_VMS == RES_VMS,
	"the counted ones have the same numbers");

struct sbi_ret dx_quota_read(struct vcpu *v, const uint64_t *a)
{
	struct sbi_ret r;
	struct dx_quota *q = dx_caller_struct(v, a[1], sizeof(*q), true, &r);

	if (!q)
		return r;
	spin_lock(&tree_lock);
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);

	if (vm)
		fill(&vm->quota, q);
	spin_unlock(&tree_lock);
	return vm ? sbi_value(0) : sbi_error(DX_ERR_NOENT);
}

/* The weight is among siblings: the parent's to say. */
struct sbi_ret dx_priority(struct vcpu *v, const uint64_t *a)
{
	enum err err = OK;

	if (a[1] > SCHED_MAX_PRIORITY || a[2] < DX_WEIGHT_MIN || a[2] > DX_WEIGHT_MAX)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	spin_lock(&tree_lock);
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);

	if (!vm)
		err = E_NOENT;
	else if (a[1] > quota_priority(&vm->quota) || (a[0] == DX_SELF && a[2] != vm->weight))
		err = E_DENIED;
	for (uint32_t i = 0; err == OK && i < vm->nvcpus; i++)
		sched_set_priority(&vm->vcpus[i]->sched, (uint8_t)a[1], time_now());
	if (err == OK) {
		vm->weight = (uint32_t)a[2];
		sched_group_set_weight(vm->sched, vm->weight);
	}
	spin_unlock(&tree_lock);
	return sbi_result(err);
}

/* `max`: what the caller may set it to at most. */
static enum err set(struct vm *vm, uint64_t which, uint64_t to, const struct quota *max)
{
	struct quota *q = &vm->quota;

	switch (which) {
	case DX_LIMIT_PAGES:
	case DX_LIMIT_VCPUS:
	case DX_LIMIT_VMS:
		return to > max->limit[which] ? E_DENIED
					      : quota_set_limit(q, (enum quota_res)which, to);
	case DX_LIMIT_PRIORITY:
		if (to > max->max_priority)
			return E_DENIED;
		q->max_priority = (uint8_t)to;
		vcpus_obey_ceilings();
		return OK;
	case DX_LIMIT_DEPTH:
		if (to >= (uint64_t)max->max_depth + (max == q))
			return E_DENIED;
		q->max_depth = (uint8_t)to;
		return OK;
	case DX_LIMIT_RESERVE:
		if (to > q->limit[RES_PAGES])
			return E_RANGE;
		quota_set_reserve(q, to);
		return OK;
	case DX_LIMIT_GUARANTEE:
		return max == q ? E_DENIED : quota_seen_by(max, q, quota_set_guarantee(q, to));
	default:
		return E_INVAL;
	}
}

struct sbi_ret dx_quota_set(struct vcpu *v, const uint64_t *a)
{
	spin_lock(&tree_lock);
	struct vm *vm = a[0] == DX_SELF ? v->vm : dx_live_child(v, a[0]);
	enum err err = vm ? set(vm, a[1], a[2], &v->vm->quota) : E_NOENT;

	spin_unlock(&tree_lock);
	return sbi_result(err);
}
