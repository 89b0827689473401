/* SPDX-License-Identifier: MIT */
/* Consoles of VMs; see vconsole.h. */
#include "core/vconsole.h"
#include "core/console.h"
#include "core/ring.h"
#include "core/tree.h"
#include "vdev/devices.h"

struct vconsole {
	struct spinlock lock;
	/* under lock: */
	struct ring out, in;
	uint8_t out_bytes[2048], in_bytes[1024];
};
static_assert(sizeof(struct vconsole) <= PAGE_SIZE, "a console is one page");

enum err vconsole_create(struct vm *vm)
{
	void *mem;
	enum err err = vm_struct_alloc(vm, sizeof(struct vconsole), &mem);

	if (err != OK)
		return err;
	struct vconsole *c = vm->console = mem;

	c->out = RING_INIT(c->out_bytes);
	c->in = RING_INIT(c->in_bytes);
	return OK;
}

static size_t put(struct vconsole *c, struct ring *r, const uint8_t *bytes, size_t n)
{
	spin_lock(&c->lock);
	size_t done = ring_put(r, bytes, n);

	spin_unlock(&c->lock);
	return done;
}

/* `*room` becomes true when somebody was refused and now has room. */
static size_t get(struct vconsole *c, struct ring *r, uint8_t *bytes, size_t n, bool *room)
{
	spin_lock(&c->lock);
	size_t done = ring_get(r, bytes, n);

	*room = done && r->refused;
	r->refused &= !done;
	spin_unlock(&c->lock);
	return done;
}

size_t vconsole_write(struct vm *vm, const uint8_t *bytes, size_t n)
{
	struct vconsole *c = vm->console;

	if (!c)
		return console_write(bytes, n);
	size_t done = put(c, &c->out, bytes, n);

	if (done)
		event_to_parent(vm, DX_EVENT_CONSOLE);
	return done;
}

size_t vconsole_read(struct vm *vm, uint8_t *bytes, size_t n)
{
	struct vconsole *c = vm->console;
	bool room;

	if (!c)
		return console_read(bytes, n);
	size_t done = get(c, &c->in, bytes, n, &room);

	if (room)
		event_to_parent(vm, DX_EVENT_ROOM);
	return done;
}

size_t vconsole_take(struct vm *vm, struct vconsole *c, uint8_t *bytes, size_t n)
{
	bool room;
	size_t done = get(c, &c->out, bytes, n, &room);

	if (room && vm)
		devices_console_event(vm);
	return done;
}

size_t vconsole_give(struct vm *vm, const uint8_t *bytes, size_t n)
{
	struct vconsole *c = vm->console;
	size_t done = put(c, &c->in, bytes, n);

	if (done)
		devices_console_event(vm);
	return done;
}
