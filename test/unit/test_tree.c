/* SPDX-License-Identifier: MIT */
/*
 * A million random operations on a tree of VMs (fork, clone, create, writes, windows, kills,
 * quotas, every long one in steps that the others come between) over the real tree, fork, quota,
 * frame and G-stage code. After each, everything is compared with a model and audited:
 *
 *  - each frame is free, or charged to exactly one VM, the one the model names; what a quota says a
 *    VM uses is what its frames, VCPUs and children add up to;
 *  - a frame of RAM has as many references as leaves map it;
 *  - a VM reads what it wrote, or had when it was forked: nobody else's later writes;
 *  - in the end every page is back.
 *
 * If this fails, a VM reads another's memory, pages are lost, or somebody pays for others. The
 * model takes from the code under test only which size a leaf has.
 */
#include <stdio.h>
#include <stdlib.h>

static unsigned round_now, step_now;

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: round %u, step %u: broken: %s\n", __FILE__,        \
				__LINE__, round_now, step_now, #cond);                             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#include "world.h"

#define VMS         20
#define JOBS        3
#define GUEST_PAGES 1100
#define FRAMES      8192
#define WINDOW_BASE GIB(1)
#define WINDOWS     4
#define DEVICE      UINT64_C(0x10001000)
#define BIG_DEVICE  UINT64_C(0x20000000)
#define OTHER_END   511 /* the words of a page that are used: the first and the last */

struct node;

/* A frame of RAM. */
struct object {
	struct node *payer;     /* NULL: not there */
	uint32_t maps, windows; /* bit of each node that maps it, as its RAM or a child's */
	uint32_t pins;
};

struct window {
	struct object *to;
	unsigned n;         /* pages */
	struct node *child; /* NULL when that is gone */
	unsigned page;
};

struct node {
	bool used, cloned, forked, ghosts, over;
	enum dx_state state; /* DX_GONE: a record at the parent */
	struct vm *vm;
	struct node *parent, *template;
	uint32_t handle;
	enum dx_reason reason;
	uint64_t base;
	unsigned pages, jobs; /* of RAM; makings that copy from it */
	bool being_made, pinned;
	struct object *page[GUEST_PAGES];
	uint64_t value[GUEST_PAGES][2];
	struct window window[WINDOWS];
	struct quota_waiter waiter;
	struct quota *waits_at;
	bool woken;
	unsigned events, nqueue; /* its own; of its children */
	struct {
		uint32_t handle, events;
	} queue[VMS];
};

/* A fork or a clone that is under way. */
struct job {
	struct node *from, *child;
	bool paused;
};

static struct node nodes[VMS];
static struct object objects[FRAMES];
static struct node *node_of_frame[FRAMES]; /* of its structure */
static struct job jobs[JOBS];
static bool nested;
static void meanwhile(struct vm *vm);
static uint64_t done[17]; /* how often each operation had an effect */

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % n;
}

static uint32_t bit_of(const struct node *v)
{
	return 1u << (v - nodes);
}

static uint64_t address(const struct node *v, unsigned p)
{
	return v->base + ((uint64_t)p << PAGE_SHIFT);
}

static struct object *object_at(hpa_t a)
{
	return &objects[(a.v - RAM_BASE) >> PAGE_SHIFT];
}

static bool lives(const struct node *v)
{
	return v->used && v->state != DX_GONE;
}

static struct node *any_node(bool (*suits)(const struct node *v))
{
	unsigned first = rnd(VMS);

	for (unsigned i = 0; i < VMS; i++)
		if (suits(&nodes[(first + i) % VMS]))
			return &nodes[(first + i) % VMS];
	return NULL;
}

static struct node *free_node(void)
{
	for (unsigned i = 0; i < VMS; i++)
		if (!nodes[i].used)
			return &nodes[i];
	return NULL;
}

static void woken(struct quota_waiter *w)
{
	struct node *v = container_of(w, struct node, waiter);

	require(lives(v) && v->waits_at && !v->woken);
	v->woken = true;
}

/* By the number that struct vm and struct frame know a VM by. */
static struct node **owner(uint32_t id)
{
	uint32_t index = id - frame_number(hpa(RAM_BASE));

	require(index < FRAMES);
	return &node_of_frame[index];
}

static struct node *add_node(struct node *parent, struct vm *vm, enum dx_state state)
{
	struct node *v = free_node();

	*v = (struct node){.used = true,
		.state = state,
		.vm = vm,
		.parent = parent,
		.handle = vm->handle,
		.base = vm->ram_base.v,
		.pages = (unsigned)(vm->ram_size >> PAGE_SHIFT),
		.waiter.wake = woken};
	require(v->pages <= GUEST_PAGES && vm->id == frame_number(ptr_hpa(vm)));
	*owner(vm->id) = v;
	return v;
}

/* --- memory --- */

static bool find(const struct node *v, unsigned p, struct gstage_leaf *leaf)
{
	return gstage_lookup(v->vm, gpa(address(v, p)), leaf) == OK;
}

static struct object *add_object(struct node *v, unsigned p, hpa_t a)
{
	struct object *o = object_at(a);

	require(!o->payer && !v->page[p]);
	*o = (struct object){.payer = v, .maps = bit_of(v)};
	v->page[p] = o;
	return o;
}

static void forget_windows(const struct object *o)
{
	for (struct node *v = nodes; v < nodes + VMS; v++)
		for (unsigned i = 0; i < WINDOWS; i++)
			if (v->used && o >= v->window[i].to && o < v->window[i].to + v->window[i].n)
				v->window[i].child = NULL;
}

/* `v` maps `o` no longer. */
static void leave(struct node *v, struct object *o)
{
	if (!o->maps && !o->windows) {
		*o = (struct object){0};
	} else if (o->payer == v && v->parent && (v->cloned || v->state == DX_DYING)) {
		o->payer = v->parent;
		for (struct node *up = v->parent; up; up = up->parent)
			up->over = true; /* whatever the limits say */
	}
}

static void leave_page(struct node *v, unsigned p)
{
	struct object *o = v->page[p];

	require(o->maps & bit_of(v));
	o->maps &= ~bit_of(v);
	v->page[p] = NULL;
	if (o->windows)
		forget_windows(o);
	leave(v, o);
}

