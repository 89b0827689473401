/* SPDX-License-Identifier: MIT */
/* Hierarchical charging; see quota.h. */
#include "core/quota.h"
#include "core/bug.h"
#include "core/lock.h"

static struct spinlock quota_lock;

void quota_init(struct quota *q, struct quota *parent, const uint64_t limit[DX_LIMITS])
{
	*q = (struct quota){.parent = parent};
	for (unsigned i = 0; i < DX_LIMIT_GUARANTEE; i++)
		q->limit[i] = limit[i];
}

uint8_t quota_ceiling(const struct quota *q, enum dx_limit which)
{
	const uint64_t less = which == DX_LIMIT_DEPTH; /* what a level of the tree takes from it */
	uint64_t lowest = q->limit[which];

	for (uint64_t above = less; (q = q->parent); above += less)
		lowest = MIN(lowest, MAX(q->limit[which], above) - above);
	return (uint8_t)lowest;
}

/* What `q` adds to its parent's use. */
static uint64_t weight(const struct quota *q, enum quota_res res)
{
	return res == RES_PAGES ? MAX(q->used[res], q->limit[DX_LIMIT_GUARANTEE]) : q->used[res];
}

/* By how much `q` weighs more when it uses `n` more. */
static uint64_t growth(const struct quota *q, enum quota_res res, uint64_t n)
{
	uint64_t before = weight(q, res), after = q->used[res] + n;

	return after > before ? after - before : 0;
}

static bool has_room(const struct quota *q, enum quota_res res, uint64_t n, uint64_t reserve)
{
	uint64_t limit = q->limit[res];

	reserve = res == RES_PAGES ? MIN(reserve, limit) : 0;
	return q->used[res] <= limit - reserve && n <= limit - reserve - q->used[res];
}

/* The ancestor of `q` that has no room for `n` more from it, NULL when all have. */
static struct quota *refuser_above(struct quota *q, enum quota_res res, uint64_t n)
{
	while (n && (q = q->parent)) {
		if (!has_room(q, res, n, q->limit[DX_LIMIT_RESERVE]))
			return q;
		n = growth(q, res, n);
	}
	return NULL;
}

static struct quota *refuser(struct quota *q, enum quota_res res, uint64_t n)
{
	return has_room(q, res, n, 0) ? refuser_above(q, res, growth(q, res, n)) : q;
}

/* What a caller learns of it that `r`, NULL for nobody, refused `q` something. */
static enum err tell(struct quota *q, struct quota *r, struct refusal *refused)
{
	if (!r)
		return OK;
	if (refused)
		*refused = (struct refusal){r, r->released};
	q->refused_by = r;
	return r == q ? E_QUOTA_OWN : E_QUOTA_ABOVE;
}

enum err quota_seen_by(const struct quota *by, const struct quota *q, enum err err)
{
	return err == E_QUOTA_ABOVE && q->refused_by == by ? E_QUOTA_OWN : err;
}

/* Wakes a waiter at `q` that has not tried since the last release there. */
static void wake_next(struct quota *q)
{
	struct heap_node *n = heap_min(&q->waiters);

	if (!n || n->key > q->released)
		return;
	heap_remove(&q->waiters, n);
	struct quota_waiter *w = container_of(n, struct quota_waiter, node);

	w->wake(w);
}

/* There may be more room at `q` than before. */
static void release_at(struct quota *q)
{
	q->released = ++q->turns;
	wake_next(q);
}

/* `q` uses `n` more (less, if that is negative), and so do its ancestors; if it is a release,
 * waiters are woken. */
static inline void add(struct quota *q, enum quota_res res, uint64_t n, bool release)
{
	while (q && n) {
		uint64_t before = weight(q, res);

		BUG_ON((int64_t)n < 0 && q->used[res] < -n);
		q->used[res] += n;
		if (release)
			release_at(q);
		n = weight(q, res) - before;
		q = q->parent;
	}
}

enum err quota_charge(struct quota *q, enum quota_res res, uint64_t n, struct refusal *refused)
{
	spin_lock(&quota_lock);
	struct quota *r = refuser(q, res, n);

	if (!r) {
		q->own[res] += n;
		add(q, res, n, false);
	}
	enum err err = tell(q, r, refused);

	spin_unlock(&quota_lock);
	return err;
}

void quota_release(struct quota *q, enum quota_res res, uint64_t n)
{
	spin_lock(&quota_lock);
	BUG_ON(q->own[res] < n);
	q->own[res] -= n;
	add(q, res, -n, true);
	spin_unlock(&quota_lock);
}

enum err quota_move(struct quota *from, struct quota *to, uint64_t n, struct refusal *refused)
{
	spin_lock(&quota_lock);
	BUG_ON(from->own[RES_PAGES] < n);
	add(from, RES_PAGES, -n, false);
	struct quota *r = refuser(to, RES_PAGES, n);
	struct quota *payer = r ? from : to;

	for (struct quota *q = r ? NULL : from; q; q = q->parent)
		release_at(q);

	from->own[RES_PAGES] -= n;
	payer->own[RES_PAGES] += n;
	add(payer, RES_PAGES, n, false);
	enum err err = tell(to, r, refused);

	spin_unlock(&quota_lock);
	return err;
}

void quota_hold(void)
{
	spin_lock(&quota_lock);
}

void quota_pass_up_held(struct quota *q, uint64_t n)
{
	BUG_ON(!q->parent || q->own[RES_PAGES] < n);
	q->own[RES_PAGES] -= n;
	q->parent->own[RES_PAGES] += n;
	add(q, RES_PAGES, -n, true);
	add(q->parent, RES_PAGES, n, false);
	spin_unlock(&quota_lock);
}

void quota_pass_up(struct quota *q, uint64_t n)
{
	quota_hold();
	quota_pass_up_held(q, n);
}

/* Who has no room for it that `q` weighs as if `pages` were guaranteed to it; NULL: it does. */
static struct quota *guarantee(struct quota *q, uint64_t pages)
{
	uint64_t before = weight(q, RES_PAGES), after = MAX(q->used[RES_PAGES], pages);
	struct quota *r = refuser_above(q, RES_PAGES, MAX(after, before) - before);

	if (!r) {
		q->limit[DX_LIMIT_GUARANTEE] = pages;
		add(q->parent, RES_PAGES, after - before, after < before);
	}
	return r;
}

enum err quota_set(struct quota *q, enum dx_limit which, uint64_t to)
{
	bool part = which == DX_LIMIT_RESERVE || which == DX_LIMIT_GUARANTEE;
	enum err err = OK;

	spin_lock(&quota_lock);
	if (part && to > q->limit[DX_LIMIT_PAGES])
		err = E_RANGE;
	else if (which <= DX_LIMIT_VMS && to < q->used[which])
		err = E_STATE;
	else if (which == DX_LIMIT_GUARANTEE)
		err = tell(q, guarantee(q, to), NULL);
	else
		q->limit[which] = to;
	release_at(q);
	spin_unlock(&quota_lock);
	return err;
}

bool quota_wait(const struct refusal *r, struct quota_waiter *w)
{
	spin_lock(&quota_lock);
	bool waits = r->at->released == r->released;

	if (waits)
		heap_insert(&r->at->waiters, &w->node, ++r->at->turns);
	spin_unlock(&quota_lock);
	return waits;
}

void quota_unwait(struct quota *q, struct quota_waiter *w)
{
	spin_lock(&quota_lock);
	heap_remove(&q->waiters, &w->node);
	wake_next(q);
	spin_unlock(&quota_lock);
}
