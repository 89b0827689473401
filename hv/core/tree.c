/* SPDX-License-Identifier: MIT */
/* The tree of VMs; see tree.h. Handles are generation << SLOT_BITS | slot, plus one. */
#include "core/tree.h"
#include "core/bug.h"
#include "mmu/gstage.h"
#include "riscv/vcpu.h"
#include "vdev/grant.h"

#define SLOT_BITS   12
#define HANDLE_BITS 27
#define BURY_STEP   96 /* leaves and tables given back in one go */
/* Of going through children, in units of about ten instructions: */
#define CLEAR_STEP 4000
#define REAP_COST  150
#define KILL_COST  100 /* of each VCPU */

static_assert(CHILDREN_PER_PAGE * CHILDREN_PAGES == 1 << SLOT_BITS, "one slot number for each");
static_assert(CHILDREN_PER_PAGE * sizeof(struct child) <= PAGE_SIZE, "they fit into their page");

struct spinlock tree_lock;

static struct child *slot_at(const struct vm *vm, uint32_t slot)
{
	return &vm->children[slot / CHILDREN_PER_PAGE][slot % CHILDREN_PER_PAGE];
}

static uint32_t slot_of(uint32_t handle)
{
	return (handle - 1) & ((1u << SLOT_BITS) - 1);
}

/* Somebody's slot: of one that lives, or of what is left of one that is gone. */
static bool is_used(const struct child *c)
{
	return c->vm || c->console;
}

enum err tree_make_room(struct vm *vm)
{
	uint32_t page = vm->nslots / CHILDREN_PER_PAGE;
	hpa_t a;

	if (vm->free_slot || (page < CHILDREN_PAGES && vm->children[page]))
		return OK;
	if (page == CHILDREN_PAGES)
		return E_NOMEM;
	enum err err = vm_page_alloc(vm, 0, FRAME_META, &a);

	if (err == OK)
		vm->children[page] = hpa_ptr(a);
	return err;
}

/* A call in steps of `vm`'s goes by that handle: of what it makes, or of whom it was asked about.
 * It looks the handle up again in each step, and must find the same VM or none. */
static bool in_a_call(const struct vm *vm, uint32_t handle)
{
	struct vcpu *const *v = vm->vcpus, *const *end = v + vm->nvcpus;

	while (v < end && !((*v)->stage && ((*v)->handle == handle || (*v)->x[10] == handle)))
		v++;
	return v < end;
}

void tree_attach(struct vm *parent, struct vm *child)
{
	uint32_t slot = parent->free_slot ? parent->free_slot - 1 : parent->nslots++;
	struct child *c = slot_at(parent, slot);

	if (parent->free_slot)
		parent->free_slot = c->next;
	uint32_t handle = c->events.handle;

	/* As long as possible no other child's. */
	do
		handle = handle ? (handle - 1 + BIT(SLOT_BITS)) % BIT(HANDLE_BITS) + 1 : slot + 1;
	while (in_a_call(parent, handle));
	*c = (struct child){.vm = child, .events.handle = handle};
	child->handle = handle;
	parent->nchildren++;
}

struct child *tree_slot(const struct vm *vm, uint64_t handle)
{
	uint32_t slot = slot_of((uint32_t)handle);

	if (handle == 0 || handle > UINT32_MAX || slot >= vm->nslots)
		return NULL;
	struct child *c = slot_at(vm, slot);

	return is_used(c) && c->events.handle == handle ? c : NULL;
}

uint32_t tree_next(const struct vm *vm, uint32_t handle)
{
	uint32_t slot = handle ? slot_of(handle) + 1 : 0;

	for (; slot < vm->nslots; slot++)
		if (is_used(slot_at(vm, slot)))
			return slot_at(vm, slot)->events.handle;
	return 0;
}

/* Takes `e` out of the queue of `vm`; returns its bits. Under event_lock. */
static uint32_t unqueue(struct vm *vm, struct event_source *e)
{
	uint32_t bits = e->bits;

	heap_remove(&vm->events, &e->node);
	e->bits = 0;
	vplic_set_level(&vm->plic, vm->event_irq, heap_min(&vm->events));
	return bits;
}

void tree_reap(struct vm *vm, struct child *c)
{
	spin_lock(&vm->event_lock);
	(void)unqueue(vm, &c->events);
	spin_unlock(&vm->event_lock);
	vm_struct_free(vm, c->console);
	c->console = NULL;
	c->next = vm->free_slot;
	vm->free_slot = slot_of(c->events.handle) + 1;
	vm->nchildren--;
}

#define TO(state) (1u << (state))

void vm_set_state(struct vm *vm, enum dx_state to)
{
	static const uint8_t allowed[] = {
		[DX_CREATED] = TO(DX_RUNNING) | TO(DX_PAUSED_STATE) | TO(DX_DYING),
		[DX_RUNNING] = TO(DX_PAUSED_STATE) | TO(DX_DYING),
		[DX_PAUSED_STATE] = TO(DX_RUNNING) | TO(DX_CREATED) | TO(DX_DYING),
		[DX_DYING] = TO(DX_GONE),
		[DX_GONE] = 0,
	};

	BUG_ON(!(allowed[vm->state] & TO(to)));
	vm->state = to;
	if (to == DX_RUNNING)
		vm_unhalt(vm, HALT_STATE);
	else
		vm_halt(vm, HALT_STATE);
}