static bool is_zero(hpa_t a)
{
	const uint64_t *p = hpa_ptr(a);

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		if (p[i])
			return false;
	return true;
}

/* 2 MiB that have been zeroed are there. */
static void filled(struct node *v, gpa_t at, hpa_t block)
{
	unsigned first = (unsigned)((at.v - v->vm->ram_base.v) >> PAGE_SHIFT);

	for (unsigned i = 0; i < 512; i++)
		add_object(v, first + i, hpa_add(block, i * PAGE_SIZE));
	done[10]++;
}

/* The one with whom `v` would go to: nobody else maps any of the leaf's block. */
static bool is_sole(const struct node *v, unsigned p, const struct gstage_leaf *leaf)
{
	const struct object *o = v->page[p];

	if (leaf->size > PAGE_SIZE &&
		frame_of(hpa(ALIGN_DOWN(leaf->hpa.v, leaf->size)))->order != ORDER_2M)
		return o->maps == bit_of(v) && !o->windows;
	return o->maps == bit_of(v) && !o->windows;
}

static void take_over(struct node *v, unsigned p, const struct gstage_leaf *leaf)
{
	hpa_t block = hpa(ALIGN_DOWN(leaf->hpa.v, leaf->size));
	struct object *o = object_at(block);

	if (leaf->size == PAGE_SIZE) {
		v->page[p]->payer = v;
		return;
	}
	require(leaf->size == MIB(2));
	for (unsigned i = 0; i < 512; i++) {
		require(o[i].maps == bit_of(v) && !o[i].windows);
		o[i].payer = v;
	}
}

/* The leaf is one block, which `v` is alone to map: it can have it as a whole. */
static bool whole_block(const struct gstage_leaf *leaf)
{
	hpa_t block = hpa(ALIGN_DOWN(leaf->hpa.v, leaf->size));

	return BIT(frame_of(block)->order) << PAGE_SHIFT == leaf->size;
}

static void check_refusal(
	const struct node *v, enum err err, const struct refusal *r, bool one_page)
{
	const struct quota *q = r->at;
	uint64_t reserve =
		q == &v->vm->quota ? 0 : MIN(q->limit[DX_LIMIT_RESERVE], q->limit[RES_PAGES]);

	require((err == E_QUOTA_OWN) == (q == &v->vm->quota));
	for (const struct node *up = v; &up->vm->quota != q; up = up->parent)
		require(up->parent);
	if (one_page)
		require(q->used[RES_PAGES] >= q->limit[RES_PAGES] - reserve);
}

/* What a store met was not the VM's own. */
static void written(struct node *v, unsigned p, const struct gstage_leaf *before, bool sole)
{
	struct gstage_leaf now;

	require(find(v, p, &now) && (now.flags & GSTAGE_W));
	if (now.hpa.v == before->hpa.v) {
		require(sole);
		if (whole_block(&now))
			take_over(v, p, &now);
		done[11]++;
		return;
	}
	require(!sole && now.size == PAGE_SIZE);
	leave_page(v, p);
	add_object(v, p, now.hpa);
	done[12]++;
}

/* One fault of `v`, at a page that it cannot access yet. */
static enum err fault(struct node *v, unsigned p, bool write, struct refusal *r)
{
	struct gstage_leaf before = {0}, now;
	struct object *o = v->page[p];
	hpa_t block = v->vm->fill.block;
	gpa_t block_at = v->vm->fill.at;
	bool there = find(v, p, &before), outer = !v->pinned;
	bool sole = there && is_sole(v, p, &before);

	require(there == (o != NULL) || (o && !outer));
	v->pinned = true;
	enum err err = gstage_touch(v->vm, gpa(address(v, p)), write, r);

	if (outer)
		v->pinned = false;
	if (err == E_EXISTS) {
		require(there && (!write || (before.flags & GSTAGE_W)));
		err = OK;
	}
	if (err == E_QUOTA_OWN || err == E_QUOTA_ABOVE)
		check_refusal(v, err, r, !sole);
	else
		require(err == OK || err == E_NOMEM);
	if (err != OK) {
		require(find(v, p, &now) == there);
		require(!there || (now.hpa.v == before.hpa.v && now.flags == before.flags));
		return err;
	}
	if (block.v && !v->vm->fill.block.v) {
		filled(v, block_at, block);
	} else if (!o && find(v, p, &now)) {
		require(now.size == PAGE_SIZE && is_zero(now.hpa));
		add_object(v, p, now.hpa);
	} else if (!o) {
		require(v->vm->fill.block.v && !v->forked);
	} else if (there && write && !(before.flags & GSTAGE_W)) {
		written(v, p, &before, sole);
	}
	return OK;
}

static void stall(struct node *v, enum err err, const struct refusal *r);

/* A store as a VCPU does it; sometimes it does not come back after a fault. */
static bool store(struct node *v, unsigned p, unsigned end, uint64_t value)
{
	uint64_t at = address(v, p) + (end ? OTHER_END * 8 : 0);
	struct refusal r = {0};

	for (unsigned tries = rnd(8) ? 60 : 1 + rnd(16); tries; tries--) {
		uint64_t *word = guest_ptr(v->vm, gpa(at), 8, GSTAGE_W);

		if (word) {
			*word = v->value[p][end] = value;
			return true;
		}
		enum err err = fault(v, p, true, &r);

		if (err == E_QUOTA_OWN || err == E_QUOTA_ABOVE)
			stall(v, err, &r);
		if (err != OK)
			return false;
	}
	return false;
}

/* --- the audit --- */

/* Most of the time goes into these, which are no code under test: the sanitizer leaves them out. */
#define AUDIT __attribute__((no_sanitize("undefined")))

static uint64_t charged[VMS];
static uint32_t refs[FRAMES];

