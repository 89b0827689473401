// SPDX-License-Identifier: GPL-2.0
/*
 * The children: names, events and the output of their consoles, which is taken from the hypervisor
 * when it comes, so that no child ever waits for a reader. A child is known here from when the
 * driver makes it, opens it, or first hears of it.
 *
 * Each event gets the next number of one sequence, kept for its kind in the child. A reader
 * remembers the number it has read up to. So nothing is queued, and nothing is lost.
 */
#include <linux/ctype.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include "driver.h"

DEFINE_MUTEX(dx_lock); /* the list of children and what is in them: see driver.h */
unsigned int dx_generation;
DECLARE_WAIT_QUEUE_HEAD(dx_events_wait);

/* under dx_lock */
static LIST_HEAD(children);
static struct dx_child self = {.handle = DX_SELF};
static u64 last_seq;

static void *drain_page; /* only for events_handle(), which never runs twice at a time */

bool child_alive(const struct dx_child *c)
{
	return !c->gone && c->generation == READ_ONCE(dx_generation);
}

static void child_free(struct kref *ref)
{
	struct dx_child *c = container_of(ref, struct dx_child, ref);

	kvfree(c->ring);
	kfree(c);
}

void child_put(struct dx_child *c)
{
	kref_put(&c->ref, child_free);
}

static struct dx_child *find(u32 handle)
{
	struct dx_child *c;

	list_for_each_entry(c, &children, link)
		if (c->handle == handle && child_alive(c))
			return c;
	return NULL;
}

/* Known to the list, with one reference, the list's. */
static struct dx_child *add(u32 handle)
{
	/* Looked at first: the VM may be forked while memory is waited for. */
	unsigned int generation = READ_ONCE(dx_generation);
	struct dx_child *c = kzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return NULL;
	kref_init(&c->ref);
	c->generation = generation;
	c->handle = handle;
	init_waitqueue_head(&c->wait);
	list_add_tail(&c->link, &children);
	return c;
}

static void drop(struct dx_child *c)
{
	c->gone = true;
	list_del(&c->link);
	wake_up_all(&c->wait);
	child_put(c);
}

/* Under the lock, that nobody reaps the child before what follows. */
static long exists(u32 handle)
{
	struct dx_info info = {};

	return dx_call_struct(DX_FID_INFO, handle, &info, sizeof(info));
}

/* The child with that handle and a reference to it; an error if the hypervisor knows none. */
struct dx_child *child_get(u32 handle)
{
	struct dx_child *c = NULL;
	long ret;

	if (handle == DX_SELF)
		return ERR_PTR(-EINVAL);
	mutex_lock(&dx_lock);
	ret = exists(handle);
	if (!ret)
		c = find(handle) ?: add(handle);
	if (c)
		kref_get(&c->ref);
	mutex_unlock(&dx_lock);
	return c ?: ERR_PTR(ret ?: -ENOMEM);
}

/* A name must not look like a handle, an option or a limit, nor disturb a listing. */
static bool name_is_good(const char *name)
{
	const char *p;

	if (strnlen(name, DX_NAME_MAX) == DX_NAME_MAX || isdigit(*name) || *name == '-' ||
	    !strcmp(name, "self"))
		return false;
	for (p = name; *p; p++)
		if (!isascii(*p) || !isgraph(*p) || *p == '=')
			return false;
	return true;
}

static int check_name(const char *name, const struct dx_child *but)
{
	struct dx_child *c;

	if (!name_is_good(name))
		return -EINVAL;
	list_for_each_entry(c, &children, link)
		if (*name && c != but && (!c->handle || child_alive(c)) && !strcmp(c->name, name))
			return -EEXIST;
	return 0;
}

/*
 * Takes a name for a child that is not born yet, with a reference for the caller. Then either
 * child_born() says its handle, or (handle 0) that there will be none.
 */
struct dx_child *child_reserve(const char *name)
{
	struct dx_child *c;
	int ret;

