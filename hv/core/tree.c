/* SPDX-License-Identifier: MIT */
/* The tree of VMs; see tree.h. Handles are generation << SLOT_BITS | slot, plus one. */
#include "core/tree.h"
#include "core/bug.h"
#include "mmu/gstage.h"
#include "vdev/grant.h"
#include "vdev/vplic.h"

#define SLOT_BITS       12
#define GENERATION_MASK 0x7fff
#define BURY_STEP       96 /* leaves and tables given back in one go */
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

static uint32_t handle_of(const struct child *c, uint32_t slot)
{
	return ((uint32_t)c->generation << SLOT_BITS | slot) + 1;
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

void tree_attach(struct vm *parent, struct vm *child)
{
	uint32_t slot = parent->free_slot ? parent->free_slot - 1 : parent->nslots++;
	struct child *c = slot_at(parent, slot);

	if (parent->free_slot)
		parent->free_slot = c->next;
	*c = (struct child){.vm = child, .generation = c->generation, .used = true};
	child->handle = handle_of(c, slot);
	parent->nchildren++;
}

struct child *tree_slot(const struct vm *vm, uint64_t handle)
{
	uint32_t slot = (uint32_t)(handle - 1) & ((1u << SLOT_BITS) - 1);

	if (handle == 0 || handle > UINT32_MAX || slot >= vm->nslots)
		return NULL;
	struct child *c = slot_at(vm, slot);

	return c->used && handle_of(c, slot) == handle ? c : NULL;
}

uint32_t tree_next(const struct vm *vm, uint32_t handle)
{
	uint32_t slot = handle ? ((handle - 1) & ((1u << SLOT_BITS) - 1)) + 1 : 0;

	for (; slot < vm->nslots; slot++)
		if (slot_at(vm, slot)->used)
			return handle_of(slot_at(vm, slot), slot);
	return 0;
}

static void raise_line(struct vm *vm)
{
	vplic_set_level(vm->plic, vm->event_irq, vm->events || vm->first_event);
}

/* Takes the slot out of the queue of events, which is no longer than the table; returns how many
 * were before it. */
static unsigned drop_events(struct vm *vm, struct child *c, uint32_t slot)
{
	unsigned steps = 0;

	spin_lock(&vm->event_lock);
	if (c->events) {
		uint32_t before = 0, *link = &vm->first_event;

		for (; *link != slot + 1; steps++) {
			before = *link;
			link = &slot_at(vm, *link - 1)->next;
		}
		*link = c->next;
		if (vm->last_event == slot + 1)
			vm->last_event = before;
		c->events = 0;
		raise_line(vm);
	}
	spin_unlock(&vm->event_lock);
	return steps;
}

static unsigned reap(struct vm *vm, struct child *c, uint32_t slot)
{
	unsigned steps = drop_events(vm, c, slot);

	vm_struct_free(vm, c->console);
	c->console = NULL;
	c->used = false;
	c->generation = (c->generation + 1) & GENERATION_MASK;
	c->next = vm->free_slot;
	vm->free_slot = slot + 1;
	vm->nchildren--;
	return steps;
}

void tree_reap(struct vm *vm, struct child *c)
{
	uint32_t slot = 0;

	while (c < vm->children[slot / CHILDREN_PER_PAGE] ||
		c >= vm->children[slot / CHILDREN_PER_PAGE] + CHILDREN_PER_PAGE)
		slot += CHILDREN_PER_PAGE;
	reap(vm, c, slot + (uint32_t)(c - vm->children[slot / CHILDREN_PER_PAGE]));
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

void vm_end(struct vm *vm, enum dx_reason reason, uint64_t code)
{
	spin_lock(&tree_lock);
	vm_kill(vm, reason, code);
	spin_unlock(&tree_lock);
}

/* What is done about one child; returns what it cost. */
static unsigned clear_slot(struct vm *vm, uint32_t slot)
{
	struct child *c = slot_at(vm, slot);

	if (!c->used || (c->vm && c->vm->state == DX_DYING))
		return 1;
	vm->scan_idle = false;
	if (!c->vm)
		return REAP_COST + reap(vm, c, slot);
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

/* When all are dying, the last one that goes wakes the parent. */
static bool bury_children(struct vm *vm, bool *idle)
{
	spin_lock(&tree_lock);
	bool none = tree_clear(vm);

	*idle = !none && vm->scan >= vm->nslots && vm->scan_idle;
	spin_unlock(&tree_lock);
	return none;
}

bool tree_bury(struct vm *vm, bool *idle)
{
	*idle = false;
	if ((vm->holds_devices || vm->routes) && !grant_end(vm, &vm->cursor))
		return false;
	if (vm->nchildren || vm->nslots) {
		if (!bury_children(vm, idle))
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

		if (!c->used || !c->vm || c->vm->quota.guarantee)
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
	enum err err = quota_set_guarantee(&vm->quota, 0);

	BUG_ON(err != OK);
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
	if (parent->state == DX_DYING) {
		if (parent->nchildren == 0)
			vm_start_burial(parent);
	} else if (!vm->source) {
		event_to_parent(vm, DX_EVENT_STATE);
	}
	vm_free(vm);
	spin_unlock(&tree_lock);
}

void event_to_parent(struct vm *vm, uint32_t events)
{
	struct vm *parent = vm->parent;
	uint32_t slot = (vm->handle - 1) & ((1u << SLOT_BITS) - 1);

	spin_lock(&parent->event_lock);
	struct child *c = slot_at(parent, slot);

	if (!c->events) {
		c->next = 0;
		if (parent->first_event)
			slot_at(parent, parent->last_event - 1)->next = slot + 1;
		else
			parent->first_event = slot + 1;
		parent->last_event = slot + 1;
	}
	c->events |= events;
	raise_line(parent);
	spin_unlock(&parent->event_lock);
}

void event_to_self(struct vm *vm, uint32_t events)
{
	spin_lock(&vm->event_lock);
	vm->events |= events;
	raise_line(vm);
	spin_unlock(&vm->event_lock);
}

uint64_t event_take(struct vm *vm)
{
	uint64_t event = 0;

	spin_lock(&vm->event_lock);
	if (vm->events) {
		event = (uint64_t)vm->events << 32;
		vm->events = 0;
	} else if (vm->first_event) {
		uint32_t slot = vm->first_event - 1;
		struct child *c = slot_at(vm, slot);

		event = (uint64_t)c->events << 32 | handle_of(c, slot);
		vm->first_event = c->next;
		c->events = 0;
	}
	raise_line(vm);
	spin_unlock(&vm->event_lock);
	return event;
}