AUDIT static void audit_leaf(struct node *v, uint64_t at, uint64_t pte, uint64_t size)
{
	hpa_t to = hpa(pte >> 10 << PAGE_SHIFT);
	uint64_t base = v->vm->ram_base.v;

	require((pte & 0xd3) == 0xd3); /* V R U A D */
	if (pte & GSTAGE_DEVICE) {
		require(v->parent == NULL && !(pte & GSTAGE_X));
		return;
	}
	if (at == v->vm->vmgenid.v) {
		require(to.v == v->vm->vmgenid_page.v && size == PAGE_SIZE && !(pte & GSTAGE_W));
		return;
	}
	if (pte & GSTAGE_FOREIGN) {
		const struct window *w = &v->window[(at - WINDOW_BASE) / MIB(2)];
		unsigned gone = w->n - (unsigned)(size >> PAGE_SHIFT);

		require(w->to + gone == object_at(to) && (gone == 0 || v->state == DX_DYING));
		for (unsigned i = gone; i < w->n; i++) {
			require(w->to[i].windows & bit_of(v));
			refs[w->to - objects + i]++;
		}
		return;
	}
	require((pte & GSTAGE_RWX) == GSTAGE_RWX || (pte & GSTAGE_RWX) == (GSTAGE_R | GSTAGE_X));
	struct object *o = object_at(to), **page = &v->page[(at - base) >> PAGE_SHIFT];

	for (struct object *end = o + (size >> PAGE_SHIFT); o < end; o++, page++) {
		require(*page == o);
		require(!(pte & GSTAGE_W) || (o->maps == bit_of(v) && o->payer == v));
		refs[o - objects]++;
	}
}

/* What is left of a leaf that a dying VM gives back in parts. */
static void audit_rest(struct node *v, uint64_t base, uint64_t pte, uint64_t size)
{
	uint64_t gone = v->vm->cursor.v - base;

	require(v->vm->state == DX_DYING && gone > 0 && gone < size);
	audit_leaf(v, base + gone, pte + (gone >> PAGE_SHIFT << 10) + 1, size - gone);
}

AUDIT static void audit_table(struct node *v, hpa_t table, unsigned level, uint64_t base)
{
	const uint64_t *pte = hpa_ptr(table);
	uint64_t step = PAGE_SIZE << (9 * level);
	const struct frame *f = frame_of(table);

	require(f->kind == FRAME_TABLE && f->payer == v->vm->id);
	refs[(table.v - RAM_BASE) >> PAGE_SHIFT]++;
	for (unsigned i = 0; i < 512; i++) {
		if (!pte[i])
			continue;
		if (!(pte[i] & 1) && (pte[i] & 0xe)) {
			audit_rest(v, base + i * step, pte[i], step);
		} else if (!(pte[i] & 1)) {
			require(pte[i] == 0x200 && v->vm->ghosts); /* a ghost; nothing is busy */
			require(base + i * step >= DEVICE && base + i * step < WINDOW_BASE);
		} else if (pte[i] & 0xe) {
			audit_leaf(v, base + i * step, pte[i], step);
		} else {
			require(level);
			audit_table(v, hpa(pte[i] >> 10 << PAGE_SHIFT), level - 1, base + i * step);
		}
	}
}

/* What is the VM's and is in no table. */
static void audit_structures(struct node *v)
{
	const struct vm *vm = v->vm;
	const void *parts[] = {vm, vm->console, hpa_ptr(vm->vmgenid_page), vm->vcpus[0],
		vm->nvcpus > 1 ? vm->vcpus[1] : NULL};

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i])
			refs[(ptr_hpa(parts[i]).v - RAM_BASE) >> PAGE_SHIFT]++;
	for (unsigned i = 0; i < CHILDREN_PAGES && (vm->nslots || vm->nchildren); i++)
		if (vm->children[i])
			refs[(ptr_hpa(vm->children[i]).v - RAM_BASE) >> PAGE_SHIFT]++;
	for (uint32_t h = tree_next(vm, 0); h; h = tree_next(vm, h)) {
		const struct child *c = tree_slot(vm, h);

		require(!c->vm == !!c->console);
		if (c->console) /* what one that is gone wrote */
			refs[(ptr_hpa(c->console).v - RAM_BASE) >> PAGE_SHIFT]++;
	}
	if (vm->fill.block.v)
		for (unsigned i = 0; i < vm->fill.rest >> PAGE_SHIFT; i++)
			refs[((vm->fill.block.v - RAM_BASE) >> PAGE_SHIFT) + i]++;
}

AUDIT static void audit_frames(void)
{
	for (uint32_t i = 0; i < host_pages;) {
		const struct frame *f = &frame_table[i];
		uint32_t n = 1u << f->order;

		if (f->kind == FRAME_FREE) {
			i += n;
			continue;
		}
		require(f->kind >= FRAME_META && f->kind <= FRAME_RAM);
		struct node *payer = *owner(f->payer);

		require(payer && lives(payer) && payer->vm->id == f->payer);
		charged[payer - nodes] += n;
		if (f->kind != FRAME_RAM)
			require(refs[i] == 1 && !objects[i].payer);
		for (uint32_t k = i; f->kind == FRAME_RAM && k < i + n; k++) {
			require(refs[k] == f->refs);
			require(!objects[k].payer ? payer->vm->fill.block.v
						  : objects[k].payer == payer);
			require(f->writers ==
				objects[k].pins + (unsigned)__builtin_popcount(objects[k].windows));
		}
		i += n;
	}
}

/* What a VM adds to its parent's use. */
static uint64_t weight(const struct node *v, unsigned res)
{
	const struct quota *q = &v->vm->quota;

	return res == RES_PAGES ? MAX(q->used[res], q->limit[DX_LIMIT_GUARANTEE]) : q->used[res];
}

static void audit_quota(struct node *v)
{
	const struct quota *q = &v->vm->quota;
	uint64_t own[RES_COUNT] = {charged[v - nodes], v->vm->nvcpus, 0}, sum[RES_COUNT];

	for (const struct node *c = nodes; c < nodes + VMS; c++)
		own[RES_VMS] += lives(c) && c->parent == v;
	memcpy(sum, own, sizeof(sum));
	for (const struct node *c = nodes; c < nodes + VMS; c++)
		for (unsigned r = 0; r < RES_COUNT && lives(c) && c->parent == v; r++)
			sum[r] += weight(c, r);
	for (unsigned r = 0; r < RES_COUNT; r++)
		require(q->own[r] == own[r] && q->used[r] == sum[r]);
	v->over &= q->used[RES_PAGES] > q->limit[RES_PAGES];
	require(q->used[RES_PAGES] <= q->limit[RES_PAGES] || v->over);
	if (heap_min(&q->waiters) && heap_min(&q->waiters)->key < q->released) {
		bool passed_on = false; /* somebody who was woken will wake it */

		for (const struct node *w = nodes; w < nodes + VMS; w++)
			passed_on |= lives(w) && w->woken && w->waits_at == q;
		require(passed_on);
	}
}