	mutex_lock(&dx_lock);
	ret = check_name(name, NULL);
	c = ret ? NULL : add(0);
	if (c) {
		strscpy(c->name, name, sizeof(c->name));
		kref_get(&c->ref);
	}
	mutex_unlock(&dx_lock);
	return c ?: ERR_PTR(ret ?: -ENOMEM);
}

/* An event of the child may have been faster, and then it is known twice: the name moves over.
 * Since the call, the child may have been reaped, or this VM forked, which has no such child then.
 */
void child_born(struct dx_child *c, u32 handle)
{
	struct dx_child *known;

	mutex_lock(&dx_lock);
	if (handle && exists(handle))
		handle = 0;
	known = handle ? find(handle) : NULL;
	if (known)
		strscpy(known->name, c->name, sizeof(known->name));
	if (!handle || known) {
		drop(c);
	} else {
		c->handle = handle;
		c->generation = READ_ONCE(dx_generation);
	}
	mutex_unlock(&dx_lock);
	child_put(c);
}

/* Under the lock: who waits for the end of a child that another program reaps learns it too. */
long child_reap(u32 handle)
{
	struct dx_info info = {};
	struct dx_child *c;
	long ret;

	mutex_lock(&dx_lock);
	dx_call_struct(DX_FID_INFO, handle, &info, sizeof(info));
	ret = dx_call(DX_FID_REAP, handle, 0, 0, 0, 0);
	c = ret ? NULL : find(handle);
	if (c) {
		c->last = info;
		c->reaped = true;
		drop(c);
	}
	mutex_unlock(&dx_lock);
	return ret;
}

/* How the child is, or was when it was reaped. */
long child_last(struct dx_child *c, struct dx_info *info)
{
	long ret = 0;

	mutex_lock(&dx_lock);
	if (c->reaped)
		*info = c->last;
	else if (child_alive(c))
		ret = dx_call_struct(DX_FID_INFO, c->handle, info, sizeof(*info));
	else
		ret = -ENODEV;
	mutex_unlock(&dx_lock);
	return ret;
}

int child_rename(struct dx_child *c, const char *name)
{
	int ret;

	mutex_lock(&dx_lock);
	ret = child_alive(c) ? check_name(name, c) : -ENOENT;
	if (!ret)
		strscpy(c->name, name, sizeof(c->name));
	mutex_unlock(&dx_lock);
	return ret;
}

/* Forgets those that were the parent's; or all. Those not born yet are the business of calls that
 * were on their way when this VM was forked, and go on in the child as well.
 */
void children_purge(bool all)
{
	struct dx_child *c, *next;

	mutex_lock(&dx_lock);
	list_for_each_entry_safe(c, next, &children, link)
		if (all || (c->handle && !child_alive(c)))
			drop(c);
	mutex_unlock(&dx_lock);
	wake_up_all(&dx_events_wait);
}

/* --- events for readers, with dx_lock held --- */

u64 event_last(void)
{
	return last_seq;
}

static void earliest(const struct dx_child *c, u64 seen, u64 *best, struct dxio_event *e)
{
	int kind;

	for (kind = 0; kind < DX_EVENT_KINDS; kind++) {
		if (c->seq[kind] > seen && c->seq[kind] < *best) {
			*best = c->seq[kind];
			*e = (struct dxio_event){c->handle, 1 << kind};
		}
	}
}

/* The first event after number *seen, which moves on to it. */
bool event_next(u64 *seen, struct dxio_event *e)
{
	u64 best = U64_MAX;
	struct dx_child *c;

	earliest(&self, *seen, &best, e);
	list_for_each_entry(c, &children, link)
		if (c->handle && child_alive(c))
			earliest(c, *seen, &best, e);
	if (best == U64_MAX)
		return false;
	*seen = best;
	return true;
}