void vm_kill(struct vm *vm, enum dx_reason reason, uint64_t code)
{
	if (vm->state == DX_DYING || vm->state == DX_GONE)
		return;
	vm->reason = reason;
	vm->code = code;
	vm->cursor = gpa(0);
	vm->scan = vm->nslots; /* begin anew */
	vm_set_state(vm, DX_DYING);
	vm_start_burial(vm);
}

/* What is done about one child; returns what it cost. */
static unsigned clear_slot(struct vm *vm, uint32_t slot)
{
	struct child *c = slot_at(vm, slot);

	if (!is_used(c) || (c->vm && c->vm->state == DX_DYING))
		return 1;
	vm->scan_idle = false;
	if (!c->vm) {
		tree_reap(vm, c);
		return REAP_COST;
	}
	vm_kill(c->vm, DX_REASON_KILLED, 0);
	return KILL_COST * (1 + c->vm->nvcpus);
}

bool tree_clear(struct vm *vm)
{
	unsigned budget = CLEAR_STEP, cost;

	if (vm->scan >= vm->nslots) {
		vm->scan = 0;
		vm->scan_idle = true;
	}
	for (; budget && vm->scan < vm->nslots; vm->scan++) {
		cost = clear_slot(vm, vm->scan);
		budget -= MIN(budget, cost);
	}
	return vm->nchildren == 0;
}

bool tree_bury(struct vm *vm, bool *idle)
{
	*idle = false;
	if ((vm->holds_devices || vm->routes) && !grant_end(vm, &vm->cursor))
		return false;
	if (vm->nchildren || vm->nslots) {
		spin_lock(&tree_lock);
		bool none = tree_clear(vm);

		/* When all are dying, the last one that goes wakes this one. */
		*idle = !none && vm->scan >= vm->nslots && vm->scan_idle;
		spin_unlock(&tree_lock);
		if (!none)
			return false;
		for (unsigned i = 0; i < CHILDREN_PAGES; i++)
			vm_struct_free(vm, vm->children[i]);
		vm->nslots = 0;
		vm->cursor = gpa(0);
	}
	return gstage_drop(vm, &vm->cursor, BURY_STEP);
}

void tree_sacrifice(struct vm *vm)
{
	struct vm *victim = NULL;

	spin_lock(&tree_lock);
	for (uint32_t slot = 0; slot < vm->nslots; slot++) {
		struct child *c = slot_at(vm, slot);

		if (!c->vm || c->vm->quota.limit[DX_LIMIT_GUARANTEE])
			continue;
		if (c->vm->state == DX_DYING) {
			victim = NULL; /* one is enough at a time */
			break;
		}
		if (!victim || c->vm->quota.used[RES_PAGES] > victim->quota.used[RES_PAGES])
			victim = c->vm;
	}
	if (victim)
		vm_kill(victim, DX_REASON_MEMORY, 0);
	spin_unlock(&tree_lock);
}

void tree_forget(struct vm *vm)
{
	struct vm *parent = vm->parent;

	BUG_ON(quota_set(&vm->quota, DX_LIMIT_GUARANTEE, 0) != OK);
	spin_lock(&tree_lock);
	struct child *c = tree_slot(parent, vm->handle);

	vm_set_state(vm, DX_GONE);
	struct child *template = vm->template ? tree_slot(parent, vm->template) : NULL;

	if (template && template->vm)
		template->vm->clones--;
	c->vm = NULL;
	c->console = vm->console;
	frame_of(ptr_hpa(vm->console))->payer = parent->id;
	quota_pass_up(&vm->quota, 1);
	c->reason = vm->reason;
	c->code = vm->code;
	quota_release(&parent->quota, RES_VMS, 1);
	if (parent->state == DX_DYING || vm->source)
		tree_reap(parent, c);
	else
		event_to_parent(vm, DX_EVENT_STATE);
	if (parent->state == DX_DYING && parent->nchildren == 0)
		vm_start_burial(parent);
	vm_free(vm);
	spin_unlock(&tree_lock);
}

static void post(struct vm *vm, struct event_source *e, uint32_t bits)
{
	spin_lock(&vm->event_lock);
	e->bits |= bits;
	if (e->bits && !e->node.queued)
		heap_insert(&vm->events, &e->node, e->handle ? ++vm->event_turn : 0);
	vplic_set_level(&vm->plic, vm->event_irq, heap_min(&vm->events));
	spin_unlock(&vm->event_lock);
}

void event_to_parent(struct vm *vm, uint32_t events)
{
	post(vm->parent, &slot_at(vm->parent, slot_of(vm->handle))->events, events);
}

void event_to_self(struct vm *vm, uint32_t events)
{
	post(vm, &vm->own_events, events);
}

uint64_t event_take(struct vm *vm)
{
	uint64_t event = 0;

	spin_lock(&vm->event_lock);
	struct heap_node *n = heap_min(&vm->events);

	if (n) {
		struct event_source *e = container_of(n, struct event_source, node);

		event = (uint64_t)unqueue(vm, e) << 32 | e->handle;
	}
	spin_unlock(&vm->event_lock);
	return event;
}