static void audit_node(struct node *v)
{
	const struct vm *vm = v->vm;

	require(vm->state == v->state && vm->parent == (v->parent ? v->parent->vm : NULL));
	require(!!(vm->halt & HALT_STATE) == (v->state != DX_RUNNING));
	require(!spin_is_locked(&vm->lock) && !spin_is_locked(&vm->event_lock));
	require(vm->pins == 0 && vm->cloned == v->cloned);
	if (v->parent)
		require(child_of(v->parent->vm, v->handle) == vm);
	bool line = vm->plic.level[vm->event_irq / 32] >> vm->event_irq % 32 & 1;

	require(line == (v->events || v->nqueue) || v->state == DX_DYING);
	for (unsigned r = 0; r < 4; r++) {
		const uint64_t *root = hpa_ptr(vm->gstage_root);

		if (root[r])
			audit_table(v, hpa(root[r] >> 10 << PAGE_SHIFT), 1, r * GIB(1));
	}
	refs[(vm->gstage_root.v - RAM_BASE) >> PAGE_SHIFT]++;
	audit_structures(v);
}

/* A VM reads what it wrote. */
static void audit_contents(const struct node *v)
{
	for (unsigned p = 0; p < v->pages; p++) {
		const uint64_t *at = guest_ptr(v->vm, gpa(address(v, p)), PAGE_SIZE, GSTAGE_R);

		require(!!at == !!v->page[p]);
		require((at ? at[0] : 0) == v->value[p][0]);
		require((at ? at[OTHER_END] : 0) == v->value[p][1]);
	}
	for (unsigned i = 0; i < WINDOWS; i++) {
		const struct window *w = &v->window[i];

		for (unsigned k = 0; k < w->n && w->child; k++) /* the child's own memory, now */
			require(guest_load(v->vm, WINDOW_BASE + i * MIB(2) + k * PAGE_SIZE) ==
				w->child->value[w->page + k][0]);
	}
}

static void audit(bool all_contents)
{
	struct frame_stats stats;
	unsigned some = rnd(VMS);

	memset(charged, 0, sizeof(charged));
	memset(refs, 0, host_pages * sizeof(refs[0]));
	require(!spin_is_locked(&tree_lock));
	for (struct node *v = nodes; v < nodes + VMS; v++)
		if (lives(v))
			audit_node(v);
	audit_frames();
	require(frames_audit(&stats));
	require(stats.frames[FRAME_META] + stats.frames[FRAME_TABLE] + stats.frames[FRAME_RAM] +
			stats.frames[FRAME_FREE] ==
		host_pages);
	for (struct node *v = nodes; v < nodes + VMS; v++)
		if (lives(v))
			audit_quota(v);
	for (unsigned i = 0; i < VMS; i++)
		if (lives(&nodes[i]) && (all_contents || i == some) && nodes[i].state != DX_DYING &&
			!nodes[i].being_made)
			audit_contents(&nodes[i]);
}

/* --- events --- */

static void tell(struct node *parent, uint32_t handle, uint32_t events)
{
	unsigned i;

	for (i = 0; i < parent->nqueue && parent->queue[i].handle != handle; i++)
		;
	require(i < VMS);
	if (i == parent->nqueue) {
		parent->nqueue++;
		parent->queue[i].events = 0;
	}
	parent->queue[i].handle = handle;
	parent->queue[i].events |= events;
}

static void untell(struct node *parent, uint32_t handle)
{
	for (unsigned i = 0; i < parent->nqueue; i++)
		if (parent->queue[i].handle == handle) {
			parent->nqueue--;
			memmove(&parent->queue[i], &parent->queue[i + 1],
				(parent->nqueue - i) * sizeof(parent->queue[0]));
		}
}

static bool is_alive(const struct node *v)
{
	return lives(v) && v->state != DX_DYING;
}

static void do_event(void)
{
	struct node *v = any_node(is_alive);
	uint64_t event = event_take(v->vm);

	if (v->events) {
		require(event == (uint64_t)v->events << 32);
		v->events = 0;
	} else if (v->nqueue) {
		require(event == ((uint64_t)v->queue[0].events << 32 | v->queue[0].handle));
		untell(v, v->queue[0].handle);
	} else {
		require(event == 0);
	}
}

/* --- death --- */

static void remove_node(struct node *v)
{
	for (struct node *c = nodes; c < nodes + VMS; c++)
		if (c->used && c->template == v)
			c->template = NULL;
	v->used = false;
}

static void drop_window(struct node *v, unsigned i)
{
	struct window w = v->window[i];

	v->window[i] = (struct window){0};
	for (struct object *o = w.to; o < w.to + w.n; o++) {
		o->windows &= ~bit_of(v);
		leave(v, o);
	}
}

/* Everything below the cursor has been given back. */
static void dropped(struct node *v, uint64_t end)
{
	for (unsigned p = 0; p < v->pages; p++)
		if (v->page[p] && address(v, p) < end)
			leave_page(v, p);
	for (unsigned i = 0; i < WINDOWS; i++)
		if (v->window[i].to && WINDOW_BASE + i * MIB(2) < end)
			drop_window(v, i);
}

static void killed(struct node *v, enum dx_reason reason);

static void give_up(struct node *child)
{
	spin_lock(&tree_lock);
	vm_kill(child->vm, DX_REASON_NONE, 0);
	spin_unlock(&tree_lock);
	killed(child, DX_REASON_NONE);
}

static void end_jobs(const struct node *child)
{
	for (unsigned i = 0; i < JOBS; i++)
		if (jobs[i].child == child) {
			jobs[i].from->jobs--;
			jobs[i] = (struct job){0};
		}
}

/* What is made from it cannot become whole. */
static void end_jobs_from(struct node *from)
{
	for (unsigned i = 0; i < JOBS; i++)
		if (jobs[i].from == from) {
			give_up(jobs[i].child);
			end_jobs(jobs[i].child);
		}
}

static void gone(struct node *v, bool made)
{
	struct node *parent = v->parent;

	dropped(v, UINT64_MAX);

	for (struct node *c = nodes; c < nodes + VMS; c++)
		if (c->used && c->parent == v) {
			require(c->state == DX_GONE);
			remove_node(c);
		}
	v->state = DX_GONE;
	v->vm = NULL;
	done[9]++;
	if (!parent || parent->state == DX_DYING || !made) {
		if (parent)
			untell(parent, v->handle);
		remove_node(v);
		return;
	}
	tell(parent, v->handle, DX_EVENT_STATE);
}