u32 child_events(const struct dx_child *c, u64 *seen)
{
	u32 bits = 0;
	int kind;

	for (kind = 0; kind < DX_EVENT_KINDS; kind++)
		if (c->seq[kind] > *seen)
			bits |= 1 << kind;
	*seen = last_seq;
	return bits;
}

/* --- events from the hypervisor --- */

static void note(struct dx_child *c, u32 bits)
{
	int kind;

	for (kind = 0; kind < DX_EVENT_KINDS; kind++)
		if (bits & 1 << kind)
			c->seq[kind] = ++last_seq;
	if (bits & DX_EVENT_ROOM)
		c->full = false;
	wake_up_all(&dx_events_wait);
}

/* What one program of this VM does to a child is an event for the others: the hypervisor tells a
 * parent only what it did not do itself.
 */
void child_changed(u32 handle)
{
	struct dx_child *c;

	mutex_lock(&dx_lock);
	c = find(handle);
	if (c) {
		note(c, DX_EVENT_STATE);
		wake_up_all(&c->wait);
	}
	mutex_unlock(&dx_lock);
}

static void ring_put(struct dx_child *c, const u8 *bytes, size_t n)
{
	size_t at = c->head % DX_SCROLLBACK, first = min(n, DX_SCROLLBACK - at);

	memcpy(c->ring + at, bytes, first);
	memcpy(c->ring, bytes + first, n - first);
	c->head += n;
}

/* Takes a page of output. What there is no memory for stays with the hypervisor, and comes with
 * what the child writes next.
 */
static void drain(struct dx_child *c)
{
	long n;

	if (!c->ring)
		c->ring = kvmalloc(DX_SCROLLBACK, GFP_KERNEL);
	c->more = false;
	if (!c->ring)
		return;
	n = dx_call(DX_FID_CONSOLE_READ, c->handle, __pa(drain_page), PAGE_SIZE, 0, 0);
	if (n <= 0)
		return;
	ring_put(c, drain_page, n);
	c->more = true;
}

/* Output comes first: who hears that the child has ended can read all that it said. An ended child
 * writes no more, so this ends; one that runs may write for ever, so there is a bound.
 */
static void child_event(struct dx_child *c, u32 bits)
{
	int pages = DX_SCROLLBACK / PAGE_SIZE;

	if (bits & (DX_EVENT_CONSOLE | DX_EVENT_STATE))
		do
			drain(c);
		while (c->more && --pages > 0);
	note(c, bits);
	wake_up_all(&c->wait);
}

static void self_event(u32 bits)
{
	if (bits & DX_EVENT_CONSOLE)
		hvc_kick();
	bits &= ~DX_EVENT_CONSOLE;
	if (bits)
		note(&self, bits);
}

static bool take_event(void)
{
	long event = dx_call(DX_FID_EVENT_NEXT, 0, 0, 0, 0, 0);
	u32 handle = event, bits = event >> 32;
	struct dx_child *c;

	if (event <= 0)
		return false;
	if (handle == DX_SELF) {
		self_event(bits);
		return true;
	}
	c = find(handle) ?: add(handle);
	if (c)
		child_event(c, bits);
	return true;
}

/* One page of each child that may have more. */
static bool drain_rest(void)
{
	struct dx_child *c;
	bool any = false;

	list_for_each_entry(c, &children, link) {
		if (!c->more || !child_alive(c))
			continue;
		drain(c);
		note(c, DX_EVENT_CONSOLE);
		wake_up_all(&c->wait);
		any = true;
	}
	return any;
}

/* Until there is nothing, letting others have the lock and the CPU after each step. */
void events_handle(void)
{
	bool again;

	do {
		mutex_lock(&dx_lock);
		again = take_event();
		again |= drain_rest();
		mutex_unlock(&dx_lock);
		cond_resched();
	} while (again);
}

int events_init(void)
{
	drain_page = (void *)__get_free_page(GFP_KERNEL);
	return drain_page ? 0 : -ENOMEM;
}

void events_exit(void)
{
	children_purge(true);
	free_page((unsigned long)drain_page);
}
