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
	bool out_refused, in_refused; /* something did not fit since it was last emptied */
	uint8_t out_bytes[2048], in_bytes[1024];
};
static_assert(sizeof(struct vconsole) <= PAGE_SIZE, "a console is one page");

enum err vconsole_create(struct vm *vm)
{
	void *mem;
	enum err err = vm_struct_alloc(vm, sizeof(struct vconsole), &mem);

	if (err != OK)
		return err;
	struct vconsole *c = mem;

	c->out = (struct ring)RING_INIT(c->out_bytes);
	c->in = (struct ring)RING_INIT(c->in_bytes);
	vm->console = c;
	return OK;
}

static size_t put(struct vconsole *c, struct ring *r, bool *refused, const uint8_t *bytes, size_t n)
{
	size_t done = 0;

	spin_lock(&c->lock);
	while (done < n && ring_room(r))
		ring_push(r, bytes[done++]);
	*refused |= done < n;
	spin_unlock(&c->lock);
	return done;
}

/* `*room` becomes true when somebody was refused and now has room. */
static size_t get(
	struct vconsole *c, struct ring *r, bool *refused, uint8_t *bytes, size_t n, bool *room)
{
	size_t done = 0;

	spin_lock(&c->lock);
	while (done < n && ring_count(r))
		bytes[done++] = ring_pop(r);
	*room = done && *refused;
	*refused &= !done;
	spin_unlock(&c->lock);
	return done;
}

size_t vconsole_write(struct vm *vm, const uint8_t *bytes, size_t n)
{
	struct vconsole *c = vm->console;

	if (!c)
		return console_write(bytes, n);
	size_t done = put(c, &c->out, &c->out_refused, bytes, MIN(n, sizeof(c->out_bytes)));

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
	size_t done = get(c, &c->in, &c->in_refused, bytes, n, &room);

	if (room)
		event_to_parent(vm, DX_EVENT_ROOM);
	return done;
}

size_t vconsole_take(struct vm *vm, struct vconsole *c, uint8_t *bytes, size_t n)
{
	bool room;
	size_t done = get(c, &c->out, &c->out_refused, bytes, n, &room);

	if (room && vm)
		devices_console_event(vm);
	return done;
}

size_t vconsole_give(struct vm *vm, const uint8_t *bytes, size_t n)
{
	struct vconsole *c = vm->console;
	size_t done = put(c, &c->in, &c->in_refused, bytes, n);

	if (done)
		devices_console_event(vm);
	return done;
}