/* Children of dying ones die. */
static void sync_deaths(void)
{
	for (struct node *v = nodes; v < nodes + VMS; v++)
		if (lives(v) && v->state != DX_DYING && v->vm->state == DX_DYING) {
			require(v->parent->state == DX_DYING);
			require(v->vm->reason == DX_REASON_KILLED);
			v->state = DX_DYING;
			v->reason = DX_REASON_KILLED;
		}
	for (struct node *v = nodes; v < nodes + VMS; v++)
		if (v->used && v->state == DX_GONE && v->parent->state == DX_DYING &&
			!tree_slot(v->parent->vm, v->handle))
			remove_node(v);
}

static void unwait(struct node *v)
{
	struct quota *at = v->waits_at;

	v->woken = false;
	v->waits_at = NULL;
	quota_unwait(at, &v->waiter);
}

static bool buries_itself(const struct node *v)
{
	return lives(v) && v->state == DX_DYING && !v->pinned &&
	       v->vm->vcpus[0]->sched.state == SCHED_READY;
}

static void do_bury(void)
{
	struct node *v = any_node(buries_itself);

	if (!v)
		return;
	bool made = !v->being_made, parents = v->parent && v->parent->state == DX_DYING;
	uint32_t id = v->vm->id;

	if (v->waits_at)
		unwait(v);
	if (!bury_step(v->vm)) {
		if (v->vm->nslots == 0)
			dropped(v, v->vm->cursor.v);
		v->nqueue = v->vm->nslots == 0 ? 0 : v->nqueue;
		sync_deaths();
		return;
	}
	v->vm = NULL;
	*owner(id) = NULL;
	end_jobs(v);
	end_jobs_from(v);
	gone(v, made);
	if (parents)
		sync_deaths();
}

static void killed(struct node *v, enum dx_reason reason)
{
	if (v->state == DX_DYING)
		return;
	v->state = DX_DYING;
	v->reason = reason;
	done[8]++;
}

static bool can_be_killed(const struct node *v)
{
	return lives(v) && v->parent;
}

static void do_kill(void)
{
	struct node *v = any_node(can_be_killed);

	if (!v)
		return;
	spin_lock(&tree_lock);
	vm_kill(v->vm, DX_REASON_EXIT, v->handle);
	spin_unlock(&tree_lock);
	killed(v, DX_REASON_EXIT);
}

static bool is_gone(const struct node *v)
{
	return v->used && v->state == DX_GONE;
}

static void do_reap(void)
{
	struct node *v = any_node(is_gone);

	if (!v || v->parent->state == DX_DYING)
		return;
	spin_lock(&tree_lock);
	struct child *c = tree_slot(v->parent->vm, v->handle);

	require(c && !c->vm && c->reason == v->reason);
	require(c->code == (v->reason == DX_REASON_EXIT ? v->handle : 0));
	tree_reap(v->parent->vm, c);
	require(!tree_slot(v->parent->vm, v->handle));
	spin_unlock(&tree_lock);
	untell(v->parent, v->handle);
	remove_node(v);
}

/* --- who cannot pay --- */

static void sacrifice(struct node *v)
{
	uint64_t most = 0;
	bool dying = false;

	for (struct node *c = nodes; c < nodes + VMS; c++) {
		if (!lives(c) || c->parent != v || c->vm->quota.limit[DX_LIMIT_GUARANTEE])
			continue;
		dying |= c->state == DX_DYING;
		most = MAX(most, c->vm->quota.used[RES_PAGES]);
	}
	tree_sacrifice(v->vm);
	unsigned victims = 0;

	for (struct node *c = nodes; c < nodes + VMS; c++) {
		if (!lives(c) || c->state == DX_DYING || c->vm->state != DX_DYING)
			continue;
		require(!dying && c->parent == v && !c->vm->quota.limit[DX_LIMIT_GUARANTEE]);
		require(c->vm->quota.used[RES_PAGES] == most);
		require(c->vm->reason == DX_REASON_MEMORY);
		killed(c, DX_REASON_MEMORY);
		victims++;
	}
	require(victims == (most && !dying));
	done[13] += victims;
}

/* As vcpu_stall (riscv/vcpu.c) and trap.c do. */
static void stall(struct node *v, enum err err, const struct refusal *r)
{
	if (v->parent) {
		event_to_parent(v->vm, DX_EVENT_STALLED);
		tell(v->parent, v->handle, DX_EVENT_STALLED);
	}
	if (err == E_QUOTA_OWN && rnd(4) == 0)
		sacrifice(v);
	if (v->waits_at || rnd(2))
		return;
	v->waits_at = r->at;
	if (!quota_wait(r, &v->waiter))
		v->waits_at = NULL;
	else
		done[14]++;
}

static bool is_woken(const struct node *v)
{
	return lives(v) && v->woken;
}

static void do_wake(void)
{
	struct node *v = any_node(is_woken);

	if (v)
		unwait(v);
}

/* --- living --- */

static bool can_write(const struct node *v)
{
	return lives(v) && v->state != DX_DYING && !v->jobs && !v->being_made &&
	       (!v->waits_at || v->state != DX_RUNNING);
}

static void do_write(void)
{
	struct node *v = any_node(can_write);

	if (!v)
		return;
	unsigned p = rnd(3) ? rnd(MIN(v->pages, 12)) : rnd(v->pages);

	done[0] += store(v, p, rnd(2), rnd(6) ? seed : 0);
}

/* A load of RAM that is not there makes it be there. */
static void do_read(void)
{
	struct node *v = any_node(can_write);
	struct gstage_leaf leaf;
	struct refusal r;

	if (!v)
		return;
	unsigned p = rnd(v->pages);

	if (!find(v, p, &leaf) && !v->page[p])
		done[1] += fault(v, p, rnd(2), &r) == OK;
	else if (!nested)
		require(guest_load(v->vm, address(v, p)) == v->value[p][0]);
}

