/* SPDX-License-Identifier: MIT */
/* The Diosix extension, and what tests of the tree have in common: children that report by the code
 * they exit with, or by lines on their console that the parent passes on. */
#include "guest.h"

struct sbiret dx(uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2)
{
	return sbi(EID_DIOSIX, fid, a0, a1, a2, 0, 0);
}

/* Each hart has its own, so that several can ask at once. */
static struct {
	struct dx_info info;
	struct dx_fork fork;
	struct dx_create create;
	char text[512];
} __attribute__((aligned(1024))) own[MAX_HARTS];
_Static_assert(sizeof(own[0]) == 1024, "none crosses a page");

struct sbiret dx_info_try(uint64_t handle, struct dx_info **info)
{
	*info = &own[this_hart()->id].info;
	return dx(DX_FID_INFO, handle, (uintptr_t)*info, 0);
}

const struct dx_info *dx_info(uint64_t handle)
{
	struct dx_info *info;
	struct sbiret r = dx_info_try(handle, &info);

	if (r.error)
		broken("info: handle, error", handle, (uint64_t)r.error, 0);
	return info;
}

uint64_t dx_pages(void)
{
	return dx_info(DX_SELF)->pages_subtree;
}

void dx_yield(void)
{
	dx(DX_FID_YIELD, 0, 0, 0);
}

/* A VM that only yields would take the same share of the CPU as all below it. */
void dx_rest(unsigned turn)
{
	uint64_t enabled = csr_read(sie) & BIT(IRQ_TIMER);

	sbi_set_timer(now() + (m.hz / 10000 << (turn < 8 ? turn : 8)));
	csr_set(sie, BIT(IRQ_TIMER));
	__asm__ volatile("wfi");
	if (!enabled)
		csr_clear(sie, BIT(IRQ_TIMER));
	sbi_set_timer(~0ul);
}

void dx_exit(uint64_t code)
{
	dx(DX_FID_EXIT, code, 0, 0);
	broken("EXIT returned", 0, 0, 0);
}

struct dx_fork *dx_fork_options(uint32_t flags)
{
	struct dx_fork *f = &own[this_hart()->id].fork;

	f->flags = flags;
	f->reserved = 0;
	for (unsigned i = 0; i < DX_LIMITS; i++)
		f->limit[i] = DX_KEEP;
	return f;
}

struct dx_create *dx_create_options(uint32_t vcpus, uint64_t ram)
{
	struct dx_create *c = &own[this_hart()->id].create;

	*c = (struct dx_create){.vcpus = vcpus, .ram_size = ram};
	for (unsigned i = 0; i < DX_LIMITS; i++)
		c->limit[i] = DX_KEEP;
	return c;
}

struct sbiret dx_fork_try(const struct dx_fork *options)
{
	return dx(DX_FID_FORK, (uintptr_t)options, 0, 0);
}

uint64_t dx_fork(void)
{
	struct sbiret r = dx_fork_try(NULL);

	if (r.error)
		broken("fork: error", (uint64_t)r.error, 0, 0);
	return r.value;
}

uint64_t dx_spawn(void (*fn)(uint64_t arg), uint64_t arg)
{
	uint64_t handle = dx_fork();

	if (handle == 0) {
		fn(arg);
		dx_exit(0);
	}
	return handle;
}

void dx_await(uint64_t handle, uint32_t state)
{
	for (unsigned n = 0; dx_info(handle)->state != state; n++)
		dx_rest(n);
}

/* Some of what a child wrote. */
static bool pass_on(uint64_t handle)
{
	char *text = own[this_hart()->id].text;
	struct sbiret r = dx(DX_FID_CONSOLE_READ, handle, (uintptr_t)text, sizeof(own[0].text));

	if (r.error)
		broken("console read: handle, error", handle, (uint64_t)r.error, 0);
	say_bytes(text, r.value);
	return r.value != 0;
}

struct dx_end dx_end(uint64_t handle)
{
	bool gone = false;

	for (unsigned n = 0; !gone; n++) {
		gone = dx_info(handle)->state == DX_GONE;
		while (pass_on(handle))
			n = 0;
		if (!gone)
			dx_rest(n);
	}
	const struct dx_info *i = dx_info(handle);
	struct dx_end e = {i->reason, i->code};
	struct sbiret r = dx(DX_FID_REAP, handle, 0, 0);

	if (r.error)
		broken("reap: handle, error", handle, (uint64_t)r.error, 0);
	return e;
}

void dx_end_is(const char *name, uint64_t handle, uint64_t code)
{
	struct dx_end e = dx_end(handle);

	if (e.reason != DX_REASON_EXIT)
		check_eq_at(name, e.code, e.reason, DX_REASON_EXIT);
	else
		check_eq(name, e.code, code);
}

void dx_run(void (*fn)(void))
{
	uint64_t handle = dx_fork();

	if (handle == 0) {
		checks_begin();
		fn();
		dx_exit(checks_end());
	}
	struct dx_end e = dx_end(handle);

	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
	else
		check_eq("a child that tests came to its end", e.reason, DX_REASON_EXIT);
}

uint64_t dx_event(void)
{
	struct sbiret r = dx(DX_FID_EVENT_NEXT, 0, 0, 0);

	if (r.error)
		broken("event next: error", (uint64_t)r.error, 0, 0);
	return r.value;
}

void everywhere(void (*fn)(void))
{
	fn();
	if (sbi(EID_BASE, 3, EID_DIOSIX, 0, 0, 0, 0).value)
		dx_run(fn);
}
