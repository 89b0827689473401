/* SPDX-License-Identifier: MIT */
/* Hierarchical charging; see quota.h. */
#include "core/quota.h"
#include "core/bug.h"
#include "core/lock.h"

static struct spinlock quota_lock = SPINLOCK_INIT;

void quota_init(struct quota *q, struct quota *parent, const uint64_t limit[RES_COUNT],
	uint8_t max_priority, uint8_t max_depth)
{
	*q = (struct quota){.parent = parent, .max_priority = max_priority, .max_depth = max_depth};
	for (unsigned r = 0; r < RES_COUNT; r++)
		q->limit[r] = limit[r];
}

static bool has_room(const struct quota *q, enum quota_res res, uint64_t n)
{
	return n <= q->limit[res] - q->used[res];
}

static enum err check(const struct quota *q, enum quota_res res, uint64_t n)
{
	if (!has_room(q, res, n))
		return E_QUOTA_OWN;
	for (q = q->parent; q; q = q->parent)
		if (!has_room(q, res, n))
			return E_QUOTA_ABOVE;
	return OK;
}

enum err quota_charge(struct quota *q, enum quota_res res, uint64_t n)
{
	spin_lock(&quota_lock);
	enum err err = check(q, res, n);

	if (err == OK) {
		q->own[res] += n;
		for (; q; q = q->parent)
			q->used[res] += n;
	}
	spin_unlock(&quota_lock);
	return err;
}

void quota_release(struct quota *q, enum quota_res res, uint64_t n)
{
	spin_lock(&quota_lock);
	BUG_ON(q->own[res] < n);
	q->own[res] -= n;
	for (; q; q = q->parent) {
		BUG_ON(q->used[res] < n);
		q->used[res] -= n;
	}
	spin_unlock(&quota_lock);
}

enum err quota_lower(struct quota *q, enum quota_res res, uint64_t limit)
{
	enum err err = OK;

	spin_lock(&quota_lock);
	if (limit > q->limit[res])
		err = E_RANGE;
	else if (limit < q->used[res])
		err = E_STATE;
	else
		q->limit[res] = limit;
	spin_unlock(&quota_lock);
	return err;
}