static void do_state(void)
{
	struct node *v = any_node(is_alive);
	bool clones = false;

	for (struct node *c = nodes; c < nodes + VMS; c++)
		clones |= lives(c) && c->template == v;
	if (!v->parent || v->being_made || v->jobs || clones)
		return;
	require(v->vm->clones == 0);
	enum dx_state to = v->state == DX_RUNNING ? DX_PAUSED_STATE : DX_RUNNING;

	spin_lock(&tree_lock);
	vm_set_state(v->vm, to);
	spin_unlock(&tree_lock);
	v->state = to;
}

static void do_quota(void)
{
	struct node *v = any_node(is_alive);
	struct quota *q = &v->vm->quota;
	uint64_t used = q->used[RES_PAGES], n = rnd(8) ? used + rnd(40) : rnd(FRAMES);

	switch (rnd(4)) {
	case 0:
	case 1:
		if (!v->parent && rnd(8))
			n = host_pages;
		require(quota_set(q, DX_LIMIT_PAGES, n) == (n < used ? E_STATE : OK));
		break;
	case 2:
		n = rnd(64);
		require(quota_set(q, DX_LIMIT_RESERVE, n) ==
			(n > q->limit[RES_PAGES] ? E_RANGE : OK));
		break;
	default:
		if (!v->parent)
			break;
		n = rnd(2) ? 0 : used + rnd(30);
		enum err err = quota_set(q, DX_LIMIT_GUARANTEE, n);

		require(err == (n > q->limit[RES_PAGES] ? E_RANGE : err));
		require(err == OK || err == E_RANGE || err == E_QUOTA_ABOVE);
	}
}

/* --- windows and pins --- */

static bool has_parent(const struct node *v)
{
	return can_write(v) && v->parent && is_alive(v->parent) && !v->parent->being_made;
}

static bool has_window(const struct node *c, unsigned p, unsigned n)
{
	for (; n; n--, p++)
		if (c->page[p] && c->page[p]->windows)
			return true;
	return false;
}

/* WINDOW_MAP of a page or of 2 MiB. What is missing is made first, as by the child's own stores. */
static void do_window(void)
{
	struct node *c = any_node(has_parent), *v = c ? c->parent : NULL;
	unsigned i = rnd(WINDOWS), n = rnd(3) ? 1 : 512, p;
	uint64_t mapped = 0;

	if (!c || v->window[i].n || c->pages < n)
		return;
	p = n == 1 ? rnd(MIN(c->pages, 12)) : 0;
	if (has_window(c, p, n) || !store(c, p, 0, seed))
		return;
	enum err err = gstage_open_window(v->vm, gpa(WINDOW_BASE + i * MIB(2)), c->vm,
		gpa(address(c, p)), n << PAGE_SHIFT, GSTAGE_R | GSTAGE_W, &mapped);

	require(err == OK || err == E_NOMEM || err == E_QUOTA_OWN || err == E_QUOTA_ABOVE);
	if (err != OK)
		return;
	require(mapped == PAGE_SIZE || mapped == MIB(2));
	n = (unsigned)(mapped >> PAGE_SHIFT);
	v->window[i] = (struct window){c->page[p], n, c, p};
	for (unsigned k = 0; k < n; k++)
		c->page[p + k]->windows |= bit_of(v);
	done[2]++;
	done[15] += n > 1;
}

static void do_window_write(void)
{
	struct node *v = any_node(is_alive);
	unsigned i = rnd(WINDOWS), k;
	struct window *w = &v->window[i];

	if (!w->n || (w->child && w->child->jobs))
		return;
	k = rnd(w->n);
	uint64_t *p = guest_ptr(v->vm, gpa(WINDOW_BASE + i * MIB(2) + k * PAGE_SIZE), 8, GSTAGE_W);

	require(p);
	if (w->child)
		w->child->value[w->page + k][0] = seed;
	*p = seed;
}

static void do_window_close(void)
{
	struct node *v = any_node(is_alive);
	unsigned i = rnd(WINDOWS);
	uint64_t size, closed;

	if (!v->window[i].n || v->jobs)
		return;
	size = v->window[i].n << PAGE_SHIFT;
	on_fence = NULL;
	require(gstage_close_windows(v->vm, gpa(WINDOW_BASE + i * MIB(2)), size, &closed) == OK);
	on_fence = meanwhile;
	require(closed == size);
	drop_window(v, i);
}

/* DMA_PIN: somebody else may write the page's block for as long as it is there. */
static void do_pin(void)
{
	struct node *v = any_node(can_write);
	struct gstage_leaf leaf;
	hpa_t a;

	if (!v)
		return;
	unsigned p = rnd(MIN(v->pages, 40));
	bool own = find(v, p, &leaf) && (leaf.flags & GSTAGE_W);

	require(gstage_pin(v->vm, gpa(address(v, p)), &a) == (own ? OK : E_FAULT));
	if (!own)
		return;
	require(a.v == leaf.hpa.v);
	struct object *o = object_at(hpa(ALIGN_DOWN(a.v, leaf.size)));

	for (unsigned i = 0; i < leaf.size >> PAGE_SHIFT; i++)
		if (whole_block(&leaf) || o + i == object_at(a))
			o[i].pins++;
}

/* --- being born --- */

struct trace {
	uint64_t free, used[RES_COUNT];
};

static struct trace trace_of(const struct vm *vm)
{
	struct trace t = {.free = frames_free()};

	memcpy(t.used, vm->quota.used, sizeof(t.used));
	return t;
}

static void some_limits(const struct vm *parent, uint64_t limit[DX_LIMITS])
{
	if (rnd(3) == 0)
		limit[DX_LIMIT_PAGES] = rnd(200);
	if (rnd(8) == 0)
		limit[DX_LIMIT_GUARANTEE] = rnd(60);
	if (rnd(6) == 0)
		limit[DX_LIMIT_VCPUS] = rnd(4);
	if (rnd(6) == 0)
		limit[DX_LIMIT_VMS] = rnd(6);
	if (rnd(6) == 0)
		limit[DX_LIMIT_RESERVE] = rnd(20);
	if (rnd(8) == 0)
		limit[DX_LIMIT_DEPTH] = rnd(parent->quota.limit[DX_LIMIT_DEPTH] + 1);
}

static bool asks_too_much(const struct vm *parent, const uint64_t limit[DX_LIMITS])
{
	bool much = limit[DX_LIMIT_DEPTH] != DX_KEEP &&
		    limit[DX_LIMIT_DEPTH] > quota_ceiling(&parent->quota, DX_LIMIT_DEPTH) - 1u;

	for (unsigned r = 0; r < RES_COUNT; r++)
		much |= limit[r] != DX_KEEP && limit[r] > parent->quota.limit[r];
	return much;
}

static void check_birth(
	const struct vm *parent, enum err err, struct trace before, const uint64_t limit[DX_LIMITS])
{
	if (err == OK)
		return;
	struct trace now = trace_of(parent);

	require(now.free == before.free && !memcmp(now.used, before.used, sizeof(now.used)));
	if (err == E_DENIED)
		require(asks_too_much(parent, limit));
	else
		require(err == E_QUOTA_OWN || err == E_QUOTA_ABOVE || err == E_NOMEM ||
			(err == E_RANGE && (limit[DX_LIMIT_GUARANTEE] != DX_KEEP ||
						   limit[DX_LIMIT_RESERVE] != DX_KEEP)));
}

static bool can_make(const struct node *v)
{
	return is_alive(v) && v->state == DX_RUNNING && !v->jobs && !v->being_made;
}

static struct job *free_job(void)
{
	for (unsigned i = 0; i < JOBS; i++)
		if (!jobs[i].from)
			return &jobs[i];
	return NULL;
}

/* A place for direct RAM, if there is one; or where there is none, as if it had been taken since.
 */
static hpa_t some_run(const struct dx_create *c)
{
	hpa_t run = hpa(0);

	if (!IS_ALIGNED(c->ram_size, MIB(2)))
		return run;
	while (!frame_find_run(&run, c->ram_size))
		;
	return rnd(4) ? run : hpa(RAM_BASE);
}

static void do_create(void)
{
	static const uint16_t sizes[] = {1, 3, 40, 512, 517, 1024, 1030};
	struct node *v = any_node(can_make);
	struct dx_create c = empty_of(sizes[rnd(ARRAY_SIZE(sizes))]);
	struct job *j = free_job();
	hpa_t run = rnd(2) ? some_run(&c) : hpa(0);
	bool asked = run.v;
	uint32_t handle = 0;

	if (!v || !free_node() || !j)
		return;
	c.vcpus = 1 + rnd(2);
	some_limits(v->vm, c.limit);
	struct trace before = trace_of(v->vm);
	enum err err = vm_make_child(v->vm, &c, &run, &handle);

	check_birth(v->vm, err, before, c.limit);
	if (err != OK)
		return;
	struct node *child = add_node(v, child_of(v->vm, handle), DX_CREATED);

	require(child->vm->direct == (run.v != 0) && child->base == (run.v ? run.v : GIB(2)));
	require(!child->vm->source == !run.v);
	done[3]++;
	done[16] += asked && !run.v;
	if (run.v) {
		child->being_made = true;
		v->jobs++;
		*j = (struct job){v, child, false};
	}
}

static struct vm *begin(struct node *parent, struct node *from)
{
	struct dx_fork f = keep_all();
	struct vm *vm = NULL;

	some_limits(parent->vm, f.limit);
	struct trace before = trace_of(parent->vm);
	enum err err = begin_fork(parent->vm, from->vm, &f, 5, &vm);

	check_birth(parent->vm, err, before, f.limit);
	return err == OK ? vm : NULL;
}

static void start_job(struct node *parent, struct node *from)
{
	struct job *j = free_job();
	struct vm *vm = j && free_node() ? begin(parent, from) : NULL;

	if (!vm)
		return;
	struct node *child = add_node(parent, vm, DX_CREATED);

	child->being_made = child->forked = true;
	child->ghosts = from->parent ? from->ghosts : root_vm->holds_devices;
	from->jobs++;
	*j = (struct job){from, child, rnd(3) == 0};
	if (parent == from)
		return;
	require(vm->template == from->handle);
	from->cloned = true;
	child->template = from;
}

static void do_fork(void)
{
	struct node *v = any_node(can_make);

	if (v)
		start_job(v, v);
}

static bool is_template(const struct node *v)
{
	return is_alive(v) && v->state == DX_PAUSED_STATE && !v->being_made && can_make(v->parent);
}

static void do_clone(void)
{
	struct node *v = any_node(is_template);

	if (v)
		start_job(v->parent, v);
}

/* Somebody else writes a part of the leaf that maps the page. */
static bool has_writer(const struct node *v, unsigned p)
{
	struct gstage_leaf leaf;

	require(find(v, p, &leaf));
	const struct object *o = object_at(hpa(ALIGN_DOWN(leaf.hpa.v, leaf.size)));

	for (unsigned i = 0; i < leaf.size >> PAGE_SHIFT; i++)
		if (o[i].windows || o[i].pins)
			return true;
	return false;
}

static void inherit(const struct node *from, struct node *child, unsigned p)
{
	struct object *o = from->page[p];
	struct gstage_leaf theirs, ours;
	bool there = find(child, p, &ours);

	memcpy(child->value[p], from->value[p], sizeof(child->value[p]));
	require(!there || (o && find(from, p, &theirs)));
	if (!o)
		return;
	bool copied = from->vm->holds_devices || from->vm->direct || has_writer(from, p);

	if (!there) {
		require(copied && find(from, p, &theirs) && is_zero(theirs.hpa));
	} else if (ours.hpa.v == theirs.hpa.v) {
		require(!copied && !(ours.flags & GSTAGE_W) && !(theirs.flags & GSTAGE_W));
		o->maps |= bit_of(child);
		child->page[p] = o;
	} else {
		require(copied && ours.size == PAGE_SIZE);
		require(!memcmp(hpa_ptr(ours.hpa), hpa_ptr(theirs.hpa), PAGE_SIZE));
		add_object(child, p, ours.hpa);
	}
}

/* All is shared: the child runs, if it has not been killed meanwhile. */
static void complete_job(struct job *j)
{
	struct node *from = j->from, *child = j->child;

	from->pinned = child->pinned = true;
	vm_fence(from->vm);
	from->pinned = child->pinned = false;
	if (child->state != DX_DYING) {
		require(gstage_is_ghost(child->vm, gpa(DEVICE)) == child->ghosts);
		finish_fork(child->vm, j->paused);
		child->state = j->paused ? DX_PAUSED_STATE : DX_RUNNING;
		child->being_made = false;
		done[child->template ? 5 : 4]++;
	}
	end_jobs(child);
}

static void share(struct job *j)
{
	struct node *from = j->from, *child = j->child;
	uint64_t at = child->vm->cursor.v, end;
	bool is_done = false;
	enum err err;

	if (rnd(3))
		err = gstage_share(from->vm, child->vm, &child->vm->cursor, 1 + rnd(90));
	else
		err = fork_step(child->vm, &is_done);
	end = child->vm->cursor.v;
	require(end >= at && (end > at || err != OK));
	for (unsigned p = 0; p < from->pages; p++)
		if (address(from, p) >= at && address(from, p) < end)
			inherit(from, child, p);
	if (err != OK) {
		require(err == E_QUOTA_OWN || err == E_QUOTA_ABOVE || err == E_NOMEM);
		give_up(child);
		done[7]++;
	} else if (end == GSTAGE_END) {
		complete_job(j);
	}
}

/* A part of a direct VM's RAM. */
static void zero(struct job *j)
{
	struct node *child = j->child;
	hpa_t block = child->vm->fill.block;
	bool is_done = false;
	enum err err = fork_step(child->vm, &is_done);

	if (err != OK) {
		require(err == E_QUOTA_OWN || err == E_QUOTA_ABOVE || err == E_NOMEM);
		give_up(child);
		done[7]++;
		return;
	}
	if (block.v != child->vm->fill.block.v) {
		require(is_zero(block) && is_zero(hpa_add(block, MIB(2) - PAGE_SIZE)));
		filled(child, gpa(block.v), block);
	}
	require(is_done == !block.v);
	if (!is_done)
		return;
	finish_fork(child->vm, false);
	require(child->vm->state == DX_CREATED);
	child->being_made = false;
	end_jobs(child);
	done[6]++;
}

static void do_job(void)
{
	struct job *j = &jobs[rnd(JOBS)];

	if (!j->from || j->from->pinned)
		return;
	if (j->child->state == DX_DYING) {
		end_jobs(j->child);
	} else if (j->from->state == DX_DYING) {
		end_jobs_from(j->from);
	} else if (j->child->forked) {
		share(j);
	} else {
		zero(j);
	}
}

/* --- the walk --- */

static void step(void)
{
	static const struct {
		void (*what)(void);
		unsigned weight, late; /* when a page is being replaced, too */
	} all[] = {{do_write, 40, 1}, {do_read, 4, 1}, {do_job, 16, 1}, {do_bury, 12, 1},
		{do_fork, 4, 0}, {do_clone, 4, 0}, {do_create, 3, 0}, {do_kill, 2, 1},
		{do_reap, 3, 1}, {do_event, 4, 1}, {do_wake, 4, 1}, {do_state, 3, 0},
		{do_quota, 5, 1}, {do_window, 2, 0}, {do_window_write, 2, 1},
		{do_window_close, 1, 0}, {do_pin, 1, 0}};
	unsigned total = 0, n;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		total += nested ? all[i].weight * all[i].late : all[i].weight;
	n = rnd(total);
	for (unsigned i = 0;; i++) {
		unsigned w = nested ? all[i].weight * all[i].late : all[i].weight;

		if (n < w) {
			all[i].what();
			return;
		}
		n -= w;
	}
}

/* While one PCPU replaces a page, others go on. */
static void meanwhile(struct vm *vm)
{
	if (rnd(4))
		return;
	nested = true;
	for (unsigned n = rnd(6); n; n--)
		step();
	nested = false;
}

static void start_round(unsigned n)
{
	static const uint16_t ram[] = {20, 512, 576, 1024};

	seed = UINT64_C(0x9e3779b97f4a7c15) * (n + 1);
	memset(nodes, 0, sizeof(nodes));
	memset(objects, 0, sizeof(objects));
	memset(node_of_frame, 0, sizeof(node_of_frame));
	memset(jobs, 0, sizeof(jobs));
	new_machine(n % 4 ? 3072 : 8192, ram[n % 4], 4);
	root_vm->holds_devices = n % 3 == 0;
	if (root_vm->holds_devices) {
		map_own(root_vm, DEVICE, hpa(DEVICE), 3 * PAGE_SIZE,
			GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE);
		map_own(root_vm, BIG_DEVICE, hpa(BIG_DEVICE), MIB(4),
			GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE);
	}
	struct node *root = add_node(NULL, root_vm, DX_RUNNING);

	for (unsigned p = 0; p < root->pages; p++)
		add_object(root, p, hpa(address(root, p)));
	on_fence = meanwhile;
}

static bool any_lives(const struct node *v)
{
	return lives(v) && v->parent;
}

/* The end of the Root VM: everything is back. */
static void end_round(void)
{
	struct frame_stats stats;
	unsigned steps = 0;

	on_fence = NULL;
	spin_lock(&tree_lock);
	vm_kill(root_vm, DX_REASON_EXIT, 0);
	spin_unlock(&tree_lock);
	nodes[0].state = DX_DYING;
	while (any_node(any_lives)) {
		do_bury();
		do_job();
		do_wake();
		audit(false);
		require(++steps < 100000); /* nobody waits for nothing */
	}
	while (nodes[0].used)
		do_bury();
	require(frames_audit(&stats));
	require(stats.frames[FRAME_FREE] == host_pages);
	for (unsigned i = 0; i < FRAMES; i++)
		require(!objects[i].payer);
}

static void walk(unsigned rounds, unsigned steps)
{
	for (round_now = 0; round_now < rounds; round_now++) {
		start_round(round_now);
		for (step_now = 0; step_now < steps; step_now++) {
			step();
			audit(step_now % 64 == 0);
		}
		end_round();
	}
}

static void random_walk(void **state)
{
	static const char *const names[] = {"stores", "loads of nothing", "windows", "creates",
		"forks", "clones", "direct VMs", "forks that failed", "kills", "burials", "fills",
		"take-overs", "copies", "sacrifices", "stalls", "windows of 2 MiB",
		"runs that were taken"};
	const char *rounds = getenv("UNIT_ROUNDS");

	walk(rounds ? (unsigned)atoi(rounds) : 250, 4000);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (*names[i]) {
			print_message("%10lu %s\n", (unsigned long)done[i], names[i]);
			assert_true(done[i] > 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
